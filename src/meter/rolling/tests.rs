use std::collections::BTreeMap;

use super::*;

/// Four slots, so three sub-intervals of 100 to a window of 300.
type Small = Rolling<4>;

const MAX: Gate = Gate::Max(10);

fn small() -> Small {
    unused(300, 1_000)
}

impl<const SLOTS: usize> Rolling<SLOTS> {
    fn charge(&self, now: i64, amount: u64) -> Option<i64> {
        self.admit(now, amount, MAX, Part::Used).ok().map(|state| state.window)
    }

    fn reserve(&self, now: i64, amount: u64) -> Option<i64> {
        self.admit(now, amount, MAX, Part::Held).ok().map(|state| state.window)
    }

    /// What all slots hold.
    fn slots_sum(&self) -> u64 {
        let latest = self.latest();
        self.amounts(Self::first_live(latest), latest).flat_map(|(_, parts)| parts).sum()
    }
}

#[test]
fn a_charge_counts_until_every_interval_of_the_windows_length_has_passed_it() {
    let budget = small();
    assert_eq!((budget.number(999), budget.number(1_000), budget.start_micros(10)), (9, 10, 1_000));
    assert_eq!(budget.charge(10, 4), Some(10));
    assert_eq!(budget.charge(12, 6), Some(12));
    assert_eq!([budget.charge(12, 1), budget.charge(13, 1)], [None; 2], "numbers 10 to 13 are one interval");
    assert_eq!(budget.peek(14), State { window: 14, amount: 6 });
    assert_eq!(budget.latest(), 13, "peeking changes nothing");
    assert_eq!([budget.charge(14, 5), budget.charge(14, 4)], [None, Some(14)]);
    assert_eq!([budget.peek(15).amount, budget.peek(16).amount, budget.peek(18).amount], [10, 4, 0]);
    assert_eq!(budget.charge(1_000, 10), Some(1_000));
    assert_eq!(budget.slots_sum(), 10);
}

#[test]
fn an_older_time_uses_the_later_number() {
    let budget = small();
    assert_eq!(budget.charge(12, 4), Some(12));
    assert_eq!(budget.charge(10, 6), Some(12));
    assert_eq!(budget.peek(3), State { window: 12, amount: 10 });
    assert_eq!(budget.charge(15, 1), None);
    assert_eq!(budget.charge(16, 10), Some(16));
}

#[test]
fn zero_passes_while_anything_is_left_and_what_never_fits_is_refused() {
    let budget = small();
    assert_eq!([budget.charge(10, 11), budget.charge(10, u64::MAX), budget.charge(10, 0)], [None, None, Some(10)]);
    assert_eq!([budget.charge(10, 10), budget.charge(10, 0)], [Some(10), None]);
    assert_eq!(budget.charge(14, 0), Some(14));
}

#[test]
fn a_hold_is_settled_in_its_own_number() {
    let budget = small();
    budget.reserve(10, 6).unwrap();
    budget.charge(12, 2).unwrap();
    assert_eq!((budget.held(12), budget.peek(12).amount), (6, 8));
    assert_eq!(budget.settle(10, 6, 3), Settled::Current { charged: 5 });
    assert_eq!((budget.held(12), budget.peek(12).amount, budget.peek(14).amount), (0, 5, 2));
    budget.reserve(13, 5).unwrap();
    assert_eq!(budget.settle(13, 5, 9), Settled::Current { charged: 14 }, "above the hold: charged in full");
    assert_eq!(budget.charge(14, 0), None);
    assert_eq!(budget.peek(16).amount, 9);
    assert_eq!(budget.settle(13, 0, 1), Settled::Current { charged: 12 }, "a hold of nothing, with number 10 expired");
}

#[test]
fn a_late_settlement_changes_nothing() {
    let budget = small();
    let late = Settled::Late { charged: None };
    budget.reserve(10, 6).unwrap();
    budget.charge(14, 3).unwrap();
    assert_eq!([budget.settle(10, 6, 0), budget.settle(10, 6, 6), budget.settle(10, 0, 9)], [late; 3]);
    assert_eq!([budget.undo(10, 6, Part::Held), budget.undo(10, 6, Part::Used)], [0; 2]);
    assert_eq!((budget.peek(14).amount, budget.slots_sum()), (3, 3));
}

#[test]
fn what_is_adjusted_either_way_tells_what_is_charged_then() {
    let budget = small();
    budget.charge(10, 6).unwrap();
    budget.charge(12, 4).unwrap();
    assert_eq!(budget.adjust(10, 6, 4), Settled::Current { charged: 8 });
    assert_eq!(budget.adjust(10, 4, 7), Settled::Current { charged: 11 });
    assert_eq!(budget.charge(14, 1), Some(14));
    assert_eq!([budget.adjust(10, 7, 9), budget.adjust(10, 7, 0)], [Settled::Late { charged: None }; 2]);
    assert_eq!(budget.peek(14).amount, 5);
}

#[test]
fn undone_amounts_leave_no_trace_and_are_no_more_than_is_there() {
    let budget = small();
    budget.charge(10, 3).unwrap();
    budget.reserve(10, 4).unwrap();
    let lowered = budget.lowered();
    assert_eq!((budget.undo(10, 4, Part::Held), budget.undo(10, 4, Part::Used)), (4, 3));
    assert_eq!((budget.peek(10).amount, budget.lowered() - lowered), (0, 2));
}

#[test]
fn a_reset_takes_what_is_used_oldest_first_and_leaves_holds() {
    let budget = small();
    budget.charge(10, 2).unwrap();
    budget.reserve(10, 1).unwrap();
    budget.charge(11, 3).unwrap();
    budget.charge(12, 4).unwrap();
    assert_eq!(budget.take_used(13, 4), 4);
    assert_eq!([13, 14, 15, 16].map(|now| budget.peek(now).amount), [6, 5, 4, 0]);
    assert_eq!(budget.take_used(13, u64::MAX), 5);
    assert_eq!((budget.peek(13).amount, budget.held(13)), (1, 1));
    assert_eq!(budget.take_used(14, u64::MAX), 0);
}

#[test]
fn retry_and_reset_times() {
    let budget = small();
    assert_eq!((budget.fits_at(10, 10, 10), budget.fresh_at(10)), (Some(10), None));
    budget.charge(10, 4).unwrap();
    budget.reserve(12, 6).unwrap();
    let fits_at = |amount| budget.fits_at(amount, 10, 13);
    assert_eq!([0, 1, 4, 5, 10].map(fits_at), [14, 14, 14, 16, 16].map(Some));
    assert_eq!([fits_at(11), budget.fits_at(0, 0, 13)], [None; 2]);
    assert_eq!(
        (budget.fits_at(5, 10, 15), budget.fits_at(4, 10, 15), budget.fresh_at(15)),
        (Some(16), Some(15), Some(16))
    );
    assert_eq!(budget.fresh_at(16), None);
}

#[test]
fn a_count_past_the_field_admits_nothing_until_it_expires_and_is_exact_again_then() {
    let budget = small();
    let top = budget.layout.saturated();
    budget.admit(10, u64::MAX, Gate::Open, Part::Used).unwrap();
    budget.reserve(10, 1).ok_or(()).unwrap_err();
    let hold = budget.admit(11, u64::MAX, Gate::Open, Part::Held).unwrap();
    budget.admit(11, 7, Gate::Open, Part::Used).unwrap();
    budget.admit(11, u64::MAX, Gate::Open, Part::Held).unwrap();
    assert_eq!(budget.peek(11).amount, 2 * top + 7);
    assert_eq!(
        budget.settle(hold.window, u64::MAX, 0),
        Settled::Current { charged: 2 * top + 7 },
        "not known any more"
    );
    assert_eq!(budget.peek(14).amount, top + 7);
    assert_eq!(budget.charge(14, 1), None);
    assert_eq!((budget.charge(15, 10), budget.peek(15).amount, budget.slots_sum()), (Some(15), 10, 10));
    budget.admit(16, u64::MAX, Gate::Open, Part::Used).unwrap();
    assert_eq!((budget.take_used(16, 11), budget.take_used(16, u64::MAX)), (10, top), "whole or not at all");
    assert_eq!((budget.peek(16).amount, budget.slots_sum()), (0, 0));
}

#[test]
fn every_length_has_room_for_amounts_and_fifty_years_of_turns() {
    for seconds in [1, 60, 18_000, 86_400, 30 * 86_400, 365 * 86_400, 1_000 * 365 * 86_400] {
        let budget: Rolling = unused(seconds * 1_000_000, 0);
        assert!(budget.sub_micros * 60 >= seconds * 1_000_000);
        let turns = 50 * MICROS_PER_YEAR / (budget.sub_micros * 61);
        for turn in [-turns, -1, 0, 1, turns] {
            let state = State { window: turn, amount: budget.layout.saturated() - 1 };
            assert_eq!(budget.layout.unpack(budget.layout.pack(state), 0), state, "{seconds} s");
        }
        assert!(budget.layout.saturated() <= u64::MAX >> 10);
    }
    let budget: Rolling = unused(5 * 3_600_000_000, 0);
    assert_eq!((budget.sub_micros, budget.layout.saturated()), (300_000_000, (1 << 46) - 1));
}

#[test]
fn the_ends_of_time_do_not_panic() {
    for length in [1, 59, 1_000_000, i64::MAX] {
        let budget: Rolling = unused(length, i64::MIN);
        for at in [i64::MIN, 0, i64::MAX, i64::MIN] {
            let now = budget.number(at);
            let _ = (budget.charge(now, 6), budget.peek(now), budget.fits_at(6, 10, now), budget.fresh_at(now));
            let _ = (budget.held(now), budget.take_used(now, 1), budget.start_micros(now));
            budget.come_back(budget.latest(), now);
        }
    }
}

/// A clock that stands at 1970 until it is set, as on machines without a battery; and one that jumps by more than the tags tell apart.
#[test]
fn a_budget_starts_fresh_however_far_the_clock_jumps() {
    for years in [1, 57, 120, 5_000, 200_000] {
        let budget: Rolling = unused(1_000_000, 0);
        budget.charge(0, 10).unwrap();
        let later = budget.number(years * MICROS_PER_YEAR);
        assert_eq!(budget.peek(later).amount, 0, "{years}");
        assert_eq!(budget.charge(later, 10), Some(later), "{years}");
        assert_eq!((budget.charge(later + 60, 1), budget.charge(later + 61, 10)), (None, Some(later + 61)), "{years}");
    }
}

#[test]
fn a_clock_that_jumped_ahead_and_came_back_locks_out_for_one_window() {
    let budget = small();
    budget.charge(10, 5).unwrap();
    budget.charge(5_000, 6).unwrap();
    let hold = budget.reserve(5_001, 4).unwrap();
    assert_eq!(budget.charge(10, 1), None);
    budget.come_back(budget.latest(), 10);
    // 10 stands for 5001 now.
    assert_eq!((budget.charge(10, 1), budget.fits_at(1, 10, 10), budget.fresh_at(10)), (None, Some(13), Some(14)));
    assert_eq!(budget.settle(hold, 4, 2), Settled::Current { charged: 8 }, "settled where it was charged");
    assert_eq!([budget.charge(10, 3), budget.charge(10, 2)], [None, Some(5_001)]);
    assert_eq!([budget.charge(12, 1), budget.charge(13, 6)], [None, Some(5_004)]);
    // Again and again.
    budget.charge(7_000, 10).unwrap();
    budget.come_back(budget.latest(), 13);
    assert_eq!([budget.charge(16, 1), budget.charge(17, 10)].map(|charged| charged.is_some()), [false, true]);
}

#[test]
fn a_clock_that_is_set_back_within_numbers_that_were_granted_grants_nothing_again() {
    let budget = small();
    for now in 10..40 {
        budget.charge(now, 10);
    }
    for now in 10..40 {
        budget.come_back(budget.latest(), now);
        assert_eq!(budget.charge(now, 1), None, "set back to {now}");
    }
    assert_eq!(budget.latest(), 39);
    assert_eq!(budget.charge(42, 10), Some(42), "38 was the last one charged");
    // Ahead, and back to before what was used before the jump: that is caught up with first.
    budget.charge(900, 10).unwrap();
    for now in [20, 20, 41, 42, 45] {
        budget.come_back(budget.latest(), now);
        assert_eq!(budget.charge(now, 1), None, "came back to {now}");
    }
    assert!(budget.charge(46, 10).is_some());
}

#[test]
fn a_clock_that_steps_back_by_less_than_a_window_changes_nothing() {
    let budget = small();
    budget.charge(10, 1).unwrap();
    budget.charge(20, 10).unwrap();
    budget.come_back(budget.latest(), 16);
    assert_eq!((budget.charge(16, 1), budget.charge(23, 1), budget.charge(24, 10)), (None, None, Some(24)));
}

/// Fixed seeds, told by every failure.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}

/// The naive budget: what each number charged, used and held.
#[derive(Default)]
struct Model {
    slots: i64,
    latest: i64,
    /// Of all numbers, also of those that have expired.
    charged: BTreeMap<i64, [u64; 2]>,
}

impl Model {
    fn live(&self, now: i64) -> [u64; 2] {
        let live = self.charged.range(now.max(self.latest) - self.slots + 1..).map(|(_, parts)| *parts);
        live.fold([0, 0], |sum, parts| [sum[0] + parts[0], sum[1] + parts[1]])
    }

    fn total(&self, now: i64) -> u64 {
        self.live(now).iter().sum()
    }

    fn admit(&mut self, now: i64, amount: u64, max: Option<u64>, part: Part) -> Option<i64> {
        self.latest = self.latest.max(now);
        let charged = self.total(now);
        let fits = max.is_none_or(|max| if amount == 0 { charged < max } else { charged + amount <= max });
        if fits {
            self.charged.entry(self.latest).or_default()[part as usize] += amount;
        }
        fits.then_some(self.latest)
    }

    fn is_live(&self, number: i64) -> bool {
        number > self.latest - self.slots
    }

    fn settle(&mut self, number: i64, held: u64, actual: u64) {
        if self.is_live(number) {
            let [used_there, held_there] = self.charged.get_mut(&number).unwrap();
            *used_there += actual;
            *held_there -= held;
        }
    }

    fn take_used(&mut self, now: i64, most: u64) -> u64 {
        self.latest = self.latest.max(now);
        let mut left = most;
        for [used, _] in self.charged.range_mut(self.latest - self.slots + 1..).map(|(_, parts)| parts) {
            let taken = left.min(*used);
            *used -= taken;
            left -= taken;
        }
        most - left
    }

    fn first_number(&self, now: i64, accept: impl Fn(u64) -> bool) -> Option<i64> {
        (now..=now.max(self.latest) + self.slots).find(|&number| accept(self.total(number)))
    }

    fn fits_at(&self, now: i64, amount: u64, max: u64) -> Option<i64> {
        let later = |charged| if amount == 0 { charged < max } else { charged + amount <= max };
        self.first_number(now, later)
    }

    /// The most that any interval of so many numbers has charged.
    fn most_in_any_interval(&self) -> u64 {
        let interval = |first: i64| self.charged.range(first..first + self.slots).flat_map(|(_, parts)| parts).sum();
        self.charged.keys().map(|&first| interval(first)).max().unwrap_or(0)
    }
}

/// Random operations at random times, compared with the model after each. `strict`: nothing goes past the max, so the invariant holds.
fn compare_with_model<const SLOTS: usize>(seed: u64, strict: bool) {
    let mut random = Random(seed);
    let max = 1 + random.below(60);
    let slots = SLOTS as i64;
    let budget = unused::<SLOTS>(1_000 * (slots - 1), 1_000_000);
    let mut model = Model { slots, latest: i64::MIN / 2, ..Model::default() };
    let mut now = 1_000;
    let mut holds: Vec<(i64, u64)> = Vec::new();
    for step in 0..600 {
        now += match random.below(40) {
            0 => -(random.below(3 * SLOTS as u64) as i64),
            1 => random.below(5 * SLOTS as u64) as i64,
            2..=9 => random.below(SLOTS as u64 / 2 + 1) as i64,
            10..=20 => 1,
            _ => 0,
        };
        let at = format!("seed {seed:#x}, step {step}, {SLOTS} slots, strict {strict}");
        let amount = random.below(max + 2) * random.below(2) + random.below(4);
        let operation = random.below(12);
        match operation {
            0..=4 => {
                let part = PARTS[random.below(2) as usize];
                let open = !strict && random.below(8) == 0;
                let gate = if open { Gate::Open } else { Gate::Max(max) };
                let admitted = budget.admit(now, amount, gate, part);
                let expected = model.admit(now, amount, (!open).then_some(max), part);
                assert_eq!(admitted.map(|state| state.window).ok(), expected, "{at}");
                let (Ok(state) | Err(state)) = admitted;
                assert_eq!(state, State { window: model.latest, amount: model.total(now) }, "{at}");
                holds.extend(expected.filter(|_| part == Part::Held).map(|number| (number, amount)));
            }
            5..=7 if !holds.is_empty() => {
                let (number, held) = holds.swap_remove(random.below(holds.len() as u64) as usize);
                let more = if strict { 0 } else { random.below(4) };
                let actual = random.below(held + 1) * random.below(2) + more;
                model.settle(number, held, actual);
                let is_late = budget.settle(number, held, actual) == (Settled::Late { charged: None });
                assert_eq!(is_late, !model.is_live(number), "{at}");
            }
            8 if !holds.is_empty() => {
                let (number, held) = holds.swap_remove(random.below(holds.len() as u64) as usize);
                let expected = if model.is_live(number) { held } else { 0 };
                model.settle(number, held, 0);
                assert_eq!(budget.undo(number, held, Part::Held), expected, "{at}");
            }
            9 if random.below(6) == 0 => {
                assert_eq!(budget.take_used(now, amount), model.take_used(now, amount), "{at}");
            }
            _ => {}
        }
        let [used, held] = model.live(now);
        assert_eq!(budget.peek(now), State { window: now.max(model.latest), amount: used + held }, "{at}");
        assert_eq!((budget.held(now), budget.slots_sum()), (held, model.total(model.latest)), "{at}");
        assert_eq!(budget.fits_at(amount, max, now), model.fits_at(now, amount, max), "{at}");
        let fresh = model.first_number(now, |charged| charged == 0).filter(|_| used + held > 0);
        assert_eq!(budget.fresh_at(now), fresh, "{at}");
    }
    let most = model.most_in_any_interval();
    assert!(!strict || most <= max, "{most} in an interval, max {max}; seed {seed:#x}");
}

#[test]
fn random_operations_agree_with_a_naive_model() {
    for seed in 0..40 {
        for strict in [true, false] {
            compare_with_model::<61>(0x701_1000 + seed, strict);
            compare_with_model::<4>(0x701_2000 + seed, strict);
            compare_with_model::<2>(0x701_3000 + seed, strict);
        }
    }
}

/// The promise itself, in microseconds: never more than the max in any interval of the window's length, and never a refusal of what would
/// fit beside everything in an interval that is one sub-interval longer.
#[test]
fn no_interval_of_the_length_holds_more_and_refusals_are_one_sub_interval_too_strict_at_most() {
    for seed in 0..60 {
        let mut random = Random(0x5ec0_0000 + seed);
        let length = 1 + random.below(20_000) as i64;
        let max = 1 + random.below(100);
        let mut at = -(random.below(100_000) as i64);
        let budget: Rolling = unused(length, at);
        assert!((0..60).contains(&(60 * budget.sub_micros - length)), "a microsecond per sub-interval at most");
        let mut admitted: Vec<(i64, u64)> = Vec::new();
        for step in 0..1_500 {
            at += random.below(length as u64 / 16 + 2) as i64;
            let amount = 1 + random.below(max / 4 + 1);
            let since = |start: i64| admitted.iter().filter(|(at, _)| *at > start).map(|(_, n)| n).sum::<u64>();
            let (within, within_more) = (since(at - length), since(at - 61 * budget.sub_micros));
            let is_admitted = budget.admit(budget.number(at), amount, Gate::Max(max), Part::Used).is_ok();
            let told = format!("seed {seed}, step {step}: {amount} beside {within} or {within_more}, max {max}");
            assert!(!is_admitted || within + amount <= max, "{told}");
            assert!(is_admitted || within_more + amount > max, "{told}");
            if is_admitted {
                admitted.push((at, amount));
            }
        }
        assert!(admitted.len() > 10, "seed {seed}");
    }
}

/// A clock that jumps ahead by many windows and comes back, again and again.
#[test]
fn jumping_clocks_grant_nothing_twice_and_lock_nobody_out_for_longer_than_a_window() {
    for seed in 0..200 {
        let mut random = Random(0x1ea9_0000 + seed);
        let budget = Rolling::<8>::new(7_000, 0);
        let mut granted: BTreeMap<i64, u64> = BTreeMap::new();
        let (mut truth, mut ahead) = (100, 0);
        for step in 0..60 {
            let told = format!("seed {seed}, step {step}");
            // It comes back before it jumps again.
            ahead = if ahead == 0 && random.below(2) == 0 { 30 + random.below(10_000) as i64 } else { 0 };
            // One refusal, so that the jump is noticed.
            assert_eq!(budget.charge(truth + ahead, 11), None);
            budget.come_back(budget.latest(), truth + ahead);
            for _ in 0..=random.below(12) {
                truth += random.below(3) as i64;
                let (now, amount) = (truth + ahead, 1 + random.below(5));
                let mut admitted = budget.charge(now, amount);
                if admitted.is_none() {
                    budget.come_back(budget.latest(), now);
                    admitted = budget.charge(now, amount);
                }
                if let Some(number) = admitted {
                    *granted.entry(number).or_default() += amount;
                } else if ahead == 0 {
                    let free = budget.fits_at(10, 10, now).unwrap();
                    assert!(free <= now + 8, "{told}: locked out until {free} at {now}");
                }
            }
            let most = granted.keys().map(|&first| granted.range(first..first + 8).map(|(_, n)| n).sum::<u64>()).max();
            assert!(most <= Some(10), "{told}: {most:?} in an interval");
        }
    }
}

use super::stand::{Ground, TOKENS};
use super::*;
use crate::meter::{Meter, MeterRef, Settled};
use crate::sync::{AtomicU64, Ordering};
use crate::window::Window;

struct Rig {
    seats: Vec<Seat>,
    ground: Ground,
}

fn rig(caps: &[(Enforcement, Cap)]) -> Rig {
    let ground = Ground::at("2026-02-04T12:00:00Z".parse().unwrap());
    let seat = |limits: &(Enforcement, Cap)| {
        let meter = MeterRef::from(Meter::in_window(&Window::Day, Window::Day.index(ground.manual.now())));
        stand::seat(&meter, Window::Day, (limits.1, limits.0))
    };
    Rig { seats: caps.iter().map(seat).collect(), ground }
}

impl Rig {
    fn charge(&self, amount: u64) -> Result<Passed, Refused> {
        let (cost, now) = (TOKENS.of(amount), self.ground.manual.now());
        let answer = charge(&self.seats, &self.ground, Ask::Charge(&cost), now, &mut Windows::new());
        answer.map_err(|mut refused| {
            refused.come_back(&self.seats, &self.ground);
            refused
        })
    }

    fn charged(&self) -> Vec<u64> {
        self.seats.iter().map(|seat| seat.peek(self.ground.manual.now()).amount).collect()
    }
}

#[test]
fn a_refused_charge_leaves_no_budget_changed_and_names_all_that_refused() {
    use Enforcement::{Hard, Shadow, Soft};
    let rig = rig(&[
        (Soft, Cap::Max(1)),
        (Hard, Cap::Max(10)),
        (Hard, Cap::Max(5)),
        (Shadow, Cap::Max(1)),
        (Hard, Cap::Unlimited),
        (Hard, Cap::Max(4)),
    ]);
    let refused = rig.charge(6).unwrap_err();
    assert_eq!(refused.blocked.iter().map(|b| b.seat).collect::<Vec<_>>(), [2, 5]);
    assert_eq!(rig.charged(), [0; 6]);
    let passed = rig.charge(4).unwrap();
    assert_eq!(rig.charged(), [4; 6]);
    assert_eq!((passed.over, passed.would_refuse), (SeatSet(1), SeatSet(1 << 3)));
}

/// A budget that gets stripes between two looks: the first finds no room, the second does.
struct Changing;

impl Place for Changing {
    fn resource(&self) -> Resource {
        TOKENS
    }

    fn is_hard(&self) -> bool {
        true
    }

    fn has_several_words(&self) -> bool {
        false
    }

    fn glance(&self, _: Timestamp) -> (State, Glance) {
        (State { window: 0, amount: 8 }, Glance { when: 0, word: 8 })
    }

    fn look_closer(&self, _: Timestamp) -> Option<State> {
        Some(State { window: 0, amount: 2 })
    }

    fn gate_in(&self, _: i64) -> Gate {
        Gate::Max(10)
    }

    fn admit(&self, _: Glance, _: u64, _: Part) -> Result<State, State> {
        unreachable!("nothing is charged")
    }

    fn undo(&self, _: i64, _: u64, _: Part) {}

    fn hold(&self, _: i64, _: u64) {}

    fn mark(&self) -> u64 {
        u64::MAX
    }
}

/// If the word came to be again what was seen, swapping it would charge what had not fitted.
#[test]
fn a_word_that_had_no_room_is_not_gone_by_because_a_closer_look_found_some() {
    let cost = TOKENS.of(5);
    let mut glances = [Glance::default()];
    look(&[Changing], Ask::Charge(&cost), Timestamp::UNIX_EPOCH, &mut glances).unwrap();
    assert_eq!(glances[0].word, NO_WORD);
}

/// Those beyond the 64 that have a stripe to themselves announce in shared ones.
#[test]
fn more_threads_than_own_stripes_charge_two_budgets_to_the_last_unit() {
    const THREADS: u64 = 100;
    const EACH: u64 = 40;
    let rig = rig(&[(Enforcement::Hard, Cap::Max(THREADS * EACH / 2)), (Enforcement::Hard, Cap::Max(THREADS * EACH))]);
    join(&rig.seats);
    let (seats, flights) = (&*rig.seats, &rig.ground);
    let together = std::sync::Barrier::new(THREADS as usize);
    let run = || {
        together.wait();
        let cost = TOKENS.of(1);
        let now = flights.manual.now();
        let admitted = || charge(seats, flights, Ask::Charge(&cost), now, &mut Windows::new()).is_ok();
        (0..EACH).filter(|_| admitted()).count() as u64
    };
    let admitted: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, THREADS * EACH / 2);
    assert_eq!(rig.charged(), [THREADS * EACH / 2; 2]);
    assert!(flights.flights.quiet().is_some(), "as many announcements have ended as have begun");
}

/// An attempt stands in the way of a call that fits without it, and is undone once the call has had time to find it.
#[test]
fn a_refuser_waits_for_an_attempt_that_is_undone_after_it_was_seen() {
    let rig = rig(&[(Enforcement::Hard, Cap::Max(10)), (Enforcement::Hard, Cap::Max(10))]);
    join(&rig.seats);
    let window = Window::Day.index(rig.ground.manual.now());
    let flight = rig.ground.flights.begin();
    rig.seats[0].meter.admit(window, 6, Gate::Open).unwrap();
    let asks = AtomicU64::new(0);
    std::thread::scope(|threads| {
        let call = threads.spawn(|| {
            let cost = TOKENS.of(5);
            asks.store(1, Ordering::Release);
            charge(&rig.seats[..1], &rig.ground, Ask::Charge(&cost), rig.ground.manual.now(), &mut Windows::new())
                .is_ok()
        });
        while asks.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        // Far fewer turns than it waits, and more than it takes who waits for nobody.
        (0..2_000).for_each(|_| std::thread::yield_now());
        rig.seats[0].meter.undo(window, 6, Part::Used);
        drop(flight);
        assert!(call.join().unwrap());
    });
    assert_eq!(rig.charged(), [5, 0]);
}

#[test]
fn an_undo_leaves_its_mark_for_those_who_look() {
    let rig = rig(&[(Enforcement::Hard, Cap::Max(10)), (Enforcement::Hard, Cap::Max(10))]);
    let window = Window::Day.index(rig.ground.manual.now());
    // The second budget fills up between the look and the charge.
    rig.seats[1].meter.admit(window, 8, Gate::Open).unwrap();
    let (cost, now) = (TOKENS.of(5), rig.ground.manual.now());
    let glances: Vec<_> = rig.seats.iter().map(|seat| seat.glance(now).1).collect();
    assert!(!charge_hard(&rig.seats, &glances, Ask::Charge(&cost), &mut unset(2), |_, _| {}));
    assert_eq!(rig.charged(), [0, 8]);
    assert_eq!([rig.seats[0].meter.taken_back(), rig.seats[1].meter.taken_back()], [1, 0]);
}

#[test]
fn a_refusal_is_decided_on_a_fresh_reading_of_the_clock() {
    let rig = rig(&[(Enforcement::Hard, Cap::Max(10))]);
    rig.charge(10).unwrap();
    let stale = rig.ground.manual.now();
    rig.ground.manual.advance(std::time::Duration::from_secs(86_400));
    let cost = TOKENS.of(10);
    let passed = charge(&rig.seats, &rig.ground, Ask::Charge(&cost), stale, &mut Windows::new());
    assert!(passed.is_ok(), "the window that the stale reading is in has ended");
}

#[test]
fn a_clock_that_jumped_ahead_locks_nobody_out_for_longer_than_the_next_window() {
    let rig = rig(&[(Enforcement::Hard, Cap::Max(10))]);
    let day = std::time::Duration::from_secs(86_400);
    let home = rig.ground.manual.now();
    rig.ground.manual.advance(day * 4_000);
    rig.charge(10).unwrap();
    rig.ground.manual.set(home);
    assert!(rig.charge(1).is_err(), "the later window is used, and it is full");
    rig.ground.manual.advance(day);
    assert!(rig.charge(1).is_err(), "what was granted ahead of time is not granted again");
    rig.ground.manual.advance(day);
    assert!(rig.charge(10).is_ok());
}

/// Two threads charge two budgets, of which one has no room for both, while a third one watches that what it asks of the other one is not refused
/// because of an attempt that is undone. One that finds the small budget free again goes through, and may be in the way: rarely.
#[test]
fn a_call_that_fits_is_not_refused_because_of_attempts_that_are_undone() {
    const ROUNDS: usize = 20_000;
    let shared = MeterRef::from(Meter::in_window(&Window::Lifetime, 0));
    let seat = |meter: &MeterRef, max| stand::seat(meter, Window::Lifetime, (Cap::Max(max), Enforcement::Hard));
    let small = MeterRef::from(Meter::in_window(&Window::Lifetime, 0));
    // Two callers want 6 of the small budget's 10: one of them is undone on the shared one again and again.
    let pair = [seat(&shared, 16), seat(&small, 10)];
    let single = [seat(&shared, 16)];
    join(&pair);
    let ground = Ground::at(Timestamp::UNIX_EPOCH);
    let now = ground.manual.now();
    // Of each thread: the attempts that began, and which of them went through.
    let begun = [AtomicU64::new(0), AtomicU64::new(0)];
    let through = [(); 2].map(|()| (0..ROUNDS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
    let attempts = || begun.each_ref().map(|begun| begun.load(Ordering::SeqCst) as usize);
    let mut refused = Vec::new();
    std::thread::scope(|threads| {
        for (begun, through) in begun.iter().zip(&through) {
            let (pair, ground, shared, small) = (&pair, &ground, &shared, &small);
            threads.spawn(move || {
                let cost = TOKENS.of(6);
                for through in through {
                    begun.fetch_add(1, Ordering::SeqCst);
                    if charge(pair, ground, Ask::Charge(&cost), now, &mut Windows::new()).is_ok() {
                        through.store(1, Ordering::SeqCst);
                        // The small budget last: while it is taken no other pair goes through.
                        shared.settle(0, 6, 0);
                        small.settle(0, 6, 0);
                    }
                }
            });
        }
        // One pair at a time holds 6 of the 16: what goes through always leaves 10.
        let cost = TOKENS.of(10);
        for _ in 0..ROUNDS {
            let before = attempts();
            match charge(&single, &ground, Ask::Charge(&cost), now, &mut Windows::new()) {
                Ok(_) => {
                    shared.settle(0, 10, 0);
                }
                Err(r) => {
                    refused.push((before, attempts(), r.blocked[0].state.amount));
                }
            }
        }
    });
    for (before, after, charged) in refused {
        let went_through = |thread: usize| {
            // The last one that had begun before may have been under way.
            let mut attempts = through[thread][before[thread].saturating_sub(1)..after[thread]].iter();
            attempts.any(|through| through.load(Ordering::SeqCst) == 1)
        };
        assert!(went_through(0) && went_through(1), "refused beside {charged} while {before:?} to {after:?} began");
    }
    assert_eq!((shared.peek(0).amount, small.peek(0).amount), (0, 0));
}

/// Found by comparing a replay with an independent computation: a hold of nothing left the budget in the window before, and what the
/// call took was charged there.
#[test]
fn a_hold_of_nothing_opens_its_window_so_that_its_actual_is_charged_there() {
    let rig = rig(&[(Enforcement::Hard, Cap::Max(10)), (Enforcement::Hard, Cap::Max(10))]);
    rig.charge(10).unwrap();
    rig.ground.manual.advance(std::time::Duration::from_secs(86_400));
    for cost in [TOKENS.of(0), Cost::nothing()] {
        let mut windows = Windows::new();
        let now = rig.ground.manual.now();
        charge(&rig.seats, &rig.ground, Ask::Hold(&cost), now, &mut windows).unwrap();
        assert_eq!(rig.seats[0].meter.settle(windows[0], 0, 3), Settled::Current { charged: rig.charged()[0] });
    }
    assert_eq!(rig.charged(), [6, 0]);
    assert_eq!(rig.seats[0].meter.charged_in(Window::Day.index(rig.ground.manual.now()) - 1), Some(10));
}

/// What one call charges to two budgets is never seen in one of them alone.
#[test]
fn a_snapshot_sees_all_of_a_call_or_nothing() {
    const ROUNDS: u64 = 20_000;
    let rig = rig(&[(Enforcement::Hard, Cap::Unlimited), (Enforcement::Hard, Cap::Unlimited)]);
    let now = rig.ground.manual.now();
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                for _ in 0..ROUNDS {
                    record(&rig.seats, &rig.ground, &TOKENS.of(7), now, |_, _, _| {});
                }
            });
        }
        for _ in 0..2_000 {
            let seen = snapshot(&rig.ground.flights, || rig.charged());
            assert_eq!(seen[0], seen[1]);
        }
    });
    assert_eq!(rig.charged(), [2 * 7 * ROUNDS; 2]);
}

//! One budget with a rolling window: no interval of the window's length ever holds more than the max.
//!
//! Time is cut into numbered sub-intervals, `SLOTS - 1` to a window, so every interval of the window's length lies within `SLOTS`
//! numbers. What number `k` charged counts while the budget's number is below `k + SLOTS`: at most one sub-interval too long.
//!
//! **Who owns what.** `total` alone decides admission. Each slot holds what one live number has charged, used and held apart, so that a
//! charge can be found again when it expires or is settled. `latest` is the largest number up to which charges have expired. An amount that
//! is in `total` and in no slot is owed by the thread that is about to put it in a slot or to take it from `total`. So at every instant
//!
//! > total = Σ slots + what threads owe
//!
//! and `total` never counts too little: amounts are added to `total` first and to a slot second, and taken the other way round.
//!
//! **Fast path.** Load `skew` and `latest`, swap `total`, load `latest` again, swap the slot. Nothing is scanned.
//!
//! **A new number.** Whoever comes first in a later number turns the slots of the numbers since `latest` over to their next number, one swap
//! each. Whoever's swap it was owes what it found there. Then it raises `latest`, and only then lowers `total`.
//!
//! **Which number a charge gets.** Not the number its caller read, but the `latest` that is read after the swap of `total`. Room that an
//! expiry made is seen in `total` (Acquire) only together with the `latest` raised before (Release). With the number read first, a thread
//! that slept could use that room in a number from which the expired charge still counts. For the same reason a charge that finds its slot
//! turned over counts in the number it finds, and a settlement that finds it turned over finishes that expiry before it lowers `total`.
//! Hence for any charge admitted in number `n`: what `total` lacked by then had expired by `n`, so the `SLOTS` numbers up to `n` hold no
//! more than the max.
//!
//! **Collision path.** `total` counts too much while somebody owes. A refusal by it is examined as for charges that are undone (see
//! [`crate::charge`]): everybody who adds, settles or expires announces himself; a refuser waits for the announced and asks again if
//! [`Rolling::lowered`] has moved since before it read `total`.
//!
//! **Counts past the field.** A slot whose amount reaches the top of its field is not known any more and stays until it expires. `total`
//! counts what the slot counts, at least the top, which is above every max. So nothing hard is admitted meanwhile, and afterwards the total
//! is exact again.
//!
//! **A clock that jumped.** The budget's own numbers never go back, and no charge is ever renumbered. When a clock that had jumped ahead
//! comes back, `skew` grows, so that its time stands for the number that the budget has reached.

use super::rule::{self, Forgive, Gate};
use super::word::{Layout, State};
use super::{MICROS_PER_YEAR, Past, Settled, change, look, transition};
use crate::sync::{AtomicU32, AtomicU64, Ordering, spin_loop};
use crate::time::Timestamp;
use crate::window::{Bounds, ROLLING_AMOUNT_BITS_MAX, ROLLING_PARTS};

/// Sub-intervals to a window are one less.
pub(super) const SLOTS_DEFAULT: usize = ROLLING_PARTS as usize + 1;
/// The numbers of an unused budget start at least so far back: further than a window, so that its first use is seen to land after a gap.
pub(super) const UNUSED_NUMBERS_MIN: i64 = 2 * SLOTS_DEFAULT as i64;
/// A word that is one number: `total`, and numbers of sub-intervals bit by bit.
const WHOLE: Layout = Layout::with_bits(u64::BITS);

/// A rolling budget's counters.
#[derive(Debug)]
pub(crate) struct Rolling<const SLOTS: usize = SLOTS_DEFAULT> {
    /// What is charged in the live numbers.
    total: AtomicU64,
    /// The largest number up to which charges have expired.
    latest: AtomicU64,
    /// How much larger the budget's own numbers are than the clock's.
    skew: AtomicU64,
    /// How often `total` was lowered.
    lowered: AtomicU32,
    /// The numbers on both sides of the last gap longer than a window.
    left: AtomicU64,
    landed: AtomicU64,
    /// The number that it was made with when it was told where the last gap is: what comes between that and its first use is none.
    made: Option<i64>,
    /// Number `k` has slot `k mod SLOTS`.
    slots: Box<[Slot; SLOTS]>,
    sub_micros: i64,
    /// Of the slots' words. Their window is the turn of the ring, `k div SLOTS`.
    layout: Layout,
}

/// What one number has charged.
#[derive(Debug)]
struct Slot {
    used: AtomicU64,
    held: AtomicU64,
}

/// The part of a charge that an amount belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Committed.
    Used,
    /// Reserved and not settled.
    Held,
}

const PARTS: [Part; 2] = [Part::Used, Part::Held];

impl<const SLOTS: usize> Rolling<SLOTS> {
    /// An unused budget with a window of `length_micros`, whose numbers start at `latest`.
    pub(crate) fn new(length_micros: i64, latest: i64) -> Self {
        let sub_micros = sub_micros::<SLOTS>(length_micros);
        let layout = Self::layout_of(length_micros);
        let unused = |index: usize| {
            let before = (latest.rem_euclid(SLOTS as i64) - index as i64).rem_euclid(SLOTS as i64);
            let turn = latest.saturating_sub(before).div_euclid(SLOTS as i64);
            let word = || AtomicU64::new(layout.pack(State { window: turn, amount: 0 }));
            Slot { used: word(), held: word() }
        };
        Self {
            total: AtomicU64::new(0),
            latest: AtomicU64::new(latest as u64),
            skew: AtomicU64::new(0),
            lowered: AtomicU32::new(0),
            left: AtomicU64::new(latest as u64),
            landed: AtomicU64::new(latest as u64),
            made: None,
            slots: Box::new(std::array::from_fn(unused)),
            sub_micros,
            layout,
        }
    }

    /// An unused budget after others: its numbers start where nothing of theirs counts, and the last gap is known.
    pub(crate) fn after(length_micros: i64, Past { start, left, landed }: Past) -> Self {
        let word = |number| AtomicU64::new(number as u64);
        let made = (landed != start).then_some(start);
        Self { left: word(left), landed: word(landed), made, ..Self::new(length_micros, start) }
    }

    /// Whether nothing counts any more in the clock's number `now`, and nothing has for a whole window.
    pub(crate) fn is_fresh(&self, now: i64) -> bool {
        self.peek(now.saturating_sub(SLOTS as i64)).amount == 0 && self.latest() <= self.own(now)
    }

    /// The clock's numbers since the last gap, and up to the last one in which something of it counted, if anything ever did.
    pub(crate) fn charged_last(&self) -> Option<(i64, i64)> {
        let (landed, latest) = (self.landed.load(Ordering::Acquire) as i64, self.latest());
        (latest > self.left.load(Ordering::Acquire) as i64 || self.charged() > 0)
            .then(|| (self.clocks(landed), self.clocks(latest).saturating_add(SLOTS as i64 - 1)))
    }

    /// The clock's number of an instant.
    #[inline]
    pub(crate) const fn number(&self, at_micros: i64) -> i64 {
        at_micros.div_euclid(self.sub_micros)
    }

    /// The first instant of one of the clock's numbers.
    pub(crate) const fn start_micros(&self, number: i64) -> i64 {
        number.saturating_mul(self.sub_micros)
    }

    /// The turn of the ring that a number belongs to: as long as the window, and a sub-interval more.
    pub(crate) const fn turn(number: i64) -> i64 {
        number.div_euclid(SLOTS as i64)
    }

    /// The bit layout of the slots, for the largest max and for showing saturated counts.
    pub(crate) const fn layout_of(length_micros: i64) -> Layout {
        Layout::with_bits(amount_bits::<SLOTS>(sub_micros::<SLOTS>(length_micros)))
    }

    /// The budget's own number for the clock's number `now`, not regarding that it never goes back.
    #[inline]
    fn own(&self, now: i64) -> i64 {
        now.saturating_add(self.skew.load(Ordering::Acquire) as i64)
    }

    /// The clock's number for one of the budget's own.
    fn clocks(&self, own: i64) -> i64 {
        own.saturating_sub(self.skew.load(Ordering::Acquire) as i64)
    }

    /// The largest of the budget's own numbers that has been reached.
    #[inline]
    pub(crate) fn latest(&self) -> i64 {
        self.latest.load(Ordering::Acquire) as i64
    }

    #[inline]
    fn charged(&self) -> u64 {
        self.total.load(Ordering::Acquire)
    }

    /// How often a count was lowered that could have stood in somebody's way.
    pub(crate) fn lowered(&self) -> u32 {
        // Pairs with the Release in `lower`: who sees this count sees the amount gone.
        self.lowered.load(Ordering::Acquire)
    }

    /// What an operation at `now` would see, in the budget's own number. Nothing changes.
    pub(crate) fn peek(&self, now: i64) -> State {
        let number = self.own(now);
        loop {
            let latest = self.latest();
            if number <= latest {
                return State { window: latest, amount: self.charged() };
            }
            // What was in a slot before and after `total` was read, was in `total`.
            let expired = self.expired(latest, number);
            let charged = self.charged();
            if expired == 0 || self.expired(latest, number) == expired {
                return State { window: number, amount: charged.saturating_sub(expired) };
            }
            spin_loop();
        }
    }

    /// What the slots still hold that expires when `latest` becomes `number`.
    fn expired(&self, latest: i64, number: i64) -> u64 {
        let last = latest.min(number.saturating_sub(SLOTS as i64));
        self.amounts(Self::first_live(latest), last).map(|(_, [used, held])| used.saturating_add(held)).sum()
    }

    /// Charges `amount` to a `part`: the number that it is charged in, and what is charged then. Or what left no room. An amount of 0
    /// passes while anything is left.
    #[inline]
    pub(crate) fn admit(&self, now: i64, amount: u64, gate: Gate, part: Part) -> Result<State, State> {
        let number = self.own(now);
        if number > look(&self.latest) as i64 {
            self.advance(number);
        }
        // What is above the field saturates the slot, and is above every max.
        let amount = amount.min(self.layout.saturated());
        let decided = transition(&self.total, WHOLE, 0, |state| rule::admit(WHOLE, state, 0, amount, gate));
        // Only now: see the module.
        let latest = self.latest();
        match decided {
            Ok((_, State { amount: charged, .. })) => {
                let window = if amount == 0 { latest } else { self.put(part, latest, amount) };
                Ok(State { window, amount: charged })
            }
            Err(State { amount: charged, .. }) => Err(State { window: latest, amount: charged }),
        }
    }

    /// Puts an amount that is in `total` into the slot of `number`, or of the later number that it has been turned over to. Returns the
    /// number.
    #[inline]
    fn put(&self, part: Part, number: i64, amount: u64) -> i64 {
        let (word, turn) = self.place(part, number);
        let put = |state: State| State { amount: rule::add(self.layout, state.amount, amount), ..state };
        let (before, after) = change(word, self.layout, turn, put);
        self.lower(amount - (after.amount - before.amount));
        after.window.wrapping_sub(turn).wrapping_mul(SLOTS as i64).wrapping_add(number)
    }

    /// Settles a hold of `held` that `number` admitted at `actual`.
    pub(crate) fn settle(&self, number: i64, held: u64, actual: u64) -> Settled {
        const LATE: Settled = Settled::Late { charged: None };
        // From here on this thread owes what it took.
        let Some(taken) = self.take(Part::Held, number, held) else { return LATE };
        let actual = actual.min(self.layout.saturated());
        if actual > taken {
            change(&self.total, WHOLE, 0, |state| State {
                amount: rule::add(WHOLE, state.amount, actual - taken),
                ..state
            });
        }
        let (word, turn) = self.place(Part::Used, number);
        let used = transition(word, self.layout, turn, |state| {
            let amount = rule::add(self.layout, state.amount, actual);
            if state.window == turn { Ok(State { amount, ..state }) } else { Err(state.window) }
        });
        match used {
            Ok((before, after)) => {
                self.lower(taken.max(actual) - (after.amount - before.amount));
                Settled::Current { charged: self.charged() }
            }
            Err(later) => {
                self.advance(later.wrapping_sub(turn).wrapping_mul(SLOTS as i64).wrapping_add(number));
                self.lower(taken.max(actual));
                LATE
            }
        }
    }

    /// Charges `amount` more to what `number` holds, whether it fits or not; nothing if that has expired.
    pub(crate) fn grow_hold(&self, number: i64, amount: u64) -> Settled {
        let amount = amount.min(self.layout.saturated());
        change(&self.total, WHOLE, 0, |state| State { amount: rule::add(WHOLE, state.amount, amount), ..state });
        let (word, turn) = self.place(Part::Held, number);
        let grown = transition(word, self.layout, turn, |state| {
            let amount = rule::add(self.layout, state.amount, amount);
            if state.window == turn { Ok(State { amount, ..state }) } else { Err(()) }
        });
        let added = grown.map(|(before, after)| after.amount - before.amount);
        self.lower(amount - added.unwrap_or(0));
        if added.is_ok() { Settled::Current { charged: self.charged() } } else { Settled::Late { charged: None } }
    }

    /// Brings what `number` has charged, and nobody holds, from `before` to `after`.
    pub(crate) fn adjust(&self, number: i64, before: u64, after: u64) -> Settled {
        if after >= before {
            return self.settle(number, 0, after - before);
        }
        match self.take(Part::Used, number, before - after) {
            Some(taken) => {
                self.lower(taken);
                Settled::Current { charged: self.charged() }
            }
            None => Settled::Late { charged: None },
        }
    }

    /// Gives back at most `amount` of a part of what `number` charged, and returns how much: nothing if it has expired.
    ///
    /// [`Rolling::take_used`] may have taken a used amount already, and another one of its number would be given back in its stead. So a
    /// charge that may yet be undone is admitted as held, and settled once it stands.
    pub(crate) fn undo(&self, number: i64, amount: u64, part: Part) -> u64 {
        let taken = self.take(part, number, amount).unwrap_or(0);
        self.lower(taken);
        taken
    }

    /// Takes up to `most` of what is used, oldest first, and returns how much. A saturated slot is taken whole or not at all.
    pub(crate) fn take_used(&self, now: i64, most: u64) -> u64 {
        self.advance(self.own(now));
        let latest = self.latest();
        let mut taken = 0;
        for number in Self::first_live(latest)..=latest {
            let (word, turn) = self.place(Part::Used, number);
            let left = most - taken;
            let took = transition(word, self.layout, turn, |state| match state.amount {
                _ if state.window != turn => Err(()),
                amount if amount <= left => Ok(State { amount: 0, ..state }),
                amount => Ok(State { amount: rule::subtract(self.layout, amount, left), ..state }),
            });
            taken += took.map_or(0, |(before, after)| before.amount - after.amount);
        }
        self.lower(taken);
        taken
    }

    /// Resets what is used and counts in one of the budget's own numbers; says what was charged before and after.
    pub(crate) fn reset(&self, number: i64, much: Forgive) -> (u64, u64) {
        let most = match much {
            Forgive::All => u64::MAX,
            Forgive::UpTo(most) => most,
        };
        let taken = self.take_used(self.clocks(number), most);
        let after = self.charged();
        (after.saturating_add(taken), after)
    }

    /// What is held and counts at `now`.
    pub(crate) fn held(&self, now: i64) -> u64 {
        let latest = self.latest();
        let first = Self::first_live(self.own(now).max(latest));
        self.amounts(first, latest).map(|(_, [_, held])| held).sum()
    }

    /// The clock's first number, from `now` on, in which `amount` fits below `max` if nothing else happens. `None` when it never does.
    pub(crate) fn fits_at(&self, amount: u64, max: u64, now: i64) -> Option<i64> {
        let fits = |charged| rule::fits(State { window: 0, amount: charged }, amount, Gate::Max(max));
        let State { window: number, amount: mut charged } = self.peek(now);
        if !fits(0) {
            return None;
        }
        if fits(charged) {
            return Some(now);
        }
        for (slot, [used, held]) in self.amounts(Self::first_live(number), self.latest()) {
            charged = charged.saturating_sub(used.saturating_add(held));
            if fits(charged) {
                return Some(self.clocks(slot.saturating_add(SLOTS as i64)));
            }
        }
        // Something is on its way to a slot.
        Some(self.clocks(number.saturating_add(SLOTS as i64)))
    }

    /// The clock's number in which all that counts at `now` will have expired. `None` when nothing does.
    pub(crate) fn fresh_at(&self, now: i64) -> Option<i64> {
        let State { window: number, amount } = self.peek(now);
        let used = |(_, parts): &(i64, [u64; 2])| parts != &[0, 0];
        let last = || self.amounts(Self::first_live(number), self.latest()).filter(used).last();
        (amount > 0).then(|| self.clocks(last().map_or(number, |(slot, _)| slot).saturating_add(SLOTS as i64)))
    }

    /// Since when charges count at `now`, and when all that count will have expired: at the earliest with the sub-interval that runs.
    pub(crate) fn bounds(&self, now: Timestamp) -> Bounds {
        let number = self.number(now.as_micros());
        let start = |number| Timestamp::from_micros(self.start_micros(number));
        let end = self.fresh_at(number).unwrap_or_else(|| number.saturating_add(1));
        Bounds { start: start(Self::first_live(number)), end: start(end) }
    }

    /// Lets the clock's number `now` stand for a number that the budget has reached, when the clock had jumped ahead by more than a window
    /// and has come back. `seen` is [`Rolling::latest`], loaded before `now` was read: then no delay of this thread can make numbers that
    /// others reached in good order look as if they lay ahead.
    ///
    /// The clock had jumped if `now` lies before the number that was landed in, further than the clock has run on since, and the budget is
    /// ahead of it by more than a window. Numbers up to `left` were granted in good order and are not granted again. What is counted
    /// expires at most a window after `now`, or after the clock has caught up with `left`.
    ///
    /// Only the last jump is known: an earlier one that nobody was refused after counts as granted in good order. An operation that read
    /// its time before the clock came back, and acts on it afterwards, is another jump of the clock.
    pub(crate) fn come_back(&self, seen: i64, now: i64) {
        // In this order: who sees a new skew sees the `left` that was written before it.
        let skew = look(&self.skew) as i64;
        let landed = self.landed.load(Ordering::Acquire) as i64;
        let left = look(&self.left) as i64;
        let own = now.saturating_add(skew);
        let ahead = seen.saturating_sub(left.max(own));
        let has_jumped = landed.saturating_sub(own) > seen.saturating_sub(landed);
        if !has_jumped || ahead <= SLOTS as i64 {
            return;
        }
        // From here on, all numbers up to `seen` are granted.
        raise(&self.left, seen);
        let (old, new) = (skew as u64, skew.saturating_add(ahead) as u64);
        change(&self.skew, WHOLE, 0, |state| if state.amount == old { State { amount: new, ..state } } else { state });
    }

    /// The latest number, the skew, and what each number that counts has charged; what threads owe counts as charged in the latest. At least all
    /// that is in a slot when this is called.
    #[cfg(feature = "persist")]
    pub(super) fn image(&self) -> (i64, i64, Vec<(i64, u64)>) {
        let latest = self.latest();
        let amounts = self.amounts(Self::first_live(latest), latest);
        let amounts = amounts.map(|(number, [used, held])| (number, used.saturating_add(held)));
        let mut slots: Vec<_> = amounts.filter(|(number, amount)| *amount > 0 || *number == latest).collect();
        // Read last: what is not in a slot yet, or no more, is in here.
        let total = self.total.fetch_or(0, Ordering::AcqRel);
        let sum = slots.iter().fold(0_u64, |sum, (_, amount)| sum.saturating_add(*amount));
        if let Some((_, amount)) = slots.last_mut() {
            *amount = amount.saturating_add(total.saturating_sub(sum));
        }
        slots.retain(|(_, amount)| *amount > 0);
        (latest, self.skew.load(Ordering::Acquire) as i64, slots)
    }

    /// Stands as [`Rolling::image`] said, all of it used. Nobody else has it yet.
    #[cfg(feature = "persist")]
    pub(super) fn restore(&self, latest: i64, skew: i64, slots: &[(i64, u64)]) {
        self.skew.store(skew as u64, Ordering::Release);
        self.advance(latest);
        // It may have been made later: what counts no more by then is gone.
        let latest = self.latest();
        // Everything up to here may have been granted.
        raise(&self.left, latest);
        raise(&self.landed, latest);
        let live = Self::first_live(latest)..=latest;
        for &(number, amount) in slots.iter().filter(|(number, _)| live.contains(number)) {
            let (word, turn) = self.place(Part::Used, number);
            let amount = amount.min(self.layout.saturated());
            word.store(self.layout.pack(State { window: turn, amount }), Ordering::Release);
            change(&self.total, WHOLE, 0, |state| State { amount: rule::add(WHOLE, state.amount, amount), ..state });
        }
    }

    /// Counts some of what `number` has used as held.
    #[cfg(feature = "persist")]
    pub(super) fn hold_again(&self, number: i64, amount: u64) {
        let taken = self.take(Part::Used, number, amount).unwrap_or(0);
        let (word, turn) = self.place(Part::Held, number);
        change(word, self.layout, turn, |state| State { amount: rule::add(self.layout, state.amount, taken), ..state });
    }

    /// Lets everything expire that counts no more in `number`.
    #[cold]
    fn advance(&self, number: i64) {
        let latest = look(&self.latest) as i64;
        let mut owed = 0;
        for number in latest.saturating_add(1).max(Self::first_live(number))..=number {
            owed += PARTS.iter().map(|&part| self.turn_over(part, number, latest)).sum::<u64>();
        }
        // Before the total is lowered: see the module.
        let before = raise(&self.latest, number);
        let is_first_use = owed == 0 && self.made == Some(before);
        if number > before.saturating_add(SLOTS as i64) && !is_first_use {
            raise(&self.left, before);
            raise(&self.landed, number);
        }
        self.lower(owed);
    }

    /// Turns a slot over to `number` unless that has been done; returns what was there. Slots are found near `latest`: however far the
    /// clock has jumped, they have not.
    fn turn_over(&self, part: Part, number: i64, latest: i64) -> u64 {
        let (word, turn) = self.place(part, number);
        let turned = transition(word, self.layout, latest.div_euclid(SLOTS as i64), |state| {
            if state.window < turn { Ok(State { window: turn, amount: 0 }) } else { Err(()) }
        });
        turned.map_or(0, |(before, _)| before.amount)
    }

    /// Takes at most `amount` from a part of the slot of `number`; `None` when it has been turned over. A saturated slot stays.
    fn take(&self, part: Part, number: i64, amount: u64) -> Option<u64> {
        let (word, turn) = self.place(part, number);
        let taken = transition(word, self.layout, turn, |state| {
            let amount = rule::subtract(self.layout, state.amount, amount);
            if state.window == turn { Ok(State { amount, ..state }) } else { Err(()) }
        });
        taken.ok().map(|(before, after)| before.amount - after.amount)
    }

    /// Pays what this thread owes.
    #[inline]
    fn lower(&self, amount: u64) {
        if amount > 0 {
            change(&self.total, WHOLE, 0, |state| State {
                amount: rule::subtract(WHOLE, state.amount, amount),
                ..state
            });
            // Release: pairs with the load in `lowered`.
            self.lowered.fetch_add(1, Ordering::Release);
        }
    }

    /// The used and held amounts of numbers that still have their slots.
    fn amounts(&self, first: i64, last: i64) -> impl Iterator<Item = (i64, [u64; 2])> {
        (first..=last).map(|number| {
            let amount = |part| {
                let (word, turn) = self.place(part, number);
                let state = self.layout.unpack(word.load(Ordering::Acquire), turn);
                if state.window == turn { state.amount } else { 0 }
            };
            (number, PARTS.map(amount))
        })
    }

    /// The word of a part of a number, and the turn of the ring that it belongs to.
    #[inline]
    fn place(&self, part: Part, number: i64) -> (&AtomicU64, i64) {
        let slot = &self.slots[number.rem_euclid(SLOTS as i64) as usize];
        let word = match part {
            Part::Used => &slot.used,
            Part::Held => &slot.held,
        };
        (word, number.div_euclid(SLOTS as i64))
    }

    /// The first number that still counts in `number`.
    #[inline]
    const fn first_live(number: i64) -> i64 {
        number.saturating_sub(SLOTS as i64 - 1)
    }
}

/// The length of a sub-interval: `SLOTS - 1` of them are at least as long as the window.
const fn sub_micros<const SLOTS: usize>(length_micros: i64) -> i64 {
    let subs = SLOTS as i64 - 1;
    let sub = length_micros / subs + (length_micros % subs > 0) as i64;
    if sub < 1 { 1 } else { sub }
}

/// Bits of a slot that count the amount; the turns of the ring get as many as windows of that length would ([`Window::amount_bits`]).
///
/// [`Window::amount_bits`]: crate::window::Window::amount_bits
const fn amount_bits<const SLOTS: usize>(sub_micros: i64) -> u32 {
    let turns = 50 * MICROS_PER_YEAR / sub_micros.saturating_mul(SLOTS as i64);
    let tag = if turns < 1 { 2 } else { turns.ilog2() + 2 };
    if u64::BITS - tag < ROLLING_AMOUNT_BITS_MAX { u64::BITS - tag } else { ROLLING_AMOUNT_BITS_MAX }
}

/// Raises a word of numbers to `number` and returns what it was.
fn raise(word: &AtomicU64, number: i64) -> i64 {
    change(word, WHOLE, 0, |state| State { amount: (state.amount as i64).max(number) as u64, ..state }).0.amount as i64
}

/// An unused budget, first asked for at `now_micros`.
#[cfg(test)]
fn unused<const SLOTS: usize>(length_micros: i64, now_micros: i64) -> Rolling<SLOTS> {
    let sub_micros = sub_micros::<SLOTS>(length_micros);
    let back = (MICROS_PER_YEAR / sub_micros).max(2 * SLOTS as i64);
    Rolling::new(length_micros, now_micros.div_euclid(sub_micros).saturating_sub(back))
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;

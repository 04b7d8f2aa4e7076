//! Charging several budgets, all or nothing.
//!
//! **Story.** A charge looks at every hard budget first and takes nothing unless all have room. Then it charges them in one order, the
//! same for everybody, and undoes what it took if one has filled up meanwhile. Budgets that never refuse come last. With at most one
//! hard budget nothing can need an undo.
//!
//! **One instant.** A charge of several budgets, and whatever changes what is held, announces itself in [`Flights`]. [`snapshot`] reads all
//! budgets as of an instant in which nothing was announced.
//!
//! **Exact refusals.** An undone attempt must not make others fail (contract §3.4). Attempts that may be undone are among
//! those that are announced. Who finds no room waits for the attempts then in flight and looks at the budgets' counts of undone charges: if they have not
//! moved, every amount that stood in the way belonged to a charge that went through, and the refusal holds for the instant at which
//! the budget was read. If they have, it asks again. Before that, holds whose time has run out are collected. The wait and the rounds are
//! bounded; this is the cold path.

mod examine;
mod flights;
mod seat;
mod tell;

use smallvec::SmallVec;

use crate::amount::{Cap, Cost, Resource};
use crate::clock::Clock;
use crate::meter::{Gate, Part, rule};
use crate::policy::Enforcement;
use crate::time::Timestamp;
use examine::Examiner;
pub(crate) use examine::Refused;
pub(crate) use flights::{Flight, Flights};
pub(crate) use seat::{Label, Seat, Single};
pub(crate) use tell::{News, What};
use tell::{Reached, Way, tell};

/// What charging needs of the engine around the budgets.
pub(crate) trait Grounds {
    /// Who is in the middle of something.
    fn flights(&self) -> &Flights;

    fn clock(&self) -> &Clock;

    /// Settles the holds whose time has run out by `now`; says whether there were any.
    fn collect_expired(&self, now: Timestamp) -> bool;

    /// Tells whoever listens what the budget of `seat` came to.
    fn tell(&self, seat: &Seat, news: News);
}

/// What is asked of the budgets of a scope.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask<'a> {
    /// To charge this; an amount of 0 is a question that passes.
    Charge(&'a Cost),
    /// To hold this; an amount of 0 passes while anything is left.
    Hold(&'a Cost),
    /// Whether anything is left, in every budget.
    Room,
}

impl Ask<'_> {
    /// The amount asked of a seat; `None` when it does not take part. 0 asks whether anything is left.
    #[inline]
    fn of(self, seat: &Seat) -> Option<u64> {
        match self {
            Self::Charge(cost) => cost.amount(seat.resource).filter(|amount| *amount > 0),
            Self::Hold(cost) => cost.amount(seat.resource),
            Self::Room => Some(0),
        }
    }

    /// What a seat's amount becomes.
    #[inline]
    fn part(self) -> Part {
        match self {
            Self::Hold(_) => Part::Held,
            Self::Charge(_) | Self::Room => Part::Used,
        }
    }
}

/// The numbers of the windows that admitted a hold, by seat.
pub(crate) type Windows = SmallVec<[i64; 8]>;

/// Some of a scope's budgets, by their position in it: up to 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct SeatSet(pub(crate) u64);

impl SeatSet {
    fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..u64::BITS as usize).filter(move |index| self.0 >> index & 1 == 1)
    }
}

/// The most budgets that one scope can have.
pub(crate) const SEATS_MAX: usize = u64::BITS as usize;

/// An admission: what to tell the host about budgets that let it through although they have no room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    /// Soft budgets that are above their max now.
    pub(crate) over: SeatSet,
    /// Shadow budgets that would have refused.
    pub(crate) would_refuse: SeatSet,
}

/// Marks the budgets of a scope whose charges may be undone: those that can refuse, when there are several.
pub(crate) fn join(seats: &[Seat]) {
    let hard = || seats.iter().filter(|seat| seat.is_hard());
    if hard().nth(1).is_some() {
        hard().for_each(|seat| seat.meter.join());
    }
}

/// Answers `ask` in one step for all `seats`, and leaves the numbers of the windows that admitted it in `windows`.
#[inline]
pub(crate) fn charge(
    seats: &[Seat],
    grounds: &impl Grounds,
    ask: Ask<'_>,
    now: Timestamp,
    windows: &mut Windows,
) -> Result<Passed, Refused> {
    if let Some(passed) = attempt(seats, grounds, ask, now, windows) {
        return Ok(passed);
    }
    let mut examiner = Examiner::new(seats, grounds, ask, now);
    loop {
        if let Some(refused) = examiner.examine() {
            return Err(refused);
        }
        if let Some(passed) = attempt(seats, grounds, ask, examiner.now, windows) {
            return Ok(passed);
        }
    }
}

/// Answers `ask` without taking anything.
pub(crate) fn check(seats: &[Seat], grounds: &impl Grounds, ask: Ask<'_>, now: Timestamp) -> Result<Passed, Refused> {
    let mut examiner = Examiner::new(seats, grounds, ask, now);
    match examiner.examine_until_sure() {
        Some(refused) => Err(refused),
        None => Ok(outlook(seats, ask, examiner.now)),
    }
}

/// One try: all seats or none. `None` when some hard seat had no room. Leaves the number of each charged seat's window in `windows`.
#[inline]
fn attempt(
    seats: &[Seat],
    grounds: &impl Grounds,
    ask: Ask<'_>,
    now: Timestamp,
    windows: &mut Windows,
) -> Option<Passed> {
    let (mut hard, mut asked, mut several) = (0, 0, matches!(ask, Ask::Hold(_)));
    for seat in seats {
        let Some(amount) = ask.of(seat) else { continue };
        asked += 1;
        several |= seat.has_several_words();
        if seat.is_hard() {
            if !rule::fits(seat.peek(now), amount, seat.gate) {
                return None;
            }
            hard += 1;
        }
    }
    *windows = Windows::from_elem(0, seats.len());
    // Announced until all is done: who looks at several words, or at what is held, sees all of it or nothing.
    let flight = (several || asked > 1).then(|| grounds.flights().begin());
    // With one hard seat nothing can need an undo: it comes first, and the others never refuse.
    let mut reached = Reached::new();
    if hard > 0 && !charge_hard(seats, ask, now, windows, &mut reached) {
        return None;
    }
    let mut passed = Passed::default();
    if hard < seats.len() {
        charge_rest(seats, ask, now, windows, (&mut passed, &mut reached));
    }
    if let Ask::Hold(cost) = ask {
        mark_held(seats, cost, windows);
    }
    drop(flight);
    // Of what went through alone.
    for (index, charged) in reached {
        let added = ask.of(&seats[index]).unwrap_or(0);
        tell(grounds, &seats[index], now, (windows[index], charged), (added, Way::Admitted));
    }
    Some(passed)
}

/// Charges the hard seats in order; undoes all and says false when one has no room.
#[inline]
fn charge_hard(seats: &[Seat], ask: Ask<'_>, now: Timestamp, windows: &mut Windows, reached: &mut Reached) -> bool {
    for (index, seat) in seats.iter().enumerate() {
        if let (Gate::Max(_), Some(amount)) = (seat.gate, ask.of(seat)) {
            let Ok(state) = seat.admit(now, amount, seat.gate, ask.part()) else {
                undo(&seats[..index], ask, windows);
                return false;
            };
            windows[index] = state.window;
            if state.amount >= seat.mark {
                reached.push((index, state.amount));
            }
        }
    }
    true
}

#[cold]
fn undo(charged: &[Seat], ask: Ask<'_>, windows: &Windows) {
    for (seat, &window) in charged.iter().zip(windows) {
        if let (Gate::Max(_), Some(amount @ 1..)) = (seat.gate, ask.of(seat)) {
            seat.meter.undo(window, amount, ask.part());
        }
    }
}

/// Counts the amounts of the seats that never refuse. A hold may be settled in resources that it did not name, so it opens their seats'
/// windows too.
fn charge_rest(
    seats: &[Seat],
    ask: Ask<'_>,
    now: Timestamp,
    windows: &mut Windows,
    (passed, reached): (&mut Passed, &mut Reached),
) {
    for (index, seat) in seats.iter().enumerate() {
        match (ask.of(seat), seat.gate) {
            (Some(amount), Gate::Open) => {
                if let Ok(state) = seat.admit(now, amount, Gate::Open, ask.part()) {
                    windows[index] = state.window;
                    note(seat, index, amount, state.amount, passed);
                    if state.amount >= seat.mark {
                        reached.push((index, state.amount));
                    }
                }
            }
            (None, _) if matches!(ask, Ask::Hold(_)) => windows[index] = seat.enter(now),
            // Charged already, or not asked.
            (Some(_), Gate::Max(_)) | (None, _) => {}
        }
    }
}

/// Marks what `cost` holds in each seat, for reports.
fn mark_held(seats: &[Seat], cost: &Cost, windows: &Windows) {
    for (seat, &window) in seats.iter().zip(windows) {
        if let Some(amount) = cost.amount(seat.resource).filter(|amount| *amount > 0) {
            seat.meter.hold(window, amount);
        }
    }
}

/// Marks a seat that let `amount` through and stands at `charged` with it.
#[inline]
fn note(seat: &Seat, index: usize, amount: u64, charged: u64, passed: &mut Passed) {
    let Cap::Max(max) = seat.cap else { return };
    match seat.enforcement {
        Enforcement::Hard => {}
        Enforcement::Soft => {
            if charged > max {
                passed.over.insert(index);
            }
        }
        Enforcement::Shadow => {
            if charged > max || amount == 0 && charged == max {
                passed.would_refuse.insert(index);
            }
        }
    }
}

/// What admitting `ask` now would report, taking nothing.
fn outlook(seats: &[Seat], ask: Ask<'_>, now: Timestamp) -> Passed {
    let mut passed = Passed::default();
    for (index, seat) in seats.iter().enumerate() {
        let Some(amount) = ask.of(seat) else { continue };
        note(seat, index, amount, seat.peek(now).amount.saturating_add(amount), &mut passed);
    }
    passed
}

/// Counts `amount` of each seat's resource after the fact; tells each seat's window and charged amount to `report`.
pub(crate) fn record(
    seats: &[Seat],
    grounds: &impl Grounds,
    cost: &Cost,
    now: Timestamp,
    mut report: impl FnMut(usize, i64, u64),
) {
    let asked = || seats.iter().filter(|seat| cost.amount(seat.resource).is_some());
    let _flight = (asked().nth(1).is_some() || asked().any(Seat::has_several_words)).then(|| grounds.flights().begin());
    for (index, seat) in seats.iter().enumerate() {
        let Some(amount) = cost.amount(seat.resource) else { continue };
        let state = if amount == 0 { Ok(seat.peek(now)) } else { seat.admit(now, amount, Gate::Open, Part::Used) };
        if let Ok(state) = state {
            report(index, state.window, state.amount);
            seat.tell_counted(grounds, now, (state.window, state.amount), amount);
        }
    }
}

/// The most that would be admitted of `resource` now.
pub(crate) fn afford(seats: &[Seat], resource: Resource, now: Timestamp) -> Cap {
    let room = |seat: &Seat| match seat.gate {
        Gate::Max(max) => Cap::Max(max.saturating_sub(seat.peek(now).amount)),
        Gate::Open => Cap::Unlimited,
    };
    seats.iter().filter(|seat| seat.resource == resource).map(room).min().unwrap_or(Cap::Unlimited)
}

/// What `read` reads, as of one instant: nothing that changes several budgets, or what is held, was under way.
///
/// Tries a few times to read between such operations; if they come too thick, keeps new ones waiting for the moment it takes.
pub(crate) fn snapshot<T>(flights: &Flights, read: impl Fn() -> T) -> T {
    const TRIES: u32 = 4;
    for _ in 0..TRIES {
        let before = flights.quiet();
        let seen = read();
        if before.is_some() && flights.quiet() == before {
            return seen;
        }
    }
    let _quiet = flights.exclusive();
    read()
}

#[cfg(test)]
mod stand;

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;

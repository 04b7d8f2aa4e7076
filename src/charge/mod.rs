//! Charging several budgets, all or nothing.
//!
//! **Story.** A charge looks at every hard budget first and takes nothing unless all have room. Then it charges them in one order, the
//! same for everybody, and undoes what it took if one has filled up meanwhile. Budgets that never refuse come last. With at most one
//! hard budget nothing can need an undo.
//!
//! **Exact refusals.** An undone attempt must not make others fail (contract §3.4). Attempts that may be undone announce themselves in
//! [`Flights`]. Who finds no room waits for the attempts then in flight and looks at the budgets' counts of undone charges: if they have not
//! moved, every amount that stood in the way belonged to a charge that went through, and the refusal holds for the instant at which
//! the budget was read. If they have, it asks again. The wait and the rounds are bounded; this is the cold path.

mod flights;

use std::sync::Arc;

use smallvec::SmallVec;

use crate::amount::{Cap, Cost, Resource};
use crate::clock::Clock;
use crate::meter::{Gate, Layout, Meter, Settled, Slice, State, rule};
use crate::policy::Enforcement;
use crate::time::Timestamp;
use crate::window::Window;
pub(crate) use flights::Flights;

/// Rounds of examining a refusal before it stands even though some attempt was undone in each.
const ROUNDS_MAX: u32 = 64;

/// A budget's place in a scope: the meter and the limit in force for it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) meter: Arc<Meter>,
    pub(crate) resource: Resource,
    pub(crate) window: Window,
    slice: Slice,
    pub(crate) cap: Cap,
    pub(crate) enforcement: Enforcement,
    gate: Gate,
    /// Index of the limit in the policy.
    pub(crate) limit: usize,
    /// Index of the subject in the scope.
    pub(crate) subject: usize,
}

impl Seat {
    pub(crate) fn new(
        meter: Arc<Meter>,
        resource: Resource,
        window: Window,
        (cap, enforcement): (Cap, Enforcement),
        limit: usize,
        subject: usize,
    ) -> Self {
        let gate = match (enforcement, cap) {
            (Enforcement::Hard, Cap::Max(max)) => Gate::Max(max),
            _ => Gate::Open,
        };
        Self { meter, resource, window, slice: Slice::new(window), cap, enforcement, gate, limit, subject }
    }
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

/// A hard budget that has no room, as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocked {
    pub(crate) seat: usize,
    pub(crate) requested: u64,
    pub(crate) max: u64,
    pub(crate) state: State,
    pub(crate) held: u64,
}

/// A refusal: every hard budget without room, in the order of the seats, and the instant it was decided for.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) blocked: SmallVec<[Blocked; 2]>,
    pub(crate) now: Timestamp,
}

/// Marks the budgets of a scope whose charges may be undone: those that can refuse, when there are several.
pub(crate) fn join(seats: &[Seat]) {
    let hard = || seats.iter().filter(|seat| seat.gate != Gate::Open);
    if hard().nth(1).is_some() {
        hard().for_each(|seat| seat.meter.join());
    }
}

/// The way to charge a scope of one hard budget, without the steps that several budgets need: what it takes, side by side.
#[derive(Debug)]
pub(crate) struct Single {
    meter: Arc<Meter>,
    layout: Layout,
    slice: Slice,
    resource: Resource,
    gate: Gate,
}

impl Single {
    pub(crate) fn of(seats: &[Seat]) -> Option<Self> {
        match seats {
            [seat] if seat.gate != Gate::Open => Some(Self {
                meter: Arc::clone(&seat.meter),
                layout: seat.meter.layout(),
                slice: Slice::new(seat.window),
                resource: seat.resource,
                gate: seat.gate,
            }),
            _ => None,
        }
    }

    /// Charges `cost` if it is of the budget's resource alone and fits. Otherwise nothing is charged, and the long way gives the answer.
    #[allow(
        clippy::inline_always,
        reason = "measured: a cost that is made for the call is never looked up in memory this way"
    )]
    #[inline(always)]
    pub(crate) fn charge(&self, cost: &Cost, now: Timestamp) -> bool {
        match *cost.items.as_slice() {
            [(resource, amount)] if resource == self.resource && amount != 0 => {
                self.meter.admit_as(self.layout, self.slice.index(now), amount, self.gate).is_ok()
            }
            _ => false,
        }
    }
}

/// Answers `ask` in one step for all `seats`, and leaves the numbers of the windows that admitted it in `windows`.
#[inline]
pub(crate) fn charge(
    seats: &[Seat],
    flights: &Flights,
    clock: &Clock,
    ask: Ask<'_>,
    now: Timestamp,
    windows: &mut Windows,
) -> Result<Passed, Refused> {
    if let Some(passed) = attempt(seats, flights, ask, now, windows) {
        return Ok(passed);
    }
    let mut examiner = Examiner { seats, flights, clock, ask, now, round: 0 };
    loop {
        if let Some(refused) = examiner.examine() {
            return Err(refused);
        }
        if let Some(passed) = attempt(seats, flights, ask, examiner.now, windows) {
            return Ok(passed);
        }
    }
}

/// Answers `ask` without taking anything.
pub(crate) fn check(
    seats: &[Seat],
    flights: &Flights,
    clock: &Clock,
    ask: Ask<'_>,
    now: Timestamp,
) -> Result<Passed, Refused> {
    if blocked(seats, ask, now).is_empty() {
        return Ok(outlook(seats, ask, now));
    }
    let mut examiner = Examiner { seats, flights, clock, ask, now, round: 0 };
    match examiner.examine_until_sure() {
        Some(refused) => Err(refused),
        None => Ok(outlook(seats, ask, examiner.now)),
    }
}

/// One try: all seats or none. `None` when some hard seat had no room. Leaves the number of each charged seat's window in `windows`.
#[inline]
fn attempt(seats: &[Seat], flights: &Flights, ask: Ask<'_>, now: Timestamp, windows: &mut Windows) -> Option<Passed> {
    let mut hard = 0;
    for seat in seats {
        if let (Gate::Max(_), Some(amount)) = (seat.gate, ask.of(seat)) {
            if !rule::fits(seat.meter.peek(seat.slice.index(now)), amount, seat.gate) {
                return None;
            }
            hard += 1;
        }
    }
    *windows = Windows::from_elem(0, seats.len());
    // With one hard seat nothing can need an undo: it comes first, and the others never refuse.
    let flight = (hard > 1).then(|| flights.begin());
    if hard > 0 && !charge_hard(seats, ask, now, windows) {
        return None;
    }
    drop(flight);
    let mut passed = Passed::default();
    if hard < seats.len() {
        charge_rest(seats, ask, now, windows, &mut passed);
    }
    Some(passed)
}

/// Charges the hard seats in order; undoes all and says false when one has no room.
#[inline]
fn charge_hard(seats: &[Seat], ask: Ask<'_>, now: Timestamp, windows: &mut Windows) -> bool {
    for (index, seat) in seats.iter().enumerate() {
        if let (Gate::Max(_), Some(amount)) = (seat.gate, ask.of(seat)) {
            let Ok(state) = seat.meter.admit(seat.slice.index(now), amount, seat.gate) else {
                undo(&seats[..index], ask, windows);
                return false;
            };
            windows[index] = state.window;
        }
    }
    true
}

#[cold]
fn undo(charged: &[Seat], ask: Ask<'_>, windows: &Windows) {
    for (seat, &window) in charged.iter().zip(windows) {
        if let (Gate::Max(_), Some(amount @ 1..)) = (seat.gate, ask.of(seat)) {
            seat.meter.undo(window, amount);
        }
    }
}

/// Counts the amounts of the seats that never refuse. A hold may be settled in resources that it did not name, so it opens their seats'
/// windows too.
fn charge_rest(seats: &[Seat], ask: Ask<'_>, now: Timestamp, windows: &mut Windows, passed: &mut Passed) {
    for (index, seat) in seats.iter().enumerate() {
        match (ask.of(seat), seat.gate) {
            (Some(amount), Gate::Open) => {
                if let Ok(state) = seat.meter.admit(seat.slice.index(now), amount, Gate::Open) {
                    windows[index] = state.window;
                    note(seat, index, amount, state.amount, passed);
                }
            }
            (None, _) if matches!(ask, Ask::Hold(_)) => windows[index] = seat.meter.enter(seat.slice.index(now)),
            // Charged already, or not asked.
            (Some(_), Gate::Max(_)) | (None, _) => {}
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
        let charged = seat.meter.peek(seat.slice.index(now)).amount;
        note(seat, index, amount, charged.saturating_add(amount), &mut passed);
    }
    passed
}

fn blocked(seats: &[Seat], ask: Ask<'_>, now: Timestamp) -> SmallVec<[Blocked; 2]> {
    let mut found = SmallVec::new();
    for (index, seat) in seats.iter().enumerate() {
        let (Gate::Max(max), Some(requested)) = (seat.gate, ask.of(seat)) else { continue };
        let state = seat.meter.peek(seat.slice.index(now));
        if !rule::fits(state, requested, Gate::Max(max)) {
            found.push(Blocked { seat: index, requested, max, state, held: seat.meter.held(state.window) });
        }
    }
    found
}

/// Makes sure of a refusal before it is told.
struct Examiner<'a> {
    seats: &'a [Seat],
    flights: &'a Flights,
    clock: &'a Clock,
    ask: Ask<'a>,
    now: Timestamp,
    round: u32,
}

impl Examiner<'_> {
    #[cold]
    fn examine_until_sure(&mut self) -> Option<Refused> {
        loop {
            if let Some(refused) = self.examine() {
                return Some(refused);
            }
            if blocked(self.seats, self.ask, self.now).is_empty() {
                return None;
            }
        }
    }

    /// One round: the refusal if it is certain, `None` if it is worth asking again.
    #[cold]
    fn examine(&mut self) -> Option<Refused> {
        self.round += 1;
        let undone = self.undone_counts();
        let mut found = blocked(self.seats, self.ask, self.now);
        let windowed = |blocked: &Blocked| self.seats[blocked.seat].window != Window::Lifetime;
        if self.round == 1 && found.iter().any(windowed) {
            // The clock may be coarse, and behind: nobody is refused in the name of a window that has ended.
            self.now = self.now.max(self.clock.now_precise());
            found = blocked(self.seats, self.ask, self.now);
        }
        if found.is_empty() {
            return None;
        }
        let may_be_undone = found.iter().any(|blocked| self.seats[blocked.seat].meter.is_joined());
        let quiet = !may_be_undone || self.flights.wait() && self.undone_counts() == undone;
        if !quiet && self.round < ROUNDS_MAX {
            return None;
        }
        self.come_back(&mut found);
        Some(Refused { blocked: found, now: self.now })
    }

    /// Undone charges so far, by seat.
    fn undone_counts(&self) -> SmallVec<[u32; 8]> {
        self.seats.iter().map(|seat| seat.meter.undone()).collect()
    }

    /// Keeps a window that a jumped clock opened from locking its subject out for longer than one window.
    fn come_back(&self, blocked: &mut [Blocked]) {
        for blocked in blocked {
            let Seat { meter, window, .. } = &self.seats[blocked.seat];
            if blocked.state.window > window.index(self.now).saturating_add(1) {
                let seen = meter.state(blocked.state.window);
                // Read after the state: see `Meter::come_back`.
                blocked.state.window = meter.come_back(seen, window.index(self.clock.now_precise()));
            }
        }
    }
}

/// Counts `amount` of each seat's resource after the fact; tells each seat's charged amount to `report`.
pub(crate) fn record(seats: &[Seat], cost: &Cost, now: Timestamp, mut report: impl FnMut(usize, u64)) {
    for (index, seat) in seats.iter().enumerate() {
        let Some(amount) = cost.amount(seat.resource) else { continue };
        let now = seat.slice.index(now);
        let state = if amount == 0 { Ok(seat.meter.peek(now)) } else { seat.meter.admit(now, amount, Gate::Open) };
        if let Ok(state) = state {
            report(index, state.amount);
        }
    }
}

/// Marks what `cost` holds in each seat, for reports.
pub(crate) fn hold(seats: &[Seat], cost: &Cost, windows: &Windows) {
    for (seat, &window) in seats.iter().zip(windows) {
        if let Some(amount) = cost.amount(seat.resource).filter(|amount| *amount > 0) {
            seat.meter.hold(window, amount);
        }
    }
}

/// Settles one seat's hold of `held` in `window` at `actual`, and frees it for reports.
pub(crate) fn settle(seat: &Seat, window: i64, held: u64, actual: u64) -> Settled {
    let settled = seat.meter.settle(window, held, actual);
    if held > 0 {
        seat.meter.unhold(window, held);
    }
    settled
}

/// The most that would be admitted of `resource` now.
pub(crate) fn afford(seats: &[Seat], resource: Resource, now: Timestamp) -> Cap {
    let room = |seat: &Seat| match seat.gate {
        Gate::Max(max) => Cap::Max(max.saturating_sub(seat.meter.peek(seat.slice.index(now)).amount)),
        Gate::Open => Cap::Unlimited,
    };
    seats.iter().filter(|seat| seat.resource == resource).map(room).min().unwrap_or(Cap::Unlimited)
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;

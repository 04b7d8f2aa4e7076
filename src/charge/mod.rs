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
mod moment;
mod seat;
mod short;
mod tell;

use smallvec::SmallVec;

use crate::amount::{Cap, Cost, Resource};
use crate::clock::Clock;
use crate::meter::{Gate, Meter, NO_WORD, Part, State, rule};
use crate::policy::Enforcement;
use crate::time::Timestamp;
use examine::Examiner;
pub(crate) use examine::{Blocked, Refused};
pub(crate) use flights::{Flight, Flights};
pub(crate) use moment::{Moment, charge_in, charge_in_order, record_in_order, take_back};
#[cfg(feature = "persist")]
pub(crate) use seat::UNWRITTEN;
pub(crate) use seat::{Label, Seat};
pub(crate) use short::{Measure, Quick, Short, charge_found};
pub(crate) use tell::Reached;
pub(crate) use tell::{News, What};
use tell::{Way, tell};

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

/// What is asked of each budget.
trait Asked: Copy {
    /// The amount asked of a budget of `resource`; `None` when it does not take part. 0 asks whether anything is left.
    fn of(self, resource: Resource) -> Option<u64>;

    /// What an amount becomes.
    fn part(self) -> Part;
}

impl Asked for Ask<'_> {
    #[inline]
    fn of(self, resource: Resource) -> Option<u64> {
        match self {
            Self::Charge(cost) => cost.amount(resource).filter(|amount| *amount > 0),
            Self::Hold(cost) => cost.amount(resource),
            Self::Room => Some(0),
        }
    }

    #[inline]
    fn part(self) -> Part {
        match self {
            Self::Hold(_) => Part::Held,
            Self::Charge(_) | Self::Room => Part::Used,
        }
    }
}

#[cfg(feature = "persist")]
impl Ask<'_> {
    /// The amount asked of a budget of `resource`; `None` when nothing is taken from it.
    pub(crate) fn amount_of(self, resource: Resource) -> Option<u64> {
        Asked::of(self, resource)
    }
}

/// Takes back an amount that was charged in `window`, to be used or held, and counted as such.
#[cold]
fn give_up(meter: &Meter, window: i64, amount: u64, part: Part) {
    match part {
        Part::Used => meter.undo(window, amount, part),
        Part::Held => {
            meter.settle(window, amount, 0);
        }
    }
}

/// The numbers of the windows that admitted a hold, by seat.
pub(crate) type Windows = SmallVec<[i64; SEATS_INLINE]>;

/// As many budgets as most scopes have.
pub(crate) const SEATS_INLINE: usize = 8;

/// A copy of the bytes; cloning goes number by number.
#[inline]
pub(crate) fn copied(windows: &Windows) -> Windows {
    Windows::from_slice(windows)
}

/// Room for the numbers of so many windows.
#[inline]
pub(crate) fn unset(seats: usize) -> Windows {
    if seats <= SEATS_INLINE {
        Windows::from_buf_and_len([0; SEATS_INLINE], seats)
    } else {
        Windows::from_elem(0, seats)
    }
}

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

/// A budget's place in a scope, as charging goes by it: a [`Seat`], or what a [`Short`] way keeps of one.
trait Place {
    fn resource(&self) -> Resource;

    /// Whether it can refuse.
    fn is_hard(&self) -> bool;

    /// Whether operations on it alone have to be announced.
    fn has_several_words(&self) -> bool;

    /// What an operation at `now` would see, or more: room that stripes hold counts as charged.
    fn glance(&self, now: Timestamp) -> (State, Glance);

    /// What an operation at `now` would see, where a glance may say more.
    fn look_closer(&self, now: Timestamp) -> Option<State>;

    /// What an admission in window number `window` may do.
    fn gate_in(&self, window: i64) -> Gate;

    /// Charges `amount` if it fits, to be used or held, at the time of the glance.
    fn admit(&self, glance: Glance, amount: u64, part: Part) -> Result<State, State>;

    /// Takes back what was charged in `window`.
    fn undo(&self, window: i64, amount: u64, part: Part);

    /// Counts `amount`, which has been charged to be held, as held in `window`.
    fn hold(&self, window: i64, amount: u64);

    /// The least charged amount that is worth telling.
    fn mark(&self) -> u64;
}

/// What charging a place may go by after a glance at it.
#[derive(Clone, Copy, Default)]
struct Glance {
    /// When, as the place goes by it: the microsecond, or the number of the window.
    when: i64,
    /// The word that was seen, or [`NO_WORD`] where there is more to it.
    word: u64,
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
    let mut glances = SmallVec::<[_; SEATS_INLINE]>::from_elem(Glance::default(), seats.len());
    let seen = look(seats, ask, now, &mut glances)?;
    // Announced until all is done: who looks at several words, or at what is held, sees all of it or nothing.
    let flight = seen.is_announced(ask).then(|| grounds.flights().begin());
    let mut reached = Reached::new();
    let passed = take(seats, (seen, &glances), ask, now, windows, &mut reached)?;
    drop(flight);
    tell_reached(seats, grounds, ask, now, windows, reached);
    Some(passed)
}

/// Tells what an admission that went through has reached.
pub(crate) fn tell_reached(
    seats: &[Seat],
    grounds: &impl Grounds,
    ask: Ask<'_>,
    now: Timestamp,
    windows: &Windows,
    reached: Reached,
) {
    for (index, charged) in reached {
        let added = ask.of(seats[index].resource).unwrap_or(0);
        tell(grounds, &seats[index], now, (windows[index], charged), (added, Way::Admitted));
    }
}

/// How many seats are asked, how many of them can refuse, and whether one has several words.
#[derive(Clone, Copy)]
struct Seen {
    hard: usize,
    asked: usize,
    several_words: bool,
}

impl Seen {
    #[inline]
    fn is_announced(self, ask: impl Asked) -> bool {
        self.asked > 1 || self.several_words || ask.part() == Part::Held
    }
}

/// Whether everything fits as it stands. Leaves a glance at each seat that can refuse in `glances`.
#[allow(clippy::inline_always, reason = "measured: as `charge_hard`")]
#[inline(always)]
fn look<P: Place>(seats: &[P], ask: impl Asked, now: Timestamp, glances: &mut [Glance]) -> Option<Seen> {
    let mut seen = Seen { hard: 0, asked: 0, several_words: false };
    for (seat, place) in seats.iter().zip(glances) {
        let Some(amount) = ask.of(seat.resource()) else { continue };
        seen.asked += 1;
        seen.several_words |= seat.has_several_words();
        if seat.is_hard() {
            let fits = |state: State| rule::fits(state, amount, seat.gate_in(state.window));
            let (state, glance) = seat.glance(now);
            *place = if fits(state) {
                glance
            } else if seat.look_closer(now).is_some_and(fits) {
                // Not by the word that was seen: by that it does not fit.
                Glance { word: NO_WORD, ..glance }
            } else {
                return None;
            };
            seen.hard += 1;
        }
    }
    Some(seen)
}

/// Charges all seats or none; the caller has looked, and has announced it where others must see all of it or nothing.
#[inline]
fn take(
    seats: &[Seat],
    (Seen { hard, .. }, glances): (Seen, &[Glance]),
    ask: Ask<'_>,
    now: Timestamp,
    windows: &mut Windows,
    reached: &mut Reached,
) -> Option<Passed> {
    *windows = unset(seats.len());
    // With one hard seat nothing can need an undo: it comes first, and the others never refuse.
    if hard > 0 && !charge_hard(seats, glances, ask, windows, |index, charged| reached.push((index, charged))) {
        return None;
    }
    let mut passed = Passed::default();
    if hard < seats.len() {
        charge_rest(seats, ask, now, windows, (&mut passed, reached));
    }
    if ask.part() == Part::Held {
        mark_held(seats, ask, windows);
    }
    Some(passed)
}

/// Charges the hard seats in order, after a [`look`], and leaves their windows in `windows`; undoes all and says false when one has no room. Tells
/// `reach` which of them has charged how much that is worth telling.
#[allow(clippy::inline_always, reason = "measured: each way to charge is one function this way")]
#[inline(always)]
fn charge_hard<P: Place>(
    seats: &[P],
    glances: &[Glance],
    ask: impl Asked,
    windows: &mut [i64],
    mut reach: impl FnMut(usize, u64),
) -> bool {
    for (index, ((seat, glance), window)) in seats.iter().zip(glances).zip(&mut *windows).enumerate() {
        if let (true, Some(amount)) = (seat.is_hard(), ask.of(seat.resource())) {
            let Ok(state) = seat.admit(*glance, amount, ask.part()) else {
                undo(&seats[..index], ask, windows);
                return false;
            };
            *window = state.window;
            if state.amount >= seat.mark() {
                reach(index, state.amount);
            }
        }
    }
    true
}

#[cold]
fn undo<P: Place>(charged: &[P], ask: impl Asked, windows: &[i64]) {
    for (seat, &window) in charged.iter().zip(windows) {
        if let (true, Some(amount @ 1..)) = (seat.is_hard(), ask.of(seat.resource())) {
            seat.undo(window, amount, ask.part());
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
        match ask.of(seat.resource) {
            Some(amount) if !seat.is_hard() => {
                let state = seat.count(now, amount, ask.part());
                windows[index] = state.window;
                note(seat, index, amount, state, passed);
                if state.amount >= seat.mark {
                    reached.push((index, state.amount));
                }
            }
            None if matches!(ask, Ask::Hold(_)) => windows[index] = seat.count(now, 0, ask.part()).window,
            // Charged already, or not asked.
            Some(_) | None => {}
        }
    }
}

/// Marks what is held in each seat, for reports.
#[inline]
fn mark_held<P: Place>(seats: &[P], ask: impl Asked, windows: &[i64]) {
    for (seat, &window) in seats.iter().zip(windows) {
        if let Some(amount @ 1..) = ask.of(seat.resource()) {
            seat.hold(window, amount);
        }
    }
}

/// Marks a seat that let `amount` through and stands at this with it.
#[inline]
fn note(seat: &Seat, index: usize, amount: u64, State { window, amount: charged }: State, passed: &mut Passed) {
    let Cap::Max(max) = seat.cap_in(window) else { return };
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
        let Some(amount) = ask.of(seat.resource) else { continue };
        let state = seat.peek(now);
        let with_it = State { amount: state.amount.saturating_add(amount), ..state };
        note(seat, index, amount, with_it, &mut passed);
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
    let is_announced = asked().nth(1).is_some() || asked().any(Seat::has_several_words);
    let _flight = is_announced.then(|| grounds.flights().begin());
    count(seats, grounds, cost, now, &mut report);
}

/// What [`record`] does once it is announced.
fn count(
    seats: &[Seat],
    grounds: &impl Grounds,
    cost: &Cost,
    now: Timestamp,
    report: &mut impl FnMut(usize, i64, u64),
) {
    for (index, seat) in seats.iter().enumerate() {
        let Some(amount) = cost.amount(seat.resource) else { continue };
        let state = if amount == 0 { seat.peek(now) } else { seat.count(now, amount, Part::Used) };
        report(index, state.window, state.amount);
        seat.tell_counted(grounds, now, (state.window, state.amount), amount);
    }
}

/// The most that would be admitted of `resource` now.
pub(crate) fn afford(seats: &[Seat], resource: Resource, now: Timestamp) -> Cap {
    seats.iter().filter(|seat| seat.resource == resource).map(|seat| room(seat, now)).min().unwrap_or(Cap::Unlimited)
}

/// The most that a seat would admit now.
fn room(seat: &Seat, now: Timestamp) -> Cap {
    let state = seat.peek(now);
    match seat.gate_in(state.window) {
        Gate::Max(max) => Cap::Max(max.saturating_sub(state.amount)),
        Gate::Open => Cap::Unlimited,
    }
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

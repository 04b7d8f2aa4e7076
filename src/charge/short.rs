//! The short way: charging budgets, or holding in them, that all can refuse, each by one word, with what it takes side by side.
//!
//! Nearly every charge is of such budgets, and fits. The short way admits it by the same steps as the long one, or charges nothing and leaves
//! the answer to the long one: whatever refuses, is worth telling, or is unusual goes there.

use std::borrow::Borrow;

use super::{
    Ask, Asked, Flights, Glance, Place, SEATS_INLINE, Seat, Windows, charge_hard, give_up, look, mark_held, unset,
};
use crate::amount::{Cost, Resource};
use crate::meter::{Gate, Layout, Meter, MeterRef, Part, Slice, State, Striping};
use crate::time::Timestamp;

/// The short way to charge a scope.
#[derive(Debug)]
pub(crate) enum Short {
    Single(Quick<MeterRef, Measure>),
    Several(Box<[Quick<MeterRef, Measure>]>),
}

/// A budget on the short way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quick<A, M> {
    pub(crate) meter: A,
    pub(crate) measure: M,
}

/// What charging a budget goes by, but for the budget itself: the same for all subjects of which the policy says the same.
#[derive(Debug)]
pub(crate) struct Measure {
    layout: Layout,
    slice: Slice,
    resource: Resource,
    gate: Gate,
    striping: Striping,
}

impl Short {
    /// `None` when one of the budgets never refuses, has more than one cap, or more than one word decides.
    pub(crate) fn of(seats: &[Seat]) -> Option<Self> {
        if seats.len() > SEATS_INLINE {
            return None;
        }
        let place = |seat: &Seat| Some(Quick { meter: seat.meter.clone(), measure: Measure::of(seat)? });
        let places = seats.iter().map(place).collect::<Option<Vec<_>>>()?;
        match <[_; 1]>::try_from(places) {
            Ok([place]) => Some(Self::Single(place)),
            Err(places) if places.is_empty() => None,
            Err(places) => Some(Self::Several(places.into())),
        }
    }

    /// Charges `cost` if it is of the budgets' resources alone, and fits. Otherwise nothing is charged. Where something has to be written down for
    /// it, `cover` does; if it says no, what was charged is taken back.
    #[allow(
        clippy::inline_always,
        reason = "measured: a cost that is made for the call is never looked up in memory this way"
    )]
    #[inline(always)]
    pub(crate) fn charge(&self, cost: &Cost, now: Timestamp, flights: &Flights, cover: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Single(place) => place.charge(cost, now, cover),
            Self::Several(places) => charge_several(places, cost, now, flights, cover),
        }
    }

    /// Holds `cost` where [`Short::charge`] would charge it, if it names the resources of all budgets; says in which windows. A hold opens the
    /// windows of the others too, which is for the long way.
    #[inline]
    pub(crate) fn hold(
        &self,
        cost: &Cost,
        now: Timestamp,
        flights: &Flights,
        cover: impl FnOnce() -> bool,
    ) -> Option<Windows> {
        match self {
            Self::Single(place) => hold_all(std::slice::from_ref(place), cost, now, flights, cover),
            Self::Several(places) => hold_all(places, cost, now, flights, cover),
        }
    }
}

/// Charges budgets that were found for this call, in the policy's order; as [`Short::charge`].
pub(crate) fn charge_found(
    places: &[Quick<&Meter, &Measure>],
    cost: &Cost,
    now: Timestamp,
    flights: &Flights,
    cover: impl FnOnce() -> bool,
) -> bool {
    match places {
        [] => false,
        [place] => place.charge(cost, now, cover),
        places => {
            // As `join` does when a scope is resolved.
            for place in places.iter().filter(|place| !place.meter.may_overstate()) {
                place.meter.join();
            }
            charge_several(places, cost, now, flights, cover)
        }
    }
}

/// As the long way: look, announce, charge in order, undo.
#[inline(never)]
fn charge_several<A: Borrow<Meter>, M: Borrow<Measure>>(
    places: &[Quick<A, M>],
    cost: &Cost,
    now: Timestamp,
    flights: &Flights,
    cover: impl FnOnce() -> bool,
) -> bool {
    take_short(places, Ask::Charge(cost), cost, (now, flights), &mut [0; SEATS_INLINE], cover)
}

/// As [`Short::hold`].
fn hold_all<A: Borrow<Meter>, M: Borrow<Measure>>(
    places: &[Quick<A, M>],
    cost: &Cost,
    now: Timestamp,
    flights: &Flights,
    cover: impl FnOnce() -> bool,
) -> Option<Windows> {
    if !places.iter().all(|place| cost.amount(place.resource()).is_some()) {
        return None;
    }
    let mut windows = unset(places.len());
    take_short(places, Ask::Hold(cost), cost, (now, flights), &mut windows, cover).then_some(windows)
}

/// The same amount, asked of every budget.
#[derive(Clone, Copy)]
struct Same {
    amount: u64,
    part: Part,
}

impl Asked for Same {
    #[inline]
    fn of(self, _: Resource) -> Option<u64> {
        Some(self.amount)
    }

    #[inline]
    fn part(self) -> Part {
        self.part
    }
}

/// Charges or holds `cost`, which `ask` asks for; false when nothing was taken.
#[allow(clippy::inline_always, reason = "measured: each of the two is one function this way")]
#[inline(always)]
fn take_short<A: Borrow<Meter>, M: Borrow<Measure>>(
    places: &[Quick<A, M>],
    ask: Ask<'_>,
    cost: &Cost,
    at: (Timestamp, &Flights),
    windows: &mut [i64],
    cover: impl FnOnce() -> bool,
) -> bool {
    if places.len() > SEATS_INLINE {
        return false;
    }
    if let [(resource, amount @ 1..)] = *cost.items.as_slice()
        && places.iter().all(|place| place.resource() == resource)
    {
        return take_asked(places, Same { amount, part: ask.part() }, at, windows, cover);
    }
    let is_counted = |&(resource, _): &(Resource, u64)| places.iter().any(|place| place.resource() == resource);
    cost.items.iter().all(is_counted) && take_asked(places, ask, at, windows, cover)
}

#[allow(clippy::inline_always, reason = "as `take_short`")]
#[inline(always)]
fn take_asked<A: Borrow<Meter>, M: Borrow<Measure>>(
    places: &[Quick<A, M>],
    ask: impl Asked,
    (now, flights): (Timestamp, &Flights),
    windows: &mut [i64],
    cover: impl FnOnce() -> bool,
) -> bool {
    let glances = &mut [Glance::default(); SEATS_INLINE];
    let Some(seen) = look(places, ask, now, glances) else { return false };
    let flight = seen.is_announced(ask).then(|| flights.begin());
    let taken = charge_hard(places, glances, ask, windows, |_, _| {});
    if taken && ask.part() == Part::Held {
        mark_held(places, ask, windows);
    }
    drop(flight);
    if taken && places.iter().any(|place| place.meter.borrow().is_beyond()) && !cover() {
        give_up_all(places, ask, flights, windows);
        return false;
    }
    taken
}

/// Takes back what could not be written down.
#[cold]
fn give_up_all<A: Borrow<Meter>, M: Borrow<Measure>>(
    places: &[Quick<A, M>],
    ask: impl Asked,
    flights: &Flights,
    windows: &[i64],
) {
    let _flight = flights.begin();
    for (place, &window) in places.iter().zip(windows) {
        if let Some(amount @ 1..) = ask.of(place.resource()) {
            give_up(place.meter.borrow(), window, amount, ask.part());
        }
    }
}

impl Measure {
    /// `None` as for [`Short::of`].
    pub(crate) fn of(seat: &Seat) -> Option<Self> {
        seat.plain_gate().map(|gate| Self {
            layout: seat.meter.layout(),
            slice: Slice::new(seat.window),
            resource: seat.resource,
            // What is worth telling goes the long way.
            gate: match gate {
                Gate::Max(max) => Gate::Max(max.min(seat.mark.saturating_sub(1))),
                Gate::Open => Gate::Open,
            },
            striping: seat.striping,
        })
    }
}

impl<A: Borrow<Meter>, M: Borrow<Measure>> Quick<A, M> {
    /// As [`Short::charge`].
    #[allow(clippy::inline_always, reason = "as `Short::charge`")]
    #[inline(always)]
    pub(crate) fn charge(&self, cost: &Cost, now: Timestamp, cover: impl FnOnce() -> bool) -> bool {
        match *cost.items.as_slice() {
            [(resource, amount)] if resource == self.resource() && amount != 0 => {
                let Ok(state) = self.admit_in(self.measure.borrow().slice.index(now), amount) else { return false };
                if self.meter.borrow().is_beyond() && !cover() {
                    give_up(self.meter.borrow(), state.window, amount, Part::Used);
                    return false;
                }
                true
            }
            _ => false,
        }
    }

    /// Charges `amount` in window `number`, if it fits.
    #[allow(clippy::inline_always, reason = "as `Short::charge`")]
    #[inline(always)]
    fn admit_in(&self, number: i64, amount: u64) -> Result<State, State> {
        let Measure { layout, gate, striping, .. } = self.measure.borrow();
        self.meter.borrow().admit_quickly(*layout, number, amount, *gate, *striping)
    }

    /// The same where what was seen has changed, or does not say enough.
    #[inline(never)]
    fn admit_anew(&self, number: i64, amount: u64) -> Result<State, State> {
        self.admit_in(number, amount)
    }
}

impl<A: Borrow<Meter>, M: Borrow<Measure>> Place for Quick<A, M> {
    #[inline]
    fn resource(&self) -> Resource {
        self.measure.borrow().resource
    }

    #[inline]
    fn is_hard(&self) -> bool {
        true
    }

    #[inline]
    fn has_several_words(&self) -> bool {
        false
    }

    #[inline]
    fn glance(&self, now: Timestamp) -> (State, Glance) {
        let Measure { layout, slice, .. } = self.measure.borrow();
        let when = slice.index(now);
        let (state, word) = self.meter.borrow().glance_as(*layout, when);
        (state, Glance { when, word })
    }

    #[inline]
    fn look_closer(&self, now: Timestamp) -> Option<State> {
        let meter = self.meter.borrow();
        meter.is_striped().then(|| meter.peek_at(&self.measure.borrow().slice, now))
    }

    #[inline]
    fn gate_in(&self, _: i64) -> Gate {
        self.measure.borrow().gate
    }

    #[allow(clippy::inline_always, reason = "as `Short::charge`")]
    #[inline(always)]
    fn admit(&self, Glance { when, word }: Glance, amount: u64, _: Part) -> Result<State, State> {
        let Measure { layout, striping, .. } = self.measure.borrow();
        match self.meter.borrow().admit_seen(*layout, (when, word), amount, *striping) {
            Some(state) => Ok(state),
            None => self.admit_anew(when, amount),
        }
    }

    fn undo(&self, window: i64, amount: u64, part: Part) {
        self.meter.borrow().undo(window, amount, part);
    }

    #[inline]
    fn hold(&self, window: i64, amount: u64) {
        self.meter.borrow().hold(window, amount);
    }

    #[inline]
    fn mark(&self) -> u64 {
        u64::MAX
    }
}

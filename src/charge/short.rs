//! The short way: charging budgets that all can refuse, each by one word, with what it takes side by side.
//!
//! Nearly every charge is of such budgets, and fits. The short way admits it by the same steps as the long one, or charges nothing and leaves
//! the answer to the long one: whatever refuses, is worth telling, or is unusual goes there.

use std::sync::Arc;

use super::{Ask, Flights, Place, Reached, SEATS_INLINE, Seat, charge_hard, look, unset};
use crate::amount::{Cost, Resource};
use crate::meter::{Gate, Layout, Meter, Part, Slice, State};
use crate::time::Timestamp;

/// The short way to charge a scope.
#[derive(Debug)]
pub(crate) enum Short {
    Single(Way),
    Several(Box<[Way]>),
}

/// A budget on the short way.
#[derive(Debug)]
pub(crate) struct Way {
    meter: Arc<Meter>,
    layout: Layout,
    slice: Slice,
    resource: Resource,
    gate: Gate,
}

impl Short {
    /// `None` when one of the budgets never refuses, has more than one cap, or more than one word decides.
    pub(crate) fn of(seats: &[Seat]) -> Option<Self> {
        match seats {
            [] => None,
            [seat] => Way::of(seat).map(Self::Single),
            seats if seats.len() > SEATS_INLINE => None,
            seats => seats.iter().map(Way::of).collect::<Option<_>>().map(Self::Several),
        }
    }

    /// Charges `cost` if it is of the budgets' resources alone, and fits. Otherwise nothing is charged.
    #[allow(
        clippy::inline_always,
        reason = "measured: a cost that is made for the call is never looked up in memory this way"
    )]
    #[inline(always)]
    pub(crate) fn charge(&self, cost: &Cost, now: Timestamp, flights: &Flights) -> bool {
        match self {
            Self::Single(way) => way.charge(cost, now),
            Self::Several(ways) => charge_several(ways, cost, now, flights),
        }
    }
}

/// As the long way: look, announce, charge in order, undo.
#[inline(never)]
fn charge_several(ways: &[Way], cost: &Cost, now: Timestamp, flights: &Flights) -> bool {
    let ask = Ask::Charge(cost);
    let is_counted = |&(resource, _): &(Resource, u64)| ways.iter().any(|way| way.resource == resource);
    if !cost.items.iter().all(is_counted) {
        return false;
    }
    let Some(seen) = look(ways, ask, now) else { return false };
    let _flight = seen.is_announced(ask).then(|| flights.begin());
    charge_hard(ways, ask, now, &mut unset(ways.len()), &mut Reached::new())
}

impl Way {
    fn of(seat: &Seat) -> Option<Self> {
        seat.plain_gate().map(|gate| Self {
            meter: Arc::clone(&seat.meter),
            layout: seat.meter.layout(),
            slice: Slice::new(seat.window),
            resource: seat.resource,
            // What is worth telling goes the long way.
            gate: match gate {
                Gate::Max(max) => Gate::Max(max.min(seat.mark.saturating_sub(1))),
                Gate::Open => Gate::Open,
            },
        })
    }

    #[allow(clippy::inline_always, reason = "as `Short::charge`")]
    #[inline(always)]
    fn charge(&self, cost: &Cost, now: Timestamp) -> bool {
        match *cost.items.as_slice() {
            [(resource, amount)] if resource == self.resource && amount != 0 => {
                self.meter.admit_as(self.layout, self.slice.index(now), amount, self.gate).is_ok()
            }
            _ => false,
        }
    }
}

impl Place for Way {
    #[inline]
    fn resource(&self) -> Resource {
        self.resource
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
    fn peek(&self, now: Timestamp) -> State {
        self.meter.peek(self.slice.index(now))
    }

    #[inline]
    fn gate_in(&self, _: i64) -> Gate {
        self.gate
    }

    #[inline]
    fn admit(&self, now: Timestamp, amount: u64, _: Part) -> Result<State, State> {
        self.meter.admit_as(self.layout, self.slice.index(now), amount, self.gate)
    }

    fn undo(&self, window: i64, amount: u64, part: Part) {
        self.meter.undo(window, amount, part);
    }

    #[inline]
    fn mark(&self) -> u64 {
        u64::MAX
    }
}

//! What the tests of charging stand on: grounds without an engine, and seats without a policy.

use std::sync::Arc;

use super::{Flights, Grounds, Label, News, Seat};
use crate::amount::{Cap, Resource, Unit};
use crate::clock::{Clock, ManualClock};
use crate::meter::MeterRef;
use crate::policy::Enforcement;
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::Window;

pub(super) const TOKENS: Resource = Resource::new(1, 0);

pub(super) struct Ground {
    pub(super) flights: Flights,
    pub(super) clock: Clock,
    #[cfg_attr(loom, allow(dead_code, reason = "loom moves no clock"))]
    pub(super) manual: ManualClock,
}

impl Ground {
    pub(super) fn at(now: Timestamp) -> Self {
        let manual = ManualClock::at(now);
        Self { flights: Flights::new(), clock: Clock::manual(&manual), manual }
    }
}

impl Grounds for Ground {
    fn flights(&self) -> &Flights {
        &self.flights
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn collect_expired(&self, _: Timestamp) -> bool {
        false
    }

    fn tell(&self, _: &Seat, _: News) {}
}

pub(super) fn seat(meter: &MeterRef, window: Window, limits: (Cap, Enforcement)) -> Seat {
    seat_of(TOKENS, meter, window, limits)
}

pub(super) fn seat_of(resource: Resource, meter: &MeterRef, window: Window, limits: (Cap, Enforcement)) -> Seat {
    let label = Label {
        limit: "limit".into(),
        resource: "tokens".into(),
        unit: Unit::Count,
        warn: Box::default(),
        #[cfg(feature = "persist")]
        carrier: 0,
    };
    Seat::new(meter.clone(), (Arc::new(label), Subject::global()), resource, window, limits)
}

//! A budget's place in a scope: its meter, the limit in force for it, and what it is called.

use std::sync::Arc;

#[cfg(feature = "persist")]
use super::{Ask, Asked};
use super::{Glance, Place};
use crate::amount::{Cap, Resource, Unit};
use crate::grants::raised;
use crate::meter::{Gate, MeterRef, NO_WORD, Part, Slice, State, Striping};
use crate::policy::{Enforcement, Warn};
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::{Bounds, Window};

/// What reports call a limit.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) limit: Arc<str>,
    pub(crate) resource: Arc<str>,
    pub(crate) unit: Unit,
    pub(crate) warn: Box<[Warn]>,
    /// On disk: 0 of the policy's; of a workflow's the stamp of its beginning; [`UNWRITTEN`] of what is not written down.
    #[cfg(feature = "persist")]
    pub(crate) carrier: u64,
}

/// Of budgets that are not written down.
#[cfg(feature = "persist")]
pub(crate) const UNWRITTEN: u64 = u64::MAX;

/// A budget's place in a scope.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) meter: MeterRef,
    pub(crate) label: Arc<Label>,
    pub(crate) subject: Subject,
    pub(crate) resource: Resource,
    pub(crate) window: Window,
    slice: Slice,
    cap: Cap,
    pub(crate) enforcement: Enforcement,
    gate: Gate,
    topped: Option<Topped>,
    /// The least charged amount that is worth telling; none is when nobody listens.
    pub(super) mark: u64,
    pub(super) striping: Striping,
}

/// A cap that is higher in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Topped {
    window: i64,
    max: u64,
}

impl Seat {
    pub(crate) fn new(
        meter: MeterRef,
        (label, subject): (Arc<Label>, Subject),
        resource: Resource,
        window: Window,
        (cap, enforcement): (Cap, Enforcement),
    ) -> Self {
        let gate = match (enforcement, cap) {
            (Enforcement::Hard, Cap::Max(max)) => Gate::Max(max),
            _ => Gate::Open,
        };
        Self {
            meter,
            label,
            subject,
            resource,
            window,
            slice: Slice::new(window),
            cap,
            enforcement,
            gate,
            topped: None,
            mark: u64::MAX,
            striping: Striping::Off,
        }
    }

    /// With stripes when these say so.
    pub(crate) fn striped(self, striping: Striping) -> Self {
        Self { striping, ..self }
    }

    /// The same for a listener, if there is one.
    pub(crate) fn heard(mut self, listening: bool) -> Self {
        if listening {
            self.mark = self.milestones(self.cap).map(|(_, from, _)| from).min().unwrap_or(u64::MAX);
        }
        self
    }

    /// With `extra` above its cap in window number `window`, up to what a budget can hold.
    pub(crate) fn topped_up(mut self, window: i64, extra: u64) -> Self {
        if let (Cap::Max(max), 1..) = (raised(self.cap, extra, self.window), extra) {
            self.topped = Some(Topped { window, max });
        }
        self
    }

    /// The cap in window number `window`.
    pub(crate) fn cap_in(&self, window: i64) -> Cap {
        match self.topped {
            Some(topped) if topped.window == window => Cap::Max(topped.max),
            _ => self.cap,
        }
    }

    /// Whether `charged` is certainly not above its cap, which may be higher in one window.
    #[inline]
    pub(crate) fn is_within(&self, charged: u64) -> bool {
        Cap::Max(charged) <= self.cap
    }

    /// Its gate, if that is one and the same at all times, and one word of one layout decides: not topped up, by the clock.
    pub(super) fn plain_gate(&self) -> Option<Gate> {
        (self.is_hard() && self.topped.is_none() && self.meter.follows_clock()).then_some(self.gate)
    }

    /// Whether it can refuse.
    pub(crate) fn is_hard(&self) -> bool {
        self.gate != Gate::Open
    }

    /// What an operation at `now` would see.
    #[inline]
    pub(crate) fn peek(&self, now: Timestamp) -> State {
        self.meter.peek_at(&self.slice, now)
    }

    /// Counts `amount` at `now`, whether it fits or not. An amount of 0 opens the window.
    pub(crate) fn count(&self, now: Timestamp, amount: u64, part: Part) -> State {
        match self.meter.admit_at(&self.slice, now, amount, Gate::Open, part) {
            Ok(state) | Err(state) => state,
        }
    }

    /// Takes back what an admission of `ask` charged in `window`.
    #[cfg(feature = "persist")]
    pub(crate) fn give_up(&self, window: i64, amount: u64, ask: Ask<'_>) {
        super::give_up(&self.meter, window, amount, ask.part());
    }

    /// As [`Meter::return_to`].
    pub(super) fn return_to<M>(
        &self,
        refused: State,
        now: Timestamp,
        precise: impl FnOnce() -> Timestamp,
        moment: impl FnOnce() -> Option<M>,
    ) -> i64 {
        self.meter.return_to(&self.slice, refused, now, precise, moment)
    }

    /// Start and end of window number `window`, as seen at `now`.
    pub(crate) fn bounds(&self, window: i64, now: Timestamp) -> Option<Bounds> {
        self.meter.bounds(&self.window, window, now)
    }
}

impl Place for Seat {
    #[inline]
    fn resource(&self) -> Resource {
        self.resource
    }

    #[inline]
    fn is_hard(&self) -> bool {
        Self::is_hard(self)
    }

    #[inline]
    fn has_several_words(&self) -> bool {
        self.meter.has_several_words()
    }

    #[inline]
    fn glance(&self, now: Timestamp) -> (State, Glance) {
        (self.meter.glance_at(&self.slice, now), Glance { when: now.as_micros(), word: NO_WORD })
    }

    #[inline]
    fn look_closer(&self, now: Timestamp) -> Option<State> {
        self.meter.is_striped().then(|| self.peek(now))
    }

    #[inline]
    fn gate_in(&self, window: i64) -> Gate {
        match (self.topped, self.gate) {
            (Some(topped), Gate::Max(_)) if topped.window == window => Gate::Max(topped.max),
            (_, gate) => gate,
        }
    }

    #[inline]
    fn admit(&self, glance: Glance, amount: u64, part: Part) -> Result<State, State> {
        let now = Timestamp::from_micros(glance.when);
        if self.topped.is_none() {
            return self.meter.admit_at(&self.slice, now, amount, self.gate, part);
        }
        self.meter.admit_in(&self.slice, now, amount, |window| self.gate_in(window))
    }

    fn undo(&self, window: i64, amount: u64, part: Part) {
        self.meter.undo(window, amount, part);
    }

    fn hold(&self, window: i64, amount: u64) {
        self.meter.hold(window, amount);
    }

    #[inline]
    fn mark(&self) -> u64 {
        self.mark
    }
}

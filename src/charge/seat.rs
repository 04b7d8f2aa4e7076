//! A budget's place in a scope: its meter, the limit in force for it, and what it is called.

use std::sync::Arc;

use crate::amount::{Cap, Resource, Unit};
use crate::grants::raised;
use crate::meter::{Gate, Layout, Meter, Settled, Slice, State};
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
}

/// A budget's place in a scope.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) meter: Arc<Meter>,
    pub(crate) label: Arc<Label>,
    pub(crate) subject: Subject,
    pub(crate) resource: Resource,
    pub(crate) window: Window,
    slice: Slice,
    cap: Cap,
    pub(crate) enforcement: Enforcement,
    gate: Gate,
    topped: Option<Topped>,
}

/// A cap that is higher in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Topped {
    window: i64,
    max: u64,
}

impl Seat {
    pub(crate) fn new(
        meter: Arc<Meter>,
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
        }
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

    /// What an admission in window number `window` may do.
    #[inline]
    pub(super) fn gate_in(&self, window: i64) -> Gate {
        match (self.topped, self.gate) {
            (Some(topped), Gate::Max(_)) if topped.window == window => Gate::Max(topped.max),
            (_, gate) => gate,
        }
    }

    /// Whether it can refuse.
    pub(crate) fn is_hard(&self) -> bool {
        self.gate != Gate::Open
    }

    /// What an operation at `now` would see.
    #[inline]
    pub(crate) fn peek(&self, now: Timestamp) -> State {
        self.meter.peek(self.slice.index(now))
    }

    /// Charges `amount` at `now` if it fits.
    #[inline]
    pub(crate) fn admit(&self, now: Timestamp, amount: u64) -> Result<State, State> {
        let now = self.slice.index(now);
        if self.topped.is_none() {
            return self.meter.admit(now, amount, self.gate);
        }
        self.meter.admit_in(now, amount, |window| self.gate_in(window))
    }

    /// Counts `amount` at `now`, whether it fits or not.
    pub(crate) fn count(&self, now: Timestamp, amount: u64) -> State {
        match self.meter.admit(self.slice.index(now), amount, Gate::Open) {
            Ok(state) | Err(state) => state,
        }
    }

    /// Settles a hold of `held` that window `window` admitted at `actual`, and frees it for reports.
    pub(crate) fn settle(&self, window: i64, held: u64, actual: u64) -> Settled {
        let settled = self.meter.settle(window, held, actual);
        if held > 0 {
            self.meter.unhold(window, held);
        }
        settled
    }

    /// Changes what was charged in window `window` from `before` to `after`; nothing of it is held. It was charged after as many of the
    /// engine's resets.
    pub(crate) fn adjust(&self, window: i64, before: u64, after: u64, resets: u64) -> Settled {
        self.meter.adjust(window, before, after, resets)
    }

    /// Whether the window that `state` was read in lies further ahead of `now` than the next one.
    pub(super) fn is_ahead(&self, state: State, now: Timestamp) -> bool {
        state.window > self.window.index(now).saturating_add(1)
    }

    /// Start and end of window number `window`.
    pub(crate) fn bounds(&self, window: i64) -> Option<Bounds> {
        self.window.bounds_of(window)
    }

    /// The way to charge it alone, side by side; `None` when it never refuses, or has more than one cap.
    pub(super) fn single(&self) -> Option<Single> {
        (self.is_hard() && self.topped.is_none()).then(|| Single {
            meter: Arc::clone(&self.meter),
            layout: self.meter.layout(),
            slice: Slice::new(self.window),
            resource: self.resource,
            gate: self.gate,
        })
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
            [seat] => seat.single(),
            _ => None,
        }
    }

    /// Charges `cost` if it is of the budget's resource alone and fits. Otherwise nothing is charged, and the long way gives the answer.
    #[allow(
        clippy::inline_always,
        reason = "measured: a cost that is made for the call is never looked up in memory this way"
    )]
    #[inline(always)]
    pub(crate) fn charge(&self, cost: &crate::amount::Cost, now: Timestamp) -> bool {
        match *cost.items.as_slice() {
            [(resource, amount)] if resource == self.resource && amount != 0 => {
                self.meter.admit_as(self.layout, self.slice.index(now), amount, self.gate).is_ok()
            }
            _ => false,
        }
    }
}

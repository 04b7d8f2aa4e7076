//! Holds that are written down: as they stand, whenever that changes, and as they are read back.
//!
//! **Who owns what.** `line` is the lock of a hold's entries: whoever has it reads the hold, takes a stamp and writes, so that entries are as new as their
//! stamps say. It is taken before the lock of what has grown.
//!
//! **Settling.** What a settlement adds to the budgets is added, and written, before the hold is written as settled; what it gives back is given back
//! afterwards. So at no point of the log less is charged than was, whatever of it is read back: a hold that is open again is in its budgets.

use std::sync::Arc;

use parking_lot::Mutex;

use super::super::Actual;
use super::super::parts::{Before, Part, Share};
use super::super::settlement::Settlement;
use super::{CHARGED, CLAIMED, DISPATCHED, EXPIRED, GROWN, Grown, Hold, LATE, RELEASED};
use crate::amount::Cost;
use crate::charge::Windows;
use crate::durable::{Ahead, HoldImage, HoldPart, SettledImage, Store, Unwritten};
use crate::holds::HoldId;
use crate::report::Admission;
use crate::scope::Plan;
use crate::sync::Ordering;
use crate::time::Timestamp;

/// What is known of a hold's entries, under their lock.
#[derive(Debug, Default)]
pub(super) struct Line {
    settled: Option<SettledImage>,
    guarded: bool,
}

/// The lock of a hold's entries.
pub(super) type Lines = Mutex<Line>;

impl Hold {
    /// How it stands, to be written while `with` runs: nobody else writes it meanwhile. `None` when it has no id.
    pub(crate) fn with_image<R>(&self, with: impl FnOnce(HoldImage) -> R) -> Option<R> {
        let rare = self.rare.get()?;
        let id = rare.id.get()?;
        let line = rare.line.lock();
        Some(with(self.image(id, &line)))
    }

    fn image(&self, id: &HoldId, line: &Line) -> HoldImage {
        let grown = self.grown();
        let part =
            |part: &Part, cost: Cost| HoldPart { plan: Arc::clone(&part.plan), windows: part.windows.clone(), cost };
        let parts = self.with_shares(grown.as_deref(), |shares| {
            shares.iter().map(|share| part(share.part, share.held.clone())).collect()
        });
        HoldImage {
            id: id.clone(),
            guarded: line.guarded,
            dispatched: self.state.load(Ordering::Acquire) & DISPATCHED != 0,
            observed: grown.as_ref().map(|grown| grown.observed.clone()).unwrap_or_default(),
            given: grown.as_ref().map(|grown| grown.given.clone()).unwrap_or_default(),
            parts,
            settled: line.settled.clone(),
        }
    }

    /// Writes it down as it stands. Nothing to do without an id, or without a store.
    pub(in crate::reservation) fn write_down(&self, at: Timestamp) -> Result<(), Unwritten> {
        let core = &self.first.plan.core;
        if core.store().is_none() {
            return Ok(());
        }
        self.with_image(|image| core.write_hold(self, &image, at)).unwrap_or(Ok(()))
    }

    /// Writes it down as it was made, together with what it charged.
    pub(in crate::reservation) fn write_down_new(&self, at: Timestamp) -> Result<(), Unwritten> {
        let core = &self.first.plan.core;
        if core.store().is_none() {
            return Ok(());
        }
        self.with_image(|image| core.write_new_hold(self, &image, at)).unwrap_or(Ok(()))
    }

    /// Notes that a guard is answerable for it, before it is written down for the first time.
    pub(crate) fn begin_guarded(&self) {
        if self.first.plan.core.store().is_some() {
            self.rare().line.lock().guarded = true;
        }
    }

    /// Notes whether a guard is answerable for it, and writes that down.
    pub(in crate::reservation) fn note_guarded(&self, guarded: bool, at: Timestamp) -> Result<(), Unwritten> {
        let core = &self.first.plan.core;
        if let (Some(rare), true) = (self.rare.get(), core.store().is_some()) {
            let was = std::mem::replace(&mut rare.line.lock().guarded, guarded);
            return if was == guarded { Ok(()) } else { self.write_down(at) };
        }
        Ok(())
    }

    /// Whether its settlement is written down.
    #[inline]
    pub(super) fn is_written(&self) -> bool {
        self.first.plan.core.is_persisted && self.id().is_some()
    }

    /// Writes down that it was settled: from here on it gives back.
    fn write_settled(&self, at: Timestamp, settled: SettledImage) {
        let core = &self.first.plan.core;
        let (Some(rare), Some(id)) = (self.rare.get(), self.id()) else { return };
        let mut line = rare.line.lock();
        line.settled = Some(settled);
        // It stands in any case: the money has been spent, or has not.
        if core.store().is_some() {
            let _degraded = core.write_hold(self, &self.image(id, &line), at);
        }
    }

    /// Notes how it was settled while it had no id, if it was: it is written down from now on.
    pub(in crate::reservation) fn note_settled_before(&self, at: Timestamp) {
        if let (Some(rare), false) = (self.rare.get(), self.is_open()) {
            let core = &self.first.plan.core;
            let _outcome = self.wait_for_outcome();
            let (at, resets, charged) = match self.settled() {
                Some(settlement) => (settlement.at, settlement.resets, Some(settlement.charged)),
                None => (at, core.resets.done(), None),
            };
            let settled = SettledImage { at, resets, charged, expired: self.has_expired(), late: false };
            rare.line.lock().settled = Some(settled);
        }
    }

    /// [`Hold::charge`] of a hold that is written down: first what it adds, then that it is settled, then what it gives back.
    pub(super) fn charge_written(&self, at: Timestamp, actual: Actual, how: u8) -> Settlement {
        let (held, total) = self.whole(actual);
        let resets = self.first.plan.core.resets.done();
        let settled =
            SettledImage { at, resets, charged: Some(total.clone()), expired: how & EXPIRED != 0, late: false };
        let settlement = self.change_written(at, (Before::Held, &held), &total, settled);
        self.written.write(&settlement);
        self.tell_outcome(at, CHARGED | how);
        settlement
    }

    /// [`Hold::give_back`] of a hold that is written down.
    pub(super) fn give_back_written(&self, at: Timestamp, how: u8) {
        let (held, _) = self.whole(Actual::Exact(Cost::nothing()));
        let resets = self.first.plan.core.resets.done();
        let settled = SettledImage { at, resets, charged: None, expired: how & EXPIRED != 0, late: false };
        self.change_written(at, (Before::Held, &held), &Cost::nothing(), settled);
    }

    /// [`Hold::reconcile`] of a hold that is written down.
    pub(super) fn reconcile_written(
        &self,
        at: Timestamp,
        (charged, resets): (&Cost, u64),
        actual: Actual,
    ) -> Settlement {
        let (_, total) = self.whole(actual);
        let settled = SettledImage { at, resets, charged: Some(total.clone()), expired: true, late: true };
        self.change_written(at, (Before::Charged(charged, resets), charged), &total, settled)
    }

    /// What it holds, and what it charges at `actual`.
    fn whole(&self, actual: Actual) -> (Cost, Cost) {
        let held = self.held();
        let total = actual.charged(&held);
        (held, total)
    }

    fn change_written(
        &self,
        at: Timestamp,
        (before, from): (Before<'_>, &Cost),
        to: &Cost,
        settled: SettledImage,
    ) -> Settlement {
        let change = |before: Before<'_>, to: &Cost| {
            // Nothing comes to it any more, and nothing is taken from it.
            let grown = self.grown();
            self.with_shares(grown.as_deref(), |shares| self.change(at, shares, before, to.clone()))
        };
        let raised = to.clone().max(from);
        if !raised.is_more(from) {
            self.write_settled(at, settled);
            return change(before, to);
        }
        let first = change(before, &raised);
        self.write_settled(at, settled);
        if !raised.is_more(to) {
            return Settlement { charged: to.clone(), ..first };
        }
        let second = change(Before::Charged(&raised, first.resets), to);
        Settlement { late: first.late || second.late, resets: first.resets, ..second }
    }

    /// Writes down that the call has gone out, where that decides what becomes of it.
    pub(super) fn write_dispatched(&self) {
        let core = &self.first.plan.core;
        if self.is_written() && core.store().is_some_and(Store::writes_dispatch) {
            let _degraded = self.write_down(core.now());
        }
    }

    /// Writes down what was observed, once it is more than what is held.
    pub(super) fn write_observed(&self) {
        if self.is_written() {
            let (held, observed) = (self.held(), self.grown().map(|grown| grown.observed.clone()));
            if observed.is_some_and(|observed| observed.is_more(&held)) {
                let _degraded = self.write_down(self.first.plan.core.now());
            }
        }
    }

    /// Writes down the budgets that a change has brought above their ceilings, or far below.
    #[inline]
    pub(super) fn write_changed(&self, at: Timestamp, shares: &[Share<'_>], before: Before<'_>, charged: &Cost) {
        if self.first.plan.core.store().is_none() {
            return;
        }
        let whole = match before {
            Before::Held => super::total_held(shares).into_owned(),
            Before::Charged(total, _) => total.clone(),
        };
        let whole = whole.max(charged);
        let ahead = if self.id().is_some() { Ahead::Nothing } else { Ahead::Step };
        for share in shares {
            share.part.plan.write_counted(&whole, ahead, at);
        }
    }

    /// A hold as it was written down.
    pub(crate) fn again(image: HoldImage) -> Option<Self> {
        let HoldImage { id, guarded, dispatched, observed, given, parts, settled } = image;
        let mut parts = parts.into_iter().map(|HoldPart { plan, windows, cost }| Part { plan, cost, windows });
        let mut first = parts.next()?;
        first.cost.add_all(&given);
        let extensions: Vec<Part> = parts.collect();
        let mut state = if dispatched { DISPATCHED } else { 0 };
        if !extensions.is_empty() || !observed.is_zero() || !given.is_zero() {
            state |= GROWN;
        }
        let hold = Self::of(first, std::sync::OnceLock::new(), state, Admission::default());
        let rare = hold.rare();
        *rare.grown.lock() = Grown { extensions, given, observed };
        let _ = rare.id.set(id);
        if let Some(settled) = &settled {
            hold.settle_again(settled);
        }
        *rare.line.lock() = Line { settled, guarded };
        Some(hold)
    }

    fn settle_again(&self, SettledImage { at, resets, charged, expired, late }: &SettledImage) {
        let settlement = |charged: &Cost| Settlement {
            // Of no receipt that is refunded.
            number: 0,
            at: *at,
            resets: *resets,
            charged: charged.clone(),
            overages: smallvec::SmallVec::new(),
            late: *late,
        };
        if let Some(charged) = charged {
            self.written.write(&settlement(charged));
            if *late {
                let _ = self.rare().late.set(settlement(charged));
            }
        }
        let how = if charged.is_some() { CHARGED } else { RELEASED };
        let late = if *late { LATE } else { 0 };
        self.state.fetch_or(CLAIMED | late, Ordering::AcqRel);
        // Release: as in `tell_outcome`.
        self.outcome.store(how | if *expired { EXPIRED } else { 0 }, Ordering::Release);
    }

    /// What its parts hold, each in its budgets' windows.
    pub(crate) fn each_held(&self, mut act: impl FnMut(&Arc<Plan>, &Windows, &Cost)) {
        let grown = self.grown();
        self.with_shares(grown.as_deref(), |shares| {
            for share in shares {
                act(&share.part.plan, &share.part.windows, share.held);
            }
        });
    }

    /// Settles it as a drop would: for a guard that is gone. Says whether it was charged.
    pub(crate) fn settle_lost(&self, at: Timestamp) -> bool {
        if self.settle_unanswered(at, 0) {
            let settled = self.settled();
            let resets = settled.as_ref().map_or_else(|| self.first.plan.core.resets.done(), |settled| settled.resets);
            let charged = settled.map(|settled| settled.charged);
            // Nothing is written yet: the snapshot that comes of it says so, or it would be open again the next time.
            self.rare().line.lock().settled = Some(SettledImage { at, resets, charged, expired: false, late: false });
            self.note_settled(at);
        }
        self.was_charged()
    }
}

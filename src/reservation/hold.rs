//! The hold itself: what is held, and its one settlement.
//!
//! **Who owns what.** `state` is a set of bits that only grows: whoever sets `CLAIMED` first settles, and says in `outcome` how, when what was
//! charged is written down; everybody else reads it then. When a hold's time runs out, its expiry claims and settles it like anybody else; a
//! commit that comes after that reconciles, and `LATE` says whose turn that is. Extensions, parts that were split off and observations are rare and
//! stand behind a lock of the hold's own; the bit `GROWN` says whether there are any, so that settling a plain hold takes no lock.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::Actual;
use super::error::{ExtendError, SettleError, SplitError};
use super::parts::{Before, Overages, Part, Share, each_once, each_share};
use super::settlement::{Settlement, Written};
use crate::amount::{Cost, Resource, Unit};
use crate::charge::Windows;
use crate::cost::{CostError, Usage};
use crate::holds::HoldId;
use crate::report::{Admission, Receipt};
use crate::scope::{ChargeError, Gate, Plan, hold_more};
use crate::sync::{AtomicU8, Ordering, unique_number, yield_now};
use crate::time::Timestamp;

#[cfg(feature = "persist")]
mod written;

/// The call went out: what becomes of it without an answer is charged.
const DISPATCHED: u8 = 1;
/// Somebody settles.
const CLAIMED: u8 = 2;
/// There are extensions, observations, or parts that were split off.
const GROWN: u8 = 4;
/// Somebody commits after the time-to-live has settled.
const LATE: u8 = 8;

/// The outcome: something was charged, and is written down.
const CHARGED: u8 = 1;
/// The outcome: everything was given back.
const RELEASED: u8 = 2;
/// With either: it was the time-to-live that settled.
const EXPIRED: u8 = 4;

/// What is held in every budget of a scope: the part of a [`Reservation`](super::Reservation) and of a
/// [`DetachedHold`](super::DetachedHold) that both have, reached through either.
///
/// It settles exactly once, whatever races.
///
/// | from | [`commit`](Self::commit) | [`release`](Self::release) | the reservation is dropped | its time-to-live runs out |
/// |---|---|---|---|---|
/// | held | settled: used += actual | released | released | released |
/// | held, [`dispatched`](Self::dispatched) | settled | released: the caller knows | charged the larger of observed and held | the same |
/// | settled | same actual: same receipt; other: [`Conflict`](SettleError::Conflict) | [`Committed`](SettleError::Committed) | – | – |
/// | released | [`Released`](SettleError::Released) | [`Released`](SettleError::Released) | – | – |
/// | expired | settled once, and late: what expiry charged is brought to the actual | [`Expired`](SettleError::Expired), until it is committed | – | – |
///
/// It belongs to the windows that admitted it. Settled after such a window has ended, it changes that window only and never credits a
/// newer one.
pub struct Hold {
    first: Part,
    admission: Admission,
    state: AtomicU8,
    /// How it was settled; 0 until then.
    outcome: AtomicU8,
    written: Written,
    rare: OnceLock<Box<Rare>>,
}

/// What few holds have.
#[derive(Default)]
struct Rare {
    grown: Mutex<Grown>,
    /// Of a commit after the hold had expired.
    late: OnceLock<Settlement>,
    /// What the engine keeps it under.
    id: OnceLock<HoldId>,
    #[cfg(feature = "persist")]
    line: written::Lines,
}

/// What came to a hold after it was made.
#[derive(Default)]
struct Grown {
    extensions: Vec<Part>,
    /// What the first part gave away.
    given: Cost,
    observed: Cost,
}

impl Grown {
    /// One more extension. In the windows of the last one it becomes part of that: a stream extends its hold with every chunk.
    fn extend(&mut self, part: Part) {
        match self.extensions.last_mut() {
            Some(last) if Arc::ptr_eq(&last.plan, &part.plan) && last.windows == part.windows => {
                last.cost.add_all(&part.cost);
            }
            _ => self.extensions.push(part),
        }
    }
}

impl Hold {
    pub(crate) fn new(plan: Arc<Plan>, cost: Cost, windows: Windows, admission: Admission) -> Self {
        Self::of(Part { plan, cost, windows }, OnceLock::new(), 0, admission)
    }

    fn of(first: Part, rare: OnceLock<Box<Rare>>, state: u8, admission: Admission) -> Self {
        Self {
            first,
            admission,
            state: AtomicU8::new(state),
            outcome: AtomicU8::new(0),
            written: Written::nothing(),
            rare,
        }
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    fn late(&self) -> Option<&Settlement> {
        self.rare.get()?.late.get()
    }

    fn grown(&self) -> Option<MutexGuard<'_, Grown>> {
        Some(self.rare.get()?.grown.lock())
    }

    /// As [`Hold::grown`], if `state` says that there is something.
    fn grown_in(&self, state: u8) -> Option<MutexGuard<'_, Grown>> {
        if state & GROWN != 0 { self.grown() } else { None }
    }

    /// What is held, extensions included and parts that were split off excluded.
    pub fn held(&self) -> Cost {
        let grown = self.grown();
        self.with_shares(grown.as_deref(), |shares| total_held(shares).into_owned())
    }

    /// What the admission reported: soft budgets that are over, shadow budgets that would have refused.
    pub fn admission(&self) -> Admission {
        self.admission
    }

    /// The id under which the engine keeps it, if it has a time-to-live or was detached.
    pub fn id(&self) -> Option<&HoldId> {
        self.rare.get()?.id.get()
    }

    /// Whether nobody has settled it yet. Another thread may do so at any moment.
    pub fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLAIMED == 0
    }

    /// Whether its time-to-live ran out before anybody settled it, and it has been collected. It stays so when it is committed late.
    pub fn has_expired(&self) -> bool {
        self.outcome.load(Ordering::Acquire) & EXPIRED != 0
    }

    /// Says that the call has gone out. From here on its cost may be real even if no answer comes, so a drop charges it.
    pub fn dispatched(&self) {
        // Read by the settlement that follows in this thread, or in the one that the reservation is handed to.
        self.state.fetch_or(DISPATCHED, Ordering::AcqRel);
        #[cfg(feature = "persist")]
        self.write_dispatched();
    }

    /// Adds to what is known to have been used so far, as a stream tells of it. A drop after [`dispatched`](Self::dispatched) charges at
    /// least this; a commit goes by its own actual.
    pub fn observe(&self, cost: &Cost) {
        self.rare().grown.lock().observed.add_all(cost);
        self.state.fetch_or(GROWN, Ordering::AcqRel);
        #[cfg(feature = "persist")]
        self.write_observed();
    }

    /// Holds `cost` more, or says stop. The extension is admitted under the policy in force now and belongs to the windows that admit it.
    ///
    /// # Errors
    /// [`ExtendError::Charge`] when there is no room or a resource is unknown: the hold stays as it was.
    /// [`ExtendError::Settled`] when it has been settled.
    pub fn try_extend(&self, mut cost: Cost) -> Result<Admission, ExtendError> {
        let at = self.look_at_the_clock();
        if !self.is_open() {
            return Err(ExtendError::Settled);
        }
        let plan = self.first.plan.renewed().map_err(ChargeError::from)?;
        plan.knows(&cost).map_err(ChargeError::from)?;
        cost.items.retain(|(_, amount)| *amount > 0);
        if cost.items.is_empty() {
            return Ok(Admission::default());
        }
        let (windows, admission) = hold_more(&plan, &cost, at)?;
        let part = Part { plan, cost, windows };
        let mut grown = self.rare().grown.lock();
        // A settlement that claimed before this bit was set does not look for extensions; one that claims after it waits for the lock.
        if self.state.fetch_or(GROWN, Ordering::AcqRel) & CLAIMED != 0 {
            drop(grown);
            let flight = part.plan.flight();
            part.change(at, (&part.cost, None), &Cost::nothing(), &mut Overages::new());
            drop(flight);
            part.plan.tell(Gate::touch, at);
            return Err(ExtendError::Settled);
        }
        grown.extend(part);
        drop(grown);
        #[cfg(feature = "persist")]
        let _degraded = self.write_down(at);
        Ok(admission)
    }

    /// Takes `cost` out of what is held, as a hold of its own in the same windows, dispatched if this one is.
    pub(super) fn split(&self, cost: &Cost) -> Result<Self, SplitError> {
        let at = self.look_at_the_clock();
        self.split_at(at, cost)
    }

    fn split_at(&self, at: Timestamp, cost: &Cost) -> Result<Self, SplitError> {
        self.first.plan.tell(Gate::open, at);
        let taken = self.take(cost);
        if taken.is_err() {
            self.first.plan.tell(Gate::settle, at);
        }
        // Before the other part gives something back.
        #[cfg(feature = "persist")]
        let _degraded = self.write_down(at);
        taken
    }

    fn take(&self, cost: &Cost) -> Result<Self, SplitError> {
        let mut grown = self.rare().grown.lock();
        // As in `try_extend`.
        let before = self.state.fetch_or(GROWN, Ordering::AcqRel);
        if before & CLAIMED != 0 {
            return Err(SplitError::Settled);
        }
        let held = self.with_shares(Some(&grown), |shares| total_held(shares).into_owned());
        if let Some((resource, _)) = cost.iter().find(|&(r, amount)| amount > held.amount(r).unwrap_or(0)) {
            return Err(SplitError::TooMuch { resource, held: held.amount(resource).unwrap_or(0) });
        }
        let mut rest = cost.clone();
        let mut taken = Vec::new();
        // The newest first: what was admitted last is given away first.
        for part in grown.extensions.iter_mut().rev() {
            let mut share = rest.take_up_to(&part.cost);
            share.items.retain(|(_, amount)| *amount > 0);
            if share.items.is_empty() {
                continue;
            }
            part.cost = part.cost.less(&share);
            taken.push(part.beside(share));
        }
        // The newest last, as here: what is above falls to it.
        taken.reverse();
        let share = rest.take_up_to(&self.first.cost.less(&grown.given));
        grown.given.add_all(&share);
        let first = self.first.beside(share);
        let grown = Mutex::new(Grown { extensions: taken, ..Grown::default() });
        let rare = Box::new(Rare { grown, ..Rare::default() });
        Ok(Self::of(first, rare.into(), before & DISPATCHED | GROWN, Admission::default()))
    }

    /// What a usage costs by the tables of the policy that the hold was made under, whatever has been put in force since.
    ///
    /// # Errors
    /// When the model or the operation is not in those tables and they refuse what is not.
    pub fn cost(&self, usage: &Usage) -> Result<Cost, CostError> {
        self.first.plan.in_force.cost(usage, None)
    }

    /// Settles with what the call really took. Above the hold it is charged in full, which may carry budgets past their max and is
    /// reported; below, the rest returns at once. A resource that was held and that the actual does not name is committed as held: not
    /// reported is not zero.
    ///
    /// A hold whose time-to-live ran out before is settled once all the same, and late ([`Receipt::is_late`]): what its expiry charged is
    /// brought to the actual.
    ///
    /// # Errors
    /// [`SettleError::Conflict`] when it was committed before with another actual; [`SettleError::Released`] when it was released. A commit
    /// of the same actual gives the same receipt and charges nothing. [`SettleError::UnknownResource`] when the actual names a resource
    /// that the policy of the hold does not declare: it stays open then.
    pub fn commit(&self, actual: impl Into<Actual>) -> Result<Receipt, SettleError> {
        let at = self.look_at_the_clock();
        self.commit_at(at, actual.into())
    }

    /// [`Hold::commit`] at an instant that the caller has read. Collects nothing: whoever calls this under a lock of its own may be overdue
    /// itself.
    pub(crate) fn commit_at(&self, at: Timestamp, actual: Actual) -> Result<Receipt, SettleError> {
        if !self.knows(actual.cost()) {
            return Err(SettleError::UnknownResource);
        }
        let before = self.state.fetch_or(CLAIMED, Ordering::AcqRel);
        if before & CLAIMED == 0 {
            let settlement = self.charge(at, before, actual, 0);
            self.note_settled(at);
            return Ok(self.receipt(settlement));
        }
        let outcome = self.wait_for_outcome();
        if outcome & EXPIRED != 0 {
            if self.state.fetch_or(LATE, Ordering::AcqRel) & LATE == 0 {
                return Ok(self.reconcile(at, actual));
            }
            while self.late().is_none() {
                yield_now();
            }
        }
        match self.late().cloned().or_else(|| (outcome & CHARGED != 0).then(|| self.written.read())) {
            None => Err(SettleError::Released),
            Some(settlement) if settlement.charged == actual.charged(&self.held()) => Ok(self.receipt(settlement)),
            Some(_) => Err(SettleError::Conflict),
        }
    }

    /// Gives everything back: there was no call, or it is known to have cost nothing.
    ///
    /// # Errors
    /// [`SettleError::Committed`], [`SettleError::Released`] or [`SettleError::Expired`] when it has been settled before. Nothing changes
    /// then.
    pub fn release(&self) -> Result<(), SettleError> {
        let at = self.look_at_the_clock();
        self.release_at(at)
    }

    fn release_at(&self, at: Timestamp) -> Result<(), SettleError> {
        let before = self.state.fetch_or(CLAIMED, Ordering::AcqRel);
        if before & CLAIMED == 0 {
            self.give_back(at, before, 0);
            self.note_settled(at);
            return Ok(());
        }
        Err(self.settled_how())
    }

    /// The instant of an operation: read once, before anything is held, since the clock may be the host's own. A hold with a time-to-live is
    /// open for no longer than that, whether or not anybody has looked meanwhile.
    fn look_at_the_clock(&self) -> Timestamp {
        let core = &self.first.plan.core;
        if self.id().is_none() {
            return core.now();
        }
        let at = core.now_precise();
        core.collect_overdue(at);
        at
    }

    /// How it was settled before, as whoever comes too late is told.
    fn settled_how(&self) -> SettleError {
        match self.wait_for_outcome() {
            // Committed after it had expired.
            _ if self.state.load(Ordering::Acquire) & LATE != 0 => SettleError::Committed,
            outcome if outcome & EXPIRED != 0 => SettleError::Expired,
            outcome if outcome & CHARGED != 0 => SettleError::Committed,
            _ => SettleError::Released,
        }
    }

    /// Prolongs, or shortens, the time-to-live: from now on it is `ttl`. Nobody but the holder of this handle does.
    ///
    /// # Errors
    /// [`SettleError::Expired`] when the time has run out, [`SettleError::Committed`] or [`SettleError::Released`] when it is settled,
    /// [`SettleError::NoTimeToLive`] when it never had one.
    pub fn renew(&self, ttl: Duration) -> Result<(), SettleError> {
        let id = self.id().ok_or(SettleError::NoTimeToLive)?;
        let core = &self.first.plan.core;
        let now = core.now_precise();
        if self.is_open() && core.holds.renew(id, self, now, now.saturating_add(ttl)).is_some() {
            #[cfg(feature = "persist")]
            let _degraded = self.write_down(now);
            return Ok(());
        }
        core.collect_overdue(now);
        Err(self.settled_how())
    }

    /// When the time-to-live runs out; `None` when it has none, or is settled.
    pub fn expires_at(&self) -> Option<Timestamp> {
        // Whoever settles it claims it first and has it forgotten afterwards.
        let id = self.id().filter(|_| self.is_open())?;
        self.first.plan.core.holds.expires_at(id, self)
    }

    /// Settles a hold whose time had run out at `at`. False when it had been settled before.
    pub(crate) fn expire(&self, at: Timestamp) -> bool {
        self.settle_unanswered(at, EXPIRED)
    }

    /// Settles what nobody settled: released when the call has not gone out; charged, at least as held, when it has. False when it had been
    /// settled before.
    fn settle_unanswered(&self, at: Timestamp, how: u8) -> bool {
        let before = self.state.fetch_or(CLAIMED, Ordering::AcqRel);
        if before & CLAIMED != 0 {
            return false;
        }
        if before & DISPATCHED == 0 {
            self.give_back(at, before, how);
        } else {
            let observed = self.grown().map(|grown| grown.observed.clone());
            self.charge(at, before, Actual::AtLeast(observed.unwrap_or_default()), how);
        }
        true
    }

    /// Settles on drop.
    pub(super) fn settle_dropped(&self) {
        if self.is_open() {
            let at = self.first.plan.core.now();
            if self.settle_unanswered(at, 0) {
                self.note_settled(at);
            }
        }
    }

    /// Brings what is held to `wanted`, of the resources that it names: what is missing is held without being asked for, in the windows of the
    /// first part that has budgets of it, and may carry budgets past their max; what is too much is given back. For a hold that nobody else settles.
    pub(crate) fn bring_to(&self, at: Timestamp, wanted: &Cost) {
        let held = self.held();
        let missing = wanted.less(&held);
        if !missing.is_zero() {
            self.grow(at, &missing);
        }
        let surplus = held.less(wanted);
        if !surplus.is_zero() {
            // Not dropped: that would charge it if the call has gone out.
            let _ = self.split_at(at, &surplus).map(|surplus| surplus.release_at(at));
        }
    }

    fn grow(&self, at: Timestamp, cost: &Cost) {
        let mut grown = self.rare().grown.lock();
        self.state.fetch_or(GROWN, Ordering::AcqRel);
        let flight = self.first.plan.flight();
        for (resource, amount) in cost.iter().filter(|(_, amount)| *amount > 0) {
            let mut parts = std::iter::once(&self.first).chain(&grown.extensions);
            let part = parts.find(|part| part.counts(resource)).unwrap_or(&self.first).beside(resource.of(amount));
            part.grow(at);
            grown.extend(part);
        }
        drop(flight);
        drop(grown);
        #[cfg(feature = "persist")]
        self.first.plan.write_counted(cost, crate::durable::Ahead::Step, at);
        self.first.plan.tell(Gate::touch, at);
    }

    /// What a resource of one of its budgets is called, and its unit.
    pub(crate) fn called(&self, resource: Resource) -> Option<(Box<str>, Unit)> {
        let grown = self.grown();
        let extensions = grown.iter().flat_map(|grown| &grown.extensions);
        let mut plans = std::iter::once(&self.first).chain(extensions).map(|part| &part.plan);
        plans.find_map(|plan| {
            let seat = plan.seats.iter().find(|seat| seat.resource == resource);
            let label = seat.map(|seat| (&*seat.label.resource, seat.label.unit));
            label.or(plan.in_force.name(resource)).map(|(name, unit)| (name.into(), unit))
        })
    }

    /// Brings what a committed hold charged from `before` to `after`.
    pub(crate) fn correct(&self, at: Timestamp, before: &Cost, after: &Cost) {
        let grown = self.grown();
        let resets = self.settled().map_or(0, |settlement| settlement.resets);
        self.with_shares(grown.as_deref(), |shares| {
            self.change(at, shares, Before::Charged(before, resets), after.clone());
        });
        drop(grown);
        self.first.plan.tell(Gate::touch, at);
    }

    /// Whether the subjects, their groups and the amounts asked for are these.
    pub(crate) fn is_for(&self, plan: &Plan, cost: &Cost) -> bool {
        self.first.plan.is_of_the_same(plan) && self.first.cost == *cost
    }

    /// Whether its settlement charged something.
    pub(crate) fn was_charged(&self) -> bool {
        self.outcome.load(Ordering::Acquire) & CHARGED != 0
    }

    /// What its settlement charged, if it did.
    fn settled(&self) -> Option<Settlement> {
        self.was_charged().then(|| self.written.read())
    }

    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.first.plan
    }

    /// Notes what the engine keeps it under, once.
    pub(super) fn keep_under(&self, id: HoldId) {
        let _ = self.rare().id.set(id);
    }

    /// Whether each resource is one of a budget that some part was admitted by, or declared by its policy.
    fn knows(&self, cost: &Cost) -> bool {
        cost.items.iter().all(|&(resource, _)| {
            self.first.plan.knows_resource(resource) || {
                let grown = self.grown();
                let mut extensions = grown.iter().flat_map(|grown| &grown.extensions);
                extensions.any(|part| part.plan.knows_resource(resource))
            }
        })
    }

    /// Calls `act` with the parts and what each holds now.
    fn with_shares<R>(&self, grown: Option<&Grown>, act: impl FnOnce(&[Share<'_>]) -> R) -> R {
        let first = &self.first;
        match grown {
            None => act(&[Share { part: first, held: &first.cost }]),
            Some(grown) => {
                let left = first.cost.less(&grown.given);
                let extensions = grown.extensions.iter().map(|part| Share { part, held: &part.cost });
                let shares: SmallVec<[Share<'_>; 4]> =
                    std::iter::once(Share { part: first, held: &left }).chain(extensions).collect();
                act(&shares)
            }
        }
    }

    /// Settles at `actual`; the caller has claimed. `before` is the state it claimed from.
    #[inline]
    fn charge(&self, at: Timestamp, before: u8, actual: Actual, how: u8) -> Settlement {
        #[cfg(feature = "persist")]
        if self.is_written() {
            return self.charge_written(at, actual, how);
        }
        let grown = self.grown_in(before);
        let settlement = self.with_shares(grown.as_deref(), |shares| {
            let total = actual.charged(&total_held(shares));
            self.change(at, shares, Before::Held, total)
        });
        drop(grown);
        self.written.write(&settlement);
        self.tell_outcome(at, CHARGED | how);
        settlement
    }

    /// Brings what expiry charged to `actual`; the caller has set `LATE`.
    #[cold]
    fn reconcile(&self, at: Timestamp, actual: Actual) -> Receipt {
        let (charged, resets) = self.settled().map_or_else(Default::default, |first| (first.charged, first.resets));
        let reconciled = || {
            #[cfg(feature = "persist")]
            if self.is_written() {
                return self.reconcile_written(at, (&charged, resets), actual);
            }
            let grown = self.grown();
            self.with_shares(grown.as_deref(), |shares| {
                let total = actual.charged(&total_held(shares));
                self.change(at, shares, Before::Charged(&charged, resets), total)
            })
        };
        // A refund goes by the earlier of the two charges.
        let mut settlement = Settlement { resets, ..reconciled() };
        settlement.late = true;
        let _ = self.rare().late.set(settlement.clone());
        self.first.plan.tell(Gate::touch, at);
        self.receipt(settlement)
    }

    /// Releases; the caller has claimed.
    fn give_back(&self, at: Timestamp, before: u8, how: u8) {
        #[cfg(feature = "persist")]
        if self.is_written() {
            self.give_back_written(at, how);
            return self.tell_outcome(at, RELEASED | how);
        }
        let grown = self.grown_in(before);
        self.with_shares(grown.as_deref(), |shares| {
            self.change(at, shares, Before::Held, Cost::nothing());
        });
        drop(grown);
        self.tell_outcome(at, RELEASED | how);
    }

    /// Says how it was settled. Nobody but the claimer does, once.
    fn tell_outcome(&self, at: Timestamp, outcome: u8) {
        // Pairs with the Acquire in `wait_for_outcome`.
        self.outcome.store(outcome, Ordering::Release);
        self.first.plan.tell(Gate::settle, at);
    }

    /// Changes what the parts have charged to `charged` in all, as of one instant.
    #[inline]
    fn change(&self, at: Timestamp, shares: &[Share<'_>], before: Before<'_>, charged: Cost) -> Settlement {
        let flight = self.first.plan.flight();
        let mut overages = Overages::new();
        let mut late = false;
        match before {
            Before::Held => {
                each_share(shares, [&charged], |Share { part, held }, [to]| {
                    late |= part.change(at, (held, None), to, &mut overages);
                });
            }
            Before::Charged(total, resets) => {
                each_share(shares, [total, &charged], |Share { part, .. }, [from, to]| {
                    late |= part.change(at, (from, Some(resets)), to, &mut overages);
                });
            }
        }
        drop(flight);
        #[cfg(feature = "persist")]
        self.write_changed(at, shares, before, &charged);
        let resets = self.first.plan.core.resets.done();
        Settlement { number: unique_number(), at, resets, charged, overages: each_once(overages), late }
    }

    #[inline]
    fn receipt(&self, settlement: Settlement) -> Receipt {
        let Settlement { number, at, resets, charged, overages, late } = settlement;
        let grown = self.grown_in(self.state.load(Ordering::Acquire));
        let parts = self.with_shares(grown.as_deref(), |shares| {
            if let [only] = shares {
                return SmallVec::from_buf([only.part.charged(None)]);
            }
            let mut parts = SmallVec::new();
            each_share(shares, [&charged], |Share { part, .. }, [cost]| parts.push(part.charged(Some(cost))));
            parts
        });
        let degraded = self.first.plan.core.is_unwritten();
        Receipt { number, at, resets, charged, overages, late, degraded, parts }
    }

    pub(super) fn note_settled(&self, at: Timestamp) {
        if let Some(id) = self.id() {
            self.first.plan.core.holds.settled(id, self, at);
        }
    }

    /// Waits for the outcome; whoever claimed is between two steps of its own.
    fn wait_for_outcome(&self) -> u8 {
        loop {
            // Pairs with the Release of the settlement's last step: what it wrote down is seen.
            match self.outcome.load(Ordering::Acquire) {
                0 => yield_now(),
                outcome => return outcome,
            }
        }
    }
}

fn total_held<'a>(shares: &[Share<'a>]) -> Cow<'a, Cost> {
    if let [only] = shares {
        return Cow::Borrowed(only.held);
    }
    let mut total = Cost::nothing();
    for share in shares {
        total.add_all(share.held);
    }
    Cow::Owned(total)
}

impl Drop for Hold {
    /// A hold that nobody keeps any more settles itself.
    fn drop(&mut self) {
        self.settle_dropped();
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.outcome.load(Ordering::Acquire) {
            outcome if outcome & EXPIRED != 0 => "expired",
            outcome if outcome & CHARGED != 0 => "committed",
            outcome if outcome & RELEASED != 0 => "released",
            _ if self.state.load(Ordering::Acquire) & DISPATCHED != 0 => "dispatched",
            _ => "held",
        };
        let mut debug = f.debug_struct("Hold");
        debug.field("state", &name).field("cost", &self.first.cost);
        self.id().map(|id| debug.field("id", id));
        debug.finish_non_exhaustive()
    }
}

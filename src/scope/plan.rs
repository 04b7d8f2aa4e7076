//! A scope resolved under one policy: which budgets it is charged to, and what they report.

use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

use super::error::ScopeError;
use super::later;
use super::owner::{Ended, Gate, Owned, Passing, Standing};
use super::subjects::Subjects;
use crate::amount::{Cap, Cost, Resource, Unit};
use crate::charge::{self, Blocked, Flight, Label, Refused, SEATS_MAX, Seat};
use crate::engine::{Component, Core, InForce, OnFailure, UnknownResource};
use crate::meter::{Meter, MeterRef};
use crate::policy::{Enforcement, Policy};
use crate::refusal::{Refusal, Retry, Violation};
use crate::report::{BudgetUsage, Overage, Status};
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::Window;

/// A scope resolved under one policy.
pub(crate) struct Plan {
    pub(crate) core: Arc<Core>,
    pub(super) version: u64,
    pub(crate) in_force: Arc<InForce>,
    members: Arc<Members>,
    /// What is degraded, if something is.
    pub(super) degraded: Option<Component>,
    /// In the policy's order, within a limit by subject; then the carried ones. Every scope charges in this order.
    pub(crate) seats: Box<[Seat]>,
}

/// Whose budgets a scope is charged to.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    pub(crate) subjects: Subjects,
    /// Budgets that no policy names: those of workflows and allowances.
    pub(crate) carried: Vec<Carried>,
    /// Whom they belong to; they live as long as something can be charged to them.
    pub(crate) owners: Vec<Owned>,
    /// Budgets of some subjects that are left out: an allowance's parent holds what is charged to it there.
    pub(crate) covered: Vec<Covered>,
}

/// The budgets of these subjects for these resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) subjects: Vec<Subject>,
    pub(crate) resources: Vec<Resource>,
}

impl Members {
    pub(crate) fn new(subjects: Subjects) -> Self {
        Self { subjects, carried: Vec::new(), owners: Vec::new(), covered: Vec::new() }
    }

    fn covers(&self, subject: &Subject, resource: Resource) -> bool {
        let is_covered =
            |covered: &Covered| covered.resources.contains(&resource) && covered.subjects.contains(subject);
        self.covered.iter().any(is_covered)
    }

    /// Takes a step at the gates of the owners, and tells them.
    fn tell(&self, step: fn(&Gate) -> Standing, at: Timestamp) {
        for owned in &self.owners {
            later::tell(&owned.owner, step(owned.owner.gate()), at);
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        later::forget(std::mem::take(&mut self.owners));
    }
}

/// Members that a scope is on: each scope counts as a user of their owners.
#[derive(Debug)]
pub(super) struct InUse {
    pub(super) core: Arc<Core>,
    members: Arc<Members>,
}

impl InUse {
    pub(super) fn new(core: Arc<Core>, members: Arc<Members>) -> Self {
        let in_use = Self { core, members };
        in_use.tell(Gate::add_user);
        in_use
    }

    fn tell(&self, step: fn(&Gate) -> Standing) {
        if !self.members.owners.is_empty() {
            let at = self.core.now();
            self.members.tell(step, at);
        }
    }
}

impl Clone for InUse {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.core), Arc::clone(&self.members))
    }
}

impl Deref for InUse {
    type Target = Arc<Members>;

    fn deref(&self) -> &Arc<Members> {
        &self.members
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.tell(Gate::drop_user);
    }
}

/// A budget that a scope carries with it, whatever the policy.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) meter: MeterRef,
    pub(crate) label: Arc<Label>,
    pub(crate) subject: Subject,
    pub(crate) resource: Resource,
    pub(crate) cap: Cap,
}

impl Carried {
    /// A new budget, of what `of` belongs to.
    pub(crate) fn new(limit: &str, of: &Subject, (resource, name, unit): (Resource, &str, Unit), cap: Cap) -> Self {
        let label = Label {
            limit: limit.into(),
            resource: name.into(),
            unit,
            warn: Box::default(),
            #[cfg(feature = "persist")]
            carrier: crate::charge::UNWRITTEN,
        };
        Self {
            meter: Meter::new(&Window::Lifetime, Timestamp::UNIX_EPOCH).into(),
            label: Arc::new(label),
            subject: of.clone(),
            resource,
            cap,
        }
    }

    /// The same, new, written down under the stamp of what carries it, and at each change if it `is_watched`.
    #[cfg(feature = "persist")]
    pub(crate) fn written_under(mut self, carrier: u64, is_watched: bool) -> Self {
        let Label { limit, resource, unit, warn, .. } = &*self.label;
        let (limit, resource, warn) = (Arc::clone(limit), Arc::clone(resource), warn.clone());
        self.label = Arc::new(Label { limit, resource, unit: *unit, warn, carrier });
        if is_watched {
            self.meter = Meter::new(&Window::Lifetime, Timestamp::UNIX_EPOCH).watched().into();
        }
        self
    }

    /// What is used and held of it.
    pub(crate) fn charged(&self) -> u64 {
        self.meter.peek(0).amount
    }

    /// What is left of it; nothing that could be shared out when it has no limit.
    pub(crate) fn room(&self) -> u64 {
        self.cap.max().unwrap_or(0).saturating_sub(self.charged())
    }

    /// The usage of all of them as of one instant.
    pub(crate) fn usage<'a>(core: &Core, all: impl Iterator<Item = &'a Self>) -> Vec<BudgetUsage> {
        core.collect_overdue(core.now_precise());
        let seats: Vec<Seat> = all.map(Self::seat).collect();
        let read = || seats.iter().filter_map(|seat| seat_usage(seat, Timestamp::UNIX_EPOCH, false)).collect();
        charge::snapshot(&core.flights, read)
    }

    pub(crate) fn seat(&self) -> Seat {
        let called = (Arc::clone(&self.label), self.subject.clone());
        let limits = (self.cap, Enforcement::Hard);
        Seat::new(self.meter.clone(), called, self.resource, Window::Lifetime, limits)
    }
}

pub(crate) fn known_kind(policy: &Policy, subject: &Subject) -> Result<(), ScopeError> {
    if policy.knows_kind(subject.kind()) {
        return Ok(());
    }
    let known = policy.kinds.iter().filter(|kind| ***kind != *crate::subject::GLOBAL).cloned();
    Err(ScopeError::UnknownKind {
        kind: subject.kind().into(),
        known: known.chain([crate::subject::GLOBAL.into()]).collect(),
    })
}

impl Plan {
    pub(super) fn resolve(core: &Arc<Core>, members: &Arc<Members>) -> Result<Arc<Self>, ScopeError> {
        // Read first: what is put in force meanwhile gets a later version, and this plan is made anew.
        let version = core.live.version();
        let in_force = core.live.get();
        let degraded = core.degraded();
        let opened = degraded.is_some() && core.failure_policy.reserve == OnFailure::Open;
        let now = core.clock.now();
        let mut seats = Vec::new();
        for (subject, groups) in &members.subjects.members {
            known_kind(&in_force.policy, subject)?;
            let groups: Vec<&str> = groups.iter().map(AsRef::as_ref).collect();
            let caps = in_force.policy.resolve(subject, &groups);
            let limits = in_force.policy.limits().iter().zip(&in_force.limits).enumerate();
            let limits = limits.filter(|(_, (limit, _))| limit.kind() == subject.kind());
            let limits = limits.zip(caps);
            let limits: Vec<_> =
                limits.filter(|((_, (_, limit)), _)| !members.covers(subject, limit.resource)).collect();
            let rules: SmallVec<[_; 4]> = limits.iter().map(|((_, (_, limit)), _)| limit.rule).collect();
            let meters = core.registry.budgets(subject, &rules, now)?;
            for (((order, (rule, limit)), (_, cap, _)), meter) in limits.into_iter().zip(meters) {
                let enforcement = if opened { open(rule.enforced()) } else { rule.enforced() };
                let grant = core.grants.of(subject, limit.rule.0);
                let cap = grant.and_then(|grant| grant.cap).unwrap_or(cap);
                let seat = limit.seat(meter, subject, (cap, enforcement));
                let extra = grant.and_then(|grant| grant.extra);
                seats
                    .push((order, extra.into_iter().fold(seat, |seat, (window, extra)| seat.topped_up(window, extra))));
            }
        }
        // Stable: within a limit they stay in the order of the subjects.
        seats.sort_by_key(|(order, _)| *order);
        let seats = seats.into_iter().map(|(_, seat)| seat);
        let seats = seats.chain(members.carried.iter().map(Carried::seat));
        let seats: Box<[Seat]> = seats.map(|seat| seat.heard(core.is_heard())).collect();
        if seats.len() > SEATS_MAX {
            return Err(ScopeError::TooManyBudgets { budgets: seats.len() });
        }
        charge::join(&seats);
        Ok(Arc::new(Self { core: Arc::clone(core), version, in_force, members: Arc::clone(members), degraded, seats }))
    }

    /// This plan, or the one of the policy that has been put in force since.
    pub(crate) fn renewed(self: &Arc<Self>) -> Result<Arc<Self>, ScopeError> {
        if self.core.live.version() == self.version {
            Ok(Arc::clone(self))
        } else {
            Self::resolve(&self.core, &self.members)
        }
    }

    /// Whether `other` is of the same subjects in the same groups, with the same carried budgets.
    pub(crate) fn is_of_the_same(&self, other: &Self) -> bool {
        let (a, b) = (&self.members, &other.members);
        let same = |(a, b): (&Carried, &Carried)| a.meter.is(&b.meter);
        Arc::ptr_eq(a, b)
            || a.subjects == b.subjects
                && a.carried.len() == b.carried.len()
                && a.covered == b.covered
                && a.carried.iter().zip(&b.carried).all(same)
    }

    /// A scope as it was resolved by an engine before, whose budgets are these.
    #[cfg(feature = "persist")]
    pub(crate) fn again(core: &Arc<Core>, members: Members, seats: Vec<Seat>) -> Arc<Self> {
        let in_force = core.live.get();
        // Of no version that ever is: it is resolved anew before anything is admitted by it.
        let (core, members) = (Arc::clone(core), Arc::new(members));
        Arc::new(Self { core, version: u64::MAX, in_force, members, degraded: None, seats: seats.into() })
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// Passes the gates of the owners that `cost` concerns; they are told when the answer is dropped.
    #[inline]
    pub(crate) fn pass<'a>(&'a self, cost: &'a Cost, now: Timestamp) -> Result<Passing<'a>, Ended> {
        self.collect_owners(now);
        Passing::enter(&self.members.owners, cost, now)
    }

    /// An owner whose time has run out lets nobody in.
    #[inline]
    fn collect_owners(&self, now: Timestamp) {
        if !self.members.owners.is_empty() {
            self.core.collect_overdue(now);
        }
    }

    /// What has ended of the owners that `cost` concerns.
    pub(crate) fn ended(&self, cost: &Cost, now: Timestamp) -> Result<(), Ended> {
        self.collect_owners(now);
        let has_ended = |owned: &&Owned| owned.is_concerned(cost) && owned.owner.gate().standing().has_ended();
        match self.members.owners.iter().find(has_ended) {
            Some(owned) => Err(Ended::of(owned.owner.subject())),
            None => Ok(()),
        }
    }

    /// Tells the owners of a step at their gates, after what led to it has been charged or given back at `at`.
    pub(crate) fn tell(&self, step: fn(&Gate) -> Standing, at: Timestamp) {
        self.members.tell(step, at);
    }

    /// Announces an operation that changes several budgets, or what is held.
    pub(crate) fn flight(&self) -> Flight<'_> {
        self.core.flights.begin()
    }

    /// That every resource of `cost` is one that the policy declares, or of a budget that the scope carries.
    #[inline]
    pub(crate) fn knows(&self, cost: &Cost) -> Result<(), UnknownResource> {
        if cost.items.iter().all(|&(resource, _)| self.knows_resource(resource)) {
            Ok(())
        } else {
            Err(UnknownResource::handle(&self.in_force))
        }
    }

    #[inline]
    pub(crate) fn knows_resource(&self, resource: Resource) -> bool {
        self.in_force.declares(resource) || self.members.carried.iter().any(|carried| carried.resource == resource)
    }

    pub(super) fn refusal(&self, refused: &Refused) -> Option<Box<Refusal>> {
        let violation = |blocked: &Blocked| {
            let seat = &self.seats[blocked.seat];
            let label = &seat.label;
            let layout = seat.meter.layout();
            let charged = blocked.state.amount;
            // Of a saturated count nobody knows which part is held.
            let held = if charged >= layout.saturated() { 0 } else { blocked.held.min(charged) };
            let resets_at = seat.bounds(blocked.state.window, refused.now).map(|bounds| bounds.end);
            let needed = blocked.requested.max(1);
            let fits_at = seat.meter.fits_at(blocked.requested, blocked.max, refused.now);
            let retry = match fits_at.or(resets_at) {
                _ if needed > blocked.max => Retry::Never,
                // A top-up may end with the window.
                Some(then) if Cap::Max(needed) <= seat.cap_in(blocked.state.window.saturating_add(1)) => {
                    Retry::At(then)
                }
                _ if charged - held <= blocked.max - needed => Retry::Unknown,
                _ => Retry::Never,
            };
            Violation {
                limit: Arc::clone(&label.limit),
                subject: seat.subject.clone(),
                resource: Arc::clone(&label.resource),
                unit: label.unit,
                window: seat.window,
                requested: blocked.requested,
                max: blocked.max,
                used: layout.shown(charged - held),
                held,
                remaining: blocked.max.saturating_sub(charged),
                resets_at,
                retry,
            }
        };
        let (primary, others) = refused.blocked.split_first()?;
        Some(Box::new(Refusal::new(violation(primary), others.iter().map(violation).collect(), refused.now)))
    }

    /// What seat `index` reports when `charged` is more than its max in `window`.
    pub(crate) fn overage(&self, index: usize, window: i64, charged: u64) -> Option<Overage> {
        let seat = &self.seats[index];
        let charged = seat.meter.layout().shown(charged);
        let above = charged.checked_sub(seat.cap_in(window).max()?).filter(|above| *above > 0)?;
        Some(Overage { limit: Arc::clone(&seat.label.limit), subject: seat.subject.clone(), above })
    }

    /// Whether `overage` is about the budget of seat `index`.
    pub(crate) fn is_about(&self, index: usize, overage: &Overage) -> bool {
        let seat = &self.seats[index];
        overage.limit == seat.label.limit && overage.subject == seat.subject
    }

    /// The budgets' usage at `at`, as of one instant; with `past`, of the windows that hold it, without: of the windows that an operation
    /// would use.
    pub(super) fn usage(&self, at: Timestamp, past: bool) -> Vec<Option<BudgetUsage>> {
        charge::snapshot(&self.core.flights, || self.seats.iter().map(|seat| seat_usage(seat, at, past)).collect())
    }
}

fn seat_usage(seat: &Seat, at: Timestamp, past: bool) -> Option<BudgetUsage> {
    let label = &seat.label;
    let layout = seat.meter.layout();
    let (window, charged) = if past {
        let number = seat.meter.number_of(&seat.window, at)?;
        (number, seat.meter.charged_in(number)?)
    } else {
        let state = seat.peek(at);
        (state.window, state.amount)
    };
    let cap = seat.cap_in(window);
    let has_ended = past && seat.meter.state(window).window > window;
    let held = if has_ended { 0 } else { seat.meter.held(window, at).min(charged) };
    Some(BudgetUsage {
        limit: Arc::clone(&label.limit),
        subject: seat.subject.clone(),
        resource: Arc::clone(&label.resource),
        unit: label.unit,
        window: seat.window,
        cap,
        used: if charged >= layout.saturated() { u64::MAX } else { charged - held },
        held: if charged >= layout.saturated() { 0 } else { held },
        bounds: seat.bounds(window, at),
        status: Status::of(layout.shown(charged), cap, &label.warn),
    })
}

/// What a limit does while reservations are let through whatever they ask.
fn open(enforcement: Enforcement) -> Enforcement {
    match enforcement {
        Enforcement::Hard | Enforcement::Soft => Enforcement::Soft,
        Enforcement::Shadow => Enforcement::Shadow,
    }
}

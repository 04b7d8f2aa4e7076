//! A scope: the subjects that a call is charged to, resolved once.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::amount::{Cap, Cost, Resource};
use crate::charge::{self, Ask, Refused, SEATS_MAX, Seat, Single, Windows};
use crate::clock::Clock;
use crate::cost::{CostError, Usage};
use crate::engine::{Core, InForce, UnknownResource};
use crate::live::{Loan, Renewed};
use crate::policy::Policy;
use crate::refusal::{Refusal, Retry, Violation};
use crate::report::{Admission, BudgetUsage, Overage, Receipt, Status};
use crate::reservation::Reservation;
use crate::subject::{Subject, SubjectError};
use crate::time::Timestamp;

/// The subjects of a scope, with the groups that the host says they are in.
///
/// ```
/// use encumber::Subjects;
/// let subjects = Subjects::new().with("agent:planner")?.in_groups("user:7", ["heavy", "berlin"])?;
/// # Ok::<(), encumber::SubjectError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    /// Each subject once, sorted, `global` among them.
    members: Vec<(Subject, Vec<Box<str>>)>,
}

impl Subjects {
    /// `global` alone.
    pub fn new() -> Self {
        Self { members: vec![(Subject::global(), Vec::new())] }
    }

    /// With one more subject; naming one twice counts once.
    ///
    /// # Errors
    /// When the text is not a subject.
    pub fn with<S>(self, subject: S) -> Result<Self, SubjectError>
    where
        S: TryInto<Subject>,
        S::Error: Into<SubjectError>,
    {
        self.in_groups(subject, [])
    }

    /// With one more subject that is in `groups` (besides those that the policy puts it in). Groups that the policy does not name have
    /// no effect.
    ///
    /// # Errors
    /// When the text is not a subject.
    pub fn in_groups<'a, S>(
        mut self,
        subject: S,
        groups: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, SubjectError>
    where
        S: TryInto<Subject>,
        S::Error: Into<SubjectError>,
    {
        let subject = subject.try_into().map_err(Into::into)?;
        let index = match self.members.binary_search_by(|(member, _)| member.cmp(&subject)) {
            Ok(index) => index,
            Err(index) => {
                self.members.insert(index, (subject, Vec::new()));
                index
            }
        };
        self.members[index].1.extend(groups.into_iter().map(Into::into));
        Ok(self)
    }
}

impl Default for Subjects {
    fn default() -> Self {
        Self::new()
    }
}

/// A handle on the set of subjects that a call is charged to, from [`Engine::scope`](crate::Engine::scope).
///
/// All handles on a subject, and all clones of a handle, share its budgets. A handle follows policies that are swapped in. Operations
/// on it are synchronous, never wait for another thread's operation, and allocate nothing for scopes of up to eight budgets, refusals
/// aside.
///
/// # Concurrency
/// Each operation takes effect at one instant within the call. A charge is admitted by every budget of the scope or charged to none,
/// and never past a hard limit, whatever else happens at once. With one budget a refusal means that there was no room at some instant
/// within the call; with several, a call that fits is not refused because of an attempt that is itself refused. Each operation reads
/// the clock once; it is read again, precisely, before a refusal.
pub struct Scope {
    core: Arc<Core>,
    /// The engine's, at hand.
    clock: Clock,
    subjects: Arc<Subjects>,
    /// The short way, good for the policy of this version.
    single: Option<Single>,
    version: u64,
    plan: Renewed<Plan>,
}

/// A scope resolved under one policy.
pub(crate) struct Plan {
    core: Arc<Core>,
    version: u64,
    pub(crate) in_force: Arc<InForce>,
    subjects: Arc<Subjects>,
    /// In the policy's order, within a limit by subject. Every scope charges in this order.
    pub(crate) seats: Box<[Seat]>,
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
    fn resolve(core: &Arc<Core>, subjects: &Arc<Subjects>) -> Result<Arc<Self>, ScopeError> {
        let in_force = core.live.get();
        let now = core.clock.now();
        let mut seats = Vec::new();
        for (index, (subject, groups)) in subjects.members.iter().enumerate() {
            known_kind(&in_force.policy, subject)?;
            let groups: Vec<&str> = groups.iter().map(AsRef::as_ref).collect();
            let caps = in_force.policy.resolve(subject, &groups);
            let limits =
                in_force.policy.limits().iter().enumerate().filter(|(_, limit)| limit.kind() == subject.kind());
            let limits: Vec<usize> = limits.map(|(limit, _)| limit).collect();
            let rules: Vec<_> = limits.iter().map(|limit| in_force.limits[*limit].rule).collect();
            let meters = core.registry.budgets(subject, &rules, |window| window.index(now));
            for ((limit, meter), (rule, cap, _)) in limits.into_iter().zip(meters).zip(caps) {
                let limits = (cap, rule.enforced());
                seats.push(Seat::new(meter, in_force.limits[limit].resource, rule.window(), limits, limit, index));
            }
        }
        if seats.len() > SEATS_MAX {
            return Err(ScopeError::TooManyBudgets { budgets: seats.len() });
        }
        seats.sort_by_key(|seat| (seat.limit, seat.subject));
        charge::join(&seats);
        Ok(Arc::new(Self {
            core: Arc::clone(core),
            version: in_force.version,
            in_force,
            subjects: Arc::clone(subjects),
            seats: seats.into(),
        }))
    }

    /// This plan, or the one of the policy that has been put in force since.
    pub(crate) fn renewed(self: &Arc<Self>) -> Result<Arc<Self>, ScopeError> {
        if self.core.live.version() == self.version {
            Ok(Arc::clone(self))
        } else {
            Self::resolve(&self.core, &self.subjects)
        }
    }

    fn subject(&self, seat: &Seat) -> Subject {
        self.subjects.members[seat.subject].0.clone()
    }

    /// That every resource of `cost` is one that the policy declares.
    #[inline]
    pub(crate) fn knows(&self, cost: &Cost) -> Result<(), UnknownResource> {
        if cost.items.iter().all(|&(resource, _)| self.in_force.declares(resource)) {
            Ok(())
        } else {
            Err(UnknownResource::handle(&self.in_force))
        }
    }

    fn refusal(&self, refused: &Refused) -> Option<Refusal> {
        let mut violations = refused.blocked.iter().map(|blocked| {
            let seat = &self.seats[blocked.seat];
            let limit = &self.in_force.limits[seat.limit];
            let layout = seat.meter.layout();
            let charged = blocked.state.amount;
            // Of a saturated count nobody knows which part is held.
            let held = if charged == layout.saturated() { 0 } else { blocked.held.min(charged) };
            let resets_at = seat.window.bounds_of(blocked.state.window).map(|bounds| bounds.end);
            let needed = blocked.requested.max(1);
            let retry = match resets_at {
                _ if needed > blocked.max => Retry::Never,
                Some(then) => Retry::At(then),
                None if charged - held <= blocked.max - needed => Retry::Unknown,
                None => Retry::Never,
            };
            Violation {
                limit: Arc::clone(&limit.id),
                subject: self.subject(seat),
                resource: Arc::clone(&limit.resource_name),
                unit: limit.unit,
                window: seat.window,
                requested: blocked.requested,
                max: blocked.max,
                used: layout.shown(charged - held),
                held,
                remaining: blocked.max.saturating_sub(charged),
                resets_at,
                retry,
            }
        });
        let primary = violations.next()?;
        Some(Refusal::new(primary, violations.collect(), refused.now))
    }

    /// What seat `index` reports when `charged` is more than its max.
    pub(crate) fn overage(&self, index: usize, charged: u64) -> Option<Overage> {
        let seat = &self.seats[index];
        let charged = seat.meter.layout().shown(charged);
        let above = charged.checked_sub(seat.cap.max()?).filter(|above| *above > 0)?;
        let limit = Arc::clone(&self.in_force.limits[seat.limit].id);
        Some(Overage { limit, subject: self.subject(seat), above })
    }

    /// Whether `overage` is about the budget of seat `index`.
    pub(crate) fn is_about(&self, index: usize, overage: &Overage) -> bool {
        let seat = &self.seats[index];
        overage.limit == self.in_force.limits[seat.limit].id && overage.subject == self.subject(seat)
    }

    /// The budgets' usage at `at`; with `past`, of the windows that hold it, without: of the windows that an operation would use.
    fn usage(&self, at: Timestamp, past: bool) -> Vec<Option<BudgetUsage>> {
        self.seats.iter().map(|seat| self.seat_usage(seat, at, past)).collect()
    }

    fn seat_usage(&self, seat: &Seat, at: Timestamp, past: bool) -> Option<BudgetUsage> {
        let limit = &self.in_force.limits[seat.limit];
        let layout = seat.meter.layout();
        let index = seat.window.index(at);
        let (window, charged) = if past {
            (index, seat.meter.charged_in(index)?)
        } else {
            let state = seat.meter.peek(index);
            (state.window, state.amount)
        };
        let has_ended = past && seat.meter.state(index).window > index;
        let held = if has_ended { 0 } else { seat.meter.held(window).min(charged) };
        Some(BudgetUsage {
            limit: Arc::clone(&limit.id),
            subject: self.subject(seat),
            resource: Arc::clone(&limit.resource_name),
            unit: limit.unit,
            window: seat.window,
            cap: seat.cap,
            used: if charged == layout.saturated() { u64::MAX } else { charged - held },
            held: if charged == layout.saturated() { 0 } else { held },
            bounds: seat.window.bounds_of(window),
            status: Status::of(layout.shown(charged), seat.cap, &self.in_force.policy.limits()[seat.limit].warn),
        })
    }
}

impl Scope {
    pub(crate) fn resolve(core: Arc<Core>, subjects: Subjects) -> Result<Self, ScopeError> {
        let subjects = Arc::new(subjects);
        let plan = Plan::resolve(&core, &subjects)?;
        Ok(Self::of(core, subjects, plan))
    }

    fn of(core: Arc<Core>, subjects: Arc<Subjects>, plan: Arc<Plan>) -> Self {
        let clock = core.clock.clone();
        Self { clock, subjects, single: Single::of(&plan.seats), version: plan.version, plan: Renewed::new(plan), core }
    }

    /// Asks without taking: is anything left in every hard budget?
    ///
    /// # Errors
    /// [`ChargeError::Refused`] when nothing is left in one of them.
    pub fn check(&self) -> Result<Admission, ChargeError> {
        let plan = self.plan()?;
        self.ask(&plan, Ask::Room)
    }

    /// Asks without taking: would [`Scope::try_charge`] admit this?
    ///
    /// # Errors
    /// As [`Scope::try_charge`].
    pub fn check_cost(&self, cost: &Cost) -> Result<Admission, ChargeError> {
        let plan = self.plan()?;
        plan.knows(cost)?;
        self.ask(&plan, Ask::Charge(cost))
    }

    /// Admits and commits in one step: `used` grows by the cost in every budget of the scope, or in none.
    ///
    /// An exact fit passes. An amount of 0 is a question and passes.
    ///
    /// ```
    /// # use encumber::{Cap, ChargeError, Engine, Limit, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("steps", Unit::Count)
    /// #     .limit(Limit::new("run", "agent", "steps", Window::Lifetime, Cap::Max(2))).build()?;
    /// # let engine = Engine::new(policy);
    /// let steps = engine.resource("steps")?;
    /// let scope = engine.scope(["agent:planner"])?;
    /// scope.try_charge(steps.of(2))?;
    /// let Err(ChargeError::Refused(refusal)) = scope.try_charge(steps.of(1)) else { panic!("no room is left") };
    /// assert_eq!(refusal.primary().remaining, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChargeError::Refused`] when a hard budget has no room; [`ChargeError::UnknownResource`] when the cost names a resource that the
    /// policy in force does not declare; [`ChargeError::Scope`] when that policy does not know one of the kinds. Nothing is charged.
    #[allow(clippy::inline_always, reason = "measured: the common charge is one function in the caller this way")]
    #[inline(always)]
    #[allow(clippy::needless_pass_by_value, reason = "a cost is made for the call; reserve keeps it")]
    pub fn try_charge(&self, cost: Cost) -> Result<Admission, ChargeError> {
        if let Some(single) = &self.single
            && self.core.live.version() == self.version
            && single.charge(&cost, self.clock.now())
        {
            return Ok(Admission::default());
        }
        self.try_charge_all(&cost)
    }

    /// Admits and holds: the amount counts against the budgets at once, until the reservation is settled.
    ///
    /// An amount of 0 passes while anything is left ([`Scope::check`] for that resource); what the call really took is charged when it is
    /// committed. The hold belongs to the windows that admit it.
    ///
    /// # Errors
    /// As [`Scope::try_charge`].
    #[inline]
    pub fn reserve(&self, cost: Cost) -> Result<Reservation, ChargeError> {
        let plan = self.plan()?;
        let (windows, admission) = hold(&plan, &cost)?;
        Ok(Reservation::new(Arc::clone(&plan), cost, windows, admission))
    }

    /// Holds as much of `want` of one resource as fits, at least `min`.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("run", "agent", "tokens", Window::Lifetime, Cap::Max(1_000))).build()?;
    /// # let engine = Engine::new(policy);
    /// let tokens = engine.resource("tokens")?;
    /// let scope = engine.scope(["agent:planner"])?;
    /// let hold = scope.reserve_up_to(tokens, 100, 4_096)?;
    /// assert_eq!(hold.held().amount(tokens), Some(1_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Scope::reserve`] of `min` when not even that fits. A `min` above `want` counts as `want`.
    pub fn reserve_up_to(&self, resource: Resource, min: u64, want: u64) -> Result<Reservation, ChargeError> {
        let min = min.min(want);
        loop {
            let fits = match self.afford(resource)? {
                Cap::Max(room) => room.min(want),
                Cap::Unlimited => want,
            };
            match self.reserve(Cost::of(resource, fits.max(min))) {
                // Somebody took some of the room meanwhile: ask for what is left now.
                Err(ChargeError::Refused(_)) if fits > min => {}
                answer => return answer,
            }
        }
    }

    /// Counts a cost after the fact: never refused, may carry budgets past their max, which is reported.
    ///
    /// It belongs to the windows of the instant of the call. Counts saturate at what a budget can hold.
    ///
    /// # Errors
    /// When the cost names an unknown resource, or the policy in force does not know one of the scope's kinds. Nothing is counted.
    pub fn record(&self, cost: Cost) -> Result<Receipt, RecordError> {
        let plan = self.plan()?;
        plan.knows(&cost)?;
        let now = self.core.clock.now();
        let mut overages = SmallVec::new();
        charge::record(&plan.seats, &cost, now, |seat, charged| overages.extend(plan.overage(seat, charged)));
        Ok(Receipt { charged: cost, overages, late: false })
    }

    /// The largest amount of one resource that would be admitted now.
    ///
    /// # Errors
    /// When the resource or a kind of the scope is unknown to the policy in force.
    pub fn afford(&self, resource: Resource) -> Result<Cap, RecordError> {
        let plan = self.plan()?;
        plan.knows(&Cost::of(resource, 0))?;
        Ok(charge::afford(&plan.seats, resource, self.core.clock.now()))
    }

    /// The most output tokens, up to `want`, with which a call that uses `input` would be admitted now in every resource that it costs;
    /// 0 when not even its input would. To size `max_tokens`.
    ///
    /// # Errors
    /// When the call cannot be priced, or a kind of the scope is unknown to the policy in force.
    pub fn afford_output(&self, input: &Usage, want: u64) -> Result<u64, AffordError> {
        let plan = self.plan()?;
        let now = self.core.clock.now();
        let fits = |output: u64| -> Result<bool, CostError> {
            let cost = plan.in_force.cost(&input.worst_case(output), None)?;
            Ok(cost.iter().all(|(resource, amount)| match charge::afford(&plan.seats, resource, now) {
                Cap::Max(room) => amount <= room,
                Cap::Unlimited => true,
            }))
        };
        // Costs grow with the output, so the answer lies between the largest that fits and the smallest that does not.
        if fits(want)? {
            return Ok(want);
        }
        let (mut fitting, mut too_much) = (0, want);
        while too_much - fitting > 1 {
            let middle = fitting + (too_much - fitting) / 2;
            if fits(middle)? { fitting = middle } else { too_much = middle }
        }
        Ok(fitting)
    }

    /// The budgets of the scope in the policy's order, each with its usage in the window that an operation would use now.
    ///
    /// Between the steps of operations under way in other threads, `held` and `used` may be told apart a moment late; their sum is
    /// what admission goes by.
    ///
    /// # Errors
    /// When a kind of the scope is unknown to the policy in force.
    pub fn usage(&self) -> Result<Vec<BudgetUsage>, ScopeError> {
        let usage = self.plan()?.usage(self.core.clock.now(), false);
        Ok(usage.into_iter().flatten().collect())
    }

    /// Like [`Scope::usage`], of the windows that hold `at`: the current ones, or those that ended last. `None` for a window that is
    /// forgotten. For a window that has ended, holds that were open at its end count as used until they are settled.
    ///
    /// # Errors
    /// When a kind of the scope is unknown to the policy in force.
    pub fn usage_at(&self, at: Timestamp) -> Result<Vec<Option<BudgetUsage>>, ScopeError> {
        Ok(self.plan()?.usage(at, true))
    }

    #[inline]
    fn plan(&self) -> Result<Loan<'_, Plan>, ScopeError> {
        let version = self.core.live.version();
        self.plan.get(|plan| plan.version == version, || Plan::resolve(&self.core, &self.subjects))
    }

    #[inline(never)]
    fn try_charge_all(&self, cost: &Cost) -> Result<Admission, ChargeError> {
        let plan = self.plan()?;
        plan.knows(cost)?;
        let now = self.clock.now();
        match charge::charge(&plan.seats, &self.core.flights, &self.clock, Ask::Charge(cost), now, &mut Windows::new())
        {
            Ok(passed) => Ok(passed.into()),
            Err(refused) => Err(refused_error(&plan, &refused)),
        }
    }

    fn ask(&self, plan: &Plan, ask: Ask<'_>) -> Result<Admission, ChargeError> {
        let now = self.core.clock.now();
        match charge::check(&plan.seats, &self.core.flights, &self.core.clock, ask, now) {
            Ok(passed) => Ok(passed.into()),
            Err(refused) => Err(refused_error(plan, &refused)),
        }
    }
}

/// Holds `cost` in the budgets of `plan` now.
#[inline]
pub(crate) fn hold(plan: &Plan, cost: &Cost) -> Result<(Windows, Admission), ChargeError> {
    plan.knows(cost)?;
    let core = &plan.core;
    let mut windows = Windows::new();
    let now = core.clock.now();
    match charge::charge(&plan.seats, &core.flights, &core.clock, Ask::Hold(cost), now, &mut windows) {
        Ok(passed) => {
            charge::hold(&plan.seats, cost, &windows);
            Ok((windows, passed.into()))
        }
        Err(refused) => Err(refused_error(plan, &refused)),
    }
}

#[cold]
fn refused_error(plan: &Plan, refused: &Refused) -> ChargeError {
    match plan.refusal(refused) {
        Some(refusal) => ChargeError::Refused(Box::new(refusal)),
        // Unreachable: a refusal names a budget. An error that is not an admission is the safe answer.
        None => UnknownResource::handle(&plan.in_force).into(),
    }
}

impl Clone for Scope {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.core), Arc::clone(&self.subjects), self.plan.newest())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.subjects.members.iter().map(|(subject, _)| subject)).finish()
    }
}

/// Subjects that cannot be a scope. Nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScopeError {
    /// A text that is not a subject.
    Subject(SubjectError),
    /// A kind that the policy neither declares nor limits.
    UnknownKind {
        /// The kind.
        kind: Box<str>,
        /// The kinds that are known.
        known: Vec<Box<str>>,
    },
    /// More than 64 budgets apply.
    TooManyBudgets {
        /// How many do.
        budgets: usize,
    },
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(error) => error.fmt(f),
            Self::UnknownKind { kind, known } => write!(
                f,
                "the kind of subject {kind:?} is neither declared nor limited by the policy; known: {}",
                known.join(", ")
            ),
            Self::TooManyBudgets { budgets } => {
                write!(f, "{budgets} budgets apply to this scope, more than {SEATS_MAX}")
            }
        }
    }
}

impl std::error::Error for ScopeError {}

impl From<SubjectError> for ScopeError {
    fn from(error: SubjectError) -> Self {
        Self::Subject(error)
    }
}

/// Why a call was not let through. Nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChargeError {
    /// A hard budget has no room.
    Refused(Box<Refusal>),
    /// The cost names a resource that the policy in force does not declare.
    UnknownResource(Box<UnknownResource>),
    /// The policy in force does not know the scope's subjects.
    Scope(Box<ScopeError>),
}

impl ChargeError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The refusal, if it is one.
    pub fn into_refusal(self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            _ => None,
        }
    }
}

impl fmt::Display for ChargeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::UnknownResource(error) => error.fmt(f),
            Self::Scope(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChargeError {}

/// Why a cost was not counted, or a question not answered: the policy in force does not know what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// A resource that the policy in force does not declare.
    UnknownResource(Box<UnknownResource>),
    /// The policy in force does not know the scope's subjects.
    Scope(Box<ScopeError>),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownResource(error) => error.fmt(f),
            Self::Scope(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RecordError {}

/// Why [`Scope::afford_output`] has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AffordError {
    /// The call cannot be priced.
    Cost(CostError),
    /// The policy in force does not know the scope's subjects.
    Scope(Box<ScopeError>),
}

impl fmt::Display for AffordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cost(error) => error.fmt(f),
            Self::Scope(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AffordError {}

macro_rules! from {
    ($error:ident, $($variant:ident($cause:ty)),+) => {
        $(impl From<$cause> for $error {
            fn from(cause: $cause) -> Self {
                Self::$variant(cause.into())
            }
        })+
    };
}

from!(ChargeError, UnknownResource(UnknownResource), Scope(ScopeError));
from!(RecordError, UnknownResource(UnknownResource), Scope(ScopeError));
from!(AffordError, Cost(CostError), Scope(ScopeError));

impl From<RecordError> for ChargeError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::UnknownResource(error) => Self::UnknownResource(error),
            RecordError::Scope(error) => Self::Scope(error),
        }
    }
}

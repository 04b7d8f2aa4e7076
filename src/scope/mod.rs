//! A scope: the subjects that a call is charged to, resolved once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::amount::{Cap, Cost, Resource};
use crate::charge::{self, Ask, Refused, Short, Windows};
use crate::clock::Clock;
use crate::cost::{CostError, Usage};
use crate::engine::{Component, Core, InForce, Lease, OnFailure, UnknownResource};
use crate::event::EventKind;
use crate::holds::{Claim, HoldId, HoldIdError, Keep, NotClaimed};
use crate::live::{Loan, Renewed};
use crate::report::{Admission, BudgetUsage, Charged, Receipt};
use crate::reservation::{DetachedHold, Hold, Reservation, ReserveError, keep_under};
use crate::subject::Subject;
use crate::sync::unique_number;
use crate::time::Timestamp;
use crate::window::Window;

mod error;
mod in_order;
mod later;
mod owner;
mod plan;
mod subjects;
#[cfg(not(feature = "persist"))]
mod unwritten;

#[cfg(feature = "persist")]
pub(crate) use crate::durable::{Ahead, Recorded};
pub use error::{AffordError, ChargeError, RecordError, ScopeError};
pub use owner::Ended;
pub(crate) use owner::{Gate, Owned, Owner, Standing};
use plan::InUse;
pub(crate) use plan::{Carried, Covered, Members, Plan, known_kind};
pub use subjects::Subjects;
#[cfg(not(feature = "persist"))]
pub(crate) use unwritten::{Ahead, Recorded};

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
    /// The engine's, at hand.
    clock: Clock,
    members: InUse,
    /// The short way, good for the policy of this version.
    short: Option<Short>,
    version: u64,
    plan: Renewed<Plan>,
    lease: Arc<Lease>,
}

impl Scope {
    pub(crate) fn resolve(core: Arc<Core>, members: Members) -> Result<Self, ScopeError> {
        let members = Arc::new(members);
        let plan = Plan::resolve(&core, &members)?;
        let lease = core.lease();
        Ok(Self::of(lease, InUse::new(core, members), plan))
    }

    fn of(lease: Arc<Lease>, members: InUse, plan: Arc<Plan>) -> Self {
        // The short way passes no gate.
        let is_plain = plan.degraded.is_none() && members.owners.is_empty();
        let short = if is_plain { Short::of(&plan.seats) } else { None };
        let clock = members.core.clock.clone();
        Self { clock, members, short, version: plan.version, plan: Renewed::new(plan), lease }
    }

    /// Asks without taking: is anything left in every hard budget?
    ///
    /// # Errors
    /// [`ChargeError::Refused`] when nothing is left in one of them.
    pub fn check(&self) -> Result<Admission, ChargeError> {
        let plan = self.plan()?;
        let now = self.clock.now();
        plan.ended(&Cost::nothing(), now)?;
        self.ask(&plan, Ask::Room, now)
    }

    /// Asks without taking: would [`Scope::try_charge`] admit this?
    ///
    /// # Errors
    /// As [`Scope::try_charge`].
    pub fn check_cost(&self, cost: &Cost) -> Result<Admission, ChargeError> {
        let plan = self.plan()?;
        plan.knows(cost)?;
        let now = self.clock.now();
        plan.ended(cost, now)?;
        self.ask(&plan, Ask::Charge(cost), now)
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
        let now = self.clock.now();
        if let Some(short) = &self.short
            && self.members.core.live.version() == self.version
            && short.charge(&cost, now, &self.members.core.flights, || self.is_covered(Ask::Charge(&cost), now))
        {
            return Ok(Admission::default());
        }
        self.try_charge_all(&cost, now)
    }

    /// Admits and holds: the amount counts against the budgets at once, until the reservation is settled.
    ///
    /// An amount of 0 passes while anything is left ([`Scope::check`] for that resource); what the call really took is charged when it is
    /// committed. The hold belongs to the windows that admit it.
    ///
    /// # Errors
    /// As [`Scope::try_charge`], and [`ChargeError::TooManyHolds`] when the engine gives every reservation a time-to-live and keeps as
    /// many as it may.
    #[inline]
    pub fn reserve(&self, cost: Cost) -> Result<Reservation, ChargeError> {
        // Not `inspect_err`, which would move the reservation once more.
        let answer = self.reserve_untold(cost);
        if let Err(error) = &answer {
            tell_refused(&self.members.core, error);
        }
        answer
    }

    /// [`Scope::reserve`] that tells no listener of a refusal.
    #[inline]
    fn reserve_untold(&self, cost: Cost) -> Result<Reservation, ChargeError> {
        if let Some(ttl) = self.members.core.hold_ttl {
            return self.reserve_for_untold(cost, ttl);
        }
        let plan = self.plan()?;
        let now = self.clock.now();
        if let Some(short) = &self.short
            && plan.version == self.version
            && let Some(windows) =
                short.hold(&cost, now, &self.members.core.flights, || self.is_covered(Ask::Hold(&cost), now))
        {
            return Ok(Reservation::new(Arc::clone(&plan), cost, windows, Admission::default()));
        }
        let (windows, admission) = hold(&plan, &cost, Ahead::Step, now).map_err(|not| not.error(&plan))?;
        Ok(Reservation::new(Arc::clone(&plan), cost, windows, admission))
    }

    /// Like [`Scope::reserve`], for at most `ttl`: if nobody has settled it by then, it is settled as a drop would. For guards that might
    /// be kept for ever, by a task that hangs. No other traffic prolongs it; [`Hold::renew`] does.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, ManualClock, Policy, SettleError, Unit, Window};
    /// # use std::time::Duration;
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("run", "agent", "tokens", Window::Lifetime, Cap::Max(1_000))).build()?;
    /// # let clock = ManualClock::at("2026-02-04T20:55:00Z".parse()?);
    /// # let engine = Engine::builder(policy).clock(&clock).build();
    /// let tokens = engine.resource("tokens")?;
    /// let scope = engine.scope(["agent:planner"])?;
    /// let stuck = scope.reserve_for(tokens.of(1_000), Duration::from_secs(300))?;
    /// clock.advance(Duration::from_secs(300));
    /// let hold = scope.reserve(tokens.of(600))?; // the first one has expired
    /// assert_eq!(stuck.release(), Err(SettleError::Expired));
    /// assert!(stuck.commit(tokens.of(200))?.is_late()); // it went out after all
    /// assert_eq!((scope.usage()?[0].used, scope.usage()?[0].held), (200, 600));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Scope::try_charge`], and [`ChargeError::TooManyHolds`] when the engine keeps as many as it may. Nothing is held then.
    pub fn reserve_for(&self, cost: Cost, ttl: Duration) -> Result<Reservation, ChargeError> {
        self.reserve_for_untold(cost, ttl).inspect_err(|error| tell_refused(&self.members.core, error))
    }

    fn reserve_for_untold(&self, cost: Cost, ttl: Duration) -> Result<Reservation, ChargeError> {
        let plan = self.plan()?;
        // The place first: a hold that cannot be kept is not made.
        let now = self.members.core.now_precise();
        let claim = self.members.core.claim_unique(now)?;
        Ok(hold_under(claim, &plan, cost, (now, ttl), (Keep::Remember, Answerable::Guard))?.attach())
    }

    /// Holds under an id of the caller's, for at most `ttl`: the request's idempotency key. The engine keeps the hold; dropping the handle
    /// changes nothing.
    ///
    /// | under the id | same subjects and amounts | other ones |
    /// |---|---|---|
    /// | nothing | held | held |
    /// | an open hold | the same hold again ([`DetachedHold::is_replayed`]); its time-to-live is not prolonged | [`ReserveError::Conflict`] |
    /// | a settled one, remembered | [`ReserveError::Settled`] | [`ReserveError::Settled`] |
    ///
    /// Calls with one id at once hold once. Refusals are not remembered: the id is as unknown as before.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, ReserveError, Unit, Window};
    /// # use std::time::Duration;
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("run", "agent", "tokens", Window::Lifetime, Cap::Max(1_000))).build()?;
    /// # let engine = Engine::new(policy);
    /// let tokens = engine.resource("tokens")?;
    /// let scope = engine.scope(["agent:planner"])?;
    /// let ttl = Duration::from_secs(300);
    /// let hold = scope.reserve_with_id("req-1", ttl, tokens.of(600))?;
    /// let again = scope.reserve_with_id("req-1", ttl, tokens.of(600))?; // the client tried again
    /// assert!(again.is_replayed() && scope.usage()?[0].held == 600);
    /// assert_eq!(scope.reserve_with_id("req-1", ttl, tokens.of(500)).unwrap_err(), ReserveError::Conflict);
    /// again.commit(tokens.of(450))?;
    /// assert_eq!(scope.reserve_with_id("req-1", ttl, tokens.of(600)).unwrap_err(), ReserveError::Settled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As the table says; as [`Scope::reserve_for`]; [`ReserveError::Id`] when the text cannot be an id. Nothing is held then.
    pub fn reserve_with_id<I>(&self, id: I, ttl: Duration, cost: Cost) -> Result<DetachedHold, ReserveError>
    where
        I: TryInto<HoldId>,
        I::Error: Into<HoldIdError>,
    {
        self.hold_with_id(&id.try_into().map_err(Into::into)?, ttl, cost, Keep::Remember)
    }

    pub(crate) fn hold_with_id(
        &self,
        id: &HoldId,
        ttl: Duration,
        cost: Cost,
        keep: Keep,
    ) -> Result<DetachedHold, ReserveError> {
        let plan = self.plan()?;
        let now = self.members.core.now_precise();
        let claim = match self.members.core.claim(id, now) {
            Ok(claim) => claim,
            Err(NotClaimed::Full(full)) => return Err(ChargeError::from(full).into()),
            Err(NotClaimed::Taken(hold)) if !hold.is_open() => return Err(ReserveError::Settled),
            Err(NotClaimed::Taken(hold)) if !hold.is_for(&plan, &cost) => return Err(ReserveError::Conflict),
            Err(NotClaimed::Taken(hold)) => return Ok(DetachedHold::new(hold, id.clone(), true)),
        };
        let hold = hold_under(claim, &plan, cost, (now, ttl), (keep, Answerable::Nobody));
        Ok(hold.inspect_err(|error| tell_refused(&self.members.core, error))?)
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
            match self.reserve_untold(Cost::of(resource, fits.max(min))) {
                // Somebody took some of the room meanwhile: ask for what is left now.
                Err(ChargeError::Refused(_)) if fits > min => {}
                answer => return answer.inspect_err(|error| tell_refused(&self.members.core, error)),
            }
        }
    }

    /// Counts a cost after the fact: never refused, may carry budgets past their max, which is reported.
    ///
    /// It belongs to the windows of the instant of the call. Counts saturate at what a budget can hold.
    ///
    /// # Errors
    /// When the cost names an unknown resource, or the policy in force does not know one of the scope's kinds, or something is degraded and
    /// the [`FailurePolicy`](crate::FailurePolicy) says so. Nothing is counted.
    pub fn record(&self, cost: Cost) -> Result<Receipt, RecordError> {
        let plan = self.plan()?;
        plan.knows(&cost)?;
        if let Some(component) = plan.degraded.filter(|_| self.members.core.failure_policy.record == OnFailure::Closed)
        {
            return Err(RecordError::Degraded(component));
        }
        let now = self.members.core.clock.now();
        // Read before the charge: a reset that comes between takes it for one of before, which gives nothing back twice.
        let resets = self.members.core.resets.done();
        let mut overages = SmallVec::new();
        let mut windows = charge::unset(plan.seats.len());
        charge::record(&plan.seats, &*self.members.core, &cost, now, |seat, window, charged| {
            windows[seat] = window;
            overages.extend(plan.overage(seat, window, charged));
        });
        let is_written = plan.write_counted(&cost, Ahead::Step, now);
        plan.tell(Gate::touch, now);
        let degraded = plan.degraded.is_some() || !is_written;
        let parts = SmallVec::from_buf([Charged { plan: Arc::clone(&plan), windows, cost: None }]);
        Ok(Receipt { number: unique_number(), at: now, resets, charged: cost, overages, late: false, degraded, parts })
    }

    /// The largest amount of one resource that would be admitted now.
    ///
    /// # Errors
    /// When the resource or a kind of the scope is unknown to the policy in force.
    pub fn afford(&self, resource: Resource) -> Result<Cap, RecordError> {
        let plan = self.plan()?;
        plan.knows(&Cost::of(resource, 0))?;
        let now = self.members.core.clock.now();
        self.members.core.collect_overdue(now);
        if plan.ended(&Cost::of(resource, 0), now).is_err() {
            return Ok(Cap::Max(0));
        }
        Ok(charge::afford(&plan.seats, resource, now))
    }

    /// The most output tokens, up to `want`, with which a call that uses `input` would be admitted now in every resource that it costs;
    /// 0 when not even its input would. To size `max_tokens`.
    ///
    /// # Errors
    /// When the call cannot be priced, or a kind of the scope is unknown to the policy in force.
    pub fn afford_output(&self, input: &Usage, want: u64) -> Result<u64, AffordError> {
        let plan = self.plan()?;
        let now = self.members.core.clock.now();
        self.members.core.collect_overdue(now);
        let fits = |output: u64| -> Result<bool, CostError> {
            let cost = plan.in_force.cost(&input.worst_case(output), None)?;
            Ok(plan.ended(&cost, now).is_ok()
                && cost.iter().all(|(resource, amount)| match charge::afford(&plan.seats, resource, now) {
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
    /// They are read as of one instant: a call that charges several of them is seen in all or in none.
    ///
    /// # Errors
    /// When a kind of the scope is unknown to the policy in force.
    pub fn usage(&self) -> Result<Vec<BudgetUsage>, ScopeError> {
        let plan = self.plan()?;
        let now = self.clock.now();
        self.members.core.collect_overdue(self.clock.sharpened(now));
        let usage = plan.usage(now, false);
        Ok(usage.into_iter().flatten().collect())
    }

    /// Like [`Scope::usage`], of the windows that hold `at`: the current ones, or those that ended last. `None` for a window that is
    /// forgotten. For a window that has ended, holds that were open at its end count as used until they are settled.
    ///
    /// # Errors
    /// When a kind of the scope is unknown to the policy in force.
    pub fn usage_at(&self, at: Timestamp) -> Result<Vec<Option<BudgetUsage>>, ScopeError> {
        let plan = self.plan()?;
        self.members.core.collect_overdue(at.min(self.clock.now_precise()));
        Ok(plan.usage(at, true))
    }

    /// The subjects, sorted.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.members.subjects.iter()
    }

    /// The hold that the engine keeps under `id`, once those have gone whose time has run out.
    pub(crate) fn kept_hold(&self, id: &HoldId) -> Option<DetachedHold> {
        self.members.core.collect_overdue(self.members.core.now_precise());
        Some(DetachedHold::new(self.members.core.holds.get(id)?, id.clone(), false))
    }

    /// The first limit on `resource` that starts fresh now and then, and its window.
    pub(crate) fn first_limit_with_windows(
        &self,
        resource: Resource,
    ) -> Result<Option<(Box<str>, Window)>, ScopeError> {
        let plan = self.plan()?;
        let seat = plan.seats.iter().find(|seat| seat.resource == resource && seat.window != Window::Lifetime);
        Ok(seat.map(|seat| ((&*seat.label.limit).into(), seat.window)))
    }

    #[inline]
    pub(crate) fn plan(&self) -> Result<Loan<'_, Plan>, ScopeError> {
        let version = self.members.core.live.version();
        self.plan.get(|plan| plan.version == version, || Plan::resolve(&self.members.core, &self.members))
    }

    /// Whether what the short way has taken is written down. What cannot be is taken back, and left to the long way to answer.
    #[cold]
    pub(crate) fn is_covered(&self, ask: Ask<'_>, now: Timestamp) -> bool {
        self.plan().is_ok_and(|plan| plan.cover(ask, Ahead::Step, now) == Recorded::Yes)
    }

    #[inline(never)]
    fn try_charge_all(&self, cost: &Cost, now: Timestamp) -> Result<Admission, ChargeError> {
        let plan = self.plan()?;
        let admitted = admit(&plan, Ask::Charge(cost), cost, now, &mut Windows::new());
        admitted.map_err(|not| not.told(&plan))
    }

    /// Charges what `cost` makes of the policy in force, at `now`, while the caller has what `claim` gives: taken once the scope is resolved,
    /// and let go before a refusal is told.
    pub(crate) fn try_charge_of<C, E: From<ChargeError>>(
        &self,
        cost: impl FnOnce(&InForce) -> Cost,
        now: Timestamp,
        claim: impl FnOnce() -> Result<C, E>,
    ) -> Result<(Admission, C), E> {
        let plan = self.plan().map_err(ChargeError::from)?;
        let cost = cost(&plan.in_force);
        let claim = claim()?;
        match admit(&plan, Ask::Charge(&cost), &cost, now, &mut Windows::new()) {
            Ok(admission) => Ok((admission, claim)),
            Err(not) => {
                drop(claim);
                Err(not.told(&plan).into())
            }
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.members.core
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    fn ask(&self, plan: &Plan, ask: Ask<'_>, now: Timestamp) -> Result<Admission, ChargeError> {
        let core = &*self.members.core;
        let mut answer = charge::check(&plan.seats, core, ask, now);
        if let Err(refused) = &mut answer {
            refused.come_back(&plan.seats, core);
        }
        match (answer, plan.degraded) {
            (_, Some(component)) if core.failure_policy.check == OnFailure::Closed => {
                Err(ChargeError::Degraded(component))
            }
            (Err(refused), Some(_)) if core.failure_policy.check == OnFailure::InMemory => {
                Err(refused_error(plan, &refused))
            }
            (answer, Some(_)) => Ok(answer.map_or_else(|_| Admission::default(), Admission::from).degraded()),
            (Ok(passed), None) => Ok(passed.into()),
            (Err(refused), None) => Err(refused_error(plan, &refused)),
        }
    }
}

/// Why nothing was admitted. It becomes an error once nothing is held any more, no gate and no claim: making sure of a refusal's windows may
/// read the clock once more.
enum NotAdmitted {
    Refused(Refused),
    Error(ChargeError),
}

impl<E: Into<ChargeError>> From<E> for NotAdmitted {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl NotAdmitted {
    fn error(self, plan: &Plan) -> ChargeError {
        match self {
            Self::Refused(mut refused) => {
                refused.come_back(&plan.seats, &*plan.core);
                refused_error(plan, &refused)
            }
            Self::Error(error) => error,
        }
    }

    /// The error; whoever listens is told if it is a refusal.
    fn told(self, plan: &Plan) -> ChargeError {
        let error = self.error(plan);
        tell_refused(&plan.core, &error);
        error
    }
}

/// Holds `cost` in the budgets of `plan` at `now`, for a hold of its own: whoever settles it tells the plan.
#[inline(never)]
fn hold(plan: &Plan, cost: &Cost, ahead: Ahead, now: Timestamp) -> Result<(Windows, Admission), NotAdmitted> {
    plan.knows(cost)?;
    let passing = plan.pass(cost, now)?;
    let mut windows = Windows::new();
    let admission = admit_inside(plan, Ask::Hold(cost), ahead, now, &mut windows)?;
    passing.leave_open();
    Ok((windows, admission))
}

/// Whether the drop of somebody settles a hold that the engine keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answerable {
    Guard,
    Nobody,
}

/// Holds `cost` in the budgets of `plan` under the id that was claimed for it. Tells no listener of a refusal.
fn hold_under(
    claim: Claim<'_, Hold>,
    plan: &Arc<Plan>,
    cost: Cost,
    (now, ttl): (Timestamp, Duration),
    (keep, answerable): (Keep, Answerable),
) -> Result<DetachedHold, ChargeError> {
    let (windows, admission) = match hold(plan, &cost, Ahead::WithHold, now) {
        Ok(held) => held,
        Err(not) => {
            drop(claim);
            return Err(not.error(plan));
        }
    };
    let id = claim.id.clone();
    let hold = Hold::new(Arc::clone(plan), cost, windows, admission);
    if answerable == Answerable::Guard {
        hold.begin_guarded();
    }
    Ok(DetachedHold::new(keep_under(claim, hold, (now, ttl), keep)?, id, false))
}

/// Holds `cost` in the budgets of `plan` at `now`, for a hold that is open already.
pub(crate) fn hold_more(plan: &Plan, cost: &Cost, now: Timestamp) -> Result<(Windows, Admission), ChargeError> {
    let mut windows = Windows::new();
    let admission = admit(plan, Ask::Hold(cost), cost, now, &mut windows).map_err(|not| not.told(plan))?;
    Ok((windows, admission))
}

/// Charges or holds `cost` in the budgets of `plan` at `now`, all or none.
#[inline]
fn admit(
    plan: &Plan,
    ask: Ask<'_>,
    cost: &Cost,
    now: Timestamp,
    windows: &mut Windows,
) -> Result<Admission, NotAdmitted> {
    plan.knows(cost)?;
    let _passing = plan.pass(cost, now)?;
    admit_inside(plan, ask, Ahead::Step, now, windows)
}

/// What is left to do behind the gates.
#[inline]
fn admit_inside(
    plan: &Plan,
    ask: Ask<'_>,
    ahead: Ahead,
    now: Timestamp,
    windows: &mut Windows,
) -> Result<Admission, NotAdmitted> {
    let core = &*plan.core;
    if let Some(component) = plan.degraded.filter(|_| core.failure_policy.reserve == OnFailure::Closed) {
        return Err(ChargeError::Degraded(component).into());
    }
    let passed = match charge::charge(&plan.seats, core, ask, now, windows) {
        Ok(passed) => passed,
        Err(refused) => {
            plan.write_refused(ask, now);
            return Err(NotAdmitted::Refused(refused));
        }
    };
    match plan.cover(ask, ahead, now) {
        Recorded::Yes if plan.degraded.is_none() => Ok(passed.into()),
        Recorded::Yes | Recorded::InMemory => Ok(Admission::from(passed).degraded()),
        Recorded::No => {
            plan.take_back(ask, windows);
            Err(ChargeError::Degraded(Component::Store).into())
        }
    }
}

/// Tells whoever listens of a refusal.
#[cold]
fn tell_refused(core: &Core, error: &ChargeError) {
    if let Some(refusal) = error.refusal() {
        core.emit(refusal.at(), || EventKind::Refused { refusal: Box::new(refusal.clone()) });
    }
}

#[cold]
fn refused_error(plan: &Plan, refused: &Refused) -> ChargeError {
    match plan.refusal(refused) {
        Some(refusal) => ChargeError::Refused(refusal),
        // Unreachable: a refusal names a budget. An error that is not an admission is the safe answer.
        None => UnknownResource::handle(&plan.in_force).into(),
    }
}

impl Clone for Scope {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.lease), self.members.clone(), self.plan.newest())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members.subjects.iter()).finish()
    }
}

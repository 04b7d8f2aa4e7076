//! The engine: what a host builds once and shares.

use std::convert::Infallible;
use std::fmt;
#[cfg(feature = "persist")]
use std::sync::OnceLock;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::amount::{Cap, Cost, Resource};
use crate::charge::{Flights, Grounds, News, Seat, What};
use crate::clock::Clock;
use crate::cost::{CostError, Usage};
#[cfg(feature = "persist")]
use crate::durable::{Keeper, RecoveryReport, Store};
use crate::event::{BudgetName, Event, EventKind, Events, Standing};
use crate::grants::Grants;
use crate::holds::{Claim, Full, HoldId, Holds, NotClaimed};
use crate::live::{Derived, Live};
use crate::meter::Striping;
use crate::policy::{Policy, Source};
use crate::registry::Registry;
use crate::report::Receipt;
use crate::reservation::{DetachedHold, Hold, RefundError, Refunds, UnknownHold};
use crate::reset::Resets;
use crate::scope::{Members, Owner, Scope, ScopeError, Subjects};
use crate::subject::{Subject, SubjectError};
use crate::sync::{AtomicU64, Ordering, next_number};
use crate::time::Timestamp;

mod by_name;
mod caps;
mod failure;
mod in_force;

pub use caps::{CapChange, CapError};
use failure::Health;
pub use failure::{Component, FailurePolicy, OnFailure};
pub(crate) use in_force::InForce;
pub(crate) use in_force::Names;

/// Holds with an id or a time-to-live that an engine keeps unless told otherwise, open and remembered.
const HOLDS_MAX: u64 = 1_000_000;
/// How long the id of a settled hold is refused unless told otherwise.
const REMEMBER_SETTLED: Duration = Duration::from_secs(24 * 3_600);
/// The age of receipts that are refunded unless told otherwise.
const REFUND_WITHIN: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A budget engine: subjects and their budgets under a policy, in this process.
///
/// Cloning is cheap and shares everything. All operations may be called from any number of threads at once; none blocks on another
/// one, and no lock is held across a call into host code.
///
/// ```
/// use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
///
/// let policy = Policy::builder()
///     .resource("usd", Unit::Usd)
///     .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(25_000_000_000)))
///     .limit(Limit::new("team-day", "global", "usd", Window::Day, Cap::Max(60_000_000_000)))
///     .build()?;
/// let engine = Engine::new(policy);
/// let usd = engine.resource("usd")?;
/// let scope = engine.scope(["user:7"])?;
///
/// let hold = scope.reserve(usd.of(500_000_000))?; // at most half a dollar
/// // … the call …
/// let receipt = hold.commit(usd.of(120_000_000))?; // it took 12 cents
/// assert!(receipt.overages().is_empty());
/// assert_eq!(scope.usage()?[0].used, 120_000_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
    _lease: Arc<Lease>,
}

/// What engines and scopes have: with the last of them goes what is kept under ids, since nobody can ask for it any more. What is kept has the
/// core, and the core has what is kept: without this neither would ever go.
#[derive(Debug)]
pub(crate) struct Lease {
    core: Arc<Core>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Written down first: what is kept is open, and stays so.
        #[cfg(feature = "persist")]
        let _failed_before = self.core.close();
        drop((self.core.holds.let_go(), self.core.timed.let_go()));
    }
}

/// What every handle of an engine shares.
pub(crate) struct Core {
    id: u32,
    pub(crate) clock: Clock,
    pub(crate) live: Live<InForce>,
    pub(crate) registry: Registry,
    pub(crate) flights: Flights,
    pub(crate) holds: Holds<Hold>,
    /// Active workflows, and allowances with a time-to-live.
    pub(crate) timed: Holds<dyn Owner>,
    pub(crate) active_workflows: AtomicU64,
    /// Caps and top-ups of single budgets.
    pub(crate) grants: Grants,
    pub(crate) resets: Resets,
    /// The time-to-live of reservations that name none.
    pub(crate) hold_ttl: Option<Duration>,
    pub(crate) failure_policy: FailurePolicy,
    health: Health,
    refunds: Refunds,
    /// Who listens.
    events: Option<Events>,
    leased: Mutex<Weak<Lease>>,
    /// For charging by name.
    kinds: Derived<by_name::Kinds>,
    /// Of limits that do not say it.
    striping: Striping,
    /// Only used when a policy is put in force, or a budget is made that no policy names; and to write names down.
    pub(crate) names: Mutex<Names>,
    /// Where it is written down, if it is, and what was found there.
    #[cfg(feature = "persist")]
    pub(crate) is_persisted: bool,
    #[cfg(feature = "persist")]
    pub(crate) store: OnceLock<Store>,
    #[cfg(feature = "persist")]
    pub(crate) recovered: OnceLock<RecoveryReport>,
    #[cfg(feature = "persist")]
    pub(crate) keeper: Mutex<Option<Keeper>>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Core {
    /// The lease that engines and scopes share, or a new one where none is left.
    pub(crate) fn lease(self: &Arc<Self>) -> Arc<Lease> {
        let mut leased = self.leased.lock();
        leased.upgrade().unwrap_or_else(|| {
            let lease = Arc::new(Lease { core: Arc::clone(self) });
            *leased = Arc::downgrade(&lease);
            lease
        })
    }

    /// The instant now, up to one tick old.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn now_precise(&self) -> Timestamp {
        self.clock.now_precise()
    }

    pub(crate) fn degraded(&self) -> Option<Component> {
        self.health.degraded()
    }

    /// Says at `at` that something is degraded, or is well again.
    pub(crate) fn set_degraded(&self, component: Component, degraded: bool, at: Timestamp) {
        if self.health.set(component, degraded) {
            self.live.touch();
            let kind = if degraded { EventKind::Degraded { component } } else { EventKind::Healed { component } };
            self.emit(at, || kind);
        }
    }

    /// Nothing is written down any more: as degraded, without telling anybody.
    #[cfg(feature = "persist")]
    pub(crate) fn set_closed(&self) {
        if self.health.set(Component::Store, true) {
            self.live.touch();
        }
    }

    /// The number that resources of this engine carry.
    #[cfg(feature = "persist")]
    pub(crate) const fn number(&self) -> u32 {
        self.id
    }

    /// Nothing is written down.
    #[cfg(not(feature = "persist"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature `persist`")]
    pub(crate) fn write_grant(
        &self,
        _: &Subject,
        _: &crate::charge::Label,
        _: crate::registry::Rule,
        _: &crate::grants::Grant,
        _: Timestamp,
    ) -> Result<(), CapError> {
        Ok(())
    }

    /// Settles the holds, and ends the workflows and allowances, whose time has run out by `now`; says how many.
    #[inline]
    pub(crate) fn collect_overdue(&self, now: Timestamp) -> usize {
        // Nearly always in an engine whose holds have no ids.
        if self.holds.is_empty() && self.timed.is_empty() { 0 } else { self.collect_due(now) }
    }

    #[inline(never)]
    fn collect_due(&self, now: Timestamp) -> usize {
        let overdue = self.holds.overdue(now);
        let expired = overdue.iter().filter(|hold| self.expire(hold, now)).count();
        let ended = self.timed.overdue(now);
        for owner in &ended {
            owner.end(now);
        }
        expired + ended.len()
    }

    fn expire(&self, hold: &Hold, now: Timestamp) -> bool {
        let expired = hold.expire(now);
        if let (true, Some(id)) = (expired, hold.id()) {
            self.emit(now, || EventKind::HoldExpired {
                hold: id.clone(),
                subjects: hold.plan().members().subjects.iter().cloned().collect(),
                charged: hold.was_charged(),
            });
        }
        expired
    }

    /// Whether somebody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.events.is_some()
    }

    /// Tells whoever listens; nothing is made for nobody.
    #[inline]
    pub(crate) fn emit(&self, at: Timestamp, kind: impl FnOnce() -> EventKind) {
        if let Some(events) = &self.events {
            events.push(Event { at, kind: kind() });
        }
    }

    /// A resource that no policy can name.
    pub(crate) fn hidden_resource(&self, name: &str) -> Resource {
        debug_assert!(!crate::subject::is_name(name), "a policy could name it");
        self.names.lock().resource(self.id, name)
    }

    /// Claims `id` for a hold, once those have gone whose time has run out.
    pub(crate) fn claim(&self, id: &HoldId, now: Timestamp) -> Result<Claim<'_, Hold>, NotClaimed<Hold>> {
        self.collect_overdue(now);
        self.holds.claim(id)
    }

    /// Claims a new id for a hold.
    pub(crate) fn claim_unique(&self, now: Timestamp) -> Result<Claim<'_, Hold>, Full> {
        self.collect_overdue(now);
        self.holds.claim_unique()
    }
}

impl Grounds for Core {
    fn flights(&self) -> &Flights {
        &self.flights
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn collect_expired(&self, now: Timestamp) -> bool {
        self.collect_overdue(now) > 0
    }

    fn tell(&self, seat: &Seat, News { at, window, charged, max, what }: News) {
        self.emit(at, || {
            let standing = Standing {
                budget: BudgetName::of(&seat.label, &seat.subject),
                charged: seat.meter.layout().shown(charged),
                max,
                window: seat.bounds(window, at),
            };
            match what {
                What::Warning(warning) => EventKind::Warning { standing, warning },
                What::Exhausted => EventKind::Exhausted { standing },
                What::Over => EventKind::Overage { above: standing.charged - max, standing },
                What::WouldRefuse(requested) => EventKind::WouldRefuse { standing, requested },
            }
        });
    }
}

/// Sets up an [`Engine`].
///
/// `P` says how it survives restarts: not at all, unless `persist` was called.
#[derive(Debug)]
pub struct EngineBuilder<P = ()> {
    policy: Policy,
    clock: Clock,
    hold_ttl: Option<Duration>,
    subjects_max: u64,
    holds_max: u64,
    remember_settled: Duration,
    refund_within: Duration,
    failure_policy: FailurePolicy,
    events: Option<Events>,
    striping: Striping,
    pub(crate) persist: P,
}

/// How an engine is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "persist"), allow(dead_code, reason = "there is but memory"))]
pub(crate) enum Keeping {
    Memory,
    Snapshots,
    /// Each change is written down.
    Journal,
}

impl<P> EngineBuilder<P> {
    /// The clock to use instead of [`Clock::system`].
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Gives every reservation a time-to-live, as [`Scope::reserve_for`] does one. Without it, a reservation that names none lasts until it is
    /// settled or dropped.
    pub fn hold_ttl(mut self, ttl: Duration) -> Self {
        self.hold_ttl = Some(ttl);
        self
    }

    /// How many subjects the engine keeps budgets of at most; as many as come without it.
    ///
    /// Idle subjects make room for new ones: those whose budgets are as if new, so that nobody can tell that they were gone. A subject with
    /// usage is never forgotten for a new one. When all are in use, a new one is [`ScopeError::TooManySubjects`], and the others go on.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, ScopeError, Unit, Window};
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("run", "agent", "tokens", Window::Lifetime, Cap::Max(1_000))).build()?;
    /// let engine = Engine::builder(policy).max_subjects(1).build();
    /// let tokens = engine.resource("tokens")?;
    /// engine.scope(["agent:a"])?.check()?; // looked at, and not used
    /// let scope = engine.scope(["agent:b"])?;
    /// scope.try_charge(tokens.of(1))?;
    /// assert_eq!(engine.scope(["agent:c"]).unwrap_err(), ScopeError::TooManySubjects { max: 1 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_subjects(mut self, max: u64) -> Self {
        self.subjects_max = max;
        self
    }

    /// How many holds with an id or a time-to-live the engine keeps at most, open ones and remembered ones together; 1,000,000 without it.
    /// As many workflows, and allowances with a time-to-live, together.
    pub fn max_holds(mut self, max: u64) -> Self {
        self.holds_max = max;
        self
    }

    /// How long the id of a settled hold is remembered, and refused; a day without it.
    pub fn remember_settled(mut self, during: Duration) -> Self {
        self.remember_settled = during;
        self
    }

    /// How old a receipt may be to be refunded; 30 days without it. The engine remembers refunded receipts for that long.
    pub fn refund_within(mut self, age: Duration) -> Self {
        self.refund_within = age;
        self
    }

    /// What operations do while something is degraded.
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.failure_policy = policy;
        self
    }

    /// Tells `events` what happens. Without it nothing is told.
    pub fn events(mut self, events: &Events) -> Self {
        self.events = Some(events.clone());
        self
    }

    /// When threads that charge one budget take shares of its room for themselves, for limits that do not say so by
    /// [`Limit::striped`](crate::Limit::striped): once they get in each other's way, without this. It changes how fast they are, and nothing else.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Striping, Unit, Window};
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("all-day", "global", "tokens", Window::Day, Cap::Max(1_000_000))).build()?;
    /// let engine = Engine::builder(policy).striping(Striping::Always).build();
    /// let (tokens, all) = (engine.resource("tokens")?, engine.scope(["global"])?);
    /// std::thread::scope(|threads| {
    ///     for _ in 0..4 {
    ///         threads.spawn(|| (0..1_000).for_each(|_| drop(all.try_charge(tokens.of(1)))));
    ///     }
    /// });
    /// assert_eq!(all.usage()?[0].used, 4_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn striping(mut self, striping: Striping) -> Self {
        self.striping = striping;
        self
    }

    /// The engine, and how it is kept.
    #[cfg_attr(not(feature = "persist"), allow(unused_variables, reason = "there is but memory"))]
    pub(crate) fn make(self, keeping: Keeping) -> (Engine, P) {
        let id = next_number();
        let mut names = Names::default();
        let registry = Registry::new(self.subjects_max);
        #[cfg(feature = "persist")]
        let registry = if keeping == Keeping::Journal { registry.watched() } else { registry };
        let core = Core {
            id,
            clock: self.clock,
            live: Live::new(InForce::new(self.policy, (id, self.striping), &mut names)),
            registry,
            flights: Flights::new(),
            holds: Holds::new(self.holds_max, self.remember_settled),
            timed: Holds::new(self.holds_max, Duration::ZERO),
            active_workflows: AtomicU64::new(0),
            grants: Grants::default(),
            resets: Resets::default(),
            hold_ttl: self.hold_ttl,
            failure_policy: self.failure_policy,
            health: Health::new(),
            refunds: Refunds::new(self.refund_within),
            events: self.events,
            leased: Mutex::new(Weak::new()),
            kinds: Derived::new(),
            striping: self.striping,
            names: Mutex::new(names),
            #[cfg(feature = "persist")]
            is_persisted: keeping != Keeping::Memory,
            #[cfg(feature = "persist")]
            store: OnceLock::new(),
            #[cfg(feature = "persist")]
            recovered: OnceLock::new(),
            #[cfg(feature = "persist")]
            keeper: Mutex::new(None),
        };
        let core = Arc::new(core);
        (Engine { _lease: core.lease(), core }, self.persist)
    }

    /// The same, kept otherwise.
    #[cfg(feature = "persist")]
    pub(crate) fn kept_by<Q>(self, persist: Q) -> EngineBuilder<Q> {
        let Self { policy, clock, hold_ttl, subjects_max, holds_max, remember_settled, .. } = self;
        let Self { refund_within, failure_policy, events, striping, .. } = self;
        EngineBuilder {
            policy,
            clock,
            hold_ttl,
            subjects_max,
            holds_max,
            remember_settled,
            refund_within,
            failure_policy,
            events,
            striping,
            persist,
        }
    }
}

impl EngineBuilder {
    /// The engine.
    pub fn build(self) -> Engine {
        let (engine, ()) = self.make(Keeping::Memory);
        engine
    }
}

impl Engine {
    /// An engine under `policy` with the system's clock.
    pub fn new(policy: Policy) -> Self {
        Self::builder(policy).build()
    }

    /// An engine under `policy`, to be set up further.
    pub fn builder(policy: Policy) -> EngineBuilder {
        EngineBuilder {
            policy,
            clock: Clock::system(),
            hold_ttl: None,
            subjects_max: u64::MAX,
            holds_max: HOLDS_MAX,
            remember_settled: REMEMBER_SETTLED,
            refund_within: REFUND_WITHIN,
            failure_policy: FailurePolicy::default(),
            events: None,
            striping: Striping::default(),
            persist: (),
        }
    }

    #[cfg(feature = "persist")]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The resource that the policy in force declares as `name`. Look it up once and keep it: it stays good when a policy is swapped in
    /// that declares the same name.
    ///
    /// # Errors
    /// When the policy declares no such resource: a typo is not a free pass.
    pub fn resource(&self, name: &str) -> Result<Resource, UnknownResource> {
        let in_force = self.core.live.get();
        in_force.resource(name).ok_or_else(|| UnknownResource {
            name: Some(name.chars().take(64).collect()),
            declared: in_force.policy.resources().map(|(name, _)| name.into()).collect(),
        })
    }

    /// A handle on the set of subjects that a call is charged to; `global` is always one of them, and naming a subject twice
    /// counts once. Resolved once: operations on it neither hash nor allocate (up to eight budgets).
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("usd", Unit::Usd)
    /// #     .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(1))).build()?;
    /// # let engine = Engine::new(policy);
    /// let scope = engine.scope(["user:7"])?;
    /// let typo = engine.scope(["usr:7"]).unwrap_err();
    /// assert_eq!(typo.to_string(), "the kind of subject \"usr\" is neither declared nor limited by the policy; known: user, global");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When a text is not a subject, a kind is unknown to the policy, or more than 64 budgets apply.
    pub fn scope<S>(&self, subjects: impl IntoIterator<Item = S>) -> Result<Scope, ScopeError>
    where
        S: TryInto<Subject>,
        S::Error: Into<SubjectError>,
    {
        self.scope_of(Subjects::of(subjects)?)
    }

    /// Like [`Engine::scope`], with the groups that the host says the subjects are in.
    ///
    /// # Errors
    /// As [`Engine::scope`].
    pub fn scope_of(&self, subjects: Subjects) -> Result<Scope, ScopeError> {
        Scope::resolve(Arc::clone(&self.core), Members::new(subjects))
    }

    /// A handle on the hold that is kept under `id`, open or settled: whoever knows the id may go on with it.
    ///
    /// # Errors
    /// When there is none. Nothing is charged then.
    pub fn resume(&self, id: &HoldId) -> Result<DetachedHold, UnknownHold> {
        self.core.collect_overdue(self.core.now_precise());
        let hold = self.core.holds.get(id).ok_or(UnknownHold)?;
        Ok(DetachedHold::new(hold, id.clone(), false))
    }

    /// Gives back `cost` of what `receipt` charged, in the windows that it was charged in: once, and at most what was charged.
    ///
    /// A window that has ended is corrected too as far as it is remembered; a newer one knows nothing of it.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, RefundError, Unit, Window};
    /// # let policy = Policy::builder().resource("usd", Unit::Usd)
    /// #     .limit(Limit::new("run", "agent", "usd", Window::Lifetime, Cap::Max(1_000))).build()?;
    /// # let engine = Engine::new(policy);
    /// # let usd = engine.resource("usd")?;
    /// # let scope = engine.scope(["agent:a"])?;
    /// let receipt = scope.reserve(usd.of(800))?.commit(usd.of(600))?;
    /// assert!(matches!(engine.refund(&receipt, &usd.of(601)), Err(RefundError::TooMuch { charged: 600, .. })));
    /// engine.refund(&receipt, &usd.of(500))?;
    /// assert_eq!(engine.refund(&receipt, &usd.of(100)), Err(RefundError::Refunded));
    /// assert_eq!(scope.usage()?[0].used, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When more is asked for than was charged; when the receipt was refunded before, by this or another clone; when it is older than
    /// [`EngineBuilder::refund_within`]; when it is of another engine. Nothing changes then.
    pub fn refund(&self, receipt: &Receipt, cost: &Cost) -> Result<(), RefundError> {
        if receipt.parts.iter().any(|part| !Arc::ptr_eq(&part.plan.core, &self.core)) {
            return Err(RefundError::OtherEngine);
        }
        self.core.refunds.refund(receipt, cost, self.core.now_precise())
    }

    /// Tidies up: settles the holds, and ends the workflows and allowances, whose time has run out; forgets the ids of settled holds that were
    /// remembered long enough; evicts idle subjects. Never needed for an answer to be right: whoever looks at what is held collects what has
    /// run out, and new subjects make idle ones go. For a host that wants expired holds to be reported, or memory back, in time though nobody
    /// asks.
    pub fn sweep(&self) -> Swept {
        let now = self.core.now_precise();
        // Holds first: a subject may be idle without them.
        Swept { expired: self.core.collect_overdue(now), evicted: self.core.registry.sweep(now) }
    }

    /// How many holds are kept under an id, open or remembered.
    pub fn holds(&self) -> u64 {
        self.core.holds.kept()
    }

    /// How many workflows are active. Those whose time has run out are not.
    pub fn active_workflows(&self) -> u64 {
        self.core.collect_overdue(self.core.now_precise());
        self.core.active_workflows.load(Ordering::Acquire)
    }

    /// Says that something the engine depends on is degraded, or is well again. From then on operations do what the [`FailurePolicy`]
    /// says; calls under way may still go by the state before.
    pub fn set_degraded(&self, component: Component, degraded: bool) {
        self.core.set_degraded(component, degraded, self.core.now());
    }

    /// What is degraded, if something is.
    pub fn degraded(&self) -> Option<Component> {
        self.core.degraded()
    }

    /// What a call costs under the policy in force, in every resource that follows from usage: money by price, `tokens` and weighed
    /// resources by weight, `calls` by one.
    ///
    /// # Errors
    /// When the model or the operation is not in the policy's tables and these refuse what is not. Nothing is charged.
    pub fn cost(&self, usage: &Usage) -> Result<Cost, CostError> {
        self.core.live.get().cost(usage, None)
    }

    /// Like [`Engine::cost`] for a call whose price the provider reports: `nanos` nano-dollars, whatever the policy's tables say.
    ///
    /// # Errors
    /// When the operation is not in the policy's tables and these refuse what is not.
    pub fn cost_with(&self, usage: &Usage, nanos: u64) -> Result<Cost, CostError> {
        self.core.live.get().cost(usage, Some(nanos))
    }

    /// Puts another policy in force, at once for all calls that begin after this returns; calls under way may still see the old one.
    /// Usage stays: a budget is known by limit id, resource, window and subject, never by its number. Scopes and reservations stay
    /// good; a reservation settles on the budgets that admitted it.
    pub fn set_policy(&self, policy: Policy) {
        let limits = policy.limits().len();
        let mut names = self.core.names.lock();
        self.core.live.install(InForce::new(policy, (self.core.id, self.core.striping), &mut names));
        drop(names);
        self.core.emit(self.core.now(), || EventKind::PolicyChanged { limits });
    }

    /// A copy of the policy in force.
    pub fn policy(&self) -> Policy {
        self.core.live.get().policy.clone()
    }

    /// The caps in force for a subject that the host says is in `groups`: for each limit on its kind, in the policy's order, the limit's
    /// id, the cap and where it comes from, top-ups of the current window included.
    ///
    /// # Errors
    /// When its kind is unknown to the policy.
    pub fn resolve(&self, subject: &Subject, groups: &[&str]) -> Result<Vec<(Box<str>, Cap, Source)>, ScopeError> {
        let in_force = self.core.live.get();
        crate::scope::known_kind(&in_force.policy, subject)?;
        Ok(caps::resolved(&self.core, &in_force, subject, groups))
    }

    /// The instant on the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// How many subjects have budgets in memory: those with usage, those that somebody holds a scope on, and idle ones that have not been evicted
    /// yet.
    pub fn subjects(&self) -> usize {
        self.core.registry.subjects() as usize
    }
}

/// What [`Engine::sweep`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Holds whose time had run out.
    pub expired: usize,
    /// Idle subjects that are gone.
    pub evicted: usize,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("clock", &self.core.clock)
            .field("policy_version", &self.core.live.version())
            .field("subjects", &self.subjects())
            .finish_non_exhaustive()
    }
}

impl From<Infallible> for SubjectError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A resource that the policy in force does not declare. Nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownResource {
    pub(crate) name: Option<Box<str>>,
    pub(crate) declared: Vec<Box<str>>,
}

impl UnknownResource {
    pub(crate) fn handle(in_force: &InForce) -> Self {
        Self { name: None, declared: in_force.policy.resources().map(|(name, _)| name.into()).collect() }
    }
}

impl fmt::Display for UnknownResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "the resource {name:?} is not declared by the policy")?,
            None => f.write_str("the resource is of another engine, or the policy in force no longer declares it")?,
        }
        write!(f, "; declared: {}", if self.declared.is_empty() { "none".to_owned() } else { self.declared.join(", ") })
    }
}

impl std::error::Error for UnknownResource {}

//! The engine: what a host builds once and shares.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::amount::{Cap, Cost, Resource};
use crate::charge::Flights;
use crate::clock::Clock;
use crate::cost::{CostError, Usage};
use crate::live::Live;
use crate::policy::{Policy, Source};
use crate::registry::Registry;
use crate::scope::{Scope, ScopeError, Subjects};
use crate::subject::{Subject, SubjectError};
use crate::sync::next_number;
use crate::time::Timestamp;

mod in_force;

pub(crate) use in_force::InForce;
use in_force::Names;

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
}

/// What every handle of an engine shares.
pub(crate) struct Core {
    id: u32,
    pub(crate) clock: Clock,
    pub(crate) live: Live<InForce>,
    pub(crate) registry: Registry,
    pub(crate) flights: Flights,
    /// Only used when a policy is put in force.
    names: Mutex<Names>,
}

/// Sets up an [`Engine`].
#[derive(Debug)]
pub struct EngineBuilder {
    policy: Policy,
    clock: Clock,
}

impl EngineBuilder {
    /// The clock to use instead of [`Clock::system`].
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The engine.
    pub fn build(self) -> Engine {
        let id = next_number();
        let mut names = Names::default();
        let live = Live::new(|version| InForce::new(self.policy, version, id, &mut names));
        let core = Core {
            id,
            clock: self.clock,
            live,
            registry: Registry::new(),
            flights: Flights::new(),
            names: Mutex::new(names),
        };
        Engine { core: Arc::new(core) }
    }
}

impl Engine {
    /// An engine under `policy` with the system's clock.
    pub fn new(policy: Policy) -> Self {
        Self::builder(policy).build()
    }

    /// An engine under `policy`, to be set up further.
    pub fn builder(policy: Policy) -> EngineBuilder {
        EngineBuilder { policy, clock: Clock::system() }
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
        let mut all = Subjects::new();
        for subject in subjects {
            all = all.with(subject)?;
        }
        self.scope_of(all)
    }

    /// Like [`Engine::scope`], with the groups that the host says the subjects are in.
    ///
    /// # Errors
    /// As [`Engine::scope`].
    pub fn scope_of(&self, subjects: Subjects) -> Result<Scope, ScopeError> {
        Scope::resolve(Arc::clone(&self.core), subjects)
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
        let mut names = self.core.names.lock();
        self.core.live.install(|version| InForce::new(policy, version, self.core.id, &mut names));
    }

    /// A copy of the policy in force.
    pub fn policy(&self) -> Policy {
        self.core.live.get().policy.clone()
    }

    /// The caps in force for a subject that the host says is in `groups`: for each limit on its kind, in the policy's order, the limit's
    /// id, the cap and where it comes from.
    ///
    /// # Errors
    /// When its kind is unknown to the policy.
    pub fn resolve(&self, subject: &Subject, groups: &[&str]) -> Result<Vec<(Box<str>, Cap, Source)>, ScopeError> {
        let in_force = self.core.live.get();
        crate::scope::known_kind(&in_force.policy, subject)?;
        let resolved = in_force.policy.resolve(subject, groups);
        Ok(resolved.into_iter().map(|(limit, cap, source)| (limit.id().into(), cap, source)).collect())
    }

    /// The instant on the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// How many subjects have budgets in memory.
    pub fn subjects(&self) -> usize {
        self.core.registry.subjects()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("clock", &self.core.clock)
            .field("policy_version", &self.core.live.version())
            .field("subjects", &self.subjects())
            .finish()
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

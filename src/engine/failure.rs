//! What operations do while something that the engine depends on is degraded.

use std::fmt;

use crate::sync::{AtomicU8, Ordering};

/// Something that an engine depends on and that can fail while the engine goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Component {
    /// Where usage is kept beyond this process: a store of the host's, or the directory that the engine is persisted in.
    Store,
    /// Where the policy comes from: a flag service, a file, a control plane. The last policy that was good stays in force.
    Policy,
}

impl Component {
    const ALL: [Self; 2] = [Self::Store, Self::Policy];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// A word for it in reports: `store`, `policy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Policy => "policy",
        }
    }

    /// What it is, in a sentence.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Store => "the store of usage",
            Self::Policy => "the source of the policy",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is degraded", self.what())
    }
}

/// Whether an operation goes on while something is degraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// It passes whatever the budgets say, is counted in memory, and its result says that it is degraded.
    Open,
    /// It goes by the budgets as they are in memory, and its result says that it is degraded.
    InMemory,
    /// It fails with an error that names what is degraded. Nothing is charged.
    Closed,
}

/// What each operation does while something is degraded: explicit, and flagged in the result.
///
/// | operations | by default |
/// |---|---|
/// | [`check`](crate::Scope::check), [`check_cost`](crate::Scope::check_cost) | open |
/// | [`record`](crate::Scope::record) | open: what was spent is counted in memory, never dropped |
/// | [`try_charge`](crate::Scope::try_charge), [`reserve`](crate::Scope::reserve) and what extends a hold | closed |
/// | resets, [paid](crate::Scope::paid_reset) or [not](crate::Scope::reset) | closed |
///
/// Settling a reservation never fails for this reason: the money has been spent.
///
/// ```
/// use encumber::{Cap, ChargeError, Component, Engine, FailurePolicy, Limit, OnFailure, Policy, Unit, Window};
/// # let policy = Policy::builder().resource("tokens", Unit::Count)
/// #     .limit(Limit::new("run", "agent", "tokens", Window::Lifetime, Cap::Max(10))).build()?;
/// let failure = FailurePolicy::default().check(OnFailure::Closed);
/// let engine = Engine::builder(policy).failure_policy(failure).build();
/// let tokens = engine.resource("tokens")?;
/// let scope = engine.scope(["agent:planner"])?;
/// engine.set_degraded(Component::Policy, true);
/// assert_eq!(scope.check(), Err(ChargeError::Degraded(Component::Policy)));
/// assert!(scope.record(tokens.of(4))?.is_degraded());
/// engine.set_degraded(Component::Policy, false);
/// assert_eq!(scope.usage()?[0].used, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePolicy {
    pub(crate) check: OnFailure,
    pub(crate) record: OnFailure,
    pub(crate) reserve: OnFailure,
    pub(crate) reset: OnFailure,
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self { check: OnFailure::Open, record: OnFailure::Open, reserve: OnFailure::Closed, reset: OnFailure::Closed }
    }
}

impl FailurePolicy {
    /// Everything goes on by the budgets as they are in memory: for hosts that would rather forget than stop.
    ///
    /// For a store that this engine alone writes to, such as the directory that it is persisted in: limits hold in this process, results say
    /// that they are degraded, and what was charged meanwhile is written down once the disk is well again.
    pub fn degraded() -> Self {
        let on = OnFailure::InMemory;
        Self { check: on, record: on, reserve: on, reset: on }
    }

    /// Everything that can be refused is, records too: for hosts that would rather stop than forget.
    pub fn fail_closed() -> Self {
        let on = OnFailure::Closed;
        Self { check: on, record: on, reserve: on, reset: on }
    }

    /// What checks do.
    pub fn check(self, check: OnFailure) -> Self {
        Self { check, ..self }
    }

    /// What records do.
    pub fn record(self, record: OnFailure) -> Self {
        Self { record, ..self }
    }

    /// What charges and reservations do.
    pub fn reserve(self, reserve: OnFailure) -> Self {
        Self { reserve, ..self }
    }

    /// What resets do.
    pub fn reset(self, reset: OnFailure) -> Self {
        Self { reset, ..self }
    }
}

/// What is degraded: a set of components.
#[derive(Debug)]
pub(super) struct Health(AtomicU8);

impl Health {
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    /// Says whether that changed anything.
    pub(super) fn set(&self, component: Component, degraded: bool) -> bool {
        // Seen with the version that is raised after it.
        let before = if degraded {
            self.0.fetch_or(component.bit(), Ordering::AcqRel)
        } else {
            self.0.fetch_and(!component.bit(), Ordering::AcqRel)
        };
        (before & component.bit() != 0) != degraded
    }

    /// The first component that is degraded.
    pub(super) fn degraded(&self) -> Option<Component> {
        let bits = self.0.load(Ordering::Acquire);
        Component::ALL.into_iter().find(|component| bits & component.bit() != 0)
    }
}

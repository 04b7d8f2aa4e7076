//! Caps of single budgets, changed while the engine runs: top-ups and overrides.

use std::fmt;
use std::sync::Arc;

use super::{Component, Core, Engine, InForce};
use crate::amount::{Cap, Unit};
use crate::event::{BudgetName, EventKind};
use crate::grants::{Grant, raised};
use crate::policy::Source;
use crate::scope::{ScopeError, known_kind};
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::Window;

/// A change of one budget's cap: who, what, and the caps in force before and after it. For the audit log.
///
/// The caps are those of a subject in no group but the policy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapChange {
    /// The limit's id.
    pub limit: Arc<str>,
    /// Whose budget.
    pub subject: Subject,
    /// The resource's name.
    pub resource: Arc<str>,
    /// The resource's unit; the caps are counted in it.
    pub unit: Unit,
    /// The limit's window.
    pub window: Window,
    /// When.
    pub at: Timestamp,
    /// The cap before, in the current window.
    pub before: Cap,
    /// The cap after it, in the current window.
    pub after: Cap,
    /// The end of the window that a top-up is good for; `None` when the change is for good.
    pub until: Option<Timestamp>,
}

impl CapChange {
    fn budget(&self) -> BudgetName {
        BudgetName {
            limit: Arc::clone(&self.limit),
            subject: self.subject.clone(),
            resource: Arc::clone(&self.resource),
            unit: self.unit,
        }
    }
}

/// Why a cap was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CapError {
    /// The policy in force has no limit of that id on the subject's kind.
    UnknownLimit {
        /// The id.
        limit: Box<str>,
        /// The ids of the limits on that kind.
        known: Vec<Box<str>>,
    },
    /// The policy in force does not know the subject's kind.
    Scope(ScopeError),
    /// The budget is unlimited: there is nothing to top up.
    Unlimited,
    /// The budget's window has no end that is known beforehand, so there is none that a top-up could be good for: a rolling window, or one
    /// from first use. Set an override instead.
    NoWindow {
        /// The limit's window.
        window: Window,
    },
    /// It could not be written down. Nothing changes.
    Degraded(Component),
    /// The cap would be more than a budget of the limit's window can hold.
    TooLarge {
        /// The limit's window.
        window: Window,
        /// The resource's unit.
        unit: Unit,
        /// The largest cap.
        cap_max: u64,
    },
}

impl fmt::Display for CapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownLimit { limit, known } => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                write!(f, "there is no limit {limit:?} on the subject; known: {known}")
            }
            Self::Scope(error) => error.fmt(f),
            Self::Unlimited => f.write_str("the budget is unlimited: there is nothing to top up"),
            Self::Degraded(component) => component.fmt(f),
            Self::NoWindow { window } => {
                write!(f, "a budget with a {window} window cannot be topped up: set an override instead")
            }
            Self::TooLarge { window, unit, cap_max } => {
                write!(f, "a budget with a {window} window holds at most {}", unit.format(*cap_max))
            }
        }
    }
}

impl std::error::Error for CapError {}

impl From<ScopeError> for CapError {
    fn from(error: ScopeError) -> Self {
        Self::Scope(error)
    }
}

impl Engine {
    /// Gives one budget more room: `amount` above its cap. For good when its window is a lifetime, as credit that was bought; in the
    /// current window otherwise. Top-ups of one window add up.
    ///
    /// It takes effect at once, for scopes that exist too, and belongs to the budget: it outlives policies that are swapped in, and comes on
    /// top of whatever cap they give.
    ///
    /// ```
    /// # use encumber::{Cap, CapError, Engine, Limit, Policy, Subject, Unit, Window};
    /// # let policy = Policy::builder().resource("credits", Unit::Count)
    /// #     .limit(Limit::new("credit", "user", "credits", Window::Lifetime, Cap::Max(0))).build()?;
    /// # let engine = Engine::new(policy);
    /// let credits = engine.resource("credits")?;
    /// let scope = engine.scope(["user:7"])?;
    /// assert!(scope.try_charge(credits.of(1)).is_err());
    /// let user = Subject::new("user", "7")?;
    /// let change = engine.top_up(&user, "credit", 500)?;
    /// assert_eq!((change.before, change.after, change.until), (Cap::Max(0), Cap::Max(500), None));
    /// scope.try_charge(credits.of(500))?;
    /// assert!(matches!(engine.top_up(&user, "credit", u64::MAX), Err(CapError::TooLarge { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the policy has no such limit on the subject's kind, the budget is unlimited, its window follows use, or it cannot hold that much.
    /// Nothing changes then.
    pub fn top_up(&self, subject: &Subject, limit: &str, amount: u64) -> Result<CapChange, CapError> {
        self.change_cap(subject, limit, |budget, grant| {
            let Cap::Max(max) = budget.cap(grant) else { return Err(CapError::Unlimited) };
            if let window @ (Window::Rolling(_) | Window::FirstUse(_)) = budget.window {
                return Err(CapError::NoWindow { window });
            }
            let extra = grant.extra_in(budget.current).saturating_add(amount);
            budget.holds(max.saturating_add(extra))?;
            grant.extra = Some((budget.current, extra));
            Ok(budget.bounds_end())
        })
        .inspect(|change| {
            let cap = change.after;
            self.core.emit(change.at, || EventKind::ToppedUp { budget: change.budget(), amount, cap });
        })
    }

    /// Gives one budget a cap of its own, which goes before the policy's: its entries for the subject, its groups' and its `max`. `None`
    /// takes it away again. Top-ups come on top of it.
    ///
    /// It takes effect at once, for scopes that exist too, and outlives policies that are swapped in.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Source, Subject, Unit, Window};
    /// # let policy = Policy::builder().resource("usd", Unit::Usd)
    /// #     .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(1_000))).build()?;
    /// # let engine = Engine::new(policy);
    /// let user = Subject::new("user", "7")?;
    /// engine.set_override(&user, "user-day", Some(Cap::Max(5_000)))?;
    /// assert_eq!(engine.resolve(&user, &[])?, [("user-day".into(), Cap::Max(5_000), Source::Override)]);
    /// let change = engine.set_override(&user, "user-day", None)?;
    /// assert_eq!((change.before, change.after), (Cap::Max(5_000), Cap::Max(1_000)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the policy has no such limit on the subject's kind, or the budget cannot hold that much. Nothing changes then.
    pub fn set_override(&self, subject: &Subject, limit: &str, cap: Option<Cap>) -> Result<CapChange, CapError> {
        self.change_cap(subject, limit, |budget, grant| {
            if let Some(Cap::Max(max)) = cap {
                budget.holds(max)?;
            }
            grant.cap = cap;
            Ok(None)
        })
        .inspect(|change| {
            let CapChange { at, before, after, .. } = *change;
            self.core.emit(at, || EventKind::Overridden { budget: change.budget(), before, after });
        })
    }

    /// Every change of a cap goes through here: `decide` changes what the budget was given, and says until when that is good.
    fn change_cap(
        &self,
        subject: &Subject,
        limit: &str,
        decide: impl FnOnce(&Budget, &mut Grant) -> Result<Option<Timestamp>, CapError>,
    ) -> Result<CapChange, CapError> {
        let core = &*self.core;
        let at = core.now_precise();
        let in_force = core.live.get();
        let mut budget = Budget::find(core, &in_force, subject, limit, at)?;
        let (label, rule) = (Arc::clone(&budget.label), budget.rule);
        let decide = |grant: &mut Grant| {
            budget.catch_up(grant);
            let before = budget.cap_now(grant);
            let until = decide(&budget, grant)?;
            Ok::<_, CapError>((before, budget.cap_now(grant), until))
        };
        let write = |grant: &Grant| core.write_grant(subject, &label, rule, grant, at);
        let (before, after, until) = core.grants.change(subject, rule, at, decide, write)?;
        core.live.touch();
        let window = rule.1;
        let (limit, resource) = (Arc::clone(&label.limit), Arc::clone(&label.resource));
        Ok(CapChange { limit, subject: subject.clone(), resource, unit: label.unit, window, at, before, after, until })
    }
}

/// A budget whose cap is changed.
struct Budget {
    label: Arc<crate::charge::Label>,
    rule: crate::registry::Rule,
    window: Window,
    /// The number of its current window.
    current: i64,
    /// The cap that the policy gives.
    policy_cap: Cap,
}

impl Budget {
    fn find(core: &Core, in_force: &InForce, subject: &Subject, limit: &str, now: Timestamp) -> Result<Self, CapError> {
        known_kind(&in_force.policy, subject)?;
        let resolved = in_force.policy.resolve(subject, &[]);
        let Some((policy_cap, _)) =
            resolved.iter().find(|(found, ..)| found.id() == limit).map(|(_, cap, s)| (*cap, s))
        else {
            let known = resolved.iter().map(|(found, ..)| found.id().into()).collect();
            return Err(CapError::UnknownLimit { limit: limit.chars().take(64).collect(), known });
        };
        let in_force = in_force.limits.iter().find(|found| *found.label.limit == *limit);
        let in_force = in_force.ok_or_else(|| CapError::UnknownLimit { limit: limit.into(), known: Vec::new() })?;
        let rule = in_force.rule;
        let index = rule.1.index(now);
        let meters = core.registry.budgets(subject, &[rule], now);
        let current =
            meters.ok().and_then(|meters| meters.first().map(|meter| meter.peek(index).window)).unwrap_or(index);
        Ok(Self { label: Arc::clone(&in_force.label), rule, window: rule.1, current, policy_cap })
    }

    /// Uses the window of a top-up that came with a later time: time never goes back for a budget. The next window alone, so that a clock that
    /// had jumped ahead keeps nothing from the current one.
    fn catch_up(&mut self, grant: &Grant) {
        let next = self.current.saturating_add(1);
        if grant.extra.is_some_and(|(topped, _)| topped == next) {
            self.current = next;
        }
    }

    /// Its cap, top-ups aside.
    fn cap(&self, grant: &Grant) -> Cap {
        grant.cap.unwrap_or(self.policy_cap)
    }

    /// Its cap in the current window.
    fn cap_now(&self, grant: &Grant) -> Cap {
        raised(self.cap(grant), grant.extra_in(self.current), self.window)
    }

    fn holds(&self, max: u64) -> Result<(), CapError> {
        let cap_max = self.window.cap_max();
        if max <= cap_max {
            return Ok(());
        }
        Err(CapError::TooLarge { window: self.window, unit: self.label.unit, cap_max })
    }

    fn bounds_end(&self) -> Option<Timestamp> {
        self.window.bounds_of(self.current).map(|bounds| bounds.end)
    }
}

/// The caps in force for a subject, by what it was given and the policy.
pub(super) fn resolved(
    core: &Core,
    in_force: &InForce,
    subject: &Subject,
    groups: &[&str],
) -> Vec<(Box<str>, Cap, Source)> {
    let now = core.now();
    let resolved = in_force.policy.resolve(subject, groups);
    let rules =
        in_force.limits.iter().zip(in_force.policy.limits()).filter(|(_, limit)| limit.kind() == subject.kind());
    let given = resolved.into_iter().zip(rules).map(|((limit, cap, source), (numbers, _))| {
        let Some(grant) = core.grants.of(subject, numbers.rule.0) else { return (limit.id().into(), cap, source) };
        let window = limit.window();
        let (cap, source) = grant.cap.map_or((cap, source), |cap| (cap, Source::Override));
        (limit.id().into(), raised(cap, grant.extra_in(window.index(now)), window), source)
    });
    given.collect()
}

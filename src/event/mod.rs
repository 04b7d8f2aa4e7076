//! What an engine tells whoever listens: one stream of events, bounded, that never keeps a caller waiting.

use std::fmt;
use std::sync::Arc;

use crate::amount::{Cap, Unit};
use crate::charge::Label;
use crate::engine::Component;
use crate::holds::HoldId;
use crate::observe::Queue;
use crate::policy::Warn;
use crate::refusal::Refusal;
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::Bounds;

#[cfg(feature = "json")]
mod json;

/// The stream of an engine's events: a queue of bounded length. Clones are the same stream.
///
/// Attach it with [`EngineBuilder::events`](crate::EngineBuilder::events), keep a clone, and take events from it whenever it suits. An
/// operation never waits for a listener: an event that finds the queue full is dropped and counted. Without a stream nothing is told, and
/// nothing is paid for it.
///
/// ```
/// use encumber::{Cap, Engine, EventKind, Events, Limit, ManualClock, Policy, Unit, Window};
/// let policy = Policy::builder()
///     .resource("tokens", Unit::Count)
///     .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(100)).warn_percent([80]))
///     .build()?;
/// let clock = ManualClock::at("2026-02-04T20:55:00Z".parse()?);
/// let events = Events::bounded(1_024);
/// let engine = Engine::builder(policy).clock(&clock).events(&events).build();
/// let tokens = engine.resource("tokens")?;
/// let scope = engine.scope(["user:7"])?;
///
/// scope.try_charge(tokens.of(79))?;
/// assert_eq!(events.try_next(), None);
/// scope.try_charge(tokens.of(1))?;
/// let event = events.try_next().expect("a warning was crossed");
/// assert_eq!(event.name(), "warning");
/// assert_eq!(
///     format!("{event:#}"),
///     "2026-02-04T20:55:00.000Z warning: limit user-day of \"user:7\" has 80 of 100 tokens charged, 80% reached"
/// );
/// scope.try_charge(tokens.of(5))?;
/// assert_eq!(events.drain().count(), 0, "told once per window");
/// assert_eq!(events.dropped(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Events(Arc<Queue<Event>>);

impl Events {
    /// A stream in which up to `capacity` events wait to be taken (at least one). Room for all of them is allocated at once.
    pub fn bounded(capacity: usize) -> Self {
        Self(Arc::new(Queue::bounded(capacity)))
    }

    /// The event that has waited longest, if one waits. Several threads may take: each event goes to one of them.
    pub fn try_next(&self) -> Option<Event> {
        self.0.pop()
    }

    /// The events that wait, one by one, the longest first.
    pub fn drain(&self) -> impl Iterator<Item = Event> + '_ {
        std::iter::from_fn(|| self.try_next())
    }

    /// How many events were dropped so far because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    pub(crate) fn push(&self, event: Event) {
        self.0.push(event);
    }
}

/// Something that happened in an engine, and when by its clock.
///
/// `Display` is a line for a log in which ids are hashed; `{:#}` names them, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The instant of the operation that it is about.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

/// Which budget an event is about, and what its amounts count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetName {
    /// The limit's id.
    pub limit: Arc<str>,
    /// Who is limited.
    pub subject: Subject,
    /// The resource's name.
    pub resource: Arc<str>,
    /// The resource's unit; amounts are counted in it.
    pub unit: Unit,
}

impl BudgetName {
    pub(crate) fn of(label: &Label, subject: &Subject) -> Self {
        Self {
            limit: Arc::clone(&label.limit),
            subject: subject.clone(),
            resource: Arc::clone(&label.resource),
            unit: label.unit,
        }
    }

    fn amount(&self, amount: u64) -> String {
        format!("{} {}", self.unit.format(amount), self.resource)
    }
}

/// How a budget stands when an event tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which budget.
    pub budget: BudgetName,
    /// `used + held` in the window; `u64::MAX` for a count that ran past what the budget can hold.
    pub charged: u64,
    /// The cap in force.
    pub max: u64,
    /// Start and end of the window; `None` for a lifetime.
    pub window: Option<Bounds>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A budget has reached one of its warnings. Told once per budget, warning and window, also when the amount falls and rises again.
    Warning {
        /// The budget as the operation that reached the warning left it.
        standing: Standing,
        /// The warning.
        warning: Warn,
    },
    /// Nothing remains of a budget. Told once per budget and window, also when something becomes free and is taken again.
    Exhausted {
        /// The budget as the operation that took the last of it left it.
        standing: Standing,
    },
    /// An operation added to a budget and left it above its max: a commit above its reservation, a record, or an admission by a soft limit.
    Overage {
        /// The budget as the operation left it.
        standing: Standing,
        /// How much is charged above the max.
        above: u64,
    },
    /// A shadow limit let an amount through that it would have refused were it hard.
    WouldRefuse {
        /// The budget as the operation left it.
        standing: Standing,
        /// What was asked for.
        requested: u64,
    },
    /// A charge, a reservation or an extension was refused. Questions ([`Scope::check`](crate::Scope::check)) tell nothing.
    Refused {
        /// The refusal that the caller got.
        refusal: Box<Refusal>,
    },
    /// The time-to-live of a hold has run out before anybody settled it.
    HoldExpired {
        /// The id that the hold is kept under.
        hold: HoldId,
        /// The subjects of its scope.
        subjects: Vec<Subject>,
        /// Whether it was charged, since its call had gone out; if not, it was released.
        charged: bool,
    },
    /// What was used of a budget was set back, by a paid reset or an administrator.
    Reset {
        /// Which budget.
        budget: BudgetName,
        /// What was charged before.
        before: u64,
        /// What is charged afterwards.
        after: u64,
        /// Whether it was paid for.
        paid: bool,
    },
    /// The room of a budget was raised by an amount.
    ToppedUp {
        /// Which budget.
        budget: BudgetName,
        /// By how much.
        amount: u64,
        /// The cap afterwards.
        cap: Cap,
    },
    /// The cap of a budget was set by hand, or that was taken back.
    Overridden {
        /// Which budget.
        budget: BudgetName,
        /// The cap before.
        before: Cap,
        /// The cap afterwards.
        after: Cap,
    },
    /// Another policy was put in force.
    PolicyChanged {
        /// How many limits it has.
        limits: usize,
    },
    /// The engine has read back what it had kept.
    Recovered {
        /// How many budgets have usage.
        budgets: u64,
        /// How many holds were open.
        holds: u64,
    },
    /// Something that the engine depends on is degraded.
    Degraded {
        /// What.
        component: Component,
    },
    /// Something that was degraded is well again.
    Healed {
        /// What.
        component: Component,
    },
}

impl EventKind {
    /// A stable name for logs and metrics: `warning`, `exhausted`, `overage`, `would_refuse`, `refused`, `hold_expired`, `reset`,
    /// `topped_up`, `overridden`, `policy_changed`, `recovered`, `degraded`, `healed`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Warning { .. } => "warning",
            Self::Exhausted { .. } => "exhausted",
            Self::Overage { .. } => "overage",
            Self::WouldRefuse { .. } => "would_refuse",
            Self::Refused { .. } => "refused",
            Self::HoldExpired { .. } => "hold_expired",
            Self::Reset { .. } => "reset",
            Self::ToppedUp { .. } => "topped_up",
            Self::Overridden { .. } => "overridden",
            Self::PolicyChanged { .. } => "policy_changed",
            Self::Recovered { .. } => "recovered",
            Self::Degraded { .. } => "degraded",
            Self::Healed { .. } => "healed",
        }
    }
}

impl Event {
    /// The stable name of what happened: see [`EventKind::name`].
    pub const fn name(&self) -> &'static str {
        self.kind.name()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.at, self.name())?;
        match &self.kind {
            EventKind::Warning { standing, warning } => {
                let reached = match warning {
                    Warn::Percent(percent) => format!("{percent}%"),
                    Warn::At(amount) => standing.budget.unit.format(*amount),
                };
                write!(f, "{}, {reached} reached", Line(standing, f.alternate()))
            }
            EventKind::Exhausted { standing } => write!(f, "{}, nothing remains", Line(standing, f.alternate())),
            EventKind::Overage { standing, above } => {
                write!(f, "{}, {} above", Line(standing, f.alternate()), standing.budget.unit.format(*above))
            }
            EventKind::WouldRefuse { standing, requested } => {
                let requested = standing.budget.unit.format(*requested);
                write!(f, "{}, would have refused {requested}", Line(standing, f.alternate()))
            }
            EventKind::Refused { refusal } => fmt::Display::fmt(refusal, f),
            EventKind::HoldExpired { hold, subjects, charged } => {
                // The id of a hold is the caller's, and may name somebody.
                let called = if f.alternate() { format!("hold {hold:?}") } else { "a hold".to_owned() };
                write!(f, "{called} of ")?;
                for (number, subject) in subjects.iter().enumerate() {
                    write!(f, "{}{}", if number == 0 { "" } else { ", " }, Called(subject, f.alternate()))?;
                }
                f.write_str(if *charged { " was charged: its call had gone out" } else { " was released" })
            }
            EventKind::Reset { budget, before, after, paid } => {
                let how = if *paid { "paid" } else { "by an administrator" };
                let (before, after) = (budget.unit.format(*before), budget.amount(*after));
                write!(f, "{}: from {before} to {after} charged, {how}", Whose(budget, f.alternate()))
            }
            EventKind::ToppedUp { budget, amount, cap } => {
                let cap = cap_text(budget, *cap);
                write!(f, "{}: {} more, cap {cap} now", Whose(budget, f.alternate()), budget.amount(*amount))
            }
            EventKind::Overridden { budget, before, after } => {
                let (before, after) = (cap_text(budget, *before), cap_text(budget, *after));
                write!(f, "{}: cap from {before} to {after}", Whose(budget, f.alternate()))
            }
            EventKind::PolicyChanged { limits } => write!(f, "a policy of {limits} limits is in force"),
            EventKind::Recovered { budgets, holds } => write!(f, "{budgets} budgets with usage, {holds} open holds"),
            EventKind::Degraded { component } => component.fmt(f),
            EventKind::Healed { component } => write!(f, "{} is well again", component.what()),
        }
    }
}

fn cap_text(budget: &BudgetName, cap: Cap) -> String {
    match cap {
        Cap::Max(max) => budget.amount(max),
        Cap::Unlimited => "unlimited".to_owned(),
    }
}

/// A subject for a log: hashed, or named and escaped.
struct Called<'a>(&'a Subject, bool);

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1 { write!(f, "{:?}", self.0.as_str()) } else { write!(f, "{:?}", self.0) }
    }
}

struct Whose<'a>(&'a BudgetName, bool);

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit {} of {}", self.0.limit, Called(&self.0.subject, self.1))
    }
}

struct Line<'a>(&'a Standing, bool);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { budget, charged, max, .. } = self.0;
        write!(f, "{} has {} of {} charged", Whose(budget, self.1), budget.unit.format(*charged), budget.amount(*max))
    }
}

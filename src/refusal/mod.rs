//! A refusal as a value: what was violated, when it helps to ask again, and how to say so to people, models and HTTP clients.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::amount::Unit;
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::{Countdown, Window};

mod http;
#[cfg(feature = "json")]
mod json;

pub use http::HttpRefusal;

/// Whether waiting helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Retry {
    /// At this instant the budget starts fresh, and the amount fits then.
    At(Timestamp),
    /// Only other holders can free the budget, by settling for less or releasing; nobody knows when.
    Unknown,
    /// Never: the amount is larger than the limit, or the budget is spent for good.
    Never,
}

/// One budget that had no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The limit's id.
    pub limit: Arc<str>,
    /// Who is limited.
    pub subject: Subject,
    /// The resource's name.
    pub resource: Arc<str>,
    /// The resource's unit; the amounts below are counted in it.
    pub unit: Unit,
    /// The limit's window.
    pub window: Window,
    /// What was asked for; 0 asks whether anything is left.
    pub requested: u64,
    /// The cap in force.
    pub max: u64,
    /// Committed in the window.
    pub used: u64,
    /// Reserved in the window and not settled.
    pub held: u64,
    /// `max − used − held`, floored at 0.
    pub remaining: u64,
    /// When the budget starts fresh; `None` for a lifetime.
    pub resets_at: Option<Timestamp>,
    /// Whether waiting helps with this budget.
    pub retry: Retry,
}

/// A call that was refused, and why: every violated budget, in the policy's order. Nothing was charged.
///
/// `Display` is a sentence for people with the subject's id hashed, fit for logs; `{:#}` names the id.
///
/// ```
/// use encumber::{Cap, Engine, Limit, ManualClock, Policy, Unit, Window};
/// let policy = Policy::builder()
///     .resource("tokens", Unit::Count)
///     .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(100)))
///     .build()?;
/// let clock = ManualClock::at("2026-02-04T20:55:00Z".parse()?);
/// let engine = Engine::builder(policy).clock(&clock).build();
/// let tokens = engine.resource("tokens")?;
/// let refusal = engine.scope(["user:7"])?.try_charge(tokens.of(101)).unwrap_err().into_refusal().unwrap();
/// assert_eq!(
///     format!("{refusal:#}"),
///     "daily limit user-day of \"user:7\" has 100 of 100 tokens left, fewer than the 101 asked for: never fits"
/// );
/// assert_eq!(refusal.http().status, 429);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    primary: Violation,
    others: Vec<Violation>,
    at: Timestamp,
}

impl Refusal {
    /// A refusal at the instant `at`; for hosts that tell of limits of their own in the same words.
    pub fn new(primary: Violation, others: Vec<Violation>, at: Timestamp) -> Self {
        Self { primary, others, at }
    }

    /// The first violated budget in the policy's order.
    pub fn primary(&self) -> &Violation {
        &self.primary
    }

    /// Every violated budget, in the policy's order.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        std::iter::once(&self.primary).chain(&self.others)
    }

    /// The instant for which it was decided.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether waiting helps with all of the budgets: the latest instant needed; never or unknown as soon as one is.
    pub fn retry(&self) -> Retry {
        self.violations().map(|violation| violation.retry).max().unwrap_or(Retry::Unknown)
    }

    /// How long to wait from when it was decided; `None` when waiting does not help or nobody knows.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.retry() {
            Retry::At(then) => Some(then.saturating_since(self.at)),
            Retry::Unknown | Retry::Never => None,
        }
    }

    /// The refusal as HTTP has it: status 429 and the fields `Retry-After`, `RateLimit` and `RateLimit-Policy`.
    pub fn http(&self) -> HttpRefusal {
        http::render(self)
    }

    /// What a caller could do, in a sentence.
    pub fn suggestion(&self) -> String {
        let Violation { requested, unit, resource, .. } = &self.primary;
        // Every violated budget of the resource has to have room.
        let same = self.violations().filter(|violation| violation.resource == *resource);
        let remaining = same.map(|violation| violation.remaining).min().unwrap_or(0);
        let smaller = remaining > 0 && *requested > remaining;
        let what = format!("{} {resource}", unit.format(remaining));
        match (self.retry(), smaller) {
            (Retry::At(then), true) => {
                format!("Ask for at most {what}, or wait {}.", wait(self.at, then))
            }
            (Retry::At(then), false) => format!("Wait {}, or finish with what you have.", wait(self.at, then)),
            (Retry::Unknown, true) => format!("Ask for at most {what}, or try again when other calls have ended."),
            (Retry::Unknown, false) => "Try again when other calls have ended.".to_owned(),
            (Retry::Never, true) => format!("Ask for at most {what}; waiting does not help."),
            (Retry::Never, false) => "Finish with what you have; waiting does not help.".to_owned(),
        }
    }
}

fn wait(now: Timestamp, then: Timestamp) -> String {
    match Countdown::between(now, then).to_string().as_str() {
        "now" => "a moment".to_owned(),
        text => text.to_owned(),
    }
}

/// Whole seconds, rounded up: whoever waits that long has waited long enough.
fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { limit, subject, resource, unit, window, requested, max, remaining, resets_at, retry, .. } =
            &self.primary;
        let amount = |amount: u64| unit.format(amount);
        write!(f, "{} limit {limit} of ", window.adjective())?;
        let name = if f.alternate() { format!("{:?}", subject.as_str()) } else { format!("{subject:?}") };
        f.write_str(&name)?;
        if *remaining == 0 {
            write!(f, " is used up ({} {resource})", amount(*max))?;
        } else {
            write!(f, " has {} of {} {resource} left", amount(*remaining), amount(*max))?;
        }
        if requested > remaining && *remaining > 0 {
            write!(f, ", fewer than the {} asked for", amount(*requested))?;
        }
        match (retry, resets_at) {
            (Retry::Never, _) if requested > max => f.write_str(": never fits")?,
            (Retry::Never, _) if *remaining > 0 => f.write_str(", and stays so")?,
            (Retry::Never, _) => f.write_str(" for good")?,
            (_, Some(then)) if *then <= self.at => f.write_str(", resets now")?,
            (_, Some(then)) => write!(f, ", resets in {}", Countdown::between(self.at, *then))?,
            (_, None) => f.write_str(", until other calls end")?,
        }
        match self.others.len() {
            0 => Ok(()),
            1 => write!(f, " (and 1 other limit)"),
            others => write!(f, " (and {others} other limits)"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(remaining: u64, retry: Retry) -> Violation {
        Violation {
            limit: "user-day".into(),
            subject: Subject::global(),
            resource: "tokens".into(),
            unit: Unit::Count,
            window: Window::Day,
            requested: 99,
            max: 100,
            used: 100 - remaining,
            held: 0,
            remaining,
            resets_at: None,
            retry,
        }
    }

    #[test]
    fn a_suggestion_fits_every_violated_budget() {
        let refusal = |others| Refusal::new(violation(95, Retry::Never), others, Timestamp::UNIX_EPOCH);
        assert_eq!(refusal(vec![]).suggestion(), "Ask for at most 95 tokens; waiting does not help.");
        let two = refusal(vec![violation(5, Retry::Never)]);
        assert_eq!(two.suggestion(), "Ask for at most 5 tokens; waiting does not help.");
        let none = refusal(vec![violation(0, Retry::Never)]);
        assert_eq!(none.suggestion(), "Finish with what you have; waiting does not help.");
    }

    #[test]
    fn the_latest_retry_counts_and_waits_are_rounded_up() {
        let at = |millis| Retry::At(Timestamp::from_millis(millis));
        let refusal = |retry: [Retry; 2]| {
            Refusal::new(violation(0, retry[0]), vec![violation(0, retry[1])], Timestamp::UNIX_EPOCH)
        };
        let soon = refusal([at(500), at(1_200)]);
        assert_eq!(soon.retry(), at(1_200));
        assert!(soon.http().headers.contains(&("Retry-After", "2".to_owned())));
        #[cfg(feature = "json")]
        assert_eq!(soon.to_json()["retry_after_seconds"], 2);
        assert_eq!(refusal([at(500), Retry::Unknown]).retry_after(), None);
        assert_eq!(refusal([Retry::Never, at(500)]).retry(), Retry::Never);
    }
}

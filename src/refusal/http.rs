//! A refusal as HTTP.

use super::{Refusal, Violation, seconds_up};

/// A refusal as HTTP has it. Values hold plain ASCII only: names of limits are plain, and ids of subjects are not sent.
///
/// ```
/// # use encumber::{Cap, Engine, Limit, ManualClock, Policy, Unit, Window};
/// # let policy = Policy::builder().resource("calls", Unit::Count)
/// #     .limit(Limit::new("user-minute", "user", "calls", Window::Minute, Cap::Max(1))).build()?;
/// # let clock = ManualClock::at("2026-02-04T20:55:15Z".parse()?);
/// # let engine = Engine::builder(policy).clock(&clock).build();
/// # let calls = engine.resource("calls")?;
/// # let scope = engine.scope(["user:7"])?;
/// scope.try_charge(calls.of(1))?;
/// let refusal = scope.try_charge(calls.of(1)).unwrap_err().into_refusal().unwrap();
/// assert_eq!(
///     refusal.http().headers,
///     [
///         ("RateLimit-Policy", "\"user-minute\";q=1;w=60".to_owned()),
///         ("RateLimit", "\"user-minute\";r=0;t=45".to_owned()),
///         ("Retry-After", "45".to_owned()),
///     ]
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRefusal {
    /// The status code, 429.
    pub status: u16,
    /// Names and values: `RateLimit-Policy` and `RateLimit` for each violated limit, and `Retry-After` in seconds, rounded up, when
    /// waiting helps. Amounts are in amount units (nano-dollars for money).
    pub headers: Vec<(&'static str, String)>,
}

pub(super) fn render(refusal: &Refusal) -> HttpRefusal {
    let mut policies = Vec::new();
    let mut limits = Vec::new();
    for Violation { limit, max, remaining, window, resets_at, .. } in refusal.violations() {
        let length = window.length(refusal.at).map(seconds_up);
        let resets_in = resets_at.map(|at| seconds_up(at.saturating_since(refusal.at)));
        let field = |key: &str, value: Option<u64>| value.map_or(String::new(), |v| format!(";{key}={v}"));
        policies.push(format!("\"{limit}\";q={}{}", integer(*max), field("w", length)));
        limits.push(format!("\"{limit}\";r={}{}", integer(*remaining), field("t", resets_in)));
    }
    let mut headers = vec![("RateLimit-Policy", policies.join(", ")), ("RateLimit", limits.join(", "))];
    if let Some(wait) = refusal.retry_after() {
        headers.push(("Retry-After", seconds_up(wait).max(1).to_string()));
    }
    HttpRefusal { status: 429, headers }
}

/// Structured fields hold integers of at most 15 digits.
fn integer(value: u64) -> u64 {
    value.min(999_999_999_999_999)
}

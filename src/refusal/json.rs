//! A refusal as JSON for a model.

use serde_json::{Value, json};

use super::{Refusal, Retry, Violation, seconds_up};

impl Refusal {
    /// The refusal as JSON that a model can act on, made by a serializer: ids may hold anything. Amounts are in amount units
    /// (nano-dollars for money), with the text as people write it beside.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, ManualClock, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("usd", Unit::Usd)
    /// #     .limit(Limit::new("agent-day", "agent", "usd", Window::Day, Cap::Max(2_000_000_000))).build()?;
    /// # let clock = ManualClock::at("2026-02-04T20:55:00Z".parse()?);
    /// # let engine = Engine::builder(policy).clock(&clock).build();
    /// let usd = engine.resource("usd")?;
    /// let scope = engine.scope(["agent:say \"hi\""])?;
    /// scope.try_charge(usd.of(1_250_000_000))?;
    /// let refusal = scope.try_charge(usd.of(1_000_000_000)).unwrap_err().into_refusal().unwrap();
    /// let json = refusal.to_json();
    /// assert_eq!(json["error"], "budget_exceeded");
    /// assert_eq!(json["details"]["id"], "say \"hi\"");
    /// assert_eq!(json["details"]["remaining"], 750_000_000);
    /// assert_eq!(json["suggestion"], "Ask for at most 0.75 usd, or wait 3h 5m.");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_json(&self) -> Value {
        let retry = match self.retry() {
            Retry::At(then) => json!(then.to_string()),
            Retry::Unknown => json!("unknown"),
            Retry::Never => json!("never"),
        };
        json!({
            "error": "budget_exceeded",
            "message": format!("{self:#}"),
            "suggestion": self.suggestion(),
            "retry_at": retry,
            "retry_after_seconds": self.retry_after().map(seconds_up),
            "details": self.detail(self.primary()),
            "violations": self.violations().map(|violation| self.detail(violation)).collect::<Vec<_>>(),
        })
    }

    fn detail(&self, violation: &Violation) -> Value {
        let Violation {
            limit, subject, resource, unit, window, requested, max, used, held, remaining, resets_at, ..
        } = violation;
        json!({
            "limit": &**limit,
            "kind": subject.kind(),
            "id": subject.id(),
            "resource": &**resource,
            "window": window.to_string(),
            "requested": requested,
            "max": max,
            "used": used,
            "held": held,
            "remaining": remaining,
            "remaining_text": format!("{} {resource}", unit.format(*remaining)),
            "resets_at": resets_at.map(|at| at.to_string()),
            "resets_in_seconds": resets_at.map(|at| seconds_up(at.saturating_since(self.at))),
        })
    }
}

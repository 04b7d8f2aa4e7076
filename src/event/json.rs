//! An event as JSON, for a log that machines read.

use serde_json::{Value, json};

use super::{BudgetName, Event, EventKind, Standing};
use crate::amount::{Cap, Unit};
use crate::policy::Warn;
use crate::subject::Subject;

impl Event {
    /// The event as a JSON object, made by a serializer: ids are named, and may hold anything. Amounts are in amount units (nano-dollars for
    /// money); `at` and `event` are always there.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Events, Limit, ManualClock, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("agent-day", "agent", "tokens", Window::Day, Cap::Max(100))).build()?;
    /// # let clock = ManualClock::at("2026-02-04T20:55:00Z".parse()?);
    /// let events = Events::bounded(16);
    /// let engine = Engine::builder(policy).clock(&clock).events(&events).build();
    /// let tokens = engine.resource("tokens")?;
    /// engine.scope(["agent:say \"hi\""])?.try_charge(tokens.of(100))?;
    /// let json = events.try_next().unwrap().to_json();
    /// assert_eq!((&json["event"], &json["at"]), (&"exhausted".into(), &"2026-02-04T20:55:00.000Z".into()));
    /// assert_eq!((&json["id"], &json["charged"]), (&"say \"hi\"".into(), &100.into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_json(&self) -> Value {
        let mut object = match &self.kind {
            EventKind::Warning { standing, warning } => {
                let warning = match warning {
                    Warn::Percent(percent) => json!({ "warning_percent": percent }),
                    Warn::At(amount) => json!({ "warning_amount": amount }),
                };
                joined(stands(standing), warning)
            }
            EventKind::Exhausted { standing } => stands(standing),
            EventKind::Overage { standing, above } => joined(stands(standing), json!({ "above": above })),
            EventKind::WouldRefuse { standing, requested } => {
                joined(stands(standing), json!({ "requested": requested }))
            }
            EventKind::Refused { refusal } => json!({ "refusal": refusal.to_json() }),
            EventKind::HoldExpired { hold, subjects, charged } => json!({
                "hold": hold.to_string(),
                "subjects": subjects.iter().map(Subject::as_str).collect::<Vec<_>>(),
                "charged": charged,
            }),
            EventKind::Reset { budget, before, after, paid } => {
                joined(named(budget), json!({ "before": before, "after": after, "paid": paid }))
            }
            EventKind::ToppedUp { budget, amount, cap } => {
                joined(named(budget), json!({ "amount": amount, "cap": cap_json(*cap) }))
            }
            EventKind::Overridden { budget, before, after } => {
                joined(named(budget), json!({ "before": cap_json(*before), "after": cap_json(*after) }))
            }
            EventKind::PolicyChanged { limits } => json!({ "limits": limits }),
            EventKind::Recovered { budgets, holds } => json!({ "budgets": budgets, "holds": holds }),
            EventKind::Degraded { component } | EventKind::Healed { component } => {
                json!({ "component": component.name() })
            }
        };
        object["at"] = json!(self.at.to_string());
        object["event"] = json!(self.name());
        object
    }
}

fn named(budget: &BudgetName) -> Value {
    let unit = match budget.unit {
        Unit::Usd => "usd",
        Unit::Count => "count",
    };
    json!({
        "limit": &*budget.limit,
        "kind": budget.subject.kind(),
        "id": budget.subject.id(),
        "resource": &*budget.resource,
        "unit": unit,
    })
}

fn stands(standing: &Standing) -> Value {
    let Standing { budget, charged, max, window } = standing;
    let more = json!({
        "charged": charged,
        "max": max,
        "window_start": window.map(|bounds| bounds.start.to_string()),
        "resets_at": window.map(|bounds| bounds.end.to_string()),
    });
    joined(named(budget), more)
}

fn cap_json(cap: Cap) -> Value {
    match cap {
        Cap::Max(max) => json!(max),
        Cap::Unlimited => json!("unlimited"),
    }
}

/// The fields of both objects.
fn joined(mut one: Value, other: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut one, other) {
        fields.extend(more);
    }
    one
}

//! Sentences and JSON about refusals, and percentages.

use std::time::Duration;

use encumber::{Countdown, Percent, Refusal, Retry, Subject, Timestamp, Unit, Violation, Window};
use serde_json::{Map, Value, json};

use crate::args::{self, Amount};

/// A refusal by the named window, as a sentence. The sentence must name the window and how long it takes.
pub(crate) fn limit_message(step: &Value, now: Timestamp) -> Result<Value, String> {
    let (name, resets_at) = (args::text(step, "window")?, args::instant(step, "resets_at")?);
    let (window, limit) = match name {
        "hourly" => (Window::Hour, "limit"),
        "daily" => (Window::Day, "limit"),
        "weekly" => (Window::Week, "limit"),
        "monthly" => (Window::Month, "limit"),
        other => (other.parse().unwrap_or(Window::Lifetime), other),
    };
    let subject = Subject::new("user", "u").map_err(|error| error.to_string())?;
    let spent = Told { requested: 1, max: 1, used: 1, remaining: 0, resets_at: Some(resets_at) };
    let text = refusal(limit, subject, "tokens", window, spent, now).to_string();
    let duration = Countdown::between(now, resets_at).to_string();
    let named = text.contains(name) && text.contains(&duration);
    let (window, duration) = if named { (json!(name), json!(duration)) } else { (Value::Null, Value::Null) };
    Ok(json!({ "window": window, "duration_text": duration, "text": text }))
}

/// A refusal of the kind's limit as JSON for a model, through text and back, in the words of the case.
pub(crate) fn llm_message(step: &Value, now: Timestamp) -> Result<Value, String> {
    let (kind, fields) = (args::text(step, "kind")?, &step["fields"]);
    let budget = kind == "budget";
    let (subject_kind, id) = match (&fields["agent_id"], &fields["workflow_id"]) {
        (Value::String(id), _) => ("agent", id.as_str()),
        (_, Value::String(id)) => ("workflow", id.as_str()),
        _ if budget => return Err("fields name no agent".to_owned()),
        _ => ("workflow", "-"),
    };
    let subject = Subject::new(subject_kind, id).map_err(|error| error.to_string())?;
    let told = |names: [&str; 3]| names.into_iter().find_map(|name| Amount::of(&fields[name]).whole());
    let seconds = Amount::of(&fields["resets_in_seconds"]).whole();
    let max = told(["total", "max_steps", "limit"]).unwrap_or(0);
    let used = told(["used", "steps_executed", "current"]);
    let remaining = Amount::of(&fields["remaining"]).whole();
    let told = Told {
        requested: Amount::of(&fields["requested"]).whole().unwrap_or(1),
        max,
        used: used.unwrap_or(max.saturating_sub(remaining.unwrap_or(0))),
        remaining: remaining.unwrap_or(max.saturating_sub(used.unwrap_or(max))),
        resets_at: seconds.map(|seconds| now.saturating_add(Duration::from_secs(seconds))),
    };
    let resource = if budget { "tokens" } else { "steps" };
    let refusal = refusal(kind, subject, resource, Window::Lifetime, told, now);
    let text = serde_json::to_string(&refusal.to_json()).map_err(|error| error.to_string())?;
    let parsed: Value = serde_json::from_str(&text).map_err(|error| format!("{text}: {error}"))?;
    Ok(json!({ "json": in_words_of_the_case(&parsed, kind, fields), "text": text }))
}

/// What the JSON says, under the names that the case has for it.
fn in_words_of_the_case(parsed: &Value, kind: &str, fields: &Value) -> Value {
    let names = fields.as_object().into_iter().flatten().map(|(name, _)| name);
    let details: Map<_, _> = names.map(|name| (name.clone(), parsed["details"][ours(name)].clone())).collect();
    if kind == "budget" {
        return json!({ "error": parsed["error"], "details": details });
    }
    let workflow = parsed["error"] == "budget_exceeded" && parsed["details"]["kind"] == "workflow";
    let mut json = details;
    json.insert("error".to_owned(), json!(if workflow { "workflow_quota_exceeded" } else { "" }));
    json.insert("type".to_owned(), parsed["details"]["limit"].clone());
    json.into()
}

/// The name of a case's field in the details of the crate's JSON.
fn ours(name: &str) -> &str {
    match name {
        "agent_id" | "workflow_id" => "id",
        "total" | "max_steps" | "limit" => "max",
        "steps_executed" | "current" => "used",
        same => same,
    }
}

/// The percentage of a limit that is used; none without a limit.
pub(crate) fn usage_percent(step: &Value, zero_is_unlimited: bool) -> Result<Value, String> {
    let Some(used) = args::amount(step, "used")?.clamped() else { return Ok(json!({ "error": "invalid_amount" })) };
    let limit = match &step["limit"] {
        Value::Null => None,
        limit => args::cap(limit, zero_is_unlimited).ok_or_else(|| format!("limit is {limit}"))?.max(),
    };
    let percent = limit.map(|limit| Percent::of(used, limit));
    Ok(json!({
        "percent": percent.map(|percent| f64::from(percent.tenths()) / 10.0),
        "exhausted": percent.is_some_and(|percent| percent.tenths() == 1_000),
    }))
}

/// The numbers of a violation.
#[derive(Clone, Copy)]
struct Told {
    requested: u64,
    max: u64,
    used: u64,
    remaining: u64,
    resets_at: Option<Timestamp>,
}

fn refusal(limit: &str, subject: Subject, resource: &str, window: Window, told: Told, now: Timestamp) -> Refusal {
    let Told { requested, max, used, remaining, resets_at } = told;
    let retry = resets_at.map_or(Retry::Never, Retry::At);
    let (limit, resource) = (limit.into(), resource.into());
    let violation = Violation {
        limit,
        subject,
        resource,
        unit: Unit::Count,
        window,
        requested,
        max,
        used,
        held: 0,
        remaining,
        resets_at,
        retry,
    };
    Refusal::new(violation, Vec::new(), now)
}

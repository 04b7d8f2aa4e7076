//! What was found as JSON, for programs.

use std::path::Path;

use anyhow::Result;
use encumber::{
    Bounds, Cap, FileKind, FoundBudget, FoundFile, FoundGrant, FoundHold, FoundRule, FoundWorkflow, Inspection,
    LostBytes, Salvaged, Timestamp,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::names::Names;

/// Instants are RFC 3339, amounts are in the resource's unit: nano-dollars, or what is counted.
///
/// # Errors
/// None that an input can cause.
pub(super) fn inspection(found: &Inspection, names: Names, budgets: Option<usize>, now: Timestamp) -> Result<String> {
    let listed = found.budgets.iter().take(budgets.unwrap_or(usize::MAX));
    let torn = found.torn.as_ref();
    text(&json!({
        "dir": shown(&found.dir),
        "damaged": Value::Null,
        "in_use": found.in_use,
        "was_closed": found.was_closed,
        "snapshot": found.snapshot,
        "records": found.records,
        "torn": torn.map(|torn| json!({ "file": shown(&torn.path), "offset": torn.offset, "bytes": torn.bytes })),
        "latest": found.latest.map(|latest| latest.to_string()),
        "resets": found.resets,
        "remembered": found.remembered,
        "files": found.files.iter().map(file).collect::<Vec<_>>(),
        "limits": found.rules.iter().map(|found| Value::Object(rule(found))).collect::<Vec<_>>(),
        "budgets_total": found.budgets.len(),
        "budgets": listed.map(|found| budget(found, names, now)).collect::<Vec<_>>(),
        "grants": found.grants.iter().map(|found| grant(found, names)).collect::<Vec<_>>(),
        "holds": found.holds.iter().map(|found| hold(found, names)).collect::<Vec<_>>(),
        "workflows": found.workflows.iter().map(|found| workflow(found, names, now)).collect::<Vec<_>>(),
    }))
}

/// # Errors
/// None that an input can cause.
pub(super) fn damaged(path: &Path, offset: u64, why: &str) -> Result<String> {
    text(&json!({ "damaged": { "file": shown(path), "offset": offset, "why": why } }))
}

/// # Errors
/// None that an input can cause.
pub(super) fn salvaged(salvaged: &Salvaged, to: &Path) -> Result<String> {
    let lost = |LostBytes { path, from, to, why, records, .. }: &LostBytes| json!({ "file": shown(path), "from": from, "to": to, "why": why, "records": records });
    text(&json!({
        "dir": shown(to),
        "complete": salvaged.is_complete(),
        "exact": salvaged.is_exact,
        "snapshot": salvaged.snapshot,
        "damaged_snapshots": salvaged.damaged_snapshots,
        "pieces": salvaged.pieces,
        "records": salvaged.records,
        "records_lost": salvaged.records_lost,
        "lost": salvaged.lost.iter().map(lost).collect::<Vec<_>>(),
        "missing": salvaged.missing,
        "budgets": salvaged.budgets,
        "holds": salvaged.holds,
        "workflows": salvaged.workflows,
        "foreign": salvaged.foreign,
        "unfinished": salvaged.unfinished,
    }))
}

fn text(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn file(file: &FoundFile) -> Value {
    let unreadable = file.unreadable.as_ref();
    json!({
        "name": file.name,
        "kind": kind(file.kind),
        "number": file.number,
        "bytes": file.bytes,
        "used": file.is_used,
        "unreadable": unreadable.map(|found| json!({ "offset": found.offset, "why": found.why })),
    })
}

/// What a file is, in a word.
pub(super) fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Snapshot => "snapshot",
        FileKind::Journal => "journal",
        FileKind::Unfinished => "unfinished",
        FileKind::Lock => "lock",
        _ => "foreign",
    }
}

fn rule(rule: &FoundRule) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("limit".to_owned(), json!(rule.limit));
    map.insert("resource".to_owned(), json!(rule.resource));
    map.insert("window".to_owned(), json!(rule.window_text()));
    map
}

fn budget(budget: &FoundBudget, names: Names, now: Timestamp) -> Value {
    let mut map = rule(&budget.rule);
    let (start, end) = budget.bounds.map(|Bounds { start, end }| (start.to_string(), end.to_string())).unzip();
    map.insert("subject".to_owned(), json!(names.subject(&budget.subject)));
    map.insert("window_number".to_owned(), json!(budget.window_number));
    map.insert("start".to_owned(), json!(start));
    map.insert("end".to_owned(), json!(end));
    map.insert("charged".to_owned(), json!(budget.charged));
    map.insert("ended".to_owned(), json!(budget.has_ended(now)));
    Value::Object(map)
}

fn grant(grant: &FoundGrant, names: Names) -> Value {
    let mut map = rule(&grant.rule);
    map.insert("subject".to_owned(), json!(names.subject(&grant.subject)));
    map.insert("override".to_owned(), grant.cap.map_or(Value::Null, |of| json!({ "max": max(of) })));
    map.insert("extra".to_owned(), json!(grant.extra));
    map.insert("extra_window_number".to_owned(), json!(grant.extra_window));
    Value::Object(map)
}

fn hold(hold: &FoundHold, names: Names) -> Value {
    let amounts: Map<String, Value> =
        hold.held.iter().map(|(resource, amount)| (resource.to_string(), json!(amount))).collect();
    json!({
        "id": names.hold(hold),
        "slot_of": hold.slot_of,
        "subjects": names.subjects(&hold.subjects),
        "held": amounts,
        "expires_at": hold.expires_at.to_string(),
        "guarded": hold.guarded,
        "dispatched": hold.dispatched,
    })
}

fn workflow(workflow: &FoundWorkflow, names: Names, now: Timestamp) -> Value {
    json!({
        "id": names.workflow(&workflow.id),
        "steps": workflow.steps,
        "steps_max": max(workflow.steps_max),
        "expires_at": workflow.expires_at.map(|at| at.to_string()),
        "subjects": names.subjects(&workflow.subjects),
        "budgets": workflow.budgets.iter().map(|found| budget(found, names, now)).collect::<Vec<_>>(),
    })
}

/// `None` is unlimited.
fn max(cap: Cap) -> Option<u64> {
    match cap {
        Cap::Max(max) => Some(max),
        Cap::Unlimited => None,
    }
}

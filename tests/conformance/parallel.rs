//! Groups of calls made at once.

use std::sync::{Barrier, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::args;

/// The most threads for one step; more calls than this are dealt out among them.
const THREADS_MAX: usize = 64;

/// Runs the calls of every group at once and counts, by group, how many were ok.
pub(crate) fn parallel(
    step: &Value,
    run: impl Fn(&str, &Value) -> Result<Value, String> + Sync,
) -> Result<Value, String> {
    let groups = args::list(step, "groups")?;
    let calls = calls(groups)?;
    let threads = calls.len().clamp(1, THREADS_MAX);
    let start = Barrier::new(threads);
    let counts = Mutex::new(vec![(0_u64, 0_u64); groups.len()]);
    let fault = Mutex::new(None);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (start, counts, fault, calls, run) = (&start, &counts, &fault, &calls, &run);
            scope.spawn(move || {
                start.wait();
                for (group, op, args) in calls.iter().skip(thread).step_by(threads) {
                    let result = run(op, args);
                    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(result) if is_ok(&result) => counts[*group].0 += 1,
                        Ok(_) => counts[*group].1 += 1,
                        Err(error) => *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
                    }
                }
            });
        }
    });
    if let Some(error) = fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    let counts = counts.into_iter().enumerate();
    let counts =
        counts.map(|(group, (ok, rejected))| (format!("group{group}"), json!({ "ok": ok, "rejected": rejected })));
    Ok(counts.collect::<Map<_, _>>().into())
}

/// The calls of all groups, the groups taking turns: number of the group, operation, arguments.
fn calls(groups: &[Value]) -> Result<Vec<(usize, String, Value)>, String> {
    let mut calls = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let count = group["n"].as_u64().ok_or_else(|| format!("n is {}", group["n"]))?;
        let op = args::text(group, "op")?;
        for number in 0..count {
            calls.push((number, (index, op.to_owned(), numbered(&group["args"], number))));
        }
    }
    calls.sort_by_key(|&(number, (index, ..))| (number, index));
    Ok(calls.into_iter().map(|(_, call)| call).collect())
}

/// The arguments of call `number`: `{i}` in texts becomes the number.
fn numbered(args: &Value, number: u64) -> Value {
    match args {
        Value::String(text) => json!(text.replace("{i}", &number.to_string())),
        Value::Array(list) => list.iter().map(|value| numbered(value, number)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), numbered(value, number)));
            fields.collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// Whether a result says that the call got what it asked for.
pub(crate) fn is_ok(result: &Value) -> bool {
    ["allowed", "acquired", "ok", "released", "renewed", "ended"].into_iter().any(|field| result[field] == true)
        || ["ok", "settled", "released"].into_iter().any(|outcome| result["outcome"] == outcome)
}

//! Conformance: runs case files through the public API.
//!
//! The cases are those of the folder that `ENCUMBER_CASES` names, or of `tests/cases`. The runner knows operations and fields, never a
//! case. It prints a line for each case that fails, then what was skipped and why, then the counts by area and in all.
//!
//! With the feature `persist` the cases run once more, on engines that are kept in directories, closed and opened again between the steps
//! of a case. Calls that a step makes at once, and schedules, are not split.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

#[path = "conformance/accounts.rs"]
mod accounts;
#[path = "conformance/agents.rs"]
mod agents;
#[path = "conformance/args.rs"]
mod args;
#[path = "conformance/buckets.rs"]
mod buckets;
#[path = "conformance/costs.rs"]
mod costs;
#[path = "conformance/counters.rs"]
mod counters;
#[path = "conformance/expressions.rs"]
mod expressions;
#[path = "conformance/features.rs"]
mod features;
#[path = "conformance/guards.rs"]
mod guards;
#[path = "conformance/home.rs"]
mod home;
#[path = "conformance/interleave.rs"]
mod interleave;
#[path = "conformance/leases.rs"]
mod leases;
#[path = "conformance/matching.rs"]
mod matching;
#[path = "conformance/messages.rs"]
mod messages;
#[path = "conformance/next_reset.rs"]
mod next_reset;
#[path = "conformance/parallel.rs"]
mod parallel;
#[path = "conformance/schedules.rs"]
mod schedules;
#[path = "conformance/spending.rs"]
mod spending;
#[path = "conformance/windows.rs"]
mod windows;
#[path = "conformance/workflows.rs"]
mod workflows;
#[path = "conformance/world.rs"]
mod world;

use home::Keeping;
use world::World;

/// Capabilities that are out of place in this engine, each with the reason. Every area runs.
const LACKING: [(&str, &str); 1] = [(
    "u64_window",
    "a windowed budget counts in the bits that the number of its window leaves; a cap of 2^64-1 is refused when it is configured",
)];

fn main() -> ExitCode {
    matching::self_check();
    expressions::self_check();
    schedules::self_check();
    let folder = std::env::var_os("ENCUMBER_CASES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"), PathBuf::from);
    let mut tally = Tally::default();
    let cases = match read_cases(&folder, &mut tally) {
        Ok(cases) => cases,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if cases.is_empty() {
        println!("no case in {}", folder.display());
        return ExitCode::FAILURE;
    }
    for (area, case) in &cases {
        tally.count(area, case, Keeping::InMemory);
    }
    for (reason, count) in &tally.skipped {
        println!("skipped {count}: {reason}");
    }
    for (area, counts) in &tally.by_area {
        println!("{area}: {counts}");
    }
    let all = tally.all();
    println!("{all}");
    let failed = all.failed + reopened(&cases);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the cases with their engines closed and opened again between steps. How many failed.
fn reopened(cases: &[(String, Value)]) -> usize {
    if !cfg!(feature = "persist") {
        return 0;
    }
    let mut tally = Tally::default();
    for (area, case) in cases {
        tally.count(area, case, Keeping::OnDisk);
    }
    for (reason, count) in &tally.skipped {
        println!("reopened between steps: skipped {count}: {reason}");
    }
    let all = tally.all();
    println!("reopened between steps: {all}; engines opened again {} times", home::reopened());
    all.failed
}

/// Every case of every file, with its area, in the order of the files' names. A file that cannot be read fails, and the others run.
fn read_cases(folder: &Path, tally: &mut Tally) -> Result<Vec<(String, Value)>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        match read_file(&path) {
            Ok(of_file) => cases.extend(of_file),
            Err(error) => {
                println!("FAIL {}: {error}", path.display());
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                tally.by_area.entry(name).or_default().failed += 1;
            }
        }
    }
    Ok(cases)
}

fn read_file(path: &Path) -> Result<Vec<(String, Value)>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let listed = file["cases"].as_array().ok_or("there is no list of cases")?;
    let with_area = listed.iter().map(|case| {
        let area = case["area"].as_str().or(file["area"].as_str()).ok_or("a case has no area")?;
        Ok((area.to_owned(), case.clone()))
    });
    with_area.collect()
}

/// What came of the cases so far.
#[derive(Default)]
struct Tally {
    by_area: BTreeMap<String, Counts>,
    /// By reason.
    skipped: BTreeMap<String, usize>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl Tally {
    fn count(&mut self, area: &str, case: &Value, keeping: Keeping) {
        let counts = self.by_area.entry(area.to_owned()).or_default();
        if let Some(reason) = skipped(case).or_else(|| unsplit(case, keeping)) {
            counts.skipped += 1;
            *self.skipped.entry(reason).or_default() += 1;
            return;
        }
        let result = catch_unwind(AssertUnwindSafe(|| run_case(case, keeping)));
        let result = result.unwrap_or_else(|panic| Err(format!("panicked: {}", panic_text(&*panic))));
        match result {
            Ok(()) => counts.passed += 1,
            Err(fault) => {
                counts.failed += 1;
                let text = |field: &str| case[field].as_str().unwrap_or("?").to_owned();
                let how = if keeping == Keeping::InMemory { "" } else { "reopened between steps: " };
                println!("{how}FAIL {area} {} {}: {fault}", text("id"), text("title"));
            }
        }
    }

    fn all(&self) -> Counts {
        self.by_area.values().fold(Counts::default(), |all, one| Counts {
            passed: all.passed + one.passed,
            failed: all.failed + one.failed,
            skipped: all.skipped + one.skipped,
        })
    }
}

/// Why a case is not run.
fn skipped(case: &Value) -> Option<String> {
    let required: Vec<&str> = match &case["requires"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let lacking = LACKING.iter().find(|(name, _)| required.contains(name));
    lacking.map(|(name, why)| format!("requires {name}: {why}"))
}

/// Why a case is not run with its engines opened again between steps.
fn unsplit(case: &Value, keeping: Keeping) -> Option<String> {
    let steps = case["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let asks_an_engine = |step: &&Value| step["op"].as_str().is_none_or(|op| !world::WITHOUT_ENGINE.contains(&op));
    let reason = match steps.iter().filter(asks_an_engine).count() {
        _ if keeping == Keeping::InMemory => return None,
        0 => "none of its steps asks an engine that lasts longer than the step",
        1 if steps.len() == 1 => "it has one step: there is nothing in between",
        _ => return None,
    };
    Some(reason.to_owned())
}

/// Runs the steps of a case; an error says which of them went otherwise than expected.
fn run_case(case: &Value, keeping: Keeping) -> Result<(), String> {
    let (Some(steps), Some(expectations)) = (case["steps"].as_array(), case["expect"].as_array()) else {
        return Err("the case has no steps or no expectations".to_owned());
    };
    if steps.is_empty() || steps.len() != expectations.len() {
        return Err(format!("{} steps and {} expectations", steps.len(), expectations.len()));
    }
    let mut world = World::new(case, keeping)?;
    for (number, (step, expected)) in steps.iter().zip(expectations).enumerate() {
        let fault = |what: String| format!("step {}: {what}", number + 1);
        if keeping == Keeping::OnDisk && number > 0 {
            world.reopen().map_err(|error| fault(format!("before it: {error}")))?;
        }
        let got = world.step(step, expected).map_err(fault)?;
        if let Some(mismatch) = matching::mismatch(expected, &got) {
            return Err(fault(format!("expected {expected} got {got} ({mismatch})")));
        }
    }
    Ok(())
}

/// The message of a panic, on one line.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message").replace('\n', " ")
}

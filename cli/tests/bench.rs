//! `encumber bench` from outside: small loads that verify, what they print, bad input.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_encumber")).arg("bench").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// What a run of some calls that ends well prints as JSON, and nothing else on standard output.
fn result(arguments: &[&str]) -> Value {
    let output = bench(&[&["--calls", "4000", "--subjects", "50", "--json"], arguments].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["verified"], &result["wrong"], &result["differences"]), (&json!(true), &json!(0), &json!([])));
    assert_eq!((&result["calls"], &result["errors"], &result["first_error"]), (&json!(4000), &json!(0), &Value::Null));
    let answered = result["admitted"].as_u64().unwrap() + result["refused"].as_u64().unwrap();
    assert_eq!(answered, 4000, "every call was answered");
    result
}

fn error(arguments: &[&str]) -> String {
    let output = bench(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.starts_with("error: ") && output.stdout.is_empty(), "{said}");
    said
}

#[test]
fn every_mix_verifies() {
    for mix in ["charge=1", "reserve=1", "record=1", "check=1", "charge=1,reserve=1,record=1,check=1"] {
        let result = result(&["--mix", mix, "--threads", "3"]);
        assert_eq!(result["settings"]["mix"], mix);
        let operations = result["operations"].as_array().unwrap();
        let operations: Vec<_> = operations.iter().map(|row| row["operation"].as_str().unwrap()).collect();
        let asked: Vec<_> = mix.split(',').map(|part| part.split_once('=').unwrap().0).collect();
        assert_eq!(operations, asked);
    }
}

#[test]
fn every_distribution_verifies() {
    for distribution in ["uniform", "zipf:1", "zipf:0.5", "zipf:3"] {
        assert_eq!(result(&["--distribution", distribution])["settings"]["distribution"], distribution);
    }
    assert_eq!(result(&[])["settings"]["distribution"], "zipf:1");
}

#[test]
fn every_number_of_levels_verifies_by_handle_and_by_key() {
    for levels in 1..=8_usize {
        for way in [&["--threads", "2"][..], &["--threads", "2", "--by-key", "--clock", "system"]] {
            let result = result(&[way, &["--levels", &levels.to_string(), "--fan-out", "3"]].concat());
            let listed = result["settings"]["levels"].as_array().unwrap();
            assert_eq!(listed.len(), levels);
            assert_eq!(listed[0], json!({"kind": "agent", "budgets": 50, "max": null}));
            if levels > 1 {
                assert_eq!(listed[levels - 1], json!({"kind": "global", "budgets": 1, "max": null}));
            }
            let budgets: u64 = listed.iter().map(|level| level["budgets"].as_u64().unwrap()).sum();
            assert_eq!(result["budgets"], budgets);
        }
    }
}

#[test]
fn budgets_that_fill_up_refuse_and_verify() {
    for max in ["0", "100", "agent=200,user=900,global=2000", "global=3000", "user=18446744073709551614"] {
        for way in [&["--threads", "3"][..], &["--threads", "3", "--by-key"]] {
            let result = result(&[way, &["--max", max]].concat());
            assert_eq!(result["refused"].as_u64() > Some(0), max != "user=18446744073709551614", "{max}");
        }
    }
    let full = result(&["--max", "0", "--mix", "charge=1"]);
    assert_eq!((&full["admitted"], &full["refused"], &full["used"]), (&json!(0), &json!(4000), &json!(0)));
}

#[test]
fn records_and_overruns_go_above_a_max_and_verify() {
    let result = result(&["--max", "40", "--mix", "reserve=1,record=1", "--threads", "2"]);
    assert!(result["used"].as_u64() > Some(50 * 40), "records are not refused");
}

#[test]
fn a_seed_repeats_a_run() {
    let totals = |arguments: &[&str]| {
        let result = result(&[arguments, &["--threads", "1", "--max", "300"]].concat());
        ["admitted", "refused", "used", "operations", "settings"].map(|key| result[key].clone())
    };
    let first = totals(&["--seed", "7"]);
    assert_eq!(first, totals(&["--seed", "7"]));
    assert_eq!(first[..4], totals(&["--seed", "7", "--by-key"])[..4], "the same calls, whichever the way");
    assert_ne!(first[..4], totals(&["--seed", "8"])[..4]);
}

#[test]
fn without_a_max_the_threads_calls_come_to_the_same_in_any_order() {
    let used = || result(&["--seed", "7", "--threads", "4"])["used"].clone();
    assert_eq!(used(), used());
}

#[test]
fn the_json_has_what_a_program_needs() {
    let result = result(&["--sample", "1", "--threads", "2"]);
    assert_eq!(result["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(result["settings"]["threads"], 2);
    assert!(result["settings"]["seed"].is_u64() && result["machine"]["cores"].is_u64());
    assert_eq!(result["calls_per_second_of_thread"].as_array().unwrap().len(), 2);
    if cfg!(target_os = "linux") {
        assert_eq!(result["processor_share_of_thread"].as_array().unwrap().len(), 2);
        assert!(result["processor_nanos_per_call"].is_f64());
    }
    for key in ["seconds", "calls_per_second", "clock_nanos", "draw_nanos", "set_up_seconds"] {
        assert!(result[key].as_f64() >= Some(0.0), "{key}");
    }
    let latency = result["latency"].as_array().unwrap();
    let rows: Vec<_> = latency.iter().map(|row| row["operation"].as_str().unwrap()).collect();
    assert_eq!(rows, ["charge", "reserve", "commit", "record", "check"]);
    for row in latency {
        let times = ["p50_nanos", "p90_nanos", "p99_nanos", "p999_nanos", "max_nanos"].map(|key| row[key].as_u64());
        assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{row}");
    }
    assert_eq!(latency[1]["timed"], latency[2]["timed"], "a commit for each reservation");
    let timed: u64 = latency.iter().map(|row| row["timed"].as_u64().unwrap()).sum();
    assert_eq!(timed - latency[2]["timed"].as_u64().unwrap(), 4000, "every call is timed");
}

#[test]
fn people_see_the_machine_the_load_and_that_it_was_verified() {
    let output = bench(&["--seconds", "0.05", "--threads", "2", "--seed", "7", "--levels", "4"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "encumber 0.1.0",
        "2 threads · 1,000 subjects, zipf:1 · handles · ticking clock",
        "agent (1,000) → user (100) → team (10) → global (1)",
        "seed 7",
        "calls/s",
        "p99.9",
        "reserve + commit",
        "verified in",
        "1,111 budgets, as much used as the calls were told",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
    assert_eq!(text.contains("NOT OPTIMISED"), cfg!(debug_assertions));
}

#[test]
fn bad_input_says_what_is_wrong() {
    for (arguments, expected) in [
        (&["--threads", "0"][..], "0 is not in 1..=1024"),
        (&["--subjects", "0"], "0 is not in 1..="),
        (&["--levels", "9"], "9 is not in 1..=8"),
        (&["--levels", "0"], "0 is not in 1..=8"),
        (&["--fan-out", "0"], "0 is not in 1.."),
        (&["--sample", "0"], "0 is not in 1.."),
        (&["--calls", "0"], "0 is not in 1.."),
        (&["--mix", "charge=0,reserve=0"], "all weights are 0"),
        (&["--mix", "spend=1"], "\"spend\" is no operation; they are charge, reserve, record, check"),
        (&["--distribution", "normal"], "expected uniform, zipf or zipf:EXPONENT"),
        (&["--distribution", "zipf:x"], "the exponent of zipf"),
        (&["--seconds", "0"], "above 0"),
        (&["--seconds", "1", "--calls", "1"], "cannot be used with"),
        (&["--clock", "wall"], "ticking, system"),
        (&["--max", "lots"], "expected a whole number"),
        (&["--max", "team=5"], "there is no level \"team\"; the levels are agent, user, global"),
        (&["--max", "5,agent=5"], "agent is given twice"),
        (&["--frobnicate"], "unexpected argument"),
    ] {
        let said = error(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

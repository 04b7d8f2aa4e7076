//! The program as a whole, in its tiny run.

use std::process::Command;

use serde_json::Value;

fn run(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_encumber-peers")).args(arguments).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report[name].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn a_quick_run_reports_speeds_bars_stress_and_memory() {
    let report: Value = serde_json::from_str(&run(&["--quick", "--json"])).expect("JSON");
    for section in ["rows", "stress", "memory"] {
        let rows = list(&report, section);
        assert!(rows.len() > 8, "{section}: {}", rows.len());
        for row in rows {
            let note = row["note"].as_str().unwrap_or("skipped");
            assert!(note.starts_with("skipped"), "{section}: {row}");
            assert!(
                row["package"].is_null() || row["version"].is_string() || row["package"] == "redis-server",
                "{row}"
            );
        }
    }
    let is_ours = |row: &&Value| row["contender"].as_str().is_some_and(|name| name.starts_with("encumber"));
    for row in list(&report, "stress").iter().filter(is_ours) {
        assert_eq!((&row["found"]["units_over"], &row["found"]["falsely_refused"]), (&0.into(), &0.into()), "{row}");
    }
    let bars = list(&report, "bars");
    assert!(bars.len() > 30, "{}", bars.len());
    // What a quick run leaves out is not judged.
    let is_judged = |bar: &&Value| bar["figure"].is_string();
    assert_eq!(bars.iter().filter(|bar| !is_judged(bar)).count(), 2, "{bars:#?}");
    for field in ["cpu", "rustc", "date"] {
        assert!(report["machine"][field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
}

#[test]
fn only_chosen_contenders_run_and_tables_name_them() {
    let text = run(&["--quick", "--only", "quota, check", "--threads", "1"]);
    assert!(text.contains("quota, check") && !text.contains("governor keyed, check_key_n  "), "{text}");
    assert!(text.contains("not run"), "{text}");
}

//! The house rules that a compiler does not hold: which room may import which, and which room alone may touch what.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room's floor. A file may import from its own room, its own floor and the floors below.
const FLOORS: &[(&str, u8)] = &[
    // 0, words: plain values; `sync` is the one door to atomics.
    ("amount", 0),
    ("subject", 0),
    ("sync", 0),
    ("time", 0),
    // 1, rules: no state, no atomics (a clock's own time aside).
    ("clock", 1),
    ("cost", 1),
    ("policy", 1),
    ("window", 1),
    // 2, the atomic core.
    ("meter", 2),
    // 3, keeping.
    ("grants", 3),
    ("holds", 3),
    ("live", 3),
    ("observe", 3),
    ("persist", 3),
    ("registry", 3),
    // 4, charging.
    ("charge", 4),
    // 5, the face.
    ("allowance", 5),
    ("durable", 5),
    ("engine", 5),
    ("event", 5),
    ("refusal", 5),
    ("report", 5),
    ("reservation", 5),
    ("reset", 5),
    ("scope", 5),
    ("slot", 5),
    ("workflow", 5),
    // 6, edges.
    ("adapters", 6),
];

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

/// Every file of the library but its root.
fn sources() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") && path != top.join("lib.rs") {
                let inside = path.strip_prefix(&top).expect("below src");
                let first = inside.components().next().expect("a room").as_os_str().to_string_lossy();
                let room = first.trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).expect("source is text");
                found.push(Source { path, room, text });
            }
        }
    }
    assert!(found.len() > 20, "the library's files were not found");
    found
}

/// Names of rooms after `crate::`, in code lines of the text.
fn rooms_named(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1)).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn a_file_imports_from_its_own_floor_and_below() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let mut faults = Vec::new();
    let mut arrows = 0;
    for Source { path, room, text } in sources() {
        let Some(floor) = floors.get(room.as_str()) else {
            faults.push(format!("{} is in no room of the table", path.display()));
            continue;
        };
        for named in rooms_named(&text) {
            arrows += 1;
            match floors.get(named) {
                Some(other) if other <= floor => {}
                Some(other) => faults.push(format!("{} (floor {floor}) names {named} (floor {other})", path.display())),
                None => faults.push(format!("{} names crate::{named}, which is in no table", path.display())),
            }
        }
    }
    assert!(arrows > 50, "only {arrows} imports were found: the test does not see them");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The files whose code lines hold one of the texts.
fn files_with(texts: &[&str]) -> Vec<String> {
    let holds = |source: &Source| {
        source.text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or("");
            texts.iter().any(|text| code.contains(text))
        })
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = |source: Source| source.path.strip_prefix(root).expect("below the root").display().to_string();
    let mut names: Vec<_> = sources().into_iter().filter(holds).map(name).collect();
    names.sort();
    names
}

#[test]
fn only_sync_names_the_standard_atomics() {
    assert_eq!(files_with(&["sync::atomic"]), ["src/sync.rs"]);
}

#[test]
fn only_clock_reads_the_wall_clock() {
    assert_eq!(files_with(&["SystemTime", "Instant::now", "clock_gettime"]), ["src/clock.rs"]);
}

#[test]
fn only_live_knows_arc_swap_and_only_the_registry_knows_the_map() {
    assert_eq!(files_with(&["arc_swap"]), ["src/live.rs"]);
    assert_eq!(files_with(&["dashmap"]), ["src/registry/mod.rs"]);
}

#[test]
fn only_the_rules_of_zones_know_jiff() {
    assert_eq!(files_with(&["jiff::"]), ["src/window/zone/iana.rs", "src/window/zone_tests.rs"]);
}

#[test]
fn only_the_disk_touches_the_file_system_and_only_the_frames_know_the_hash() {
    let mut files = files_with(&["std::fs"]);
    files.retain(|file| !file.contains("/tests"));
    assert_eq!(files, ["src/persist/disk.rs"]);
    assert_eq!(files_with(&["twox_hash"]), ["src/persist/frame.rs"]);
}

#[test]
fn there_is_one_compare_and_swap() {
    let sites: usize = sources().iter().map(|source| source.text.matches("compare_exchange").count()).sum();
    assert_eq!((sites, files_with(&["compare_exchange"])), (1, vec!["src/meter/mod.rs".to_owned()]));
}

/// Floats are fine in reports of others, never in amounts: the library has none at all.
#[test]
fn there_is_no_float() {
    assert_eq!(files_with(&["f64", "f32"]), [""; 0]);
}

#[test]
fn every_relaxed_ordering_says_why() {
    let mut silent = Vec::new();
    for Source { path, text, .. } in sources() {
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("Ordering::Relaxed")) {
            let near = &lines[number.saturating_sub(4)..(number + 3).min(lines.len())];
            if !near.iter().any(|near| near.contains("// ") && near.contains("Relaxed:")) {
                silent.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

/// The ids of known defects, by series, and how many there are of each.
const DEFECTS: [(char, u32); 6] = [('A', 15), ('S', 17), ('C', 9), ('H', 16), ('D', 11), ('L', 4)];

#[test]
fn every_known_defect_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let table = read("docs/internals/defects.md");
    let cases: String = fs::read_dir(root.join("tests/cases"))
        .expect("there are cases")
        .map(|entry| fs::read_to_string(entry.expect("a file").path()).expect("text"))
        .collect();
    let exists = |shown_by: &str| match shown_by.trim_matches('`').split_once("::") {
        Some((file, function)) => read(file).contains(&format!("fn {function}(")),
        None => cases.contains(&format!("\"{shown_by}\"")),
    };
    let mut faults = Vec::new();
    for (series, count) in DEFECTS {
        for number in 1..=count {
            let id = format!("B-{series}{number}");
            let row = table.lines().find(|line| line.starts_with(&format!("| {id} |")));
            let tests = row.and_then(|row| row.trim_end_matches(" |").rsplit(" | ").next()).unwrap_or_default();
            // Words in brackets are remarks.
            let tests: Vec<&str> = tests.split(" (").next().unwrap_or_default().split(", ").collect();
            faults.extend(
                tests.iter().filter(|test| test.is_empty() || !exists(test)).map(|test| format!("{id}: {test:?}")),
            );
        }
    }
    assert!(faults.is_empty(), "not there:\n{}", faults.join("\n"));
}

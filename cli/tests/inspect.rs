//! `encumber inspect` from outside: on directories that engines have made, and on what others have made of them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use encumber::{Cap, Engine, Limit, ManualClock, Persist, Policy, Subject, Unit, Window, WorkflowSpec};
use serde_json::{Value, json};

/// A folder of its own for each test, with a directory for an engine in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("encumber-cli-inspect-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("kept")).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// What a process that is killed now leaves behind.
    fn killed(&self) -> String {
        let to = self.0.join("killed");
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(self.0.join("kept")).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        self.path("killed")
    }

    fn flip(&self, name: &str, at: usize) {
        let path = self.0.join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn inspect(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_encumber");
    Command::new(program).arg("inspect").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(arguments: &[&str]) -> String {
    let output = inspect(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    assert!(output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

fn result(arguments: &[&str]) -> Value {
    serde_json::from_str(&text(&[arguments, &["--json"]].concat())).unwrap()
}

/// The one line of what ends badly.
fn error(arguments: &[&str], code: i32) -> String {
    let output = inspect(arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.starts_with("error: ") && said.trim_end().lines().count() == 1, "{said}");
    said
}

const START: &str = "2026-02-04T20:55:00Z";
const TTL: Duration = Duration::from_secs(300);

fn policy() -> Policy {
    Policy::builder()
        .resource("tokens", Unit::Count)
        .limit(Limit::new("day", "user", "tokens", Window::Day, Cap::Max(6_400)))
        .limit(Limit::new("life", "user", "tokens", Window::Lifetime, Cap::Max(64_000)))
        .build()
        .unwrap()
}

fn open(dir: &str) -> Engine {
    let clock = ManualClock::at(START.parse().unwrap());
    Engine::builder(policy()).clock(&clock).persist(Persist::journal(dir)).build().unwrap()
}

/// An engine with something of everything. A user's name has a line break in it.
fn engine(folder: &Folder) -> Engine {
    let engine = open(&folder.path("kept"));
    let tokens = engine.resource("tokens").unwrap();
    let user = Subject::new("user", "mallory\n7").unwrap();
    engine.top_up(&user, "day", 500).unwrap();
    let scope = engine.scope([user]).unwrap();
    scope.try_charge(tokens.of(123)).unwrap();
    let _ = scope.reserve_with_id("req\u{202e}1", TTL, tokens.of(1_000)).unwrap();
    scope.reserve_with_id("req-2", TTL, tokens.of(64)).unwrap().commit(tokens.of(32)).unwrap();
    let workflow = scope.begin_workflow("wf-secret", WorkflowSpec::new().steps(3)).unwrap();
    workflow.step().unwrap();
    std::mem::forget(workflow);
    engine
}

#[test]
fn tables_of_a_closed_directory() {
    let folder = Folder::new("closed");
    engine(&folder).close().unwrap();
    let text = text(&[&folder.path("kept")]);
    for line in [
        "/kept: whole; no engine has it.\n",
        "It was closed: every amount is exact.\n",
        "Snapshot 2 and 0 records of the journal after it, up to 2026-02-04T20:55:00.000Z.\n",
        "0 resets carried out, 1 id of settled holds remembered.\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        &["journal-0000000000000001", "journal", "1"][..],
        &["snapshot-0000000000000002", "snapshot", "2"],
        &["user:mallory\\n7", "day", "tokens", "day,", "number", "20488", "1,155", "ended"],
        &["2026-02-04T00:00:00.000Z"],
        &["2026-02-05T00:00:00.000Z"],
        &["user:mallory\\n7", "life", "tokens", "lifetime,", "number", "0", "1,155"],
        &["user:mallory\\n7", "day", "500", "20488"],
        &["req\\u{202e}1", "global", "1,000", "tokens", "2026-02-04T21:00:00.000Z"],
        &["wf-secret", "global", "1", "of", "3", "workflow.steps", "1"],
    ] {
        assert!(rows.iter().any(|found| found.starts_with(row)), "{row:?}\n{text}");
    }
    assert!(!text.contains("\u{202e}"));
}

#[test]
fn json_of_a_closed_directory() {
    let folder = Folder::new("json");
    engine(&folder).close().unwrap();
    let found = result(&[&folder.path("kept")]);
    let figures = ["damaged", "in_use", "was_closed", "snapshot", "records", "torn", "resets", "remembered"];
    let figures: Vec<&Value> = figures.iter().map(|key| &found[key]).collect();
    let expected = [Value::Null, json!(false), json!(true), json!(2), json!(0), Value::Null, json!(0), json!(1)];
    assert_eq!(figures, expected.iter().collect::<Vec<_>>());
    assert_eq!(found["latest"], "2026-02-04T20:55:00.000Z");
    let day = json!({
        "limit": "day", "resource": "tokens", "window": "day", "subject": "user:mallory\n7", "window_number": 20_488,
        "start": "2026-02-04T00:00:00.000Z", "end": "2026-02-05T00:00:00.000Z", "charged": 1_155, "ended": true,
    });
    let life = json!({
        "limit": "life", "resource": "tokens", "window": "lifetime", "subject": "user:mallory\n7", "window_number": 0,
        "start": null, "end": null, "charged": 1_155, "ended": false,
    });
    assert_eq!((&found["budgets"], &found["budgets_total"]), (&json!([day, life]), &json!(2)));
    let hold = json!({
        "id": "req\u{202e}1", "slot_of": null, "subjects": ["global", "user:mallory\n7"], "held": {"tokens": 1_000},
        "expires_at": "2026-02-04T21:00:00.000Z", "guarded": false, "dispatched": false,
    });
    assert_eq!(found["holds"], json!([hold]));
    let grant = &found["grants"][0];
    assert_eq!((&grant["override"], &grant["extra"]), (&Value::Null, &json!(500)));
    let workflow = &found["workflows"][0];
    assert_eq!(
        (&workflow["id"], &workflow["steps"], &workflow["steps_max"]),
        (&json!("wf-secret"), &json!(1), &json!(3))
    );
    let files = found["files"].as_array().unwrap();
    assert_eq!(files.iter().filter(|file| file["used"] == true).count(), 2, "{files:?}");

    let few = result(&[&folder.path("kept"), "--budgets", "1"]);
    assert_eq!((few["budgets"].as_array().unwrap().len(), &few["budgets_total"]), (1, &json!(2)));
    assert!(text(&[&folder.path("kept"), "--budgets", "1"]).contains("and 1 budget more\n"));
}

#[test]
fn hashes_name_nobody() {
    let folder = Folder::new("hashes");
    engine(&folder).close().unwrap();
    for json in [&["--json"][..], &[]] {
        let shown = text(&[&[&*folder.path("kept"), "--hash-ids"], json].concat());
        for secret in ["mallory", "req", "secret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("user:#") && shown.contains("global"), "{shown}");
    }
    let [plain, hashed] = [&[][..], &["--hash-ids"]].map(|hash| result(&[&[&*folder.path("kept")], hash].concat()));
    assert_eq!(plain["budgets"][0]["charged"], hashed["budgets"][0]["charged"]);
    assert_eq!(hashed["budgets"][0]["subject"], hashed["holds"][0]["subjects"][1], "one id has one hash");
    assert!(hashed["workflows"][0]["id"].as_str().unwrap().starts_with('#'));
}

#[test]
fn directories_in_use_and_killed_are_told() {
    let folder = Folder::new("killed");
    let engine = engine(&folder);
    let before: Vec<_> = fs::read_dir(folder.path("kept")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let found = result(&[&folder.path("kept")]);
    // Linux shows the lock; elsewhere nobody can tell.
    let expected = if cfg!(target_os = "linux") { json!(true) } else { Value::Null };
    assert_eq!((&found["in_use"], &found["was_closed"]), (&expected, &json!(false)));
    let after: Vec<_> = fs::read_dir(folder.path("kept")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(before, after);
    let killed = folder.killed();
    drop(engine);
    let found = result(&[&killed]);
    assert_eq!((&found["in_use"], &found["was_closed"], &found["snapshot"]), (&json!(false), &json!(false), &json!(1)));
    assert!(found["budgets"][0]["charged"].as_u64().unwrap() >= 1_155 && found["records"].as_u64().unwrap() > 3);
    assert!(text(&[&killed]).contains("It was not closed: budgets stand at their ceilings"));
}

#[test]
fn damage_is_told_with_its_place_and_what_to_do() {
    let folder = Folder::new("damage");
    engine(&folder).close().unwrap();
    let dir = folder.path("kept");
    folder.flip("kept/snapshot-0000000000000002", 70);
    let said = error(&[&dir], 1);
    let place = "snapshot-0000000000000002 is damaged at byte 64: a frame's checksum does not match; ";
    assert!(said.contains(place) && said.contains("encumber inspect DIR --salvage NEWDIR"), "{said}");
    let output = inspect(&[&dir, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&found["damaged"]["offset"], &found["damaged"]["why"]),
        (&json!(64), &json!("a frame's checksum does not match"))
    );
    assert!(found["damaged"]["file"].as_str().unwrap().ends_with("snapshot-0000000000000002"));
}

#[test]
fn older_damage_foreign_files_and_torn_ends_are_remarks() {
    let folder = Folder::new("remarks");
    let engine = engine(&folder);
    engine.close().unwrap();
    folder.flip("kept/journal-0000000000000001", 100);
    fs::write(folder.0.join("kept/notes\u{1b}[31m.txt"), "x").unwrap();
    fs::write(folder.0.join("kept/snapshot-0000000000000003.tmp"), "x").unwrap();
    let shown = text(&[&folder.path("kept")]);
    for part in ["older; not whole at byte 64:", "notes\\u{1b}[31m.txt", "foreign", "unfinished"] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let killed = Folder::new("torn");
    let engine = open(&killed.path("kept"));
    engine.scope(["user:7"]).unwrap().try_charge(engine.resource("tokens").unwrap().of(1)).unwrap();
    let dir = killed.killed();
    let journal = killed.0.join("killed/journal-0000000000000001");
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..bytes.len() - 3]).unwrap();
    assert!(text(&[&dir]).contains("The end of the journal never got to the disk: "));
    assert!(result(&[&dir])["torn"]["bytes"].as_u64().unwrap() > 40);
}

#[test]
fn directories_without_an_engine_and_wrong_usage() {
    let folder = Folder::new("empty");
    let shown = text(&[&folder.path("kept")]);
    assert!(shown.contains("No engine has published anything here.") && shown.lines().count() == 1, "{shown}");
    assert_eq!(result(&[&folder.path("kept")])["snapshot"], Value::Null);
    assert!(error(&[&folder.path("nowhere")], 2).contains("cannot open"));
    assert!(!folder.0.join("nowhere").exists(), "it is not made");
    fs::write(folder.0.join("file"), "x").unwrap();
    assert!(error(&[&folder.path("file")], 2).contains("cannot open"));
    assert!(error(&[&folder.path("kept"), "--salvage", &folder.path("new")], 1).contains("can be salvaged"));
    assert_eq!(inspect(&[]).status.code(), Some(2));
    assert_eq!(inspect(&[&folder.path("kept"), "--budgets", "few"]).status.code(), Some(2));
}

#[test]
fn a_later_release_is_not_damage() {
    let folder = Folder::new("newer");
    engine(&folder).close().unwrap();
    // A whole header of version 9: its checksum says so.
    let mut header = b"ENCUMB\r\n\x09\0\0\0JRNL\x02".to_vec();
    header.resize(48, 0);
    header.extend([7_u64, 0x8b74_eba7_5b39_5547].iter().flat_map(|word| word.to_le_bytes()));
    fs::write(folder.0.join("kept/journal-0000000000000002"), header).unwrap();
    for arguments in [&[][..], &["--salvage", &folder.path("new")]] {
        let said = error(&[&[&*folder.path("kept")], arguments].concat(), 2);
        assert!(said.contains("is of version 9, which this release does not read"), "{said}");
    }
    assert!(!folder.0.join("new").exists());
}

#[test]
fn what_is_salvaged_is_opened_again() {
    let folder = Folder::new("salvage");
    engine(&folder).close().unwrap();
    let (dir, new) = (folder.path("kept"), folder.path("new"));
    folder.flip("kept/snapshot-0000000000000002", 70);
    let said = text(&[&dir, "--salvage", &new]);
    for part in [
        "Taken: snapshot 1",
        "Damaged: snapshot 2.\n",
        "snapshot-0000000000000002 bytes 64 to ",
        "Under-counted may be what was written in the bytes that were passed over and nowhere else",
        "Written to ",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert!(error(&[&dir, "--salvage", &new], 2).contains("is not empty"));
    error(&[&dir], 1);
    let found = result(&[&new]);
    assert!(found["budgets"][1]["charged"].as_u64().unwrap() >= 1_155, "{found}");
    assert_eq!((found["holds"].as_array().unwrap().len(), &found["holds"][0]["dispatched"]), (1, &json!(true)));

    let again = open(&new);
    let report = again.recovery().unwrap();
    assert!(!report.was_closed && report.holds.len() == 1 && report.workflows.len() == 1, "{report:?}");
    let usage = again.scope([Subject::new("user", "mallory\n7").unwrap()]).unwrap().usage().unwrap();
    assert!(usage.iter().all(|budget| budget.charged() >= 1_155), "{usage:?}");
    assert!(
        error(&[&new, "--salvage", &folder.path("other")], 2).contains("is already open") || !cfg!(target_os = "linux")
    );

    let json = result(&[&dir, "--salvage", &folder.path("third")]);
    assert_eq!(
        (&json["complete"], &json["exact"], &json["damaged_snapshots"]),
        (&json!(false), &json!(false), &json!([2]))
    );
    assert_eq!((&json["lost"][0]["from"], &json["records_lost"]), (&json!(64), &json!(0)));
}

//! The program from outside: what it prints, writes and exits with.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("encumber-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_encumber"))
}

fn replay(arguments: &[&str]) -> Output {
    program().arg("replay").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// What a replay that ends well prints as JSON.
fn result(arguments: &[&str]) -> Value {
    let output = replay(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one line that a replay that ends badly says.
fn error(arguments: &[&str], code: i32) -> String {
    let output = replay(arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.starts_with("error: ") && said.trim_end().lines().count() == 1, "{said}");
    assert!(output.stdout.is_empty());
    said
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data").join(name).to_str().unwrap().to_owned()
}

/// By limit, in order.
fn column(result: &Value, key: &str) -> Vec<Value> {
    result["limits"].as_array().unwrap().iter().map(|limit| limit[key].clone()).collect()
}

/// One dollar for each output token of the model `m`.
const DOLLAR_A_TOKEN: &str = "[prices.m]\ninput = \"0\"\noutput = \"1000000\"\n";

fn policy(limits: &str) -> String {
    format!("kinds = [\"user\"]\n[resources]\nusd = \"usd\"\ncalls = \"count\"\n{DOLLAR_A_TOKEN}{limits}")
}

fn limit(id: &str, kind: &str, window: &str, max: &str) -> String {
    format!(
        "[[limits]]\nid = \"{id}\"\nsubject = \"{kind}\"\nresource = \"usd\"\nwindow = \"{window}\"\nmax = \"{max}\"\n"
    )
}

const HEADER: &str = "id,start,end,user,session,agent,model,input_tokens,output_tokens,cache_read_tokens,\
    cache_write_5m_tokens,cache_write_1h_tokens,tools,error\n";

/// Calls of `dev-1` in session `s1` on the evening of 2026-01-05: start and end after 20:00, and dollars.
fn calls(calls: &[(&str, &str, u64)]) -> String {
    let row = |(start, end, dollars): &(&str, &str, u64)| {
        format!("x,2026-01-05T20:{start}Z,2026-01-05T20:{end}Z,dev-1,s1,main,m,0,{dollars},0,0,0,,\n")
    };
    HEADER.to_owned() + &calls.iter().map(row).collect::<String>()
}

#[test]
fn the_shipped_trace_under_the_shipped_policy_charged_at_the_start() {
    let result = result(&["--admission", "charge"]);
    let figures = ["calls", "admitted", "denied", "skipped"].map(|key| result[key].clone());
    assert_eq!(figures, [15_036, 10_298, 4_738, 0].map(Value::from));
    assert_eq!(result["spent"], json!({"usd": "739.62758785"}));
    assert_eq!(column(&result, "id"), ["subagent", "session", "user-day", "team-day", "team-month"].map(Value::from));
    assert_eq!(column(&result, "denied"), [154, 3_276, 1_308, 0, 0].map(Value::from));
    assert_eq!(column(&result, "peak_over"), ["0"; 5].map(Value::from));
    let first = json!({"at": "2026-01-05T16:11:04.271Z", "subject": "session:s004"});
    assert_eq!(result["limits"][1]["first_denied"], first);
    assert_eq!(result["limits"][4]["first_denied"], Value::Null);
}

#[test]
fn reserving_keeps_every_limit_and_checking_does_not() {
    let reserved = result(&[]);
    assert_eq!(reserved["admission"], "reserve");
    assert_eq!(reserved["admitted"], 10_277);
    assert_eq!(column(&reserved, "peak_over"), ["0"; 5].map(Value::from));
    let checked = result(&["--admission", "check"]);
    let over: Vec<bool> = column(&checked, "peak_over").iter().map(|over| over != "0").collect();
    assert_eq!(over, [true, true, true, false, false]);
}

#[test]
fn people_see_limits_spending_and_what_checking_would_have_let_through() {
    let output = replay(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in
        ["15,036 calls", "user-day", "subagent:s087/sub-84ef60", "dev-5", "reserve   check", "counterfactual"]
    {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
    assert!(output.stderr.is_empty(), "no progress bar outside of a terminal");
}

#[test]
fn a_late_commit_counts_in_the_window_that_admitted_the_call() {
    let folder = Folder::new("late");
    let minutes = [("00:10", "05:00", 13), ("01:00", "01:01", 9), ("02:00", "02:01", 9), ("03:00", "03:01", 9)];
    let trace = folder.file("trace.csv", calls(&minutes));
    let policy = folder.file("policy.toml", policy(&limit("minute", "user", "minute", "10")));
    let result = result(&[&trace, "--policy", &policy, "--admission", "check", "--verify"]);
    assert_eq!((&result["admitted"], &result["spent"]["usd"]), (&json!(4), &json!("40")));
    assert_eq!(column(&result, "peak_over"), ["3"]);
}

#[test]
fn a_call_that_ended_when_the_next_one_starts_is_settled_before_it() {
    let folder = Folder::new("order");
    let policy = folder.file("policy.toml", policy(&limit("session", "session", "lifetime", "10")));
    let admitted = |start: &str| {
        let trace = folder.file("trace.csv", calls(&[("00:00", "10:00", 10), (start, "30:00", 10)]));
        result(&[&trace, "--policy", &policy, "--admission", "check", "--verify"])["admitted"].clone()
    };
    assert_eq!([admitted("09:59.999"), admitted("10:00")], [2, 1].map(Value::from));
}

#[test]
fn a_reservation_counts_with_the_given_output_until_the_call_ends() {
    let folder = Folder::new("output");
    let policy = folder.file("policy.toml", policy(&limit("session", "session", "lifetime", "100")));
    let trace = folder.file("trace.csv", calls(&[("00:00", "10:00", 1), ("05:00", "06:00", 1), ("11:00", "12:00", 1)]));
    let admitted =
        |output: &str| result(&[&trace, "--policy", &policy, "--max-output", output, "--verify"])["admitted"].clone();
    assert_eq!([admitted("50"), admitted("51"), admitted("100")], [3, 2, 1].map(Value::from));
}

#[test]
fn windows_hit_counts_each_subject_and_window_once() {
    let folder = Folder::new("hits");
    let policy = folder.file("policy.toml", policy(&limit("minute", "user", "minute", "0")));
    let starts = [("00:10", "00:10", 1), ("00:20", "00:20", 1), ("01:00", "01:00", 1), ("00:30", "00:30", 1)];
    let trace = folder.file("trace.csv", calls(&starts));
    let result = result(&[&trace, "--policy", &policy, "--admission", "charge"]);
    assert_eq!((column(&result, "denied"), column(&result, "windows_hit")), (vec![json!(4)], vec![json!(2)]));
}

#[test]
fn the_reference_model_agrees_in_every_way_of_asking() {
    for admission in ["reserve", "charge", "check"] {
        let trace = data("claude-code-s133.jsonl.gz");
        let output = replay(&[&trace, "--verify", "--admission", admission, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).contains("each of 138 calls"));
    }
}

#[test]
fn windows_that_follow_use_keep_their_limits_and_agree_with_the_model() {
    let folder = Folder::new("follow-use");
    let shipped = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/team.toml")).unwrap();
    let day = "id = \"user-day\"\nsubject = \"user\"\nresource = \"usd\"\nwindow = \"day\"";
    assert!(shipped.contains(day), "the shipped policy has another user-day limit");
    for (window, admitted, usd) in
        [("rolling 5h", 10_958, "796.04119665"), ("5h from first use", 11_030, "802.3954964")]
    {
        let policy = shipped.replace(day, &day.replace("\"day\"", &format!("\"{window}\"")));
        let policy = folder.file("policy.toml", policy);
        let reserved = result(&["--policy", &policy, "--verify"]);
        assert_eq!((&reserved["admitted"], &reserved["spent"]["usd"]), (&json!(admitted), &json!(usd)), "{window}");
        assert_eq!(column(&reserved, "peak_over"), ["0"; 5].map(Value::from), "{window}");
        let checked = result(&["--policy", &policy, "--admission", "check"]);
        assert_ne!(column(&checked, "peak_over")[2], "0", "checking lets calls through above {window}");
    }
}

#[test]
fn the_reference_model_agrees_when_calls_go_back_in_time() {
    let folder = Folder::new("back");
    let limits = limit("minute", "user", "minute", "9") + &limit("hour", "global", "hour", "60");
    let policy = folder.file("policy.toml", policy(&limits));
    let starts: Vec<(String, String)> = (0..200_u32)
        .map(|n| (n * 7 % 50, n))
        .map(|(minute, n)| (format!("{minute:02}:{:02}", n % 60), n))
        .map(|(start, n)| (start, format!("{:02}:59", 50 + n % 9)))
        .collect();
    let rows: Vec<(&str, &str, u64)> = starts.iter().map(|(start, end)| (start.as_str(), end.as_str(), 3)).collect();
    let trace = folder.file("trace.csv", calls(&rows));
    for admission in ["reserve", "charge", "check"] {
        let counted = result(&[&trace, "--policy", &policy, "--admission", admission, "--max-output", "4", "--verify"]);
        assert_eq!(counted["calls"], 200);
    }
}

#[test]
fn a_wrong_policy_names_file_line_and_key() {
    let folder = Folder::new("policy");
    let file = folder.file("wrong.toml", "[resources]\nusd = \"usd\"\n\n[[limits]]\nid = \"a\"\ncolour = \"red\"\n");
    let said = error(&["--policy", &file], 2);
    assert!(said.contains("wrong.toml line 6") && said.contains("limits[0].colour"), "{said}");
}

#[test]
fn a_call_without_a_price_is_an_error_that_can_be_passed_over() {
    let folder = Folder::new("price");
    let text = calls(&[("00:00", "00:01", 1), ("00:02", "00:03", 1)]).replacen(",m,", ",mystery\u{1b},", 1);
    let trace = folder.file("trace.csv", text);
    let policy = folder.file("policy.toml", policy(""));
    let said = error(&[&trace, "--policy", &policy], 2);
    assert!(said.contains("trace.csv call 1 ") && said.contains("mystery\\u{1b}"), "{said}");
    let result = result(&[&trace, "--policy", &policy, "--skip-bad"]);
    let figures = ["calls", "skipped", "admitted"].map(|key| result[key].clone());
    assert_eq!(figures, [1, 1, 1].map(Value::from));
}

#[test]
fn calls_that_the_policy_leaves_unpriced_are_counted_as_such() {
    let folder = Folder::new("unpriced");
    let trace = folder.file("trace.csv", calls(&[("00:00", "00:01", 1)]));
    let file = folder.file("policy.toml", "[resources]\nusd = \"usd\"\n[cost]\nunknown_model = \"unpriced\"\n");
    let result = result(&[&trace, "--policy", &file]);
    assert_eq!((&result["unpriced"], &result["spent"]["usd"]), (&json!(1), &json!("0")));
}

#[test]
fn money_without_a_price_is_what_the_trace_recorded() {
    let folder = Folder::new("recorded");
    let text = "[resources]\nusd = \"usd\"\ntokens = \"count\"\n".to_owned() + &limit("day", "user", "day", "9989");
    let policy = folder.file("policy.toml", text);
    for admission in ["reserve", "charge"] {
        let trace = data("aider-analytics-2025-03-to-12.jsonl.gz");
        let result = result(&[&trace, "--policy", &policy, "--admission", admission]);
        assert_eq!((&result["calls"], &result["denied"], &result["unpriced"]), (&json!(2_810), &json!(1), &json!(0)));
        // All that was recorded, 10102.205243333, without the one call of 9990.01252875, a wrong price entry.
        assert_eq!(result["spent"]["usd"], "112.192714583");
        assert_eq!(result["limits"][0]["first_denied"]["at"], "2025-05-07T15:29:32.000Z");
    }
}

#[test]
fn a_trace_without_models_is_priced_as_the_given_one() {
    let trace = data("azure-llm-2023-conv.csv.gz");
    let said = error(&[&trace], 2);
    assert!(said.contains("names no model") && said.contains("--model"), "{said}");
    assert_eq!(result(&[&trace, "--model", "claude-opus-4-6"])["calls"], 19_366);
}

#[test]
fn broken_lines_are_errors_that_can_be_passed_over() {
    let folder = Folder::new("broken");
    let text = calls(&[("00:00", "00:01", 1), ("00:02", "00:03", 1), ("00:04", "00:05", 1)]);
    let trace = folder.file("trace.csv", text.replacen("20:00:02Z", "tea time", 1));
    let policy = folder.file("policy.toml", policy(""));
    let said = error(&[&trace, "--policy", &policy], 2);
    assert!(said.contains("trace.csv line 3"), "{said}");
    let result = result(&[&trace, "--policy", &policy, "--skip-bad"]);
    assert_eq!((&result["calls"], &result["skipped"]), (&json!(2), &json!(1)));
}

#[test]
fn files_that_are_not_there_are_named() {
    assert!(error(&["no-such-trace.csv"], 2).contains("no-such-trace.csv"));
    assert!(error(&["--policy", "no-such-policy.toml"], 2).contains("no-such-policy.toml"));
    assert!(error(&["--html", "no-such-folder/page.html"], 2).contains("no-such-folder/page.html"));
}

#[test]
fn two_policies_are_compared_and_three_are_too_many() {
    let folder = Folder::new("two");
    let team = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/team.toml");
    let team = team.to_str().unwrap();
    let loose = std::fs::read_to_string(team).unwrap().replace("\"25\"", "\"60\"");
    let loose = folder.file("loose.toml", loose);
    let results = result(&["--policy", team, "--policy", &loose]);
    let names: Vec<&Value> = results.as_array().unwrap().iter().map(|result| &result["policy"]).collect();
    assert_eq!(names, ["team.toml", "loose.toml"]);
    assert!(results[1]["admitted"].as_u64() > results[0]["admitted"].as_u64());
    let output = replay(&["--policy", team, "--policy", &loose]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("team.toml   loose.toml") && text.contains("refused by user-day"), "{text}");
    assert!(error(&["--policy", team, "--policy", &loose, "--policy", team], 2).contains("two policies"));
}

#[test]
fn the_page_needs_nothing_else() {
    let folder = Folder::new("page");
    let page = folder.0.join("page.html");
    let output = replay(&["--html", page.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = std::fs::read_to_string(page).unwrap();
    assert!(text.starts_with("<!DOCTYPE html>") && text.contains("user-day"));
    for outside in ["<script", "<link", "src=", "@import", "url(http"] {
        assert!(!text.contains(outside), "{outside}");
    }
}

#[test]
fn a_trace_can_come_from_standard_input() {
    let folder = Folder::new("stdin");
    let policy = folder.file("policy.toml", policy(""));
    let mut child = program()
        .args(["replay", "-", "--policy", &policy, "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(calls(&[("00:00", "00:01", 7)]).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["trace"], &result["spent"]["usd"]), (&json!("stdin"), &json!("7")));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = program().arg("replay").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in
        [&["--admission", "maybe"][..], &["--max-output", "many"], &["one.csv", "two.csv"], &["--nonsense"]]
    {
        let output = replay(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).starts_with("error: "));
    }
}

#[test]
fn policies_are_checked_and_shown() {
    let folder = Folder::new("check");
    let limits = limit("user-day", "user", "5h", "2.5")
        + "warn = [80]\nenforcement = \"shadow\"\nsubjects = { \"user:dev-4\" = \"unlimited\" }\n";
    let good = folder.file("good.toml", policy(&limits));
    let json = folder.file("good.json", r#"{"resources": {"usd": "usd"}, "cost": {"rounding": "half_up"}}"#);
    let bad = folder.file("bad.toml", policy(&limit("user-day", "user", "fortnight", "1")));
    let check = |files: &[&str]| program().args(["policy", "check"]).args(files).output().unwrap();

    let output = check(&[&good, &json]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for expected in
        ["user-day", "2.5 usd", "5h", "shadow", "80 %", "user:dev-4: unlimited", "1000000", "(up)", "(half_up)"]
    {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
    let output = check(&[&good, &bad]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("bad.toml line 12: limits[0].window: \"fortnight\""), "{said}");
}

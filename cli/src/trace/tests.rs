//! The readers on small texts, on broken ones, and on the shipped traces.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use encumber::{Price, Rounding, TokenClass};
use flate2::{Compression, write::GzEncoder};

use super::*;

const HEADER: &str = "id,start,end,user,session,agent,model,input_tokens,output_tokens,cache_read_tokens,\
    cache_write_5m_tokens,cache_write_1h_tokens,tools,error\n";
const ROW: &str =
    "a1,2026-01-05T12:17:31.459Z,2026-01-05T12:17:36.209Z,dev-1,s001,main,claude-opus-4-6,10,3,0,24091,7,Grep,\n";

fn trace(bytes: impl Into<Vec<u8>>) -> Result<Trace, TraceError> {
    let bytes = bytes.into();
    Trace::new("t".into(), Box::new(Cursor::new(bytes)), None)
}

/// The calls of a trace and the errors of its lines.
fn read(bytes: impl Into<Vec<u8>>) -> (Vec<Call>, Vec<String>) {
    let (mut calls, mut errors) = (Vec::new(), Vec::new());
    for item in trace(bytes).expect("a trace") {
        match item {
            Ok(call) => calls.push(call),
            Err(error) => errors.push(error.to_string()),
        }
    }
    (calls, errors)
}

fn calls(bytes: impl Into<Vec<u8>>) -> Vec<Call> {
    let (calls, errors) = read(bytes);
    assert!(errors.is_empty(), "{errors:?}");
    calls
}

fn refusal(bytes: impl Into<Vec<u8>>) -> String {
    trace(bytes).err().expect("no trace").to_string()
}

fn shipped(file: &str) -> Vec<Call> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data").join(file);
    let mut trace = open(&path).unwrap_or_else(|error| panic!("{error}"));
    let calls = trace.by_ref().collect::<Result<Vec<_>, _>>().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Some(trace.bytes_read()), trace.bytes_total(), "{}", trace.name());
    assert!(calls.is_sorted_by_key(|call| call.start), "{}", trace.name());
    calls
}

fn sum(calls: &[Call], class: TokenClass) -> u64 {
    calls.iter().map(|call| call.usage.tokens(class)).sum()
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn shipped_traces_have_the_counts_that_their_origins_give() {
    let team = shipped("agent-team-claude-code.csv.gz");
    assert_eq!(team.len(), 15_036);
    assert_eq!(team.iter().filter(|call| call.subagent.is_some()).count(), 1_093);
    let sums = TokenClass::ALL.map(|class| sum(&team, class));
    assert_eq!(sums[..5], [461_648, 1_580_307, 1_328_848_273, 44_066_628, 22_502_080]);
    assert!(sums[5..].iter().all(|sum| *sum == 0), "reasoning, audio, images and video are not told apart");

    let azure = shipped("azure-llm-2023-conv.csv.gz");
    assert_eq!((azure.len(), sum(&azure, TokenClass::Input)), (19_366, 22_361_870));
    assert_eq!(sum(&azure, TokenClass::Output), 4_088_665);

    let mooncake = shipped("mooncake-conversation.jsonl.gz");
    assert_eq!((mooncake.len(), sum(&mooncake, TokenClass::Input)), (12_031, 144_793_823));
    assert_eq!(sum(&mooncake, TokenClass::Output), 4_122_048);

    let aider = shipped("aider-analytics-2025-03-to-12.jsonl.gz");
    assert_eq!(aider.len(), 2_810);
    assert_eq!(sum(&aider, TokenClass::Input) + sum(&aider, TokenClass::Output), 45_560_480);
    let recorded: u64 = aider.iter().filter_map(|call| call.recorded_nanos).sum();
    assert_eq!(recorded / 10_000_000, 1_010_220, "dollars and cents");
    assert!(aider.iter().any(|call| call.recorded_nanos == Some(9_990_012_528_750)));
}

/// A reply that stands on several lines is one call, in a user's own log as in the trace that was cut from it.
#[test]
fn claude_code_logs_hold_the_calls_of_the_team_trace() {
    let team = shipped("agent-team-claude-code.csv.gz");
    for (session, count, cents) in [("s133", 138, 797), ("s147", 84, 397)] {
        let log = shipped(&format!("claude-code-{session}.jsonl.gz"));
        assert_eq!(log.len(), count, "{session}");
        assert_eq!((list_price_nanos(&log) + 5_000_000) / 10_000_000, cents, "{session}");
        let of_team: Vec<Call> = team.iter().filter(|call| call.session.as_deref() == Some(session)).cloned().collect();
        assert_eq!(anonymous(&log), anonymous(&of_team), "{session}");
    }
}

/// What the log and the trace name alike.
fn anonymous(calls: &[Call]) -> Vec<String> {
    let mut lines: Vec<String> = calls
        .iter()
        .map(|call| format!("{} {} {} {:?}", call.start, call.end, call.subagent.is_some(), call.usage))
        .collect();
    lines.sort();
    lines
}

fn list_price_nanos(calls: &[Call]) -> u64 {
    let price = |per_million: [&str; 5]| {
        TokenClass::ALL
            .into_iter()
            .zip(per_million)
            .fold(Price::new(), |price, (class, dollars)| price.with(class, dollars.parse().expect("a price")))
    };
    let nanos = |call: &Call| {
        let model = call.usage.model_name().expect("a model");
        let price = match model.split('-').nth(1) {
            Some("opus") => price(["5", "25", "0.5", "6.25", "10"]),
            Some("sonnet") => price(["3", "15", "0.3", "3.75", "6"]),
            Some("haiku") => price(["1", "5", "0.1", "1.25", "2"]),
            _ => price(["0"; 5]),
        };
        price.nanos(&call.usage, Rounding::Up).expect("priced")
    };
    calls.iter().map(nanos).sum()
}

#[test]
fn agent_team_columns_are_found_by_name() {
    let expected = Call {
        start: at("2026-01-05T12:17:31.459Z"),
        end: at("2026-01-05T12:17:36.209Z"),
        user: Some("dev-1".into()),
        session: Some("s001".into()),
        subagent: None,
        usage: Usage::new()
            .with(TokenClass::Input, 10)
            .with(TokenClass::Output, 3)
            .with(TokenClass::CacheWrite5m, 24_091)
            .with(TokenClass::CacheWrite1h, 7)
            .model("claude-opus-4-6"),
        recorded_nanos: None,
    };
    assert_eq!(calls(format!("{HEADER}{ROW}")), std::slice::from_ref(&expected));
    let windows = format!("\u{feff}{HEADER}\n{ROW}\n\n").replace('\n', "\r\n");
    assert_eq!(calls(windows.trim_end()), std::slice::from_ref(&expected));
    let reversed: String = format!("{HEADER}{ROW}")
        .lines()
        .map(|line| line.split(',').rev().collect::<Vec<_>>().join(",") + ",more\n")
        .collect();
    assert_eq!(calls(reversed), [expected]);

    let sub = ROW.replace("main", "sub-1ae4f2").replace("dev-1", "\"a,\"\"b\"\"\nключ\"");
    let (sub, errors) = read(format!("{HEADER}{sub}{ROW}x"));
    assert_eq!(sub[0].user.as_deref(), Some("a,\"b\"\nключ"));
    assert_eq!(sub[0].subagent.as_deref(), Some("sub-1ae4f2"));
    assert_eq!((sub.len(), &errors[..]), (2, &["t line 5: 1 fields where the header has 14".to_owned()][..]));
}

#[test]
fn a_header_that_lacks_a_column_is_refused() {
    let header = HEADER.replace("cache_read_tokens,", "");
    assert_eq!(refusal(header), "t line 1: the header has no column \"cache_read_tokens\"");
    let twice = HEADER.replace("error", "start");
    assert_eq!(refusal(twice), "t line 1: the header has the column \"start\" twice");
    assert_eq!(refusal("TIMESTAMP,ContextTokens\r\n"), "t line 1: the header has no column \"GeneratedTokens\"");
}

#[test]
fn a_bad_row_is_one_error_and_the_next_row_is_read() {
    let long_id = "x".repeat(257);
    for (from, to, cause) in [
        (",3,0,", ",-3,0,", "output_tokens: \"-3\" is not a whole number of tokens"),
        (",3,0,", ",3.5,0,", "output_tokens: \"3.5\" is not a whole number of tokens"),
        (",3,0,", ",,0,", "output_tokens: \"\" is not a whole number of tokens"),
        (",10,", ",18446744073709551616,", "input_tokens: \"18446744073709551616\" is more than 18446744073709551615"),
        ("2026-01-05T12:17:31.459Z", "yesterday", "start: \"yesterday\" is not an RFC 3339 instant"),
        ("T12:17:36", "T12:17:30", "end \"2026-01-05T12:17:30.209Z\" is before start \"2026-01-05T12:17:31.459Z\""),
        ("dev-1", "", "user: empty"),
        ("s001", "", "session: empty"),
        ("main", "", "agent: empty"),
        ("s001", &long_id, "session: 257 bytes, more than 256"),
        (",Grep", "", "13 fields where the header has 14"),
        ("dev-1", "\"dev-1", "a quoted field is not closed"),
        ("dev-1", "\"dev\"-1", "text after the closing quote of a field"),
    ] {
        let bad = ROW.replace(from, to);
        let (calls, errors) = read(format!("{HEADER}{ROW}{bad}{ROW}"));
        assert_eq!((calls.len(), errors.len()), (2, 1), "{bad}: {errors:?}");
        assert!(errors[0].starts_with(&format!("t line 3: {cause}")), "{bad}: {errors:?}");
    }
}

/// A quote that is closed hundreds of lines later was a stray one, whatever lies between.
#[test]
fn a_stray_quote_costs_one_line() {
    let stray = ROW.replace("dev-1", "\"dev-1");
    let quoted = ROW.replace("dev-1", "\"dev-1\"");
    for between in [1, 62, 63, 64, 500] {
        let (calls, errors) = read(format!("{HEADER}{stray}{}\n{quoted}{stray}", ROW.repeat(between)));
        assert_eq!((calls.len(), errors.len()), (between + 1, 2), "{between}: {errors:?}");
        assert!(errors[0].starts_with("t line 2: "), "{errors:?}");
        assert!(errors[1].starts_with(&format!("t line {}: ", between + 5)), "{errors:?}");
    }
}

#[test]
fn a_record_spans_at_most_64_lines() {
    let spanning = |breaks: usize| ROW.replace("Grep", &format!("\"{}\"", "\n".repeat(breaks)));
    assert_eq!(calls(format!("{HEADER}{}{ROW}", spanning(63))).len(), 2);
    let (calls, errors) = read(format!("{HEADER}{}{ROW}", spanning(64)));
    assert_eq!((calls.len(), errors.len()), (1, 2), "{errors:?}");
    assert_eq!(errors[0], "t line 2: a quoted field is not closed");
    assert!(errors[1].starts_with("t line 66: "), "{errors:?}");
}

#[test]
fn bytes_that_are_no_text_are_one_bad_line() {
    let mut bytes = format!("{HEADER}{ROW}").into_bytes();
    bytes.extend_from_slice(&ROW.replace("dev-1", "dev-?").into_bytes());
    let at = bytes.iter().rposition(|&b| b == b'?').expect("a mark");
    bytes[at] = 0xff;
    bytes.extend_from_slice(ROW.as_bytes());
    let (calls, errors) = read(bytes);
    assert_eq!((calls.len(), &errors[..]), (2, &["t line 3: not UTF-8 from byte 58".to_owned()][..]));
}

#[test]
fn a_line_of_endless_length_is_one_bad_line() {
    let long = "x".repeat(input::LINE_BYTES_MAX + 1);
    let (read_calls, errors) = read(format!("{HEADER}{ROW}{long}\n{ROW}"));
    assert_eq!((read_calls.len(), &errors[..]), (2, &["t line 3: longer than 16 MiB".to_owned()][..]));
    let exact = &long[1..];
    let (read_calls, errors) = read(format!("{HEADER}{exact}\n{ROW}"));
    assert_eq!((read_calls.len(), errors.len()), (1, 1));
    assert_eq!(errors[0], "t line 2: 1 fields where the header has 14");
    assert_eq!(refusal(long), "t line 1: longer than 16 MiB");
}

#[test]
fn what_is_no_trace_says_what_was_looked_for() {
    for (bytes, what) in [
        (&b""[..], "t: empty"),
        (b"\n \r\n", "t: empty"),
        (b"\x7fELF\x02\x01\x01\0\0", "t: not a text file"),
        (b"\xff\xfe\n", "t: not a text file"),
        (b"name,price\nx,1\n", "t: not a known format"),
        (b"{\"type\":\"session\",\"provider\":\"x\"}\n", "t: not a known format"),
        (b"[{\"sessionId\":\"s\",\"type\":\"user\"}]", "t: not a known format"),
        (b"{\n  \"sessionId\": \"s\",\n  \"messages\": []\n}\n", "t: not a known format"),
        (b"{\"sessionId\":\"s\",\"messages\":[]}", "t: not a known format"),
    ] {
        for bytes in [bytes.to_vec(), gzip(bytes)] {
            let refusal = refusal(bytes);
            assert!(refusal.starts_with(what), "{refusal}");
            for format in ["agent-team", "Azure", "Claude Code", "aider", "Mooncake"] {
                assert!(refusal.contains(format), "{refusal}");
            }
        }
    }
    let missing = open(Path::new("no/such/trace.csv")).err().expect("no file");
    assert!(missing.ends_stream() && missing.to_string().starts_with("no/such/trace.csv: "), "{missing}");
}

#[test]
fn gzip_is_known_by_its_content_and_may_have_several_members() {
    let mut bytes = gzip(format!("{HEADER}{ROW}").as_bytes());
    bytes.extend_from_slice(&gzip(ROW.as_bytes()));
    assert_eq!(calls(bytes).len(), 2);
}

#[test]
fn a_truncated_gzip_gives_its_whole_lines_and_ends() {
    let mut text = HEADER.to_owned();
    for n in 0..2_000_u32 {
        text += &ROW.replace("a1", &format!("{:x}", n.wrapping_mul(2_654_435_761)));
    }
    let whole = gzip(text.as_bytes());
    for cut in [whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        let items: Vec<_> = trace(&whole[..cut]).expect("a header").collect();
        let (last, before) = items.split_last().expect("items");
        let error = last.as_ref().expect_err("cut short");
        assert!(error.ends_stream() && error.to_string().contains("cut short after line"), "{error}");
        assert!(before.len() > 100 && before.iter().all(Result::is_ok), "{} of 2000", before.len());
    }
}

#[test]
fn azure_rows_are_in_utc_and_end_when_they_start() {
    let text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n\
        2024-05-10 00:00:00.009930+00:00,1,2\r\n2023-11-16 18:15,1,1\r\n2023-11-16 18:15:50.9951690,396,109";
    let (calls, errors) = read(text);
    assert_eq!(calls.len(), 3);
    assert_eq!((calls[0].start, calls[0].end), (at("2023-11-16T18:15:46.680590Z"), calls[0].start));
    assert_eq!(calls[0].usage, Usage::new().with(TokenClass::Input, 374).with(TokenClass::Output, 44));
    assert_eq!((&calls[0].user, &calls[0].session), (&None, &None));
    assert_eq!(calls[1].start, at("2024-05-10T00:00:00.009930Z"));
    assert!(errors[0].starts_with("t line 4: TIMESTAMP: \"2023-11-16 18:15\" is not"), "{errors:?}");
}

#[test]
fn mooncake_requests_count_all_input_as_uncached() {
    let line = r#"{"timestamp": 3000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}"#;
    let first = &calls(line)[0];
    assert_eq!(first.start, Timestamp::from_millis(3_000));
    assert_eq!(first.usage, Usage::new().with(TokenClass::Input, 6_758).with(TokenClass::Output, 500));
    for (from, to, cause) in [
        ("500", "-3", "output_length: \"-3\" is not a whole number of tokens"),
        (", \"output_length\": 500", "", "output_length: missing"),
        ("3000", "-1", "timestamp: \"-1\" is not a whole number of milliseconds"),
        ("3000", "9223372036854775807", "timestamp: \"9223372036854775807\" is not a whole number of milliseconds"),
        ("]}", "]", "not valid JSON at column"),
        ("{\"timestamp\"", "[\"timestamp\"", "\"[\\\"timestamp\\\""),
    ] {
        let (calls, errors) = read(format!("{line}\n{}\n{line}\n", line.replacen(from, to, 1)));
        assert_eq!((calls.len(), errors.len()), (2, 1), "{to}");
        assert!(errors[0].starts_with(&format!("t line 2: {cause}")), "{errors:?}");
    }
}

#[test]
fn aider_events_count_when_a_message_was_sent() {
    let launched = r#"{"time":1740930067,"user_id":"user-14","event":"launched","properties":{}}"#;
    let sent = r#"{"time":1741120920,"user_id":"user-14","event":"message_send","properties":{"main_model":"m",
        "prompt_tokens":7968,"completion_tokens":286,"cost":0.028194000000000004,"total_cost":9}}"#
        .replace("\n        ", "");
    let first = &calls(format!("{launched}\n{sent}\n"))[0];
    assert_eq!((first.start, first.end), (at("2025-03-04T20:42:00Z"), first.start));
    assert_eq!((first.user.as_deref(), first.usage.model_name()), (Some("user-14"), Some("m")));
    assert_eq!((first.usage.tokens(TokenClass::Input), first.usage.tokens(TokenClass::Output)), (7_968, 286));
    assert_eq!(first.recorded_nanos, Some(28_194_001), "the exact decimal, rounded up");
    for (from, to, cause) in [
        ("286", "286.0", "completion_tokens: \"286.0\" is not a whole number"),
        ("1741120920", "1e99", "time: \"1e99\" is not a whole number of Unix seconds"),
        ("0.028", "-0.028", "cost: \"-0.028194000000000004\" is not a number of dollars"),
        ("0.028194000000000004", "1e30", "cost: \"1e30\" dollars are more than can be held"),
        ("\"user-14\"", "\"\"", "user_id: empty"),
        ("\"user-14\"", "7", "user_id: \"7\" is not text"),
        ("}}", "}", "not valid JSON"),
    ] {
        let (calls, errors) = read(format!("{launched}\n{}\n{sent}", sent.replacen(from, to, 1)));
        assert_eq!((calls.len(), errors.len()), (1, 1), "{to}: {errors:?}");
        assert!(errors[0].starts_with(&format!("t line 2: {cause}")), "{errors:?}");
    }
}

/// One line of a Claude Code log that begins or goes on with a reply.
fn reply_line(second: u32, message: &str, output: u64) -> String {
    format!(
        r#"{{"type":"assistant","timestamp":"2026-02-03T00:{:02}:{:02}Z","uuid":"u{second}","parentUuid":"p{second}","sessionId":"s","requestId":"r","message":{{"model":"m","id":"{message}","usage":{{"input_tokens":1,"output_tokens":{output},"cache_read_input_tokens":4,"cache_creation_input_tokens":30,"cache_creation":{{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}}}}}}}"#,
        second / 60,
        second % 60,
    ) + "\n"
}

#[test]
fn claude_code_merges_the_lines_of_a_reply() {
    let asked = r#"{"type":"user","timestamp":"2026-02-03T00:00:01Z","uuid":"p5","sessionId":"s","message":"hi"}"#;
    let text = format!(
        "{{\"type\":\"summary\"}}\n{asked}\n{}{}{}",
        reply_line(5, "a", 7),
        reply_line(8, "a", 90),
        reply_line(9, "a", 6)
    );
    let usage = Usage::new()
        .with(TokenClass::Input, 1)
        .with(TokenClass::Output, 90)
        .with(TokenClass::CacheRead, 4)
        .with(TokenClass::CacheWrite5m, 10)
        .with(TokenClass::CacheWrite1h, 20)
        .model("m");
    let expected = Call {
        start: at("2026-02-03T00:00:01Z"),
        end: at("2026-02-03T00:00:09Z"),
        user: Some("local".into()),
        session: Some("s".into()),
        subagent: None,
        usage,
        recorded_nanos: None,
    };
    assert_eq!(calls(text), [expected]);
    let late = format!("{asked}\n{}", reply_line(5, "a", 7).replace("T00:00:05", "T00:10:02"));
    assert_eq!(calls(late)[0].start, at("2026-02-03T00:10:02Z"), "601 s are no answer");
}

#[test]
fn claude_code_lines_of_all_kinds() {
    let no_parts = reply_line(1, "a", 7)
        .replace(r#","cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}"#, "");
    assert_eq!(calls(&*no_parts)[0].usage.tokens(TokenClass::CacheWrite5m), 30);

    let nameless = reply_line(1, "a", 7).replace(r#""id":"a","#, "").replace("\"type\"", "\"costUSD\":0.12,\"type\"");
    let twice = calls(nameless.repeat(2));
    assert_eq!((twice.len(), twice[0].recorded_nanos), (2, Some(120_000_000)));

    let synthetic = reply_line(1, "a", 0).replace("\"m\"", "\"<synthetic>\"");
    assert_eq!(calls(synthetic)[0].usage.model_name(), Some("<synthetic>"));

    let told = r#"{"type":"progress","sessionId":"s","data":{"agentId":"x","message":{"type":"user","timestamp":"2026-02-03T00:00:01Z","message":{"content":[]}}}}"#;
    let inner = reply_line(3, "a", 7);
    let progress = format!(
        "{told}\n{{\"type\":\"progress\",\"timestamp\":\"2026-02-03T00:00:04Z\",\"sessionId\":\"s\",\"data\":{{\"agentId\":\"x\",\"message\":{}}}}}\n",
        inner.trim_end()
    );
    let sub = &calls(progress)[0];
    assert_eq!((sub.subagent.as_deref(), sub.session.as_deref()), (Some("x"), Some("s")));
    assert_eq!((sub.start, sub.end), (at("2026-02-03T00:00:01Z"), at("2026-02-03T00:00:03Z")));

    let good = reply_line(1, "a", 7);
    for other in ["[1]", "7", "{\"message\":[],\"data\":3}", r#"{"type":"user","timestamp":5,"uuid":[],"message":{}}"#]
    {
        assert_eq!(calls(format!("{good}{other}\n")).len(), 1, "{other}");
    }
    for (bad, cause) in [
        ("{\"type\":".to_owned(), "not valid JSON at column"),
        ("nonsense".to_owned(), "not valid JSON at column"),
        (good.trim().replace(":7", ":-7"), "output_tokens: \"-7\" is not a whole number of tokens"),
        (good.trim().replace("2026-02-03", "2026-02-30"), "timestamp: \"2026-02-30T00:00:01Z\" is not"),
        (good.trim().replace("\"timestamp\"", "\"time\""), "timestamp: missing"),
        (good.trim().replace("\"s\"", "\"\""), "sessionId: empty"),
    ] {
        let (calls, errors) = read(format!("{good}{bad}\n{}", reply_line(2, "b", 1)));
        assert_eq!((calls.len(), errors.len()), (2, 1), "{bad}: {errors:?}");
        assert!(errors[0].starts_with(&format!("t line 2: {cause}")), "{errors:?}");
    }
}

/// Merging and order hold within the window, and no more replies than it allows are kept.
#[test]
fn claude_code_keeps_a_bounded_window() {
    let mut log = claude_code::Log::new(4);
    let mut given = Vec::new();
    let mut most_kept = 0;
    for n in 0..200_u32 {
        let second = if n % 2 == 0 { n + 3 } else { n };
        for output in [1, 2] {
            log.line(&reply_line(second, &format!("m{n}"), output)).expect("a reply");
        }
        given.extend(std::iter::from_fn(|| log.next_call(false)));
        most_kept = most_kept.max(n as usize + 1 - given.len());
    }
    given.extend(std::iter::from_fn(|| log.next_call(true)));
    assert_eq!((given.len(), most_kept), (200, 8));
    assert!(given.is_sorted_by_key(|call| call.start));
    assert!(given.iter().all(|call| call.usage.tokens(TokenClass::Output) == 2));

    let mut text = reply_line(0, "again", 1);
    for n in 1..=u32::try_from(claude_code::OPEN_MAX).expect("small") {
        text += &reply_line(n % 3_600, &format!("m{n}"), 1);
    }
    let within = calls(text.clone().replace("m4096", "again"));
    let beyond = calls(text + &reply_line(0, "again", 1));
    assert_eq!((within.len(), beyond.len()), (4_096, 4_098));
}

/// No bytes, however mangled, make a reader panic or loop.
#[test]
fn mangled_traces_give_items_and_end() {
    let aider = r#"{"time":1,"user_id":"u","event":"message_send","properties":{"prompt_tokens":1,"completion_tokens":2,"cost":1e-5}}"#;
    let sources = [
        format!("{HEADER}{}", ROW.repeat(3)),
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n".repeat(2),
        "{\"timestamp\": 3000, \"input_length\": 6758, \"output_length\": 500}\n".repeat(3),
        format!("{aider}\n{aider}\n"),
        (0..4).fold(String::new(), |mut text, n| {
            write!(text, "{}", reply_line(n, &format!("m{}", n / 2), 5)).expect("memory");
            text
        }),
    ];
    let seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut state = seed;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let alphabet = b"\"\"{}[],:\n\r\\-+e.09\0\xff\x1f\x8b ";
    for round in 0..5_000 {
        let source = &sources[round % sources.len()];
        let mut bytes = source.clone().into_bytes();
        for _ in 0..=random(6) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = alphabet[random(alphabet.len())],
                1 => bytes.insert(at, alphabet[random(alphabet.len())]),
                _ => drop(bytes.remove(at)),
            }
        }
        if round % 7 == 0 {
            bytes = gzip(&bytes);
            let at = random(bytes.len());
            bytes[at] ^= 1 << random(8);
        }
        if let Ok(trace) = trace(bytes) {
            assert!(trace.take(100).count() < 100, "seed {seed:#x}, round {round}");
        }
    }
}

//! Recorded reply bodies of six kinds of API, against what genai-prices extracts from them and computes; and streams.

mod shipped;

use std::collections::BTreeMap;

use encumber::{
    Actual, Cap, Engine, Limit, ListedPrice, ManualClock, Policy, PriceTable, Rates, ReportedUsage, Rounding, Service,
    StreamEnd, Timestamp, TokenClass as C, Unit, Usage, UsageApi, UsageError, UsageStream, Window,
};
use serde_json::{Value, json};

/// A dollar in units that are finer than any price of a token in the files: costs in them are exact.
const ATTOS_PER_USD: u64 = 1_000_000_000_000_000_000;

fn entries() -> Vec<Value> {
    let text = shipped::text("usage-payloads/genai-prices-usages.json.gz");
    serde_json::from_str(&text).expect("a list of entries")
}

fn prices() -> PriceTable {
    PriceTable::from_genai(&shipped::text("prices/genai-prices-v2-data.json.gz")).expect("a price file")
}

/// The instant for which the oracle computed its prices.
fn then() -> Timestamp {
    "2025-11-06T12:00:00Z".parse().expect("an instant")
}

/// Decimal dollars, as the oracle writes them, in attos.
fn attos(text: &str) -> u128 {
    let (mantissa, exponent) = text.split_once('E').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().expect("digits");
    let power = 18 + exponent.parse::<i32>().expect("an exponent") - i32::try_from(fraction.len()).expect("short");
    digits * 10_u128.pow(u32::try_from(power).expect("no finer than an atto"))
}

fn cost(price: &ListedPrice<'_>, usage: &Usage) -> u128 {
    let exact = price.price().units(usage, ATTOS_PER_USD, Rounding::Up).expect("a price");
    assert_eq!(price.price().units(usage, ATTOS_PER_USD, Rounding::HalfUp), Some(exact), "no rounding took place");
    let nanos = price.price().nanos(usage, Rounding::Up).expect("a price");
    assert_eq!(nanos, exact.div_ceil(1_000_000_000), "whole nano-dollars are the exact cost rounded up");
    exact.into()
}

/// The API as which an extractor of the oracle reads a body.
fn reads_as(flavor: &str, native: UsageApi) -> UsageApi {
    match flavor {
        "chat" | "embeddings" => UsageApi::OpenAiChat,
        "responses" => UsageApi::OpenAiResponses,
        "anthropic" => UsageApi::Anthropic,
        _ => native,
    }
}

/// `usage` with the tokens of one class moved to another one, or dropped.
fn moved(usage: &Usage, from: C, to: Option<C>) -> Usage {
    let model = usage.model_name().map_or(Usage::new(), |model| Usage::new().model(model));
    let kept = C::ALL.into_iter().filter(|class| *class != from);
    let moved = kept.fold(model, |moved, class| moved.with(class, usage.tokens(class)));
    to.map_or(moved.clone(), |to| moved.with(to, usage.tokens(from)))
}

/// Why the oracle's price differs, each checked by taking that very thing out of ours and coming to the oracle's price.
fn reason(flavor: &str, read: &ReportedUsage, price: &ListedPrice<'_>, oracle: u128) -> &'static str {
    let usage = &read.usage;
    let is_oracle = |usage: &Usage| cost(price, usage) == oracle;
    if flavor == "embeddings" {
        let prompt = Usage::new().with(C::Input, usage.context());
        assert!(is_oracle(&prompt), "{usage:?}");
        return "reads a chat body as one of embeddings: no answer, no cache";
    }
    // Moving nothing drops the searches alone.
    if usage.web_searches() > 0 && is_oracle(&moved(usage, C::Input, Some(C::Input))) {
        return "leaves out web searches";
    }
    if is_oracle(&moved(usage, C::CacheWrite5m, Some(C::Input))) {
        return "leaves out cache writes";
    }
    assert!(!read.is_consistent && is_oracle(&moved(usage, C::Reasoning, None)), "{flavor} {usage:?} {oracle}");
    "leaves out answered tokens that are in the total alone"
}

#[test]
fn every_priced_body_costs_what_the_price_file_says_or_the_reason_is_known() {
    let table = prices();
    let mut tally = BTreeMap::<&str, usize>::new();
    for entry in entries() {
        let body = entry["body"].to_string();
        let native = UsageApi::detect(&body).expect("JSON").unwrap_or_else(|| panic!("{body}"));
        let extractors =
            entry["extracted"].as_array().expect("a list").iter().map(|extracted| &extracted["extractors"]);
        for extractor in extractors.flat_map(|list| list.as_array().expect("a list")) {
            let text = |field: &str| extractor[field].as_str();
            let Some(input) = text("input_price") else { continue };
            let sides = attos(input) + attos(text("output_price").expect("both or none"));
            let oracle = text("total_price").map_or(sides, attos);
            let (provider, flavor) = (text("provider_id").expect("a name"), text("api_flavor").expect("a name"));
            let model = entry["model"].as_str().expect("a model");
            let api = reads_as(flavor, native);
            let read = api.parse(&body).unwrap_or_else(|error| panic!("{api:?} {body}: {error}"));
            let reason = match table.find_at(provider, model, then()) {
                None => {
                    assert_eq!(oracle, 0, "{provider} {model}");
                    "takes a model without prices for free"
                }
                Some(price) => {
                    assert_eq!(price.price().unpriced(&read.usage).count(), 0, "{provider} {model} {body}");
                    match cost(&price, &read.usage) == oracle {
                        true if api == native => "equal",
                        true => "equal when we, too, read it as another API's body",
                        false => reason(flavor, &read, &price, oracle),
                    }
                }
            };
            *tally.entry(reason).or_default() += 1;
        }
    }
    for (reason, count) in &tally {
        println!("{count:5} {reason}");
    }
    // The table of `docs/prices.md`.
    let expected = [
        ("equal", 1_721),
        ("equal when we, too, read it as another API's body", 311),
        ("leaves out answered tokens that are in the total alone", 1),
        ("leaves out cache writes", 1),
        ("leaves out web searches", 5),
        ("reads a chat body as one of embeddings: no answer, no cache", 237),
        ("takes a model without prices for free", 2),
    ];
    assert_eq!(expected.iter().map(|(_, count)| count).sum::<usize>(), 2_278);
    assert_eq!(tally.into_iter().collect::<Vec<_>>(), expected);
}

/// What the oracle's own extractor for this kind of body found, under our names.
fn extracted(entry: &Value, native: UsageApi) -> &Value {
    let (provider, flavor) = match native {
        UsageApi::OpenAiChat => ("openai", "chat"),
        UsageApi::OpenAiResponses => ("openai", "responses"),
        UsageApi::Anthropic => ("anthropic", "default"),
        UsageApi::Gemini => ("google", "default"),
        UsageApi::Bedrock => ("aws", "default"),
        _ => ("cohere", if entry["body"]["meta"].is_null() { "default" } else { "embeddings" }),
    };
    let all = entry["extracted"].as_array().expect("a list");
    let by = |flavor: &'static str| {
        all.iter().find(move |found| {
            let extractors = found["extractors"].as_array().expect("a list");
            extractors.iter().any(|one| one["provider_id"] == provider && one["api_flavor"] == flavor)
        })
    };
    // A body of embeddings has no answer, which the extractor for chats wants.
    let found = by(flavor).or_else(|| by("embeddings"));
    &found.unwrap_or_else(|| panic!("{provider} {flavor} did not read {}", entry["body"]))["usage"]
}

#[test]
fn every_body_parses_to_disjoint_classes_with_the_counts_of_the_oracle() {
    let fields: [(&str, &[C]); 14] = [
        ("cache_read_tokens", &[C::CacheRead, C::CacheReadAudio, C::CacheReadImage, C::CacheReadVideo]),
        ("cache_write_tokens", &[C::CacheWrite5m, C::CacheWrite1h]),
        ("cache_write_1h_tokens", &[C::CacheWrite1h]),
        ("output_reasoning_tokens", &[C::Reasoning]),
        ("input_audio_tokens", &[C::InputAudio, C::CacheReadAudio]),
        ("input_image_tokens", &[C::InputImage, C::CacheReadImage]),
        ("input_video_tokens", &[C::InputVideo, C::CacheReadVideo]),
        ("cache_audio_read_tokens", &[C::CacheReadAudio]),
        ("cache_image_read_tokens", &[C::CacheReadImage]),
        ("cache_video_read_tokens", &[C::CacheReadVideo]),
        ("output_audio_tokens", &[C::OutputAudio]),
        ("output_image_tokens", &[C::OutputImage]),
        ("input_tokens", &[]),
        ("output_tokens", &[]),
    ];
    let (mut apis, mut differences) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    let (mut inconsistent, mut others) = (0, 0);
    for entry in entries() {
        let body = entry["body"].to_string();
        let api = UsageApi::detect(&body).expect("JSON").unwrap_or_else(|| panic!("{body}"));
        *apis.entry(format!("{api:?}")).or_default() += 1;
        let read = api.parse(&body).unwrap_or_else(|error| panic!("{api:?} {body}: {error}"));
        let oracle = extracted(&entry, api);
        for (field, classes) in fields {
            let of = |is_input: bool| C::ALL.into_iter().filter(move |class| class.is_input() == is_input);
            let ours: u64 = match field {
                "input_tokens" => of(true).map(|class| read.usage.tokens(class)).sum(),
                "output_tokens" => of(false).map(|class| read.usage.tokens(class)).sum(),
                _ => classes.iter().map(|class| read.usage.tokens(*class)).sum(),
            };
            if ours != oracle[field].as_u64().unwrap_or(0) {
                *differences.entry(format!("{api:?} {field}")).or_default() += 1;
            }
        }
        assert_eq!(read.usage.web_searches(), oracle["web_searches"].as_u64().unwrap_or(0), "{body}");
        assert_eq!(read.usage.model_name(), entry["model"].as_str(), "{body}");
        for class in C::ALL {
            let is_told = read.reported.contains(class) || !read.is_consistent;
            assert!(is_told || read.usage.tokens(class) == 0, "{class:?} was not reported: {body}");
        }
        inconsistent += usize::from(!read.is_consistent);
        others += usize::from(!read.others.is_empty());
    }
    println!("{apis:?}, {differences:?}, {inconsistent} inconsistent, {others} with further calls");
    let apis: Vec<_> = apis.iter().map(|(api, count)| (api.as_str(), *count)).collect();
    let expected = [
        ("Anthropic", 149),
        ("Bedrock", 156),
        ("Cohere", 10),
        ("Gemini", 301),
        ("OpenAiChat", 266),
        ("OpenAiResponses", 170),
    ];
    assert_eq!(apis, expected);
    let differences: Vec<_> = differences.iter().map(|(field, count)| (field.as_str(), *count)).collect();
    let expected = [
        ("OpenAiChat cache_read_tokens", 17), // told beside the details, as `num_cached_tokens`
        ("OpenAiChat input_video_tokens", 1), // told in the details, not extracted
        ("OpenAiChat output_reasoning_tokens", 1), // in the total alone
        ("OpenAiChat output_tokens", 1),
    ];
    assert_eq!(differences, expected);
    assert_eq!((inconsistent, others), (1, 4));
}

/// The oracle misses these: the provider leaves them out of its totals, and bills them.
#[test]
fn further_calls_that_the_totals_leave_out_are_told_apart_and_cost_their_own() {
    let table = prices();
    let mut found = Vec::new();
    for entry in entries() {
        let body = entry["body"].to_string();
        if UsageApi::detect(&body) != Ok(Some(UsageApi::Anthropic)) {
            continue;
        }
        for usage in UsageApi::Anthropic.parse(&body).expect("read above").others {
            let model = usage.model_name().expect("its own, or the message's").to_owned();
            let price = table.find_at("anthropic", &model, then()).expect("listed");
            let nanos = price.price().nanos(&usage, Rounding::Up).expect("priced");
            found.push((model, [usage.context(), usage.tokens(C::CacheWrite5m), usage.tokens(C::Output), nanos]));
        }
    }
    found.sort();
    let expected = [
        ("claude-fable-5", [2_564, 0, 99, 30_590_000]),
        ("claude-opus-4-8", [2_518, 0, 22, 13_140_000]),
        ("claude-sonnet-4-6", [55_196, 0, 125, 167_463_000]),
        ("claude-sonnet-4-6", [55_196, 55_096, 82, 208_140_000]),
    ];
    assert_eq!(found, expected.map(|(model, counts)| (model.to_owned(), counts)));
}

/// Name, API, and the last word: input, output, reasoning.
const STREAMS: [(&str, UsageApi, [u64; 3]); 11] = [
    ("anthropic_model_thinking_part_stream-1", UsageApi::Anthropic, [43, 282, 0]),
    ("anthropic_native_tool_search_streaming-1", UsageApi::Anthropic, [1_591, 175, 0]),
    ("anthropic_native_tool_search_streaming-2", UsageApi::Anthropic, [1_007, 59, 0]),
    ("google_model_iter_stream-1", UsageApi::Gemini, [52, 5, 0]),
    ("google_model_iter_stream-2", UsageApi::Gemini, [64, 5, 0]),
    ("google_model_iter_stream-3", UsageApi::Gemini, [79, 12, 0]),
    ("openai_responses_raw_cot_stream_openrouter-1", UsageApi::OpenAiResponses, [78, 15, 22]),
    ("openai_responses_stream-1", UsageApi::OpenAiResponses, [255, 16, 0]),
    ("openai_responses_stream-2", UsageApi::OpenAiResponses, [278, 9, 0]),
    ("run_stream_sync_streams_real_model-1", UsageApi::OpenAiChat, [53, 15, 0]),
    ("run_stream_sync_streams_real_model-2", UsageApi::OpenAiChat, [78, 9, 0]),
];

fn recorded(name: &str) -> String {
    shipped::text(&format!("usage-payloads/streams/{name}.sse"))
}

fn read_in_pieces<'a>(api: UsageApi, pieces: impl IntoIterator<Item = &'a [u8]>) -> StreamEnd {
    let mut stream = UsageStream::new(api);
    for piece in pieces {
        stream.push_sse(piece).expect("a sound stream");
    }
    stream.finish()
}

fn counts(told: &ReportedUsage) -> [u64; 3] {
    [C::Input, C::Output, C::Reasoning].map(|class| told.usage.tokens(class))
}

#[test]
fn recorded_streams_end_with_their_real_usage_however_they_are_cut() {
    for (name, api, expected) in STREAMS {
        let text = recorded(name);
        let whole = read_in_pieces(api, [text.as_bytes()]);
        let StreamEnd::Final(told) = &whole else { panic!("{name}: {whole:?}") };
        assert_eq!(counts(told), expected, "{name}");
        assert!(told.is_consistent && told.usage.model_name().is_some(), "{name}");
        let returns = text.replace('\n', "\r\n");
        for bytes in [text.as_bytes(), returns.as_bytes(), text.trim_end().as_bytes()] {
            for size in [1, 2, 7, 64, 4_096] {
                assert_eq!(read_in_pieces(api, bytes.chunks(size)), whole, "{name} in pieces of {size}");
            }
        }
    }
}

#[test]
fn a_stream_that_breaks_off_is_final_only_once_its_last_usage_has_come() {
    for (name, api, expected) in STREAMS {
        let text = recorded(name);
        let mut finals = 0;
        for end in (0..text.len()).step_by(17).chain([text.len()]) {
            let mut stream = UsageStream::new(api);
            // A cut in the middle of an event ends in an error, which is no last word either.
            let _ = stream.push_sse(&text.as_bytes()[..end]);
            match stream.finish() {
                StreamEnd::Final(told) => {
                    assert_eq!(counts(&told), expected, "{name} cut at {end}");
                    finals += 1;
                }
                StreamEnd::Partial(Some(told)) => assert!(told.usage.tokens(C::Output) <= expected[1], "{name}"),
                StreamEnd::Partial(None) => {}
            }
        }
        assert!(finals >= 1, "{name}");
    }
}

#[test]
fn chat_without_include_usage_tells_nothing_and_a_running_count_is_no_last_word() {
    let chunk = |choices: &str, usage: &str| format!("data: {{\"choices\": {choices}, \"usage\": {usage}}}\n\n");
    let stop = "[{\"finish_reason\": \"stop\"}]";
    let silent = chunk("[{}]", "null") + &chunk(stop, "null") + "data: [DONE]\n\n";
    assert_eq!(read_in_pieces(UsageApi::OpenAiChat, [silent.as_bytes()]), StreamEnd::Partial(None));

    let running = chunk("[{}]", "{\"prompt_tokens\": 5, \"completion_tokens\": 1}");
    let end = read_in_pieces(UsageApi::OpenAiChat, [running.as_bytes()]);
    assert!(matches!(end, StreamEnd::Partial(Some(_))), "{end:?}");
    let done = running + "data: [DONE]\n\n";
    let end = read_in_pieces(UsageApi::OpenAiChat, [done.as_bytes()]);
    assert!(matches!(end, StreamEnd::Final(_)), "{end:?}");
}

#[test]
fn an_event_that_is_wrong_is_an_error_and_the_end_is_partial() {
    let start = r#"{"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}"#;
    let end = r#"{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}"#;
    let mut stream = UsageStream::new(UsageApi::Anthropic);
    assert_eq!(stream.push_event(start), Ok(true));
    assert!(matches!(stream.push_event("{"), Err(UsageError::Json(_))));
    let wrong = r#"{"type": "message_delta", "usage": {"output_tokens": -5}}"#;
    assert!(matches!(stream.push_event(wrong), Err(UsageError::Malformed { .. })));
    assert_eq!(stream.push_event(end), Ok(true));
    let StreamEnd::Partial(Some(told)) = stream.finish() else { panic!("not final") };
    assert_eq!(counts(&told), [9, 5, 0]);
}

#[test]
fn events_of_bedrock_and_cohere_and_a_failed_response() {
    let mut bedrock = UsageStream::new(UsageApi::Bedrock);
    assert_eq!(bedrock.push_event(r#"{"contentBlockDelta": {"delta": {"text": "hi"}}}"#), Ok(false));
    let metadata = r#"{"metadata": {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}}}"#;
    assert_eq!(bedrock.push_event(metadata), Ok(true));
    assert!(matches!(bedrock.finish(), StreamEnd::Final(told) if counts(&told) == [3, 2, 0]));

    let mut cohere = UsageStream::new(UsageApi::Cohere);
    let billed = r#"{"input_tokens": 3, "output_tokens": 2}"#;
    let end = format!(r#"{{"type": "message-end", "delta": {{"usage": {{"billed_units": {billed}}}}}}}"#);
    assert_eq!(cohere.push_event(end), Ok(true));
    assert!(matches!(cohere.finish(), StreamEnd::Final(told) if counts(&told) == [3, 2, 0]));

    let mut failed = UsageStream::new(UsageApi::OpenAiResponses);
    assert_eq!(failed.push_event(r#"{"type": "response.failed", "response": {"usage": null}}"#), Ok(false));
    assert_eq!(failed.finish(), StreamEnd::Partial(None));
}

/// A recorded stream, from the hold to the receipt: what it tells on the way is observed, what it tells at the end is committed.
#[test]
fn a_stream_is_observed_and_committed() -> Result<(), Box<dyn std::error::Error>> {
    let model = "claude-sonnet-4-20250514";
    let policy = Policy::builder()
        .resource("usd", Unit::Usd)
        .limit(Limit::new("day", "user", "usd", Window::Day, Cap::Max(Unit::Usd.parse("1")?)))
        .rates(Rates::strict().prices_from(&prices(), None, [model], then())?)
        .build()?;
    let engine = Engine::builder(policy).clock(&ManualClock::at(then())).build();
    let (usd, scope) = (engine.resource("usd")?, engine.scope(["user:7"])?);
    let worst_case = engine.cost(&Usage::new().model(model).with(C::Input, 43).worst_case(4_096))?;
    let text = recorded("anthropic_model_thinking_part_stream-1");
    let charged = || scope.usage().map(|usage| usage[0].used);

    // 43 in and 282 out, at 3 and 15 dollars per million.
    let hold = scope.reserve(worst_case.clone())?;
    let mut stream = UsageStream::new(UsageApi::Anthropic);
    let mut seen = usd.of(0);
    for piece in text.as_bytes().chunks(64) {
        if stream.push_sse(piece)? {
            let now = stream.so_far().expect("told").cost(|usage| hold.cost(usage))?;
            hold.observe(&now.beyond(&seen));
            seen = now;
        }
    }
    assert_eq!(seen, usd.of(4_359_000));
    let actual = stream.finish().actual(|usage| hold.cost(usage))?;
    assert_eq!(actual, Actual::Exact(usd.of(4_359_000)));
    hold.commit(actual)?;
    assert_eq!(charged()?, 4_359_000);

    // Broken off after its beginning: at least what was told, and what was held where that is more.
    let hold = scope.reserve(worst_case)?;
    let mut stream = UsageStream::new(UsageApi::Anthropic);
    stream.push_sse(&text.as_bytes()[..1_000])?;
    let actual = stream.finish().actual(|usage| hold.cost(usage))?;
    assert_eq!(actual, Actual::AtLeast(usd.of(43 * 3_000 + 15_000)));
    hold.commit(actual)?;
    assert_eq!(charged()?, 4_359_000 + 43 * 3_000 + 4_096 * 15_000);
    Ok(())
}

#[test]
fn counts_that_are_none_are_errors_that_name_the_field() {
    for count in ["-1", "1.5", "1.0", "1e3", "18446744073709551616", "\"12\"", "true", "[]", "{}"] {
        let details = format!(r#"{{"cached_tokens": {count}}}"#);
        let body = format!(r#"{{"usage": {{"prompt_tokens": 1, "prompt_tokens_details": {details}}}}}"#);
        match UsageApi::OpenAiChat.parse(body) {
            Err(UsageError::Malformed { field, .. }) => {
                assert_eq!(&*field, "usage.prompt_tokens_details.cached_tokens", "{count}");
            }
            other => panic!("{count}: {other:?}"),
        }
    }
    let error = UsageApi::OpenAiChat.parse(r#"{"prompt_tokens": "many"}"#).unwrap_err();
    assert_eq!(error.to_string(), "prompt_tokens: expected a whole number below 2^64, found \"many\"");
    let largest = UsageApi::OpenAiChat.parse(r#"{"prompt_tokens": 18446744073709551615}"#).expect("fits");
    assert_eq!(largest.usage.tokens(C::Input), u64::MAX);
}

#[test]
fn no_usage_is_not_a_usage_of_nothing() {
    for api in UsageApi::ALL {
        let silent =
            ["{}", r#"{"usage": null, "usageMetadata": null, "meta": null}"#, r#"{"model": "m", "choices": []}"#];
        for body in silent {
            assert_eq!(api.parse(body), Err(UsageError::NotReported), "{api:?} {body}");
        }
        for body in ["", "[1]", "7", "nonsense", "{\"usage\": 7, \"usageMetadata\": 7}"] {
            assert!(api.parse(body).is_err(), "{api:?} {body}");
        }
    }
    assert_eq!(UsageApi::detect(r#"{"choices": []}"#), Ok(None));
    let traffic = r#"{"usageMetadata": {"trafficType": "ON_DEMAND"}}"#;
    assert_eq!(UsageApi::Gemini.parse(traffic), Err(UsageError::NotReported));
    let deep = "[".repeat(100_000);
    assert!(matches!(UsageApi::Anthropic.parse(deep), Err(UsageError::Json(_))));
}

#[test]
fn details_that_exceed_their_total_are_counted_beside_it_and_flagged() {
    let read = |api: UsageApi, usage: Value| api.parse(json!({ "usage": usage }).to_string()).expect("read");
    let cached = json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 30}});
    let cached = read(UsageApi::OpenAiChat, cached);
    let [input, from_cache] = [C::Input, C::CacheRead].map(|class| cached.usage.tokens(class));
    assert_eq!((cached.is_consistent, input, from_cache), (false, 10, 30));

    let details = json!({"reasoning_tokens": 9});
    let reasoning = json!({"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": details});
    let reasoning = read(UsageApi::OpenAiChat, reasoning);
    assert_eq!((reasoning.is_consistent, counts(&reasoning)), (false, [10, 5, 9]));

    let split = json!({"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 4});
    let written = json!({"input_tokens": 1, "cache_creation_input_tokens": 5, "cache_creation": split});
    let written = read(UsageApi::Anthropic, written);
    assert_eq!((written.is_consistent, written.usage.context()), (false, 9));
}

#[test]
fn reasoning_beside_the_output_is_known_by_the_total() {
    let read = |total: u64| {
        let details = json!({"reasoning_tokens": 3});
        let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": details,
            "total_tokens": total});
        let read = UsageApi::OpenAiChat.parse(usage.to_string()).expect("read");
        (counts(&read), read.is_consistent)
    };
    assert_eq!(read(15), ([10, 2, 3], true), "within");
    assert_eq!(read(18), ([10, 5, 3], true), "beside");
    assert_eq!(read(20), ([10, 2, 8], false), "five more than anybody tells");
}

#[test]
fn cache_writes_go_to_the_lifetime_that_is_told() {
    let written = |api: UsageApi, usage: Value| {
        let read = api.parse(usage.to_string()).expect("read");
        [C::CacheWrite5m, C::CacheWrite1h].map(|class| read.reported.contains(class).then(|| read.usage.tokens(class)))
    };
    let split = json!({"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6});
    let both = json!({"input_tokens": 1, "cache_creation_input_tokens": 10, "cache_creation": split});
    assert_eq!(written(UsageApi::Anthropic, both), [Some(4), Some(6)]);
    let untold = json!({"input_tokens": 1, "cache_creation_input_tokens": 10});
    assert_eq!(written(UsageApi::Anthropic, untold), [Some(10), None]);
    assert_eq!(written(UsageApi::Anthropic, json!({"input_tokens": 1})), [None, None]);
    let details = json!([{"ttl": "1h", "inputTokens": 6}, {"ttl": "5m", "inputTokens": 4}]);
    let bedrock = json!({"inputTokens": 1, "cacheWriteInputTokens": 10, "cacheDetails": details});
    assert_eq!(written(UsageApi::Bedrock, bedrock), [Some(4), Some(6)]);
}

#[test]
fn audio_that_came_from_the_cache_is_told_apart_where_the_counts_force_it() {
    let body = json!({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 6}});
    let read = UsageApi::OpenAiChat.parse(body.to_string()).expect("read");
    let counts = [C::Input, C::CacheRead, C::InputAudio, C::CacheReadAudio].map(|class| read.usage.tokens(class));
    assert_eq!((counts, read.is_consistent), ([0, 4, 2, 4], true));
}

#[test]
fn the_service_is_told_and_the_host_decides() {
    let chat = |word: &str| {
        let body = json!({"service_tier": word, "usage": {"prompt_tokens": 1}}).to_string();
        UsageApi::OpenAiChat.parse(body).expect("read")
    };
    let services = ["default", "flex", "priority", "auto"].map(|word| chat(word).service);
    assert_eq!(services, [Some(Service::Standard), Some(Service::Flex), Some(Service::Priority), None]);
    assert_eq!(chat("priority").usage.served_as(), Service::Standard);
}

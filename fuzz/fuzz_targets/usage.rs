//! Anything where a reply's body, a stream or a price file is expected: an error, or counts that add up and prices that are exact.

#![no_main]

use arbitrary::Arbitrary;
use encumber::{
    Estimate, Price, PriceTable, Rates, ReportedUsage, Rounding, Service, StreamEnd, Timestamp, TokenClass, Unknown,
    Usage, UsageApi, UsageStream,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    /// Bytes as they come, for every reader.
    Bytes { bytes: &'a [u8], cut: u16 },
    /// A usage object of names that mean something, and of any values.
    Fields { api: u8, fields: Vec<(u8, Count<'a>)> },
    /// A price file of names that mean something, and of any numbers.
    Prices { fields: Vec<(u8, &'a str)>, at: i64, usage: [u64; 6] },
}

#[derive(Arbitrary, Debug)]
enum Count<'a> {
    Whole(u64),
    Small(u8),
    Signed(i64),
    Text(&'a str),
    Null,
}

const NAMES: [&str; 34] = [
    "usage/prompt_tokens",
    "usage/completion_tokens",
    "usage/total_tokens",
    "usage/prompt_tokens_details/cached_tokens",
    "usage/prompt_tokens_details/cache_write_tokens",
    "usage/prompt_tokens_details/audio_tokens",
    "usage/prompt_tokens_details/image_tokens",
    "usage/completion_tokens_details/reasoning_tokens",
    "usage/completion_tokens_details/audio_tokens",
    "usage/num_cached_tokens",
    "usage/input_tokens",
    "usage/output_tokens",
    "usage/input_tokens_details/cached_tokens",
    "usage/output_tokens_details/reasoning_tokens",
    "usage/output_tokens_details/thinking_tokens",
    "usage/cache_read_input_tokens",
    "usage/cache_creation_input_tokens",
    "usage/cache_creation/ephemeral_5m_input_tokens",
    "usage/cache_creation/ephemeral_1h_input_tokens",
    "usage/server_tool_use/web_search_requests",
    "usage/inputTokens",
    "usage/outputTokens",
    "usage/totalTokens",
    "usage/cacheReadInputTokens",
    "usage/cacheWriteInputTokens",
    "usage/billed_units/input_tokens",
    "usage/billed_units/output_tokens",
    "usageMetadata/promptTokenCount",
    "usageMetadata/candidatesTokenCount",
    "usageMetadata/thoughtsTokenCount",
    "usageMetadata/cachedContentTokenCount",
    "usageMetadata/toolUsePromptTokenCount",
    "usageMetadata/totalTokenCount",
    "service_tier",
];

const PRICES: [&str; 14] = [
    "input_cost_per_token",
    "output_cost_per_token",
    "input_cost_per_token_above_200k_tokens",
    "output_cost_per_token_above_200k_tokens",
    "input_cost_per_token_above_128k_tokens_batches",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
    "cache_creation_input_token_cost_above_1hr",
    "input_cost_per_token_batches",
    "output_cost_per_token_priority",
    "output_cost_per_reasoning_token",
    "input_cost_per_audio_token",
    "input_cost_per_request",
    "search_context_cost_per_query",
];

fuzz_target!(|input: Input| match input {
    Input::Bytes { bytes, cut } => {
        let _ = UsageApi::detect(bytes);
        for api in UsageApi::ALL {
            if let Ok(read) = api.parse(bytes) {
                adds_up(&read);
            }
            stream(api, bytes, usize::from(cut) % (bytes.len() + 1));
        }
        if let Ok(text) = std::str::from_utf8(bytes) {
            for table in [PriceTable::from_litellm(text), PriceTable::from_genai(text)].into_iter().flatten() {
                priced(&table, 0, [1; 6]);
            }
        }
    }
    Input::Fields { api, fields } => {
        let api = UsageApi::ALL[usize::from(api) % UsageApi::ALL.len()];
        let body = body(&fields).to_string();
        if let Ok(read) = api.parse(&body) {
            adds_up(&read);
            let mut stream = UsageStream::new(api);
            assert_eq!(stream.push_event(&body), Ok(true), "{body}");
            assert_eq!(stream.so_far(), Some(&read), "{body}");
        }
    }
    Input::Prices { fields, at, usage } => {
        let model: Vec<_> = fields
            .iter()
            .map(|(name, number)| format!("{:?}: {number}", PRICES[usize::from(*name) % PRICES.len()]))
            .collect();
        if let Ok(table) = PriceTable::from_litellm(&format!("{{\"m\": {{{}}}}}", model.join(", "))) {
            assert!(table.len() + table.skipped().len() <= 1 + fields.len());
            priced(&table, at, usage);
        }
    }
});

fn body(fields: &[(u8, Count<'_>)]) -> Value {
    let mut body = json!({});
    for (name, count) in fields {
        let value = match count {
            Count::Whole(count) => json!(count),
            Count::Small(count) => json!(count),
            Count::Signed(count) => json!(count),
            Count::Text(text) => json!(text),
            Count::Null => Value::Null,
        };
        let mut at = &mut body;
        for key in NAMES[usize::from(*name) % NAMES.len()].split('/') {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = at.as_object_mut().expect("made one").entry(key).or_insert(Value::Null);
        }
        *at = value;
    }
    body
}

/// Every token is in a class that was told, unless the counts are flagged.
fn adds_up(read: &ReportedUsage) {
    for class in TokenClass::ALL {
        assert!(read.usage.tokens(class) == 0 || read.reported.contains(class) || !read.is_consistent, "{read:?}");
    }
    let price = TokenClass::ALL.into_iter().fold(Price::new(), |price, class| price.with(class, 3.into()));
    for usage in read.parts() {
        let _ = price.nanos(usage, Rounding::Up);
    }
}

/// However it is cut, a stream comes to the same end.
fn stream(api: UsageApi, bytes: &[u8], cut: usize) {
    let end = |pieces: &[&[u8]]| -> StreamEnd {
        let mut stream = UsageStream::new(api);
        for piece in pieces {
            let _ = stream.push_sse(piece);
        }
        stream.finish()
    };
    assert_eq!(end(&[bytes]), end(&[&bytes[..cut], &bytes[cut..]]), "{api:?} cut at {cut}");
}

fn priced(table: &PriceTable, at: i64, [input, output, read, short, long, searches]: [u64; 6]) {
    let at = Timestamp::from_micros(at);
    let rates = Rates::new(Unknown::Refuse, Unknown::Refuse).all_prices_from(table, at);
    let bounds = Estimate::new(1, u64::MAX).expect("in order");
    for listed in table.iter(at) {
        let usage = Usage::new()
            .model(listed.model())
            .with(TokenClass::Input, input)
            .with(TokenClass::Output, output)
            .with(TokenClass::CacheRead, read)
            .with(TokenClass::CacheWrite5m, short)
            .with(TokenClass::CacheWrite1h, long)
            .with_web_searches(searches);
        for service in [Service::Standard, Service::Batch, Service::Flex, Service::Priority] {
            let usage = usage.clone().service(service);
            let up = listed.price().nanos(&usage, Rounding::Up);
            let half = listed.price().nanos(&usage, Rounding::HalfUp);
            assert!(half <= up, "{usage:?} {listed:?}");
            if let Ok(known) = rates.estimate(&usage, output, bounds) {
                assert_eq!(known, bounds.nanos(Some(listed.price()), &usage, output), "{usage:?} {listed:?}");
            }
        }
    }
}

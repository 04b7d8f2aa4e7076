//! The price files of `LiteLLM` and genai-prices, whole and in small, and wrong ones.

mod shipped;

use std::collections::BTreeMap;

use encumber::{
    Price, PriceFault, PriceFileError, PriceTable, Rates, Ratio, Service, Timestamp, TokenClass as C, Usage,
};
use serde_json::value::RawValue;

const LITELLM: &str = "prices/litellm-1.109.1-model-prices.json.gz";
const LITELLM_2025: &str = "prices/litellm-1.74.0-model-prices.json.gz";
const GENAI: &str = "prices/genai-prices-v2-data.json.gz";

fn litellm(json: &str) -> PriceTable {
    PriceTable::from_litellm(json).unwrap_or_else(|error| panic!("{json:.200}: {error}"))
}

fn genai(json: &str) -> PriceTable {
    PriceTable::from_genai(json).unwrap_or_else(|error| panic!("{json:.200}: {error}"))
}

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

fn ratio(text: &str) -> Ratio {
    text.parse().expect(text)
}

/// The price of a model in a table of a file without dates.
fn price<'a>(table: &'a PriceTable, model: &str) -> &'a Price {
    table.find(model, Timestamp::UNIX_EPOCH).unwrap_or_else(|| panic!("{model}")).price()
}

/// Dollars per million tokens of some classes in a call of `context` tokens.
fn per_million<const N: usize>(price: &Price, service: Service, context: u64, classes: [C; N]) -> [String; N] {
    let call = Usage::new().with(C::Input, context).service(service);
    classes.map(|class| price.per_million_in(&call, class).map_or("none".to_owned(), |price| price.to_string()))
}

#[test]
fn the_whole_files_are_read_and_what_is_left_out_is_listed() {
    let tables =
        [litellm(&shipped::text(LITELLM)), litellm(&shipped::text(LITELLM_2025)), genai(&shipped::text(GENAI))];
    let counts = tables.each_ref().map(|table| (table.len(), table.skipped().len()));
    println!("priced and left out: {counts:?}");
    // Of 4,553 and 1,141 entries one each is the example that explains the fields.
    assert_eq!(counts, [(3_781, 771), (959, 181), (1_309, 157)]);
    for table in &tables {
        let reasons = table.skipped().iter().filter(|skipped| *skipped.fault() != PriceFault::Unpriced);
        assert_eq!(reasons.map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    }
}

/// Read by other code: every plain price per token of the file, times a million, is the price of that class.
#[test]
fn every_plain_price_of_the_litellm_files_is_the_price_in_the_table() {
    let fields = [
        ("input_cost_per_token", C::Input),
        ("output_cost_per_token", C::Output),
        ("cache_read_input_token_cost", C::CacheRead),
        ("cache_creation_input_token_cost", C::CacheWrite5m),
        ("cache_creation_input_token_cost_above_1hr", C::CacheWrite1h),
        ("output_cost_per_reasoning_token", C::Reasoning),
        ("input_cost_per_audio_token", C::InputAudio),
    ];
    let mut compared = 0;
    for file in [LITELLM, LITELLM_2025] {
        let text = shipped::text(file);
        let table = litellm(&text);
        let models: BTreeMap<String, BTreeMap<String, Box<RawValue>>> = serde_json::from_str(&text).expect("models");
        for (name, model) in models.iter().filter(|(_, model)| !model.contains_key("tiered_pricing")) {
            let Some(listed) = table.find(name, Timestamp::UNIX_EPOCH) else { continue };
            for (field, class) in fields {
                if let Some(per_token) = model.get(field).map(|raw| raw.get()).filter(|text| *text != "null") {
                    let (mantissa, exponent) = per_token.split_once('e').unwrap_or((per_token, "0"));
                    let exponent = exponent.parse::<i32>().expect("a power of ten") + 6;
                    let expected = ratio(&format!("{mantissa}e{exponent}"));
                    assert_eq!(listed.price().per_million(class), Some(expected), "{name} {field}");
                    compared += 1;
                }
            }
        }
    }
    println!("{compared} prices compared");
    assert_eq!(compared, 12_243);
}

#[test]
fn the_models_of_the_recorded_team_cost_their_list_prices() {
    let table = litellm(&shipped::text(LITELLM));
    let classes = [C::Input, C::Output, C::CacheRead, C::CacheWrite5m, C::CacheWrite1h];
    for (models, list) in [
        (["claude-opus-4-5-20251101", "claude-opus-4-6"], ["5", "25", "0.5", "6.25", "10"]),
        (["claude-sonnet-4-5-20250929", "claude-sonnet-4-5"], ["3", "15", "0.3", "3.75", "6"]),
        (["claude-haiku-4-5-20251001", "claude-haiku-4-5"], ["1", "5", "0.1", "1.25", "2"]),
    ] {
        for model in models {
            assert_eq!(per_million(price(&table, model), Service::Standard, 1, classes), list, "{model}");
        }
    }
    let batch = per_million(price(&table, "claude-opus-4-5-20251101"), Service::Batch, 1, classes);
    assert_eq!(batch, ["2.5", "12.5", "0.25", "3.125", "10"], "no batch price for an hour: the standard one");
    let written = "2.9999900000000002";
    assert_eq!(
        per_million(price(&table, "databricks/databricks-claude-sonnet-4-1"), Service::Standard, 1, [C::Input]),
        [written]
    );
}

#[test]
fn tiers_and_services_of_litellm_lie_over_each_other() {
    let table = litellm(&shipped::text(LITELLM));
    let gemini = price(&table, "gemini/gemini-2.5-pro");
    let classes = [C::Input, C::Output, C::CacheRead, C::Reasoning];
    let at = |service, context| per_million(gemini, service, context, classes);
    assert_eq!(at(Service::Standard, 200_000), ["1.25", "10", "0.125", "10"]);
    assert_eq!(at(Service::Standard, 200_001), ["2.5", "15", "0.25", "15"]);
    assert_eq!(at(Service::Batch, 200_000), ["0.625", "5", "0.125", "5"]);
    assert_eq!(at(Service::Batch, 200_001), ["1.25", "7.5", "0.25", "7.5"]);
    assert_eq!(at(Service::Priority, 200_001), ["4.5", "27", "0.45", "27"]);
    assert_eq!(at(Service::Flex, 200_001), ["2.5", "15", "0.25", "15"], "no flex tier: the standard one");

    let kyma = price(&table, "kyma/qwen3.7-flash");
    let input = |context| per_million(kyma, Service::Standard, context, [C::Input, C::CacheRead]);
    assert_eq!([input(32_000), input(32_001), input(256_001)].map(|[input, _]| input), ["0.0435", "0.135", "0.27"]);
    assert_eq!(input(256_001)[1], "0.0081", "a tier falls back to the price without one");

    let qwen = price(&table, "dashscope/qwen-plus-2025-07-28");
    let range =
        |context| per_million(qwen, Service::Standard, context, [C::Input, C::Output, C::Reasoning, C::CacheRead]);
    assert_eq!(range(256_000), ["0.4", "1.2", "4", "0.4"]);
    assert_eq!(range(256_001), ["1.2", "3.6", "12", "1.2"]);
}

#[test]
fn xai_bills_the_higher_price_from_the_threshold_on() {
    let entry = |provider: &str| {
        let prices = r#""input_cost_per_token": 2e-6, "input_cost_per_token_above_128k_tokens": 4e-6"#;
        litellm(&format!(r#"{{"m": {{"litellm_provider": "{provider}", {prices}}}}}"#))
    };
    for (provider, at_threshold) in [("xai", "4"), ("openai", "2")] {
        let table = entry(provider);
        let input = |context| per_million(price(&table, "m"), Service::Standard, context, [C::Input]);
        assert_eq!([input(127_999), input(128_000), input(128_001)], [["2"], [at_threshold], ["4"]], "{provider}");
    }
}

#[test]
fn a_service_with_a_price_for_output_alone_prices_reasoning_by_it() {
    let table = litellm(
        r#"{"m": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "output_cost_per_reasoning_token": 3e-6,
                  "output_cost_per_token_batches": 5e-7}}"#,
    );
    let classes = [C::Input, C::Output, C::Reasoning];
    assert_eq!(per_million(price(&table, "m"), Service::Standard, 1, classes), ["1", "2", "3"]);
    assert_eq!(per_million(price(&table, "m"), Service::Batch, 1, classes), ["1", "0.5", "0.5"]);
}

#[test]
fn what_litellm_prices_beside_tokens_is_read_or_named() {
    let table = litellm(
        r#"{"m": {"input_cost_per_token": 1e-6, "input_cost_per_token_cache_hit": 1e-7, "input_cost_per_request": 0.005,
                  "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_high": 0.03},
                  "input_cost_per_image": 0.002, "output_cost_per_second": 0.0, "max_tokens": 8, "mode": "chat"}}"#,
    );
    let listed = table.find("m", Timestamp::UNIX_EPOCH).expect("priced");
    assert_eq!(listed.ignored().collect::<Vec<_>>(), ["input_cost_per_image"]);
    let call = Usage::new().model("m").with(C::CacheRead, 10).with_web_searches(2);
    // 1,000 nanos for the cache, 5 thousandths of a dollar for the call, 3 hundredths for each search.
    assert_eq!(listed.price().nanos(&call, encumber::Rounding::Up), Some(1_000 + 5_000_000 + 60_000_000));
    let [unpriced] = per_million(listed.price(), Service::Standard, 1, [C::CacheWrite5m]);
    assert_eq!(unpriced, "none", "LiteLLM would take it for free");
}

#[test]
fn a_litellm_model_is_found_by_its_exact_name_with_or_without_its_provider() {
    let table = litellm(
        r#"{"gpt-5": {"litellm_provider": "openai", "input_cost_per_token": 1e-6},
            "azure/gpt-5": {"litellm_provider": "azure", "input_cost_per_token": 2e-6}}"#,
    );
    let found = |provider: &str| {
        let listed = table.find_at(provider, "gpt-5", Timestamp::UNIX_EPOCH)?;
        Some((listed.provider(), listed.model()))
    };
    assert_eq!(found("azure"), Some(("azure", "azure/gpt-5")));
    assert_eq!(found("openai"), Some(("openai", "gpt-5")));
    assert_eq!(found("groq"), None);
    assert!(table.find("GPT-5", Timestamp::UNIX_EPOCH).is_none());
    assert_eq!(table.iter(Timestamp::UNIX_EPOCH).count(), 2);
}

#[test]
fn genai_models_are_found_by_rules_within_providers_and_those_they_resell() {
    let table = genai(&shipped::text(GENAI));
    let now = at("2025-11-06T12:00:00Z");
    let found = |provider: Option<&str>, model: &str| {
        let listed = provider.map_or_else(|| table.find(model, now), |provider| table.find_at(provider, model, now))?;
        Some(format!("{} {}", listed.provider(), listed.model()))
    };
    let expect =
        |provider, model, expected: &str| assert_eq!(found(provider, model).as_deref(), Some(expected), "{model}");
    expect(None, "claude-sonnet-4-5-20250929", "anthropic claude-sonnet-4-5");
    expect(None, "Claude-Sonnet-4.5", "anthropic claude-sonnet-4-5");
    expect(None, "o3-2025-04-16", "openai o3");
    expect(Some("azure"), "claude-sonnet-4-5-20250929", "anthropic claude-sonnet-4-5");
    expect(Some(" Google-Vertex "), "claude-3-opus-20240229", "google claude-3-opus");
    expect(Some("x-ai"), "grok-4.5-20260101", "x-ai grok-4.5");
    assert_eq!(found(Some("x-ai"), "grok-4.5-2026"), None, "the rule wants eight digits");
    assert_eq!((found(Some("nobody"), "gpt-5"), found(None, "no-such-model")), (None, None));
}

#[test]
fn genai_prices_begin_on_dates_and_hold_at_times_of_the_day() {
    let table = genai(&shipped::text(GENAI));
    let output = |model: &str, instant: &str, context: u64| {
        let call = Usage::new().with(C::Input, context);
        let listed = table.find(model, at(instant)).expect(model);
        listed.price().per_million_in(&call, C::Output).expect("priced").to_string()
    };
    assert_eq!(output("claude-opus-4-6", "2026-03-12T23:59:59Z", 200_001), "37.5");
    assert_eq!(output("claude-opus-4-6", "2026-03-12T23:59:59Z", 200_000), "25");
    assert_eq!(output("claude-opus-4-6", "2026-03-13T00:00:00Z", 200_001), "25");
    let day = ["00:29:59", "00:30:00", "16:29:59", "16:30:00"];
    let deepseek = day.map(|time| output("deepseek-chat", &format!("2025-06-01T{time}Z"), 1));
    assert_eq!(deepseek, ["0.55", "1.1", "1.1", "0.55"]);
}

#[test]
fn genai_prices_cached_input_as_input_where_it_has_no_price() {
    let table = genai(
        r#"[{"id": "p", "models": [
            {"id": "plain", "match": {"equals": "plain"}, "prices": {"input_mtok": 2, "output_mtok": 4}},
            {"id": "cached", "match": {"equals": "cached"}, "prices": {"input_mtok": 2, "cache_read_mtok": 0.2, "cache_write_mtok": 2.5}}]}]"#,
    );
    let prices = |model: &str| {
        let listed = table.find_at("p", model, Timestamp::UNIX_EPOCH).expect(model);
        per_million(listed.price(), Service::Standard, 1, [C::CacheRead, C::CacheWrite5m, C::CacheWrite1h])
    };
    assert_eq!(prices("plain"), ["2", "2", "2"]);
    assert_eq!(prices("cached"), ["0.2", "2.5", "2.5"]);
}

#[test]
fn rates_are_filled_by_name_or_whole() {
    let table = genai(&shipped::text(GENAI));
    let now = at("2025-11-06T12:00:00Z");
    let rates = Rates::strict().prices_from(&table, None, ["claude-sonnet-4-5-20250929"], now).expect("listed");
    assert_eq!(rates.models().count(), 1);
    let error = Rates::strict().prices_from(&table, Some("openai"), ["gpt-5", "gpt-0"], now).unwrap_err();
    assert_eq!(error.to_string(), "the table has no price for the model \"gpt-0\"");

    let all = Rates::strict().all_prices_from(&table, now);
    assert!(all.price_of("gpt-5").is_some() && all.price_of("claude-sonnet-4-5").is_some());
    let litellm = litellm(&shipped::text(LITELLM));
    assert_eq!(Rates::strict().all_prices_from(&litellm, now).models().count(), litellm.len());
}

#[test]
fn a_wrong_price_leaves_out_its_model_and_says_which_field() {
    let faults = [
        ("-1e-6", "m: input_cost_per_token: -1e-6 is negative"),
        ("-0.0", "m: input_cost_per_token: -0.0 is negative"),
        ("999", "m: input_cost_per_token: 999 is more than any model costs"),
        ("1e300", "m: input_cost_per_token: 1e300 is not a number of at most 20 digits"),
        (
            "0.1234567890123456789012",
            "m: input_cost_per_token: 0.1234567890123456789012 is not a number of at most 20 digits",
        ),
        ("\"free\"", "m: input_cost_per_token: \"free\" is not a number of at most 20 digits"),
        ("\"1/3\"", "m: input_cost_per_token: \"1/3\" is not a number of at most 20 digits"),
        ("{}", "m: input_cost_per_token: {} is not a number of at most 20 digits"),
        ("true", "m: input_cost_per_token: true is not a number of at most 20 digits"),
        ("null", "m: no price by tokens, calls or searches"),
    ];
    for (number, expected) in faults {
        let table = litellm(&format!(
            r#"{{"m": {{"input_cost_per_token": {number}}}, "good": {{"litellm_provider": "p", "input_cost_per_token": "3e-7"}}}}"#
        ));
        let skipped: Vec<_> = table.skipped().iter().map(|skipped| skipped.to_string().trim().to_owned()).collect();
        assert_eq!(skipped, [expected], "{number}");
        assert!(table.find("m", Timestamp::UNIX_EPOCH).is_none() && table.len() == 1, "{number}");
        let rates = Rates::strict().all_prices_from(&table, Timestamp::UNIX_EPOCH);
        let call = Usage::new().model("m").with(C::Input, 1);
        let estimate = rates.estimate(&call, 1, encumber::Estimate::new(0, 9).expect("in order"));
        assert!(estimate.is_err(), "{number}: unknown, not free");
    }

    let model = |prices: &str| {
        let json =
            format!(r#"[{{"id": "p", "models": [{{"id": "m", "match": {{"equals": "m"}}, "prices": {prices}}}]}}]"#);
        let table = genai(&json);
        assert!(table.is_empty(), "{prices}");
        table.skipped()[0].to_string()
    };
    assert_eq!(model(r#"{"input_mtok": -5}"#), "p m: input_mtok: -5 is negative");
    assert_eq!(model(r#"{"input_mtok": 1e9}"#), "p m: input_mtok: 1e9 is more than any model costs");
    assert_eq!(model("{}"), "p m: no price by tokens, calls or searches");
    assert_eq!(
        model(r#"{"input_mtok": {"base": 1, "tiers": [{"start": -1, "price": 2}]}}"#),
        "p m: input_mtok: -1 is not a number of at most 20 digits"
    );
    assert!(model(r#"[{"constraint": {"weekday": 1}, "prices": {"input_mtok": 1}}]"#).contains("weekday"));
    assert!(model(r#"[{"constraint": {"start_date": "soon"}, "prices": {"input_mtok": 1}}]"#).contains("constraint"));
    assert!(model("[]").starts_with("p m: prices"));
}

#[test]
fn a_file_that_is_none_is_an_error() {
    let deep = "[".repeat(100_000);
    for text in ["", "7", "[]x", "{\"m\": ", &deep, "{\"m\": {\"input_cost_per_token\": NaN}}"] {
        assert!(matches!(PriceTable::from_litellm(text), Err(PriceFileError::Json(_))), "{text:.20}");
        assert!(matches!(PriceTable::from_genai(text), Err(PriceFileError::Json(_))), "{text:.20}");
    }
    let twice = r#"{"m": {"input_cost_per_token": 1e-6}, "m": {"input_cost_per_token": 2e-6}}"#;
    assert_eq!(PriceTable::from_litellm(twice).unwrap_err(), PriceFileError::Duplicate("m".into()));
    let rule = r#"[{"id": "p", "models": [{"id": "m", "match": {"sounds_like": "m"}, "prices": {"input_mtok": 1}}]}]"#;
    assert!(PriceTable::from_genai(rule).is_err());
    let regex = r#"[{"id": "p", "models": [{"id": "m", "match": {"regex": "("}, "prices": {"input_mtok": 1}}]}]"#;
    assert_eq!(genai(regex).skipped().len(), 1);
    assert!(litellm("{\"m\": 7}").skipped()[0].to_string().contains("expected an object"));
    assert!(litellm("{}").is_empty() && genai("[]").is_empty());
}

/// Money fields that the loader does not read are named model by model, so that nobody takes such a price for the whole one.
#[test]
fn the_fields_that_are_not_read_are_known() {
    let table = litellm(&shipped::text(LITELLM));
    let mut fields = BTreeMap::<&str, usize>::new();
    for listed in table.iter(Timestamp::UNIX_EPOCH) {
        for field in listed.ignored() {
            *fields.entry(field).or_default() += 1;
        }
    }
    let by_tokens = |field: &&str| field.contains("per_token") || field.contains("token_cost");
    println!("{fields:#?}");
    // Services and lifetimes that no provider of these APIs tells of, and units that are not dollars.
    let known = ["_above_12hr", "_ultrafast", "_decisions", "_balanced", "dbu_cost", "db_cost", "citation_cost"];
    let known = known.into_iter().chain(["explicit_cache_read", "cache_creation_input_audio", "batch_requests"]);
    let is_known = |field: &&str| known.clone().any(|known| field.contains(known));
    let unknown: Vec<_> = fields.keys().copied().filter(by_tokens).filter(|field| !is_known(field)).collect();
    assert_eq!(unknown, [""; 0]);
    let genai = genai(&shipped::text(GENAI));
    let ignored: Vec<_> = genai.iter(Timestamp::UNIX_EPOCH).flat_map(|listed| listed.ignored()).collect();
    assert_eq!(ignored, ["output_citation_mtok"]);
}

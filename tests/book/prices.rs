// Made from docs/prices.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Price, Rates, TokenClass, Unknown};

let sonnet = Price::new()
    .with(TokenClass::Input, "3".parse()?) // dollars per million tokens
    .with(TokenClass::Output, "15".parse()?)
    .with(TokenClass::CacheRead, "0.3".parse()?)
    .with(TokenClass::CacheWrite5m, "3.75".parse()?)
    .with(TokenClass::CacheWrite1h, "6".parse()?)
    .with_web_search("10".parse()?) // dollars per thousand
    .above(200_000, [(TokenClass::Input, "6".parse()?), (TokenClass::Output, "22.5".parse()?)])
    .batch(Price::new().with(TokenClass::Input, "1.5".parse()?).with(TokenClass::Output, "7.5".parse()?));
let rates = Rates::new(Unknown::Refuse, Unknown::Refuse).price("claude-sonnet-4-5", sonnet);

use encumber::{Policy, PriceTable, Timestamp};

let text = r#"{
    "claude-sonnet-4-5": {
        "litellm_provider": "anthropic", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05
    },
    "azure/gpt-5": { "litellm_provider": "azure", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05 },
    "broken": { "litellm_provider": "openai", "input_cost_per_token": -1 }
}"#;
let table = PriceTable::from_litellm(text)?; // or from_genai
for skipped in table.skipped() {
    assert_eq!(skipped.to_string(), "openai broken: input_cost_per_token: -1 is negative");
}
let now: Timestamp = "2026-02-04T12:00:00Z".parse()?;
assert!(table.find("claude-sonnet-4-5", now).is_some());
assert!(table.find_at("azure", "gpt-5", now).is_some());

// Into the tables of a policy, under the names that replies carry:
let limits = r#"
    [resources]
    usd = "usd"

    [[limits]]
    id = "user-day"
    subject = "user"
    resource = "usd"
    window = "day"
    max = "25"
"#;
let policy = Policy::from_toml(limits)?;
let from_file = policy.rates().clone().prices_from(&table, None, ["claude-sonnet-4-5"], now)?;
let policy = policy.with_rates(from_file); // engine.set_policy(policy): open reservations keep the prices they were made with

use encumber::{Engine, Estimate, Usage};

let engine = Engine::new(policy.with_rates(rates.clone()));
let scope = engine.scope(["user:7"])?;
let bounds = Estimate::new(1_000_000, 500_000_000)?; // nano-dollars; a ceiling below the floor is an error
let call = Usage::new().model("claude-sonnet-4-5").with(TokenClass::Input, 12_000);
let nanos = rates.estimate(&call, 4_096, bounds)?; // or bounds.nanos(Some(&price), &call, 4_096)
let hold = scope.reserve(engine.cost_with(&call.worst_case(4_096), nanos)?)?; // the money as estimated, tokens and calls as they follow
assert_eq!(hold.held().amount(engine.resource("usd")?), Some(97_440_000)); // 36 + 61.44 thousandths of a dollar

Ok(())
}

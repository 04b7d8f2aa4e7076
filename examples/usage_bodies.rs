//! A recorded reply, read, priced by a price file and committed. Run it with `cargo run --example usage_bodies --features prices,usage`.

use std::error::Error;
use std::fs;
use std::path::Path;

use encumber::{
    Cap, Engine, Estimate, Limit, Policy, PriceTable, Rates, TokenClass, Unit, Usage, UsageApi, UsageStream, Window,
};

/// As it would be read from a price file of today: dollars per token.
const PRICES: &str = r#"{
    "claude-sonnet-4-20250514": {
        "litellm_provider": "anthropic",
        "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
        "cache_read_input_token_cost": 3e-07, "cache_creation_input_token_cost": 3.75e-06,
        "input_cost_per_token_above_200k_tokens": 6e-06, "output_cost_per_token_above_200k_tokens": 2.25e-05
    }
}"#;

const MODEL: &str = "claude-sonnet-4-20250514";

fn main() -> Result<(), Box<dyn Error>> {
    let now = "2026-02-04T12:00:00Z".parse()?;
    let table = PriceTable::from_litellm(PRICES)?;
    let policy = Policy::builder()
        .resource("usd", Unit::Usd)
        .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(Unit::Usd.parse("1")?)))
        .rates(Rates::strict().prices_from(&table, None, [MODEL], now)?)
        .build()?;
    let engine = Engine::new(policy);
    let usd = engine.resource("usd")?;
    let scope = engine.scope(["user:7"])?;

    // Before: the worst case of what will be sent and may come back, within bounds.
    let call = Usage::new().model(MODEL).with(TokenClass::Input, 43);
    let bounds = Estimate::new(Unit::Usd.parse("0.001")?, Unit::Usd.parse("0.5")?)?;
    let nanos = engine.policy().rates().estimate(&call, 4_096, bounds)?;
    let hold = scope.reserve(engine.cost_with(&call.worst_case(4_096), nanos)?)?;
    hold.dispatched();
    println!("held {} dollars", Unit::Usd.format(nanos));

    // While: what the stream tells.
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/usage-payloads/streams/anthropic_model_thinking_part_stream-1.sse");
    let mut stream = UsageStream::new(UsageApi::Anthropic);
    let mut seen = usd.of(0);
    for piece in fs::read(recorded)?.chunks(256) {
        if !stream.push_sse(piece)? {
            continue;
        }
        let Some(told) = stream.so_far() else { continue };
        let so_far = told.cost(|usage| hold.cost(usage))?;
        hold.observe(&so_far.beyond(&seen));
        println!("so far {} tokens answered", told.usage.tokens(TokenClass::Output));
        seen = so_far;
    }

    // After: exactly what it took.
    let receipt = hold.commit(stream.finish().actual(|usage| engine.cost(usage))?)?;
    assert!(receipt.overages().is_empty());
    let charged = scope.usage()?[0].used;
    println!("used {} dollars", Unit::Usd.format(charged));
    assert_eq!(Unit::Usd.format(charged), "0.004359"); // 43 in and 282 out
    Ok(())
}

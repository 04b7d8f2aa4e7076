//! Weights, prices, estimates and tiers.

use encumber::{Cap, Cost, Engine, Estimate, Policy, Price, Ratio, Rounding, TokenClass, Unit, Usage, Weights};
use serde_json::{Value, json};

use crate::args::{self, Amount};

/// Micro-dollars in a dollar.
const MICROS_PER_USD: u64 = 1_000_000;

/// The weights of the dialect in which these areas are written: cache reads a tenth, cache creation a quarter.
pub(crate) fn weights() -> Result<Weights, String> {
    let tenth = Ratio::new(1, 10).ok_or("a tenth")?;
    let quarter = Ratio::new(1, 4).ok_or("a quarter")?;
    Ok(Weights::equal().with(TokenClass::CacheRead, tenth).with(TokenClass::CacheWrite5m, quarter))
}

/// The rounding of that dialect, or the crate's own where a case says exact mode.
pub(crate) fn rounding(exact: bool) -> Rounding {
    if exact { Rounding::Up } else { Rounding::HalfEvenPerClass }
}

pub(crate) fn weigh(step: &Value, exact: bool) -> Result<Value, String> {
    let exact = exact || says_exact(step);
    Ok(match usage(step) {
        Some(usage) => json!({ "weighted": weights()?.weigh(&usage, rounding(exact)) }),
        None => json!({ "error": "invalid_amount" }),
    })
}

/// Whether a setup or the arguments of a step ask for exact arithmetic.
pub(crate) fn says_exact(object: &Value) -> bool {
    let names = |field: &str| object[field].as_str().is_some_and(|text| text.contains("exact"));
    object["exact"] == true || ["mode", "rounding", "profile"].into_iter().any(names)
}

/// Tokens by class, negative counts as 0; `None` when a count is not a whole number.
pub(crate) fn usage(of: &Value) -> Option<Usage> {
    let also = [("cache_creation", TokenClass::CacheWrite5m), ("cache_write", TokenClass::CacheWrite5m)];
    let named = TokenClass::ALL.into_iter().map(|class| (class.name(), class)).chain(also);
    let mut usage = Usage::new();
    for (name, class) in named.filter(|(name, _)| !of[name].is_null()) {
        usage = match (Amount::of(&of[name]), of[name].as_i64()) {
            (Amount::Whole(tokens), _) => usage.with(class, tokens),
            (Amount::Negative, Some(tokens)) => usage.with_signed(class, tokens),
            _ => return None,
        };
    }
    Some(usage)
}

pub(crate) fn price_cost(step: &Value) -> Value {
    match priced(step) {
        Ok(micros) => json!({ "micros": micros }),
        Err(error) => json!({ "error": error }),
    }
}

/// What a call costs in micro-dollars, rounded once, half up; `None` without any price.
fn priced(call: &Value) -> Result<Option<u64>, &'static str> {
    let usage = usage(&call["usage"]).ok_or("invalid_amount")?;
    let also = [("cache_write", TokenClass::CacheWrite5m), ("cache_creation", TokenClass::CacheWrite5m)];
    let mut price = Price::new();
    for (name, class) in TokenClass::ALL.into_iter().map(|class| (class.name(), class)).chain(also) {
        let per_million = &call["prices"][name];
        if !per_million.is_null() {
            price = price.with(class, args::ratio(per_million).ok_or("invalid_price")?);
        }
    }
    Ok(price.units(&usage, MICROS_PER_USD, Rounding::HalfUp))
}

/// The sums over calls that are priced as in `price_cost`, or that tell their micro-dollars and tokens themselves.
pub(crate) fn accumulate(step: &Value) -> Result<Value, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let names = ["micros", "tokens", "calls"];
    let policy = names.into_iter().fold(Policy::builder(), |policy, name| policy.resource(name, Unit::Count));
    let engine = Engine::new(policy.build().map_err(|error| text(&error))?);
    let resource = |name| engine.resource(name).map_err(|error| text(&error));
    let (micros, tokens, calls) = (resource("micros")?, resource("tokens")?, resource("calls")?);
    let mut total = Cost::nothing().and(micros, 0).and(tokens, 0).and(calls, 0);
    let mut unpriced = 0;
    for call in args::list(step, "calls")? {
        let told = |name: &str| Amount::of(&call[name]).clamped();
        let cost = match told("micros").or_else(|| told("cost_micros")) {
            Some(micros) => Some(micros),
            None => priced(call)?,
        };
        unpriced += u64::from(cost.is_none());
        total.add_all(&micros.of(cost.unwrap_or(0)).and(tokens, tokens_of(call, told)?).and(calls, 1));
    }
    let sum = |resource| total.amount(resource);
    Ok(json!({ "total_micros": sum(micros), "total_tokens": sum(tokens), "calls": sum(calls), "unpriced": unpriced }))
}

/// All tokens of a call, of whatever class.
fn tokens_of(call: &Value, told: impl Fn(&str) -> Option<u64>) -> Result<u64, String> {
    if let Some(tokens) = ["tokens", "total_tokens", "total"].into_iter().find_map(&told) {
        return Ok(tokens);
    }
    let usage = usage(if call["usage"].is_null() { call } else { &call["usage"] });
    let usage = usage.ok_or("usage holds other than whole numbers")?;
    let of_classes = TokenClass::ALL.into_iter().map(|class| usage.tokens(class));
    let also = ["prompt", "prompt_tokens", "completion", "completion_tokens", "input_tokens", "output_tokens"];
    let also = also.into_iter().filter_map(told);
    Ok(of_classes.chain(also).fold(0, u64::saturating_add))
}

/// The price of a call of `reserve_tokens` (or `default_tokens`) both ways, within the bounds. Prices are dollars per token.
pub(crate) fn estimate_reserve(step: &Value) -> Value {
    match estimated(step) {
        Some(micros) => json!({ "micros": micros }),
        None => json!({ "error": "invalid_config" }),
    }
}

fn estimated(step: &Value) -> Option<u64> {
    let number = |name: &str| Amount::of(&step[name]).whole();
    let estimate = Estimate::new(number("min")?, number("max")?).ok()?;
    let tokens = match &step["reserve_tokens"] {
        Value::Null => number("default_tokens")?,
        given => Amount::of(given).whole().filter(|tokens| *tokens > 0).or(number("default_tokens"))?,
    };
    let mut price = Price::new();
    for (name, class) in [("input_price", TokenClass::Input), ("output_price", TokenClass::Output)] {
        if !step[name].is_null() {
            price = price.with(class, per_million(&args::decimal(&step[name])?)?);
        }
    }
    let usage = Usage::new().with(TokenClass::Input, tokens).with(TokenClass::Output, tokens);
    Some(estimate.clamp(price.units(&usage, MICROS_PER_USD, Rounding::Up).unwrap_or(0)))
}

/// Dollars per million tokens from the text of dollars per token: the point moves six places.
fn per_million(per_token: &str) -> Option<Ratio> {
    let (mantissa, exponent) = per_token.split_once(['e', 'E']).unwrap_or((per_token, "0"));
    let exponent = exponent.parse::<i32>().ok()?.checked_add(6)?;
    format!("{mantissa}e{exponent}").parse().ok()
}

/// A limit as a dynamic source gives it.
pub(crate) fn parse_limit(step: &Value) -> Result<Value, String> {
    args::known_fields(step, &["raw", "accept_text", "allow_text", "from_text", "text"])?;
    let takes_text = ["accept_text", "allow_text", "from_text", "text"].into_iter().any(|field| step[field] == true);
    let cap = match step["raw"].as_str().filter(|_| takes_text) {
        Some(text) => Unit::Count.parse(text).map(Cap::Max).ok(),
        None => Cap::from_json(&step["raw"]).ok(),
    };
    Ok(cap.map_or(json!({ "error": "invalid_limit" }), |cap| json!({ "limit": shown(cap) })))
}

/// Each `base_NAME` times the multiplier.
pub(crate) fn tier_limits(step: &Value) -> Result<Value, String> {
    let Some(multiplier) = args::ratio(&step["multiplier"]) else {
        return Ok(json!({ "error": "invalid_multiplier" }));
    };
    let mut limits = serde_json::Map::new();
    for (name, base) in step.as_object().into_iter().flatten() {
        let Some(name) = name.strip_prefix("base_") else { continue };
        let base = args::cap(base, false).ok_or_else(|| format!("base_{name} is {base}"))?;
        match base.scaled(&multiplier) {
            Some(cap) => limits.insert(name.to_owned(), json!(cap.max())),
            None => return Ok(json!({ "error": "too_large" })),
        };
    }
    Ok(Value::Object(limits))
}

/// A cap as results write it: null when unlimited.
pub(crate) fn shown(cap: Cap) -> Value {
    json!(cap.max())
}

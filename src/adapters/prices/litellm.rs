//! `LiteLLM`'s price file: dollars per token, one flat object per model, everything else in the names of the fields.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;

use super::number::{self, Entries, Wrong, part};
use super::rule::{Rule, When};
use super::{Model, PriceFault, PriceFileError, PriceTable, Provider, SkippedPrice};
use crate::amount::Ratio;
use crate::cost::{Price, Service, TokenClass};

/// The entry that explains the fields.
const EXAMPLE: &str = "sample_spec";

pub(super) fn read(json: &str) -> Result<PriceTable, PriceFileError> {
    let entries: Entries<'_> = serde_json::from_str(json)?;
    let mut table = PriceTable { providers: Vec::new(), names: None, skipped: Vec::new() };
    let mut names = HashMap::with_capacity(entries.0.len());
    let mut numbers = HashMap::<Box<str>, usize>::new();
    for (name, raw) in &entries.0 {
        if name == EXAMPLE {
            continue;
        }
        let fields: Entries<'_> = match serde_json::from_str(raw.get()) {
            Ok(fields) => fields,
            Err(error) => {
                let fault = PriceFault::Shape(error.to_string().into());
                table.skipped.push(SkippedPrice {
                    provider: "".into(),
                    model: name.as_str().into(),
                    field: "".into(),
                    fault,
                });
                continue;
            }
        };
        let provider = fields.get("litellm_provider").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let provider: Box<str> = provider.unwrap_or_default().into();
        match model(name, &provider, &fields) {
            Ok(model) => {
                let number = *numbers.entry(provider.clone()).or_insert_with(|| {
                    table.providers.push(Provider {
                        id: provider,
                        is_called: None,
                        owns: None,
                        resells: Vec::new(),
                        models: Vec::new(),
                    });
                    table.providers.len() - 1
                });
                let models = &mut table.providers[number].models;
                if names.insert(name.as_str().into(), (number, models.len())).is_some() {
                    return Err(PriceFileError::Duplicate(name.as_str().into()));
                }
                models.push(model);
            }
            Err((field, fault)) => {
                table.skipped.push(SkippedPrice { provider, model: name.as_str().into(), field, fault });
            }
        }
    }
    table.names = Some(names);
    Ok(table)
}

/// Prices by service and by the context above which they hold (0: from the first token on).
type Sheets = BTreeMap<(Service, u64), BTreeMap<TokenClass, Ratio>>;

fn model(name: &str, provider: &str, fields: &Entries<'_>) -> Result<Model, Wrong> {
    let mut sheets = Sheets::new();
    let mut price = Price::new();
    let mut ignored = Vec::<Box<str>>::new();
    let mut older_cache_read = None;
    for (field, raw) in &fields.0 {
        if let Some((class, service, above)) = classify(field) {
            if let Some(per_million) = number::price(field, raw, 1_000_000)? {
                sheets.entry((service, threshold(above, provider))).or_default().insert(class, per_million);
            }
            continue;
        }
        match &**field {
            "tiered_pricing" => tiers(field, raw, &mut sheets)?,
            "input_cost_per_token_cache_hit" => older_cache_read = number::price(field, raw, 1_000_000)?,
            "input_cost_per_request" => {
                price = number::price(field, raw, 1_000)?.map_or(price.clone(), |fee| price.with_call_fee(fee));
            }
            "search_context_cost_per_query" => {
                price = search(field, raw)?.map_or(price.clone(), |fee| price.with_web_search(fee));
            }
            _ if is_about_money(field) && !matches!(raw.get(), "null" | "0" | "0.0") => {
                ignored.push(field.as_str().into());
            }
            _ => {}
        }
    }
    if let Some(per_million) = older_cache_read {
        sheets.entry((Service::Standard, 0)).or_default().entry(TokenClass::CacheRead).or_insert(per_million);
    }
    let price = completed(&price, &sheets);
    if price.is_empty() {
        return Err(("".into(), PriceFault::Unpriced));
    }
    let rule = Rule::Equals(name.into());
    Ok(Model { id: name.into(), rule, prices: vec![(When::Always, price)], ignored })
}

/// The class, the service and the context of a field such as `input_cost_per_token_above_200k_tokens_batches`.
fn classify(field: &str) -> Option<(TokenClass, Service, u64)> {
    const SERVICES: [(&str, Service); 3] =
        [("_batches", Service::Batch), ("_flex", Service::Flex), ("_priority", Service::Priority)];
    let served = SERVICES.into_iter().find_map(|(end, service)| Some((field.strip_suffix(end)?, service)));
    let (rest, service) = served.unwrap_or((field, Service::Standard));
    let tier = rest.strip_suffix("_tokens").and_then(|rest| rest.rsplit_once("_above_"));
    let (name, above) = match tier {
        Some((name, context)) => (name, context_of(context)?),
        None => (rest, 0),
    };
    Some((class(name)?, service, above))
}

/// `200k` or `200`.
fn context_of(text: &str) -> Option<u64> {
    match text.strip_suffix('k') {
        Some(thousands) => thousands.parse::<u64>().ok()?.checked_mul(1_000),
        None => text.parse().ok(),
    }
    .filter(|context| *context > 0)
}

/// xAI bills the higher price from the threshold on, not only above it.
fn threshold(above: u64, provider: &str) -> u64 {
    if provider == "xai" { above.saturating_sub(1) } else { above }
}

fn class(name: &str) -> Option<TokenClass> {
    use TokenClass as C;
    Some(match name {
        "input_cost_per_token" => C::Input,
        "output_cost_per_token" => C::Output,
        "cache_read_input_token_cost" => C::CacheRead,
        "cache_creation_input_token_cost" => C::CacheWrite5m,
        "cache_creation_input_token_cost_above_1hr" => C::CacheWrite1h,
        "output_cost_per_reasoning_token" => C::Reasoning,
        "input_cost_per_audio_token" => C::InputAudio,
        "input_cost_per_image_token" => C::InputImage,
        "input_cost_per_video_token" => C::InputVideo,
        "cache_read_input_audio_token_cost" => C::CacheReadAudio,
        "cache_read_input_image_token_cost" => C::CacheReadImage,
        "output_cost_per_audio_token" => C::OutputAudio,
        "output_cost_per_image_token" => C::OutputImage,
        "output_cost_per_video_token" => C::OutputVideo,
        _ => return None,
    })
}

fn is_about_money(field: &str) -> bool {
    ["cost", "price", "pricing", "multiplier", "provider_specific_entry"].iter().any(|word| field.contains(word))
}

/// Prices by ranges of the context: the call is priced by the one it falls in. What a range does not name costs its input price, but output
/// the model's own.
fn tiers(field: &str, raw: &RawValue, sheets: &mut Sheets) -> Result<(), Wrong> {
    use TokenClass as C;
    if raw.get() == "null" {
        return Ok(());
    }
    for tier in part::<Vec<Entries<'_>>>(field, raw)? {
        // Ranges of other things, such as numbers of results, are no prices by tokens.
        let (Some(range), true) = (tier.get("range"), tier.get("input_cost_per_token").is_some()) else { continue };
        let [start, _] = part::<[&RawValue; 2]>(field, range)?;
        let mut prices = BTreeMap::new();
        for (name, raw) in &tier.0 {
            let Some(class) = class(name) else { continue };
            if let Some(per_million) = number::price(name, raw, 1_000_000)? {
                prices.insert(class, per_million);
            }
        }
        if let Some(&input) = prices.get(&C::Input) {
            prices.entry(C::CacheRead).or_insert(input);
            let write = *prices.entry(C::CacheWrite5m).or_insert(input);
            prices.entry(C::CacheWrite1h).or_insert(write);
        }
        if let Some(&output) = prices.get(&C::Output) {
            prices.entry(C::Reasoning).or_insert(output);
        }
        sheets.entry((Service::Standard, number::whole(field, start)?)).or_default().extend(prices);
    }
    Ok(())
}

/// Dollars per thousand searches, for the dearest size of context; a call's size is not in its usage.
fn search(field: &str, raw: &RawValue) -> Result<Option<Ratio>, Wrong> {
    let sizes: Option<Entries<'_>> = part(field, raw)?;
    let mut dearest = None;
    for (_, raw) in sizes.iter().flat_map(|sizes| &sizes.0) {
        let price = number::price(field, raw, 1_000)?;
        dearest = dearest.max(price.map(Dearer));
    }
    Ok(dearest.map(|Dearer(price)| price))
}

/// Ordered by value.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Dearer(Ratio);

impl Ord for Dearer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Prices are at most a million with twenty digits: neither product comes near 2^128 before it saturates.
        let crossed = |a: Ratio, b: Ratio| a.numerator.saturating_mul(b.denominator);
        crossed(self.0, other.0).cmp(&crossed(other.0, self.0))
    }
}

impl PartialOrd for Dearer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The sheets laid over each other as `LiteLLM` does: a tier falls back to the prices without one, a service to the standard prices, except that
/// reasoning costs what the service's own output costs. `fees` has what is not priced by tokens.
fn completed(fees: &Price, sheets: &Sheets) -> Price {
    let of = |service, above| sheets.get(&(service, above)).cloned().unwrap_or_default();
    let contexts =
        |service| sheets.keys().filter(move |(s, above)| *s == service && *above > 0).map(|&(_, above)| above);
    let priced = |base: &BTreeMap<TokenClass, Ratio>| {
        base.iter().fold(fees.clone(), |price, (&class, &per_million)| price.with(class, per_million))
    };

    let base = of(Service::Standard, 0);
    let standard = contexts(Service::Standard).fold(priced(&base), |price, above| {
        let mut tier = base.clone();
        tier.extend(of(Service::Standard, above));
        price.above(above, tier)
    });

    let services = [Service::Batch, Service::Flex, Service::Priority];
    let sold = services.into_iter().filter(|service| sheets.keys().any(|(sold, _)| sold == service));
    sold.fold(standard, |price, service| {
        let own = of(service, 0);
        let mut served = base.clone();
        served.extend(own.clone());
        if own.contains_key(&TokenClass::Output) && !own.contains_key(&TokenClass::Reasoning) {
            served.remove(&TokenClass::Reasoning);
        }
        let tiered = contexts(Service::Standard).chain(contexts(service)).fold(priced(&served), |price, above| {
            let mut tier = served.clone();
            tier.extend(of(Service::Standard, above));
            tier.extend(of(service, above));
            price.above(above, tier)
        });
        price.service(service, tiered)
    })
}

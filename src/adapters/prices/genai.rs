//! The data of genai-prices, version 2: dollars per million tokens.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::number::{self, Entries, Wrong, part};
use super::rule::{Rule, RuleText, When, WhenText};
use super::{Model, PriceFault, PriceFileError, PriceTable, Provider, SkippedPrice};
use crate::cost::{Price, TokenClass};

#[derive(Deserialize)]
struct ProviderText<'a> {
    id: Box<str>,
    provider_match: Option<RuleText>,
    model_match: Option<RuleText>,
    fallback_model_providers: Option<Vec<Box<str>>>,
    #[serde(borrow)]
    models: Vec<ModelText<'a>>,
}

#[derive(Deserialize)]
struct ModelText<'a> {
    id: Box<str>,
    r#match: RuleText,
    #[serde(borrow)]
    prices: &'a RawValue,
}

#[derive(Deserialize)]
struct DatedText<'a> {
    constraint: Option<WhenText>,
    #[serde(borrow)]
    prices: Entries<'a>,
}

#[derive(Deserialize)]
struct TieredText<'a> {
    #[serde(borrow)]
    base: &'a RawValue,
    #[serde(borrow)]
    tiers: Vec<TierText<'a>>,
}

#[derive(Deserialize)]
struct TierText<'a> {
    #[serde(borrow)]
    start: &'a RawValue,
    #[serde(borrow)]
    price: &'a RawValue,
}

pub(super) fn read(json: &str) -> Result<PriceTable, PriceFileError> {
    let texts: Vec<ProviderText<'_>> = serde_json::from_str(json)?;
    let mut skipped = Vec::new();
    let mut providers = Vec::with_capacity(texts.len());
    for text in texts {
        let mut skip = |model: &str, (field, fault): Wrong| {
            skipped.push(SkippedPrice { provider: text.id.clone(), model: model.into(), field, fault });
        };
        let mut rule =
            |text: Option<RuleText>| text.and_then(|text| Rule::read(&text).map_err(|wrong| skip("", wrong)).ok());
        let (is_called, owns) = (rule(text.provider_match), rule(text.model_match));
        let models = text.models.iter().filter_map(|text| model(text).map_err(|wrong| skip(&text.id, wrong)).ok());
        let models = models.collect();
        let resells = text.fallback_model_providers.unwrap_or_default();
        providers.push(Provider { id: text.id, is_called, owns, resells, models });
    }
    Ok(PriceTable { providers, names: None, skipped })
}

fn model(text: &ModelText<'_>) -> Result<Model, Wrong> {
    let mut ignored = Vec::new();
    let dated = if text.prices.get().starts_with('[') {
        part::<Vec<DatedText<'_>>>("prices", text.prices)?
    } else {
        vec![DatedText { constraint: None, prices: part("prices", text.prices)? }]
    };
    let mut prices = Vec::with_capacity(dated.len());
    for DatedText { constraint, prices: entries } in dated {
        let price = price(&entries, &mut ignored)?;
        if price.is_empty() {
            return Err(("".into(), PriceFault::Unpriced));
        }
        prices.push((When::read(constraint.as_ref())?, price.with_cache_as_input()));
    }
    if prices.is_empty() {
        return Err(("prices".into(), PriceFault::Unpriced));
    }
    ignored.sort();
    ignored.dedup();
    Ok(Model { id: text.id.clone(), rule: Rule::read(&text.r#match)?, prices, ignored })
}

fn price(entries: &Entries<'_>, ignored: &mut Vec<Box<str>>) -> Result<Price, Wrong> {
    let mut price = Price::new();
    for (field, raw) in &entries.0 {
        if let Some(class) = class(field) {
            price = with_class(price, class, field, raw)?;
            continue;
        }
        let fee = match &**field {
            "web_searches_kcount" => Price::with_web_search,
            "requests_kcount" => Price::with_call_fee,
            _ => {
                ignored.push(field.as_str().into());
                continue;
            }
        };
        if let Some(per_thousand) = number::price(field, raw, 1)? {
            price = fee(price, per_thousand);
        }
    }
    Ok(price)
}

fn with_class(price: Price, class: TokenClass, field: &str, raw: &RawValue) -> Result<Price, Wrong> {
    if !raw.get().starts_with('{') {
        return Ok(match number::price(field, raw, 1)? {
            Some(per_million) => price.with(class, per_million),
            None => price,
        });
    }
    let TieredText { base, tiers } = part(field, raw)?;
    let missing = || (field.into(), PriceFault::NotANumber("null".into()));
    let price = price.with(class, number::price(field, base, 1)?.ok_or_else(missing)?);
    tiers.iter().try_fold(price, |price, tier| {
        let per_million = number::price(field, tier.price, 1)?.ok_or_else(missing)?;
        Ok(price.above(number::whole(field, tier.start)?, [(class, per_million)]))
    })
}

fn class(field: &str) -> Option<TokenClass> {
    use TokenClass as C;
    Some(match field {
        "input_mtok" => C::Input,
        "output_mtok" => C::Output,
        "cache_read_mtok" => C::CacheRead,
        // Without a lifetime the shortest one is meant; one hour has a field of its own where it costs something else.
        "cache_write_mtok" => C::CacheWrite5m,
        "cache_write_1h_mtok" => C::CacheWrite1h,
        "output_reasoning_mtok" => C::Reasoning,
        "input_audio_mtok" => C::InputAudio,
        "input_image_mtok" => C::InputImage,
        "input_video_mtok" => C::InputVideo,
        "cache_audio_read_mtok" => C::CacheReadAudio,
        "cache_image_read_mtok" => C::CacheReadImage,
        "cache_video_read_mtok" => C::CacheReadVideo,
        "output_audio_mtok" => C::OutputAudio,
        "output_image_mtok" => C::OutputImage,
        "output_video_mtok" => C::OutputVideo,
        _ => return None,
    })
}

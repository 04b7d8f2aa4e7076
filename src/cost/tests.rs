//! What weights, prices and estimates come to.

use super::*;
use crate::amount::Ratio;

fn ratio(text: &str) -> Ratio {
    text.parse().expect(text)
}

#[test]
fn rounding_up_stays_within_one_unit_of_the_exact_cost() {
    let weights = Weights::equal().with(TokenClass::CacheRead, ratio("0.1")).with(TokenClass::Output, ratio("1/3"));
    for reads in 0..50 {
        for output in 0..20 {
            let usage = Usage::new().with(TokenClass::CacheRead, reads).with(TokenClass::Output, output);
            let exact_thirtieths = reads * 3 + output * 10;
            let cost = weights.weigh(&usage, Rounding::Up) * 30;
            assert!(exact_thirtieths <= cost && cost < exact_thirtieths + 30, "{usage:?}");
        }
    }
}

#[test]
fn half_even_rounds_each_class_by_itself() {
    let weights =
        Weights::equal().with(TokenClass::CacheRead, ratio("0.1")).with(TokenClass::CacheWrite5m, ratio("0.25"));
    let weigh = |read, write| {
        let usage = Usage::new().with(TokenClass::CacheRead, read).with(TokenClass::CacheWrite5m, write);
        weights.weigh(&usage, Rounding::HalfEvenPerClass)
    };
    assert_eq!([weigh(5, 0), weigh(15, 0), weigh(5, 2), weigh(15, 6), weigh(55, 0)], [0, 2, 0, 4, 6]);
}

#[test]
fn costs_beyond_the_integers_saturate_where_nothing_hard_admits_them() {
    let rates = Rates::strict().helios_operations();
    let usage = Usage::new().with(TokenClass::Input, u64::MAX).with(TokenClass::Output, u64::MAX);
    assert_eq!(rates.weigh("tokens", &usage), Ok((u64::MAX, false)));
    assert_eq!(rates.weigh("tokens", &usage.operation("embedding")), Ok((u64::MAX, false)));
    let price = Price::new().with(TokenClass::Input, ratio("99999999999999999999"));
    assert_eq!(price.nanos(&Usage::new().with(TokenClass::Input, u64::MAX), Rounding::Up), Some(u64::MAX));
}

#[test]
fn nothing_unknown_is_free_by_accident() {
    let usage = Usage::new().with(TokenClass::Input, 10).with(TokenClass::CacheRead, 1).model("m");
    let table = |unknown| Rates::new(Unknown::Refuse, unknown);
    let half = Price::new().with(TokenClass::Input, ratio("1"));
    let full = half.clone().with(TokenClass::CacheRead, ratio("2"));

    assert_eq!(table(Unknown::Refuse).nanos(&usage), Err(CostError::UnknownModel(Some("m".into()))));
    assert_eq!(table(Unknown::Unpriced).nanos(&usage), Ok((0, true)));
    assert_eq!(table(Unknown::Given(full.clone())).nanos(&usage), Ok((12_000, false)));
    assert!(matches!(
        table(Unknown::Refuse).price("m", half.clone()).nanos(&usage),
        Err(CostError::UnpricedClass { class: TokenClass::CacheRead, .. })
    ));
    assert_eq!(table(Unknown::Unpriced).price("m", half.clone()).nanos(&usage), Ok((10_000, true)));
    assert_eq!(table(Unknown::Given(full)).price("m", half).nanos(&usage), Ok((12_000, false)));
    assert!(table(Unknown::Refuse).weigh("tokens", &usage.operation("mystery")).is_err());
}

fn usage(input: u64) -> Usage {
    Usage::new().model("m").with(TokenClass::Input, input)
}

/// Input 1, output 2; above 100 tokens input 3, above 200 output 5; batch input half a dollar and nothing else.
fn tiered() -> Price {
    Price::new()
        .with(TokenClass::Input, ratio("1"))
        .with(TokenClass::Output, ratio("2"))
        .above(200, [(TokenClass::Output, ratio("5"))])
        .above(100, [(TokenClass::Input, ratio("3"))])
        .batch(Price::new().with(TokenClass::Input, ratio("0.5")))
}

#[test]
fn a_tier_prices_the_whole_call_and_what_it_does_not_name_costs_what_it_did_below() {
    let price = tiered();
    let rates = Rates::strict().price("m", price.clone());
    assert_eq!(price.tiers().collect::<Vec<_>>(), [100, 200]);
    for (sent, per_million) in [(100, (1, 2)), (101, (3, 2)), (200, (3, 2)), (201, (3, 5)), (u64::MAX / 4_000, (3, 5))]
    {
        let usage = usage(sent).with(TokenClass::Output, 10);
        let nanos = (sent * per_million.0 + 10 * per_million.1) * 1_000;
        assert_eq!(price.nanos(&usage, Rounding::Up), Some(nanos), "{sent}");
        assert_eq!(rates.nanos(&usage), Ok((nanos, false)), "{sent}");
    }
}

#[test]
fn cached_input_counts_towards_a_tier_and_output_does_not() {
    let cache = TokenClass::ALL.into_iter().filter(|class| class.is_input() && *class != TokenClass::Input);
    for class in cache.clone() {
        assert_eq!(usage(60).with(class, 50).context(), 110, "{class:?}");
    }
    assert_eq!(cache.count(), 9);
    let answered = [TokenClass::Output, TokenClass::Reasoning, TokenClass::OutputAudio];
    assert_eq!(answered.into_iter().fold(usage(60), |usage, class| usage.with(class, 500)).context(), 60);
}

#[test]
fn a_service_has_its_own_prices_and_an_unknown_one_never_costs_too_little() {
    let rates = Rates::strict().price("m", tiered());
    let served = |service| rates.nanos(&usage(150).service(service)).map(|(nanos, _)| nanos);
    assert_eq!(served(Service::Standard), Ok(450_000));
    assert_eq!(served(Service::Batch), Ok(75_000), "its own, which has no tiers");
    assert_eq!(served(Service::Flex), Ok(450_000), "as the standard one, tiers included");
    let refused = CostError::UnpricedService { model: Some("m".into()), service: Service::Priority };
    assert_eq!(served(Service::Priority), Err(refused));
    let batch = usage(10).with(TokenClass::Output, 1).service(Service::Batch);
    assert!(matches!(rates.nanos(&batch), Err(CostError::UnpricedClass { class: TokenClass::Output, .. })));

    let flagged = Rates::new(Unknown::Refuse, Unknown::Unpriced).price("m", tiered());
    assert_eq!(flagged.nanos(&usage(150).service(Service::Priority)), Ok((450_000, true)));
    let given = tiered().service(Service::Priority, Price::new().with(TokenClass::Input, ratio("9")));
    let completed = Rates::new(Unknown::Refuse, Unknown::Given(given)).price("m", tiered());
    assert_eq!(completed.nanos(&usage(150).service(Service::Priority)), Ok((1_350_000, false)));
}

#[test]
fn searches_and_calls_have_prices_beside_the_tokens() {
    let price = Price::new().with(TokenClass::Input, ratio("1"));
    let searched = usage(10).with_web_searches(2);
    let table = |price| Rates::strict().price("m", price);
    assert_eq!(table(price.clone()).nanos(&searched), Err(CostError::UnpricedSearches(Some("m".into()))));
    assert_eq!(table(price.clone().with_web_search(ratio("10"))).nanos(&searched), Ok((20_010_000, false)));
    assert_eq!(table(price.with_call_fee(ratio("12"))).nanos(&usage(10)), Ok((12_010_000, false)));
    assert_eq!(Weights::equal().weigh(&searched, Rounding::Up), 10, "tokens alone");
}

#[test]
fn audio_images_and_video_are_priced_and_weighed_as_their_plain_class_unless_named() {
    let price = Price::new().with(TokenClass::Input, ratio("1")).with(TokenClass::InputAudio, ratio("7"));
    let usage = Usage::new().with(TokenClass::InputAudio, 10).with(TokenClass::InputImage, 10);
    assert_eq!(price.nanos(&usage, Rounding::Up), Some(80_000));
    let weights = Weights::provider_cache().with(TokenClass::InputAudio, ratio("3"));
    let cached = usage.with(TokenClass::CacheReadVideo, 100);
    assert_eq!(weights.weigh(&cached, Rounding::Up), 30 + 10 + 10);
}

#[test]
fn cache_as_input_fills_what_has_no_price_tier_by_tier() {
    use TokenClass as C;
    let price = tiered().with(C::InputAudio, ratio("4")).with_cache_as_input();
    let at = |context, class| price.per_million_in(&usage(context), class).expect("priced");
    for class in [C::CacheRead, C::CacheWrite5m, C::CacheWrite1h, C::CacheReadImage] {
        assert_eq!([at(1, class), at(101, class)], [ratio("1"), ratio("3")], "{class:?}");
    }
    assert_eq!(at(1, C::CacheReadAudio), ratio("4"));
    let own = tiered().with(C::CacheRead, ratio("0.1")).with(C::CacheWrite5m, ratio("1.25")).with_cache_as_input();
    assert_eq!(own.per_million(C::CacheRead), Some(ratio("0.1")));
    assert_eq!(own.per_million(C::CacheWrite1h), Some(ratio("1.25")));
    assert_eq!(own.per_million_in(&usage(101), C::CacheRead), Some(ratio("0.1")));
}

#[test]
fn an_estimate_takes_the_dearer_kind_of_output_and_the_tier_that_the_input_is_in() {
    let bounds = Estimate::new(0, u64::MAX).expect("in order");
    let dearer = tiered().with(TokenClass::Reasoning, ratio("4"));
    assert_eq!(bounds.nanos(Some(&tiered()), &usage(10), 100), 210_000);
    assert_eq!(bounds.nanos(Some(&dearer), &usage(10), 100), 410_000);
    assert_eq!(bounds.nanos(Some(&dearer), &usage(101), 100), 703_000);
    let rates = Rates::strict().price("m", dearer);
    assert_eq!(rates.estimate(&usage(101), 100, bounds), Ok(703_000));
}

/// What a system under study does: a failed look-up means the floor, and no price skips the ceiling.
#[test]
fn an_estimate_without_a_whole_price_is_the_ceiling() {
    let bounds = Estimate::new(100, 5_000).expect("in order");
    let halves = Price::new().with(TokenClass::Input, ratio("1"));
    assert_eq!(bounds.nanos(None, &usage(1), 1), 5_000);
    assert_eq!(bounds.nanos(Some(&Price::new()), &usage(1), 1), 5_000);
    assert_eq!(bounds.nanos(Some(&halves), &usage(1), 1), 5_000, "output has no price");
    assert_eq!(bounds.nanos(Some(&halves), &usage(1), 0), 1_000);
    assert_eq!(bounds.nanos(Some(&halves), &usage(0), 0), 100, "the floor");
    let flagged = Rates::new(Unknown::Refuse, Unknown::Unpriced).price("half", halves);
    assert_eq!(flagged.estimate(&usage(1), 1, bounds), Ok(5_000));
    assert_eq!(flagged.estimate(&usage(1).model("half"), 1, bounds), Ok(5_000));
    assert_eq!(Rates::strict().estimate(&usage(1), 1, bounds), Err(CostError::UnknownModel(Some("m".into()))));
}

//! Usage turned into amounts: weights, operations and prices, exact, rounded once.

use std::collections::HashMap;
use std::fmt;

use crate::amount::{NANOS_PER_USD, Ratio};

/// A class of tokens. Classes are disjoint: a token counts in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TokenClass {
    /// Input that no cache served or stored.
    Input,
    /// Output, reasoning aside.
    Output,
    /// Input read from a prompt cache.
    CacheRead,
    /// Input written to a prompt cache that lives five minutes.
    CacheWrite5m,
    /// Input written to a prompt cache that lives one hour.
    CacheWrite1h,
    /// Output that the model thinks and does not show. Priced as output where it has no price of its own.
    Reasoning,
}

const CLASSES: usize = 6;

impl TokenClass {
    /// Every class, in the order of their declaration.
    pub const ALL: [Self; CLASSES] =
        [Self::Input, Self::Output, Self::CacheRead, Self::CacheWrite5m, Self::CacheWrite1h, Self::Reasoning];

    /// The name that policies and usage reports use, such as `cache_write_5m`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache_read",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Reasoning => "reasoning",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// What one call used: tokens by class, and optionally its operation and model.
///
/// ```
/// use encumber::{TokenClass, Usage};
/// let usage = Usage::new().with(TokenClass::Input, 1_000).with(TokenClass::Output, 50).model("claude-opus-4-6");
/// assert_eq!(usage.tokens(TokenClass::Output), 50);
/// assert_eq!(usage.worst_case(4_096).tokens(TokenClass::Output), 4_096);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    tokens: [u64; CLASSES],
    operation: Option<Box<str>>,
    model: Option<Box<str>>,
}

impl Usage {
    /// A call that used nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// This usage with `tokens` of `class` added, saturating.
    pub fn with(mut self, class: TokenClass, tokens: u64) -> Self {
        self.add(class, tokens);
        self
    }

    /// Like [`Usage::with`] for sources with signed counts: a negative count adds nothing.
    pub fn with_signed(self, class: TokenClass, tokens: i64) -> Self {
        self.with(class, u64::try_from(tokens).unwrap_or(0))
    }

    /// This usage, by the operation `name`.
    pub fn operation(mut self, name: &str) -> Self {
        self.operation = Some(name.into());
        self
    }

    /// This usage, by the model `name`.
    pub fn model(mut self, name: &str) -> Self {
        self.model = Some(name.into());
        self
    }

    /// Adds tokens in place, saturating.
    pub fn add(&mut self, class: TokenClass, tokens: u64) {
        let count = &mut self.tokens[class.index()];
        *count = count.saturating_add(tokens);
    }

    /// The tokens of one class.
    pub fn tokens(&self, class: TokenClass) -> u64 {
        self.tokens[class.index()]
    }

    /// The model's name, if given.
    pub fn model_name(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The operation's name, if given.
    pub fn operation_name(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    /// The most that a call can use that sends this usage's input and may answer with `output_max` tokens.
    pub fn worst_case(&self, output_max: u64) -> Self {
        let mut usage = self.clone();
        usage.tokens[TokenClass::Output.index()] = output_max;
        usage.tokens[TokenClass::Reasoning.index()] = 0;
        usage
    }
}

/// How an exact cost becomes a whole number of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Rounding {
    /// Summed exactly, then rounded up once: never below the exact cost, less than one unit above it.
    #[default]
    Up,
    /// Summed exactly, then rounded once to the nearest unit, half a unit up.
    HalfUp,
    /// Each class rounded on its own to the nearest unit, half to the even one, then summed. For parity with systems that do so;
    /// small amounts can cost nothing.
    HalfEvenPerClass,
}

/// Exact weights of the token classes with one common denominator: costs are whole-number sums and one division.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Linear {
    numerators: [u128; CLASSES],
    denominator: u128,
}

impl Linear {
    /// `None` when the weights have no common denominator below 2^128.
    fn new(weights: &[Ratio; CLASSES]) -> Option<Self> {
        let denominator = weights
            .iter()
            .try_fold(1_u128, |common, w| common.checked_mul(Ratio::reduced(common, w.denominator).denominator))?;
        let mut numerators = [0; CLASSES];
        for (numerator, weight) in numerators.iter_mut().zip(weights) {
            *numerator = weight.numerator.checked_mul(denominator / weight.denominator)?;
        }
        Some(Self { numerators, denominator })
    }

    /// The cost of `tokens`, times `multiplier`; `u64::MAX` when it is that much or more.
    fn cost(&self, tokens: &[u64; CLASSES], multiplier: Ratio, rounding: Rounding) -> u64 {
        self.checked_cost(tokens, multiplier, rounding).and_then(|cost| u64::try_from(cost).ok()).unwrap_or(u64::MAX)
    }

    fn checked_cost(&self, tokens: &[u64; CLASSES], multiplier: Ratio, rounding: Rounding) -> Option<u128> {
        let denominator = self.denominator.checked_mul(multiplier.denominator)?;
        let mut exact = 0_u128;
        let mut by_class = 0_u128;
        for (&tokens, numerator) in tokens.iter().zip(&self.numerators) {
            let scaled = u128::from(tokens).checked_mul(numerator.checked_mul(multiplier.numerator)?)?;
            exact = exact.checked_add(scaled)?;
            by_class = by_class.checked_add(half_even(scaled, denominator))?;
        }
        Some(match rounding {
            Rounding::Up => exact.div_ceil(denominator),
            Rounding::HalfUp => exact / denominator + u128::from(exact % denominator >= denominator.div_ceil(2)),
            Rounding::HalfEvenPerClass => by_class,
        })
    }
}

fn half_even(numerator: u128, denominator: u128) -> u128 {
    let (whole, rest) = (numerator / denominator, numerator % denominator);
    let up = match rest.cmp(&(denominator - rest)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    whole + u128::from(up)
}

/// What each class of tokens weighs in a resource; a class that is not named weighs 1.
///
/// ```
/// use encumber::{Rounding, TokenClass, Usage, Weights};
/// let usage = Usage::new().with(TokenClass::Input, 100).with(TokenClass::CacheRead, 5);
/// assert_eq!(Weights::provider_cache().weigh(&usage, Rounding::Up), 101);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    by_class: [Ratio; CLASSES],
}

impl Weights {
    /// Every class weighs 1.
    pub const fn equal() -> Self {
        Self { by_class: [Ratio::ONE; CLASSES] }
    }

    /// What providers bill for caching, relative to input: a five-minute write 1.25, a one-hour write 2, a read 0.1.
    pub fn provider_cache() -> Self {
        let ratio = |numerator, denominator| Ratio { numerator, denominator };
        Self::equal()
            .with(TokenClass::CacheWrite5m, ratio(5, 4))
            .with(TokenClass::CacheWrite1h, ratio(2, 1))
            .with(TokenClass::CacheRead, ratio(1, 10))
    }

    /// These weights with one class set to `weight`.
    pub fn with(mut self, class: TokenClass, weight: Ratio) -> Self {
        self.by_class[class.index()] = weight;
        self
    }

    /// The weighted sum of a usage's tokens; `u64::MAX` when it is that much or more.
    pub fn weigh(&self, usage: &Usage, rounding: Rounding) -> u64 {
        self.linear().map_or(u64::MAX, |linear| linear.cost(&usage.tokens, Ratio::ONE, rounding))
    }

    fn linear(&self) -> Option<Linear> {
        Linear::new(&self.by_class)
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::equal()
    }
}

/// What a model costs: dollars per million tokens, by class.
///
/// A class without a price is unpriced, not free: what that means for a call is the table's [`Unknown`] choice.
///
/// ```
/// use encumber::{Price, Rounding, TokenClass, Usage};
/// let opus = Price::new().with(TokenClass::Input, "5".parse()?).with(TokenClass::Output, "25".parse()?);
/// let usage = Usage::new().with(TokenClass::Input, 10).with(TokenClass::Output, 3);
/// assert_eq!(opus.nanos(&usage, Rounding::Up), Some(125_000));
/// # Ok::<(), encumber::AmountError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Price {
    by_class: [Option<Ratio>; CLASSES],
}

impl Price {
    /// No class is priced yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// This price with a class set to `per_million` dollars per million tokens.
    pub fn with(mut self, class: TokenClass, per_million: Ratio) -> Self {
        self.by_class[class.index()] = Some(per_million);
        self
    }

    /// Whether no class has a price.
    pub fn is_empty(&self) -> bool {
        self.by_class.iter().all(Option::is_none)
    }

    /// Dollars per million tokens of `class`; reasoning falls back to output.
    pub fn per_million(&self, class: TokenClass) -> Option<Ratio> {
        let own = self.by_class[class.index()];
        if class == TokenClass::Reasoning { own.or(self.by_class[TokenClass::Output.index()]) } else { own }
    }

    /// The classes that `usage` used and that have no price.
    pub fn unpriced<'a>(&'a self, usage: &'a Usage) -> impl Iterator<Item = TokenClass> + 'a {
        TokenClass::ALL.into_iter().filter(|&class| usage.tokens(class) > 0 && self.per_million(class).is_none())
    }

    /// The cost of `usage` in nano-dollars, unpriced classes counted as 0 (see [`Price::unpriced`]); `None` when nothing is priced
    /// at all. `u64::MAX` when it is that much or more.
    pub fn nanos(&self, usage: &Usage, rounding: Rounding) -> Option<u64> {
        self.units(usage, NANOS_PER_USD, rounding)
    }

    /// Like [`Price::nanos`], in units of which one dollar has `units_per_usd`: 1,000,000 gives micro-dollars.
    pub fn units(&self, usage: &Usage, units_per_usd: u64, rounding: Rounding) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let linear = self.linear(units_per_usd);
        Some(linear.map_or(u64::MAX, |linear| linear.cost(&usage.tokens, Ratio::ONE, rounding)))
    }

    /// Units per token of each class.
    fn linear(&self, units_per_usd: u64) -> Option<Linear> {
        let per_token = Ratio::reduced(units_per_usd.into(), 1_000_000);
        let mut weights = [Ratio::ZERO; CLASSES];
        for class in TokenClass::ALL {
            if let Some(price) = self.per_million(class) {
                weights[class.index()] = price.product(per_token)?;
            }
        }
        Linear::new(&weights)
    }
}

/// What an operation or a model that is not in the table costs. There is no default: a table is built with a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown<T> {
    /// It is an error.
    Refuse,
    /// It costs this.
    Given(T),
    /// It counts as 0, and the cost says so ([`Cost::is_unpriced`](crate::Cost::is_unpriced)).
    Unpriced,
}

/// The tables by which usage is turned into amounts.
///
/// A resource whose unit is money is priced by model. The resource `tokens`, and each resource that is given weights, is the weighted
/// sum of the token classes times the operation's multiplier. The resource `calls` is 1 per call. Other resources do not follow from
/// usage; the host charges them itself.
///
/// ```
/// use encumber::{Price, Rates, Ratio, TokenClass, Unknown};
/// let rates = Rates::new(Unknown::Given(Ratio::ONE), Unknown::Refuse)
///     .operation("embedding", Ratio::from(5))
///     .price("claude-haiku-4-5", Price::new().with(TokenClass::Input, Ratio::ONE));
/// ```
#[derive(Clone, Debug)]
pub struct Rates {
    weights: HashMap<Box<str>, Weighing>,
    operations: HashMap<Box<str>, Ratio>,
    unknown_operation: Unknown<Ratio>,
    prices: HashMap<Box<str>, Pricing>,
    unknown_model: Unknown<Pricing>,
    rounding: Rounding,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Weighing {
    linear: Option<Linear>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pricing {
    price: Price,
    linear: Option<Linear>,
}

impl Pricing {
    fn new(price: Price) -> Self {
        Self { linear: price.linear(NANOS_PER_USD), price }
    }
}

impl Rates {
    /// Empty tables, with what an operation and a model cost that are not in them.
    pub fn new(unknown_operation: Unknown<Ratio>, unknown_model: Unknown<Price>) -> Self {
        let unknown_model = match unknown_model {
            Unknown::Refuse => Unknown::Refuse,
            Unknown::Given(price) => Unknown::Given(Pricing::new(price)),
            Unknown::Unpriced => Unknown::Unpriced,
        };
        Self {
            weights: HashMap::new(),
            operations: HashMap::new(),
            unknown_operation,
            prices: HashMap::new(),
            unknown_model,
            rounding: Rounding::Up,
        }
    }

    /// Tables in which whatever is unknown is refused.
    pub fn strict() -> Self {
        Self::new(Unknown::Refuse, Unknown::Refuse)
    }

    /// The multipliers of `HeliosDB`'s proxy: query 1, embedding 5, `vector_search` 10, write 2, transaction 3.
    pub fn helios_operations(mut self) -> Self {
        for (name, multiplier) in
            [("query", 1), ("embedding", 5), ("vector_search", 10), ("write", 2), ("transaction", 3)]
        {
            self = self.operation(name, Ratio::from(multiplier));
        }
        self
    }

    /// These tables with the classes of `resource` weighed by `weights`.
    pub fn weights(mut self, resource: &str, weights: &Weights) -> Self {
        self.weights.insert(resource.into(), Weighing { linear: weights.linear() });
        self
    }

    /// These tables with the operation `name` multiplied by `multiplier` in every weighed resource.
    pub fn operation(mut self, name: &str, multiplier: Ratio) -> Self {
        self.operations.insert(name.into(), multiplier);
        self
    }

    /// These tables with a price for the model `name`.
    pub fn price(mut self, name: &str, price: Price) -> Self {
        self.prices.insert(name.into(), Pricing::new(price));
        self
    }

    /// These tables with another way of rounding.
    pub fn rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }

    /// How costs are rounded.
    pub fn rounds(&self) -> Rounding {
        self.rounding
    }

    /// The price of the model `name`, if the table has one.
    pub fn price_of(&self, name: &str) -> Option<&Price> {
        self.prices.get(name).map(|pricing| &pricing.price)
    }

    /// The models that have a price, in no order.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.prices.keys().map(AsRef::as_ref)
    }

    /// Whether `resource` is weighed by a table of its own.
    pub(crate) fn weighs(&self, resource: &str) -> bool {
        self.weights.contains_key(resource)
    }

    /// The weighted tokens of `usage` in `resource`, and whether part of it was unpriced.
    pub(crate) fn weigh(&self, resource: &str, usage: &Usage) -> Result<(u64, bool), CostError> {
        let multiplier = match usage.operation.as_deref() {
            None => Ratio::ONE,
            Some(name) => match (self.operations.get(name), &self.unknown_operation) {
                (Some(&multiplier), _) | (None, &Unknown::Given(multiplier)) => multiplier,
                (None, Unknown::Refuse) => return Err(CostError::UnknownOperation(name.into())),
                (None, Unknown::Unpriced) => return Ok((0, true)),
            },
        };
        let equal = Linear { numerators: [1; CLASSES], denominator: 1 };
        let linear = self.weights.get(resource).map_or(Some(&equal), |weighing| weighing.linear.as_ref());
        Ok((linear.map_or(u64::MAX, |linear| linear.cost(&usage.tokens, multiplier, self.rounding)), false))
    }

    /// The price of `usage` in nano-dollars, and whether part of it was unpriced.
    pub(crate) fn nanos(&self, usage: &Usage) -> Result<(u64, bool), CostError> {
        let named = usage.model.as_deref().and_then(|name| self.prices.get(name));
        let (pricing, fallback) = match (named, &self.unknown_model) {
            (Some(pricing), fallback) => (pricing, fallback),
            (None, Unknown::Given(pricing)) => (pricing, &Unknown::Refuse),
            (None, Unknown::Unpriced) => return Ok((0, true)),
            (None, Unknown::Refuse) => return Err(CostError::UnknownModel(usage.model.clone())),
        };
        let Some(class) = pricing.price.unpriced(usage).next() else {
            return Ok((pricing.nanos(&usage.tokens, self.rounding), false));
        };
        match fallback {
            Unknown::Refuse => Err(CostError::UnpricedClass { model: usage.model.clone(), class }),
            Unknown::Unpriced => Ok((pricing.nanos(&usage.tokens, self.rounding), true)),
            Unknown::Given(given) => {
                let mut completed = pricing.price.clone();
                for class in TokenClass::ALL {
                    let own = completed.per_million(class);
                    completed.by_class[class.index()] = own.or(given.price.per_million(class));
                }
                let still_unpriced = completed.unpriced(usage).next();
                match still_unpriced {
                    Some(class) => Err(CostError::UnpricedClass { model: usage.model.clone(), class }),
                    None => Ok((Pricing::new(completed).nanos(&usage.tokens, self.rounding), false)),
                }
            }
        }
    }
}

impl Pricing {
    fn nanos(&self, tokens: &[u64; CLASSES], rounding: Rounding) -> u64 {
        self.linear.as_ref().map_or(u64::MAX, |linear| linear.cost(tokens, Ratio::ONE, rounding))
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self::strict()
    }
}

/// Usage that cannot be turned into a cost. Nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CostError {
    /// The operation is not in the table, and the table refuses what is not.
    UnknownOperation(Box<str>),
    /// The model has no price (or none was named), and the table refuses such.
    UnknownModel(Option<Box<str>>),
    /// The model has a price, but not for a class of tokens that the call used.
    UnpricedClass {
        /// The model, if one was named.
        model: Option<Box<str>>,
        /// The class without a price.
        class: TokenClass,
    },
}

impl fmt::Display for CostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOperation(name) => write!(f, "the operation {name:?} has no cost in the table"),
            Self::UnknownModel(Some(name)) => write!(f, "the model {name:?} has no price in the table"),
            Self::UnknownModel(None) => f.write_str("the usage names no model, so it cannot be priced"),
            Self::UnpricedClass { model, class } => {
                let model = model.as_deref().unwrap_or("(none)");
                write!(f, "the model {model:?} has no price for {} tokens", class.name())
            }
        }
    }
}

impl std::error::Error for CostError {}

/// Bounds for the estimate of a call that is reserved before its cost is known.
///
/// ```
/// use encumber::Estimate;
/// let estimate = Estimate::new(100, 1_000_000).unwrap();
/// assert_eq!([estimate.clamp(7), estimate.clamp(360_000), estimate.clamp(u64::MAX)], [100, 360_000, 1_000_000]);
/// assert!(Estimate::new(100, 50).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    floor: u64,
    ceiling: u64,
}

impl Estimate {
    /// Estimates of at least `floor` and at most `ceiling` units.
    ///
    /// # Errors
    /// When the ceiling is below the floor.
    pub const fn new(floor: u64, ceiling: u64) -> Result<Self, EstimateError> {
        if ceiling < floor { Err(EstimateError { floor, ceiling }) } else { Ok(Self { floor, ceiling }) }
    }

    /// `amount`, brought within the bounds.
    pub fn clamp(self, amount: u64) -> u64 {
        amount.clamp(self.floor, self.ceiling)
    }
}

/// The ceiling of an [`Estimate`] is below its floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EstimateError {
    floor: u64,
    ceiling: u64,
}

impl fmt::Display for EstimateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ceiling of an estimate ({}) is below its floor ({})", self.ceiling, self.floor)
    }
}

impl std::error::Error for EstimateError {}

#[cfg(test)]
mod tests {
    use super::*;

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
}

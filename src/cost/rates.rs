//! The tables: weights, operations and prices by name, with a choice for what is in none of them.

use std::collections::HashMap;
use std::fmt;

use super::linear::{Linear, Rounding};
use super::price::{self, Gap, Price, Row, Sheet};
use super::usage::{Service, TokenClass, Usage};
use super::weights::Weights;
use crate::amount::{NANOS_PER_USD, Ratio};

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

/// A price with its costs per token worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pricing {
    price: Price,
    /// By sheet of the price, the standard one first, and by tiers passed.
    levels: Vec<(Service, Vec<Level>)>,
}

/// The prices of calls of one service and tier.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    linear: Option<Linear>,
    /// A bit for each unit that has a price.
    priced: u32,
}

impl Level {
    fn new(row: &Row) -> Self {
        let priced = row.iter().enumerate().filter(|(_, price)| price.is_some());
        Self { linear: price::linear(row, NANOS_PER_USD), priced: priced.fold(0, |bits, (unit, _)| bits | 1 << unit) }
    }

    /// The cost of `usage` in nano-dollars, what is unpriced counted as 0.
    fn nanos(&self, usage: &Usage, rounding: Rounding) -> u64 {
        let linear = self.linear.as_ref();
        linear.map_or(u64::MAX, |linear| linear.cost(&usage.billed_counts(), Ratio::ONE, rounding))
    }
}

impl Pricing {
    fn new(price: Price) -> Self {
        let levels = |sheet: &Sheet| sheet.rows().map(|row| Level::new(&row)).collect();
        let levels = price.sheets().map(|(service, sheet)| (service, levels(sheet))).collect();
        Self { price, levels }
    }

    /// The prices for a call like `usage`; the standard ones for a service that is not known.
    fn level(&self, usage: &Usage) -> Option<&Level> {
        let own = self.levels.iter().find(|(service, _)| *service == usage.service);
        let passed = self.price.sheet_or_standard(usage.service).passed(usage.context());
        own.or(self.levels.first()).and_then(|(_, levels)| levels.get(passed))
    }

    /// The cost of `usage`, if all of it has a price.
    fn whole(&self, usage: &Usage, rounding: Rounding) -> Option<u64> {
        self.price.sheet(usage.service)?;
        let level = self.level(usage)?;
        (usage.billed_units() & !level.priced == 0).then(|| level.nanos(usage, rounding))
    }

    /// The cost of `usage` in nano-dollars, what is unpriced counted as 0, a service that is not known as the standard one.
    fn nanos(&self, usage: &Usage, rounding: Rounding) -> u64 {
        self.level(usage).map_or(u64::MAX, |level| level.nanos(usage, rounding))
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
        let equal = Linear::equal();
        let linear = self.weights.get(resource).map_or(Some(&equal), |weighing| weighing.linear.as_ref());
        Ok((linear.map_or(u64::MAX, |linear| linear.cost(&usage.token_counts(), multiplier, self.rounding)), false))
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
        if let Some(nanos) = pricing.whole(usage, self.rounding) {
            return Ok((nanos, false));
        }
        let Some(gap) = pricing.price.gap(usage) else {
            return Ok((pricing.nanos(usage, self.rounding), false));
        };
        match fallback {
            Unknown::Refuse => Err(CostError::unpriced(gap, usage)),
            Unknown::Unpriced => Ok((pricing.nanos(usage, self.rounding), true)),
            Unknown::Given(given) => self.completed(pricing, given, usage).map(|nanos| (nanos, false)),
        }
    }

    /// The cost by the prices of `pricing`, and by those of `given` where it has none.
    fn completed(&self, pricing: &Pricing, given: &Pricing, usage: &Usage) -> Result<u64, CostError> {
        let Some(given_sheet) = given.price.sheet(usage.service) else {
            return Err(CostError::unpriced(Gap::Service(usage.service), usage));
        };
        let given_row = given_sheet.row(given_sheet.passed(usage.context()));
        // A service that the model's own price does not know is priced by the given one alone.
        let own_row = pricing.price.sheet(usage.service).map(|sheet| sheet.row(sheet.passed(usage.context())));
        let row = std::array::from_fn(|unit| own_row.and_then(|row| row[unit]).or(given_row[unit]));
        if let Some(gap) = Gap::in_row(&row, usage) {
            return Err(CostError::unpriced(gap, usage));
        }
        let linear = price::linear(&row, NANOS_PER_USD);
        Ok(linear.map_or(u64::MAX, |linear| linear.cost(&usage.billed_counts(), Ratio::ONE, self.rounding)))
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
    /// The provider made web searches, and the model has no price for them. Holds the model, if one was named.
    UnpricedSearches(Option<Box<str>>),
    /// The call was served in a way that may cost more than any price the model has.
    UnpricedService {
        /// The model, if one was named.
        model: Option<Box<str>>,
        /// How the call was served.
        service: Service,
    },
}

impl CostError {
    fn unpriced(gap: Gap, usage: &Usage) -> Self {
        let model = usage.model.clone();
        match gap {
            Gap::Class(class) => Self::UnpricedClass { model, class },
            Gap::WebSearches => Self::UnpricedSearches(model),
            Gap::Service(service) => Self::UnpricedService { model, service },
        }
    }
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
            Self::UnpricedSearches(model) => {
                write!(f, "the model {:?} has no price for web searches", model.as_deref().unwrap_or("(none)"))
            }
            Self::UnpricedService { model, service } => {
                let model = model.as_deref().unwrap_or("(none)");
                write!(f, "the model {model:?} has no price for the service {:?}", service.name())
            }
        }
    }
}

impl std::error::Error for CostError {}

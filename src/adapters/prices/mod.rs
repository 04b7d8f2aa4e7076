//! Prices from the files that others keep. No table comes with the crate: the host reads the file it trusts.

mod genai;
mod litellm;
mod number;
mod rule;

use std::collections::HashMap;
use std::fmt;

use self::rule::{Rule, When};
use crate::cost::{Price, Rates};
use crate::time::Timestamp;

/// The prices of many models, read from a file of [`LiteLLM`](PriceTable::from_litellm) or of [genai-prices](PriceTable::from_genai).
///
/// Numbers are read digit by digit, never as floats. A model whose entry cannot be read whole is left out and
/// [listed](PriceTable::skipped): it is an unknown model then, never a free one.
///
/// ```
/// use encumber::{PriceTable, Timestamp, TokenClass};
/// let table = PriceTable::from_litellm(
///     r#"{ "gpt-5": { "litellm_provider": "openai", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05 },
///          "broken": { "litellm_provider": "openai", "input_cost_per_token": -1 } }"#,
/// )?;
/// let listed = table.find("gpt-5", Timestamp::UNIX_EPOCH).unwrap();
/// assert_eq!(listed.price().per_million(TokenClass::Input), "1.25".parse().ok());
/// assert!(table.find("broken", Timestamp::UNIX_EPOCH).is_none());
/// assert_eq!(table.skipped()[0].to_string(), "openai broken: input_cost_per_token: -1 is negative");
/// # Ok::<(), encumber::PriceFileError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PriceTable {
    providers: Vec<Provider>,
    /// Where each name stands, for files in which a model is known by one exact name: provider and model.
    names: Option<HashMap<Box<str>, (usize, usize)>>,
    skipped: Vec<SkippedPrice>,
}

#[derive(Clone, Debug)]
struct Provider {
    id: Box<str>,
    /// Other names of the provider.
    is_called: Option<Rule>,
    /// Models that are this provider's where none is told.
    owns: Option<Rule>,
    /// Whose models it sells besides its own.
    resells: Vec<Box<str>>,
    models: Vec<Model>,
}

#[derive(Clone, Debug)]
struct Model {
    id: Box<str>,
    rule: Rule,
    /// The last one in force holds, the first one where none is. At least one.
    prices: Vec<(When, Price)>,
    ignored: Vec<Box<str>>,
}

impl Model {
    fn price(&self, at: Timestamp) -> Option<&Price> {
        let in_force = self.prices.iter().rev().find(|(when, _)| when.holds(at));
        in_force.or(self.prices.first()).map(|(_, price)| price)
    }
}

impl PriceTable {
    /// Reads `LiteLLM`'s `model_prices_and_context_window.json`: dollars per token by exact model name.
    ///
    /// `..._above_200k_tokens` becomes a [tier](Price::above), and so do `tiered_pricing` ranges; `_batches`, `_flex` and `_priority` become
    /// [services](Price::service), completed from the standard prices as `LiteLLM` does. For web searches the dearest context size counts. Cached
    /// tokens without a price are unpriced; `LiteLLM` takes them for free. See `docs/prices.md`.
    ///
    /// # Errors
    /// When the text is not JSON of this shape, or names a model twice. A wrong number leaves out its model alone.
    pub fn from_litellm(json: &str) -> Result<Self, PriceFileError> {
        litellm::read(json)
    }

    /// Reads genai-prices' `data.json` (version 2): dollars per million tokens, rules by which model names are matched, tiers, and prices
    /// that begin on a date or hold at times of the day (UTC).
    ///
    /// As that library does, cached input without a price costs what other input costs. See `docs/prices.md`.
    ///
    /// # Errors
    /// When the text is not JSON of this shape. A wrong number or rule leaves out its model alone.
    pub fn from_genai(json: &str) -> Result<Self, PriceFileError> {
        genai::read(json)
    }

    /// The price of the model `name` at an instant, by whichever provider the file takes it for.
    pub fn find(&self, name: &str, at: Timestamp) -> Option<ListedPrice<'_>> {
        if let Some(names) = &self.names {
            let &(provider, model) = names.get(name)?;
            return listed(self.providers.get(provider)?, self.providers.get(provider)?.models.get(model)?, at);
        }
        let name = name.to_lowercase();
        let provider =
            self.providers.iter().find(|provider| provider.owns.as_ref().is_some_and(|r| r.matches(&name)))?;
        self.find_of(provider, &name, at)
    }

    /// The price of the model `name` of `provider` at an instant. A `LiteLLM` file is asked for `provider/name`, then for `name`.
    pub fn find_at(&self, provider: &str, name: &str, at: Timestamp) -> Option<ListedPrice<'_>> {
        if self.names.is_some() {
            let prefixed = self.find(&format!("{provider}/{name}"), at);
            return prefixed.or_else(|| self.find(name, at).filter(|listed| listed.provider == provider));
        }
        let (provider, name) = (provider.trim().to_lowercase(), name.to_lowercase());
        let by_id = self.providers.iter().find(|known| *known.id == *provider);
        let called = |known: &&Provider| known.is_called.as_ref().is_some_and(|rule| rule.matches(&provider));
        self.find_of(by_id.or_else(|| self.providers.iter().find(called))?, &name, at)
    }

    fn find_of<'a>(&'a self, provider: &'a Provider, name: &str, at: Timestamp) -> Option<ListedPrice<'a>> {
        let resold = provider.resells.iter().filter_map(|id| self.providers.iter().find(|other| other.id == *id));
        std::iter::once(provider).chain(resold).find_map(|provider| {
            let model = provider.models.iter().find(|model| model.rule.matches(name))?;
            Some(listed(provider, model, at))
        })?
    }

    /// Every model with the price it has at an instant, in the order of the file.
    pub fn iter(&self, at: Timestamp) -> impl Iterator<Item = ListedPrice<'_>> {
        let models = self.providers.iter().flat_map(|p| p.models.iter().map(move |model| (p, model)));
        models.filter_map(move |(provider, model)| listed(provider, model, at))
    }

    /// How many models have prices.
    pub fn len(&self) -> usize {
        self.providers.iter().map(|provider| provider.models.len()).sum()
    }

    /// Whether no model has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The models of the file that were left out, each with the reason.
    pub fn skipped(&self) -> &[SkippedPrice] {
        &self.skipped
    }

    /// The exact names by which models are known.
    fn names(&self) -> impl Iterator<Item = &str> {
        let models = self.providers.iter().flat_map(|provider| &provider.models);
        models.flat_map(|model| std::iter::once(&*model.id).chain(model.rule.exact_names()))
    }
}

fn listed<'a>(provider: &'a Provider, model: &'a Model, at: Timestamp) -> Option<ListedPrice<'a>> {
    let price = model.price(at)?;
    Some(ListedPrice { provider: &provider.id, model: &model.id, price, ignored: &model.ignored })
}

/// A model's price in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedPrice<'a> {
    provider: &'a str,
    model: &'a str,
    price: &'a Price,
    ignored: &'a [Box<str>],
}

impl<'a> ListedPrice<'a> {
    /// The provider that the file lists the model under.
    pub fn provider(&self) -> &'a str {
        self.provider
    }

    /// The model's name in the file.
    pub fn model(&self) -> &'a str {
        self.model
    }

    /// The price.
    pub fn price(&self) -> &'a Price {
        self.price
    }

    /// The fields about money that the file has for this model and that [`Price`] does not know, such as prices per image or surcharges by
    /// region. A call that uses such is not priced whole.
    pub fn ignored(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.ignored.iter().map(AsRef::as_ref)
    }
}

impl Rates {
    /// These tables with the prices that `table` has at an instant for each of `models`, under those names. Where the table tells providers
    /// apart, `provider` chooses; with `None` the file does.
    ///
    /// ```
    /// use encumber::{PriceTable, Rates, Timestamp};
    /// let table = PriceTable::from_litellm(r#"{ "gpt-5": { "input_cost_per_token": 1.25e-06 } }"#)?;
    /// let rates = Rates::strict().prices_from(&table, None, ["gpt-5"], Timestamp::UNIX_EPOCH)?;
    /// assert!(rates.price_of("gpt-5").is_some());
    /// assert!(Rates::strict().prices_from(&table, None, ["gpt-6"], Timestamp::UNIX_EPOCH).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Names the first model for which the table has no price.
    pub fn prices_from<'a>(
        self,
        table: &PriceTable,
        provider: Option<&str>,
        models: impl IntoIterator<Item = &'a str>,
        at: Timestamp,
    ) -> Result<Self, UnlistedModel> {
        models.into_iter().try_fold(self, |rates, name| {
            let found = match provider {
                Some(provider) => table.find_at(provider, name, at),
                None => table.find(name, at),
            };
            match found {
                Some(listed) => Ok(rates.price(name, listed.price().clone())),
                None => Err(UnlistedModel { model: name.into() }),
            }
        })
    }

    /// These tables with every price that `table` has at an instant, under the exact names that it knows. Names that only a rule such as
    /// "begins with" would match are not among them: ask for those by [`Rates::prices_from`].
    pub fn all_prices_from(self, table: &PriceTable, at: Timestamp) -> Self {
        table.names().fold(self, |rates, name| match table.find(name, at) {
            Some(listed) => rates.price(name, listed.price().clone()),
            None => rates,
        })
    }
}

/// The table has no price for a model that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlistedModel {
    model: Box<str>,
}

impl UnlistedModel {
    /// The model.
    pub fn model(&self) -> &str {
        &self.model
    }
}

impl fmt::Display for UnlistedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the table has no price for the model {:?}", self.model)
    }
}

impl std::error::Error for UnlistedModel {}

/// A price file that could not be read at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PriceFileError {
    /// The text is not JSON, or not of the expected shape. Holds what is wrong, with line and column.
    Json(Box<str>),
    /// The file names a model twice.
    Duplicate(Box<str>),
}

impl From<serde_json::Error> for PriceFileError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string().into())
    }
}

impl fmt::Display for PriceFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(what) => write!(f, "not a price file: {what}"),
            Self::Duplicate(model) => write!(f, "the price file names the model {model:?} twice"),
        }
    }
}

impl std::error::Error for PriceFileError {}

/// A model of a price file that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedPrice {
    provider: Box<str>,
    model: Box<str>,
    field: Box<str>,
    fault: PriceFault,
}

impl SkippedPrice {
    /// The provider in the file.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The model's name in the file.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The field that is wrong; empty when it is the whole entry.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong with it.
    pub fn fault(&self) -> &PriceFault {
        &self.fault
    }
}

impl fmt::Display for SkippedPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.provider.is_empty() {
            write!(f, "{} ", self.provider)?;
        }
        write!(f, "{}: ", self.model)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        self.fault.fmt(f)
    }
}

/// Why a model was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PriceFault {
    /// The entry prices nothing by tokens, calls or searches.
    Unpriced,
    /// A price below 0.
    Negative(Box<str>),
    /// A price above a dollar per token (or per call or search, a thousand dollars): a test entry or a slip.
    Absurd(Box<str>),
    /// Not a number, or one of more than 20 significant digits.
    NotANumber(Box<str>),
    /// The entry has another shape than the file's format says.
    Shape(Box<str>),
}

impl fmt::Display for PriceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unpriced => f.write_str("no price by tokens, calls or searches"),
            Self::Negative(text) => write!(f, "{text} is negative"),
            Self::Absurd(text) => write!(f, "{text} is more than any model costs"),
            Self::NotANumber(text) => write!(f, "{text} is not a number of at most 20 digits"),
            Self::Shape(what) => write!(f, "{what}"),
        }
    }
}

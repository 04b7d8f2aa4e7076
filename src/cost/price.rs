//! What a model costs: prices by class, by the size of the context, and by service.

use super::linear::{Linear, Rounding};
use super::usage::{CALLS, CLASSES, Service, TokenClass, UNITS, Usage, WEB_SEARCHES};
use crate::amount::{NANOS_PER_USD, Ratio};

/// What a model costs: dollars per million tokens, by class.
///
/// A class without a price is unpriced, not free: what that means for a call is the table's [`Unknown`](crate::Unknown) choice. Audio,
/// images and video are priced as their [plain class](TokenClass::plain) where they have no price, and reasoning as output.
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
    standard: Sheet,
    /// Ascending, each service once, the standard one never.
    services: Vec<(Service, Sheet)>,
}

impl Price {
    /// No class is priced yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// This price with a class set to `per_million` dollars per million tokens.
    pub fn with(mut self, class: TokenClass, per_million: Ratio) -> Self {
        self.standard.base.set(class.index(), per_million);
        self
    }

    /// This price with web searches at `per_thousand` dollars per thousand.
    pub fn with_web_search(mut self, per_thousand: Ratio) -> Self {
        self.standard.base.set(WEB_SEARCHES, per_thousand);
        self
    }

    /// This price with a fee for each call, beside its tokens, of `per_thousand` dollars per thousand calls.
    pub fn with_call_fee(mut self, per_thousand: Ratio) -> Self {
        self.standard.base.set(CALLS, per_thousand);
        self
    }

    /// This price with other prices for calls that send more than `context` tokens, cached ones included
    /// ([`Usage::context`]). Such a call is priced by them wholly, not only what it sends beyond. Classes that `prices` does not name
    /// keep what they cost below. The same context again adds to it.
    ///
    /// ```
    /// use encumber::{Price, Rounding, TokenClass, Usage};
    /// let sonnet = Price::new()
    ///     .with(TokenClass::Input, "3".parse()?)
    ///     .with(TokenClass::Output, "15".parse()?)
    ///     .above(200_000, [(TokenClass::Input, "6".parse()?), (TokenClass::Output, "22.5".parse()?)]);
    /// let cost = |tokens| sonnet.nanos(&Usage::new().with(TokenClass::Input, tokens), Rounding::Up);
    /// assert_eq!([cost(200_000), cost(200_001)], [Some(600_000_000), Some(1_200_006_000)]);
    /// # Ok::<(), encumber::AmountError>(())
    /// ```
    pub fn above(mut self, context: u64, prices: impl IntoIterator<Item = (TokenClass, Ratio)>) -> Self {
        let tier = self.standard.tier_mut(context);
        for (class, per_million) in prices {
            tier.set(class.index(), per_million);
        }
        self
    }

    /// This price with other prices for calls that were served as `service` ([`Usage::service`]): those of `price`, tiers included. A
    /// class without a price there is unpriced. [`Service::Standard`] replaces the prices themselves.
    ///
    /// A service that a price does not know costs as much as the standard one where that is never too little (batch and flex), and is
    /// unpriced otherwise (priority).
    pub fn service(mut self, service: Service, price: Self) -> Self {
        match (service, self.services.binary_search_by_key(&service, |&(known, _)| known)) {
            (Service::Standard, _) => self.standard = price.standard,
            (_, Ok(index)) => self.services[index].1 = price.standard,
            (_, Err(index)) => self.services.insert(index, (service, price.standard)),
        }
        self
    }

    /// [`Price::service`] for batches, which most providers sell at half the price.
    pub fn batch(self, price: Self) -> Self {
        self.service(Service::Batch, price)
    }

    /// This price in which cached input costs what uncached input of its kind costs, wherever it has no price of its own: for providers that
    /// tell of caching and give nothing for it. A one-hour write without a price costs what a five-minute one costs.
    pub fn with_cache_as_input(mut self) -> Self {
        self.standard.fill_cache();
        self.services.iter_mut().for_each(|(_, sheet)| sheet.fill_cache());
        self
    }

    /// Whether nothing has a price.
    pub fn is_empty(&self) -> bool {
        self.standard.is_empty() && self.services.iter().all(|(_, sheet)| sheet.is_empty())
    }

    /// Whether there are prices and all of them are 0.
    pub fn is_free(&self) -> bool {
        let sheets = || std::iter::once(&self.standard).chain(self.services.iter().map(|(_, sheet)| sheet));
        !self.is_empty() && sheets().all(Sheet::is_free)
    }

    /// Dollars per million tokens of `class` at the standard service below all tiers; where there is no price of its own, that of the class
    /// it is priced as.
    pub fn per_million(&self, class: TokenClass) -> Option<Ratio> {
        self.standard.row(0)[class.index()]
    }

    /// Dollars per million tokens of `class` in a call like `usage`: as it was served, and with its context.
    pub fn per_million_in(&self, usage: &Usage, class: TokenClass) -> Option<Ratio> {
        self.sheet(usage.service)?.row_for(usage)[class.index()]
    }

    /// The contexts above which calls have other prices, ascending.
    pub fn tiers(&self) -> impl Iterator<Item = u64> + '_ {
        self.standard.tiers.iter().map(|tier| tier.above)
    }

    /// The services that have prices of their own.
    pub fn services(&self) -> impl Iterator<Item = Service> + '_ {
        self.services.iter().map(|&(service, _)| service)
    }

    /// The classes that `usage` used and that have no price.
    pub fn unpriced<'a>(&'a self, usage: &'a Usage) -> impl Iterator<Item = TokenClass> + 'a {
        let row = self.row_or_standard(usage);
        TokenClass::ALL.into_iter().filter(move |&class| usage.tokens(class) > 0 && row[class.index()].is_none())
    }

    /// The cost of `usage` in nano-dollars, what is unpriced counted as 0 (see [`Price::unpriced`]); `None` when nothing is priced
    /// at all. `u64::MAX` when it is that much or more.
    pub fn nanos(&self, usage: &Usage, rounding: Rounding) -> Option<u64> {
        self.units(usage, NANOS_PER_USD, rounding)
    }

    /// Like [`Price::nanos`], in units of which one dollar has `units_per_usd`: 1,000,000 gives micro-dollars.
    pub fn units(&self, usage: &Usage, units_per_usd: u64, rounding: Rounding) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let linear = linear(&self.row_or_standard(usage), units_per_usd);
        Some(linear.map_or(u64::MAX, |linear| linear.cost(&usage.billed_counts(), Ratio::ONE, rounding)))
    }

    /// What is missing for the whole of `usage` to be priced.
    pub(super) fn gap(&self, usage: &Usage) -> Option<Gap> {
        let Some(sheet) = self.sheet(usage.service) else { return Some(Gap::Service(usage.service)) };
        Gap::in_row(&sheet.row_for(usage), usage)
    }

    /// The prices of the classes in a call like `usage`; the standard ones for a service that is not known.
    pub(super) fn row_or_standard(&self, usage: &Usage) -> Row {
        self.sheet_or_standard(usage.service).row_for(usage)
    }

    pub(super) fn sheet_or_standard(&self, service: Service) -> &Sheet {
        self.sheet(service).unwrap_or(&self.standard)
    }

    /// The prices for a service; `None` where it may cost more than any price known.
    pub(super) fn sheet(&self, service: Service) -> Option<&Sheet> {
        let own = self.services.iter().find(|&&(known, _)| known == service).map(|(_, sheet)| sheet);
        own.or(service.is_at_most_standard().then_some(&self.standard))
    }

    /// The sheets, the standard one first.
    pub(super) fn sheets(&self) -> impl Iterator<Item = (Service, &Sheet)> {
        let standard = std::iter::once((Service::Standard, &self.standard));
        standard.chain(self.services.iter().map(|(service, sheet)| (*service, sheet)))
    }
}

/// What keeps a usage from being priced whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    Class(TokenClass),
    WebSearches,
    Service(Service),
}

impl Gap {
    pub(super) fn in_row(row: &Row, usage: &Usage) -> Option<Self> {
        let class = |&class: &TokenClass| usage.tokens(class) > 0 && row[class.index()].is_none();
        let searches = usage.web_searches > 0 && row[WEB_SEARCHES].is_none();
        TokenClass::ALL.into_iter().find(class).map(Self::Class).or(searches.then_some(Self::WebSearches))
    }
}

/// A price for everything that can have one, fallbacks applied.
pub(super) type Row = [Option<Ratio>; UNITS];

/// The prices of one service.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Sheet {
    base: Prices,
    /// Ascending, each `above` once.
    tiers: Vec<Tier>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tier {
    above: u64,
    prices: Prices,
}

impl Sheet {
    fn tier_mut(&mut self, above: u64) -> &mut Prices {
        let index = self.tiers.binary_search_by_key(&above, |tier| tier.above).unwrap_or_else(|index| {
            self.tiers.insert(index, Tier { above, prices: Prices::default() });
            index
        });
        &mut self.tiers[index].prices
    }

    fn is_empty(&self) -> bool {
        self.base.0.is_empty() && self.tiers.iter().all(|tier| tier.prices.0.is_empty())
    }

    fn is_free(&self) -> bool {
        let rows = std::iter::once(&self.base).chain(self.tiers.iter().map(|tier| &tier.prices));
        rows.flat_map(|prices| &prices.0).all(|(_, price)| price.is_zero())
    }

    /// How many tiers a call of `context` tokens has passed.
    pub(super) fn passed(&self, context: u64) -> usize {
        self.tiers.partition_point(|tier| tier.above < context)
    }

    fn row_for(&self, usage: &Usage) -> Row {
        self.row(self.passed(usage.context()))
    }

    /// The prices after `passed` tiers.
    pub(super) fn row(&self, passed: usize) -> Row {
        let mut row = self.own(passed);
        for class in TokenClass::ALL {
            let plain = class.plain().index();
            row[class.index()] = row[class.index()].or(row[plain]);
        }
        row[TokenClass::Reasoning.index()] = row[TokenClass::Reasoning.index()].or(row[TokenClass::Output.index()]);
        row
    }

    /// Without fallbacks.
    fn own(&self, passed: usize) -> Row {
        let mut row = [None; UNITS];
        for prices in std::iter::once(&self.base).chain(self.tiers.iter().take(passed).map(|tier| &tier.prices)) {
            for &(unit, price) in &prices.0 {
                row[unit] = Some(price);
            }
        }
        row
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        (0..=self.tiers.len()).map(|passed| self.row(passed))
    }

    fn fill_cache(&mut self) {
        use TokenClass as C;
        // Each class after those that it may be filled from.
        const FROM: [(C, C); 6] = [
            (C::CacheWrite5m, C::Input),
            (C::CacheWrite1h, C::CacheWrite5m),
            (C::CacheReadAudio, C::InputAudio),
            (C::CacheReadImage, C::InputImage),
            (C::CacheReadVideo, C::InputVideo),
            (C::CacheRead, C::Input),
        ];
        let priced = |sheet: &Self, class: C| (0..=sheet.tiers.len()).any(|n| sheet.own(n)[class.index()].is_some());
        for (class, from) in FROM {
            let is_priced = priced(self, class) || class.plain() != class && priced(self, class.plain());
            if !is_priced {
                let rows = std::iter::once(&mut self.base).chain(self.tiers.iter_mut().map(|tier| &mut tier.prices));
                rows.for_each(|prices| prices.copy(from.index(), class.index()));
            }
        }
    }
}

/// Prices by unit, ascending, each unit once: dollars per million tokens, per thousand of anything else.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Prices(Vec<(usize, Ratio)>);

impl Prices {
    fn set(&mut self, unit: usize, price: Ratio) {
        match self.0.binary_search_by_key(&unit, |&(known, _)| known) {
            Ok(index) => self.0[index].1 = price,
            Err(index) => self.0.insert(index, (unit, price)),
        }
    }

    fn copy(&mut self, from: usize, to: usize) {
        if let Some(&(_, price)) = self.0.iter().find(|&&(unit, _)| unit == from) {
            self.set(to, price);
        }
    }
}

/// Units of money for one of each thing that has a price; what has none counts as 0.
pub(super) fn linear(row: &Row, units_per_usd: u64) -> Option<Linear> {
    let per_token = Ratio::reduced(units_per_usd.into(), 1_000_000);
    let per_piece = Ratio::reduced(units_per_usd.into(), 1_000);
    let mut weights = [Ratio::ZERO; UNITS];
    for (unit, (weight, price)) in weights.iter_mut().zip(row).enumerate() {
        if let Some(price) = price {
            *weight = price.product(if unit < CLASSES { per_token } else { per_piece })?;
        }
    }
    Linear::new(&weights)
}

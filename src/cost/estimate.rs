//! What to reserve for a call before its cost is known.

use std::fmt;

use super::linear::Rounding;
use super::price::Price;
use super::rates::{CostError, Rates};
use super::usage::{TokenClass, Usage};
use crate::amount::NANOS_PER_USD;

/// Bounds for the estimate of a call that is reserved before its cost is known.
///
/// What is estimated is the worst case: the input as told, and as much output as the call may answer with, in the dearer of visible output
/// and reasoning. A call whose price is not known, or not whole, is estimated at the ceiling: an unknown model may be an expensive one.
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

    /// The estimate in nano-dollars of a call that sends what `usage` says and may answer with `output_max` tokens, at `price`.
    ///
    /// ```
    /// use encumber::{Estimate, Price, TokenClass, Usage};
    /// let bounds = Estimate::new(1_000_000, 500_000_000).unwrap(); // a tenth of a cent to 50 cents
    /// let price = Price::new().with(TokenClass::Input, "5".parse()?).with(TokenClass::Output, "25".parse()?);
    /// let call = Usage::new().with(TokenClass::Input, 2_000);
    /// assert_eq!(bounds.nanos(Some(&price), &call, 4_096), 112_400_000);
    /// assert_eq!(bounds.nanos(Some(&price), &call, 64_000), 500_000_000);
    /// assert_eq!(bounds.nanos(None, &call, 10), 500_000_000, "an unknown price");
    /// # Ok::<(), encumber::AmountError>(())
    /// ```
    pub fn nanos(self, price: Option<&Price>, usage: &Usage, output_max: u64) -> u64 {
        self.units(price, usage, output_max, NANOS_PER_USD)
    }

    /// Like [`Estimate::nanos`], in units of which one dollar has `units_per_usd`. The bounds are in the same units.
    pub fn units(self, price: Option<&Price>, usage: &Usage, output_max: u64, units_per_usd: u64) -> u64 {
        let case = |usage: &Usage| {
            let price = price.filter(|price| price.gap(usage).is_none())?;
            price.units(usage, units_per_usd, Rounding::Up)
        };
        self.worst(worst_cases(usage, output_max).iter().map(case))
    }

    /// The largest of some cases within the bounds; the ceiling when one is not known.
    fn worst(self, cases: impl Iterator<Item = Option<u64>>) -> u64 {
        cases.map(|case| case.map_or(self.ceiling, |amount| self.clamp(amount))).max().unwrap_or(self.ceiling)
    }

    /// `amount`, brought within the bounds.
    pub fn clamp(self, amount: u64) -> u64 {
        amount.clamp(self.floor, self.ceiling)
    }
}

/// What a call may turn out to be: `output_max` tokens of either kind of text.
fn worst_cases(usage: &Usage, output_max: u64) -> [Usage; 2] {
    [TokenClass::Output, TokenClass::Reasoning].map(|class| usage.answered(class, output_max))
}

impl Rates {
    /// The estimate in nano-dollars of a call that sends what `usage` says and may answer with `output_max` tokens, within bounds, by
    /// these tables. What the table counts as unpriced is estimated at the ceiling.
    ///
    /// ```
    /// use encumber::{Estimate, Price, Rates, Ratio, TokenClass, Unknown, Usage};
    /// let haiku = Price::new().with(TokenClass::Input, Ratio::ONE).with(TokenClass::Output, Ratio::from(5));
    /// let rates = Rates::new(Unknown::Refuse, Unknown::Unpriced).price("haiku", haiku);
    /// let bounds = Estimate::new(100_000, 500_000_000).unwrap();
    /// let call = Usage::new().model("haiku").with(TokenClass::Input, 1_000);
    /// assert_eq!(rates.estimate(&call, 4_096, bounds), Ok(21_480_000));
    /// assert_eq!(rates.estimate(&call.model("new-model"), 4_096, bounds), Ok(500_000_000));
    /// ```
    ///
    /// # Errors
    /// When the tables refuse what they do not know, and the model, a class or the service is such.
    pub fn estimate(&self, usage: &Usage, output_max: u64, within: Estimate) -> Result<u64, CostError> {
        let cases = worst_cases(usage, output_max).map(|case| self.nanos(&case));
        let mut known = Vec::with_capacity(cases.len());
        for case in cases {
            known.push(case.map(|(nanos, is_unpriced)| (!is_unpriced).then_some(nanos))?);
        }
        Ok(within.worst(known.into_iter()))
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

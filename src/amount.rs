//! What is counted: resources, amounts of them, caps, and exact numbers for weights and prices.

use std::fmt;
use std::str::FromStr;

use smallvec::SmallVec;

#[cfg(feature = "json")]
mod json;

#[cfg(feature = "json")]
pub use json::CapValueError;

/// Nano-dollars in one dollar: amounts of a [`Unit::Usd`] resource are counted in these.
pub const NANOS_PER_USD: u64 = 1_000_000_000;

/// What one unit of a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Plain units: tokens, calls, steps, bytes.
    Count,
    /// Money, counted in nano-dollars (1 usd = 1,000,000,000).
    Usd,
}

impl Unit {
    /// Reads an amount as people write it in this unit: a whole number of units, or decimal dollars. Exact.
    ///
    /// ```
    /// use encumber::Unit;
    /// assert_eq!(Unit::Usd.parse("0.75")?, 750_000_000);
    /// assert_eq!(Unit::Count.parse("250000")?, 250_000);
    /// assert!(Unit::Count.parse("2.5").is_err());
    /// assert!(Unit::Usd.parse("-1").is_err() && Unit::Usd.parse("NaN").is_err());
    /// # Ok::<(), encumber::AmountError>(())
    /// ```
    ///
    /// # Errors
    /// When the text is not such a number, is finer than one unit (one nano-dollar), or does not fit `u64`.
    pub fn parse(self, text: &str) -> Result<u64, AmountError> {
        let scaled = text.parse::<Ratio>()?.times(self.per_whole());
        match scaled {
            Some(Ratio { numerator, denominator: 1 }) => {
                u64::try_from(numerator).map_err(|_| AmountError::new(text, Wrong::TooLarge))
            }
            Some(_) => Err(AmountError::new(text, Wrong::TooFine(self))),
            None => Err(AmountError::new(text, Wrong::TooLarge)),
        }
    }

    /// Writes an amount as people read it: a whole number, or decimal dollars without trailing zeros.
    ///
    /// ```
    /// use encumber::Unit;
    /// assert_eq!(Unit::Usd.format(739_627_587_850), "739.62758785");
    /// assert_eq!(Unit::Usd.format(25_000_000_000), "25");
    /// assert_eq!(Unit::Count.format(4096), "4096");
    /// ```
    pub fn format(self, amount: u64) -> String {
        match self {
            Self::Count => amount.to_string(),
            Self::Usd => {
                let (whole, nanos) = (amount / NANOS_PER_USD, amount % NANOS_PER_USD);
                let text = format!("{whole}.{nanos:09}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        }
    }

    /// Amount units in one whole unit as people write it.
    pub(crate) const fn per_whole(self) -> u64 {
        match self {
            Self::Count => 1,
            Self::Usd => NANOS_PER_USD,
        }
    }
}

/// A resource that an engine counts, looked up by name with [`Engine::resource`](crate::Engine::resource).
///
/// A small copyable handle. It belongs to the engine that gave it: another engine refuses it as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// The engine's number above the resource's: one comparison tells both.
    bits: u64,
}

impl Resource {
    pub(crate) const fn new(engine: u32, index: u32) -> Self {
        Self { bits: (engine as u64) << u32::BITS | index as u64 }
    }

    pub(crate) const fn engine(self) -> u32 {
        (self.bits >> u32::BITS) as u32
    }

    pub(crate) const fn index(self) -> usize {
        (self.bits & u32::MAX as u64) as usize
    }

    /// The handle as one word, for [`Resource::from_bits`].
    pub(crate) const fn bits(self) -> u64 {
        self.bits
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self { bits }
    }

    /// A cost of `amount` units of this resource (nano-dollars when its unit is [`Unit::Usd`]).
    #[inline]
    pub fn of(self, amount: u64) -> Cost {
        Cost::of(self, amount)
    }
}

/// What a call costs: an amount for each of some resources.
///
/// A resource that is not named is not part of the cost; that differs from an amount of 0, which asks the
/// resource's budgets a question without taking anything. Up to four resources are held without allocating.
///
/// ```
/// use encumber::{Cap, Cost, Engine, Limit, Policy, Unit, Window};
/// # let policy = Policy::builder().resource("usd", Unit::Usd).resource("calls", Unit::Count)
/// #     .limit(Limit::new("day", "user", "usd", Window::Day, Cap::Max(1))).build()?;
/// # let engine = Engine::new(policy);
/// let (usd, calls) = (engine.resource("usd")?, engine.resource("calls")?);
/// let cost = usd.of(250_000_000).and(calls, 1);
/// assert_eq!(cost.amount(usd), Some(250_000_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Cost {
    pub(crate) items: SmallVec<[(Resource, u64); 4]>,
    pub(crate) unpriced: bool,
}

impl Cost {
    /// A cost of nothing: it names no resource.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// A cost of `amount` units of one resource.
    #[inline]
    pub fn of(resource: Resource, amount: u64) -> Self {
        let mut items = SmallVec::new();
        items.push((resource, amount));
        Self { items, unpriced: false }
    }

    /// This cost with `amount` of `resource` added; a resource named twice adds up, saturating at `u64::MAX`, which no hard limit
    /// admits.
    pub fn and(mut self, resource: Resource, amount: u64) -> Self {
        self.add(resource, amount);
        self
    }

    /// Adds `amount` of `resource` in place, saturating.
    pub fn add(&mut self, resource: Resource, amount: u64) {
        match self.items.iter_mut().find(|(named, _)| *named == resource) {
            Some((_, sum)) => *sum = sum.saturating_add(amount),
            None => self.items.push((resource, amount)),
        }
    }

    /// Adds every amount of `other`, saturating.
    pub fn add_all(&mut self, other: &Self) {
        for &(resource, amount) in &other.items {
            self.add(resource, amount);
        }
        self.unpriced |= other.unpriced;
    }

    /// Whether it has more of some resource than `other`.
    #[cfg(feature = "persist")]
    pub(crate) fn is_more(&self, other: &Self) -> bool {
        self.items.iter().any(|&(resource, amount)| amount > other.amount(resource).unwrap_or(0))
    }

    /// What this cost has beyond `earlier`, resource by resource: what has come to it since, for
    /// [`Hold::observe`](crate::Hold::observe). A resource that has not grown is not named.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("day", "user", "tokens", Window::Day, Cap::Max(1))).build()?;
    /// # let tokens = Engine::new(policy).resource("tokens")?;
    /// assert_eq!(tokens.of(70).beyond(&tokens.of(50)), tokens.of(20));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn beyond(&self, earlier: &Self) -> Self {
        let grown = |&(resource, amount): &(Resource, u64)| {
            let more = amount.saturating_sub(earlier.amount(resource).unwrap_or(0));
            (more > 0).then_some((resource, more))
        };
        Self { items: self.items.iter().filter_map(grown).collect(), unpriced: self.unpriced }
    }

    /// The amount of `resource`, or `None` when the cost does not name it.
    #[inline]
    pub fn amount(&self, resource: Resource) -> Option<u64> {
        self.items.iter().find(|(named, _)| *named == resource).map(|&(_, amount)| amount)
    }

    /// The resources named, with their amounts, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (Resource, u64)> + '_ {
        self.items.iter().copied()
    }

    /// Whether part of the usage behind this cost had no price and was counted as 0 by the table's explicit choice
    /// ([`Unknown::Unpriced`](crate::Unknown::Unpriced)).
    pub fn is_unpriced(&self) -> bool {
        self.unpriced
    }

    /// Takes up to `most` of each resource out of this cost, and returns what was taken.
    pub(crate) fn take_up_to(&mut self, most: &Self) -> Self {
        let mut taken = Self::nothing();
        for (resource, amount) in &mut self.items {
            if let Some(most) = most.amount(*resource) {
                let share = most.min(*amount);
                *amount -= share;
                taken.items.push((*resource, share));
            }
        }
        taken
    }

    /// What is left of each resource without `other`, floored at 0.
    pub(crate) fn less(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        for (resource, amount) in &mut rest.items {
            *amount = amount.saturating_sub(other.amount(*resource).unwrap_or(0));
        }
        rest
    }

    /// Whether no resource has an amount above 0.
    pub fn is_zero(&self) -> bool {
        self.items.iter().all(|(_, amount)| *amount == 0)
    }

    /// The larger amount of each resource that either cost names.
    pub(crate) fn max(mut self, other: &Self) -> Self {
        for &(resource, amount) in &other.items {
            match self.items.iter_mut().find(|(named, _)| *named == resource) {
                Some((_, mine)) => *mine = (*mine).max(amount),
                None => self.items.push((resource, amount)),
            }
        }
        self.unpriced |= other.unpriced;
        self
    }
}

impl Clone for Cost {
    #[inline]
    fn clone(&self) -> Self {
        // A copy of the bytes; the derived one clones item by item.
        Self { items: SmallVec::from_slice(&self.items), unpriced: self.unpriced }
    }
}

/// The same amounts of the same resources, in whatever order.
impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        let named = |&(resource, amount): &(Resource, u64)| other.amount(resource) == Some(amount);
        self.items.len() == other.items.len() && self.items.iter().all(named) && self.unpriced == other.unpriced
    }
}

impl Eq for Cost {}

/// How much a limit allows per window.
///
/// ```
/// use encumber::Cap;
/// assert!(Cap::Max(10) < Cap::Unlimited);
/// assert_eq!(Cap::from_zero_unlimited(0), Cap::Unlimited);
/// assert_eq!(Cap::Max(1_000_001).scaled(&"8.5".parse()?), Some(Cap::Max(8_500_008)));
/// # Ok::<(), encumber::AmountError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cap {
    /// At most this much; `Max(0)` refuses everything.
    Max(u64),
    /// Counted, never refused.
    Unlimited,
}

impl Cap {
    /// The dialect of systems in which a limit of 0 means "no limit".
    pub const fn from_zero_unlimited(max: u64) -> Self {
        if max == 0 { Self::Unlimited } else { Self::Max(max) }
    }

    /// This cap times an exact multiplier (a tier such as ×8.5), rounded down once; `None` when it does not fit `u64`.
    pub fn scaled(self, multiplier: &Ratio) -> Option<Self> {
        match self {
            Self::Unlimited => Some(Self::Unlimited),
            Self::Max(max) => multiplier.times(max).and_then(|r| u64::try_from(r.floor()).ok()).map(Self::Max),
        }
    }

    /// The number, or `None` when unlimited.
    pub const fn max(self) -> Option<u64> {
        match self {
            Self::Max(max) => Some(max),
            Self::Unlimited => None,
        }
    }
}

/// An exact non-negative number: a decimal such as `0.1` or a fraction such as `1/3`, in lowest terms.
///
/// Weights, prices and multipliers are these; there are no floats in the crate's arithmetic.
///
/// ```
/// use encumber::Ratio;
/// assert_eq!("1.250".parse::<Ratio>()?, Ratio::new(5, 4).unwrap());
/// assert_eq!("6.25e-06".parse::<Ratio>()?, Ratio::new(625, 100_000_000).unwrap());
/// assert!("-0.1".parse::<Ratio>().is_err() && "inf".parse::<Ratio>().is_err());
/// # Ok::<(), encumber::AmountError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    pub(crate) numerator: u128,
    pub(crate) denominator: u128,
}

impl Ratio {
    /// Nothing.
    pub const ZERO: Self = Self { numerator: 0, denominator: 1 };
    /// One.
    pub const ONE: Self = Self { numerator: 1, denominator: 1 };

    /// `numerator / denominator`, or `None` when the denominator is 0.
    pub fn new(numerator: u64, denominator: u64) -> Option<Self> {
        (denominator != 0).then(|| Self::reduced(numerator.into(), denominator.into()))
    }

    pub(crate) fn reduced(numerator: u128, denominator: u128) -> Self {
        let divisor = gcd(numerator, denominator);
        Self { numerator: numerator / divisor, denominator: denominator / divisor }
    }

    /// This number times a whole one; `None` past 2^128.
    pub(crate) fn times(self, factor: u64) -> Option<Self> {
        let divisor = gcd(u128::from(factor), self.denominator);
        let numerator = self.numerator.checked_mul(u128::from(factor) / divisor)?;
        Some(Self { numerator, denominator: self.denominator / divisor })
    }

    /// The product; `None` past 2^128.
    pub(crate) fn product(self, other: Self) -> Option<Self> {
        let (a, b) =
            (Self::reduced(self.numerator, other.denominator), Self::reduced(other.numerator, self.denominator));
        Some(Self {
            numerator: a.numerator.checked_mul(b.numerator)?,
            denominator: a.denominator.checked_mul(b.denominator)?,
        })
    }

    pub(crate) const fn floor(self) -> u128 {
        self.numerator / self.denominator
    }

    /// Whether this is 0.
    pub const fn is_zero(self) -> bool {
        self.numerator == 0
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

/// The decimal if it ends within 38 digits, else the fraction: `0.1`, `1/3`.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { numerator, denominator } = *self;
        let powers = (0..=38_u32).map(|digits| (digits, 10_u128.pow(digits)));
        let ends = powers.into_iter().find(|(_, power)| power % denominator == 0);
        let scaled =
            ends.and_then(|(digits, power)| Some((digits, power, numerator.checked_mul(power / denominator)?)));
        match scaled {
            Some((0, ..)) => write!(f, "{numerator}"),
            Some((digits, power, scaled)) => {
                write!(f, "{}.{:0width$}", scaled / power, scaled % power, width = digits as usize)
            }
            None => write!(f, "{numerator}/{denominator}"),
        }
    }
}

impl From<u32> for Ratio {
    fn from(whole: u32) -> Self {
        Self { numerator: whole.into(), denominator: 1 }
    }
}

/// Digits that a [`Ratio`] accepts: enough for any price or weight, small enough that nothing overflows on the way.
const RATIO_DIGITS_MAX: usize = 20;

impl FromStr for Ratio {
    type Err = AmountError;

    /// Reads `digits[.digits][e±digits]` or `digits/digits`. No sign, no blanks, no underscores, at most 20 significant digits a side.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |wrong| AmountError::new(text, wrong);
        if let Some((numerator, denominator)) = text.split_once('/') {
            let (numerator, denominator) = (digits(numerator), digits(denominator));
            return match (numerator, denominator) {
                (Some(_), Some(0)) | (None, _) | (_, None) => Err(error(Wrong::NotANumber)),
                (Some(numerator), Some(denominator)) => Ok(Self::reduced(numerator, denominator)),
            };
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
                let (sign, exponent_digits) = exponent.strip_prefix('-').map_or((1, exponent), |digits| (-1, digits));
                let exponent = digits(exponent_digits).ok_or_else(|| error(Wrong::NotANumber))?;
                let exponent =
                    i32::try_from(exponent).ok().filter(|e| *e <= 18).ok_or_else(|| error(Wrong::TooLarge))?;
                (mantissa, sign * exponent)
            }
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let fraction = if fraction.len() > 1 { fraction.trim_end_matches('0') } else { fraction };
        let fraction = if fraction.is_empty() && mantissa.len() > whole.len() + 1 { "0" } else { fraction };
        let (Some(whole), Some(decimals)) = (digits(whole), digits(fraction)) else {
            let too_long =
                mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.') && mantissa.len() > RATIO_DIGITS_MAX;
            return Err(error(if too_long { Wrong::TooLarge } else { Wrong::NotANumber }));
        };
        if fraction.len() > RATIO_DIGITS_MAX {
            return Err(error(Wrong::TooLarge));
        }
        let scale = 10_u128.pow(fraction.len() as u32);
        let numerator =
            whole.checked_mul(scale).and_then(|n| n.checked_add(decimals)).ok_or_else(|| error(Wrong::TooLarge))?;
        let power = 10_u128.pow(exponent.unsigned_abs());
        let value = Self::reduced(numerator, scale);
        let shift = if exponent < 0 {
            Self { numerator: 1, denominator: power }
        } else {
            Self { numerator: power, denominator: 1 }
        };
        value.product(shift).ok_or_else(|| error(Wrong::TooLarge))
    }
}

/// A run of 1 to [`RATIO_DIGITS_MAX`] ASCII digits, leading zeros aside.
fn digits(text: &str) -> Option<u128> {
    let significant = text.trim_start_matches('0');
    let whole = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && significant.len() <= RATIO_DIGITS_MAX;
    whole.then(|| significant.bytes().fold(0, |n, b| n * 10 + u128::from(b - b'0')))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    NotANumber,
    TooLarge,
    TooFine(Unit),
}

/// A text that is not an exact, non-negative number, or not one that the unit can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmountError {
    text: Box<str>,
    wrong: Wrong,
}

impl AmountError {
    fn new(text: &str, wrong: Wrong) -> Self {
        Self { text: text.chars().take(64).collect(), wrong }
    }
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wrong {
            Wrong::NotANumber => {
                write!(f, "{:?} is not a non-negative number such as \"25\", \"0.75\" or \"1/3\"", self.text)
            }
            Wrong::TooLarge => write!(f, "{:?} is larger than can be held ({})", self.text, u64::MAX),
            Wrong::TooFine(Unit::Usd) => write!(f, "{:?} is finer than a nano-dollar (nine decimals)", self.text),
            Wrong::TooFine(Unit::Count) => write!(f, "{:?} is not a whole number", self.text),
        }
    }
}

impl std::error::Error for AmountError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_read_exactly() {
        let ratio = |text: &str| text.parse::<Ratio>().map(|r| (r.numerator, r.denominator)).ok();
        assert_eq!(ratio("0"), Some((0, 1)));
        assert_eq!(ratio("0.10"), Some((1, 10)));
        assert_eq!(ratio("007"), Some((7, 1)));
        assert_eq!(ratio("10/4"), Some((5, 2)));
        assert_eq!(ratio("1.5e3"), Some((1500, 1)));
        assert_eq!(ratio("0.028194000000000004"), Some((7_048_500_000_000_001, 250_000_000_000_000_000)));
        for bad in [
            "", ".", "1.", ".5", "-1", "+1", "1e", "1e99", "NaN", "inf", "1_000", " 1", "1 ", "1/0", "1/2/3", "١",
            "0x1",
        ] {
            assert_eq!(ratio(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn amounts_round_trip_in_both_units() {
        for amount in [0, 1, 999_999_999, NANOS_PER_USD, 1_133_950_000_001, u64::MAX] {
            for unit in [Unit::Count, Unit::Usd] {
                assert_eq!(unit.parse(&unit.format(amount)), Ok(amount), "{unit:?}");
            }
        }
        assert!(Unit::Usd.parse("0.0000000001").unwrap_err().to_string().contains("nano-dollar"));
        assert!(Unit::Usd.parse("18446744074").unwrap_err().to_string().contains("larger"));
    }
}

//! Exact sums of counts times prices, rounded once.

use super::usage::{CLASSES, UNITS};
use crate::amount::Ratio;

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

/// Exact weights of everything countable with one common denominator: costs are whole-number sums and one division.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Linear {
    numerators: [u128; UNITS],
    denominator: u128,
}

impl Linear {
    /// Every token weighs 1, nothing else anything.
    pub(super) const fn equal() -> Self {
        let mut numerators = [0; UNITS];
        let mut class = 0;
        while class < CLASSES {
            numerators[class] = 1;
            class += 1;
        }
        Self { numerators, denominator: 1 }
    }

    /// `None` when the weights have no common denominator below 2^128.
    pub(super) fn new(weights: &[Ratio; UNITS]) -> Option<Self> {
        let denominator = weights
            .iter()
            .try_fold(1_u128, |common, w| common.checked_mul(Ratio::reduced(common, w.denominator).denominator))?;
        let mut numerators = [0; UNITS];
        for (numerator, weight) in numerators.iter_mut().zip(weights) {
            *numerator = weight.numerator.checked_mul(denominator / weight.denominator)?;
        }
        Some(Self { numerators, denominator })
    }

    /// The cost of `counts`, times `multiplier`; `u64::MAX` when it is that much or more.
    pub(super) fn cost(&self, counts: &[u64; UNITS], multiplier: Ratio, rounding: Rounding) -> u64 {
        self.checked_cost(counts, multiplier, rounding).and_then(|cost| u64::try_from(cost).ok()).unwrap_or(u64::MAX)
    }

    fn checked_cost(&self, counts: &[u64; UNITS], multiplier: Ratio, rounding: Rounding) -> Option<u128> {
        let denominator = self.denominator.checked_mul(multiplier.denominator)?;
        let mut exact = 0_u128;
        let mut by_class = 0_u128;
        for (&count, numerator) in counts.iter().zip(&self.numerators).filter(|(count, _)| **count > 0) {
            let scaled = u128::from(count).checked_mul(numerator.checked_mul(multiplier.numerator)?)?;
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

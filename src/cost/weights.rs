//! What the classes of tokens weigh in a counted resource.

use super::linear::{Linear, Rounding};
use super::usage::{CLASSES, TokenClass, UNITS, Usage};
use crate::amount::Ratio;

/// What each class of tokens weighs in a resource. A class that is not named weighs 1, one of audio, images or video what its
/// [plain class](TokenClass::plain) weighs.
///
/// ```
/// use encumber::{Rounding, TokenClass, Usage, Weights};
/// let usage = Usage::new().with(TokenClass::Input, 100).with(TokenClass::CacheRead, 5);
/// assert_eq!(Weights::provider_cache().weigh(&usage, Rounding::Up), 101);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    by_class: [Option<Ratio>; CLASSES],
}

impl Weights {
    /// Every class weighs 1.
    pub const fn equal() -> Self {
        Self { by_class: [None; CLASSES] }
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
        self.by_class[class.index()] = Some(weight);
        self
    }

    /// The weighted sum of a usage's tokens; `u64::MAX` when it is that much or more.
    pub fn weigh(&self, usage: &Usage, rounding: Rounding) -> u64 {
        self.linear().map_or(u64::MAX, |linear| linear.cost(&usage.token_counts(), Ratio::ONE, rounding))
    }

    pub(super) fn linear(&self) -> Option<Linear> {
        let mut weights = [Ratio::ZERO; UNITS];
        for class in TokenClass::ALL {
            let named = self.by_class[class.index()].or(self.by_class[class.plain().index()]);
            weights[class.index()] = named.unwrap_or(Ratio::ONE);
        }
        Linear::new(&weights)
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::equal()
    }
}

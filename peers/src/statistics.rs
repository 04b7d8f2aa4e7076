//! The few statistics of the report.

use serde::Serialize;

/// Where the values of a set of rounds lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) lower_quartile: f64,
    pub(crate) median: f64,
    pub(crate) upper_quartile: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of at least one value. A quantile between two values is interpolated.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quantile: f64| {
            let place = quantile * (values.len() - 1) as f64;
            let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        Self { min: at(0.0), lower_quartile: at(0.25), median: at(0.5), upper_quartile: at(0.75), max: at(1.0) }
    }

    /// The spread of the quotients, round by round.
    pub(crate) fn of_ratios(values: &[f64], to: &[f64]) -> Self {
        Self::of(values.iter().zip(to).map(|(value, to)| value / to).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_known_values() {
        let spread = Spread::of(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(spread, Spread { min: 1.0, lower_quartile: 2.0, median: 3.0, upper_quartile: 4.0, max: 5.0 });
        let even = Spread::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!((even.lower_quartile, even.median, even.upper_quartile), (1.75, 2.5, 3.25));
        let alone = Spread::of(vec![7.0]);
        assert_eq!((alone.min, alone.upper_quartile), (7.0, 7.0));
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The ratio of the medians would be 2; one round was slow for both.
        let spread = Spread::of_ratios(&[3.0, 30.0, 4.0], &[1.0, 10.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (2.0, 3.0, 3.0));
    }
}

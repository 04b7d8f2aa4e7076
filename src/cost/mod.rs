//! Usage turned into amounts: weights, operations and prices, exact, rounded once.

mod estimate;
mod linear;
mod price;
mod rates;
mod usage;
mod weights;

pub use estimate::{Estimate, EstimateError};
pub use linear::Rounding;
pub use price::Price;
pub use rates::{CostError, Rates, Unknown};
pub use usage::{ClassSet, Service, TokenClass, Usage};
pub use weights::Weights;

#[cfg(test)]
mod tests;

//! What others write, read into the crate's own words: price files and the usage that providers report.

#[cfg(feature = "prices")]
pub(crate) mod prices;
#[cfg(feature = "usage")]
pub(crate) mod usage;

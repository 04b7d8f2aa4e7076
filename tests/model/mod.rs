//! The engine and the reference model, driven with the same operations and compared at each step.
//!
//! A run is made from bytes: eight for the policy it begins with, then eight for each step. Any bytes are a run, so a property test, a
//! fuzzer and a shrinker can all make one, and cutting steps out of a run leaves the others as they are.

pub(crate) mod drive;
pub(crate) mod script;

mod compare;
mod costs;
mod keep;
mod ledger;
pub(crate) mod reopen;
mod settle;
mod words;
mod world;
mod zones;

//! The reference model of `encumber`: a budget engine of maps and plain integers, so simple that it can be checked by reading.
//!
//! # What it is for
//!
//! The engine decides in one atomic word per budget, on a clock that may jump, for many threads at once. This model does the same
//! arithmetic with none of that: one thread, one map from window to counts for each budget, wide integers, time given with every
//! call. Property tests, fuzzing and `replay --verify` drive both with the same calls and compare every outcome and every figure.
//! What they disagree on is a bug in one of them. For that to mean something the two share no code: this package depends on nothing,
//! and its calendar counts years and months off one by one.
//!
//! It is for tests: it is not atomic, forgets nothing, and takes policies as they are without looking for mistakes in them.
//!
//! ```
//! use encumber_model::{Enforcement, Error, Limit, Model, Policy, Retry, Window};
//!
//! let day = Limit { max: Some(100), ..Limit::new("user-day", "user", "tokens", Window::Day, Enforcement::Hard) };
//! let mut model = Model::new(Policy { limits: vec![day], resources: vec!["tokens".into()], ..Policy::default() });
//!
//! let hold = model.reserve(&["user:7"], &[("tokens", 80)], 0).unwrap().hold;
//! let Err(Error::Refused(refusal)) = model.try_charge(&["user:7"], &[("tokens", 30)], 0) else { panic!("there is no room") };
//! assert_eq!((refusal.violations[0].held, refusal.violations[0].remaining), (80, 20));
//! assert_eq!(refusal.violations[0].retry, Retry::At(86_400_000_000));
//!
//! model.commit(hold, &[("tokens", 60)], false, 0).unwrap();
//! assert!(model.try_charge(&["user:7"], &[("tokens", 40)], 0).is_ok());
//! ```
//!
//! # How it counts
//!
//! - A budget is known by limit id, resource, window and subject. It remembers what was charged and held in each of its windows.
//! - An operation counts in the window of its instant, or in the budget's current one where that is later. What charges or records
//!   more than 0 makes a window the current one of the budgets that it names. A reservation that is admitted, also one of 0, and an
//!   extension that holds something make it the current one of every budget of their scope: they may be settled in any resource.
//! - A hard budget that refuses while its current window lies more than one ahead of the call's instant may have been opened by a
//!   clock that had jumped. It was when the instant lies before the last window that was begun with unused ones before it. The window is
//!   then renumbered as the first one after the instant that does not precede what was in use before the jump, and the refusal tells
//!   when that one ends. What is charged stays; what was held counts as used. Holds made in it lie ahead of the current window from then
//!   on: what they spend beyond the hold goes to the current window, what they would give back is dropped. A clock that is set back
//!   within windows that followed each other renumbers nothing: they have all been granted.
//! - A window from first use is numbered by use: what charges, or holds, after the last one ended begins the next one, at a whole
//!   millisecond. One that began after the instant of a call that is refused begins at that instant: its clock had jumped.
//! - A rolling window is a list of what sub-intervals of `⌈length / 60⌉` microseconds charged, on the grid of the epoch. What number `k`
//!   charged counts while the number of now is below `k + 61`. Numbers never go back. When a refusal finds that the clock had jumped by
//!   more than a window and has come back, its number stands from then on for the largest that was reached. A hold is settled in its own
//!   number, and not at all once that counts no more.
//! - A hold whose time has run out is settled when somebody looks: before a refusal, and by [`Model::usage`], [`Model::afford`],
//!   [`Model::resume`], [`Model::sweep`], a failed [`Model::renew`], and reservations that are kept. Until then it is open.
//! - While something is degraded, checks and records and reservations are open or closed as [`Settings`] say. With open reservations
//!   hard limits are soft.
//! - A count has the bits that the engine's word leaves it ([`Window::bits`]); one that reaches their top value is saturated, shown as
//!   `u64::MAX`, all of it used, and stays so until the window ends.
//! - A reservation settles in the windows and on the budgets that admitted it, one part for the reservation and one for each
//!   extension. What it names but did not hold counts as a hold of 0 there.
//! - An actual may name the resources that the policies which admitted the reservation and its extensions declare.
//! - The caps against which a settlement reports overage are those of the policy that admitted the part; of parts in one window, the last.
//! - A resource named twice in a cost adds up, to at most `u64::MAX`, and so do the extensions of a hold. A cost that
//!   names nothing takes part in no budget and is admitted. A charge of 0 passes and reports nothing.
//! - Of two faults in one call the unknown kind comes before the unknown resource, and both before a refusal.

mod budget;
mod calendar;
mod holds;
mod model;
mod outcome;
mod policy;
mod rolling;

pub use calendar::{Calendar, Dates, Starts, Window};
pub use model::Model;
pub use outcome::{
    Admission, Component, Error, HoldId, Outcome, Overage, ReceiptId, Recorded, Refusal, Reserved, Retry, Settings,
    Settled, Status, Usage, Violation,
};
pub use policy::{Enforcement, Limit, Policy};

//! Criterion benches of the public operations: `cargo bench --bench operations`, or some of them: `… -- reserve`.
//!
//! With `-- --test` each runs once, with few subjects: that they run is what is tested.
#![allow(missing_docs, reason = "criterion's macro makes an undocumented function")]

mod holds;
mod keys;
mod owners;
mod resets;
mod rig;
mod scopes;
mod threads;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Shorter than criterion's own, so that all of them are minutes: the differences of interest are larger than what that loses.
fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1_500))
}

criterion_group! {
    name = benches;
    config = short();
    targets = scopes::by_budgets, scopes::one_resource, scopes::windows, scopes::refused, scopes::degraded, scopes::resolved,
        holds::settled, holds::changed, holds::kept, resets::resets, owners::workflows, owners::slots, owners::allowances,
        keys::by_key, threads::threads
}
criterion_main!(benches);

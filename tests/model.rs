//! The engine against the reference model: the same random operations, every outcome and every figure compared.
//!
//! `ENCUMBER_SEED` sets the seed (64 bits, printed on failure), `ENCUMBER_CASES_N` how many runs are made,
//! `ENCUMBER_REOPENED_CASES_N` how many of an engine that is closed and opened between steps.

#[path = "model/mod.rs"]
mod harness;

use std::cell::RefCell;
use std::str::FromStr;

use harness::drive::{self, Tally};
use harness::reopen::Reopening;
use harness::script::Raw;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

const SEED: u64 = 20_260_204;
const CASES_N: u32 = 500;
/// Of runs that are closed and opened between steps: opening takes longer than the steps.
#[cfg(feature = "persist")]
const REOPENED_CASES_N: u32 = 60;
const STEPS_N_MAX: usize = 120;

/// What must happen in runs for them to say anything.
const HAPPENS: [&str; 49] = [
    "admitted",
    "afforded",
    "charged",
    "closed while degraded",
    "commit refused",
    "committed",
    "committed after expiry",
    "committed again",
    "committed late",
    "committed late and over",
    "committed over",
    "detached",
    "detached without a place",
    "dropped",
    "dropped and charged",
    "extended",
    "extension refused",
    "finished",
    "forgotten",
    "forgotten id",
    "id in use",
    "id replayed",
    "id settled",
    "passed while degraded",
    "policy",
    "recorded",
    "recorded over",
    "refund of too much",
    "refund too late",
    "refunded",
    "refunded again",
    "refused for good",
    "refused until",
    "refused until others end",
    "released",
    "released again",
    "remembered",
    "renewal refused",
    "renewed",
    "renumbered",
    "resumed",
    "split",
    "split refused",
    "told",
    "too many holds",
    "unknown",
    "unknown kind",
    "waited",
    "went back",
];

/// What must happen in runs that are closed and opened between steps, besides what is as good there as elsewhere.
#[cfg(feature = "persist")]
const HAPPENS_REOPENED: [&str; 2] = ["forgotten by a reopening", "reopened"];
/// What is too rare in the few of them: clocks do not go back to before an opening, and receipts go with the engine.
#[cfg(feature = "persist")]
const RARE_REOPENED: [&str; 4] = ["id replayed", "refund too late", "refunded again", "renumbered"];

#[test]
fn engine_and_model_agree() {
    agree(("ENCUMBER_CASES_N", CASES_N), Reopening::Never, &HAPPENS);
}

#[cfg(feature = "persist")]
#[test]
fn engine_and_model_agree_when_it_is_closed_and_opened_between_steps() {
    let happens = HAPPENS.iter().chain(&HAPPENS_REOPENED).filter(|what| !RARE_REOPENED.contains(what));
    agree(
        ("ENCUMBER_REOPENED_CASES_N", REOPENED_CASES_N),
        Reopening::BetweenSteps,
        &happens.copied().collect::<Vec<_>>(),
    );
}

fn agree((number, cases_default): (&str, u32), reopening: Reopening, happens: &[&str]) {
    let seed = from_environment("ENCUMBER_SEED", SEED);
    let cases = from_environment(number, cases_default);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes));
    let tally = RefCell::new(Tally::new());
    let outcome = runner.run(&(any::<Raw>(), vec(any::<Raw>(), 0..STEPS_N_MAX)), |(head, steps)| {
        let happened = drive::run(head, &steps, reopening)
            .map_err(|fault| TestCaseError::fail(format!("{}\n{}", fault.difference, fault.log)))?;
        for (what, count) in happened {
            *tally.borrow_mut().entry(what).or_default() += count;
        }
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, (head, steps))) => {
            panic!("ENCUMBER_SEED={seed} {number}={cases}: {reason}\nbytes: {head:?} {steps:?}")
        }
        Err(error) => panic!("ENCUMBER_SEED={seed} {number}={cases}: {error}"),
    }
    let tally = tally.into_inner();
    if cases >= cases_default {
        let missing: Vec<_> = happens.iter().filter(|what| !tally.contains_key(*what)).collect();
        assert!(missing.is_empty(), "ENCUMBER_SEED={seed}: {cases} runs never came to {missing:?}, only to {tally:#?}");
    }
}

fn from_environment<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")),
        Err(_) => default,
    }
}

//! Any bytes as a run of operations: engine and reference model must agree at each step.
//!
//! A run is long; let the fuzzer make long ones at once: `cargo +nightly fuzz run operations -- -len_control=0 -max_len=1000`.

#![no_main]

#[path = "../../tests/model/mod.rs"]
mod harness;

use harness::drive;
use harness::reopen::Reopening;
use harness::script::{Raw, STEP_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut raws = bytes.chunks(STEP_BYTES).map(|chunk| {
        let mut raw = Raw::default();
        raw[..chunk.len()].copy_from_slice(chunk);
        raw
    });
    let head = raws.next().unwrap_or_default();
    let steps: Vec<Raw> = raws.collect();
    if let Err(fault) = drive::run(head, &steps, Reopening::Never) {
        panic!("{}\n{}", fault.difference, fault.log);
    }
});

//! What the log promises, on a file system that forgets and on the real one.

mod crash;
mod damage;
mod disk;
mod faults;
mod golden;
mod host;
mod round_trip;
mod salvage;
mod threads;

/// How many states a test goes through: more where there is time.
fn states_wanted(everyday: u64) -> u64 {
    std::env::var("ENCUMBER_CRASH_STATES").ok().and_then(|text| text.parse().ok()).unwrap_or(everyday)
}

/// Where the random part begins: so that a failure can be had again.
fn first_seed() -> u64 {
    std::env::var("ENCUMBER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

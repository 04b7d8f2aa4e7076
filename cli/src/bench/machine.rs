//! The machine that a run ran on, as far as it tells.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// What figures should be read beside.
pub(super) struct Machine {
    pub(super) cpu: Option<String>,
    pub(super) cores: usize,
    pub(super) os: &'static str,
    pub(super) arch: &'static str,
}

impl Machine {
    pub(super) fn here() -> Self {
        Self { cpu: cpu(), cores: cores(), os: std::env::consts::OS, arch: std::env::consts::ARCH }
    }
}

/// How many threads run at once here.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The processor's name, where the system has it in a file.
fn cpu() -> Option<String> {
    value_of("/proc/cpuinfo", "model name")
}

/// Resident memory of this process in bytes, where the system has it in a file.
pub(super) fn resident_bytes() -> Option<u64> {
    let text = value_of("/proc/self/status", "VmRSS")?;
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// How long this thread has had a processor, where the system has it in a file. On a machine that does other things as well, the rest of a run's
/// time was theirs.
pub(super) fn thread_running() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn value_of(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.trim(), value.trim())).find(|line| line.0 == key).map(|line| line.1.to_owned())
}

/// What a reading of the clock adds to a time that is taken between two of them: the median of readings one after another.
pub(super) fn clock_overhead() -> Duration {
    const READINGS: usize = 10_001;
    let mut times: Vec<Duration> = (0..READINGS).map(|_| black_box(Instant::now()).elapsed()).collect();
    times.sort_unstable();
    times[READINGS / 2]
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_is_known() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert_eq!(value_of("/proc/self/status", "Nothing"), None);
    }
}

//! What the figures were measured on.

use std::time::SystemTime;

use encumber::Timestamp;
use serde::Serialize;

/// The machine, the compiler, the day.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) architecture: &'static str,
    pub(crate) system: &'static str,
    pub(crate) rustc: &'static str,
    pub(crate) profile: &'static str,
    pub(crate) date: String,
    /// The load of the last minute when the run began: figures beside other work are worse.
    pub(crate) load: Option<f64>,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            cpu: cpu().unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            architecture: std::env::consts::ARCH,
            system: std::env::consts::OS,
            rustc: env!("PEERS_RUSTC"),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            date: Timestamp::from_seconds(now as i64).to_string().chars().take(10).collect(),
            load: load(),
        }
    }
}

fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

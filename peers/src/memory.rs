//! Memory per subject: a child process asks once for each of many keys, and says by how much its resident memory grew.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::contender::{Group, Plan, Spec};
use crate::keys::write_key;

/// What each budget admits; it is asked for one unit.
const MAX: u64 = 1 << 31;

/// What one subject takes, or why that is not known.
pub(crate) struct Weighed {
    pub(crate) spec: Spec,
    pub(crate) subjects: usize,
    pub(crate) bytes: Result<f64, String>,
}

/// Those that keep more than a few hundred bytes for each subject are asked for fewer.
pub(crate) fn subjects(spec: &Spec, subjects: usize) -> usize {
    let is_heavy =
        matches!(spec.package, Some("limitador" | "llm-budget" | "trypema")) || spec.name.contains("HeliosDB");
    if is_heavy { subjects.div_ceil(5) } else { subjects }
}

/// Runs the child and reads what it says.
pub(crate) fn weigh(spec: &Spec, most: usize) -> Weighed {
    let subjects = subjects(spec, most);
    let run = || -> Result<f64> {
        let program = std::env::current_exe().context("this program")?;
        let output =
            Command::new(program).args(["--memory-child", spec.name, "--subjects", &subjects.to_string()]).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(said.trim().parse::<f64>().context("the child's figure")? / subjects as f64)
    };
    Weighed { spec: spec.clone(), subjects, bytes: run().map_err(|error| format!("failed: {error:#}")) }
}

/// The child: bytes of resident memory that these subjects took.
pub(crate) fn child(spec: &Spec, subjects: usize) -> Result<u64> {
    let mut text = String::with_capacity(64);
    let before = resident()?;
    let plan = Plan { group: Group::Memory, max: MAX, threads: 1, shared: true, keys: subjects };
    let mut seats = (spec.make)(&plan)?;
    for number in 0..subjects {
        write_key(&mut text, number);
        ensure!(seats[0].ask(&text, 1), "{} refused {text}", spec.name);
    }
    Ok(resident()?.saturating_sub(before))
}

/// Bytes of this process in memory.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("resident memory is read from /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_grows_with_what_is_kept() {
        let before = resident().expect("resident memory");
        let kept = vec![1_u8; 64 << 20];
        let grown = resident().expect("resident memory").saturating_sub(before);
        // Other tests of this process come and go with a few megabytes.
        assert!(grown > 32 << 20, "{grown}");
        drop(kept);
    }
}

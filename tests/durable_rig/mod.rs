//! What tests of engines that survive restarts have in common: a directory, a policy, a clock.

#![allow(dead_code, reason = "each test uses some of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use encumber::{Cap, Engine, EngineBuilder, Limit, ManualClock, Persist, Policy, PolicyBuilder, Unit, Window};

/// A directory that goes with the test.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: the numbers only have to differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("encumber-durable-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// What a process that is killed now leaves behind: all that was written, synced or not.
    pub(crate) fn killed(&self) -> Self {
        let copy = Self::new();
        for entry in fs::read_dir(&self.0).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.0.join(entry.file_name())).unwrap();
        }
        copy
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves it behind, for whoever looks into a failure.
    pub(crate) fn keep(self) -> PathBuf {
        let path = self.0.clone();
        std::mem::forget(self);
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) const START: &str = "2026-02-04T20:55:00Z";

pub(crate) fn clock() -> ManualClock {
    ManualClock::at(START.parse().unwrap())
}

pub(crate) fn policy() -> PolicyBuilder {
    Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("credits", Unit::Count)
        .limit(Limit::new("day", "user", "tokens", Window::Day, Cap::Max(6_400)))
        .limit(Limit::new("life", "user", "tokens", Window::Lifetime, Cap::Max(64_000)))
        .limit(Limit::new("team", "global", "tokens", Window::Month, Cap::Unlimited))
        .limit(Limit::new("rolling", "agent", "tokens", "rolling 1h".parse().unwrap(), Cap::Max(1_000)))
        .limit(Limit::new("session", "agent", "tokens", "5h from first use".parse().unwrap(), Cap::Max(2_000)))
        .limit(Limit::new("credit", "user", "credits", Window::Lifetime, Cap::Max(0)))
}

pub(crate) fn builder(clock: &ManualClock) -> EngineBuilder {
    Engine::builder(policy().build().unwrap()).clock(clock)
}

pub(crate) fn open(dir: &Dir, clock: &ManualClock) -> Engine {
    builder(clock).persist(Persist::journal(dir.path())).build().unwrap()
}

/// Limit, used and held of each budget of a scope.
pub(crate) fn usage(engine: &Engine, subject: &str) -> Vec<(String, u64, u64)> {
    let usage = engine.scope([subject]).unwrap().usage().unwrap();
    usage.into_iter().map(|budget| (budget.limit.to_string(), budget.used, budget.held)).collect()
}

pub(crate) fn used(engine: &Engine, subject: &str, limit: &str) -> u64 {
    usage(engine, subject).into_iter().find(|(id, ..)| id == limit).map(|(_, used, held)| used + held).unwrap()
}

/// A small generator with a long enough period (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

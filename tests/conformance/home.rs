//! Where the engines of a case are kept: in memory, or in directories of their own, where they can be closed and opened again.

#[cfg(feature = "persist")]
use std::path::PathBuf;

use encumber::{Engine, EngineBuilder, Policy};

/// How the engines of a case are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    InMemory,
    /// On disk, and opened again between steps.
    #[cfg(feature = "persist")]
    OnDisk,
}

/// An engine's home, and how the engine is set up.
pub(crate) struct Home {
    set_up: Box<dyn Fn(EngineBuilder) -> EngineBuilder + Send + Sync>,
    #[cfg(feature = "persist")]
    dir: Option<PathBuf>,
}

impl Home {
    /// The engine at home. Whoever drops both drops the engine first.
    pub(crate) fn engine(
        keeping: Keeping,
        policy: Policy,
        set_up: impl Fn(EngineBuilder) -> EngineBuilder + Send + Sync + 'static,
    ) -> Result<(Engine, Self), String> {
        #[cfg(not(feature = "persist"))]
        let Keeping::InMemory = keeping;
        let home = Self {
            set_up: Box::new(set_up),
            #[cfg(feature = "persist")]
            dir: on_disk::dir(keeping)?,
        };
        Ok((home.build(policy)?, home))
    }

    #[cfg(not(feature = "persist"))]
    #[allow(clippy::unnecessary_wraps, reason = "as on disk")]
    fn build(&self, policy: Policy) -> Result<Engine, String> {
        Ok((self.set_up)(Engine::builder(policy)).build())
    }
}

#[cfg(feature = "persist")]
mod on_disk {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU64, Ordering};

    use encumber::{Engine, LostGuards, Persist, Policy};

    use super::{Home, Keeping};

    /// How often an engine was opened again.
    static REOPENED: AtomicU64 = AtomicU64::new(0);

    pub(crate) fn reopened() -> u64 {
        REOPENED.load(Ordering::Relaxed)
    }

    pub(super) fn dir(keeping: Keeping) -> Result<Option<PathBuf>, String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if keeping == Keeping::InMemory {
            return Ok(None);
        }
        // Where there is memory to write to: a sync takes its time on a disk.
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        // Relaxed: the numbers only have to differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("encumber-conformance-{}-{number}", std::process::id()));
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
        }
        Ok(Some(dir))
    }

    impl Home {
        pub(super) fn build(&self, policy: Policy) -> Result<Engine, String> {
            let builder = (self.set_up)(Engine::builder(policy));
            let Some(dir) = &self.dir else { return Ok(builder.build()) };
            // A hold is released when its time runs out unless it was dispatched: so that is written down.
            let persist = Persist::journal(dir).os().lost_guards(LostGuards::ByDispatch);
            builder.persist(persist).build().map_err(|error| error.to_string())
        }

        /// Closes the engine, and opens it again with the policy in force. What is degraded is of the process, and is said again.
        pub(crate) fn reopen(&self, engine: &mut Engine) -> Result<(), String> {
            let mut degraded = Vec::new();
            while let Some(component) = engine.degraded() {
                engine.set_degraded(component, false);
                degraded.push(component);
            }
            engine.close().map_err(|error| error.to_string())?;
            *engine = self.build(engine.policy())?;
            let report = engine.recovery().ok_or("an engine on disk without a report")?;
            if !report.was_closed || report.records > 0 || report.holds.iter().any(|hold| hold.charged.is_some()) {
                return Err(format!("it was not closed well: {report:?}"));
            }
            degraded.into_iter().for_each(|component| engine.set_degraded(component, true));
            REOPENED.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            if let Some(dir) = &self.dir {
                // It is a temporary one.
                let _ = std::fs::remove_dir_all(dir);
            }
        }
    }
}

#[cfg(feature = "persist")]
pub(crate) use on_disk::reopened;

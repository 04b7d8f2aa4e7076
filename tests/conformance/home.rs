//! Where the engines of a case are kept: in memory, or in directories of their own, where they can be closed and opened again.

use encumber::{Engine, EngineBuilder, Policy};

/// How the engines of a case are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    InMemory,
    /// On disk, and opened again between steps: with the feature `persist`.
    OnDisk,
}

/// An engine's home, and how the engine is set up.
pub(crate) struct Home {
    set_up: Box<dyn Fn(EngineBuilder) -> EngineBuilder + Send + Sync>,
    place: Place,
}

impl Home {
    /// The engine at home. Whoever keeps both drops the engine first, whose lock is there.
    pub(crate) fn engine(
        keeping: Keeping,
        policy: Policy,
        set_up: impl Fn(EngineBuilder) -> EngineBuilder + Send + Sync + 'static,
    ) -> Result<(Engine, Self), String> {
        let home = Self { set_up: Box::new(set_up), place: Place::new(keeping)? };
        Ok((home.build(policy)?, home))
    }

    fn build(&self, policy: Policy) -> Result<Engine, String> {
        self.place.build((self.set_up)(Engine::builder(policy)))
    }

    /// Closes the engine, and opens it again with the policy in force. What is degraded is of the process, and is said again.
    pub(crate) fn reopen(&self, engine: &mut Engine) -> Result<(), String> {
        let mut degraded = Vec::new();
        while let Some(component) = engine.degraded() {
            engine.set_degraded(component, false);
            degraded.push(component);
        }
        place::close(engine)?;
        *engine = self.build(engine.policy())?;
        place::check(engine)?;
        for component in degraded {
            engine.set_degraded(component, true);
        }
        Ok(())
    }
}

#[cfg(feature = "persist")]
mod place {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU64, Ordering};

    use encumber::{Engine, EngineBuilder, LostGuards, Persist, Workflow};

    use super::Keeping;

    /// How often an engine was opened again.
    static REOPENED: AtomicU64 = AtomicU64::new(0);

    pub(crate) fn reopened() -> u64 {
        REOPENED.load(Ordering::Relaxed)
    }

    /// A directory that goes with this, if there is one.
    pub(super) struct Place(Option<PathBuf>);

    impl Place {
        pub(super) fn new(keeping: Keeping) -> Result<Self, String> {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            if keeping == Keeping::InMemory {
                return Ok(Self(None));
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
            Ok(Self(Some(dir)))
        }

        pub(super) fn build(&self, builder: EngineBuilder) -> Result<Engine, String> {
            let Some(dir) = &self.0 else { return Ok(builder.build()) };
            // A hold is released when its time runs out unless it was dispatched: so that is written down.
            let persist = Persist::journal(dir).os().lost_guards(LostGuards::ByDispatch);
            builder.persist(persist).build().map_err(|error| error.to_string())
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            if let Some(dir) = &self.0 {
                // It is a temporary one.
                let _ = std::fs::remove_dir_all(dir);
            }
        }
    }

    pub(super) fn close(engine: &Engine) -> Result<(), String> {
        engine.close().map_err(|error| error.to_string())
    }

    pub(crate) fn resume_workflow(engine: &Engine, id: &str) -> Option<Workflow> {
        engine.resume_workflow(id).ok()
    }

    /// Whether everything was found as it was left.
    pub(super) fn check(engine: &Engine) -> Result<(), String> {
        let report = engine.recovery().ok_or("an engine on disk without a report")?;
        if !report.was_closed || report.records > 0 || report.holds.iter().any(|hold| hold.charged.is_some()) {
            return Err(format!("it was not closed well: {report:?}"));
        }
        REOPENED.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(not(feature = "persist"))]
mod place {
    use encumber::{Engine, EngineBuilder, Workflow};

    use super::Keeping;

    pub(crate) fn reopened() -> u64 {
        0
    }

    pub(super) struct Place;

    impl Place {
        pub(super) fn new(keeping: Keeping) -> Result<Self, String> {
            if keeping == Keeping::InMemory { Ok(Self) } else { Err("without `persist` nothing is on disk".to_owned()) }
        }

        #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on disk")]
        pub(super) fn build(&self, builder: EngineBuilder) -> Result<Engine, String> {
            Ok(builder.build())
        }
    }

    #[allow(clippy::unnecessary_wraps, reason = "as on disk")]
    pub(super) fn close(_: &Engine) -> Result<(), String> {
        Ok(())
    }

    pub(super) use close as check;

    pub(crate) fn resume_workflow(_: &Engine, _: &str) -> Option<Workflow> {
        None
    }
}

use place::Place;
pub(crate) use place::{reopened, resume_workflow};

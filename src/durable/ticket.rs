//! Waiting for the disk: by blocking, or as a future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::report::PersistError;
use super::store::Store;
use crate::engine::{Core, Engine};

/// Everything that the engine had answered when this was made is on disk once it is ready, from [`Engine::synced`].
///
/// A future for any runtime; or [`wait`](Self::wait) for it.
#[derive(Debug)]
#[must_use = "nothing is waited for until it is asked"]
pub struct Synced {
    core: Arc<Core>,
    /// The last record that was written by then; 0 when there is no journal.
    sequence: u64,
}

impl Synced {
    /// Blocks until it is on disk.
    ///
    /// # Errors
    /// When it cannot be known to be.
    pub fn wait(self) -> Result<(), PersistError> {
        match self.core.store() {
            Some(store) if self.sequence > 0 => Ok(store.log.sync_to(self.sequence)?),
            _ => Ok(()),
        }
    }
}

impl Future for Synced {
    type Output = Result<(), PersistError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(store) = self.core.store().filter(|_| self.sequence > 0) else { return Poll::Ready(Ok(())) };
        let polled = store.log.poll_synced(self.sequence, context.waker());
        if polled.is_pending() {
            self.core.nudge_keeper();
        }
        polled.map_err(PersistError::from)
    }
}

impl Engine {
    /// A ticket for everything that was answered so far: it is ready once that survives the loss of power. For async code, which must not block
    /// for a sync, and for whoever wants to know in a mode that does not wait.
    ///
    /// In memory, and between snapshots without a journal, there is nothing to wait for: it is ready at once.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Persist, Policy, Unit, Window};
    /// # let dir = std::env::temp_dir().join(format!("encumber-doc-synced-{}", std::process::id()));
    /// # let policy = Policy::builder().resource("usd", Unit::Usd)
    /// #     .limit(Limit::new("agent-life", "agent", "usd", Window::Lifetime, Cap::Max(1_000))).build()?;
    /// # let engine = Engine::builder(policy).persist(Persist::journal(&dir)).build()?;
    /// let usd = engine.resource("usd")?;
    /// engine.scope(["agent:planner"])?.try_charge(usd.of(600))?;
    /// engine.synced().wait()?; // or `engine.synced().await?`
    /// # engine.close()?;
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn synced(&self) -> Synced {
        let core = Arc::clone(self.core());
        let sequence = core.store().filter(|store| store.writes_changes()).map_or(0, Store::appended);
        Synced { core, sequence }
    }
}

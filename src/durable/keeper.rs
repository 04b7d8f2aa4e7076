//! The thread that looks after the log, and what it does: sync, begin new segments, publish snapshots, heal.

use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::entry::RuleName;
use super::report::{Journal, PersistError, RecoveryReport};
use super::snapshot::{self, Amounts, grant_entry, workflow_entry};
use super::store::Store;
use super::{Mode, Persist, Sync};
use crate::charge::Label;
use crate::engine::{CapError, Component, Core, Engine, OnFailure};
use crate::grants::Grant;
use crate::persist::LogError;
use crate::registry::Rule;
use crate::scope::ChargeError;
use crate::subject::Subject;
use crate::sync::{Condvar, Mutex};
use crate::time::Timestamp;
use crate::workflow::WorkflowImage;

/// How often the keeper looks, unless snapshots come more often.
const EVERY: Duration = Duration::from_secs(1);

/// The keeper of an engine. Stopped by [`Keeper::stop`].
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    /// Somebody waits for a sync.
    nudged: bool,
}

impl Keeper {
    pub(super) fn start(core: &Arc<Core>, persist: &Persist) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::new(State::default()), changed: Condvar::new() });
        let every = match persist.mode {
            Mode::Snapshot(every) => every,
            Mode::Journal(_) => EVERY,
        };
        let (mine, core) = (Arc::clone(&shared), Arc::downgrade(core));
        let thread =
            std::thread::Builder::new().name("encumber-keeper".to_owned()).spawn(move || run(&mine, &core, every))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Wakes it, so that it syncs now.
    pub(super) fn nudge(&self) {
        self.shared.state.lock().nudged = true;
        self.shared.changed.notify_all();
    }

    /// Ends it, and waits for what it is at.
    pub(super) fn stop(mut self) {
        self.shared.state.lock().stopped = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            // It does not panic; if it did, there is nobody to tell.
            let _ended = thread.join();
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

fn run(shared: &Shared, core: &Weak<Core>, every: Duration) {
    loop {
        let nudged = {
            let mut state = shared.state.lock();
            if !state.stopped && !state.nudged {
                state = shared.changed.wait_for(state, every);
            }
            if state.stopped {
                return;
            }
            std::mem::take(&mut state.nudged)
        };
        let Some(core) = core.upgrade() else { return };
        core.keep(nudged);
    }
}

impl Core {
    /// One round of the keeper.
    fn keep(&self, nudged: bool) {
        let Some(store) = self.store() else { return };
        if store.is_closed() {
            return;
        }
        let now = self.now_precise();
        if store.takes_falls().is_err() {
            // What fails again is as it was.
            let _failed = self.heal(store, now);
            return;
        }
        let kept = match store.mode {
            Mode::Snapshot(_) => self.rotate(store, now),
            Mode::Journal(sync) => {
                let standing = store.log.standing();
                let synced = if (nudged || sync == Sync::EverySecond) && standing.appended > standing.synced {
                    store.log.sync_to(standing.appended)
                } else {
                    Ok(())
                };
                match synced {
                    Ok(()) if standing.segment_bytes > store.segment_bytes() => self.rotate(store, now),
                    other => other,
                }
            }
        };
        if let Err(error) = kept {
            store.fail(error);
            self.lose_store(now);
        }
    }

    /// Publishes a snapshot, and begins the next segment.
    fn rotate(&self, store: &Store, now: Timestamp) -> Result<(), LogError> {
        let latest = store.see(now);
        let at = (now, latest);
        let rotated = store
            .log
            .rotate(|writer| snapshot::write(self, Some(store), &|| store.stamp(), at, Amounts::Ceilings, writer));
        rotated.map(drop)
    }

    /// Writes everything down anew after something could not be.
    ///
    /// Twice: what changes while the first snapshot is written may be in it, or not. From when it is published everything is written again, but that
    /// budgets fell: a hold that was settled meanwhile may still be open there, and would give back once more. The second one has all of it.
    fn heal(&self, store: &Store, now: Timestamp) -> Result<(), LogError> {
        self.rotate(store, now)?;
        store.half_recover();
        self.rotate(store, now)?;
        store.recover();
        self.set_degraded(Component::Store, false, now);
        Ok(())
    }

    /// Says that something could not be written down: at most once until that is over.
    pub(crate) fn lose_store(&self, at: Timestamp) {
        if self.store().is_some_and(Store::is_closed) {
            // Nobody is surprised.
            self.set_closed();
        } else {
            self.set_degraded(Component::Store, true, at);
            // It may be over by now, and said to be before this was said.
            if self.store().is_some_and(|store| store.takes_falls().is_ok()) {
                self.set_degraded(Component::Store, false, at);
            }
        }
    }

    /// Whether what an operation did is in memory alone, since nothing can be written down.
    #[inline]
    pub(crate) fn is_unwritten(&self) -> bool {
        self.store().is_some_and(|store| store.writes_changes() && store.is_up().is_err())
    }

    /// Whether an operation that cannot be written down must not be.
    pub(crate) fn refuses_unwritten(&self) -> bool {
        self.failure_policy.reserve == OnFailure::Closed || self.store().is_some_and(Store::is_closed)
    }

    /// Wakes the keeper for whoever waits for a sync.
    pub(super) fn nudge_keeper(&self) {
        if let Some(keeper) = &*self.keeper.lock() {
            keeper.nudge();
        }
    }

    /// Writes down what a budget was given.
    pub(crate) fn write_grant(
        &self,
        subject: &Subject,
        label: &Label,
        (_, window): Rule,
        grant: &Grant,
        at: Timestamp,
    ) -> Result<(), CapError> {
        let Some(store) = self.store() else { return Ok(()) };
        let rule = RuleName { limit: (&*label.limit).into(), resource: (&*label.resource).into(), window };
        let entry = grant_entry(rule, subject.as_str(), grant, store.stamp());
        let written = store.append(at, &[entry]);
        written.map_err(|_| {
            self.lose_store(at);
            CapError::Degraded(Component::Store)
        })
    }

    /// Writes down how a workflow stands.
    pub(crate) fn write_workflow(
        &self,
        at: Timestamp,
        image: impl FnOnce() -> Option<WorkflowImage>,
    ) -> Result<(), ChargeError> {
        let Some(store) = self.store().filter(|store| store.writes_changes()) else { return Ok(()) };
        // Taken first: of two that are written at once the later one has seen what the other did.
        let stamp = store.stamp();
        let Some(image) = image() else { return Ok(()) };
        match store.append(at, &[workflow_entry(self, &image, stamp)]) {
            Err(_) => {
                self.lose_store(at);
                if self.refuses_unwritten() { Err(ChargeError::Degraded(Component::Store)) } else { Ok(()) }
            }
            Ok(()) => Ok(()),
        }
    }

    /// Writes everything down as it is and gives the directory back. From then on nothing is written any more.
    pub(crate) fn close(&self) -> Result<(), PersistError> {
        let Some(store) = self.store() else { return Ok(()) };
        let keeper = self.keeper.lock().take();
        if let Some(keeper) = keeper {
            keeper.stop();
        }
        let now = self.now_precise();
        if !store.close() {
            return Ok(());
        }
        self.set_closed();
        let latest = store.see(now);
        let at = (now, latest);
        store.log.rotate(|writer| snapshot::write(self, Some(store), &|| store.stamp(), at, Amounts::Exact, writer))?;
        store.log.close()?;
        store.log.unlock();
        Ok(())
    }
}

impl Engine {
    /// What was found when the engine was opened; `None` for one in memory.
    pub fn recovery(&self) -> Option<&RecoveryReport> {
        self.core().recovered.get()
    }

    /// How the journal stands; `None` without one.
    pub fn journal(&self) -> Option<Journal> {
        let store = self.core().store().filter(|store| store.writes_changes())?;
        let standing = store.log.standing();
        Some(Journal {
            written: standing.appended,
            synced: standing.synced,
            syncs: standing.syncs,
            segment_bytes: standing.segment_bytes,
            is_down: store.takes_falls().is_err(),
        })
    }

    /// Puts everything that was answered so far on disk: returns once it survives the loss of power. Without a journal it publishes a snapshot.
    ///
    /// # Errors
    /// When that failed. The engine goes on as its [`FailurePolicy`](crate::FailurePolicy) says, and heals by itself.
    pub fn flush(&self) -> Result<(), PersistError> {
        match self.core().store() {
            Some(store) if store.writes_changes() => {
                store.is_up()?;
                self.synced().wait()
            }
            _ => self.snapshot_now(),
        }
    }

    /// Publishes a snapshot now, and begins the next segment of the journal. Heals a journal that had failed, if it succeeds.
    ///
    /// Other threads go on meanwhile.
    ///
    /// # Errors
    /// When it failed: what was on disk before is as good as it was.
    pub fn snapshot_now(&self) -> Result<(), PersistError> {
        let core = self.core();
        let Some(store) = core.store() else { return Ok(()) };
        if store.is_closed() {
            return Err(LogError::Closed.into());
        }
        let now = core.now_precise();
        let done = if store.takes_falls().is_ok() { core.rotate(store, now) } else { core.heal(store, now) };
        done.map_err(|error| {
            store.fail(error.clone());
            core.lose_store(now);
            error.into()
        })
    }

    /// Writes everything down, exactly as it is, and gives the directory back: another engine may open it at once.
    ///
    /// From then on nothing is written. Charges, reservations and resets are refused as [`ChargeError::Degraded`], unless the
    /// [`FailurePolicy`](crate::FailurePolicy) lets them go on in memory; reservations that are open settle in memory alone. So settle first, then close.
    /// What is kept under an id, detached holds, slots and workflows, is on disk as it is now, and open for the next engine: end workflows, or
    /// drop their handles, only if they shall not go on.
    ///
    /// Dropping the last handle of an engine closes it too, without telling of errors. A second close does nothing.
    ///
    /// # Errors
    /// When not everything could be written. What was on disk before is as good as it was.
    pub fn close(&self) -> Result<(), PersistError> {
        self.core().close()
    }
}

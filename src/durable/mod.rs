//! Surviving restarts: what the engine writes down, when, and how it is read back.
//!
//! **Story.** Under the engine lies a log ([`crate::persist`]), of which this room makes a memory. Everything is written as it stands
//! ([`entry`]), never as what was done to it, so that reading it back is a matter of taking the newest entry about each thing.
//! Budgets are not written at every charge: what is written is a ceiling that they stay below for a while ([`cover`]).
//!
//! **The order of writing**, so that a prefix of the log never says less than was charged: what raises a budget is written before the operation is
//! answered; that a hold is settled is written before what it gives back is taken from its budgets.
//!
//! **A snapshot** ([`snapshot`]) is written while the engine goes on. Each budget is read under the lock that it is written under, and each hold under its
//! own; then the budgets of the open holds are written again, which are newer than what was read of them.
//!
//! **Without an engine** a directory can be looked at ([`inspect`](mod@inspect)), and what is whole be taken out of a damaged one ([`salvage`](mod@salvage)).
//!
//! **A keeper** ([`keeper`]) is a thread that syncs once a second, begins new segments, publishes snapshots, and heals what failed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod cover;
mod entry;
mod hold;
mod inspect;
mod keeper;
mod open;
mod report;
mod salvage;
mod snapshot;
mod store;
mod ticket;

pub(crate) use cover::{Ahead, Recorded};
pub(crate) use hold::{HoldImage, HoldPart, SettledImage};
pub use inspect::{
    FileKind, FoundBudget, FoundFile, FoundGrant, FoundHold, FoundRule, FoundWorkflow, Inspection, Unreadable, inspect,
};
pub(crate) use keeper::Keeper;
pub use report::{Journal, PersistError, RecoveredHold, RecoveredWorkflow, RecoveryReport, TornTail};
pub use salvage::{LostBytes, SalvageError, Salvaged, salvage};
pub(crate) use store::{Store, Unwritten};
pub use ticket::Synced;

use crate::engine::{Engine, EngineBuilder};
pub use crate::persist::{Fault, OpenError};

/// How an engine survives restarts, for [`EngineBuilder::persist`](crate::EngineBuilder::persist).
///
/// | mode | like Redis | process killed | power lost |
/// |---|---|---|---|
/// | [`Persist::journal`] | AOF, `everysec` | nothing that was answered is under-counted | at most the last second, and one sync |
/// | … [`always`](Persist::always) | AOF, `always` | the same | nothing that was answered |
/// | … [`os`](Persist::os) | AOF, `no` | the same | what the system had not written |
/// | [`Persist::snapshot`] | RDB | what came after the last snapshot | the same |
///
/// Without it an engine is in memory alone.
///
/// **What is written.** In a journal, a budget is written when it rises above a *ceiling* that was written before, and that is put ahead of it by a
/// sixty-fourth of its cap. So it is written some 64 times on its way to the cap, and most charges write nothing. After a kill it is read
/// back at the ceiling: never below what was answered, and above it by no more than the holds that were open, and the larger of that
/// step and one operation's amount; and, if the kill comes in the moment before that is put right, what calls of other threads had charged that
/// were refused then. [`Engine::close`](crate::Engine::close), and dropping the last handle, write exact amounts.
/// Budgets with rolling windows are written at each operation.
///
/// ```
/// use encumber::{Cap, Engine, Limit, Persist, Policy, Unit, Window};
/// # let dir = std::env::temp_dir().join(format!("encumber-doc-persist-{}", std::process::id()));
/// # let policy = || Policy::builder().resource("usd", Unit::Usd)
/// #     .limit(Limit::new("agent-life", "agent", "usd", Window::Lifetime, Cap::Max(1_000))).build();
/// let engine = Engine::builder(policy()?).persist(Persist::journal(&dir)).build()?;
/// let usd = engine.resource("usd")?;
/// engine.scope(["agent:planner"])?.try_charge(usd.of(600))?;
/// engine.close()?; // or drop it
///
/// let engine = Engine::builder(policy()?).persist(Persist::journal(&dir)).build()?;
/// assert_eq!(engine.scope(["agent:planner"])?.usage()?[0].used, 600);
/// assert!(engine.recovery().is_some_and(|report| report.was_closed && report.budgets == 1));
/// # engine.close()?;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Persist {
    place: Place,
    mode: Mode,
    guards: LostGuards,
    segment_bytes: u64,
    has_keeper: bool,
}

#[derive(Clone)]
enum Place {
    Dir(PathBuf),
    #[cfg(all(test, not(loom)))]
    Over(std::sync::Arc<dyn crate::persist::Vfs>),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(dir) => dir.fmt(f),
            #[cfg(all(test, not(loom)))]
            Self::Over(vfs) => vfs.dir().fmt(f),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Snapshot(Duration),
    Journal(Sync),
}

/// When a journal is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    EverySecond,
    Always,
    Os,
}

/// What becomes of a reservation that was open when the process ended, and whose guard went with it.
///
/// It is about reservations that the engine keeps under an id: those with a time-to-live. What was held by others is charged: they are not
/// written down one by one. A hold that was [detached](crate::Reservation::detach) has no guard: it stays open until its time runs out, and
/// can be [resumed](crate::Engine::resume).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LostGuards {
    /// Its call may have gone out: the larger of what is held and what was observed is charged.
    #[default]
    Charge,
    /// Charged if it had been [dispatched](crate::Hold::dispatched), released if not. Each such call is written down then.
    ByDispatch,
    /// It stays open until its time runs out, as if it had been detached.
    Keep,
}

/// A segment of this size is followed by a snapshot and the next one.
const SEGMENT_BYTES: u64 = 16 << 20;

impl Persist {
    /// A journal in this directory, made if there is none; synced once a second.
    pub fn journal(dir: impl AsRef<Path>) -> Self {
        Self::new(Place::Dir(dir.as_ref().to_owned()), Mode::Journal(Sync::EverySecond))
    }

    /// Snapshots in this directory, one every `every` (at least a millisecond), and one when the engine is closed.
    pub fn snapshot(dir: impl AsRef<Path>, every: Duration) -> Self {
        Self::new(Place::Dir(dir.as_ref().to_owned()), Mode::Snapshot(every.max(Duration::from_millis(1))))
    }

    fn new(place: Place, mode: Mode) -> Self {
        Self { place, mode, guards: LostGuards::default(), segment_bytes: SEGMENT_BYTES, has_keeper: true }
    }

    /// For tests: on another file system, without a thread.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn over(vfs: std::sync::Arc<dyn crate::persist::Vfs>) -> Self {
        Self { has_keeper: false, ..Self::new(Place::Over(vfs), Mode::Journal(Sync::Os)) }
    }

    /// Syncs each record of the journal before the operation that wrote it is answered: it blocks for that long. Threads that write at once share a
    /// sync. No effect without a journal.
    pub fn always(self) -> Self {
        self.synced(Sync::Always)
    }

    /// Leaves it to the system when the journal is synced. No effect without a journal.
    pub fn os(self) -> Self {
        self.synced(Sync::Os)
    }

    fn synced(self, sync: Sync) -> Self {
        match self.mode {
            Mode::Journal(_) => Self { mode: Mode::Journal(sync), ..self },
            Mode::Snapshot(_) => self,
        }
    }

    /// What becomes of reservations whose guards are lost.
    pub fn lost_guards(self, guards: LostGuards) -> Self {
        Self { guards, ..self }
    }

    /// How long a segment of the journal gets before a snapshot is published and the next one begins; 16 MiB without it.
    pub fn segment_bytes(self, segment_bytes: u64) -> Self {
        Self { segment_bytes, ..self }
    }
}

impl EngineBuilder {
    /// Lets the engine survive restarts.
    ///
    /// ```
    /// use encumber::{Cap, Engine, Limit, Persist, Policy, Unit, Window};
    /// # let dir = std::env::temp_dir().join(format!("encumber-doc-kept-{}", std::process::id()));
    ///
    /// let limit = Limit::new("agent-daily", "agent", "tokens", Window::Day, Cap::Max(1_000_000));
    /// let policy = Policy::builder().resource("tokens", Unit::Count).limit(limit).build()?;
    /// let engine = Engine::builder(policy).persist(Persist::journal(&dir)).build()?;
    /// assert!(engine.recovery().is_some_and(|report| report.budgets == 0), "nothing was kept so far");
    /// # engine.close()?;
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn persist(self, persist: Persist) -> EngineBuilder<Persist> {
        self.kept_by(persist)
    }
}

impl EngineBuilder<Persist> {
    /// The engine, with all that was kept. It has the directory for itself until it is closed, or its last handle is dropped.
    ///
    /// What was found is in [`Engine::recovery`](crate::Engine::recovery).
    ///
    /// # Errors
    /// [`OpenError::AlreadyOpen`] when somebody has the directory, in this process or another one; [`OpenError::Corrupt`] when a file is not
    /// as it was written, with the file and the place; [`OpenError::NewerVersion`]; [`OpenError::Io`]. Nothing is changed then.
    pub fn build(self) -> Result<Engine, OpenError> {
        open::open(self)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

//! What was found when a directory was opened, and what went wrong.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::store::Unwritten;
use crate::holds::HoldId;
use crate::persist::{LogError, Recovered};
use crate::subject::Subject;
use crate::time::Timestamp;

/// What an engine found in its directory, from [`Engine::recovery`](crate::Engine::recovery).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The snapshot that was read; `None` when the directory was new.
    pub snapshot: Option<u64>,
    /// How many records of the journal came after it.
    pub records: u64,
    /// The engine before had closed it: every amount is exact. Otherwise budgets stand at their ceilings; see [`Persist`](crate::Persist).
    pub was_closed: bool,
    /// How many budgets have usage in their current windows.
    pub budgets: u64,
    /// How many budgets start fresh because their windows have ended.
    pub ended: u64,
    /// The holds that were open, with what became of them.
    pub holds: Vec<RecoveredHold>,
    /// The workflows that were active; they are again, and can be [resumed](crate::Engine::resume_workflow).
    pub workflows: Vec<RecoveredWorkflow>,
    /// How far the clock is behind the latest instant that was written down. Until it has caught up no window starts that had not started then.
    pub clock_behind: Option<Duration>,
    /// The end of the journal that never got to the disk: what a loss of power leaves behind.
    pub torn: Option<TornTail>,
    /// Files that are not the engine's. They are left alone.
    pub foreign: Vec<String>,
    /// Files that were begun and never finished: they count for nothing, and are removed.
    pub unfinished: Vec<String>,
}

/// An open hold that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveredHold {
    /// The id that it is kept under.
    pub id: HoldId,
    /// The subjects of its scope.
    pub subjects: Vec<Subject>,
    /// What it holds, by resource.
    pub held: Vec<(Box<str>, u64)>,
    /// When its time runs out.
    pub expires_at: Timestamp,
    /// Whether it was settled because its guard was lost; and if so, whether it was charged. `None`: it is open, and can be
    /// [resumed](crate::Engine::resume).
    pub charged: Option<bool>,
}

/// An active workflow that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveredWorkflow {
    /// Its id.
    pub id: Box<str>,
    /// How many steps it has taken.
    pub steps: u64,
    /// When its time runs out, if it has one.
    pub expires_at: Option<Timestamp>,
}

/// What of a journal was not handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// From where on.
    pub offset: u64,
    /// How many bytes, there and in later files.
    pub bytes: u64,
}

/// How the journal of an engine stands, from [`Engine::journal`](crate::Engine::journal). For metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Journal {
    /// How many records were written in the directory's life.
    pub written: u64,
    /// Up to which of them all are on disk.
    pub synced: u64,
    /// How many syncs this engine has asked for.
    pub syncs: u64,
    /// The length of the segment that is written to.
    pub segment_bytes: u64,
    /// Whether something could not be written, and nothing is until that is over.
    pub is_down: bool,
}

/// Why something is not on disk.
#[derive(Clone)]
pub struct PersistError(pub(super) Arc<LogError>);

impl PersistError {
    /// The engine was closed.
    pub fn is_closed(&self) -> bool {
        matches!(*self.0, LogError::Closed)
    }
}

impl fmt::Display for PersistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PersistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PersistError({self})")
    }
}

impl std::error::Error for PersistError {}

impl From<LogError> for PersistError {
    fn from(error: LogError) -> Self {
        Self(Arc::new(error))
    }
}

impl From<Unwritten> for PersistError {
    fn from(Unwritten(error): Unwritten) -> Self {
        Self(error)
    }
}

impl TornTail {
    pub(super) fn of(recovered: &Recovered) -> Option<Self> {
        let torn = recovered.torn.as_ref()?;
        Some(Self { path: torn.path.clone(), offset: torn.offset, bytes: torn.bytes })
    }
}

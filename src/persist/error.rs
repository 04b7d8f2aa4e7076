//! What can go wrong with the files.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::vfs::Vfs;

/// An operation of the file system that failed.
#[derive(Debug, Clone)]
pub struct Fault {
    /// A verb: "write".
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) error: Arc<io::Error>,
}

impl Fault {
    pub(crate) fn new(action: &'static str, path: PathBuf, error: io::Error) -> Self {
        Self { action, path, error: Arc::new(error) }
    }

    /// For `map_err`. Without a name it is of the directory.
    pub(crate) fn of(vfs: &dyn Vfs, action: &'static str, name: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            let name = name.to_string();
            let path = if name.is_empty() { vfs.dir().to_owned() } else { vfs.dir().join(name) };
            Self::new(action, path, error)
        }
    }
}

impl Fault {
    /// The file, or the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the system says.
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.action, self.path.display(), self.error)
    }
}

impl Error for Fault {}

/// Why something was not appended, synced or published.
#[derive(Debug, Clone)]
pub(crate) enum LogError {
    /// This time. What was there before is as good as it was.
    Io(Fault),
    /// The segment ends where an earlier write failed and could not be undone. [`Log::rotate`](super::log::Log::rotate) begins another one.
    Sealed(Fault),
    /// A sync failed, so that nobody knows what is in the file. A [`Log::rotate`](super::log::Log::rotate) that succeeds heals it.
    Poisoned(Fault),
    /// A record has at most [`PAYLOAD_BYTES_MAX`](super::frame::PAYLOAD_BYTES_MAX) bytes.
    TooLong {
        bytes: usize,
    },
    /// No such sequence was ever appended.
    NeverAppended {
        sequence: u64,
    },
    Closed,
    /// The directory has used up all numbers of files.
    OutOfNumbers,
}

impl From<Fault> for LogError {
    fn from(fault: Fault) -> Self {
        Self::Io(fault)
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(fault) => fault.fmt(f),
            Self::Sealed(fault) => write!(f, "the journal takes nothing until it is rotated, since it {fault}"),
            Self::Poisoned(fault) => {
                write!(f, "the journal is not trusted until a snapshot is published, since it {fault}")
            }
            Self::TooLong { bytes } => write!(f, "a record of {bytes} bytes is too long"),
            Self::NeverAppended { sequence } => write!(f, "no record has the sequence {sequence}"),
            Self::Closed => f.write_str("the log is closed"),
            Self::OutOfNumbers => f.write_str("the directory has used up its numbers of files"),
        }
    }
}

impl Error for LogError {}

/// Why an engine was not opened, from [`EngineBuilder::build`](crate::EngineBuilder::build). The directory is as it was.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OpenError {
    /// The file system says no.
    Io(Fault),
    /// Somebody has the directory, in this process or in another one.
    AlreadyOpen(PathBuf),
    /// A file is not as it was written.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A file was written by a later release.
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// The version of its format.
        version: u32,
    },
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        Self::Io(fault)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(fault) => fault.fmt(f),
            Self::AlreadyOpen(dir) => write!(f, "{} is already open", dir.display()),
            Self::Corrupt { path, offset, why } => write!(f, "{} is damaged at byte {offset}: {why}", path.display()),
            Self::NewerVersion { path, version } => {
                write!(f, "{} is of version {version}, which this release does not read", path.display())
            }
        }
    }
}

impl Error for OpenError {}

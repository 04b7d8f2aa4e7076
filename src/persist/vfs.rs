//! What the log needs of a file system: one directory, whole files read, new files written.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Held by the owner of a directory; others can have it once this is dropped.
pub(crate) type Lock = Box<dyn Any + Send + Sync>;

/// A directory. Names are of files directly in it.
pub(crate) trait Vfs: Send + Sync {
    /// For messages only.
    fn dir(&self) -> &Path;

    /// Makes the caller the directory's owner; `None` if somebody is.
    fn lock(&self) -> io::Result<Option<Lock>>;

    /// The names of what is there, in no order. A name that is not text is given as far as it is.
    fn list(&self) -> io::Result<Vec<String>>;

    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    fn len(&self, name: &str) -> io::Result<u64> {
        self.read(name).map(|bytes| bytes.len() as u64)
    }

    /// Whether the directory has an owner, where that can be told without becoming it.
    fn is_taken(&self) -> Option<bool> {
        None
    }

    /// An error of kind `AlreadyExists` if there is something of that name.
    fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>>;

    /// Replaces what has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// What was created, renamed and removed before survives the loss of power.
    fn sync_dir(&self) -> io::Result<()>;

    /// A number that no earlier file was given, with all but certainty.
    fn salt(&self) -> u64;
}

/// A file that is open for writing. One thread writes at a time; others may sync meanwhile.
pub(crate) trait VfsFile: Send + Sync {
    /// All of it, or an error: then any part may be there.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    fn set_len(&self, len: u64) -> io::Result<()>;

    /// What was written before the call survives the loss of power.
    fn sync(&self) -> io::Result<()>;
}

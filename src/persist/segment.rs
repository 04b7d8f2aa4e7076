//! The journal segment that is appended to.

use std::fmt;
use std::sync::Arc;

use super::error::LogError;
use super::files;
use super::frame::HEADER_BYTES;
use super::vfs::{Vfs, VfsFile};

#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn VfsFile>,
    pub(crate) salt: u64,
    /// Where the last good frame ends.
    pub(crate) len: u64,
}

impl Segment {
    pub(crate) fn create(vfs: &dyn Vfs, number: u64, synced: u64) -> Result<Self, LogError> {
        let (file, salt) = files::new_journal(vfs, number, synced)?;
        Ok(Self { number, file, salt, len: HEADER_BYTES as u64 })
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, len, .. } = self;
        f.debug_struct("Segment").field("number", number).field("len", len).finish_non_exhaustive()
    }
}

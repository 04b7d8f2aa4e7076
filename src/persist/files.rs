//! New files: written under a temporary name, synced, and only then called what they are.

use std::io;
use std::sync::Arc;

use super::error::{Fault, LogError};
use super::frame::{self, Head, Header, PAYLOAD_BYTES_MAX, Tag};
use super::names::{Kind, Listing, NUMBER_MAX, Name};
use super::vfs::{Vfs, VfsFile};

/// Gathered before it is written.
const CHUNK_BYTES: usize = 256 << 10;

/// A file under its temporary name, in place of one that somebody left there.
fn begin(vfs: &dyn Vfs, name: Name, header: &Header) -> Result<Arc<dyn VfsFile>, LogError> {
    if name.number > NUMBER_MAX {
        return Err(LogError::OutOfNumbers);
    }
    let temporary = name.temporary().to_string();
    let file = match vfs.create_new(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            vfs.remove(&temporary).map_err(Fault::of(vfs, "remove", &temporary))?;
            vfs.create_new(&temporary)
        }
        created => created,
    };
    let file = file.map_err(Fault::of(vfs, "create", &temporary))?;
    file.write_at(0, &header.encode()).map_err(Fault::of(vfs, "write", &temporary))?;
    Ok(file)
}

/// The file is whole: its content first, then its name.
fn publish(vfs: &dyn Vfs, name: Name, file: &dyn VfsFile) -> Result<(), Fault> {
    let (temporary, name) = (name.temporary().to_string(), name.to_string());
    file.sync().map_err(Fault::of(vfs, "sync", &temporary))?;
    vfs.rename(&temporary, &name).map_err(Fault::of(vfs, "rename", &temporary))?;
    vfs.sync_dir().map_err(Fault::of(vfs, "sync", ""))
}

/// A journal segment that is on disk, without any record. One of that number that was begun before and never used is replaced.
pub(crate) fn new_journal(vfs: &dyn Vfs, number: u64, synced: u64) -> Result<(Arc<dyn VfsFile>, u64), LogError> {
    let header = Header { kind: Kind::Journal, number, sequence: 0, chain: 0, synced, salt: vfs.salt() };
    let name = Name::journal(number);
    let file = begin(vfs, name, &header)?;
    publish(vfs, name, &*file)?;
    Ok((file, header.salt))
}

/// A snapshot that is being written. It counts for nothing until it is published.
pub(crate) struct SnapshotWriter<'a> {
    vfs: &'a dyn Vfs,
    name: Name,
    file: Arc<dyn VfsFile>,
    salt: u64,
    /// The checksum of the frame before the next one.
    previous: u64,
    pieces: u64,
    offset: u64,
    /// What comes at `offset`.
    chunk: Vec<u8>,
}

impl<'a> SnapshotWriter<'a> {
    pub(super) fn begin(
        vfs: &'a dyn Vfs,
        number: u64,
        (sequence, chain): (u64, u64),
        synced: u64,
    ) -> Result<Self, LogError> {
        let header = Header { kind: Kind::Snapshot, number, sequence, chain, synced, salt: vfs.salt() };
        let name = Name::snapshot(number);
        let file = begin(vfs, name, &header)?;
        let (offset, chunk) = (frame::HEADER_BYTES as u64, Vec::new());
        Ok(Self { vfs, name, file, salt: header.salt, previous: chain, pieces: 0, offset, chunk })
    }

    /// Adds a piece, which recovery hands out as it is.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Result<(), LogError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(LogError::TooLong { bytes: payload.len() });
        }
        self.pieces += 1;
        self.add(Tag::Piece, payload);
        if self.chunk.len() >= CHUNK_BYTES { self.write() } else { Ok(()) }
    }

    pub(super) fn publish(mut self) -> Result<(), LogError> {
        let pieces = self.pieces;
        self.add(Tag::End, &pieces.to_le_bytes());
        self.write()?;
        Ok(publish(self.vfs, self.name, &*self.file)?)
    }

    fn add(&mut self, tag: Tag, payload: &[u8]) {
        let at = self.offset + self.chunk.len() as u64;
        let head = Head { tag, sequence: self.pieces, synced: 0, previous: self.previous };
        self.previous = frame::encode(&mut self.chunk, self.salt, at, head, payload);
    }

    fn write(&mut self) -> Result<(), LogError> {
        self.file.write_at(self.offset, &self.chunk).map_err(Fault::of(self.vfs, "write", self.name.temporary()))?;
        self.offset += self.chunk.len() as u64;
        self.chunk.clear();
        Ok(())
    }
}

/// Removes what nobody reads any more: snapshots and segments below `from`, and files that were never finished.
pub(crate) fn remove_older(vfs: &dyn Vfs, from: u64) -> Result<(), Fault> {
    let listing = Listing::of(vfs.list().map_err(Fault::of(vfs, "list", ""))?);
    let snapshots = listing.snapshots.into_iter().filter(|number| *number < from).map(Name::snapshot);
    let journals = listing.journals.into_iter().filter(|number| *number < from).map(Name::journal);
    for name in listing.temporary.into_iter().chain(snapshots).chain(journals) {
        vfs.remove(&name.to_string()).map_err(Fault::of(vfs, "remove", name))?;
    }
    Ok(())
}

//! Reading a directory back. Nothing is changed.
//!
//! The newest snapshot that has its name is whole, or that is an error: it was synced before it got it. After it come the journal segments
//! from its number on, as one sequence of frames, each of which names the checksum of the one before.
//!
//! **The first frame that does not fit** ends what is handed out. If anything says that the record at that place had been synced (every
//! frame, and every segment's header, states the last record that was), then it is damage, and an error. If not, the power went
//! before it was on disk, and so did everything after it: a torn tail.
//!
//! **A segment that a later one takes over from** may go on after that: a write failed, its batch could not be taken back, and the next segment
//! began where the batch had. So where the first frame of the next used segment belongs, this one ends.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::error::{Fault, OpenError};
use super::frame::{BadHeader, Frame, HEADER_BYTES, Header, Tag, find_proof};
use super::names::{Listing, Name};
use super::vfs::Vfs;

/// What recovery hands out: first the pieces of the snapshot, then records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Piece(&'a [u8]),
    Record { sequence: u64, payload: &'a [u8] },
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recovered {
    /// The snapshot that it began with; `None` if nothing was ever published here.
    pub(crate) snapshot: Option<u64>,
    pub(crate) pieces: u64,
    pub(crate) records: u64,
    /// The last record, or what came last before the snapshot.
    pub(crate) sequence: u64,
    /// The checksum of its frame.
    pub(crate) chain: u64,
    /// The last record that the files say to be on disk.
    pub(crate) synced: u64,
    /// Where it ends, if it ends torn.
    pub(crate) torn: Option<TornTail>,
    /// Bytes behind the end of segments that others took over from: of appends that failed.
    pub(crate) void_bytes: u64,
    /// The log was closed: this is all of it.
    pub(crate) is_closed: bool,
    /// Files that are not ours.
    pub(crate) foreign: Vec<String>,
    /// Files of ours that were never finished.
    pub(crate) unfinished: Vec<String>,
    /// For the next files.
    pub(crate) next_number: u64,
}

/// What was never synced, and did not survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TornTail {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    /// So many bytes there, and in later segments, were not handed out.
    pub(crate) bytes: u64,
}

/// Hands out what is in the directory, in order. Should it fail, what was handed out counts for nothing. An error of `visit` is one of the file that it
/// was handed from.
pub(crate) fn recover(
    vfs: &dyn Vfs,
    visit: &mut dyn FnMut(Item<'_>) -> Result<(), String>,
) -> Result<Recovered, OpenError> {
    let listing = Listing::of(vfs.list().map_err(Fault::of(vfs, "list", ""))?);
    let snapshot = listing.snapshots.last().copied();
    let found = Recovered {
        snapshot,
        next_number: listing.next_number(),
        unfinished: listing.temporary.iter().map(Name::to_string).collect(),
        foreign: listing.foreign,
        ..Recovered::default()
    };
    let mut reading = Reading { vfs, visit, found };
    if let Some(number) = snapshot {
        reading.snapshot(number)?;
    }
    let mut journals = Journals::new(vfs, snapshot, &listing.journals)?;
    let base = reading.found.sequence;
    while let Some(segment) = journals.next()? {
        if snapshot.is_none() && segment.bytes.len() > HEADER_BYTES {
            return Err(segment.damage(vfs, HEADER_BYTES, "the snapshot before it is missing"));
        }
        let successor = journals.successor()?;
        if let Some(tear) = reading.segment(&segment, successor)? {
            reading.torn(&segment, &tear, base, journals)?;
            break;
        }
    }
    Ok(reading.found)
}

/// Hands out the pieces of one snapshot, which must be whole. The answer is the last record before it.
pub(super) fn read_snapshot(
    vfs: &dyn Vfs,
    number: u64,
    visit: &mut dyn FnMut(Item<'_>) -> Result<(), String>,
) -> Result<u64, OpenError> {
    let mut reading = Reading { vfs, visit, found: Recovered::default() };
    reading.snapshot(number)?;
    Ok(reading.found.sequence)
}

struct Reading<'a> {
    vfs: &'a dyn Vfs,
    visit: &'a mut dyn FnMut(Item<'_>) -> Result<(), String>,
    found: Recovered,
}

/// A file with a good header.
struct Whole {
    name: Name,
    header: Header,
    bytes: Vec<u8>,
}

/// Where frames stop to fit.
struct Tear {
    offset: usize,
    why: &'static str,
    /// If this record is known to have been on disk it is damage.
    record: u64,
}

/// Where a segment begins in the sequence.
#[derive(Clone, Copy)]
struct Start {
    sequence: u64,
    previous: u64,
}

impl Whole {
    fn read(vfs: &dyn Vfs, name: Name) -> Result<Self, OpenError> {
        let bytes = vfs.read(&name.to_string()).map_err(Fault::of(vfs, "read", name))?;
        let path = || vfs.dir().join(name.to_string());
        match Header::decode(&bytes, name.kind, name.number) {
            Ok(header) => Ok(Self { name, header, bytes }),
            Err(BadHeader::Newer(version)) => Err(OpenError::NewerVersion { path: path(), version }),
            Err(BadHeader::Wrong(why)) => Err(OpenError::Corrupt { path: path(), offset: 0, why: why.to_owned() }),
        }
    }

    fn frame(&self, offset: usize) -> Result<Frame<'_>, &'static str> {
        Frame::decode(&self.bytes, self.header.salt, offset)
    }

    fn damage(&self, vfs: &dyn Vfs, offset: usize, why: impl Into<String>) -> OpenError {
        OpenError::Corrupt { path: vfs.dir().join(self.name.to_string()), offset: offset as u64, why: why.into() }
    }
}

impl Reading<'_> {
    fn snapshot(&mut self, number: u64) -> Result<(), OpenError> {
        let file = Whole::read(self.vfs, Name::snapshot(number))?;
        let mut previous = file.header.chain;
        let mut offset = HEADER_BYTES;
        loop {
            let frame = file.frame(offset).map_err(|why| file.damage(self.vfs, offset, why))?;
            let pieces = self.found.pieces;
            let is_next = match frame.tag {
                Tag::Piece => frame.sequence == pieces + 1,
                Tag::End => frame.sequence == pieces && frame.payload == pieces.to_le_bytes(),
                Tag::Record | Tag::Shut => false,
            };
            if !is_next || frame.previous != previous {
                return Err(file.damage(self.vfs, offset, "a piece of the snapshot is missing"));
            }
            previous = frame.checksum;
            let next = offset + frame.bytes();
            if frame.tag == Tag::End && next != file.bytes.len() {
                return Err(file.damage(self.vfs, next, "the snapshot goes on after its end"));
            }
            if frame.tag == Tag::End {
                break;
            }
            self.found.pieces += 1;
            (self.visit)(Item::Piece(frame.payload)).map_err(|why| file.damage(self.vfs, offset, why))?;
            offset = next;
        }
        self.found.sequence = file.header.sequence;
        self.found.chain = file.header.chain;
        self.found.synced = file.header.synced;
        Ok(())
    }

    /// Hands out the segment's records up to where its successor begins.
    fn segment(&mut self, file: &Whole, successor: Option<Start>) -> Result<Option<Tear>, OpenError> {
        self.found.synced = self.found.synced.max(file.header.synced);
        let mut offset = HEADER_BYTES;
        loop {
            let next = self.found.sequence + 1;
            let tear = |record, why| Ok(Some(Tear { offset, why, record }));
            match successor {
                Some(start) if start.sequence < next => {
                    return Err(file.damage(self.vfs, offset, "the next segment begins before this one ends"));
                }
                Some(start) if start.sequence == next && start.previous != self.found.chain => {
                    return tear(next - 1, "the next segment does not follow");
                }
                Some(start) if start.sequence == next => {
                    self.found.void_bytes += (file.bytes.len() - offset) as u64;
                    return Ok(None);
                }
                Some(_) if offset == file.bytes.len() => return tear(next, "records are missing"),
                None if offset == file.bytes.len() => return Ok(None),
                _ => {}
            }
            let frame = match file.frame(offset) {
                Ok(frame) => frame,
                Err(why) => return tear(next, why),
            };
            if frame.sequence != next || !matches!(frame.tag, Tag::Record | Tag::Shut) {
                return tear(next, "another record is there");
            }
            if frame.previous != self.found.chain {
                return tear(next - 1, "the record before it is another one");
            }
            if self.found.is_closed {
                return Err(file.damage(self.vfs, offset, "the log goes on after it was closed"));
            }
            self.record(&frame).map_err(|why| file.damage(self.vfs, offset, why))?;
            offset += frame.bytes();
        }
    }

    fn record(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        let found = &mut self.found;
        found.sequence = frame.sequence;
        found.chain = frame.checksum;
        found.synced = found.synced.max(frame.synced);
        found.is_closed = frame.tag == Tag::Shut;
        if found.is_closed {
            return Ok(());
        }
        found.records += 1;
        (self.visit)(Item::Record { sequence: frame.sequence, payload: frame.payload })
    }

    /// A torn tail, unless something says that the record was on disk. `base` is the last record of the snapshot, which was.
    fn torn(&mut self, file: &Whole, tear: &Tear, base: u64, mut later: Journals<'_>) -> Result<(), OpenError> {
        let mut bytes = file.bytes.len() - tear.offset;
        let mut synced = self.found.synced.max(base);
        synced = synced.max(find_proof(&file.bytes, file.header.salt, tear.offset, tear.record).unwrap_or(0));
        while let Some(file) = later.next()? {
            bytes += file.bytes.len() - HEADER_BYTES;
            synced = synced.max(file.header.synced);
            synced = synced.max(find_proof(&file.bytes, file.header.salt, HEADER_BYTES, tear.record).unwrap_or(0));
        }
        if synced >= tear.record {
            let why = format!("{}, and record {} was on disk", tear.why, tear.record);
            return Err(file.damage(self.vfs, tear.offset, why));
        }
        let path = self.vfs.dir().join(file.name.to_string());
        self.found.torn = Some(TornTail { path, offset: tear.offset as u64, bytes: bytes as u64 });
        Ok(())
    }
}

/// The segments in order. Each is read when it, or what follows, is asked for.
struct Journals<'a> {
    vfs: &'a dyn Vfs,
    numbers: VecDeque<u64>,
    ahead: VecDeque<Whole>,
}

impl<'a> Journals<'a> {
    /// Those from the snapshot's number on, of which none may be missing.
    fn new(vfs: &'a dyn Vfs, snapshot: Option<u64>, all: &[u64]) -> Result<Self, OpenError> {
        let numbers: VecDeque<u64> =
            all.iter().copied().filter(|number| snapshot.is_none_or(|from| from <= *number)).collect();
        let first = snapshot.or(numbers.front().copied());
        let missing = first.into_iter().flat_map(|first| first..).zip(&numbers).find(|(wanted, is)| wanted != *is);
        let missing = missing.map(|(wanted, _)| wanted).or(snapshot.filter(|_| numbers.is_empty()));
        if let Some(number) = missing {
            let path = vfs.dir().join(Name::journal(number).to_string());
            return Err(OpenError::Corrupt { path, offset: 0, why: "it is missing".to_owned() });
        }
        Ok(Self { vfs, numbers, ahead: VecDeque::new() })
    }

    fn next(&mut self) -> Result<Option<Whole>, OpenError> {
        if self.ahead.is_empty() {
            self.read()?;
        }
        Ok(self.ahead.pop_front())
    }

    /// Where the next segment begins that has something in it, if its first frame is whole.
    fn successor(&mut self) -> Result<Option<Start>, OpenError> {
        loop {
            if let Some(used) = self.ahead.iter().find(|file| file.bytes.len() > HEADER_BYTES) {
                let first = used.frame(HEADER_BYTES).ok().filter(|frame| matches!(frame.tag, Tag::Record | Tag::Shut));
                return Ok(first.map(|frame| Start { sequence: frame.sequence, previous: frame.previous }));
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    fn read(&mut self) -> Result<bool, OpenError> {
        let Some(number) = self.numbers.pop_front() else { return Ok(false) };
        self.ahead.push_back(Whole::read(self.vfs, Name::journal(number))?);
        Ok(true)
    }
}

//! Taking what is whole out of a directory that recovery refuses. Nothing in it is changed.
//!
//! Recovery hands out a beginning of the log, or nothing. Here every frame counts by itself: one whose own checksum fits is as it was written, whatever is
//! before it. So this is for an owner whose records say how things stand and which of two is the newer one: to such a one it does
//! not matter in which order records come, nor that some are missing in between.
//!
//! **What is read**: the newest snapshot, and if it is not whole its whole pieces and the one before it, and so on; then the segments from the number of the
//! first snapshot that is whole. After damage the next frame is looked for byte by byte.
//!
//! **What is not taken** is what recovery calls void: frames of a segment with sequences that the next one begins with, of appends that failed. A whole
//! frame that follows upon another one than it was written after is taken: it was once appended, if perhaps never acknowledged.

use super::error::{Fault, OpenError};
use super::frame::{BadHeader, FRAME_BYTES, Frame, HEADER_BYTES, Head, Header, Tag, find_frames};
use super::names::{Kind, Listing, Name};
use super::recover::{Item, read_snapshot};
use super::vfs::Vfs;

/// What salvage hands out, in no order that means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken<'a> {
    /// Of that snapshot. Pieces of one snapshot come one after the other, as far as they are whole; some may come twice.
    Piece {
        snapshot: u64,
        payload: &'a [u8],
    },
    Record {
        payload: &'a [u8],
    },
}

/// Bytes that were passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) name: Name,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) why: String,
    /// How many records were there, where those on both sides tell.
    pub(crate) records: Option<u64>,
}

/// What was taken, and what was not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Salvage {
    /// The newest snapshot that is whole.
    pub(crate) base: Option<u64>,
    /// Newer ones, which are not.
    pub(crate) damaged: Vec<u64>,
    /// So many pieces of those were taken.
    pub(crate) pieces: u64,
    pub(crate) records: u64,
    /// Records of which the sequences are known and nothing else.
    pub(crate) records_lost: u64,
    /// In order of files and places.
    pub(crate) gaps: Vec<Gap>,
    /// Files that must have been there: of several in a row the first.
    pub(crate) missing: Vec<Name>,
    /// The end of the log is there, and says that it was closed.
    pub(crate) is_closed: bool,
    pub(crate) foreign: Vec<String>,
    pub(crate) unfinished: Vec<String>,
    /// For the files of a directory that goes on from here.
    pub(crate) next_number: u64,
}

impl Salvage {
    /// Whether everything that there was is handed out.
    pub(crate) fn is_all(&self) -> bool {
        self.damaged.is_empty() && self.gaps.is_empty() && self.missing.is_empty() && self.records_lost == 0
    }
}

/// Hands out everything that is whole. An error of `visit` is one of the frame that it was handed from: that one is passed over.
///
/// # Errors
/// When the directory cannot be listed, or has a file of a later version. Not for a file that cannot be read.
pub(crate) fn salvage(
    vfs: &dyn Vfs,
    visit: &mut dyn FnMut(Taken<'_>) -> Result<(), String>,
) -> Result<Salvage, OpenError> {
    let listing = Listing::of(vfs.list().map_err(Fault::of(vfs, "list", ""))?);
    let mut done = Salvage {
        next_number: listing.next_number(),
        unfinished: listing.temporary.iter().map(Name::to_string).collect(),
        ..Salvage::default()
    };
    let mut before = None;
    for &number in listing.snapshots.iter().rev() {
        match read_snapshot(vfs, number, &mut |item| visit(taken(number, item))) {
            Ok(sequence) => {
                done.base = Some(number);
                before = Some(sequence);
                break;
            }
            Err(newer @ OpenError::NewerVersion { .. }) => return Err(newer),
            Err(_) => {
                done.damaged.push(number);
                let scan = Scan::of(vfs, Name::snapshot(number), &mut done.gaps)?;
                scan.each(&mut done.gaps, |place, payload| {
                    if place.tag == Tag::Piece {
                        visit(Taken::Piece { snapshot: number, payload })?;
                        done.pieces += 1;
                    }
                    Ok(())
                });
            }
        }
    }
    done.journals(vfs, &listing, before, visit)?;
    done.foreign = listing.foreign;
    done.gaps.sort_by_key(|gap| (gap.name, gap.from));
    Ok(done)
}

/// The first bytes of a file that are no frames, and why not; `None` if it is whole. For files that recovery does not read: in a segment this may be
/// what an append left there that failed.
pub(crate) fn first_gap(vfs: &dyn Vfs, name: Name) -> Result<Option<Gap>, OpenError> {
    let mut gaps = Vec::new();
    Scan::of(vfs, name, &mut gaps)?;
    let end = || Gap { name, from: 0, to: 0, why: "a piece of the snapshot is missing".to_owned(), records: None };
    let is_cut = name.kind == Kind::Snapshot && read_snapshot(vfs, name.number, &mut |_| Ok(())).is_err();
    Ok(gaps.into_iter().next().or_else(|| is_cut.then(end)))
}

fn taken(snapshot: u64, item: Item<'_>) -> Taken<'_> {
    match item {
        Item::Piece(payload) => Taken::Piece { snapshot, payload },
        Item::Record { payload, .. } => Taken::Record { payload },
    }
}

impl Salvage {
    /// The segments that count, newest first: each says where the one before it ends. `before` is the last record that the snapshot has.
    fn journals(
        &mut self,
        vfs: &dyn Vfs,
        listing: &Listing,
        before: Option<u64>,
        visit: &mut dyn FnMut(Taken<'_>) -> Result<(), String>,
    ) -> Result<(), OpenError> {
        let (journals, snapshots) = (&listing.journals, &listing.snapshots);
        let first = self.base.or(journals.iter().chain(snapshots).min().copied());
        let last = journals.iter().chain(snapshots).max().copied();
        let Some((first, last)) = first.zip(last) else { return Ok(()) };
        let counts: Vec<u64> = journals.iter().copied().filter(|number| *number >= first).collect();
        // From one that is there to the next: a number may be anything.
        let mut next = first;
        for number in counts.iter().copied().chain([last.saturating_add(1)]) {
            if number > next {
                self.missing.push(Name::journal(next));
            }
            next = number.saturating_add(1);
        }
        let (mut lowest, mut highest, mut taken) = (None, 0, 0);
        let mut end = u64::MAX;
        for &number in counts.iter().rev() {
            let scan = Scan::of(vfs, Name::journal(number), &mut self.gaps)?;
            let Self { gaps, records, is_closed, .. } = &mut *self;
            scan.each(gaps, |Place { tag, sequence, .. }, payload| {
                if sequence >= end {
                    return Ok(());
                }
                lowest = Some(lowest.map_or(sequence, |lowest: u64| lowest.min(sequence)));
                if sequence > highest {
                    (highest, *is_closed) = (sequence, tag == Tag::Shut);
                }
                if tag == Tag::Record {
                    visit(Taken::Record { payload })?;
                    *records += 1;
                }
                taken += 1;
                Ok(())
            });
            end = scan.frames.first().map_or(end, |place| place.sequence.min(end));
        }
        let before = before.or(lowest.map(|lowest| lowest.saturating_sub(1))).unwrap_or(0);
        self.records_lost = highest.saturating_sub(before).saturating_sub(taken);
        Ok(())
    }
}

/// The whole frames of a file.
struct Scan {
    name: Name,
    bytes: Vec<u8>,
    frames: Vec<Place>,
}

/// A frame of a file.
#[derive(Clone, Copy)]
struct Place {
    tag: Tag,
    sequence: u64,
    offset: usize,
    bytes: usize,
}

impl Scan {
    fn of(vfs: &dyn Vfs, name: Name, gaps: &mut Vec<Gap>) -> Result<Self, OpenError> {
        let mut gap = |from: usize, to: u64, why: String| {
            gaps.push(Gap { name, from: from as u64, to, why, records: None });
        };
        let mut scan = Self { name, bytes: Vec::new(), frames: Vec::new() };
        scan.bytes = match vfs.read(&name.to_string()) {
            Ok(bytes) => bytes,
            Err(error) => {
                gap(0, vfs.len(&name.to_string()).unwrap_or(0), format!("it cannot be read: {error}"));
                return Ok(scan);
            }
        };
        let whole = scan.bytes.len() as u64;
        let salt = match Header::decode(&scan.bytes, name.kind, name.number) {
            Ok(header) => Some(header.salt),
            Err(BadHeader::Newer(version)) => {
                return Err(OpenError::NewerVersion { path: vfs.dir().join(name.to_string()), version });
            }
            Err(BadHeader::Wrong(why)) => {
                let salt = Header::salt_of_damaged(&scan.bytes);
                gap(0, if salt.is_some() { HEADER_BYTES as u64 } else { whole }, why.to_owned());
                salt
            }
        };
        if let Some(salt) = salt {
            scan.frames(salt, gaps);
        }
        Ok(scan)
    }

    fn frames(&mut self, salt: u64, gaps: &mut Vec<Gap>) {
        let (name, bytes) = (self.name, &self.bytes);
        let is_ours = |tag: Tag| match name.kind {
            Kind::Journal => matches!(tag, Tag::Record | Tag::Shut),
            Kind::Snapshot => matches!(tag, Tag::Piece | Tag::End),
        };
        let mut offset = HEADER_BYTES;
        let mut last: Option<u64> = None;
        let mut is_after_gap = false;
        while offset < bytes.len() {
            let why = match Frame::decode(bytes, salt, offset) {
                Ok(frame) if is_ours(frame.tag) => {
                    if let (true, Kind::Journal, Some(last), Some(gap)) =
                        (is_after_gap, name.kind, last, gaps.last_mut())
                    {
                        gap.records = frame.sequence.checked_sub(last + 1);
                    }
                    (last, is_after_gap) = (Some(frame.sequence), false);
                    let place = Place { tag: frame.tag, sequence: frame.sequence, offset, bytes: frame.bytes() };
                    self.frames.push(place);
                    offset += frame.bytes();
                    continue;
                }
                Ok(_) => "a frame of another kind is there",
                Err(why) => why,
            };
            let is_likely = |head: &Head| {
                let after = head.sequence.checked_sub(last.unwrap_or(0));
                let is_near = last.is_none() || after.is_some_and(|after| after <= bytes.len() as u64);
                is_ours(head.tag) && head.synced < head.sequence && after.is_some() && is_near
            };
            let next = find_frames(bytes, salt, offset + 1, is_likely).next().map_or(bytes.len(), |(at, _)| at);
            let why = why.to_owned();
            gaps.push(Gap { name, from: offset as u64, to: next as u64, why, records: None });
            (offset, is_after_gap) = (next, true);
        }
    }

    /// A frame that `take` refuses becomes a gap.
    fn each(&self, gaps: &mut Vec<Gap>, mut take: impl FnMut(Place, &[u8]) -> Result<(), String>) {
        for place in &self.frames {
            let end = place.offset + place.bytes;
            if let Err(why) = take(*place, &self.bytes[place.offset + FRAME_BYTES..end]) {
                let records = (self.name.kind == Kind::Journal).then_some(1);
                gaps.push(Gap { name: self.name, from: place.offset as u64, to: end as u64, why, records });
            }
        }
    }
}

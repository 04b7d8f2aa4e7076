//! Headers and frames: bytes to values and back. `docs/internals/format.md` is the same in words.

use twox_hash::XxHash3_64;

use super::names::Kind;

/// A line break of either kind that somebody turned into the other one shows here.
const MAGIC: [u8; 8] = *b"ENCUMB\r\n";
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 64;
/// Of a frame, before its payload.
pub(crate) const FRAME_BYTES: usize = 40;
/// So that a length that is garbage is known to be.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// The first bytes of a file. A file gets its name once they are synced: so what they say was true then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    /// Of a snapshot: the last record that was appended before its segment was begun. Of a journal: 0.
    pub(crate) sequence: u64,
    /// Of a snapshot: the checksum of that record's frame, or what stands for it. Of a journal: 0.
    pub(crate) chain: u64,
    /// The last record known to be on disk.
    pub(crate) synced: u64,
    /// Mixed into the checksum of every frame: those of another file do not fit.
    pub(crate) salt: u64,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// With the reason.
    Wrong(&'static str),
    Newer(u32),
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// A record of the journal.
    Record,
    /// The journal was closed: nothing comes after it.
    Shut,
    /// A piece of a snapshot.
    Piece,
    /// The snapshot's last: it is whole.
    End,
}

/// A frame, as read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) tag: Tag,
    pub(crate) sequence: u64,
    pub(crate) synced: u64,
    /// The checksum of the frame before it.
    pub(crate) previous: u64,
    pub(crate) checksum: u64,
    pub(crate) payload: &'a [u8],
}

/// A frame's part of the header, but for what follows from its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) tag: Tag,
    pub(crate) sequence: u64,
    pub(crate) synced: u64,
    pub(crate) previous: u64,
}

impl Kind {
    fn code(self) -> [u8; 4] {
        match self {
            Self::Journal => *b"JRNL",
            Self::Snapshot => *b"SNAP",
        }
    }
}

impl Tag {
    const ALL: [Self; 4] = [Self::Record, Self::Shut, Self::Piece, Self::End];

    fn code(self) -> [u8; 4] {
        match self {
            Self::Record => *b"RECD",
            Self::Shut => *b"SHUT",
            Self::Piece => *b"PIEC",
            Self::End => *b"DONE",
        }
    }

    fn of(code: [u8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| tag.code() == code)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has that length")
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        self.encode_as(VERSION)
    }

    /// Tests write those of other versions.
    pub(crate) fn encode_as(&self, version: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.kind.code());
        let words = [self.number, self.sequence, self.chain, self.synced, self.salt];
        for (place, word) in bytes[16..56].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let checksum = XxHash3_64::oneshot(&bytes[..56]);
        bytes[56..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header of a file whose name says `kind` and `number`.
    pub(crate) fn decode(bytes: &[u8], kind: Kind, number: u64) -> Result<Self, BadHeader> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BadHeader::Wrong("the header is cut off"));
        };
        if bytes[..8] != MAGIC {
            return Err(BadHeader::Wrong("it does not begin as our files do"));
        }
        // The same place in every version: so a damaged version is not taken for a later one.
        if u64_at(bytes, 56) != XxHash3_64::oneshot(&bytes[..56]) {
            return Err(BadHeader::Wrong("the header's checksum does not match"));
        }
        let version = u32::from_le_bytes(array_at(bytes, 8));
        if version > VERSION {
            return Err(BadHeader::Newer(version));
        }
        let [its_number, sequence, chain, synced, salt] = [16, 24, 32, 40, 48].map(|at| u64_at(bytes, at));
        if version != VERSION || bytes[12..16] != kind.code() || its_number != number {
            return Err(BadHeader::Wrong("the header is of another file"));
        }
        Ok(Self { kind, number, sequence, chain, synced, salt })
    }

    /// What stands where the salt does in a header that is damaged: frames tell whether it is. A whole header of another file has none for us.
    pub(crate) fn salt_of_damaged(bytes: &[u8]) -> Option<u64> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let is_damaged = bytes[..8] != MAGIC || u64_at(bytes, 56) != XxHash3_64::oneshot(&bytes[..56]);
        is_damaged.then(|| u64_at(bytes, 48))
    }
}

/// Of another place in the file, and of another file, it is another one.
fn seed(salt: u64, offset: u64) -> u64 {
    salt.wrapping_add(offset)
}

/// Adds a frame to `out`, which begins at `offset` of the file. The answer is the frame's checksum.
pub(crate) fn encode(out: &mut Vec<u8>, salt: u64, offset: u64, head: Head, payload: &[u8]) -> u64 {
    debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX);
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&head.tag.code());
    for word in [head.sequence, head.synced, head.previous] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(payload);
    let checksum = XxHash3_64::oneshot_with_seed(seed(salt, offset), &out[start + 8..]);
    out[start..start + 8].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

impl<'a> Frame<'a> {
    /// The frame at `offset` of a whole file.
    pub(crate) fn decode(file: &'a [u8], salt: u64, offset: usize) -> Result<Self, &'static str> {
        let bytes = file.get(offset..).filter(|bytes| bytes.len() >= FRAME_BYTES).ok_or("a frame is cut off")?;
        let payload_bytes = u32::from_le_bytes(array_at(bytes, 8)) as usize;
        let tag = Tag::of(array_at(bytes, 12)).ok_or("no frame is there")?;
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err("a frame's length is out of bounds");
        }
        let bytes = bytes.get(..FRAME_BYTES + payload_bytes).ok_or("a frame is cut off")?;
        let [checksum, sequence, synced, previous] = [0, 16, 24, 32].map(|at| u64_at(bytes, at));
        if checksum != XxHash3_64::oneshot_with_seed(seed(salt, offset as u64), &bytes[8..]) {
            return Err("a frame's checksum does not match");
        }
        Ok(Self { tag, sequence, synced, previous, checksum, payload: &bytes[FRAME_BYTES..] })
    }

    /// In the file.
    pub(crate) fn bytes(&self) -> usize {
        FRAME_BYTES + self.payload.len()
    }
}

/// The whole frames that begin at or after `from`, each with its place: wherever they begin, what is before them need not be whole. Only heads that are
/// likely are looked at: a payload may be full of what looks like frames, and a checksum takes a while.
pub(crate) fn find_frames(
    file: &[u8],
    salt: u64,
    from: usize,
    is_likely: impl Fn(&Head) -> bool,
) -> impl Iterator<Item = (usize, Frame<'_>)> {
    let end = (file.len() + 1).saturating_sub(FRAME_BYTES);
    (from..end).filter_map(move |offset| {
        let tag = Tag::of(array_at(file, offset + 12))?;
        let [sequence, synced, previous] = [16, 24, 32].map(|at| u64_at(file, offset + at));
        let frame = is_likely(&Head { tag, sequence, synced, previous }).then(|| Frame::decode(file, salt, offset));
        Some((offset, frame?.ok()?))
    })
}

/// The highest record that a whole frame at or after `from` says to be on disk, if that is `needed` or later.
pub(crate) fn find_proof(file: &[u8], salt: u64, from: usize, needed: u64) -> Option<u64> {
    let is_likely = |&Head { tag, sequence, synced, .. }: &Head| {
        matches!(tag, Tag::Record | Tag::Shut)
            && synced >= needed
            && synced < sequence
            && sequence - needed <= file.len() as u64
    };
    find_frames(file, salt, from, is_likely).map(|(_, frame)| frame.synced).max()
}

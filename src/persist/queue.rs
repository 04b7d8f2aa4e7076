//! Records that wait for the one who writes.

use super::frame::{self, Head, Tag};
use super::segment::Segment;

/// Records in order, back to back. Written together, they succeed or fail together.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    records: Vec<(Tag, u32)>,
}

impl Queue {
    pub(crate) fn push(&mut self, tag: Tag, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.records.push((tag, payload.len() as u32));
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The frames as they follow the segment's last one, and the checksum of the last.
    pub(crate) fn encode(
        &self,
        out: &mut Vec<u8>,
        segment: &Segment,
        (sequence, chain): (u64, u64),
        synced: u64,
    ) -> u64 {
        let mut payloads = &*self.bytes;
        let mut previous = chain;
        for (sequence, &(tag, bytes)) in (sequence + 1..).zip(&self.records) {
            let (payload, rest) = payloads.split_at(bytes as usize);
            let offset = segment.len + out.len() as u64;
            previous = frame::encode(out, segment.salt, offset, Head { tag, sequence, synced, previous }, payload);
            payloads = rest;
        }
        previous
    }

    /// Empty, with its memory kept unless it is much.
    pub(crate) fn clear(&mut self) {
        const KEPT_BYTES: usize = 1 << 20;
        self.bytes.clear();
        self.records.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}

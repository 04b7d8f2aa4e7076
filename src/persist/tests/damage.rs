//! Files that are not as they were written: each bit, each length, each sector.

use std::collections::BTreeMap;
use std::iter;

use super::host::{Host, Thing, read};
use super::round_trip::open;
use crate::persist::error::{LogError, OpenError};
use crate::persist::frame::{self, Frame, HEADER_BYTES, Head, Header, Tag, VERSION};
use crate::persist::names::Kind;
use crate::persist::sim::Sim;

const SECTOR_BYTES: usize = 512;
const SNAPSHOT: &str = "snapshot-0000000000000002";
/// All of it is known to have been synced when the next one was begun.
const EARLIER: &str = "journal-0000000000000002";
const LATER: &str = "journal-0000000000000003";

struct Fixture {
    files: BTreeMap<String, Vec<u8>>,
    things: Vec<Thing>,
}

/// A snapshot, two segments, and the end: 8 KiB.
fn fixture() -> Fixture {
    let sim = Sim::new(8);
    let mut host = Host::new(&sim, 8);
    host.open();
    for bytes in [400, 10, 900, 0, 300] {
        host.append_of(bytes);
    }
    host.rotate();
    for bytes in [30, 700, 0, 512, 1000, 90, 400] {
        host.append_of(bytes);
        host.sync();
    }
    let log = host.log.as_ref().expect("it is open");
    assert!(log.rotate(|_| Err(LogError::Closed)).is_err());
    for bytes in [900, 5, 512, 41, 320] {
        host.append_of(bytes);
        host.sync();
    }
    host.close();
    let mut files = sim.files();
    files.retain(|name, _| [SNAPSHOT, EARLIER, LATER].contains(&&**name));
    let bytes: usize = files.values().map(Vec::len).sum();
    assert!(files.len() == 3 && (7_000..9_000).contains(&bytes), "{} files, {bytes} bytes", files.len());
    Fixture { files, things: host.told.things }
}

#[derive(Default, Debug)]
struct Verdicts {
    refused: u64,
    torn: u64,
    void: u64,
    unclosed: u64,
}

impl Fixture {
    /// Reads the files with one of them changed. It must show.
    fn judge(&self, name: &str, bytes: Vec<u8>, what: &str, verdicts: &mut Verdicts) -> Result<(), OpenError> {
        let mut files = self.files.clone();
        assert!(self.files[name] != bytes, "{name}, {what}: nothing is changed");
        files.insert(name.to_owned(), bytes);
        self.judge_all(&files, &format!("{name}, {what}"), verdicts)
    }

    fn judge_all(
        &self,
        files: &BTreeMap<String, Vec<u8>>,
        what: &str,
        verdicts: &mut Verdicts,
    ) -> Result<(), OpenError> {
        let (things, recovered) = read(&*Sim::with(files)).inspect_err(|_| verdicts.refused += 1)?;
        assert!(self.things.starts_with(&things), "{what}: something else is handed out");
        if recovered.torn.is_some() {
            verdicts.torn += 1;
        } else if recovered.void_bytes > 0 {
            verdicts.void += 1;
        } else {
            assert!(!recovered.is_closed, "{what}: it is accepted as whole");
            verdicts.unclosed += 1;
        }
        Ok(())
    }
}

/// Except in the last segment damage is always an error: a snapshot has no torn tail, and what was synced is not torn.
fn assert_refused(name: &str, place: usize, judged: &Result<(), OpenError>) {
    if name != LATER || place < HEADER_BYTES {
        assert!(matches!(judged, Err(OpenError::Corrupt { .. })), "{name}, byte {place}: {judged:?}");
    }
}

#[test]
fn the_fixture_is_whole_as_it_is() {
    let Fixture { files, things } = fixture();
    let (read, recovered) = read(&*Sim::with(&files)).expect("it can be read");
    assert!(read == things && recovered.is_closed && recovered.torn.is_none());
}

#[test]
fn every_bit_that_is_flipped_shows() {
    let fixture = fixture();
    let mut verdicts = Verdicts::default();
    for (name, bytes) in &fixture.files {
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let judged = fixture.judge(name, flipped, &format!("bit {bit}"), &mut verdicts);
            assert_refused(name, bit / 8, &judged);
        }
    }
    println!("{verdicts:?}");
    assert!(verdicts.torn > 0 && verdicts.unclosed == 0, "{verdicts:?}");
}

#[test]
fn every_length_that_a_file_is_cut_to_shows() {
    let fixture = fixture();
    let mut verdicts = Verdicts::default();
    for (name, bytes) in &fixture.files {
        for len in 0..bytes.len() {
            let judged = fixture.judge(name, bytes[..len].to_vec(), &format!("cut to {len}"), &mut verdicts);
            assert_refused(name, len.min(HEADER_BYTES - 1).max(if name == LATER { len } else { 0 }), &judged);
        }
        for more in [1, 39, 40, 512, 4096] {
            let longer = |byte| iter::repeat_n(byte, more);
            let zeros = bytes.iter().copied().chain(longer(0)).collect();
            let again = bytes.iter().copied().chain(bytes.iter().copied().cycle().take(more)).collect();
            for longer in [zeros, again] {
                let judged = fixture.judge(name, longer, &format!("longer by {more}"), &mut verdicts);
                // Behind the end of a segment may be what a write left that failed.
                assert!(judged.is_err() || name != SNAPSHOT);
            }
        }
    }
    println!("{verdicts:?}");
    assert!(verdicts.torn > 0 && verdicts.void > 0 && verdicts.unclosed > 0, "{verdicts:?}");
}

#[test]
fn every_sector_that_is_zeroed_or_another_one_shows() {
    let fixture = fixture();
    let mut verdicts = Verdicts::default();
    let sectors = |bytes: &[u8]| (0..bytes.len() / SECTOR_BYTES).map(|at| at * SECTOR_BYTES..(at + 1) * SECTOR_BYTES);
    for (name, bytes) in &fixture.files {
        for (place, sector) in sectors(bytes).enumerate() {
            let mut judge = |what: &str, changed: Vec<u8>| {
                let first = bytes.iter().zip(&changed).position(|(is, was)| is != was).unwrap_or(bytes.len());
                let judged = fixture.judge(name, changed, &format!("sector {place} {what}"), &mut verdicts);
                assert_refused(name, first, &judged);
            };
            let mut zeroed = bytes.clone();
            zeroed[sector.clone()].fill(0);
            judge("zeroed", zeroed);
            let mut lost = bytes.clone();
            lost.drain(sector.clone());
            judge("lost", lost);
            let mut twice = bytes.clone();
            twice.splice(sector.end..sector.end, bytes[sector.clone()].iter().copied());
            judge("twice", twice);
            for (from, source) in &fixture.files {
                for (other, source_sector) in
                    sectors(source).enumerate().filter(|(other, _)| from != name || *other != place)
                {
                    let mut copied = bytes.clone();
                    copied[sector.clone()].copy_from_slice(&source[source_sector.clone()]);
                    judge(&format!("from sector {other} of {from}"), copied);
                    if from == name {
                        let mut swapped = bytes.clone();
                        swapped.copy_within(source_sector.clone(), sector.start);
                        swapped[source_sector].copy_from_slice(&bytes[sector.clone()]);
                        judge(&format!("and sector {other} swapped"), swapped);
                    }
                }
            }
        }
    }
    println!("{verdicts:?}");
    assert!(verdicts.torn > 0, "{verdicts:?}");
}

#[test]
fn a_file_that_is_missing_or_another_one_shows() {
    let fixture = fixture();
    let mut verdicts = Verdicts::default();
    for name in fixture.files.keys() {
        let mut files = fixture.files.clone();
        files.remove(name);
        let judged = fixture.judge_all(&files, &format!("{name} missing"), &mut verdicts);
        // Without the last segment it is a log that was not closed.
        assert!(judged.is_err() || name == LATER, "{name}");
        for (other, bytes) in fixture.files.iter().filter(|(other, _)| *other != name) {
            let judged = fixture.judge(name, bytes.clone(), &format!("is {other}"), &mut verdicts);
            let error = judged.expect_err("its header says so");
            assert!(error.to_string().contains("the header is of another file"), "{error}");
        }
    }
    let missing = |number: &str| {
        let mut files = fixture.files.clone();
        files.remove(EARLIER);
        files.insert(format!("journal-{number}"), files[LATER].clone());
        read(&*Sim::with(&files)).expect_err("a segment is missing").to_string()
    };
    assert_eq!(missing("0000000000000004"), "/sim/journal-0000000000000002 is damaged at byte 0: it is missing");
}

#[test]
fn a_later_version_is_an_error_of_its_own() {
    let fixture = fixture();
    for (name, kind, number) in [(SNAPSHOT, Kind::Snapshot, 2), (EARLIER, Kind::Journal, 2), (LATER, Kind::Journal, 3)]
    {
        let mut files = fixture.files.clone();
        let header = Header::decode(&files[name], kind, number).expect("it is whole");
        let bytes = files.get_mut(name).expect("it is there");
        bytes[..HEADER_BYTES].copy_from_slice(&header.encode_as(VERSION + 1));
        let error = read(&*Sim::with(&files)).expect_err("this release cannot know it");
        assert!(matches!(&error, OpenError::NewerVersion { version: 2, path } if path.ends_with(name)), "{error}");
    }
}

#[test]
fn files_of_others_are_left_alone_and_listed() {
    let sim = Sim::with(&fixture().files);
    let others = [
        "journal-3",
        "journal-00000000000000003",
        "snapshot-000000000000000x",
        "notes.txt",
        "journal-0000000000000004.bak",
    ];
    for name in others {
        sim.put(name, b"not ours".to_vec());
    }
    sim.put("snapshot-0000000000000009.tmp", b"never finished".to_vec());
    let (_, recovered) = read(&*sim).expect("it can be read");
    let mut foreign = others.to_vec();
    foreign.sort_unstable();
    assert_eq!(recovered.foreign, foreign);
    assert_eq!(recovered.unfinished, ["snapshot-0000000000000009.tmp"]);
    let mut host = Host::new(&sim, 1);
    host.open_whatever();
    host.rotate();
    let left = sim.files();
    assert!(others.iter().all(|name| left[*name] == b"not ours"));
    assert!(!left.contains_key("snapshot-0000000000000009.tmp"));
}

/// A write failed and was taken back; another one took its place. Then the power went, when of the first frame the disk had the old one,
/// and of the second one the new one.
#[test]
fn a_record_is_handed_out_only_after_the_one_it_was_written_after() {
    let sim = Sim::new(1);
    drop(open(sim.clone()));
    let mut files = sim.files();
    let journal = files.get_mut("journal-0000000000000001").expect("it is there");
    let salt = Header::decode(journal, Kind::Journal, 1).expect("it is whole").salt;
    let head = |sequence, previous| Head { tag: Tag::Record, sequence, synced: 0, previous };
    let first_at = journal.len() as u64;
    let thing = |number: u64, head| {
        let mut frame = Vec::new();
        let checksum = frame::encode(&mut frame, salt, first_at, head, &number.to_le_bytes());
        (checksum, frame)
    };
    let (old, old_frame) = thing(1, head(1, 0));
    let (new, _) = thing(2, head(1, 0));
    journal.extend(old_frame);
    let torn_at = journal.len() as u64;
    frame::encode(journal, salt, torn_at, head(2, new), &3_u64.to_le_bytes());
    let (things, recovered) = read(&*Sim::with(&files)).expect("it can be read");
    assert_eq!(things, [1_u64.to_le_bytes()]);
    assert_eq!(recovered.chain, old);
    let torn = recovered.torn.expect("it is torn");
    assert_eq!((torn.offset, torn.bytes), (torn_at, 48));

    // But if the one before it was on disk, it is damage.
    let journal = files.get_mut("journal-0000000000000001").expect("it is there");
    journal.truncate(torn_at as usize);
    frame::encode(journal, salt, torn_at, Head { synced: 1, ..head(2, new) }, &3_u64.to_le_bytes());
    let error = read(&*Sim::with(&files)).expect_err("record 1 was another one");
    let text = "the record before it is another one, and record 1 was on disk";
    assert_eq!(error.to_string(), format!("/sim/journal-0000000000000001 is damaged at byte {torn_at}: {text}"));
}

#[test]
fn nothing_comes_after_the_end() {
    let Fixture { mut files, things } = fixture();
    let journal = files.get_mut(LATER).expect("it is there");
    let salt = Header::decode(journal, Kind::Journal, 3).expect("it is whole").salt;
    let end_at = journal.len() - frame::FRAME_BYTES;
    let end = Frame::decode(journal, salt, end_at).expect("it is whole");
    let head = Head { tag: Tag::Record, sequence: end.sequence + 1, synced: end.synced, previous: end.checksum };
    let after = journal.len() as u64;
    frame::encode(journal, salt, after, head, &things[0]);
    let error = read(&*Sim::with(&files)).expect_err("it was closed before");
    let text = "the log goes on after it was closed";
    assert_eq!(error.to_string(), format!("/sim/{LATER} is damaged at byte {after}: {text}"));
}

/// Nothing is a journal by its looks alone.
#[test]
fn a_journal_without_its_snapshot_is_an_error() {
    let mut files = fixture().files;
    files.remove(SNAPSHOT);
    let error = read(&*Sim::with(&files)).expect_err("what came before is unknown");
    assert!(error.to_string().contains("the snapshot before it is missing"), "{error}");
}

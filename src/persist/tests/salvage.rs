//! What is taken out of two generations of files of which bytes are changed: everything that is whole, and nothing else.

use std::collections::BTreeMap;
use std::ops::Range;

use super::host::{Host, Thing, Things};
use super::{first_seed, states_wanted};
use crate::persist::error::OpenError;
use crate::persist::frame::{self, Frame, HEADER_BYTES, Head, Header, Tag};
use crate::persist::names::{Kind, Name};
use crate::persist::recover::Item;
use crate::persist::salvage::{Gap, Salvage, Taken, first_gap, salvage};
use crate::persist::sim::{Random, Sim};

type Files = BTreeMap<String, Vec<u8>>;

/// Where the salt stands in a header.
const SALT: Range<usize> = 48..56;
const SECTOR_BYTES: usize = 512;

/// Where a frame is, and what is in it, if it is of a thing.
type Place = (Range<usize>, Option<Thing>);

struct Fixture {
    files: Files,
    things: Vec<Thing>,
    frames: BTreeMap<String, Vec<Place>>,
}

/// Two snapshots with their segments, closed. A record is appended while each snapshot is written.
fn fixture() -> Fixture {
    let sim = Sim::new(8);
    let mut host = Host::new(&sim, 8);
    host.open();
    for sizes in [&[400, 10, 300][..], &[30, 700, 0, 512, 90], &[900, 5, 41, 320]] {
        if !host.told.things.is_empty() {
            host.rotate();
        }
        for bytes in sizes {
            host.append_of(*bytes);
            host.sync();
        }
    }
    host.close();
    let files = sim.files();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = ["journal-0000000000000002", "journal-0000000000000003"];
    assert_eq!(names, [&expected[..], &["snapshot-0000000000000002", "snapshot-0000000000000003"]].concat());
    let frames = files.iter().map(|(name, bytes)| (name.clone(), frames(name, bytes))).collect();
    Fixture { frames, files, things: host.told.things }
}

fn frames(name: &str, bytes: &[u8]) -> Vec<Place> {
    let Name { kind, number, .. } = Name::parse(name).expect("it is ours");
    let salt = Header::decode(bytes, kind, number).expect("it is whole").salt;
    let mut frames = Vec::new();
    let mut offset = HEADER_BYTES;
    while offset < bytes.len() {
        let frame = Frame::decode(bytes, salt, offset).expect("it is whole");
        let is_thing = matches!(frame.tag, Tag::Record | Tag::Piece);
        frames.push((offset..offset + frame.bytes(), is_thing.then(|| frame.payload.to_vec())));
        offset += frame.bytes();
    }
    frames
}

fn take(files: &Files) -> Result<(Vec<Thing>, Salvage), OpenError> {
    let mut things = Things::default();
    let done = salvage(&*Sim::with(files), &mut |taken| {
        let (Taken::Piece { payload, .. } | Taken::Record { payload }) = taken;
        things.take(Item::Piece(payload))
    })?;
    Ok((things.in_order, done))
}

impl Fixture {
    /// Everything that is in frames which none of the ranges touches, of files whose salts none touches. Where a snapshot is whole only what counts.
    fn whole(&self, damage: &[(&str, Range<usize>)]) -> Vec<&Thing> {
        let hits = |name: &str, range: &Range<usize>| {
            damage.iter().any(|(of, at)| *of == name && at.start < range.end && range.start < at.end)
        };
        let files = self.frames.iter().filter(|(name, _)| !hits(name, &SALT));
        let frames = files.flat_map(|(name, frames)| frames.iter().map(move |(range, thing)| (name, range, thing)));
        frames.filter(|(name, range, _)| !hits(name, range)).filter_map(|(.., thing)| thing.as_ref()).collect()
    }

    /// Takes what can be taken out of files with these bytes changed; says how many things that are.
    fn judge(&self, damage: &[(&str, Range<usize>)], change: impl Fn(&mut u8)) -> (usize, Salvage) {
        let mut files = self.files.clone();
        for (name, range) in damage {
            files.get_mut(*name).expect("it is there")[range.clone()].iter_mut().for_each(&change);
        }
        let (things, done) = take(&files).expect("it can be read");
        let invented = things.iter().find(|thing| !self.things.contains(thing));
        assert!(invented.is_none(), "{damage:?}: {invented:?} never was");
        let lost = self.whole(damage).into_iter().find(|thing| !things.contains(thing));
        assert!(lost.is_none(), "{damage:?}: {lost:?} is whole and was not taken\n{done:?}");
        let seen = |(name, range): &(&str, Range<usize>)| {
            let hit = |gap: &Gap| {
                gap.name.to_string() == *name && gap.from < range.end as u64 && (range.start as u64) < gap.to
            };
            let number = Name::parse(name).expect("it is ours").number;
            // Of what is older than the snapshot that is whole nobody asks.
            done.base.is_some_and(|base| number < base) || done.gaps.iter().any(hit)
        };
        assert!(damage.iter().all(seen), "{damage:?} is not told: {done:?}");
        (things.len(), done)
    }
}

#[test]
fn of_whole_files_everything_is_taken() {
    let Fixture { files, things, .. } = fixture();
    let (taken, done) = take(&files).expect("it can be read");
    assert!(things.iter().all(|thing| taken.contains(thing)) && taken.len() == things.len());
    assert!(done.is_all() && done.is_closed, "{done:?}");
    assert_eq!((done.base, done.records, done.next_number), (Some(3), 5, 4));
}

#[test]
fn every_byte_that_is_flipped_costs_its_frame_at_most() {
    let fixture = fixture();
    let mut bases = BTreeMap::new();
    for (name, bytes) in &fixture.files {
        for at in 0..bytes.len() {
            // Each bit of the byte has its turn somewhere.
            let (taken, done) = fixture.judge(&[(name, at..at + 1)], |byte| *byte ^= 1 << (at % 8));
            *bases.entry((name.clone(), done.base)).or_insert(0_u32) += 1;
            if name != "journal-0000000000000003" {
                // One generation is whole, and everything after it.
                assert_eq!(taken, fixture.things.len(), "{name} byte {at}");
            }
        }
    }
    println!("{bases:?}");
    assert_eq!(bases.len(), 4, "the newest snapshot counts, unless it is the one that is damaged: {bases:?}");
}

#[test]
fn every_sector_that_is_gone_costs_its_frames_at_most() {
    let fixture = fixture();
    for (name, bytes) in &fixture.files {
        for from in (0..bytes.len()).step_by(SECTOR_BYTES) {
            fixture.judge(&[(name, from..bytes.len().min(from + SECTOR_BYTES))], |byte| *byte = !*byte);
        }
    }
}

#[test]
fn whatever_is_damaged_what_is_whole_is_taken() {
    let fixture = fixture();
    let seeds = first_seed()..first_seed() + states_wanted(400).min(20_000);
    println!("seeds {seeds:?}");
    for round in seeds {
        let mut random = Random(round);
        let mut damage: Vec<(&str, Range<usize>)> = Vec::new();
        for (name, bytes) in &fixture.files {
            if random.coin() {
                let from = random.below(bytes.len() as u64) as usize;
                let most = 1 << random.below(11);
                let to = from + 1 + random.below(most) as usize;
                damage.push((name, from..to.min(bytes.len())));
            }
        }
        fixture.judge(&damage, |byte| *byte = !*byte);
    }
}

#[test]
fn of_two_damaged_snapshots_whole_pieces_are_taken() {
    let fixture = fixture();
    let [old, new] = ["snapshot-0000000000000002", "snapshot-0000000000000003"];
    for place in 0..fixture.frames[new].len() {
        let damage = [(old, fixture.frames[old][0].0.clone()), (new, fixture.frames[new][place].0.clone())];
        let (_, done) = fixture.judge(&damage, |byte| *byte ^= 0x55);
        assert_eq!((done.base, &*done.damaged), (None, &[3, 2][..]));
        assert!(done.pieces > 0 && !done.is_all());
    }
}

#[test]
fn records_that_are_gone_are_counted() {
    let fixture = fixture();
    let journal = "journal-0000000000000003";
    let frames = &fixture.frames[journal];
    let (_, done) = fixture.judge(&[(journal, frames[1].0.start..frames[2].0.end)], |byte| *byte = 0);
    assert_eq!((done.records, done.records_lost, done.is_closed), (3, 2, true));
    let gaps: Vec<_> = done.gaps.iter().map(|gap| (gap.from, gap.to, gap.records)).collect();
    assert_eq!(gaps, [(frames[1].0.start as u64, frames[2].0.end as u64, Some(2))]);

    // The end is not known to be there.
    let mut files = fixture.files.clone();
    files.get_mut(journal).expect("it is there").truncate(frames[3].0.start);
    let (_, done) = take(&files).expect("it can be read");
    assert!(!done.is_closed && done.records == 3 && done.records_lost == 0, "{done:?}");

    files.remove("journal-0000000000000002");
    files.remove("snapshot-0000000000000003");
    let (_, done) = take(&files).expect("it can be read");
    assert_eq!(done.missing, [Name::journal(2)]);
    assert_eq!((done.base, done.records, done.records_lost), (Some(2), 3, 6), "{done:?}");
}

#[test]
fn what_the_owner_cannot_read_is_passed_over() {
    let Fixture { files, things, .. } = fixture();
    let mut taken_things = 0;
    let done = salvage(&*Sim::with(&files), &mut |taken| match taken {
        Taken::Record { payload } if payload == things[things.len() - 2] => Err("malformed".to_owned()),
        _ => {
            taken_things += 1;
            Ok(())
        }
    });
    let done = done.expect("it can be read");
    assert_eq!((done.records, done.records_lost, done.gaps.len()), (4, 1, 1));
    assert_eq!((&*done.gaps[0].why, done.gaps[0].records), ("malformed", Some(1)));
    assert!(taken_things > 3 && !done.is_all());
}

#[test]
fn appends_that_failed_and_stayed_are_not_taken() {
    let fixture = fixture();
    let mut files = fixture.files.clone();
    // Behind the last record of the earlier segment, one with the sequence that the next one begins with.
    let journal = files.get_mut("journal-0000000000000002").expect("it is there");
    let header = Header::decode(journal, Kind::Journal, 2).expect("it is whole");
    let (last, _) = fixture.frames["journal-0000000000000002"].last().expect("it is used").clone();
    let last = Frame::decode(journal, header.salt, last.start).expect("it is whole");
    let head = Head { tag: last.tag, sequence: last.sequence + 1, synced: last.synced, previous: last.checksum };
    let end = journal.len() as u64;
    frame::encode(journal, header.salt, end, head, &u64::MAX.to_le_bytes());
    files.get_mut("snapshot-0000000000000003").expect("it is there")[100] ^= 1;
    let (things, done) = take(&files).expect("it can be read");
    assert_eq!((done.base, things.len(), done.records_lost), (Some(2), fixture.things.len(), 0));
    assert!(!things.contains(&u64::MAX.to_le_bytes().to_vec()));
}

#[test]
fn what_a_later_release_wrote_is_refused_and_what_is_not_ours_is_listed() {
    let Fixture { mut files, .. } = fixture();
    files.insert("notes.txt".to_owned(), Vec::new());
    files.insert("snapshot-0000000000000004.tmp".to_owned(), vec![1, 2, 3]);
    let (_, done) = take(&files).expect("it can be read");
    assert_eq!((done.foreign, done.unfinished.len()), (vec!["notes.txt".to_owned()], 1));
    let journal = files.get_mut("journal-0000000000000003").expect("it is there");
    let header = Header::decode(journal, Kind::Journal, 3).expect("it is whole");
    journal[..HEADER_BYTES].copy_from_slice(&header.encode_as(9));
    assert!(matches!(take(&files), Err(OpenError::NewerVersion { version: 9, .. })));
}

#[test]
fn an_older_file_is_whole_or_says_where_not() {
    let fixture = fixture();
    let (journal, snapshot) = (Name::journal(2), Name::snapshot(2));
    let sim = Sim::with(&fixture.files);
    assert_eq!([journal, snapshot].map(|name| first_gap(&*sim, name).expect("it can be read")), [None, None]);
    for name in [journal, snapshot] {
        let mut files = fixture.files.clone();
        let (range, _) = fixture.frames[&name.to_string()][1].clone();
        files.get_mut(&name.to_string()).expect("it is there")[range.start + 3] ^= 1;
        let gap = first_gap(&*Sim::with(&files), name).expect("it can be read").expect("it is damaged");
        assert_eq!((gap.from, gap.to), (range.start as u64, range.end as u64));
        files.get_mut(&name.to_string()).expect("it is there").truncate(range.start);
        let gap = first_gap(&*Sim::with(&files), name).expect("it can be read");
        assert_eq!(gap.is_some(), name == snapshot, "a segment that was cut is one that was not closed");
    }
}

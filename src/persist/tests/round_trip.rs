//! What goes in comes out.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use super::host::{Host, read};
use crate::persist::error::{LogError, OpenError};
use crate::persist::frame::PAYLOAD_BYTES_MAX;
use crate::persist::log::{Log, Opening};
use crate::persist::recover::{Item, recover};
use crate::persist::sim::{Plan, Sim};
use crate::persist::vfs::Vfs;

pub(super) fn open(vfs: Arc<dyn Vfs>) -> Log {
    let opening = Opening::new(vfs, &mut |_| Ok(())).expect("it opens");
    opening.publish(|_| Ok(())).expect("it is published").0
}

#[test]
fn an_empty_directory_is_an_empty_log() {
    let sim = Sim::new(1);
    let (things, recovered) = read(&*sim).expect("it can be read");
    assert_eq!((things.len(), recovered.snapshot, recovered.next_number), (0, None, 1));
    assert!(!recovered.is_closed && recovered.torn.is_none());
}

#[test]
fn records_of_every_length_come_out_in_order() {
    let sim = Sim::new(1);
    let log = open(sim.clone());
    let payloads: Vec<Vec<u8>> = [0, 1, 7, 511, 512, 70_000].map(|bytes| vec![bytes as u8; bytes]).into();
    for (sequence, payload) in (1..).zip(&payloads) {
        assert_eq!(log.append(payload).expect("there is room"), sequence);
    }
    log.close().expect("it closes");
    let mut found = Vec::new();
    let recovered = recover(&*sim, &mut |item| {
        found.push(match item {
            Item::Record { sequence, payload } => (sequence, payload.to_vec()),
            Item::Piece(_) => unreachable!("nothing was written into the snapshot"),
        });
        Ok(())
    });
    let recovered = recovered.expect("it can be read");
    assert_eq!(found, (1..).zip(payloads).collect::<Vec<_>>());
    assert!(recovered.is_closed);
    // The end has a sequence of its own.
    assert_eq!((recovered.records, recovered.sequence), (6, 7));
}

#[test]
fn snapshots_take_the_place_of_what_came_before_and_two_generations_stay() {
    let mut host = Host::new(&Sim::new(1), 1);
    host.open();
    for _ in 0..5 {
        host.append();
        host.rotate();
    }
    let names: Vec<_> = host.sim.files().into_keys().collect();
    let kept = [
        "journal-0000000000000005",
        "journal-0000000000000006",
        "snapshot-0000000000000005",
        "snapshot-0000000000000006",
    ];
    assert_eq!(names, kept);
    let (things, recovered) = read(&*host.sim).expect("it can be read");
    assert_eq!(things, host.told.things);
    // The rotation of the other five appended one in the middle each, and the last one is in the journal too.
    assert_eq!((things.len(), recovered.snapshot, recovered.records), (10, Some(6), 1));
}

/// Should the newest snapshot be taken away, the one before and its journals are as good.
#[test]
fn the_older_generation_is_whole() {
    let mut host = Host::new(&Sim::new(3), 3);
    host.open();
    for _ in 0..4 {
        host.append();
        host.rotate();
        host.append();
    }
    let mut files = host.sim.files();
    files.remove("snapshot-0000000000000005").expect("it is the newest");
    let (things, recovered) = read(&*Sim::with(&files)).expect("it can be read");
    assert_eq!((things, recovered.snapshot), (host.told.things, Some(4)));
}

/// It is written in several parts.
#[test]
fn a_large_snapshot_comes_out_as_it_went_in() {
    let sim = Sim::new(1);
    let log = open(sim.clone());
    let pieces: Vec<Vec<u8>> = (0..20_u8).map(|number| vec![number; 1 + 9_000 * usize::from(number)]).collect();
    log.rotate(|snapshot| pieces.iter().try_for_each(|piece| snapshot.push(piece))).expect("there is room");
    let too_long = vec![0; PAYLOAD_BYTES_MAX + 1];
    let refused = log.rotate(|snapshot| snapshot.push(&too_long));
    assert!(matches!(refused, Err(LogError::TooLong { .. })));
    let mut found = Vec::new();
    let recovered = recover(&*sim.crash(1), &mut |item| {
        let Item::Piece(piece) = item else { return Err("it is no piece".to_owned()) };
        found.push(piece.to_vec());
        Ok(())
    });
    assert_eq!(recovered.expect("it can be read").pieces, 20);
    assert_eq!(found, pieces);
}

#[test]
fn an_owner_sees_what_was_found_before_it_publishes() {
    let sim = Sim::new(1);
    let log = open(sim.clone());
    log.append(b"a record").expect("there is room");
    assert_eq!(log.rotate(|_| Ok(())).expect("there is room").number, 2);
    drop(log);
    let before = sim.files();
    let opening = Opening::new(sim.clone(), &mut |_| Ok(())).expect("it opens");
    let recovered = opening.recovered();
    assert_eq!((recovered.snapshot, recovered.sequence, recovered.records), (Some(2), 1, 0));
    assert_eq!(sim.files(), before, "reading changes nothing");
    let (log, rotated) = opening.publish(|_| Ok(())).expect("it is published");
    assert_eq!((rotated.number, log.standing().segment, log.standing().appended), (3, 3, 1));
}

#[test]
fn a_snapshot_that_is_unfinished_counts_for_nothing() {
    let sim = Sim::new(1);
    let mut host = Host::new(&sim, 1);
    host.open();
    host.append();
    host.sync();
    let log = host.log.as_ref().expect("it is open");
    let failed = log.rotate(|snapshot| {
        snapshot.push(b"half of it")?;
        Err(LogError::Closed)
    });
    assert!(matches!(failed, Err(LogError::Closed)));
    host.append();
    let (things, recovered) = read(&*sim).expect("it can be read");
    assert_eq!((&things, recovered.snapshot), (&host.told.things, Some(1)));
    assert_eq!(recovered.unfinished, ["snapshot-0000000000000002.tmp"]);
    // The next one clears it away.
    host.rotate();
    assert!(read(&*sim).expect("it can be read").1.unfinished.is_empty());
}

#[test]
fn what_is_too_long_or_too_late_is_refused() {
    let log = open(Sim::new(1));
    let bytes = PAYLOAD_BYTES_MAX + 1;
    assert!(matches!(log.append(&vec![0; bytes]), Err(LogError::TooLong { bytes: is }) if is == bytes));
    assert_eq!(log.append(&vec![0; PAYLOAD_BYTES_MAX]).expect("the longest fits"), 1);
    assert!(matches!(log.sync_to(2), Err(LogError::NeverAppended { sequence: 2 })));
    log.close().expect("it closes");
    assert!(matches!(log.append(b"late"), Err(LogError::Closed)));
    assert!(matches!(log.close(), Err(LogError::Closed)));
    assert!(matches!(log.rotate(|_| Ok(())), Err(LogError::Closed)));
}

#[test]
fn a_second_opener_is_told_so() {
    let sim = Sim::new(1);
    let log = open(sim.clone());
    let second = Opening::new(sim.clone(), &mut |_| Ok(()));
    assert!(matches!(second, Err(OpenError::AlreadyOpen(dir)) if dir == sim.dir()));
    drop(log);
    open(sim);
}

#[test]
fn what_the_owner_cannot_read_is_reported_with_its_place() {
    let sim = Sim::new(1);
    let log = open(sim.clone());
    log.append(b"first").expect("there is room");
    log.append(b"second").expect("there is room");
    let refused = recover(&*sim, &mut |item| match item {
        Item::Record { sequence: 2, .. } => Err("what is this?".to_owned()),
        _ => Ok(()),
    });
    let error = refused.expect_err("the second is refused");
    assert_eq!(error.to_string(), "/sim/journal-0000000000000001 is damaged at byte 109: what is this?");
}

/// A future's waker that remembers whether it was woken.
struct Bell(parking_lot::Mutex<u32>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.0.lock() += 1;
    }
}

#[test]
fn a_waker_is_woken_by_the_sync_of_its_record_and_by_its_failure() {
    let sim = Sim::new(1);
    let log = open(sim.clone());
    let bell = Arc::new(Bell(0.into()));
    let waker = Waker::from(Arc::clone(&bell));
    let first = log.append(b"first").expect("there is room");
    assert!(log.poll_synced(first, &waker).is_pending());
    assert!(log.poll_synced(first, &waker).is_pending(), "asked again, it is woken once");
    assert_eq!(*bell.0.lock(), 0);
    log.sync_to(first).expect("the disk is well");
    assert_eq!(*bell.0.lock(), 1);
    assert!(matches!(log.poll_synced(first, &waker), Poll::Ready(Ok(()))));

    let second = log.append(b"second").expect("there is room");
    assert!(log.poll_synced(second, &waker).is_pending());
    sim.plan(Plan { fail: Some(((1, 1), std::io::ErrorKind::Other)), ..Plan::default() });
    assert!(matches!(log.sync_to(second), Err(LogError::Poisoned(_))));
    assert_eq!(*bell.0.lock(), 2);
    assert!(matches!(log.poll_synced(second, &waker), Poll::Ready(Err(LogError::Poisoned(_)))));
}

//! Every operation fails: the disk is full, or broken, once or twice. Nothing is acknowledged that is not so, and the log heals.

use std::io::ErrorKind;

use super::host::{Host, read};
use super::{first_seed, states_wanted};
use crate::persist::error::LogError;
use crate::persist::sim::{Plan, Random, Sim};

const STEPS: usize = 24;

fn fail(from: u64, to: u64, kind: ErrorKind) -> Plan {
    Plan { fail: Some(((from, to), kind)), ..Plan::default() }
}

/// Reads what is left after a kill and after two losses of power.
fn check(host: &Host, random: &mut Random, state: &str) -> u64 {
    for outcome in 0..3 {
        let told = &host.told;
        let (sim, least) = match outcome {
            0 => (host.sim.kill(random.next()), told.appended),
            _ => (host.sim.crash(random.next()), told.synced),
        };
        let (things, _) = read(&*sim).unwrap_or_else(|error| panic!("{state}, outcome {outcome}: {error}"));
        told.check(&things, least).unwrap_or_else(|fault| panic!("{state}, outcome {outcome}: {fault}"));
    }
    3
}

#[test]
fn nothing_false_is_acknowledged_whatever_fails_and_it_heals() {
    let wanted = states_wanted(4_000);
    let (mut states, first) = (0, first_seed());
    let mut seeds = 0;
    for seed in first.. {
        let mut random = Random(seed);
        let sim = Sim::new(seed);
        Host::new(&sim, seed).run(STEPS);
        for at in 1..=sim.operations() {
            for (kind, more) in
                [(ErrorKind::StorageFull, 0), (ErrorKind::Other, 0), (ErrorKind::Other, 1), (ErrorKind::Other, 4)]
            {
                let state = format!("seed {seed}, {kind:?} at {at} and {more} more");
                let sim = Sim::new(seed);
                sim.plan(fail(at, at + more, kind));
                let mut host = Host::new(&sim, seed);
                host.run(STEPS);
                states += check(&host, &mut random, &state);
                // The disk is well again: so is the log, after a rotation or two.
                sim.plan(Plan::default());
                if host.log.is_none() {
                    host.open();
                }
                if host.is_in_trouble() {
                    host.rotate();
                }
                assert!(!host.is_in_trouble(), "{state}: it does not heal");
                host.append();
                host.sync();
                assert_eq!(
                    (host.told.synced, host.told.appended),
                    (host.told.things.len(), host.told.things.len()),
                    "{state}"
                );
                states += check(&host, &mut random, &state);

                // And the power goes some time after something failed.
                let sim = Sim::new(seed);
                sim.plan(Plan { cut: Some(at + more + 1 + random.below(40)), ..fail(at, at + more, kind) });
                let mut host = Host::new(&sim, seed);
                host.run(STEPS);
                states += check(&host, &mut random, &format!("{state}, then cut: {}", sim.operations()));
            }
        }
        seeds += 1;
        if states >= wanted {
            break;
        }
    }
    println!("{states} states, {seeds} seeds from {first}");
}

#[test]
fn a_write_that_fails_is_taken_back() {
    let sim = Sim::new(1);
    let mut host = Host::new(&sim, 1);
    host.open();
    host.append();
    let before = host.log.as_ref().expect("it is open").standing();
    sim.plan(fail(1, 1, ErrorKind::StorageFull));
    let log = host.log.as_ref().expect("it is open");
    let error = log.append(&[7; 300]).expect_err("the disk is full");
    assert!(matches!(&error, LogError::Io(fault) if fault.action == "write"), "{error}");
    let after = log.standing();
    assert_eq!((after.appended, after.segment_bytes), (before.appended, before.segment_bytes));
    assert!(after.trouble.is_none());
    let file = &sim.files()["journal-0000000000000001"];
    assert_eq!(file.len() as u64, before.segment_bytes);
    assert_eq!(log.append(b"again").expect("there is room"), before.appended + 1);
}

#[test]
fn where_it_cannot_be_taken_back_the_segment_ends() {
    for seed in 1..=16 {
        let sim = Sim::new(seed);
        let mut host = Host::new(&sim, seed);
        host.open();
        host.append();
        sim.plan(fail(1, 2, ErrorKind::Other));
        host.append();
        let log = host.log.as_ref().expect("it is open");
        assert!(matches!(log.standing().trouble, Some(LogError::Sealed(_))));
        assert!(matches!(log.append(b"more"), Err(LogError::Sealed(_))));
        // What was there before can be synced all the same.
        host.sync();
        assert_eq!(host.told.synced, 1);
        // A rotation heals it even if its snapshot fails: the next segment is there.
        let log = host.log.as_ref().expect("it is open");
        assert!(log.rotate(|_| Err(LogError::Closed)).is_err());
        assert!(log.standing().trouble.is_none());
        host.append();
        let (things, recovered) = read(&*sim).expect("it can be read");
        assert_eq!((things, recovered.torn), (host.told.things, None));
    }
}

#[test]
fn a_sync_that_fails_acknowledges_nothing_until_a_snapshot_is_published() {
    let sim = Sim::new(1);
    let mut host = Host::new(&sim, 1);
    host.open();
    host.append();
    sim.plan(fail(1, 1, ErrorKind::Other));
    host.sync();
    let log = host.log.as_ref().expect("it is open");
    assert_eq!(host.told.synced, 0);
    assert!(matches!(log.append(b"more"), Err(LogError::Poisoned(_))));
    let operations = sim.operations();
    assert!(matches!(log.sync_to(1), Err(LogError::Poisoned(_))));
    assert_eq!(sim.operations(), operations, "it is not synced again and called good");
    // Not by the segment alone.
    assert!(log.rotate(|_| Err(LogError::Closed)).is_err());
    assert!(matches!(log.append(b"more"), Err(LogError::Poisoned(_))));
    host.rotate();
    assert!(!host.is_in_trouble());
    host.append();
    host.sync();
    let crashed = sim.crash(1);
    let (things, _) = read(&*crashed).expect("it can be read");
    assert_eq!(things, host.told.things);
}

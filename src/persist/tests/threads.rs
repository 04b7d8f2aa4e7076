//! Many threads: one write, one sync.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::host::{Thing, read};
use super::round_trip::open;
use crate::persist::error::LogError;
use crate::persist::log::Log;
use crate::persist::recover::{Item, recover};
use crate::persist::sim::{Plan, Sim};
use crate::persist::vfs::{Lock, Vfs, VfsFile};
use crate::sync::{Condvar, Mutex};

const THREADS: usize = 32;

/// Holds writes and syncs back, and counts them.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Default)]
struct GateState {
    holds_writes: bool,
    holds_syncs: bool,
    writes: usize,
    syncs: usize,
}

impl Gate {
    fn pass(&self, count: impl FnOnce(&mut GateState), is_held: impl Fn(&GateState) -> bool) {
        let mut state = self.state.lock();
        count(&mut state);
        while is_held(&state) {
            state = self.opened.wait(state);
        }
    }

    fn change(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock());
        self.opened.notify_all();
    }

    fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.writes, state.syncs)
    }
}

struct Gated {
    sim: Arc<Sim>,
    gate: Arc<Gate>,
}

struct GatedFile {
    file: Arc<dyn VfsFile>,
    gate: Arc<Gate>,
}

impl Vfs for Gated {
    fn dir(&self) -> &Path {
        self.sim.dir()
    }
    fn lock(&self) -> io::Result<Option<Lock>> {
        self.sim.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.sim.list()
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.sim.read(name)
    }
    fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        let (file, gate) = (self.sim.create_new(name)?, Arc::clone(&self.gate));
        Ok(Arc::new(GatedFile { file, gate }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.sim.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.sim.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.sim.sync_dir()
    }
    fn salt(&self) -> u64 {
        self.sim.salt()
    }
}

impl VfsFile for GatedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.gate.pass(|state| state.writes += 1, |state| state.holds_writes);
        self.file.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.gate.pass(|state| state.syncs += 1, |state| state.holds_syncs);
        self.file.sync()
    }
}

fn gated() -> (Arc<Sim>, Arc<Gate>, Log) {
    let (sim, gate) = (Sim::new(1), Arc::new(Gate::default()));
    let log = open(Arc::new(Gated { sim: Arc::clone(&sim), gate: Arc::clone(&gate) }));
    (sim, gate, log)
}

fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        thread::yield_now();
    }
}

#[test]
fn what_is_queued_while_one_writes_is_one_write() {
    let (sim, gate, log) = gated();
    let (before, _) = gate.counts();
    gate.change(|state| state.holds_writes = true);
    let mut sequences: Vec<u64> = thread::scope(|scope| {
        let first = scope.spawn(|| log.append(b"first"));
        until(|| gate.counts().0 == before + 1);
        let others: Vec<_> = (1..THREADS).map(|_| scope.spawn(|| log.append(b"other"))).collect();
        until(|| log.standing().queued == THREADS - 1);
        assert_eq!(log.standing().appended, 0, "nothing is acknowledged before it is written");
        gate.change(|state| state.holds_writes = false);
        let all = [first].into_iter().chain(others);
        all.map(|thread| thread.join().expect("it ends").expect("there is room")).collect()
    });
    assert_eq!(gate.counts().0, before + 2);
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=THREADS as u64).collect::<Vec<_>>());
    assert_eq!(recover(&*sim, &mut |_| Ok(())).expect("it can be read").records, THREADS as u64);
}

#[test]
fn one_sync_serves_all_who_appended_while_another_one_ran() {
    let (sim, gate, log) = gated();
    let (_, before) = gate.counts();
    gate.change(|state| state.holds_syncs = true);
    thread::scope(|scope| {
        let first = log.append(b"first").expect("there is room");
        let log = &log;
        scope.spawn(move || log.sync_to(first).expect("the disk is well"));
        until(|| gate.counts().1 == before + 1);
        let appended: Vec<_> = (1..THREADS).map(|_| log.append(b"other").expect("there is room")).collect();
        for sequence in appended {
            scope.spawn(move || log.sync_to(sequence).expect("the disk is well"));
        }
        assert_eq!(log.standing().synced, 0, "nothing is acknowledged before it is synced");
        gate.change(|state| state.holds_syncs = false);
    });
    assert_eq!((gate.counts().1, log.standing().synced), (before + 2, THREADS as u64));
    assert_eq!(recover(&*sim.crash(1), &mut |_| Ok(())).expect("it can be read").records, THREADS as u64);
}

/// Holds one write back with another record queued behind it. What they are told after `meanwhile`, and how many writes there were.
fn two_held_back(meanwhile: impl FnOnce(&Sim, &Log)) -> (Result<u64, LogError>, Result<u64, LogError>, usize) {
    let (sim, gate, log) = gated();
    log.append(b"before").expect("there is room");
    let (before, _) = gate.counts();
    gate.change(|state| state.holds_writes = true);
    thread::scope(|scope| {
        let written = scope.spawn(|| log.append(b"held back"));
        until(|| gate.counts().0 == before + 1);
        let queued = scope.spawn(|| log.append(b"queued"));
        until(|| log.standing().queued == 1);
        meanwhile(&sim, &log);
        gate.change(|state| state.holds_writes = false);
        let told = [written, queued].map(|thread| thread.join().expect("it ends"));
        let [written, queued] = told;
        (written, queued, gate.counts().0 - before)
    })
}

#[test]
fn what_is_written_while_a_sync_fails_is_not_acknowledged() {
    let (written, queued, writes) = two_held_back(|sim, log| {
        sim.plan(Plan { fail: Some(((1, 1), ErrorKind::Other)), ..Plan::default() });
        assert!(matches!(log.sync_to(1), Err(LogError::Poisoned(_))));
    });
    assert!(matches!(written, Err(LogError::Poisoned(_))), "{written:?}");
    assert!(matches!(queued, Err(LogError::Poisoned(_))), "{queued:?}");
    assert_eq!(writes, 1, "the file is not touched any more");
}

#[test]
fn what_is_queued_behind_a_write_that_cannot_be_taken_back_is_refused() {
    let (written, queued, writes) = two_held_back(|sim, _| {
        sim.plan(Plan { fail: Some(((1, 2), ErrorKind::Other)), ..Plan::default() });
    });
    assert!(matches!(written, Err(LogError::Io(_))), "{written:?}");
    assert!(matches!(queued, Err(LogError::Sealed(_))), "{queued:?}");
    assert_eq!(writes, 1, "the file is not touched any more");
}

#[test]
fn threads_append_while_snapshots_are_taken() {
    const EACH: u64 = 300;
    let sim = Sim::new(1);
    let log = open(sim.clone());
    let held: Mutex<Vec<Thing>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..8 {
            let (log, held) = (&log, &held);
            scope.spawn(move || {
                for count in 0..EACH {
                    let thing = (number * EACH + count).to_le_bytes().to_vec();
                    // Known to the owner before it is appended: a snapshot that is begun later has it.
                    held.lock().push(thing.clone());
                    let sequence = log.append(&thing).expect("there is room");
                    if count % 16 == 0 {
                        log.sync_to(sequence).expect("the disk is well");
                    }
                }
            });
        }
        for _ in 0..20 {
            let rotated = log.rotate(|snapshot| {
                let things = held.lock().clone();
                things.iter().try_for_each(|thing| snapshot.push(thing))
            });
            assert!(rotated.expect("the disk is well").left_over.is_none());
        }
    });
    log.close().expect("it closes");
    let (mut things, recovered) = read(&*sim.crash(1)).expect("it can be read");
    let mut held = held.lock().clone();
    things.sort_unstable();
    held.sort_unstable();
    assert_eq!((things, recovered.is_closed), (held, true));
}

/// A thread's records stay in its order.
#[test]
fn each_thread_finds_its_records_in_its_order() {
    let sim = Sim::new(1);
    let log = open(sim.clone());
    thread::scope(|scope| {
        for thread in 0..8_u8 {
            let log = &log;
            scope.spawn(move || {
                for count in 0..200 {
                    log.append(&[thread, count]).expect("there is room");
                }
            });
        }
    });
    let mut next = [0; 8];
    let recovered = recover(&*sim, &mut |item| {
        let Item::Record { payload: &[thread, count], .. } = item else { return Err("what is this?".to_owned()) };
        let expected = &mut next[usize::from(thread)];
        (*expected == count).then(|| *expected += 1).ok_or_else(|| format!("{count} of {thread}, not {expected}"))
    });
    assert_eq!((recovered.expect("it can be read").records, next), (1600, [200; 8]));
}

//! The log, open for appending.
//!
//! **One writes, the others wait.** Who appends puts its record into the queue. If nobody is writing it takes the whole queue, a *batch*, and writes
//! it; else it waits until its batch was written or until it is its turn. Sequences are given when a batch is written: what is in the file is
//! numbered without gaps, whatever failed in between.
//!
//! **One syncs, the others wait**, likewise. Who syncs takes what is written so far as its target, and syncs each file that has some of it, oldest
//! first. Writing goes on meanwhile.
//!
//! **Acknowledged** is what was written while the segment was trusted, and it is asked after the write: a sync that failed in
//! the meantime takes the acknowledgement away.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::error::{Fault, LogError, OpenError};
use super::files::{self, SnapshotWriter};
use super::frame::{PAYLOAD_BYTES_MAX, Tag};
use super::names::Name;
use super::queue::Queue;
use super::recover::{Item, Recovered, recover};
use super::segment::Segment;
use super::vfs::{Lock, Vfs};
#[cfg(not(loom))]
use crate::sync::yield_now;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// A directory that was read, and that nobody else may open. Nothing was changed yet.
pub(crate) struct Opening {
    vfs: Arc<dyn Vfs>,
    lock: Lock,
    recovered: Recovered,
}

/// The log of one directory, which it owns until it is dropped. Dropping does not close it.
pub(crate) struct Log {
    vfs: Arc<dyn Vfs>,
    state: Mutex<State>,
    /// A batch was written, or failed; or the segment was switched.
    wrote: Condvar,
    /// A sync ended, or a snapshot was published.
    synced: Condvar,
    rotation: Mutex<Generation>,
    /// Given up last.
    lock: Mutex<Option<Lock>>,
}

/// Of whom there is one at a time.
#[derive(Debug)]
struct Generation {
    /// The newest snapshot that is published.
    snapshot: u64,
    /// The next segment's number.
    next: u64,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is so or not, whatever the others are")]
struct State {
    segment: Segment,
    /// Earlier segments with records that are not synced, oldest first, each with its last record.
    unsynced: Vec<(Segment, u64)>,
    /// The last record that was written, and the checksum of its frame.
    last: (u64, u64),
    synced: u64,
    /// How many syncs there were.
    syncs: u64,

    queue: Queue,
    /// The number that the queue will have as a batch.
    batch: u64,
    /// What became of batches that somebody has yet to hear of.
    outcomes: Vec<Outcome>,
    is_writing: bool,
    /// Somebody waits for a moment without a writer.
    is_switching: bool,
    is_syncing: bool,

    /// A write failed, and could not be undone.
    sealed: Option<Fault>,
    /// The newest segment of which a sync failed.
    poisoned: Option<(u64, Fault)>,
    is_closed: bool,

    wakers: Vec<(u64, Waker)>,
    /// Memory of the last batch, for the next one.
    spare: (Queue, Vec<u8>),
}

#[derive(Debug)]
struct Outcome {
    batch: u64,
    /// The sequence of its first record.
    first: Result<u64, LogError>,
    /// How many have yet to hear of it.
    waiting: usize,
}

/// How a log stands.
#[derive(Debug, Clone)]
#[cfg_attr(not(test), allow(dead_code, reason = "for its tests and its `Debug`"))]
pub(crate) struct Standing {
    /// The last record that was appended; 0 if none ever was.
    pub(crate) appended: u64,
    /// The last record that survives the loss of power.
    pub(crate) synced: u64,
    /// How many syncs of segments there were.
    pub(crate) syncs: u64,
    /// Of the segment that is appended to.
    pub(crate) segment: u64,
    pub(crate) segment_bytes: u64,
    /// Records that wait for the one who writes.
    pub(crate) queued: usize,
    /// Why it takes nothing until it is rotated, if so.
    pub(crate) trouble: Option<LogError>,
}

/// What [`Log::rotate`] did.
#[derive(Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "for its tests"))]
pub(crate) struct Rotated {
    /// The number of the snapshot.
    pub(crate) number: u64,
    /// Older files could not be removed. The next one tries again.
    pub(crate) left_over: Option<Fault>,
}

impl Opening {
    /// Takes the directory and hands out what is in it, in order. Should it fail, what was handed out counts for nothing.
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        visit: &mut dyn FnMut(Item<'_>) -> Result<(), String>,
    ) -> Result<Self, OpenError> {
        let lock = vfs.lock().map_err(Fault::of(&*vfs, "lock", ""))?;
        let lock = lock.ok_or_else(|| OpenError::AlreadyOpen(vfs.dir().to_owned()))?;
        let recovered = recover(&*vfs, visit)?;
        Ok(Self { vfs, lock, recovered })
    }

    pub(crate) fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Lets the next files have numbers from `number` on: of a directory that goes on where another one ended.
    pub(crate) fn numbered_from(mut self, number: u64) -> Self {
        self.recovered.next_number = self.recovered.next_number.max(number);
        self
    }

    /// Publishes a snapshot of all that was handed out, and a segment to append to. Until it is published, the directory
    /// reads as it did before.
    pub(crate) fn publish(
        self,
        write: impl FnOnce(&mut SnapshotWriter<'_>) -> Result<(), LogError>,
    ) -> Result<(Log, Rotated), LogError> {
        let Self { vfs, lock, recovered } = self;
        let number = recovered.next_number;
        // Names that were seen and are not on disk yet could leave a gap if the power goes after ours are.
        vfs.sync_dir().map_err(Fault::of(&*vfs, "sync", ""))?;
        let segment = Segment::create(&*vfs, number, recovered.synced)?;
        let last = (recovered.sequence, recovered.chain);
        let mut snapshot = SnapshotWriter::begin(&*vfs, number, last, recovered.synced)?;
        write(&mut snapshot)?;
        snapshot.publish()?;
        let left_over = files::remove_older(&*vfs, recovered.snapshot.unwrap_or(0)).err();
        let log = Log {
            state: Mutex::new(State::new(segment, last)),
            wrote: Condvar::new(),
            synced: Condvar::new(),
            rotation: Mutex::new(Generation { snapshot: number, next: number + 1 }),
            vfs,
            lock: Mutex::new(Some(lock)),
        };
        Ok((log, Rotated { number, left_over }))
    }
}

impl Log {
    /// Appends a record and returns its sequence once it is written: it survives the end of the process.
    pub(crate) fn append(&self, payload: &[u8]) -> Result<u64, LogError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(LogError::TooLong { bytes: payload.len() });
        }
        self.add(self.state.lock(), Tag::Record, payload)
    }

    /// Returns once the record of that sequence survives the loss of power.
    pub(crate) fn sync_to(&self, sequence: u64) -> Result<(), LogError> {
        let mut state = self.state.lock();
        loop {
            if let Poll::Ready(outcome) = state.stands(sequence) {
                return outcome;
            }
            state = if state.is_syncing { self.synced.wait(state) } else { self.sync(state) };
        }
    }

    /// As [`Log::sync_to`], but syncs nothing itself: `waker` is woken when somebody's sync has ended, well or not.
    pub(crate) fn poll_synced(&self, sequence: u64, waker: &Waker) -> Poll<Result<(), LogError>> {
        let mut state = self.state.lock();
        let stands = state.stands(sequence);
        let is_known = |(of, known): &(u64, Waker)| *of == sequence && known.will_wake(waker);
        if stands.is_pending() && !state.wakers.iter().any(is_known) {
            state.wakers.push((sequence, waker.clone()));
        }
        stands
    }

    /// Begins the next segment, which appends go to from then on, then publishes a snapshot.
    ///
    /// `write` must write at least what every record says that is in an earlier segment. Such a record may be of an `append` that has yet to
    /// return: so an owner lets `write` see what a record says before it appends it. It may write what later ones say as well, and may append,
    /// but not rotate.
    ///
    /// Whatever fails, what was appended and synced before is as it was. Where a sync failed before, nothing can be appended until the
    /// snapshot is published; else appends go on meanwhile.
    pub(crate) fn rotate(
        &self,
        write: impl FnOnce(&mut SnapshotWriter<'_>) -> Result<(), LogError>,
    ) -> Result<Rotated, LogError> {
        let mut generation = self.rotation.lock();
        let number = generation.next;
        let synced = {
            let state = self.state.lock();
            if state.is_closed {
                return Err(LogError::Closed);
            }
            state.synced
        };
        let segment = Segment::create(&*self.vfs, number, synced)?;
        let last = self.switch(segment)?;
        generation.next += 1;

        let mut snapshot = SnapshotWriter::begin(&*self.vfs, number, last, synced)?;
        write(&mut snapshot)?;
        snapshot.publish()?;
        let mut state = self.state.lock();
        state.is_published(number, last.0);
        self.synced.notify_all();
        wake(state);

        let older = mem::replace(&mut generation.snapshot, number);
        let left_over = files::remove_older(&*self.vfs, older).err();
        Ok(Rotated { number, left_over })
    }

    /// Ends the log: nothing can be appended, and recovery will know that it has all of it.
    pub(crate) fn close(&self) -> Result<(), LogError> {
        let mut state = self.state.lock();
        state.takes()?;
        state.is_closed = true;
        let shut = self.add(state, Tag::Shut, &[])?;
        self.sync_to(shut)
    }

    /// Gives the directory back. Of a log that is closed: nothing is written to it any more.
    pub(crate) fn unlock(&self) {
        drop(self.lock.lock().take());
    }

    pub(crate) fn standing(&self) -> Standing {
        let state = self.state.lock();
        Standing {
            appended: state.last.0,
            synced: state.synced,
            syncs: state.syncs,
            segment: state.segment.number,
            segment_bytes: state.segment.len,
            queued: state.queue.len(),
            trouble: state.trouble(),
        }
    }

    fn add<'a>(&'a self, mut state: MutexGuard<'a, State>, tag: Tag, payload: &[u8]) -> Result<u64, LogError> {
        if tag == Tag::Record {
            state.takes()?;
        }
        let (batch, place) = (state.batch, state.queue.len());
        state.queue.push(tag, payload);
        loop {
            if let Some(first) = state.heard(batch) {
                return first.map(|first| first + place as u64);
            }
            let may_write = state.batch == batch && !state.is_writing && !state.is_switching;
            state = if may_write { self.write(state) } else { self.wrote.wait(state) };
        }
    }

    /// Writes what is queued.
    fn write<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let (mut spare, mut bytes) = mem::take(&mut state.spare);
        mem::swap(&mut state.queue, &mut spare);
        let records = spare;
        let batch = state.batch;
        state.batch += 1;
        state.is_writing = true;
        let (segment, last, synced) = (state.segment.clone(), state.last, state.synced);
        // The queue may have waited for a moment in which the segment was given up.
        let mut outcome = state.trouble().map_or(Ok(()), Err);
        drop(state);

        let mut chain = 0;
        let mut sealed = None;
        if outcome.is_ok() {
            chain = records.encode(&mut bytes, &segment, last, synced);
            let written = segment.file.write_at(segment.len, &bytes);
            outcome = written.map_err(|error| {
                // What is there of it must not stay: the next write begins where this one did.
                sealed = segment.file.set_len(segment.len).err();
                self.fault("write", segment.number)(error).into()
            });
        }

        let mut state = self.state.lock();
        state.is_writing = false;
        if let Some(error) = sealed {
            state.sealed = Some(self.fault("truncate", segment.number)(error));
        }
        if outcome.is_ok() {
            state.segment.len += bytes.len() as u64;
            state.last = (last.0 + records.len() as u64, chain);
        }
        if let Some((_, fault)) = &state.poisoned {
            // They are in the file, with their sequences; but nobody was told so, and nobody is.
            outcome = Err(LogError::Poisoned(fault.clone()));
        }
        let first = outcome.map(|()| last.0 + 1);
        state.outcomes.push(Outcome { batch, first, waiting: records.len() });
        state.keep(records, bytes);
        self.wrote.notify_all();
        state
    }

    /// Lets those who are about to append do so, as long as some do: a sync serves whoever comes before it.
    #[cfg(not(loom))]
    fn gather<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        const ROUNDS_MAX: u32 = 64;
        const QUIET_MAX: u32 = 3;
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            let before = state.last.0 + state.queue.len() as u64;
            drop(state);
            yield_now();
            state = self.state.lock();
            quiet = if state.last.0 + state.queue.len() as u64 == before { quiet + 1 } else { 0 };
            if quiet == QUIET_MAX {
                break;
            }
        }
        state
    }

    /// Whoever is waited for here has appended, or has not: models try both.
    #[cfg(loom)]
    #[allow(clippy::unused_self, reason = "as without loom")]
    fn gather<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state
    }

    /// Syncs what is written.
    fn sync<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.is_syncing = true;
        state = self.gather(state);
        let target = state.last.0;
        let mut segments = state.unsynced.clone();
        segments.push((state.segment.clone(), target));
        drop(state);

        let mut done = None;
        let mut failed = None;
        for (segment, last) in segments {
            if let Err(error) = segment.file.sync() {
                failed = Some((segment.number, self.fault("sync", segment.number)(error)));
                break;
            }
            done = Some((segment.number, last));
        }

        let mut state = self.state.lock();
        state.is_syncing = false;
        state.syncs += 1;
        if let Some((number, last)) = done {
            state.unsynced.retain(|(segment, _)| segment.number > number);
            state.synced = state.synced.max(last);
        }
        if let Some((number, fault)) = failed {
            state.is_bad(number, fault);
        }
        self.synced.notify_all();
        wake(state);
        self.state.lock()
    }

    /// Puts the segment in place of the current one, between two writes. The answer is what was appended before.
    fn switch(&self, segment: Segment) -> Result<(u64, u64), LogError> {
        let mut state = self.state.lock();
        state.is_switching = true;
        while state.is_writing {
            state = self.wrote.wait(state);
        }
        state.is_switching = false;
        self.wrote.notify_all();
        if state.is_closed {
            return Err(LogError::Closed);
        }
        let old = mem::replace(&mut state.segment, segment);
        let last = state.last;
        if state.synced < last.0 {
            state.unsynced.push((old, last.0));
        }
        state.sealed = None;
        Ok(last)
    }

    fn fault(&self, action: &'static str, segment: u64) -> impl FnOnce(std::io::Error) -> Fault {
        Fault::of(&*self.vfs, action, Name::journal(segment))
    }
}

impl State {
    fn new(segment: Segment, last: (u64, u64)) -> Self {
        Self {
            segment,
            unsynced: Vec::new(),
            last,
            synced: last.0,
            syncs: 0,
            queue: Queue::default(),
            batch: 0,
            outcomes: Vec::new(),
            is_writing: false,
            is_switching: false,
            is_syncing: false,
            sealed: None,
            poisoned: None,
            is_closed: false,
            wakers: Vec::new(),
            spare: Default::default(),
        }
    }

    fn trouble(&self) -> Option<LogError> {
        let poisoned = self.poisoned.as_ref().map(|(_, fault)| LogError::Poisoned(fault.clone()));
        poisoned.or_else(|| self.sealed.clone().map(LogError::Sealed))
    }

    /// Whether a record can be appended.
    fn takes(&self) -> Result<(), LogError> {
        if self.is_closed {
            return Err(LogError::Closed);
        }
        self.trouble().map_or(Ok(()), Err)
    }

    /// Whether the record is synced, or cannot be.
    fn stands(&self, sequence: u64) -> Poll<Result<(), LogError>> {
        if sequence <= self.synced {
            Poll::Ready(Ok(()))
        } else if sequence > self.last.0 {
            Poll::Ready(Err(LogError::NeverAppended { sequence }))
        } else if let Some((_, fault)) = &self.poisoned {
            Poll::Ready(Err(LogError::Poisoned(fault.clone())))
        } else {
            Poll::Pending
        }
    }

    /// What became of the batch, for one of those who wait for it.
    fn heard(&mut self, batch: u64) -> Option<Result<u64, LogError>> {
        let place = self.outcomes.iter().position(|outcome| outcome.batch == batch)?;
        let outcome = &mut self.outcomes[place];
        outcome.waiting -= 1;
        if outcome.waiting == 0 { Some(self.outcomes.swap_remove(place).first) } else { Some(outcome.first.clone()) }
    }

    /// A sync of that segment failed.
    fn is_bad(&mut self, number: u64, fault: Fault) {
        let is_needed =
            number == self.segment.number || self.unsynced.iter().any(|(segment, _)| segment.number == number);
        // Of one that a snapshot has replaced meanwhile it does not matter.
        if is_needed && self.poisoned.as_ref().is_none_or(|(before, _)| *before <= number) {
            self.poisoned = Some((number, fault));
        }
    }

    /// Snapshot `number` is on disk, with every record up to `last`: no earlier segment is needed.
    fn is_published(&mut self, number: u64, last: u64) {
        self.unsynced.retain(|(segment, _)| segment.number >= number);
        self.synced = self.synced.max(last);
        self.poisoned.take_if(|(segment, _)| *segment < number);
    }

    fn keep(&mut self, mut queue: Queue, mut bytes: Vec<u8>) {
        const KEPT_BYTES: usize = 1 << 20;
        queue.clear();
        bytes.clear();
        bytes.shrink_to(KEPT_BYTES);
        self.spare = (queue, bytes);
    }
}

/// Wakes those whose records are synced, or cannot be; without the lock, since they may do anything.
fn wake(mut state: MutexGuard<'_, State>) {
    let wakers = mem::take(&mut state.wakers);
    let (waiting, ready): (Vec<_>, Vec<_>) =
        wakers.into_iter().partition(|(sequence, _)| state.stands(*sequence).is_pending());
    state.wakers = waiting;
    drop(state);
    for (_, waker) in ready {
        waker.wake();
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("dir", &self.vfs.dir()).field("standing", &self.standing()).finish_non_exhaustive()
    }
}

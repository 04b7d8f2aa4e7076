//! The engine's log: who writes entries, and what becomes of the engine when they cannot be written.

use std::fmt;
use std::sync::Arc;

use super::entry::{Encoder, Entry};
use super::{LostGuards, Mode, Persist, Sync};
use crate::meter::Meter;
use crate::persist::{Log, LogError};
use crate::sync::{AtomicI64, AtomicU8, AtomicU64, Mark, Mutex, MutexGuard, Ordering};
use crate::time::Timestamp;

/// Locks that budgets share, a power of two: enough that two that are written at once rarely have the same.
const LOCKS: usize = 1 << LOCKS_BITS;
const LOCKS_BITS: u32 = 10;

/// Everything is written.
const UP: u8 = 0;
/// Nothing is.
const DOWN: u8 = 1;
/// Everything is, but that budgets fell.
const HALF: u8 = 2;

/// Where an engine is written down.
pub(crate) struct Store {
    pub(super) log: Log,
    pub(super) mode: Mode,
    segment_bytes: u64,
    writes_dispatch: bool,
    stamps: AtomicU64,
    /// The latest instant that was seen, in microseconds.
    latest: AtomicI64,
    /// Whoever writes a budget down has one of them.
    locks: Box<[Mutex<()>]>,
    trouble: Mutex<Option<Unwritten>>,
    /// With `trouble`, a glance: [`UP`], [`DOWN`] or [`HALF`].
    health: AtomicU8,
    /// Everything was written, and nothing is any more.
    closed: Mark,
}

/// Something was not written down, and nothing is until that is over.
#[derive(Clone, Debug)]
pub(crate) struct Unwritten(pub(super) Arc<LogError>);

impl Store {
    /// What is written gets stamps after `stamp`, and is of `latest` or later.
    pub(super) fn new(log: Log, persist: &Persist, stamp: u64, latest: Timestamp) -> Self {
        Self {
            log,
            mode: persist.mode,
            segment_bytes: persist.segment_bytes,
            writes_dispatch: persist.guards == LostGuards::ByDispatch,
            stamps: AtomicU64::new(stamp),
            latest: AtomicI64::new(latest.as_micros()),
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            trouble: Mutex::new(None),
            health: AtomicU8::new(UP),
            closed: Mark::new(),
        }
    }

    /// A number that is larger than all before.
    pub(crate) fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The right to write `meter` down. Whoever has it may write to the log, and asks for no other lock but that of another meter, in a moment.
    pub(super) fn lock(&self, meter: &Meter) -> MutexGuard<'_, ()> {
        self.locks[Self::place(meter)].lock()
    }

    /// The right to write all of these down.
    pub(super) fn lock_all<'m>(&self, meters: impl Iterator<Item = &'m Meter>) -> Vec<MutexGuard<'_, ()>> {
        let mut places: Vec<usize> = meters.map(Self::place).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|place| self.locks[place].lock()).collect()
    }

    fn place(meter: &Meter) -> usize {
        // Of addresses the middle bits differ: multiplied by an odd number that has bits everywhere, the highest do.
        let address = std::ptr::from_ref(meter).addr() as u64;
        (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - LOCKS_BITS)) as usize
    }

    /// Takes note of an instant; says which is the latest.
    pub(super) fn see(&self, at: Timestamp) -> i64 {
        self.latest.fetch_max(at.as_micros(), Ordering::AcqRel).max(at.as_micros())
    }

    /// Whether changes are written as they are made.
    pub(crate) fn writes_changes(&self) -> bool {
        matches!(self.mode, Mode::Journal(_))
    }

    /// Whether it is written down that the call of a hold has gone out.
    pub(crate) fn writes_dispatch(&self) -> bool {
        self.writes_dispatch
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The last record.
    pub(super) fn appended(&self) -> u64 {
        self.log.standing().appended
    }

    /// Writes a record, and returns once it is as safe as the mode says.
    pub(super) fn append(&self, at: Timestamp, entries: &[Entry]) -> Result<(), Unwritten> {
        let Mode::Journal(sync) = self.mode else { return Ok(()) };
        self.is_up()?;
        let mut encoder = Encoder::new(self.see(at));
        for entry in entries {
            encoder.push(entry);
        }
        let written = self.log.append(encoder.bytes()).and_then(|sequence| match sync {
            Sync::Always => self.log.sync_to(sequence),
            Sync::EverySecond | Sync::Os => Ok(()),
        });
        written.map_err(|error| self.fail(error))
    }

    /// Whether something can be written.
    pub(super) fn is_up(&self) -> Result<(), Unwritten> {
        // Pairs with the stores under the lock of `trouble`.
        if self.health.load(Ordering::Acquire) == DOWN { self.why() } else { Ok(()) }
    }

    /// Whether it can be written that a budget fell.
    pub(super) fn takes_falls(&self) -> Result<(), Unwritten> {
        if self.health.load(Ordering::Acquire) == UP { Ok(()) } else { self.why() }
    }

    fn why(&self) -> Result<(), Unwritten> {
        match &*self.trouble.lock() {
            Some(unwritten) => Err(unwritten.clone()),
            // It is over.
            None => Ok(()),
        }
    }

    /// From now on nothing is written, until [`Store::half_recover`].
    pub(super) fn fail(&self, error: LogError) -> Unwritten {
        let mut trouble = self.trouble.lock();
        let unwritten = trouble.get_or_insert_with(|| Unwritten(Arc::new(error))).clone();
        self.health.store(DOWN, Ordering::Release);
        unwritten
    }

    /// A snapshot is published that has everything up to some instant.
    pub(super) fn half_recover(&self) {
        let trouble = self.trouble.lock();
        if trouble.is_some() && !self.closed.is_set() {
            self.health.store(HALF, Ordering::Release);
        }
    }

    /// A snapshot is published that has everything.
    pub(super) fn recover(&self) {
        let mut trouble = self.trouble.lock();
        // It may have failed again meanwhile.
        if self.health.load(Ordering::Acquire) == HALF {
            *trouble = None;
            self.health.store(UP, Ordering::Release);
        }
    }

    /// From now on nothing is ever written. False when that was so already.
    pub(super) fn close(&self) -> bool {
        let mut trouble = self.trouble.lock();
        let is_first = !self.closed.is_set();
        self.closed.set();
        *trouble = Some(Unwritten(Arc::new(LogError::Closed)));
        self.health.store(DOWN, Ordering::Release);
        is_first
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_set()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("mode", &self.mode).field("log", &self.log).finish_non_exhaustive()
    }
}

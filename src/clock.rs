//! Clocks: the only room that reads the wall clock.
//!
//! The engine reads its clock once per operation, at the face, and passes the instant down. A clock may be *coarse*: it then answers
//! with an instant up to one tick old. Before an operation is refused a coarse clock is read again precisely, so that nobody is
//! refused in the name of a window that has ended.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::sync::{AtomicI64, Ordering};
use crate::time::Timestamp;

/// A source of instants that a host supplies.
///
/// It may go back: the engine keeps time from going back for each budget. It is read once per operation, and a refusal may read it
/// once more. Nothing of the engine is held meanwhile: it may wait for another thread that is in the engine.
pub trait TimeSource: Send + Sync {
    /// The instant now.
    fn now(&self) -> Timestamp;
}

/// The clock of an engine: the system's, a ticking one, a manual one, or the host's own.
///
/// | clock | cost | boundary precision |
/// |---|---|---|
/// | [`Clock::system`] (default) | one system call in user space | the kernel's tick on Linux (1 to 10 ms), exact elsewhere |
/// | [`Clock::ticking`] | one load | its tick |
/// | [`Clock::manual`] | one load | exact |
///
/// Whatever the precision, a refusal is decided on a precise reading.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    System,
    /// A time in memory: a manual clock's, or one that a thread keeps for as long as a clone of the clock lives.
    Shared(ManualClock, Option<Arc<Ticker>>),
    Host(Arc<dyn TimeSource>),
}

impl Clock {
    /// The system's wall clock, read at each operation. On Linux this is the kernel's coarse clock.
    pub const fn system() -> Self {
        Self(Kind::System)
    }

    /// The system's wall clock, read by a thread of its own once per `tick` and kept in memory, so that an operation only loads it.
    /// The thread ends with the last clone of the clock. `tick` is at least 100 µs; 1 ms is a good value.
    ///
    /// # Errors
    /// When the system refuses to start the thread.
    pub fn ticking(tick: Duration) -> std::io::Result<Self> {
        let ticker = Ticker::start(tick.max(Duration::from_micros(100)))?;
        Ok(Self(Kind::Shared(ticker.time.clone(), Some(Arc::new(ticker)))))
    }

    /// A clock that stands still until it is told to move; for tests and replays. Keep a clone of `clock` to move it.
    pub fn manual(clock: &ManualClock) -> Self {
        Self(Kind::Shared(clock.clone(), None))
    }

    /// A clock of the host's own.
    pub fn host(source: Arc<dyn TimeSource>) -> Self {
        Self(Kind::Host(source))
    }

    /// The instant now, up to one tick old.
    #[inline]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::Shared(time, _) => time.now(),
            Kind::System => coarse_now(),
            Kind::Host(source) => source.now(),
        }
    }

    /// The instant now, as precise as the source allows.
    pub(crate) fn now_precise(&self) -> Timestamp {
        match &self.0 {
            Kind::System | Kind::Shared(_, Some(_)) => precise_now(),
            Kind::Shared(time, None) => time.now(),
            Kind::Host(source) => source.now(),
        }
    }
}

impl Clock {
    /// `now`, which was read from this clock, or a later instant if the clock is coarse. Never asks the host, whose clock is precise: this may
    /// be asked for behind a gate.
    pub(crate) fn sharpened(&self, now: Timestamp) -> Timestamp {
        match &self.0 {
            Kind::Host(_) => now,
            Kind::System | Kind::Shared(..) => now.max(self.now_precise()),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.0 {
            Kind::System => "system",
            Kind::Shared(_, Some(_)) => "ticking",
            Kind::Shared(_, None) => "manual",
            Kind::Host(_) => "host",
        };
        write!(f, "Clock({name}, {})", self.now())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl From<&ManualClock> for Clock {
    fn from(clock: &ManualClock) -> Self {
        Self::manual(clock)
    }
}

fn precise_now() -> Timestamp {
    let since = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => Timestamp::from_micros(since(after)),
        Err(before) => Timestamp::from_micros(-since(before.duration())),
    }
}

#[cfg(target_os = "linux")]
#[inline]
fn coarse_now() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Timestamp::from_micros(now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000))
}

#[cfg(not(target_os = "linux"))]
fn coarse_now() -> Timestamp {
    precise_now()
}

/// A clock that stands still until it is moved. Clones share one time.
///
/// ```
/// use encumber::{ManualClock, Timestamp};
/// use std::time::Duration;
/// let clock = ManualClock::at("2026-02-04T23:59:59Z".parse()?);
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.now().to_string(), "2026-02-05T00:00:00.000Z");
/// # Ok::<(), encumber::TimestampError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    micros: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock that stands at `at`.
    pub fn at(at: Timestamp) -> Self {
        Self { micros: Arc::new(AtomicI64::new(at.as_micros())) }
    }

    /// The instant that the clock stands at.
    #[inline]
    pub fn now(&self) -> Timestamp {
        // Pairs with the Release store of `set`, which the ticking clock's thread uses too.
        Timestamp::from_micros(self.micros.load(Ordering::Acquire))
    }

    /// Moves the clock to `at`; back as well.
    pub fn set(&self, at: Timestamp) {
        self.micros.store(at.as_micros(), Ordering::Release);
    }

    /// Moves the clock ahead, at most to [`Timestamp::MAX`]. Two threads that advance at once both count.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let before = self.micros.fetch_add(micros, Ordering::AcqRel);
        if before.checked_add(micros).is_none() {
            self.set(Timestamp::MAX);
        }
    }
}

/// The thread behind [`Clock::ticking`].
struct Ticker {
    time: ManualClock,
    /// Dropped to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(tick: Duration) -> std::io::Result<Self> {
        let time = ManualClock::at(precise_now());
        let (stop, stopped) = channel::<()>();
        let shared = time.clone();
        let thread = std::thread::Builder::new().name("encumber-clock".to_owned()).spawn(move || {
            while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                shared.set(precise_now());
            }
        })?;
        Ok(Self { time, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread only stores instants: it cannot have panicked, and a join error would have nothing to add.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_reading_is_never_ahead_of_a_precise_one_taken_later() {
        for clock in [Clock::system(), Clock::ticking(Duration::from_millis(1)).unwrap()] {
            for _ in 0..1_000 {
                let coarse = clock.now();
                assert!(coarse <= clock.now_precise(), "{clock:?}");
            }
        }
    }

    #[test]
    fn a_manual_clock_stops_at_the_end_of_time() {
        let clock = ManualClock::at(Timestamp::from_seconds(1));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
    }

    #[test]
    fn dropping_the_last_ticking_clock_ends_its_thread() {
        let clock = Clock::ticking(Duration::from_secs(3_600)).unwrap();
        let Kind::Shared(time, _) = &clock.0 else { unreachable!("a ticking clock") };
        let shared = Arc::downgrade(&time.micros);
        drop(clock);
        assert!(shared.upgrade().is_none(), "the thread still holds the time");
    }
}

//! Which window is it: the rule of [`Window`], with the last answer remembered.
//!
//! Nearly every operation falls in the same window as the one before. The remembered number is a hint that is checked against the instant
//! before it is believed, so it needs no order with anything: any value that was ever stored gives the right answer or none.

use crate::sync::{AtomicU64, Ordering};
use crate::time::{MICROS_PER_SECOND, Timestamp};
use crate::window::{Bounds, Window};

/// A window rule that remembers the number of the window it found last.
#[derive(Debug)]
pub(crate) struct Slice {
    window: Window,
    /// Start of window 0 and length of each, for windows of one length; no length for the others.
    grid: (i64, u64),
    /// The number of a window on the grid, or a calendar window as [`Quarter`] packs it.
    memo: AtomicU64,
}

/// Instants further from the epoch than this (about 73,000 years) are not remembered, so that no arithmetic on a memo overflows.
const MEMO_MICROS_MAX: i64 = 1 << 61;

impl Slice {
    pub(crate) fn new(window: Window) -> Self {
        // A lifetime is one window as long as time.
        let grid = if window == Window::Lifetime { (i64::MIN, u64::MAX) } else { window.grid().unwrap_or((0, 0)) };
        Self { window, grid, memo: AtomicU64::new(0) }
    }

    /// The number of the window that holds `at`.
    #[allow(clippy::inline_always, reason = "measured: a few instructions on the path of every operation")]
    #[inline(always)]
    pub(crate) fn index(&self, at: Timestamp) -> i64 {
        // Relaxed: a hint, checked against the instant below. Any value that `find` ever stored will do.
        let memo = self.memo.load(Ordering::Relaxed) as i64;
        let (origin, length) = self.grid;
        let start = origin.wrapping_add(memo.wrapping_mul(length as i64));
        if (at.as_micros().wrapping_sub(start) as u64) < length { memo } else { self.find(at) }
    }

    #[inline(never)]
    fn find(&self, at: Timestamp) -> i64 {
        let on_calendar = self.grid.1 == 0;
        if on_calendar {
            // Relaxed: a hint, checked on the next line.
            let known = Quarter::unpack(self.memo.load(Ordering::Relaxed));
            if known.holds(at) {
                return i64::from(known.index);
            }
        }
        let index = self.window.index(at);
        if at.as_micros().unsigned_abs() < MEMO_MICROS_MAX as u64 {
            let memo =
                if on_calendar { Quarter::of(&self.window, index, at).map(Quarter::pack) } else { Some(index as u64) };
            if let Some(memo) = memo {
                // Relaxed: pairs with the loads above, which check what they read.
                self.memo.store(memo, Ordering::Relaxed);
            }
        }
        index
    }
}

/// A quarter of an hour that lies in one window of a calendar, whose edges may be at any second: its number since the epoch, and the
/// number of the window. Number 0 stands for none: the quarter that began with the epoch is not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quarter {
    number: i32,
    index: i32,
}

const QUARTER_MICROS: i64 = 900 * MICROS_PER_SECOND;

impl Quarter {
    /// The quarter of an hour around `at`, which falls in window `index`; `None` when the window does not hold all of it.
    fn of(window: &Window, index: i64, at: Timestamp) -> Option<Self> {
        let Bounds { start, end } = window.bounds_of(index)?;
        let number = i32::try_from(at.as_micros().div_euclid(QUARTER_MICROS)).ok()?;
        let first = i64::from(number) * QUARTER_MICROS;
        let is_whole = start.as_micros() <= first && first + QUARTER_MICROS <= end.as_micros();
        (is_whole && number != 0).then_some(Self { number, index: i32::try_from(index).ok()? })
    }

    fn holds(self, at: Timestamp) -> bool {
        self.number != 0 && at.as_micros().div_euclid(QUARTER_MICROS) == i64::from(self.number)
    }

    fn pack(self) -> u64 {
        u64::from(self.number as u32) | u64::from(self.index as u32) << 32
    }

    fn unpack(memo: u64) -> Self {
        Self { number: memo as u32 as i32, index: (memo >> 32) as u32 as i32 }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_answer_is_the_rules_answer() {
        let windows = ["minute", "hour", "day", "week", "month", "year", "3mo", "400mo", "5h", "90m", "1s", "lifetime"];
        let used = ["rolling 5h", "rolling 1s", "5h from first use"];
        let anchored = Window::every_from(9_000, "2026-04-03T10:00:00Z".parse().unwrap()).unwrap();
        let late_day = Window::Day.reset_at("23:59:59".parse().unwrap()).unwrap();
        let mut windows: Vec<Window> = windows.iter().chain(&used).map(|text| text.parse().unwrap()).collect();
        windows.extend([anchored, late_day, Window::Month.month_day(31).unwrap()]);
        #[cfg(feature = "time-zones")]
        for zone in ["Europe/Berlin", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe", "Africa/Monrovia"] {
            let zone = crate::window::Zone::new(zone).unwrap();
            windows.extend(
                [Window::Day, late_day, Window::Week, Window::Month].map(|window| window.in_zone(zone).unwrap()),
            );
        }
        for window in windows {
            let slice = Slice::new(window);
            let mut at = Timestamp::from_micros(-4_000_000_000_000_000);
            // Steps of many sizes, each instant asked for twice, and its window's edges.
            for step in 0..4_000_u64 {
                let length = window.shortest_micros().unwrap_or(1_000_000);
                at = Timestamp::from_micros(at.as_micros() + (step as i64 * 7_919 % 13) * length / 5 + 1);
                let (start, end) = window.bounds(at).map_or((at, at), |bounds| (bounds.start, bounds.end));
                let before = |at: Timestamp| Timestamp::from_micros(at.as_micros() - 1);
                for at in [at, at, before(start), start, before(end), end, at] {
                    assert_eq!(slice.index(at), window.index(at), "{window} {at}");
                }
            }
            for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH, Timestamp::from_micros(1 << 61)] {
                assert_eq!(slice.index(at), window.index(at), "{window} {at}");
            }
        }
    }
}

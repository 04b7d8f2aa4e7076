//! Which window is it: the rule of [`Window`], with the last answer remembered.
//!
//! Nearly every operation falls in the same window as the one before. The remembered number is a hint that is checked against the instant
//! before it is believed, so it needs no order with anything: any value that was ever stored gives the right answer or none.

use crate::sync::{AtomicU64, Ordering};
use crate::time::{MICROS_PER_DAY, Timestamp};
use crate::window::{Bounds, Window};

/// A window rule that remembers the number of the window it found last.
#[derive(Debug)]
pub(crate) struct Slice {
    window: Window,
    /// Start of window 0 and length of each, for windows of one length; no length for the others.
    grid: (i64, u64),
    /// The number of a window on the grid, or a calendar window as [`Days`] packs it.
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
        // Relaxed: see the module.
        let memo = self.memo.load(Ordering::Relaxed) as i64;
        let (origin, length) = self.grid;
        let start = origin.wrapping_add(memo.wrapping_mul(length as i64));
        if (at.as_micros().wrapping_sub(start) as u64) < length { memo } else { self.find(at) }
    }

    #[inline(never)]
    fn find(&self, at: Timestamp) -> i64 {
        let on_calendar = self.grid.1 == 0;
        let day = at.as_micros().div_euclid(MICROS_PER_DAY);
        if on_calendar {
            // Relaxed: a hint, checked on the next line.
            let known = Days::unpack(self.memo.load(Ordering::Relaxed));
            if known.holds(day) {
                return known.index;
            }
        }
        let index = self.window.index(at);
        if at.as_micros().unsigned_abs() < MEMO_MICROS_MAX as u64 {
            let memo = if on_calendar { Days::of(&self.window, index).map(Days::pack) } else { Some(index as u64) };
            if let Some(memo) = memo {
                // Relaxed: pairs with the loads above, which check what they read.
                self.memo.store(memo, Ordering::Relaxed);
            }
        }
        index
    }
}

/// A calendar window in days: its first day in 32 bits, its length in 12, its number in 20. All zero: no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Days {
    start: i32,
    length: u16,
    index: i64,
}

const LENGTH_BITS: u32 = 12;
const INDEX_BITS: u32 = 20;

impl Days {
    /// `None` when it does not fit the bits.
    fn of(window: &Window, index: i64) -> Option<Self> {
        let Bounds { start, end } = window.bounds_of(index)?;
        let day = |at: Timestamp| at.as_micros().div_euclid(MICROS_PER_DAY);
        let length = u16::try_from(day(end) - day(start)).ok().filter(|length| *length < 1 << LENGTH_BITS)?;
        let fits = (-(1 << (INDEX_BITS - 1))..1 << (INDEX_BITS - 1)).contains(&index);
        fits.then_some(Self { start: i32::try_from(day(start)).ok()?, length, index })
    }

    fn holds(self, day: i64) -> bool {
        (0..i64::from(self.length)).contains(&day.saturating_sub(i64::from(self.start)))
    }

    fn pack(self) -> u64 {
        u64::from(self.start as u32) | u64::from(self.length) << 32 | (self.index as u64) << (u64::BITS - INDEX_BITS)
    }

    fn unpack(memo: u64) -> Self {
        let length = (memo >> 32) as u16 & ((1 << LENGTH_BITS) - 1);
        Self { start: memo as u32 as i32, length, index: memo as i64 >> (u64::BITS - INDEX_BITS) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_answer_is_the_rules_answer() {
        let windows = ["minute", "hour", "day", "week", "month", "year", "3mo", "400mo", "5h", "90m", "1s", "lifetime"];
        let anchored = Window::every_from(9_000, "2026-04-03T10:00:00Z".parse().unwrap()).unwrap();
        for window in windows.iter().map(|text| text.parse().unwrap()).chain([anchored]) {
            let slice = Slice::new(window);
            let mut at = Timestamp::from_micros(-4_000_000_000_000_000);
            // Steps of many sizes, each instant asked for twice, and its window's edges.
            for step in 0..4_000_u64 {
                let length = window.shortest_micros().unwrap_or(1_000_000);
                at = Timestamp::from_micros(at.as_micros() + (step as i64 * 7_919 % 13) * length / 5 + 1);
                let edges =
                    window.bounds(at).map_or([at; 2], |b| [b.start, Timestamp::from_micros(b.end.as_micros() - 1)]);
                for at in [at, at, edges[0], edges[1], at] {
                    assert_eq!(slice.index(at), window.index(at), "{window} {at}");
                }
            }
            for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH, Timestamp::from_micros(1 << 61)] {
                assert_eq!(slice.index(at), window.index(at), "{window} {at}");
            }
        }
    }
}

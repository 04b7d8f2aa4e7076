//! The bit layout of a budget's word: the low bits of the window's number above the amount.
//!
//! ```text
//!  63            amount_bits            0
//! ┌───────────────┬─────────────────────┐
//! │ window number │ amount              │
//! └───────────────┴─────────────────────┘
//! ```
//!
//! Only the low bits of the number fit; the whole number is found again as the one nearest to a number that the reader knows.

use crate::window::Window;

/// How many bits of a word count the amount, in the forms that operations need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// How many bits count the amount. All of them for a lifetime, whose one window has the number 0: whatever 0 is shifted by, it is 0.
    bits: u32,
    /// The largest value of the amount field.
    saturated: u64,
}

/// An unpacked word: an amount in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The number of the window.
    pub(crate) window: i64,
    /// The amount; [`Layout::saturated`] marks a count that ran past the field.
    pub(crate) amount: u64,
}

impl Layout {
    pub(crate) fn of(window: &Window) -> Self {
        Self::with_bits(window.amount_bits())
    }

    /// The layout whose amounts have this many bits, 1 to 64.
    pub(crate) const fn with_bits(bits: u32) -> Self {
        Self { bits, saturated: u64::MAX >> (u64::BITS - bits) }
    }

    /// The largest value of the amount field: not an amount, but the mark of a count that ran past the field.
    #[inline]
    pub(crate) const fn saturated(self) -> u64 {
        self.saturated
    }

    /// How many windows earlier and later can be told apart from a given one.
    #[cfg(test)]
    const fn reach(self) -> i64 {
        if self.bits == u64::BITS { 0 } else { 1 << (u64::BITS - 1 - self.bits) }
    }

    #[inline]
    pub(crate) const fn pack(self, state: State) -> u64 {
        self.above(state.window as u64) | state.amount
    }

    /// The state in `word`, its window the one nearest to `near` that has these low bits.
    #[inline]
    pub(crate) const fn unpack(self, word: u64, near: i64) -> State {
        // In the window `near` itself, as nearly always, the word is its tag and the amount: one subtraction tells.
        let amount = word.wrapping_sub(self.above(near as u64));
        if amount <= self.saturated() { State { window: near, amount } } else { self.unpack_other(word, near) }
    }

    #[inline(never)]
    const fn unpack_other(self, word: u64, near: i64) -> State {
        // The distance in as many bits as the tag has, its sign extended: the shorter way round.
        let tag = word.wrapping_shr(self.bits);
        let distance = (self.above(tag.wrapping_sub(near as u64)) as i64).wrapping_shr(self.bits);
        State { window: near.wrapping_add(distance), amount: word & self.saturated() }
    }

    /// `bits` moved above the amount.
    #[inline]
    const fn above(self, bits: u64) -> u64 {
        bits.wrapping_shl(self.bits)
    }

    /// The amount as reports show it: a saturated count is "at least as much as can be said", `u64::MAX`.
    pub(crate) const fn shown(self, amount: u64) -> u64 {
        if amount >= self.saturated() { u64::MAX } else { amount }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_round_trips_near_and_far() {
        let windows = ["minute", "hour", "day", "week", "month", "year", "lifetime", "1s", "5h", "30d", "9000w"];
        for text in windows {
            let window: Window = text.parse().unwrap();
            let layout = Layout::of(&window);
            let half_range = layout.reach();
            for index in [-70_000_000, -1, 0, 1, 20_488, 1_765_000_000] {
                for distance in [-half_range / 2, -1, 0, 1, half_range / 2] {
                    for amount in [0, 1, layout.saturated() - 1, layout.saturated()] {
                        // A lifetime is window 0 to everybody.
                        let (index, near) = if window == Window::Lifetime { (0, 0) } else { (index, index + distance) };
                        let state = State { window: index, amount };
                        assert_eq!(layout.unpack(layout.pack(state), near), state, "{text} {distance}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_tag_does_not_come_round_within_fifty_years() {
        const FIFTY_YEARS_MICROS: i64 = 50 * 365 * 86_400_000_000;
        for window in [Window::Minute, Window::Hour, Window::Day, Window::Week, Window::Month, Window::Year] {
            let layout = Layout::of(&window);
            let later = FIFTY_YEARS_MICROS / window.shortest_micros().unwrap();
            let state = State { window: 29_000_000, amount: 5 };
            for near in [state.window - later, state.window + later] {
                assert_eq!(layout.unpack(layout.pack(state), near), state, "{window}");
            }
        }
    }
}

//! What budgets that are made alike share: they are of one window rule, made in one window, after the same past.

use super::first_use::Opened;
use super::rolling::{self, Rolling};
use super::word::{Layout, State};
use super::{Course, MICROS_PER_YEAR};
use crate::time::Timestamp;
use crate::window::{Span, Window};

/// What a budget that is made anew, after it was evicted or may have been, must know of what was before. Window numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    /// The first window in which it was certainly not charged.
    pub(crate) start: i64,
    /// The windows on both sides of the last gap, as in [`Meter`](super::Meter).
    pub(crate) left: i64,
    pub(crate) landed: i64,
}

impl Past {
    /// Of a budget that is new: nothing was charged, and there was no gap.
    const fn none(start: i64) -> Self {
        Self { start, left: start, landed: start }
    }
}

/// What the words of a budget hold before anything is charged, and how they are read. Never changes.
#[derive(Debug)]
pub(crate) struct Mould {
    pub(super) layout: Layout,
    /// Of all words but the next two.
    pub(super) unused: u64,
    pub(super) left: u64,
    pub(super) landed: u64,
    pub(super) kind: Kind,
}

/// What the budget's windows follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Clock,
    /// Windows from first use: after what, as seen in which slice of the grid; of a new budget nothing.
    Use(Span, Option<(i64, Past)>),
    Rolling(Span, Past),
}

impl Mould {
    /// Of budgets that are new, and first asked for at `now`.
    ///
    /// They have seen no window yet, so their words stand a year back: a clock that is set back a little finds every window later. Not further
    /// back, so that a clock that stood at 1970 when a budget was made finds today within reach.
    pub(crate) fn new(window: &Window, now: Timestamp) -> Self {
        let at_least = if matches!(window, Window::Rolling(_)) { rolling::UNUSED_NUMBERS_MIN } else { 0 };
        let year = in_years(window, 1).max(at_least);
        Self::starting(window, Past::none(window.index(now).wrapping_sub(year)), None)
    }

    /// Of budgets asked for at `now`, of which there may have been some before.
    pub(crate) fn after(window: &Window, now: Timestamp, Past { start, left, landed }: Past) -> Self {
        let number = window.index(now);
        // No further back than a new one; and where the gap is, within what the words can tell apart.
        let (year, decades) = (number.saturating_sub(in_years(window, 1)), number.saturating_sub(in_years(window, 40)));
        let past = Past { start: start.max(year), left: left.max(decades), landed: landed.max(decades) };
        Self::starting(window, past, Some(number))
    }

    /// Of a budget first asked for in window number `now` of the clock.
    #[cfg(test)]
    pub(super) fn in_window(window: &Window, now: i64) -> Self {
        Self::with(Kind::Clock, Layout::of(window), Past::none(now.wrapping_sub(in_years(window, 1))))
    }

    /// `number` is the window's of the clock, if there may have been others before.
    fn starting(window: &Window, past: Past, number: Option<i64>) -> Self {
        let layout = Layout::of(window);
        match window {
            Window::Rolling(span) => {
                type Ring = Rolling<{ rolling::SLOTS_DEFAULT }>;
                // What is told of it is numbered by turns.
                let turn = Past::none(Ring::turn(past.start));
                Self::with(Kind::Rolling(*span, past), Ring::layout_of(span.micros()), turn)
            }
            // Its windows are numbered from 1, or from 0 where there was one.
            Window::FirstUse(span) => {
                Self::with(Kind::Use(*span, number.map(|number| (number, past))), layout, Past::none(0))
            }
            _ => Self::with(Kind::Clock, layout, past),
        }
    }

    fn with(kind: Kind, layout: Layout, Past { start, left, landed }: Past) -> Self {
        let at = |window| layout.pack(State { window, amount: 0 });
        Self { layout, unused: at(start), left: at(left), landed: at(landed), kind }
    }

    /// What a budget needs to follow its windows, unused.
    pub(super) fn course(&self) -> Course {
        match self.kind {
            Kind::Clock => Course::Clock,
            Kind::Use(span, None) => Course::Use(Box::new(Opened::new(span))),
            Kind::Use(span, Some((number, past))) => Course::Use(Box::new(Opened::after(span, number, past))),
            Kind::Rolling(span, past) => Course::Rolling(Box::new(Rolling::after(span.micros(), past))),
        }
    }
}

/// How many windows pass in so many years, at most; none of a lifetime.
fn in_years(window: &Window, years: i64) -> i64 {
    window.shortest_micros().map_or(0, |shortest| (years * MICROS_PER_YEAR / shortest).max(1))
}

//! Which window is it, when windows begin with the first charge: a word that holds when the last one began.
//!
//! **Who owns what.** `opened` holds the number of the window that began last, and when. Whoever charges after that window's end opens the
//! next one by one swap; everybody else reads number and start together. The number then goes with the charge to the meter's own word, as that of a
//! calendar window does, so admission, settlement and rollover are the same.
//!
//! A window that an attempt opened which was then undone, or a hold which was then released, has begun all the same.

use super::word::{Layout, State};
use super::{change, transition};
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;
use crate::window::{Bounds, FIRST_USE_AMOUNT_BITS, Span};

/// The start in whole milliseconds, moved so that it is never negative; 0 says that nothing has begun yet.
const LAYOUT: Layout = Layout::with_bits(FIRST_USE_AMOUNT_BITS);
const BIAS_MILLIS: i64 = 1 << (FIRST_USE_AMOUNT_BITS - 1);
const MICROS_PER_MILLI: i64 = 1_000;

/// The window that began last.
#[derive(Debug)]
pub(super) struct Opened {
    opened: AtomicU64,
    length_millis: i64,
}

impl Opened {
    /// Nothing has begun, and the first window gets number 1; or window 0 began at `began`.
    pub(super) fn new(span: Span, began: Option<Timestamp>) -> Self {
        let opened = began.map_or(0, |began| LAYOUT.pack(State { window: 0, amount: biased(began) }));
        Self { opened: AtomicU64::new(opened), length_millis: span.micros() / MICROS_PER_MILLI }
    }

    /// In which slice of the epoch's grid of its length the last window began.
    pub(super) fn began_in(&self) -> Option<i64> {
        let State { amount, .. } = LAYOUT.unpack(self.opened.load(Ordering::Acquire), 0);
        (amount > 0).then(|| (amount as i64 - BIAS_MILLIS).div_euclid(self.length_millis))
    }

    /// The number of the window that an operation at `now` is in, and whether it has begun.
    pub(super) fn number(&self, now: Timestamp) -> (i64, bool) {
        // Pairs with the swap in `open`.
        let state = LAYOUT.unpack(self.opened.load(Ordering::Acquire), 0);
        if self.runs(state, millis(now)) { (state.window, true) } else { (state.window + 1, false) }
    }

    /// The number of the window that a charge at `now` belongs to: the one that runs, or the next one, which begins now.
    pub(super) fn open(&self, now: Timestamp) -> i64 {
        let (start, now) = (biased(now), millis(now));
        let opened: Result<_, std::convert::Infallible> = transition(&self.opened, LAYOUT, 0, |state| {
            Ok(if self.runs(state, now) { state } else { State { window: state.window + 1, amount: start } })
        });
        let Ok((_, State { window, .. })) = opened;
        // As others find it: the number's low bits.
        LAYOUT.unpack(LAYOUT.pack(State { window, amount: 0 }), 0).window
    }

    /// Start and end of window `number`, if it is the one that began last.
    pub(super) fn bounds(&self, number: i64) -> Option<Bounds> {
        let state = LAYOUT.unpack(self.opened.load(Ordering::Acquire), number);
        let start = (state.amount as i64).saturating_sub(BIAS_MILLIS);
        let at = Timestamp::from_millis;
        (state.window == number && state.amount > 0)
            .then(|| Bounds { start: at(start), end: at(start.saturating_add(self.length_millis)) })
    }

    /// Lets a window that began after `now` begin now: the clock had jumped ahead and has come back. What is charged in it stays, for one
    /// window's length at most.
    pub(super) fn come_back(&self, now: Timestamp) {
        let now = biased(now);
        change(&self.opened, LAYOUT, 0, |state| State { amount: state.amount.min(now), ..state });
    }

    /// An operation with a time before the start uses that window: time never goes back for a budget.
    fn runs(&self, State { amount, .. }: State, now_millis: i64) -> bool {
        amount > 0 && now_millis < (amount as i64).saturating_sub(BIAS_MILLIS).saturating_add(self.length_millis)
    }
}

/// An instant as the word holds it, never 0.
fn biased(at: Timestamp) -> u64 {
    (millis(at) + BIAS_MILLIS) as u64
}

/// Whole milliseconds, within what the word holds: some 4,400 years around 1970.
fn millis(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(MICROS_PER_MILLI).clamp(1 - BIAS_MILLIS, BIAS_MILLIS - 1)
}

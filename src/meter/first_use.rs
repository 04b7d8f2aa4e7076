//! Which window is it, when windows begin with the first charge: a word that holds when the last one began.
//!
//! **Who owns what.** `word` holds the number of the window that began last, and when. Whoever charges after that window's end opens the
//! next one by one swap; everybody else reads number and start together. The number then goes with the charge to the meter's own word, as that of a
//! calendar window does, so admission, settlement and rollover are the same.
//!
//! A window that an attempt opened which was then undone, or a hold which was then released, has begun all the same.
//!
//! **A clock that jumped.** A window that was opened ahead of time begins anew when the clock has come back. It is recognised by the last gap
//! longer than a window, as everywhere: see [`Meter::come_back`](super::Meter::come_back). Windows that ended before the gap are granted, and
//! none begins before their end.

use super::word::{Layout, State};
use super::{Past, change, transition};
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
    word: AtomicU64,
    /// When the window before the last gap ended, and when the one after it began, as in `word`; 0 when there was none.
    left: AtomicU64,
    landed: AtomicU64,
    length_millis: i64,
}

impl Opened {
    /// Nothing has begun, and the first window gets number 1.
    pub(super) fn new(span: Span) -> Self {
        let nothing = || AtomicU64::new(0);
        let length_millis = span.micros() / MICROS_PER_MILLI;
        Self { word: nothing(), left: nothing(), landed: nothing(), length_millis }
    }

    /// The same after others, whose past is in slices of the epoch's grid: at a time before its start, in slice `now`, window 0 has begun there.
    pub(super) fn after(span: Span, now: i64, past: Past) -> Self {
        let start = |slice: i64| biased(Timestamp::from_micros(slice.saturating_mul(span.micros())));
        let opened = if now < past.start { LAYOUT.pack(State { window: 0, amount: start(past.start) }) } else { 0 };
        // The slices in which windows of the others ended are among those that were used.
        let (left, landed) = (start(past.left.saturating_add(1)), start(past.landed));
        let [word, left, landed] = [opened, left, landed].map(AtomicU64::new);
        Self { word, left, landed, ..Self::new(span) }
    }

    /// The window that began last, and when.
    pub(super) fn last(&self) -> State {
        LAYOUT.unpack(self.word.load(Ordering::Acquire), 0)
    }

    /// Lets window `number` be the one that began last, when [`Opened::last`] said. Nobody else has it yet.
    #[cfg(feature = "persist")]
    pub(super) fn restore(&self, number: i64, began: u64) {
        let amount = began.min(LAYOUT.saturated());
        self.word.store(LAYOUT.pack(State { window: number, amount }), Ordering::Release);
    }

    /// In which slice of the epoch's grid of its length the last window began.
    pub(super) fn began_in(&self) -> Option<i64> {
        let State { amount, .. } = self.last();
        (amount > 0).then(|| (amount as i64 - BIAS_MILLIS).div_euclid(self.length_millis))
    }

    /// The number of the window that an operation at `now` is in, and whether it has begun.
    pub(super) fn number(&self, now: Timestamp) -> (i64, bool) {
        // Pairs with the swap in `open`.
        let state = self.last();
        if self.runs(state, millis(now)) { (state.window, true) } else { (state.window + 1, false) }
    }

    /// The number of the window that a charge at `now` belongs to: the one that runs, or the next one, which begins now.
    pub(super) fn open(&self, now: Timestamp) -> i64 {
        let (start, now) = (biased(now), millis(now));
        let opened: Result<_, std::convert::Infallible> = transition(&self.word, LAYOUT, 0, |state| {
            Ok(if self.runs(state, now) { state } else { State { window: state.window + 1, amount: start } })
        });
        let Ok((before, State { window, .. })) = opened;
        if before.window != window {
            self.note_gap(before, start);
        }
        // As others find it: the number's low bits.
        LAYOUT.unpack(LAYOUT.pack(State { window, amount: 0 }), 0).window
    }

    /// Start and end of window `number`, if it is the one that began last.
    pub(super) fn bounds(&self, number: i64) -> Option<Bounds> {
        let state = LAYOUT.unpack(self.word.load(Ordering::Acquire), number);
        if state.window == number { bounds_of(state.amount, self.length_millis) } else { None }
    }

    /// Lets the window `seen` begin at `now`, or when the one before the gap ended, if it is still the last one, and was opened by a clock that had
    /// jumped ahead and has come back. What is charged in it stays, for one window's length at most. `now` must have been read after `seen`.
    pub(super) fn come_back(&self, seen: State, now: Timestamp) {
        let gap = |word: &AtomicU64| LAYOUT.unpack(word.load(Ordering::Acquire), 0).amount;
        // In this order: a gap is written down from its near side to its far side.
        let (landed, left, now) = (gap(&self.landed), gap(&self.left), biased(now));
        let start = left.max(now);
        let has_jumped = landed.saturating_sub(now) > seen.amount.saturating_sub(landed);
        if !has_jumped || seen.amount <= start {
            return;
        }
        let moved: Result<_, ()> = transition(&self.word, LAYOUT, 0, |state| {
            if state == seen { Ok(State { amount: start, ..seen }) } else { Err(()) }
        });
        if moved.is_ok() {
            // A gap that was written down meanwhile is another one, and stays.
            let landing = |at: u64| if at == landed { at.min(start) } else { at };
            change(&self.landed, LAYOUT, 0, |state| State { amount: landing(state.amount), ..state });
        }
    }

    /// Writes down that there was a gap before the window that began at `start`, if it was longer than a window. What was before the first one of
    /// a budget is one.
    fn note_gap(&self, before: State, start: u64) {
        let length = self.length_millis as u64;
        let raise = |word: &AtomicU64, to: u64| {
            change(word, LAYOUT, 0, |state| State { amount: state.amount.max(to), ..state });
        };
        let ended = before.amount.saturating_add(length);
        if before.amount > 0 && start > ended.saturating_add(length) {
            raise(&self.left, ended);
            raise(&self.landed, start);
        } else if before.amount == 0 && self.landed.load(Ordering::Acquire) == 0 {
            raise(&self.landed, start);
        }
    }

    /// An operation with a time before the start uses that window: time never goes back for a budget.
    fn runs(&self, State { amount, .. }: State, now_millis: i64) -> bool {
        amount > 0 && now_millis < (amount as i64).saturating_sub(BIAS_MILLIS).saturating_add(self.length_millis)
    }
}

/// Start and end of a window of `span` that began when [`Opened::last`] said so; `None` if none did.
#[cfg(feature = "persist")]
pub(super) fn bounds(began: u64, span: Span) -> Option<Bounds> {
    bounds_of(began, span.micros() / MICROS_PER_MILLI)
}

fn bounds_of(began: u64, length_millis: i64) -> Option<Bounds> {
    let start = (began as i64).saturating_sub(BIAS_MILLIS);
    let at = Timestamp::from_millis;
    (began > 0).then(|| Bounds { start: at(start), end: at(start.saturating_add(length_millis)) })
}

/// An instant as the word holds it, never 0.
fn biased(at: Timestamp) -> u64 {
    (millis(at) + BIAS_MILLIS) as u64
}

/// Whole milliseconds, within what the word holds: some 4,400 years around 1970.
fn millis(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(MICROS_PER_MILLI).clamp(1 - BIAS_MILLIS, BIAS_MILLIS - 1)
}

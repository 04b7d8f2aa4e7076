//! Clocks that jumped ahead and came back: the window that they opened gets the number that it would have without the jump.

use super::word::State;
use super::{Course, Meter, Slice, change, transition};
use crate::time::Timestamp;

impl Meter {
    /// Keeps a window that a jumped clock opened from locking its subject out for longer than one window. `refused` left no room for an
    /// operation at `now`; `precise` reads the clock again, and `moment` gives one in which nothing changes what is held. Returns the number
    /// that its window has then.
    pub(crate) fn return_to<M>(
        &self,
        slice: &Slice,
        refused: State,
        now: Timestamp,
        precise: impl FnOnce() -> Timestamp,
        moment: impl FnOnce() -> Option<M>,
    ) -> i64 {
        // What is seen is loaded before the clock is read: see `come_back`.
        match self.course() {
            Course::Clock if refused.window > slice.index(now).saturating_add(1) => {
                drop(self.calm());
                let seen = self.state(refused.window);
                let now = slice.index(precise());
                // Without the moment the refusal stands as it is; the next one tries again.
                match self.jumped(seen, now).and_then(|_| moment()) {
                    Some(_moment) => self.come_back(seen, now),
                    None => seen.window,
                }
            }
            Course::Clock => refused.window,
            Course::Use(opened) => {
                if opened.bounds(refused.window).is_some_and(|bounds| bounds.start > now) {
                    let seen = opened.last();
                    opened.come_back(seen, precise());
                }
                refused.window
            }
            Course::Rolling(rolling) => {
                let seen = rolling.latest();
                rolling.come_back(seen, rolling.number(precise().as_micros()));
                refused.window
            }
        }
    }

    /// Renumbers the current window when it is still `seen` and was opened by a clock that had jumped ahead and has come back to `now`.
    /// Returns the number that it has then.
    ///
    /// The clock had jumped if `now` lies before the window that was landed in, further than the clock has run on since: between `left` and
    /// `landed` nothing was ever granted. The count moves to the first window after `now` that was not granted before; what was held counts
    /// as used. A clock that is set back within windows that followed each other renumbers nothing: they have all been granted.
    ///
    /// `now` must have been read after `seen` was loaded: then no delay of this thread can make a window that others opened in good
    /// order look as if it lay ahead. Whoever changes what is held must be kept out meanwhile.
    pub(crate) fn come_back(&self, seen: State, now: i64) -> i64 {
        let Some((next, landed)) = self.jumped(seen, now) else { return seen.window };
        // Had stripes held something, it would not be as it was seen.
        let _calm = self.calm();
        let moved = transition(&self.word, self.layout(), seen.window, |state| {
            if state == seen { Ok(State { window: next, ..seen }) } else { Err(()) }
        });
        if moved.is_err() {
            return seen.window;
        }
        let (layout, cold) = (self.layout(), self.cold());
        change(&cold.held, layout, seen.window, |held| {
            if held.window > next { State { window: next, amount: 0 } } else { held }
        });
        let told = self.announced_in(seen.window);
        for word in &cold.announced {
            let before = State { window: next.saturating_sub(1), amount: 0 };
            change(word, layout, seen.window, |told| if told.window > next { before } else { told });
        }
        self.announce(next, told);
        // A gap that was written down meanwhile is another one, and stays.
        let landing = |at: i64| if at == landed { at.min(next) } else { at };
        change(&self.landed, layout, seen.window, |state| State { window: landing(state.window), ..state });
        next
    }

    /// Where the current window, seen as `seen`, is to be moved if a clock that had jumped ahead has come back to `now`; and where that one landed.
    fn jumped(&self, seen: State, now: i64) -> Option<(i64, i64)> {
        // In this order: a gap is written down from its near side to its far side.
        let (landed, left) = (self.landed(seen.window), self.left(seen.window));
        let next = left.max(now).saturating_add(1);
        let has_jumped = landed.saturating_sub(now) > seen.window.saturating_sub(landed);
        (has_jumped && seen.window > next).then_some((next, landed))
    }
}

//! What is remembered of evicted budgets, for each rule: enough that none of them is granted a window twice.
//!
//! A budget that is asked for again after its eviction is made anew, unused. While time goes forward nobody can tell: every window in which it
//! had been charged has ended. A clock that is set back could find such a window again. So a new budget of the rule starts no earlier than the
//! first window that no evicted one was charged in.
//!
//! A clock that had jumped ahead must lock nobody out when it comes back. It is recognised as by a meter
//! ([`Meter::come_back`](crate::meter::Meter::come_back)): by a gap between the windows in which the registry was asked. Two are known, the
//! newest and the widest: where little is asked a jump is not the newest gap for long.

use crate::meter::Past;

/// The memory of one rule, in window numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chronicle {
    /// The first window that no evicted budget was charged in; `None` while all that were evicted had never been charged.
    free_from: Option<i64>,
    /// The newest window in which the registry was asked.
    latest: i64,
    newest: Gap,
    widest: Gap,
}

/// Windows in which nothing happened, as far as is known.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// The newest window that was used before.
    left: i64,
    /// The first window in which the registry was asked after it.
    landed: i64,
}

impl Gap {
    fn width(self) -> i64 {
        self.landed.saturating_sub(self.left)
    }

    /// Takes out the windows from `since` to `until`, in which something happened of which the registry was not asked.
    fn narrow(&mut self, since: i64, until: i64) {
        if until < self.landed {
            self.left = self.left.max(until);
        } else {
            self.landed = self.landed.min(since.max(self.left));
        }
    }

    /// Whether a clock that shows `now` had jumped here, and run on until `latest`: it is back further than it ran.
    fn was_jumped(self, latest: i64, now: i64) -> bool {
        self.landed.saturating_sub(now) > latest.saturating_sub(self.landed)
    }
}

impl Chronicle {
    pub(super) fn new(now: i64) -> Self {
        let gap = Gap { left: now, landed: now };
        Self { free_from: None, latest: now, newest: gap, widest: gap }
    }

    /// Takes note that it is window `now`.
    pub(super) fn see(&mut self, now: i64) {
        if now > self.latest.saturating_add(1) {
            self.newest = Gap { left: self.latest, landed: now };
            if self.newest.width() >= self.widest.width() {
                self.widest = self.newest;
            }
        }
        self.latest = self.latest.max(now);
    }

    /// Takes note that a budget is evicted which was charged last in the second of these windows, and knows of no gap since the first.
    pub(super) fn evict(&mut self, (since, window): (i64, i64)) {
        let next = window.saturating_add(1);
        self.free_from = Some(self.free_from.map_or(next, |free_from| free_from.max(next)));
        for gap in [&mut self.newest, &mut self.widest] {
            gap.narrow(since, window);
        }
    }

    /// Where a budget starts that is made in window `now`; `None` when nothing has to be remembered.
    pub(super) fn past(&mut self, now: i64) -> Option<Past> {
        self.see(now);
        let mut start = self.free_from?;
        let jumps = [self.newest, self.widest].into_iter().filter(|gap| gap.was_jumped(self.latest, now));
        if now < start
            && let Some(left) = jumps.map(|gap| gap.left).min()
        {
            // The clock was ahead, and is right again: from here on nothing of that time counts.
            start = start.min(left.saturating_add(1).max(now));
            let gap = Gap { left, landed: now };
            *self = Self { free_from: Some(start), latest: now, newest: gap, widest: gap };
        }
        Some(Past { start, left: self.widest.left, landed: self.widest.landed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(chronicle: &mut Chronicle, now: i64) -> Option<i64> {
        chronicle.past(now).map(|past| past.start)
    }

    #[test]
    fn nothing_is_remembered_of_budgets_that_were_never_charged() {
        let mut chronicle = Chronicle::new(10);
        assert_eq!(start(&mut chronicle, 11), None);
        chronicle.evict((11, 11));
        assert_eq!(start(&mut chronicle, 13), Some(12));
    }

    #[test]
    fn a_clock_that_is_set_back_finds_no_window_that_an_evicted_budget_may_have_used() {
        let mut chronicle = Chronicle::new(1);
        (1..=13).for_each(|now| chronicle.see(now));
        chronicle.evict((10, 10));
        for now in (1..=13).rev() {
            assert_eq!(start(&mut chronicle, now), Some(11), "{now}");
        }
    }

    #[test]
    fn a_clock_that_had_jumped_locks_nobody_out() {
        let mut chronicle = Chronicle::new(1);
        (1..=10).for_each(|now| chronicle.see(now));
        // Ahead; one that was used before the jump is evicted, and some that were used since.
        for now in (5_000..5_020).step_by(5) {
            chronicle.see(now);
        }
        for window in [10, 5_000, 5_004] {
            chronicle.evict((window, window));
        }
        assert_eq!(start(&mut chronicle, 5_020), Some(5_005));
        assert_eq!(start(&mut chronicle, 10), Some(11), "10 was used, 11 was not");
        assert_eq!(start(&mut chronicle, 12), Some(11));
        chronicle.evict((12, 12));
        assert_eq!([start(&mut chronicle, 14), start(&mut chronicle, 12)], [Some(13); 2], "as ever from here on");
    }

    #[test]
    fn windows_that_were_used_without_asking_the_registry_are_no_gap() {
        let mut chronicle = Chronicle::new(1);
        chronicle.see(13);
        chronicle.evict((3, 10));
        assert_eq!(start(&mut chronicle, 5), Some(11));
        chronicle.see(20);
        chronicle.evict((17, 22));
        assert_eq!(start(&mut chronicle, 18), Some(23));
    }
}

//! What is charged in each window that calls still belong to.
//!
//! The engine remembers a budget's current window and the one that ended last; a call that outlives more windows than that still
//! belongs to the window that admitted it. Windows that no open call belongs to are forgotten, except each budget's newest.

use std::collections::HashMap;

use encumber::{Cap, Timestamp, Window};

/// Every budget that a call has asked, and how high each limit's budgets rose.
pub(super) struct Ledger {
    budgets: Vec<Budget>,
    by_name: HashMap<(usize, Box<str>), usize>,
    peaks: Vec<Peak>,
}

/// The highest count of any window of any budget of a limit.
#[derive(Clone, Copy, Default)]
pub(super) struct Peak {
    pub(super) charged: u128,
    /// Above the cap in force for the subject.
    pub(super) over: u128,
}

struct Budget {
    limit: usize,
    cap: Cap,
    window: Window,
    /// Start and end of the newest window, in microseconds.
    newest: (i64, i64),
    counts: Vec<Count>,
}

struct Count {
    /// Start of the window.
    start: i64,
    charged: u128,
    /// Calls that it admitted and that are not settled.
    open: u32,
}

/// Start and end of the one window of a lifetime.
const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);

impl Ledger {
    pub(super) fn new(limits: usize) -> Self {
        Self { budgets: Vec::new(), by_name: HashMap::new(), peaks: vec![Peak::default(); limits] }
    }

    /// The budget of `subject` under limit number `limit`; made when it is new.
    pub(super) fn budget(&mut self, limit: usize, subject: &str, window: Window, cap: Cap) -> usize {
        *self.by_name.entry((limit, subject.into())).or_insert_with(|| {
            // No instant lies in this one: the first call looks its window up.
            let newest = (i64::MAX, i64::MIN);
            self.budgets.push(Budget { limit, cap, window, newest, counts: Vec::new() });
            self.budgets.len() - 1
        })
    }

    /// Start of the window that holds `at`.
    pub(super) fn window_at(&mut self, budget: usize, at: Timestamp) -> i64 {
        let budget = &mut self.budgets[budget];
        let at_micros = at.as_micros();
        if at_micros < budget.newest.0 || at_micros >= budget.newest.1 {
            let bounds = budget.window.bounds(at);
            budget.newest = bounds.map_or(ALWAYS, |bounds| (bounds.start.as_micros(), bounds.end.as_micros()));
        }
        budget.newest.0
    }

    /// Counts `amount` of a call that the window starting at `start` admitted; it had `before` charged, if that is known better than here.
    pub(super) fn admit(&mut self, budget: usize, start: i64, before: Option<u128>, amount: u64, stays_open: bool) {
        let budget = &mut self.budgets[budget];
        let index = budget.counts.iter().rposition(|count| count.start == start).unwrap_or_else(|| {
            budget.counts.retain(|count| count.open > 0);
            budget.counts.push(Count { start, charged: 0, open: 0 });
            budget.counts.len() - 1
        });
        let count = &mut budget.counts[index];
        count.charged = before.unwrap_or(count.charged) + u128::from(amount);
        count.open += u32::from(stays_open);
        let (limit, cap, charged) = (budget.limit, budget.cap, count.charged);
        self.peaks[limit].rise(charged, cap);
    }

    /// Settles an open call of the window starting at `start`; returns what is charged there then.
    pub(super) fn settle(&mut self, budget: usize, start: i64, held: u64, actual: u64) -> Option<u128> {
        let budget = &mut self.budgets[budget];
        let is_newest = |index| index + 1 == budget.counts.len();
        let index = budget.counts.iter().rposition(|count| count.start == start)?;
        let forget = budget.counts[index].open == 1 && !is_newest(index);
        let count = &mut budget.counts[index];
        count.charged = count.charged.saturating_sub(held.into()) + u128::from(actual);
        count.open = count.open.saturating_sub(1);
        let (limit, cap, charged) = (budget.limit, budget.cap, count.charged);
        if forget {
            budget.counts.remove(index);
        }
        self.peaks[limit].rise(charged, cap);
        Some(charged)
    }

    /// Takes note of what a budget whose window rolls has charged now: it has no windows that could be told apart.
    pub(super) fn stands(&mut self, budget: usize, charged: u64) {
        let Budget { limit, cap, .. } = self.budgets[budget];
        self.peaks[limit].rise(charged.into(), cap);
    }

    /// By limit.
    pub(super) fn peaks(&self) -> &[Peak] {
        &self.peaks
    }
}

impl Peak {
    fn rise(&mut self, charged: u128, cap: Cap) {
        self.charged = self.charged.max(charged);
        if let Cap::Max(max) = cap {
            self.over = self.over.max(charged.saturating_sub(max.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_late_settlement_raises_the_window_that_admitted_it() {
        let mut ledger = Ledger::new(1);
        let budget = ledger.budget(0, "user:1", Window::Minute, Cap::Max(10));
        let first = ledger.window_at(budget, at(5));
        ledger.admit(budget, first, None, 4, true);
        for minute in 1..5 {
            let later = ledger.window_at(budget, at(minute * MINUTE));
            assert_eq!(later, minute * MINUTE);
            ledger.admit(budget, later, None, 9, false);
        }
        assert_eq!((ledger.peaks()[0].charged, ledger.peaks()[0].over), (9, 0));
        assert_eq!(ledger.settle(budget, first, 4, 13), Some(13));
        assert_eq!((ledger.peaks()[0].charged, ledger.peaks()[0].over), (13, 3));
        assert_eq!(ledger.settle(budget, first, 0, 1), None, "nobody needs that window any more");
    }

    #[test]
    fn windows_are_kept_only_while_a_call_belongs_to_them() {
        let mut ledger = Ledger::new(1);
        let budget = ledger.budget(0, "user:1", Window::Minute, Cap::Unlimited);
        for minute in 0..1_000 {
            let start = ledger.window_at(budget, at(minute * MINUTE));
            ledger.admit(budget, start, None, 1, minute % 100 == 0);
        }
        assert_eq!(ledger.budgets[budget].counts.len(), 11);
        for minute in (0..1_000).step_by(100) {
            assert_eq!(ledger.settle(budget, minute * MINUTE, 1, 3), Some(3));
        }
        assert_eq!(ledger.budgets[budget].counts.len(), 1);
        assert_eq!((ledger.peaks()[0].charged, ledger.peaks()[0].over), (3, 0), "unlimited is never over");
    }

    #[test]
    fn each_subject_and_limit_has_its_own_budget() {
        let mut ledger = Ledger::new(2);
        let budget = |ledger: &mut Ledger, limit, subject| ledger.budget(limit, subject, Window::Lifetime, Cap::Max(1));
        let first = budget(&mut ledger, 0, "user:1");
        assert_ne!(first, budget(&mut ledger, 1, "user:1"));
        assert_ne!(first, budget(&mut ledger, 0, "user:2"));
        assert_eq!(first, budget(&mut ledger, 0, "user:1"));
        assert_eq!(ledger.window_at(first, at(7)), ledger.window_at(first, at(i64::MAX - 1)));
    }
}

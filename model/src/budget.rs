//! One budget: what is charged and held in each of its windows.

use std::collections::{BTreeMap, BTreeSet};

use crate::calendar::Window;

/// What a budget is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) limit: String,
    pub(crate) resource: String,
    pub(crate) window: Window,
    pub(crate) subject: String,
}

/// What one window counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) charged: u128,
    pub(crate) held: u128,
}

/// A budget's windows by number, and which of them is the current one (none before anything was charged).
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    window: Window,
    current: Option<i64>,
    windows: BTreeMap<i64, Count>,
    /// The last gap: the window before it, and the one after it, which a clock landed in that may have jumped.
    left: i64,
    landed: i64,
    /// Numbers that were counted under before a window was renumbered below them.
    given_up: BTreeSet<i64>,
    repeats: bool,
}

impl Budget {
    pub(crate) fn new(window: Window) -> Self {
        Self {
            window,
            current: None,
            windows: BTreeMap::new(),
            left: i64::MIN,
            landed: i64::MIN,
            given_up: BTreeSet::new(),
            repeats: false,
        }
    }

    /// The window that an operation at `at` belongs to.
    pub(crate) fn effective(&self, at: i64) -> i64 {
        let index = self.window.index(at);
        self.current.map_or(index, |current| current.max(index))
    }

    /// What is counted in `index`; a window ahead of the current one is fresh.
    pub(crate) fn count(&self, index: i64) -> Count {
        self.windows.get(&index).copied().unwrap_or_default()
    }

    /// Makes `index` the current window unless a later one is.
    pub(crate) fn enter(&mut self, index: i64) {
        if self.is_ahead(index) {
            self.repeats |= self.given_up.contains(&index);
            let before = self.current.unwrap_or(i64::MIN);
            if index > before.saturating_add(1) {
                (self.left, self.landed) = (self.left.max(before), self.landed.max(index));
            }
            self.windows.insert(index, Count::default());
            self.current = Some(index);
        }
    }

    /// Charges `amount` in `index`, of which it is the hold when `holds`. An amount of 0 changes nothing.
    pub(crate) fn charge(&mut self, index: i64, amount: u64, holds: bool) {
        if amount == 0 {
            return;
        }
        self.enter(index);
        self.add(index, amount.into());
        if holds {
            self.windows.entry(index).or_default().held += u128::from(amount);
        }
    }

    /// Settles a hold of `held` that was made in `index` at `actual`, and says which window it changed. When the hold's window has been
    /// renumbered, so that it lies ahead of the current one, only what is above the hold counts, in the current window.
    pub(crate) fn settle(&mut self, index: i64, held: u128, actual: u128) -> i64 {
        let more = actual.saturating_sub(held);
        if let Some(current) = self.current.filter(|current| *current < index) {
            self.add(current, more);
            return current;
        }
        if let Some(count) = self.windows.get_mut(&index) {
            count.held = count.held.saturating_sub(held);
        }
        self.add(index, more);
        self.subtract(index, held.saturating_sub(actual));
        index
    }

    /// Whether `index` has ended: a later window is the current one.
    pub(crate) fn has_ended(&self, index: i64) -> bool {
        self.current.is_some_and(|current| current > index)
    }

    /// Whether another window began and ended after `index`, or began and was renumbered.
    pub(crate) fn has_ended_before_another(&self, index: i64) -> bool {
        let Some(current) = self.current.filter(|current| *current > index) else { return false };
        self.windows.range(index + 1..current).next().is_some() || !self.given_up.is_empty()
    }

    /// Whether two windows were counted under one number, or will be by a call at `at`, or the window of `at` was given up.
    pub(crate) fn repeats(&self, at: i64) -> bool {
        let numbers = [self.effective(at), self.window.index(at)];
        self.repeats || numbers.iter().any(|number| self.given_up.contains(number))
    }

    /// Renumbers the current window when it lies more than one ahead of `at` and was opened by a clock that had jumped: `at` lies before
    /// the window that was landed in, further than the clock has run on since. Its number is then the first one after `at` that was not in use before the jump. What is charged stays; what
    /// was held counts as used. Windows in between, through which the clock came, are given up.
    pub(crate) fn come_back(&mut self, at: i64) {
        let now = self.window.index(at);
        let next = self.left.max(now) + 1;
        let has_jumped = |current: &i64| self.landed.saturating_sub(now) > current - self.landed;
        let Some(current) = self.current.filter(|current| has_jumped(current) && *current > next) else { return };
        let charged = self.count(current).charged;
        self.repeats |= self.windows.contains_key(&next) || self.given_up.contains(&next);
        self.given_up.extend(self.windows.split_off(&next).into_keys());
        self.windows.insert(next, Count { charged, held: 0 });
        self.current = Some(next);
        self.landed = next;
    }

    /// The count that says that what is charged is not known any more.
    pub(crate) fn top(&self) -> u128 {
        (1_u128 << self.window.bits()) - 1
    }

    /// What is charged, as it is shown.
    pub(crate) fn shown(&self, count: Count) -> u64 {
        if count.charged == self.top() { u64::MAX } else { to_u64(count.charged) }
    }

    /// What is used and what is held, as they are shown: of a count that is not known everything is used.
    pub(crate) fn told_apart(&self, count: Count) -> (u64, u64) {
        if count.charged == self.top() {
            (u64::MAX, 0)
        } else {
            (to_u64(count.charged.saturating_sub(count.held)), to_u64(count.held.min(count.charged)))
        }
    }

    fn is_ahead(&self, index: i64) -> bool {
        self.current.is_none_or(|current| index > current)
    }

    fn add(&mut self, index: i64, amount: u128) {
        if amount == 0 {
            return;
        }
        let top = self.top();
        let count = self.windows.entry(index).or_default();
        count.charged = (count.charged + amount).min(top);
    }

    fn subtract(&mut self, index: i64, amount: u128) {
        let top = self.top();
        if let Some(count) = self.windows.get_mut(&index).filter(|count| count.charged != top) {
            count.charged = count.charged.saturating_sub(amount);
        }
    }
}

pub(crate) fn to_u64(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

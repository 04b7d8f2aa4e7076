//! One budget: what is charged and held in each of its windows.

use std::collections::BTreeMap;

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
}

impl Budget {
    pub(crate) fn new(window: Window) -> Self {
        Self { window, current: None, windows: BTreeMap::new() }
    }

    /// The window that an operation at `at` belongs to.
    pub(crate) fn effective(&self, at: i64) -> i64 {
        let index = self.window.index(at);
        self.current.map_or(index, |current| current.max(index))
    }

    /// What an operation in `index` sees; a window ahead of the current one is fresh.
    pub(crate) fn seen(&self, index: i64) -> Count {
        if self.is_ahead(index) { Count::default() } else { self.remembered(index) }
    }

    /// What was counted in `index`.
    pub(crate) fn remembered(&self, index: i64) -> Count {
        self.windows.get(&index).copied().unwrap_or_default()
    }

    /// Makes `index` the current window unless a later one is.
    pub(crate) fn enter(&mut self, index: i64) {
        if self.is_ahead(index) {
            self.windows.insert(index, Count::default());
            self.current = Some(index);
        }
    }

    /// Charges `amount` in `index`, of which it is the hold when `holds`. A charge of 0 changes nothing; a hold of 0 enters the window.
    pub(crate) fn charge(&mut self, index: i64, amount: u64, holds: bool) {
        if amount == 0 && !holds {
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

    /// Renumbers a current window that lies more than one ahead of `at` as the one after `at`'s. What is charged stays; what was held
    /// counts as used.
    pub(crate) fn come_back(&mut self, at: i64) {
        let next = self.window.index(at) + 1;
        let Some(current) = self.current.filter(|current| *current > next) else { return };
        let count = self.windows.remove(&current).unwrap_or_default();
        self.windows.insert(next, Count { held: 0, ..count });
        self.current = Some(next);
    }

    /// The count that says that what is charged is not known any more.
    pub(crate) fn top(&self) -> u128 {
        (1_u128 << self.window.bits()) - 1
    }

    /// What is charged, as it is shown.
    pub(crate) fn shown(&self, count: Count) -> u64 {
        if count.charged == self.top() { u64::MAX } else { to_u64(count.charged) }
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

//! One budget: what is charged and held in each of its windows.

use std::collections::{BTreeMap, BTreeSet};

use crate::calendar::Window;
use crate::rolling::Rolling;

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

/// A budget: its windows are numbered, or it is a rolling one.
#[derive(Clone, Debug)]
pub(crate) enum Budget {
    Numbered(Numbered),
    Rolling(Rolling),
}

macro_rules! either {
    ($budget:expr, $inner:ident => $body:expr) => {
        match $budget {
            Budget::Numbered($inner) => $body,
            Budget::Rolling($inner) => $body,
        }
    };
}

impl Budget {
    pub(crate) fn new(window: Window) -> Self {
        match window {
            Window::Rolling { seconds } => Self::Rolling(Rolling::new(seconds, window.bits())),
            _ => Self::Numbered(Numbered::new(window)),
        }
    }

    /// A budget that is unused in an engine that was opened at `at`.
    pub(crate) fn reopened_at(window: Window, at: i64) -> Self {
        let mut budget = Self::new(window);
        budget.reopened(at);
        budget
    }

    /// The engine was closed, and opened again at `at`: where the clock had jumped is not known any more, nor windows that have ended for long.
    pub(crate) fn reopened(&mut self, at: i64) {
        either!(self, budget => budget.reopened(at));
    }

    /// The number of the window that an operation at `at` belongs to.
    pub(crate) fn effective(&self, at: i64) -> i64 {
        either!(self, budget => budget.effective(at))
    }

    /// What counts in `index`; a window ahead of the current one is fresh.
    pub(crate) fn count(&self, index: i64) -> Count {
        either!(self, budget => budget.count(index))
    }

    /// Start and end of `index` as seen at `at`.
    pub(crate) fn bounds(&self, index: i64, at: i64) -> Option<(i64, i64)> {
        match self {
            Self::Numbered(budget) => budget.bounds(index),
            Self::Rolling(budget) => Some(budget.bounds(at)),
        }
    }

    /// When `amount` (0: anything) fits below `max` although the window does not end. `None` when only the window's end helps.
    pub(crate) fn fits_at(&self, amount: u64, max: u64, at: i64) -> Option<i64> {
        match self {
            Self::Numbered(_) => None,
            Self::Rolling(budget) => budget.fits_at(amount, max, at),
        }
    }

    /// Makes `index` the current window, at `at`, unless a later one is.
    pub(crate) fn enter(&mut self, index: i64, at: i64) {
        match self {
            Self::Numbered(budget) => budget.enter(index, at),
            Self::Rolling(budget) => budget.enter(index),
        }
    }

    /// Charges `amount` in `index` at `at`, of which it is the hold when `holds`. An amount of 0 changes nothing.
    pub(crate) fn charge(&mut self, index: i64, amount: u64, holds: bool, at: i64) {
        if amount > 0 {
            self.enter(index, at);
            either!(self, budget => budget.charge(index, amount, holds));
        }
    }

    /// Settles a hold of `held` that was made in `index` at `actual`. The window that it changed, unless that is forgotten.
    pub(crate) fn settle(&mut self, index: i64, held: u128, actual: u128) -> Option<i64> {
        match self {
            Self::Numbered(budget) => Some(budget.settle(index, held, actual)),
            Self::Rolling(budget) => budget.settle(index, held, actual),
        }
    }

    /// Brings what was charged in `index`, and nobody holds, from `before` to `after`. The window that it changed, unless that is
    /// forgotten.
    pub(crate) fn adjust(&mut self, index: i64, before: u128, after: u128) -> Option<i64> {
        match self {
            Self::Numbered(budget) => Some(budget.adjust(index, before, after)),
            Self::Rolling(budget) => budget.adjust(index, before, after),
        }
    }

    /// Whether `index` has ended: nothing of it counts in the current one.
    pub(crate) fn has_ended(&self, index: i64) -> bool {
        either!(self, budget => budget.has_ended(index))
    }

    /// The window that holds `instant`, if it is one of those that are told of afterwards.
    pub(crate) fn number_at(&self, instant: i64) -> Option<i64> {
        match self {
            Self::Numbered(budget) => budget.number_at(instant),
            Self::Rolling(_) => None,
        }
    }

    /// Whether another window began and ended after the one that holds `instant`, or began and was renumbered, or there is none.
    pub(crate) fn may_be_forgotten(&self, instant: i64) -> bool {
        match self {
            Self::Numbered(budget) => {
                let is_forgotten = |index| index < budget.known_from || budget.has_ended_before_another(index);
                budget.number_at(instant).is_none_or(is_forgotten)
            }
            Self::Rolling(_) => true,
        }
    }

    /// Whether `index` ended before another one that ended too or was renumbered, or its count is not known. Of a rolling budget there is nothing
    /// to forget that counts.
    pub(crate) fn is_unsure(&self, index: i64) -> bool {
        match self {
            Self::Numbered(budget) => {
                index < budget.known_from
                    || budget.has_ended_before_another(index)
                    || budget.count(index).charged == budget.top()
            }
            Self::Rolling(_) => false,
        }
    }

    /// Whether a window that follows the clock has ended by `at`.
    pub(crate) fn has_ended_by(&self, index: i64, at: i64) -> bool {
        matches!(self, Self::Numbered(budget) if budget.first_use().is_none() && budget.window.index(at) > index)
    }

    /// Whether two windows were counted under one number, or will be by a call at `at`, or the window of `at` was given up.
    pub(crate) fn repeats(&self, at: i64) -> bool {
        matches!(self, Self::Numbered(budget) if budget.repeats(at))
    }

    /// What a refusal at `at` does when a clock that had jumped ahead has come back.
    pub(crate) fn come_back(&mut self, at: i64) {
        either!(self, budget => budget.come_back(at));
    }

    /// The count that says that what is charged is not known any more.
    pub(crate) fn top(&self) -> u128 {
        either!(self, budget => budget.top())
    }

    /// What is charged, as it is shown.
    pub(crate) fn shown(&self, count: Count) -> u64 {
        if count.charged >= self.top() { u64::MAX } else { to_u64(count.charged) }
    }

    /// What is used and what is held, as they are shown: of a count that is not known everything is used.
    pub(crate) fn told_apart(&self, count: Count) -> (u64, u64) {
        if count.charged >= self.top() {
            (u64::MAX, 0)
        } else {
            (to_u64(count.charged.saturating_sub(count.held)), to_u64(count.held.min(count.charged)))
        }
    }
}

/// A budget's windows by number, and which of them is the current one (none before anything was charged).
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    window: Window,
    current: Option<i64>,
    /// Of a window from first use: when the one that began last did.
    begun: Option<i64>,
    windows: BTreeMap<i64, Count>,
    /// The last gap: the window before it, and the one after it, which a clock landed in that may have jumped.
    left: i64,
    landed: i64,
    /// Numbers that were counted under before a window was renumbered below them.
    given_up: BTreeSet<i64>,
    repeats: bool,
    /// What windows before this one have charged may have been forgotten by a reopening.
    known_from: i64,
}

impl Numbered {
    fn new(window: Window) -> Self {
        Self {
            window,
            current: None,
            begun: None,
            windows: BTreeMap::new(),
            left: i64::MIN,
            landed: i64::MIN,
            given_up: BTreeSet::new(),
            repeats: false,
            known_from: i64::MIN,
        }
    }

    fn reopened(&mut self, at: i64) {
        if let Some(length) = self.first_use() {
            // As after others that may have been used in the slice of the epoch's grid that `at` is in.
            let slice = at.div_euclid(length);
            (self.left, self.landed) = ((slice + 1) * length, slice * length);
            return;
        }
        let index = self.window.index(at);
        (self.left, self.landed) = (index, index);
        // Of a window that has ended and charged nothing, and of one before the last one, nothing is known.
        let is_forgotten = |current| current < index - i64::from(self.count(current).charged > 0);
        if self.current.is_none_or(is_forgotten) {
            self.windows.insert(index, Count::default());
            (self.current, self.known_from) = (Some(index), index);
        } else if let Some(current) = self.current {
            let ended = self.windows.range(..current).next_back().filter(|(_, count)| count.charged > 0);
            self.known_from = self.known_from.max(ended.map_or(current, |(ended, _)| *ended));
        }
    }

    /// The window that an operation at `at` belongs to.
    fn effective(&self, at: i64) -> i64 {
        if self.first_use().is_some() {
            let last = self.current.unwrap_or(0);
            return if self.runs(at) { last } else { last + 1 };
        }
        let index = self.window.index(at);
        self.current.map_or(index, |current| current.max(index))
    }

    /// What is counted in `index`; a window ahead of the current one is fresh.
    fn count(&self, index: i64) -> Count {
        self.windows.get(&index).copied().unwrap_or_default()
    }

    /// Makes `index` the current window unless a later one is.
    fn enter(&mut self, index: i64, at: i64) {
        if self.is_ahead(index) {
            self.repeats |= self.given_up.contains(&index);
            let start = whole_millis(at);
            // Gaps are between numbers, and between times where windows begin at any.
            let (before, landed, gap) = match self.first_use() {
                None => (self.current, index, 1),
                Some(length) => (self.begun.map(|begun| begun.saturating_add(length)), start, length),
            };
            let is_after_others = before.is_none() && self.landed > i64::MIN;
            let before = before.unwrap_or(i64::MIN);
            if !is_after_others && landed > before.saturating_add(gap) {
                (self.left, self.landed) = (self.left.max(before), self.landed.max(landed));
            }
            self.begun = Some(start);
            self.windows.insert(index, Count::default());
            self.current = Some(index);
        }
    }

    fn bounds(&self, index: i64) -> Option<(i64, i64)> {
        match self.first_use() {
            None => self.window.bounds(index),
            Some(length) => {
                self.begun.filter(|_| self.current == Some(index)).map(|begun| (begun, begun.saturating_add(length)))
            }
        }
    }

    fn number_at(&self, instant: i64) -> Option<i64> {
        if self.first_use().is_none() {
            return Some(self.window.index(instant));
        }
        self.current.filter(|_| self.runs(instant) && self.begun.is_some_and(|begun| begun <= instant))
    }

    fn charge(&mut self, index: i64, amount: u64, holds: bool) {
        self.add(index, amount.into());
        if holds {
            self.windows.entry(index).or_default().held += u128::from(amount);
        }
    }

    fn settle(&mut self, index: i64, held: u128, actual: u128) -> i64 {
        let is_renumbered = self.current.is_some_and(|current| current < index);
        if let Some(count) = self.windows.get_mut(&index).filter(|_| !is_renumbered) {
            count.held = count.held.saturating_sub(held);
        }
        self.adjust(index, held, actual)
    }

    /// When the window has been renumbered, so that it lies ahead of the current one, only what is above `before` counts, in the current
    /// window.
    fn adjust(&mut self, index: i64, before: u128, after: u128) -> i64 {
        let more = after.saturating_sub(before);
        if let Some(current) = self.current.filter(|current| *current < index) {
            self.add(current, more);
            return current;
        }
        self.add(index, more);
        self.subtract(index, before.saturating_sub(after));
        index
    }

    /// Whether `index` has ended: a later window is the current one.
    fn has_ended(&self, index: i64) -> bool {
        self.current.is_some_and(|current| current > index)
    }

    /// Whether another window began and ended after `index`, or began and was renumbered.
    fn has_ended_before_another(&self, index: i64) -> bool {
        let Some(current) = self.current.filter(|current| *current > index) else { return false };
        self.windows.range(index + 1..current).next().is_some() || !self.given_up.is_empty()
    }

    /// Whether two windows were counted under one number, or will be by a call at `at`, or the window of `at` was given up.
    fn repeats(&self, at: i64) -> bool {
        if self.first_use().is_some() {
            return false;
        }
        let numbers = [self.effective(at), self.window.index(at)];
        self.repeats || numbers.iter().any(|number| self.given_up.contains(number))
    }

    /// Renumbers the current window when it lies more than one ahead of `at` and was opened by a clock that had jumped: `at` lies before
    /// the window that was landed in, further than the clock has run on since. Its number is then the first one after `at` that was not in
    /// use before the jump. What is charged stays; what was held counts as used. Windows in between, through which the clock came, are given up.
    fn come_back(&mut self, at: i64) {
        if self.first_use().is_some() {
            // One that began after `at` begins now, or when the one before the gap ended.
            let now = whole_millis(at);
            let start = self.left.max(now);
            let has_jumped = |begun: i64| self.landed.saturating_sub(now) > begun.saturating_sub(self.landed);
            if self.begun.is_some_and(|begun| begun > start && has_jumped(begun)) {
                (self.begun, self.landed) = (Some(start), self.landed.min(start));
            }
            return;
        }
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
    fn top(&self) -> u128 {
        (1_u128 << self.window.bits()) - 1
    }

    /// The length of a window from first use, in microseconds.
    fn first_use(&self) -> Option<i64> {
        let Window::FirstUse { seconds } = self.window else { return None };
        Some(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000))
    }

    /// Whether the window from first use that began last has not ended by `at`; an earlier instant uses it too.
    fn runs(&self, at: i64) -> bool {
        let end = self.begun.zip(self.first_use()).map(|(begun, length)| begun.saturating_add(length));
        end.is_some_and(|end| at < end)
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

/// Windows from first use begin at whole milliseconds.
fn whole_millis(at: i64) -> i64 {
    at.div_euclid(1_000) * 1_000
}

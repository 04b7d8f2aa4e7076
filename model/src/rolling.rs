//! A budget with a rolling window: what each sub-interval of time charged, in a plain list.

use std::collections::BTreeMap;

use crate::budget::Count;
use crate::calendar::sub_interval_micros;

/// What number `k` charged counts while the number of now is below `k` and this.
const LIVE: i64 = 61;

/// A rolling budget.
#[derive(Clone, Debug)]
pub(crate) struct Rolling {
    sub_micros: i64,
    top: u128,
    /// What each number has charged.
    slots: BTreeMap<i64, Slot>,
    /// The largest number that something was charged in.
    latest: Option<i64>,
    /// How much larger the budget's numbers are than the clock's: it grows when a clock that had jumped ahead comes back.
    skew: i64,
    /// The numbers on both sides of the last gap that was longer than a window.
    left: i64,
    landed: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    used: u128,
    held: u128,
}

impl Rolling {
    pub(crate) fn new(seconds: u64, bits: u32) -> Self {
        Self {
            sub_micros: sub_interval_micros(seconds),
            top: (1 << bits) - 1,
            slots: BTreeMap::new(),
            latest: None,
            skew: 0,
            left: i64::MIN,
            landed: i64::MIN,
        }
    }

    /// The engine was opened again at `at`: up to there everything may have been granted.
    pub(crate) fn reopened(&mut self, at: i64) {
        let latest = self.latest.map_or(i64::MIN, |latest| latest).max(self.number(at));
        self.enter(latest);
        (self.left, self.landed) = (latest, latest);
        // Written as one amount, which may be more than a part can tell.
        for slot in self.slots.values_mut().filter(|slot| slot.used + slot.held >= self.top) {
            *slot = Slot { used: self.top, held: 0 };
        }
    }

    /// The number that an operation at `at` counts in: they never go back.
    pub(crate) fn effective(&self, at: i64) -> i64 {
        let own = self.number(at) + self.skew;
        self.latest.map_or(own, |latest| latest.max(own))
    }

    /// What counts in number `index`.
    pub(crate) fn count(&self, index: i64) -> Count {
        let live = self.slots.range(index - (LIVE - 1)..).map(|(_, slot)| slot);
        live.fold(Count::default(), |sum, slot| Count {
            charged: sum.charged + slot.used + slot.held,
            held: sum.held + slot.held,
        })
    }

    /// Since when charges count at `at`, and when all that count now will have left: at the earliest with the sub-interval that runs.
    pub(crate) fn bounds(&self, at: i64) -> (i64, i64) {
        let (now, index) = (self.number(at), self.effective(at));
        let mut live = self.slots.range(index - (LIVE - 1)..).filter(|(_, slot)| slot.used + slot.held > 0);
        let end = live.next_back().map_or(now + 1, |(number, _)| number + LIVE - self.skew);
        ((now - (LIVE - 1)) * self.sub_micros, end * self.sub_micros)
    }

    /// When `amount` (0: anything) fits below `max` if nothing else happens; `None` when it never does.
    pub(crate) fn fits_at(&self, amount: u64, max: u64, at: i64) -> Option<i64> {
        let now = self.effective(at);
        let mut numbers = std::iter::once(now).chain(self.slots.keys().map(|number| number + LIVE));
        let fits =
            |number: &i64| *number >= now && self.count(*number).charged + u128::from(amount.max(1)) <= max.into();
        numbers.find(fits).map(|number| (number - self.skew) * self.sub_micros)
    }

    /// Lets what counts no more in number `index` go.
    pub(crate) fn enter(&mut self, index: i64) {
        let before = self.latest.unwrap_or(i64::MIN);
        if index > before.saturating_add(LIVE) {
            (self.left, self.landed) = (self.left.max(before), self.landed.max(index));
        }
        self.latest = Some(before.max(index));
        self.slots = self.slots.split_off(&(before.max(index) - (LIVE - 1)));
    }

    pub(crate) fn charge(&mut self, index: i64, amount: u64, holds: bool) {
        let slot = self.slots.entry(index).or_default();
        let part = if holds { &mut slot.held } else { &mut slot.used };
        *part = (*part + u128::from(amount)).min(self.top);
    }

    pub(crate) fn settle(&mut self, index: i64, held: u128, actual: u128) -> Option<i64> {
        if self.has_ended(index) {
            return None;
        }
        let slot = self.slots.entry(index).or_default();
        slot.held = less(slot.held, held, self.top);
        slot.used = (slot.used + actual).min(self.top);
        self.latest
    }

    pub(crate) fn adjust(&mut self, index: i64, before: u128, after: u128) -> Option<i64> {
        if self.has_ended(index) {
            return None;
        }
        let slot = self.slots.entry(index).or_default();
        slot.used = (slot.used + after.saturating_sub(before)).min(self.top);
        slot.used = less(slot.used, before.saturating_sub(after), self.top);
        self.latest
    }

    pub(crate) fn has_ended(&self, index: i64) -> bool {
        self.latest.is_some_and(|latest| latest >= index + LIVE)
    }

    /// When the clock had jumped ahead by more than a window and has come back to `at`, its number stands from now on for the largest that
    /// the budget has reached. It had jumped if it is before the number that was landed in, further than it has run on since.
    pub(crate) fn come_back(&mut self, at: i64) {
        let Some(latest) = self.latest else { return };
        let own = self.number(at) + self.skew;
        let ahead = latest - self.left.max(own);
        if self.landed.saturating_sub(own) > latest.saturating_sub(self.landed) && ahead > LIVE {
            self.left = latest;
            self.skew += ahead;
        }
    }

    pub(crate) fn top(&self) -> u128 {
        self.top
    }

    /// The clock's number of an instant.
    fn number(&self, at: i64) -> i64 {
        at.div_euclid(self.sub_micros)
    }
}

/// A count at the top is not known, so it stays.
fn less(count: u128, amount: u128, top: u128) -> u128 {
    if count == top { count } else { count.saturating_sub(amount) }
}

//! A budget that threads may share: when it gets [stripes](super::stripes), who charges them, and who takes back what they hold.

use super::rule::{self, Gate};
use super::stripes::{Calm, Share, Stripes};
use super::word::{Layout, State};
use super::{Meter, NO_WORD, swap, transition};
use crate::sync::Ordering;

/// When threads that charge one budget take shares of its room for themselves (*stripes*), so that they do not wait for each other.
///
/// It changes how fast budgets that threads share are charged, and nothing else: what is admitted, refused and reported is the same. Stripes
/// are of hard budgets whose windows follow the clock, and take up to 64 lines of memory each. [`Limit::striped`](crate::Limit::striped)
/// decides for one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Striping {
    /// Never.
    Off,
    /// Once they have got in each other's way 256 times.
    #[cfg_attr(not(encumber_striped), default)]
    WhenContended,
    /// From the first charge on.
    #[cfg_attr(encumber_striped, default)]
    Always,
}

/// Races lost before there are stripes.
const LOST_MAX: u32 = 256;

impl Meter {
    /// Charges on the short way: the thread's stripe, or the word. What is charged then is told only if the word was.
    #[allow(clippy::inline_always, reason = "measured: the common charge is one function this way")]
    #[inline(always)]
    pub(crate) fn admit_quickly(
        &self,
        layout: Layout,
        now: i64,
        amount: u64,
        gate: Gate,
        striping: Striping,
    ) -> Result<State, State> {
        if self.is_striped() && striping != Striping::Off {
            return self.admit_striped(now, amount, gate);
        }
        let mut tries = 0_u32;
        let admitted = transition(&self.word, layout, now, |state| {
            tries += 1;
            rule::admit(layout, state, now, amount, gate)
        });
        let (before, after) = match admitted {
            Ok(states) => states,
            Err(_) if self.is_striped() => return self.admit_slowly(now, amount, gate),
            Err(state) => return Err(state),
        };
        if tries > 1 || striping == Striping::Always {
            self.note_lost(striping, tries.saturating_sub(1));
        }
        Ok(self.raised(before, after))
    }

    /// The same after a glance at window `now` that found `amount` to fit: if the word is still the one that was seen, what was decided on it holds.
    /// `None` when it is another one, or does not say enough.
    #[allow(clippy::inline_always, reason = "as `admit_quickly`")]
    #[inline(always)]
    pub(crate) fn admit_seen(
        &self,
        layout: Layout,
        (now, seen): (i64, u64),
        amount: u64,
        striping: Striping,
    ) -> Option<State> {
        if seen == NO_WORD || striping == Striping::Always {
            return None;
        }
        // Within its window the amount is the low end of the word, and has room for what fits.
        let next = seen + amount;
        if swap(&self.word, seen, next).is_err() {
            self.note_lost(striping, 1);
            return None;
        }
        Some(self.reined_in(State { window: now, amount: next & layout.saturated() }))
    }

    /// What stripes hold may have been in the way.
    #[cold]
    fn admit_slowly(&self, now: i64, amount: u64, gate: Gate) -> Result<State, State> {
        self.admit(now, amount, gate)
    }

    #[inline(never)]
    fn admit_striped(&self, now: i64, amount: u64, gate: Gate) -> Result<State, State> {
        let share = |max| Share { window: now, max, amount };
        let stripes = self.stripes();
        // An amount of 0 is a question that stripes cannot answer.
        if let (Gate::Max(max), Some(stripes), 1..) = (gate, stripes, amount)
            && stripes.charge(share(max))
        {
            return Ok(State { window: now, amount: 0 });
        }
        let admitted = self.admit(now, amount, gate)?;
        if let (Gate::Max(max), Some(stripes), 1..) = (gate, stripes, amount) {
            stripes.take(share(max), self.bound_of_room(now, max), (&self.word, self.layout()), |window, room| {
                self.change_in(window, room, 0);
            });
        }
        Ok(admitted)
    }

    /// Up to what amount room may be taken in window `now`: what stands above the ceiling has to be written down.
    #[cfg(feature = "persist")]
    fn bound_of_room(&self, now: i64, max: u64) -> u64 {
        match self.ceiling_in(now) {
            Some(ceiling) => max.min(ceiling),
            None => max,
        }
    }

    #[cfg(not(feature = "persist"))]
    #[allow(clippy::unused_self, reason = "as with the feature")]
    const fn bound_of_room(&self, _: i64, max: u64) -> u64 {
        max
    }

    /// Counts races that were lost; when they are many, there are stripes from now on.
    #[cold]
    pub(super) fn note_lost(&self, striping: Striping, races: u32) {
        let is_time = match striping {
            Striping::Off => false,
            // Relaxed: it only counts.
            Striping::WhenContended => self.cold().lost.fetch_add(races, Ordering::Relaxed) >= LOST_MAX,
            Striping::Always => true,
        };
        if is_time && self.follows_clock() {
            self.cold().stripes.get_or_init(|| Box::new(Stripes::new()));
            self.striped.set();
        }
    }

    /// Takes back what stripes hold, and keeps it so until the answer is dropped. `None` when there are none.
    #[inline]
    pub(super) fn calm(&self) -> Option<Calm<'_>> {
        if self.is_striped() { self.calm_down() } else { None }
    }

    #[cold]
    fn calm_down(&self) -> Option<Calm<'_>> {
        let (calm, window, room) = self.stripes()?.calm();
        if room > 0 {
            self.change_in(window, room, 0);
        }
        Some(calm)
    }

    /// Whether there are stripes. Who has seen in the word what one holds (Acquire) sees the mark set before it.
    #[inline]
    pub(crate) fn is_striped(&self) -> bool {
        self.striped.is_set()
    }

    #[inline]
    fn stripes(&self) -> Option<&Stripes> {
        if self.is_striped() { self.cold.get()?.stripes.get() } else { None }
    }

    #[cold]
    pub(super) fn raised_unusually(&self, before: State, after: State) -> State {
        if after.window != before.window {
            self.hand_over(before, after.window);
            // What stripes hold is of a window before.
            drop(self.calm());
        }
        self.reined_in(after)
    }

    /// What is charged after the word was raised to `after`: stripes stand for no more than the max that they were armed with. Whoever raises the
    /// word above it after room was taken has seen that room in the word (Acquire), and so the max that it was taken under.
    #[inline]
    pub(super) fn reined_in(&self, after: State) -> State {
        if self.is_striped() { self.reined_in_beside_stripes(after) } else { after }
    }

    #[cold]
    fn reined_in_beside_stripes(&self, after: State) -> State {
        if self.stripes().is_none_or(|stripes| after.amount <= stripes.max()) {
            return after;
        }
        let _calm = self.calm();
        let state = self.state(after.window);
        if state.window == after.window { state } else { after }
    }
}

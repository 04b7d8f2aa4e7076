//! One budget: a word that holds what is charged in the current window, and what reports want to know beside it.
//!
//! **Who owns what.** `word` alone decides: admission, settlement, undo and rollover are each one compare-and-swap on it, chosen by a
//! pure function of [`rule`]. The other words are for reports and for the refusal path, and admission never reads them. Nearly all of them stand
//! apart, in a part that the first operation makes which needs it ([`cold`]).
//!
//! **Fast path.** Load, decide, swap. A window that has ended needs no step of its own: the first charge of the new window replaces
//! number and amount together.
//!
//! **Collision path.** A lost race decides again on what it saw. A refusal by one budget is final at the instant of its load; with
//! several budgets [`crate::charge`] makes sure that it was not due to an attempt that was undone.
//!
//! **After a rollover.** Whoever replaced the old window hands its count to `ended`. Settlements that come late for that window change
//! `ended`. One that comes between the swap and the hand-over, and gives back more than is there yet, notes that in `returned`: the order
//! does not matter.
//!
//! **Which window is it.** On a calendar or a grid the clock says it. A window from first use is numbered by use ([`first_use`]), and counts in
//! the same words. A rolling window has no end, and words of its own ([`rolling`]).
//!
//! **Shared by many threads.** Threads may take room out of the word into stripes, and charge it there ([`stripes`]). The word counts that room as
//! charged: [`Meter::glance_at`] says what it says, every other reader finds it without.

mod cold;
#[cfg(feature = "persist")]
mod dated;
mod first_use;
#[cfg(feature = "persist")]
mod image;
mod jump;
mod meter_ref;
mod mould;
mod rolling;
pub(crate) mod rule;
mod slice;
mod striped;
mod stripes;
mod word;

use std::sync::Arc;

use crate::sync::{AtomicU8, AtomicU64, Mark, OnceBox, Ordering, spin_loop};
use crate::time::{MICROS_PER_DAY, Timestamp};
use crate::window::{Bounds, Window};
use cold::Cold;
use first_use::Opened;
#[cfg(feature = "persist")]
pub(crate) use image::{Course as ImageCourse, Image};
pub(crate) use meter_ref::{GROUP_MAX, Group, MeterRef};
use mould::Kind;
pub(crate) use mould::{Mould, Past};
pub(crate) use rolling::Part;
use rolling::Rolling;
pub(crate) use rule::{Forgive, Gate};
pub(crate) use slice::Slice;
pub use striped::Striping;
pub(crate) use word::{Layout, State};

/// No word that an admission may go by: a saturated one has no room.
pub(crate) const NO_WORD: u64 = u64::MAX;

const MICROS_PER_YEAR: i64 = 365 * MICROS_PER_DAY;

/// A budget's counters.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Window and charged amount: the state.
    word: AtomicU64,
    /// The far side of the last gap: the window that was landed in, with windows before it unused. Only the number counts. The near side, the
    /// window that was left, is in the cold part.
    landed: AtomicU64,
    cold: OnceBox<Cold>,
    /// What is written down: see [`image`].
    #[cfg(feature = "persist")]
    ceiling: AtomicU64,
    mould: Arc<Mould>,
    /// What its keeper finds it by.
    number: u32,
    /// 1 once a scope has this budget together with another one that can refuse: from then on its charges may be undone.
    joined: AtomicU8,
    /// Set once there are stripes, which stand in the cold part: a glance where every operation looks.
    striped: Mark,
    /// As the mould says, at hand.
    follows_clock: bool,
    has_several_words: bool,
}

/// What a budget's windows follow.
#[derive(Debug)]
enum Course {
    /// The clock: a calendar, a grid, or one window for all time.
    Clock,
    /// Use: a window begins with the first charge after the last one ended.
    Use(Box<Opened>),
    /// Each charge's own time.
    Rolling(Box<Rolling>),
}

/// What a settlement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// In the budget's current window, which now has this much charged.
    Current { charged: u64 },
    /// In a window that has ended; what it has charged now, unless it has been forgotten.
    Late { charged: Option<u64> },
}

impl Meter {
    /// An unused budget, which its keeper finds by `number`.
    pub(crate) fn of(mould: &Arc<Mould>, number: u32) -> Self {
        let follows_clock = mould.kind == Kind::Clock;
        let cold = if follows_clock { OnceBox::new() } else { OnceBox::with_value(Box::new(Cold::new(mould))) };
        Self {
            word: AtomicU64::new(mould.unused),
            landed: AtomicU64::new(mould.landed),
            cold,
            #[cfg(feature = "persist")]
            ceiling: AtomicU64::new(image::UNWATCHED),
            mould: Arc::clone(mould),
            number,
            joined: AtomicU8::new(0),
            striped: Mark::new(),
            follows_clock,
            has_several_words: matches!(mould.kind, Kind::Rolling(..)),
        }
    }

    /// An unused budget by itself, first asked for at `now`.
    pub(crate) fn new(window: &Window, now: Timestamp) -> Self {
        Self::of(&Arc::new(Mould::new(window, now)), 0)
    }

    /// An unused budget, first asked for in window number `now` of the clock.
    #[cfg(test)]
    pub(crate) fn in_window(window: &Window, now: i64) -> Self {
        Self::of(&Arc::new(Mould::in_window(window, now)), 0)
    }

    /// The same, with its cold part: for models that race for other things.
    #[cfg(all(test, loom))]
    pub(crate) fn in_window_with_all(window: &Window, now: i64) -> Self {
        let meter = Self::in_window(window, now);
        Self { cold: OnceBox::with_value(Box::new(Cold::new(&meter.mould))), ..meter }
    }

    /// Whether what is charged is above what is written down. After a charge's swap of the word: see [`image`].
    #[cfg(feature = "persist")]
    #[inline]
    pub(crate) fn is_beyond(&self) -> bool {
        // Pairs with the stores in `set_ceiling` and `seal`.
        self.word.load(Ordering::Acquire) > self.ceiling.load(Ordering::Acquire)
    }

    /// Without the feature `persist` nothing is written down.
    #[cfg(not(feature = "persist"))]
    #[inline]
    #[allow(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn is_beyond(&self) -> bool {
        false
    }

    /// What its keeper finds it by.
    #[inline]
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// The cold part, to change something in it.
    fn cold(&self) -> &Cold {
        self.cold.get_or_init(|| Box::new(Cold::new(&self.mould)))
    }

    /// What a word of the cold part holds, its window found near `near`.
    fn cold_state(&self, word: impl FnOnce(&Cold) -> &AtomicU64, unused: u64, near: i64) -> State {
        self.layout().unpack(self.cold.get().map_or(unused, |cold| word(cold).load(Ordering::Acquire)), near)
    }

    fn course(&self) -> &Course {
        if self.follows_clock {
            return &Course::Clock;
        }
        // Made with the budget.
        self.cold.get().map_or(&Course::Clock, |cold| &cold.course)
    }

    /// What an operation at `now` would see. `slice` is the budget's window.
    pub(crate) fn peek_at(&self, slice: &Slice, now: Timestamp) -> State {
        let _calm = self.calm();
        self.glance_at(slice, now)
    }

    /// The same, but that room which stripes hold counts as charged.
    #[inline]
    pub(crate) fn glance_at(&self, slice: &Slice, now: Timestamp) -> State {
        match self.course() {
            Course::Clock => self.glance(slice.index(now)),
            Course::Use(opened) => self.glance(opened.number(now).0),
            Course::Rolling(rolling) => rolling.peek(rolling.number(now.as_micros())),
        }
    }

    /// Charges `amount` at `now`, to be used or held, and says what is charged then; or what left no room. An amount of 0 passes while
    /// anything is left, and opens the window.
    #[inline]
    pub(crate) fn admit_at(
        &self,
        slice: &Slice,
        now: Timestamp,
        amount: u64,
        gate: Gate,
        part: Part,
    ) -> Result<State, State> {
        match self.course() {
            Course::Clock => self.admit(slice.index(now), amount, gate),
            Course::Use(opened) => self.admit_in_use(opened, now, amount, gate),
            Course::Rolling(rolling) => rolling.admit(rolling.number(now.as_micros()), amount, gate, part),
        }
    }

    fn admit_in_use(&self, opened: &Opened, now: Timestamp, amount: u64, gate: Gate) -> Result<State, State> {
        let (number, has_begun) = opened.number(now);
        let unused = State { window: number, amount: 0 };
        // What fits in no window begins none.
        if !has_begun && !rule::fits(unused, amount, gate) {
            return Err(unused);
        }
        self.admit(if has_begun { number } else { opened.open(now) }, amount, gate)
    }

    /// Whether operations on it change several words, so that they have to be announced.
    #[inline]
    pub(crate) const fn has_several_words(&self) -> bool {
        self.has_several_words
    }

    /// Whether its windows follow the clock alone, so that nothing but its word decides.
    pub(crate) const fn follows_clock(&self) -> bool {
        self.follows_clock
    }

    /// The bit layout, for showing saturated counts.
    #[inline]
    pub(crate) fn layout(&self) -> Layout {
        self.mould.layout
    }

    /// What an operation in window `now` would see.
    pub(crate) fn peek(&self, now: i64) -> State {
        let _calm = self.calm();
        self.glance(now)
    }

    /// The same, but that room which stripes hold counts as charged.
    #[inline]
    pub(crate) fn glance(&self, now: i64) -> State {
        let (state, _) = self.glance_as(self.layout(), now);
        state
    }

    /// [`Meter::glance`] for callers that have the meter's layout at hand; and the word, if it is of window `now` and stands for all there is.
    #[inline]
    pub(crate) fn glance_as(&self, layout: Layout, now: i64) -> (State, u64) {
        // Pairs with the release half of the swap in `transition`: who reads a count also sees what its writer did before.
        let word = self.word.load(Ordering::Acquire);
        let state = layout.unpack(word, now);
        let is_all = state.window == now && !self.is_striped();
        (rule::effective(state, now), if is_all { word } else { NO_WORD })
    }

    /// The state as it stands, its window found near `now`.
    pub(crate) fn state(&self, now: i64) -> State {
        self.layout().unpack(self.word.load(Ordering::Acquire), now)
    }

    /// Charges `amount` and says what is charged then; or what left no room. An amount of 0 passes while anything is left.
    #[inline]
    pub(crate) fn admit(&self, now: i64, amount: u64, gate: Gate) -> Result<State, State> {
        let layout = self.layout();
        self.admit_by(layout, now, |state| rule::admit(layout, state, now, amount, gate))
    }

    /// [`Meter::admit_at`] by a gate that goes by the window that is charged. For budgets whose windows follow the clock.
    pub(crate) fn admit_in(
        &self,
        slice: &Slice,
        now: Timestamp,
        amount: u64,
        gate: impl Fn(i64) -> Gate,
    ) -> Result<State, State> {
        let (layout, now) = (self.layout(), slice.index(now));
        self.admit_by(layout, now, |state| {
            rule::admit(layout, state, now, amount, gate(rule::effective(state, now).window))
        })
    }

    /// What is charged after an admission changed the word so.
    #[inline]
    fn raised(&self, before: State, after: State) -> State {
        if after.window != before.window || self.is_striped() { self.raised_unusually(before, after) } else { after }
    }

    #[inline]
    fn admit_by(
        &self,
        layout: Layout,
        now: i64,
        mut decide: impl FnMut(State) -> Result<State, State>,
    ) -> Result<State, State> {
        let mut admitted = transition(&self.word, layout, now, &mut decide);
        if admitted.is_err()
            && let Some(_calm) = self.calm()
        {
            // What stripes held may have been in the way.
            admitted = transition(&self.word, layout, now, decide);
        }
        admitted.map(|(before, after)| self.raised(before, after))
    }

    /// Settles a hold of `held` that window `window` admitted at `actual`.
    pub(crate) fn settle(&self, window: i64, held: u64, actual: u64) -> Settled {
        match self.course() {
            Course::Rolling(rolling) => rolling.settle(window, held, actual),
            Course::Clock | Course::Use(_) => {
                let settled = self.change_in(window, held, actual);
                if held > 0 {
                    let layout = self.layout();
                    change(&self.cold().held, layout, window, |state| rule::deduct(layout, state, window, held));
                }
                settled
            }
        }
    }

    /// Charges `amount` more to a hold that window `window` admitted, whether it fits or not.
    pub(crate) fn grow_hold(&self, window: i64, amount: u64) -> Settled {
        if let Course::Rolling(rolling) = self.course() {
            return rolling.grow_hold(window, amount);
        }
        let grown = self.change_in(window, 0, amount);
        self.hold(window, amount);
        grown
    }

    fn change_in(&self, window: i64, before: u64, after: u64) -> Settled {
        let layout = self.layout();
        let settled = transition(&self.word, layout, window, |state| {
            rule::settle(layout, state, window, before, after).ok_or(())
        });
        if let Ok((_, state)) = settled {
            let state = if after > before { self.reined_in(state) } else { state };
            return Settled::Current { charged: state.amount };
        }
        if after >= before {
            change(&self.cold().ended, layout, window, |state| rule::accumulate(layout, state, window, after - before));
        } else {
            self.give_back_late(window, before - after);
        }
        Settled::Late { charged: self.ended_in(window) }
    }

    /// Takes `amount` from what a window that has ended has charged; notes it in `returned` when the hand-over has yet to come.
    fn give_back_late(&self, window: i64, amount: u64) {
        let layout = self.layout();
        let taken = transition(&self.cold().ended, layout, window, |state| match state.window.cmp(&window) {
            std::cmp::Ordering::Equal if state.amount >= amount => Ok(rule::deduct(layout, state, window, amount)),
            std::cmp::Ordering::Greater => Ok(state),
            _ => Err(()),
        });
        if taken.is_err() {
            change(&self.cold().returned, layout, window, |state| rule::accumulate(layout, state, window, amount));
        }
    }

    /// Changes what was charged in window `window`, and is not held, from `before` to `after`. It was charged when the engine had carried out
    /// `resets` resets: what a later one took is not taken a second time.
    pub(crate) fn adjust(&self, window: i64, before: u64, after: u64, resets: u64) -> Settled {
        // Pairs with the Release in `reset`.
        let was_reset = self.cold.get().is_some_and(|cold| cold.last_reset.load(Ordering::Acquire) > resets);
        let Course::Rolling(rolling) = self.course() else {
            let less = before.saturating_sub(after);
            let before = if was_reset { before - self.take_forgiven(window, less) } else { before };
            return self.change_in(window, before, after);
        };
        // A rolling budget does not know which of its charges a reset took.
        if was_reset && after < before {
            Settled::Late { charged: None }
        } else {
            rolling.adjust(window, before, after)
        }
    }

    /// Resets window `window`, as the engine's reset number `reset`; says what was charged before and after, or `None` when the window has ended.
    ///
    /// What is held must stand still meanwhile, and nothing may be announced but the reset.
    pub(crate) fn reset(&self, window: i64, much: Forgive, reset: u64) -> Option<(u64, u64)> {
        let layout = self.layout();
        let _calm = self.calm();
        let (before, after) = if let Course::Rolling(rolling) = self.course() {
            rolling.reset(window, much)
        } else {
            let held = self.held_in(window);
            let changed = transition(&self.word, layout, window, |state| {
                rule::forgive(layout, state, window, much, held).ok_or(())
            });
            let (before, after) = changed.ok()?;
            if before.window < window { (0, 0) } else { (before.amount, after.amount) }
        };
        if before > after {
            change(&self.cold().forgiven, layout, window, |state| {
                rule::accumulate(layout, state, window, before - after)
            });
            // Release: who sees the number sees the amount.
            self.cold().last_reset.store(reset, Ordering::Release);
        }
        Some((before, after))
    }

    /// Takes up to `amount` out of what resets took in `window`; says how much.
    fn take_forgiven(&self, window: i64, amount: u64) -> u64 {
        let mut taken = 0;
        let layout = self.layout();
        change(&self.cold().forgiven, layout, window, |state| {
            taken = if state.window == window { amount.min(state.amount) } else { 0 };
            rule::deduct(layout, state, window, taken)
        });
        taken
    }

    /// Takes back a charge that is not to be: like settling it at 0, and counted for those who look for traces of it.
    pub(crate) fn undo(&self, window: i64, amount: u64, part: Part) {
        match self.course() {
            Course::Rolling(rolling) => {
                rolling.undo(window, amount, part);
            }
            Course::Clock | Course::Use(_) => {
                self.change_in(window, amount, 0);
            }
        }
        // Pairs with the Acquire load in `undone`: who sees this count sees the amount gone.
        self.cold().undone.fetch_add(1, Ordering::Release);
    }

    /// Says that charges of this budget may be undone from now on. Before the first such charge.
    pub(crate) fn join(&self) {
        self.joined.store(1, Ordering::Release);
    }

    /// Whether what is charged may be more, for a moment, than what stands: charges may be undone, or expired ones not taken out yet. Who has
    /// seen such a charge (Acquire, in `peek`) sees the mark set before it.
    pub(crate) fn may_overstate(&self) -> bool {
        self.has_several_words() || self.joined.load(Ordering::Acquire) != 0
    }

    /// How often something has been taken back so far that could have stood in somebody's way.
    pub(crate) fn taken_back(&self) -> u32 {
        let undone = self.cold.get().map_or(0, |cold| cold.undone.load(Ordering::Acquire));
        match self.course() {
            Course::Rolling(rolling) => undone.wrapping_add(rolling.lowered()),
            Course::Clock | Course::Use(_) => undone,
        }
    }

    /// Counts `amount`, which has been charged to be held, as held in `window`, for reports.
    pub(crate) fn hold(&self, window: i64, amount: u64) {
        // A rolling budget's charge was told what it is.
        if !self.has_several_words() {
            let layout = self.layout();
            change(&self.cold().held, layout, window, |state| rule::accumulate(layout, state, window, amount));
        }
    }

    /// What is held in `window`, which an operation at `now` is in.
    pub(crate) fn held(&self, window: i64, now: Timestamp) -> u64 {
        if let Course::Rolling(rolling) = self.course() {
            return rolling.held(rolling.number(now.as_micros()));
        }
        self.held_in(window)
    }

    fn held_in(&self, window: i64) -> u64 {
        let held = self.cold_state(|cold| &cold.held, self.mould.unused, window);
        if held.window == window { held.amount } else { 0 }
    }

    /// The number of the window that holds `at`, if it is known. `window` is the budget's.
    pub(crate) fn number_of(&self, window: &Window, at: Timestamp) -> Option<i64> {
        match self.course() {
            Course::Clock => Some(window.index(at)),
            Course::Use(opened) => {
                let (number, _) = opened.number(at);
                opened.bounds(number).filter(|bounds| bounds.start <= at).map(|_| number)
            }
            Course::Rolling(_) => None,
        }
    }

    /// Start and end of window number `number`, as seen at `now`: of a rolling window, since when it counts and when all that counts now will
    /// have left it. `None` for a lifetime, and for a window that has not begun.
    pub(crate) fn bounds(&self, window: &Window, number: i64, now: Timestamp) -> Option<Bounds> {
        match self.course() {
            Course::Clock => window.bounds_of(number),
            Course::Use(opened) => opened.bounds(number),
            Course::Rolling(rolling) => Some(rolling.bounds(now)),
        }
    }

    /// From when on `amount` fits below `max` if nothing else happens. `None` when it never does, or nobody knows.
    pub(crate) fn fits_at(&self, amount: u64, max: u64, now: Timestamp) -> Option<Timestamp> {
        match self.course() {
            Course::Clock | Course::Use(_) => None,
            Course::Rolling(rolling) => {
                let number = rolling.fits_at(amount, max, rolling.number(now.as_micros()))?;
                Some(Timestamp::from_micros(rolling.start_micros(number)))
            }
        }
    }

    /// What is charged in `window`: the current one, the last one that ended with something charged, any between (nothing), or one
    /// that has not come yet (nothing). `None` for windows before, which are forgotten.
    pub(crate) fn charged_in(&self, window: i64) -> Option<u64> {
        let _calm = self.calm();
        let state = self.state(window);
        match state.window.cmp(&window) {
            std::cmp::Ordering::Equal => Some(state.amount),
            std::cmp::Ordering::Less => Some(0),
            std::cmp::Ordering::Greater => self.ended_in(window),
        }
    }

    /// Whether a new budget made in the clock's window `now` could stand in for it, and nobody could tell, as long as nobody else has it: nothing
    /// is charged, held or told in the current window or in the one before it. What is remembered of windows before those is forgotten with
    /// it.
    pub(crate) fn is_fresh(&self, now: i64) -> bool {
        let _calm = self.calm();
        match self.course() {
            Course::Clock => {
                let is_unused = |word: &AtomicU64| {
                    let state = self.layout().unpack(word.load(Ordering::Acquire), now);
                    state.amount == 0 || state.window < now.saturating_sub(1)
                };
                is_unused(&self.word)
                    && self.cold.get().is_none_or(|Cold { held, ended, returned, announced: [even, odd], .. }| {
                        [held, ended, returned, even, odd].into_iter().all(is_unused)
                    })
            }
            // Of the last one's length, a whole one must have passed since its end.
            Course::Use(opened) => opened.began_in().is_none_or(|began| began.saturating_add(2) < now),
            Course::Rolling(rolling) => rolling.is_fresh(now),
        }
    }

    /// The newest of the clock's windows in which something is charged, of those that are remembered, after the one since which there was no gap.
    pub(crate) fn charged_last(&self, now: i64) -> Option<(i64, i64)> {
        match self.course() {
            Course::Clock => {
                let charged = [self.state(now), self.ended(now)];
                let window = charged.into_iter().filter(|state| state.amount > 0).map(|state| state.window).max()?;
                Some((self.landed(now).min(window), window))
            }
            // The window that began in one slice of the grid ended in the next one.
            Course::Use(opened) => opened.began_in().map(|began| (began, began.saturating_add(1))),
            Course::Rolling(rolling) => rolling.charged_last(),
        }
    }

    /// Notes that `milestones` of `window` are told, and returns those of them that nobody had told: of all who reach a milestone one is told
    /// to tell it. Two windows are remembered; one before them has nothing to tell any more.
    pub(crate) fn announce(&self, window: i64, milestones: u64) -> u64 {
        let window = self.told_in(window);
        let word = &self.cold().announced[window.rem_euclid(2) as usize];
        let told = transition(word, self.layout(), window, |state| match state.window.cmp(&window) {
            std::cmp::Ordering::Less => Ok(State { window, amount: milestones }),
            std::cmp::Ordering::Equal => Ok(State { amount: state.amount | milestones, ..state }),
            std::cmp::Ordering::Greater => Err(()),
        });
        match told {
            Ok((before, _)) if before.window == window => milestones & !before.amount,
            Ok(_) => milestones,
            Err(()) => 0,
        }
    }

    /// The number under which is noted what is told of a window. A rolling window has no end: what it came to is told once in each span of its
    /// length.
    fn told_in(&self, window: i64) -> i64 {
        if self.has_several_words() { Rolling::<{ rolling::SLOTS_DEFAULT }>::turn(window) } else { window }
    }

    /// The number that window `window` has now: that of a hold which was made ahead of time may have been renumbered since.
    pub(crate) fn now_numbered(&self, window: i64) -> i64 {
        if self.follows_clock() { self.state(window).window.min(window) } else { window }
    }

    /// The milestones that were told in `window`.
    fn announced_in(&self, window: i64) -> u64 {
        let parity = window.rem_euclid(2) as usize;
        let told = self.cold_state(|cold| &cold.announced[parity], self.mould.unused, window);
        if told.window == window { told.amount } else { 0 }
    }

    /// What is written down when window `opened` has replaced another one.
    #[cold]
    fn hand_over(&self, State { window, amount }: State, opened: i64) {
        let layout = self.layout();
        if amount > 0 {
            change(&self.cold().ended, layout, window, |state| rule::accumulate(layout, state, window, amount));
        }
        if opened > window.saturating_add(1) && !self.was_made_in(window, amount) {
            let raise = |word: &AtomicU64, to: i64| {
                change(word, layout, opened, |state| State { window: state.window.max(to), ..state });
            };
            // Of the first charge it is known already.
            if self.left(opened) < window {
                raise(&self.cold().left, window);
            }
            raise(&self.landed, opened);
        }
    }

    /// Whether it was made in window `window`, not charged since, and told where the last gap is: see [`Meter::after`].
    fn was_made_in(&self, window: i64, amount: u64) -> bool {
        // One that was charged may have given this window up and come to it again: what ended stands there then, what was returned does not.
        amount == 0
            && [self.ended(window), self.returned(window)].into_iter().all(|state| state.window == window)
            && self.landed(window) != window
    }

    /// The windows on both sides of the last gap, found near `near`.
    fn landed(&self, near: i64) -> i64 {
        self.layout().unpack(self.landed.load(Ordering::Acquire), near).window
    }

    fn left(&self, near: i64) -> i64 {
        self.cold_state(|cold| &cold.left, self.mould.left, near).window
    }

    fn ended(&self, near: i64) -> State {
        self.cold_state(|cold| &cold.ended, self.mould.unused, near)
    }

    fn returned(&self, near: i64) -> State {
        self.cold_state(|cold| &cold.returned, self.mould.unused, near)
    }

    fn ended_in(&self, window: i64) -> Option<u64> {
        let (ended, returned) = (self.ended(window), self.returned(window));
        let returned = if returned.window == window { returned.amount } else { 0 };
        match ended.window.cmp(&window) {
            // A saturated count stays, as everywhere.
            std::cmp::Ordering::Equal if ended.amount == self.layout().saturated() => Some(ended.amount),
            std::cmp::Ordering::Equal => Some(ended.amount.saturating_sub(returned)),
            std::cmp::Ordering::Less => Some(0),
            std::cmp::Ordering::Greater => None,
        }
    }
}

/// A transition that cannot be refused.
#[inline]
fn change(word: &AtomicU64, layout: Layout, near: i64, mut decide: impl FnMut(State) -> State) -> (State, State) {
    let Ok(states) = transition::<std::convert::Infallible>(word, layout, near, |state| Ok(decide(state)));
    states
}

/// The crate's only compare-and-swap loop: decides on what was seen, and swaps in the decision if that still is there.
///
/// Returns the states before and after. A decision that changes nothing writes nothing. Lock-free: a lost race means that another
/// operation went through.
#[allow(clippy::inline_always, reason = "measured: the decision is folded into the loop this way")]
#[inline(always)]
fn transition<E>(
    word: &AtomicU64,
    layout: Layout,
    near: i64,
    mut decide: impl FnMut(State) -> Result<State, E>,
) -> Result<(State, State), E> {
    let mut current = look(word);
    loop {
        let before = layout.unpack(current, near);
        let after = decide(before)?;
        let next = layout.pack(after);
        if next == current {
            return Ok((before, after));
        }
        match swap(word, current, next) {
            Ok(_) => return Ok((before, after)),
            Err(seen) => {
                current = seen;
                spin_loop();
            }
        }
    }
}

/// Swaps `next` in if `current` still is there, nearly always; otherwise says what is.
#[allow(clippy::inline_always, reason = "as `transition`")]
#[inline(always)]
fn swap(word: &AtomicU64, current: u64, next: u64) -> Result<u64, u64> {
    // Acquire: what earlier writers of the word did is seen. Release: pairs with the loads of this word, here and in `peek`.
    word.compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Acquire)
}

/// The first look at a word that may be swapped next.
#[cfg(not(loom))]
#[inline]
fn look(word: &AtomicU64) -> u64 {
    word.load(Ordering::Acquire)
}

/// Loom remembers one access of a word, the last. A load would hide from it that the swap that follows races with an earlier load by
/// another thread, and it would not try the swap first. So here it is a swap that changes nothing, unless a model asks for the load.
#[cfg(loom)]
fn look(word: &AtomicU64) -> u64 {
    if crate::sync::looks_by_load() { word.load(Ordering::Acquire) } else { word.fetch_or(0, Ordering::AcqRel) }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;

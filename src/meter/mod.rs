//! One budget: a word that holds what is charged in the current window, and what reports want to know beside it.
//!
//! **Who owns what.** `word` alone decides: admission, settlement, undo and rollover are each one compare-and-swap on it, chosen by a
//! pure function of [`rule`]. The other words are for reports and for the refusal path, and admission never reads them.
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

pub(crate) mod rule;
mod slice;
mod word;

use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering, spin_loop};
use crate::time::MICROS_PER_DAY;
use crate::window::Window;
pub(crate) use rule::Gate;
pub(crate) use slice::Slice;
pub(crate) use word::{Layout, State};

const MICROS_PER_YEAR: i64 = 365 * MICROS_PER_DAY;

/// A budget's counters.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Window and charged amount: the state.
    word: AtomicU64,
    /// Window and the part of the charged amount that is held.
    held: AtomicU64,
    /// The window that ended last with something charged: what was charged, and what late settlements added.
    ended: AtomicU64,
    /// The same window: what late settlements gave back before the hand-over.
    returned: AtomicU64,
    /// The windows on both sides of the last gap: the one that was left and the one that was landed in with windows between them unused.
    /// Only the numbers count.
    left: AtomicU64,
    landed: AtomicU64,
    /// Windows of even and of odd number, and the milestones, as bits, that a listener was told of in each: who is late with one of the window
    /// before is not lost to the newer one.
    announced: [AtomicU64; 2],
    /// How many charges of this budget were undone because another budget of their scope had no room.
    undone: AtomicU32,
    /// 1 once a scope has this budget together with another one that can refuse: from then on its charges may be undone.
    joined: AtomicU8,
    layout: Layout,
}

/// What a budget that is made anew, after it was evicted or may have been, must know of what was before. Window numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    /// The first window in which it was certainly not charged.
    pub(crate) start: i64,
    /// The windows on both sides of the last gap, as in [`Meter`].
    pub(crate) left: i64,
    pub(crate) landed: i64,
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
    /// An unused budget, first asked for in window `now`.
    ///
    /// It has seen no window yet, so its words stand a year back: a clock that is set back a little finds every window later. Not further
    /// back, so that a clock that stood at 1970 when the budget was made finds today within reach.
    pub(crate) fn new(window: &Window, now: i64) -> Self {
        let start = now.wrapping_sub(in_years(window, 1));
        Self::starting(window, Past { start, left: start, landed: start })
    }

    /// An unused budget, asked for in window `now`, of which there may have been one before.
    pub(crate) fn after(window: &Window, now: i64, Past { start, left, landed }: Past) -> Self {
        // No further back than a new one; and where the gap is, within what the words can tell apart.
        let (year, decades) = (now.saturating_sub(in_years(window, 1)), now.saturating_sub(in_years(window, 40)));
        Self::starting(window, Past { start: start.max(year), left: left.max(decades), landed: landed.max(decades) })
    }

    fn starting(window: &Window, Past { start, left, landed }: Past) -> Self {
        let layout = Layout::of(window);
        let at = |window| layout.pack(State { window, amount: 0 });
        let unused = at(start);
        Self {
            word: AtomicU64::new(unused),
            held: AtomicU64::new(unused),
            ended: AtomicU64::new(unused),
            returned: AtomicU64::new(unused),
            left: AtomicU64::new(at(left)),
            landed: AtomicU64::new(at(landed)),
            announced: [AtomicU64::new(unused), AtomicU64::new(unused)],
            undone: AtomicU32::new(0),
            joined: AtomicU8::new(0),
            layout,
        }
    }

    /// The bit layout, for showing saturated counts.
    pub(crate) const fn layout(&self) -> Layout {
        self.layout
    }

    /// What an operation in window `now` would see.
    #[inline]
    pub(crate) fn peek(&self, now: i64) -> State {
        // Pairs with the release half of the swap in `transition`: who reads a count also sees what its writer did before.
        rule::effective(self.layout.unpack(self.word.load(Ordering::Acquire), now), now)
    }

    /// The state as it stands, its window found near `now`.
    pub(crate) fn state(&self, now: i64) -> State {
        self.layout.unpack(self.word.load(Ordering::Acquire), now)
    }

    /// Charges `amount` and says what is charged then; or what left no room. An amount of 0 passes while anything is left.
    #[inline]
    pub(crate) fn admit(&self, now: i64, amount: u64, gate: Gate) -> Result<State, State> {
        self.admit_as(self.layout, now, amount, gate)
    }

    /// [`Meter::admit`] for callers that have the meter's layout at hand.
    #[allow(clippy::inline_always, reason = "measured: the common charge is one function this way")]
    #[inline(always)]
    pub(crate) fn admit_as(&self, layout: Layout, now: i64, amount: u64, gate: Gate) -> Result<State, State> {
        let (before, after) =
            transition(&self.word, layout, now, |state| rule::admit(layout, state, now, amount, gate))?;
        if after.window != before.window {
            self.hand_over(before, after.window);
        }
        Ok(after)
    }

    /// Settles a hold of `held` that window `window` admitted at `actual`.
    pub(crate) fn settle(&self, window: i64, held: u64, actual: u64) -> Settled {
        let layout = self.layout;
        let settled =
            transition(&self.word, layout, window, |state| rule::settle(layout, state, window, held, actual).ok_or(()));
        if let Ok((_, after)) = settled {
            return Settled::Current { charged: after.amount };
        }
        if actual >= held {
            change(&self.ended, layout, window, |state| rule::accumulate(layout, state, window, actual - held));
        } else {
            self.give_back_late(window, held - actual);
        }
        Settled::Late { charged: self.ended_in(window) }
    }

    /// Takes `amount` from what a window that has ended has charged; notes it in `returned` when the hand-over has yet to come.
    fn give_back_late(&self, window: i64, amount: u64) {
        let layout = self.layout;
        let taken = transition(&self.ended, layout, window, |state| match state.window.cmp(&window) {
            std::cmp::Ordering::Equal if state.amount >= amount => Ok(rule::deduct(layout, state, window, amount)),
            std::cmp::Ordering::Greater => Ok(state),
            _ => Err(()),
        });
        if taken.is_err() {
            change(&self.returned, layout, window, |state| rule::accumulate(layout, state, window, amount));
        }
    }

    /// Takes back a charge that is not to be: like settling it at 0, and counted for those who look for traces of it.
    pub(crate) fn undo(&self, window: i64, amount: u64) {
        self.settle(window, amount, 0);
        // Pairs with the Acquire load in `undone`: who sees this count sees the amount gone.
        self.undone.fetch_add(1, Ordering::Release);
    }

    /// Says that charges of this budget may be undone from now on. Before the first such charge.
    pub(crate) fn join(&self) {
        self.joined.store(1, Ordering::Release);
    }

    /// Whether charges of this budget may be undone. Who has seen such a charge (Acquire, in `peek`) sees the mark set before it.
    pub(crate) fn is_joined(&self) -> bool {
        self.joined.load(Ordering::Acquire) != 0
    }

    /// How many charges have been undone so far.
    pub(crate) fn undone(&self) -> u32 {
        self.undone.load(Ordering::Acquire)
    }

    /// Counts `amount` as held in `window`, for reports.
    pub(crate) fn hold(&self, window: i64, amount: u64) {
        change(&self.held, self.layout, window, |state| rule::accumulate(self.layout, state, window, amount));
    }

    /// Counts `amount` as no longer held in `window`.
    pub(crate) fn unhold(&self, window: i64, amount: u64) {
        change(&self.held, self.layout, window, |state| rule::deduct(self.layout, state, window, amount));
    }

    /// What is held in `window`.
    pub(crate) fn held(&self, window: i64) -> u64 {
        let held = self.layout.unpack(self.held.load(Ordering::Acquire), window);
        if held.window == window { held.amount } else { 0 }
    }

    /// What is charged in `window`: the current one, the last one that ended with something charged, any between (nothing), or one
    /// that has not come yet (nothing). `None` for windows before, which are forgotten.
    pub(crate) fn charged_in(&self, window: i64) -> Option<u64> {
        let state = self.state(window);
        match state.window.cmp(&window) {
            std::cmp::Ordering::Equal => Some(state.amount),
            std::cmp::Ordering::Less => Some(0),
            std::cmp::Ordering::Greater => self.ended_in(window),
        }
    }

    /// Whether a new budget made in window `now` could stand in for it, and nobody could tell, as long as nobody else has it: nothing is charged,
    /// held or told in the current window or in the one before it. What is remembered of windows before those is forgotten with it.
    pub(crate) fn is_fresh(&self, now: i64) -> bool {
        let [even, odd] = &self.announced;
        [&self.word, &self.held, &self.ended, &self.returned, even, odd].into_iter().all(|word| {
            let state = self.layout.unpack(word.load(Ordering::Acquire), now);
            state.amount == 0 || state.window < now.saturating_sub(1)
        })
    }

    /// The newest window in which something is charged, of those that are remembered, after the one since which there was no gap.
    pub(crate) fn charged_last(&self, now: i64) -> Option<(i64, i64)> {
        let state = |word: &AtomicU64| self.layout.unpack(word.load(Ordering::Acquire), now);
        let charged = [&self.word, &self.ended].map(state).into_iter().filter(|state| state.amount > 0);
        let window = charged.map(|state| state.window).max()?;
        Some((state(&self.landed).window.min(window), window))
    }

    /// Notes that `milestones` of `window` are told, and returns those of them that nobody had told: of all who reach a milestone one is told
    /// to tell it. Two windows are remembered; one before them has nothing to tell any more.
    pub(crate) fn announce(&self, window: i64, milestones: u64) -> u64 {
        let word = &self.announced[window.rem_euclid(2) as usize];
        let told = transition(word, self.layout, window, |state| match state.window.cmp(&window) {
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

    /// The milestones that were told in `window`.
    fn announced_in(&self, window: i64) -> u64 {
        let word = &self.announced[window.rem_euclid(2) as usize];
        let told = self.layout.unpack(word.load(Ordering::Acquire), window);
        if told.window == window { told.amount } else { 0 }
    }

    /// Renumbers the current window when it is still `seen` and was opened by a clock that had jumped ahead and has come back to `now`.
    /// Returns the number that it has then.
    ///
    /// The clock had jumped if `now` lies before the window that was landed in, further than the clock has run on since: between `left` and
    /// `landed` nothing was ever granted. The count moves to the first window after `now` that was not granted before; what was held counts
    /// as used. A clock that is set back within windows that followed each other renumbers nothing: they have all been granted.
    ///
    /// `now` must have been read after `seen` was loaded: then no delay of this thread can make a window that others opened in good
    /// order look as if it lay ahead.
    pub(crate) fn come_back(&self, seen: State, now: i64) -> i64 {
        let number = |word: &AtomicU64| self.layout.unpack(word.load(Ordering::Acquire), seen.window).window;
        // In this order: a gap is written down from its near side to its far side.
        let (landed, left) = (number(&self.landed), number(&self.left));
        let next = left.max(now).saturating_add(1);
        let has_jumped = landed.saturating_sub(now) > seen.window.saturating_sub(landed);
        if !has_jumped || seen.window <= next {
            return seen.window;
        }
        let renumbered = State { window: next, ..seen };
        change(&self.word, self.layout, seen.window, |state| if state == seen { renumbered } else { state });
        change(&self.held, self.layout, seen.window, |held| {
            if held.window > next { State { window: next, amount: 0 } } else { held }
        });
        let told = self.announced_in(seen.window);
        for word in &self.announced {
            let before = State { window: next.saturating_sub(1), amount: 0 };
            change(word, self.layout, seen.window, |told| if told.window > next { before } else { told });
        }
        self.announce(next, told);
        change(&self.landed, self.layout, seen.window, |landed| State { window: landed.window.min(next), ..landed });
        next
    }

    /// What is written down when window `opened` has replaced another one.
    #[cold]
    fn hand_over(&self, State { window, amount }: State, opened: i64) {
        let layout = self.layout;
        if amount > 0 {
            change(&self.ended, layout, window, |state| rule::accumulate(layout, state, window, amount));
        }
        if opened > window.saturating_add(1) && !self.was_made_in(window, amount) {
            for (word, window) in [(&self.left, window), (&self.landed, opened)] {
                change(word, layout, opened, |state| State { window: state.window.max(window), ..state });
            }
        }
    }

    /// Whether it was made in window `window`, not charged since, and told where the last gap is: see [`Meter::after`].
    fn was_made_in(&self, window: i64, amount: u64) -> bool {
        let number = |word: &AtomicU64| self.layout.unpack(word.load(Ordering::Acquire), window).window;
        amount == 0 && number(&self.ended) == window && number(&self.landed) != window
    }

    fn ended_in(&self, window: i64) -> Option<u64> {
        let ended = self.layout.unpack(self.ended.load(Ordering::Acquire), window);
        let returned = self.layout.unpack(self.returned.load(Ordering::Acquire), window);
        let returned = if returned.window == window { returned.amount } else { 0 };
        match ended.window.cmp(&window) {
            // A saturated count stays, as everywhere.
            std::cmp::Ordering::Equal if ended.amount == self.layout.saturated() => Some(ended.amount),
            std::cmp::Ordering::Equal => Some(ended.amount.saturating_sub(returned)),
            std::cmp::Ordering::Less => Some(0),
            std::cmp::Ordering::Greater => None,
        }
    }
}

/// How many windows pass in so many years, at most; none of a lifetime.
fn in_years(window: &Window, years: i64) -> i64 {
    window.shortest_micros().map_or(0, |shortest| (years * MICROS_PER_YEAR / shortest).max(1))
}

/// A transition that cannot be refused.
fn change(word: &AtomicU64, layout: Layout, near: i64, mut decide: impl FnMut(State) -> State) {
    let _: Result<_, std::convert::Infallible> = transition(word, layout, near, |state| Ok(decide(state)));
}

/// The crate's only compare-and-swap loop: decides on what is there, and swaps in the decision if that still is.
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
    let mut current = word.load(Ordering::Acquire);
    loop {
        let before = layout.unpack(current, near);
        let after = decide(before)?;
        let next = layout.pack(after);
        if next == current {
            return Ok((before, after));
        }
        // Acquire: what earlier writers of the word did is seen. Release: pairs with the loads of this word, here and in `peek`.
        match word.compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok((before, after)),
            Err(seen) => {
                current = seen;
                spin_loop();
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;

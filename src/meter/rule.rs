//! What an operation does to a state: pure functions, `state × operation × now → state or refusal`.
//!
//! They decide on one unpacked word and are safe to call again with another: the loop in [`super`] does so when it loses a race.

use super::word::{Layout, State};

/// What an admission may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Admits while the count stays within this.
    Max(u64),
    /// Counts and never refuses; the count saturates.
    Open,
}

/// The state that an operation in window `now` sees: a later window starts fresh, an older time uses the later window.
#[inline]
pub(crate) const fn effective(state: State, now: i64) -> State {
    // Nearly always the windows are the same: asked for first, it is the only question.
    if now == state.window {
        State { window: now, amount: state.amount }
    } else if now > state.window {
        State { window: now, amount: 0 }
    } else {
        state
    }
}

/// Whether `amount` fits. An amount of 0 asks whether anything is left.
#[inline]
pub(crate) const fn fits(state: State, amount: u64, gate: Gate) -> bool {
    match gate {
        Gate::Open => true,
        Gate::Max(max) if amount == 0 => state.amount < max,
        // A saturated count is above every max that a limit can have.
        Gate::Max(max) => state.amount <= max && amount <= max - state.amount,
    }
}

/// Charges `amount` in window `now`. An amount of 0 passes while anything is left, and opens the window.
///
/// # Errors
/// The state that left no room.
#[inline]
pub(crate) fn admit(layout: Layout, state: State, now: i64, amount: u64, gate: Gate) -> Result<State, State> {
    let state = effective(state, now);
    match gate {
        Gate::Open => Ok(State { amount: add(layout, state.amount, amount), ..state }),
        // Within the max the sum is within the field.
        Gate::Max(_) if fits(state, amount, gate) => Ok(State { amount: state.amount + amount, ..state }),
        Gate::Max(_) => Err(state),
    }
}

/// Settles a hold of `held` in window `window` at `actual`; `None` when that window has ended.
///
/// A hold whose window lies ahead of the state's was made before a jumped clock came back and its window was renumbered: it can still
/// add to the count, but gives nothing back.
#[inline]
pub(crate) fn settle(layout: Layout, state: State, window: i64, held: u64, actual: u64) -> Option<State> {
    let amount = match (state.window.cmp(&window), actual.checked_sub(held)) {
        (std::cmp::Ordering::Greater, _) => return None,
        (_, Some(more)) => add(layout, state.amount, more),
        (std::cmp::Ordering::Less, None) => state.amount,
        (std::cmp::Ordering::Equal, None) => subtract(layout, state.amount, held - actual),
    };
    Some(State { amount, ..state })
}

/// How much a reset takes from what is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgive {
    All,
    UpTo(u64),
}

/// Takes back what is charged in window `window`, never what is `held` there. A window that has nothing charged stays as it is; `None` when
/// the state is of a later one.
pub(crate) fn forgive(layout: Layout, state: State, window: i64, much: Forgive, held: u64) -> Option<State> {
    let left = match (state.window.cmp(&window), much) {
        (std::cmp::Ordering::Greater, _) => return None,
        (std::cmp::Ordering::Less, _) => return Some(state),
        (std::cmp::Ordering::Equal, Forgive::All) => 0,
        (std::cmp::Ordering::Equal, Forgive::UpTo(most)) => subtract(layout, state.amount, most),
    };
    Some(State { amount: left.max(held.min(state.amount)), ..state })
}

/// Adds to the count of one window in a word of counts that only looks forward: a newer window starts at `amount`, an older one is
/// forgotten.
pub(crate) fn accumulate(layout: Layout, state: State, window: i64, amount: u64) -> State {
    match state.window.cmp(&window) {
        std::cmp::Ordering::Less => State { window, amount: add(layout, 0, amount) },
        std::cmp::Ordering::Equal => State { window, amount: add(layout, state.amount, amount) },
        std::cmp::Ordering::Greater => state,
    }
}

/// Takes from the count of one window; another window's is left alone.
pub(crate) fn deduct(layout: Layout, state: State, window: i64, amount: u64) -> State {
    if state.window == window { State { window, amount: subtract(layout, state.amount, amount) } } else { state }
}

/// Saturating in the field: its top value says that the count is not known any more.
#[inline]
pub(super) fn add(layout: Layout, count: u64, amount: u64) -> u64 {
    let sum = count.saturating_add(amount);
    if sum > layout.saturated() { layout.saturated() } else { sum }
}

/// A saturated count stays: what it was before is not known, and guessing would give money back that was spent.
pub(super) fn subtract(layout: Layout, count: u64, amount: u64) -> u64 {
    if count == layout.saturated() { count } else { count.saturating_sub(amount) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Window;

    fn layout() -> Layout {
        Layout::of(&Window::Day)
    }

    #[test]
    fn small_domains_exhaustively() {
        for window in 0..3 {
            for amount in 0..6 {
                let state = State { window, amount };
                for now in 0..3 {
                    for asked in 1..7 {
                        for max in 0..6 {
                            let used = if now > window { 0 } else { amount };
                            let after = admit(layout(), state, now, asked, Gate::Max(max));
                            let expected = State { window: window.max(now), amount: used + asked };
                            assert_eq!(after.is_ok(), used + asked <= max, "{state:?} {now} {asked} {max}");
                            assert!(after.is_err() || after == Ok(expected));
                            assert_eq!(admit(layout(), state, now, asked, Gate::Open), Ok(expected));
                        }
                    }
                }
                for (held, actual) in (0..=amount).flat_map(|held| (0..6).map(move |actual| (held, actual))) {
                    let in_window = |w| settle(layout(), state, w, held, actual);
                    assert_eq!(in_window(window), Some(State { window, amount: amount - held + actual }));
                    assert_eq!(in_window(window - 1), None);
                    let ahead = State { window, amount: amount + actual.saturating_sub(held) };
                    assert_eq!(in_window(window + 1), Some(ahead));
                }
            }
        }
    }

    #[test]
    fn a_saturated_count_stays_until_its_window_ends_and_admits_nothing_hard() {
        let full = State { window: 1, amount: layout().saturated() };
        let near = State { window: 1, amount: 10 };
        assert_eq!(admit(layout(), near, 1, u64::MAX, Gate::Open), Ok(full));
        assert_eq!(admit(layout(), full, 1, 1, Gate::Open), Ok(full));
        assert_eq!(admit(layout(), full, 1, 1, Gate::Max(layout().saturated() - 1)), Err(full));
        assert_eq!(settle(layout(), full, 1, 5, 0), Some(full));
        assert_eq!(admit(layout(), full, 2, 1, Gate::Max(1)), Ok(State { window: 2, amount: 1 }));
    }

    #[test]
    fn a_reset_takes_what_is_used_and_never_what_is_held() {
        let after = |amount, much, held| {
            forgive(layout(), State { window: 5, amount }, 5, much, held).map(|State { window: _, amount }| amount)
        };
        for amount in 0..6 {
            for held in 0..=amount {
                assert_eq!(after(amount, Forgive::All, held), Some(held), "{amount} {held}");
                for most in 0..8 {
                    let lowered = amount.saturating_sub(most).max(held);
                    assert_eq!(after(amount, Forgive::UpTo(most), held), Some(lowered), "{amount} {most} {held}");
                }
            }
        }
        let full = layout().saturated();
        assert_eq!(after(full, Forgive::UpTo(7), 3), Some(full), "what it was is not known");
        assert_eq!(after(full, Forgive::All, 3), Some(3));
        let state = State { window: 5, amount: 4 };
        assert_eq!(forgive(layout(), state, 6, Forgive::All, 0), Some(state), "an unused window stays so");
        assert_eq!(forgive(layout(), state, 4, Forgive::All, 0), None, "a window that has ended");
    }

    #[test]
    fn amounts_near_the_integers_end_are_refused_not_wrapped() {
        let state = State { window: 0, amount: 10 };
        assert_eq!(admit(layout(), state, 0, u64::MAX, Gate::Max(100)), Err(state));
        assert!(fits(state, 90, Gate::Max(100)) && !fits(state, 91, Gate::Max(100)));
        assert!(!fits(state, 1, Gate::Max(9)), "charged above a lowered max leaves no room");
        assert!(fits(state, 0, Gate::Max(11)) && !fits(state, 0, Gate::Max(10)));
    }
}

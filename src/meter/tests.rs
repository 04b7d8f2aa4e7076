use super::*;

fn meter() -> Meter {
    Meter::in_window(&Window::Day, 10)
}

#[test]
fn a_late_settlement_changes_its_own_window_only() {
    let meter = meter();
    assert_eq!(meter.admit(10, 30, Gate::Max(100)).unwrap().amount, 30);
    meter.admit(11, 5, Gate::Max(100)).unwrap();
    assert_eq!(meter.settle(10, 30, 42), Settled::Late { charged: Some(42) });
    assert_eq!(meter.settle(10, 20, 0), Settled::Late { charged: Some(22) });
    assert_eq!((meter.charged_in(10), meter.charged_in(11), meter.charged_in(12)), (Some(22), Some(5), Some(0)));
}

#[test]
fn a_settlement_before_the_hand_over_is_not_lost() {
    let meter = meter();
    meter.admit(10, 30, Gate::Open).unwrap();
    // The state between the swap of a rollover and its hand-over.
    let before = meter.state(10);
    meter.word.store(meter.layout().pack(State { window: 11, amount: 1 }), Ordering::Release);
    meter.settle(10, 30, 20);
    meter.settle(10, 0, 5);
    meter.hand_over(before, 11);
    assert_eq!(meter.charged_in(10), Some(25));
}

#[test]
fn windows_before_the_last_are_forgotten_and_gaps_are_empty() {
    let meter = meter();
    for window in [10, 12, 15] {
        meter.admit(window, 7, Gate::Open).unwrap();
    }
    let charged = |window| meter.charged_in(window);
    assert_eq!(
        [charged(9), charged(10), charged(12), charged(13), charged(15)],
        [None, None, Some(7), Some(0), Some(7)]
    );
    assert_eq!(meter.settle(10, 7, 9), Settled::Late { charged: None });
    assert_eq!([charged(12), charged(15)], [Some(7), Some(7)]);
}

#[test]
fn a_window_that_a_jumped_clock_opened_is_renumbered_and_keeps_its_count() {
    let meter = meter();
    meter.admit(10, 5, Gate::Max(100)).unwrap();
    meter.admit(5_000, 60, Gate::Max(100)).unwrap();
    meter.hold(5_000, 60);
    assert_eq!(meter.come_back(meter.state(10), 10), 11);
    assert_eq!(meter.state(10), State { window: 11, amount: 60 });
    assert_eq!(meter.held(11, Timestamp::UNIX_EPOCH), 0);
    assert_eq!(meter.settle(5_000, 60, 0), Settled::Current { charged: 60 }, "nothing is given back");
    assert_eq!(meter.settle(5_000, 60, 70), Settled::Current { charged: 70 }, "what was spent is counted");
    assert!(meter.admit(12, 100, Gate::Max(100)).is_ok(), "the window after it starts fresh");
}

#[test]
fn a_clock_that_was_ahead_for_several_windows_is_recognised_all_the_same() {
    let meter = meter();
    for window in [10, 5_000, 5_001, 5_002] {
        meter.admit(window, 10, Gate::Max(10)).unwrap();
    }
    assert_eq!(meter.come_back(meter.state(10), 10), 11);
    assert_eq!(meter.come_back(meter.state(11), 11), 11);
    meter.admit(12, 10, Gate::Max(10)).unwrap();
    assert_eq!(meter.come_back(meter.state(11), 11), 12, "from here on windows follow each other again");
}

/// Found by comparing replays of traces that go back in time with an independent computation: windows that had been used up in good order
/// were granted a second time.
#[test]
fn a_gap_after_a_window_that_was_given_up_and_entered_again_is_one() {
    let meter = meter();
    let max = Gate::Max(100);
    for window in [10, 11] {
        meter.admit(window, 1, max).unwrap();
    }
    assert_eq!(meter.come_back(meter.state(8), 8), 9, "10, in which something was charged, is given up");
    meter.admit(10, 0, max).unwrap();
    meter.admit(12, 1, max).unwrap();
    assert_eq!(meter.come_back(meter.state(9), 9), 11, "the clock jumped over 11");
}

#[test]
fn a_clock_that_is_set_back_within_windows_that_were_granted_grants_nothing_again() {
    let meter = meter();
    for window in 10..15 {
        meter.admit(window, 10, Gate::Max(10)).unwrap();
    }
    for now in 10..14 {
        assert_eq!(meter.come_back(meter.state(now), now), 14, "set back to {now}");
        assert!(meter.admit(now, 1, Gate::Max(10)).is_err());
    }
    assert!(meter.admit(15, 10, Gate::Max(10)).is_ok());
    // To before the first of them, by less than they last.
    assert_eq!(meter.come_back(meter.state(8), 8), 15);
    assert!(meter.admit(8, 1, Gate::Max(10)).is_err());
    // Ahead, and back to before what was used before the jump.
    meter.admit(500, 1, Gate::Max(10)).unwrap();
    assert_eq!(meter.come_back(meter.state(12), 12), 16);
}

#[test]
fn a_window_one_ahead_or_changed_meanwhile_is_not_renumbered() {
    let meter = meter();
    meter.admit(11, 1, Gate::Open).unwrap();
    meter.come_back(meter.state(10), 10);
    assert_eq!(meter.state(10).window, 11);
    let seen = State { window: 20, amount: 1 };
    meter.admit(20, 2, Gate::Open).unwrap();
    meter.come_back(seen, 10);
    assert_eq!(meter.state(10), State { window: 20, amount: 2 });
}

#[test]
fn nothing_is_renumbered_while_what_is_held_may_change() {
    let meter = meter();
    let now = Timestamp::from_seconds(10 * 86_400);
    meter.admit(10, 5, Gate::Max(100)).unwrap();
    let refused = meter.admit(5_000, 60, Gate::Max(100)).unwrap();
    meter.hold(5_000, 60);
    assert_eq!(meter.return_to(&Slice::new(Window::Day), refused, now, || now, || None::<()>), 5_000);
    assert_eq!((meter.state(10), meter.held(5_000, now)), (refused, 60));
    assert_eq!(meter.return_to(&Slice::new(Window::Day), refused, now, || now, || Some(())), 11);
}

/// A clock that stands at 1970 until it is set, as on machines without a battery, must not leave budgets in the far future.
#[test]
fn a_budget_made_at_the_epoch_starts_fresh_today() {
    for window in ["1s", "minute", "15m", "hour", "5h", "day", "week", "month", "year", "lifetime"] {
        let window: Window = window.parse().unwrap();
        let meter = Meter::new(&window, Timestamp::UNIX_EPOCH);
        let today = window.index("2026-11-22T02:00:00Z".parse().unwrap());
        assert_eq!(meter.admit(today, 6, Gate::Max(10)).map(|state| state.window), Ok(today), "{window}");
        if window != Window::Lifetime {
            assert_eq!(meter.admit(today + 1, 6, Gate::Max(10)).map(|state| state.window), Ok(today + 1), "{window}");
        }
    }
}

#[test]
fn a_reset_leaves_holds_and_later_windows_alone() {
    let meter = meter();
    meter.admit(10, 70, Gate::Max(100)).unwrap();
    meter.admit(10, 20, Gate::Max(100)).unwrap();
    meter.hold(10, 20);
    assert_eq!(meter.reset(10, Forgive::All, 1), Some((90, 20)));
    assert_eq!(meter.reset(10, Forgive::All, 2), Some((20, 20)), "nothing is left to take");
    meter.settle(10, 20, 25);
    assert_eq!(meter.peek(10).amount, 25);
    assert_eq!(meter.reset(11, Forgive::All, 3), Some((0, 0)), "an unused window");
    meter.admit(12, 5, Gate::Open).unwrap();
    assert_eq!((meter.reset(10, Forgive::All, 4), meter.peek(12).amount), (None, 5));
}

#[test]
fn what_a_reset_took_is_not_given_back_again() {
    let meter = meter();
    meter.admit(10, 60, Gate::Open).unwrap();
    meter.reset(10, Forgive::UpTo(50), 1).unwrap();
    meter.admit(10, 40, Gate::Open).unwrap();
    // Charged before the reset, 60 in all: 50 of it are gone.
    meter.adjust(10, 45, 0, 0);
    assert_eq!(meter.peek(10).amount, 50);
    meter.adjust(10, 15, 0, 0);
    assert_eq!(meter.peek(10).amount, 40);
    // Charged after it.
    meter.adjust(10, 30, 0, 1);
    assert_eq!(meter.peek(10).amount, 10);
}

#[test]
fn a_saturated_count_stays_after_its_window_has_ended() {
    let meter = meter();
    meter.admit(10, u64::MAX, Gate::Open).unwrap();
    meter.admit(11, 1, Gate::Open).unwrap();
    let top = meter.layout().saturated();
    assert_eq!(meter.settle(10, 1 << 40, 0), Settled::Late { charged: Some(top) });
    assert_eq!(meter.charged_in(10), Some(top));
}

#[test]
fn a_milestone_is_told_once_in_each_window_and_moves_with_a_renumbered_one() {
    let meter = meter();
    assert_eq!([meter.announce(10, 0b01), meter.announce(10, 0b11), meter.announce(10, 0b11)], [0b01, 0b10, 0]);
    assert_eq!([meter.announce(11, 0b11), meter.announce(10, 0b111)], [0b11, 0b100], "late, and not lost");
    assert_eq!([meter.announce(12, 0b1), meter.announce(10, 0b1000)], [0b1, 0], "too late");
    meter.admit(11, 1, Gate::Open).unwrap();
    meter.admit(5_000, 60, Gate::Open).unwrap();
    assert_eq!(meter.announce(5_000, 0b01), 0b01);
    assert_eq!(meter.come_back(meter.state(11), 11), 12);
    assert_eq!([meter.announce(12, 0b11), meter.announce(13, 0b11)], [0b10, 0b11], "5000 was renumbered to 12");
}

#[cfg(feature = "persist")]
#[test]
fn a_hold_that_is_open_again_is_charged_even_if_a_reset_took_it() {
    for (restored, charged) in [(100, 100), (30, 41)] {
        let meter = Meter::in_window(&Window::Lifetime, 0);
        let image =
            Image { window: 0, charged: restored, told: 0, ended: None, reset: None, course: ImageCourse::Clock };
        meter.restore(&image);
        meter.hold_again(0, 40);
        meter.hold_again(0, 1);
        assert_eq!(meter.state(0).amount, charged);
    }
}

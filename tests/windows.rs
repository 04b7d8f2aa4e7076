//! Rolling windows and windows from first use, through the public interface.

use std::sync::Mutex;
use std::time::Duration;

use encumber::{
    Cap, ChargeError, Engine, Events, Limit, ManualClock, Policy, Resource, Retry, Scope, Timestamp, Unit, Window,
};

struct Rig {
    clock: ManualClock,
    scope: Scope,
    tokens: Resource,
}

fn rig(windows: &[&str], max: u64) -> Rig {
    let mut policy = Policy::builder().resource("tokens", Unit::Count);
    for window in windows {
        policy = policy.limit(Limit::new(
            &window.replace(' ', "-"),
            "user",
            "tokens",
            window.parse().unwrap(),
            Cap::Max(max),
        ));
    }
    let clock = ManualClock::at(at("2026-02-04T10:00:00Z"));
    let engine = Engine::builder(policy.build().unwrap()).clock(&clock).build();
    let (scope, tokens) = (engine.scope(["user:7"]).unwrap(), engine.resource("tokens").unwrap());
    Rig { clock, scope, tokens }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl Rig {
    fn charge(&self, amount: u64) -> bool {
        self.scope.try_charge(self.tokens.of(amount)).is_ok()
    }

    fn refused(&self, amount: u64) -> Retry {
        match self.scope.try_charge(self.tokens.of(amount)) {
            Err(ChargeError::Refused(refusal)) => refusal.retry(),
            other => panic!("{other:?}"),
        }
    }

    fn used_and_held(&self) -> (u64, u64) {
        let usage = self.scope.usage().unwrap();
        (usage[0].used, usage[0].held)
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

#[test]
fn a_rolling_window_lets_each_charge_leave_in_its_own_time() {
    let rig = rig(&["rolling 5h"], 100);
    assert!(rig.charge(60));
    rig.pass(2 * 3_600);
    assert!(rig.charge(40));
    // 10:00 + 5 hours, and the sub-interval of five minutes that may be too much.
    assert_eq!(rig.refused(60), Retry::At(at("2026-02-04T15:05:00Z")));
    assert_eq!(rig.refused(100), Retry::At(at("2026-02-04T17:05:00Z")));
    assert_eq!(rig.refused(101), Retry::Never);
    let usage = rig.scope.usage().unwrap();
    assert_eq!(usage[0].resets_at(), Some(at("2026-02-04T17:05:00Z")));
    rig.clock.set(at("2026-02-04T15:04:59Z"));
    assert!(!rig.charge(1));
    rig.pass(1);
    assert!(rig.charge(60) && !rig.charge(1));
    assert_eq!(rig.used_and_held(), (100, 0));
}

#[test]
fn holds_in_a_rolling_window_are_settled_where_they_were_made() {
    let rig = rig(&["rolling 5h"], 100);
    let (early, late) = (rig.scope.reserve(rig.tokens.of(50)).unwrap(), rig.scope.reserve(rig.tokens.of(30)).unwrap());
    assert_eq!(rig.used_and_held(), (0, 80));
    rig.pass(3_600);
    early.commit(rig.tokens.of(20)).unwrap();
    assert_eq!(rig.used_and_held(), (20, 30));
    rig.pass(4 * 3_600 + 300);
    assert_eq!(rig.used_and_held(), (0, 0), "both have left, the open hold too");
    assert!(rig.charge(100));
    assert!(late.commit(rig.tokens.of(99)).unwrap().is_late());
    assert_eq!(rig.used_and_held(), (100, 0), "it changes nothing that counts now");
}

#[test]
fn a_commit_above_its_hold_is_charged_in_full_and_reported_in_a_rolling_window() {
    let rig = rig(&["rolling 1h"], 100);
    let hold = rig.scope.reserve(rig.tokens.of(50)).unwrap();
    let receipt = hold.commit(rig.tokens.of(130)).unwrap();
    assert_eq!(receipt.overages()[0].above, 30);
    assert_eq!(rig.used_and_held(), (130, 0));
    assert!(!rig.charge(1));
}

#[test]
fn a_window_from_first_use_begins_with_the_first_charge_after_the_last_one_ended() {
    let rig = rig(&["5h from first use"], 100);
    assert_eq!(rig.scope.usage().unwrap()[0].resets_at(), None, "it has not begun");
    assert_eq!(rig.refused(101), Retry::Never);
    rig.pass(7);
    assert!(rig.charge(100));
    assert_eq!(rig.refused(1), Retry::At(at("2026-02-04T15:00:07Z")), "the refusal before began nothing");
    let hold_to_the_end = rig.scope.usage().unwrap()[0].bounds.unwrap();
    assert_eq!(hold_to_the_end.start, at("2026-02-04T10:00:07Z"));
    rig.clock.set(at("2026-02-04T15:00:07Z"));
    assert_eq!(rig.scope.usage().unwrap()[0].resets_at(), None, "it has ended, and none has begun");
    rig.clock.set(at("2026-02-05T09:30:00Z"));
    assert!(rig.charge(60));
    assert_eq!(rig.refused(41), Retry::At(at("2026-02-05T14:30:00Z")));
}

#[test]
fn a_hold_in_a_window_from_first_use_stays_there() {
    let rig = rig(&["1h from first use"], 100);
    let hold = rig.scope.reserve(rig.tokens.of(80)).unwrap();
    rig.pass(3_600);
    assert!(rig.charge(50));
    assert!(hold.commit(rig.tokens.of(10)).unwrap().is_late());
    assert_eq!(rig.used_and_held(), (50, 0));
    let second = rig.scope.reserve(rig.tokens.of(50)).unwrap();
    assert_eq!(rig.used_and_held(), (50, 50));
    second.release().unwrap();
    assert_eq!(rig.used_and_held(), (50, 0));
    assert_eq!(rig.scope.usage_at(rig.clock.now()).unwrap()[0].as_ref().map(|usage| usage.used), Some(50));
    assert_eq!(rig.scope.usage_at(at("2026-02-04T10:10:00Z")).unwrap()[0], None, "where it began is forgotten");
}

/// A clock that jumped ahead and came back locks nobody out for longer than one window, and grants nothing again.
#[test]
fn clocks_that_jumped_ahead_and_came_back() {
    for window in ["rolling 5h", "5h from first use"] {
        let rig = rig(&[window], 100);
        let today = rig.clock.now();
        rig.clock.set(at("2031-01-01T00:00:00Z"));
        assert!(rig.charge(100), "{window}");
        rig.clock.set(today);
        assert!(!rig.charge(1), "{window}: not granted again");
        rig.pass(5 * 3_600 + 600);
        assert!(rig.charge(100), "{window}: locked out for longer than one window");
    }
}

#[test]
fn several_windows_on_one_resource_are_charged_together_or_not_at_all() {
    let rig = rig(&["rolling 1h", "1h from first use", "day", "lifetime"], 100);
    assert!(rig.charge(70));
    assert!(!rig.charge(31));
    let charged = || rig.scope.usage().unwrap().iter().map(encumber::BudgetUsage::charged).collect::<Vec<_>>();
    assert_eq!(charged(), [70; 4]);
    rig.pass(3_600 + 60);
    assert_eq!(charged(), [0, 0, 70, 70]);
    assert!(!rig.charge(31), "the day has no room");
    assert_eq!(charged(), [0, 0, 70, 70]);
    assert!(rig.charge(30));
    assert_eq!(charged(), [30, 30, 100, 100]);
}

/// Waiting until the retry time, with no other traffic, succeeds (contract §14.9).
#[test]
fn whoever_waits_as_long_as_told_is_admitted() {
    for window in ["rolling 5h", "rolling 1m", "5h from first use", "day", "90m"] {
        let rig = rig(&[window], 1_000);
        let mut seed = 20_260_204_u64;
        for round in 0..500 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let amount = 1 + (seed >> 33) % 600;
            match rig.scope.try_charge(rig.tokens.of(amount)) {
                Ok(_) => rig.pass(seed % 700),
                Err(ChargeError::Refused(refusal)) => {
                    let Retry::At(then) = refusal.retry() else { panic!("{window} {round}: {refusal:?}") };
                    let just_before = Timestamp::from_micros(then.as_micros() - 1);
                    if just_before > rig.clock.now() {
                        rig.clock.set(just_before);
                        assert!(!rig.charge(amount), "{window} round {round}: admitted before its time");
                    }
                    rig.clock.set(then);
                    assert!(rig.charge(amount), "{window} round {round}: refused at its time");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Threads charge, hold and release while the clock runs: what was charged for certain within any hour is at most the max.
#[test]
fn no_interval_of_a_rolling_windows_length_ever_holds_more_than_its_max() {
    const MAX: u64 = 100;
    let rig = rig(&["rolling 1h"], MAX);
    let done = Mutex::new(Vec::<(Timestamp, Timestamp, u64)>::new());
    std::thread::scope(|threads| {
        let workers: Vec<_> = (0..3_u64)
            .map(|thread| {
                let (rig, done) = (&rig, &done);
                threads.spawn(move || {
                    let mut mine = Vec::new();
                    for round in 0..4_000 {
                        let amount = 1 + (round * 7 + thread * 3) % 9;
                        let before = rig.clock.now();
                        match rig.scope.reserve(rig.tokens.of(amount)) {
                            Ok(hold) if round % 3 == 0 => hold.release().unwrap(),
                            Ok(hold) => {
                                mine.push((before, rig.clock.now(), amount));
                                hold.commit(rig.tokens.of(amount)).unwrap();
                            }
                            Err(_) => std::thread::yield_now(),
                        }
                    }
                    done.lock().unwrap().extend(mine);
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            rig.pass(7);
            std::thread::yield_now();
        }
    });
    let done = done.into_inner().unwrap();
    assert!(done.len() > 50, "only {} were admitted", done.len());
    for &(start, ..) in &done {
        let end = start.saturating_add(Duration::from_secs(3_600));
        let within = done.iter().filter(|(before, after, _)| *before >= start && *after < end);
        let sum: u64 = within.map(|(_, _, amount)| amount).sum();
        assert!(sum <= MAX, "{sum} within the hour from {start}");
    }
    rig.pass(2 * 3_600);
    assert_eq!(rig.used_and_held(), (0, 0));
}

#[test]
fn the_largest_caps_and_what_is_above_them() {
    for (window, bits) in [("rolling 1m", 38), ("rolling 5h", 46), ("5h from first use", 48), ("1s from first use", 48)]
    {
        let window: Window = window.parse().unwrap();
        assert_eq!(window.cap_max(), (1 << bits) - 2, "{window}");
        let rig = rig(&[&window.to_string()], window.cap_max());
        assert!(rig.charge(window.cap_max()), "{window}");
        assert!(!rig.charge(1), "{window}");
    }
}

/// A rolling window has no end: what it came to is told once in each span of its length.
#[test]
fn a_warning_is_told_once_per_window_whatever_the_window() {
    for window in ["rolling 5h", "5h from first use", "5h", "lifetime"] {
        let limit = Limit::new("user", "user", "tokens", window.parse().unwrap(), Cap::Max(100)).warn_percent([80]);
        let policy = Policy::builder().resource("tokens", Unit::Count).limit(limit).build().unwrap();
        let clock = ManualClock::at(at("2026-02-04T10:00:00Z"));
        let events = Events::bounded(64);
        let engine = Engine::builder(policy).clock(&clock).events(&events).build();
        let (scope, tokens) = (engine.scope(["user:7"]).unwrap(), engine.resource("tokens").unwrap());
        let told = || {
            let hold = scope.reserve(tokens.of(85)).unwrap();
            hold.commit(tokens.of(70)).unwrap();
            let hold = scope.reserve(tokens.of(20)).unwrap();
            hold.release().unwrap();
            events.drain().map(|event| event.kind.name()).collect::<Vec<_>>()
        };
        assert_eq!(told(), ["warning"], "{window}: crossed twice");
        if window != "lifetime" {
            clock.advance(Duration::from_secs(11 * 3_600));
            assert_eq!(told(), ["warning"], "{window}: the next one");
        }
    }
}

//! What a listener is told: each kind, each milestone once, and never at the caller's expense.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use encumber::{
    BudgetName, Cap, Component, Enforcement, Engine, Event, EventKind, Events, FailurePolicy, Limit, ManualClock,
    OnFailure, Policy, Resource, Scope, Striping, Subject, Timestamp, Unit, Window,
};

struct Rig {
    engine: Engine,
    events: Events,
    clock: ManualClock,
    scope: Scope,
    tokens: Resource,
}

fn policy(limit: Limit) -> Policy {
    Policy::builder().resource("tokens", Unit::Count).limit(limit).build().unwrap()
}

fn limit(window: Window, max: u64) -> Limit {
    Limit::new("limit", "user", "tokens", window, Cap::Max(max)).warn_percent([80, 95])
}

fn rig(limit: Limit) -> Rig {
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let events = Events::bounded(1_000);
    let failure = FailurePolicy::default().reserve(OnFailure::Open);
    let engine = Engine::builder(policy(limit)).clock(&clock).events(&events).failure_policy(failure).build();
    let (scope, tokens) = (engine.scope(["user:7"]).unwrap(), engine.resource("tokens").unwrap());
    Rig { engine, events, clock, scope, tokens }
}

impl Rig {
    fn names(&self) -> Vec<&'static str> {
        self.events.drain().map(|event| event.name()).collect()
    }
}

#[test]
fn milestones_are_told_once_per_window_also_when_the_amount_falls_and_rises_again() {
    let rig = rig(limit(Window::Day, 100));
    rig.scope.try_charge(rig.tokens.of(79)).unwrap();
    assert_eq!(rig.names(), [""; 0]);
    for round in 0..3 {
        let hold = rig.scope.reserve(rig.tokens.of(21)).unwrap();
        let expected: &[_] = if round == 0 { &["warning", "warning", "exhausted"] } else { &[] };
        assert_eq!(rig.names(), expected, "round {round}");
        hold.release().unwrap();
    }
    rig.clock.advance(Duration::from_secs(86_400));
    rig.scope.try_charge(rig.tokens.of(80)).unwrap();
    rig.scope.try_charge(rig.tokens.of(1)).unwrap();
    assert_eq!(rig.names(), ["warning"], "a new window");
    rig.scope.try_charge(rig.tokens.of(19)).unwrap();
    assert_eq!(rig.names(), ["warning", "exhausted"]);
}

/// 8 threads take turns of charging and giving back around the thresholds, in 1000 windows.
#[test]
fn milestones_are_told_exactly_once_under_threads() {
    const THREADS: u64 = 8;
    const WINDOWS: u64 = 1_000;
    for soft in [false, true] {
        let enforcement = if soft { Enforcement::Soft } else { Enforcement::Hard };
        let rig = rig(limit(Window::Minute, 100).enforcement(enforcement));
        let start = Barrier::new(THREADS as usize + 1);
        let mut told = BTreeMap::new();
        thread::scope(|threads| {
            for thread in 0..THREADS {
                let (rig, start) = (&rig, &start);
                threads.spawn(move || {
                    let scope = rig.engine.scope(["user:7"]).unwrap();
                    for window in 0..WINDOWS {
                        start.wait();
                        for turn in 0..4 {
                            if (thread + turn + window) % 3 == 0 {
                                let _ = scope.try_charge(rig.tokens.of(6));
                            } else if let Ok(hold) = scope.reserve(rig.tokens.of(20)) {
                                let _ = hold.commit(rig.tokens.of(turn));
                            }
                        }
                        // The rest: nobody leaves before the budget is full. While somebody who does not run holds what is left, nobody asks:
                        // refusals are told as well, and would fill the queue.
                        loop {
                            let now = scope.usage().unwrap();
                            match (now[0].used, now[0].remaining()) {
                                (100.., _) => break,
                                (_, Cap::Max(0)) => thread::yield_now(),
                                _ => drop(scope.try_charge(rig.tokens.of(1))),
                            }
                        }
                        start.wait();
                    }
                });
            }
            for _ in 0..WINDOWS {
                start.wait();
                start.wait();
                // Everybody waits for the next start now.
                for event in rig.events.drain() {
                    let what = match event.kind {
                        EventKind::Warning { standing, warning } => (standing.window, format!("{warning:?}")),
                        EventKind::Exhausted { standing } => (standing.window, "exhausted".to_owned()),
                        _ => continue,
                    };
                    *told.entry((what.0.unwrap().start, what.1)).or_insert(0) += 1;
                }
                rig.clock.advance(Duration::from_secs(60));
            }
        });
        assert_eq!(rig.events.dropped(), 0, "soft {soft}");
        assert_eq!(told.len() as u64, 3 * WINDOWS, "soft {soft}");
        assert!(told.values().all(|times| *times == 1), "soft {soft}: {told:?}");
    }
}

/// A subject that gave everything back is as if new, but for what was told of it.
#[test]
fn eviction_makes_nothing_be_told_twice() {
    for window in [Window::Minute, Window::Lifetime] {
        let rig = rig(limit(window, 100));
        for round in 0..2 {
            let scope = rig.engine.scope(["user:8"]).unwrap();
            drop(scope.reserve(rig.tokens.of(90)).unwrap());
            assert_eq!(rig.names().len(), 1 - round, "{window}");
            drop(scope);
            assert_eq!(rig.engine.sweep().evicted, 0, "{window}");
        }
    }
}

#[test]
fn a_full_queue_drops_and_counts_and_nobody_waits() {
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let events = Events::bounded(3);
    let engine = Engine::builder(policy(limit(Window::Day, 0))).clock(&clock).events(&events).build();
    let (scope, tokens) = (engine.scope(["user:7"]).unwrap(), engine.resource("tokens").unwrap());
    let refused = AtomicU64::new(0);
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..1_000 {
                    assert!(scope.try_charge(tokens.of(1)).is_err());
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((refused.into_inner(), events.dropped()), (4_000, 3_997));
    assert_eq!(events.drain().count(), 3);
    assert!(scope.try_charge(tokens.of(1)).is_err());
    assert_eq!((events.drain().count(), events.dropped()), (1, 3_997), "there is room again");
}

#[test]
fn refusals_are_told_once_each_and_questions_never() {
    let rig = rig(limit(Window::Day, 10));
    assert!(rig.scope.check_cost(&rig.tokens.of(11)).is_err());
    assert_eq!(rig.names(), [""; 0]);
    let refusal = rig.scope.try_charge(rig.tokens.of(11)).unwrap_err().into_refusal().unwrap();
    let Some(Event { kind: EventKind::Refused { refusal: told }, .. }) = rig.events.try_next() else { panic!() };
    assert_eq!(*told, refusal);
    let hold = rig.scope.reserve(rig.tokens.of(7)).unwrap();
    assert!(hold.try_extend(rig.tokens.of(4)).is_err());
    assert!(rig.scope.reserve(rig.tokens.of(4)).is_err());
    assert!(rig.scope.reserve_for(rig.tokens.of(4), Duration::from_secs(1)).is_err());
    assert!(rig.scope.reserve_with_id("x", Duration::from_secs(1), rig.tokens.of(4)).is_err());
    assert!(rig.scope.reserve_up_to(rig.tokens, 4, 9).is_err());
    assert_eq!(rig.names(), ["refused"; 5]);
    assert!(rig.scope.reserve_up_to(rig.tokens, 1, 9).is_ok());
    assert_eq!(rig.names(), ["warning", "warning", "exhausted"]);
    drop(hold);
}

#[test]
fn overages_are_told_by_whoever_adds_above_the_max() {
    let rig = rig(limit(Window::Day, 100));
    let hold = rig.scope.reserve(rig.tokens.of(10)).unwrap();
    rig.scope.record(rig.tokens.of(50)).unwrap();
    hold.commit(rig.tokens.of(70)).unwrap();
    assert_eq!(rig.names(), ["warning", "warning", "exhausted", "overage"]);
    rig.scope.record(rig.tokens.of(5)).unwrap();
    let Some(event) = rig.events.try_next() else { panic!("an overage") };
    let EventKind::Overage { standing, above } = &event.kind else { panic!("{event}") };
    assert_eq!((standing.charged, standing.max, *above), (125, 100, 25));
    rig.scope.record(rig.tokens.of(0)).unwrap();
    assert_eq!(rig.names(), [""; 0], "nothing was added");
}

#[test]
fn soft_and_shadow_budgets_tell_and_unlimited_ones_are_silent() {
    let soft = rig(limit(Window::Day, 10).enforcement(Enforcement::Soft));
    soft.scope.try_charge(soft.tokens.of(10)).unwrap();
    soft.scope.reserve(soft.tokens.of(1)).unwrap().commit(soft.tokens.of(1)).unwrap();
    assert_eq!(soft.names(), ["warning", "warning", "exhausted", "overage"]);
    let shadow = rig(limit(Window::Day, 10).enforcement(Enforcement::Shadow));
    shadow.scope.try_charge(shadow.tokens.of(9)).unwrap();
    assert_eq!(shadow.names(), ["warning"]);
    shadow.scope.try_charge(shadow.tokens.of(2)).unwrap();
    assert_eq!(shadow.names(), ["warning", "exhausted", "would_refuse"]);
    let unlimited = rig(Limit::new("limit", "user", "tokens", Window::Lifetime, Cap::Unlimited).warn_percent([1]));
    unlimited.scope.record(unlimited.tokens.of(u64::MAX)).unwrap();
    unlimited.scope.try_charge(unlimited.tokens.of(5)).unwrap();
    assert_eq!(unlimited.names(), [""; 0]);
}

#[test]
fn a_charge_that_is_undone_or_refused_reaches_no_milestone() {
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let events = Events::bounded(100);
    let policy = Policy::builder()
        .resource("tokens", Unit::Count)
        .limit(Limit::new("user", "user", "tokens", Window::Day, Cap::Max(10)))
        .limit(Limit::new("all", "global", "tokens", Window::Day, Cap::Max(5)));
    let engine = Engine::builder(policy.build().unwrap()).clock(&clock).events(&events).build();
    let (scope, tokens) = (engine.scope(["user:7"]).unwrap(), engine.resource("tokens").unwrap());
    assert!(scope.try_charge(tokens.of(10)).is_err());
    assert_eq!(events.drain().map(|event| event.name()).collect::<Vec<_>>(), ["refused"]);
    scope.try_charge(tokens.of(5)).unwrap();
    let Some(event) = events.try_next() else { panic!("the global budget is exhausted") };
    assert_eq!(
        event.to_string(),
        "2026-02-02T02:40:00.000Z exhausted: limit all of global has 5 of 5 tokens charged, nothing remains"
    );
}

#[test]
fn holds_that_expire_tell_what_became_of_them() {
    let rig = rig(limit(Window::Day, 100));
    let second = Duration::from_secs(1);
    let sent = rig.scope.reserve_with_id("req-1", second, rig.tokens.of(1)).unwrap();
    sent.dispatched();
    let idle = rig.scope.reserve_with_id("req-2", second * 2, rig.tokens.of(1)).unwrap();
    let settled = rig.scope.reserve_with_id("req-3", second, rig.tokens.of(1)).unwrap();
    settled.commit(rig.tokens.of(1)).unwrap();
    rig.clock.advance(second * 2);
    rig.engine.sweep();
    let told: Vec<_> = rig.events.drain().map(|event| event.kind).collect();
    let user: Subject = "user:7".parse().unwrap();
    let expired = |hold: &encumber::DetachedHold, charged| EventKind::HoldExpired {
        hold: hold.id().clone(),
        subjects: vec![Subject::global(), user.clone()],
        charged,
    };
    let mut expected = vec![expired(&sent, true), expired(&idle, false)];
    // They are kept in no order.
    if told.first() != expected.first() {
        expected.reverse();
    }
    assert_eq!(told, expected);
}

#[test]
fn policies_and_failures_are_told() {
    let rig = rig(limit(Window::Day, 100));
    rig.engine.set_policy(policy(limit(Window::Day, 200)));
    for degraded in [true, true, false, false] {
        rig.engine.set_degraded(Component::Store, degraded);
    }
    assert_eq!(rig.names(), ["policy_changed", "degraded", "healed"]);
    rig.scope.try_charge(rig.tokens.of(150)).unwrap();
    assert_eq!(rig.names(), [""; 0], "150 of 200");
    rig.engine.set_policy(policy(limit(Window::Day, 100)));
    rig.scope.record(rig.tokens.of(1)).unwrap();
    assert_eq!(rig.names(), ["policy_changed", "warning", "warning", "exhausted", "overage"]);
}

#[test]
fn nothing_is_told_to_nobody() {
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    // Stripes take memory when they are made.
    let engine = Engine::builder(policy(limit(Window::Day, 100))).clock(&clock).striping(Striping::Off).build();
    let (scope, tokens) = (engine.scope(["user:7"]).unwrap(), engine.resource("tokens").unwrap());
    let counted = allocation_counter::measure(|| {
        scope.try_charge(tokens.of(90)).unwrap();
        scope.try_charge(tokens.of(10)).unwrap();
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn logs_hash_ids_unless_asked_and_json_escapes_them() {
    let budget = BudgetName {
        limit: "user-day".into(),
        subject: Subject::new("user", "al\"ice\n").unwrap(),
        resource: "usd".into(),
        unit: Unit::Usd,
    };
    let kinds = [
        EventKind::Reset { budget: budget.clone(), before: 2_000_000_000, after: 0, paid: true },
        EventKind::ToppedUp { budget: budget.clone(), amount: 500_000_000, cap: Cap::Max(1_500_000_000) },
        EventKind::Overridden { budget, before: Cap::Max(1_000_000_000), after: Cap::Unlimited },
        EventKind::Recovered { budgets: 3, holds: 1 },
    ];
    let rig = rig(limit(Window::Day, 1));
    rig.scope.try_charge(rig.tokens.of(1)).unwrap();
    let mut event = rig.events.try_next().unwrap();
    let mut lines = Vec::new();
    for kind in kinds {
        event.kind = kind;
        assert!(!event.to_string().contains("ice") && !event.to_string().contains('\n'), "{event}");
        lines.push(format!("{event:#}").split_once(' ').unwrap().1.to_owned());
        #[cfg(feature = "json")]
        {
            let json = event.to_json();
            let again: serde_json::Value = serde_json::from_str(&json.to_string()).unwrap();
            assert_eq!(again["event"], event.name());
            assert!(again["id"].is_null() || again["id"] == "al\"ice\n");
        }
    }
    assert_eq!(
        lines,
        [
            r#"reset: limit user-day of "user:al\"ice\n": from 2 to 0 usd charged, paid"#,
            r#"topped_up: limit user-day of "user:al\"ice\n": 0.5 usd more, cap 1.5 usd now"#,
            r#"overridden: limit user-day of "user:al\"ice\n": cap from 1 usd to unlimited"#,
            "recovered: 3 budgets with usage, 1 open holds",
        ]
    );
}

#[test]
fn payments_in_order_are_told_of_as_any_other() {
    let events = Events::bounded(100);
    let limit = |name: &str, max| Limit::new(name, "user", name, Window::Lifetime, Cap::Max(max)).warn_percent([80]);
    let policy = ["included", "credit"]
        .into_iter()
        .fold(Policy::builder(), |policy, name| policy.resource(name, Unit::Count).limit(limit(name, 100)));
    let engine = Engine::builder(policy.build().unwrap()).events(&events).build();
    let [included, credit] = ["included", "credit"].map(|name| engine.resource(name).unwrap());
    let scope = engine.scope(["user:7"]).unwrap();
    let names = || events.drain().map(|event| event.name()).collect::<Vec<_>>();
    scope.charge_in_order([included, credit], 120).unwrap();
    assert_eq!(names(), ["warning", "exhausted"], "of the first");
    assert!(scope.charge_in_order([included, credit], 81).is_err());
    assert_eq!(names(), ["refused"]);
    scope.record_in_order([included, credit], 90).unwrap();
    assert_eq!(names(), ["warning", "exhausted", "overage"], "of the second");
}

#[test]
fn resets_top_ups_and_overrides_are_told_with_what_was_before_and_after() {
    let day = Limit::new("day", "user", "tokens", Window::Day, Cap::Max(100));
    let week = Limit::new("week", "user", "tokens", Window::Week, Cap::Max(500));
    let policy = Policy::builder().resource("tokens", Unit::Count).limit(day).limit(week).build().unwrap();
    let events = Events::bounded(64);
    let engine = Engine::builder(policy).events(&events).build();
    let (tokens, scope) = (engine.resource("tokens").unwrap(), engine.scope(["user:7"]).unwrap());
    let hold = scope.reserve(tokens.of(30)).unwrap();
    scope.record(tokens.of(60)).unwrap();
    scope.reset(&encumber::Reset::limit("day").lowers("week")).unwrap();
    let user = "user:7".parse().unwrap();
    engine.top_up(&user, "day", 50).unwrap();
    engine.set_override(&user, "week", Some(Cap::Max(900))).unwrap();
    assert!(engine.top_up(&user, "month", 1).is_err(), "tells nothing");
    let told: Vec<_> = events.drain().map(|event| format!("{event:#}")).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    for (line, part) in
        told.iter().zip(["from 90 to 30 tokens charged", "from 90 to 30 tokens", "50 tokens more", "to 900"])
    {
        assert!(line.contains(part), "{line}");
    }
    scope.reset(&encumber::Reset::limit("day")).unwrap();
    assert_eq!(events.drain().count(), 0, "nothing was used");
    drop(hold);
}

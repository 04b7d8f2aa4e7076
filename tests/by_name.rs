//! Charging by name: the same as a scope's, whatever the policy says of whom.

use std::time::Duration;

use encumber::{
    Admission, Cap, ChargeError, Component, Cost, Enforcement, Engine, EngineBuilder, EventKind, Events, FailurePolicy,
    Limit, ManualClock, OnFailure, Policy, PolicyBuilder, Subject, Unit, Window,
};

fn policy() -> PolicyBuilder {
    Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("usd", Unit::Usd)
        .kind("session")
        .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(100)))
        .limit(Limit::new("agent-day", "agent", "tokens", Window::Day, Cap::Max(80)))
        .limit(Limit::new("all-hour", "global", "tokens", Window::Hour, Cap::Max(250)))
}

fn builder(policy: PolicyBuilder) -> (EngineBuilder, ManualClock) {
    let clock = ManualClock::at("2026-04-03T10:00:00Z".parse().unwrap());
    (Engine::builder(policy.build().unwrap()).clock(&clock), clock)
}

/// Two engines that are told the same: one is charged by name, the other through a scope for each call.
struct Pair {
    engines: [Engine; 2],
    clocks: [ManualClock; 2],
}

impl Pair {
    fn of(policy: &PolicyBuilder) -> Self {
        Self::set_up(policy, |builder| builder)
    }

    fn set_up(policy: &PolicyBuilder, set_up: impl Fn(EngineBuilder) -> EngineBuilder) -> Self {
        let [(first, a), (second, b)] = [builder(policy.clone()), builder(policy.clone())];
        Self { engines: [first, second].map(|builder| set_up(builder).build()), clocks: [a, b] }
    }

    fn both(&self, act: impl Fn(&Engine)) {
        self.engines.iter().for_each(act);
    }

    fn pass(&self, time: Duration) {
        self.clocks.iter().for_each(|clock| clock.advance(time));
    }

    /// Charges both; whether it was admitted.
    fn charge(&self, subjects: &[&str], resource: &str, amount: u64) -> bool {
        let cost = |engine: &Engine| engine.resource(resource).unwrap().of(amount);
        let [by_name, by_scope] = &self.engines;
        let named = by_name.try_charge(subjects, cost(by_name));
        let scope = by_scope.scope(subjects.iter().copied()).map_err(ChargeError::from);
        let scoped = scope.and_then(|scope| scope.try_charge(cost(by_scope)));
        let text = |answer: Result<Admission, ChargeError>| answer.map_err(|error| format!("{error:#}"));
        let (named, scoped) = (text(named), text(scoped));
        assert_eq!(named, scoped, "{subjects:?} {resource} {amount}");
        let usage = |engine: &Engine| {
            let usage = engine.scope(subjects.iter().copied()).and_then(|scope| scope.usage());
            usage.map(|all| all.iter().map(|b| (b.limit.to_string(), b.cap, b.used, b.held)).collect::<Vec<_>>()).ok()
        };
        assert_eq!(usage(by_name), usage(by_scope), "{subjects:?} {resource} {amount}");
        named.is_ok()
    }
}

#[test]
fn subjects_are_charged_as_a_scope_of_them() {
    let pair = Pair::of(&policy());
    for subjects in [&["user:1", "agent:a"][..], &["agent:a", "user:1"], &["user:2"], &["session:s", "agent:b"], &[]] {
        assert!(pair.charge(subjects, "tokens", 30), "{subjects:?}");
        assert!(
            pair.charge(subjects, "tokens", 0) && pair.charge(subjects, "usd", 5),
            "a question, and what nothing counts"
        );
    }
    assert!(!pair.charge(&["user:1", "agent:a"], "tokens", 30), "20 are left of agent a's");
    assert!(pair.charge(&["user:1", "agent:a"], "tokens", 20));
    assert!(!pair.charge(&["user:3"], "tokens", 90), "80 are left for all");
    pair.pass(Duration::from_secs(3_600));
    assert!(pair.charge(&["user:3"], "tokens", 90));
}

#[test]
fn what_is_no_scope_is_no_charge() {
    let pair = Pair::of(&policy());
    let long = format!("user:{}", "x".repeat(1_000));
    for wrong in ["usr:1", "user", "user:", "", ":", "global:x", &long] {
        assert!(!pair.charge(&[wrong], "tokens", 1), "{wrong}");
        assert!(!pair.charge(&["user:1", wrong], "tokens", 1), "{wrong}");
    }
    for odd in [&["user:1", "user:1"][..], &["global"], &["user:1", "global", "user:2"], &["user:ü:\"x\""]] {
        assert!(pair.charge(odd, "tokens", 1) && pair.charge(odd, "tokens", 1), "{odd:?}");
    }
    // Whatever the policy says of `global`, `global:x` is nobody.
    let users = Policy::builder().resource("tokens", Unit::Count).limit(Limit::new(
        "user-day",
        "user",
        "tokens",
        Window::Day,
        Cap::Max(100),
    ));
    for odd in [policy(), policy().kind("global"), users.clone(), users.kind("global")] {
        let pair = Pair::of(&odd);
        assert!(pair.charge(&["user:1"], "tokens", 1) && !pair.charge(&["user:1", "global:x"], "tokens", 1));
    }
    let [by_name, other] = &pair.engines;
    let foreign = by_name.try_charge(["user:1"], other.resource("tokens").unwrap().of(1));
    assert!(matches!(foreign, Err(ChargeError::UnknownResource(_))), "{foreign:?}");
    let both = by_name.resource("tokens").unwrap().of(1).and(other.resource("usd").unwrap(), 1);
    assert!(matches!(by_name.try_charge(["user:1"], both), Err(ChargeError::UnknownResource(_))));
    assert!(by_name.try_charge(["user:1"], Cost::nothing()).is_ok());
}

/// Subjects of which the policy, or the host, says something of their own.
#[test]
fn what_a_subject_has_of_its_own_holds() {
    let limit = Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(100));
    let own = Policy::builder()
        .resource("tokens", Unit::Count)
        .limit(limit.subject("user:rich", Cap::Max(500)).group("heavy", Cap::Max(300)))
        .group("heavy", ["user:h"])
        .group("light", ["user:l"])
        .exempt("user:root");
    let pair = Pair::of(&own);
    for (user, max) in [("user:rich", 500), ("user:h", 300), ("user:l", 100), ("user:x", 100)] {
        assert!(pair.charge(&[user], "tokens", 1) && pair.charge(&[user], "tokens", max - 1), "{user}");
        assert!(!pair.charge(&[user], "tokens", 1), "{user}");
    }
    assert!(pair.charge(&["user:root"], "tokens", 5_000));
    // While it runs: more for one, less for another one, and back.
    let user = |id| Subject::new("user", id).unwrap();
    pair.both(|engine| drop(engine.top_up(&user("x"), "user-day", 40).unwrap()));
    assert!(pair.charge(&["user:x"], "tokens", 40) && !pair.charge(&["user:x"], "tokens", 1));
    assert!(pair.charge(&["user:y"], "tokens", 50));
    pair.both(|engine| drop(engine.set_override(&user("y"), "user-day", Some(Cap::Max(60))).unwrap()));
    assert!(!pair.charge(&["user:y"], "tokens", 20) && pair.charge(&["user:y"], "tokens", 10));
    pair.both(|engine| drop(engine.set_override(&user("y"), "user-day", None).unwrap()));
    assert!(pair.charge(&["user:y"], "tokens", 40));
}

#[test]
fn a_policy_that_is_swapped_in_and_what_is_degraded_hold_at_once() {
    let pair = Pair::of(&policy());
    assert!(pair.charge(&["user:1"], "tokens", 30) && pair.charge(&["user:1"], "tokens", 30));
    let smaller = policy().limit(Limit::new("user-hour", "user", "tokens", Window::Hour, Cap::Max(5))).build().unwrap();
    pair.both(|engine| engine.set_policy(smaller.clone()));
    assert!(!pair.charge(&["user:1"], "tokens", 6) && pair.charge(&["user:1"], "tokens", 5));
    assert!(pair.charge(&["user:8"], "tokens", 1) && pair.charge(&["user:8"], "tokens", 1));
    pair.both(|engine| engine.set_degraded(Component::Store, true));
    assert!(!pair.charge(&["user:8"], "tokens", 1), "closed by default");
    pair.both(|engine| engine.set_degraded(Component::Store, false));
    assert!(pair.charge(&["user:8"], "tokens", 1));
    let opens = FailurePolicy::default().reserve(OnFailure::Open);
    let open = Pair::set_up(&policy(), |builder| builder.failure_policy(opens));
    assert!(open.charge(&["user:8"], "tokens", 1));
    open.both(|engine| engine.set_degraded(Component::Store, true));
    assert!(open.charge(&["user:8"], "tokens", 1_000), "let through, and flagged as a scope's call");
    // Soft, rolling and first-use budgets, and as many as a scope may have.
    let many = (0..12).fold(policy(), |policy, n| {
        policy.limit(Limit::new(&format!("m{n}"), "user", "tokens", Window::Day, Cap::Max(1_000)))
    });
    for other in [
        policy().limit(Limit::new("soft", "user", "tokens", Window::Day, Cap::Max(1)).enforcement(Enforcement::Soft)),
        policy().limit(Limit::new("use", "user", "tokens", "5h from first use".parse().unwrap(), Cap::Max(30))),
        policy().limit(Limit::new("roll", "user", "tokens", "rolling 5h".parse().unwrap(), Cap::Max(30))),
        many,
    ] {
        let pair = Pair::of(&other);
        assert!(pair.charge(&["user:1", "agent:a"], "tokens", 20) && pair.charge(&["user:1"], "tokens", 5));
    }
}

/// A listener hears of a warning whichever way a budget came to it.
#[test]
fn a_warning_is_told() {
    let warned = Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(100)).warn_percent([80]);
    let policy = Policy::builder().resource("tokens", Unit::Count).limit(warned);
    let events = Events::bounded(8);
    let engine = builder(policy).0.events(&events).build();
    let tokens = engine.resource("tokens").unwrap();
    for _ in 0..8 {
        engine.try_charge(["user:1"], tokens.of(10)).unwrap();
    }
    let told: Vec<_> = events.drain().map(|event| event.kind).collect();
    assert!(matches!(told[..], [EventKind::Warning { .. }]), "{told:?}");
}

/// Calls by name and through scopes, at once: together they charge what there is, all or none.
#[test]
fn threads_that_charge_by_name_and_by_scope_share_the_budgets() {
    let clocked = builder(
        Policy::builder()
            .resource("tokens", Unit::Count)
            .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(3_000)))
            .limit(Limit::new("all-day", "global", "tokens", Window::Day, Cap::Max(10_000))),
    );
    let engine = clocked.0.build();
    let tokens = engine.resource("tokens").unwrap();
    let admitted: u64 = std::thread::scope(|threads| {
        let spend = |thread: usize| {
            let engine = &engine;
            threads.spawn(move || {
                let mut admitted = 0;
                for round in 0..4_000 {
                    let user = format!("user:{}", (round + thread) % 4);
                    let answer = if (round / 4 + thread).is_multiple_of(2) {
                        engine.try_charge([&user], tokens.of(3))
                    } else {
                        engine.scope([&user]).unwrap().try_charge(tokens.of(3))
                    };
                    admitted += u64::from(answer.is_ok()) * 3;
                }
                admitted
            })
        };
        let threads: Vec<_> = (0..4).map(spend).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let used = |user: &str| engine.scope([user]).unwrap().usage().unwrap();
    let users: u64 = (0..4).map(|n| used(&format!("user:{n}"))[0].used).sum();
    assert_eq!((admitted, users, used("user:0")[1].used), (9_999, 9_999, 9_999), "the last unit fits nobody");
}

/// A bounded engine forgets idle subjects, and finds them again, when nobody keeps a scope.
#[test]
fn names_do_not_keep_subjects_from_being_evicted() {
    let users = Policy::builder().resource("tokens", Unit::Count).limit(Limit::new(
        "user-day",
        "user",
        "tokens",
        Window::Day,
        Cap::Max(2),
    ));
    let (engine, clock) = builder(users);
    let engine = engine.max_subjects(1_000).build();
    let tokens = engine.resource("tokens").unwrap();
    for day in 0..3 {
        for user in 0..1_000 {
            let name = format!("user:{day}-{user}");
            // The first one makes the subject, the second one finds it.
            for _ in 0..2 {
                engine.try_charge([&name], tokens.of(1)).unwrap();
            }
            assert!(engine.try_charge([&name], tokens.of(1)).is_err(), "{name}");
        }
        assert_eq!(engine.subjects(), 1_000);
        clock.advance(Duration::from_secs(3 * 24 * 3_600));
    }
}

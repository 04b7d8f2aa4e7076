//! Operations on a handle allocate nothing, for scopes of up to eight budgets.

use encumber::{
    Actual, Cap, Clock, Enforcement, Engine, Limit, ManualClock, Policy, Resource, Scope, Timestamp, Unit, Window,
};

fn rig(budgets: usize) -> (Scope, Resource) {
    let base = Policy::builder().resource("tokens", Unit::Count);
    let policy = (0..budgets).fold(base, |policy, number| {
        let enforcement = if number % 4 == 3 { Enforcement::Soft } else { Enforcement::Hard };
        let limit = Limit::new(&format!("limit-{number}"), "user", "tokens", Window::Day, Cap::Max(1_000_000));
        policy.limit(limit.enforcement(enforcement))
    });
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let engine = Engine::builder(policy.build().unwrap()).clock(Clock::manual(&clock)).build();
    (engine.scope(["user:7"]).unwrap(), engine.resource("tokens").unwrap())
}

#[test]
fn nothing_is_allocated_up_to_eight_budgets() {
    for budgets in [1, 3, 8] {
        let (scope, tokens) = rig(budgets);
        // What is made once per thread, handle or budget is made before: a budget's first hold makes its cold part.
        scope.try_charge(tokens.of(1)).unwrap();
        scope.reserve(tokens.of(1)).unwrap().release().unwrap();
        let counted = allocation_counter::measure(|| {
            scope.try_charge(tokens.of(2)).unwrap();
            scope.check().unwrap();
            scope.check_cost(&tokens.of(2)).unwrap();
            scope.record(tokens.of(1)).unwrap();
            scope.afford(tokens).unwrap();
            let hold = scope.reserve(tokens.of(10)).unwrap();
            hold.dispatched();
            hold.commit(tokens.of(7)).unwrap();
            scope.reserve(tokens.of(10)).unwrap().commit(Actual::AtLeast(tokens.of(7))).unwrap();
            scope.reserve(tokens.of(10)).unwrap().release().unwrap();
            drop(scope.reserve(tokens.of(10)).unwrap());
            drop(scope.reserve_up_to(tokens, 1, 10).unwrap());
        });
        assert_eq!(counted.count_total, 0, "{budgets} budgets");
    }
}

/// A stream extends its hold with every chunk: in one window that is one part, whatever their number.
#[test]
fn a_hold_that_is_extended_again_and_again_does_not_grow() {
    let (scope, tokens) = rig(3);
    let hold = scope.reserve(tokens.of(10)).unwrap();
    hold.try_extend(tokens.of(1)).unwrap();
    let counted = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            hold.try_extend(tokens.of(1)).unwrap();
        }
    });
    assert_eq!((counted.count_total, hold.held().amount(tokens)), (0, Some(1_011)));
    let part = hold.split(tokens.of(1_005)).unwrap();
    assert_eq!((part.held().amount(tokens), hold.held().amount(tokens)), (Some(1_005), Some(6)));
    hold.commit(tokens.of(6)).unwrap();
    part.release().unwrap();
    let usage = &scope.usage().unwrap()[0];
    assert_eq!((usage.used, usage.held), (6, 0));
}

/// By name a call looks its subjects up and allocates nothing either, once they are known.
#[test]
fn charging_by_name_allocates_nothing() {
    let limit = |id: &str, kind: &str| Limit::new(id, kind, "tokens", Window::Day, Cap::Max(1_000_000));
    let policy =
        Policy::builder().resource("tokens", Unit::Count).limit(limit("user", "user")).limit(limit("all", "global"));
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let engine = Engine::builder(policy.build().unwrap()).clock(Clock::manual(&clock)).build();
    let tokens = engine.resource("tokens").unwrap();
    engine.try_charge(["user:7"], tokens.of(1)).unwrap();
    engine.try_charge(["user:7"], tokens.of(1)).unwrap();
    let counted = allocation_counter::measure(|| {
        engine.try_charge(["user:7"], tokens.of(2)).unwrap();
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(engine.scope(["user:7"]).unwrap().usage().unwrap()[1].used, 4);
}

#[test]
fn the_counter_counts() {
    let (scope, _) = rig(1);
    assert!(allocation_counter::measure(|| drop(scope.usage())).count_total > 0);
}

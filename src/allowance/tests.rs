use super::*;
use crate::amount::Unit;
use crate::engine::Engine;
use crate::policy::{Limit, Policy};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A parent's scope with 20 tokens, and an allowance of 10.
fn rig() -> (Scope, Resource, Allowance) {
    let limit = Limit::new("run", "agent", "tokens", Window::Lifetime, Cap::Max(20));
    let engine = Engine::new(Policy::builder().resource("tokens", Unit::Count).limit(limit).build().unwrap());
    let (scope, tokens) = (engine.scope(["agent:a"]).unwrap(), engine.resource("tokens").unwrap());
    let allowance = scope.reserve(tokens.of(10)).unwrap().into_allowance().unwrap();
    (scope, tokens, allowance)
}

fn used_and_held(scope: &Scope) -> (u64, u64) {
    let usage = scope.usage().unwrap();
    (usage[0].used, usage[0].held)
}

#[test]
fn nothing_returns_while_a_charge_is_on_its_way_and_all_of_it_with_the_last_one_out() {
    let (parent, tokens, allowance) = rig();
    let scope = allowance.scope(["agent:b"]).unwrap();
    let gate = &allowance.pool.gate;
    gate.enter().unwrap();
    gate.enter().unwrap();
    allowance.pool.end(NOW);
    assert!(!allowance.pool.level(NOW));
    scope.record(tokens.of(3)).unwrap();
    assert_eq!((used_and_held(&parent), allowance.is_settled()), ((0, 10), false));
    allowance.pool.changed(gate.leave(), NOW);
    assert_eq!(used_and_held(&parent), (0, 10));
    allowance.pool.changed(gate.leave(), NOW);
    assert_eq!((used_and_held(&parent), allowance.is_settled()), ((3, 0), true));
}

#[test]
fn a_hold_that_is_made_while_the_end_comes_keeps_the_parent_open() {
    let (parent, tokens, allowance) = rig();
    let scope = allowance.scope(["agent:b"]).unwrap();
    let open = scope.reserve(tokens.of(4)).unwrap();
    assert!(!allowance.pool.gate.standing().is_settled());
    let part = open.split(tokens.of(1)).unwrap();
    assert!(open.split(tokens.of(4)).is_err(), "and an attempt to split it leaves no trace");
    allowance.end();
    assert_eq!(used_and_held(&parent), (0, 4));
    open.release().unwrap();
    assert_eq!((used_and_held(&parent), allowance.is_settled()), ((0, 1), false));
    part.commit(tokens.of(1)).unwrap();
    assert_eq!((used_and_held(&parent), allowance.is_settled()), ((1, 0), true));
}

#[test]
fn nothing_of_an_allowance_is_kept_once_it_is_gone() {
    let (parent, tokens, allowance) = rig();
    let pool = Arc::downgrade(&allowance.pool);
    let core = Arc::clone(&allowance.pool.core);
    let scope = allowance.scope(["agent:b"]).unwrap();
    let hold = scope.reserve_for(tokens.of(4), Duration::from_secs(60)).unwrap();
    drop((allowance, scope));
    hold.release().unwrap();
    drop(hold);
    assert_eq!(used_and_held(&parent), (0, 0));
    assert!(pool.upgrade().is_some(), "the id of the hold is remembered, and with it what it was charged to");
    core.collect_overdue(core.now_precise().saturating_add(Duration::from_secs(9 * 24 * 3_600)));
    assert!(pool.upgrade().is_none());

    let timed = parent.reserve_for(tokens.of(4), Duration::from_secs(60)).unwrap().into_allowance().unwrap();
    let pool = Arc::downgrade(&timed.pool);
    assert_eq!(core.timed.kept(), 1);
    drop(timed);
    assert!(pool.upgrade().is_none() && core.timed.kept() == 0);
}

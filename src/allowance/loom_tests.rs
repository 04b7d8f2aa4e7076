//! Every interleaving of an allowance's end with what its children do.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::amount::Unit;
use crate::clock::ManualClock;
use crate::engine::Engine;
use crate::policy::{Limit, Policy};
use crate::sync::explore;

/// A parent's scope, what it counts, and an allowance of 10.
fn rig() -> (Scope, Resource, Allowance) {
    let limit = Limit::new("run", "agent", "tokens", Window::Lifetime, Cap::Max(20));
    let policy = Policy::builder().resource("tokens", Unit::Count).limit(limit).build().unwrap();
    let engine = Engine::builder(policy).clock(&ManualClock::at(Timestamp::UNIX_EPOCH)).build();
    let (scope, tokens) = (engine.scope(["agent:a"]).unwrap(), engine.resource("tokens").unwrap());
    let allowance = scope.reserve(tokens.of(10)).unwrap().into_allowance().unwrap();
    (scope, tokens, allowance)
}

fn used_and_held(scope: &Scope) -> (u64, u64) {
    let usage = scope.usage().unwrap();
    (usage[0].used, usage[0].held)
}

#[test]
fn loom_allowance_end_against_charge() {
    explore(3, || {
        let (parent, tokens, allowance) = rig();
        let child = allowance.scope(["agent:a"]).unwrap();
        let charge = thread::spawn(move || if child.try_charge(tokens.of(4)).is_ok() { 4 } else { 0 });
        let seen = allowance.end().amount(tokens).unwrap();
        let charged = charge.join().unwrap();
        assert!(seen == charged, "nothing is admitted after the end");
        assert_eq!(used_and_held(&parent), (charged, 0));
    });
}

#[test]
fn loom_allowance_end_against_settlement_above_the_pool() {
    explore(3, || {
        let (parent, tokens, allowance) = rig();
        let hold = allowance.scope(["agent:a"]).unwrap().reserve(tokens.of(6)).unwrap();
        let settles = thread::spawn(move || drop(hold.commit(tokens.of(12))));
        allowance.end();
        settles.join().unwrap();
        assert_eq!(used_and_held(&parent), (12, 0));
    });
}

#[test]
fn loom_settlements_of_two_children_of_an_ended_allowance() {
    explore(3, || {
        let (parent, tokens, allowance) = rig();
        let scope = allowance.scope(["agent:a"]).unwrap();
        let [first, second] = [4, 5].map(|amount| scope.reserve(tokens.of(amount)).unwrap());
        drop(scope);
        allowance.end();
        assert_eq!(used_and_held(&parent), (0, 9));
        let allowance = Arc::new(allowance);
        let kept = Arc::clone(&allowance);
        let settles = thread::spawn(move || {
            drop(first.commit(tokens.of(1)));
            drop(kept);
        });
        second.release().unwrap();
        drop(allowance);
        settles.join().unwrap();
        assert_eq!(used_and_held(&parent), (1, 0));
    });
}

#[test]
fn loom_over_and_back_leaves_the_parent_level() {
    explore(3, || {
        let (parent, tokens, allowance) = rig();
        let scope = allowance.scope(["agent:a"]).unwrap();
        let hold = scope.reserve(tokens.of(10)).unwrap();
        let settles = thread::spawn(move || drop(hold.commit(tokens.of(0))));
        scope.record(tokens.of(3)).unwrap();
        settles.join().unwrap();
        assert_eq!(used_and_held(&parent), (0, 10), "as much as the pool is for");
    });
}

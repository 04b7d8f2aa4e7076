//! Every interleaving of settlements: of one reservation that two threads share, and of two on one budget.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::amount::{Cap, Resource, Unit};
use crate::clock::ManualClock;
use crate::engine::Engine;
use crate::policy::{Limit, Policy};
use crate::scope::Scope;
use crate::sync::explore;
use crate::time::Timestamp;
use crate::window::Window;

fn rig() -> (Scope, Resource) {
    let limit = Limit::new("run", "agent", "tokens", Window::Lifetime, Cap::Max(100));
    let policy = Policy::builder().resource("tokens", Unit::Count).limit(limit).build().unwrap();
    let engine = Engine::builder(policy).clock(&ManualClock::at(Timestamp::UNIX_EPOCH)).build();
    (engine.scope(["agent:a"]).unwrap(), engine.resource("tokens").unwrap())
}

fn used_and_held(scope: &Scope) -> (u64, u64) {
    let usage = scope.usage().unwrap();
    (usage[0].used, usage[0].held)
}

#[test]
fn loom_commit_against_release_of_one_reservation() {
    explore(3, || {
        let (scope, tokens) = rig();
        let hold = Arc::new(scope.reserve(tokens.of(40)).unwrap());
        let shared = Arc::clone(&hold);
        let release = thread::spawn(move || shared.release());
        let commit = hold.commit(tokens.of(30));
        match (commit, release.join().unwrap()) {
            (Ok(_), Err(SettleError::Committed)) => assert_eq!(used_and_held(&scope), (30, 0)),
            (Err(SettleError::Released), Ok(())) => assert_eq!(used_and_held(&scope), (0, 0)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn loom_commit_against_commit_of_one_reservation() {
    explore(3, || {
        let (scope, tokens) = rig();
        let hold = Arc::new(scope.reserve(tokens.of(40)).unwrap());
        let shared = Arc::clone(&hold);
        let other = thread::spawn(move || shared.commit(tokens.of(30)));
        let mine = hold.commit(tokens.of(50));
        match (mine, other.join().unwrap()) {
            (Ok(_), Err(SettleError::Conflict)) => assert_eq!(used_and_held(&scope), (50, 0)),
            (Err(SettleError::Conflict), Ok(_)) => assert_eq!(used_and_held(&scope), (30, 0)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn loom_commit_against_drop() {
    explore(3, || {
        let (scope, tokens) = rig();
        let (kept, dropped) = (scope.reserve(tokens.of(40)).unwrap(), scope.reserve(tokens.of(50)).unwrap());
        let drops = thread::spawn(move || drop(dropped));
        kept.commit(tokens.of(45)).unwrap();
        drops.join().unwrap();
        assert_eq!(used_and_held(&scope), (45, 0));
    });
}

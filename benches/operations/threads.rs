//! Several threads at once: the time of one thread's operation while all of them are at it.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::Criterion;
use encumber::{Cap, Clock, Engine, Events, Limit, Policy, Resource, Scope, Unit, Window};

use crate::rig::PLENTY;

pub(crate) fn threads(criterion: &mut Criterion) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let counts = std::iter::successors(Some(1), |threads| Some(threads * 2)).take_while(|threads| *threads < cores);
    for threads in counts.chain([cores]) {
        let mut group = criterion.benchmark_group(format!("{threads} threads"));
        let events = Events::bounded(1_024);
        for (name, kinds, scopes, events) in [
            ("1 budget each", &["agent"][..], threads, None),
            ("1 budget shared", &["agent"], 1, None),
            ("3 budgets each", &["agent", "user", "team"], threads, None),
            ("2 budgets each, global shared", &["agent", "user", "global"], threads, None),
            ("3 budgets shared", &["agent", "user", "global"], 1, None),
            ("3 budgets shared, events on", &["agent", "user", "global"], 1, Some(&events)),
        ] {
            let (_engine, tokens, scopes) = shared(kinds, scopes, events);
            let scope = |thread: usize| &scopes[thread % scopes.len()];
            group.bench_function(format!("try_charge, {name}"), |b| {
                b.iter_custom(|calls| {
                    together(threads, calls, |thread| {
                        let scope = scope(thread);
                        move || scope.try_charge(tokens.of(1)).is_ok()
                    })
                });
            });
            group.bench_function(format!("reserve + commit, {name}"), |b| {
                b.iter_custom(|calls| {
                    together(threads, calls, |thread| {
                        let scope = scope(thread);
                        move || scope.reserve(tokens.of(7)).unwrap().commit(tokens.of(2)).is_ok()
                    })
                });
            });
        }
        group.finish();
    }
}

/// Scopes of subjects of their own of these kinds, on a ticking clock.
fn shared(kinds: &[&str], scopes: usize, events: Option<&Events>) -> (Engine, Resource, Vec<Scope>) {
    let policy = kinds.iter().fold(Policy::builder().resource("tokens", Unit::Count), |policy, kind| {
        policy.limit(Limit::new(kind, kind, "tokens", Window::Day, Cap::Max(PLENTY)))
    });
    let clock = Clock::ticking(Duration::from_millis(1)).expect("a thread");
    let engine = Engine::builder(policy.build().expect("a policy")).clock(clock);
    let engine = events.into_iter().fold(engine, encumber::EngineBuilder::events).build();
    let tokens = engine.resource("tokens").expect("declared");
    let scope = |number| {
        let named = kinds.iter().filter(|kind| **kind != "global").map(|kind| format!("{kind}:{number}"));
        engine.scope(named.collect::<Vec<_>>().iter().map(String::as_str)).expect("a scope")
    };
    let scopes = (0..scopes).map(scope).collect();
    (engine, tokens, scopes)
}

/// The longest that one of the threads takes for its `calls`.
fn together<O: FnMut() -> bool + Send>(threads: usize, calls: u64, operation: impl Fn(usize) -> O) -> Duration {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        let spawn = |thread| {
            let (mut operation, start) = (operation(thread), &start);
            scope.spawn(move || {
                start.wait();
                let begun = Instant::now();
                for _ in 0..calls {
                    assert!(operation(), "there is plenty");
                }
                begun.elapsed()
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).max().unwrap_or_default()
    })
}

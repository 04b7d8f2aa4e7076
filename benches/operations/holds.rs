//! The life of a reservation.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use encumber::{Actual, Window};

use crate::rig::{PLENTY, Rig, forgetful, rig};

/// How it ends, beyond the ends in `scopes`.
pub(crate) fn settled(criterion: &mut Criterion) {
    for budgets in [1, 3] {
        let Rig { scope, tokens, .. } = rig(budgets, PLENTY, Window::Day);
        let mut group = criterion.benchmark_group(format!("hold, {budgets} budgets"));
        group.bench_function("dispatched, dropped: charged", |b| {
            b.iter(|| scope.reserve(tokens.of(7)).unwrap().dispatched());
        });
        group.bench_function("commit, at least", |b| {
            b.iter(|| scope.reserve(tokens.of(7)).unwrap().commit(Actual::AtLeast(tokens.of(2))).unwrap());
        });
        let rig = forgetful(budgets);
        group.bench_function("commit + refund", |b| {
            b.iter(|| {
                rig.tick();
                let receipt = rig.scope.reserve(rig.tokens.of(7)).unwrap().commit(rig.tokens.of(7)).unwrap();
                rig.engine.refund(&receipt, &rig.tokens.of(2)).unwrap();
            });
        });
        group.finish();
    }
}

/// What happens to it while it is open.
pub(crate) fn changed(criterion: &mut Criterion) {
    for budgets in [1, 3] {
        let Rig { scope, tokens, .. } = rig(budgets, PLENTY, Window::Day);
        let mut group = criterion.benchmark_group(format!("hold, {budgets} budgets"));
        for extensions in [1, 16, 256] {
            group.bench_function(format!("reserve + extend {extensions} times + commit"), |b| {
                b.iter(|| {
                    let hold = scope.reserve(tokens.of(7)).unwrap();
                    for _ in 0..extensions {
                        hold.try_extend(tokens.of(black_box(1))).unwrap();
                    }
                    hold.commit(tokens.of(2)).unwrap()
                });
            });
        }
        let open = scope.reserve(tokens.of(PLENTY / 2)).expect("room");
        group.bench_function("split + release", |b| {
            b.iter(|| open.split(tokens.of(black_box(1))).unwrap().release().unwrap());
        });
        group.bench_function("observe", |b| b.iter(|| open.observe(&tokens.of(black_box(1)))));
        group.bench_function("held", |b| b.iter(|| open.held()));
        group.finish();
    }
}

/// With an id, or a time-to-live.
pub(crate) fn kept(criterion: &mut Criterion) {
    let ttl = Duration::from_secs(300);
    let rig = forgetful(1);
    let Rig { engine, scope, tokens, .. } = &rig;
    criterion.bench_function("reserve_for + commit", |b| {
        b.iter(|| {
            rig.tick();
            scope.reserve_for(tokens.of(7), ttl).unwrap().commit(tokens.of(2)).unwrap()
        });
    });
    criterion.bench_function("reserve + detach + resume + commit", |b| {
        b.iter(|| {
            rig.tick();
            let id = scope.reserve(tokens.of(7)).unwrap().detach(ttl).unwrap().id().clone();
            engine.resume(&id).unwrap().commit(tokens.of(2)).unwrap()
        });
    });
    let mut number = 0_u64;
    criterion.bench_function("reserve_with_id + commit", |b| {
        b.iter(|| {
            rig.tick();
            number += 1;
            let hold = scope.reserve_with_id(format!("request-{number}").as_str(), ttl, tokens.of(7));
            hold.unwrap().commit(tokens.of(2)).unwrap()
        });
    });
    let first = scope.reserve_with_id("again", ttl, tokens.of(7)).expect("room");
    criterion.bench_function("reserve_with_id, asked again", |b| {
        b.iter(|| scope.reserve_with_id("again", ttl, tokens.of(7)).unwrap());
    });
    criterion.bench_function("renew", |b| b.iter(|| first.renew(black_box(ttl)).unwrap()));
}

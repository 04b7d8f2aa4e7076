//! Workflows, slots, allowances.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use encumber::{Cap, Limit, Unit, Window, WorkflowSpec};

use crate::rig::{PLENTY, Rig, limits, resources, rig, rig_of};

pub(crate) fn workflows(criterion: &mut Criterion) {
    let Rig { scope, tokens, .. } = rig(1, PLENTY, Window::Day);
    let mut group = criterion.benchmark_group("workflow");
    let spec = WorkflowSpec::new().steps(PLENTY).tool("search", PLENTY).budget(tokens, PLENTY);
    group.bench_function("begin + end", |b| {
        b.iter(|| scope.begin_workflow("short", spec.clone()).unwrap().end());
    });
    let workflow = scope.begin_workflow("long", spec.clone()).expect("a workflow");
    group.bench_function("step", |b| b.iter(|| workflow.step().unwrap()));
    group.bench_function("tool_call", |b| b.iter(|| workflow.tool_call(black_box("search")).unwrap()));
    group.bench_function("try_charge", |b| b.iter(|| workflow.scope().try_charge(tokens.of(black_box(1))).unwrap()));
    group.bench_function("can_continue", |b| b.iter(|| workflow.can_continue()));
    group.bench_function("usage", |b| b.iter(|| workflow.usage()));
    let leased = spec.clone().ttl(Duration::from_secs(300));
    let leased = scope.begin_workflow("leased", leased).expect("a workflow");
    group.bench_function("renew", |b| b.iter(|| leased.renew(black_box(Duration::from_secs(300)))));
    group.finish();
}

pub(crate) fn slots(criterion: &mut Criterion) {
    let limit = |id, kind| Limit::new(id, kind, "streams", Window::Lifetime, Cap::Max(100));
    let policy = limits(resources(), 1, PLENTY, Window::Day).resource("streams", Unit::Count);
    let policy = policy.limit(limit("streams-user", "user")).limit(limit("streams-all", "global"));
    let Rig { engine, scope, .. } = rig_of(policy, |engine| engine);
    let (streams, ttl) = (engine.resource("streams").expect("declared"), Duration::from_secs(300));
    let mut group = criterion.benchmark_group("slot");
    group.bench_function("take + release", |b| b.iter(|| scope.slot(streams, ttl).unwrap().release()));
    group.bench_function("take + release, by id", |b| {
        b.iter(|| {
            scope.slot_with_id(streams, "stream-a", ttl).unwrap().detach();
            scope.release_slot(streams, "stream-a")
        });
    });
    let slot = scope.slot(streams, ttl).expect("a place");
    group.bench_function("renew", |b| b.iter(|| slot.renew(black_box(ttl))));
    scope.slot_with_id(streams, "stream-b", ttl).expect("a place").detach();
    group.bench_function("renew, by id", |b| b.iter(|| scope.renew_slot(streams, black_box("stream-b"), ttl)));
    group.bench_function("take by id, asked again", |b| {
        b.iter(|| scope.slot_with_id(streams, black_box("stream-b"), ttl).unwrap().detach());
    });
    group.finish();
}

pub(crate) fn allowances(criterion: &mut Criterion) {
    let Rig { scope, tokens, .. } = rig(1, PLENTY, Window::Day);
    let mut group = criterion.benchmark_group("allowance");
    group.bench_function("reserve + into_allowance + end", |b| {
        b.iter(|| scope.reserve(tokens.of(100)).unwrap().into_allowance().unwrap().end());
    });
    group.bench_function("reserve + into_allowance_keeping + end + release", |b| {
        b.iter(|| {
            let hold = scope.reserve(tokens.of(100)).unwrap();
            let (allowance, kept) = hold.into_allowance_keeping(tokens.of(10)).unwrap();
            (allowance.end(), kept.release().unwrap())
        });
    });
    let allowance = scope.reserve(tokens.of(PLENTY / 2)).unwrap().into_allowance().unwrap();
    let agent = allowance.scope(["user:7"]).expect("a scope");
    group.bench_function("try_charge", |b| b.iter(|| agent.try_charge(tokens.of(black_box(1))).unwrap()));
    group.bench_function("reserve + commit, less", |b| {
        b.iter(|| agent.reserve(tokens.of(7)).unwrap().commit(tokens.of(2)).unwrap());
    });
    group.bench_function("carve + end", |b| b.iter(|| allowance.carve(tokens.of(100)).unwrap().end()));
    group.bench_function("split_evenly in 4 + drop", |b| b.iter(|| allowance.split_evenly(4).unwrap()));
    group.bench_function("usage", |b| b.iter(|| allowance.usage()));
    group.finish();
}

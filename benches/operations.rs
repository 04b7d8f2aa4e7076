//! Criterion benches of the public operations: `cargo bench --bench operations`.
#![allow(missing_docs, reason = "criterion's macro makes an undocumented function")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use encumber::{
    Cap, Clock, Engine, Limit, ManualClock, Policy, Price, Rates, Resource, Scope, Timestamp, TokenClass, Unit, Usage,
    Window,
};

struct Rig {
    engine: Engine,
    clock: ManualClock,
    scope: Scope,
    tokens: Resource,
}

/// A scope of `budgets` hard budgets on one subject.
fn rig(budgets: usize, max: u64, window: Window) -> Rig {
    let price = Price::new().with(TokenClass::Input, 3.into()).with(TokenClass::Output, 15.into());
    let base = Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("usd", Unit::Usd)
        .rates(Rates::strict().price("model", price));
    let policy = (0..budgets).fold(base, |policy, number| {
        policy.limit(Limit::new(&format!("limit-{number}"), "user", "tokens", window, Cap::Max(max)))
    });
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let engine = Engine::builder(policy.build().expect("a policy")).clock(Clock::manual(&clock)).build();
    let scope = engine.scope(["user:7"]).expect("a scope");
    let tokens = engine.resource("tokens").expect("declared");
    Rig { engine, clock, scope, tokens }
}

fn by_budgets(criterion: &mut Criterion) {
    let max = Window::Day.cap_max();
    for budgets in [1, 3, 8] {
        let Rig { scope, tokens, .. } = rig(budgets, max, Window::Day);
        let mut group = criterion.benchmark_group(format!("{budgets} budgets"));
        group.bench_function("try_charge", |b| b.iter(|| scope.try_charge(tokens.of(black_box(1))).is_ok()));
        group.bench_function("check_cost", |b| b.iter(|| scope.check_cost(&tokens.of(black_box(1))).is_ok()));
        group.bench_function("record", |b| b.iter(|| scope.record(tokens.of(black_box(1))).is_ok()));
        group.bench_function("reserve + commit, equal", |b| {
            b.iter(|| scope.reserve(tokens.of(7)).is_ok_and(|hold| hold.commit(tokens.of(7)).is_ok()));
        });
        group.bench_function("reserve + commit, less", |b| {
            b.iter(|| scope.reserve(tokens.of(7)).is_ok_and(|hold| hold.commit(tokens.of(2)).is_ok()));
        });
        group.bench_function("reserve + drop", |b| b.iter(|| scope.reserve(tokens.of(7)).is_ok()));
        group.bench_function("afford", |b| b.iter(|| scope.afford(black_box(tokens))));
        group.bench_function("usage", |b| b.iter(|| scope.usage()));
        group.finish();
        let full = rig(budgets, 10, Window::Day);
        criterion.bench_function(&format!("{budgets} budgets/refused"), |b| {
            b.iter(|| full.scope.try_charge(full.tokens.of(black_box(11))).is_err());
        });
    }
}

fn windows(criterion: &mut Criterion) {
    for window in [Window::Minute, Window::Day, Window::Month, Window::Lifetime] {
        let Rig { scope, tokens, .. } = rig(1, window.cap_max(), window);
        criterion.bench_function(&format!("window/{window}"), |b| {
            b.iter(|| scope.try_charge(tokens.of(black_box(1))).is_ok());
        });
    }
    let Rig { scope, tokens, clock, .. } = rig(1, 1_000, Window::Minute);
    criterion.bench_function("window/rollover each call", |b| {
        b.iter(|| {
            clock.advance(Duration::from_secs(60));
            scope.try_charge(tokens.of(1)).is_ok()
        });
    });
}

fn cold_paths(criterion: &mut Criterion) {
    let Rig { engine, .. } = rig(1, 1_000_000, Window::Day);
    let ids: Vec<String> = (0..1_000).map(|id| format!("user:{id:025}")).collect();
    let mut turn = 0;
    criterion.bench_function("scope/by id, 1,000 subjects", |b| {
        b.iter(|| {
            turn = (turn + 1) % ids.len();
            engine.scope([&*ids[turn]]).is_ok()
        });
    });
    let usage = Usage::new().with(TokenClass::Input, 1_234).with(TokenClass::Output, 567).model("model");
    criterion.bench_function("cost of a call, tokens and usd", |b| b.iter(|| engine.cost(black_box(&usage))));
}

criterion_group!(benches, by_budgets, windows, cold_paths);
criterion_main!(benches);

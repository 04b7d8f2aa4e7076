//! What a scope does at once.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use encumber::{Cap, Component, Events, Limit, Subject, Subjects, TokenClass, Usage, Window};

use crate::rig::{PLENTY, Rig, limits, resources, rig, rig_of};

/// Without a listener to events, and with one that takes none: what is charged here has nothing to tell, refusals soon find the queue full.
pub(crate) fn by_budgets(criterion: &mut Criterion) {
    for (budgets, listened_to) in [1, 3, 8].into_iter().flat_map(|budgets| [(budgets, false), (budgets, true)]) {
        let events = Events::bounded(1_024);
        let rig = |max| {
            rig_of(limits(resources(), budgets, max, Window::Day), |engine| {
                if listened_to { engine.events(&events) } else { engine }
            })
        };
        let Rig { scope, tokens, clock, .. } = rig(PLENTY);
        let mut group =
            criterion.benchmark_group(format!("{budgets} budgets{}", if listened_to { ", events on" } else { "" }));
        group.bench_function("try_charge", |b| b.iter(|| scope.try_charge(tokens.of(black_box(1))).unwrap()));
        group.bench_function("check", |b| b.iter(|| scope.check().unwrap()));
        group.bench_function("check_cost", |b| b.iter(|| scope.check_cost(&tokens.of(black_box(1))).unwrap()));
        group.bench_function("check_in", |b| b.iter(|| scope.check_in(black_box(&[tokens])).unwrap()));
        group.bench_function("record", |b| b.iter(|| scope.record(tokens.of(black_box(1))).unwrap()));
        group.bench_function("reserve + commit, equal", |b| {
            b.iter(|| scope.reserve(tokens.of(7)).unwrap().commit(tokens.of(7)).unwrap());
        });
        group.bench_function("reserve + commit, less", |b| {
            b.iter(|| scope.reserve(tokens.of(7)).unwrap().commit(tokens.of(2)).unwrap());
        });
        group.bench_function("reserve + commit, more", |b| {
            b.iter(|| scope.reserve(tokens.of(2)).unwrap().commit(tokens.of(7)).unwrap());
        });
        group.bench_function("reserve + release", |b| {
            b.iter(|| scope.reserve(tokens.of(7)).unwrap().release().unwrap());
        });
        group.bench_function("reserve + drop", |b| b.iter(|| scope.reserve(tokens.of(7)).unwrap()));
        group.bench_function("reserve_up_to + drop", |b| b.iter(|| scope.reserve_up_to(tokens, 1, 7).unwrap()));
        group.bench_function("afford", |b| b.iter(|| scope.afford(black_box(tokens))));
        group.bench_function("usage", |b| b.iter(|| scope.usage()));
        group.bench_function("usage_at", |b| b.iter(|| scope.usage_at(black_box(clock.now()))));
        let full = rig(10);
        group.bench_function("refused", |b| {
            b.iter(|| full.scope.try_charge(full.tokens.of(black_box(11))).unwrap_err());
        });
        group.bench_function("refused reserve", |b| {
            b.iter(|| full.scope.reserve(full.tokens.of(black_box(11))).unwrap_err());
        });
        group.finish();
    }
}

/// Charges that go to one of two resources, or to as much output as there is money for.
pub(crate) fn one_resource(criterion: &mut Criterion) {
    let limit = |id, resource| Limit::new(id, "user", resource, Window::Day, Cap::Max(PLENTY));
    let policy = resources().limit(limit("tokens", "tokens")).limit(limit("usd", "usd"));
    let Rig { engine, scope, tokens, .. } = rig_of(policy, |engine| engine);
    let usd = engine.resource("usd").expect("declared");
    criterion
        .bench_function("charge_in_order", |b| b.iter(|| scope.charge_in_order([tokens, usd], black_box(1)).unwrap()));
    criterion
        .bench_function("record_in_order", |b| b.iter(|| scope.record_in_order([tokens, usd], black_box(1)).unwrap()));
    criterion.bench_function("try_charge, two resources", |b| {
        b.iter(|| scope.try_charge(tokens.of(black_box(1)).and(usd, 1)).unwrap());
    });
    let input = Usage::new().with(TokenClass::Input, 1_234).model("model");
    // The money of some 130 tokens beyond the input's.
    let little = rig_of(
        resources().limit(Limit::new("usd", "user", "usd", Window::Day, Cap::Max(1_234 * 3_000 + 130 * 15_000))),
        |engine| engine,
    );
    criterion.bench_function("afford_output, 4,096 wanted", |b| {
        b.iter(|| little.scope.afford_output(black_box(&input), 4_096));
    });
}

pub(crate) fn windows(criterion: &mut Criterion) {
    let written = ["rolling 5h", "5h from first use"].map(|text| text.parse().expect("a window"));
    #[cfg(feature = "time-zones")]
    let zoned =
        encumber::Zone::new("Europe/Berlin").map(|zone| Window::Day.in_zone(zone).expect("a calendar window")).ok();
    #[cfg(not(feature = "time-zones"))]
    let zoned = None::<Window>;
    let calendar = [Window::Minute, Window::Day, Window::Month, Window::Lifetime];
    for window in calendar.into_iter().chain(written).chain(zoned) {
        let Rig { scope, tokens, .. } = rig(1, window.cap_max(), window);
        criterion.bench_function(&format!("window/{window}"), |b| {
            b.iter(|| scope.try_charge(tokens.of(black_box(1))).unwrap());
        });
    }
    for budgets in [1, 3, 8] {
        let Rig { scope, tokens, clock, .. } = rig(budgets, 1_000, Window::Minute);
        criterion.bench_function(&format!("window/rollover each call, {budgets} budgets"), |b| {
            b.iter(|| {
                clock.advance(Duration::from_secs(60));
                scope.try_charge(tokens.of(1)).unwrap()
            });
        });
        criterion.bench_function(&format!("window/rollover, then reserve + commit, {budgets} budgets"), |b| {
            b.iter(|| {
                clock.advance(Duration::from_secs(60));
                scope.reserve(tokens.of(7)).unwrap().commit(tokens.of(2)).unwrap()
            });
        });
        criterion.bench_function(&format!("window/reserve + rollover + commit, {budgets} budgets"), |b| {
            b.iter(|| {
                let hold = scope.reserve(tokens.of(7)).unwrap();
                clock.advance(Duration::from_secs(60));
                hold.commit(tokens.of(2)).unwrap()
            });
        });
    }
}

/// Refusals whose events are taken, and what a host does with a refusal.
pub(crate) fn refused(criterion: &mut Criterion) {
    for budgets in [1, 3, 8] {
        let events = Events::bounded(1_024);
        let policy = limits(resources(), budgets, 10, Window::Day);
        let Rig { scope, tokens, .. } = rig_of(policy, |engine| engine.events(&events));
        let mut group = criterion.benchmark_group(format!("{budgets} budgets, events on"));
        group.bench_function("refused, its event taken", |b| {
            b.iter(|| {
                let refused = scope.try_charge(tokens.of(black_box(11))).unwrap_err();
                (refused, events.try_next())
            });
        });
        group.finish();
        let refusal = scope.try_charge(tokens.of(11)).unwrap_err().into_refusal().expect("refused");
        let mut group = criterion.benchmark_group(format!("a refusal of {budgets} budgets"));
        group.bench_function("as a sentence", |b| b.iter(|| black_box(&refusal).to_string()));
        group.bench_function("for HTTP", |b| b.iter(|| black_box(&refusal).http()));
        #[cfg(feature = "json")]
        group.bench_function("as JSON", |b| b.iter(|| black_box(&refusal).to_json()));
        group.finish();
    }
}

/// While the store is degraded: checks and records are let through, charges are not.
pub(crate) fn degraded(criterion: &mut Criterion) {
    let Rig { engine, scope, tokens, .. } = rig(1, PLENTY, Window::Day);
    let mut group = criterion.benchmark_group("degraded");
    group.bench_function("set_degraded, there and back", |b| {
        b.iter(|| [true, false].map(|degraded| engine.set_degraded(Component::Store, degraded)));
    });
    engine.set_degraded(Component::Store, true);
    group.bench_function("check", |b| b.iter(|| scope.check().unwrap()));
    group.bench_function("record", |b| b.iter(|| scope.record(tokens.of(black_box(1))).unwrap()));
    group.bench_function("refused", |b| b.iter(|| scope.try_charge(tokens.of(black_box(1))).unwrap_err()));
    group.finish();
}

/// What is done now and then: scopes, prices, caps, policies.
pub(crate) fn resolved(criterion: &mut Criterion) {
    let Rig { engine, scope, tokens, .. } = rig(1, 1_000_000, Window::Day);
    let ids: Vec<String> = (0..1_000).map(|id| format!("user:{id:025}")).collect();
    let mut turn = 0;
    criterion.bench_function("scope/by id, 1,000 subjects", |b| {
        b.iter(|| {
            turn = (turn + 1) % ids.len();
            engine.scope([&*ids[turn]]).unwrap()
        });
    });
    let of_groups = Subjects::new().in_groups("user:7", ["heavy", "berlin"]).expect("subjects");
    criterion.bench_function("scope/of subjects in groups", |b| b.iter(|| engine.scope_of(of_groups.clone()).unwrap()));
    let usage = Usage::new().with(TokenClass::Input, 1_234).with(TokenClass::Output, 567).model("model");
    criterion.bench_function("cost of a call, tokens and usd", |b| b.iter(|| engine.cost(black_box(&usage))));
    criterion.bench_function("cost of a call, its price reported", |b| {
        b.iter(|| engine.cost_with(black_box(&usage), 12_345_678));
    });
    criterion.bench_function("resource by name", |b| b.iter(|| engine.resource(black_box("tokens")).unwrap()));

    let user = Subject::new("user", "7").expect("a subject");
    criterion.bench_function("resolve", |b| b.iter(|| engine.resolve(black_box(&user), &[]).unwrap()));
    criterion.bench_function("top_up + set_override", |b| {
        b.iter(|| {
            engine.top_up(&user, "limit-0", 1).unwrap();
            engine.set_override(&user, "limit-0", None).unwrap()
        });
    });
    let policy = limits(resources(), 1, PLENTY, Window::Day).build().expect("a policy");
    criterion.bench_function("set_policy + the first charge under it", |b| {
        b.iter(|| {
            engine.set_policy(policy.clone());
            scope.try_charge(tokens.of(1)).unwrap()
        });
    });
    criterion.bench_function("policy", |b| b.iter(|| engine.policy()));
    criterion.bench_function("sweep, one subject", |b| b.iter(|| engine.sweep()));
}

//! Scopes that are resolved at every call, as hosts do that keep no handles.

use std::cell::LazyCell;

use criterion::Criterion;
use encumber::{Cap, Engine, Limit, ManualClock, Policy, Resource, Timestamp, Unit, Window};

use crate::rig::{PLENTY, is_test};

/// Ids drawn in advance; more than a cache holds of the subjects they lead to.
const DRAWS: usize = 1 << 20;

/// Spreads neighbouring ranks over the subjects: a prime that divides none of their numbers.
const RANK_STRIDE: usize = 618_033_989;

struct Keyed {
    engine: Engine,
    tokens: Resource,
    /// 30 bytes each.
    ids: Vec<Box<str>>,
    teams: Vec<Box<str>>,
}

impl Keyed {
    /// One budget of each user; with `levels`, one of each ten users and one of all as well.
    fn new(subjects: usize, levels: bool) -> Self {
        let limit = |kind| Limit::new(kind, kind, "tokens", Window::Day, Cap::Max(PLENTY));
        let policy = Policy::builder().resource("tokens", Unit::Count).limit(limit("user"));
        let policy = if levels { policy.limit(limit("team")).limit(limit("global")) } else { policy };
        let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
        let engine = Engine::builder(policy.build().expect("a policy")).clock(&clock).build();
        let tokens = engine.resource("tokens").expect("declared");
        let subjects = if is_test() { subjects.min(1_000) } else { subjects };
        let ids = (0..subjects).map(|number| format!("user:{number:025}").into()).collect();
        let teams = (0..subjects.div_ceil(10)).map(|number| format!("team:{number:025}").into()).collect();
        let keyed = Self { engine, tokens, ids, teams };
        // Charged, so that none is idle and makes room for another.
        for number in 0..subjects {
            keyed.charge(number, levels);
        }
        keyed
    }

    fn charge(&self, number: usize, levels: bool) {
        let Self { engine, tokens, ids, teams } = self;
        let scope = if levels {
            engine.scope([&*ids[number], &*teams[number % teams.len()]])
        } else {
            engine.scope([&*ids[number]])
        };
        scope.unwrap().try_charge(tokens.of(1)).unwrap();
    }
}

pub(crate) fn by_key(criterion: &mut Criterion) {
    for (levels, budgets) in [(false, "1 budget"), (true, "3 budgets")] {
        for (subjects, name) in [(1_000, "1k"), (100_000, "100k"), (1_000_000, "1M")] {
            // Made by the first bench that asks, so that a filter spares the others.
            let keyed = LazyCell::new(|| Keyed::new(subjects, levels));
            let mut group = criterion.benchmark_group(format!("by key, {name} subjects, {budgets}"));
            for (distribution, draw) in [("uniform", uniform as fn(usize) -> Vec<u32>), ("zipf", zipf)] {
                let draws = LazyCell::new(|| draw(keyed.ids.len()));
                let mut turn = 0;
                group.bench_function(format!("try_charge, {distribution}"), |b| {
                    let (keyed, draws) = (&*keyed, &*draws);
                    b.iter(|| {
                        turn = (turn + 1) % draws.len();
                        keyed.charge(draws[turn] as usize, levels);
                    });
                });
            }
            group.finish();
        }
    }
}

fn draws() -> usize {
    if is_test() { 1_000 } else { DRAWS }
}

/// A multiplicative generator modulo 2^64; the high half is what is good.
fn random() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(0x9E37_79B9_7F4A_7C15_u64), |state| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .map(|state| (state >> 32) as u32)
}

fn uniform(subjects: usize) -> Vec<u32> {
    random().take(draws()).map(|bits| ((u64::from(bits) * subjects as u64) >> 32) as u32).collect()
}

/// The subject of rank k in proportion to 1/k, ranks scattered over the subjects.
fn zipf(subjects: usize) -> Vec<u32> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=subjects)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let subject = |bits: u32| {
        let drawn = f64::from(bits) / (f64::from(u32::MAX) + 1.0) * sum;
        (sums.partition_point(|sum| *sum <= drawn) * RANK_STRIDE % subjects) as u32
    };
    random().take(draws()).map(subject).collect()
}

//! Subjects that are named at every call, as hosts do that keep no handles.

use std::cell::LazyCell;

use criterion::Criterion;
use encumber::{Cap, Engine, Limit, ManualClock, Policy, Resource, Timestamp, Unit, Window};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::Zipf;

use crate::rig::{PLENTY, is_test};

/// Ids drawn in advance; more than a cache holds of the subjects they lead to.
const DRAWS: usize = 1 << 20;

/// Spreads neighbouring ranks over the subjects: a prime that divides none of their numbers.
const RANK_STRIDE: usize = 618_033_989;

const SEED: u64 = 0x5eed_0001;

#[derive(Clone, Copy)]
enum By {
    Name,
    Scope,
    /// A scope made for a reservation and its commit.
    Hold,
}

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
            keyed.charge(number, levels, By::Scope);
        }
        keyed
    }

    /// Charges a subject that is named at the call, or a scope made for it.
    fn charge(&self, number: usize, levels: bool, by: By) {
        let Self { engine, tokens, ids, teams } = self;
        let subjects = [&*ids[number], &*teams[number % teams.len()]];
        let subjects = if levels { &subjects[..] } else { &subjects[..1] };
        let scope = || engine.scope(subjects.iter().copied()).unwrap();
        match by {
            By::Name => engine.try_charge(subjects, tokens.of(1)).map(drop).unwrap(),
            By::Scope => scope().try_charge(tokens.of(1)).map(drop).unwrap(),
            By::Hold => scope().reserve(tokens.of(7)).unwrap().commit(tokens.of(2)).map(drop).unwrap(),
        }
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
                for (by, way) in [
                    (By::Name, "try_charge, by name"),
                    (By::Scope, "try_charge, a scope per call"),
                    (By::Hold, "reserve + commit, a scope per call"),
                ] {
                    let mut turn = 0;
                    group.bench_function(format!("{way}, {distribution}"), |b| {
                        let (keyed, draws) = (&*keyed, &*draws);
                        b.iter(|| {
                            turn = (turn + 1) % draws.len();
                            keyed.charge(draws[turn] as usize, levels, by);
                        });
                    });
                }
            }
            group.finish();
        }
    }
}

fn draws() -> usize {
    if is_test() { 1_000 } else { DRAWS }
}

fn uniform(subjects: usize) -> Vec<u32> {
    let mut random = SmallRng::seed_from_u64(SEED);
    (0..draws()).map(|_| random.random_range(0..subjects as u32)).collect()
}

/// The subject of rank k in proportion to 1/k, ranks scattered over the subjects.
fn zipf(subjects: usize) -> Vec<u32> {
    let zipf = Zipf::new(subjects as f64, 1.0).expect("there are subjects");
    let ranks = SmallRng::seed_from_u64(SEED).sample_iter(zipf).take(draws());
    ranks.map(|rank: f64| (rank as usize * RANK_STRIDE % subjects) as u32).collect()
}

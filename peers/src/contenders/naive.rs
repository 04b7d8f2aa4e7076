//! Budgets as they are written without thinking of threads: two that are found in the field.
//!
//! The first does what `AgentTokenBudget::consume` of heliosdb-proxy 2.2.0 does (`src/rate_limit/agent.rs`): looks whether the period is over,
//! looks up the operation's cost, adds, tests, and takes back what was too much. The second looks whether there is room under one lock and
//! adds under another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use parking_lot::RwLock;

use crate::contender::{Contender, Group, Spec};

/// Names that bars refer to.
pub(crate) mod names {
    pub(crate) const HELIOS: &str = "like HeliosDB: add, test, take back";
    pub(crate) const HELIOS_BY_KEY: &str = "like HeliosDB, in a dashmap";
}

pub(super) fn specs() -> Vec<Spec> {
    use Group::{Direct, Keys1k, Memory, Refusal};
    vec![
        Spec::new(names::HELIOS, "", &[Direct, Refusal], |plan| {
            plan.seats(|| Ok(Alone(Arc::new(AddAndTakeBack::new("agent", plan.max)))))
        })
        .without_package(),
        Spec::new(names::HELIOS_BY_KEY, "dashmap", &[Keys1k, Memory], |plan| {
            plan.seats(|| Ok(ByKey::<AddAndTakeBack> { max: plan.max, budgets: Arc::default() }))
        }),
        Spec::new("check under a lock, add under another", "", &[Direct, Refusal], |plan| {
            plan.seats(|| Ok(Alone(Arc::new(CheckThenAdd::new("agent", plan.max)))))
        })
        .without_package(),
        Spec::new("check, then add, in a dashmap", "dashmap", &[Keys1k, Memory], |plan| {
            plan.seats(|| Ok(ByKey::<CheckThenAdd> { max: plan.max, budgets: Arc::default() }))
        }),
    ]
}

trait Naive: Send + Sync + 'static {
    fn new(agent: &str, max: u64) -> Self;
    fn consume(&self, amount: u64) -> bool;
}

struct Alone<B>(Arc<B>);

impl<B> Clone for Alone<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Naive> Contender for Alone<B> {
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        self.0.consume(amount)
    }
}

struct ByKey<B> {
    max: u64,
    budgets: Arc<DashMap<String, B>>,
}

impl<B> Clone for ByKey<B> {
    fn clone(&self) -> Self {
        Self { max: self.max, budgets: Arc::clone(&self.budgets) }
    }
}

impl<B: Naive> Contender for ByKey<B> {
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        if let Some(budget) = self.budgets.get(key) {
            return budget.consume(amount);
        }
        self.budgets.entry(key.to_owned()).or_insert_with(|| B::new(key, self.max)).consume(amount)
    }
}

const PERIOD: Duration = Duration::from_secs(86_400);

struct AddAndTakeBack {
    agent: String,
    max: u64,
    used: AtomicU64,
    /// By operation, as there: each budget has a table of its own.
    costs: HashMap<String, u64>,
    last_reset: RwLock<Instant>,
}

impl AddAndTakeBack {
    fn reset_when_over(&self) {
        let last = *self.last_reset.read();
        if last.elapsed() >= PERIOD {
            self.used.store(0, Ordering::SeqCst);
            *self.last_reset.write() = Instant::now();
        }
    }
}

impl Naive for AddAndTakeBack {
    fn new(agent: &str, max: u64) -> Self {
        let costs = [("query", 1), ("embedding", 5), ("vector_search", 10), ("write", 2), ("transaction", 3)];
        Self {
            agent: agent.to_owned(),
            max,
            used: AtomicU64::new(0),
            costs: costs.into_iter().map(|(operation, cost)| (operation.to_owned(), cost)).collect(),
            last_reset: RwLock::new(Instant::now()),
        }
    }

    fn consume(&self, amount: u64) -> bool {
        self.reset_when_over();
        let cost = self.costs.get("query").copied().unwrap_or(1).saturating_mul(amount);
        let used = self.used.fetch_add(cost, Ordering::SeqCst);
        if used + cost > self.max {
            self.used.fetch_sub(cost, Ordering::SeqCst);
            // Its error names the agent and says when the period ends.
            std::hint::black_box((self.agent.clone(), self.last_reset.read().elapsed()));
            return false;
        }
        true
    }
}

struct CheckThenAdd(RwLock<Counted>);

struct Counted {
    max: u64,
    used: u64,
    since: Instant,
}

impl Naive for CheckThenAdd {
    fn new(_: &str, max: u64) -> Self {
        Self(RwLock::new(Counted { max, used: 0, since: Instant::now() }))
    }

    fn consume(&self, amount: u64) -> bool {
        let fits = {
            let budget = self.0.read();
            budget.since.elapsed() >= PERIOD || budget.used + amount <= budget.max
        };
        if fits {
            let mut budget = self.0.write();
            if budget.since.elapsed() >= PERIOD {
                (budget.used, budget.since) = (0, Instant::now());
            }
            budget.used += amount;
        }
        fits
    }
}

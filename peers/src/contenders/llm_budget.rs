//! llm-budget: dollar caps of agents. One unit here is a nano-dollar there. Its calls are asynchronous and never wait for anything but its
//! own locks, so they are polled in place.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use anyhow::Result;
use llm_budget::budget::AtomicBudget;
use llm_budget::{AgentBudget, FleetAllocator, ModelTier};

use crate::contender::{Contender, Group, Spec};
use crate::keys::key;

pub(super) fn specs() -> Vec<Spec> {
    use Group::{Direct, Keys1k, Memory, Refusal};
    vec![
        Spec::new("llm-budget AgentBudget, charge_usd", "llm-budget", &[Direct, Refusal], |plan| {
            plan.seats(|| Ok(Agent(Arc::new(AgentBudget::new("a", usd(plan.max), ModelTier::Standard, 0.2)?))))
        }),
        Spec::new("llm-budget AtomicBudget, charge", "llm-budget", &[Direct, Refusal], |plan| {
            plan.seats(|| Ok(Word(Arc::new(AtomicBudget::new(usd(plan.max))?))))
        }),
        Spec::new("llm-budget fleet, get_agent + charge_usd", "llm-budget", &[Keys1k, Memory], |plan| {
            plan.seats(|| Fleet::new(plan.max, plan.keys))
        }),
    ]
}

#[inline]
fn usd(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Asks again until it is ready: a lock is held by another thread for a moment only.
fn poll<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::yield_now();
    }
}

#[derive(Clone)]
struct Agent(Arc<AgentBudget>);

impl Contender for Agent {
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        poll(self.0.charge_usd(usd(amount), None, None)).is_ok()
    }
}

/// The counter within, without record, log and kill switch.
#[derive(Clone)]
struct Word(Arc<AtomicBudget>);

impl Contender for Word {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        self.0.charge(usd(amount)).is_ok()
    }
}

#[derive(Clone)]
struct Fleet(Arc<FleetAllocator>);

impl Fleet {
    /// Agents have to be registered before they are charged.
    fn new(max: u64, keys: usize) -> Result<Self> {
        let fleet = FleetAllocator::new(usd(max) * (keys + 1) as f64, ModelTier::Standard, 0.2)?;
        (0..keys).try_for_each(|number| fleet.register_agent(&key(number), usd(max)))?;
        Ok(Self(Arc::new(fleet)))
    }
}

impl Contender for Fleet {
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        self.0.get_agent(key).is_some_and(|agent| poll(agent.charge_usd(usd(amount), None, None)).is_ok())
    }
}

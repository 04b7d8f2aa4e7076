//! quota: a rate limiter by key (GCRA in a map of its own). As with governor, the burst is the budget.

use std::sync::Arc;

use quota::{QuotaPolicy, QuotaPool, RefillRate};

use crate::contender::{Contender, Group, Spec};

pub(super) fn specs() -> Vec<Spec> {
    vec![Spec::new("quota, check", "quota", &[Group::Keys1k, Group::Keys1m, Group::Memory], |plan| {
        plan.seats(|| Ok(Pool::new(plan.max)))
    })]
}

#[derive(Clone)]
struct Pool(Arc<QuotaPool>);

impl Pool {
    fn new(max: u64) -> Self {
        let nanos_per_unit = ((1_u64 << 62) / max) as f64;
        let refill = RefillRate::per_nano(1.0 / nanos_per_unit);
        let policy = QuotaPolicy::new().set_capacity(max as f64).set_refill_rate(refill);
        Self(Arc::new(QuotaPool::new(policy, max)))
    }
}

impl Contender for Pool {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        self.0.check(key, amount)
    }
}

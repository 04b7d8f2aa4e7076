//! limitador: limits by namespace, conditions and variables, in its memory storage. A variable of the call's context is the key.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use limitador::RateLimiter;
use limitador::limit::{Context, Limit, Namespace};

use crate::contender::{Contender, Group, Plan, Spec, worst_case};

/// Names that bars refer to.
pub(crate) mod names {
    pub(crate) const RESERVE_COMMIT: &str = "limitador, reserve + commit_reservation";
}

pub(super) fn specs() -> Vec<Spec> {
    use Group::{Direct, Keys1k, Memory, Refusal, Settle, SettleKeys};
    vec![
        Spec::new(
            "limitador, check_rate_limited_and_update",
            "limitador",
            &[Direct, Refusal, Keys1k, Memory],
            |plan| plan.seats(|| Limiter::new(plan)),
        ),
        Spec::new(names::RESERVE_COMMIT, "limitador", &[Settle, SettleKeys], |plan| {
            plan.seats(|| Ok(Settling(Limiter::new(plan)?)))
        }),
    ]
}

const SECONDS_PER_DAY: u64 = 86_400;

#[derive(Clone)]
struct Limiter {
    rates: Arc<RateLimiter>,
    namespace: Namespace,
    /// One budget for all calls, or one for each key.
    by_key: bool,
}

impl Limiter {
    fn new(plan: &Plan) -> Result<Self> {
        let by_key = !matches!(plan.group, Group::Direct | Group::Refusal | Group::Settle);
        let rates = RateLimiter::new(plan.keys as u64 * 2);
        let variables = if by_key { vec!["agent".try_into()?] } else { Vec::new() };
        rates.add_limit(Limit::new("calls", plan.max, SECONDS_PER_DAY, Vec::new(), variables));
        Ok(Self { rates: Arc::new(rates), namespace: "calls".into(), by_key })
    }

    fn context(&self, key: &str) -> Context<'static> {
        if self.by_key { HashMap::from([("agent".to_owned(), key.to_owned())]).into() } else { Context::default() }
    }
}

impl Contender for Limiter {
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        let asked = self.rates.check_rate_limited_and_update(&self.namespace, &self.context(key), amount);
        asked.is_ok_and(|result| !result.limited)
    }
}

#[derive(Clone)]
struct Settling(Limiter);

impl Contender for Settling {
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        let Limiter { rates, namespace, .. } = &self.0;
        let context = self.0.context(key);
        let Ok(reserved) = rates.reserve(namespace, &context, worst_case(amount), None) else { return false };
        !reserved.limited
            && rates.commit_reservation(namespace, &context, reserved.reservation_id.as_ref(), amount).is_ok()
    }
}

//! ratelimit: a token bucket without locks. The bucket is full at first, and one token comes each day.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use ratelimit::Ratelimiter;

use crate::contender::{Contender, Group, Spec};

pub(super) fn specs() -> Vec<Spec> {
    vec![Spec::new("ratelimit, try_wait_n", "ratelimit", &[Group::Direct, Group::Refusal], |plan| {
        plan.seats(|| Bucket::new(plan.max))
    })]
}

#[derive(Clone)]
struct Bucket(Arc<Ratelimiter>);

impl Bucket {
    fn new(max: u64) -> Result<Self> {
        let bucket = Ratelimiter::builder(1).period(Duration::from_secs(86_400)).max_tokens(max).initial_available(max);
        Ok(Self(Arc::new(bucket.build()?)))
    }
}

impl Contender for Bucket {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        self.0.try_wait_n(amount).is_ok()
    }
}

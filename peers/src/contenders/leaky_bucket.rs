//! leaky-bucket: a rate limiter for tasks that wait; `try_acquire` is its call that does not.

use std::sync::Arc;
use std::time::Duration;

use leaky_bucket::RateLimiter;

use crate::contender::{Contender, Group, Spec};

pub(super) fn specs() -> Vec<Spec> {
    vec![Spec::new("leaky-bucket, try_acquire", "leaky-bucket", &[Group::Direct, Group::Refusal], |plan| {
        plan.seats(|| Ok(Bucket::new(plan.max)))
    })]
}

#[derive(Clone)]
struct Bucket(Arc<RateLimiter>);

impl Bucket {
    fn new(max: u64) -> Self {
        let bucket = RateLimiter::builder()
            .max(max as usize)
            .initial(max as usize)
            .interval(Duration::from_secs(86_400))
            .build();
        Self(Arc::new(bucket))
    }
}

impl Contender for Bucket {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        self.0.try_acquire(amount as usize)
    }
}

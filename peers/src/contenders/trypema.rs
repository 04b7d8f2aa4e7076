//! trypema: a sliding window by key, in its local and absolute kind. It admits while the total is below the limit, whatever is asked for.

use std::sync::Arc;

use anyhow::Result;
use trypema::local::LocalRateLimiterProvider;
use trypema::{RateLimit, RateLimitDecision, RateLimiterBuilder, WindowSize};

use crate::contender::{Contender, Group, Limits, Spec};

pub(super) fn specs() -> Vec<Spec> {
    let groups = &[Group::Keys1k, Group::Memory];
    vec![
        Spec::new("trypema local absolute, inc", "trypema", groups, |plan| plan.seats(|| Window::new(plan.max)))
            .limiting(Limits::Units),
    ]
}

/// Long, and a power of two: the limit of a window, the product of rate and length, is then exact.
const WINDOW_SECONDS: u32 = 1 << 17;

#[derive(Clone)]
struct Window {
    provider: Arc<LocalRateLimiterProvider>,
    rate: RateLimit,
}

impl Window {
    fn new(max: u64) -> Result<Self> {
        let provider = LocalRateLimiterProvider::builder()
            .window_size(WindowSize::seconds(WINDOW_SECONDS.into())?)
            .disable_cleanup()
            .build()?;
        Ok(Self { provider, rate: RateLimit::per_second(max as f64 / f64::from(WINDOW_SECONDS))? })
    }
}

impl Contender for Window {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        matches!(self.provider.absolute().inc(key, &self.rate, amount), RateLimitDecision::Allowed)
    }
}

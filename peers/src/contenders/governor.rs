//! governor: a rate limiter (GCRA). A budget is a quota whose burst is the budget and which hardly ever replenishes.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};

use crate::contender::{Contender, Group, Limits, Spec};

pub(super) fn specs() -> Vec<Spec> {
    use Group::{Direct, Keys1k, Keys1m, Memory, Refusal};
    vec![
        Spec::new(names::CHECK_N, names::PACKAGE, &[Direct, Refusal], |plan| plan.seats(|| Alone::new(plan.max))),
        Spec::new(names::CHECK, names::PACKAGE, &[Direct], |plan| plan.seats(|| Ok(AloneByOne(Alone::new(plan.max)?))))
            .limiting(Limits::Nothing),
        Spec::new(names::CHECK_KEY_N, names::PACKAGE, &[Keys1k, Keys1m, Memory], |plan| {
            plan.seats(|| {
                Ok(Keyed { limiter: Arc::new(DefaultKeyedRateLimiter::keyed(quota(plan.max)?)), key: String::new() })
            })
        }),
    ]
}

/// Names that bars refer to.
pub(crate) mod names {
    pub(super) const PACKAGE: &str = "governor";
    pub(crate) const CHECK_N: &str = "governor, check_n";
    pub(crate) const CHECK: &str = "governor, check (one unit)";
    pub(crate) const CHECK_KEY_N: &str = "governor keyed, check_key_n";
}

/// The burst is `max`; a unit comes back so late that no run sees it. The product of both has to fit in 64 bits of nanoseconds.
fn quota(max: u64) -> Result<Quota> {
    let burst = u32::try_from(max).ok().and_then(NonZeroU32::new).context("governor counts in 32 bits")?;
    let quota = Quota::with_period(Duration::from_nanos((1 << 62) / max)).context("a period")?;
    Ok(quota.allow_burst(burst))
}

#[inline]
fn cells(amount: u64) -> NonZeroU32 {
    u32::try_from(amount).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX)
}

#[derive(Clone)]
struct Alone(Arc<DefaultDirectRateLimiter>);

impl Alone {
    fn new(max: u64) -> Result<Self> {
        Ok(Self(Arc::new(DefaultDirectRateLimiter::direct(quota(max)?))))
    }
}

impl Contender for Alone {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        matches!(self.0.check_n(cells(amount)), Ok(Ok(())))
    }
}

/// Its shortest call, which takes one unit whatever is asked.
#[derive(Clone)]
struct AloneByOne(Alone);

impl Contender for AloneByOne {
    #[inline]
    fn ask(&mut self, _: &str, _: u64) -> bool {
        self.0.0.check().is_ok()
    }
}

#[derive(Clone)]
struct Keyed {
    limiter: Arc<DefaultKeyedRateLimiter<String>>,
    /// It wants a reference to a key as it would keep it; this one is filled anew each time, so that nothing is allocated.
    key: String,
}

impl Contender for Keyed {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        self.key.clear();
        self.key.push_str(key);
        matches!(self.limiter.check_key_n(&self.key, cells(amount)), Ok(Ok(())))
    }
}

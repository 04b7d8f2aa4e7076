//! Paid resets as configuration: what is reset, what it costs, how often.

use super::{Enforcement, Fault, Limit, Place, PolicyCause, named};
use crate::amount::{Cap, Unit};

/// The resource in which paid resets are counted.
pub(super) const RESETS: &str = "resets";

/// Whether a paid reset is sold while the limit that it lowers is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Guard {
    /// Not while that limit is exhausted.
    #[default]
    Strict,
    /// Not if it would still be exhausted afterwards.
    Effective,
}

/// A reset that a subject can buy, as a policy describes it: sets what is used of one limit to 0, and lowers what is used of a longer one.
///
/// It is carried out by [`Scope::paid_reset`](crate::Scope::paid_reset). How often it was is a budget of its own: the limit with the reset's
/// id, in the resource `resets` and the window of the limit that is reset.
///
/// ```
/// use encumber::{Cap, Guard, Limit, PaidReset, Policy, Unit, Window};
/// let policy = Policy::builder()
///     .resource("tokens", Unit::Count)
///     .resource("credits", Unit::Count)
///     .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(2_500_000)))
///     .limit(Limit::new("user-week", "user", "tokens", Window::Week, Cap::Max(12_500_000)))
///     .limit(Limit::new("user-credit", "user", "credits", Window::Lifetime, Cap::Max(0)))
///     .reset(
///         PaidReset::new("fresh-day", "user-day")
///             .lowers("user-week")
///             .price(500)
///             .credits("credits")
///             .max_per_window(Cap::Max(5))
///             .guard(Guard::Strict),
///     )
///     .build()?;
/// let count = policy.limits().last().unwrap();
/// assert_eq!((count.id(), count.resource(), count.max()), ("fresh-day", "resets", Cap::Max(5)));
/// # Ok::<(), encumber::PolicyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidReset {
    id: Box<str>,
    limit: Box<str>,
    lowers: Option<Box<str>>,
    credits: Option<Box<str>>,
    price: Option<u64>,
    max_per_window: Option<Cap>,
    guard: Guard,
}

impl PaidReset {
    /// A reset with the stable id `id` of the limit with the id `limit`.
    pub fn new(id: &str, limit: &str) -> Self {
        Self {
            id: id.into(),
            limit: limit.into(),
            lowers: None,
            credits: None,
            price: None,
            max_per_window: None,
            guard: Guard::Strict,
        }
    }

    /// It gives one window of the limit that is reset back to this longer one, of the same kind of subject and resource: what is used
    /// there is lowered by the cap of the limit that is reset, floored at 0.
    pub fn lowers(mut self, limit: &str) -> Self {
        self.lowers = Some(limit.into());
        self
    }

    /// What it costs: units of [`credits`](Self::credits), or of the host's own wallet. Without a price the reset is switched off.
    pub fn price(mut self, amount: u64) -> Self {
        self.price = Some(amount);
        self
    }

    /// The resource that pays: the price is charged to the scope's budgets of it. Without one, only a wallet of the host's can pay.
    pub fn credits(mut self, resource: &str) -> Self {
        self.credits = Some(resource.into());
        self
    }

    /// How often a subject may buy it in one window of the limit that is reset. It has to be said: [`Cap::Unlimited`] is no cap.
    pub fn max_per_window(mut self, max: Cap) -> Self {
        self.max_per_window = Some(max);
        self
    }

    /// Whether it is sold while the longer limit is exhausted.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// The stable id, and that of the limit which counts the resets.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of the limit that is reset.
    pub fn limit(&self) -> &str {
        &self.limit
    }

    /// The id of the longer limit that is lowered.
    pub fn lowered(&self) -> Option<&str> {
        self.lowers.as_deref()
    }

    /// The resource that pays.
    pub fn paid_in(&self) -> Option<&str> {
        self.credits.as_deref()
    }

    /// What it costs.
    pub fn cost(&self) -> Option<u64> {
        self.price
    }

    /// How often a subject may buy it in one window.
    pub fn max(&self) -> Option<Cap> {
        self.max_per_window
    }

    /// Whether it is sold while the longer limit is exhausted.
    pub fn guarded(&self) -> Guard {
        self.guard
    }
}

/// Checks `resets` against the limits and resources beside them; adds the limits that count them, and the resource that these count.
pub(super) fn assemble(
    resets: &[PaidReset],
    limits: &mut Vec<Limit>,
    resources: &mut Vec<(Box<str>, Unit)>,
) -> Result<(), Fault> {
    let mut counts = Vec::with_capacity(resets.len());
    for (index, reset) in resets.iter().enumerate() {
        let fault = |field, cause| Fault::at(Place::Reset { index, field }, cause);
        named(&reset.id, || Place::Reset { index, field: "id" })?;
        let is_taken = limits.iter().any(|limit| limit.id == reset.id);
        if is_taken || resets[..index].iter().any(|earlier| earlier.id == reset.id) {
            return Err(fault("id", PolicyCause::Duplicate(reset.id.clone())));
        }
        counts.push(check(reset, limits, resources).map_err(|(field, cause)| fault(field, cause))?);
    }
    match resources.iter().find(|(name, _)| **name == *RESETS) {
        Some((_, Unit::Count)) => {}
        Some(_) if !resets.is_empty() => {
            let cause =
                PolicyCause::Expected { expected: "\"count\": paid resets are counted", found: "\"usd\"".into() };
            return Err(Fault::at(Place::Resource(RESETS.into()), cause));
        }
        None if !resets.is_empty() => resources.push((RESETS.into(), Unit::Count)),
        _ => {}
    }
    limits.append(&mut counts);
    Ok(())
}

/// The limit that counts a reset, if all is well with it.
fn check(
    reset: &PaidReset,
    limits: &[Limit],
    resources: &[(Box<str>, Unit)],
) -> Result<Limit, (&'static str, PolicyCause)> {
    let find = |field, id: &str| {
        let known = || limits.iter().map(|limit| limit.id.clone()).collect();
        let found = limits.iter().find(|limit| *limit.id == *id);
        found.ok_or_else(|| (field, PolicyCause::UnknownLimit { limit: id.into(), known: known() }))
    };
    let limit = find("limit", &reset.limit)?;
    if let Some(id) = &reset.lowers {
        let lowered = find("lowers", id)?;
        let length = |limit: &Limit| limit.window.shortest_micros().unwrap_or(i64::MAX);
        let why = match () {
            () if lowered.kind != limit.kind => "it is on another kind of subject",
            () if lowered.resource != limit.resource => "it is of another resource",
            () if length(lowered) <= length(limit) => "its window is not longer",
            () => "",
        };
        if !why.is_empty() {
            return Err(("lowers", PolicyCause::CannotLower { limit: limit.id.clone(), lowers: id.clone(), why }));
        }
    }
    if let Some(credits) = &reset.credits {
        if !resources.iter().any(|(name, _)| name == credits) {
            return Err(("credits", PolicyCause::UndeclaredResource(credits.clone())));
        }
        let pays = |limit: &Limit| limit.resource == *credits && limit.enforcement == Enforcement::Hard;
        if !limits.iter().any(pays) {
            return Err(("credits", PolicyCause::NothingPays(credits.clone())));
        }
        if reset.price.is_none() {
            return Err(("credits", PolicyCause::Missing("price")));
        }
    }
    let Some(max) = reset.max_per_window else { return Err(("id", PolicyCause::Missing("max_per_window"))) };
    let cap_max = limit.window.cap_max();
    if max.max().is_some_and(|max| max > cap_max) {
        let cause = PolicyCause::MaxTooLarge { window: limit.window, unit: Unit::Count, cap_max };
        return Err(("max_per_window", cause));
    }
    // Soft: what counts resets must not refuse calls. The reset itself goes by the cap.
    Ok(Limit::new(&reset.id, &limit.kind, RESETS, limit.window, max).enforcement(Enforcement::Soft))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Policy, PolicyBuilder};
    use crate::window::Window;

    fn builder() -> PolicyBuilder {
        let limit = |id, kind, resource, window| Limit::new(id, kind, resource, window, Cap::Max(9));
        Policy::builder()
            .resource("tokens", Unit::Count)
            .resource("usd", Unit::Usd)
            .resource("spare", Unit::Count)
            .limit(limit("day", "user", "tokens", Window::Day))
            .limit(limit("week", "user", "tokens", Window::Week))
            .limit(limit("hour", "user", "tokens", Window::Hour))
            .limit(limit("team", "global", "tokens", Window::Month))
            .limit(limit("usd-month", "user", "usd", Window::Month))
            .limit(limit("soft", "user", "spare", Window::Lifetime).enforcement(Enforcement::Soft))
    }

    fn reset() -> PaidReset {
        PaidReset::new("fresh", "day").price(5).max_per_window(Cap::Max(3))
    }

    #[test]
    fn the_count_is_a_limit_of_its_own_after_the_others() {
        let policy = builder().reset(reset().lowers("week").credits("usd")).build().unwrap();
        let count = policy.limits().last().unwrap();
        assert_eq!((count.id(), count.kind(), count.resource()), ("fresh", "user", "resets"));
        assert_eq!((count.window(), count.max()), (Window::Day, Cap::Max(3)));
        assert_eq!(policy.unit("resets"), Some(Unit::Count));
        assert_eq!(builder().build().unwrap().unit("resets"), None);
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_key() {
        let fault = |reset: PaidReset| builder().reset(reset).build().unwrap_err().to_string();
        assert!(fault(PaidReset::new("a b", "day")).starts_with("resets[0].id: \"a b\" cannot be a name"));
        assert_eq!(fault(PaidReset::new("day", "day")), "resets[0].id: \"day\" is there twice");
        let unknown = fault(PaidReset::new("fresh", "dya"));
        assert!(unknown.starts_with("resets[0].limit: there is no limit \"dya\"; known: day, week, hour"), "{unknown}");
        assert!(fault(reset().lowers("weak")).starts_with("resets[0].lowers: there is no limit \"weak\""));
        let lowers = |id| fault(reset().lowers(id));
        assert_eq!(lowers("hour"), "resets[0].lowers: a reset of day cannot lower hour: its window is not longer");
        assert!(lowers("day").ends_with("its window is not longer"));
        assert!(lowers("team").ends_with("it is on another kind of subject"));
        assert!(lowers("usd-month").ends_with("it is of another resource"));
        assert_eq!(fault(reset().credits("cash")), "resets[0].credits: the resource \"cash\" is not declared");
        assert!(fault(reset().credits("spare")).contains("no hard limit is on \"spare\""));
        let free = PaidReset::new("fresh", "day").credits("usd").max_per_window(Cap::Unlimited);
        assert_eq!(fault(free), "resets[0].credits: the key `price` is missing");
        assert_eq!(fault(PaidReset::new("fresh", "day")), "resets[0].id: the key `max_per_window` is missing");
        assert!(fault(reset().max_per_window(Cap::Max(u64::MAX))).starts_with("resets[0].max_per_window: a budget"));
        let twice = builder().reset(reset()).reset(reset()).build().unwrap_err();
        assert_eq!(twice.to_string(), "resets[1].id: \"fresh\" is there twice");
        let usd = builder().resource("resets", Unit::Usd).reset(reset()).build().unwrap_err();
        assert_eq!(usd.to_string(), "resources.resets: expected \"count\": paid resets are counted, found \"usd\"");
    }
}

//! Charging subjects by their names, without a scope: the short way for all subjects of a kind.
//!
//! A scope resolves what the policy says of its subjects, and keeps it. What the policy says of a kind is the same for all its subjects,
//! but for those that it names, and those that were given something while the engine runs. So it is resolved once for each kind, and a
//! call looks up nothing but the subjects' budgets, and makes those that are missing. Whatever is unusual takes the long way: a scope for the
//! call.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Core, Engine, InForce};
use crate::amount::Cost;
use crate::charge::{Ask, Measure, Quick, SEATS_INLINE, charge_found};
use crate::meter::{Meter, MeterRef};
use crate::registry::Rule;
use crate::report::Admission;
use crate::scope::ChargeError;
use crate::subject::{GLOBAL, SUBJECT_ID_BYTES_MAX, Subject};
use crate::time::Timestamp;

/// What one policy says of each kind. As long as nothing changes: see [`Live`](crate::live::Live).
#[derive(Debug)]
pub(super) struct Kinds {
    version: u64,
    /// None while something is degraded, or `global` is unusual.
    all: Vec<Kind>,
    in_force: Arc<InForce>,
    /// The limits on `global`, which is in every scope, and its budgets.
    global: Vec<(Limit, MeterRef)>,
}

#[derive(Debug)]
struct Kind {
    name: Box<str>,
    /// `None` for a kind that has a budget off the short way.
    limits: Option<Vec<Limit>>,
}

#[derive(Debug)]
struct Limit {
    /// Its place in the policy's order.
    order: usize,
    rule: Rule,
    measure: Measure,
}

impl Kinds {
    fn new(core: &Core, now: Timestamp) -> Self {
        // Read first: what is put in force meanwhile gets a later version.
        let version = core.live.version();
        let in_force = core.live.get();
        let limits = |kind: &str| {
            let of_kind = in_force.policy.limits().iter().zip(&in_force.limits).enumerate();
            let of_kind = of_kind.filter(|(_, (limit, _))| limit.kind() == kind);
            let resolved = of_kind.map(|(order, (limit, names))| {
                // Of any subject: its budget alone is not known yet.
                let meter = Meter::new(&limit.window(), now).into();
                let seat = names.seat(meter, &Subject::global(), (limit.max(), limit.enforced()));
                let measure = Measure::of(&seat.heard(core.is_heard()))?;
                Some(Limit { order, rule: names.rule, measure })
            });
            resolved.collect::<Option<Vec<_>>>()
        };
        let kinds = in_force.policy.kinds.iter().filter(|kind| ***kind != *GLOBAL);
        let kinds = kinds.map(|kind| Kind { name: kind.clone(), limits: limits(kind) });
        let of_global = || {
            let is_usual = core.degraded().is_none() && !in_force.names(GLOBAL) && !core.grants.concern(GLOBAL);
            let limits = limits(GLOBAL).filter(|_| is_usual)?;
            let rules: SmallVec<[_; 4]> = limits.iter().map(|limit| limit.rule).collect();
            let meters = core.registry.budgets(&Subject::global(), &rules, now).ok()?;
            Some(limits.into_iter().zip(meters).collect())
        };
        let (all, global) = of_global().map_or_else(Default::default, |global| (kinds.collect(), global));
        Self { version, all, in_force, global }
    }

    /// Charges `cost` if all is usual and it fits. Otherwise nothing is charged.
    fn charge<S: AsRef<str>>(
        &self,
        subjects: &[S],
        cost: &Cost,
        now: Timestamp,
        (core, cover): (&Core, &dyn Fn() -> bool),
    ) -> bool {
        if let ([text], []) = (subjects, &*self.global)
            && let Some([limit]) = self.usual(text.as_ref(), core)
        {
            // One budget: nothing to put in order, and nobody to wait for.
            // Nothing is written under the registry's lock: what has to be is charged with a share of the budget.
            let mut is_due = false;
            let charge = |meter: &Meter| {
                let due = || std::mem::replace(&mut is_due, true);
                Quick { meter, measure: &limit.measure }.charge(cost, now, due)
            };
            let charged = core.registry.with(text.as_ref(), limit.rule.0, charge);
            if let Some(is_charged) = charged.filter(|_| !is_due) {
                return is_charged;
            }
        }
        let mut found = SmallVec::<[(&Limit, &str, usize); SEATS_INLINE]>::new();
        let mut meters = SmallVec::<[MeterRef; SEATS_INLINE]>::new();
        for (index, text) in subjects.iter().enumerate() {
            let text = text.as_ref();
            let Some(limits) = self.usual(text, core) else { return false };
            if subjects[..index].iter().any(|earlier| earlier.as_ref() == text) {
                return false;
            }
            if limits.is_empty() {
                continue;
            }
            let first = meters.len();
            if !core.registry.find(text, limits.iter().map(|limit| limit.rule.0), &mut meters) {
                let rules: SmallVec<[Rule; 4]> = limits.iter().map(|limit| limit.rule).collect();
                let made = text.parse().ok().and_then(|subject| core.registry.budgets(&subject, &rules, now).ok());
                let Some(made) = made else { return false };
                meters.truncate(first);
                meters.extend(made);
            }
            found.extend(limits.iter().enumerate().map(|(index, limit)| (limit, text, first + index)));
        }
        let found = found.iter().map(|&(limit, text, index)| (limit, text, &*meters[index]));
        let global = self.global.iter().map(|(limit, meter)| (limit, GLOBAL, &**meter));
        let mut places: SmallVec<[_; SEATS_INLINE]> = found.chain(global).collect();
        // As every scope charges: limit by limit, within a limit by subject.
        places.sort_unstable_by_key(|&(limit, text, _)| (limit.order, text));
        let places: SmallVec<[_; SEATS_INLINE]> =
            places.into_iter().map(|(limit, _, meter)| Quick { meter, measure: &limit.measure }).collect();
        charge_found(&places, cost, now, &core.flights, cover)
    }

    /// The limits on a subject, if it is one, and all that is said of it is said of its kind.
    fn usual(&self, text: &str, core: &Core) -> Option<&[Limit]> {
        // A kind holds no colon.
        let id = |kind: &Kind| text.strip_prefix(&*kind.name)?.strip_prefix(':');
        let (kind, id) = self.all.iter().find_map(|kind| Some((kind, id(kind)?)))?;
        let is_id = matches!(id.len(), 1..=SUBJECT_ID_BYTES_MAX);
        let is_usual = is_id && !self.in_force.names(text) && !core.grants.concern(text);
        kind.limits.as_deref().filter(|_| is_usual)
    }
}

impl Engine {
    /// Admits and commits in one step, for subjects that are named at the call: the same as [`Engine::scope`] and
    /// [`Scope::try_charge`](crate::Scope::try_charge), without a handle to keep.
    ///
    /// For gateways, where each request names other subjects. It looks each of them up once, and makes a scope only when something is
    /// unusual: a limit of the subject's own, a refusal. Whoever charges the same subjects often keeps a scope: that looks up
    /// nothing.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(1_000)))
    /// #     .limit(Limit::new("all-day", "global", "tokens", Window::Day, Cap::Max(1_500))).build()?;
    /// # let engine = Engine::new(policy);
    /// let tokens = engine.resource("tokens")?;
    /// engine.try_charge(["user:7"], tokens.of(800))?;
    /// assert!(engine.try_charge(["user:7"], tokens.of(300)).is_err(), "200 of user 7's are left");
    /// engine.try_charge(["user:8"], tokens.of(700))?;
    /// assert!(engine.try_charge(["user:9"], tokens.of(1)).is_err(), "all have used 1,500");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::scope`], in [`ChargeError::Scope`], and as [`Scope::try_charge`](crate::Scope::try_charge). Nothing is charged then.
    pub fn try_charge<S: AsRef<str>>(
        &self,
        subjects: impl IntoIterator<Item = S>,
        cost: Cost,
    ) -> Result<Admission, ChargeError> {
        let core = &*self.core;
        let subjects: SmallVec<[S; 4]> = subjects.into_iter().collect();
        let now = core.now();
        let current = |kinds: &Kinds| kinds.version == core.live.version();
        let cover = || self.is_covered(&subjects, &cost, now);
        let charge = |kinds: &Kinds| kinds.charge(&subjects, &cost, now, (core, &cover));
        if core.kinds.with(current, || Kinds::new(core, now), charge) {
            return Ok(Admission::default());
        }
        self.scope(subjects.iter().map(AsRef::as_ref))?.try_charge(cost)
    }

    /// Whether what was charged is written down.
    #[cold]
    fn is_covered<S: AsRef<str>>(&self, subjects: &[S], cost: &Cost, now: Timestamp) -> bool {
        self.scope(subjects.iter().map(AsRef::as_ref)).is_ok_and(|scope| scope.is_covered(Ask::Charge(cost), now))
    }
}

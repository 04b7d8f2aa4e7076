//! The model: admission, reservations and reports over a map of budgets.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::budget::{Budget, Count, Key, to_u64};
use crate::calendar::Window;
use crate::holds::{Hold, Kept, Receipt};
use crate::outcome::{
    Admission, Component, Error, Overage, Recorded, Refusal, Reserved, Retry, Settings, Status, Usage, Violation,
};
use crate::policy::{Bound, Enforcement, Policy, kind};

/// A naive, single-threaded budget engine.
///
/// Subjects are text such as `user:7`; `global` is in every scope, and naming a subject twice counts once. A cost lists resources and
/// amounts. Instants are microseconds since the epoch and may go back from call to call.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub(crate) settings: Settings,
    policy: Policy,
    /// Resource and window of each limit that a policy ever had.
    limits: HashMap<String, (String, Window)>,
    budgets: HashMap<Key, Budget>,
    pub(crate) holds: Vec<Hold>,
    /// The holds that are kept under an id, open and remembered ones.
    pub(crate) kept: BTreeMap<String, Kept>,
    /// How many of them got a number of the model's own, ever.
    pub(crate) numbered: u64,
    pub(crate) receipts: Vec<Receipt>,
    /// How many holds were charged more than they held when they expired.
    pub(crate) expired_above: u64,
    degraded: BTreeSet<Component>,
    /// When the engine was opened again, if it was.
    pub(crate) reopened_at: Option<i64>,
}

/// Amounts by resource.
pub(crate) type Amounts = BTreeMap<String, u128>;

/// What an amount of 0 asks for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Zero {
    Nothing,
    Room,
}

/// A budget that takes part in a call.
#[derive(Clone, Copy)]
pub(crate) struct Charge<'a> {
    bound: &'a Bound,
    index: i64,
    amount: u64,
}

impl Model {
    /// A model without usage under `policy`.
    pub fn new(policy: Policy) -> Self {
        let mut model = Self::default();
        model.set_policy(policy);
        model
    }

    /// A model without usage under `policy`, set up otherwise than usual.
    pub fn with_settings(policy: Policy, settings: Settings) -> Self {
        Self { settings, ..Self::new(policy) }
    }

    /// Says that something outside is degraded, or is well again.
    pub fn set_degraded(&mut self, component: Component, degraded: bool) {
        if degraded {
            self.degraded.insert(component);
        } else {
            self.degraded.remove(&component);
        }
    }

    /// Enforces another policy from now on. Usage stays with the budgets, also with those that come back later.
    pub fn set_policy(&mut self, policy: Policy) {
        for limit in &policy.limits {
            self.limits.insert(limit.id.clone(), (limit.resource.clone(), limit.window));
        }
        self.policy = policy;
    }

    /// The engine was closed, and opened again at `at` with the policy in force; `at` must not lie before an earlier call's instant.
    ///
    /// What an engine does not write down is forgotten: where clocks had jumped, what windows before the last one had charged. Holds that it
    /// keeps go by the caps in force; receipts made before are not refunded.
    pub fn reopened(&mut self, at: i64) {
        self.reopened_at = Some(at);
        self.budgets.values_mut().for_each(|budget| budget.reopened(at));
        self.rebind_holds();
    }

    /// Whether every hard budget of the scope has something left.
    ///
    /// # Errors
    /// Unknown names; [`Error::Refused`] when one has nothing left.
    pub fn check(&mut self, scope: &[&str], at: i64) -> Result<Admission, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        let answer = self.judge(&budgets, |_| Some(0), Zero::Room, at).map(|(admission, _)| admission);
        self.checked(answer)
    }

    /// Whether [`Model::try_charge`] would pass, and how; charges nothing.
    ///
    /// # Errors
    /// As [`Model::try_charge`].
    pub fn check_amount(&mut self, scope: &[&str], cost: &[(&str, u64)], at: i64) -> Result<Admission, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        let amounts = self.amounts(cost)?;
        let answer = self.judge(&budgets, asked(&amounts), Zero::Nothing, at).map(|(admission, _)| admission);
        self.checked(answer)
    }

    /// Charges the cost to every budget of the scope, or to none.
    ///
    /// # Errors
    /// Unknown names; [`Error::Refused`] when a hard budget has no room.
    pub fn try_charge(&mut self, scope: &[&str], cost: &[(&str, u64)], at: i64) -> Result<Admission, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        let amounts = self.amounts(cost)?;
        self.closed(self.settings.reserve_open)?;
        let (admission, charges) = self.judge(&budgets, asked(&amounts), Zero::Nothing, at)?;
        self.apply(&charges, false, at);
        Ok(admission)
    }

    /// Holds the cost in every budget of the scope, or in none. An amount of 0 passes only where something is left.
    ///
    /// # Errors
    /// Unknown names; [`Error::Refused`] when a hard budget has no room; [`Error::TooManyHolds`] where every hold gets a time-to-live.
    pub fn reserve(&mut self, scope: &[&str], cost: &[(&str, u64)], at: i64) -> Result<Reserved, Error> {
        if let Some(ttl) = self.settings.hold_ttl_micros {
            return self.reserve_for(scope, cost, ttl, at);
        }
        let scope = subjects(scope);
        let budgets = self.budgets(&scope, at)?;
        self.hold(scope, &budgets, cost, at)
    }

    /// Holds as much of `resource` as fits, at most `want`, and says how much that is. A `min` above `want` counts as `want`.
    ///
    /// # Errors
    /// Unknown names; [`Error::Refused`], as a reservation of `min` would be, when less than `min` fits.
    pub fn reserve_up_to(
        &mut self,
        scope: &[&str],
        resource: &str,
        min: u64,
        want: u64,
        at: i64,
    ) -> Result<(Reserved, u64), Error> {
        let left = self.afford(scope, resource, at)?.unwrap_or(u64::MAX);
        let amount = want.min(left.max(min));
        Ok((self.reserve(scope, &[(resource, amount)], at)?, amount))
    }

    /// Charges the cost after the fact, whatever the limits, and lists the budgets that it names and that are over.
    ///
    /// # Errors
    /// Unknown names; [`Error::Degraded`].
    pub fn record(&mut self, scope: &[&str], cost: &[(&str, u64)], at: i64) -> Result<Recorded, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        let amounts = self.amounts(cost)?;
        self.closed(self.settings.record_open)?;
        let charges = taking_part(&budgets, asked(&amounts));
        self.apply(&charges, false, at);
        let overage = charges.iter().filter_map(|charge| self.overage(charge.bound, charge.index)).collect();
        let receipt = self.receipt(at, amounts.clone(), vec![(budgets, amounts)]);
        Ok(Recorded { receipt, overage, degraded: !self.degraded.is_empty() })
    }

    /// The largest amount of `resource` that hard budgets leave room for; `None` when none of them caps it. Holds whose time has run out
    /// are collected before.
    ///
    /// # Errors
    /// Unknown names.
    pub fn afford(&mut self, scope: &[&str], resource: &str, at: i64) -> Result<Option<u64>, Error> {
        self.room(scope, resource, at)?;
        self.sweep(at);
        self.room(scope, resource, at)
    }

    /// [`Model::afford`] without collecting anything.
    ///
    /// # Errors
    /// Unknown names.
    pub fn room(&self, scope: &[&str], resource: &str, at: i64) -> Result<Option<u64>, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        self.amounts(&[(resource, 0)])?;
        let left = budgets.iter().filter(|(bound, _)| bound.key.resource == resource).filter_map(|(bound, index)| {
            let charged = self.count(bound, *index).charged;
            Some(to_u64(u128::from(bound.hard_max()?).saturating_sub(charged)))
        });
        Ok(left.min())
    }

    /// Every budget of the scope, in the policy's order, in the window that an operation at `at` would count in. Holds whose time has run
    /// out are collected before.
    ///
    /// # Errors
    /// Unknown kinds.
    pub fn usage(&mut self, scope: &[&str], at: i64) -> Result<Vec<Usage>, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        self.sweep(at);
        Ok(budgets.iter().map(|(bound, index)| self.usage_of(bound, *index, at)).collect())
    }

    /// Start and end of the windows of [`Model::usage`], without collecting anything.
    ///
    /// # Errors
    /// Unknown kinds.
    pub fn bounds(&self, scope: &[&str], at: i64) -> Result<Vec<Option<(i64, i64)>>, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        Ok(budgets.iter().map(|(bound, index)| self.budget(&bound.key).bounds(*index, at)).collect())
    }

    /// What is charged to `subject` under the limit `limit` in the window that holds `instant`, past or present, whatever the current
    /// one is; `u64::MAX` when saturated. 0 for names that were never charged.
    pub fn charged_in(&self, limit: &str, subject: &str, instant: i64) -> u64 {
        let Some(budget) = self.known_budget(limit, subject) else { return 0 };
        budget.number_at(instant).map_or(0, |index| budget.shown(budget.count(index)))
    }

    /// Whether an engine that remembers of a budget the current window and one that has ended may have forgotten the one that holds
    /// `instant`: a later one has ended since, or a window was renumbered. Of windows from first use the last that began is known, and a
    /// rolling one has no past.
    pub fn may_be_forgotten(&self, limit: &str, subject: &str, instant: i64) -> bool {
        match (self.known_budget(limit, subject), self.limits.get(limit)) {
            (Some(budget), _) => budget.may_be_forgotten(instant),
            (None, Some((_, window))) => {
                self.reopened_at.is_some_and(|at| Budget::reopened_at(*window, at).may_be_forgotten(instant))
                    || matches!(window, Window::Rolling { .. } | Window::FirstUse { .. })
            }
            (None, None) => false,
        }
    }

    /// Whether a budget counted under one window number twice, or will with a call at `at`: its clock jumped ahead, came back (the window
    /// was renumbered), and a number that was in use comes up again. A hold of the first is then taken for one of the second, and what
    /// the first had charged may show up in the second.
    pub fn repeats(&self, limit: &str, subject: &str, at: i64) -> bool {
        self.known_budget(limit, subject).is_some_and(|budget| budget.repeats(at))
    }

    /// The budget of the limit's newest form.
    fn known_budget(&self, limit: &str, subject: &str) -> Option<&Budget> {
        let (resource, window) = self.limits.get(limit)?;
        let (limit, resource, subject) = (limit.to_string(), resource.clone(), subject.to_string());
        self.budgets.get(&Key { limit, resource, window: *window, subject })
    }

    pub(crate) fn amounts(&self, cost: &[(&str, u64)]) -> Result<Amounts, Error> {
        match cost.iter().find(|(resource, _)| !self.policy.knows_resource(resource)) {
            Some((unknown, _)) => Err(Error::UnknownResource((*unknown).to_string())),
            None => Ok(summed(cost)),
        }
    }

    /// The budgets of a scope, each with the window that an operation at `at` belongs to.
    pub(crate) fn budgets(&self, scope: &BTreeSet<String>, at: i64) -> Result<Vec<(Bound, i64)>, Error> {
        if let Some(unknown) = scope.iter().find(|subject| !self.policy.knows_kind(kind(subject))) {
            return Err(Error::UnknownKind(kind(unknown).to_string()));
        }
        // While reservations go through whatever they ask, hard limits are soft.
        let opened = !self.degraded.is_empty() && self.settings.reserve_open;
        let with_window = |mut bound: Bound| {
            if opened && bound.enforcement == Enforcement::Hard {
                bound.enforcement = Enforcement::Soft;
            }
            let index = self.budget(&bound.key).effective(at);
            (bound, index)
        };
        Ok(self.policy.budgets(scope).into_iter().map(with_window).collect())
    }

    /// [`Error::Degraded`] when something is degraded and the operation is not open then.
    pub(crate) fn closed(&self, is_open: bool) -> Result<(), Error> {
        match self.degraded.first() {
            Some(component) if !is_open => Err(Error::Degraded(*component)),
            _ => Ok(()),
        }
    }

    /// What a check answers: while something is degraded it passes, or fails for that reason.
    fn checked(&self, answer: Result<Admission, Error>) -> Result<Admission, Error> {
        self.closed(self.settings.check_open)?;
        let degraded = !self.degraded.is_empty();
        answer.or_else(|error| if degraded { Ok(Admission { degraded, ..Admission::default() }) } else { Err(error) })
    }

    pub(crate) fn declared(&self) -> Vec<String> {
        self.policy.resources.clone()
    }

    /// Decides on a call that asks `amount` of each budget (`None`: takes no part). Before it refuses, holds whose time has run out are
    /// collected. Then counts stay as they are, but windows that a jumped clock opened are brought back.
    pub(crate) fn judge<'a>(
        &mut self,
        budgets: &'a [(Bound, i64)],
        amount: impl Fn(&str) -> Option<u64>,
        zero: Zero,
        at: i64,
    ) -> Result<(Admission, Vec<Charge<'a>>), Error> {
        let charges = taking_part(budgets, amount);
        if !self.refusing(&charges, zero).is_empty() {
            self.sweep(at);
        }
        let refusing = self.refusing(&charges, zero);
        if refusing.is_empty() {
            return Ok((self.admission(&charges, zero, at), charges));
        }
        let max = |charge: &Charge| charge.bound.max.unwrap_or(u64::MAX);
        let mut violations = Vec::new();
        for charge in &refusing {
            let found = self.violation(charge, max(charge), at);
            self.budget_mut(&charge.bound.key).come_back(at);
            // The numbers are those that left no room; when there will be some follows from where the window is now.
            let Violation { window_end, retry, .. } = self.violation(charge, max(charge), at);
            violations.push(Violation { window_end, retry, ..found });
        }
        Err(Error::Refused(Refusal { violations }))
    }

    /// The hard budgets without room.
    fn refusing<'a>(&self, charges: &[Charge<'a>], zero: Zero) -> Vec<Charge<'a>> {
        let is_hard = |charge: &Charge| charge.bound.enforcement == Enforcement::Hard;
        charges.iter().filter(|charge| is_hard(charge) && !self.fits(charge, zero)).copied().collect()
    }

    fn fits(&self, charge: &Charge, zero: Zero) -> bool {
        let Some(max) = charge.bound.max else { return true };
        let before = self.count(charge.bound, charge.index).charged;
        match (charge.amount, zero) {
            (0, Zero::Nothing) => true,
            (0, Zero::Room) => before < max.into(),
            (amount, _) => before + u128::from(amount) <= max.into(),
        }
    }

    /// What is told of budgets that do not refuse.
    fn admission(&self, charges: &[Charge], zero: Zero, at: i64) -> Admission {
        let mut admission = Admission { degraded: !self.degraded.is_empty(), ..Admission::default() };
        for charge in charges {
            let Some(max) = charge.bound.max else { continue };
            let after = self.count(charge.bound, charge.index).charged + u128::from(charge.amount);
            match charge.bound.enforcement {
                Enforcement::Shadow if !self.fits(charge, zero) => {
                    admission.shadow.push(self.violation(charge, max, at));
                }
                Enforcement::Soft if after > max.into() && (charge.amount, zero) != (0, Zero::Nothing) => {
                    let top = self.budget(&charge.bound.key).top();
                    let shown = if after >= top { u64::MAX } else { to_u64(after) };
                    admission.over.push(named(charge.bound, shown - max));
                }
                _ => {}
            }
        }
        admission
    }

    pub(crate) fn apply(&mut self, charges: &[Charge], holds: bool, at: i64) {
        for Charge { bound, index, amount } in charges {
            self.budget_mut(&bound.key).charge(*index, *amount, holds, at);
        }
    }

    /// A hold may be settled in resources that it did not name, so every budget of its scope is in the hold's window.
    pub(crate) fn enter(&mut self, budgets: &[(Bound, i64)], at: i64) {
        for (bound, index) in budgets {
            self.budget_mut(&bound.key).enter(*index, at);
        }
    }

    /// The budgets that are over in one of the windows touched. Each once, as the last part that is over says; parts that touched one
    /// window go by the cap of the last.
    pub(crate) fn overages(&self, touched: &[(&Bound, i64)]) -> Vec<Overage> {
        let mut found = Vec::<Overage>::new();
        for (place, (bound, index)) in touched.iter().enumerate() {
            let is_last = !touched[place + 1..].iter().any(|(later, other)| (&later.key, other) == (&bound.key, index));
            if let Some(over) = self.overage(bound, *index).filter(|_| is_last) {
                found.retain(|earlier| (&earlier.limit, &earlier.subject) != (&over.limit, &over.subject));
                found.push(over);
            }
        }
        found
    }

    fn overage(&self, bound: &Bound, index: i64) -> Option<Overage> {
        let budget = self.budget(&bound.key);
        let charged = budget.shown(budget.count(index));
        bound.max.filter(|max| charged > *max).map(|max| named(bound, charged - max))
    }

    fn violation(&self, charge: &Charge, max: u64, at: i64) -> Violation {
        let budget = self.budget(&charge.bound.key);
        // The window may have been renumbered since the call began.
        let index = charge.index.min(budget.effective(at));
        let Usage { limit, subject, used, held, window_end, .. } = self.usage_of(charge.bound, index, at);
        let charged = budget.count(index).charged;
        let (amount, wanted) = (charge.amount, charge.amount.max(1));
        let retry = match budget.fits_at(amount, max, at).or(window_end) {
            _ if wanted > max => Retry::Never,
            Some(then) => Retry::At(then),
            None if u128::from(used) + u128::from(wanted) <= max.into() => Retry::Unknown,
            None => Retry::Never,
        };
        let remaining = to_u64(u128::from(max).saturating_sub(charged));
        Violation { limit, subject, requested: amount, max, used, held, remaining, window_end, retry }
    }

    fn usage_of(&self, bound: &Bound, index: i64, at: i64) -> Usage {
        let budget = self.budget(&bound.key);
        let count = budget.count(index);
        let charged = budget.shown(count);
        let (used, held) = budget.told_apart(count);
        let bounds = budget.bounds(index, at);
        Usage {
            limit: bound.key.limit.clone(),
            subject: bound.key.subject.clone(),
            max: bound.max,
            used,
            held,
            remaining: bound.max.map(|max| max.saturating_sub(charged)),
            window_start: bounds.map(|(start, _)| start),
            window_end: bounds.map(|(_, end)| end),
            status: status(charged, bound),
        }
    }

    fn count(&self, bound: &Bound, index: i64) -> Count {
        self.budget(&bound.key).count(index)
    }

    pub(crate) fn budget(&self, key: &Key) -> std::borrow::Cow<'_, Budget> {
        match self.budgets.get(key) {
            Some(budget) => std::borrow::Cow::Borrowed(budget),
            None => std::borrow::Cow::Owned(self.unused(key)),
        }
    }

    pub(crate) fn budget_mut(&mut self, key: &Key) -> &mut Budget {
        let unused = self.unused(key);
        self.budgets.entry(key.clone()).or_insert(unused)
    }

    fn unused(&self, key: &Key) -> Budget {
        self.reopened_at.map_or_else(|| Budget::new(key.window), |at| Budget::reopened_at(key.window, at))
    }

    /// The bounds of the policy in force for a scope.
    pub(crate) fn bounds_in_force(&self, scope: &BTreeSet<String>) -> Vec<Bound> {
        self.policy.budgets(scope)
    }
}

pub(crate) fn subjects(scope: &[&str]) -> BTreeSet<String> {
    scope.iter().chain(&["global"]).map(ToString::to_string).collect()
}

pub(crate) fn summed(cost: &[(&str, u64)]) -> Amounts {
    let mut amounts = Amounts::new();
    for (resource, amount) in cost {
        let sum = amounts.entry((*resource).to_string()).or_default();
        *sum = (*sum + u128::from(*amount)).min(u64::MAX.into());
    }
    amounts
}

pub(crate) fn asked(amounts: &Amounts) -> impl Fn(&str) -> Option<u64> {
    |resource| amounts.get(resource).map(|amount| to_u64(*amount))
}

pub(crate) fn nonzero(amounts: &Amounts) -> Amounts {
    amounts.iter().filter(|(_, amount)| **amount > 0).map(|(resource, amount)| (resource.clone(), *amount)).collect()
}

fn taking_part(budgets: &[(Bound, i64)], amount: impl Fn(&str) -> Option<u64>) -> Vec<Charge<'_>> {
    let mut charges = Vec::new();
    for (bound, index) in budgets {
        if let Some(amount) = amount(&bound.key.resource) {
            charges.push(Charge { bound, index: *index, amount });
        }
    }
    charges
}

fn named(bound: &Bound, excess: u64) -> Overage {
    Overage { limit: bound.key.limit.clone(), subject: bound.key.subject.clone(), excess }
}

fn status(charged: u64, bound: &Bound) -> Status {
    let Some(max) = bound.max else { return Status::Ok };
    let warns = |percent: &u8| u128::from(charged) * 100 >= u128::from(max) * u128::from(*percent);
    match charged.cmp(&max) {
        std::cmp::Ordering::Greater => Status::Over,
        std::cmp::Ordering::Equal => Status::Exhausted,
        std::cmp::Ordering::Less if bound.warn.iter().any(warns) => Status::Warning,
        std::cmp::Ordering::Less => Status::Ok,
    }
}

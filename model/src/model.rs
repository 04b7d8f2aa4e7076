//! The model: admission, reservations and reports over a map of budgets.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::budget::{Budget, Count, Key, to_u64};
use crate::calendar::Window;
use crate::outcome::{
    Admission, Error, HoldId, Outcome, Overage, Refusal, Reserved, Retry, Settled, Status, Usage, Violation,
};
use crate::policy::{Bound, Enforcement, Policy, kind};

/// A naive, single-threaded budget engine.
///
/// Subjects are text such as `user:7`; `global` is in every scope, and naming a subject twice counts once. A cost lists resources and
/// amounts. Instants are microseconds since the epoch and may go back from call to call.
#[derive(Clone, Debug, Default)]
pub struct Model {
    policy: Policy,
    /// Resource and window of each limit that a policy ever had.
    limits: HashMap<String, (String, Window)>,
    budgets: HashMap<Key, Budget>,
    holds: Vec<Hold>,
}

/// Amounts by resource.
type Amounts = BTreeMap<String, u128>;

#[derive(Clone, Debug)]
struct Hold {
    scope: BTreeSet<String>,
    /// The resources that an actual may name: those of the policies that admitted the parts.
    resources: Vec<String>,
    /// The reservation and its extensions; none once settled.
    parts: Vec<Part>,
    reserved: Amounts,
    observed: Amounts,
    dispatched: bool,
    end: Option<End>,
}

/// What one admission added to a hold.
#[derive(Clone, Debug)]
struct Part {
    amounts: Amounts,
    /// Every budget of the scope then, with the window it was in.
    budgets: Vec<(Bound, i64)>,
}

#[derive(Clone, Debug)]
enum End {
    Committed { totals: Amounts, settled: Settled },
    Released,
}

/// What an amount of 0 asks for.
#[derive(Clone, Copy, PartialEq)]
enum Zero {
    Nothing,
    Room,
}

/// A budget that takes part in a call.
struct Charge<'a> {
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

    /// Enforces another policy from now on. Usage stays with the budgets, also with those that come back later.
    pub fn set_policy(&mut self, policy: Policy) {
        for limit in &policy.limits {
            self.limits.insert(limit.id.clone(), (limit.resource.clone(), limit.window));
        }
        self.policy = policy;
    }

    /// Whether every hard budget of the scope has something left.
    ///
    /// # Errors
    /// Unknown names; [`Error::Refused`] when one has nothing left.
    pub fn check(&mut self, scope: &[&str], at: i64) -> Result<Admission, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        self.judge(&budgets, |_| Some(0), Zero::Room, at).map(|(admission, _)| admission)
    }

    /// Whether [`Model::try_charge`] would pass, and how; charges nothing.
    ///
    /// # Errors
    /// As [`Model::try_charge`].
    pub fn check_amount(&mut self, scope: &[&str], cost: &[(&str, u64)], at: i64) -> Result<Admission, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        let amounts = self.amounts(cost)?;
        self.judge(&budgets, asked(&amounts), Zero::Nothing, at).map(|(admission, _)| admission)
    }

    /// Charges the cost to every budget of the scope, or to none.
    ///
    /// # Errors
    /// Unknown names; [`Error::Refused`] when a hard budget has no room.
    pub fn try_charge(&mut self, scope: &[&str], cost: &[(&str, u64)], at: i64) -> Result<Admission, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        let amounts = self.amounts(cost)?;
        let (admission, charges) = self.judge(&budgets, asked(&amounts), Zero::Nothing, at)?;
        self.apply(&charges, false);
        Ok(admission)
    }

    /// Holds the cost in every budget of the scope, or in none. An amount of 0 passes only where something is left.
    ///
    /// # Errors
    /// Unknown names; [`Error::Refused`] when a hard budget has no room.
    pub fn reserve(&mut self, scope: &[&str], cost: &[(&str, u64)], at: i64) -> Result<Reserved, Error> {
        let scope = subjects(scope);
        let budgets = self.budgets(&scope, at)?;
        let amounts = self.amounts(cost)?;
        let (admission, charges) = self.judge(&budgets, asked(&amounts), Zero::Room, at)?;
        self.apply(&charges, true);
        self.enter(&budgets);
        let hold = HoldId(self.holds.len() as u64);
        self.holds.push(Hold {
            scope,
            resources: self.policy.resources.clone(),
            reserved: amounts.clone(),
            parts: vec![Part { amounts, budgets }],
            observed: Amounts::new(),
            dispatched: false,
            end: None,
        });
        Ok(Reserved { hold, admission })
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

    /// Grows a hold by what `cost` names, under the policy in force; the growth belongs to the window of `at`. Amounts of 0 pass and
    /// grow nothing: a cost of nothing else leaves the hold as it is.
    ///
    /// # Errors
    /// A hold that is unknown or settled, unknown names, or [`Error::Refused`]: the hold stays as it was.
    pub fn try_extend(&mut self, hold: HoldId, cost: &[(&str, u64)], at: i64) -> Result<Admission, Error> {
        let scope = self.open(hold)?.scope.clone();
        let budgets = self.budgets(&scope, at)?;
        let amounts = nonzero(&self.amounts(cost)?);
        let (admission, charges) = self.judge(&budgets, asked(&amounts), Zero::Nothing, at)?;
        if !amounts.is_empty() {
            self.apply(&charges, true);
            self.enter(&budgets);
            let resources = self.policy.resources.clone();
            let hold = self.open(hold)?;
            hold.resources.extend(resources);
            for (resource, amount) in &amounts {
                let sum = hold.reserved.entry(resource.clone()).or_default();
                *sum = (*sum + amount).min(u64::MAX.into());
            }
            hold.parts.push(Part { amounts, budgets });
        }
        Ok(admission)
    }

    /// Charges what was really spent in place of the hold. A resource that `actual` does not name is committed as reserved; with
    /// `at_least` no resource is committed below its hold.
    ///
    /// The same totals again replay the first answer.
    ///
    /// # Errors
    /// A resource that the policies which admitted the hold do not declare; a hold that is unknown, released, or committed with other
    /// totals.
    pub fn commit(&mut self, hold: HoldId, actual: &[(&str, u64)], at_least: bool) -> Result<Settled, Error> {
        let found = self.find(hold)?;
        let mut totals = found.reserved.clone();
        for (resource, amount) in summed(actual) {
            if !found.resources.contains(&resource) {
                return Err(Error::UnknownResource(resource));
            }
            let least = if at_least { found.reserved.get(&resource).copied().unwrap_or_default() } else { 0 };
            totals.insert(resource, amount.max(least));
        }
        match &found.end {
            Some(End::Released) => Err(Error::AlreadyReleased),
            Some(End::Committed { totals: before, settled }) if *before == totals => {
                Ok(Settled { replayed: true, ..settled.clone() })
            }
            Some(End::Committed { .. }) => Err(Error::Conflict),
            None => Ok(self.settle(hold, totals, Outcome::Committed)),
        }
    }

    /// Gives the hold back.
    ///
    /// # Errors
    /// A hold that is unknown or settled.
    pub fn release(&mut self, hold: HoldId) -> Result<Settled, Error> {
        let nothing = self.open(hold)?.reserved.keys().map(|resource| (resource.clone(), 0)).collect();
        Ok(self.settle(hold, nothing, Outcome::Released))
    }

    /// Marks that the call which the hold is for was sent: what it spends can no longer be prevented.
    ///
    /// # Errors
    /// A hold that is unknown or settled.
    pub fn dispatched(&mut self, hold: HoldId) -> Result<(), Error> {
        self.open(hold)?.dispatched = true;
        Ok(())
    }

    /// Adds to what the call was seen to spend so far. No budget counts a resource that the policies which admitted the hold do not
    /// declare.
    ///
    /// # Errors
    /// A hold that is unknown or settled.
    pub fn observe(&mut self, hold: HoldId, cost: &[(&str, u64)]) -> Result<(), Error> {
        let observed = &mut self.open(hold)?.observed;
        for (resource, amount) in summed(cost) {
            let sum = observed.entry(resource).or_default();
            *sum = (*sum + amount).min(u64::MAX.into());
        }
        Ok(())
    }

    /// The hold's owner went away: a dispatched hold is charged, each resource as reserved or as observed, whichever is more; any
    /// other is released.
    ///
    /// # Errors
    /// A hold that is unknown or settled.
    pub fn drop_hold(&mut self, hold: HoldId) -> Result<Settled, Error> {
        let found = self.open(hold)?;
        if !found.dispatched {
            return self.release(hold);
        }
        let mut totals = found.reserved.clone();
        for (resource, amount) in &found.observed {
            let total = totals.entry(resource.clone()).or_default();
            *total = (*total).max(*amount);
        }
        Ok(self.settle(hold, totals, Outcome::Committed))
    }

    /// Charges the cost after the fact, whatever the limits, and lists the budgets that it names and that are over.
    ///
    /// # Errors
    /// Unknown names.
    pub fn record(&mut self, scope: &[&str], cost: &[(&str, u64)], at: i64) -> Result<Vec<Overage>, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        let amounts = self.amounts(cost)?;
        let charges = taking_part(&budgets, asked(&amounts));
        self.apply(&charges, false);
        Ok(charges.iter().filter_map(|charge| self.overage(charge.bound, charge.index)).collect())
    }

    /// The largest amount of `resource` that hard budgets leave room for; `None` when none of them caps it.
    ///
    /// # Errors
    /// Unknown names.
    pub fn afford(&self, scope: &[&str], resource: &str, at: i64) -> Result<Option<u64>, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        self.amounts(&[(resource, 0)])?;
        let left = budgets.iter().filter(|(bound, _)| bound.key.resource == resource).filter_map(|(bound, index)| {
            let charged = self.count(bound, *index).charged;
            Some(to_u64(u128::from(bound.hard_max()?).saturating_sub(charged)))
        });
        Ok(left.min())
    }

    /// Every budget of the scope, in the policy's order, in the window that an operation at `at` would count in.
    ///
    /// # Errors
    /// Unknown kinds.
    pub fn usage(&self, scope: &[&str], at: i64) -> Result<Vec<Usage>, Error> {
        let budgets = self.budgets(&subjects(scope), at)?;
        Ok(budgets.iter().map(|(bound, index)| self.usage_of(bound, *index)).collect())
    }

    /// What is charged to `subject` under the limit `limit` in the window that holds `instant`, past or present, whatever the current
    /// one is; `u64::MAX` when saturated. 0 for names that were never charged.
    pub fn charged_in(&self, limit: &str, subject: &str, instant: i64) -> u64 {
        self.known_budget(limit, subject)
            .map_or(0, |(budget, window)| budget.shown(budget.count(window.index(instant))))
    }

    /// Whether an engine that remembers of a budget the current window and one that has ended may have forgotten the one that holds
    /// `instant`: a later one has ended since, or a window was renumbered.
    pub fn may_be_forgotten(&self, limit: &str, subject: &str, instant: i64) -> bool {
        self.known_budget(limit, subject)
            .is_some_and(|(budget, window)| budget.has_ended_before_another(window.index(instant)))
    }

    /// Whether a budget counted under one window number twice, or will with a call at `at`: its clock jumped ahead, came back (the window
    /// was renumbered), and a number that was in use comes up again. A hold of the first is then taken for one of the second, and what
    /// the first had charged may show up in the second.
    pub fn repeats(&self, limit: &str, subject: &str, at: i64) -> bool {
        self.known_budget(limit, subject).is_some_and(|(budget, _)| budget.repeats(at))
    }

    /// The budget of the limit's newest form.
    fn known_budget(&self, limit: &str, subject: &str) -> Option<(&Budget, Window)> {
        let (resource, window) = self.limits.get(limit)?;
        let (limit, resource, subject) = (limit.to_string(), resource.clone(), subject.to_string());
        Some((self.budgets.get(&Key { limit, resource, window: *window, subject })?, *window))
    }

    fn amounts(&self, cost: &[(&str, u64)]) -> Result<Amounts, Error> {
        match cost.iter().find(|(resource, _)| !self.policy.knows_resource(resource)) {
            Some((unknown, _)) => Err(Error::UnknownResource((*unknown).to_string())),
            None => Ok(summed(cost)),
        }
    }

    /// The budgets of a scope, each with the window that an operation at `at` belongs to.
    fn budgets(&self, scope: &BTreeSet<String>, at: i64) -> Result<Vec<(Bound, i64)>, Error> {
        if let Some(unknown) = scope.iter().find(|subject| !self.policy.knows_kind(kind(subject))) {
            return Err(Error::UnknownKind(kind(unknown).to_string()));
        }
        let with_window = |bound: Bound| {
            let window = bound.key.window;
            let index = self.budgets.get(&bound.key).map_or_else(|| window.index(at), |budget| budget.effective(at));
            (bound, index)
        };
        Ok(self.policy.budgets(scope).into_iter().map(with_window).collect())
    }

    /// Decides on a call that asks `amount` of each budget (`None`: takes no part). Counts stay as they are, but a refusal brings back
    /// windows that a jumped clock opened.
    fn judge<'a>(
        &mut self,
        budgets: &'a [(Bound, i64)],
        amount: impl Fn(&str) -> Option<u64>,
        zero: Zero,
        at: i64,
    ) -> Result<(Admission, Vec<Charge<'a>>), Error> {
        let charges = taking_part(budgets, amount);
        let mut admission = Admission::default();
        let mut refused = Vec::new();
        for charge in &charges {
            let Some(max) = charge.bound.max else { continue };
            let before = self.count(charge.bound, charge.index).charged;
            let after = before + u128::from(charge.amount);
            let fits = match (charge.amount, zero) {
                (0, Zero::Nothing) => true,
                (0, Zero::Room) => before < max.into(),
                _ => after <= max.into(),
            };
            match charge.bound.enforcement {
                Enforcement::Hard if !fits => refused.push(charge),
                Enforcement::Shadow if !fits => admission.shadow.push(self.violation(charge, max)),
                Enforcement::Soft if after > max.into() && (charge.amount, zero) != (0, Zero::Nothing) => {
                    let top = self.budget(&charge.bound.key).top();
                    let shown = if after >= top { u64::MAX } else { to_u64(after) };
                    admission.over.push(named(charge.bound, shown - max));
                }
                _ => {}
            }
        }
        if refused.is_empty() {
            return Ok((admission, charges));
        }
        let max = |charge: &Charge| charge.bound.max.unwrap_or(u64::MAX);
        let mut violations = Vec::new();
        for charge in refused {
            let mut violation = self.violation(charge, max(charge));
            if let Some(budget) = self.budgets.get_mut(&charge.bound.key) {
                budget.come_back(at);
                let found = charge.bound.key.window.bounds(budget.effective(at)).map(|(_, end)| end);
                if let (Some(end), Retry::At(_)) = (found, violation.retry) {
                    violation.retry = Retry::At(end);
                }
                violation.window_end = found;
            }
            violations.push(violation);
        }
        Err(Error::Refused(Refusal { violations }))
    }

    fn apply(&mut self, charges: &[Charge], holds: bool) {
        for Charge { bound, index, amount } in charges {
            self.budget_mut(&bound.key).charge(*index, *amount, holds);
        }
    }

    /// A hold may be settled in resources that it did not name, so every budget of its scope is in the hold's window.
    fn enter(&mut self, budgets: &[(Bound, i64)]) {
        for (bound, index) in budgets {
            self.budget_mut(&bound.key).enter(*index);
        }
    }

    /// Ends an open hold with `totals` charged. Each part takes of a resource what it holds itself, in the order of their making; the
    /// last takes the rest.
    fn settle(&mut self, hold: HoldId, totals: Amounts, outcome: Outcome) -> Settled {
        let parts = std::mem::take(&mut self.holds[hold.0 as usize].parts);
        let mut rest = totals.clone();
        let (mut touched, mut late) = (Vec::new(), false);
        for (place, part) in parts.iter().enumerate() {
            let is_last = place + 1 == parts.len();
            for (bound, index) in &part.budgets {
                let resource = &bound.key.resource;
                let (Some(rest), own) = (rest.get(resource), part.amounts.get(resource)) else { continue };
                if own.is_none() && !is_last {
                    continue;
                }
                let own = own.copied().unwrap_or_default();
                let actual = if is_last { *rest } else { own.min(*rest) };
                let budget = self.budget_mut(&bound.key);
                late |= budget.has_ended(*index);
                touched.push((bound, budget.settle(*index, own, actual)));
            }
            for (resource, own) in &part.amounts {
                let rest = rest.entry(resource.clone()).or_default();
                *rest = rest.saturating_sub(*own);
            }
        }
        let overage = if outcome == Outcome::Committed { self.overages(touched) } else { Vec::new() };
        let amounts = totals.iter().map(|(resource, total)| (resource.clone(), to_u64(*total))).collect();
        let settled = Settled { outcome, replayed: false, late, amounts, overage };
        self.holds[hold.0 as usize].end = Some(match outcome {
            Outcome::Committed => End::Committed { totals, settled: settled.clone() },
            Outcome::Released => End::Released,
        });
        settled
    }

    /// The budgets that are over in one of the windows touched; each once, as the last of them says.
    fn overages(&self, touched: Vec<(&Bound, i64)>) -> Vec<Overage> {
        let mut found = Vec::<Overage>::new();
        for over in touched.into_iter().filter_map(|(bound, index)| self.overage(bound, index)) {
            found.retain(|earlier| (&earlier.limit, &earlier.subject) != (&over.limit, &over.subject));
            found.push(over);
        }
        found
    }

    fn overage(&self, bound: &Bound, index: i64) -> Option<Overage> {
        let budget = self.budget(&bound.key);
        let charged = budget.shown(budget.count(index));
        bound.max.filter(|max| charged > *max).map(|max| named(bound, charged - max))
    }

    fn violation(&self, charge: &Charge, max: u64) -> Violation {
        let Usage { limit, subject, used, held, window_end, .. } = self.usage_of(charge.bound, charge.index);
        let charged = self.count(charge.bound, charge.index).charged;
        let (amount, wanted) = (charge.amount, charge.amount.max(1));
        let retry = match window_end {
            _ if wanted > max => Retry::Never,
            Some(end) => Retry::At(end),
            None if u128::from(used) + u128::from(wanted) <= max.into() => Retry::Unknown,
            None => Retry::Never,
        };
        let remaining = to_u64(u128::from(max).saturating_sub(charged));
        Violation { limit, subject, requested: amount, max, used, held, remaining, window_end, retry }
    }

    fn usage_of(&self, bound: &Bound, index: i64) -> Usage {
        let budget = self.budget(&bound.key);
        let count = budget.count(index);
        let charged = budget.shown(count);
        let (used, held) = budget.told_apart(count);
        let bounds = bound.key.window.bounds(index);
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

    fn budget(&self, key: &Key) -> std::borrow::Cow<'_, Budget> {
        match self.budgets.get(key) {
            Some(budget) => std::borrow::Cow::Borrowed(budget),
            None => std::borrow::Cow::Owned(Budget::new(key.window)),
        }
    }

    fn budget_mut(&mut self, key: &Key) -> &mut Budget {
        self.budgets.entry(key.clone()).or_insert_with(|| Budget::new(key.window))
    }

    fn find(&mut self, hold: HoldId) -> Result<&mut Hold, Error> {
        self.holds.get_mut(hold.0 as usize).ok_or(Error::UnknownHold)
    }

    fn open(&mut self, hold: HoldId) -> Result<&mut Hold, Error> {
        let found = self.find(hold)?;
        match found.end {
            None => Ok(found),
            Some(End::Committed { .. }) => Err(Error::AlreadySettled),
            Some(End::Released) => Err(Error::AlreadyReleased),
        }
    }
}

fn subjects(scope: &[&str]) -> BTreeSet<String> {
    scope.iter().chain(&["global"]).map(ToString::to_string).collect()
}

fn summed(cost: &[(&str, u64)]) -> Amounts {
    let mut amounts = Amounts::new();
    for (resource, amount) in cost {
        let sum = amounts.entry((*resource).to_string()).or_default();
        *sum = (*sum + u128::from(*amount)).min(u64::MAX.into());
    }
    amounts
}

fn asked(amounts: &Amounts) -> impl Fn(&str) -> Option<u64> {
    |resource| amounts.get(resource).map(|amount| to_u64(*amount))
}

fn nonzero(amounts: &Amounts) -> Amounts {
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

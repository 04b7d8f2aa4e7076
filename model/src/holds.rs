//! What becomes of holds: extensions, parts split off, settlement, expiry, ids, refunds.

use std::collections::BTreeSet;

use crate::budget::to_u64;
use crate::model::{Amounts, Model, Zero, asked, nonzero, subjects, summed};
use crate::outcome::{Admission, Error, HoldId, Outcome, Overage, ReceiptId, Reserved, Settled};
use crate::policy::Bound;

/// Budgets of a scope, each with a window.
type Budgets = Vec<(Bound, i64)>;

#[derive(Clone, Debug)]
pub(crate) struct Hold {
    scope: BTreeSet<String>,
    /// What was asked for at first.
    asked: Amounts,
    /// The reservation and its extensions, less what was split off.
    parts: Vec<Part>,
    observed: Amounts,
    dispatched: bool,
    end: Option<End>,
    /// What it is kept under.
    name: Option<String>,
}

/// What one admission added to a hold.
#[derive(Clone, Debug)]
struct Part {
    amounts: Amounts,
    /// Every budget of the scope then, with the window it was in.
    budgets: Budgets,
    /// The resources that an actual may name: those of the policy then.
    resources: Vec<String>,
}

#[derive(Clone, Debug)]
enum End {
    Committed(Committed),
    Released,
    /// What expiry charged, and the commit that came afterwards.
    Expired {
        charged: Amounts,
        late: Option<Committed>,
    },
}

#[derive(Clone, Debug)]
struct Committed {
    totals: Amounts,
    settled: Settled,
}

/// A hold that is kept under an id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    hold: HoldId,
    /// While open: when it expires. Afterwards: when it is forgotten.
    due: i64,
    open: bool,
    /// Under a number of the model's own: how many have got one. `None` under an id of the caller's.
    number: Option<u64>,
}

/// What was charged, and where.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    at: i64,
    charged: Amounts,
    parts: Vec<(Budgets, Amounts)>,
    refunded: bool,
}

/// What parts have charged before a settlement changes it.
#[derive(Clone, Copy)]
enum Before<'a> {
    Held,
    Charged(&'a Amounts),
}

impl Model {
    /// Holds for at most `ttl` microseconds: then it is settled as [`Model::drop_hold`] would.
    ///
    /// # Errors
    /// As [`Model::reserve`]; [`Error::TooManyHolds`].
    pub fn reserve_for(&mut self, scope: &[&str], cost: &[(&str, u64)], ttl: i64, at: i64) -> Result<Reserved, Error> {
        let scope = subjects(scope);
        let budgets = self.budgets(&scope, at)?;
        self.sweep(at);
        self.has_place()?;
        let reserved = self.hold(scope, &budgets, cost, at)?;
        self.keep(reserved.hold, ttl, at)?;
        Ok(reserved)
    }

    /// Holds under an id of the caller's, or finds the hold that is open under it: the hold, how it was admitted, and whether it was found.
    ///
    /// # Errors
    /// As [`Model::reserve_for`]; [`Error::Conflict`] when the open hold is of another scope or cost; [`Error::AlreadySettled`].
    pub fn reserve_with_id(
        &mut self,
        scope: &[&str],
        id: &str,
        cost: &[(&str, u64)],
        ttl: i64,
        at: i64,
    ) -> Result<(Reserved, bool), Error> {
        let scope = subjects(scope);
        let budgets = self.budgets(&scope, at)?;
        self.sweep(at);
        if let Some(Kept { hold, open, .. }) = self.kept.get(id).copied() {
            let found = &self.holds[hold.0 as usize];
            return match (open, found.scope == scope && found.asked == summed(cost)) {
                (false, _) => Err(Error::AlreadySettled),
                (true, false) => Err(Error::Conflict),
                (true, true) => Ok((Reserved { hold, admission: Admission::default() }, true)),
            };
        }
        self.has_place()?;
        let reserved = self.hold(scope, &budgets, cost, at)?;
        self.keep_under(id.to_string(), reserved.hold, None, ttl, at);
        Ok((reserved, false))
    }

    /// Keeps a hold under an id for `ttl` microseconds from now on. One that is kept already is renewed; if that cannot be, it stays.
    ///
    /// # Errors
    /// [`Error::TooManyHolds`]: the hold is dropped then.
    pub fn detach(&mut self, hold: HoldId, ttl: i64, at: i64) -> Result<(), Error> {
        if self.find(hold)?.name.is_some() {
            let _ = self.renew(hold, ttl, at);
            return Ok(());
        }
        self.keep(hold, ttl, at)
    }

    /// The hold that is kept under `id`, open or remembered.
    ///
    /// # Errors
    /// [`Error::UnknownHold`].
    pub fn resume(&mut self, id: &str, at: i64) -> Result<HoldId, Error> {
        self.sweep(at);
        self.kept.get(id).map(|kept| kept.hold).ok_or(Error::UnknownHold)
    }

    /// What a hold is kept under, or was; numbers are the model's own.
    pub fn name(&self, hold: HoldId) -> Option<&str> {
        self.holds.get(hold.0 as usize)?.name.as_deref()
    }

    /// When an open hold expires.
    pub fn expires_at(&self, hold: HoldId) -> Option<i64> {
        self.kept_as(hold).filter(|kept| kept.open).map(|kept| kept.due)
    }

    /// Lets a hold expire `ttl` microseconds from now.
    ///
    /// # Errors
    /// A hold that is unknown or settled, has expired, or has no time-to-live.
    pub fn renew(&mut self, hold: HoldId, ttl: i64, at: i64) -> Result<(), Error> {
        let name = self.find(hold)?.name.clone().ok_or(Error::NoTimeToLive)?;
        if self.kept_as(hold).is_some_and(|kept| kept.open && kept.due > at) {
            self.kept.entry(name).and_modify(|kept| kept.due = at.saturating_add(ttl));
            return Ok(());
        }
        self.sweep(at);
        self.open(hold).map(|_| ())
    }

    /// Settles the open holds whose time has run out by `at`, and forgets those that were remembered long enough. How many expired.
    pub fn sweep(&mut self, at: i64) -> usize {
        let due = self.kept.iter().filter(|(_, kept)| kept.open && kept.due <= at);
        // Of those with one due time the numbers come first, then the texts.
        let order = |(name, kept): (&String, &Kept)| (kept.due, kept.number.ok_or_else(|| name.clone()), kept.hold);
        let mut due: Vec<_> = due.map(order).collect();
        due.sort();
        for (.., hold) in &due {
            self.note_settled(*hold, at);
            self.expire(*hold);
        }
        self.kept.retain(|_, kept| kept.open || kept.due > at);
        due.len()
    }

    /// After a reopening: budgets that the policy in force does not name any more refuse and report nothing.
    pub(crate) fn rebind_holds(&mut self) {
        for receipt in &mut self.receipts {
            receipt.at = i64::MIN;
        }
        let declared = self.declared();
        for place in 0..self.holds.len() {
            let in_force = self.bounds_in_force(&self.holds[place].scope);
            for part in &mut self.holds[place].parts {
                part.resources.clone_from(&declared);
                for (bound, _) in &mut part.budgets {
                    let found = in_force.iter().find(|found| found.key == bound.key).cloned();
                    *bound = found.unwrap_or_else(|| Bound { max: None, warn: Vec::new(), ..bound.clone() });
                }
            }
        }
    }

    /// How many holds are kept under an id, open or remembered.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Whether what `subject` has charged under `limit` in a window that admitted the hold, or an extension of it, may not be known to an engine
    /// any more: see [`Model::may_be_forgotten`]; or the count is saturated. By the windows' numbers: one from first use may begin at the
    /// instant at which an earlier one had begun, once the clock was set back.
    pub fn is_unsure(&self, hold: HoldId, limit: &str, subject: &str) -> bool {
        let parts = self.holds.get(hold.0 as usize).map_or(&[][..], |found| &found.parts);
        let budgets = parts.iter().flat_map(|part| &part.budgets);
        let mut budgets = budgets.filter(|(bound, _)| bound.key.limit == limit && bound.key.subject == subject);
        budgets.any(|(bound, index)| self.budget(&bound.key).is_unsure(*index))
    }

    /// Whether a window that admitted the hold, or an extension of it, had ended when the engine was opened again. It may have told by then that
    /// a later one runs, although nothing was charged in that.
    pub fn had_ended(&self, hold: HoldId) -> bool {
        let Some((at, found)) = self.reopened_at.zip(self.holds.get(hold.0 as usize)) else { return false };
        let mut budgets = found.parts.iter().flat_map(|part| &part.budgets);
        budgets.any(|(bound, index)| self.budget(&bound.key).has_ended_by(*index, at))
    }

    /// How many holds were charged more than they held when they expired: what a refusal said about waiting did not know of that.
    pub fn expired_above(&self) -> u64 {
        self.expired_above
    }

    /// Whether nobody has settled the hold, not its expiry either.
    pub fn is_open(&self, hold: HoldId) -> bool {
        self.holds.get(hold.0 as usize).is_some_and(|hold| hold.end.is_none())
    }

    /// Grows a hold by what `cost` names, under the policy in force; the growth belongs to the window of `at`. Amounts of 0 pass and
    /// grow nothing: a cost of nothing else leaves the hold as it is.
    ///
    /// # Errors
    /// A hold that is unknown or settled, unknown names, or [`Error::Refused`]: the hold stays as it was.
    pub fn try_extend(&mut self, hold: HoldId, cost: &[(&str, u64)], at: i64) -> Result<Admission, Error> {
        self.sweep_if_kept(hold, at);
        let scope = self.open(hold)?.scope.clone();
        let budgets = self.budgets(&scope, at)?;
        let amounts = nonzero(&self.amounts(cost)?);
        if amounts.is_empty() {
            return Ok(Admission::default());
        }
        self.closed(self.settings.reserve_open)?;
        let (admission, charges) = self.judge(&budgets, asked(&amounts), Zero::Nothing, at)?;
        self.apply(&charges, true, at);
        self.enter(&budgets, at);
        let resources = self.declared();
        // Collecting what has expired, to admit this, may have settled the hold.
        if self.holds[hold.0 as usize].end.is_some() {
            self.change(&[Part { amounts, budgets, resources }], Before::Held, &Amounts::new());
            return Err(Error::AlreadySettled);
        }
        self.holds[hold.0 as usize].parts.push(Part { amounts, budgets, resources });
        Ok(admission)
    }

    /// Takes `cost` out of a hold, the newest parts first, as a hold of its own in the same windows: dispatched if the first one is,
    /// without a time-to-live.
    ///
    /// # Errors
    /// A hold that is unknown or settled; [`Error::TooMuch`].
    pub fn split(&mut self, hold: HoldId, cost: &[(&str, u64)], at: i64) -> Result<HoldId, Error> {
        self.sweep_if_kept(hold, at);
        let found = self.open(hold)?;
        let (reserved, mut rest) = (held_by(&found.parts), summed(cost));
        let there = |resource: &str| reserved.get(resource).copied().unwrap_or_default();
        if let Some((resource, _)) = cost.iter().find(|(resource, _)| rest[*resource] > there(resource)) {
            return Err(Error::TooMuch { resource: (*resource).to_string(), there: to_u64(there(resource)) });
        }
        let mut parts = Vec::new();
        for (place, part) in found.parts.iter_mut().enumerate().rev() {
            let mut share = take_up_to(&mut rest, &part.amounts);
            for (resource, amount) in &share {
                *part.amounts.entry(resource.clone()).or_default() -= amount;
            }
            // The reservation stays the first part, also of nothing, and the newest one the last.
            if place > 0 {
                share = nonzero(&share);
            }
            if place == 0 || !share.is_empty() {
                parts.insert(0, Part { amounts: share, ..part.clone() });
            }
        }
        let (scope, dispatched) = (found.scope.clone(), found.dispatched);
        let asked = parts[0].amounts.clone();
        let observed = Amounts::new();
        self.holds.push(Hold { scope, asked, parts, observed, dispatched, end: None, name: None });
        Ok(HoldId(self.holds.len() as u64 - 1))
    }

    /// Charges what was really spent in place of the hold. A resource that `actual` does not name is committed as reserved; with
    /// `at_least` no resource is committed below its hold. After the hold has expired, what its expiry charged is brought to the actual,
    /// once.
    ///
    /// The same totals again replay the first answer.
    ///
    /// # Errors
    /// A resource that the policies which admitted the hold do not declare; a hold that is unknown, released, or committed with other
    /// totals.
    pub fn commit(&mut self, hold: HoldId, actual: &[(&str, u64)], at_least: bool, at: i64) -> Result<Settled, Error> {
        self.sweep_if_kept(hold, at);
        let found = self.find(hold)?;
        let reserved = held_by(&found.parts);
        let mut totals = reserved.clone();
        for (resource, amount) in summed(actual) {
            if !found.parts.iter().any(|part| part.resources.contains(&resource)) {
                return Err(Error::UnknownResource(resource));
            }
            let least = if at_least { reserved.get(&resource).copied().unwrap_or_default() } else { 0 };
            totals.insert(resource, amount.max(least));
        }
        match self.find(hold)?.end.clone() {
            Some(End::Released) => Err(Error::AlreadyReleased),
            Some(End::Committed(before) | End::Expired { late: Some(before), .. }) if before.totals == totals => {
                Ok(Settled { replayed: true, ..before.settled })
            }
            Some(End::Committed(_) | End::Expired { late: Some(_), .. }) => Err(Error::Conflict),
            Some(End::Expired { charged, late: None }) => {
                let settled = self.settle(hold, totals.clone(), Before::Charged(&charged), at);
                let settled = Settled { late: true, ..settled };
                let late = Some(Committed { totals, settled: settled.clone() });
                self.holds[hold.0 as usize].end = Some(End::Expired { charged, late });
                Ok(settled)
            }
            None => {
                let settled = self.settle(hold, totals.clone(), Before::Held, at);
                self.end(hold, End::Committed(Committed { totals, settled: settled.clone() }), at);
                Ok(settled)
            }
        }
    }

    /// Gives the hold back.
    ///
    /// # Errors
    /// A hold that is unknown or settled.
    pub fn release(&mut self, hold: HoldId, at: i64) -> Result<(), Error> {
        self.sweep_if_kept(hold, at);
        self.open(hold)?;
        self.give_back(hold);
        self.end(hold, End::Released, at);
        Ok(())
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
    pub fn drop_hold(&mut self, hold: HoldId, at: i64) -> Result<Outcome, Error> {
        let found = self.open(hold)?;
        if !found.dispatched {
            self.give_back(hold);
            self.end(hold, End::Released, at);
            return Ok(Outcome::Released);
        }
        let totals = at_least(held_by(&found.parts), &found.observed);
        let settled = self.settle(hold, totals.clone(), Before::Held, at);
        self.end(hold, End::Committed(Committed { totals, settled }), at);
        Ok(Outcome::Committed)
    }

    /// Gives back `cost` of what a receipt charged, in the windows that it was charged in, of the last parts first: once.
    ///
    /// # Errors
    /// [`Error::TooMuch`], [`Error::TooOld`], [`Error::Refunded`], in this order.
    pub fn refund(&mut self, receipt: ReceiptId, cost: &[(&str, u64)], at: i64) -> Result<(), Error> {
        let found = &mut self.receipts[receipt.0 as usize];
        let mut rest = summed(cost);
        let charged = |resource: &str| found.charged.get(resource).copied().unwrap_or_default();
        if let Some((resource, _)) = cost.iter().find(|(resource, _)| rest[*resource] > charged(resource)) {
            return Err(Error::TooMuch { resource: (*resource).to_string(), there: to_u64(charged(resource)) });
        }
        if at.saturating_sub(found.at) > self.settings.refund_within_micros {
            return Err(Error::TooOld);
        }
        if std::mem::replace(&mut found.refunded, true) {
            return Err(Error::Refunded);
        }
        for (budgets, amounts) in found.parts.clone().iter().rev() {
            let share = take_up_to(&mut rest, amounts);
            for (bound, index) in budgets {
                let amount = share.get(&bound.key.resource).copied().unwrap_or_default();
                if amount > 0 {
                    self.budget_mut(&bound.key).adjust(*index, amount, 0);
                }
            }
        }
        Ok(())
    }

    /// Admits a hold in budgets that were found for its scope.
    pub(crate) fn hold(
        &mut self,
        scope: BTreeSet<String>,
        budgets: &[(Bound, i64)],
        cost: &[(&str, u64)],
        at: i64,
    ) -> Result<Reserved, Error> {
        let amounts = self.amounts(cost)?;
        self.closed(self.settings.reserve_open)?;
        let (admission, charges) = self.judge(budgets, asked(&amounts), Zero::Room, at)?;
        self.apply(&charges, true, at);
        self.enter(budgets, at);
        let part = Part { amounts: amounts.clone(), budgets: budgets.to_vec(), resources: self.declared() };
        let observed = Amounts::new();
        self.holds.push(Hold {
            scope,
            asked: amounts,
            parts: vec![part],
            observed,
            dispatched: false,
            end: None,
            name: None,
        });
        Ok(Reserved { hold: HoldId(self.holds.len() as u64 - 1), admission })
    }

    /// Keeps a hold under a number of the model's own; if there is no place, drops it.
    fn keep(&mut self, hold: HoldId, ttl: i64, at: i64) -> Result<(), Error> {
        self.sweep(at);
        if let Err(full) = self.has_place() {
            let _ = self.drop_hold(hold, at);
            return Err(full);
        }
        self.numbered += 1;
        self.keep_under(format!("#{}", hold.0), hold, Some(self.numbered), ttl, at);
        Ok(())
    }

    fn keep_under(&mut self, name: String, hold: HoldId, number: Option<u64>, ttl: i64, at: i64) {
        self.kept.insert(name.clone(), Kept { hold, due: at.saturating_add(ttl), open: true, number });
        let found = &mut self.holds[hold.0 as usize];
        found.name = Some(name);
        if found.end.is_some() {
            self.note_settled(hold, at);
        }
    }

    fn has_place(&self) -> Result<(), Error> {
        let max = self.settings.holds_max;
        if self.kept.len() < max { Ok(()) } else { Err(Error::TooManyHolds(max)) }
    }

    fn kept_as(&self, hold: HoldId) -> Option<Kept> {
        self.kept.get(self.name(hold)?).copied().filter(|kept| kept.hold == hold)
    }

    fn note_settled(&mut self, hold: HoldId, at: i64) {
        if let (Some(name), Some(kept @ Kept { open: true, .. })) =
            (self.name(hold).map(String::from), self.kept_as(hold))
        {
            let due = at.saturating_add(self.settings.remember_micros);
            self.kept.insert(name, Kept { due, open: false, ..kept });
        }
    }

    fn end(&mut self, hold: HoldId, end: End, at: i64) {
        self.holds[hold.0 as usize].end = Some(end);
        self.note_settled(hold, at);
    }

    /// Settles a hold whose time has run out as a drop would.
    fn expire(&mut self, hold: HoldId) {
        let found = &self.holds[hold.0 as usize];
        let charged = if found.dispatched {
            let reserved = held_by(&found.parts);
            let totals = at_least(reserved.clone(), &found.observed);
            self.expired_above += u64::from(totals != reserved);
            let parts = found.parts.clone();
            self.change(&parts, Before::Held, &totals);
            totals
        } else {
            self.give_back(hold);
            Amounts::new()
        };
        self.holds[hold.0 as usize].end = Some(End::Expired { charged, late: None });
    }

    fn give_back(&mut self, hold: HoldId) {
        let parts = self.holds[hold.0 as usize].parts.clone();
        self.change(&parts, Before::Held, &Amounts::new());
    }

    /// Brings what a hold has charged to `totals`, and writes a receipt.
    fn settle(&mut self, hold: HoldId, totals: Amounts, before: Before, at: i64) -> Settled {
        let parts = self.holds[hold.0 as usize].parts.clone();
        let (late, overage) = self.change(&parts, before, &totals);
        let amounts = totals.iter().map(|(resource, total)| (resource.clone(), to_u64(*total))).collect();
        let shares = shared(&parts, &totals);
        let charged = parts.into_iter().map(|part| part.budgets).zip(shares).collect();
        let receipt = self.receipt(at, totals, charged);
        Settled { receipt, replayed: false, late, amounts, overage }
    }

    pub(crate) fn receipt(&mut self, at: i64, charged: Amounts, parts: Vec<(Budgets, Amounts)>) -> ReceiptId {
        self.receipts.push(Receipt { at, charged, parts, refunded: false });
        ReceiptId(self.receipts.len() as u64 - 1)
    }

    /// Changes what parts have charged so that it is `totals` altogether. Whether a window had ended, and the budgets that are over.
    fn change(&mut self, parts: &[Part], before: Before, totals: &Amounts) -> (bool, Vec<Overage>) {
        let from = match before {
            Before::Held => parts.iter().map(|part| part.amounts.clone()).collect(),
            Before::Charged(charged) => shared(parts, charged),
        };
        let (mut touched, mut late) = (Vec::new(), false);
        for ((part, from), to) in parts.iter().zip(from).zip(shared(parts, totals)) {
            for (bound, index) in &part.budgets {
                let resource = &bound.key.resource;
                if !from.contains_key(resource) && !to.contains_key(resource) {
                    continue;
                }
                let amount = |amounts: &Amounts| amounts.get(resource).copied().unwrap_or_default();
                let budget = self.budget_mut(&bound.key);
                late |= budget.has_ended(*index);
                let changed = match before {
                    Before::Held => budget.settle(*index, amount(&from), amount(&to)),
                    Before::Charged(_) => budget.adjust(*index, amount(&from), amount(&to)),
                };
                touched.extend(changed.map(|index| (bound, index)));
            }
        }
        (late, self.overages(&touched))
    }

    /// A hold with a time-to-live is open for no longer than that.
    fn sweep_if_kept(&mut self, hold: HoldId, at: i64) {
        if self.holds.get(hold.0 as usize).is_some_and(|found| found.name.is_some()) {
            self.sweep(at);
        }
    }

    fn find(&mut self, hold: HoldId) -> Result<&mut Hold, Error> {
        self.holds.get_mut(hold.0 as usize).ok_or(Error::UnknownHold)
    }

    fn open(&mut self, hold: HoldId) -> Result<&mut Hold, Error> {
        let found = self.find(hold)?;
        match found.end {
            None => Ok(found),
            Some(End::Committed(_) | End::Expired { late: Some(_), .. }) => Err(Error::AlreadySettled),
            Some(End::Released) => Err(Error::AlreadyReleased),
            Some(End::Expired { late: None, .. }) => Err(Error::Expired),
        }
    }
}

/// What parts hold together.
fn held_by(parts: &[Part]) -> Amounts {
    let mut sums = Amounts::new();
    for (resource, amount) in parts.iter().flat_map(|part| &part.amounts) {
        let sum = sums.entry(resource.clone()).or_default();
        *sum = (*sum + amount).min(u64::MAX.into());
    }
    sums
}

/// Of each resource what is more.
fn at_least(mut totals: Amounts, observed: &Amounts) -> Amounts {
    for (resource, amount) in observed {
        let total = totals.entry(resource.clone()).or_default();
        *total = (*total).max(*amount);
    }
    totals
}

/// How a total falls to the parts, in the order of their making: each takes of a resource what it holds itself, and the last one with a budget of
/// it takes what is above.
fn shared(parts: &[Part], totals: &Amounts) -> Vec<Amounts> {
    let mut rest = totals.clone();
    let mut shares: Vec<Amounts> = parts.iter().map(|part| take_up_to(&mut rest, &part.amounts)).collect();
    for (resource, amount) in rest {
        let counts = |part: &Part| part.budgets.iter().any(|(bound, _)| bound.key.resource == resource);
        let last = parts.iter().rposition(counts).unwrap_or(parts.len() - 1);
        *shares[last].entry(resource).or_default() += amount;
    }
    shares
}

/// Takes up to `most` of each resource that both name.
fn take_up_to(rest: &mut Amounts, most: &Amounts) -> Amounts {
    let mut taken = Amounts::new();
    for (resource, amount) in rest {
        if let Some(most) = most.get(resource) {
            let share = (*most).min(*amount);
            *amount -= share;
            taken.insert(resource.clone(), share);
        }
    }
    taken
}

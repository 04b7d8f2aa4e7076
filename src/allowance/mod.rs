//! Allowances: a reservation turned into a budget of its own, which sub-agents are charged to.
//!
//! **Who owns what.** The allowance's *pool* owns its parent's hold. What children are charged stands in one budget for each resource that
//! was held, which their scopes carry; the pool's [gate](crate::scope::Gate) counts the charges on their way, the open holds and the
//! handles, and closes with the end. While it is open, the parent holds as much as the pool is for, or as much as it is charged where
//! that is more. After the end, once nothing is on its way, the parent holds what the pool is charged; once no hold is open either, that is
//! committed; and what changes later (an answer after its time, a refund) is brought to the parent as well.
//!
//! **Every change tells.** Whoever has changed what the pool is charged takes a step at the gate after it. The step finds whether there is
//! something to bring to the parent; that is done behind the pool's lock, by what the gate and the budgets say then. The lock is held while the
//! parent is brought level, and so on up: from child to parent, never the other way.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::amount::{Cap, Cost, Resource};
use crate::engine::Core;
use crate::holds::{HoldId, Keep};
use crate::report::BudgetUsage;
use crate::reservation::{Hold, Reservation, SplitError};
use crate::scope::{
    Carried, ChargeError, Covered, Ended, Gate, Members, Owned, Owner, Scope, ScopeError, Standing, Subjects,
};
use crate::subject::{Subject, SubjectError};
use crate::sync::{AtomicU8, Mutex, Ordering, unique_number, yield_now};
use crate::time::Timestamp;
use crate::window::Window;

/// The kind of the subject that an allowance's budgets have in reports.
const KIND: &str = "allowance";

/// A reservation turned into a budget that sub-agents are charged to, from [`Reservation::into_allowance`].
///
/// Charges in its [scope](Self::scope) go to its *pool* and to the sub-agents' own budgets. The budgets of the parent's scope, `global` among
/// them, are not charged again: the parent holds the whole pool there. A resource that the parent does not hold is charged to the parent's
/// budgets as it comes. What the sub-agents do not use returns to the parent when the allowance ends.
///
/// | to share it | |
/// |---|---|
/// | one pool for all | several [scopes](Self::scope) |
/// | a fixed part for one | [`carve`](Self::carve): an allowance in the allowance |
/// | the same for each | [`split_evenly`](Self::split_evenly) |
/// | and so on down | a reservation made in an allowance's scope can become an allowance |
///
/// It ends with [`end`](Self::end), when the time-to-live of its reservation runs out, or when nothing can be charged to it any more: its
/// last handle, the last scope on it and the last open reservation in it are gone. From then on it admits nothing, and what is left returns
/// to the parent at once. Reservations and allowances that are open in it go on and settle as ever; as each does, what it gives back
/// returns too. When none is open, the parent's hold is committed at exactly what the pool was charged: of a resource that nobody used,
/// nothing.
///
/// Charges above what was held, by commits and records, are passed on to the parent in full.
///
/// ```
/// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
/// # let policy = Policy::builder().resource("usd", Unit::Usd)
/// #     .limit(Limit::new("day", "user", "usd", Window::Day, Cap::Max(10_000)))
/// #     .limit(Limit::new("agent-day", "agent", "usd", Window::Day, Cap::Max(2_000))).build()?;
/// # let engine = Engine::new(policy);
/// # let usd = engine.resource("usd")?;
/// let parent = engine.scope(["user:7"])?;
/// let (allowance, answer) = parent.reserve(usd.of(5_000))?.into_allowance_keeping(usd.of(1_000))?;
/// allowance.scope(["agent:research"])?.try_charge(usd.of(1_500))?;
/// allowance.scope(["agent:critic"])?.reserve(usd.of(2_000))?.commit(usd.of(700))?;
/// assert!(allowance.scope(["agent:writer"])?.reserve(usd.of(1_900)).is_err(), "1,800 of the pool are left");
/// assert_eq!(parent.usage()?[0].held, 5_000);
///
/// allowance.end();
/// assert_eq!((parent.usage()?[0].used, parent.usage()?[0].held), (2_200, 1_000)); // the answer is still to come
/// answer.commit(usd.of(900))?;
/// assert_eq!(parent.usage()?[0].used, 3_100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Concurrency
/// Clones are the same allowance. Whatever races, the pool admits no more than it is for, and what its children are charged together with
/// what returns is what was reserved.
pub struct Allowance {
    pool: Arc<Pool>,
}

struct Pool {
    core: Arc<Core>,
    subject: Subject,
    gate: Gate,
    /// Of the parent.
    hold: Hold,
    /// One for each resource that was held.
    budgets: Vec<Carried>,
    /// 1 while the parent holds more than the pool is for, or may.
    raised: AtomicU8,
    /// What the parent's hold was committed at, as corrected since.
    committed: Mutex<Option<Cost>>,
    /// What the engine knows it by, if it has a time-to-live.
    timed: Option<HoldId>,
}

impl Reservation {
    /// Turns what is held into a budget that sub-agents are charged to; see [`Allowance`].
    ///
    /// If the reservation has a time-to-live, the allowance ends when it runs out: what was charged by then is committed and not given
    /// back, open reservations settle as ever, and [`Allowance::renew`] prolongs it. The id that the reservation was kept under answers that
    /// it has been released.
    ///
    /// # Errors
    /// [`SplitError::Settled`] when it is settled.
    pub fn into_allowance(self) -> Result<Allowance, SplitError> {
        let (hold, due) = self.into_hold()?;
        let resources: Vec<Resource> = hold.held().iter().map(|(resource, _)| resource).collect();
        Ok(Allowance::of(hold, due, &resources))
    }

    /// Like [`Reservation::into_allowance`], and keeps `cost` back as a reservation: for the parent's own final answer.
    ///
    /// # Errors
    /// [`SplitError::TooMuch`] when less is held, [`SplitError::Settled`] when it is settled. The reservation is dropped then;
    /// [`Reservation::split`] keeps it.
    pub fn into_allowance_keeping(self, cost: Cost) -> Result<(Allowance, Self), SplitError> {
        let kept = self.split(cost)?;
        Ok((self.into_allowance()?, kept))
    }
}

impl Allowance {
    /// An allowance of what `hold` holds of `resources`, if only nothing.
    fn of(hold: Hold, due: Option<Timestamp>, resources: &[Resource]) -> Self {
        let core = Arc::clone(&hold.plan().core);
        let number = unique_number().to_string();
        let subject = Subject::new(KIND, &number).unwrap_or_else(|_| Subject::global());
        let budgets = budgets(&hold, &subject, resources);
        let claim = due.map(|due| (core.timed.claim_in_exchange(), due));
        let pool = Arc::new(Pool {
            core: Arc::clone(&core),
            subject,
            gate: Gate::new(),
            hold,
            budgets,
            raised: AtomicU8::new(0),
            committed: Mutex::new(None),
            timed: claim.as_ref().map(|(claim, _)| claim.id.clone()),
        });
        if let Some((claim, due)) = claim {
            claim.keep(Arc::<Pool>::clone(&pool), due, Keep::Forget);
        }
        Self { pool }
    }

    /// A scope of sub-agents that is charged to the pool, and to those of the subjects' budgets that the parent is not charged for already.
    /// Any number of scopes share the pool.
    ///
    /// # Errors
    /// As [`Engine::scope`](crate::Engine::scope).
    pub fn scope<S>(&self, subjects: impl IntoIterator<Item = S>) -> Result<Scope, ScopeError>
    where
        S: TryInto<Subject>,
        S::Error: Into<SubjectError>,
    {
        self.scope_of(Subjects::of(subjects)?)
    }

    /// Like [`Allowance::scope`], with the groups that the host says the subjects are in.
    ///
    /// # Errors
    /// As [`Engine::scope`](crate::Engine::scope).
    pub fn scope_of(&self, subjects: Subjects) -> Result<Scope, ScopeError> {
        Scope::resolve(Arc::clone(&self.pool.core), self.pool.members(subjects))
    }

    /// Takes `cost` out of the pool as an allowance of its own, for one sub-agent. What it does not use returns to this one.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("usd", Unit::Usd)
    /// #     .limit(Limit::new("day", "user", "usd", Window::Day, Cap::Max(10_000))).kind("agent").build()?;
    /// # let engine = Engine::new(policy);
    /// # let usd = engine.resource("usd")?;
    /// let allowance = engine.scope(["user:7"])?.reserve(usd.of(5_000))?.into_allowance()?;
    /// let research = allowance.carve(usd.of(3_000))?;
    /// assert!(research.scope(["agent:research"])?.try_charge(usd.of(3_001)).is_err());
    /// assert_eq!(allowance.usage()[0].remaining(), Cap::Max(2_000));
    /// drop(research);
    /// assert_eq!(allowance.usage()[0].remaining(), Cap::Max(5_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Scope::reserve`], when the pool has less, or the allowance has ended.
    pub fn carve(&self, cost: Cost) -> Result<Self, ChargeError> {
        let hold = self.scope_of(Subjects::new())?.reserve(cost)?;
        // Made here, and open.
        hold.into_allowance().map_err(|_| self.ended())
    }

    /// Takes all that is left out of the pool as `parts` allowances of the same size. What does not divide goes to the first ones, one unit
    /// each.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("day", "user", "tokens", Window::Day, Cap::Max(1_000))).build()?;
    /// # let engine = Engine::new(policy);
    /// # let tokens = engine.resource("tokens")?;
    /// let allowance = engine.scope(["user:7"])?.reserve(tokens.of(11))?.into_allowance()?;
    /// let parts = allowance.split_evenly(3)?;
    /// assert_eq!(parts.iter().map(|part| part.usage()[0].cap).collect::<Vec<_>>(), [4, 4, 3].map(Cap::Max));
    /// assert_eq!(allowance.usage()[0].remaining(), Cap::Max(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Scope::reserve`], when the allowance has ended.
    pub fn split_evenly(&self, parts: usize) -> Result<Vec<Self>, ChargeError> {
        let scope = self.scope_of(Subjects::new())?;
        let hold = loop {
            let mut rest = Cost::nothing();
            for carried in self.pool.budgets.iter().filter(|carried| carried.room() > 0) {
                rest.add(carried.resource, carried.room());
            }
            match scope.reserve(rest) {
                // Somebody took some of it meanwhile.
                Err(ChargeError::Refused(_)) => {}
                hold => break hold?,
            }
        };
        let due = hold.expires_at();
        let rest = hold.held();
        let share = |number: usize| {
            let mut share = Cost::nothing();
            for carried in &self.pool.budgets {
                let (amount, parts) = (rest.amount(carried.resource).unwrap_or(0), parts as u64);
                share.add(carried.resource, amount / parts + u64::from((number as u64) < amount % parts));
            }
            share
        };
        let resources: Vec<Resource> = self.pool.resources().collect();
        let part = |number| {
            let part = hold.split_off(&share(number)).map_err(|_| self.ended())?;
            Ok(Self::of(part, due, &resources))
        };
        (0..parts).map(part).collect()
    }

    /// What the pool is for, what of it is used, held and left, for each resource, as of one instant.
    pub fn usage(&self) -> Vec<BudgetUsage> {
        Carried::usage(&self.pool.core, self.pool.budgets.iter())
    }

    /// Ends it: when this returns, nothing is admitted in it any more, and what is left has returned to the parent. Reservations and allowances
    /// that are open in it go on. Says what the pool has been charged so far, what those hold included.
    #[allow(clippy::must_use_candidate, reason = "what was charged is there to be seen elsewhere")]
    pub fn end(&self) -> Cost {
        let at = self.pool.core.now();
        self.pool.end(at);
        self.pool.gate.wait();
        while !self.pool.level(at) {
            yield_now();
        }
        self.pool.charged()
    }

    /// Whether it has ended, by whatever.
    pub fn has_ended(&self) -> bool {
        let Pool { core, gate, .. } = &*self.pool;
        core.collect_overdue(core.now_precise());
        gate.standing().has_ended()
    }

    /// Whether it has ended and nothing is open in it: the parent's hold has been committed.
    pub fn is_settled(&self) -> bool {
        self.has_ended() && self.pool.committed.lock().is_some()
    }

    /// From now on it lasts `ttl`; nothing else prolongs it. False when it has ended, or its reservation had no time-to-live.
    #[must_use = "an allowance that has ended admits nothing"]
    pub fn renew(&self, ttl: Duration) -> bool {
        let pool = &*self.pool;
        let now = pool.core.now_precise();
        let id = pool.timed.as_ref().filter(|_| !pool.gate.standing().has_ended());
        id.is_some_and(|id| pool.core.timed.renew(id, pool, now, now.saturating_add(ttl)).is_some())
    }

    /// When its time runs out; `None` when it has none, or has ended.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let pool = &*self.pool;
        // Whoever ends it closes the gate first and has it forgotten afterwards.
        let id = pool.timed.as_ref().filter(|_| !pool.gate.standing().has_ended())?;
        pool.core.timed.expires_at(id, pool)
    }

    fn ended(&self) -> ChargeError {
        ChargeError::Ended(Ended::of(&self.pool.subject))
    }
}

impl Clone for Allowance {
    fn clone(&self) -> Self {
        let at = self.pool.core.now();
        self.pool.changed(self.pool.gate.add_user(), at);
        Self { pool: Arc::clone(&self.pool) }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        let at = self.pool.core.now();
        self.pool.changed(self.pool.gate.drop_user(), at);
    }
}

/// A budget for each of `resources`.
fn budgets(parent: &Hold, subject: &Subject, resources: &[Resource]) -> Vec<Carried> {
    let held = parent.held();
    let budget = |&resource: &Resource| {
        let (name, unit) = parent.called(resource)?;
        let cap = Cap::Max(held.amount(resource).unwrap_or(0).min(Window::Lifetime.cap_max()));
        Some(Carried::new(&format!("allowance.{name}"), subject, (resource, &*name, unit), cap))
    };
    resources.iter().filter_map(budget).collect()
}

impl Pool {
    /// Those whom charges of `children` go to: the pool for what it has, everybody for the rest.
    fn members(self: &Arc<Self>, children: Subjects) -> Members {
        let parent = self.hold.plan().members();
        let resources: Vec<Resource> = self.resources().collect();
        let mut carried = parent.carried.clone();
        carried.retain(|carried| !resources.contains(&carried.resource));
        let mut owners: Vec<Owned> = parent.owners.iter().filter_map(|owned| owned.without(&resources)).collect();
        carried.extend(self.budgets.iter().cloned());
        owners.push(Owned { owner: Arc::<Self>::clone(self), only: None, of: resources.clone() });
        let covered = Covered { subjects: parent.subjects.iter().cloned().collect(), resources };
        let covered = parent.covered.iter().cloned().chain([covered]).collect();
        Members { subjects: children.and(&parent.subjects), carried, owners, covered }
    }

    fn resources(&self) -> impl Iterator<Item = Resource> {
        self.budgets.iter().map(|carried| carried.resource)
    }

    fn charged(&self) -> Cost {
        let mut charged = Cost::nothing();
        for carried in &self.budgets {
            charged.add(carried.resource, carried.charged());
        }
        charged
    }

    fn is_over(&self) -> bool {
        self.budgets.iter().any(|carried| Cap::Max(carried.charged()) > carried.cap)
    }

    /// Brings the parent level with what the pool is charged, at `at`. False when something is on its way after the end: who comes out last does it.
    fn level(&self, at: Timestamp) -> bool {
        let mut committed = self.committed.lock();
        // Set before the step at the gate and the look at the budgets: who takes from them meanwhile sees it, or is seen.
        self.raised.store(1, Ordering::Release);
        let standing = self.gate.touch();
        if standing.has_ended() && !standing.is_quiet() {
            return false;
        }
        let charged = self.charged();
        match &mut *committed {
            Some(before) if *before == charged => {}
            Some(before) => {
                self.hold.correct(at, before, &charged);
                *before = charged;
            }
            None if !standing.has_ended() => {
                let (mut wanted, mut is_raised) = (charged, false);
                for carried in &self.budgets {
                    let max = carried.cap.max().unwrap_or(0);
                    is_raised |= wanted.amount(carried.resource) > Some(max);
                    wanted = wanted.max(&carried.resource.of(max));
                }
                self.hold.bring_to(at, &wanted);
                self.raised.store(u8::from(is_raised), Ordering::Release);
            }
            None if !standing.is_settled() => self.hold.bring_to(at, &charged),
            None => {
                // It is open: nobody else knows it.
                let _ = self.hold.commit_at(at, charged.clone().into());
                *committed = Some(charged);
            }
        }
        true
    }
}

impl Owner for Pool {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    fn changed(&self, standing: Standing, at: Timestamp) {
        let may_be_uneven = || self.is_over() || self.raised.load(Ordering::Acquire) != 0;
        let _who_comes_later_does_it = match standing.has_ended() {
            false if standing.is_forsaken() => {
                self.end(at);
                true
            }
            false if may_be_uneven() => self.level(at),
            true if standing.is_quiet() => self.level(at),
            _ => true,
        };
    }

    fn end(&self, at: Timestamp) {
        if let Some(standing) = self.gate.close() {
            if let Some(id) = &self.timed {
                self.core.timed.settled(id, self, at);
            }
            self.changed(standing, at);
        }
    }
}

impl fmt::Debug for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Allowance");
        for carried in &self.pool.budgets {
            let (max, charged) = (carried.cap.max().unwrap_or(0), carried.charged());
            let unit = carried.label.unit;
            debug.field(&carried.label.resource, &format_args!("{} of {}", unit.format(charged), unit.format(max)));
        }
        debug.field("ended", &self.pool.gate.standing().has_ended()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;

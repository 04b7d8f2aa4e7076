//! Resets: what is used of a budget becomes 0, by an operator or because the subject paid for it.
//!
//! **Who owns what.** A reset changes several budgets as of one instant, in a [`Moment`]: what is held stands still in it, and is never
//! touched. A charge of one budget that comes meanwhile is either before the reset, and taken with the rest, or after it, and stays.
//!
//! **Numbers.** Resets are numbered. Whatever can be given back later remembers how many there had been; a budget remembers which was its
//! last and what it took. So a refund of something that a reset has taken gives nothing back twice.

use std::collections::HashSet;
use std::sync::Arc;

use ahash::RandomState;
use parking_lot::Mutex;

use crate::amount::Unit;
use crate::charge::{Moment, Seat};
use crate::engine::{Core, OnFailure};
use crate::event::{BudgetName, EventKind};
use crate::meter::Forgive;
use crate::scope::{Plan, Scope};
use crate::subject::Subject;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;

mod error;
mod paid;
mod wallet;

pub use error::ResetError;
pub use paid::ResetReceipt;
pub use wallet::{Wallet, WalletError};

/// What an engine knows of its resets.
#[derive(Debug, Default)]
pub(crate) struct Resets {
    done: AtomicU64,
    /// The budgets for whose reset a wallet of the host's is being charged, by subject and limit.
    running: Mutex<HashSet<(Subject, Arc<str>), RandomState>>,
}

impl Resets {
    /// How many resets have been carried out. Whoever reads a number and charges then, charges after the reset of that number.
    pub(crate) fn done(&self) -> u64 {
        // Pairs with the Release in `finish`.
        self.done.load(Ordering::Acquire)
    }

    /// As many had been carried out by an engine before.
    #[cfg(feature = "persist")]
    pub(crate) fn restore(&self, done: u64) {
        self.done.store(done, Ordering::Release);
    }

    /// The number of a reset that is carried out now, in a moment of its own.
    fn next(&self) -> u64 {
        self.done() + 1
    }

    /// Says that the reset is carried out, still in the moment.
    fn finish(&self, number: u64) {
        // Release: whoever sees the number sees what the reset did.
        self.done.store(number, Ordering::Release);
    }
}

/// Which limits an operator resets: [`Scope::reset`].
///
/// ```
/// use encumber::Reset;
/// let day = Reset::limit("user-day").lowers("user-week"); // as a paid reset does, for nothing
/// let both = Reset::limit("user-day").and("user-week");
/// # let _ = (day, both);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    items: Vec<(Box<str>, Option<Box<str>>)>,
}

impl Reset {
    /// The limit with this id.
    pub fn limit(id: &str) -> Self {
        Self { items: vec![(id.into(), None)] }
    }

    /// And this one.
    pub fn and(mut self, id: &str) -> Self {
        self.items.push((id.into(), None));
        self
    }

    /// And gives one window of the limit named last back to this longer one: what is used there is lowered by that limit's cap, floored at
    /// 0. By nothing when it is unlimited.
    pub fn lowers(mut self, id: &str) -> Self {
        if let Some((_, lowers)) = self.items.last_mut() {
            *lowers = Some(id.into());
        }
        self
    }
}

/// What a reset took from one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The limit's id.
    pub limit: Arc<str>,
    /// Whose budget.
    pub subject: Subject,
    /// How much of what was used: 0 when there was nothing. `u64::MAX` when it was more than the budget can hold.
    pub amount: u64,
    /// What is charged afterwards: what is held, and what was not taken.
    pub left: u64,
    pub(crate) unit: Unit,
    pub(crate) resource: Arc<str>,
}

impl Taken {
    /// Tells whoever listens, if anything was taken.
    fn tell(&self, core: &Core, at: Timestamp, paid: bool) {
        if self.amount > 0 {
            let Self { limit, subject, amount, left, unit, resource } = self;
            core.emit(at, || EventKind::Reset {
                budget: BudgetName {
                    limit: Arc::clone(limit),
                    subject: subject.clone(),
                    resource: Arc::clone(resource),
                    unit: *unit,
                },
                before: left.saturating_add(*amount),
                after: *left,
                paid,
            });
        }
    }
}

impl Scope {
    /// Resets budgets of the scope, as an operator does: what is used of the chosen limits becomes 0 in the current windows. Nothing is
    /// paid or counted. What is held stays held, and charged. A budget with nothing used stays as it is.
    ///
    /// All of it happens as of one instant. A charge at the same time is either taken with the rest or comes after the reset, and stays.
    /// What a reset took is not given back again: refunds of receipts from before it have no effect on the budget to that extent.
    ///
    /// The answer says, in the order asked for, what was taken from each budget, and after a limit that lowers another one what was taken
    /// from that.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Reset, Unit, Window};
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(100)))
    /// #     .limit(Limit::new("user-week", "user", "tokens", Window::Week, Cap::Max(500))).build()?;
    /// # let engine = Engine::new(policy);
    /// # let tokens = engine.resource("tokens")?;
    /// let scope = engine.scope(["user:7"])?;
    /// scope.record(tokens.of(130))?;
    /// let taken = scope.reset(&Reset::limit("user-day").lowers("user-week"))?;
    /// assert_eq!([taken[0].amount, taken[1].amount], [130, 100]);
    /// assert_eq!([scope.usage()?[0].used, scope.usage()?[1].used], [0, 30]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the policy has no such limit or the scope no budget of it; when something is degraded and the
    /// [`FailurePolicy`](crate::FailurePolicy) closes resets then. Nothing changes.
    pub fn reset(&self, reset: &Reset) -> Result<Vec<Taken>, ResetError> {
        let plan = self.plan()?;
        let core = &*plan.core;
        if let Some(component) = core.degraded().filter(|_| core.failure_policy.reset == OnFailure::Closed) {
            return Err(ResetError::Degraded(component));
        }
        let now = core.now_precise();
        let mut chosen = Vec::with_capacity(reset.items.len());
        for (limit, lowers) in &reset.items {
            let longer = lowers.as_deref().map(|lowers| plan.budgets_of(lowers)).transpose()?;
            for seat in plan.budgets_of(limit)? {
                let same = |index: &usize| plan.seats[*index].subject == plan.seats[seat].subject;
                let lowered = longer.as_ref().map(|longer| longer.iter().copied().find(same));
                match (lowered, lowers) {
                    (Some(None), Some(lowers)) => return Err(ResetError::NoBudget { limit: lowers.clone() }),
                    (lowered, _) => chosen.push((seat, lowered.flatten())),
                }
            }
        }
        core.collect_overdue(now);
        let moment = core.flights.moment();
        let number = core.resets.next();
        let mut taken = Vec::with_capacity(2 * chosen.len());
        let mut changed = Vec::with_capacity(2 * chosen.len());
        for (seat, lowered) in chosen {
            changed.push(seat);
            changed.extend(lowered);
            let seat = &plan.seats[seat];
            taken.push(seat.reset(&moment, now, Forgive::All, number));
            if let Some(lowered) = lowered {
                let cap = seat.cap_in(seat.peek(now).window);
                let much = Forgive::UpTo(cap.max().unwrap_or(0));
                taken.push(plan.seats[lowered].reset(&moment, now, much, number));
            }
        }
        core.resets.finish(number);
        drop(moment);
        for taken in &taken {
            taken.tell(core, now, false);
        }
        if plan.write_together(&changed, now) { Ok(taken) } else { Err(ResetError::Unwritten { taken }) }
    }
}

impl Plan {
    /// The positions of the scope's budgets of a limit: at least one.
    fn budgets_of(&self, limit: &str) -> Result<Vec<usize>, ResetError> {
        let limits = &self.in_force.limits;
        let Some(known) = limits.iter().find(|known| *known.label.limit == *limit) else {
            let known = limits.iter().map(|known| (*known.label.limit).into()).collect();
            return Err(ResetError::Unknown { id: limit.chars().take(64).collect(), known });
        };
        // By the label itself: budgets that the scope carries may be called alike.
        let seats = self.seats.iter().enumerate().filter(|(_, seat)| Arc::ptr_eq(&seat.label, &known.label));
        let found: Vec<_> = seats.map(|(index, _)| index).collect();
        if found.is_empty() { Err(ResetError::NoBudget { limit: limit.into() }) } else { Ok(found) }
    }
}

impl Seat {
    /// Resets the window that an operation at `now` would use.
    fn reset(&self, moment: &Moment<'_>, now: Timestamp, much: Forgive, number: u64) -> Taken {
        loop {
            // A charge may have opened a newer window in between.
            if let Some(taken) = self.try_reset(moment, self.peek(now).window, much, number) {
                return taken;
            }
        }
    }

    /// Every reset of a budget goes through here. `None` when `window` has ended.
    fn try_reset(&self, _: &Moment<'_>, window: i64, much: Forgive, number: u64) -> Option<Taken> {
        let (before, after) = self.meter.reset(window, much, number)?;
        let amount = match self.meter.layout().shown(before) {
            u64::MAX if before > after => u64::MAX,
            _ => before - after,
        };
        let (limit, resource) = (Arc::clone(&self.label.limit), Arc::clone(&self.label.resource));
        Some(Taken { limit, subject: self.subject.clone(), amount, left: after, unit: self.label.unit, resource })
    }
}

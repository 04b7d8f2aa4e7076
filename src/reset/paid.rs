//! Paid resets.

use std::sync::Arc;

use super::{ResetError, Resets, Taken, Wallet, WalletError};
use crate::amount::{Cap, Cost};
use crate::charge::{self, Seat, Windows};
use crate::engine::OnFailure;
use crate::meter::{Forgive, Part};
use crate::policy::{Guard, PaidReset};
use crate::scope::{Plan, Scope};
use crate::subject::Subject;
use crate::time::Timestamp;

/// A paid reset that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResetReceipt {
    /// The instant for which it was decided, paid and counted.
    pub at: Timestamp,
    /// What was taken from the budget that was reset.
    pub reset: Taken,
    /// What was taken from the longer budget, if one is lowered.
    pub lowered: Option<Taken>,
    /// The price.
    pub paid: u64,
    /// What is left in the budgets that paid; `None` when a wallet of the host's did.
    pub balance: Option<Cap>,
    /// How many there have been in this window, this one included.
    pub resets: u64,
    /// Whether the [`FailurePolicy`](crate::FailurePolicy) let it through while something was degraded, or it could not be written down.
    pub degraded: bool,
}

impl Scope {
    /// Carries out a paid reset of the policy's, in one step: charges the price to the scope's credit budgets, counts the reset, sets what
    /// is used of its limit to 0, and lowers what is used of the longer limit by that limit's cap, floored at 0. What is held stays.
    ///
    /// It can be bought while the budget is used up (`charged ≥ max`) and something of it is used. Of two at once, one is charged; the other
    /// finds a fresh budget. Everything goes by one reading of the clock.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, PaidReset, Policy, ResetError, Subject, Unit, Window};
    /// let policy = Policy::builder()
    ///     .resource("tokens", Unit::Count)
    ///     .resource("credits", Unit::Count)
    ///     .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(100)))
    ///     .limit(Limit::new("user-week", "user", "tokens", Window::Week, Cap::Max(500)))
    ///     .limit(Limit::new("user-credit", "user", "credits", Window::Lifetime, Cap::Max(0)))
    ///     .reset(
    ///         PaidReset::new("fresh-day", "user-day")
    ///             .lowers("user-week")
    ///             .price(500)
    ///             .credits("credits")
    ///             .max_per_window(Cap::Max(5)),
    ///     )
    ///     .build()?;
    /// let engine = Engine::new(policy);
    /// let tokens = engine.resource("tokens")?;
    /// engine.top_up(&Subject::new("user", "7")?, "user-credit", 2_000)?;
    /// let scope = engine.scope(["user:7"])?;
    /// scope.record(tokens.of(120))?;
    /// let receipt = scope.paid_reset("fresh-day")?;
    /// assert_eq!((receipt.reset.amount, receipt.lowered.unwrap().amount), (120, 100));
    /// assert_eq!((receipt.balance, receipt.resets), (Some(Cap::Max(1_500)), 1));
    /// assert_eq!(scope.paid_reset("fresh-day"), Err(ResetError::NotReached { charged: 0, max: 100 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ResetError`] says why not. Nothing is charged, counted or reset then.
    pub fn paid_reset(&self, id: &str) -> Result<ResetReceipt, ResetError> {
        let plan = self.plan()?;
        let sale = Sale::of(&plan, id)?;
        sale.is_open(Payment::Credits)?;
        if plan.core.resets.is_running(&sale.key()) {
            return Err(ResetError::Busy);
        }
        sale.carry_out(plan.core.now_precise(), Payment::Credits)
    }

    /// Like [`Scope::paid_reset`], paid by a wallet of the host's.
    ///
    /// The engine sees whether the reset can be sold, charges the wallet, and carries it out. While the wallet is being charged, other paid
    /// resets of the budget are [`Busy`](ResetError::Busy). When the reset cannot be carried out any more by then, the wallet is refunded:
    /// the budget is not used up any more, the window has ended, the policy has changed, or something is degraded meanwhile.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, PaidReset, Policy, Subject, Unit, Wallet, WalletError, Window};
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// struct Purse(AtomicU64);
    ///
    /// impl Wallet for Purse {
    ///     fn charge(&self, _: &Subject, amount: u64) -> Result<(), WalletError> {
    ///         let take = |held: u64| held.checked_sub(amount);
    ///         let taken = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
    ///         taken.map(|_| ()).map_err(|_| WalletError::Insufficient)
    ///     }
    ///
    ///     fn refund(&self, _: &Subject, amount: u64) -> Result<(), WalletError> {
    ///         self.0.fetch_add(amount, Ordering::AcqRel);
    ///         Ok(())
    ///     }
    /// }
    /// # let policy = Policy::builder().resource("tokens", Unit::Count)
    /// #     .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(100)))
    /// #     .reset(PaidReset::new("fresh-day", "user-day").price(500).max_per_window(Cap::Unlimited)).build()?;
    /// # let engine = Engine::new(policy);
    /// # let tokens = engine.resource("tokens")?;
    /// let purse = Purse(AtomicU64::new(700));
    /// let scope = engine.scope(["user:7"])?;
    /// scope.try_charge(tokens.of(100))?;
    /// let receipt = scope.paid_reset_with("fresh-day", &purse)?;
    /// assert_eq!((receipt.paid, purse.0.into_inner()), (500, 200));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ResetError`] says why not, and whether the wallet was charged and refunded.
    pub fn paid_reset_with(&self, id: &str, wallet: &dyn Wallet) -> Result<ResetReceipt, ResetError> {
        let now = self.core().now_precise();
        let (subject, price, _claim) = {
            let plan = self.plan()?;
            let sale = Sale::of(&plan, id)?;
            sale.is_open(Payment::Wallet)?;
            plan.ended(&Cost::nothing(), now)?;
            // Claimed first, so that nobody comes between the look and the charge.
            let claim = self.core().resets.claim(sale.key()).ok_or(ResetError::Busy)?;
            plan.core.collect_overdue(now);
            charge::snapshot(&plan.core.flights, || sale.judge(now, Payment::Wallet))?;
            (sale.day().subject.clone(), sale.price(), claim)
        };
        wallet.charge(&subject, price).map_err(|error| match error {
            WalletError::Insufficient => ResetError::InsufficientCredits { price, balance: None },
            error => ResetError::Wallet(error),
        })?;
        // The host's code has run: everything is looked at anew.
        self.carry_out_paid(id, now, price).map_err(|cause| match wallet.refund(&subject, price) {
            Ok(()) => ResetError::FailedRefunded(Box::new(cause)),
            Err(refund) => ResetError::FailedRefundFailed { cause: Box::new(cause), refund },
        })
    }

    /// Carries out what the host's wallet has paid.
    fn carry_out_paid(&self, id: &str, now: Timestamp, price: u64) -> Result<ResetReceipt, ResetError> {
        let plan = self.plan()?;
        let sale = Sale::of(&plan, id)?;
        let day = sale.day();
        let has_ended = day.window.index(plan.core.now_precise()) > day.window.index(now);
        if has_ended || sale.price() != price {
            // The subject paid for something else.
            return Err(ResetError::NotReached {
                charged: 0,
                max: day.cap_in(day.peek(now).window).max().unwrap_or(0),
            });
        }
        sale.carry_out(now, Payment::Wallet)
    }
}

/// Who pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payment {
    Credits,
    Wallet,
}

/// A paid reset in a scope: the budgets that take part, by position.
struct Sale<'a> {
    plan: &'a Plan,
    reset: &'a PaidReset,
    day: usize,
    week: Option<usize>,
    count: usize,
}

/// What a paid reset found when it was about to be carried out.
struct Verdict {
    at: Timestamp,
    /// The window that is reset, and its cap.
    day: i64,
    max: u64,
}

impl<'a> Sale<'a> {
    fn of(plan: &'a Plan, id: &str) -> Result<Self, ResetError> {
        let resets = plan.in_force.policy.resets();
        let reset = resets.iter().find(|reset| reset.id() == id).ok_or_else(|| ResetError::Unknown {
            id: id.chars().take(64).collect(),
            known: resets.iter().map(|reset| reset.id().into()).collect(),
        })?;
        let only = |limit: &str| match *plan.budgets_of(limit)? {
            [seat] => Ok(seat),
            _ => Err(ResetError::SeveralBudgets { limit: limit.into() }),
        };
        let (day, count) = (only(reset.limit())?, only(reset.id())?);
        let week = reset.lowered().map(only).transpose()?;
        Ok(Self { plan, reset, day, week, count })
    }

    fn day(&self) -> &Seat {
        &self.plan.seats[self.day]
    }

    fn price(&self) -> u64 {
        self.reset.cost().unwrap_or(0)
    }

    /// What it costs in the resource that pays.
    fn cost(&self) -> Option<Cost> {
        let resource = self.plan.in_force.resource(self.reset.paid_in()?)?;
        let pays = |seat: &Seat| seat.resource == resource && seat.enforcement == crate::policy::Enforcement::Hard;
        self.plan.seats.iter().any(pays).then(|| resource.of(self.price()))
    }

    /// What a running reset of the same budget is known by.
    fn key(&self) -> (Subject, Arc<str>) {
        (self.day().subject.clone(), Arc::clone(&self.day().label.limit))
    }

    /// Whether it is sold at all.
    fn is_open(&self, payment: Payment) -> Result<(), ResetError> {
        if self.reset.cost().is_none() || payment == Payment::Credits && self.cost().is_none() {
            return Err(ResetError::Disabled);
        }
        let core = &self.plan.core;
        match core.degraded().filter(|_| core.failure_policy.reset == OnFailure::Closed) {
            Some(component) => Err(ResetError::Degraded(component)),
            None => Ok(()),
        }
    }

    /// Whether it can be sold at `now`, as things stand.
    fn judge(&self, now: Timestamp, payment: Payment) -> Result<Verdict, ResetError> {
        let day = self.day();
        let state = day.peek(now);
        // An operation with an older time uses the later window, and everything that goes with it.
        let at = day.bounds(state.window, now).map_or(now, |bounds| now.max(bounds.start));
        let Cap::Max(max) = day.cap_in(state.window) else { return Err(ResetError::NoLimit) };
        let count = &self.plan.seats[self.count];
        let counted = count.peek(at);
        if let Cap::Max(most) = count.cap_in(counted.window)
            && counted.amount >= most
        {
            return Err(ResetError::CapReached { max: most });
        }
        let held = day.meter.held(state.window, now);
        if state.amount < max || state.amount <= held {
            let charged = day.meter.layout().shown(state.amount);
            return Err(ResetError::NotReached { charged, max });
        }
        if let Some(week) = self.week.map(|week| &self.plan.seats[week])
            && is_exhausted(week, at, self.reset.guarded(), max)
        {
            return Err(ResetError::OtherWindowExhausted { limit: Arc::clone(&week.label.limit) });
        }
        if payment == Payment::Credits {
            self.can_pay(at)?;
        }
        Ok(Verdict { at, day: state.window, max })
    }

    fn can_pay(&self, at: Timestamp) -> Result<(), ResetError> {
        let Some(balance) = self.balance(at) else { return Err(ResetError::Disabled) };
        match balance {
            Cap::Max(balance) if balance < self.price() => {
                Err(ResetError::InsufficientCredits { price: self.price(), balance: Some(balance) })
            }
            _ => Ok(()),
        }
    }

    /// What there is to pay with.
    fn balance(&self, at: Timestamp) -> Option<Cap> {
        let (resource, _) = self.cost()?.iter().next()?;
        Some(charge::afford(&self.plan.seats, resource, at))
    }

    /// Carries it out, all or nothing.
    fn carry_out(&self, now: Timestamp, payment: Payment) -> Result<ResetReceipt, ResetError> {
        let (core, seats) = (&*self.plan.core, &self.plan.seats);
        let cost = if payment == Payment::Credits { self.cost().ok_or(ResetError::Disabled)? } else { Cost::nothing() };
        let count = &seats[self.count];
        // A reset is a charge of whatever pays: it passes the gates as one.
        let _passing = self.plan.pass(&cost, now)?;
        core.collect_overdue(now);
        let moment = core.flights.moment();
        // What was reported degraded meanwhile counts too.
        self.is_open(payment)?;
        let number = core.resets.next();
        loop {
            let Verdict { at, day, max } = self.judge(now, payment)?;
            let (mut windows, mut reached) = (Windows::new(), charge::Reached::new());
            // A charge of the credit alone may have come between: looked at again.
            if charge::charge_in(&moment, seats, &cost, at, (&mut windows, &mut reached)).is_none() {
                continue;
            }
            let counted = count.count(at, 1, Part::Used);
            let Some(reset) = self.day().try_reset(&moment, day, Forgive::All, number) else {
                // A charge has opened the next window: there is nothing to reset any more.
                count.meter.undo(counted.window, 1, Part::Used);
                charge::take_back(&moment, seats, &cost, &windows);
                continue;
            };
            let week = self.week.map(|week| &seats[week]);
            let lowered = week.map(|week| week.reset(&moment, at, Forgive::UpTo(max), number));
            core.resets.finish(number);
            drop(moment);
            charge::tell_reached(seats, core, charge::Ask::Charge(&cost), at, &windows, reached);
            [Some(&reset), lowered.as_ref()].into_iter().flatten().for_each(|taken| taken.tell(core, at, true));
            let balance = if payment == Payment::Credits { self.balance(at) } else { None };
            let paying = seats.iter().enumerate().filter(|(_, seat)| cost.amount(seat.resource).is_some());
            let changed: Vec<usize> =
                paying.map(|(index, _)| index).chain([self.day, self.count]).chain(self.week).collect();
            let is_written = self.plan.write_together(&changed, at);
            let degraded = core.degraded().is_some() || !is_written;
            let (paid, resets) = (self.price(), counted.amount);
            return Ok(ResetReceipt { at, reset, lowered, paid, balance, resets, degraded });
        }
    }
}

/// Whether the longer budget keeps a reset that gives it back `given` from being sold.
fn is_exhausted(week: &Seat, at: Timestamp, guard: Guard, given: u64) -> bool {
    let state = week.peek(at);
    let (true, Cap::Max(max)) = (week.is_hard(), week.cap_in(state.window)) else { return false };
    let charged = match guard {
        Guard::Strict => state.amount,
        // Never below what is held; a count that is not known stays.
        Guard::Effective if state.amount >= week.meter.layout().saturated() => state.amount,
        Guard::Effective => state.amount.saturating_sub(given).max(week.meter.held(state.window, at)),
    };
    charged >= max
}

impl Resets {
    /// Whether a wallet is being charged for a reset of the budget.
    fn is_running(&self, budget: &(Subject, Arc<str>)) -> bool {
        let running = self.running.lock();
        !running.is_empty() && running.contains(budget)
    }

    /// The right to charge a wallet for a reset of the budget; `None` while somebody else has it.
    fn claim(&self, budget: (Subject, Arc<str>)) -> Option<Running<'_>> {
        let is_free = self.running.lock().insert(budget.clone());
        // Made only then: whoever has one gives it back when he drops it.
        is_free.then(|| Running { resets: self, budget })
    }
}

/// The right to charge a wallet for a reset; given back when dropped.
struct Running<'a> {
    resets: &'a Resets,
    budget: (Subject, Arc<str>),
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.resets.running.lock().remove(&self.budget);
    }
}

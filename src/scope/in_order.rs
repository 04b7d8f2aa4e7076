//! Two budgets that pay in order: an allowance first, then a balance.

use smallvec::SmallVec;

use super::{Ahead, ChargeError, Gate, RecordError, Recorded, Scope, refused_error, tell_refused};
use crate::amount::{Cost, Resource};
use crate::charge::{self, Ask};
use crate::engine::{Component, OnFailure};
use crate::report::{Admission, Charged, Receipt};
use crate::sync::unique_number;

impl Scope {
    /// Admits `amount` and commits it in one step, from two resources in order: what is left of the first, and the rest from the second.
    /// All or none: together they are never charged more than both have, and the second is not touched while the first has room.
    ///
    /// For an allowance that is used up before a balance: a monthly one and credit that was bought, counted in two resources of one unit.
    /// [`Receipt::charged`] says which paid what. An amount of 0 passes and charges nothing. A first resource that no budget of the scope
    /// counts has nothing to give.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("included", Unit::Usd).resource("credit", Unit::Usd)
    /// #     .limit(Limit::new("included", "user", "included", Window::Month, Cap::Max(1_000)))
    /// #     .limit(Limit::new("credit", "user", "credit", Window::Lifetime, Cap::Max(5_000))).build()?;
    /// # let engine = Engine::new(policy);
    /// let (included, credit) = (engine.resource("included")?, engine.resource("credit")?);
    /// let scope = engine.scope(["user:7"])?;
    /// let receipt = scope.charge_in_order([included, credit], 1_500)?;
    /// assert_eq!(receipt.charged(), &included.of(1_000).and(credit, 500));
    /// assert!(scope.charge_in_order([included, credit], 4_501).is_err());
    /// assert_eq!(scope.usage()?[1].used, 500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Scope::try_charge`]. A refusal is about the shares: the first one's fits, the second one's does not.
    pub fn charge_in_order(&self, order: [Resource; 2], amount: u64) -> Result<Receipt, ChargeError> {
        let plan = self.plan()?;
        let core = &*self.members.core;
        let named = named(order);
        plan.knows(&named)?;
        if let Some(component) = plan.degraded.filter(|_| core.failure_policy.reserve == OnFailure::Closed) {
            return Err(ChargeError::Degraded(component));
        }
        let now = core.now_precise();
        core.collect_overdue(now);
        let resets = core.resets.done();
        let mut overages = SmallVec::new();
        let mut windows = charge::unset(plan.seats.len());
        let cost = loop {
            let passing = plan.pass(&named, now)?;
            let report = |seat, window, charged| {
                windows[seat] = window;
                overages.extend(plan.overage(seat, window, charged));
            };
            match charge::charge_in_order(&plan.seats, core, order, amount, now, report) {
                Ok(cost) => {
                    drop(passing);
                    if plan.cover(Ask::Charge(&cost), Ahead::Step, now) == Recorded::No {
                        plan.take_back(Ask::Charge(&cost), &windows);
                        return Err(ChargeError::Degraded(Component::Store));
                    }
                    break cost;
                }
                // Made sure of as any refusal; if there is room after all, it was made meanwhile.
                Err(cost) => {
                    drop(passing);
                    if let Err(mut refused) = charge::check(&plan.seats, core, Ask::Charge(&cost), now) {
                        refused.come_back(&plan.seats, core);
                        let error = refused_error(&plan, &refused);
                        tell_refused(core, &error);
                        return Err(error);
                    }
                }
            }
        };
        let parts = SmallVec::from_buf([Charged { plan: plan.clone(), windows, cost: None }]);
        let degraded = plan.degraded.is_some();
        Ok(Receipt { number: unique_number(), at: now, resets, charged: cost, overages, late: false, degraded, parts })
    }

    /// Like [`Scope::charge_in_order`] after the fact: never refused. What both have no room for goes to the second, which may go over its
    /// max; that is reported.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("included", Unit::Usd).resource("credit", Unit::Usd)
    /// #     .limit(Limit::new("included", "user", "included", Window::Month, Cap::Max(1_000)))
    /// #     .limit(Limit::new("credit", "user", "credit", Window::Lifetime, Cap::Max(100))).build()?;
    /// # let engine = Engine::new(policy);
    /// let (included, credit) = (engine.resource("included")?, engine.resource("credit")?);
    /// let receipt = engine.scope(["user:7"])?.record_in_order([included, credit], 1_500)?;
    /// assert_eq!(receipt.charged(), &included.of(1_000).and(credit, 500));
    /// assert_eq!(receipt.overages()[0].above, 400);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Scope::record`].
    pub fn record_in_order(&self, order: [Resource; 2], amount: u64) -> Result<Receipt, RecordError> {
        let plan = self.plan()?;
        let core = &*self.members.core;
        plan.knows(&named(order))?;
        if let Some(component) = plan.degraded.filter(|_| core.failure_policy.record == OnFailure::Closed) {
            return Err(RecordError::Degraded(component));
        }
        let now = core.now_precise();
        core.collect_overdue(now);
        let resets = core.resets.done();
        let mut overages = SmallVec::new();
        let mut windows = charge::unset(plan.seats.len());
        let report = |seat, window, charged| {
            windows[seat] = window;
            overages.extend(plan.overage(seat, window, charged));
        };
        let cost = charge::record_in_order(&plan.seats, core, order, amount, now, report);
        let is_written = plan.write_counted(&cost, Ahead::Step, now);
        plan.tell(Gate::touch, now);
        let parts = SmallVec::from_buf([Charged { plan: plan.clone(), windows, cost: None }]);
        let degraded = plan.degraded.is_some() || !is_written;
        Ok(Receipt { number: unique_number(), at: now, resets, charged: cost, overages, late: false, degraded, parts })
    }

    /// Asks without taking: is anything left in every hard budget of these resources? [`Scope::check`] asks the budgets of all resources,
    /// credit that only pays for resets too.
    ///
    /// # Errors
    /// As [`Scope::check`]; [`ChargeError::UnknownResource`] when one of them is unknown.
    pub fn check_in(&self, resources: &[Resource]) -> Result<Admission, ChargeError> {
        let plan = self.plan()?;
        let asked = resources.iter().fold(Cost::nothing(), |cost, &resource| cost.and(resource, 0));
        plan.knows(&asked)?;
        let now = self.members.core.now();
        plan.ended(&asked, now)?;
        // A hold of 0 passes while anything is left.
        self.ask(&plan, Ask::Hold(&asked), now)
    }
}

fn named([first, second]: [Resource; 2]) -> Cost {
    first.of(0).and(second, 0)
}

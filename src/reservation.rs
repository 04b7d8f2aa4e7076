//! A reservation: an amount held in every budget of a scope, settled exactly once.
//!
//! **Who owns what.** The hold is the reservation's alone. Its `state` is a set of bits that only grows: whoever sets `CLAIMED` first
//! settles, everybody else reads what came of it. Extensions and observations are rare and stand behind a lock of the reservation's own;
//! the bit `GROWN` says whether there are any, so that settling a plain reservation takes no lock.

use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::amount::Cost;
use crate::charge::{self, Windows};
use crate::cost::{CostError, Usage};
use crate::meter::Settled;
use crate::report::{Admission, Overage, Receipt};
use crate::scope::{ChargeError, Plan, hold};
use crate::sync::{AtomicU8, Ordering, yield_now};

/// The call went out: what becomes of it without an answer is charged.
const DISPATCHED: u8 = 1;
/// Somebody settles.
const CLAIMED: u8 = 2;
/// The settlement is done, and it was a commit: the receipt is there.
const COMMITTED: u8 = 4;
/// The settlement is done, and it was a release.
const RELEASED: u8 = 8;
/// There are extensions or observations.
const GROWN: u8 = 16;

/// What a call really took, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actual {
    /// Exactly this.
    Exact(Cost),
    /// At least this: what was held stays charged where it is more. For answers that broke off.
    AtLeast(Cost),
}

impl From<Cost> for Actual {
    fn from(cost: Cost) -> Self {
        Self::Exact(cost)
    }
}

/// An amount held in every budget of a scope until it is settled, from [`Scope::reserve`](crate::Scope::reserve).
///
/// It settles exactly once, whatever races: [`commit`](Self::commit) with what the call really took, [`release`](Self::release)
/// when there was no call, or by being dropped.
///
/// | from | `commit(actual)` | `release` | drop |
/// |---|---|---|---|
/// | held, not dispatched | settled: used += actual | released | released |
/// | held, [`dispatched`](Self::dispatched) | settled | released (the caller knows) | charged the larger of observed and held |
/// | settled | same actual: same receipt; other: conflict | already settled | – |
/// | released | already released | already released | – |
///
/// It belongs to the windows that admitted it. Settled after such a window has ended, it changes that window only and never credits a
/// newer one.
///
/// ```
/// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
/// # let policy = Policy::builder().resource("usd", Unit::Usd)
/// #     .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(1_000))).build()?;
/// # let engine = Engine::new(policy);
/// # let usd = engine.resource("usd")?;
/// # let scope = engine.scope(["user:7"])?;
/// let hold = scope.reserve(usd.of(800))?;
/// assert!(scope.reserve(usd.of(800)).is_err(), "the first one holds its room");
/// hold.dispatched(); // from here on, dropping it charges it
/// hold.commit(usd.of(300))?; // the rest returns at once
/// assert_eq!(scope.usage()?[0].used, 300);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a reservation settles it: unused amounts are released, dispatched ones charged"]
pub struct Reservation {
    first: Part,
    admission: Admission,
    state: AtomicU8,
    grown: Mutex<Option<Box<Grown>>>,
    receipt: OnceLock<Receipt>,
}

/// A hold that was admitted in one step.
struct Part {
    /// The scope as it was resolved then.
    plan: Arc<Plan>,
    cost: Cost,
    windows: Windows,
}

/// What came to a reservation after it was made.
#[derive(Default)]
struct Grown {
    extensions: Vec<Part>,
    observed: Cost,
}

impl Reservation {
    pub(crate) fn new(plan: Arc<Plan>, cost: Cost, windows: Windows, admission: Admission) -> Self {
        Self {
            first: Part { plan, cost, windows },
            admission,
            state: AtomicU8::new(0),
            grown: Mutex::new(None),
            receipt: OnceLock::new(),
        }
    }

    /// What is held, extensions included.
    pub fn held(&self) -> Cost {
        let mut cost = self.first.cost.clone();
        for extension in self.grown.lock().iter().flat_map(|grown| &grown.extensions) {
            cost.add_all(&extension.cost);
        }
        cost
    }

    /// What the admission reported: soft budgets that are over, shadow budgets that would have refused.
    pub fn admission(&self) -> Admission {
        self.admission
    }

    /// Says that the call has gone out. From here on its cost may be real even if no answer comes, so a drop charges it.
    pub fn dispatched(&self) {
        // Read by the settlement that follows in this thread, or in the one that the reservation is handed to.
        self.state.fetch_or(DISPATCHED, Ordering::AcqRel);
    }

    /// Adds to what is known to have been used so far, as a stream tells of it. A drop after [`dispatched`](Self::dispatched) charges at
    /// least this; a commit goes by its own actual.
    pub fn observe(&self, cost: &Cost) {
        self.grown.lock().get_or_insert_default().observed.add_all(cost);
        self.state.fetch_or(GROWN, Ordering::AcqRel);
    }

    /// Holds `cost` more, or says stop. The extension is admitted under the policy in force now and belongs to the windows that admit it.
    ///
    /// # Errors
    /// [`ExtendError::Charge`] when there is no room or a resource is unknown: the reservation stays as it was.
    /// [`ExtendError::Settled`] when it has been settled.
    pub fn try_extend(&self, mut cost: Cost) -> Result<Admission, ExtendError> {
        if self.state.load(Ordering::Acquire) & CLAIMED != 0 {
            return Err(ExtendError::Settled);
        }
        let plan = self.first.plan.renewed().map_err(ChargeError::from)?;
        plan.knows(&cost).map_err(ChargeError::from)?;
        cost.items.retain(|(_, amount)| *amount > 0);
        if cost.items.is_empty() {
            return Ok(Admission::default());
        }
        let (windows, admission) = hold(&plan, &cost)?;
        let part = Part { plan, cost, windows };
        let mut grown = self.grown.lock();
        // A settlement that claimed before this bit was set does not look for extensions; one that claims after it waits for the lock.
        if self.state.fetch_or(GROWN, Ordering::AcqRel) & CLAIMED != 0 {
            drop(grown);
            part.give_back();
            return Err(ExtendError::Settled);
        }
        grown.get_or_insert_default().extensions.push(part);
        Ok(admission)
    }

    /// What a usage costs by the tables of the policy that the reservation was made under, whatever has been put in force since.
    ///
    /// # Errors
    /// When the model or the operation is not in those tables and they refuse what is not.
    pub fn cost(&self, usage: &Usage) -> Result<Cost, CostError> {
        self.first.plan.in_force.cost(usage, None)
    }

    /// Settles with what the call really took. Above the hold it is charged in full, which may carry budgets past their max and is
    /// reported; below, the rest returns at once. A resource that was held and that the actual does not name is committed as held: not
    /// reported is not zero.
    ///
    /// # Errors
    /// [`SettleError::Conflict`] when it was committed before with another actual; [`SettleError::Released`] when it was released. A commit
    /// of the same actual gives the same receipt and charges nothing. [`SettleError::UnknownResource`] when the actual names a resource
    /// that the policy of the reservation does not declare: it stays open then.
    pub fn commit(&self, actual: impl Into<Actual>) -> Result<Receipt, SettleError> {
        let actual = actual.into();
        let (Actual::Exact(cost) | Actual::AtLeast(cost)) = &actual;
        if !self.knows(cost) {
            return Err(SettleError::UnknownResource);
        }
        let before = self.state.fetch_or(CLAIMED, Ordering::AcqRel);
        if before & CLAIMED == 0 {
            return Ok(self.settle_at(before, actual));
        }
        self.wait_for_settlement();
        match self.receipt.get() {
            None => Err(SettleError::Released),
            Some(receipt) if receipt.charged == charged(&self.held(), actual) => Ok(receipt.clone()),
            Some(_) => Err(SettleError::Conflict),
        }
    }

    /// Gives everything back: there was no call, or it is known to have cost nothing.
    ///
    /// # Errors
    /// [`SettleError::Committed`] or [`SettleError::Released`] when it has been settled before. Nothing changes then.
    pub fn release(&self) -> Result<(), SettleError> {
        let before = self.state.fetch_or(CLAIMED, Ordering::AcqRel);
        if before & CLAIMED == 0 {
            self.give_back(before);
            return Ok(());
        }
        self.wait_for_settlement();
        Err(if self.receipt.get().is_some() { SettleError::Committed } else { SettleError::Released })
    }

    /// Whether each resource is declared by the policy that some part was admitted under.
    fn knows(&self, cost: &Cost) -> bool {
        let declared = |part: &Part, resource| part.plan.in_force.declares(resource);
        cost.items.iter().all(|&(resource, _)| {
            declared(&self.first, resource)
                || self.grown.lock().iter().flat_map(|grown| &grown.extensions).any(|part| declared(part, resource))
        })
    }

    /// Settles; the caller has claimed. `before` is the state it claimed from.
    fn settle_at(&self, before: u8, actual: Actual) -> Receipt {
        let receipt = if before & GROWN == 0 {
            settle_parts([&self.first].into_iter(), charged(&self.first.cost, actual))
        } else {
            let total = charged(&self.held(), actual);
            let grown = self.grown.lock();
            settle_parts(std::iter::once(&self.first).chain(grown.iter().flat_map(|grown| &grown.extensions)), total)
        };
        // Only the claimer sets it, once. Release pairs with the Acquire in `wait_for_settlement`.
        let _ = self.receipt.set(receipt.clone());
        self.state.fetch_or(COMMITTED, Ordering::Release);
        receipt
    }

    /// Releases; the caller has claimed.
    fn give_back(&self, before: u8) {
        self.first.give_back();
        if before & GROWN != 0 {
            self.grown.lock().iter().flat_map(|grown| &grown.extensions).for_each(Part::give_back);
        }
        self.state.fetch_or(RELEASED, Ordering::Release);
    }

    /// Whoever claimed is between two steps of its own; both ends are near.
    fn wait_for_settlement(&self) {
        // Pairs with the Release of the settlement's last step: its receipt is seen.
        while self.state.load(Ordering::Acquire) & (COMMITTED | RELEASED) == 0 {
            yield_now();
        }
    }
}

/// What a settlement at `actual` charges when `held` is held: unnamed resources as held, and for `AtLeast` never less than held.
fn charged(held: &Cost, actual: Actual) -> Cost {
    match actual {
        Actual::AtLeast(cost) => cost.max(held),
        Actual::Exact(mut cost) => {
            for (resource, amount) in held.iter() {
                if cost.amount(resource).is_none() {
                    cost.add(resource, amount);
                }
            }
            cost
        }
    }
}

/// Settles the parts of a hold at `total`: each part takes up to what it holds, the last one takes the rest.
fn settle_parts<'a>(parts: impl Iterator<Item = &'a Part>, total: Cost) -> Receipt {
    let mut receipt = Receipt { charged: total.clone(), overages: SmallVec::new(), late: false };
    // With the number of the window that each is about.
    let mut overages = SmallVec::<[(i64, Overage); 0]>::new();
    let mut parts = parts.peekable();
    let mut rest = total;
    while let Some(part) = parts.next() {
        let share = if parts.peek().is_none() { std::mem::take(&mut rest) } else { rest.take_up_to(&part.cost) };
        receipt.late |= part.settle(&share, &mut overages);
    }
    receipt.overages.extend(overages.into_iter().map(|(_, overage)| overage));
    receipt
}

impl Part {
    /// Settles this part at `share`, resource by resource. Says whether a window had ended.
    fn settle(&self, share: &Cost, overages: &mut SmallVec<[(i64, Overage); 0]>) -> bool {
        let mut late = false;
        for (index, (seat, &window)) in self.plan.seats.iter().zip(&self.windows).enumerate() {
            let (held, actual) = (self.cost.amount(seat.resource), share.amount(seat.resource));
            if held.is_none() && actual.is_none() {
                continue;
            }
            let charged = match charge::settle(seat, window, held.unwrap_or(0), actual.unwrap_or(0)) {
                Settled::Current { charged } => Some(charged),
                Settled::Late { charged } => {
                    late = true;
                    charged
                }
            };
            let overage = charged.and_then(|charged| self.plan.overage(index, charged));
            // A budget is told of once; a later part may have given its window room again.
            let told_anew = |earlier: &(i64, Overage)| overage.is_some() || earlier.0 == window;
            overages.retain(|earlier| !(self.plan.is_about(index, &earlier.1) && told_anew(earlier)));
            overages.extend(overage.map(|overage| (window, overage)));
        }
        late
    }

    fn give_back(&self) {
        for (seat, &window) in self.plan.seats.iter().zip(&self.windows) {
            if let Some(held) = self.cost.amount(seat.resource) {
                charge::settle(seat, window, held, 0);
            }
        }
    }
}

impl Drop for Reservation {
    /// Settles what nobody settled: released when the call has not gone out; charged, at least as held, when it has.
    fn drop(&mut self) {
        let before = self.state.fetch_or(CLAIMED, Ordering::AcqRel);
        if before & CLAIMED != 0 {
            return;
        }
        if before & DISPATCHED == 0 {
            self.give_back(before);
        } else {
            let observed = self.grown.get_mut().as_mut().map(|grown| std::mem::take(&mut grown.observed));
            self.settle_at(before, Actual::AtLeast(observed.unwrap_or_default()));
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.load(Ordering::Acquire);
        let name = match state {
            _ if state & COMMITTED != 0 => "committed",
            _ if state & RELEASED != 0 => "released",
            _ if state & DISPATCHED != 0 => "dispatched",
            _ => "held",
        };
        f.debug_struct("Reservation").field("state", &name).field("cost", &self.first.cost).finish_non_exhaustive()
    }
}

/// Why a reservation was not settled (again). Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettleError {
    /// It was committed with another actual.
    Conflict,
    /// It was committed.
    Committed,
    /// It was released.
    Released,
    /// The actual names a resource that the policy does not declare.
    UnknownResource,
}

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "the reservation was committed before, with another amount",
            Self::Committed => "the reservation was committed before",
            Self::Released => "the reservation was released before",
            Self::UnknownResource => "the actual names a resource that the policy does not declare",
        })
    }
}

impl std::error::Error for SettleError {}

/// Why a reservation was not extended. It holds what it held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtendError {
    /// The budgets did not admit it.
    Charge(ChargeError),
    /// The reservation has been settled.
    Settled,
}

impl From<ChargeError> for ExtendError {
    fn from(error: ChargeError) -> Self {
        Self::Charge(error)
    }
}

impl fmt::Display for ExtendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charge(error) => error.fmt(f),
            Self::Settled => f.write_str("the reservation has been settled"),
        }
    }
}

impl std::error::Error for ExtendError {}

#[cfg(all(test, loom))]
mod loom_tests;

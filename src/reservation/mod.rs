//! Reservations: an amount held in every budget of a scope, settled exactly once.
//!
//! A [`Hold`] is the thing itself. A [`Reservation`] owns one, and settles it when dropped. A [`DetachedHold`] is a handle on one that the
//! engine keeps under an id.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::amount::Cost;
use crate::charge::Windows;
#[cfg(feature = "persist")]
use crate::engine::Component;
use crate::holds::{Claim, HoldId, Keep};
use crate::report::Admission;
use crate::scope::{ChargeError, Plan};
use crate::time::Timestamp;

mod error;
mod hold;
mod parts;
mod refund;
mod settlement;

pub use error::{ExtendError, RefundError, ReserveError, SettleError, SplitError, UnknownHold};
pub use hold::Hold;
pub(crate) use refund::Refunds;

/// What a call really took, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actual {
    /// Exactly this.
    Exact(Cost),
    /// At least this: what was held stays charged where it is more. For answers that broke off.
    AtLeast(Cost),
}

impl Actual {
    fn cost(&self) -> &Cost {
        let (Self::Exact(cost) | Self::AtLeast(cost)) = self;
        cost
    }

    /// What a settlement at this charges when `held` is held: unnamed resources as held, and for `AtLeast` never less than held.
    fn charged(self, held: &Cost) -> Cost {
        match self {
            Self::AtLeast(cost) => cost.max(held),
            Self::Exact(mut cost) => {
                for (resource, amount) in held.iter() {
                    if cost.amount(resource).is_none() {
                        cost.add(resource, amount);
                    }
                }
                cost
            }
        }
    }
}

impl From<Cost> for Actual {
    fn from(cost: Cost) -> Self {
        Self::Exact(cost)
    }
}

/// An amount held in every budget of a scope until it is settled, from [`Scope::reserve`](crate::Scope::reserve).
///
/// It settles exactly once, whatever races: [`commit`](Hold::commit) with what the call really took, [`release`](Hold::release)
/// when there was no call, or by being dropped. [`Hold`] has the operations and the table of what each does; a reservation adds that it is
/// owned, and settled when dropped: released if the call has not gone out, charged the larger of observed and held if it has
/// ([`dispatched`](Hold::dispatched)).
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
#[derive(Debug)]
pub struct Reservation {
    owned: Owned,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a plain reservation allocates nothing")]
enum Owned {
    /// Known to nobody else: the hold settles itself when it is dropped.
    Alone(Hold),
    /// Kept by the engine as well, which watches its time-to-live.
    Kept(Guard),
}

/// Settles a kept hold when dropped, unless it has been disarmed.
#[derive(Debug)]
struct Guard {
    hold: Arc<Hold>,
    id: HoldId,
    armed: bool,
}

impl Guard {
    fn new(hold: Arc<Hold>, id: HoldId) -> Self {
        Self { hold, id, armed: true }
    }

    fn disarm(mut self) -> Arc<Hold> {
        self.armed = false;
        Arc::clone(&self.hold)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.armed {
            self.hold.settle_dropped();
        }
    }
}

impl Deref for Reservation {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        match &self.owned {
            Owned::Alone(hold) => hold,
            Owned::Kept(guard) => &guard.hold,
        }
    }
}

impl Reservation {
    pub(crate) fn new(plan: Arc<Plan>, cost: Cost, windows: Windows, admission: Admission) -> Self {
        Self::alone(Hold::new(plan, cost, windows, admission))
    }

    fn alone(hold: Hold) -> Self {
        Self { owned: Owned::Alone(hold) }
    }

    /// Takes `cost` out of what is held, as a reservation of its own in the same windows: nothing is admitted anew. It is dispatched if this
    /// one is, and has no time-to-live.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # let policy = Policy::builder().resource("usd", Unit::Usd)
    /// #     .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(1_000))).build()?;
    /// # let engine = Engine::new(policy);
    /// # let usd = engine.resource("usd")?;
    /// # let scope = engine.scope(["user:7"])?;
    /// let both = scope.reserve(usd.of(1_000))?;
    /// let first = both.split(usd.of(400))?;
    /// first.commit(usd.of(100))?;
    /// both.release()?;
    /// assert_eq!((scope.usage()?[0].used, scope.usage()?[0].held), (100, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SplitError::TooMuch`] when less is held; [`SplitError::Settled`] when it is settled. Nothing changes then.
    #[allow(clippy::needless_pass_by_value, reason = "like every operation that takes a cost")]
    pub fn split(&self, cost: Cost) -> Result<Self, SplitError> {
        Hold::split(self, &cost).map(Self::alone)
    }

    /// Gives the hold to the engine for `ttl`: any thread, or a later request, finds it again by the id with
    /// [`Engine::resume`](crate::Engine::resume). If nobody settles it within that time, it is settled as a drop would.
    ///
    /// A reservation that had a time-to-live keeps its id and lives for `ttl` from now on.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # use std::time::Duration;
    /// # let policy = Policy::builder().resource("usd", Unit::Usd)
    /// #     .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(1_000))).build()?;
    /// # let engine = Engine::new(policy);
    /// # let usd = engine.resource("usd")?;
    /// # let scope = engine.scope(["user:7"])?;
    /// let id = scope.reserve(usd.of(800))?.detach(Duration::from_secs(60))?.id().clone();
    /// // … another request, which was told the id …
    /// engine.resume(&id)?.commit(usd.of(300))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChargeError::TooManyHolds`] when the engine keeps as many as it may. The reservation is settled then, as a drop would.
    pub fn detach(self, ttl: Duration) -> Result<DetachedHold, ChargeError> {
        self.keep(ttl).map(|(guard, id)| DetachedHold { hold: guard.disarm(), id, replayed: false })
    }

    /// As [`Reservation::split`], the hold alone.
    pub(crate) fn split_off(&self, cost: &Cost) -> Result<Hold, SplitError> {
        Hold::split(self, cost)
    }

    /// The hold alone, which nobody else knows, and when its time runs out if it has one. The id it was kept under is settled.
    pub(crate) fn into_hold(self) -> Result<(Hold, Option<Timestamp>), SplitError> {
        match self.owned {
            Owned::Alone(hold) if hold.is_open() => Ok((hold, None)),
            Owned::Alone(_) => Err(SplitError::Settled),
            Owned::Kept(guard) => {
                let due = guard.hold.expires_at();
                let hold = Hold::split(&guard.hold, &guard.hold.held())?;
                // Nothing is left in it.
                let _ = guard.hold.release();
                Ok((hold, due))
            }
        }
    }

    fn keep(self, ttl: Duration) -> Result<(Guard, HoldId), ChargeError> {
        let hold = match self.owned {
            Owned::Alone(hold) => hold,
            Owned::Kept(guard) => {
                // One that is settled stays what it is.
                let _ = guard.hold.renew(ttl);
                #[cfg(feature = "persist")]
                let _degraded = guard.hold.note_guarded(false, guard.hold.plan().core.now());
                let id = guard.id.clone();
                return Ok((guard, id));
            }
        };
        let core = Arc::clone(&hold.plan().core);
        let now = core.now_precise();
        let claim = core.claim_unique(now)?;
        let id = claim.id.clone();
        let hold = keep_under(claim, hold, (now, ttl), Keep::Remember)?;
        Ok((Guard::new(hold, id.clone()), id))
    }
}

/// Lets the engine keep `hold` under the id that was claimed for it, from `at` on for `ttl`.
///
/// # Errors
/// When that cannot be written down, and the host wants nothing then that is not. It is released.
#[allow(clippy::unnecessary_wraps, reason = "without the feature `persist` nothing is written")]
pub(crate) fn keep_under(
    claim: Claim<'_, Hold>,
    hold: Hold,
    (at, ttl): (Timestamp, Duration),
    keep: Keep,
) -> Result<Arc<Hold>, ChargeError> {
    hold.keep_under(claim.id.clone());
    #[cfg(feature = "persist")]
    hold.note_settled_before(at);
    let hold = Arc::new(hold);
    claim.keep(Arc::clone(&hold), at.saturating_add(ttl), keep);
    if !hold.is_open() {
        hold.note_settled(at);
    }
    // Kept first: what is written is there to be found by a snapshot.
    #[cfg(feature = "persist")]
    if hold.write_down_new(at).is_err() && hold.plan().core.refuses_unwritten() {
        let _settled = hold.release();
        return Err(ChargeError::Degraded(Component::Store));
    }
    Ok(hold)
}

/// A handle on a hold that the engine keeps under an id, from [`Scope::reserve_with_id`](crate::Scope::reserve_with_id),
/// [`Reservation::detach`] or [`Engine::resume`](crate::Engine::resume).
///
/// Dropping the handle changes nothing: the hold waits for another handle, or for the end of its time-to-live. It has the operations of
/// [`Hold`].
#[derive(Clone, Debug)]
pub struct DetachedHold {
    hold: Arc<Hold>,
    id: HoldId,
    replayed: bool,
}

impl DetachedHold {
    pub(crate) fn new(hold: Arc<Hold>, id: HoldId, replayed: bool) -> Self {
        Self { hold, id, replayed }
    }

    /// The id under which the engine keeps it. It can travel as text.
    pub fn id(&self) -> &HoldId {
        &self.id
    }

    /// Whether the hold was there before the call that gave this handle: the id was reserved again.
    pub fn is_replayed(&self) -> bool {
        self.replayed
    }

    /// The instant now, read precisely.
    pub(crate) fn now(&self) -> Timestamp {
        self.hold.plan().core.now_precise()
    }

    /// Makes this handle answerable for the hold again: dropping what this returns settles it. Its time-to-live goes on.
    pub fn attach(self) -> Reservation {
        #[cfg(feature = "persist")]
        let _degraded = self.hold.note_guarded(true, self.hold.plan().core.now());
        Reservation { owned: Owned::Kept(Guard::new(self.hold, self.id)) }
    }
}

impl Deref for DetachedHold {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;

//! Slots: places for things that run at once, such as streams.
//!
//! A slot is a hold of one of a resource, kept by the engine under an id that is told from all others by resource, subjects and name. It is
//! never dispatched, so its drop and its expiry both give it back, and its id is free again with it.

use std::fmt;
use std::time::Duration;

use crate::amount::Resource;
use crate::holds::{HoldId, HoldIdError, Keep};
use crate::refusal::Refusal;
use crate::reservation::{DetachedHold, ReserveError};
use crate::scope::{ChargeError, Scope, ScopeError};
use crate::sync::{unique_number, yield_now};
use crate::time::Timestamp;
use crate::window::Window;

/// A place among those that may run at once, from [`Scope::slot`] or [`Scope::slot_with_id`].
///
/// It is a lease with an identity and a time-to-live of its own: [`renew`](Self::renew) prolongs it, nothing else does. Dropping it gives the
/// place back, and so does the end of its time. A slot that was given back, or that ran out and was taken by somebody else, cannot be
/// given back by its old owner: it is not there any more.
///
/// | | taken by this handle | [replayed](Self::is_replayed): the id was active | [detached](Self::detach) |
/// |---|---|---|---|
/// | dropped | given back | nothing | – |
/// | [`release`](Self::release) | given back | given back | by id: [`Scope::release_slot`] |
/// | [`renew`](Self::renew) | prolonged | prolonged | by id: [`Scope::renew_slot`] |
#[must_use = "dropping a slot gives it back"]
#[derive(Debug)]
pub struct Slot {
    hold: DetachedHold,
    id: Box<str>,
    /// Whether a drop gives it back.
    answerable: bool,
}

impl Slot {
    /// Its id among the slots of its resource and subjects: the caller's, or `#` and a number.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the id was active before: this is another handle on that slot, and dropping it changes nothing.
    pub fn is_replayed(&self) -> bool {
        self.hold.is_replayed()
    }

    /// Whether the place is still taken by this slot. Another thread, or the clock, may change that at any moment.
    pub fn is_active(&self) -> bool {
        self.expires_at().is_some_and(|then| then > self.hold.now())
    }

    /// From now on the slot lasts `ttl`. False when it is not there any more: whoever works in it must stop, or take another one.
    #[must_use = "without the slot somebody else may be running in its place"]
    pub fn renew(&self, ttl: Duration) -> bool {
        self.hold.renew(ttl).is_ok()
    }

    /// Gives the place back. False when it was not there any more: released before, or run out. Nothing changes then, whoever has the place
    /// now.
    #[allow(clippy::must_use_candidate, reason = "a late release is of no consequence")]
    pub fn release(&self) -> bool {
        self.hold.release().is_ok()
    }

    /// When its time runs out; `None` when it is not there any more.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.hold.expires_at()
    }

    /// Lets the place be taken beyond this handle, until it is released by id or its time runs out. Returns the id.
    pub fn detach(mut self) -> Box<str> {
        self.answerable = false;
        std::mem::take(&mut self.id)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.answerable {
            self.release();
        }
    }
}

impl Scope {
    /// Takes a place for at most `ttl`, unless it is [renewed](Slot::renew): one of `resource` in every budget of the scope, or in none.
    ///
    /// Limits on slots are limits with the window `lifetime` on a resource of their own; `held` in [`Scope::usage`] counts the active ones.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, ManualClock, Policy, Unit, Window};
    /// # use std::time::Duration;
    /// let policy = Policy::builder()
    ///     .resource("streams", Unit::Count)
    ///     .limit(Limit::new("streams-ip", "ip", "streams", Window::Lifetime, Cap::Max(1)))
    ///     .limit(Limit::new("streams-all", "global", "streams", Window::Lifetime, Cap::Max(100)))
    ///     .build()?;
    /// let clock = ManualClock::at("2026-02-04T20:55:00Z".parse()?);
    /// let engine = Engine::builder(policy).clock(&clock).build();
    /// let (streams, ttl) = (engine.resource("streams")?, Duration::from_secs(300));
    /// let scope = engine.scope(["ip:10.0.0.7"])?;
    ///
    /// let slot = scope.slot(streams, ttl)?;
    /// assert!(scope.slot(streams, ttl).is_err(), "one stream at a time");
    /// clock.advance(Duration::from_secs(299));
    /// assert!(slot.renew(ttl)); // a long stream keeps its place
    /// clock.advance(Duration::from_secs(300));
    /// let next = scope.slot(streams, ttl)?; // it has run out
    /// assert!(!slot.release(), "and cannot free the one that has the place now");
    /// assert_eq!(scope.usage()?[0].held, 1);
    /// drop(next);
    /// assert_eq!(scope.usage()?[0].held, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SlotError::Charge`] when there is no place, the resource is unknown, or the engine keeps as many holds as it may;
    /// [`SlotError::Window`] when a limit on the resource would forget its slots with its window. No place is taken then.
    pub fn slot(&self, resource: Resource, ttl: Duration) -> Result<Slot, SlotError> {
        self.slot_with_id(resource, &format!("#{}", unique_number()), ttl)
    }

    /// Like [`Scope::slot`], under an id of the caller's: while it is active, the same id is the same slot again, in the same place and with
    /// the time-to-live it had. Ids of different resources, or of different subjects, are different ids.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// # use std::time::Duration;
    /// # let policy = Policy::builder().resource("streams", Unit::Count)
    /// #     .limit(Limit::new("streams-ip", "ip", "streams", Window::Lifetime, Cap::Max(2))).build()?;
    /// # let engine = Engine::new(policy);
    /// # let (streams, ttl) = (engine.resource("streams")?, Duration::from_secs(300));
    /// let scope = engine.scope(["ip:10.0.0.7"])?;
    /// scope.slot_with_id(streams, "stream-a", ttl)?.detach();
    /// assert!(scope.slot_with_id(streams, "stream-a", ttl)?.is_replayed()); // the client tried again
    /// assert_eq!(scope.usage()?[0].held, 1);
    /// // … another request, which knows the id …
    /// assert!(scope.renew_slot(streams, "stream-a", ttl));
    /// assert!(scope.release_slot(streams, "stream-a"));
    /// assert!(!scope.release_slot(streams, "stream-a"), "a second release is a no-op");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Scope::slot`]; [`SlotError::Id`] when the text cannot be an id; [`SlotError::Conflict`] when the id is active and was taken with
    /// other groups, or in another workflow or allowance.
    pub fn slot_with_id(&self, resource: Resource, id: &str, ttl: Duration) -> Result<Slot, SlotError> {
        if let Some((limit, window)) = self.first_limit_with_windows(resource)? {
            return Err(SlotError::Window { limit, window });
        }
        let hold_id = self.slot_id(resource, id)?;
        loop {
            match self.hold_with_id(&hold_id, ttl, resource.of(1), Keep::Forget) {
                Ok(hold) => return Ok(Slot { answerable: !hold.is_replayed(), hold, id: id.into() }),
                // Its release is between two steps: the id is free in a moment.
                Err(ReserveError::Settled) => yield_now(),
                Err(ReserveError::Charge(error)) => return Err(error.into()),
                Err(ReserveError::Id(error)) => return Err(error.into()),
                Err(ReserveError::Conflict) => return Err(SlotError::Conflict),
            }
        }
    }

    /// Gives back the slot of this scope's subjects that has the id. False when there is none: never taken, released before, or run out.
    pub fn release_slot(&self, resource: Resource, id: &str) -> bool {
        self.active_slot(resource, id).is_some_and(|hold| hold.release().is_ok())
    }

    /// Lets the slot of this scope's subjects that has the id last `ttl` from now on. False when there is none.
    pub fn renew_slot(&self, resource: Resource, id: &str, ttl: Duration) -> bool {
        self.active_slot(resource, id).is_some_and(|hold| hold.renew(ttl).is_ok())
    }

    fn active_slot(&self, resource: Resource, id: &str) -> Option<DetachedHold> {
        self.kept_hold(&self.slot_id(resource, id).ok()?)
    }

    fn slot_id(&self, resource: Resource, id: &str) -> Result<HoldId, HoldIdError> {
        HoldId::of_slot(resource, self.subjects().cloned(), id)
    }
}

/// Why no slot was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotError {
    /// There is no place, or there was something wrong with what was asked.
    Charge(ChargeError),
    /// A limit on the resource has windows: slots that outlive one would not be counted in the next. Slots need `lifetime`.
    Window {
        /// The limit's id.
        limit: Box<str>,
        /// Its window.
        window: Window,
    },
    /// The id is active, taken with other groups of the subjects, or in another workflow or allowance.
    Conflict,
    /// The text cannot be an id.
    Id(HoldIdError),
}

impl SlotError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Charge(error) => error.refusal(),
            _ => None,
        }
    }
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charge(error) => error.fmt(f),
            Self::Window { limit, window } => {
                write!(f, "the limit {limit} on slots has the window {window}; slots need the window lifetime")
            }
            Self::Conflict => {
                f.write_str("the slot's id is active with other groups, or in another workflow or allowance")
            }
            Self::Id(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SlotError {}

impl From<ChargeError> for SlotError {
    fn from(error: ChargeError) -> Self {
        Self::Charge(error)
    }
}

impl From<ScopeError> for SlotError {
    fn from(error: ScopeError) -> Self {
        Self::Charge(error.into())
    }
}

impl From<HoldIdError> for SlotError {
    fn from(error: HoldIdError) -> Self {
        Self::Id(error)
    }
}

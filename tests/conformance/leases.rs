//! Slots, and locks, which are slots of which there is one. A lease is known by its key and the name that its owner gave it.

use std::time::Duration;

use encumber::{
    Cap, ChargeError, Clock, Component, Engine, Limit, Policy, Resource, Scope, SlotError, Subject, Unit, Window,
};
use serde_json::{Value, json};

use crate::accounts::Unbuilt;
use crate::args::{self, Amount};
use crate::home::{Home, Keeping};

/// The slots and locks of a case.
pub(crate) struct Leases {
    engine: Engine,
    home: Home,
    slots: Resource,
    locks: Resource,
    /// How long a slot lasts without being renewed; `None` in a case that sets up no slots.
    slot_ttl: Option<Duration>,
}

/// Whether a lock was taken.
pub(crate) enum Lock {
    Taken,
    /// Somebody else has it.
    Busy,
    /// Nobody can tell.
    Unavailable,
}

impl Leases {
    pub(crate) fn new(setup: &Value, clock: Clock, keeping: Keeping) -> Result<Self, Unbuilt> {
        let slots = &setup["slots"];
        args::known_fields(slots, &["max", "ttl_s"])?;
        let wrong = Unbuilt::Wrong("invalid_config");
        let (max, slot_ttl) = if slots.is_null() {
            (Cap::Max(0), None)
        } else {
            let ttl = Amount::of(&slots["ttl_s"]).whole().map(Duration::from_secs);
            let (Some(max), Some(ttl)) = (args::cap(&slots["max"], false), ttl) else { return Err(wrong) };
            (max, Some(ttl))
        };
        let policy = Policy::builder()
            .resource("slots", Unit::Count)
            .resource("locks", Unit::Count)
            .limit(Limit::new("slots", "slotted", "slots", Window::Lifetime, max))
            .limit(Limit::new("locks", "locked", "locks", Window::Lifetime, Cap::Max(1)));
        let policy = policy.build().map_err(|_| wrong)?;
        let (engine, home) = Home::engine(keeping, policy, move |engine| engine.clock(clock.clone()))?;
        let resource = |name| engine.resource(name).map_err(|error| error.to_string());
        let (slots, locks) = (resource("slots")?, resource("locks")?);
        Ok(Self { engine, home, slots, locks, slot_ttl })
    }

    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        self.home.reopen(&mut self.engine)?;
        let resource = |name| self.engine.resource(name).map_err(|error| error.to_string());
        (self.slots, self.locks) = (resource("slots")?, resource("locks")?);
        Ok(())
    }

    pub(crate) fn set_degraded(&self, component: Component, degraded: bool) {
        self.engine.set_degraded(component, degraded);
    }

    pub(crate) fn acquire(&self, step: &Value) -> Result<Value, String> {
        let (scope, lease) = (self.slotted(step)?, args::text(step, "lease")?);
        let acquired = match scope.slot_with_id(self.slots, lease, self.ttl(step)?) {
            Ok(slot) => {
                let is_replayed = slot.is_replayed();
                slot.detach();
                json!({ "acquired": true, "replayed": is_replayed })
            }
            Err(error) => not_acquired(&error)?,
        };
        with_active(acquired, &scope)
    }

    pub(crate) fn release(&self, step: &Value) -> Result<Value, String> {
        let scope = self.slotted(step)?;
        let released = scope.release_slot(self.slots, args::text(step, "lease")?);
        with_active(json!({ "released": released }), &scope)
    }

    pub(crate) fn renew(&self, step: &Value) -> Result<Value, String> {
        let scope = self.slotted(step)?;
        let renewed = scope.renew_slot(self.slots, args::text(step, "lease")?, self.ttl(step)?);
        with_active(json!({ "renewed": renewed }), &scope)
    }

    pub(crate) fn count(&self, step: &Value) -> Result<Value, String> {
        with_active(json!({}), &self.slotted(step)?)
    }

    pub(crate) fn lock_acquire(&self, step: &Value) -> Result<Value, String> {
        let ttl = Amount::of(&step["ttl_s"]).whole().map(Duration::from_secs).ok_or("ttl_s is no time")?;
        Ok(match self.lock(args::text(step, "key")?, args::text(step, "token")?, ttl)? {
            Lock::Taken => json!({ "acquired": true }),
            Lock::Busy => json!({ "acquired": false }),
            Lock::Unavailable => json!({ "acquired": false, "error": "unavailable", "degraded": true }),
        })
    }

    pub(crate) fn lock_release(&self, step: &Value) -> Result<Value, String> {
        Ok(json!({ "released": self.unlock(args::text(step, "key")?, args::text(step, "token")?)? }))
    }

    /// Takes the lock of `key` for the owner that `token` names.
    pub(crate) fn lock(&self, key: &str, token: &str, ttl: Duration) -> Result<Lock, String> {
        match self.scope("locked", key)?.slot_with_id(self.locks, token, ttl) {
            Ok(slot) => {
                slot.detach();
                Ok(Lock::Taken)
            }
            Err(SlotError::Charge(ChargeError::Refused(_))) => Ok(Lock::Busy),
            Err(SlotError::Charge(ChargeError::Degraded(_))) => Ok(Lock::Unavailable),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Gives the lock of `key` back, if it is `token`'s.
    pub(crate) fn unlock(&self, key: &str, token: &str) -> Result<bool, String> {
        Ok(self.scope("locked", key)?.release_slot(self.locks, token))
    }

    fn slotted(&self, step: &Value) -> Result<Scope, String> {
        self.scope("slotted", args::text(step, "key")?)
    }

    fn scope(&self, kind: &str, key: &str) -> Result<Scope, String> {
        let subject = Subject::new(kind, key).map_err(|error| error.to_string())?;
        self.engine.scope([&subject]).map_err(|error| error.to_string())
    }

    /// The step's own time-to-live, else the setup's.
    fn ttl(&self, step: &Value) -> Result<Duration, String> {
        let own = Amount::of(&step["ttl_s"]).whole().map(Duration::from_secs);
        own.or(self.slot_ttl).ok_or_else(|| "the case sets up no slots".to_owned())
    }
}

fn not_acquired(error: &SlotError) -> Result<Value, String> {
    match error {
        SlotError::Charge(ChargeError::Refused(_)) => Ok(json!({ "acquired": false })),
        SlotError::Charge(ChargeError::Degraded(_)) => {
            Ok(json!({ "acquired": false, "error": "unavailable", "degraded": true }))
        }
        SlotError::Id(_) => Ok(json!({ "acquired": false, "error": "invalid_lease" })),
        error => Err(error.to_string()),
    }
}

/// Adds how many slots of the scope are taken.
fn with_active(mut result: Value, scope: &Scope) -> Result<Value, String> {
    let usage = scope.usage().map_err(|error| error.to_string())?;
    result["active"] = json!(usage.first().map(|budget| budget.held));
    Ok(result)
}

//! Request counters: how often since the first request, for a fixed time from it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use encumber::{Cap, Clock, Engine, Limit, Policy, Resource, Scope, Subject, Unit, Window};
use serde_json::{Value, json};

use crate::accounts::Unbuilt;
use crate::args::{self, Amount};
use crate::home::{Home, Keeping};

/// The counters of a case: a budget without a cap for each key.
pub(crate) struct Counters {
    engine: Engine,
    home: Home,
    requests: Resource,
    /// By key, how often the counter was reset. Part of the subject's id: a reset counter begins with its next request, as a new one does.
    resets: Mutex<HashMap<String, u64>>,
}

impl Counters {
    /// `None` in a case that sets up no counters.
    pub(crate) fn new(setup: &Value, clock: Clock, keeping: Keeping) -> Result<Option<Self>, Unbuilt> {
        let counter = &setup["counter"];
        if counter.is_null() {
            return Ok(None);
        }
        args::known_fields(counter, &["window_s"])?;
        let wrong = || Unbuilt::Wrong("invalid_config");
        let seconds = Amount::of(&counter["window_s"]).whole().ok_or_else(wrong)?;
        let window = Window::from_first_use(seconds).map_err(|_| wrong())?;
        let policy = Policy::builder().resource("requests", Unit::Count).limit(Limit::new(
            "requests",
            "counted",
            "requests",
            window,
            Cap::Unlimited,
        ));
        let policy = policy.build().map_err(|_| wrong())?;
        let (engine, home) = Home::engine(keeping, policy, move |engine| engine.clock(clock.clone()))?;
        let requests = engine.resource("requests").map_err(|error| error.to_string())?;
        Ok(Some(Self { engine, home, requests, resets: Mutex::default() }))
    }

    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        self.home.reopen(&mut self.engine)?;
        self.requests = self.engine.resource("requests").map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Counts a request, and says which it is.
    pub(crate) fn incr(&self, step: &Value) -> Result<Value, String> {
        let scope = self.scope(step)?;
        scope.try_charge(self.requests.of(1)).map_err(|error| error.to_string())?;
        Ok(json!({ "ok": true, "count": count(&scope)? }))
    }

    pub(crate) fn get(&self, step: &Value) -> Result<Value, String> {
        Ok(json!({ "count": count(&self.scope(step)?)? }))
    }

    pub(crate) fn reset(&self, step: &Value) -> Result<Value, String> {
        let key = args::text(step, "key")?;
        *self.resets.lock().unwrap_or_else(PoisonError::into_inner).entry(key.to_owned()).or_default() += 1;
        let result = self.get(step)?;
        Ok(json!({ "ok": true, "count": result["count"] }))
    }

    fn scope(&self, step: &Value) -> Result<Scope, String> {
        let key = args::text(step, "key")?;
        let resets = self.resets.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or(0);
        let subject = Subject::new("counted", &format!("{resets}:{key}")).map_err(|error| error.to_string())?;
        self.engine.scope([&subject]).map_err(|error| error.to_string())
    }
}

fn count(scope: &Scope) -> Result<u64, String> {
    let usage = scope.usage().map_err(|error| error.to_string())?;
    Ok(usage.first().map_or(0, |budget| budget.used))
}

//! Two buckets that pay in order: an allowance, then a balance.

use encumber::{Cap, Engine, Limit, ManualClock, Policy, Resource, Scope, Timestamp, Unit, Window};
use serde_json::{Value, json};

use crate::accounts::Unbuilt;
use crate::args;
use crate::home::{Home, Keeping};

/// The buckets of a case. What a bucket owes when the case begins leaves no room in it.
pub(crate) struct Buckets {
    engine: Engine,
    scope: Scope,
    allowance: Bucket,
    balance: Bucket,
    home: Home,
}

struct Bucket {
    resource: Resource,
    at_first: i64,
}

impl Buckets {
    /// `None` in a case that sets up no buckets.
    pub(crate) fn new(setup: &Value, keeping: Keeping) -> Result<Option<Self>, Unbuilt> {
        let bucket = &setup["bucket"];
        if bucket.is_null() {
            return Ok(None);
        }
        args::known_fields(bucket, &["allowance", "balance"])?;
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let [allowance, balance] = [&bucket["allowance"], &bucket["balance"]].map(|value| match value {
            Value::Null => Some(0),
            value => value.as_i64(),
        });
        let (Some(allowance), Some(balance)) = (allowance, balance) else {
            return Err(Unbuilt::Wrong("invalid_config"));
        };
        let names = [("allowance", allowance), ("balance", balance)];
        let policy = names.into_iter().fold(Policy::builder(), |policy, (name, at_first)| {
            let cap = Cap::Max(u64::try_from(at_first).unwrap_or(0));
            policy.resource(name, Unit::Count).limit(Limit::new(name, "user", name, Window::Lifetime, cap))
        });
        let policy = policy.build().map_err(|error| text(&error))?;
        let (engine, home) = Home::engine(keeping, policy, |engine| {
            // They last for ever: no clock matters.
            engine.clock(&ManualClock::at(Timestamp::UNIX_EPOCH))
        })?;
        let scope = engine.scope(["user:owner"]).map_err(|error| text(&error))?;
        let [allowance, balance] = names.map(|(name, at_first)| {
            engine.resource(name).map(|resource| Bucket { resource, at_first }).map_err(|error| text(&error))
        });
        Ok(Some(Self { engine, scope, allowance: allowance?, balance: balance?, home }))
    }

    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        self.home.reopen(&mut self.engine)?;
        self.scope = self.engine.scope(["user:owner"]).map_err(|error| error.to_string())?;
        for (name, bucket) in [("allowance", &mut self.allowance), ("balance", &mut self.balance)] {
            bucket.resource = self.engine.resource(name).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Takes a cost that has been incurred: from the allowance while there is some, the rest from the balance, which may owe it.
    pub(crate) fn drain(&self, step: &Value) -> Result<Value, String> {
        let Some(cost) = args::amount(step, "cost")?.clamped() else { return Ok(json!({ "error": "invalid_amount" })) };
        let order = [self.allowance.resource, self.balance.resource];
        let receipt = self.scope.record_in_order(order, cost).map_err(|error| error.to_string())?;
        let (allowance, balance) = (self.left(&self.allowance, "allowance")?, self.left(&self.balance, "balance")?);
        Ok(json!({
            "ok": true,
            "allowance": allowance,
            "balance": balance,
            "funds": allowance.max(0).saturating_add(balance),
            "overage": receipt.overages().iter().map(|overage| overage.above).sum::<u64>(),
        }))
    }

    fn left(&self, bucket: &Bucket, limit: &str) -> Result<i64, String> {
        let usage = self.scope.usage().map_err(|error| error.to_string())?;
        let used = usage.iter().find(|budget| *budget.limit == *limit).map_or(0, |budget| budget.used);
        Ok(bucket.at_first.saturating_sub(i64::try_from(used).unwrap_or(i64::MAX)))
    }
}

/// In a case without buckets there is nothing to take from.
pub(crate) fn drain(buckets: Option<&Buckets>, step: &Value) -> Result<Value, String> {
    buckets.ok_or_else(|| "the case sets up no buckets".to_owned())?.drain(step)
}

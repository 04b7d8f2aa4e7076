//! Daily counts of features: a resource for each feature, one limit per user on each, places under the handles of the case.

use std::sync::{Mutex, PoisonError};

use encumber::{
    Cap, ChargeError, Clock, Cost, Enforcement, Engine, EngineBuilder, Limit, Policy, PolicyBuilder, Refusal,
    ReserveError, Resource, Scope, SettleError, Source, Subject, Unit, Window,
};
use serde_json::{Map, Value, json};

use crate::accounts::{FOR_EVER, Unbuilt};
use crate::home::{Home, Keeping};
use crate::{args, costs, windows};

/// The features of a case and who uses them.
pub(crate) struct Features {
    engine: Engine,
    home: Home,
    config: Mutex<Config>,
}

#[derive(Clone, Default)]
struct Config {
    limits: Vec<(String, Cap)>,
    exempt: Vec<String>,
    is_shadow: bool,
}

/// A user's scope and the feature's resource.
struct Asked {
    scope: Scope,
    place: Cost,
}

impl Features {
    pub(crate) fn new(setup: &Value, clock: Clock, keeping: Keeping) -> Result<Self, Unbuilt> {
        let config = Config::read(&setup["features"])?;
        let set_up = move |engine: EngineBuilder| engine.clock(clock.clone()).remember_settled(FOR_EVER);
        let (engine, home) = Home::engine(keeping, config.policy()?, set_up)?;
        Ok(Self { engine, home, config: Mutex::new(config) })
    }

    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        self.home.reopen(&mut self.engine)
    }

    pub(crate) fn check(&self, step: &Value) -> Result<Value, String> {
        Ok(match self.asked(step)? {
            Ok(Asked { scope, place }) => answer(&scope.check_cost(&place).map(|_| ()))?,
            Err(error) => refused_for(error),
        })
    }

    /// Takes a place: under the handle, so that whoever knows it can give the place back, or for good when there is none.
    pub(crate) fn reserve(&self, step: &Value) -> Result<Value, String> {
        let Asked { scope, place } = match self.asked(step)? {
            Ok(asked) => asked,
            Err(error) => return Ok(refused_for(error)),
        };
        let Some(handle) = step["handle"].as_str() else { return answer(&scope.try_charge(place).map(|_| ())) };
        match scope.reserve_with_id(&*hold_id(step, handle)?, FOR_EVER, place) {
            Ok(hold) => {
                let mut result = answer(&Ok(()))?;
                result["replayed"] = json!(hold.is_replayed());
                Ok(result)
            }
            Err(ReserveError::Charge(error)) => answer(&Err(error)),
            Err(ReserveError::Conflict | ReserveError::Settled) => Ok(refused_for("conflict")),
            Err(ReserveError::Id(_)) => Ok(refused_for("invalid_handle")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Gives a place back. Without a handle, or with one that holds no place, nobody's.
    pub(crate) fn release(&self, step: &Value) -> Result<Value, String> {
        if let Err(error) = self.asked(step)? {
            return Ok(json!({ "released": false, "error": error }));
        }
        let Some(handle) = step["handle"].as_str() else { return Ok(json!({ "released": false })) };
        let id = hold_id(step, handle)?.parse().ok();
        let released = id.and_then(|id| self.engine.resume(&id).ok()).map(|hold| hold.release());
        match released {
            Some(Ok(())) => Ok(json!({ "released": true })),
            None | Some(Err(SettleError::Committed | SettleError::Released | SettleError::Expired)) => {
                Ok(json!({ "released": false }))
            }
            Some(Err(error)) => Err(error.to_string()),
        }
    }

    pub(crate) fn record(&self, step: &Value) -> Result<Value, String> {
        match self.asked(step)? {
            Ok(Asked { scope, place }) => {
                scope.record(place).map_err(|error| error.to_string())?;
                Ok(json!({ "ok": true, "recorded": 1 }))
            }
            Err(error) => Ok(refused_for(error)),
        }
    }

    /// By feature, what the user has taken today.
    pub(crate) fn usage(&self, step: &Value) -> Result<Value, String> {
        let usage = self.scope(step)?.usage().map_err(|error| error.to_string())?;
        let charged = usage.iter().map(|budget| (budget.resource.to_string(), json!(budget.charged())));
        Ok(charged.collect::<Map<_, _>>().into())
    }

    pub(crate) fn quota_view(&self, step: &Value) -> Result<Value, String> {
        let user = subject(step)?;
        let resolved = self.engine.resolve(&user, &[]).map_err(|error| error.to_string())?;
        let usage = self.scope(step)?.usage().map_err(|error| error.to_string())?;
        let limits = self.config().limits.into_iter().map(|(feature, cap)| (feature, costs::shown(cap)));
        Ok(json!({
            "limits": limits.collect::<Map<_, _>>(),
            "usage": self.usage(step)?,
            "unlimited": !resolved.is_empty() && resolved.iter().all(|(_, _, source)| *source == Source::Exempt),
            "resets_at": usage.first().and_then(encumber::BudgetUsage::resets_at).map(windows::shown),
        }))
    }

    /// Changes a limit, whether a user is exempt, or whether limits are enforced at all.
    pub(crate) fn set(&self, step: &Value) -> Result<Value, String> {
        args::known_fields(step, &["feature", "limit", "user", "unlimited", "enforcement"])?;
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = config.clone();
        if let Some(feature) = step["feature"].as_str() {
            let Some((_, limit)) = changed.limits.iter_mut().find(|(name, _)| name == feature) else {
                return Ok(json!({ "ok": false, "error": "unknown_feature" }));
            };
            match args::cap(&step["limit"], false) {
                Some(cap) => *limit = cap,
                None => return Ok(json!({ "ok": false, "error": "invalid_limit" })),
            }
        }
        if !step["unlimited"].is_null() {
            let user = subject(step)?.as_str().to_owned();
            changed.exempt.retain(|exempt| *exempt != user);
            changed.exempt.extend((step["unlimited"] == true).then_some(user));
        }
        if let Some(enforcement) = step["enforcement"].as_bool() {
            changed.is_shadow = !enforcement;
        }
        match changed.policy() {
            Ok(policy) => self.engine.set_policy(policy),
            Err(_) => return Ok(json!({ "ok": false, "error": "invalid_limit" })),
        }
        *config = changed;
        Ok(json!({ "ok": true }))
    }

    fn config(&self) -> Config {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a step asks about. The engine says whether it knows the feature, before anything about the user is looked at.
    fn asked(&self, step: &Value) -> Result<Result<Asked, &'static str>, String> {
        let feature: Result<Resource, _> = self.engine.resource(args::text(step, "feature")?);
        let Ok(feature) = feature else { return Ok(Err("unknown_feature")) };
        Ok(Ok(Asked { scope: self.scope(step)?, place: feature.of(1) }))
    }

    fn scope(&self, step: &Value) -> Result<Scope, String> {
        self.engine.scope([&subject(step)?]).map_err(|error| error.to_string())
    }
}

impl Config {
    fn read(features: &Value) -> Result<Self, Unbuilt> {
        args::known_fields(features, &["limits", "users", "enforcement"])?;
        let mut config = Self { is_shadow: features["enforcement"] == false, ..Self::default() };
        for (feature, limit) in args::fields(features, "limits")? {
            let cap = args::cap(limit, false).ok_or(Unbuilt::Wrong("invalid_limit"))?;
            config.limits.push((feature.to_owned(), cap));
        }
        for (user, entry) in args::fields(features, "users")? {
            args::known_fields(entry, &["unlimited"])?;
            config.exempt.extend((entry["unlimited"] == true).then(|| format!("user:{user}")));
        }
        Ok(config)
    }

    fn policy(&self) -> Result<Policy, Unbuilt> {
        let enforcement = if self.is_shadow { Enforcement::Shadow } else { Enforcement::Hard };
        let policy = self.limits.iter().fold(Policy::builder().kind("user"), |policy, (feature, cap)| {
            let limit = Limit::new(feature, "user", feature, Window::Day, *cap).enforcement(enforcement);
            policy.resource(feature, Unit::Count).limit(limit)
        });
        let policy = self.exempt.iter().fold(policy, |policy: PolicyBuilder, user| policy.exempt(user));
        policy.build().map_err(|_| Unbuilt::Wrong("invalid_config"))
    }
}

/// Allowed, or refused with the numbers of the refusal.
fn answer(asked: &Result<(), ChargeError>) -> Result<Value, String> {
    match asked {
        Ok(()) => Ok(json!({ "allowed": true, "info": null })),
        Err(ChargeError::Refused(refusal)) => Ok(json!({ "allowed": false, "info": info(refusal) })),
        Err(error) => Err(error.to_string()),
    }
}

fn info(refusal: &Refusal) -> Value {
    let violation = refusal.primary();
    json!({
        "remaining": violation.remaining,
        "limit": violation.max,
        "used": violation.used + violation.held,
        "resets_at": violation.resets_at.map(windows::shown),
    })
}

/// A handle holds a place of one user and feature; under another one it is another handle.
fn hold_id(step: &Value, handle: &str) -> Result<String, String> {
    let (user, feature) = (args::text(step, "user")?, args::text(step, "feature")?);
    Ok(format!("{}:{user}/{feature}/{handle}", user.len()))
}

fn subject(step: &Value) -> Result<Subject, String> {
    Subject::new("user", args::text(step, "user")?).map_err(|error| error.to_string())
}

fn refused_for(error: &str) -> Value {
    json!({ "allowed": false, "error": error })
}

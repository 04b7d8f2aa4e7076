//! Accounts with windows: one subject each, of a kind of its own, and a limit for each window.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use encumber::{
    BudgetUsage, Cap, ChargeError, Clock, Component, Cost, DetachedHold, Engine, FailurePolicy, Limit, OnFailure,
    Policy, Rates, Receipt, RecordError, Refusal, ReserveError, Resource, Retry, Scope, ScopeError, SettleError,
    Status, Subject, Unit, Window,
};
use serde_json::{Map, Value, json};

use crate::args::{self, Amount};
use crate::home::{Home, Keeping};
use crate::{costs, windows};

#[path = "paid_resets.rs"]
mod paid_resets;

use paid_resets::{Faults, Resets};

/// The time-to-live of holds in cases that name none, and how long settled ids are remembered.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(1_000 * 366 * 86_400);

/// The accounts of a case in one engine.
pub(crate) struct Accounts {
    engine: Engine,
    home: Home,
    units: Resource,
    exact: bool,
    zero_is_unlimited: bool,
    declared: Mutex<Vec<Arc<Account>>>,
    /// Handles by the keys they are of: a schedule asks for the same ones again and again.
    scopes: Mutex<HashMap<Vec<String>, Arc<Scope>>>,
    resets: Resets,
    faults: Mutex<Faults>,
    hold_ttl: Duration,
    /// Which keys an id was reserved for: what results show, nothing that decides.
    keys_of: Mutex<HashMap<String, BTreeSet<String>>>,
    /// By id, the receipt that a step has told of.
    told: Mutex<HashMap<String, Receipt>>,
}

#[derive(Clone)]
struct Account {
    key: String,
    kind: String,
    limits: Vec<Declared>,
}

#[derive(Clone)]
struct Declared {
    name: String,
    id: String,
    window: Window,
    cap: Cap,
    warn_at: Option<u64>,
    warn_percent: Option<u8>,
}

/// Why there is no engine with these accounts.
pub(crate) enum Unbuilt {
    /// The configuration is wrong: every operation says so.
    Wrong(&'static str),
    /// The runner cannot read it: the case fails.
    Unread(String),
}

impl From<String> for Unbuilt {
    fn from(text: String) -> Self {
        Self::Unread(text)
    }
}

impl Accounts {
    pub(crate) fn new(setup: &Value, clock: Clock, exact: bool, keeping: Keeping) -> Result<Self, Unbuilt> {
        let zero_is_unlimited = setup["zero_means"] == "unlimited";
        let mut declared = Vec::new();
        for (index, (key, account)) in args::fields(setup, "accounts")?.into_iter().enumerate() {
            args::known_fields(account, &["windows"])?;
            let kind = format!("a{index}");
            let limits = args::list(account, "windows")?.iter().enumerate();
            let limits =
                limits.map(|(number, window)| Declared::read(window, format!("{kind}-w{number}"), zero_is_unlimited));
            let limits = limits.collect::<Result<_, _>>()?;
            declared.push(Arc::new(Account { key: key.to_owned(), limits, kind }));
        }
        let resets = Resets::read(setup)?;
        let policy = policy(&declared, &resets, exact)?;
        let failure_policy = failure_policy(setup)?;
        let (engine, home) = Home::engine(keeping, policy, move |engine| {
            engine.clock(clock.clone()).remember_settled(FOR_EVER).failure_policy(failure_policy)
        })?;
        let units = engine.resource("units").map_err(|error| error.to_string())?;
        let hold_ttl = match &setup["hold_ttl_s"] {
            Value::Null => FOR_EVER,
            ttl => Duration::from_secs(Amount::of(ttl).whole().ok_or(Unbuilt::Wrong("invalid_config"))?),
        };
        Ok(Self {
            engine,
            home,
            units,
            exact,
            zero_is_unlimited,
            declared: declared.into(),
            scopes: Mutex::default(),
            resets,
            faults: Mutex::default(),
            hold_ttl,
            keys_of: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// A receipt is of the engine that gave it. The one after it gives another for the same charge: that is what has been told from then on.
    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        lock(&self.scopes).clear();
        let told: Vec<_> = lock(&self.told).drain().collect();
        let told = told.into_iter().map(|(id, receipt)| (id, receipt.charged().amount(self.units).unwrap_or(0)));
        let told: Vec<_> = told.collect();
        self.home.reopen(&mut self.engine)?;
        self.units = self.engine.resource("units").map_err(|error| error.to_string())?;
        for (id, charged) in told {
            let hold = self.hold(&id).ok_or_else(|| format!("the id {id} is forgotten"))?;
            let receipt = hold.commit(self.units.of(charged)).map_err(|error| format!("of {id}: {error}"))?;
            lock(&self.told).insert(id, receipt);
        }
        Ok(())
    }

    pub(crate) fn check(&self, step: &Value) -> Result<Value, String> {
        let key = args::text(step, "key")?;
        let amount = if step["amount"].is_null() { None } else { Some(Amount::of(&step["amount"])) };
        let scope = match self.scope(&[key]) {
            Ok(scope) => scope,
            Err(error) => return Ok(refused_for(error)),
        };
        let answer = match amount {
            // Of what is counted, not of how often it was reset.
            None => scope.check_in(&[self.units]),
            Some(amount) => match amount.whole() {
                Some(amount) => scope.check_cost(&self.units.of(amount)),
                None => return Ok(refused_for("invalid_amount")),
            },
        };
        Ok(match answer {
            Ok(admission) => json!({
                "allowed": true, "violated": null, "violated_all": [], "resets_at": null, "retry_at": null,
                "never_fits": false, "degraded": admission.is_degraded(),
            }),
            Err(error) => self.refused(&error),
        })
    }

    pub(crate) fn record(&self, step: &Value) -> Result<Value, String> {
        let key = args::text(step, "key")?;
        let Some(amount) = args::amount(step, "amount")?.clamped() else {
            return Ok(json!({ "error": "invalid_amount" }));
        };
        Ok(self.record_cost(key, self.units.of(amount)))
    }

    /// Records tokens as the tables of the policy weigh them.
    pub(crate) fn record_tokens(&self, step: &Value) -> Result<Value, String> {
        let key = args::text(step, "key")?;
        let Some(usage) = costs::usage(step) else { return Ok(json!({ "error": "invalid_amount" })) };
        let cost = self.engine.cost(&usage).map_err(|error| error.to_string())?;
        Ok(self.record_cost(key, cost))
    }

    fn record_cost(&self, key: &str, cost: Cost) -> Value {
        match self.scope(&[key]).and_then(|scope| scope.record(cost).map_err(|error| record_error(&error))) {
            Ok(receipt) => json!({
                "ok": true, "recorded": receipt.charged().amount(self.units), "degraded": receipt.is_degraded(),
            }),
            Err(error) => json!({ "error": error, "degraded": self.is_degraded() }),
        }
    }

    pub(crate) fn consume(&self, step: &Value) -> Result<Value, String> {
        let key = args::text(step, "key")?;
        let Some(amount) = args::amount(step, "amount")?.whole() else { return Ok(refused_for("invalid_amount")) };
        let scope = match self.scope(&[key]) {
            Ok(scope) => scope,
            Err(error) => return Ok(refused_for(error)),
        };
        let answer = scope.try_charge(self.units.of(amount));
        let mut result = match answer {
            Ok(admission) => json!({ "allowed": true, "degraded": admission.is_degraded() }),
            Err(error) => self.refused(&error),
        };
        merge(&mut result, &self.view(key, true));
        Ok(result)
    }

    /// The usage of one key, or of several as of one instant.
    pub(crate) fn usage(&self, step: &Value) -> Result<Value, String> {
        if step["keys"].is_array() {
            let keys = args::texts(step, "keys")?.into_iter().collect();
            return Ok(json!({ "per_key": self.per_key(&keys) }));
        }
        Ok(self.view(args::text(step, "key")?, false))
    }

    pub(crate) fn set_limit(&self, step: &Value) -> Result<Value, String> {
        let key = args::text(step, "key")?;
        let Some(cap) = args::cap(&step["limit"], self.zero_is_unlimited) else {
            return Ok(json!({ "error": "invalid_limit" }));
        };
        let mut declared = lock(&self.declared);
        let mut changed = declared.clone();
        let Some(account) = changed.iter_mut().find(|account| account.key == key).map(Arc::make_mut) else {
            return Ok(json!({ "error": "unknown_account" }));
        };
        let named = |limit: &&mut Declared| step["window"].as_str().is_none_or(|name| limit.name == name);
        let Some(limit) = account.limits.iter_mut().find(named) else {
            return Ok(json!({ "error": "unknown_window" }));
        };
        limit.cap = cap;
        match policy(&changed, &self.resets, self.exact) {
            Ok(policy) => {
                self.engine.set_policy(policy);
                *declared = changed;
                Ok(json!({ "ok": true, "limit": costs::shown(cap) }))
            }
            Err(_) => Ok(json!({ "error": "invalid_limit" })),
        }
    }

    /// Holds under the case's id: the same keys and amount again while it is open are the same hold, anything else is a conflict.
    pub(crate) fn reserve(&self, step: &Value) -> Result<Value, String> {
        let (keys, id) = (args::texts(step, "keys")?, args::text(step, "id")?);
        let Some(amount) = args::amount(step, "amount")?.whole() else { return Ok(refused_for("invalid_amount")) };
        let asked: BTreeSet<String> = keys.iter().cloned().collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let scope = match self.scope(&keys) {
            Ok(scope) => scope,
            Err(error) => return Ok(refused_for(error)),
        };
        let mut result = match scope.reserve_with_id(id, self.hold_ttl, self.units.of(amount)) {
            Ok(hold) => {
                lock(&self.keys_of).insert(id.to_owned(), asked.clone());
                let degraded = hold.admission().is_degraded();
                json!({ "allowed": true, "replayed": hold.is_replayed(), "blocked_by": [], "degraded": degraded })
            }
            Err(ReserveError::Charge(error)) => {
                let blocking = error.refusal().map(|refusal| blocked_by(refusal, &keys)).unwrap_or_default();
                let mut result = self.refused(&error);
                merge(&mut result, &json!({ "replayed": false, "blocked_by": blocking }));
                result
            }
            Err(ReserveError::Conflict | ReserveError::Settled) => {
                json!({ "allowed": false, "replayed": false, "error": "conflict" })
            }
            Err(ReserveError::Id(_)) => return Ok(refused_for("invalid_id")),
            Err(error) => return Err(error.to_string()),
        };
        result["per_key"] = self.per_key(&asked);
        Ok(result)
    }

    pub(crate) fn finalize(&self, step: &Value) -> Result<Value, String> {
        let ended = |outcome: &str| json!({ "outcome": outcome, "charged": 0, "overage": 0 });
        let Some(actual) = args::amount(step, "actual")?.whole() else { return Ok(ended("invalid_amount")) };
        let id = args::text(step, "id")?;
        let Some(hold) = self.hold(id) else { return Ok(ended("unknown")) };
        let mut result = match hold.commit(self.units.of(actual)) {
            // One receipt is one charge, however many calls it answers.
            Ok(receipt) if self.told_before(id, &receipt) => ended("replayed"),
            Ok(receipt) => {
                let amount = |cost: &Cost| cost.amount(self.units).unwrap_or(0);
                let charged = amount(receipt.charged());
                let outcome = if hold.has_expired() { "settled_late" } else { "settled" };
                json!({ "outcome": outcome, "charged": charged, "overage": charged.saturating_sub(amount(&hold.held())) })
            }
            Err(SettleError::Conflict) => ended("conflict"),
            Err(SettleError::Released) => ended("already_released"),
            Err(error) => return Err(error.to_string()),
        };
        result["per_key"] = self.per_key_of(id);
        Ok(result)
    }

    pub(crate) fn release(&self, step: &Value) -> Result<Value, String> {
        let id = args::text(step, "id")?;
        let Some(hold) = self.hold(id) else { return Ok(json!({ "outcome": "unknown" })) };
        let outcome = match hold.release() {
            Ok(()) => "released",
            Err(SettleError::Committed) => "already_settled",
            Err(SettleError::Released) => "already_released",
            Err(SettleError::Expired) => "already_expired",
            Err(error) => return Err(error.to_string()),
        };
        Ok(json!({ "outcome": outcome, "per_key": self.per_key_of(id) }))
    }

    /// The hold that the engine keeps under an id. A text that cannot be an id is the id of nothing.
    fn hold(&self, id: &str) -> Option<DetachedHold> {
        self.engine.resume(&id.parse().ok()?).ok()
    }

    /// Whether a step has told of this receipt of the id's hold; from now on one has.
    fn told_before(&self, id: &str, receipt: &Receipt) -> bool {
        lock(&self.told).insert(id.to_owned(), receipt.clone()).is_some_and(|told| told == *receipt)
    }

    fn per_key_of(&self, id: &str) -> Value {
        let keys = lock(&self.keys_of).get(id).cloned();
        self.per_key(&keys.unwrap_or_default())
    }

    /// Lets what follows the payment of a reset fail, or what follows that.
    pub(crate) fn set_reset_fault(&self, component: &str, down: bool) -> bool {
        let mut faults = lock(&self.faults);
        match component {
            "charge" | "credit" | "credits" | "payment" | "wallet" => faults.charge = down,
            // The reset and its count are one step: what fails the one fails the other.
            "reset_write" | "count_write" | "reset_count_write" => faults.reset_write = down,
            "refund" => faults.refund = down,
            _ => return false,
        }
        true
    }

    fn resets_of_setup(&self) -> Resets {
        self.resets.clone()
    }

    pub(crate) fn set_degraded(&self, component: Component, degraded: bool) {
        self.engine.set_degraded(component, degraded);
    }

    fn is_degraded(&self) -> bool {
        self.engine.degraded().is_some()
    }

    fn account(&self, key: &str) -> Option<Arc<Account>> {
        lock(&self.declared).iter().find(|account| account.key == key).cloned()
    }

    /// The scope of these keys. A key that the case did not declare is of a kind that the policy does not know: the engine says so.
    fn scope(&self, keys: &[&str]) -> Result<Arc<Scope>, &'static str> {
        let of: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        if let Some(scope) = lock(&self.scopes).get(&of) {
            return Ok(Arc::clone(scope));
        }
        let kind =
            |key: &str| self.account(key).map_or_else(|| "undeclared".to_owned(), |account| account.kind.clone());
        let subjects = keys.iter().map(|key| Subject::new(&kind(key), key)).collect::<Result<Vec<_>, _>>();
        let subjects = subjects.map_err(|_| "invalid_key")?;
        let scope = Arc::new(self.engine.scope(&subjects).map_err(|error| scope_error(&error))?);
        lock(&self.scopes).insert(of, Arc::clone(&scope));
        Ok(scope)
    }

    /// What a refusal says: the first violated window, all of them, and when it helps to ask again.
    fn refused(&self, error: &ChargeError) -> Value {
        let refusal = match error {
            ChargeError::Refused(refusal) => refusal,
            ChargeError::Scope(error) => return refused_for(scope_error(error)),
            ChargeError::Degraded(_) => return json!({ "allowed": false, "error": "unavailable", "degraded": true }),
            _ => return refused_for("unknown_resource"),
        };
        let mut names = Vec::new();
        for violation in refusal.violations() {
            let Some(account) = self.account(violation.subject.id()) else { continue };
            names.extend(
                account.limits.iter().find(|limit| limit.id == *violation.limit).map(|limit| limit.name.clone()),
            );
        }
        let retry_at = match refusal.retry() {
            Retry::At(then) => Some(windows::shown(then)),
            Retry::Unknown | Retry::Never => None,
        };
        let larger = |violation: &encumber::Violation| violation.requested.max(1) > violation.max;
        json!({
            "allowed": false,
            "violated": names.first(),
            "violated_all": names,
            "resets_at": refusal.primary().resets_at.map(windows::shown),
            "retry_at": retry_at,
            "never_fits": refusal.retry() == Retry::Never && refusal.violations().any(larger),
            "degraded": self.is_degraded(),
        })
    }

    /// By key, all as of one instant.
    fn per_key(&self, keys: &BTreeSet<String>) -> Value {
        let all: Vec<&str> = keys.iter().map(String::as_str).collect();
        let usage = match self.scope(&all).and_then(|scope| scope.usage().map_err(|error| scope_error(&error))) {
            Ok(usage) => usage,
            Err(error) => return json!({ "error": error }),
        };
        let view = |key: &String| {
            let own: Vec<_> = usage.iter().filter(|budget| budget.subject.id() == key).collect();
            (key.clone(), self.shown(key, &own, false))
        };
        keys.iter().map(view).collect::<Map<_, _>>().into()
    }

    /// The usage of an account.
    fn view(&self, key: &str, flat: bool) -> Value {
        match self.scope(&[key]).and_then(|scope| scope.usage().map_err(|error| scope_error(&error))) {
            Ok(usage) => self.shown(key, &usage.iter().collect::<Vec<_>>(), flat),
            Err(error) => json!({ "error": error }),
        }
    }

    /// Budgets of an account: under `windows` by name, and flat when there is one window, or for the first one on demand.
    fn shown(&self, key: &str, usage: &[&BudgetUsage], flat: bool) -> Value {
        let Some(account) = self.account(key) else { return json!({ "error": "unknown_account" }) };
        let mut windows = Map::new();
        // Without the count of resets, which has an operation of its own.
        let usage: Vec<_> = usage.iter().filter(|budget| *budget.resource == *"units").collect();
        for budget in &usage {
            let name = account.limits.iter().find(|limit| limit.id == *budget.limit).map(|limit| limit.name.clone());
            windows.insert(name.unwrap_or_else(|| budget.limit.to_string()), shown(budget));
        }
        let mut view = json!({ "windows": windows, "degraded": self.is_degraded() });
        if let Some(first) = usage.first().filter(|_| flat || usage.len() == 1) {
            merge(&mut view, &shown(first));
        }
        view
    }
}

impl Declared {
    fn read(window: &Value, id: String, zero_is_unlimited: bool) -> Result<Self, Unbuilt> {
        args::known_fields(window, &["name", "period", "limit", "warn_at", "warn_pct", "seconds", "anchor"])?;
        let cap = args::cap(&window["limit"], zero_is_unlimited).ok_or(Unbuilt::Wrong("invalid_limit"))?;
        let warning = |name: &str| match Amount::of(&window[name]) {
            Amount::Whole(at) => Ok(Some(at)),
            _ if window[name].is_null() => Ok(None),
            _ => Err(Unbuilt::Wrong("invalid_config")),
        };
        // At 0 percent a budget always warns, as it does at an amount of 0.
        let percent = warning("warn_pct")?;
        let warn_at = warning("warn_at")?.or(percent.filter(|percent| *percent == 0));
        let percent = percent.filter(|percent| *percent > 0).map(u8::try_from).transpose();
        Ok(Self {
            name: args::text(window, "name")?.to_owned(),
            id,
            window: windows::window(window).map_err(Unbuilt::Wrong)?,
            cap,
            warn_at,
            warn_percent: percent.map_err(|_| Unbuilt::Wrong("invalid_config"))?,
        })
    }
}

fn policy(accounts: &[Arc<Account>], resets: &Resets, exact: bool) -> Result<Policy, Unbuilt> {
    let rates = Rates::strict().weights("units", &costs::weights()?).rounding(costs::rounding(exact));
    let mut policy =
        Policy::builder().resource("units", Unit::Count).resource("credits", Unit::Count).kind("wallet").rates(rates);
    for account in accounts {
        let Account { kind, limits, .. } = &**account;
        policy = policy.kind(kind);
        for Declared { id, window, cap, warn_at, warn_percent, .. } in limits {
            let mut limit = Limit::new(id, kind, "units", *window, *cap).warn_percent(*warn_percent);
            if let Some(amount) = warn_at {
                limit = limit.warn_at(*amount);
            }
            policy = policy.limit(limit);
        }
    }
    resets.declare(policy, accounts).build().map_err(|_| Unbuilt::Wrong("invalid_config"))
}

/// What each operation does in an outage; `policy` says what differs from the default.
fn failure_policy(setup: &Value) -> Result<FailurePolicy, Unbuilt> {
    let mut policy = FailurePolicy::default();
    if let Value::String(choice) = &setup["policy"] {
        // One word for all of them.
        return failure_policy(
            &json!({ "policy": { "check": choice, "record": choice, "reserve": choice, "reset": choice } }),
        );
    }
    for (operation, choice) in args::fields(setup, "policy")? {
        let choice = match choice.as_str() {
            Some("open") => OnFailure::Open,
            Some("closed") => OnFailure::Closed,
            _ => return Err(Unbuilt::Wrong("invalid_config")),
        };
        policy = match operation {
            "check" => policy.check(choice),
            "record" => policy.record(choice),
            "reserve" | "consume" => policy.reserve(choice),
            "paid_reset" | "reset" => policy.reset(choice),
            // What there is can always be read, flagged.
            "usage" if choice == OnFailure::Open => policy,
            unknown => return Err(format!("the runner does not know the operation {unknown:?} of a policy").into()),
        };
    }
    Ok(policy)
}

/// The keys whose budgets had no room, in the order in which they were asked for.
fn blocked_by(refusal: &Refusal, keys: &[&str]) -> Vec<String> {
    let mut blocking: Vec<_> = refusal.violations().map(|violation| violation.subject.id()).collect();
    blocking.sort_by_key(|id| keys.iter().position(|key| key == id));
    blocking.dedup();
    blocking.into_iter().map(str::to_owned).collect()
}

/// A budget as results write it.
fn shown(budget: &BudgetUsage) -> Value {
    let percent = budget.percent().map(|percent| f64::from(percent.tenths()) / 10.0);
    json!({
        "used": budget.used,
        "held": budget.held,
        "limit": costs::shown(budget.cap),
        "remaining": costs::shown(budget.remaining()),
        "status": status(budget.status),
        "percent": percent,
        "window_start": budget.bounds.map(|bounds| windows::shown(bounds.start)),
        "resets_at": budget.resets_at().map(windows::shown),
    })
}

/// These cases know one word for all that is used up.
fn status(status: Status) -> &'static str {
    match status {
        Status::Exhausted | Status::Over => "blocked",
        other => other.name(),
    }
}

fn scope_error(error: &ScopeError) -> &'static str {
    match error {
        ScopeError::UnknownKind { .. } => "unknown_account",
        ScopeError::Subject(_) => "invalid_key",
        _ => "too_many_budgets",
    }
}

fn record_error(error: &RecordError) -> &'static str {
    match error {
        RecordError::Scope(error) => scope_error(error),
        RecordError::Degraded(_) => "unavailable",
        _ => "unknown_resource",
    }
}

fn refused_for(error: &str) -> Value {
    json!({ "allowed": false, "error": error })
}

/// Adds the fields of `more`.
fn merge(result: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        result[name] = value.clone();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

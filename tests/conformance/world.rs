//! What a case acts on, and which code runs which operation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use encumber::{Clock, Component, ManualClock, Timestamp, Window};
use serde_json::{Map, Value, json};

use crate::accounts::{Accounts, Unbuilt};
use crate::agents::Agents;
use crate::buckets::Buckets;
use crate::counters::Counters;
use crate::features::Features;
use crate::home::Keeping;
use crate::leases::{Leases, Lock};
use crate::spending::Spending;
use crate::workflows::Workflows;
use crate::{args, buckets, costs, guards, interleave, messages, next_reset, parallel, windows};

/// Where the clock stands in a case that names no instant.
const START: &str = "2026-04-03T00:00:00Z";

/// How long a paid reset may take before another one of the same key is let through.
const RESET_LOCK: Duration = Duration::from_secs(10);

/// What cases set up.
const SETUP: [&str; 18] = [
    "accounts",
    "agents",
    "bucket",
    "counter",
    "exact",
    "fallback",
    "features",
    "hierarchy",
    "hold_ttl_s",
    "mode",
    "policy",
    "profile",
    "reset",
    "rounding",
    "slots",
    "wallet",
    "workflow",
    "zero_means",
];

/// The operations that ask no engine that a case's world owns.
pub(crate) const WITHOUT_ENGINE: [&str; 14] = [
    "accumulate",
    "billable_call",
    "estimate_reserve",
    "limit_message",
    "llm_message",
    "next_reset",
    "parse_duration",
    "parse_limit",
    "period_bounds",
    "price_cost",
    "tier_limits",
    "usage_percent",
    "weigh",
    "window_label",
];

/// The engines of a case and their clock.
pub(crate) struct World {
    setup: Value,
    keeping: Keeping,
    clock: ManualClock,
    accounts: Result<Accounts, &'static str>,
    agents: Agents,
    spending: Result<Spending, &'static str>,
    features: Result<Features, &'static str>,
    leases: Result<Leases, &'static str>,
    buckets: Result<Option<Buckets>, &'static str>,
    workflows: Result<Option<Workflows>, &'static str>,
    counters: Result<Option<Counters>, &'static str>,
    zero_is_unlimited: bool,
    /// Whether the case says that it is about exact arithmetic, not about the dialect's.
    exact: bool,
    /// How many paid resets were asked for: each locks under a name of its own.
    resets: AtomicU64,
}

impl World {
    pub(crate) fn new(case: &Value, keeping: Keeping) -> Result<Self, String> {
        let setup = &case["setup"];
        args::known_fields(setup, &SETUP)?;
        let first = case["steps"].as_array().into_iter().flatten().find_map(|step| step["at"].as_str());
        let start = first.unwrap_or(START);
        let clock = ManualClock::at(start.parse().map_err(|error| format!("at: {error}"))?);
        let exact = costs::says_exact(setup) || names_exact_mode(case);
        Ok(Self {
            setup: setup.clone(),
            keeping,
            accounts: built(Accounts::new(setup, Clock::manual(&clock), exact, keeping))?,
            agents: Agents::new(setup, &clock, keeping)?,
            spending: built(Spending::new(&setup["hierarchy"], clock.clone(), keeping))?,
            features: built(Features::new(setup, Clock::manual(&clock), keeping))?,
            leases: built(Leases::new(setup, Clock::manual(&clock), keeping))?,
            buckets: built(Buckets::new(setup, keeping))?,
            workflows: built(Workflows::new(setup, Clock::manual(&clock), keeping))?,
            counters: built(Counters::new(setup, Clock::manual(&clock), keeping))?,
            zero_is_unlimited: setup["zero_means"] == "unlimited",
            exact,
            resets: AtomicU64::new(0),
            clock,
        })
    }

    /// Another world at this instant, with `own` over this one's setup.
    pub(crate) fn with_setup(&self, own: Map<String, Value>) -> Result<Self, String> {
        let mut setup = self.setup.as_object().cloned().unwrap_or_default();
        setup.extend(own);
        let now = windows::shown(self.now());
        Self::new(&json!({ "setup": setup, "steps": [{ "at": now }] }), self.keeping)
    }

    /// Closes every engine, and opens it again.
    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        self.accounts.iter_mut().try_for_each(Accounts::reopen)?;
        self.agents.reopen()?;
        self.spending.iter_mut().try_for_each(Spending::reopen)?;
        self.features.iter_mut().try_for_each(Features::reopen)?;
        self.leases.iter_mut().try_for_each(Leases::reopen)?;
        self.buckets.iter_mut().flatten().try_for_each(Buckets::reopen)?;
        self.workflows.iter_mut().flatten().try_for_each(Workflows::reopen)?;
        self.counters.iter_mut().flatten().try_for_each(Counters::reopen)
    }

    /// Runs one step at its instant. A schedule is judged by what it sees under way, so it is told what is expected.
    pub(crate) fn step(&self, step: &Value, expected: &Value) -> Result<Value, String> {
        if !step["at"].is_null() {
            self.clock.set(args::instant(step, "at")?);
        }
        let (op, args) = (args::text(step, "op")?, &step["args"]);
        match op {
            "parallel" => parallel::parallel(args, |op, args| self.run(op, args)),
            "interleave" => interleave::interleave(self, args, expected),
            _ => self.run(op, args),
        }
    }

    pub(crate) fn setup(&self) -> &Value {
        &self.setup
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub(crate) fn set_back(&self, by: Duration) {
        let by_micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.clock.set(Timestamp::from_micros(self.now().as_micros().saturating_sub(by_micros)));
    }

    /// To the next start of a week, unless one is now.
    pub(crate) fn to_monday(&self) {
        if let Some(week) = Window::Week.bounds(self.now()).filter(|week| week.start < self.now()) {
            self.clock.set(week.end);
        }
    }

    /// To the end of the first window of an account that has one; of the day, when it has none.
    pub(crate) fn to_next_window(&self, key: &str) {
        let now = self.now();
        let ends = self.with_accounts(|accounts| accounts.usage(&json!({ "key": key })));
        let ends = ends.ok().and_then(|usage| usage["windows"].as_object().cloned());
        let ends = ends.into_iter().flatten().filter_map(|(_, budget)| budget["resets_at"].as_str()?.parse().ok());
        let next = ends.min().or(Window::Day.bounds(now).map(|day| day.end));
        if let Some(then) = next {
            self.clock.advance(then.saturating_since(now));
        }
    }

    pub(crate) fn run(&self, op: &str, args: &Value) -> Result<Value, String> {
        match op {
            "period_bounds" => Ok(windows::period_bounds(args, self.now())),
            "window_label" => Ok(windows::window_label(args, self.now())),
            "next_reset" => next_reset::next_reset(args, self.now()),
            "parse_duration" => windows::parse_duration(args),
            "weigh" => costs::weigh(args, self.exact),
            "price_cost" => Ok(costs::price_cost(args)),
            "accumulate" => costs::accumulate(args),
            "estimate_reserve" => Ok(costs::estimate_reserve(args)),
            "parse_limit" => costs::parse_limit(args),
            "tier_limits" => costs::tier_limits(args),
            "limit_message" => messages::limit_message(args, self.now()),
            "llm_message" => messages::llm_message(args, self.now()),
            "usage_percent" => messages::usage_percent(args, self.zero_is_unlimited),
            "check" => self.with_accounts(|accounts| accounts.check(args)),
            "record" => self.with_accounts(|accounts| accounts.record(args)),
            "record_tokens" => self.with_accounts(|accounts| accounts.record_tokens(args)),
            "consume" => self.with_accounts(|accounts| accounts.consume(args)),
            "usage" => self.with_accounts(|accounts| accounts.usage(args)),
            "set_limit" => self.with_accounts(|accounts| accounts.set_limit(args)),
            "reserve" => self.with_accounts(|accounts| accounts.reserve(args)),
            "finalize" => self.with_accounts(|accounts| accounts.finalize(args)),
            "release" => self.with_accounts(|accounts| accounts.release(args)),
            "fault" => self.fault(args),
            "billable_call" => guards::billable_call(args),
            "agent_consume" => self.agents.consume(args),
            "agent_check" => self.agents.check(args),
            "agent_status" => self.agents.status(args),
            "agent_reset" => self.agents.reset(args),
            "agent_set_cost" => self.agents.set_cost(args),
            "resolve_limit" => self.with_spending(|spending| spending.resolve_limit(args)),
            "spend" => self.with_spending(|spending| spending.spend(args)),
            "spend_status" => self.with_spending(|spending| spending.spend_status(args)),
            "feature_check" => self.with_features(|features| features.check(args)),
            "feature_reserve" => self.with_features(|features| features.reserve(args)),
            "feature_release" => self.with_features(|features| features.release(args)),
            "feature_record" => self.with_features(|features| features.record(args)),
            "feature_usage" => self.with_features(|features| features.usage(args)),
            "feature_set" => self.with_features(|features| features.set(args)),
            "feature_quota_view" => self.with_features(|features| features.quota_view(args)),
            "slot_acquire" => self.with_leases(|leases| leases.acquire(args)),
            "slot_release" => self.with_leases(|leases| leases.release(args)),
            "slot_renew" => self.with_leases(|leases| leases.renew(args)),
            "slot_count" => self.with_leases(|leases| leases.count(args)),
            "lock_acquire" => self.with_leases(|leases| leases.lock_acquire(args)),
            "lock_release" => self.with_leases(|leases| leases.lock_release(args)),
            "paid_reset" => self.paid_reset(args),
            "reset_daily" => self.with_accounts(|accounts| accounts.reset_daily(args)),
            "admin_reset" => self.with_accounts(|accounts| accounts.admin_reset(args)),
            "reset_count" => self.with_accounts(|accounts| accounts.reset_count(args)),
            "wallet" => self.with_accounts(|accounts| accounts.wallet(args)),
            "bucket_drain" => match &self.buckets {
                Ok(buckets) => buckets::drain(buckets.as_ref(), args),
                Err(error) => Ok(json!({ "error": error })),
            },
            "wf_begin" => self.with_workflows(|workflows| workflows.begin(args)),
            "wf_step" => self.with_workflows(|workflows| workflows.step(args)),
            "wf_end" => self.with_workflows(|workflows| workflows.end(args)),
            "wf_status" => self.with_workflows(|workflows| workflows.status(args)),
            "counter_incr" => self.with_counters(|counters| counters.incr(args)),
            "counter_get" => self.with_counters(|counters| counters.get(args)),
            "counter_reset" => self.with_counters(|counters| counters.reset(args)),
            unknown => Err(format!("the runner knows no operation {unknown:?}")),
        }
    }

    /// Something that the engine depends on fails, or is well again.
    fn fault(&self, step: &Value) -> Result<Value, String> {
        let down = match args::text(step, "mode")? {
            "down" => true,
            "up" => false,
            mode => return Err(format!("the runner knows no mode {mode:?} of a fault")),
        };
        let component = match args::text(step, "component")? {
            "store" => Component::Store,
            "policy" | "limits" | "flags" | "config" => Component::Policy,
            component => {
                let known = self.accounts.as_ref().is_ok_and(|accounts| accounts.set_reset_fault(component, down));
                return if known {
                    Ok(json!({ "ok": true }))
                } else {
                    Err(format!("the runner knows no component {component:?}"))
                };
            }
        };
        self.accounts.iter().for_each(|accounts| accounts.set_degraded(component, down));
        self.leases.iter().for_each(|leases| leases.set_degraded(component, down));
        Ok(json!({ "ok": true, "degraded": down }))
    }

    /// Buys a reset under the key's lock, as long as it is running.
    fn paid_reset(&self, step: &Value) -> Result<Value, String> {
        let (key, token) = (args::text(step, "key")?, format!("reset-{}", self.resets.fetch_add(1, Ordering::Relaxed)));
        let (accounts, leases) = match (&self.accounts, &self.leases) {
            (Ok(accounts), Ok(leases)) => (accounts, leases),
            (Err(error), _) | (_, Err(error)) => return Ok(json!({ "outcome": error, "error": error })),
        };
        match leases.lock(key, &token, RESET_LOCK)? {
            Lock::Busy if !accounts.never_sells(step) => accounts.busy(step),
            // In an outage the engine says itself what comes of it.
            Lock::Busy | Lock::Unavailable => accounts.paid_reset(step),
            Lock::Taken => {
                let sold = accounts.paid_reset(step);
                leases.unlock(key, &token)?;
                sold
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn with_accounts(&self, run: impl FnOnce(&Accounts) -> Result<Value, String>) -> Result<Value, String> {
        self.accounts.as_ref().map_or_else(|error| Ok(json!({ "allowed": false, "error": error })), run)
    }

    fn with_spending(&self, run: impl FnOnce(&Spending) -> Result<Value, String>) -> Result<Value, String> {
        self.spending.as_ref().map_or_else(|error| Ok(json!({ "error": error })), run)
    }

    fn with_features(&self, run: impl FnOnce(&Features) -> Result<Value, String>) -> Result<Value, String> {
        self.features.as_ref().map_or_else(|error| Ok(json!({ "allowed": false, "error": error })), run)
    }

    fn with_leases(&self, run: impl FnOnce(&Leases) -> Result<Value, String>) -> Result<Value, String> {
        self.leases.as_ref().map_or_else(|error| Ok(json!({ "acquired": false, "error": error })), run)
    }

    fn with_workflows(&self, run: impl FnOnce(&Workflows) -> Result<Value, String>) -> Result<Value, String> {
        match &self.workflows {
            Ok(Some(workflows)) => run(workflows),
            Ok(None) => Err("the case sets up no workflows".to_owned()),
            Err(error) => Ok(json!({ "ok": false, "error": error })),
        }
    }

    fn with_counters(&self, run: impl FnOnce(&Counters) -> Result<Value, String>) -> Result<Value, String> {
        match &self.counters {
            Ok(Some(counters)) => run(counters),
            Ok(None) => Err("the case sets up no counters".to_owned()),
            Err(error) => Ok(json!({ "error": error })),
        }
    }
}

/// A wrong configuration is something that operations report; an unreadable one is not.
fn built<T>(result: Result<T, Unbuilt>) -> Result<Result<T, &'static str>, String> {
    match result {
        Ok(built) => Ok(Ok(built)),
        Err(Unbuilt::Wrong(error)) => Ok(Err(error)),
        Err(Unbuilt::Unread(fault)) => Err(fault),
    }
}

/// Whether the words of a case say that it runs in exact mode.
fn names_exact_mode(case: &Value) -> bool {
    ["title", "note", "requires"].into_iter().any(|field| {
        let text = case[field].as_str().unwrap_or_default().to_lowercase().replace(['_', '-'], " ");
        text.contains("exact mode")
    })
}

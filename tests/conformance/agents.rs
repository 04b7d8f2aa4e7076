//! Token budgets of agents, with a cost per operation.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use encumber::{
    Cap, ChargeError, Clock, CostError, Enforcement, Engine, Limit, ManualClock, Policy, Rates, Ratio, Resource, Scope,
    Status, Subject, TokenClass, Unit, Unknown, Usage, Window,
};
use serde_json::{Value, json};

use crate::accounts::Unbuilt;
use crate::args::{self, Amount};
use crate::home::{Home, Keeping};

/// The percentage at which an agent's budget warns when its setup does not say.
const WARN_PERCENT: u8 = 80;

/// The agents of a case: an engine for each, because each may have a table of its own.
pub(crate) struct Agents(BTreeMap<String, Result<Agent, &'static str>>);

struct Agent {
    clock: ManualClock,
    engine: Engine,
    home: Home,
    tokens: Resource,
    subject: Subject,
    /// Every call goes through a clone of this handle.
    scope: Scope,
    budget: Mutex<Budget>,
}

/// What an agent may spend, and what its operations cost.
#[derive(Clone)]
struct Budget {
    total: u64,
    window: Window,
    enforcement: Enforcement,
    warning: Warning,
    rates: Rates,
    /// How often the budget was reset. Part of the limit's id: a budget is known by it, and a new one starts fresh.
    resets: u32,
}

#[derive(Clone, Copy)]
enum Warning {
    Percent(u8),
    At(u64),
}

impl Agents {
    pub(crate) fn new(setup: &Value, clock: &ManualClock, keeping: Keeping) -> Result<Self, String> {
        let mut agents = BTreeMap::new();
        for (id, agent) in args::fields(setup, "agents")? {
            let agent = match Agent::new(id, agent, clock, keeping) {
                Ok(agent) => Ok(agent),
                Err(Unbuilt::Wrong(error)) => Err(error),
                Err(Unbuilt::Unread(fault)) => return Err(fault),
            };
            agents.insert(id.to_owned(), agent);
        }
        Ok(Self(agents))
    }

    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        self.0.values_mut().flatten().try_for_each(Agent::reopen)
    }

    pub(crate) fn consume(&self, step: &Value) -> Result<Value, String> {
        self.with(step, |agent| agent.ask(step, Scope::try_charge))
    }

    pub(crate) fn check(&self, step: &Value) -> Result<Value, String> {
        self.with(step, |agent| agent.ask(step, |scope, cost| scope.check_cost(&cost)))
    }

    pub(crate) fn status(&self, step: &Value) -> Result<Value, String> {
        self.with(step, Agent::status)
    }

    pub(crate) fn reset(&self, step: &Value) -> Result<Value, String> {
        self.with(step, |agent| {
            agent.change(|budget| {
                budget.resets += 1;
                Some(())
            })
        })
    }

    /// Sets what an operation costs one agent, or all of them when the step names none.
    pub(crate) fn set_cost(&self, step: &Value) -> Result<Value, String> {
        let op = args::text(step, "op")?;
        let set = |agent: &Agent| {
            agent.change(|budget| {
                budget.rates = budget.rates.clone().operation(op, args::ratio(&step["cost"])?);
                Some(())
            })
        };
        if !step["agent"].is_null() {
            return self.with(step, set);
        }
        for agent in self.0.values().flatten() {
            let result = set(agent)?;
            if result["ok"] != true {
                return Ok(result);
            }
        }
        Ok(json!({ "ok": true }))
    }

    fn with(&self, step: &Value, run: impl FnOnce(&Agent) -> Result<Value, String>) -> Result<Value, String> {
        match self.0.get(args::text(step, "agent")?) {
            Some(Ok(agent)) => run(agent),
            Some(Err(error)) => Ok(refused_for(error)),
            None => Ok(refused_for("unknown_agent")),
        }
    }
}

impl Agent {
    fn new(id: &str, agent: &Value, clock: &ManualClock, keeping: Keeping) -> Result<Self, Unbuilt> {
        let budget = Budget::read(agent)?;
        let of_clock = clock.clone();
        let (engine, home) =
            Home::engine(keeping, budget.policy()?, move |engine| engine.clock(Clock::manual(&of_clock)))?;
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let tokens = engine.resource("tokens").map_err(|error| text(&error))?;
        let subject = Subject::new("agent", id).map_err(|_| Unbuilt::Wrong("invalid_key"))?;
        let scope = engine.scope([&subject]).map_err(|error| text(&error))?;
        Ok(Self { clock: clock.clone(), engine, home, tokens, subject, scope, budget: Mutex::new(budget) })
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.home.reopen(&mut self.engine)?;
        self.tokens = self.engine.resource("tokens").map_err(|error| error.to_string())?;
        self.scope = self.engine.scope([&self.subject]).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn ask(
        &self,
        step: &Value,
        ask: impl FnOnce(&Scope, encumber::Cost) -> Result<encumber::Admission, ChargeError>,
    ) -> Result<Value, String> {
        let Some(tokens) = args::amount(step, "tokens")?.whole() else { return Ok(refused_for("invalid_amount")) };
        let mut usage = Usage::new().with(TokenClass::Input, tokens);
        if let Some(op) = step["op"].as_str() {
            usage = usage.operation(op);
        }
        let cost = match self.engine.cost(&usage) {
            Ok(cost) => cost,
            Err(CostError::UnknownOperation(_)) => return Ok(refused_for("unknown_operation")),
            Err(error) => return Err(error.to_string()),
        };
        let requested = cost.amount(self.tokens);
        let scope = self.scope.clone();
        match ask(&scope, cost) {
            Ok(admission) => {
                let mut result = self.status()?;
                result["ok"] = json!(true);
                result["requested"] = json!(requested);
                result["over_budget"] = json!(admission.is_over());
                Ok(result)
            }
            Err(ChargeError::Refused(refusal)) => {
                let violation = refusal.primary();
                Ok(json!({
                    "ok": false,
                    "error": "budget_exceeded",
                    "over_budget": false,
                    "requested": violation.requested,
                    "remaining": violation.remaining,
                    "used": violation.used,
                    "total": violation.max,
                    "resets_in_s": violation.resets_at.map(|then| self.seconds_until(then)),
                }))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn status(&self) -> Result<Value, String> {
        let usage = self.scope.clone().usage().map_err(|error| error.to_string())?;
        let budget = usage.first().ok_or("the agent has no budget")?;
        Ok(json!({
            "used": budget.charged(),
            "total": budget.cap.max(),
            "remaining": budget.remaining().max(),
            "warning": budget.status != Status::Ok,
            "usage_fraction": budget.percent().map(|percent| f64::from(percent.tenths()) / 1_000.0),
            "resets_in_s": budget.resets_at().map(|then| self.seconds_until(then)),
        }))
    }

    /// Whole seconds until an instant, rounded up: 0 only when it has come.
    fn seconds_until(&self, then: encumber::Timestamp) -> u64 {
        let wait = then.saturating_since(self.clock.now());
        wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
    }

    /// Puts a changed budget in force.
    fn change(&self, change: impl FnOnce(&mut Budget) -> Option<()>) -> Result<Value, String> {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = budget.clone();
        if change(&mut changed).is_none() {
            return Ok(refused_for("invalid_amount"));
        }
        match changed.policy() {
            Ok(policy) => self.engine.set_policy(policy),
            Err(Unbuilt::Wrong(error)) => return Ok(refused_for(error)),
            Err(Unbuilt::Unread(fault)) => return Err(fault),
        }
        *budget = changed;
        Ok(json!({ "ok": true }))
    }
}

impl Budget {
    fn read(agent: &Value) -> Result<Self, Unbuilt> {
        let known =
            ["total", "period_s", "created_at", "hard", "costs", "strict", "warn_at", "warn_pct", "warning_threshold"];
        args::known_fields(agent, &known)?;
        let wrong = Unbuilt::Wrong("invalid_config");
        let (Some(total), Some(period_s)) = (Amount::of(&agent["total"]).whole(), agent["period_s"].as_u64()) else {
            return Err(wrong);
        };
        let Ok(window) = Window::every_from(period_s, args::instant(agent, "created_at")?) else { return Err(wrong) };
        Ok(Self {
            total,
            window,
            enforcement: if agent["hard"] == false { Enforcement::Soft } else { Enforcement::Hard },
            warning: Warning::read(agent, total).ok_or(wrong)?,
            rates: rates(agent).ok_or(Unbuilt::Wrong("invalid_config"))?,
            resets: 0,
        })
    }

    fn policy(&self) -> Result<Policy, Unbuilt> {
        let id = format!("budget-{}", self.resets);
        let limit = Limit::new(&id, "agent", "tokens", self.window, Cap::Max(self.total)).enforcement(self.enforcement);
        let limit = match self.warning {
            Warning::Percent(percent) => limit.warn_percent([percent]),
            Warning::At(amount) => limit.warn_at(amount),
        };
        let policy = Policy::builder().resource("tokens", Unit::Count).rates(self.rates.clone()).limit(limit);
        policy.build().map_err(|_| Unbuilt::Wrong("invalid_config"))
    }
}

impl Warning {
    /// A percentage, an amount, or a fraction of the total; `None` when what is given is none of these.
    fn read(agent: &Value, total: u64) -> Option<Self> {
        if !agent["warn_at"].is_null() {
            return Amount::of(&agent["warn_at"]).whole().map(Self::At);
        }
        if !agent["warn_pct"].is_null() {
            let percent = Amount::of(&agent["warn_pct"]).whole().and_then(|percent| u8::try_from(percent).ok())?;
            return Some(if percent == 0 { Self::At(0) } else { Self::Percent(percent) });
        }
        if agent["warning_threshold"].is_null() {
            return Some(Self::Percent(WARN_PERCENT));
        }
        // In this dialect a fraction is clamped to what it may be.
        match agent["warning_threshold"].as_f64() {
            Some(fraction) if fraction < 0.0 => return Some(Self::At(0)),
            Some(fraction) if fraction > 1.0 => return Some(Self::Percent(100)),
            _ => {}
        }
        let fraction = args::ratio(&agent["warning_threshold"])?;
        let percent = (1..=100_u8).find(|percent| Ratio::new(u64::from(*percent), 100) == Some(fraction));
        // Of a fraction that is no whole percentage, the first amount at or above it.
        let at = Cap::Max(total).scaled(&fraction)?.max()?;
        Some(percent.map_or(Self::At(if fraction.is_zero() { 0 } else { at.saturating_add(1) }), Self::Percent))
    }
}

/// The built-in table, or the agent's own instead; what is not in it costs 1 unless the setup is strict.
fn rates(agent: &Value) -> Option<Rates> {
    let unknown = if agent["strict"] == true { Unknown::Refuse } else { Unknown::Given(Ratio::ONE) };
    let rates = Rates::new(unknown, Unknown::Refuse);
    match &agent["costs"] {
        Value::Null => Some(rates.helios_operations()),
        Value::Object(costs) => {
            costs.iter().try_fold(rates, |rates, (op, cost)| Some(rates.operation(op, args::ratio(cost)?)))
        }
        _ => None,
    }
}

fn refused_for(error: &str) -> Value {
    json!({ "ok": false, "error": error })
}

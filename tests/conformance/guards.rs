//! Guards around billable calls: hold, work, settle; whatever ends the work without a cost gives the hold back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use encumber::{Cap, ChargeError, Engine, Limit, ManualClock, Policy, Resource, Scope, Subjects, Unit, Window};
use serde_json::{Value, json};

use crate::args::{self, Amount};

/// How the work of a call ends.
enum Work {
    /// It cost this.
    Costs(u64),
    Fails,
    Panics,
    /// It is dropped before it ends.
    IsCancelled,
}

/// What the budgets show of a call, as far as steps are told.
#[derive(Default)]
struct Seen {
    reserved: Vec<u64>,
    finalized: Vec<u64>,
    released: Vec<u64>,
    error: Option<&'static str>,
}

/// The caller's credit and, besides, a budget without a max that counts what every call cost.
struct Ledger {
    /// The caller's: charged to both.
    scope: Scope,
    /// Charged to the second alone: a free call takes no credit.
    free: Scope,
    units: Resource,
}

/// Runs work behind a guard: what is held, settled and given back is read off the engine's budgets.
pub(crate) fn billable_call(step: &Value) -> Result<Value, String> {
    let ledger = match Ledger::new(&step["account"])? {
        Ok(ledger) => ledger,
        Err(error) => return Ok(json!({ "error": error })),
    };
    // On the free tier nothing is held, whatever a call would hold elsewhere; elsewhere no hold named is a hold of 0.
    let hold = match (step["tier"] == "free", &step["hold"]) {
        (true, _) => None,
        (false, Value::Null) => Some(0),
        (false, hold) => match Amount::of(hold).whole() {
            Some(hold) => Some(hold),
            None => return Ok(json!({ "error": "invalid_amount" })),
        },
    };
    let recorded_before = ledger.used("ledger")?;
    let seen = match hold {
        Some(hold) => ledger.held_call(hold, &step["outcome"])?,
        None => ledger.free_call(&step["outcome"])?,
    };
    let recorded = ledger.used("ledger")? - recorded_before;
    let recorded: Vec<u64> = if seen.error.is_none() { vec![recorded] } else { vec![] };
    let Seen { reserved, finalized, released, error } = seen;
    Ok(json!({
        "ok": error.is_none(),
        "reserved": reserved,
        "finalized": finalized,
        "released": released,
        "recorded": recorded,
        "used": ledger.used("credit")?,
        "held": ledger.held()?,
        "error": error,
    }))
}

impl Work {
    fn read(outcome: &Value) -> Result<Self, String> {
        let cost = &outcome["cost"];
        match (outcome.as_str(), Amount::of(cost)) {
            (None, Amount::Whole(cost)) => Ok(Self::Costs(cost)),
            (Some("error" | "exception" | "fail" | "failed" | "raise" | "raises"), _) => Ok(Self::Fails),
            (Some("panic" | "panics"), _) => Ok(Self::Panics),
            (Some("abort" | "aborted" | "cancel" | "canceled" | "cancelled" | "drop" | "dropped" | "timeout"), _) => {
                Ok(Self::IsCancelled)
            }
            _ => Err(format!("the runner knows no outcome {outcome}")),
        }
    }

    /// Does the work while `guard` is held. Its cost; or what kept it from ending, with the guard dropped.
    fn run<G>(&self, guard: G) -> Result<(u64, G), &'static str> {
        let run = AssertUnwindSafe(|| match self {
            Self::Costs(cost) => Ok((*cost, guard)),
            Self::Fails => Err("work_failed"),
            // Without the hook: a panic that is meant is not worth a trace.
            Self::Panics => resume_unwind(Box::new("work panicked")),
            Self::IsCancelled => Err("cancelled"),
        });
        catch_unwind(run).unwrap_or(Err("work_panicked"))
    }
}

impl Ledger {
    fn new(account: &Value) -> Result<Result<Self, &'static str>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        args::known_fields(account, &["limit", "used"])?;
        let cap = if account["limit"].is_null() { Some(Cap::Unlimited) } else { args::cap(&account["limit"], false) };
        let Some(cap) = cap else { return Ok(Err("invalid_config")) };
        let policy = Policy::builder()
            .resource("units", Unit::Count)
            .limit(Limit::new("credit", "user", "units", Window::Lifetime, cap))
            .limit(Limit::new("ledger", "global", "units", Window::Lifetime, Cap::Unlimited));
        let policy = policy.build().map_err(|error| text(&error))?;
        let engine = Engine::builder(policy).clock(&ManualClock::at(encumber::Timestamp::from_seconds(0))).build();
        let units = engine.resource("units").map_err(|error| text(&error))?;
        let scope = engine.scope(["user:caller"]).map_err(|error| text(&error))?;
        if let Some(used) = Amount::of(&account["used"]).whole() {
            scope.record(units.of(used)).map_err(|error| text(&error))?;
        }
        let free = engine.scope_of(Subjects::new()).map_err(|error| text(&error))?;
        Ok(Ok(Self { scope, free, units }))
    }

    /// Holds, works and commits; the guard is a reservation, so that it is given back however the work ends.
    /// Work that is refused is not looked at.
    fn held_call(&self, amount: u64, outcome: &Value) -> Result<Seen, String> {
        let mut seen = Seen::default();
        let guard = match self.scope.reserve(self.units.of(amount)) {
            Ok(guard) => guard,
            Err(ChargeError::Refused(_)) => return Ok(Seen { error: Some("quota_exceeded"), ..seen }),
            Err(error) => return Err(error.to_string()),
        };
        let held = self.held()?;
        seen.reserved.push(held);
        match Work::read(outcome)?.run(guard) {
            Ok((cost, guard)) => {
                let receipt = guard.commit(self.units.of(cost)).map_err(|error| error.to_string())?;
                seen.finalized.extend(receipt.charged().amount(self.units));
            }
            Err(error) => {
                seen.released.push(held - self.held()?);
                seen.error = Some(error);
            }
        }
        Ok(seen)
    }

    /// Works first; nothing was held, and what it cost is recorded all the same.
    fn free_call(&self, outcome: &Value) -> Result<Seen, String> {
        match Work::read(outcome)?.run(()) {
            Ok((cost, ())) => {
                self.free.record(self.units.of(cost)).map_err(|error| error.to_string())?;
                Ok(Seen::default())
            }
            Err(error) => Ok(Seen { error: Some(error), ..Seen::default() }),
        }
    }

    fn used(&self, limit: &str) -> Result<u64, String> {
        self.usage(limit).map(|budget| budget.used)
    }

    fn held(&self) -> Result<u64, String> {
        self.usage("credit").map(|budget| budget.held)
    }

    fn usage(&self, limit: &str) -> Result<encumber::BudgetUsage, String> {
        let usage = self.scope.usage().map_err(|error| error.to_string())?;
        usage.into_iter().find(|budget| *budget.limit == *limit).ok_or_else(|| format!("there is no budget {limit:?}"))
    }
}

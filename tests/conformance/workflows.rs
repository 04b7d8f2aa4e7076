//! Workflows: a quota of places per period, and steps.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use encumber::{
    Cap, ChargeError, Clock, Engine, Limit, Policy, Progress, Scope, StepError, Unit, Window, Workflow, WorkflowError,
    WorkflowSpec,
};
use serde_json::{Value, json};

use crate::accounts::Unbuilt;
use crate::args::{self, Amount};
use crate::home::{self, Home, Keeping};
use crate::{costs, windows};

/// The workflows of a case, with handles on all that were begun.
pub(crate) struct Workflows {
    engine: Engine,
    home: Home,
    scope: Scope,
    max_steps: Cap,
    begun: Mutex<HashMap<String, Workflow>>,
}

impl Workflows {
    /// `None` in a case that sets up no workflows.
    pub(crate) fn new(setup: &Value, clock: Clock, keeping: Keeping) -> Result<Option<Self>, Unbuilt> {
        let workflow = &setup["workflow"];
        if workflow.is_null() {
            return Ok(None);
        }
        args::known_fields(workflow, &["max_workflows", "max_steps", "period_s", "created_at"])?;
        let wrong = || Unbuilt::Wrong("invalid_config");
        let cap = |field: &str| match &workflow[field] {
            Value::Null => Ok(Cap::Unlimited),
            value => args::cap(value, false).ok_or_else(wrong),
        };
        let window = match (&workflow["period_s"], &workflow["created_at"]) {
            (Value::Null, _) => Ok(Window::Lifetime),
            (period, created_at) => {
                let period = Amount::of(period).whole().ok_or_else(wrong)?;
                match created_at {
                    Value::Null => Window::every(period),
                    _ => Window::every_from(period, args::instant(workflow, "created_at")?),
                }
            }
        };
        let limit = Limit::new("quota", "agent", "workflows", window.map_err(|_| wrong())?, cap("max_workflows")?);
        let policy = Policy::builder().resource("workflows", Unit::Count).limit(limit).build().map_err(|_| wrong())?;
        let (engine, home) = Home::engine(keeping, policy, move |engine| engine.clock(clock.clone()))?;
        let scope = engine.scope(["agent:starter"]).map_err(|error| error.to_string())?;
        Ok(Some(Self { engine, home, scope, max_steps: cap("max_steps")?, begun: Mutex::default() }))
    }

    /// Active workflows are found by their ids. A handle on one that has ended is all there is of it.
    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        self.home.reopen(&mut self.engine)?;
        self.scope = self.engine.scope(["agent:starter"]).map_err(|error| error.to_string())?;
        let begun = std::mem::take(&mut *self.begun());
        for (id, workflow) in begun {
            let workflow = match home::resume_workflow(&self.engine, &id) {
                Some(resumed) => resumed,
                None if workflow.has_ended() => workflow,
                None => return Err(format!("the workflow {id} is not there any more")),
            };
            self.begun().insert(id, workflow);
        }
        Ok(())
    }

    pub(crate) fn begin(&self, step: &Value) -> Result<Value, String> {
        let id = args::text(step, "id")?;
        let spec = self.max_steps.max().map_or(WorkflowSpec::new(), |max| WorkflowSpec::new().steps(max));
        match self.scope.begin_workflow(id, spec) {
            Ok(workflow) => {
                let mut result = json!({ "ok": true });
                add_progress(&mut result, workflow.steps());
                self.begun().insert(id.to_owned(), workflow);
                Ok(result)
            }
            Err(WorkflowError::Active { .. }) => Ok(json!({ "ok": false, "error": "duplicate_workflow" })),
            Err(WorkflowError::Charge(ChargeError::Refused(refusal))) => {
                let violation = refusal.primary();
                Ok(json!({
                    "ok": false,
                    "error": "workflow_limit",
                    "current": violation.used + violation.held,
                    "limit": violation.max,
                    "remaining": violation.remaining,
                    "resets_at": violation.resets_at.map(windows::shown),
                }))
            }
            Err(WorkflowError::Id(_)) => Ok(json!({ "ok": false, "error": "invalid_id" })),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn step(&self, step: &Value) -> Result<Value, String> {
        let Some(workflow) = self.handle(args::text(step, "id")?) else {
            return Ok(json!({ "ok": false, "error": "unknown_workflow" }));
        };
        let mut result = match workflow.step() {
            Ok(progress) => {
                let mut result = json!({ "ok": true });
                add_progress(&mut result, progress);
                return Ok(result);
            }
            Err(StepError::Limit { .. }) => json!({ "ok": false, "error": "step_limit" }),
            Err(StepError::Ended(_)) => json!({ "ok": false, "error": "workflow_ended" }),
            Err(error) => return Err(error.to_string()),
        };
        add_progress(&mut result, workflow.steps());
        result["can_continue"] = json!(workflow.can_continue());
        Ok(result)
    }

    pub(crate) fn end(&self, step: &Value) -> Result<Value, String> {
        let workflow = self.handle(args::text(step, "id")?);
        Ok(json!({ "ended": workflow.is_some_and(|workflow| workflow.end()) }))
    }

    /// The quota; and the steps of the workflow that the step names, if it names one.
    pub(crate) fn status(&self, step: &Value) -> Result<Value, String> {
        let usage = self.scope.usage().map_err(|error| error.to_string())?;
        let quota = usage.first().ok_or("there is no quota")?;
        let mut status = json!({
            "remaining": costs::shown(quota.remaining()),
            "limit": costs::shown(quota.cap),
            "active": self.engine.active_workflows(),
            "period_count": quota.charged(),
            "resets_at": quota.resets_at().map(windows::shown),
        });
        if let Some(workflow) = step["id"].as_str().and_then(|id| self.handle(id)) {
            add_progress(&mut status, workflow.steps());
            status["can_continue"] = json!(workflow.can_continue());
        }
        Ok(status)
    }

    /// Another handle on the workflow that was begun last under an id.
    fn handle(&self, id: &str) -> Option<Workflow> {
        self.begun().get(id).cloned()
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<String, Workflow>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add_progress(result: &mut Value, steps: Progress) {
    result["steps_executed"] = json!(steps.taken());
    result["max_steps"] = costs::shown(steps.limit());
    result["remaining_steps"] = costs::shown(steps.remaining());
    result["can_continue"] = json!(steps.can_continue());
}

//! Workflows: a run of steps and tool calls with limits of its own, which all its handles share, and an end.
//!
//! What a workflow counts stands in budgets of its own, carried by its scopes beside those of its starter: a step is one charge of both, all
//! or none. Its [gate](crate::scope::Gate) closes with its end. While it is active, the engine keeps it under its id, as it keeps holds.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::amount::{Cap, Cost, Resource, Unit};
use crate::engine::{Core, InForce};
use crate::holds::{HoldId, Keep, NotClaimed};
use crate::report::{Admission, BudgetUsage};
use crate::scope::{Carried, ChargeError, Gate, Owned, Owner, Scope, Standing};
use crate::subject::Subject;
use crate::sync::{Ordering, yield_now};
use crate::time::Timestamp;
use crate::window::Window;

mod error;
mod spec;
#[cfg(feature = "persist")]
mod written;

pub use error::{Counted, StepError, WorkflowError};
pub use spec::WorkflowSpec;
use spec::{Place, Tool};
#[cfg(feature = "persist")]
pub use written::UnknownWorkflow;
#[cfg(feature = "persist")]
pub(crate) use written::{Again, WorkflowImage, begin_again, image_of};

/// The kind of the subject that a workflow's own budgets have in reports.
pub(crate) const KIND: &str = "workflow";
/// The resource of which a beginning workflow takes one, if the policy declares it.
const PLACES: &str = "workflows";
/// The resource of which each step takes one, if the policy declares it.
const STEPS: &str = "steps";
/// The limit of its own that counts steps.
pub(crate) const STEPS_LIMIT: &str = "workflow.steps";
/// The resource of which each tool call takes one, if the policy declares it; and so with `.` and the tool's name behind it.
const TOOL_CALLS: &str = "tool_calls";

/// A run of steps under limits of its own, from [`Scope::begin_workflow`].
///
/// Clones are the same workflow: they share its limits and its end. It ends with [`end`](Self::end), when its last handle is dropped, or when
/// its time-to-live runs out. From then on it admits no step, no tool call, and nothing in its [scope](Self::scope); what was reserved
/// before settles as ever.
///
/// | | charged, all or none |
/// |---|---|
/// | [`step`](Self::step) | its step limit; one of `steps` in its scope's budgets, if the policy declares that resource |
/// | [`tool_call`](Self::tool_call) | the tool's limit; one of `tool_calls`, and one of `tool_calls.NAME`, where the policy declares them |
/// | a call in its [`scope`](Self::scope) | its own budgets, and all those of its starter |
///
/// # Concurrency
/// A limit of n steps admits exactly n, however many threads and clones step. A step that races with the end either counts, before
/// [`end`](Self::end) returns, or is refused.
#[derive(Clone)]
pub struct Workflow {
    handle: Arc<Handle>,
}

/// What the clones of a workflow share; the last one ends it.
struct Handle {
    state: Arc<State>,
    /// The starter's scope with the workflow's budgets.
    scope: Scope,
    /// The same, with what counts steps and tool calls.
    counting: Scope,
    steps: Carried,
    tools: Vec<(Tool, Carried)>,
    budgets: Vec<Carried>,
}

/// What the engine keeps of an active workflow.
struct State {
    core: Arc<Core>,
    subject: Subject,
    gate: Gate,
    id: HoldId,
    /// Set once it is active: one that was refused its place never was.
    begun: OnceLock<()>,
    #[cfg(feature = "persist")]
    origin: written::Origin,
}

impl Scope {
    /// Begins a workflow that is charged to this scope.
    ///
    /// It takes a place in its starter's workflow quota: one of the resource `workflows`, if the policy declares it, in every budget of the
    /// scope. Places come back with their window, not with the workflow's end. See [`WorkflowSpec`] for its limits.
    ///
    /// Ids are the engine's, whatever the scope: an id names one active workflow. An id whose workflow has ended may be used again, and takes
    /// a new place.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window, WorkflowError, WorkflowSpec};
    /// let policy = Policy::builder()
    ///     .resource("workflows", Unit::Count)
    ///     .limit(Limit::new("runs", "agent", "workflows", Window::Hour, Cap::Max(2)))
    ///     .build()?;
    /// let engine = Engine::new(policy);
    /// let scope = engine.scope(["agent:planner"])?;
    ///
    /// let workflow = scope.begin_workflow("wf-1", WorkflowSpec::new().steps(2).tool("search", 5))?;
    /// assert!(matches!(scope.begin_workflow("wf-1", WorkflowSpec::new()), Err(WorkflowError::Active { .. })));
    /// assert!(workflow.step()?.can_continue());
    /// assert!(!workflow.step()?.can_continue());
    /// assert_eq!(workflow.step().unwrap_err().to_string(), "2 of 2 steps of the workflow have been taken");
    /// assert_eq!(workflow.tool_call("search")?.remaining(), Cap::Max(4));
    /// assert_eq!(engine.active_workflows(), 1);
    /// workflow.end();
    /// assert_eq!((engine.active_workflows(), scope.usage()?[0].used), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WorkflowError::Active`] when the id is active; [`WorkflowError::Charge`] when the quota has no place, with the refusal, or
    /// when something is wrong with the scope or the resources; [`WorkflowError::Id`] when the text cannot be an id;
    /// [`WorkflowError::Cap`] when a budget is larger than it can be. No place is taken then.
    #[allow(clippy::needless_pass_by_value, reason = "a spec is made for the call")]
    pub fn begin_workflow(&self, id: &str, spec: WorkflowSpec) -> Result<Workflow, WorkflowError> {
        let subject = Subject::new(KIND, id).map_err(WorkflowError::Id)?;
        let core = self.core();
        let now = core.now_precise();
        core.collect_overdue(now);
        let hold_id = HoldId::of_workflow(id);
        let begun = OnceLock::new();
        let state = State {
            core: Arc::clone(core),
            subject: subject.clone(),
            gate: Gate::new(),
            id: hold_id.clone(),
            begun,
            #[cfg(feature = "persist")]
            origin: written::Origin::new(core, &spec, &self.members().subjects),
        };
        let state = Arc::new(state);
        let handle = Handle::new(self, &spec, Arc::clone(&state))?;
        let claim = || loop {
            match core.timed.claim(&hold_id) {
                Ok(claim) => return Ok(claim),
                Err(NotClaimed::Full(full)) => return Err(ChargeError::from(full).into()),
                // Its end is between two steps: the id is free in a moment.
                Err(NotClaimed::Taken(owner)) if owner.gate().standing().has_ended() => yield_now(),
                Err(NotClaimed::Taken(_)) => return Err(WorkflowError::Active { workflow: subject.clone() }),
            }
        };
        let place = |in_force: &InForce| match spec.place {
            Place::Declared => in_force.resource(PLACES).map_or_else(Cost::nothing, |places| places.of(1)),
            Place::Of(resource) => resource.of(1),
            Place::None => Cost::nothing(),
        };
        let (_, claim) = self.try_charge_of(place, now, claim)?;
        let _ = state.begun.set(());
        core.active_workflows.fetch_add(1, Ordering::AcqRel);
        let due = spec.ttl.map_or(Timestamp::MAX, |ttl| now.saturating_add(ttl));
        claim.keep(Arc::<State>::clone(&state), due, Keep::Forget);
        let handle = Arc::new(handle);
        #[cfg(feature = "persist")]
        {
            *state.origin.handle.lock() = written::Found::Made(Arc::downgrade(&handle));
            // Not begun where it cannot be written down: its handle goes, and ends it.
            state.write_down(now)?;
        }
        Ok(Workflow { handle })
    }
}

impl Workflow {
    /// Its id.
    pub fn id(&self) -> &str {
        self.handle.state.subject.id()
    }

    /// The scope that its calls are charged to: its starter's, and its own budgets. It refuses after the end, and does not keep the workflow
    /// from ending.
    ///
    /// ```
    /// # use encumber::{Cap, ChargeError, Engine, Limit, Policy, Unit, Window, WorkflowSpec};
    /// # let policy = Policy::builder().resource("usd", Unit::Usd)
    /// #     .limit(Limit::new("day", "agent", "usd", Window::Day, Cap::Max(25_000_000_000))).build()?;
    /// # let engine = Engine::new(policy);
    /// let usd = engine.resource("usd")?;
    /// let spec = WorkflowSpec::new().budget(usd, 2_000_000_000); // at most $2
    /// let workflow = engine.scope(["agent:planner"])?.begin_workflow("wf-1", spec)?;
    /// let hold = workflow.scope().reserve(usd.of(1_500_000_000))?;
    /// let refused = workflow.scope().reserve(usd.of(600_000_000)).unwrap_err().into_refusal().unwrap();
    /// assert_eq!(&*refused.primary().limit, "workflow.budget.usd");
    /// workflow.end();
    /// assert!(matches!(workflow.scope().try_charge(usd.of(1)), Err(ChargeError::Ended(_))));
    /// hold.commit(usd.of(1_200_000_000))?; // it was reserved before
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scope(&self) -> &Scope {
        &self.handle.scope
    }

    /// Takes a step.
    ///
    /// # Errors
    /// [`StepError::Limit`] when the step limit is reached; [`StepError::Ended`] after the end; [`StepError::Charge`] when another budget
    /// has no room. Nothing is counted then.
    pub fn step(&self) -> Result<Progress, StepError> {
        let handle = &*self.handle;
        let cost = |in_force: &InForce| add_declared(handle.steps.resource.of(1), in_force, STEPS);
        handle.count(&handle.steps, &Counted::Steps, cost)
    }

    /// Calls a tool. It is no step: take one as well where it shall count as one.
    ///
    /// # Errors
    /// As [`step`](Self::step), with the tool's limit; [`StepError::UnknownTool`] when the spec names no such tool and has no
    /// [`other_tools`](WorkflowSpec::other_tools).
    pub fn tool_call(&self, tool: &str) -> Result<Progress, StepError> {
        let handle = &*self.handle;
        let (named, carried) = handle.tool(tool)?;
        let cost = |in_force: &InForce| {
            let cost = add_declared(carried.resource.of(1), in_force, TOOL_CALLS);
            add_declared(cost, in_force, &format!("{TOOL_CALLS}.{tool}"))
        };
        let counted = match named {
            Tool::Named(name, _) => Counted::Tool(name.clone()),
            Tool::Others(_) => Counted::OtherTools,
        };
        handle.count(carried, &counted, cost)
    }

    /// How many steps have been taken, of how many.
    pub fn steps(&self) -> Progress {
        Progress::of(&self.handle.steps, Admission::default())
    }

    /// How often the tool has been called, of how many times; `None` when the spec does not admit it. All those of
    /// [`other_tools`](WorkflowSpec::other_tools) count together.
    pub fn tool_calls(&self, tool: &str) -> Option<Progress> {
        self.handle.tool(tool).ok().map(|(_, carried)| Progress::of(carried, Admission::default()))
    }

    /// Whether it is active and its step limit admits another step. Budgets of others may refuse it all the same.
    pub fn can_continue(&self) -> bool {
        !self.has_ended() && self.steps().can_continue()
    }

    /// The workflow's own budgets as of one instant: steps, tools, then the others in the order of the spec.
    pub fn usage(&self) -> Vec<BudgetUsage> {
        let Handle { state, steps, tools, budgets, .. } = &*self.handle;
        let tools = tools.iter().map(|(_, carried)| carried);
        Carried::usage(&state.core, std::iter::once(steps).chain(tools).chain(budgets))
    }

    /// Ends it: when this returns, nothing is admitted in it any more. False when it had ended before.
    #[allow(clippy::must_use_candidate, reason = "a second end is of no consequence")]
    pub fn end(&self) -> bool {
        let state = &*self.handle.state;
        let ended = state.close(state.core.now());
        state.gate.wait();
        ended
    }

    /// Whether it has ended, by whatever.
    pub fn has_ended(&self) -> bool {
        let State { core, gate, .. } = &*self.handle.state;
        core.collect_overdue(core.now_precise());
        gate.standing().has_ended()
    }

    /// From now on it lasts `ttl`; nothing else prolongs it. False when it has ended.
    #[must_use = "a workflow that has ended admits nothing"]
    pub fn renew(&self, ttl: Duration) -> bool {
        let state = &*self.handle.state;
        let now = state.core.now_precise();
        let has_ended = state.gate.standing().has_ended();
        let is_renewed = !has_ended && state.core.timed.renew(&state.id, state, now, now.saturating_add(ttl)).is_some();
        #[cfg(feature = "persist")]
        if is_renewed {
            let _degraded = state.write_down(now);
        }
        is_renewed
    }

    /// When its time runs out; `None` when it has none, or has ended.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let state = &*self.handle.state;
        let due = state.core.timed.expires_at(&state.id, state).filter(|due| *due != Timestamp::MAX)?;
        // Whoever ends it closes the gate first and has it forgotten afterwards.
        (!state.gate.standing().has_ended()).then_some(due)
    }
}

impl Handle {
    fn new(starter: &Scope, spec: &WorkflowSpec, state: Arc<State>) -> Result<Self, WorkflowError> {
        let core = Arc::clone(starter.core());
        let carried = |carried: Carried| -> Carried {
            #[cfg(feature = "persist")]
            let carried = state.carried(carried);
            carried
        };
        let Own { steps, tools, budgets } = Own::new(&core, &state.subject, spec, carried)?;
        let counters = || std::iter::once(&steps).chain(tools.iter().map(|(_, carried)| carried));
        #[cfg(feature = "persist")]
        let _known = state.origin.carried.set(counters().chain(&budgets).cloned().collect());
        let mut members = starter.members().clone();
        members.owners.push(Owned { owner: Arc::<State>::clone(&state), only: None, of: Vec::new() });
        members.carried.extend(budgets.iter().cloned());
        let mut counting = members.clone();
        counting.carried.extend(counters().cloned());
        let scope = Scope::resolve(Arc::clone(&core), members).map_err(ChargeError::from)?;
        let counting = Scope::resolve(core, counting).map_err(ChargeError::from)?;
        Ok(Self { state, scope, counting, steps, tools, budgets })
    }

    fn tool(&self, tool: &str) -> Result<&(Tool, Carried), StepError> {
        let named = |(named, _): &&(Tool, Carried)| matches!(named, Tool::Named(name, _) if **name == *tool);
        let others = |(other, _): &&(Tool, Carried)| matches!(other, Tool::Others(_));
        self.tools.iter().find(named).or_else(|| self.tools.iter().find(others)).ok_or_else(|| StepError::UnknownTool {
            tool: tool.into(),
            known: self.tools.iter().filter_map(|(tool, _)| tool.name()).map(Into::into).collect(),
        })
    }

    fn count(
        &self,
        own: &Carried,
        counted: &Counted,
        cost: impl FnOnce(&InForce) -> Cost,
    ) -> Result<Progress, StepError> {
        match self.counting.try_charge_of(cost, self.state.core.now(), || Ok::<_, ChargeError>(())) {
            Ok((admission, ())) => Ok(Progress::of(own, admission)),
            Err(ChargeError::Ended(ended)) => Err(StepError::Ended(ended)),
            Err(ChargeError::Refused(refusal)) => {
                let mine = refusal.violations().find(|violation| Arc::ptr_eq(&violation.limit, &own.label.limit));
                Err(match mine {
                    Some(mine) => StepError::Limit { of: counted.clone(), current: mine.used, limit: mine.max },
                    None => StepError::Charge(ChargeError::Refused(refusal)),
                })
            }
            Err(error) => Err(StepError::Charge(error)),
        }
    }
}

/// A workflow's own budgets.
struct Own {
    steps: Carried,
    tools: Vec<(Tool, Carried)>,
    budgets: Vec<Carried>,
}

impl Own {
    /// As the spec says, each as `carried` makes it.
    fn new(
        core: &Core,
        subject: &Subject,
        spec: &WorkflowSpec,
        carried: impl Fn(Carried) -> Carried,
    ) -> Result<Self, WorkflowError> {
        let steps = (core.hidden_resource("workflow steps"), STEPS, Unit::Count);
        let steps = carried(Carried::new(STEPS_LIMIT, subject, steps, spec.steps));
        let tool = |(index, tool): (usize, &Tool)| {
            let resource = core.hidden_resource(&format!("workflow tool {index}"));
            let (limit, cap) = match tool {
                Tool::Named(name, cap) => (format!("workflow.tool.{name}"), *cap),
                Tool::Others(cap) => ("workflow.other_tools".to_owned(), *cap),
            };
            (tool.clone(), carried(Carried::new(&limit, subject, (resource, TOOL_CALLS, Unit::Count), cap)))
        };
        let tools: Vec<_> = spec.tools.iter().enumerate().map(tool).collect();
        let in_force = core.live.get();
        let budget = |&(resource, max): &(Resource, u64)| {
            let (name, unit) = in_force.name(resource).ok_or_else(|| ChargeError::unknown_resource(&in_force))?;
            let called = (resource, name, unit);
            let limit = format!("workflow.budget.{name}");
            Ok::<_, WorkflowError>(carried(Carried::new(&limit, subject, called, Cap::Max(max))))
        };
        let budgets = spec.budgets.iter().map(budget).collect::<Result<Vec<_>, _>>()?;
        let counters = std::iter::once(&steps).chain(tools.iter().map(|(_, carried)| carried));
        if counters.chain(&budgets).any(|carried| carried.cap.max() > Some(Window::Lifetime.cap_max())) {
            return Err(WorkflowError::Cap { max: Window::Lifetime.cap_max() });
        }
        Ok(Self { steps, tools, budgets })
    }
}

/// `cost` with one of the resource `name`, if the policy declares it.
fn add_declared(cost: Cost, in_force: &InForce, name: &str) -> Cost {
    match in_force.resource(name) {
        Some(resource) => cost.and(resource, 1),
        None => cost,
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.state.close(self.state.core.now());
    }
}

impl State {
    /// Closes the gate; says whether it was this call that did.
    fn close(&self, at: Timestamp) -> bool {
        let ended = self.gate.close().is_some();
        if ended && self.begun.get().is_some() {
            self.core.timed.settled(&self.id, self, at);
            self.core.active_workflows.fetch_sub(1, Ordering::AcqRel);
            #[cfg(feature = "persist")]
            self.write_ended(at);
        }
        ended
    }
}

impl Owner for State {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    fn changed(&self, _: Standing, _: Timestamp) {}

    fn end(&self, at: Timestamp) {
        self.close(at);
    }
}

/// How many steps were taken, or how often a tool was called, with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    taken: u64,
    limit: Cap,
    admission: Admission,
}

impl Progress {
    fn of(carried: &Carried, admission: Admission) -> Self {
        Self { taken: carried.charged(), limit: carried.cap, admission }
    }

    /// How many so far, this one included. Those of other threads that came meanwhile may be among them.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// How many there may be.
    pub fn limit(&self) -> Cap {
        self.limit
    }

    /// How many are left.
    pub fn remaining(&self) -> Cap {
        match self.limit {
            Cap::Max(max) => Cap::Max(max.saturating_sub(self.taken)),
            Cap::Unlimited => Cap::Unlimited,
        }
    }

    /// Whether the limit admits another one.
    pub fn can_continue(&self) -> bool {
        self.remaining() > Cap::Max(0)
    }

    /// What the admission reported of soft and shadow budgets.
    pub fn admission(&self) -> Admission {
        self.admission
    }
}

/// The id is hashed, as those of subjects are.
impl fmt::Debug for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { subject, gate, .. } = &*self.handle.state;
        f.debug_struct("Workflow")
            .field("id", subject)
            .field("steps", &self.steps().taken())
            .field("limit", &self.handle.steps.cap)
            .field("ended", &gate.standing().has_ended())
            .finish()
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

//! Workflows that are written down, and found again: by their id, in this process or the next.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::{Handle, KIND, Own, State, Tool, Workflow, WorkflowSpec};
use crate::amount::{Cap, Cost, Resource};
use crate::engine::{Core, Engine};
use crate::holds::{HoldId, Keep, KeptAs};
use crate::scope::{Carried, ChargeError, Gate, Members, Owned, Owner, Scope, Subjects};
use crate::subject::Subject;
use crate::sync::{Ordering, yield_now};
use crate::time::Timestamp;

/// What has to be known of a workflow to begin it again.
pub(super) struct Origin {
    /// The stamp of its beginning, which tells it from others of its id; 0 in memory.
    pub(super) began: u64,
    pub(super) spec: WorkflowSpec,
    pub(super) starter: Subjects,
    /// Its budgets: steps, tools, and the others, in the order of the spec.
    pub(super) carried: OnceLock<Vec<Carried>>,
    pub(super) handle: Mutex<Found>,
}

/// The handle that its clones share.
pub(super) enum Found {
    Made(Weak<Handle>),
    /// Somebody makes it.
    Making,
}

/// How a workflow stands, to be written down.
pub(crate) struct WorkflowImage {
    pub(crate) began: u64,
    pub(crate) id: Box<str>,
    pub(crate) due: Timestamp,
    pub(crate) ended: bool,
    pub(crate) starter: Subjects,
    pub(crate) steps: Cap,
    /// By name; the others' without one.
    pub(crate) tools: Vec<(Option<Box<str>>, Cap)>,
    pub(crate) budgets: Cost,
    pub(crate) carried: Vec<Carried>,
}

impl Origin {
    pub(super) fn new(core: &Core, spec: &WorkflowSpec, starter: &Subjects) -> Self {
        let began = core.store().map_or(0, crate::durable::Store::stamp);
        Self {
            began,
            spec: spec.clone(),
            starter: starter.clone(),
            carried: OnceLock::new(),
            handle: Mutex::new(Found::Made(Weak::new())),
        }
    }
}

impl State {
    /// How it stands. `None` once it is forgotten.
    fn image(&self) -> Option<WorkflowImage> {
        let KeptAs { due, .. } = self.core.timed.kept_as(&self.id, self)?;
        Some(self.image_due(due))
    }

    fn image_due(&self, due: Timestamp) -> WorkflowImage {
        let Origin { began, spec, starter, carried, .. } = &self.origin;
        let tool = |tool: &Tool| match tool {
            Tool::Named(name, cap) => (Some(name.clone()), *cap),
            Tool::Others(cap) => (None, *cap),
        };
        WorkflowImage {
            began: *began,
            id: self.subject.id().into(),
            due,
            ended: self.gate.standing().has_ended(),
            starter: starter.clone(),
            steps: spec.steps,
            tools: spec.tools.iter().map(tool).collect(),
            budgets: spec.budgets.iter().fold(Cost::nothing(), |all, &(resource, max)| all.and(resource, max)),
            carried: carried.get().cloned().unwrap_or_default(),
        }
    }

    /// A budget of its own as it is carried: the one that was read back, or this one, to be written down if anything is.
    pub(super) fn carried(&self, carried: Carried) -> Carried {
        let known = self.origin.carried.get().into_iter().flatten();
        match known.into_iter().find(|known| known.label.limit == carried.label.limit) {
            Some(known) => known.clone(),
            None => match self.core.store() {
                Some(store) => carried.written_under(self.origin.began, store.writes_changes()),
                None => carried,
            },
        }
    }

    /// Writes it down as it stands.
    pub(super) fn write_down(&self, at: Timestamp) -> Result<(), ChargeError> {
        self.core.write_workflow(at, || self.image())
    }

    /// Writes down that it has ended.
    pub(super) fn write_ended(&self, at: Timestamp) {
        // It has ended in any case.
        let _degraded = self.core.write_workflow(at, || Some(self.image_due(at)));
    }
}

/// How a workflow stands, if `owner` is one.
pub(crate) fn image_of(owner: &Arc<dyn Owner>) -> Option<WorkflowImage> {
    let any: &dyn std::any::Any = &**owner;
    any.downcast_ref::<State>().and_then(State::image)
}

/// A workflow that was read back.
pub(crate) struct Again {
    /// Steps, tools, and the others.
    pub(crate) carried: Vec<Carried>,
    /// Those of them that its scopes have.
    pub(crate) budgets: Vec<Carried>,
    /// Whom its scopes belong to.
    pub(crate) owned: Owned,
}

/// Keeps a workflow as an engine before had it. `carried` makes its budgets of new ones. `None` under a policy that does not know its resources.
pub(crate) fn begin_again(
    core: &Arc<Core>,
    image: WorkflowImage,
    carried: impl Fn(Carried) -> Carried,
) -> Option<Again> {
    let WorkflowImage { began, id, due, starter, steps, tools, budgets, .. } = image;
    let mut spec = WorkflowSpec::new();
    spec.steps = steps;
    for (name, cap) in tools {
        spec.tools.push(name.map_or(Tool::Others(cap), |name| Tool::Named(name, cap)));
    }
    spec.budgets = budgets.iter().collect::<Vec<(Resource, u64)>>();
    let subject = Subject::new(KIND, &id).ok()?;
    let Own { steps, tools, budgets } = Own::new(core, &subject, &spec, carried).ok()?;
    let counters = std::iter::once(steps).chain(tools.into_iter().map(|(_, carried)| carried));
    let carried: Vec<Carried> = counters.chain(budgets.iter().cloned()).collect();
    let id = HoldId::of_workflow(&id);
    let (handle, known) = (Mutex::new(Found::Made(Weak::new())), OnceLock::from(carried.clone()));
    let state = Arc::new(State {
        core: Arc::clone(core),
        subject,
        gate: Gate::new(),
        id: id.clone(),
        begun: OnceLock::from(()),
        origin: Origin { began, spec, starter, carried: known, handle },
    });
    core.active_workflows.fetch_add(1, Ordering::AcqRel);
    let owned = Owned { owner: Arc::<State>::clone(&state), only: None, of: Vec::new() };
    core.timed.keep_again(id, state, KeptAs { due, keep: Keep::Forget, open: true });
    Some(Again { carried, budgets, owned })
}

impl Engine {
    /// Another handle on the active workflow with this id: in a part of the program that has none, or after a restart.
    ///
    /// After a restart a workflow that was active is active again, with the steps and calls that it has taken, and waits for this. Its scope is that of
    /// its starter's subjects; what it was begun inside of, another workflow or an allowance, is not known any more.
    ///
    /// ```
    /// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window, WorkflowSpec};
    /// # let policy = Policy::builder().resource("usd", Unit::Usd)
    /// #     .limit(Limit::new("day", "agent", "usd", Window::Day, Cap::Max(25_000_000_000))).build()?;
    /// # let engine = Engine::new(policy);
    /// let workflow = engine.scope(["agent:planner"])?.begin_workflow("wf-1", WorkflowSpec::new().steps(2))?;
    /// workflow.step()?;
    /// let again = engine.resume_workflow("wf-1")?;
    /// assert_eq!(again.step()?.taken(), 2);
    /// assert!(engine.resume_workflow("wf-2").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When no workflow of that id is active.
    pub fn resume_workflow(&self, id: &str) -> Result<Workflow, UnknownWorkflow> {
        let core = self.core();
        core.collect_overdue(core.now_precise());
        let owner = core.timed.get(&HoldId::of_workflow(id)).ok_or(UnknownWorkflow)?;
        let any: Arc<dyn std::any::Any + Send + Sync> = owner;
        let state = any.downcast::<State>().map_err(|_| UnknownWorkflow)?;
        loop {
            let mut found = state.origin.handle.lock();
            if state.gate.standing().has_ended() {
                return Err(UnknownWorkflow);
            }
            match &*found {
                Found::Made(handle) => match handle.upgrade() {
                    Some(handle) => return Ok(Workflow { handle }),
                    None => *found = Found::Making,
                },
                Found::Making => {
                    drop(found);
                    yield_now();
                    continue;
                }
            }
            break;
        }
        // Made without the lock: it reads the clock.
        let starter = Scope::resolve(Arc::clone(core), Members::new(state.origin.starter.clone()));
        let made = starter.ok().and_then(|starter| Handle::new(&starter, &state.origin.spec, Arc::clone(&state)).ok());
        let made = made.map(Arc::new);
        *state.origin.handle.lock() = Found::Made(made.as_ref().map_or_else(Weak::new, Arc::downgrade));
        made.map(|handle| Workflow { handle }).ok_or(UnknownWorkflow)
    }
}

/// No workflow of that id is active, or the policy in force does not know its subjects any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWorkflow;

impl fmt::Display for UnknownWorkflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no workflow of that id is active")
    }
}

impl std::error::Error for UnknownWorkflow {}

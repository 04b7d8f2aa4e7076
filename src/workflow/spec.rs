//! What a workflow may do.

use std::time::Duration;

use crate::amount::{Cap, Resource};

/// The limits of a workflow, for [`Scope::begin_workflow`](crate::Scope::begin_workflow).
///
/// ```
/// # use encumber::{Cap, Engine, Limit, Policy, Unit, Window, WorkflowSpec};
/// # use std::time::Duration;
/// # let policy = Policy::builder().resource("usd", Unit::Usd)
/// #     .limit(Limit::new("day", "agent", "usd", Window::Day, Cap::Max(25_000_000_000))).build()?;
/// # let engine = Engine::new(policy);
/// # let usd = engine.resource("usd")?;
/// let spec = WorkflowSpec::new()
///     .steps(100)
///     .tool("search", 5)
///     .other_tools(Cap::Max(20))
///     .budget(usd, 2_000_000_000) // at most $2, and whatever its starter's budgets admit
///     .ttl(Duration::from_secs(3_600));
/// # let _ = engine.scope(["agent:a"])?.begin_workflow("wf", spec)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WorkflowSpec {
    pub(super) steps: Cap,
    pub(super) tools: Vec<Tool>,
    pub(super) budgets: Vec<(Resource, u64)>,
    pub(super) place: Place,
    pub(super) ttl: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(super) enum Tool {
    Named(Box<str>, Cap),
    /// All that are not named.
    Others(Cap),
}

impl Tool {
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name, _) => Some(name),
            Self::Others(_) => None,
        }
    }
}

/// Of what a workflow takes one when it begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// `workflows`, if the policy declares it.
    Declared,
    Of(Resource),
    None,
}

impl WorkflowSpec {
    /// No limits but those of the starter's budgets; no tools.
    pub fn new() -> Self {
        Self { steps: Cap::Unlimited, tools: Vec::new(), budgets: Vec::new(), place: Place::Declared, ttl: None }
    }

    /// At most `max` steps; 0 admits none. Without it they are counted and not limited.
    pub fn steps(mut self, max: u64) -> Self {
        self.steps = Cap::Max(max);
        self
    }

    /// Admits the tool `name`, at most `max` calls of it. Naming a tool again replaces its limit.
    pub fn tool(mut self, name: &str, max: u64) -> Self {
        self.tools.retain(|tool| tool.name() != Some(name));
        self.tools.push(Tool::Named(name.into(), Cap::Max(max)));
        self
    }

    /// Admits the tools that are not named, `cap` calls of all of them together. Without it they are errors: a typo is not a free pass.
    pub fn other_tools(mut self, cap: Cap) -> Self {
        self.tools.retain(|tool| tool.name().is_some());
        self.tools.push(Tool::Others(cap));
        self
    }

    /// At most `max` units of `resource` in the workflow's life, besides what its starter's budgets admit.
    pub fn budget(mut self, resource: Resource, max: u64) -> Self {
        self.budgets.push((resource, max));
        self
    }

    /// Takes its place in the quota of another resource than `workflows`.
    pub fn place(mut self, resource: Resource) -> Self {
        self.place = Place::Of(resource);
        self
    }

    /// Takes no place in any quota.
    pub fn no_place(mut self) -> Self {
        self.place = Place::None;
        self
    }

    /// Ends the workflow after `ttl` unless it is [renewed](crate::Workflow::renew): for handles that might be kept for ever by a task that
    /// hangs. Without it, it lasts until it is ended or its last handle is dropped.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl Default for WorkflowSpec {
    fn default() -> Self {
        Self::new()
    }
}

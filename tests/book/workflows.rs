// Made from docs/workflows.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Cap, ChargeError, Counted, Engine, Limit, ManualClock, Policy, StepError, Unit, Window, WorkflowError, WorkflowSpec};

let clock = ManualClock::at("2026-02-04T12:00:00Z".parse()?);
let policy = Policy::builder()
    .resource("usd", Unit::Usd)
    .resource("workflows", Unit::Count)
    .resource("steps", Unit::Count)
    .limit(Limit::new("agent-day", "agent", "usd", Window::Day, Cap::Max(25_000_000_000)))
    .limit(Limit::new("agent-runs", "agent", "workflows", Window::Hour, Cap::Max(10)))
    .limit(Limit::new("all-steps", "global", "steps", Window::Hour, Cap::Max(100_000)))
    .build()?;
let engine = Engine::builder(policy).clock(&clock).build();
let usd = engine.resource("usd")?;
let scope = engine.scope(["agent:planner"])?;

let spec = WorkflowSpec::new()
    .steps(2)
    .tool("search", 5)
    .budget(usd, 2_000_000_000); // at most $2
let workflow = scope.begin_workflow("wf-1", spec)?;

let again = scope.begin_workflow("wf-1", WorkflowSpec::new());
assert!(matches!(again, Err(WorkflowError::Active { .. })));
assert_eq!((engine.active_workflows(), scope.usage()?[1].used), (1, 1));

let step = workflow.step()?;
assert_eq!((step.taken(), step.remaining(), step.can_continue()), (1, Cap::Max(1), true));
assert!(!workflow.step()?.can_continue());
let error = workflow.step().unwrap_err();
assert_eq!(error, StepError::Limit { of: Counted::Steps, current: 2, limit: 2 });
workflow.tool_call("search")?;

let hold = workflow.scope().reserve(usd.of(1_500_000_000))?;
let refused = workflow.scope().reserve(usd.of(600_000_000)).unwrap_err().into_refusal().unwrap();
assert_eq!(&*refused.primary().limit, "workflow.budget.usd");
assert_eq!(refused.primary().subject.to_string(), "workflow:wf-1");

workflow.end();
assert!(matches!(workflow.step(), Err(StepError::Ended(_))));
assert!(matches!(workflow.scope().try_charge(usd.of(1)), Err(ChargeError::Ended(_))));
hold.commit(usd.of(1_200_000_000))?;
assert_eq!((engine.active_workflows(), scope.usage()?[0].used), (0, 1_200_000_000));

Ok(())
}

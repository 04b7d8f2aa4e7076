// Made from docs/guides/coming-from-heliosdb-proxy.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use std::fs;
use encumber::{Cap, CostError, Engine, ManualClock, Policy, Status, StepError, TokenClass, Usage, WorkflowError, WorkflowSpec};

let policy = Policy::from_toml(&fs::read_to_string("heliosdb-proxy.toml")?)?;
let clock = ManualClock::at("2026-04-03T10:15:00Z".parse()?); // without it: the system's
let engine = Engine::builder(policy).clock(&clock).build();
let tokens = engine.resource("tokens")?;
let cost = |operation: &str, count: u64| engine.cost(&Usage::new().operation(operation).with(TokenClass::Input, count));
let agent = engine.scope(["agent:a1"])?;

// Moving in: what the old counters said of the current day, once, before the first call.
agent.record(tokens.of(6_000))?;

// consume("vector_search", 250)
agent.try_charge(cost("vector_search", 250)?)?;
let day = &agent.usage()?[0];
assert_eq!((day.used, day.remaining(), day.status), (8_500, Cap::Max(1_500), Status::Warning));

// consume("embedding", 400): refused, and the model is told.
let refusal = agent.try_charge(cost("embedding", 400)?).unwrap_err().into_refusal().ok_or("not refused")?;
let told = refusal.to_json();
assert_eq!((&told["error"], &told["details"]["requested"]), (&"budget_exceeded".into(), &2_000.into()));
assert_eq!(told["suggestion"], "Ask for at most 1500 tokens, or wait 13h 45m.");
assert_eq!(agent.usage()?[0].used, 8_500); // as if it had not been asked

// An operation that the table does not know is a mistake, not one token.
assert!(matches!(cost("embeding", 400), Err(CostError::UnknownOperation(_))));

// A soft limit never refuses, and says that it is over. `check_cost` says the same.
let batch = engine.scope(["batch-agent:nightly"])?;
assert!(batch.check_cost(&cost("write", 6_000)?)?.is_over());
assert!(batch.try_charge(cost("write", 6_000)?)?.is_over());

// Workflows.
let steps = WorkflowSpec::new().steps(3);
let workflow = agent.begin_workflow("wf-1", steps.clone())?;
assert!(matches!(agent.begin_workflow("wf-1", steps.clone()), Err(WorkflowError::Active { .. }))); // takes no place
let helper = workflow.clone(); // shares the steps
workflow.step()?;
helper.step()?;
assert!(!workflow.step()?.can_continue());
assert!(matches!(helper.step(), Err(StepError::Limit { current: 3, limit: 3, .. })));
workflow.end();
assert!(matches!(helper.step(), Err(StepError::Ended(_))));
agent.begin_workflow("wf-1", steps.clone())?.end(); // the id is free again: a second place
let refused = agent.begin_workflow("wf-2", steps).unwrap_err();
assert_eq!(refused.refusal().ok_or("not refused")?.retry_after(), Some(std::time::Duration::from_secs(45 * 60)));

Ok(())
}

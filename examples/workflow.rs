//! A workflow with a step limit, tools, and a budget of its own; and a slot, so that a user's workflows do not run all at once.
//!
//! The tools are fakes that need no network. Run it with `cargo run --example workflow`.

use std::time::Duration;

use encumber::{Cap, Engine, Limit, Policy, StepError, Unit, Window, WorkflowSpec};

const TTL: Duration = Duration::from_secs(300);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy::builder()
        .resource("usd", Unit::Usd)
        .resource("workflows", Unit::Count)
        .resource("running", Unit::Count)
        .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(Unit::Usd.parse("25")?)))
        .limit(Limit::new("user-workflows", "user", "workflows", Window::Hour, Cap::Max(2)))
        .limit(Limit::new("user-running", "user", "running", Window::Lifetime, Cap::Max(1)))
        .build()?;
    let engine = Engine::new(policy);
    let (usd, running) = (engine.resource("usd")?, engine.resource("running")?);
    let user = engine.scope(["user:7"])?;

    let slot = user.slot(running, TTL)?;
    if let Err(error) = user.slot(running, TTL) {
        println!("one at a time: {error:#}");
    }

    let spec = WorkflowSpec::new().steps(6).tool("search", 2).tool("write", 10).budget(usd, Unit::Usd.parse("0.40")?);
    let workflow = user.begin_workflow("report-1", spec)?;
    for tool in ["search", "search", "search", "write", "write", "write", "write"] {
        match workflow.step() {
            Ok(step) => print!("step {}: ", step.taken()),
            Err(error) => {
                println!("stopped: {error}");
                break;
            }
        }
        match workflow.tool_call(tool) {
            Ok(calls) => print!("{tool}, {} so far; ", calls.taken()),
            Err(error @ StepError::Limit { .. }) => {
                println!("{error}");
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        match workflow.scope().reserve(usd.of(Unit::Usd.parse("0.15")?)) {
            Ok(hold) => {
                hold.commit(usd.of(Unit::Usd.parse("0.12")?))?;
                println!("12 cents");
            }
            Err(error) => println!("{error:#}"),
        }
        if !slot.renew(TTL) {
            println!("the slot is gone");
            break;
        }
    }
    workflow.end();
    println!("after the end: {:#}", workflow.step().unwrap_err());
    drop(slot);

    for budget in workflow.usage().into_iter().chain(user.usage()?) {
        let of = budget.cap.max().map_or("unlimited".to_owned(), |max| budget.unit.format(max));
        println!("{} of {}: {} of {of}", budget.limit, budget.subject, budget.unit.format(budget.used));
    }
    Ok(())
}

// Made from docs/guides/sub-agents.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use std::fs;
use std::thread;
use encumber::{Allowance, ChargeError, Engine, Policy, Resource, StepError, Unit, Workflow, WorkflowSpec};

let engine = Engine::new(Policy::from_toml(&fs::read_to_string("sub-agents.toml")?)?);
let usd = engine.resource("usd")?;
let dollars = |text| Unit::Usd.parse(text).map(|nanos| usd.of(nanos));
let user = engine.scope(["user:7"])?;

// The task: at most forty steps, and an end.
let workflow = user.begin_workflow("task-1", WorkflowSpec::new().steps(40).tool("search", 10))?;
// Three dollars, held now, so that they are there. Half a dollar is kept for the answer in the end.
let task = workflow.scope().reserve(dollars("3")?)?;
let (pool, answer) = task.into_allowance_keeping(dollars("0.5")?)?;

/// Makes calls that cost at most 20 cents, each of which takes 15, until the work is done or something refuses. Says how many.
fn work(pool: &Allowance, workflow: &Workflow, usd: Resource, id: &str, calls: u64) -> Result<u64, String> {
    let scope = pool.scope([format!("subagent:{id}")]).map_err(|error| error.to_string())?;
    for made in 0..calls {
        match workflow.step() {
            Ok(_) => {}
            Err(StepError::Limit { .. } | StepError::Ended(_)) => return Ok(made),
            Err(error) => return Err(error.to_string()),
        }
        match scope.reserve(usd.of(200_000_000)) {
            Ok(hold) => {
                hold.dispatched();
                // … call the model …
                hold.commit(usd.of(150_000_000)).map_err(|error| error.to_string())?;
            }
            Err(ChargeError::Refused(refusal)) => {
                println!("{}", refusal.to_json()); // for the model: what is left, and what to do about it
                return Ok(made);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(calls)
}

let made = thread::scope(|threads| {
    let one = threads.spawn(|| work(&pool, &workflow, usd, "s1/research", 9));
    let other = threads.spawn(|| work(&pool, &workflow, usd, "s1/critic", 2));
    [one, other].map(|agent| agent.join().unwrap_or_else(|_| Err("an agent panicked".to_owned())))
});
assert_eq!(made, [Ok(4), Ok(2)]); // four times 15 cents; a fifth call might pass 75
assert_eq!(user.usage()?[0].held, 3_000_000_000); // the user's day holds the whole task, and sees no call

let writers_part = pool.carve(dollars("0.6")?)?;
let writer = writers_part.scope(["subagent:s1/writer"])?;
writer.try_charge(dollars("0.4")?)?;
assert!(writer.try_charge(dollars("0.3")?).is_err());
drop((writer, writers_part));

let spent = pool.end();
assert_eq!(spent, dollars("1.3")?); // 4 × 0.15, 2 × 0.15, 0.4
assert_eq!((user.usage()?[0].used, user.usage()?[0].held), (1_300_000_000, 500_000_000));
answer.dispatched();
answer.commit(dollars("0.21")?)?;
workflow.end();
assert!(matches!(workflow.step(), Err(StepError::Ended(_))));
assert_eq!((user.usage()?[0].used, user.usage()?[0].held), (1_510_000_000, 0));

Ok(())
}

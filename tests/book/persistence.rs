// Made from docs/persistence.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use std::time::Duration;

use encumber::{Cap, Engine, Limit, Persist, Policy, Unit, Window};

fn policy() -> Result<Policy, encumber::PolicyError> {
    Policy::builder()
        .resource("usd", Unit::Usd)
        .limit(Limit::new("agent-life", "agent", "usd", Window::Lifetime, Cap::Max(100_000_000_000)))
        .build()
}

let dir = std::env::temp_dir().join(format!("encumber-book-{}", std::process::id())); // yours: /var/lib/agents
let engine = Engine::builder(policy()?).persist(Persist::journal(&dir)).build()?;
let usd = engine.resource("usd")?;
engine.scope(["agent:planner"])?.try_charge(usd.of(12_500_000_000))?;
engine.close()?; // as dropping it would, but tells whether it went well

let engine = Engine::builder(policy()?).persist(Persist::journal(&dir)).build()?;
assert_eq!(engine.scope(["agent:planner"])?.usage()?[0].used, 12_500_000_000);
let report = engine.recovery().expect("it was read back");
assert!(report.was_closed && report.budgets == 1);

let (usd, scope) = (engine.resource("usd")?, engine.scope(["agent:planner"])?);
let hold = scope.reserve_with_id("request-7", Duration::from_secs(600), usd.of(2_000_000_000))?;
drop((hold, scope));
engine.close()?; // or killed

let engine = Engine::builder(policy()?).persist(Persist::journal(&dir)).build()?;
let report = engine.recovery().expect("it was read back");
assert_eq!(report.holds[0].id.to_string(), "request-7");
let hold = engine.resume(&report.holds[0].id)?; // the next process has the answer of the call
hold.commit(engine.resource("usd")?.of(500_000_000))?;

engine.scope(["agent:planner"])?.try_charge(engine.resource("usd")?.of(1_000_000))?;
let ticket = engine.synced(); // everything answered so far
ticket.wait()?; // or `ticket.await?`

engine.close()?;
std::fs::remove_dir_all(&dir)?;

Ok(())
}

//! The program of the README: reserve, call, commit, until the budget refuses. Run it with `cargo run --example reserve_commit`.

use encumber::{Cap, ChargeError, Engine, Limit, Policy, Unit, Window};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy::builder()
        .resource("tokens", Unit::Count)
        .limit(Limit::new("agent-day", "agent", "tokens", Window::Day, Cap::Max(10_000)))
        .limit(Limit::new("team-day", "global", "tokens", Window::Day, Cap::Max(1_000_000)))
        .build()?;
    let engine = Engine::new(policy);
    let tokens = engine.resource("tokens")?;
    let scope = engine.scope(["agent:planner"])?; // and `global`, which is in every scope
    loop {
        let hold = match scope.reserve(tokens.of(4_096)) {
            Ok(hold) => hold,
            Err(ChargeError::Refused(refusal)) => {
                println!("stop: {refusal:#}");
                return Ok(());
            }
            Err(error) => return Err(error.into()), // an unknown resource or kind: a mistake, not a limit
        };
        hold.dispatched(); // the call goes out: from here on a drop charges the hold
        let used = call_model();
        hold.commit(tokens.of(used))?; // the rest is free again
        println!("took {used} tokens");
    }
}

/// Stands for a call that may answer with at most 4,096 tokens.
fn call_model() -> u64 {
    1_500
}

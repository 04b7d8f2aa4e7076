//! Sub-agents under an allowance: a parent reserves for all of them, keeps back a share for its own answer, and gets back what they leave.
//!
//! The agents are fakes that need no network. Run it with `cargo run --example subagents`.

use std::thread;

use encumber::{Allowance, Cap, ChargeError, Engine, Limit, Policy, Resource, Unit, Window};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy::builder()
        .resource("usd", Unit::Usd)
        .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(Unit::Usd.parse("25")?)))
        .limit(Limit::new("agent-run", "agent", "usd", Window::Day, Cap::Max(Unit::Usd.parse("1")?)))
        .build()?;
    let engine = Engine::new(policy);
    let usd = engine.resource("usd")?;
    let user = engine.scope(["user:7"])?;

    // $3 for the whole task, of which 50 cents are for the answer that the parent gives in the end.
    let task = user.reserve(usd.of(Unit::Usd.parse("3")?))?;
    let (allowance, answer) = task.into_allowance_keeping(usd.of(Unit::Usd.parse("0.5")?))?;

    // The writer gets a part of its own; the others share the rest.
    let for_the_writer = allowance.carve(usd.of(Unit::Usd.parse("0.8")?))?;
    thread::scope(|threads| {
        threads.spawn(|| run("writer", &for_the_writer, usd, 3));
        threads.spawn(|| run("research", &allowance, usd, 9));
        threads.spawn(|| run("critic", &allowance, usd, 4));
    });
    drop(for_the_writer);
    let spent = allowance.end();
    println!("the sub-agents spent {} usd", Unit::Usd.format(spent.amount(usd).unwrap_or(0)));

    answer.dispatched();
    answer.commit(usd.of(Unit::Usd.parse("0.31")?))?;
    for budget in user.usage()? {
        let charged = [budget.used, budget.held].map(|amount| Unit::Usd.format(amount));
        println!("{} of {}: {} usd used, {} held", budget.limit, budget.subject, charged[0], charged[1]);
    }
    Ok(())
}

/// Makes `calls` calls of at most 25 cents, each of which takes 20, until it is refused.
fn run(name: &str, allowance: &Allowance, usd: Resource, calls: u64) {
    let Ok(scope) = allowance.scope([format!("agent:{name}")]) else { return };
    for call in 1..=calls {
        match scope.reserve(usd.of(250_000_000)) {
            Ok(hold) => {
                hold.dispatched();
                if let Err(error) = hold.commit(usd.of(200_000_000)) {
                    println!("{name}, call {call}: {error}");
                }
            }
            Err(ChargeError::Refused(refusal)) => {
                println!("{name}, call {call}: {refusal:#}");
                return;
            }
            Err(error) => {
                println!("{name}, call {call}: {error}");
                return;
            }
        }
    }
    println!("{name}: done");
}

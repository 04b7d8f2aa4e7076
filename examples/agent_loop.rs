//! An agent loop with prices: sizes each answer to what is left, reserves its worst case, commits what it took, stops when refused.
//!
//! The model is a fake that needs no network. Run it with `cargo run --example agent_loop`.

use encumber::{Cap, ChargeError, Engine, Limit, Policy, Price, Rates, TokenClass, Unit, Unknown, Usage, Window};

const MODEL: &str = "small-model";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let price = Price::new().with(TokenClass::Input, "3".parse()?).with(TokenClass::Output, "15".parse()?);
    let policy = Policy::builder()
        .resource("usd", Unit::Usd)
        .rates(Rates::new(Unknown::Refuse, Unknown::Refuse).price(MODEL, price))
        .limit(Limit::new("agent-day", "agent", "usd", Window::Day, Cap::Max(Unit::Usd.parse("0.10")?)))
        .limit(Limit::new("team-day", "global", "usd", Window::Day, Cap::Max(Unit::Usd.parse("60")?)))
        .build()?;
    let engine = Engine::new(policy);
    let scope = engine.scope(["agent:planner"])?;

    for step in 1.. {
        let input = Usage::new().model(MODEL).with(TokenClass::Input, 2_000 * step);
        let output_max = scope.afford_output(&input, 1_024)?;
        let hold = match scope.reserve(engine.cost(&input.worst_case(output_max))?) {
            Ok(hold) => hold,
            Err(ChargeError::Refused(refusal)) => {
                println!("step {step}: {refusal:#}\n        {}", refusal.suggestion());
                break;
            }
            Err(other) => return Err(other.into()),
        };
        hold.dispatched(); // The request goes out: from here on a drop charges the hold.
        let used = call_model(&input, output_max);
        let receipt = hold.commit(engine.cost(&used)?)?;
        let spent = receipt.charged().amount(engine.resource("usd")?).unwrap_or(0);
        println!("step {step}: at most {output_max} tokens, took {} usd", Unit::Usd.format(spent));
    }

    for budget in scope.usage()? {
        let of = budget.cap.max().map_or("unlimited".to_owned(), |max| Unit::Usd.format(max));
        println!(
            "{} of {}: {} of {of} usd used, {}",
            budget.limit,
            budget.subject,
            Unit::Usd.format(budget.used),
            budget.status.name()
        );
    }
    Ok(())
}

/// Answers with at most 300 tokens, and never with more than it may.
fn call_model(input: &Usage, output_max: u64) -> Usage {
    input.clone().with(TokenClass::Output, output_max.min(300))
}

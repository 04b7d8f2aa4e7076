// Made from docs/start.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Engine, Policy};

let text = std::fs::read_to_string("budgets.toml")?;
let engine = Engine::new(Policy::from_toml(&text)?);

let scope = engine.scope(["user:7"])?;

use encumber::{ChargeError, TokenClass, Usage};

let input = Usage::new().model("claude-haiku-4-5-20251001").with(TokenClass::Input, 12_000);
let worst_case = engine.cost(&input.worst_case(4_096))?; // 4,096 is the `max_tokens` you send

match scope.reserve(worst_case) {
    Ok(hold) => {
        hold.dispatched(); // the request goes out now
        // … call the model …
        let used = input.clone().with(TokenClass::Output, 900);
        let receipt = hold.commit(engine.cost(&used)?)?;
        assert!(receipt.overages().is_empty());
    }
    Err(ChargeError::Refused(refusal)) => println!("{refusal:#}. {}", refusal.suggestion()),
    Err(other) => return Err(other.into()), // an unknown resource or kind: a mistake in the program or the policy
}

for budget in scope.usage()? {
    println!("{}: {} of {:?}, {}", budget.limit, budget.charged(), budget.cap, budget.status.name());
}

Ok(())
}

//! A streaming answer that stops in time: the hold grows while the answer does, and the stream is cut when there is no room for more.
//!
//! `cargo run --example streaming`

use encumber::{Actual, Cap, Cost, Engine, Limit, Policy, Price, Rates, TokenClass, Unit, Unknown, Usage, Window};

/// Output tokens that each step of the hold pays for.
const STEP: u64 = 500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let price = Price::new().with(TokenClass::Input, "3".parse()?).with(TokenClass::Output, "15".parse()?);
    let rates = Rates::new(Unknown::Refuse, Unknown::Refuse).price("model", price);
    let policy = Policy::builder()
        .resource("usd", Unit::Usd)
        .rates(rates)
        .limit(Limit::new("agent-day", "agent", "usd", Window::Day, Cap::Max(Unit::Usd.parse("0.05")?)))
        .build()?;
    let engine = Engine::new(policy);
    let usd = engine.resource("usd")?;
    let scope = engine.scope(["agent:writer"])?;

    for (number, answer) in [900, 20_000].into_iter().enumerate() {
        let input = Usage::new().model("model").with(TokenClass::Input, 2_000);
        // Hold the input and the first step; not the longest answer that could come.
        let hold = scope.reserve(engine.cost(&input.worst_case(STEP))?)?;
        hold.dispatched();
        let (mut output, mut paid_for, mut cut) = (0, STEP, false);
        for chunk in FakeStream::of(answer) {
            output += chunk;
            hold.observe(&output_cost(&engine, chunk)?);
            if output + FakeStream::CHUNK > paid_for {
                // The next chunk may not be covered: hold more, or stop while there is still room for what has come.
                if hold.try_extend(output_cost(&engine, STEP)?).is_err() {
                    cut = true;
                    break;
                }
                paid_for += STEP;
            }
        }
        let actual = engine.cost(&input.with(TokenClass::Output, output))?;
        let cost = Unit::Usd.format(actual.amount(usd).unwrap_or(0));
        // A stream that was cut may have been billed for more than was seen: never less than held.
        hold.commit(if cut { Actual::AtLeast(actual) } else { Actual::Exact(actual) })?;
        let ending = if cut { "cut, the budget is used up" } else { "complete" };
        println!("answer {}: {output} tokens seen, {cost} usd, {ending}", number + 1);
    }
    let budget = &scope.usage()?[0];
    println!("charged {} of 0.05 usd", Unit::Usd.format(budget.charged()));
    assert!(budget.charged() <= 50_000_000, "the limit was not passed");
    Ok(())
}

fn output_cost(engine: &Engine, tokens: u64) -> Result<Cost, encumber::CostError> {
    engine.cost(&Usage::new().model("model").with(TokenClass::Output, tokens))
}

/// Stands for a provider's stream: chunks of tokens until the answer is complete.
struct FakeStream {
    left: u64,
}

impl FakeStream {
    const CHUNK: u64 = 60;

    fn of(tokens: u64) -> Self {
        Self { left: tokens }
    }
}

impl Iterator for FakeStream {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let chunk = self.left.min(Self::CHUNK);
        self.left -= chunk;
        (chunk > 0).then_some(chunk)
    }
}

// Made from docs/budgets.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Cap, ChargeError, Enforcement, Engine, Limit, Policy, Subjects, Unit, Window};

let policy = Policy::builder()
    .resource("usd", Unit::Usd)
    .resource("tokens", Unit::Count)
    .limit(Limit::new("agent-day", "agent", "tokens", Window::Day, Cap::Max(100_000)).warn_percent([80]))
    .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(25_000_000_000)).group("heavy", Cap::Max(100_000_000_000)))
    .limit(Limit::new("team-day", "global", "usd", Window::Day, Cap::Max(60_000_000_000)).enforcement(Enforcement::Soft))
    .build()?;
let engine = Engine::new(policy);
let (usd, tokens) = (engine.resource("usd")?, engine.resource("tokens")?);

let scope = engine.scope(["user:7", "agent:planner"])?; // and `global`
assert_eq!(scope.usage()?.len(), 3);

let scope = engine.scope_of(Subjects::new().in_groups("user:9", ["heavy"])?)?;
assert_eq!(scope.usage()?[0].cap, Cap::Max(100_000_000_000));

let scope = engine.scope(["user:7", "agent:planner"])?;
let cost = usd.of(30_000_000).and(tokens, 4_000); // 3 cents and 4,000 tokens
let admission = scope.try_charge(cost)?;
assert!(!admission.is_over()); // see below: no soft limit is passed

let admission = scope.try_charge(usd.of(24_000_000_000))?;
assert!(!admission.is_over());
let other = engine.scope(["user:8"])?;
let _ = other.try_charge(usd.of(25_000_000_000))?;
let admission = engine.scope_of(Subjects::new().in_groups("user:9", ["heavy"])?)?.try_charge(usd.of(20_000_000_000))?;
assert!(admission.is_over()); // the team's soft 60 dollars are passed

let receipt = engine.scope(["agent:planner"])?.record(tokens.of(99_000))?;
assert_eq!(receipt.overages()[0].above, 3_000);

let refused = engine.scope(["agent:planner"])?.try_charge(tokens.of(1));
let Err(ChargeError::Refused(refusal)) = refused else { panic!("103,000 of 100,000 are charged") };
let violation = refusal.primary();
assert_eq!((&*violation.limit, violation.used, violation.remaining), ("agent-day", 103_000, 0));

Ok(())
}

// Made from docs/failures.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Cap, ChargeError, Component, Engine, FailurePolicy, Limit, OnFailure, Policy, Unit, Window};

let policy = Policy::builder()
    .resource("tokens", Unit::Count)
    .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(1_000)))
    .build()?;
let failure = FailurePolicy::default().check(OnFailure::Closed);
let engine = Engine::builder(policy).failure_policy(failure).build();
let tokens = engine.resource("tokens")?;
let scope = engine.scope(["user:7"])?;

engine.set_degraded(Component::Policy, true); // your loader could not reach the flag service
assert_eq!(scope.check(), Err(ChargeError::Degraded(Component::Policy)));
assert!(scope.record(tokens.of(40))?.is_degraded());
engine.set_degraded(Component::Policy, false);
assert_eq!(scope.usage()?[0].used, 40); // nothing was dropped

Ok(())
}

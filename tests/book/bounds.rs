// Made from docs/bounds.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Cap, Engine, Limit, Policy, ScopeError, Unit, Window};

let policy = Policy::builder()
    .resource("calls", Unit::Count)
    .limit(Limit::new("session", "session", "calls", Window::Day, Cap::Max(10)))
    .build()?;
let engine = Engine::builder(policy).max_subjects(100).build();
let in_use = (0..100).map(|id| engine.scope([format!("session:{id}")])).collect::<Result<Vec<_>, _>>()?;
assert!(matches!(engine.scope(["session:new"]), Err(ScopeError::TooManySubjects { .. })));
drop(in_use); // nobody was charged: all are idle
engine.sweep();
assert!(engine.scope(["session:new"]).is_ok());

Ok(())
}

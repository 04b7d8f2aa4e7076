// Made from docs/events.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Cap, Engine, Events, Limit, Policy, Unit, Window};

let policy = Policy::builder()
    .resource("usd", Unit::Usd)
    .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(25_000_000_000)).warn_percent([80, 95]))
    .build()?;
let events = Events::bounded(1_024);
let engine = Engine::builder(policy).events(&events).build();

let usd = engine.resource("usd")?;
engine.scope(["user:7"])?.try_charge(usd.of(21_000_000_000))?;
for event in events.drain() {
    println!("{event}"); // … warning: limit user-day of user:#0e5c… has 21 of 25 usd charged, 80% reached
}

Ok(())
}

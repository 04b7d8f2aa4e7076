// Made from docs/slots.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Cap, Engine, Limit, ManualClock, Policy, Unit, Window};
use std::time::Duration;

let clock = ManualClock::at("2026-02-04T12:00:00Z".parse()?);
let policy = Policy::builder()
    .resource("streams", Unit::Count)
    .limit(Limit::new("streams-ip", "ip", "streams", Window::Lifetime, Cap::Max(2)))
    .limit(Limit::new("streams-all", "global", "streams", Window::Lifetime, Cap::Max(500)))
    .build()?;
let engine = Engine::builder(policy).clock(&clock).build();
let streams = engine.resource("streams")?;
let scope = engine.scope(["ip:10.0.0.7"])?;
let ttl = Duration::from_secs(300);

let slot = scope.slot(streams, ttl)?;
assert_eq!(scope.usage()?[0].held, 1); // how many are active

clock.advance(Duration::from_secs(240));
assert!(slot.renew(ttl)); // five minutes from now
assert!(slot.release()); // or drop it
assert!(!slot.release()); // it is not there any more: nothing happens

scope.slot_with_id(streams, "stream-a", ttl)?.detach();
// … the client asks again …
let again = scope.slot_with_id(streams, "stream-a", ttl)?;
assert!(again.is_replayed()); // the same slot: no second place, and its time is not prolonged
drop(again); // a replayed handle answers for nothing
assert!(scope.renew_slot(streams, "stream-a", ttl));
assert!(scope.release_slot(streams, "stream-a"));
assert!(!scope.release_slot(streams, "stream-a"));

Ok(())
}

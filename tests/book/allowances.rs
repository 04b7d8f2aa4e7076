// Made from docs/allowances.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Cap, ChargeError, Engine, Limit, ManualClock, Policy, Unit, Window};
use std::time::Duration;

let clock = ManualClock::at("2026-02-04T12:00:00Z".parse()?);
let policy = Policy::builder()
    .resource("usd", Unit::Usd)
    .resource("tokens", Unit::Count)
    .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(10_000)))
    .limit(Limit::new("agent-day", "agent", "usd", Window::Day, Cap::Max(2_000)))
    .build()?;
let engine = Engine::builder(policy).clock(&clock).build();
let usd = engine.resource("usd")?;
let parent = engine.scope(["user:7"])?;
let used_and_held = || parent.usage().map(|usage| (usage[0].used, usage[0].held));

let task = parent.reserve(usd.of(5_000))?;
let (allowance, answer) = task.into_allowance_keeping(usd.of(1_000))?; // for the parent's own answer

let research = allowance.scope(["agent:research"])?;
research.try_charge(usd.of(1_500))?;
assert_eq!(used_and_held()?, (0, 5_000)); // the parent holds it already
assert!(research.try_charge(usd.of(600)).is_err()); // agent-day: 500 are left

let critic = allowance.scope(["agent:critic"])?; // shares the pool with the others
let writer = allowance.carve(usd.of(1_000))?; // a part of its own
assert_eq!(allowance.usage()[0].remaining(), Cap::Max(1_500));
critic.try_charge(usd.of(499))?;
let parts = allowance.split_evenly(3)?; // all that is left: 334, 334, 333
assert_eq!(parts[2].usage()[0].cap, Cap::Max(333));
drop((parts, writer)); // not used: back in the pool
assert_eq!(allowance.usage()[0].remaining(), Cap::Max(2_001));

let open = critic.reserve(usd.of(100))?;
assert_eq!(allowance.end(), usd.of(2_099)); // 1,500 + 499 + the 100 that are open
assert_eq!(used_and_held()?, (0, 2_099 + 1_000));
assert!(matches!(critic.try_charge(usd.of(1)), Err(ChargeError::Ended(_))));
open.commit(usd.of(30))?;
assert_eq!(used_and_held()?, (2_029, 1_000)); // settled at exactly what the children were charged
answer.commit(usd.of(900))?;
assert_eq!(used_and_held()?, (2_929, 0));

let task = parent.reserve_for(usd.of(2_000), Duration::from_secs(60))?;
let allowance = task.into_allowance()?;
allowance.scope(["agent:late"])?.try_charge(usd.of(40))?;
clock.advance(Duration::from_secs(60));
assert!(allowance.has_ended() && !allowance.renew(Duration::from_secs(60)));
assert_eq!(used_and_held()?, (2_969, 0));

Ok(())
}

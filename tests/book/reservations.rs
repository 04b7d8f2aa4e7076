// Made from docs/reservations.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Actual, Cap, Cost, Engine, Limit, ManualClock, Policy, SettleError, Unit, Window};
use std::time::Duration;

let clock = ManualClock::at("2026-02-04T12:00:00Z".parse()?);
let policy = Policy::builder()
    .resource("tokens", Unit::Count)
    .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(10_000)))
    .build()?;
let engine = Engine::builder(policy).clock(&clock).build();
let tokens = engine.resource("tokens")?;
let scope = engine.scope(["user:7"])?;
let used = || scope.usage().map(|usage| (usage[0].used, usage[0].held));

let hold = scope.reserve(tokens.of(4_000))?;
assert_eq!(used()?, (0, 4_000));
let receipt = hold.commit(tokens.of(1_200))?;
assert_eq!(used()?, (1_200, 0));
assert_eq!(hold.commit(tokens.of(1_200))?, receipt); // asked twice, charged once
assert_eq!(hold.commit(tokens.of(1_300)), Err(SettleError::Conflict));
assert_eq!(hold.release(), Err(SettleError::Committed));

let hold = scope.reserve(tokens.of(500))?;
hold.commit(Cost::nothing())?; // names no tokens: all 500 are charged
let hold = scope.reserve(tokens.of(500))?;
hold.commit(tokens.of(0))?; // took none
assert_eq!(used()?, (1_700, 0));

drop(scope.reserve(tokens.of(1_000))?);
assert_eq!(used()?, (1_700, 0)); // nothing went out

let hold = scope.reserve(tokens.of(1_000))?;
hold.dispatched();
drop(hold); // a panic, a cancelled task, a forgotten hold
assert_eq!(used()?, (2_700, 0));

let hold = scope.reserve(tokens.of(1_000))?;
hold.dispatched();
hold.observe(&tokens.of(900));
hold.try_extend(tokens.of(1_000))?; // there is room: go on
assert!(hold.try_extend(tokens.of(9_000)).is_err()); // there is not: end the stream
hold.commit(Actual::AtLeast(tokens.of(1_400)))?; // cut off at 1,400
assert_eq!(used()?, (4_700, 0)); // the hold of 2,000 is charged

let hold = scope.reserve(tokens.of(3_000))?;
clock.advance(Duration::from_secs(86_400)); // the next day
let _ = scope.try_charge(tokens.of(500))?;
let receipt = hold.commit(tokens.of(100))?;
assert!(receipt.is_late());
assert_eq!(used()?, (500, 0)); // the new day knows nothing of it
let yesterday = "2026-02-04T12:00:00Z".parse()?;
let past = scope.usage_at(yesterday)?;
assert_eq!(past[0].as_ref().map(|usage| usage.used), Some(4_800));

let hold = scope.reserve_up_to(tokens, 1_000, 50_000)?;
assert_eq!(hold.held().amount(tokens), Some(9_500));
hold.release()?;

let minute = Duration::from_secs(60);
let stuck = scope.reserve_for(tokens.of(2_000), minute)?;
stuck.dispatched();
clock.advance(minute);
assert_eq!(used()?.1, 0); // expired: charged as held, because the call had gone out
assert_eq!(stuck.release(), Err(SettleError::Expired));
let before = used()?.0;
let receipt = stuck.commit(tokens.of(600))?; // the answer came after all
assert!(receipt.is_late());
assert_eq!(used()?.0, before - 1_400); // brought to what it took

let id = scope.reserve(tokens.of(300))?.detach(minute)?.id().to_string();
// … in another request …
engine.resume(&id.parse()?)?.commit(tokens.of(120))?;

let both = scope.reserve(tokens.of(1_000))?;
let draft = both.split(tokens.of(400))?;
draft.commit(tokens.of(350))?;
both.release()?; // the second call is not needed

let receipt = scope.record(tokens.of(80))?;
engine.refund(&receipt, &tokens.of(50))?;
assert!(engine.refund(&receipt, &tokens.of(30)).is_err()); // once

Ok(())
}

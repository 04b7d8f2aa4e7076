// Made from docs/guides/coming-from-quota-py.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use std::fs;
use std::time::Duration;
use encumber::{Engine, ManualClock, Policy, SettleError, Subjects};

let text = fs::read_to_string("quota-py.toml")?;
let clock = ManualClock::at("2026-04-03T23:58:00Z".parse()?); // without it: the system's
let engine = Engine::builder(Policy::from_toml(&text)?).clock(&clock).build();
let (remix, tips) = (engine.resource("remix")?, engine.resource("tips")?);
let profile = engine.scope(["profile:7"])?;
let used = |id: &str| profile.usage().map(|all| all.iter().find(|one| &*one.limit == id).map(|one| one.charged()));

// Moving in: today's counts of the cache, once.
profile.record(remix.of(1))?;

// A place is reserved, the call fails, and the place is free again.
let hold = profile.reserve(remix.of(1))?;
assert_eq!(used("remix")?, Some(2));
hold.release()?;
assert_eq!(hold.release(), Err(SettleError::Released)); // a second time frees nobody's place
assert_eq!(used("remix")?, Some(1));

// A call succeeds. At the limit nothing is counted, and the refusal says what is so.
for _ in 0..2 {
    let hold = profile.reserve(tips.of(1))?;
    hold.dispatched(); // if the worker is killed from here on, the place counts
    hold.commit(tips.of(1))?;
}
let refusal = profile.reserve(tips.of(1)).unwrap_err().into_refusal().ok_or("not refused")?;
let tell = refusal.primary();
assert_eq!((tell.remaining, tell.used, tell.resets_at), (0, 2, Some("2026-04-04T00:00:00Z".parse()?)));
assert_eq!(used("tips")?, Some(2));

// Reserved before midnight, released after it: the place was yesterday's.
let late = profile.reserve(remix.of(1))?;
clock.advance(Duration::from_secs(180));
profile.try_charge(remix.of(1))?;
late.release()?;
assert_eq!(used("remix")?, Some(1));

// An exempt profile is counted, and not refused. A feature that nobody knows is an error for it, too.
let staff = engine.scope_of(Subjects::new().in_groups("profile:1", ["staff"])?)?;
for _ in 0..5 {
    staff.try_charge(tips.of(1))?;
}
assert_eq!(staff.usage()?.iter().find(|one| &*one.limit == "tips").map(|one| one.used), Some(5));
assert!(engine.resource("bake").is_err());

// The settings change while calls run.
engine.set_policy(Policy::from_toml(&text.replace("max = 3\n", "max = 50\n"))?);
assert_eq!(profile.usage()?[0].remaining(), encumber::Cap::Max(49));

Ok(())
}

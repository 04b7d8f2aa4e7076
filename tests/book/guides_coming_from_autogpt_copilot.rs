// Made from docs/guides/coming-from-autogpt-copilot.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use std::fs;
use encumber::{Cap, Engine, ManualClock, Policy, Reset, ResetError, Subject, Subjects, TokenClass, Usage};

let policy = Policy::from_toml(&fs::read_to_string("autogpt-copilot.toml")?)?;
let clock = ManualClock::at("2026-04-03T10:00:00Z".parse()?); // a Friday; without it: the system's
let engine = Engine::builder(policy).clock(&clock).build();
let tokens = engine.resource("tokens")?;
let user = Subject::new("user", "7")?;
let scope = engine.scope([user.clone()])?;
let used = || scope.usage().map(|usage| (usage[0].used, usage[1].used)); // day and week

// Moving in, once: the days of the week before today, which the day must not keep; then today; then the resets bought today.
let (daily, weekly, resets) = (1_200_000, 4_000_000, 1); // the three Redis keys
scope.record(tokens.of(weekly - daily))?;
scope.reset(&Reset::limit("daily"))?;
scope.record(tokens.of(daily))?;
scope.record(engine.resource("resets")?.of(resets))?;
assert_eq!(used()?, (1_200_000, 4_000_000));

// A turn as it is done there: a check before, a record after.
scope.check_in(&[tokens])?;
let turn = Usage::new()
    .with(TokenClass::Input, 1_000)
    .with(TokenClass::CacheRead, 40_000)
    .with(TokenClass::CacheWrite5m, 2_000)
    .with(TokenClass::Output, 700);
scope.record(engine.cost(&turn)?)?;
assert_eq!(used()?.0, 1_200_000 + 1_000 + 4_000 + 500 + 700);

// A turn that holds what it may take at most: two of them cannot take the same rest.
let next = Usage::new().with(TokenClass::Input, 900_000);
let hold = scope.reserve(engine.cost(&next.worst_case(200_000))?)?;
let refusal = scope.reserve(engine.cost(&next.worst_case(200_000))?).unwrap_err().into_refusal().ok_or("not refused")?;
assert_eq!(&*refusal.primary().limit, "daily");
hold.dispatched();
hold.commit(engine.cost(&next.with(TokenClass::Output, 150_000))?)?;

// The day is used up. Its reset is bought: 5 dollars, and the week gets a day back.
scope.record(tokens.of(300_000))?;
assert!(scope.check_in(&[tokens]).is_err());
assert!(matches!(scope.paid_reset("fresh-day"), Err(ResetError::InsufficientCredits { .. })));
engine.top_up(&user, "credit", 2_000)?;
let receipt = scope.paid_reset("fresh-day")?;
assert_eq!((receipt.paid, receipt.resets, receipt.balance), (500, 2, Some(Cap::Max(1_500))));
assert_eq!(used()?, (0, 4_000_000 + 6_200 + 1_050_000 + 300_000 - 2_500_000));
assert!(matches!(scope.paid_reset("fresh-day"), Err(ResetError::NotReached { .. }))); // the second click charges nothing

// A tier, and an operator.
let pro = engine.scope_of(Subjects::new().in_groups("user:8", ["pro"])?)?;
assert_eq!(pro.usage()?[0].cap, Cap::Max(2_500_000).scaled(&"5".parse()?).ok_or("too large")?);
let taken = scope.reset(&Reset::limit("daily").and("weekly"))?;
assert_eq!(taken[1].amount, 2_856_200);
assert_eq!(used()?, (0, 0));

Ok(())
}

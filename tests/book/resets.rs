// Made from docs/resets.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Cap, Engine, Guard, Limit, PaidReset, Policy, Reset, ResetError, Source, Subject, Unit, Window};

let policy = Policy::builder()
    .resource("tokens", Unit::Count)
    .resource("credits", Unit::Usd)
    .resource("included", Unit::Usd)
    .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(2_500_000)))
    .limit(Limit::new("user-week", "user", "tokens", Window::Week, Cap::Max(12_500_000)))
    .limit(Limit::new("user-included", "user", "included", Window::Month, Cap::Max(10_000_000_000)))
    .limit(Limit::new("user-credit", "user", "credits", Window::Lifetime, Cap::Max(0)))
    .reset(
        PaidReset::new("fresh-day", "user-day")
            .lowers("user-week")
            .credits("credits")
            .price(5_000_000_000) // five dollars
            .max_per_window(Cap::Max(5))
            .guard(Guard::Strict),
    )
    .build()?;
let engine = Engine::new(policy);
let (tokens, credits, included) = (engine.resource("tokens")?, engine.resource("credits")?, engine.resource("included")?);
let user = Subject::new("user", "7")?;
let scope = engine.scope([&user])?;

let change = engine.top_up(&user, "user-credit", 20_000_000_000)?;
assert_eq!((change.before, change.after), (Cap::Max(0), Cap::Max(20_000_000_000)));

scope.record(tokens.of(2_600_000))?;
let receipt = scope.paid_reset("fresh-day")?;
assert_eq!((receipt.reset.amount, receipt.lowered.unwrap().amount), (2_600_000, 2_500_000));
assert_eq!((receipt.balance, receipt.resets), (Some(Cap::Max(15_000_000_000)), 1));
assert!(matches!(scope.paid_reset("fresh-day"), Err(ResetError::NotReached { .. })));

scope.record(tokens.of(2_600_000))?;
let taken = scope.reset(&Reset::limit("user-day").lowers("user-week"))?; // like a paid one
assert_eq!([taken[0].amount, taken[1].amount], [2_600_000, 2_500_000]);
let taken = scope.reset(&Reset::limit("user-day").and("user-week"))?; // both to 0
assert_eq!([taken[0].amount, taken[1].amount], [0, 200_000]);

engine.set_override(&user, "user-day", Some(Cap::Max(4_000_000)))?;
engine.top_up(&user, "user-day", 500_000)?;
assert_eq!(engine.resolve(&user, &[])?[0], ("user-day".into(), Cap::Max(4_500_000), Source::Override));
assert_eq!(scope.usage()?[0].cap, Cap::Max(4_500_000));
engine.set_override(&user, "user-day", None)?;

let order = [included, credits]; // ten dollars a month are included
let receipt = scope.charge_in_order(order, 12_000_000_000)?;
assert_eq!(receipt.charged(), &included.of(10_000_000_000).and(credits, 2_000_000_000));
engine.refund(&receipt, &credits.of(2_000_000_000))?;
assert!(scope.charge_in_order(order, 99_000_000_000).is_err()); // all or none

Ok(())
}

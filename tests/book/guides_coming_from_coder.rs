// Made from docs/guides/coming-from-coder.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use std::fs;
use encumber::{Cap, Engine, ManualClock, Policy, Source, Subject, Subjects, TokenClass, Unit, Usage};

let text = fs::read_to_string("coder.toml")?;
let clock = ManualClock::at("2025-06-18T14:30:00Z".parse()?); // without it: the system's
let engine = Engine::builder(Policy::from_toml(&text)?).clock(&clock).build();
let usd = engine.resource("usd")?;
let dollars = |text| Unit::Usd.parse(text).map(Cap::Max);

// One order of resolution.
let limit_of = |id: &str, groups: &[&str]| {
    let (_, cap, source) = engine.resolve(&Subject::new("user", id)?, groups)?.remove(0);
    Ok::<_, Box<dyn std::error::Error>>((cap, source))
};
assert_eq!(limit_of("u-2", &[])?, (dollars("100")?, Source::Default));
assert_eq!(limit_of("u-17", &["research"])?, (dollars("20")?, Source::Group("contractors".into()))); // the smallest
assert_eq!(limit_of("u-18", &[])?, (dollars("50")?, Source::Subject)); // personal goes first, also where it is larger
assert_eq!(limit_of("u-1", &["contractors"])?, (Cap::Unlimited, Source::Subject));

// Moving in: the sum of the current period, once, before the first message. 99,995,000 micro-dollars.
let user = engine.scope_of(Subjects::new().with("user:u-2")?)?;
user.record(usd.of(99_995_000 * 1_000))?;

// Two messages at once: there, both pass, for the sum is below the limit. Here, what the first may cost is held.
let call = Usage::new().model("claude-sonnet-4-5").with(TokenClass::Input, 500);
let first = user.reserve(engine.cost(&call.worst_case(200))?)?; // 0.0045 dollars at most
let second = user.reserve(engine.cost(&call.worst_case(200))?);
let refusal = second.unwrap_err().into_refusal().ok_or("not refused")?;
assert_eq!(refusal.http().status, 429);
assert_eq!(refusal.primary().resets_at, Some("2025-07-01T00:00:00Z".parse()?));
first.commit(engine.cost(&call.clone().with(TokenClass::Output, 100))?)?;
assert_eq!(user.usage()?[0].used, 99_998_000_000);

// A model without a price counts as nothing, and says so.
let unpriced = engine.cost(&Usage::new().model("in-house").with(TokenClass::Input, 500))?;
assert!(unpriced.is_unpriced());

// An override, while calls run: for one user, or for everybody by another policy. What has been spent stays.
engine.set_override(&Subject::new("user", "u-2")?, "chat-spend", Some(dollars("150")?))?;
assert_eq!(limit_of("u-2", &[])?, (dollars("150")?, Source::Override));
engine.set_policy(Policy::from_toml(&text.replace(r#"max = "100""#, r#"max = "120""#))?);
assert_eq!(limit_of("u-3", &[])?, (dollars("120")?, Source::Default));
assert_eq!((user.usage()?[0].cap, user.usage()?[0].used), (dollars("150")?, 99_998_000_000));
// A wrong policy is refused whole, and the one in force stays.
assert!(Policy::from_toml(&text.replace("\"month\"", "\"fortnight\"")).is_err());

Ok(())
}

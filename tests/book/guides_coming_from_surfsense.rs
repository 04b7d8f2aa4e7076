// Made from docs/guides/coming-from-surfsense.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use std::fs;
use std::time::Duration;
use encumber::{Cap, Engine, Estimate, ManualClock, Policy, ReserveError, Reset, SettleError, Status, Subject, TokenClass, Unit, Usage};

let policy = Policy::from_toml(&fs::read_to_string("surfsense.toml")?)?;
let clock = ManualClock::at("2026-04-03T10:00:00Z".parse()?); // without it: the system's
let engine = Engine::builder(policy).clock(&clock).build();
let (tokens, streams, requests) = (engine.resource("tokens")?, engine.resource("streams")?, engine.resource("requests")?);
let minutes = |n: u64| Duration::from_secs(60 * n);

// Moving in: `used` of the two hashes, once, each for itself. What is open in them settles over there.
engine.scope(["session:s1"])?.record(tokens.of(3_000))?;
engine.scope(["ip:5f2c"])?.record(tokens.of(12_000))?;

// A call of an anonymous visitor: both keys in one step.
let visitor = engine.scope(["session:s1", "ip:5f2c"])?;
visitor.reserve_with_id("req-1", minutes(5), tokens.of(4_000))?.dispatched();
assert!(visitor.reserve_with_id("req-1", minutes(5), tokens.of(4_000))?.is_replayed()); // a retry: held once
assert!(matches!(visitor.reserve_with_id("req-1", minutes(5), tokens.of(9)), Err(ReserveError::Conflict)));

// The address has no room: the session keeps nothing, and neither does the address.
let before = visitor.usage()?;
assert!(visitor.reserve_with_id("req-2", minutes(5), tokens.of(4_001)).is_err());
assert_eq!(visitor.usage()?, before);

// The answer arrives, in whatever request or task.
let receipt = engine.resume(&"req-1".parse()?)?.commit(tokens.of(4_100))?; // above the hold: charged in full
assert!(receipt.overages().is_empty());
assert_eq!(engine.resume(&"req-1".parse()?)?.release(), Err(SettleError::Committed));
let usage = visitor.usage()?;
assert_eq!((usage[0].used, usage[1].used), (7_100, 16_100));
assert_eq!((usage[0].status, usage[1].status), (Status::Ok, Status::Warning)); // both keys are reported

// Streams: leases of their own.
let stream = visitor.slot(streams, minutes(5))?;
let other = visitor.slot(streams, minutes(5))?;
assert!(visitor.slot(streams, minutes(5)).is_err());
clock.advance(minutes(4));
assert!(stream.renew(minutes(5))); // a long answer goes on
clock.advance(minutes(2));
let next = visitor.slot(streams, minutes(5))?; // `other` has run out
assert!(!other.release(), "and takes nobody's place with it");
drop((stream, next));

// Requests: the sixth asks for a captcha, and solving it starts anew.
let address = engine.scope(["ip:5f2c"])?;
for _ in 0..5 {
    assert!(!address.try_charge(requests.of(1))?.is_over());
}
assert!(address.try_charge(requests.of(1))?.is_over());
address.reset(&Reset::limit("ip-requests"))?;
assert!(!address.try_charge(requests.of(1))?.is_over());

// Credit: 2 dollars bought, a call held at its worst case within bounds, and settled at what it cost.
let user = Subject::new("user", "7")?;
engine.top_up(&user, "credit", Unit::Usd.parse("2")?)?;
let premium = engine.scope([user])?;
let bounds = Estimate::new(Unit::Usd.parse("0.0001")?, Unit::Usd.parse("1")?)?; // 100 and 1,000,000 micros
let call = Usage::new().model("claude-opus-4-5-20251101").with(TokenClass::Input, 12_000);
let nanos = engine.policy().rates().estimate(&call, 4_000, bounds)?;
assert_eq!(Unit::Usd.format(nanos), "0.16");
let credit = engine.resource("credit")?;
let hold = premium.reserve_for(credit.of(nanos), minutes(5))?;
hold.dispatched();
hold.commit(hold.cost(&call.with(TokenClass::Output, 1_000))?)?;
assert_eq!(premium.usage()?[0].remaining(), Cap::Max(Unit::Usd.parse("1.915")?));

Ok(())
}

// Made from docs/windows.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Timestamp, Window};

let now: Timestamp = "2026-02-04T15:30:00Z".parse()?;
let quarter: Window = "3mo".parse()?;
assert_eq!(quarter.label(now), "2026-01");
let shift = Window::every_from(8 * 3_600, "2026-01-01T06:00:00Z".parse()?)?;
assert_eq!(shift.bounds(now).unwrap().start.to_string(), "2026-02-04T14:00:00.000Z");

use encumber::{TimeOfDay, Weekday};

let week = Window::Week.week_starts(Weekday::Sunday)?.reset_at(TimeOfDay::new(9, 30, 0)?)?;
assert_eq!(week.bounds(now).unwrap().start.to_string(), "2026-02-01T09:30:00.000Z");
let month = Window::Month.month_day(31)?;
assert_eq!(month.bounds(now).unwrap().end.to_string(), "2026-02-28T00:00:00.000Z");

use encumber::Zone;

let day = Window::Day.in_zone(Zone::new("Europe/Berlin")?)?;
let hours = |window: Window, noon: &str| {
    let bounds = window.bounds(noon.parse().unwrap()).unwrap();
    (bounds.start.to_string(), bounds.end.saturating_since(bounds.start).as_secs() / 3_600)
};
// Spring: 02:00 is followed by 03:00.
assert_eq!(hours(day, "2026-03-29T12:00:00Z"), ("2026-03-28T23:00:00.000Z".to_owned(), 23));
// Autumn: 03:00 is followed by 02:00.
assert_eq!(hours(day, "2026-10-25T12:00:00Z"), ("2026-10-24T22:00:00.000Z".to_owned(), 25));

let night = day.reset_at("02:30".parse()?)?;
// There is no 02:30 on 29 March: the window starts when the clock jumps to 03:00, 01:00 UTC.
assert_eq!(hours(night, "2026-03-29T12:00:00Z").0, "2026-03-29T01:00:00.000Z");
// 02:30 comes twice on 25 October: the first is 00:30 UTC.
assert_eq!(hours(night, "2026-10-25T12:00:00Z").0, "2026-10-25T00:30:00.000Z");

use encumber::{Cap, Engine, Limit, ManualClock, Policy, Unit};
use std::time::Duration;

let limit = |window: &str| -> Result<_, Box<dyn std::error::Error>> {
    let policy = Policy::builder()
        .resource("calls", Unit::Count)
        .limit(Limit::new("user", "user", "calls", window.parse()?, Cap::Max(10)))
        .build()?;
    let clock = ManualClock::at("2026-02-04T10:01:00Z".parse()?);
    let engine = Engine::builder(policy).clock(&clock).build();
    Ok((clock, engine.scope(["user:7"])?, engine.resource("calls")?))
};
let (clock, scope, calls) = limit("rolling 5h")?;
scope.try_charge(calls.of(6))?; // at 10:01
clock.advance(Duration::from_secs(3_600));
scope.try_charge(calls.of(4))?; // at 11:01
let refusal = scope.try_charge(calls.of(5)).unwrap_err().into_refusal().unwrap();
// The six of 10:00 to 10:05 leave at 15:05: then five fit.
assert_eq!(refusal.retry_after(), Some(Duration::from_secs(4 * 3_600 + 4 * 60)));

let (clock, scope, calls) = limit("5h from first use")?;
assert_eq!(scope.usage()?[0].resets_at(), None); // nothing has begun
scope.try_charge(calls.of(10))?; // at 10:01
assert_eq!(scope.usage()?[0].resets_at(), Some("2026-02-04T15:01:00Z".parse()?));
clock.advance(Duration::from_secs(86_400)); // idle
assert_eq!(scope.usage()?[0].resets_at(), None); // the next one begins when it is used

let clock = ManualClock::at("2026-02-04T23:59:59Z".parse()?);
let policy = Policy::builder()
    .resource("calls", Unit::Count)
    .limit(Limit::new("user-day", "user", "calls", Window::Day, Cap::Max(1)))
    .build()?;
let engine = Engine::builder(policy).clock(&clock).build();
let calls = engine.resource("calls")?;
let scope = engine.scope(["user:7"])?;
assert!(scope.try_charge(calls.of(1)).is_ok());
assert!(scope.try_charge(calls.of(1)).is_err());
clock.advance(Duration::from_secs(1)); // midnight
assert!(scope.try_charge(calls.of(1)).is_ok());

clock.set("2026-02-04T12:00:00Z".parse()?); // half a day back
assert!(scope.try_charge(calls.of(1)).is_err(), "the window of the 5th is used, and it is full");

let scope = engine.scope(["user:8"])?;
let home = clock.now();
clock.set("2027-06-01T12:00:00Z".parse()?);
assert!(scope.try_charge(calls.of(1)).is_ok());
clock.set(home); // 2026-02-04
let refusal = scope.try_charge(calls.of(1)).unwrap_err().into_refusal().unwrap();
assert_eq!(refusal.primary().resets_at.unwrap().to_string(), "2026-02-06T00:00:00.000Z");

Ok(())
}

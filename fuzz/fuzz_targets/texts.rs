//! Any text where a value is expected: it is refused, or reads back what it prints; and any subject in a refusal: it stays data.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use arbitrary::Arbitrary;
use encumber::{
    Cap, Engine, Limit, ManualClock, Period, Policy, Ratio, Refusal, Retry, Subject, Timestamp, Unit, Violation, Window,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Texts<'a> {
    text: &'a str,
    micros: i64,
    amounts: [u64; 5],
    is_money: bool,
    resets_at: Option<i64>,
    retries: u8,
}

fuzz_target!(|texts: Texts| {
    let Texts { text, micros, .. } = texts;
    prints_back::<Period>(text);
    prints_back::<Window>(text);
    prints_back::<Subject>(text);
    if let Ok(at) = text.parse::<Timestamp>() {
        // Printed to the millisecond, rounded down.
        let printed: Timestamp = at.to_string().parse().expect(text);
        assert_eq!(printed.as_micros(), at.as_micros().div_euclid(1_000) * 1_000, "{text:?}");
    }
    if let Ok(ratio) = text.parse::<Ratio>() {
        let _ = Cap::Max(texts.amounts[0]).scaled(&ratio);
        assert_eq!(
            ratio.is_zero(),
            text.split(['/', 'e', 'E']).next().is_some_and(|n| !n.contains(|c| ('1'..='9').contains(&c)))
        );
    }
    for unit in [Unit::Count, Unit::Usd] {
        if let Ok(amount) = unit.parse(text) {
            assert_eq!(unit.parse(&unit.format(amount)), Ok(amount), "{text:?}");
        }
        assert_eq!(unit.parse(&unit.format(texts.amounts[0])), Ok(texts.amounts[0]));
    }
    if let Ok(window) = text.parse::<Window>() {
        holds(window, Timestamp::from_micros(micros));
    }
    if let Ok(subject) = text.parse::<Subject>() {
        refusals_are_plain(&subject, &texts);
    }
    if let Ok(subject) = Subject::new("user", text) {
        refusals_are_plain(&subject, &texts);
    }
});

fn prints_back<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let printed = value.to_string();
        assert!(printed.parse::<T>().is_ok_and(|read| read == value), "{text:?} prints {printed:?}");
    }
}

fn holds(window: Window, at: Timestamp) {
    let _ = window.label(at);
    let Some(bounds) = window.bounds(at) else { return };
    assert!(bounds.start <= at, "{window} at {at:?}");
    assert!(at < bounds.end || bounds.end == Timestamp::MAX, "{window} at {at:?}");
}

/// A refusal of the engine's own, and one that a host makes of any figures.
fn refusals_are_plain(subject: &Subject, texts: &Texts) {
    let limit = Limit::new("limit-1", subject.kind(), "usd", Window::Day, Cap::Max(10));
    let policy = Policy::builder().resource("usd", Unit::Usd).limit(limit).build().expect("a policy");
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_206_400));
    let engine = Engine::builder(policy).clock(&clock).build();
    let money = engine.resource("usd").expect("declared");
    let scope = engine.scope([subject.clone()]).expect("a limited kind");
    let error = scope.try_charge(money.of(11)).expect_err("more than the cap");
    let refusal = error.into_refusal().expect("a refusal");
    is_plain(&refusal, subject);

    let [requested, max, used, held, remaining] = texts.amounts;
    let (primary, others) = (refusal.primary(), texts.retries % 3);
    let retry = match (texts.retries, texts.resets_at) {
        (0..64, Some(at)) => Retry::At(Timestamp::from_micros(at)),
        (64..128, _) => Retry::Unknown,
        _ => Retry::Never,
    };
    let made = Violation {
        unit: if texts.is_money { Unit::Usd } else { Unit::Count },
        requested,
        max,
        used,
        held,
        remaining,
        resets_at: texts.resets_at.map(Timestamp::from_micros),
        retry,
        ..primary.clone()
    };
    let others = vec![primary.clone(); others.into()];
    is_plain(&Refusal::new(made, others, Timestamp::from_micros(texts.micros)), subject);
}

fn is_plain(refusal: &Refusal, subject: &Subject) {
    for sentence in [refusal.to_string(), format!("{refusal:#}"), refusal.suggestion()] {
        assert!(!sentence.is_empty() && !sentence.contains(char::is_control), "{sentence:?}");
    }
    for (name, value) in refusal.http().headers {
        assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{name}: {value:?}");
    }
    let json = refusal.to_json().to_string();
    let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(read["details"]["id"], subject.id(), "{json}");
    assert!(!json.contains(|c: char| c.is_ascii_control() && c != '\u{7f}'), "{json:?}");
}

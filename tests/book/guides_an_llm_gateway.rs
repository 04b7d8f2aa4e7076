// Made from docs/guides/an-llm-gateway.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use std::fs;
use std::time::Duration;
use encumber::{ChargeError, DetachedHold, Engine, ManualClock, Policy, ReserveError, Scope, TokenClass, Usage, UsageApi, UsageStream};

const TTL: Duration = Duration::from_secs(600); // longer than the slowest answer; renewed while a stream runs

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Answer {
    fn plain(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned() }
    }
}

/// Holds the worst case of the call, or says what to answer instead.
fn admit(engine: &Engine, scope: &Scope, id: &str, call: &Usage, max_tokens: u64) -> Result<DetachedHold, Answer> {
    let worst_case = match engine.cost(&call.worst_case(max_tokens)) {
        Ok(cost) => cost,
        Err(error) => return Err(Answer::plain(400, &error.to_string())), // a model without a price
    };
    match scope.reserve_with_id(id, TTL, worst_case) {
        Ok(hold) if hold.is_replayed() => Err(Answer::plain(409, "this request is under way")),
        Ok(hold) => Ok(hold),
        Err(ReserveError::Charge(ChargeError::Refused(refusal))) => {
            let http = refusal.http(); // 429, Retry-After, RateLimit; ids are not sent
            Err(Answer { status: http.status, headers: http.headers, body: refusal.to_json().to_string() })
        }
        Err(ReserveError::Conflict) => Err(Answer::plain(409, "this idempotency key was used for another request")),
        Err(ReserveError::Settled) => Err(Answer::plain(409, "this request has been answered")), // or the answer that you kept
        Err(ReserveError::Id(error)) => Err(Answer::plain(400, &error.to_string())),
        Err(ReserveError::Charge(ChargeError::Degraded(_) | ChargeError::TooManyHolds { .. })) => Err(Answer::plain(503, "later")),
        Err(error) => Err(Answer::plain(500, &error.to_string())), // a mistake in the policy or the program
    }
}

let policy = Policy::from_toml(&fs::read_to_string("gateway.toml")?)?;
let clock = ManualClock::at("2026-02-04T12:00:00Z".parse()?); // without it: the system's
let engine = Engine::builder(policy).clock(&clock).build();
let usd = engine.resource("usd")?;
let scope = engine.scope(["key:k1", "team:search"])?;
let call = Usage::new().model("claude-haiku-4-5-20251001").with(TokenClass::Input, 2_000);

let hold = admit(&engine, &scope, "k1/req-1", &call, 1_000).map_err(|answer| answer.body)?;
hold.dispatched(); // just before the request leaves
let body = r#"{
    "model": "claude-haiku-4-5-20251001",
    "usage": { "input_tokens": 2000, "output_tokens": 400 }
}"#;
let cost = UsageApi::Anthropic.parse(body)?.cost(|usage| hold.cost(usage))?;
hold.commit(cost)?;
assert_eq!(scope.usage()?[1].used, 4_000_000); // key-day: 0.4 cents

// The client tries again.
let again = admit(&engine, &scope, "k1/req-1", &call, 1_000).err().ok_or("not refused")?;
assert_eq!((again.status, &*again.body), (409, "this request has been answered"));

let fits = scope.afford_output(&call, 9_500)?;
assert_eq!(fits, 8_800); // 4.6 cents less 0.2 for the input, at 0.0005 cents a token
let refused = admit(&engine, &scope, "k1/req-2", &call, 9_500).err().ok_or("not refused")?;
assert_eq!(refused.status, 429);
assert!(refused.headers.contains(&("Retry-After", "43200".to_owned()))); // the day ends at midnight

let slot = scope.slot(engine.resource("streams")?, TTL)?; // dropped with the task, whatever ends it
let step = 400;
let hold = admit(&engine, &scope, "k1/req-3", &call, step).map_err(|answer| answer.body)?.attach(); // the task answers for it
hold.dispatched();

let events = [
    r#"{"type":"message_start","message":{"model":"claude-haiku-4-5-20251001","usage":{"input_tokens":2000,"output_tokens":1}}}"#,
    r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":390}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":700}}"#,
];
let mut stream = UsageStream::new(UsageApi::Anthropic);
let mut seen = usd.of(0);
let mut paid_for = step;
for event in events {
    if !stream.push_event(event)? {
        continue; // it told nothing about usage
    }
    let Some(told) = stream.so_far() else { continue };
    let now = told.cost(|usage| hold.cost(usage))?;
    hold.observe(&now.beyond(&seen)); // if the task dies here, this much is charged
    seen = now;
    if told.usage.tokens(TokenClass::Output) + 50 > paid_for {
        let more = Usage::new().model("claude-haiku-4-5-20251001").with(TokenClass::Output, step);
        let more = usd.of(hold.cost(&more)?.amount(usd).unwrap_or(0)); // dollars alone: it is no further call
        if hold.try_extend(more).is_err() {
            break; // stop reading, and end the provider's stream
        }
        paid_for += step;
    }
    hold.renew(TTL)?;
    assert!(slot.renew(TTL));
}
let receipt = hold.commit(stream.finish().actual(|usage| hold.cost(usage))?)?; // a cut stream: at least what was held
assert_eq!(receipt.charged().amount(usd), Some(5_500_000));
drop(slot);

Ok(())
}

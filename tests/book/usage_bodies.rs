// Made from docs/usage-bodies.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::{Engine, Policy, UsageApi};

let policy = r#"
    [resources]
    usd = "usd"

    [prices."claude-haiku-4-5-20251001"]
    input = "1"
    output = "5"
    cache_read = "0.1"

    [[limits]]
    id = "user-day"
    subject = "user"
    resource = "usd"
    window = "day"
    max = "25"
"#;
let engine = Engine::new(Policy::from_toml(policy)?);
let usd = engine.resource("usd")?;
let scope = engine.scope(["user:7"])?;
let hold = scope.reserve(usd.of(50_000_000))?;

let body = r#"{
    "model": "claude-haiku-4-5-20251001",
    "usage": { "input_tokens": 1000, "cache_read_input_tokens": 20000, "output_tokens": 300 }
}"#;
let reported = UsageApi::Anthropic.parse(body)?;
let cost = reported.cost(|usage| hold.cost(usage))?; // all parts of it, by the prices of the reservation
assert_eq!(hold.commit(cost)?.charged().amount(usd), Some(4_500_000)); // 1 + 2 + 1.5 thousandths of a dollar

use encumber::UsageStream;

let reply = [ // however the bytes come
    &b"data: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-haiku-4-5-20251001\",\"usage\":{\"input_tokens\":1000,\"out"[..],
    &b"put_tokens\":1}}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":300}}\n\n"[..],
];
let hold = scope.reserve(usd.of(50_000_000))?;
hold.dispatched();
let mut stream = UsageStream::new(UsageApi::Anthropic);
let mut seen = usd.of(0);
for bytes in reply {
    if stream.push_sse(bytes)? {
        let now = stream.so_far().expect("told").cost(|usage| hold.cost(usage))?;
        hold.observe(&now.beyond(&seen)); // what has come to it: a drop charges at least all of it
        seen = now;
    }
}
let receipt = hold.commit(stream.finish().actual(|usage| hold.cost(usage))?)?;
assert_eq!(receipt.charged().amount(usd), Some(2_500_000));

Ok(())
}

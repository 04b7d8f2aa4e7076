//! The analytics events of aider: of these, a `message_send` is a completed call.

use encumber::{TokenClass, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Call, field};

/// The event of a completed call.
const CALL_EVENT: &str = "message_send";

#[derive(Deserialize)]
struct Logged<'a> {
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Properties<'a> {
    #[serde(borrow)]
    main_model: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cost: Option<&'a RawValue>,
}

/// The call of a line, `None` for other events. It ends when it starts: the log records one instant.
pub(super) fn call(line: &str) -> Result<Option<Call>, String> {
    let logged: Logged<'_> = field::object(line)?;
    if field::text("event", logged.event)?.as_deref() != Some(CALL_EVENT) {
        return Ok(None);
    }
    let properties: Properties<'_> = field::object(field::present("properties", logged.properties)?)?;
    let count = |name, raw| field::count(name, field::present(name, raw)?);
    let start = field::unix_seconds("time", field::present("time", logged.time)?)?;
    let user = field::text("user_id", logged.user_id)?.ok_or("user_id: missing")?;
    let mut usage = Usage::new()
        .with(TokenClass::Input, count("prompt_tokens", properties.prompt_tokens)?)
        .with(TokenClass::Output, count("completion_tokens", properties.completion_tokens)?);
    if let Some(model) = field::text("main_model", properties.main_model)? {
        usage = usage.model(&model);
    }
    Ok(Some(Call {
        start,
        end: start,
        user: Some(field::id("user_id", &user)?),
        session: None,
        subagent: None,
        usage,
        recorded_nanos: properties.cost.map(|cost| field::nanos("cost", cost.get())).transpose()?,
    }))
}

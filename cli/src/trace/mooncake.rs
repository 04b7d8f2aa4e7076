//! The Mooncake traces: one JSON object per request, with milliseconds since the start of the trace, which is put at
//! 1970-01-01T00:00:00Z.
//!
//! `hash_ids` would tell what a prefix cache could have served; it is not used, all input counts as uncached.

use encumber::{TokenClass, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Call, field};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    input_length: Option<&'a RawValue>,
    #[serde(borrow)]
    output_length: Option<&'a RawValue>,
}

/// The call of a line. It ends when it starts: the trace records one instant.
pub(super) fn call(line: &str) -> Result<Call, String> {
    let request: Request<'_> = field::object(line)?;
    let count = |name, raw| field::count(name, field::present(name, raw)?);
    let start = field::unix_millis("timestamp", field::present("timestamp", request.timestamp)?)?;
    let usage = Usage::new()
        .with(TokenClass::Input, count("input_length", request.input_length)?)
        .with(TokenClass::Output, count("output_length", request.output_length)?);
    Ok(Call { start, end: start, user: None, session: None, subagent: None, usage, recorded_nanos: None })
}

//! The Azure LLM inference trace: one row per request, with instants in UTC and neither users nor models.

use encumber::{Timestamp, TokenClass, Usage};

use super::record::{Columns, Record};
use super::{Call, field};

/// The columns, in any order.
pub(super) const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

/// The call of a row. It ends when it starts: the trace records one instant.
pub(super) fn call(columns: &Columns<{ COLUMNS.len() }>, row: &Record) -> Result<Call, String> {
    let [time, context, generated] = columns.fields(row)?;
    let start = instant(time)?;
    let usage = Usage::new()
        .with(TokenClass::Input, field::count("ContextTokens", context)?)
        .with(TokenClass::Output, field::count("GeneratedTokens", generated)?);
    Ok(Call { start, end: start, user: None, session: None, subagent: None, usage, recorded_nanos: None })
}

/// An instant without a zone is in UTC.
fn instant(text: &str) -> Result<Timestamp, String> {
    field::instant("TIMESTAMP", &format!("{text}Z")).or_else(|_| field::instant("TIMESTAMP", text))
}

//! The agent-team CSV: one row per call, token classes disjoint.

use encumber::{TokenClass, Usage};

use super::record::{Columns, Record};
use super::{Call, field};

/// The columns that are read, in any order; others are passed over.
pub(super) const COLUMNS: [&str; 11] = [
    "start",
    "end",
    "user",
    "session",
    "agent",
    "model",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
];

/// The classes of the last five columns.
const CLASSES: [TokenClass; 5] =
    [TokenClass::Input, TokenClass::Output, TokenClass::CacheRead, TokenClass::CacheWrite5m, TokenClass::CacheWrite1h];
const COUNTS_FROM: usize = COLUMNS.len() - CLASSES.len();

/// What the column `agent` says for the main agent.
const MAIN_AGENT: &str = "main";

/// The call of a row.
pub(super) fn call(columns: &Columns<{ COLUMNS.len() }>, row: &Record) -> Result<Call, String> {
    let fields = columns.fields(row)?;
    let [start, end, user, session, agent, model] = std::array::from_fn(|column| fields[column]);
    let started = field::instant("start", start)?;
    let ended = field::instant("end", end)?;
    if ended < started {
        return Err(format!("end {end:?} is before start {start:?}"));
    }
    let mut usage = if model.is_empty() { Usage::new() } else { Usage::new().model(model) };
    for (index, class) in CLASSES.into_iter().enumerate() {
        let column = COUNTS_FROM + index;
        usage.add(class, field::count(COLUMNS[column], fields[column])?);
    }
    let agent = field::id("agent", agent)?;
    Ok(Call {
        start: started,
        end: ended,
        user: Some(field::id("user", user)?),
        session: Some(field::id("session", session)?),
        subagent: Some(agent).filter(|agent| &**agent != MAIN_AGENT),
        usage,
        recorded_nanos: None,
    })
}

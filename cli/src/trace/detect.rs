//! Which format a trace is in, from its first lines.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::field;
use super::input::Lines;
use super::record::Record;
use super::{Format, TraceError, agent_team, azure};

/// Lines that are looked at before a format counts as unknown.
const LINES_MAX: usize = 64;

const LOOKED_FOR: &str = "looked for the header of an agent-team CSV (id,start,end,user,session,agent,...) or of an \
    Azure LLM CSV (TIMESTAMP,ContextTokens,GeneratedTokens), and for JSON lines of Claude Code (\"sessionId\" with \
    \"type\"), aider analytics (\"event\" with \"properties\") or Mooncake (\"input_length\", \"output_length\")";

/// Types of Claude Code's lines that name no session.
const CLAUDE_CODE_TYPES: [&str; 3] = ["file-history-snapshot", "summary", "queue-operation"];

/// The format of a trace. Nothing of it counts as read afterwards.
pub(super) fn format(lines: &mut Lines) -> Result<Format, TraceError> {
    let mut is_first = true;
    let mut perhaps = None;
    let seen = lines.look_ahead(LINES_MAX, |line| {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let text = std::str::from_utf8(line).ok().filter(|text| !text.contains('\0'));
        let seen = match text {
            None if is_first => Seen::Binary,
            Some(text) if text.trim_start().starts_with('{') => json(text),
            Some(text) if is_first => csv_header(text),
            None | Some(_) => Seen::Nothing,
        };
        is_first = false;
        match seen {
            Seen::Nothing => None,
            Seen::Perhaps(format) => {
                perhaps = Some(format);
                None
            }
            seen => Some(seen),
        }
    })?;
    match seen {
        Some(Seen::Sure(format)) => Ok(format),
        Some(Seen::Binary) => Err(lines.bad_file(format!("not a text file: {LOOKED_FOR}"))),
        _ if is_first => Err(lines.bad_file(format!("empty: {LOOKED_FOR}"))),
        _ => perhaps.ok_or_else(|| lines.bad_file(format!("not a known format: {LOOKED_FOR}"))),
    }
}

enum Seen {
    Sure(Format),
    Perhaps(Format),
    Binary,
    Nothing,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    session_id: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    #[serde(borrow, rename = "input_length")]
    input_length: Option<&'a RawValue>,
    #[serde(borrow, rename = "output_length")]
    output_length: Option<&'a RawValue>,
}

fn json(line: &str) -> Seen {
    let Ok(keys) = field::object::<Keys<'_>>(line) else { return Seen::Nothing };
    if keys.input_length.is_some() || keys.output_length.is_some() {
        return Seen::Sure(Format::Mooncake);
    }
    if keys.event.is_some() && keys.properties.is_some() {
        return Seen::Sure(Format::Aider);
    }
    if keys.session_id.is_some() && (keys.kind.is_some() || keys.message.is_some()) {
        return Seen::Sure(Format::ClaudeCode);
    }
    match field::text("type", keys.kind) {
        Ok(Some(kind)) if CLAUDE_CODE_TYPES.contains(&&*kind) => Seen::Perhaps(Format::ClaudeCode),
        _ => Seen::Nothing,
    }
}

/// Some columns of the header are enough: that one is missing is for the reader to say.
fn csv_header(line: &str) -> Seen {
    let mut record = Record::default();
    if record.split(line).is_err() {
        return Seen::Nothing;
    }
    let named = |names: &[&str]| (0..record.len()).filter(|&at| names.contains(&record.field(at).trim())).count();
    if named(&azure::COLUMNS) >= 2 {
        Seen::Sure(Format::Azure)
    } else if named(&agent_team::COLUMNS) >= 3 {
        Seen::Sure(Format::AgentTeam)
    } else {
        Seen::Nothing
    }
}

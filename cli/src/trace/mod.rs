//! Recorded traces, read call by call.
//!
//! [`open`] recognises a format by what the file holds, never by its name, and gives a [`Trace`]: an iterator of [`Call`]s in the
//! order of the trace. Memory is bounded whatever the trace's length; a line that cannot be read is an error item that names file,
//! line and cause, after which the iterator goes on with the next line.

mod agent_team;
mod aider;
mod azure;
mod claude_code;
mod detect;
mod field;
mod input;
mod mooncake;
mod record;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use encumber::{Timestamp, Usage};

use input::Lines;
use record::{Columns, Record};

/// One call of a recorded trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// When the request went out.
    pub(crate) start: Timestamp,
    /// When the reply was complete; never before `start`, and equal to it in traces that record one instant per call.
    pub(crate) end: Timestamp,
    /// Who made the call. Any text of 1 to 256 bytes, like the other ids.
    pub(crate) user: Option<Box<str>>,
    /// The session in which it was made.
    pub(crate) session: Option<Box<str>>,
    /// The sub-agent that made it; `None` for the main agent.
    pub(crate) subagent: Option<Box<str>>,
    /// Tokens by class, and the model.
    pub(crate) usage: Usage,
    /// The cost that the trace itself records, in nano-dollars: the exact decimal of the text, rounded up.
    pub(crate) recorded_nanos: Option<u64>,
}

/// The formats of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One row per call of a team of coding agents.
    AgentTeam,
    /// The session log that Claude Code keeps on a user's disk.
    ClaudeCode,
    /// The event log of aider.
    Aider,
    /// The Azure LLM inference trace of 2023.
    Azure,
    /// The Mooncake request traces.
    Mooncake,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AgentTeam => "agent-team CSV",
            Self::ClaudeCode => "Claude Code log",
            Self::Aider => "aider analytics",
            Self::Azure => "Azure LLM CSV",
            Self::Mooncake => "Mooncake JSON lines",
        })
    }
}

/// Why a trace, or one line of it, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceError {
    name: Arc<str>,
    line: Option<u64>,
    cause: String,
    ends_stream: bool,
}

impl TraceError {
    /// Whether nothing more can be read: the stream is broken, not one line of it. The iterator ends after such an error.
    pub(crate) fn ends_stream(&self) -> bool {
        self.ends_stream
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{} line {line}: {}", self.name, self.cause),
            None => write!(f, "{}: {}", self.name, self.cause),
        }
    }
}

impl std::error::Error for TraceError {}

/// Opens a trace, plain or gzip; `-` is standard input.
///
/// # Errors
/// When the file cannot be read, is empty or binary, is in no known format, or its header lacks a column.
pub(crate) fn open(path: &Path) -> Result<Trace, TraceError> {
    if path.as_os_str() == "-" {
        return Trace::new("stdin".into(), Box::new(std::io::stdin()), None);
    }
    let name: Arc<str> = path.display().to_string().into();
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    match opened {
        Ok((file, metadata)) => Trace::new(name, Box::new(file), metadata.is_file().then_some(metadata.len())),
        Err(error) => Err(TraceError { name, line: None, cause: error.to_string(), ends_stream: true }),
    }
}

/// The calls of one trace.
pub(crate) struct Trace {
    lines: Lines,
    record: Record,
    reader: Reader,
    ended: bool,
}

enum Reader {
    AgentTeam(Columns<{ agent_team::COLUMNS.len() }>),
    ClaudeCode(Box<claude_code::Log>),
    Aider,
    Azure(Columns<{ azure::COLUMNS.len() }>),
    Mooncake,
}

impl Trace {
    /// A trace from anything that can be read; `name` is what errors call it, `bytes_total` its length as it is stored.
    ///
    /// # Errors
    /// When it cannot be read or is in no known format.
    pub(crate) fn new(name: Arc<str>, raw: Box<dyn Read + Send>, bytes_total: Option<u64>) -> Result<Self, TraceError> {
        let mut lines = Lines::new(name, raw, bytes_total)?;
        let mut record = Record::default();
        let reader = match detect::format(&mut lines)? {
            Format::AgentTeam => Reader::AgentTeam(header(&mut lines, &mut record, agent_team::COLUMNS)?),
            Format::Azure => Reader::Azure(header(&mut lines, &mut record, azure::COLUMNS)?),
            Format::ClaudeCode => Reader::ClaudeCode(Box::new(claude_code::Log::new(claude_code::OPEN_MAX))),
            Format::Aider => Reader::Aider,
            Format::Mooncake => Reader::Mooncake,
        };
        Ok(Self { lines, record, reader, ended: false })
    }

    /// The recognised format.
    pub(crate) fn format(&self) -> Format {
        match self.reader {
            Reader::AgentTeam(_) => Format::AgentTeam,
            Reader::ClaudeCode(_) => Format::ClaudeCode,
            Reader::Aider => Format::Aider,
            Reader::Azure(_) => Format::Azure,
            Reader::Mooncake => Format::Mooncake,
        }
    }

    /// The path as it was given, or `stdin`.
    pub(crate) fn name(&self) -> &str {
        self.lines.name()
    }

    /// The size of the file on disk in bytes, compressed if it is; `None` for streams.
    pub(crate) fn bytes_total(&self) -> Option<u64> {
        self.lines.bytes_total()
    }

    /// Bytes of the file consumed so far, compressed if it is.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }

    /// The next line's call; `Ok(None)` when the line holds none.
    fn line(&mut self) -> Result<Option<Call>, TraceError> {
        let parsed = match &mut self.reader {
            Reader::AgentTeam(columns) => agent_team::call(columns, &self.record).map(Some),
            Reader::Azure(columns) => azure::call(columns, &self.record).map(Some),
            Reader::ClaudeCode(log) => log.line(self.lines.text()?).map(|()| None),
            Reader::Aider => aider::call(self.lines.text()?),
            Reader::Mooncake => mooncake::call(self.lines.text()?).map(Some),
        };
        parsed.map_err(|cause| self.lines.bad_line(cause))
    }

    fn advance(&mut self) -> Result<bool, TraceError> {
        match self.reader {
            Reader::AgentTeam(_) | Reader::Azure(_) => self.lines.next_record(&mut self.record),
            Reader::ClaudeCode(_) | Reader::Aider | Reader::Mooncake => self.lines.next_line(),
        }
    }
}

impl Iterator for Trace {
    type Item = Result<Call, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Reader::ClaudeCode(log) = &mut self.reader
                && let Some(call) = log.next_call(self.ended)
            {
                return Some(Ok(call));
            }
            if self.ended {
                return None;
            }
            let read = match self.advance() {
                Ok(true) => self.line(),
                Ok(false) => {
                    self.ended = true;
                    Ok(None)
                }
                Err(error) => Err(error),
            };
            if let Some(item) = read.transpose() {
                self.ended |= item.as_ref().is_err_and(TraceError::ends_stream);
                return Some(item);
            }
        }
    }
}

/// Reads the header row of a CSV trace.
fn header<const N: usize>(lines: &mut Lines, record: &mut Record, names: [&str; N]) -> Result<Columns<N>, TraceError> {
    lines.next_record(record)?;
    Columns::find(record, names).map_err(|cause| lines.bad_line(cause))
}

#[cfg(test)]
mod tests;

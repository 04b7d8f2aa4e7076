//! The Azure LLM inference trace: one row per request, with instants in UTC and neither users nor models.

use encumber::{Timestamp, TokenClass, Usage};

use super::record::Record;
use super::{Call, field};

/// The columns, in any order.
pub(super) const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

/// Where a header has the columns.
pub(super) struct Columns {
    at: [usize; COLUMNS.len()],
    header_len: usize,
}

impl Columns {
    /// The columns of a header row.
    ///
    /// # Errors
    /// When one is missing or stands twice.
    pub(super) fn find(header: &Record) -> Result<Self, String> {
        Ok(Self { at: header.columns(COLUMNS)?, header_len: header.len() })
    }

    /// The call of a row. It ends when it starts: the trace records one instant.
    pub(super) fn call(&self, row: &Record) -> Result<Call, String> {
        row.expect_len(self.header_len)?;
        let [time, context, generated] = self.at.map(|column| row.field(column));
        let start = instant(time)?;
        let usage = Usage::new()
            .with(TokenClass::Input, field::count("ContextTokens", context)?)
            .with(TokenClass::Output, field::count("GeneratedTokens", generated)?);
        Ok(Call { start, end: start, user: None, session: None, subagent: None, usage, recorded_nanos: None })
    }
}

/// An instant without a zone is in UTC.
fn instant(text: &str) -> Result<Timestamp, String> {
    field::instant("TIMESTAMP", &format!("{text}Z")).or_else(|_| field::instant("TIMESTAMP", text))
}

//! One record of a CSV file, split into fields.

use std::fmt;

/// The fields of one record. Its memory is used again for the next one.
#[derive(Default)]
pub(super) struct Record {
    text: String,
    ends: Vec<usize>,
}

/// Why a record cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordError {
    /// A quoted field has no closing quote: the record goes on in the next line, or the quote is a stray one.
    OpenQuote,
    /// Text between a closing quote and the next comma.
    AfterQuote,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenQuote => "a quoted field is not closed",
            Self::AfterQuote => "text after the closing quote of a field",
        })
    }
}

impl Record {
    /// Splits `line` at its commas. A field that begins with a quote may hold commas, line breaks, and quotes written twice;
    /// elsewhere quotes are text.
    pub(super) fn split(&mut self, line: &str) -> Result<(), RecordError> {
        self.text.clear();
        self.ends.clear();
        let mut rest = line;
        loop {
            rest = match rest.strip_prefix('"') {
                Some(quoted) => self.unquote(quoted)?,
                None => self.plain(rest),
            };
            self.ends.push(self.text.len());
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => return Ok(()),
            }
        }
    }

    fn plain<'a>(&mut self, rest: &'a str) -> &'a str {
        let end = rest.bytes().position(|b| b == b',').unwrap_or(rest.len());
        self.text.push_str(&rest[..end]);
        &rest[end..]
    }

    fn unquote<'a>(&mut self, mut rest: &'a str) -> Result<&'a str, RecordError> {
        loop {
            let (text, after) = rest.split_once('"').ok_or(RecordError::OpenQuote)?;
            self.text.push_str(text);
            match after.strip_prefix('"') {
                Some(next) => {
                    self.text.push('"');
                    rest = next;
                }
                None if after.is_empty() || after.starts_with(',') => return Ok(after),
                None => return Err(RecordError::AfterQuote),
            }
        }
    }

    /// The number of fields.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Field `index`, which must be below [`Record::len`].
    pub(super) fn field(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }
}

/// Where a header has the columns that a format needs, in the order of their names.
pub(super) struct Columns<const N: usize> {
    at: [usize; N],
    header_len: usize,
}

impl<const N: usize> Columns<N> {
    /// The columns of a header row.
    ///
    /// # Errors
    /// When a name is missing or stands twice.
    pub(super) fn find(header: &Record, names: [&str; N]) -> Result<Self, String> {
        let mut at = [0; N];
        for (index, name) in at.iter_mut().zip(names) {
            let mut found = (0..header.len()).filter(|&at| header.field(at).trim() == name);
            *index = found.next().ok_or_else(|| format!("the header has no column {name:?}"))?;
            if found.next().is_some() {
                return Err(format!("the header has the column {name:?} twice"));
            }
        }
        Ok(Self { at, header_len: header.len() })
    }

    /// The fields of a row in these columns.
    ///
    /// # Errors
    /// When the row has more or fewer fields than the header.
    pub(super) fn fields<'a>(&self, row: &'a Record) -> Result<[&'a str; N], String> {
        match row.len() {
            len if len == self.header_len => Ok(self.at.map(|column| row.field(column))),
            len => Err(format!("{len} fields where the header has {}", self.header_len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<String>, RecordError> {
        let mut record = Record::default();
        record.split(line)?;
        Ok((0..record.len()).map(|at| record.field(at).to_owned()).collect())
    }

    #[test]
    fn quotes_hold_commas_quotes_and_line_breaks() {
        assert_eq!(split("a,,b").unwrap(), ["a", "", "b"]);
        assert_eq!(split("").unwrap(), [""]);
        assert_eq!(split(r#""a,""b""",c"d,"#).unwrap(), [r#"a,"b""#, "c\"d", ""]);
        assert_eq!(split("\"a\nb\",ключ").unwrap(), ["a\nb", "ключ"]);
        assert_eq!(split("\"a,b"), Err(RecordError::OpenQuote));
        assert_eq!(split("\"a\"b,c"), Err(RecordError::AfterQuote));
    }
}

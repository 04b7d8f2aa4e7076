//! Bytes to lines: plain or gzip, counted, with bounded lines and a way to read lines again.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::TraceError;
use super::record::{Record, RecordError};

/// The longest line, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;
/// Lines that one CSV record may span; a quote left open longer is taken for a stray one.
const RECORD_LINES_MAX: u64 = 64;
const BUFFER_BYTES: usize = 128 << 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a trace, numbered from 1 in the decompressed text.
pub(super) struct Lines {
    name: Arc<str>,
    bytes_total: Option<u64>,
    input: Input,
    line: Vec<u8>,
    /// Number of the line that `line` begins with; 0 before the first.
    number: u64,
    /// Number of the last line that was read.
    reached: u64,
}

impl Lines {
    pub(super) fn new(name: Arc<str>, raw: Box<dyn Read + Send>, bytes_total: Option<u64>) -> Result<Self, TraceError> {
        match Source::new(raw) {
            Ok(source) => {
                let input = Input { again: Cursor::default(), source };
                Ok(Self { name, bytes_total, input, line: Vec::new(), number: 0, reached: 0 })
            }
            Err(error) => Err(TraceError { name, line: None, cause: error.to_string(), ends_stream: true }),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bytes_total(&self) -> Option<u64> {
        self.bytes_total
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.input.source.bytes_read()
    }

    /// Moves to the next line that is not blank; `false` at the end.
    pub(super) fn next_line(&mut self) -> Result<bool, TraceError> {
        loop {
            self.line.clear();
            self.number = self.reached + 1;
            if !self.append()? {
                return Ok(false);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// Moves to the next CSV record and splits it; `false` at the end. A quoted field may hold line breaks.
    ///
    /// After an error only the first line of the record counts as read, so that a stray quote costs one line.
    pub(super) fn next_record(&mut self, record: &mut Record) -> Result<bool, TraceError> {
        if !self.next_line()? {
            return Ok(false);
        }
        let first_line_bytes = self.line.len();
        loop {
            let text = match self.text() {
                Ok(text) => text,
                Err(error) => {
                    self.read_again(first_line_bytes + 1);
                    return Err(error);
                }
            };
            let error = match record.split(text) {
                Ok(()) => return Ok(true),
                Err(error) => error,
            };
            if error != RecordError::OpenQuote || !self.has_record_room() || !self.append_to_record()? {
                self.read_again(first_line_bytes + 1);
                return Err(self.bad_line(error.to_string()));
            }
        }
    }

    fn has_record_room(&self) -> bool {
        self.reached - self.number + 1 < RECORD_LINES_MAX && self.line.len() < LINE_BYTES_MAX
    }

    /// Joins the next line to the current one; `false`, with nothing changed, at the end of the stream.
    fn append_to_record(&mut self) -> Result<bool, TraceError> {
        self.line.push(b'\n');
        let more = self.append()?;
        if !more {
            self.line.pop();
        }
        Ok(more)
    }

    /// The current line or record.
    pub(super) fn text(&self) -> Result<&str, TraceError> {
        std::str::from_utf8(&self.line)
            .map_err(|error| self.bad_line(format!("not UTF-8 from byte {}", error.valid_up_to() + 1)))
    }

    /// Shows the coming lines to `decide` until it decides, at most `lines_max` of them, and leaves them all to be read.
    pub(super) fn look_ahead<T>(
        &mut self,
        lines_max: usize,
        mut decide: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, TraceError> {
        self.line.clear();
        self.number = self.reached + 1;
        let mut decided = None;
        for _ in 0..lines_max {
            let from = self.line.len();
            if decided.is_some() || from > LINE_BYTES_MAX || !self.append()? {
                break;
            }
            if from == 0 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            decided = decide(&self.line[from..]);
            self.line.push(b'\n');
        }
        self.line.pop();
        self.read_again(0);
        self.reached = self.number - 1;
        Ok(decided)
    }

    /// The error that the current line has `cause`.
    pub(super) fn bad_line(&self, cause: String) -> TraceError {
        TraceError { name: self.name.clone(), line: Some(self.number), cause, ends_stream: false }
    }

    /// An error of the whole file.
    pub(super) fn bad_file(&self, cause: String) -> TraceError {
        TraceError { name: self.name.clone(), line: None, cause, ends_stream: true }
    }

    /// Reads one more line to the end of `line`, without its line break; `false` at the end of the stream.
    fn append(&mut self) -> Result<bool, TraceError> {
        let before = self.line.len();
        let room = LINE_BYTES_MAX as u64 + 1;
        let read = Read::take(&mut self.input, room).read_until(b'\n', &mut self.line);
        let bytes = read.map_err(|error| self.broken_stream(&error))?;
        if bytes == 0 {
            return Ok(false);
        }
        self.reached += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if bytes as u64 == room {
            self.line.truncate(before);
            self.input.skip_until(b'\n').map_err(|error| self.broken_stream(&error))?;
            let cause = format!("longer than {} MiB", LINE_BYTES_MAX >> 20);
            return Err(TraceError { line: Some(self.reached), ..self.bad_line(cause) });
        }
        if self.line.len() > before && self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(true)
    }

    fn broken_stream(&self, error: &io::Error) -> TraceError {
        let lines = self.reached;
        self.bad_file(match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("cut short after line {lines}: the gzip stream has no end"),
            _ => format!("cannot be read after line {lines}: {error}"),
        })
    }

    /// Leaves the whole lines that `line` holds from `from` on to be read again.
    fn read_again(&mut self, from: usize) {
        if from <= self.line.len() {
            let mut bytes = self.line.split_off(from);
            bytes.push(b'\n');
            let unread = self.input.again.position() as usize;
            bytes.extend_from_slice(&self.input.again.get_ref()[unread..]);
            self.input.again = Cursor::new(bytes);
        }
        self.line.truncate(from.saturating_sub(1));
        self.reached = self.number;
    }
}

/// The source, behind lines that are to be read again.
struct Input {
    again: Cursor<Vec<u8>>,
    source: Source,
}

impl Input {
    fn has_again(&self) -> bool {
        (self.again.position() as usize) < self.again.get_ref().len()
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.has_again() {
            return self.again.fill_buf();
        }
        match &mut self.source {
            Source::Plain(plain) => plain.fill_buf(),
            Source::Gzip(gzip) => gzip.fill_buf(),
        }
    }

    fn consume(&mut self, bytes: usize) {
        if self.has_again() {
            return self.again.consume(bytes);
        }
        match &mut self.source {
            Source::Plain(plain) => plain.consume(bytes),
            Source::Gzip(gzip) => gzip.consume(bytes),
        }
    }
}

/// The file's first bytes, which tell gzip from text, and the rest.
type Raw = BufReader<Chain<Cursor<Vec<u8>>, Counted>>;

enum Source {
    Plain(Raw),
    Gzip(BufReader<MultiGzDecoder<Raw>>),
}

impl Source {
    fn new(raw: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut counted = Counted { raw, bytes: 0 };
        let mut head = Vec::new();
        Read::take(&mut counted, GZIP_MAGIC.len() as u64).read_to_end(&mut head)?;
        let is_gzip = head == GZIP_MAGIC;
        let raw = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head).chain(counted));
        Ok(if is_gzip {
            Self::Gzip(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(raw)))
        } else {
            Self::Plain(raw)
        })
    }

    fn bytes_read(&self) -> u64 {
        let raw = match self {
            Self::Plain(plain) => plain,
            Self::Gzip(gzip) => gzip.get_ref().get_ref(),
        };
        raw.get_ref().get_ref().1.bytes
    }
}

struct Counted {
    raw: Box<dyn Read + Send>,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.raw.read(buffer)?;
        self.bytes += bytes as u64;
        Ok(bytes)
    }
}

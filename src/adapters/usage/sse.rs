//! Server-sent events out of bytes that are cut anywhere.

use super::UsageError;

/// What has come of an event so far.
#[derive(Clone, Debug)]
pub(super) struct Events {
    /// The most bytes of an event.
    bytes_max: usize,
    line: Vec<u8>,
    /// The lines of data of the event, each with its line end.
    data: Vec<u8>,
    /// The last byte was a carriage return: a line feed that follows is part of the same line end.
    after_return: bool,
    began: bool,
}

impl Events {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, line: Vec::new(), data: Vec::new(), after_return: false, began: false }
    }

    /// Takes bytes and hands on the data of each event that ends in them. After an error the rest of the bytes is still read.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        mut event: impl FnMut(&[u8]) -> Result<(), UsageError>,
    ) -> Result<(), UsageError> {
        let mut outcome = Ok(());
        for &byte in bytes {
            let is_second = std::mem::replace(&mut self.after_return, byte == b'\r') && byte == b'\n';
            match byte {
                b'\n' if is_second => {}
                b'\r' | b'\n' => outcome = outcome.and(self.end_line(&mut event)),
                _ if self.line.len() + self.data.len() < self.bytes_max => self.line.push(byte),
                _ => {
                    (self.line, self.data) = (Vec::new(), Vec::new());
                    outcome = outcome.and(Err(UsageError::EventTooLarge));
                }
            }
        }
        outcome
    }

    /// The bytes are over: an event that lacks only its empty line is handed on.
    pub(super) fn finish(&mut self, mut event: impl FnMut(&[u8]) -> Result<(), UsageError>) -> Result<(), UsageError> {
        let ended = self.end_line(&mut event);
        ended.and(self.dispatch(&mut event))
    }

    fn end_line(&mut self, event: &mut impl FnMut(&[u8]) -> Result<(), UsageError>) -> Result<(), UsageError> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.began, true) && line.starts_with("\u{feff}".as_bytes()) {
            line.drain(..3);
        }
        if line.is_empty() {
            return self.dispatch(event);
        }
        // Comments, names and ids of events are of no use here.
        if let Some(data) = line.strip_prefix(b"data:") {
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            self.data.push(b'\n');
        }
        line.clear();
        self.line = line;
        Ok(())
    }

    fn dispatch(&mut self, event: &mut impl FnMut(&[u8]) -> Result<(), UsageError>) -> Result<(), UsageError> {
        if self.data.is_empty() {
            return Ok(());
        }
        let data = std::mem::take(&mut self.data);
        event(data.strip_suffix(b"\n").unwrap_or(&data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut events = Events::new(1_000);
        let mut note = |data: &[u8]| {
            found.push(String::from_utf8_lossy(data).into_owned());
            Ok(())
        };
        for piece in pieces {
            events.push(piece, &mut note).expect("small");
        }
        events.finish(&mut note).expect("small");
        found
    }

    #[test]
    fn line_ends_comments_and_several_lines_of_data() {
        let text = "\u{feff}: hello\nevent: x\ndata: one\n\r\ndata:two\r\ndata: three\r\rid: 7\n\ndata: [DONE]";
        assert_eq!(events(&[text.as_bytes()]), ["one", "two\nthree", "[DONE]"]);
    }

    #[test]
    fn the_same_wherever_the_bytes_are_cut() {
        let text = "data: {\"a\": \"ä\"}\r\n\r\n: ping\r\n\r\ndata: b\r\n\r\n".as_bytes();
        let whole = events(&[text]);
        assert_eq!(whole, ["{\"a\": \"ä\"}", "b"]);
        for cut in 0..=text.len() {
            assert_eq!(events(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
        assert_eq!(events(&text.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn an_event_that_is_too_large_is_an_error_and_the_next_ones_are_read() {
        let mut events = Events::new(20);
        let mut found = Vec::new();
        let mut note = |data: &[u8]| {
            found.push(data.to_vec());
            Ok(())
        };
        let text = format!("data: fits\n\ndata: {}\n\ndata: fits too\n\n", "x".repeat(15));
        assert_eq!(events.push(text.as_bytes(), &mut note), Err(UsageError::EventTooLarge));
        assert_eq!(found, [b"fits".to_vec(), b"fits too".to_vec()]);
    }
}

//! Lines of any length, read within a limit: what is too long is passed over without being kept.

use std::io::{self, BufRead};

/// Longest line that is read, in bytes. Rows are a few kilobytes; longer ones are reported and skipped.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// UTF-8, without its end.
    Text(&'a str),
    /// Not a text; why.
    Bad(String),
}

/// Reads lines from any input.
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// Lines read, the current one included.
    pub number: u64,
}

impl<R: BufRead> Lines<R> {
    /// From the start of an input.
    pub fn new(input: R) -> Self {
        Lines { input, line: Vec::new(), number: 0 }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut length = 0u64;
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if buffer.is_empty() {
                if length == 0 {
                    return Ok(None);
                }
                break;
            }
            let end = memchr::memchr(b'\n', buffer);
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            let used = piece.len() + usize::from(end.is_some());
            length += used as u64;
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        if self.line.len() > LINE_BYTES_MAX {
            let message = format!("the line has {length} bytes; the limit is {LINE_BYTES_MAX}");
            // A long line's memory is given back at once.
            self.line = Vec::new();
            return Ok(Some(Line::Bad(message)));
        }
        Ok(Some(match std::str::from_utf8(&self.line) {
            Ok(text) => Line::Text(text),
            Err(e) => Line::Bad(format!("not UTF-8 from byte {} on", e.valid_up_to())),
        }))
    }
}

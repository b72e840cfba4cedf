//! Lines of any length, read within a limit: what is too long is passed over without being kept.

use std::io::{self, BufRead, BufReader, Read};

/// Longest line that is read, in bytes. Rows are a few kilobytes; longer ones are reported and skipped.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// What some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
    input: BufReader<R>,
    line: Vec<u8>,
    /// Lines read, the current one included.
    pub number: u64,
}

impl<R: Read> Lines<R> {
    /// From the start of an input. A byte order mark there is no part of the first line.
    pub fn new(input: BufReader<R>) -> Self {
        Lines { input, line: Vec::new(), number: 0 }
    }

    /// The next line; `None` at the end. `before_wait` is called whenever nothing is left of what was read, and reading
    /// on may wait for whoever writes.
    ///
    /// # Errors
    /// The input cannot be read, or `before_wait` fails.
    pub fn next_line(&mut self, mut before_wait: impl FnMut() -> io::Result<()>) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut length = 0u64;
        loop {
            if self.input.buffer().is_empty() {
                before_wait()?;
            }
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
        // Compared before the end is cut: a carriage return may stand where the limit cut a longer line.
        if self.line.len() > LINE_BYTES_MAX {
            let message = format!("the line has {length} bytes; the limit is {LINE_BYTES_MAX}");
            // A long line's memory is given back at once.
            self.line = Vec::new();
            return Ok(Some(Line::Bad(message)));
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Some(match std::str::from_utf8(&self.line) {
            Ok(text) => Line::Text(text),
            Err(e) => Line::Bad(format!("not UTF-8 from byte {} on", e.valid_up_to())),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<Result<String, String>> {
        let mut lines = Lines::new(BufReader::with_capacity(64, input));
        let mut all = Vec::new();
        while let Some(line) = lines.next_line(|| Ok(())).unwrap() {
            all.push(match line {
                Line::Text(text) => Ok(text.to_owned()),
                Line::Bad(why) => Err(why),
            });
        }
        all
    }

    #[test]
    fn ends_and_marks_are_no_part_of_a_line() {
        let expected = ["a", "", "b\u{feff}", "c"].map(|line| Ok(line.to_owned()));
        assert_eq!(read("\u{feff}a\r\n\nb\u{feff}\nc".as_bytes()), expected);
    }

    #[test]
    fn a_long_line_is_refused_whatever_stands_at_the_limit() {
        for (at_limit, end) in [("x", "\n"), ("\r", "\n"), ("\r", "x\n"), ("x", "")] {
            let line = format!("{}{at_limit}x{end}next", "x".repeat(LINE_BYTES_MAX));
            let read = read(line.as_bytes());
            assert!(read[0].as_ref().is_err_and(|why| why.contains("limit")), "{at_limit:?} {end:?}");
        }
        let whole = "x".repeat(LINE_BYTES_MAX - 1);
        assert_eq!(read(format!("{whole}\r\n").as_bytes())[0].as_ref().map(String::len), Ok(LINE_BYTES_MAX - 1));
    }

    #[test]
    fn whoever_waits_for_an_answer_gets_it_before_more_is_read() {
        // Gives a line at a time, and counts how often it was told to hand out answers.
        let mut told = 0;
        let input = b"one\n".chain(&b"two\nth"[..]).chain(&b"ree\n"[..]);
        let mut lines = Lines::new(BufReader::new(input));
        let mut before = Vec::new();
        while lines
            .next_line(|| {
                told += 1;
                Ok(())
            })
            .unwrap()
            .is_some()
        {
            before.push(std::mem::take(&mut told));
        }
        assert_eq!(before, [1, 1, 1]);
    }
}

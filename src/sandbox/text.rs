//! What is refused before anything is parsed: the parser and the compiler work by recursion, and their depth is bounded by
//! the text.

use std::ops::Range;

use super::limits::{BRACKETS_MAX, ELIF_MAX, INDENT_MAX, SOURCE_BYTES_MAX, STATEMENT_BYTES_MAX};

/// One thing wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Bytes of the source.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at a range of bytes.
    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Problem { span, message: message.into(), hint: None }
    }

    /// Adds what to do.
    pub(super) fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}

/// Switches on a type checker whose work nothing bounds.
const PRAGMA: &str = "@starlark-rust";

/// Checks a source.
///
/// # Errors
/// The first problem.
pub(super) fn check(source: &str) -> Result<(), Problem> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(Problem::at(0..1, format!("a source has at most {SOURCE_BYTES_MAX} bytes, not {}", source.len())));
    }
    if let Some(at) = source.find(PRAGMA) {
        return Err(Problem::at(at..at + PRAGMA.len(), format!("`{PRAGMA}` is not allowed, not even in a comment")));
    }
    Scanner { bytes: source.as_bytes(), at: 0, statement: 0, begin: 0, open: 0, elifs: 0 }.run()
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes of the statement so far.
    statement: usize,
    begin: usize,
    open: usize,
    elifs: usize,
}

impl Scanner<'_> {
    fn run(mut self) -> Result<(), Problem> {
        self.line()?;
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                b'#' => self.skip_comment(),
                b'"' | b'\'' => self.skip_string(byte)?,
                b'\n' => {
                    self.at += 1;
                    if self.open == 0 {
                        self.statement = 0;
                        self.begin = self.at;
                        self.line()?;
                    }
                }
                b'\\' => self.at += 2,
                b' ' | b'\t' | b'\r' => self.at += 1,
                _ => self.byte(byte)?,
            }
        }
        Ok(())
    }

    /// The start of a line outside of brackets.
    fn line(&mut self) -> Result<(), Problem> {
        let rest = &self.bytes[self.at..];
        let indent = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        if indent > INDENT_MAX {
            let span = self.at..self.at + indent;
            return Err(Problem::at(span, format!("a line is indented by at most {INDENT_MAX} columns")));
        }
        if rest[indent..].starts_with(b"elif") {
            self.elifs += 1;
            if self.elifs > ELIF_MAX {
                let span = self.at + indent..self.at + indent + 4;
                let hint = "a dict from values to results does the same";
                return Err(Problem::at(span, format!("a file has at most {ELIF_MAX} `elif`")).hint(hint));
            }
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8) -> Result<(), Problem> {
        match byte {
            b'(' | b'[' | b'{' => self.open += 1,
            b')' | b']' | b'}' => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        if self.open > BRACKETS_MAX {
            let message = format!("an expression has at most {BRACKETS_MAX} nested brackets");
            return Err(Problem::at(self.at..self.at + 1, message));
        }
        self.at += 1;
        self.statement += 1;
        if self.statement > STATEMENT_BYTES_MAX {
            let message = format!("a statement has at most {STATEMENT_BYTES_MAX} bytes");
            return Err(Problem::at(self.begin..self.begin + 1, message).hint("write it as several statements"));
        }
        Ok(())
    }

    fn skip_comment(&mut self) {
        self.at += self.bytes[self.at..].iter().take_while(|b| **b != b'\n').count();
    }

    /// A string counts as one byte, one with expressions in it (`f"{x}"`) as what it is. One that does not end goes to the
    /// end of its line, or of the file: the parser tells.
    fn skip_string(&mut self, quote: u8) -> Result<(), Problem> {
        self.statement += 1;
        let triple = self.bytes[self.at..].starts_with(&[quote; 3]);
        let end: &[u8] = if triple { &[quote; 3] } else { &[quote] };
        let formatted = self.is_formatted();
        let mut inside = 0_usize;
        self.at += end.len();
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                // In a raw string a backslash keeps the quote after it from ending the string as well.
                b'\\' => self.at += 2,
                b'\n' if !triple => return Ok(()),
                b'"' | b'\'' if inside > 0 => {
                    let message = "a string inside the braces of an f-string";
                    let hint = "give the value a name first, and write the name";
                    return Err(Problem::at(self.at..self.at + 1, message).hint(hint));
                }
                _ if self.bytes[self.at..].starts_with(end) => {
                    self.at += end.len();
                    return Ok(());
                }
                _ if formatted => {
                    match byte {
                        b'{' => inside += 1,
                        b'}' => inside = inside.saturating_sub(1),
                        _ => {}
                    }
                    self.byte(if inside > 0 { byte } else { b'.' })?;
                }
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    /// Whether an `f` stands before the quote, alone or with an `r`.
    fn is_formatted(&self) -> bool {
        let before = self.bytes[..self.at].iter().rev();
        before.take_while(|b| b.is_ascii_alphabetic()).take(2).any(|b| matches!(b, b'f' | b'F'))
    }
}

//! Whether Python's `json.loads` accepts a text.

/// Deepest nesting: Python's parser gives up at about a thousand levels.
const DEPTH_MAX: usize = 990;
/// Most digits of a whole number that Python converts.
const INT_DIGITS_MAX: usize = 4_300;
/// The values that are words.
const WORDS: [&str; 6] = ["null", "true", "false", "NaN", "Infinity", "-Infinity"];

/// Whether the text is one JSON value as Python reads it: `NaN`, `Infinity` and lone surrogates are fine, a byte order
/// mark, control characters in strings and whole numbers of more than 4,300 digits are not.
pub(super) fn parses(text: &str) -> bool {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    reader.document().is_some()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, text: &str) -> Option<()> {
        self.bytes[self.at..].starts_with(text.as_bytes()).then(|| self.at += text.len())
    }

    fn document(&mut self) -> Option<()> {
        // What closes each open list (`]`) and object (`}`).
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.space();
            let opened = self.value(&mut open)?;
            if !opened {
                self.close(&mut open)?;
                if open.is_empty() {
                    self.space();
                    return (self.at == self.bytes.len()).then_some(());
                }
            }
        }
    }

    /// Reads a scalar, or opens a list or object that is not empty (then `true`).
    fn value(&mut self, open: &mut Vec<u8>) -> Option<bool> {
        match self.peek()? {
            b'[' => {
                self.at += 1;
                self.space();
                if self.take("]").is_some() {
                    return Some(false);
                }
                open.push(b']');
                (open.len() <= DEPTH_MAX).then_some(true)
            }
            b'{' => {
                self.at += 1;
                self.space();
                if self.take("}").is_some() {
                    return Some(false);
                }
                open.push(b'}');
                self.key()?;
                (open.len() <= DEPTH_MAX).then_some(true)
            }
            b'"' => self.string().map(|()| false),
            _ if WORDS.iter().any(|w| self.take(w).is_some()) => Some(false),
            _ => self.number().map(|()| false),
        }
    }

    fn key(&mut self) -> Option<()> {
        self.space();
        self.string()?;
        self.space();
        self.take(":")
    }

    /// After a value: closes what ends here, and steps over the comma to the next value.
    fn close(&mut self, open: &mut Vec<u8>) -> Option<()> {
        while let Some(closer) = open.last().copied() {
            self.space();
            let next = self.peek()?;
            self.at += 1;
            if next == closer {
                open.pop();
                continue;
            }
            if next != b',' {
                return None;
            }
            return if closer == b'}' { self.key() } else { Some(()) };
        }
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        self.take("\"")?;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                b'\\' => {
                    let escape = self.peek()?;
                    self.at += 1;
                    match escape {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            let digits = self.bytes.get(self.at..self.at + 4)?;
                            digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                            self.at += 4;
                        }
                        _ => return None,
                    }
                }
                0..=0x1f => return None,
                _ => {}
            }
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take("-");
        let whole = match self.peek()? {
            b'0' => {
                self.at += 1;
                1
            }
            b'1'..=b'9' => self.digits(),
            _ => return None,
        };
        let mark = self.at;
        let mut is_whole = true;
        if self.take(".").is_some() {
            if self.digits() == 0 {
                self.at = mark;
                return (whole <= INT_DIGITS_MAX).then_some(());
            }
            is_whole = false;
        }
        let mark = self.at;
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                self.at = mark;
            } else {
                is_whole = false;
            }
        }
        (!is_whole || whole <= INT_DIGITS_MAX).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::parses;

    #[test]
    fn what_python_reads_is_json() {
        for text in [
            "1", "-0", "0.5", "1e5", "1E-5", "NaN", "-Infinity", "Infinity", "null", "true", "\"\"", "[]", "{}", " [1, 2 ] ",
            "{\"a\": [{}, {\"b\": \"\\ud800\"}]}", "\"\\u00e9 é \u{7f}\"", "{\"a\":1,\"a\":2}", "[[[[]]]]", "1e999",
        ] {
            assert!(parses(text), "{text}");
        }
        assert!(parses(&"1".repeat(4300)) && parses(&format!("{}.0", "1".repeat(5000))));
    }

    #[test]
    fn what_python_rejects_is_not() {
        for text in [
            "", "01", "1.", "+1", ".5", "-", "- 1", "nul", "'a'", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}",
            "\"\n\"", "\"\t\"", "\"\\x41\"", "\"\\u12g4\"", "[1 2]", "1 2", "{} {}", "\u{feff}1", "[1}", "{\"a\":1]", "\"", "[",
            "nan", "-NaN", "\u{a0}1", "[1]]", "1e", "Infinit", "--Infinity", "{1:2}",
        ] {
            assert!(!parses(text), "{text}");
        }
        assert!(!parses(&"1".repeat(4301)) && !parses(&"[".repeat(100_000)));
    }
}

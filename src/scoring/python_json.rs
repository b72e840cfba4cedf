//! JSON as Python's `json.loads` reads it.
//!
//! The official checkers are Python programs: what they make of an answer depends on what their parser accepts and on
//! the kinds it gives. So this parser keeps what others throw away or refuse:
//!
//! | input | value |
//! |---|---|
//! | `NaN`, `Infinity`, `-Infinity` | floats |
//! | `5`, `5.0`, `5e0` | int, float, float |
//! | integers of any size | exact; beyond [`INT_DIGITS_MAX`] digits an error, as there |
//! | `1e999` | infinity |
//! | a lone surrogate, escaped or raw | kept ([`PyStr::Surrogates`]) |
//! | duplicate keys | the last value, in the place of the first |
//! | values nested deeper than [`DEPTH_MAX`] | an error, as there (a `RecursionError`) |
//!
//! White space is space, tab, line feed and carriage return; a byte order mark, raw control characters in strings,
//! trailing data and trailing commas are errors. The parser keeps its own stack, so no input can exhaust the thread's.

mod values;

use values::push_code_point;
pub use values::{Piece, PyDict, PyInt, PyStr, PyValue};

/// Most digits of an integer: Python's limit for converting text (`sys.get_int_max_str_digits`, since 3.11).
pub const INT_DIGITS_MAX: usize = 4300;
/// How deep lists and objects may nest. Python's own limit is 1,000 frames less those of its callers; this is what
/// remains where the official checkers call it.
pub const DEPTH_MAX: usize = 990;
/// Room for what follows a string's first escape, in bytes: arguments on the wire are strings full of them.
const ESCAPED_RESERVE: usize = 120;

/// Why a text is not JSON to Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PyJsonError {
    /// It breaks the grammar.
    #[error("expected {wanted} at byte {at}")]
    Syntax {
        /// What would have been right.
        wanted: &'static str,
        /// Where, in bytes from the start.
        at: usize,
    },
    /// An integer has too many digits.
    #[error("the integer at byte {at} has more than {INT_DIGITS_MAX} digits")]
    IntegerTooLong {
        /// Where it starts.
        at: usize,
    },
    /// Lists and objects nest too deep.
    #[error("lists and objects nest deeper than {DEPTH_MAX} at byte {at}")]
    TooDeep {
        /// Where the first one too many starts.
        at: usize,
    },
}

/// Reads one JSON text.
///
/// # Errors
/// Wherever `json.loads` raises, whatever it raises.
pub fn parse(text: &str) -> Result<PyValue, PyJsonError> {
    Parser { bytes: text.as_bytes(), at: 0 }.document()
}

/// Reads one JSON text that may itself hold lone surrogates.
///
/// # Errors
/// Wherever `json.loads` raises, whatever it raises.
pub fn parse_str(text: &PyStr) -> Result<PyValue, PyJsonError> {
    Parser { bytes: text.as_bytes(), at: 0 }.document()
}

/// Whether `json.loads` reads a text.
#[must_use]
pub fn is_valid(text: &str) -> bool {
    parse(text).is_ok()
}

/// A list or object whose end has not come yet.
enum Open {
    List(Vec<PyValue>),
    /// With the key whose value is being read.
    Dict(PyDict, PyStr),
}

struct Parser<'a> {
    /// Generalised UTF-8.
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn document(mut self) -> Result<PyValue, PyJsonError> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            self.skip_white();
            let mut value = match self.peek() {
                Some(b'[') => {
                    self.enter(open.len())?;
                    if self.take(b']') {
                        PyValue::List(Vec::new())
                    } else {
                        open.push(Open::List(Vec::new()));
                        continue;
                    }
                }
                Some(b'{') => {
                    self.enter(open.len())?;
                    if self.take(b'}') {
                        PyValue::Dict(PyDict::default())
                    } else {
                        let key = self.key()?;
                        open.push(Open::Dict(PyDict::default(), key));
                        continue;
                    }
                }
                _ => self.scalar()?,
            };
            // The value goes into what is open; what it closes goes on outwards.
            loop {
                self.skip_white();
                match open.pop() {
                    None => return if self.at == self.bytes.len() { Ok(value) } else { self.fail("the end") },
                    Some(Open::List(mut items)) => {
                        items.push(value);
                        if self.take(b',') {
                            open.push(Open::List(items));
                            break;
                        }
                        self.expect(b']', "',' or ']'")?;
                        value = PyValue::List(items);
                    }
                    Some(Open::Dict(mut map, key)) => {
                        map.insert(key, value);
                        if self.take(b',') {
                            self.skip_white();
                            let key = self.key()?;
                            open.push(Open::Dict(map, key));
                            break;
                        }
                        self.expect(b'}', "',' or '}'")?;
                        value = PyValue::Dict(map);
                    }
                }
            }
        }
    }

    /// Steps over an opening bracket and the white space behind it.
    fn enter(&mut self, depth: usize) -> Result<(), PyJsonError> {
        if depth >= DEPTH_MAX {
            return Err(PyJsonError::TooDeep { at: self.at });
        }
        self.at += 1;
        self.skip_white();
        Ok(())
    }

    /// A key with its colon.
    fn key(&mut self) -> Result<PyStr, PyJsonError> {
        self.expect(b'"', "a key in double quotes")?;
        let key = self.string()?;
        self.skip_white();
        self.expect(b':', "':'")?;
        Ok(key)
    }

    fn scalar(&mut self) -> Result<PyValue, PyJsonError> {
        const WORDS: [(&[u8], PyValue); 6] = [
            (b"null", PyValue::None),
            (b"true", PyValue::Bool(true)),
            (b"false", PyValue::Bool(false)),
            (b"NaN", PyValue::Float(f64::NAN)),
            (b"Infinity", PyValue::Float(f64::INFINITY)),
            (b"-Infinity", PyValue::Float(f64::NEG_INFINITY)),
        ];
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                return self.string().map(PyValue::Str);
            }
            Some(b'0'..=b'9') => return self.number(),
            Some(b'-') if self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit) => return self.number(),
            _ => {}
        }
        let rest = &self.bytes[self.at..];
        for (word, value) in WORDS {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.fail("a value")
    }

    fn number(&mut self) -> Result<PyValue, PyJsonError> {
        let start = self.at;
        self.take(b'-');
        let first_digit = self.at;
        if !self.take(b'0') {
            self.digits();
        }
        let digits = self.at - first_digit;
        let mut is_float = false;
        if self.peek() == Some(b'.') && self.digit_at(self.at + 1) {
            is_float = true;
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.bytes.get(self.at + 1), Some(b'+' | b'-')));
            if self.digit_at(self.at + 1 + sign) {
                is_float = true;
                self.at += 1 + sign;
                self.digits();
            }
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default();
        if is_float {
            return text.parse().map_or_else(|_| self.fail("a number"), |x| Ok(PyValue::Float(x)));
        }
        if digits > INT_DIGITS_MAX {
            return Err(PyJsonError::IntegerTooLong { at: start });
        }
        Ok(PyValue::Int(PyInt::new(text)))
    }

    fn digits(&mut self) {
        while self.digit_at(self.at) {
            self.at += 1;
        }
    }

    fn digit_at(&self, at: usize) -> bool {
        self.bytes.get(at).is_some_and(u8::is_ascii_digit)
    }

    /// A string behind its opening quote.
    fn string(&mut self) -> Result<PyStr, PyJsonError> {
        let mut built = Vec::new();
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1F)).unwrap_or(rest.len());
            self.at += plain;
            match rest.get(plain) {
                Some(b'"') => {
                    self.at += 1;
                    built.extend_from_slice(&rest[..plain]);
                    return Ok(PyStr::from_bytes(built));
                }
                Some(b'\\') => {
                    if built.is_empty() {
                        built.reserve(plain + ESCAPED_RESERVE);
                    }
                    built.extend_from_slice(&rest[..plain]);
                    self.at += 1;
                    self.escape(&mut built)?;
                }
                Some(_) => return self.fail("no control character in a string"),
                None => return self.fail("the string's closing quote"),
            }
        }
    }

    /// An escape behind its backslash. A high and a low surrogate that follow each other as escapes are one character.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), PyJsonError> {
        let plain = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => c,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.at += 1;
                let mut code = self.unit()?;
                if (0xD800..0xDC00).contains(&code) && self.bytes[self.at..].starts_with(b"\\u") {
                    let back = self.at;
                    self.at += 2;
                    let low = self.unit()?;
                    if (0xDC00..0xE000).contains(&low) {
                        code = 0x1_0000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                    } else {
                        self.at = back;
                    }
                }
                push_code_point(code, out);
                return Ok(());
            }
            _ => return self.fail("an escape that JSON knows"),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, PyJsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            match self.peek().and_then(|b| char::from(b).to_digit(16)) {
                Some(digit) => unit = unit * 16 + digit,
                None => return self.fail("four hexadecimal digits"),
            }
            self.at += 1;
        }
        Ok(unit)
    }

    fn skip_white(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8, wanted: &'static str) -> Result<(), PyJsonError> {
        if self.take(byte) { Ok(()) } else { self.fail(wanted) }
    }

    fn fail<T>(&self, wanted: &'static str) -> Result<T, PyJsonError> {
        Err(PyJsonError::Syntax { wanted, at: self.at })
    }
}

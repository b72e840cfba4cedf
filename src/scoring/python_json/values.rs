//! The values that Python's parser makes of JSON.

use std::collections::HashMap;
use std::fmt;

/// Objects up to this size are searched without an index.
const SMALL_DICT: usize = 16;

/// A Python `str`: code points, among which lone surrogates may stand.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PyStr {
    /// Without lone surrogates: ordinary text.
    Text(String),
    /// With at least one: UTF-8 that also encodes surrogates, each by three bytes ("generalised UTF-8").
    Surrogates(Vec<u8>),
}

impl PyStr {
    /// From generalised UTF-8.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => PyStr::Text(text),
            Err(e) => PyStr::Surrogates(e.into_bytes()),
        }
    }

    /// The text, when it holds no lone surrogate.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            PyStr::Text(text) => Some(text),
            PyStr::Surrogates(_) => None,
        }
    }

    /// Its bytes in generalised UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            PyStr::Text(text) => text.as_bytes(),
            PyStr::Surrogates(bytes) => bytes,
        }
    }

    /// Whether it holds no character.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The string cut at its surrogates: pieces of text and surrogates in turn.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut rest = self.as_bytes();
        std::iter::from_fn(move || {
            let (piece, len) = match rest {
                [] => return None,
                [0xED, second, third, ..] if *second >= 0xA0 => {
                    let unit = 0xD000 | (u16::from(second & 0x3F) << 6) | u16::from(third & 0x3F);
                    (Piece::Surrogate(unit), 3)
                }
                _ => {
                    let len = rest.windows(2).position(|w| w[0] == 0xED && w[1] >= 0xA0).unwrap_or(rest.len());
                    (Piece::Text(std::str::from_utf8(&rest[..len]).unwrap_or_default()), len)
                }
            };
            rest = &rest[len.min(rest.len())..];
            Some(piece)
        })
    }

    /// Its code points, each as a string.
    pub fn characters(&self) -> impl Iterator<Item = PyStr> {
        self.pieces().flat_map(|piece| match piece {
            Piece::Text(text) => text.chars().map(|c| PyStr::Text(c.to_string())).collect(),
            Piece::Surrogate(unit) => {
                let mut bytes = Vec::new();
                push_code_point(u32::from(unit), &mut bytes);
                vec![PyStr::Surrogates(bytes)]
            }
        })
    }

    /// A copy in which a function has changed all that is no lone surrogate.
    #[must_use]
    pub fn map_text(&self, change: impl Fn(&str) -> String) -> PyStr {
        if let PyStr::Text(text) = self {
            return PyStr::Text(change(text));
        }
        let mut bytes = Vec::new();
        for piece in self.pieces() {
            match piece {
                Piece::Text(text) => bytes.extend_from_slice(change(text).as_bytes()),
                Piece::Surrogate(unit) => push_code_point(u32::from(unit), &mut bytes),
            }
        }
        PyStr::Surrogates(bytes)
    }

    /// Appends it as a JSON string; quotes, backslashes, control characters and lone surrogates are escaped.
    pub fn write_json(&self, out: &mut String) {
        use fmt::Write as _;
        out.push('"');
        for piece in self.pieces() {
            match piece {
                Piece::Surrogate(unit) => {
                    let _ = write!(out, "\\u{unit:04x}");
                }
                Piece::Text(text) => {
                    for c in text.chars() {
                        match c {
                            '"' => out.push_str("\\\""),
                            '\\' => out.push_str("\\\\"),
                            '\n' => out.push_str("\\n"),
                            '\r' => out.push_str("\\r"),
                            '\t' => out.push_str("\\t"),
                            c if u32::from(c) < 0x20 => {
                                let _ = write!(out, "\\u{:04x}", u32::from(c));
                            }
                            c => out.push(c),
                        }
                    }
                }
            }
        }
        out.push('"');
    }
}

/// A part of a [`PyStr`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text without surrogates, not empty.
    Text(&'a str),
    /// A lone surrogate.
    Surrogate(u16),
}

impl fmt::Debug for PyStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write_json(&mut text);
        f.write_str(&text)
    }
}

impl From<&str> for PyStr {
    fn from(text: &str) -> Self {
        PyStr::Text(text.to_owned())
    }
}

impl PartialEq<str> for PyStr {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// A Python `int`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PyInt {
    /// Within 64 bits.
    Small(i64),
    /// Beyond: sign and decimal digits, the first of which is not 0.
    Big(Box<str>),
}

impl PyInt {
    pub(super) fn new(text: &str) -> Self {
        text.parse().map_or_else(|_| PyInt::Big(text.into()), PyInt::Small)
    }

    /// Python's `float(int)`: the nearest float, `None` where it raises `OverflowError`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rounding to the nearest float is what is asked for")]
    pub fn to_float(&self) -> Option<f64> {
        match self {
            PyInt::Small(n) => Some(*n as f64),
            PyInt::Big(digits) => digits.parse::<f64>().ok().filter(|x| x.is_finite()),
        }
    }

    /// Whether it is exactly this float.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "in that branch the float is a whole number below 2^53")]
    pub fn equals_float(&self, x: f64) -> bool {
        /// From here on floats are whole, and not all whole numbers are floats.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if !x.is_finite() || x.fract() != 0.0 {
            return false;
        }
        match self {
            PyInt::Small(n) if x.abs() < EXACT => *n == x as i64,
            PyInt::Small(n) => n.to_string() == format!("{x:.0}"),
            PyInt::Big(digits) => x.abs() >= EXACT && **digits == *format!("{x:.0}"),
        }
    }
}

/// A value as Python holds it. Bool is not int, `1.0` is a float.
#[derive(Debug, Clone)]
pub enum PyValue {
    /// `None`.
    None,
    /// A `bool`.
    Bool(bool),
    /// An `int`.
    Int(PyInt),
    /// A `float`, possibly infinite or not a number.
    Float(f64),
    /// A `str`.
    Str(PyStr),
    /// A `list`.
    List(Vec<PyValue>),
    /// A `dict`.
    Dict(PyDict),
}

impl PyValue {
    /// Python's equality as containers use it: bool, int and float compare as numbers, exactly; the parser's NaN is
    /// one object, and containers take an object for equal to itself.
    #[must_use]
    pub fn equals(&self, other: &PyValue) -> bool {
        use PyValue::{Bool, Dict, Float, Int, List, None, Str};
        match (self, other) {
            (None, None) => true,
            (Bool(a), Bool(b)) => a == b,
            (Int(a), Int(b)) => a == b,
            (Float(a), Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Bool(a), Int(b)) | (Int(b), Bool(a)) => *b == PyInt::Small(i64::from(*a)),
            (Bool(a), Float(b)) | (Float(b), Bool(a)) => *b == f64::from(u8::from(*a)),
            (Int(a), Float(b)) | (Float(b), Int(a)) => a.equals_float(*b),
            (Str(a), Str(b)) => a == b,
            (List(a), List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.equals(y)),
            (Dict(a), Dict(b)) => a.len() == b.len() && a.iter().all(|(k, x)| b.get(k).is_some_and(|y| x.equals(y))),
            _ => false,
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&PyStr> {
        match self {
            PyValue::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The list, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&[PyValue]> {
        match self {
            PyValue::List(items) => Some(items),
            _ => None,
        }
    }

    /// The dict, if it is one.
    #[must_use]
    pub fn as_dict(&self) -> Option<&PyDict> {
        match self {
            PyValue::Dict(map) => Some(map),
            _ => None,
        }
    }

    /// Appends it as JSON, as `json.dumps(value, ensure_ascii=False)` writes it, without blanks.
    pub fn write_json(&self, out: &mut String) {
        match self {
            PyValue::None => out.push_str("null"),
            PyValue::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            PyValue::Int(PyInt::Small(n)) => out.push_str(&n.to_string()),
            PyValue::Int(PyInt::Big(digits)) => out.push_str(digits),
            PyValue::Float(x) => out.push_str(&float_repr(*x)),
            PyValue::Str(text) => text.write_json(out),
            PyValue::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    item.write_json(out);
                }
                out.push(']');
            }
            PyValue::Dict(map) => {
                out.push('{');
                for (i, (key, value)) in map.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    key.write_json(out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// Whether it is the empty string.
    #[must_use]
    pub fn is_empty_str(&self) -> bool {
        matches!(self, PyValue::Str(text) if text.is_empty())
    }
}

/// A Python `dict`: string keys in the order in which they first came.
#[derive(Debug, Clone, Default)]
pub struct PyDict {
    entries: Vec<(PyStr, PyValue)>,
    /// Places by key, once there are many.
    index: Option<HashMap<PyStr, usize>>,
}

impl PyDict {
    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&PyStr, &PyValue)> {
        self.entries.iter().map(|(k, v)| (k, v))
    }

    /// Whether the key is there.
    #[must_use]
    pub fn contains(&self, key: &PyStr) -> bool {
        self.place(key).is_some()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &PyStr) -> Option<&PyValue> {
        self.place(key).map(|i| &self.entries[i].1)
    }

    /// The value of a key written as text.
    #[must_use]
    pub fn get_text(&self, key: &str) -> Option<&PyValue> {
        if self.index.is_some() {
            return self.get(&PyStr::from(key));
        }
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// A value to be changed in place.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut PyValue> {
        let at = self.place(&PyStr::from(key))?;
        Some(&mut self.entries[at].1)
    }

    /// The values, to be changed in place.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut PyValue> {
        self.entries.iter_mut().map(|(_, v)| v)
    }

    /// Sets the value of a key; an old one is replaced in its place.
    pub fn insert(&mut self, key: PyStr, value: PyValue) {
        if let Some(at) = self.place(&key) {
            self.entries[at].1 = value;
            return;
        }
        if let Some(index) = &mut self.index {
            index.insert(key.clone(), self.entries.len());
        }
        self.entries.push((key, value));
        if self.index.is_none() && self.entries.len() > SMALL_DICT {
            self.index = Some(self.entries.iter().enumerate().map(|(i, (k, _))| (k.clone(), i)).collect());
        }
    }

    fn place(&self, key: &PyStr) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.entries.iter().position(|(k, _)| k == key),
        }
    }
}

impl IntoIterator for PyDict {
    type Item = (PyStr, PyValue);
    type IntoIter = std::vec::IntoIter<(PyStr, PyValue)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// Python's `repr` of a float, as its JSON writer puts it.
fn float_repr(x: f64) -> String {
    if x.is_nan() {
        return "NaN".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // Both languages print the shortest digits that read back; only the place where exponents begin differs.
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or_default() {
        power @ -4..=15 => {
            let plain = format!("{x}");
            if plain.contains('.') || power < 0 { plain } else { format!("{plain}.0") }
        }
        power if power < 0 => format!("{digits}e-{:02}", -power),
        power => format!("{digits}e+{power:02}"),
    }
}

/// Appends a code point in generalised UTF-8.
pub(super) fn push_code_point(code: u32, out: &mut Vec<u8>) {
    if let Some(c) = char::from_u32(code) {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        return;
    }
    // What is no `char` below 0x11_0000 is a surrogate.
    let byte = |shift: u32| ((code >> shift) & 0x3F) as u8 | 0x80;
    out.extend_from_slice(&[0xED, byte(6), byte(0)]);
}

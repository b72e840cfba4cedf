//! JSON as a person should write it: no key twice, not too deep; and where in the text a value stands.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::limits::DEPTH_MAX;
use super::source::{Locator, Spans, Step, clip};

/// Why a line is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JsonError {
    /// Byte in the text at which the parser stopped.
    pub(super) at: usize,
    /// What it saw.
    pub(super) message: String,
}

/// Parses one JSON value; a key given twice or nesting beyond [`DEPTH_MAX`] is an error.
pub(super) fn parse(text: &str) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Strict { depth_left: DEPTH_MAX }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| JsonError { at: offset_of(text, error.line(), error.column()), message: plain(&error) })
}

/// The byte offset of a line and column as `serde_json` counts them (columns in bytes, of the last byte read).
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

/// The message without the position that `serde_json` appends.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&suffix).unwrap_or(&text).to_owned()
}

/// Reads a value as [`parse`] does, as a part of an object.
pub(super) struct Strict {
    depth_left: usize,
}

/// The reader of a value that stands in the outermost object.
pub(super) fn inner() -> Strict {
    Strict { depth_left: DEPTH_MAX - 1 }
}

impl Strict {
    fn deeper<E: serde::de::Error>(&self) -> Result<Strict, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Strict { depth_left }),
            None => Err(E::custom(format!("nested more than {DEPTH_MAX} deep"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.deeper()?)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        // A number arrives as a map of one entry when a dependency switches `serde_json` to numbers of any precision.
        // It is taken to 64 bits here, so that equal numbers have equal text, whatever the dependencies switch on.
        while let Some(key) = map.next_key::<String>()? {
            if object.is_empty() && key == NUMBER_TOKEN {
                return number(&map.next_value::<String>()?);
            }
            match object.entry(key) {
                Entry::Occupied(known) => {
                    return Err(A::Error::custom(format!("key `{}` stands here twice", clip(known.key()))));
                }
                Entry::Vacant(free) => {
                    free.insert(map.next_value_seed(self.deeper()?)?);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

/// The key under which `serde_json` hands over a number of any precision.
pub(super) const NUMBER_TOKEN: &str = "$serde_json::private::Number";

pub(super) fn number<E: serde::de::Error>(text: &str) -> Result<Value, E> {
    if let Ok(integer) = text.parse::<i64>() {
        return Ok(Value::from(integer));
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Ok(Value::from(integer));
    }
    let float = text.parse().ok().and_then(Number::from_f64);
    float.map(Value::Number).ok_or_else(|| E::custom("number out of range"))
}

/// Finds paths in a text that [`parse`] has accepted.
pub(super) struct JsonLocator<'a>(pub(super) &'a str);

impl Locator for JsonLocator<'_> {
    fn locate(&self, steps: &[Step<'_>]) -> Option<Spans> {
        let mut scan = Scan { text: self.0, at: 0 };
        let mut found = None;
        for step in steps {
            let spans = match step {
                Step::Key(key) => scan.enter_key(key),
                Step::Index(index) => scan.enter_index(*index),
            };
            match spans {
                Some(spans) => {
                    scan.at = spans.value.start;
                    found = Some(spans);
                }
                None => break,
            }
        }
        found
    }
}

/// A walk over valid JSON text. On anything else it stops early with `None`.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl Scan<'_> {
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn string(&mut self) -> Option<Range<usize>> {
        self.expect(b'"')?;
        let start = self.at - 1;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(start..self.at)
    }

    /// Skips one value of any kind.
    fn value(&mut self) -> Option<Range<usize>> {
        self.peek()?;
        let start = self.at;
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    open = open.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                _ => self.scalar(),
            }
            if open == 0 {
                return Some(start..self.at);
            }
        }
    }

    fn scalar(&mut self) {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(|b| !matches!(b, b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\n' | b'\r'))
        {
            self.at += 1;
        }
    }

    fn enter_key(&mut self, wanted: &str) -> Option<Spans> {
        self.expect(b'{')?;
        while self.peek()? != b'}' {
            let key = self.string()?;
            self.expect(b':')?;
            let value = self.value()?;
            if serde_json::from_str::<String>(self.text.get(key.clone())?).ok()? == wanted {
                return Some(Spans { key, value });
            }
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        None
    }

    fn enter_index(&mut self, wanted: usize) -> Option<Spans> {
        self.expect(b'[')?;
        let mut index = 0;
        while self.peek()? != b']' {
            let value = self.value()?;
            if index == wanted {
                return Some(Spans { key: value.clone(), value });
            }
            index += 1;
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str, steps: &[Step<'_>]) -> (String, String) {
        let spans = JsonLocator(text).locate(steps).unwrap();
        (text[spans.key].to_owned(), text[spans.value].to_owned())
    }

    #[test]
    fn a_key_given_twice_is_an_error_at_its_place() {
        let text = r#"{"id": "a", "x": {"b": 1, "b": 2}}"#;
        let error = parse(text).unwrap_err();
        assert_eq!(error.message, "key `b` stands here twice");
        assert!(text[..error.at + 1].ends_with("\"b\""), "{}", &text[..error.at + 1]);
    }

    #[test]
    fn equal_numbers_have_equal_text() {
        let text = parse("[1.0, 1.00, 1e0, 10E-1, 12, -0.50]").unwrap().to_string();
        assert_eq!(text, "[1.0,1.0,1.0,1.0,12,-0.5]");
        assert!(parse("1e999").is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(&deep(DEPTH_MAX)).is_ok());
        assert!(parse(&deep(DEPTH_MAX + 2)).unwrap_err().message.contains("nested more than"));
        assert!(parse(&deep(100_000)).is_err());
    }

    #[test]
    fn paths_are_found_past_strings_with_brackets_and_escapes() {
        let text = r#" {"a\"}" : [1, {"k": "]}\\"} , -2.5e3] , "b": {"c": true, "d": null}}"#;
        assert_eq!(
            found(text, &[Step::Key("a\"}"), Step::Index(1), Step::Key("k")]),
            ("\"k\"".into(), r#""]}\\""#.into())
        );
        assert_eq!(found(text, &[Step::Key("a\"}"), Step::Index(2)]).1, "-2.5e3");
        assert_eq!(found(text, &[Step::Key("b"), Step::Key("d")]), ("\"d\"".into(), "null".into()));
        // The deepest part that exists.
        assert_eq!(found(text, &[Step::Key("b"), Step::Key("nope")]).0, "\"b\"");
        assert_eq!(JsonLocator(text).locate(&[Step::Key("nope")]), None);
    }

    proptest! {
        #[test]
        fn scanning_any_text_ends_without_a_panic(text in "[\\[\\]{}\",:a\\\\ 1é]{0,60}") {
            let _ = parse(&text);
            let _ = JsonLocator(&text).locate(&[Step::Key("a"), Step::Index(1), Step::Key("")]);
        }

        #[test]
        fn agrees_with_serde_json_on_valid_text(numbers in proptest::collection::vec(any::<f64>(), 0..8), text in ".*") {
            let numbers: Vec<f64> = numbers.into_iter().filter(|n| n.is_finite()).collect();
            let value = serde_json::json!({"numbers": numbers, "integers": [u64::MAX, i64::MIN, 0], "text": text, "deep": [{"x": [null, true]}]});
            prop_assert_eq!(parse(&value.to_string()).unwrap(), value);
        }
    }
}

//! Canonical JSON (keys sorted, no white space) and the hashes built on it.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// JSON text with sorted keys and without white space; numbers as `serde_json` prints them.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut out = Vec::new();
    write_value(value, &mut out);
    // Only whole texts are written: the default is never taken.
    String::from_utf8(out).unwrap_or_default()
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_plain(key, out);
                out.push(b':');
                write_value(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(item, out);
            }
            out.push(b']');
        }
        other => write_plain(other, out),
    }
}

fn write_plain<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Writing texts and numbers into memory does not fail.
    let _ = serde_json::to_writer(out, value);
}

/// [`canonical_json`] of compact JSON text as `serde_json` writes it, without making a tree of it: only the order of keys
/// can differ.
#[must_use]
pub fn canonical_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_canonical_text(&mut out, text);
    out
}

/// Appends what [`canonical_text`] gives.
pub fn push_canonical_text(out: &mut String, text: &str) {
    let before = out.len();
    let mut scan = Compact { text, at: 0, out };
    let is_whole = scan.value().is_some() && scan.at == text.len();
    if !is_whole {
        // Another text than is promised.
        out.truncate(before);
        out.push_str(&canonical_json(&serde_json::from_str(text).unwrap_or_default()));
    }
}

/// A walk over compact JSON text that writes it with sorted keys; `None` where the text is something else.
struct Compact<'a, 'o> {
    text: &'a str,
    at: usize,
    out: &'o mut String,
}

impl<'a> Compact<'a, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => {
                let token = self.string()?;
                self.out.push_str(token);
                Some(())
            }
            _ => {
                let rest = self.text.get(self.at..)?;
                let end = rest.bytes().position(|b| matches!(b, b',' | b']' | b'}')).unwrap_or(rest.len());
                self.out.push_str(rest.get(..end)?);
                self.at += end;
                (end > 0).then_some(())
            }
        }
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        if self.peek()? != b'"' {
            return None;
        }
        let mut at = start + 1;
        loop {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                break;
            }
            at += 2;
        }
        self.at = at + 1;
        self.text.get(start..self.at)
    }

    fn array(&mut self) -> Option<()> {
        self.at += 1;
        self.out.push('[');
        if self.peek()? == b']' {
            self.at += 1;
            self.out.push(']');
            return Some(());
        }
        loop {
            self.value()?;
            let (next, end) = (self.peek()?, b']');
            self.at += 1;
            self.out.push(char::from(next));
            match next {
                b',' => {}
                _ if next == end => return Some(()),
                _ => return None,
            }
        }
    }

    fn object(&mut self) -> Option<()> {
        self.at += 1;
        self.out.push('{');
        let begin = self.out.len();
        if self.peek()? == b'}' {
            self.at += 1;
            self.out.push('}');
            return Some(());
        }
        // Each entry's key and its place in what is written.
        let mut entries: Vec<(&str, std::ops::Range<usize>)> = Vec::new();
        loop {
            if !entries.is_empty() {
                self.out.push(',');
            }
            let start = self.out.len();
            let key = self.string()?;
            self.out.push_str(key);
            if self.peek()? != b':' {
                return None;
            }
            self.at += 1;
            self.out.push(':');
            self.value()?;
            entries.push((key, start..self.out.len()));
            let next = self.peek()?;
            self.at += 1;
            match next {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        self.sorted(&mut entries, begin)?;
        self.out.push('}');
        Some(())
    }

    /// Puts the entries that stand at the end of what is written into the order of their keys, with commas between.
    fn sorted(&mut self, entries: &mut [(&str, std::ops::Range<usize>)], begin: usize) -> Option<()> {
        if entries.iter().any(|(key, _)| key.contains('\\')) {
            // Escapes sort otherwise than what they mean.
            let mut meant: Vec<(String, std::ops::Range<usize>)> = Vec::with_capacity(entries.len());
            for (key, range) in entries.iter() {
                meant.push((serde_json::from_str(key).ok()?, range.clone()));
            }
            meant.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            return self.laid(begin, meant.into_iter().map(|(_, range)| range));
        }
        // Without the closing quote, which some characters are smaller than.
        fn meant<'k>((key, _): &(&'k str, std::ops::Range<usize>)) -> &'k [u8] {
            &key.as_bytes()[..key.len() - 1]
        }
        if entries.is_sorted_by(|a, b| meant(a) <= meant(b)) {
            return Some(());
        }
        entries.sort_unstable_by(|a, b| meant(a).cmp(meant(b)));
        let ranges: Vec<std::ops::Range<usize>> = entries.iter().map(|(_, range)| range.clone()).collect();
        self.laid(begin, ranges.into_iter())
    }

    fn laid(&mut self, begin: usize, ranges: impl Iterator<Item = std::ops::Range<usize>>) -> Option<()> {
        let mut laid = String::with_capacity(self.out.len() - begin + 16);
        for (i, range) in ranges.enumerate() {
            if i > 0 {
                laid.push(',');
            }
            laid.push_str(self.out.get(range)?);
        }
        self.out.truncate(begin);
        self.out.push_str(&laid);
        Some(())
    }
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 over several parts, each preceded by its length, so that no two lists of parts collide.
#[must_use]
pub fn sha256_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let text = "[a-zé\"\\\\\u{1}\n {}:,#!]{0,6}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((text, inner), 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    #[test]
    fn keys_are_sorted_by_what_they_mean() {
        let value =
            json!({"b": [1.5, {"z": null, "a": "\"é"}], "a\"": {}, "a!": 1, "a": 2, "": true, "a\n": -0.0, "é": 1e300});
        assert_eq!(canonical_text(&value.to_string()), canonical_json(&value));
        let sorted = r#"{"":true,"a":2,"a\n":-0.0,"a!":1,"a\"":{},"b":[1.5,{"a":"\"é","z":null}],"é":1e+300}"#;
        assert_eq!(canonical_json(&value), sorted);
        assert_eq!(canonical_text("{ \"b\" : 1, \"a\": [ ] }"), r#"{"a":[],"b":1}"#, "white space is passed over");
    }

    proptest! {
        #[test]
        fn text_and_tree_have_one_canonical_form(value in any_json()) {
            prop_assert_eq!(canonical_text(&value.to_string()), canonical_json(&value));
        }
    }
}

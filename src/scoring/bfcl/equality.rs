//! Equality of strings as the checker understands it.

use super::super::python_json::{PyStr, PyValue};

/// Characters that do not count.
const IGNORED: [char; 8] = [' ', ',', '.', '/', '-', '_', '*', '^'];

/// A string without the signs that do not count, in lower case, with double for single quotes. Tabs, line ends and all
/// other signs count.
#[must_use]
pub fn normalised(text: &PyStr) -> PyStr {
    // A lone surrogate has no case and ends every word, so that the pieces between can be taken one by one.
    text.map_text(normalised_text)
}

fn normalised_text(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !IGNORED.contains(c)).collect();
    lower(&kept).replace('\'', "\"")
}

/// Capital letters that Unicode gained after version 14, which is that of the official checker's Python 3.11: to it they
/// have no case.
const NEWER_CAPITALS: [std::ops::RangeInclusive<char>; 9] = [
    '\u{1C89}'..='\u{1C89}',
    '\u{A7CB}'..='\u{A7CC}',
    '\u{A7CE}'..='\u{A7CE}',
    '\u{A7D2}'..='\u{A7D2}',
    '\u{A7D4}'..='\u{A7D4}',
    '\u{A7DA}'..='\u{A7DA}',
    '\u{A7DC}'..='\u{A7DC}',
    '\u{10D50}'..='\u{10D65}',
    '\u{16EA0}'..='\u{16EB8}',
];

/// Python's `str.lower`: like Rust's, final sigma included, but with the letters of Unicode 14.
fn lower(text: &str) -> String {
    let is_newer = |c: char| c >= '\u{1C89}' && NEWER_CAPITALS.iter().any(|r| r.contains(&c));
    if !text.contains(is_newer) {
        return text.to_lowercase();
    }
    // What has no case ends a word, so that the pieces between can be taken one by one.
    text.split_inclusive(is_newer)
        .flat_map(|piece| {
            let last = piece.chars().next_back().filter(|c| is_newer(*c));
            let cased = &piece[..piece.len() - last.map_or(0, char::len_utf8)];
            [cased.to_lowercase(), last.map_or_else(String::new, String::from)]
        })
        .collect()
}

/// Whether two strings are the same once normalised.
pub(super) fn same_string(a: &PyStr, b: &PyStr) -> bool {
    match (a, b) {
        (PyStr::Text(a), PyStr::Text(b)) if a.is_ascii() && b.is_ascii() => plain(a).eq(plain(b)),
        _ => normalised(a) == normalised(b),
    }
}

/// The normalised bytes of an ASCII text.
fn plain(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(|b| !IGNORED.contains(&char::from(*b))).map(|b| match b {
        b'\'' => b'"',
        other => other.to_ascii_lowercase(),
    })
}

/// Equality of two values after their strings, and nothing inside them, were normalised.
pub(super) fn same_value(a: &PyValue, b: &PyValue) -> bool {
    match (a, b) {
        (PyValue::Str(a), PyValue::Str(b)) => same_string(a, b),
        _ => a.equals(b),
    }
}

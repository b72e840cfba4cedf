//! What the importers share: limits, lines, ids, notes, the header.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{ImportError, Imported, toml_string};
use crate::domain::canonical::{canonical_json, sha256_hex};
use crate::domain::{CaseId, SuiteName};
use crate::suites::limits::{CASES_BYTES_MAX, CASES_MAX, DEPTH_MAX, LINE_BYTES_MAX};
use crate::suites::template::{Segment, segments};

/// Largest source file, in bytes.
pub const SOURCE_BYTES_MAX: u64 = CASES_BYTES_MAX;
/// Most problems listed for one source; more are counted in a last line.
pub const PROBLEMS_MAX: usize = 200;
/// Most places listed in one note.
const PLACES_SHOWN_MAX: usize = 8;
/// Most different notes; what comes after is counted together.
const NOTES_MAX: usize = 500;
/// Hexadecimal digits of a hash in ids and revisions.
const HASH_DIGITS: usize = 12;
/// Longest part of an id that is taken from a source, in bytes.
const ID_PART_BYTES_MAX: usize = 120;
/// Longest excerpt of a source in a message, in characters.
const EXCERPT_CHARS_MAX: usize = 80;

/// Licence of cases whose source states one of its own, or none.
pub(super) const LICENSE_AS_SOURCE: &str = "LicenseRef-as-source";

/// Something in a source that cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File, and line from 1 where there is one: `tests.yaml:12`.
    pub place: String,
    /// What it is, by name.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Problems as people read them.
pub(super) fn listed(problems: &[Problem]) -> String {
    let mut text = match problems {
        [one] => return one.to_string(),
        many => format!("{} things cannot be imported:", many.len()),
    };
    for problem in problems.iter().take(PROBLEMS_MAX) {
        let _ = write!(text, "\n  {problem}");
    }
    if problems.len() > PROBLEMS_MAX {
        let _ = write!(text, "\n  and {} more", problems.len() - PROBLEMS_MAX);
    }
    text
}

/// An error of one problem.
pub(super) fn refused(place: impl Into<String>, what: impl Into<String>) -> ImportError {
    ImportError::Problems(vec![Problem { place: place.into(), what: what.into() }])
}

/// Files that a source names, read by the edge. Paths are relative to the source's folder.
pub trait Files {
    /// The bytes of a file.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;
}

/// What was left out or changed: equal words are one note, with their places.
#[derive(Debug, Default)]
pub(super) struct Notes {
    order: Vec<String>,
    places: HashMap<String, (usize, Vec<String>)>,
    beyond: usize,
}

impl Notes {
    /// Adds a note about a place (empty: the whole source).
    pub(super) fn add(&mut self, what: impl Into<String>, place: &str) {
        let what = what.into();
        if !self.places.contains_key(&what) {
            if self.order.len() == NOTES_MAX {
                self.beyond += 1;
                return;
            }
            self.order.push(what.clone());
        }
        let (count, places) = self.places.entry(what).or_default();
        *count += 1;
        if places.len() < PLACES_SHOWN_MAX && !place.is_empty() && !places.iter().any(|p| p == place) {
            places.push(place.to_owned());
        }
    }

    /// The notes in the order in which they first came up.
    pub(super) fn into_lines(self) -> Vec<String> {
        let mut lines = Vec::with_capacity(self.order.len() + 1);
        for what in &self.order {
            let Some((count, places)) = self.places.get(what) else { continue };
            let more = if *count > places.len() && !places.is_empty() { ", ..." } else { "" };
            lines.push(match (places.is_empty(), *count) {
                (true, 1) => what.clone(),
                (true, n) => format!("{what} ({n} times)"),
                (false, 1) => format!("{what} ({})", places.join(", ")),
                (false, n) => format!("{what} ({n} times: {}{more})", places.join(", ")),
            });
        }
        if self.beyond > 0 {
            lines.push(format!("{} further notes of other kinds are not listed", self.beyond));
        }
        lines
    }
}

/// A suite under construction.
#[derive(Debug, Default)]
pub(super) struct Draft {
    cases: Vec<String>,
    bytes: u64,
    ids: HashSet<String>,
    /// What was left out or changed.
    pub(super) notes: Notes,
}

/// What the header says beside the cases.
pub(super) struct Head<'a> {
    /// The suite's name.
    pub(super) name: &'a str,
    /// `tool_use`, `output_quality` or both.
    pub(super) kind: &'a [&'a str],
    /// SPDX expression or `LicenseRef-...`.
    pub(super) license: &'a str,
    /// Where the cases came from, without a folder.
    pub(super) url: String,
    /// Hash of the source's bytes.
    pub(super) sha256: String,
    /// Scorers of every case without its own.
    pub(super) scorers: &'a [Value],
}

impl Draft {
    /// Adds a case. An id that is taken gets a number; what no suite may hold leaves the case out, with a note.
    ///
    /// # Errors
    /// There are more cases than a suite may have.
    pub(super) fn push(&mut self, place: &str, id: &str, mut case: Map<String, Value>) -> Result<bool, ImportError> {
        if self.cases.len() == CASES_MAX {
            let what = format!("a suite has at most {CASES_MAX} cases; split the source, or take a part of it");
            return Err(refused(place, what));
        }
        let id = self.free_id(id, place);
        case.shift_insert(0, "id".to_owned(), Value::String(id.clone()));
        match case_line(&Value::Object(case)) {
            Ok(line) => {
                self.bytes += line.len() as u64 + 1;
                if self.bytes > CASES_BYTES_MAX {
                    let what = format!("a suite has at most {CASES_BYTES_MAX} bytes of cases; split the source");
                    return Err(refused(place, what));
                }
                self.ids.insert(id);
                self.cases.push(line);
                Ok(true)
            }
            Err(why) => {
                self.notes.add(format!("left out: {why}"), place);
                Ok(false)
            }
        }
    }

    fn free_id(&mut self, id: &str, place: &str) -> String {
        let id = clean_id(id);
        if !self.ids.contains(&id) {
            return id;
        }
        self.notes.add("an id was there already and got a number", place);
        (2..).map(|n: u64| format!("{id}-{n}")).find(|id| !self.ids.contains(id)).unwrap_or(id)
    }

    /// Closes the suite. Its revision is a hash of the header's rules and the cases, so that other cases have another.
    ///
    /// # Errors
    /// The name cannot name a suite; there is no case.
    pub(super) fn finish(self, head: &Head<'_>) -> Result<Imported, ImportError> {
        SuiteName::new(head.name).map_err(|e| refused(head.name, format!("this cannot name a suite: {e}")))?;
        if self.cases.is_empty() {
            let notes = self.notes.into_lines();
            let why = if notes.is_empty() { "it holds none".to_owned() } else { notes.join("; ") };
            return Err(refused(&head.url, format!("no case could be imported: {why}")));
        }
        let (scorers, metrics) = (scorers_toml(head.scorers), metrics_toml(head.scorers));
        let all = format!("{scorers}\n{}", self.cases.join("\n"));
        let revision: String = sha256_hex(all.as_bytes()).chars().take(HASH_DIGITS).collect();
        let kinds: Vec<String> = head.kind.iter().map(|k| toml_string(k)).collect();
        let header = format!(
            "version  = 1\nname     = {}\nkind     = [{}]\nrevision = {}\nlicense  = {}\n\n[source]\nurl    = {}\nsha256 = {}\n{scorers}{metrics}",
            toml_string(head.name),
            kinds.join(", "),
            toml_string(&format!("import-{revision}")),
            toml_string(head.license),
            toml_string(&head.url),
            toml_string(&head.sha256),
        );
        Ok(Imported { name: head.name.to_owned(), header, cases: self.cases, notes: self.notes.into_lines() })
    }
}

/// Scorers of the header: tables whose values are texts, truth values or numbers.
fn scorers_toml(scorers: &[Value]) -> String {
    let mut text = String::new();
    for scorer in scorers.iter().filter_map(Value::as_object) {
        text.push_str("\n[[scorers]]\n");
        for (key, value) in scorer {
            let value = value.as_str().map_or_else(|| value.to_string(), toml_string);
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text
}

/// The figures that scorecards are to tell of a suite with these scorers.
fn metrics_toml(scorers: &[Value]) -> &'static str {
    match scorers.iter().any(|scorer| scorer["type"] == "tool-schema") {
        // As the Kimi K2 Vendor Verifier counts it.
        true => "\n[[metrics]]\nname = \"schema_accuracy\"\nof = \"calls\"\n",
        false => "",
    }
}

/// The first number in a value that is larger than any a suite may hold, as a phrase. Sources are read with numbers of any
/// length; a suite's are doubles.
pub(super) fn number_too_large(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if number.as_f64().is_none_or(f64::is_infinite) => {
            Some(format!("the number {} is too large, a suite holds 64-bit numbers", excerpt(&number.to_string())))
        }
        Value::Array(items) => items.iter().find_map(number_too_large),
        Value::Object(map) => map.values().find_map(number_too_large),
        _ => None,
    }
}

/// One line of `cases.jsonl`.
fn case_line(case: &Value) -> Result<String, String> {
    if depth(case) > DEPTH_MAX {
        return Err(format!("nested more than {DEPTH_MAX} deep"));
    }
    if let Some(why) = number_too_large(case) {
        return Err(why);
    }
    let line = case.to_string();
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("the case has more than {LINE_BYTES_MAX} bytes"));
    }
    Ok(line)
}

/// How deep brackets nest in a value; parsed JSON is never deeper than its parser's limit.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A text as the id of a case: what ids may not hold becomes `_`; a long one is cut and keeps a hash of the whole.
pub(super) fn clean_id(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() || c.is_whitespace() { '_' } else { c }).collect();
    if !clean.is_empty() && clean.len() <= ID_PART_BYTES_MAX && CaseId::new(&clean).is_ok() {
        return clean;
    }
    let head: String = clean.char_indices().take_while(|(at, _)| *at < ID_PART_BYTES_MAX / 2).map(|(_, c)| c).collect();
    format!("{head}-{}", short_hash(text))
}

/// The first digits of a text's hash.
pub(super) fn short_hash(text: &str) -> String {
    sha256_hex(text.as_bytes()).chars().take(HASH_DIGITS).collect()
}

/// An id from what a case asks.
pub(super) fn content_id(prefix: &str, value: &Value) -> String {
    format!("{prefix}-{}", short_hash(&canonical_json(value)))
}

/// An excerpt for messages.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        None => format!("{text:?}"),
        Some((at, _)) => format!("{:?}...", &text[..at]),
    }
}

/// Calls a function for every line that is not blank, with its number from 1. A line is JSON, or says why not.
pub(super) fn each_json_line(
    bytes: &[u8],
    mut work: impl FnMut(usize, Result<Value, String>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (at, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() {
            work(at + 1, parse_line(line))?;
        }
    }
    Ok(())
}

/// JSON of a source: never longer than a line may be, never nested deeper than the parser's 128.
pub(super) fn parse_line(line: &[u8]) -> Result<Value, String> {
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("the line has {} bytes, at most {LINE_BYTES_MAX} are read", line.len()));
    }
    serde_json::from_slice(line).map_err(|e| format!("not JSON: {e}"))
}

/// A source too large to be read.
///
/// # Errors
/// It is larger than [`SOURCE_BYTES_MAX`].
pub(super) fn check_size(place: &str, bytes: &[u8]) -> Result<(), ImportError> {
    match bytes.len() as u64 > SOURCE_BYTES_MAX {
        true => Err(refused(place, format!("the file has {} bytes, at most {SOURCE_BYTES_MAX} are read", bytes.len()))),
        false => Ok(()),
    }
}

/// Text of another tool in which `{{name}}` is no placeholder of ours: each gets the backslash that keeps it.
pub(super) fn escape_text(text: &str) -> String {
    if !text.contains("{{") {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for segment in segments(text) {
        match segment {
            Segment::Text(text) => out.push_str(text),
            Segment::Name(_, raw) => {
                out.push('\\');
                out.push_str(raw);
            }
            // `\{{name}}` as it stands: one backslash escapes the braces, the other is text.
            Segment::Escaped(raw) => {
                out.push_str("\\\\");
                out.push_str(raw);
            }
        }
    }
    out
}

/// [`escape_text`] for every string of a value.
///
/// # Errors
/// A key holds a placeholder: keys are never filled, so they cannot be kept.
pub(super) fn escape(value: &mut Value) -> Result<(), String> {
    match value {
        Value::String(text) if text.contains("{{") => *text = escape_text(text),
        Value::Array(items) => items.iter_mut().try_for_each(escape)?,
        Value::Object(map) => {
            if let Some(key) = map.keys().find(|key| holds_placeholder(key)) {
                return Err(format!("the key {} holds braces that a suite takes for a placeholder", excerpt(key)));
            }
            map.values_mut().try_for_each(escape)?;
        }
        _ => {}
    }
    Ok(())
}

/// Whether a suite would take a part of a text for a placeholder.
pub(super) fn holds_placeholder(text: &str) -> bool {
    text.contains("{{") && segments(text).iter().any(|s| !matches!(s, Segment::Text(_)))
}

/// Whether a suite would take a part of any string for a placeholder.
pub(super) fn any_placeholder(value: &Value) -> bool {
    match value {
        Value::String(text) => holds_placeholder(text),
        Value::Array(items) => items.iter().any(any_placeholder),
        Value::Object(map) => map.iter().any(|(k, v)| holds_placeholder(k) || any_placeholder(v)),
        _ => false,
    }
}

/// Why a value is not a JSON Schema that a suite may hold; `None` when it is.
pub(super) fn schema_problem(schema: &Value) -> Option<String> {
    match schema.is_object() {
        true => crate::scoring::check_schema(schema).err(),
        false => Some("a JSON Schema is an object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn notes_are_counted_with_their_first_places() {
        let mut notes = Notes::default();
        for line in 1..=20 {
            notes.add("dropped: `user`", &format!("a:{line}"));
        }
        notes.add("whole", "");
        assert_eq!(
            notes.into_lines(),
            ["dropped: `user` (20 times: a:1, a:2, a:3, a:4, a:5, a:6, a:7, a:8, ...)", "whole"]
        );
    }

    #[test]
    fn ids_are_clean_unique_and_bounded() {
        assert_eq!(clean_id("live_simple_1-2"), "live_simple_1-2");
        assert_eq!(clean_id("a b\tc"), "a_b_c");
        assert!(CaseId::new(&clean_id(&"ä ".repeat(4_000))).is_ok());
        assert_ne!(clean_id(&"x".repeat(500)), clean_id(&"x".repeat(501)));
        let mut draft = Draft::default();
        for _ in 0..3 {
            assert!(draft.push("f:1", "same", Map::new()).unwrap());
        }
        assert_eq!(draft.cases, [r#"{"id":"same"}"#, r#"{"id":"same-2"}"#, r#"{"id":"same-3"}"#]);
    }

    #[test]
    fn deep_values_and_hostile_schemas_are_refused() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert!(case_line(&deep).unwrap_err().contains("64"));
        for schema in [
            json!({"$ref": "https://example.com/a"}),
            json!({"type": "text"}),
            json!({"pattern": "(?=a)"}),
            json!(true),
        ] {
            assert!(schema_problem(&schema).is_some(), "{schema}");
        }
        assert_eq!(schema_problem(&json!({"$defs": {"a": {}}, "$ref": "#/$defs/a"})), None);
        assert!(escape(&mut json!({"{{a}}": 1})).is_err());
    }

    proptest! {
        #[test]
        fn escaped_text_means_itself(text in "[{}a\\\\ x]{0,24}") {
            let meant: String = segments(&escape_text(&text)).iter().map(|s| match s {
                Segment::Text(t) | Segment::Escaped(t) => *t,
                Segment::Name(..) => "PLACEHOLDER",
            }).collect();
            prop_assert_eq!(meant, text);
        }
    }
}

//! Where a value stands in a file that a person wrote, and the list of what is wrong there.
//!
//! Both files of a suite become JSON values first. Nothing is remembered about places while all is well: only when
//! a problem is reported is the text scanned again for the path of the value ([`Locator`]).

use std::ops::Range;
use std::path::Path as FilePath;

use serde_json::{Map, Value};

use crate::diagnostics::{Diagnostic, Diagnostics, Place, nearest};

use super::limits::PROBLEMS_MAX;

/// One step from a value to a value inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Into an object or table.
    Key(&'a str),
    /// Into an array.
    Index(usize),
}

/// A path of steps, built on the stack while walking: costs nothing unless it is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Option<Step<'a>>,
}

impl<'a> Path<'a> {
    /// The document itself.
    pub(super) const ROOT: Path<'static> = Path { parent: None, step: None };

    /// One key further in.
    pub(super) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Some(Step::Key(key)) }
    }

    /// One index further in.
    pub(super) fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Some(Step::Index(index)) }
    }

    /// The steps from the document to the value.
    pub(super) fn steps(&self) -> Vec<Step<'a>> {
        let mut steps: Vec<Step<'a>> = Vec::new();
        let mut at = Some(self);
        while let Some(path) = at {
            steps.extend(path.step);
            at = path.parent;
        }
        steps.reverse();
        steps
    }

    /// As people write it: `tools[0].function.name`.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for step in self.steps() {
            match step {
                Step::Key(key) if out.is_empty() => out.push_str(key),
                Step::Key(key) => {
                    out.push('.');
                    out.push_str(key);
                }
                Step::Index(index) => out.push_str(&format!("[{index}]")),
            }
        }
        out
    }
}

/// The byte ranges of one step's key (when it is a key) and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spans {
    /// The key, quotes included; the value's range for an array element.
    pub(super) key: Range<usize>,
    /// The value.
    pub(super) value: Range<usize>,
}

/// Finds the place of a path in a text. The deepest part of the path that the text has is taken, because
/// a value may come from elsewhere (a variable).
pub(super) trait Locator {
    /// The ranges of the deepest known step; `None` for the document itself.
    fn locate(&self, steps: &[Step<'_>]) -> Option<Spans>;
}

/// Which part of an entry the caret stands under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// What is wrong in one document: a header, or one line of cases.
pub(super) struct Findings<'a> {
    file: &'a FilePath,
    text: &'a str,
    first_line: usize,
    locator: &'a dyn Locator,
    list: Vec<Diagnostic>,
}

impl<'a> Findings<'a> {
    /// Nothing found yet in a text whose first line has the number `first_line`.
    pub(super) fn new(file: &'a FilePath, text: &'a str, first_line: usize, locator: &'a dyn Locator) -> Self {
        Findings { file, text, first_line, locator, list: Vec::new() }
    }

    /// How many problems were found so far.
    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// What was found.
    pub(super) fn into_list(self) -> Vec<Diagnostic> {
        self.list
    }

    /// Reports a problem at a byte range of the text.
    pub(super) fn at_span(&mut self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        let mut place = Place::of(self.text, span);
        place.line += self.first_line - 1;
        self.list.push(Diagnostic { file: self.file.to_owned(), place: Some(place), message: message.into(), hint });
    }

    /// Reports a problem at a path.
    pub(super) fn at(&mut self, path: &Path<'_>, at: At, message: impl Into<String>, hint: Option<String>) {
        let span = match (self.locator.locate(&path.steps()), at) {
            (Some(spans), At::Key) => spans.key,
            (Some(spans), At::Value) => spans.value,
            (None, _) => 0..self.text.len().min(1),
        };
        self.at_span(span, message, hint);
    }

    /// Reports a problem with the value at a path.
    pub(super) fn value(&mut self, path: &Path<'_>, message: impl Into<String>) {
        self.at(path, At::Value, message, None);
    }

    /// Reports every key that is not known.
    pub(super) fn unknown_keys(&mut self, map: &Map<String, Value>, path: &Path<'_>, known: &[&str], what: &str) {
        for key in map.keys().filter(|k| !known.contains(&k.as_str())) {
            let hint = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            self.at(&path.key(key), At::Key, format!("unknown key `{}` in {what}", clip(key)), Some(hint));
        }
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&mut self, path: &Path<'_>, wanted: &str, found: &Value) {
        self.value(path, format!("`{}` must be {wanted}, not {}", path.text(), type_name(found)));
    }

    /// Reports a key that is missing from the object at a path.
    pub(super) fn missing(&mut self, path: &Path<'_>, key: &str, what: &str, hint: &str) {
        self.at(path, At::Key, format!("{what} has no `{key}`"), Some(hint.to_owned()));
    }

    /// Takes a text out of an object.
    pub(super) fn string(&mut self, map: &mut Map<String, Value>, path: &Path<'_>, key: &str) -> Option<String> {
        match map.get_mut(key).map(Value::take)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong_type(&path.key(key), "a string", &other);
                None
            }
        }
    }

    /// Takes a truth value out of an object.
    pub(super) fn flag(&mut self, map: &mut Map<String, Value>, path: &Path<'_>, key: &str) -> Option<bool> {
        match map.get_mut(key).map(Value::take)? {
            Value::Bool(flag) => Some(flag),
            other => {
                self.wrong_type(&path.key(key), "true or false", &other);
                None
            }
        }
    }

    /// Takes a list out of an object.
    pub(super) fn list(&mut self, map: &mut Map<String, Value>, path: &Path<'_>, key: &str) -> Option<Vec<Value>> {
        match map.get_mut(key).map(Value::take)? {
            Value::Array(items) => Some(items),
            other => {
                self.wrong_type(&path.key(key), "a list", &other);
                None
            }
        }
    }

    /// Takes an object out of an object.
    pub(super) fn object(
        &mut self,
        map: &mut Map<String, Value>,
        path: &Path<'_>,
        key: &str,
    ) -> Option<Map<String, Value>> {
        match map.get_mut(key).map(Value::take)? {
            Value::Object(inner) => Some(inner),
            other => {
                self.wrong_type(&path.key(key), "an object", &other);
                None
            }
        }
    }

    /// Takes a list of texts out of an object.
    pub(super) fn strings(&mut self, map: &mut Map<String, Value>, path: &Path<'_>, key: &str) -> Option<Vec<String>> {
        let here = path.key(key);
        let mut texts = Vec::new();
        for (i, item) in self.list(map, path, key)?.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => self.wrong_type(&here.index(i), "a string", &other),
            }
        }
        Some(texts)
    }

    /// Takes an integer within bounds out of an object.
    pub(super) fn integer(
        &mut self,
        map: &mut Map<String, Value>,
        path: &Path<'_>,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let value = map.get_mut(key).map(Value::take)?;
        match value.as_i64() {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                let (min, max) = (range.start(), range.end());
                self.value(&path.key(key), format!("`{key}` must be between {min} and {max}, not {number}"));
                None
            }
            None => {
                self.wrong_type(&path.key(key), "an integer", &value);
                None
            }
        }
    }
}

/// What a JSON value is, in words.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Longest foreign text repeated in a message, in characters.
const CLIP_CHARS_MAX: usize = 80;

/// A text short enough for a message.
pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(CLIP_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Folds the problems of all documents of a suite, at most [`PROBLEMS_MAX`] of them listed.
pub(super) fn bounded(file: &FilePath, mut list: Vec<Diagnostic>) -> Diagnostics {
    if list.len() > PROBLEMS_MAX {
        let more = list.len() - PROBLEMS_MAX;
        list.truncate(PROBLEMS_MAX);
        list.push(Diagnostic::file(file, format!("and {more} more problems")).hint("mend the listed ones first"));
    }
    Diagnostics(list)
}

//! JSON that is kept as its text.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// A JSON value as compact text: a fifth of the memory of a tree, shared instead of copied, sent as it is. It is parsed
/// where somebody looks into it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

impl Json {
    /// Takes text that a JSON writer has written.
    #[must_use]
    pub(crate) fn from_written(text: String) -> Self {
        Json(text.into())
    }

    /// The text: valid JSON without white space between its parts.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The value as a tree.
    #[must_use]
    pub fn value(&self) -> Value {
        // The text was written from a value, so the default is never taken.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// The items of a list; empty for anything else.
    #[must_use]
    pub fn items(&self) -> Vec<Value> {
        match self.value() {
            Value::Array(items) => items,
            _ => Vec::new(),
        }
    }

    /// Whether it shares its text with another: then nothing was filled in between.
    #[must_use]
    pub fn is_same(&self, other: &Json) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        // Writing a value of JSON into memory does not fail.
        Json(serde_json::to_string(value).unwrap_or_default().into())
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Json::from(&value)
    }
}

impl From<Vec<Value>> for Json {
    fn from(items: Vec<Value>) -> Self {
        Json::from(Value::Array(items))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

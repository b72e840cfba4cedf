//! Rows of offline scoring: an answer to a case on one line.

use super::super::python_json::{self, PyStr, PyValue};
use super::decode::{BfclAnswer, BfclCall};

/// One row: which case, and what came.
#[derive(Debug, Clone)]
pub struct BfclRow {
    /// The case's id.
    pub id: String,
    /// The category, unless the row leaves it out.
    pub category: Option<String>,
    /// The answer.
    pub answer: BfclAnswer,
}

/// A line that is no row; with the id, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The id.
    pub id: Option<String>,
    /// What is wrong with it.
    pub message: String,
}

impl BfclRow {
    /// Reads `{"id","category","tool_calls":[{"name","arguments"}]|null,"content"}`. Calls may also stand as on the
    /// wire, with name and arguments inside `function`; keys that are not known are passed over.
    ///
    /// # Errors
    /// The line is not such an object. Arguments and names of any kind are part of an answer and judged.
    pub fn parse(line: &str) -> Result<BfclRow, BadRow> {
        let nameless = |message: String| BadRow { id: None, message };
        let row = match python_json::parse(line) {
            Ok(PyValue::Dict(row)) => row,
            Ok(_) => return Err(nameless("a row is a JSON object".to_owned())),
            Err(e) => return Err(nameless(format!("not JSON: {e}"))),
        };
        let (mut id, mut category, mut calls, mut content) = (None, None, None, None);
        let mut problem = None;
        for (key, value) in row {
            let wrong = match (key.as_text(), value) {
                (Some("id"), PyValue::Str(PyStr::Text(text))) => {
                    id = Some(text);
                    None
                }
                (Some("category" | "tool_calls" | "content"), PyValue::None) => None,
                (Some("category"), PyValue::Str(PyStr::Text(text))) => {
                    category = Some(text);
                    None
                }
                (Some("category"), _) => Some("`category` is a text"),
                (Some("content"), PyValue::Str(text)) => {
                    content = Some(text);
                    None
                }
                // Parts are no text to the official decoder: without calls it fails on them, beside calls it looks away.
                (Some("content"), PyValue::List(_)) => None,
                (Some("content"), _) => Some("`content` is a text, a list of parts or null"),
                (Some("tool_calls"), PyValue::List(list)) => {
                    calls = list.into_iter().map(call).collect::<Option<Vec<_>>>();
                    calls.is_none().then_some("an element of `tool_calls` is an object with `name` and `arguments`")
                }
                (Some("tool_calls"), _) => Some("`tool_calls` is a list or null"),
                _ => None,
            };
            problem = problem.or(wrong);
        }
        match (id, problem) {
            (None, _) => Err(nameless("a row needs `id`, the id of a case".to_owned())),
            (id, Some(message)) => Err(BadRow { id, message: message.to_owned() }),
            (Some(id), None) => Ok(BfclRow { id, category, answer: BfclAnswer { calls, content } }),
        }
    }
}

fn call(value: PyValue) -> Option<BfclCall> {
    let PyValue::Dict(outer) = value else {
        return None;
    };
    let (mut name, mut arguments) = (None, None);
    for (key, value) in outer {
        match (key.as_text(), value) {
            (Some("name"), PyValue::Str(text)) => name = Some(text),
            (Some("arguments"), PyValue::Str(text)) => arguments = Some(text),
            // As on the wire: what is inside counts.
            (Some("function"), inner @ PyValue::Dict(_)) => return call(inner),
            _ => {}
        }
    }
    Some(BfclCall { name, arguments })
}

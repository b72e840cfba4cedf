//! Was a forced, named or forbidden choice obeyed?

use serde_json::Value;

use super::calls::{Call, Offered};
use super::error::ScorerError;
use super::finding::{Finding, excerpt};
use crate::domain::Fault;

/// The effective `tool_choice` of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ToolChoice {
    /// The model decides.
    Auto,
    /// No call.
    None,
    /// At least one call.
    Required,
    /// A call of this tool.
    Named(String),
}

impl ToolChoice {
    /// Reads the request's value.
    ///
    /// # Errors
    /// It is none of the four forms, or names a tool that is not offered.
    pub fn new(value: Option<&Value>, offered: &Offered) -> Result<Self, ScorerError> {
        let wrong = |message: &str| ScorerError::Request { key: "tool_choice", message: message.to_owned() };
        match value {
            None | Some(Value::Null) => Ok(ToolChoice::Auto),
            Some(Value::String(word)) => match word.as_str() {
                "auto" => Ok(ToolChoice::Auto),
                "none" => Ok(ToolChoice::None),
                // Without tools the word has no meaning; a suite's default may still carry it.
                "required" if offered.is_empty() => Ok(ToolChoice::Auto),
                "required" => Ok(ToolChoice::Required),
                _ => Err(wrong("it is \"auto\", \"none\", \"required\" or names a function")),
            },
            Some(object) => {
                let name = object.pointer("/function/name").and_then(Value::as_str);
                let name = name.ok_or_else(|| wrong("an object needs `function.name`"))?;
                if !offered.has(name) {
                    return Err(wrong("it names a function that is not among the case's tools"));
                }
                Ok(ToolChoice::Named(name.to_owned()))
            }
        }
    }

    /// A call is due whatever the scorers say.
    pub fn forces(&self) -> bool {
        matches!(self, ToolChoice::Required | ToolChoice::Named(_))
    }

    /// Judges the calls of an answer.
    pub fn check(&self, calls: &[Call<'_>], out: &mut Vec<Finding>) {
        let found = match (self, calls) {
            (ToolChoice::Auto, _) | (ToolChoice::None, []) => return,
            (ToolChoice::None, [call, ..]) => (
                "tool_choice:forbidden_call",
                format!("calls were forbidden (tool_choice none) and {} was called", excerpt(&call.sent.name)),
            ),
            (ToolChoice::Required, []) => {
                ("tool_choice:no_call", "a call was forced (tool_choice required) and none came".to_owned())
            }
            (ToolChoice::Required, _) => return,
            (ToolChoice::Named(name), []) => {
                ("tool_choice:no_call", format!("a call of {} was forced and none came", excerpt(name)))
            }
            (ToolChoice::Named(name), _) => match calls.iter().find(|c| c.sent.name != *name) {
                None => return,
                Some(other) => (
                    "tool_choice:wrong_tool",
                    format!("a call of {} was forced and {} was called", excerpt(name), excerpt(&other.sent.name)),
                ),
            },
        };
        out.push(Finding::fails(Fault::ToolChoiceIgnored, found.0, found.1));
        if calls.is_empty() {
            out.push(Finding::noted(Fault::MissingCall, "tool_calls:no_call", "a forced call did not come"));
        }
    }
}

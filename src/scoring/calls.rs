//! The calls of an answer against the offered tools: do the arguments parse, is the name offered, does the schema hold.
//!
//! Nothing is repaired. Arguments that came as a JSON value are judged as that value (the breach is secondary);
//! a JSON string that holds JSON, and a Python literal, are judged as sent.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;

use super::error::ScorerError;
use super::finding::{Finding, excerpt, shorten};
use super::schema::{Formats, Validators, breach};
use crate::diagnostics::nearest;
use crate::domain::{Completion, Fault, ToolCall};

/// Most tool names listed in an explanation.
const NAMES_SHOWN_MAX: usize = 8;

/// The arguments of one call, parsed once.
#[derive(Debug)]
pub(super) enum Arguments {
    /// A JSON value; an object unless the call is broken.
    Parsed(Value),
    /// Absent or the empty string.
    Empty,
    /// Not JSON.
    Broken {
        /// The parser's words.
        why: String,
        /// The text ends in the middle of a token.
        cut_off: bool,
        /// A whole value, then more.
        trailing: bool,
    },
}

/// One call as sent, with its arguments parsed.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// As sent.
    pub sent: &'a ToolCall,
    /// Parsed.
    pub arguments: Arguments,
}

impl<'a> Call<'a> {
    fn new(sent: &'a ToolCall) -> Self {
        let text = sent.arguments.as_deref().unwrap_or("");
        let arguments = match serde_json::from_str::<Value>(text) {
            Ok(value) => Arguments::Parsed(value),
            Err(_) if text.trim().is_empty() => Arguments::Empty,
            Err(e) => Arguments::Broken {
                cut_off: e.is_eof(),
                trailing: e.to_string().starts_with("trailing characters"),
                why: e.to_string(),
            },
        };
        Call { sent, arguments }
    }

    /// The arguments, when they are an object.
    pub fn object(&self) -> Option<&serde_json::Map<String, Value>> {
        match &self.arguments {
            Arguments::Parsed(Value::Object(map)) => Some(map),
            _ => None,
        }
    }
}

/// Parses the arguments of every call.
pub(super) fn parse_calls(completion: &Completion) -> Vec<Call<'_>> {
    completion.tool_calls.iter().map(Call::new).collect()
}

/// The offered tools, compiled.
#[derive(Default)]
pub(super) struct Offered {
    by_name: HashMap<String, Option<Arc<Validator>>>,
    names: Vec<String>,
    properties: HashMap<String, Vec<String>>,
}

impl Offered {
    /// Compiles the `tools` of a case.
    ///
    /// # Errors
    /// A tool without a name, a name offered twice, a schema that does not compile.
    pub fn new(tools: &[Value], validators: &Validators) -> Result<Self, ScorerError> {
        let mut offered = Offered::default();
        for (at, tool) in tools.iter().enumerate() {
            let function = tool.get("function").unwrap_or(&Value::Null);
            let name = function.get("name").and_then(Value::as_str).filter(|n| !n.is_empty()).ok_or_else(|| {
                let message = "it has no `function.name`".to_owned();
                ScorerError::Tool { tool: format!("number {}", at + 1), message }
            })?;
            let broken = |message: String| ScorerError::Tool { tool: name.to_owned(), message };
            let validator = match function.get("parameters") {
                None | Some(Value::Null) => None,
                Some(schema) => Some(validators.get(schema, Formats::Annotated).map_err(broken)?),
            };
            if offered.by_name.insert(name.to_owned(), validator).is_some() {
                return Err(broken("it is offered twice".to_owned()));
            }
            offered.names.push(name.to_owned());
            let keys = function.pointer("/parameters/properties").and_then(Value::as_object);
            let keys = keys.map(|p| p.keys().cloned().collect()).unwrap_or_default();
            offered.properties.insert(name.to_owned(), keys);
        }
        Ok(offered)
    }

    /// Nothing is offered.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether a tool of this name is offered (exact match).
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether a JSON value could be the arguments of an offered tool, or a whole call in JSON: a call sent as text.
    pub fn resembles_call(&self, value: &Value) -> bool {
        let Some(object) = value.as_object().filter(|o| !o.is_empty()) else {
            return false;
        };
        let named = object.get("name").and_then(Value::as_str).is_some_and(|n| self.has(n));
        if named && (object.contains_key("arguments") || object.contains_key("parameters")) {
            return true;
        }
        self.names.iter().any(|name| {
            let shares_a_key = self.properties[name].iter().any(|k| object.contains_key(k));
            shares_a_key && self.by_name[name].as_ref().is_some_and(|v| v.is_valid(value))
        })
    }

    /// The offered names, shortened for an explanation.
    fn list(&self) -> String {
        if self.names.is_empty() {
            return "none".to_owned();
        }
        let shown = self.names.iter().take(NAMES_SHOWN_MAX).map(|n| shorten(n, 40)).collect::<Vec<_>>().join(", ");
        match self.names.len().saturating_sub(NAMES_SHOWN_MAX) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
}

/// Judges every call by itself.
pub(super) fn check_calls(offered: &Offered, calls: &[Call<'_>], finish_reason: Option<&str>, out: &mut Vec<Finding>) {
    for call in calls {
        check_arguments(call, finish_reason, out);
        check_name(offered, call, out);
        check_schema(offered, call, out);
        if call.sent.arguments_as_value {
            let what =
                format!("the arguments of {} came as a JSON value instead of a string", excerpt(&call.sent.name));
            out.push(Finding::noted(Fault::WireShape, "wire:arguments_as_value", what));
        }
    }
    check_ids(calls, out);
}

fn check_arguments(call: &Call<'_>, finish_reason: Option<&str>, out: &mut Vec<Finding>) {
    let name = excerpt(&call.sent.name);
    let sent = || excerpt(call.sent.arguments.as_deref().unwrap_or(""));
    match &call.arguments {
        Arguments::Parsed(_) => {}
        Arguments::Empty => out.push(Finding::fails(
            Fault::InvalidJson,
            "arguments:empty",
            format!("the arguments of {name} should be a JSON object and are empty"),
        )),
        Arguments::Broken { why, cut_off, trailing } => {
            let error_type = match (cut_off, trailing) {
                (true, _) => "arguments:cut_off",
                (_, true) => "arguments:trailing_data",
                _ => "arguments:not_json",
            };
            let text = format!("the arguments of {name} are not one JSON object ({why}): {}", sent());
            out.push(Finding::fails(Fault::InvalidJson, error_type, text));
            if *cut_off && matches!(finish_reason, Some("tool_calls" | "stop")) {
                let text = format!("the arguments of {name} are cut off, and the finish reason is not \"length\"");
                out.push(Finding::noted(Fault::WrongFinishReason, "finish_reason:cut_off", text));
            }
        }
    }
}

fn check_name(offered: &Offered, call: &Call<'_>, out: &mut Vec<Finding>) {
    if offered.has(&call.sent.name) {
        return;
    }
    let near = nearest_name(offered, &call.sent.name).map(|n| format!("; the nearest is {n:?}")).unwrap_or_default();
    let text = format!(
        "{} was called, which is not among the offered tools ({}){near}",
        excerpt(&call.sent.name),
        offered.list()
    );
    out.push(Finding::fails(Fault::UnknownName, "call:unknown_name", text));
}

/// The nearest offered name; only for names short enough to compare at no cost.
fn nearest_name<'a>(offered: &'a Offered, name: &str) -> Option<&'a str> {
    const COMPARED_BYTES_MAX: usize = 100;
    if name.len() > COMPARED_BYTES_MAX {
        return None;
    }
    nearest(name, offered.names.iter().filter(|n| n.len() <= COMPARED_BYTES_MAX).map(String::as_str))
}

fn check_schema(offered: &Offered, call: &Call<'_>, out: &mut Vec<Finding>) {
    let Arguments::Parsed(value) = &call.arguments else {
        return;
    };
    let name = excerpt(&call.sent.name);
    if !value.is_object() {
        let (error_type, what) = match value {
            Value::String(s) if serde_json::from_str::<Value>(s).is_ok() => {
                ("arguments:double_encoded", "a JSON string that itself holds JSON")
            }
            _ => ("arguments:not_object", "no object"),
        };
        let text =
            format!("the arguments of {name} should be a JSON object and are {what}: {}", excerpt(&value.to_string()));
        out.push(Finding::fails(Fault::SchemaMismatch, error_type, text));
        return;
    }
    if let Some(Some(validator)) = offered.by_name.get(&call.sent.name)
        && let Some(why) = breach(validator, value)
    {
        let text = format!("the arguments of {name} break its schema: {why}");
        out.push(Finding::fails(Fault::SchemaMismatch, "arguments:schema", text));
    }
}

/// Ids are the wire suite's business; here a breach is recorded.
fn check_ids(calls: &[Call<'_>], out: &mut Vec<Finding>) {
    let mut seen = std::collections::HashSet::with_capacity(calls.len());
    for call in calls {
        let why = match call.sent.id.as_deref() {
            None => "has no id",
            Some("") => "has an empty id",
            Some(id) if !seen.insert(id) => "shares its id with another call",
            Some(_) => continue,
        };
        let text = format!("the call of {} {why}", excerpt(&call.sent.name));
        out.push(Finding::noted(Fault::BadCallId, "call:bad_id", text));
        return;
    }
}

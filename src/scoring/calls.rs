//! The calls of an answer against the offered tools: do the arguments parse, is the name offered, does the schema hold.
//!
//! Nothing is repaired. Arguments that came as a JSON value are judged as that value (the breach is secondary);
//! a JSON string that holds JSON, and a Python literal, are judged as sent.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::error::ScorerError;
use super::finding::{Finding, excerpt, shorten};
use super::plain_schema::PlainSchema;
use super::schema::{Draft, Formats, Validator, Validators, breach};
use crate::diagnostics::nearest;
use crate::domain::{Completion, Fault, Json, ToolCall};

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

/// The offered tools. Schemas are compiled when an answer first calls for it: most answers call one of many, and most
/// calls are right.
#[derive(Default)]
pub(super) struct Offered {
    /// In the order of the case.
    tools: Vec<Tool>,
    validators: Arc<Validators>,
    /// By which draft the schemas are read; `None`: by their own, or the newest.
    draft: Option<Draft>,
}

/// One offered tool.
struct Tool {
    name: String,
    /// JSON text of its parameters' schema.
    schema: Option<Box<str>>,
    /// The schema, as far as it can be read without compiling.
    plain: OnceLock<Option<PlainSchema>>,
    compiled: OnceLock<Result<Compiled, ScorerError>>,
}

impl Tool {
    fn plain(&self) -> Option<&PlainSchema> {
        self.plain.get_or_init(|| PlainSchema::read(self.schema.as_deref()?)).as_ref()
    }
}

/// What is known of a tool's arguments.
#[derive(Default)]
struct Compiled {
    validator: Option<Arc<Validator>>,
    properties: Vec<String>,
}

/// A tool as it is offered: all that is read of it at first.
#[derive(Deserialize)]
struct ToolHead<'a> {
    #[serde(borrow, default)]
    function: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct FunctionHead<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SchemaHead {
    #[serde(default)]
    properties: Option<Map<String, Value>>,
}

impl Offered {
    /// Reads the `tools` of a case.
    ///
    /// # Errors
    /// A tool without a name, a name offered twice.
    pub fn new(tools: Option<&Json>, validators: &Arc<Validators>) -> Result<Self, ScorerError> {
        let mut offered = Offered { tools: Vec::new(), validators: Arc::clone(validators), draft: None };
        let heads: Vec<&RawValue> = tools.and_then(|t| serde_json::from_str(t.text()).ok()).unwrap_or_default();
        for (at, head) in heads.into_iter().enumerate() {
            let head = serde_json::from_str::<ToolHead<'_>>(head.get()).ok().and_then(|tool| tool.function);
            let function = head.and_then(|f| serde_json::from_str::<FunctionHead<'_>>(f.get()).ok());
            let name = function.as_ref().and_then(|f| f.name.as_deref()).filter(|n| !n.is_empty());
            let Some(name) = name.map(str::to_owned) else {
                let message = "it has no `function.name`".to_owned();
                return Err(ScorerError::Tool { tool: format!("number {}", at + 1), message });
            };
            if offered.has(&name) {
                return Err(ScorerError::Tool { tool: name, message: "it is offered twice".to_owned() });
            }
            let schema = function.and_then(|f| f.parameters).map(RawValue::get).filter(|text| *text != "null");
            let (plain, compiled) = (OnceLock::new(), OnceLock::new());
            offered.tools.push(Tool { name, schema: schema.map(Box::from), plain, compiled });
        }
        Ok(offered)
    }

    /// The same tools, their schemas read by a draft.
    pub fn under(self, draft: Option<Draft>) -> Self {
        Offered { draft, ..self }
    }

    /// A schema as far as it can be read without compiling; `None` also where a draft is named: what can be read so means
    /// the same in the newer drafts, and not in all.
    fn plain<'t>(&self, tool: &'t Tool) -> Option<&'t PlainSchema> {
        if self.draft.is_some() { None } else { tool.plain() }
    }

    /// Makes sure now that every schema compiles. Those that can be read without compiling do.
    ///
    /// # Errors
    /// The first that does not compile.
    pub fn check_all(&self) -> Result<(), ScorerError> {
        let doubtful = self.tools.iter().filter(|tool| self.plain(tool).is_none());
        doubtful.map(|tool| self.compiled(tool)).try_for_each(|found| found.map(|_| ()).map_err(Clone::clone))
    }

    /// The schema that did not compile when an answer called for it: the case is broken, not the answer.
    pub fn broken(&self) -> Option<&ScorerError> {
        self.tools.iter().find_map(|tool| tool.compiled.get()?.as_ref().err())
    }

    fn compiled<'t>(&self, tool: &'t Tool) -> Result<&'t Compiled, &'t ScorerError> {
        let compile = || {
            let Some(text) = &tool.schema else { return Ok(Compiled::default()) };
            let broken = |message: String| ScorerError::Tool { tool: tool.name.clone(), message };
            let validator = self.validators.get_text(text, Formats::Annotated, self.draft).map_err(broken)?;
            let head = serde_json::from_str::<SchemaHead>(text).ok().and_then(|schema| schema.properties);
            let properties = head.map(|p| p.into_iter().map(|(key, _)| key).collect()).unwrap_or_default();
            Ok(Compiled { validator: Some(validator), properties })
        };
        tool.compiled.get_or_init(compile).as_ref()
    }

    /// What is wrong with a call's arguments by the schema of the offered tool; `None` also when that does not compile.
    /// A right answer to a common schema costs no compilation.
    fn breach(&self, name: &str, arguments: &Value) -> Option<String> {
        let tool = self.tools.iter().find(|tool| tool.name == name)?;
        if self.plain(tool).is_some_and(|plain| plain.surely_accepts(arguments)) {
            return None;
        }
        breach(self.compiled(tool).ok()?.validator.as_deref()?, arguments)
    }

    /// Nothing is offered.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// Whether a tool of this name is offered (exact match).
    pub fn has(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool.name == name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().map(|tool| tool.name.as_str())
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
        self.tools.iter().filter_map(|tool| self.compiled(tool).ok()).any(|tool| {
            let shares_a_key = tool.properties.iter().any(|k| object.contains_key(k));
            shares_a_key && tool.validator.as_ref().is_some_and(|v| v.is_valid(value))
        })
    }

    /// The offered names, shortened for an explanation.
    fn list(&self) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        let shown = self.names().take(NAMES_SHOWN_MAX).map(|n| shorten(n, 40)).collect::<Vec<_>>().join(", ");
        match self.tools.len().saturating_sub(NAMES_SHOWN_MAX) {
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
    nearest(name, offered.names().filter(|n| n.len() <= COMPARED_BYTES_MAX))
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
    if let Some(why) = offered.breach(&call.sent.name, value) {
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

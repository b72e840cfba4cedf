//! What a case sends and expects, checked on an instance: placeholders are filled, so that values have their types.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::domain::{CaseInstance, Fault, Json};
use crate::scoring::{Judge, check_schema, is_plain_schema};
use crate::worlds::{World, WorldError};

use super::header::{has_placeholder, one_of};
use super::source::{At, Findings, Path, clip};
use super::{keys, plain, scorers};

/// Longest name of a tool that OpenAI's form allows.
const TOOL_NAME_BYTES_MAX: usize = 64;

/// Whether providers take it as the name of a tool.
pub(super) fn is_tool_name(name: &str) -> bool {
    let is_name_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (1..=TOOL_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_name_char)
}

/// Checks cases; remembers schemas, because cases often share their tools.
#[derive(Default)]
pub(super) struct Checker {
    judge: Judge,
    schemas: HashMap<String, Option<String>>,
    /// Lists of tools in which nothing is wrong.
    good_tools: HashSet<Json>,
}

/// Where the parts of an instance came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// `messages` or `input`.
    pub(super) messages_key: &'static str,
    /// The key of the case that the scorers stand under; `None`: they are the header's.
    pub(super) scorers_key: Option<&'static str>,
}

impl Checker {
    /// Reports what is wrong with an instance.
    pub(super) fn instance(&mut self, instance: &CaseInstance, origin: &Origin, f: &mut Findings<'_>) {
        if !plain::are_messages(&instance.messages) {
            messages(&instance.messages.items(), &Path::ROOT.key(origin.messages_key), f);
        }
        if let Some(tools) = &instance.tools {
            self.tools_once(tools, f);
        }
        tool_choice(instance, f);
        if let Some(format) = &instance.response_format {
            self.response_format(&format.value(), f);
        }
        let before = f.count();
        let must_be_compiled = scorers::check_instance(instance, origin.scorers_key, f);
        self.programs(instance, f);
        if must_be_compiled
            && f.count() == before
            && let Err(error) = self.judge.prepare(instance)
        {
            f.at(&Path::ROOT.key("id"), At::Value, error.to_string(), None);
        }
        if instance.world.is_none() {
            answers(instance, f);
        }
    }

    /// Worlds: their files are there, and have the functions that are called.
    fn programs(&mut self, instance: &CaseInstance, f: &mut Findings<'_>) {
        if let Some(Value::Object(world)) = instance.world.as_ref().map(Json::value) {
            f.unknown_keys(&world, &Path::ROOT.key("world"), keys::WORLD, "`world`");
            if instance.answers.is_some() {
                let message =
                    "a conversation has no further answers: `reference` and `counterexample` tell what comes of it";
                f.at(&Path::ROOT.key("answers"), At::Key, message, None);
            }
            if let Err(WorldError { key, message }) = World::new(&self.judge, instance) {
                f.at(&Path::ROOT.key(key), At::Value, message, None);
            }
            for key in ["reference", "counterexample"] {
                let messages = match key {
                    "reference" if instance.reference.is_some() => World::reference(instance),
                    "counterexample" if instance.counterexample.is_some() => World::counterexample(instance),
                    _ => continue,
                };
                if let Err(WorldError { key, message }) = messages {
                    f.at(&Path::ROOT.key(key), At::Value, message, None);
                }
            }
        }
    }

    /// Lists of tools in which something is wrong are told of in every case.
    fn tools_once(&mut self, tools: &Json, f: &mut Findings<'_>) {
        if self.good_tools.contains(tools) {
            return;
        }
        let before = f.count();
        if !plain::are_tools(tools) {
            self.tools(&tools.items(), f);
        }
        if f.count() == before {
            self.good_tools.insert(tools.clone());
        }
    }

    fn tools(&mut self, tools: &[Value], f: &mut Findings<'_>) {
        let path = Path::ROOT.key("tools");
        let mut names: Vec<&str> = Vec::new();
        for (i, tool) in tools.iter().enumerate() {
            let here = path.index(i);
            let Value::Object(map) = tool else {
                f.wrong_type(&here, "an object", tool);
                continue;
            };
            f.unknown_keys(map, &here, keys::TOOL, "a tool");
            match map.get("type") {
                Some(Value::String(word)) if word == "function" => {}
                Some(_) => f.value(&here.key("type"), "the `type` of a tool is \"function\""),
                None => f.missing(&here, "type", "the tool", "write {\"type\": \"function\", \"function\": {...}}"),
            }
            let at_function = here.key("function");
            match map.get("function") {
                Some(Value::Object(function)) => {
                    if let Some(name) = self.function(function, &at_function, f) {
                        if names.contains(&name) {
                            f.value(&at_function.key("name"), format!("two tools are named `{name}`"));
                        }
                        names.push(name);
                    }
                }
                Some(other) => f.wrong_type(&at_function, "an object", other),
                None => f.missing(&here, "function", "the tool", "write \"function\": {\"name\": ...}"),
            }
        }
    }

    fn function<'t>(
        &mut self,
        function: &'t Map<String, Value>,
        path: &Path<'_>,
        f: &mut Findings<'_>,
    ) -> Option<&'t str> {
        f.unknown_keys(function, path, keys::FUNCTION, "a function");
        for (key, good, wanted) in [
            ("description", Value::is_string as fn(&Value) -> bool, "a string"),
            ("strict", Value::is_boolean, "a boolean"),
            ("parameters", Value::is_object, "an object: a JSON Schema"),
        ] {
            if let Some(value) = function.get(key).filter(|v| !good(v)) {
                f.wrong_type(&path.key(key), wanted, value);
            }
        }
        if let Some(schema @ Value::Object(_)) = function.get("parameters") {
            self.schema(schema, &path.key("parameters"), f);
        }
        match function.get("name") {
            Some(Value::String(name)) if is_tool_name(name) => Some(name),
            Some(Value::String(name)) => {
                let hint = format!("letters, digits, _ and -, at most {TOOL_NAME_BYTES_MAX}: providers refuse others");
                let message = format!("`{}` cannot name a tool", clip(name));
                f.at(&path.key("name"), At::Value, message, Some(hint));
                None
            }
            Some(other) => {
                f.wrong_type(&path.key("name"), "a string", other);
                None
            }
            None => {
                f.missing(path, "name", "the function", "every tool needs a name");
                None
            }
        }
    }

    fn response_format(&mut self, format: &Value, f: &mut Findings<'_>) {
        let path = Path::ROOT.key("response_format");
        let Value::Object(map) = format else {
            f.wrong_type(&path, "an object", format);
            return;
        };
        f.unknown_keys(map, &path, keys::RESPONSE_FORMAT, "`response_format`");
        let word = match map.get("type") {
            Some(Value::String(word)) => word.as_str(),
            _ => {
                f.missing(&path, "type", "the response format", "write \"type\": \"json_schema\"");
                return;
            }
        };
        if !keys::RESPONSE_FORMATS.contains(&word) {
            one_of(f, &path.key("type"), word, keys::RESPONSE_FORMATS, "response format");
        }
        let here = path.key("json_schema");
        match map.get("json_schema") {
            None if word == "json_schema" => {
                f.missing(
                    &path,
                    "json_schema",
                    "the response format",
                    "write \"json_schema\": {\"name\": .., \"schema\": ..}",
                );
            }
            None => {}
            Some(Value::Object(inner)) => {
                f.unknown_keys(inner, &here, keys::JSON_SCHEMA, "`json_schema`");
                if !matches!(inner.get("name"), Some(Value::String(_))) {
                    f.missing(&here, "name", "`json_schema`", "providers want a name for the schema");
                }
                match inner.get("schema") {
                    Some(schema @ Value::Object(_)) => self.schema(schema, &here.key("schema"), f),
                    Some(other) => f.wrong_type(&here.key("schema"), "an object: a JSON Schema", other),
                    None => f.missing(&here, "schema", "`json_schema`", "write \"schema\": {\"type\": \"object\", ..}"),
                }
            }
            Some(other) => f.wrong_type(&here, "an object", other),
        }
    }

    fn schema(&mut self, schema: &Value, path: &Path<'_>, f: &mut Findings<'_>) {
        let text = schema.to_string();
        let problem = match self.schemas.get(&text) {
            Some(known) => known.clone(),
            None => {
                // Most schemas are common ones, and compiling them is most of what loading a suite takes.
                let problem = if is_plain_schema(&text) { None } else { check_schema(schema).err() };
                self.schemas.insert(text, problem.clone());
                problem
            }
        };
        if let Some(message) = problem {
            f.value(path, message);
        }
    }
}

fn messages(messages: &[Value], path: &Path<'_>, f: &mut Findings<'_>) {
    for (i, message) in messages.iter().enumerate() {
        let here = path.index(i);
        let Value::Object(map) = message else {
            f.wrong_type(&here, "an object such as {\"role\": \"user\", \"content\": \"...\"}", message);
            continue;
        };
        match map.get("role") {
            Some(Value::String(role)) if keys::ROLES.contains(&role.as_str()) => {}
            Some(Value::String(role)) => one_of(f, &here.key("role"), role, keys::ROLES, "role"),
            Some(other) => f.wrong_type(&here.key("role"), "a string", other),
            None => f.missing(&here, "role", "the message", "write \"role\": \"user\""),
        }
        match map.get("content") {
            Some(Value::String(_) | Value::Array(_) | Value::Null) => {}
            Some(other) => f.wrong_type(&here.key("content"), "a string, a list of parts or null", other),
            None if map.contains_key("tool_calls") => {}
            None => f.missing(&here, "content", "the message", "write \"content\": \"...\""),
        }
    }
}

/// Reports what must not, or not so, stand in a request.
pub(super) fn request_keys(request: &Map<String, Value>, path: &Path<'_>, f: &mut Findings<'_>) {
    for (key, hint) in keys::NOT_IN_REQUEST {
        if request.contains_key(*key) {
            let message = format!("`{key}` does not belong into `request`");
            f.at(&path.key(key), At::Key, message, Some((*hint).to_owned()));
        }
    }
    for (key, value) in request {
        let here = path.key(key);
        let positive = || value.as_u64().is_some_and(|n| n > 0);
        let wanted = match key.as_str() {
            "stream" | "logprobs" | "parallel_tool_calls" if !value.is_boolean() => "true or false",
            "max_tokens" | "max_completion_tokens" if !positive() => "an integer of at least 1",
            "temperature" | "top_p" if !value.is_number() => "a number",
            "seed" if !value.is_i64() && !value.is_u64() => "an integer",
            "stop" if !is_stop(value) => "a string or a list of strings",
            "tool_choice" if !is_tool_choice(value) => {
                "\"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": ..}}"
            }
            _ if has_placeholder(value) => {
                let hint = "placeholders stand in messages, tools, expected values and answers".to_owned();
                f.at(&here, At::Value, "a request is fixed: placeholders are not filled in it", Some(hint));
                continue;
            }
            _ => continue,
        };
        f.wrong_type(&here, wanted, value);
    }
}

fn is_stop(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty() && items.iter().all(|v| v.as_str().is_some_and(|t| !t.is_empty())),
        _ => false,
    }
}

fn is_tool_choice(value: &Value) -> bool {
    match value {
        Value::String(word) => keys::TOOL_CHOICES.contains(&word.as_str()),
        Value::Object(map) => {
            map.get("type").and_then(Value::as_str) == Some("function") && named_tool(value).is_some()
        }
        _ => false,
    }
}

fn named_tool(choice: &Value) -> Option<&str> {
    choice.get("function")?.get("name")?.as_str()
}

/// A forced choice needs what it forces.
fn tool_choice(instance: &CaseInstance, f: &mut Findings<'_>) {
    let Some(choice) = instance.tool_choice() else { return };
    let path = Path::ROOT.key("request");
    let here = path.key("tool_choice");
    let Some(tools) = &instance.tools else {
        f.value(&here, "`tool_choice` without `tools`: providers refuse such a request");
        return;
    };
    let offered = |name: &str| {
        let tools = tools.items();
        tools.iter().any(|tool| tool.pointer("/function/name").and_then(Value::as_str) == Some(name))
    };
    if let Some(name) = named_tool(choice).filter(|name| !offered(name)) {
        f.value(&here, format!("`tool_choice` forces `{}`, which is not among the tools", clip(name)));
    }
}

/// Reference and counterexample are messages.
fn answers(instance: &CaseInstance, f: &mut Findings<'_>) {
    let mut message = |value: &Value, path: &Path<'_>| {
        let Value::Object(map) = value else { return };
        if !map.contains_key("content") && !map.contains_key("tool_calls") {
            f.missing(path, "content", "the answer", "an answer has `content`, `tool_calls` or both");
        }
        if let Some(calls) = map.get("tool_calls").filter(|v| !v.is_array() && !v.is_null()) {
            f.wrong_type(&path.key("tool_calls"), "a list", calls);
        }
    };
    if let Some(reference) = &instance.reference {
        message(&reference.value(), &Path::ROOT.key("reference"));
    }
    if let Some(counter) = &instance.counterexample {
        message(&counter.message.value(), &Path::ROOT.key("counterexample").key("message"));
    }
    let path = Path::ROOT.key("answers");
    for (i, answer) in instance.answers.iter().flat_map(|answers| answers.items()).enumerate() {
        further_answer(&answer, &path.index(i), f);
    }
}

/// One of `answers`: a form of it, and the Fault that it must be judged with, if it must fail.
fn further_answer(answer: &Value, path: &Path<'_>, f: &mut Findings<'_>) {
    let Value::Object(map) = answer else {
        f.wrong_type(path, "an answer such as {\"stream\": [..], \"fault\": \"WireShape\"}", answer);
        return;
    };
    f.unknown_keys(map, path, keys::ANSWER, "an answer");
    let forms = keys::ANSWER_FORMS.iter().filter(|form| map.contains_key(**form)).count();
    if forms != 1 {
        let hint = "`message`: as for `reference`; `stream`: a list of frames, or the text itself; `body`: the answer"
            .to_owned();
        f.at(path, At::Value, format!("an answer has one of {}", keys::ANSWER_FORMS.join(", ")), Some(hint));
    }
    if let Some(stream) = map.get("stream").filter(|s| !s.is_string() && !s.is_array()) {
        f.wrong_type(&path.key("stream"), "a list of frames, or a text", stream);
    }
    if let Some(message) = map.get("message").filter(|m| !m.is_object()) {
        f.wrong_type(&path.key("message"), "an object", message);
    }
    match map.get("fault") {
        None => {}
        Some(Value::String(name)) if Fault::from_str(name).is_ok() => {}
        Some(Value::String(name)) => {
            let names: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
            one_of(f, &path.key("fault"), name, &names, "Fault");
        }
        Some(other) => f.wrong_type(&path.key("fault"), "the name of a Fault", other),
    }
    if let Some(note) = map.get("note").filter(|n| !n.is_string()) {
        f.wrong_type(&path.key("note"), "a string", note);
    }
}

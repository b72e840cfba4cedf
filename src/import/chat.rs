//! One chat-completions request as a case: what a suite holds is kept, the rest is named.

use serde_json::{Map, Value, json};

use super::common::{any_placeholder, escape, excerpt, schema_problem};
use crate::suites::limits::{MESSAGES_MAX, TOOLS_MAX};

/// Longest name of a tool that providers accept.
const TOOL_NAME_BYTES_MAX: usize = 64;
/// Roles of messages.
const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];
/// Keys of messages that are kept.
const MESSAGE_KEYS: [&str; 8] =
    ["role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning_content", "reasoning"];

/// What a case sends.
#[derive(Debug, Default)]
pub(super) struct Chat {
    /// The messages, escaped.
    pub(super) messages: Vec<Value>,
    /// The tools, escaped; `None` without any.
    pub(super) tools: Option<Vec<Value>>,
    /// The response format, escaped.
    pub(super) response_format: Option<Value>,
    /// Further request keys.
    pub(super) request: Map<String, Value>,
    /// Names of what was dropped.
    pub(super) dropped: Vec<String>,
}

impl Chat {
    /// The keys of a case.
    pub(super) fn into_case(self) -> Map<String, Value> {
        let mut case = Map::new();
        if self.tools.is_some() {
            case.insert("tags".to_owned(), json!(["tools"]));
        }
        case.insert("messages".to_owned(), Value::Array(self.messages));
        if let Some(tools) = self.tools {
            case.insert("tools".to_owned(), Value::Array(tools));
        }
        if let Some(format) = self.response_format {
            case.insert("response_format".to_owned(), format);
        }
        if !self.request.is_empty() {
            case.insert("request".to_owned(), Value::Object(self.request));
        }
        case
    }
}

/// Reads a request body.
///
/// # Errors
/// Why no case can be made of it.
pub(super) fn read(body: &Map<String, Value>) -> Result<Chat, String> {
    let mut chat = Chat::default();
    let messages = body.get("messages").and_then(Value::as_array).ok_or("there is no list `messages`")?;
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        return Err(format!("it has {} messages; a case has 1 to {MESSAGES_MAX}", messages.len()));
    }
    for message in messages {
        let message = read_message(message, &mut chat.dropped)?;
        chat.messages.push(message);
    }
    chat.tools = read_tools(body, &mut chat.dropped)?;
    chat.response_format = read_format(body.get("response_format"))?;
    read_request(body, &mut chat)?;
    for value in chat.messages.iter_mut().chain(chat.tools.iter_mut().flatten()).chain(&mut chat.response_format) {
        escape(value)?;
    }
    chat.dropped.sort_unstable();
    chat.dropped.dedup();
    Ok(chat)
}

/// Reads one message.
///
/// # Errors
/// It is not a message of text and calls.
pub(super) fn read_message(message: &Value, dropped: &mut Vec<String>) -> Result<Value, String> {
    let message = message.as_object().ok_or("a message is not an object")?;
    let role = message.get("role").and_then(Value::as_str).ok_or("a message has no `role`")?;
    if !ROLES.contains(&role) {
        return Err(format!("a message has the role {}", excerpt(role)));
    }
    let mut kept = Map::new();
    for (key, value) in message {
        match (key.as_str(), value) {
            ("content", content) => {
                kept.insert(key.clone(), read_content(content, dropped)?);
            }
            (_, Value::Null) => {}
            ("tool_calls", calls) => {
                kept.insert(key.clone(), read_calls(calls, dropped)?);
            }
            (known, Value::String(_)) if MESSAGE_KEYS.contains(&known) => {
                kept.insert(key.clone(), value.clone());
            }
            (other, _) => dropped.push(format!("message key `{other}`")),
        }
    }
    let says = kept.get("content").is_some_and(|content| !content.is_null()) || kept.contains_key("tool_calls");
    if !says && message.get("function_call").is_some_and(|call| !call.is_null()) {
        return Err("a message that is only a `function_call`, the older form of a call".to_owned());
    }
    if !kept.contains_key("content") && !kept.contains_key("tool_calls") {
        return Err(format!("a message of the {role} has no `content`"));
    }
    Ok(Value::Object(kept))
}

fn read_content(content: &Value, dropped: &mut Vec<String>) -> Result<Value, String> {
    match content {
        Value::String(_) | Value::Null => Ok(content.clone()),
        Value::Array(parts) => {
            let mut kept = Vec::with_capacity(parts.len());
            for part in parts {
                let kind = part.get("type").and_then(Value::as_str).unwrap_or("without a type");
                match part.get("text") {
                    Some(Value::String(text)) if matches!(kind, "text" | "input_text") => {
                        let others = part
                            .as_object()
                            .into_iter()
                            .flatten()
                            .filter(|(k, _)| !matches!(k.as_str(), "type" | "text"));
                        dropped.extend(others.map(|(k, _)| format!("content key `{k}`")));
                        kept.push(json!({"type": "text", "text": text}));
                    }
                    _ => return Err(format!("content of type `{kind}` is not text")),
                }
            }
            Ok(Value::Array(kept))
        }
        _ => Err("`content` is neither text nor a list of parts".to_owned()),
    }
}

fn read_calls(calls: &Value, dropped: &mut Vec<String>) -> Result<Value, String> {
    let calls = calls.as_array().ok_or("`tool_calls` is not a list")?;
    let mut kept = Vec::with_capacity(calls.len());
    for call in calls {
        let function =
            call.get("function").and_then(Value::as_object).ok_or("a call in the history has no `function`")?;
        let name = function.get("name").and_then(Value::as_str).ok_or("a call in the history has no name")?;
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(value @ Value::Object(_)) => {
                dropped.push("arguments as an object (now a string)".to_owned());
                value.to_string()
            }
            _ => return Err("a call in the history has no `arguments`".to_owned()),
        };
        let mut out = Map::new();
        if let Some(id) = call.get("id").and_then(Value::as_str) {
            out.insert("id".to_owned(), json!(id));
        }
        out.insert("type".to_owned(), json!("function"));
        out.insert("function".to_owned(), json!({"name": name, "arguments": arguments}));
        kept.push(Value::Object(out));
    }
    Ok(Value::Array(kept))
}

fn read_tools(body: &Map<String, Value>, dropped: &mut Vec<String>) -> Result<Option<Vec<Value>>, String> {
    let old = body.get("functions").and_then(Value::as_array);
    let functions = old.into_iter().flatten().map(|f| json!({"type": "function", "function": f}));
    let tools = match body.get("tools") {
        None | Some(Value::Null) => functions.collect(),
        Some(Value::Array(tools)) => tools.clone(),
        Some(_) => return Err("`tools` is not a list".to_owned()),
    };
    tools_of(&tools, dropped)
}

/// Checks a list of tools; `None` when it is empty.
///
/// # Errors
/// One of them cannot be offered.
pub(super) fn tools_of(tools: &[Value], dropped: &mut Vec<String>) -> Result<Option<Vec<Value>>, String> {
    if tools.len() > TOOLS_MAX {
        return Err(format!("it offers {} tools, at most {TOOLS_MAX} are allowed", tools.len()));
    }
    let mut kept: Vec<Value> = Vec::with_capacity(tools.len());
    for tool in tools {
        let tool = read_tool(tool, dropped)?;
        let name = tool.pointer("/function/name");
        if kept.iter().any(|other| other.pointer("/function/name") == name) {
            return Err(format!("two tools are named {}", name.unwrap_or(&Value::Null)));
        }
        kept.push(tool);
    }
    Ok(Some(kept).filter(|tools| !tools.is_empty()))
}

fn read_tool(tool: &Value, dropped: &mut Vec<String>) -> Result<Value, String> {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or("without a type");
    let function = match tool.get("function") {
        Some(Value::Object(function)) if kind == "function" => function,
        _ => return Err(format!("a tool of type `{kind}` is not a function")),
    };
    let others = tool.as_object().into_iter().flatten().filter(|(k, _)| !matches!(k.as_str(), "type" | "function"));
    dropped.extend(others.map(|(k, _)| format!("tool key `{k}`")));
    let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !(1..=TOOL_NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(good) {
        return Err(format!("{} cannot name a tool", excerpt(name)));
    }
    let mut kept = Map::new();
    for (key, value) in function {
        match (key.as_str(), value) {
            (_, Value::Null) => {}
            ("parameters", schema) => {
                if let Some(why) = schema_problem(schema) {
                    return Err(format!("tool `{name}`: {why}"));
                }
                kept.insert(key.clone(), schema.clone());
            }
            ("name" | "description", Value::String(_)) | ("strict", Value::Bool(_)) => {
                kept.insert(key.clone(), value.clone());
            }
            (other, _) => dropped.push(format!("function key `{other}`")),
        }
    }
    Ok(json!({"type": "function", "function": kept}))
}

/// Checks a response format.
///
/// # Errors
/// It asks for what no suite can hold.
pub(super) fn read_format(format: Option<&Value>) -> Result<Option<Value>, String> {
    let format = match format {
        None | Some(Value::Null) => return Ok(None),
        Some(format) => format,
    };
    match format.get("type").and_then(Value::as_str) {
        Some(kind @ ("text" | "json_object")) => Ok(Some(json!({"type": kind}))),
        Some("json_schema") => {
            let inner = format.get("json_schema").ok_or("the response format has no `json_schema`")?;
            let schema = inner.get("schema").ok_or("the response format has no schema")?;
            if let Some(why) = schema_problem(schema) {
                return Err(format!("response format: {why}"));
            }
            let name = inner.get("name").and_then(Value::as_str).unwrap_or("answer");
            let mut kept = Map::new();
            kept.insert("name".to_owned(), json!(name));
            for key in ["description", "strict"] {
                if let Some(value) = inner.get(key).filter(|v| v.is_string() || v.is_boolean()) {
                    kept.insert(key.to_owned(), value.clone());
                }
            }
            kept.insert("schema".to_owned(), schema.clone());
            Ok(Some(json!({"type": "json_schema", "json_schema": kept})))
        }
        other => Err(format!("the response format {} is not known", excerpt(other.unwrap_or_default()))),
    }
}

/// Keys of a request with a place of their own in a case, or in the configuration of an endpoint.
const ELSEWHERE: [&str; 6] = ["messages", "tools", "functions", "response_format", "model", "function_call"];

fn read_request(body: &Map<String, Value>, chat: &mut Chat) -> Result<(), String> {
    let offered = chat.tools.as_deref().unwrap_or_default();
    for (key, value) in body {
        if ELSEWHERE.contains(&key.as_str()) || value.is_null() {
            continue;
        }
        match keep(key, value, offered)? {
            true => drop(chat.request.insert(key.clone(), value.clone())),
            false => chat.dropped.push(format!("request key `{key}`")),
        }
    }
    if let Some(call) = body.get("function_call").filter(|c| !c.is_null() && !offered.is_empty()) {
        let choice = match call.get("name") {
            Some(name) => json!({"type": "function", "function": {"name": name}}),
            None => call.clone(),
        };
        if keep("tool_choice", &choice, offered)? {
            chat.request.insert("tool_choice".to_owned(), choice);
        }
    }
    Ok(())
}

/// Whether a request key belongs into a case, with this value.
///
/// # Errors
/// The request depends on it, and no case can hold it.
pub(super) fn keep(key: &str, value: &Value, offered: &[Value]) -> Result<bool, String> {
    let text = |v: &Value| v.as_str().is_some_and(|t| !t.is_empty());
    Ok(match key {
        "temperature" | "top_p" | "frequency_penalty" | "presence_penalty" => value.is_number(),
        "max_tokens" | "max_completion_tokens" => value.as_u64().is_some_and(|n| n > 0),
        "seed" => value.is_i64() || value.is_u64(),
        "stream" | "logprobs" => value.is_boolean(),
        "reasoning_effort" => text(value) && !any_placeholder(value),
        "stop" => {
            let good = text(value) || value.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(text));
            if good && any_placeholder(value) {
                return Err("`stop` holds braces that a suite takes for a placeholder".to_owned());
            }
            good
        }
        "parallel_tool_calls" => value.is_boolean() && !offered.is_empty(),
        "tool_choice" if offered.is_empty() => false,
        "tool_choice" => match value {
            Value::String(word) => matches!(word.as_str(), "none" | "auto" | "required"),
            other => {
                let name = other.pointer("/function/name");
                if name.is_none() || !offered.iter().any(|tool| tool.pointer("/function/name") == name) {
                    return Err("`tool_choice` forces a tool that is not offered".to_owned());
                }
                true
            }
        },
        _ => false,
    })
}

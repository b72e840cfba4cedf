//! Request logs of a gateway: one chat request per line becomes a case that is replayed, without secrets and personal
//! data.
//!
//! A line is a request body, or holds one under the keys in which gateways wrap it. What identifies a user or a
//! deployment (headers, `user`, `metadata`, the model's name, ...) is not taken over at all; texts are redacted
//! ([`super::redact`]). Answers are judged by the implicit checks, and against the response format that was asked for.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::chat::{self, Chat};
use super::common::{Draft, Head, LICENSE_AS_SOURCE, check_size, content_id, each_json_line};
use super::redact::{Class, Redactor};
use super::{ImportError, Imported};
use crate::domain::canonical::sha256_hex;

/// Keys under which gateways and their loggers put a request body.
const WRAPPERS: [&str; 9] =
    ["body", "request", "request_body", "requestBody", "payload", "kwargs", "proxy_server_request", "data", "json"];
/// Keys beside the messages under which loggers put the rest of the request.
const PARAMETERS: [&str; 3] = ["model_parameters", "optional_params", "invocation_params"];
/// Compiled once: the shapes never change.
static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::new);
/// Wrappers inside wrappers that are looked into.
const WRAPPED_DEPTH_MAX: usize = 4;

/// Reads a log.
///
/// # Errors
/// It is too large, or holds no request that can be replayed.
pub fn import(name: &str, file: &str, bytes: &[u8]) -> Result<Imported, ImportError> {
    check_size(file, bytes)?;
    let mut draft = Draft::default();
    let mut seen = HashSet::new();
    let mut counts: BTreeMap<Class, usize> = BTreeMap::new();
    let (mut with_tools, mut without) = (false, false);
    each_json_line(bytes, |number, line| {
        let place = format!("line {number}");
        let case = line.and_then(|line| read(&line, &REDACTOR));
        let (chat, found) = match case {
            Ok(case) => case,
            Err(why) => {
                draft.notes.add(format!("left out: {why}"), &place);
                return Ok(());
            }
        };
        for dropped in &chat.dropped {
            draft.notes.add(format!("not taken over: {dropped}"), &place);
        }
        let tools = chat.tools.is_some();
        let case = case_of(chat);
        let id = content_id("request", &Value::Object(case.clone()));
        if !seen.insert(id.clone()) {
            draft.notes.add("the same request as an earlier one, left out", &place);
            return Ok(());
        }
        if draft.push(&place, &id, case)? {
            found.into_iter().for_each(|(class, n)| *counts.entry(class).or_default() += n);
            with_tools |= tools;
            without |= !tools;
        }
        Ok(())
    })?;
    let told: Vec<String> = counts.iter().map(|(class, n)| format!("{} {n}", class.name())).collect();
    let told = if told.is_empty() { "nothing found".to_owned() } else { told.join(", ") };
    draft.notes.add(
        format!("redacted by shape: {told}; names and addresses have no shape, read the cases before you share them"),
        "",
    );
    let kind: &[&str] = match (with_tools, without) {
        (true, true) => &["tool_use", "output_quality"],
        (true, false) => &["tool_use"],
        _ => &["output_quality"],
    };
    let url = format!("file:{file}");
    let head = Head { name, kind, license: LICENSE_AS_SOURCE, url, sha256: sha256_hex(bytes), scorers: &[] };
    draft.finish(&head)
}

/// A line as a redacted request, with what was replaced.
fn read(line: &Value, redactor: &Redactor) -> Result<(Chat, Vec<(Class, usize)>), String> {
    if let Some(status) = refused_status(line) {
        return Err(format!("the provider refused the request with status {status}"));
    }
    let body = body_of(line, 0).ok_or("there is no chat request (no list `messages`)")?;
    // Only what a case can hold is looked at: what goes with the sender stays behind.
    let mut body: Map<String, Value> = body.into_iter().filter(|(key, _)| key != "user" && key != "metadata").collect();
    let mut redaction = redactor.case();
    let mut value = Value::Object(std::mem::take(&mut body));
    redaction.value(&mut value);
    let Value::Object(body) = value else { return Err("there is no chat request".to_owned()) };
    Ok((chat::read(&body)?, redaction.counts()))
}

/// The body in a line: the line itself, or what stands under a known key, also as JSON text.
fn body_of(value: &Value, depth: usize) -> Option<Map<String, Value>> {
    let parsed;
    let map = match value {
        Value::Object(map) => map,
        Value::String(text) if text.trim_start().starts_with('{') => {
            parsed = serde_json::from_str::<Map<String, Value>>(text).ok()?;
            &parsed
        }
        _ => return None,
    };
    if let Some(messages) = messages_of(map) {
        let mut body = map.clone();
        for more in PARAMETERS.iter().filter_map(|key| map.get(*key)?.as_object()) {
            for (key, value) in more {
                if !body.contains_key(key) {
                    body.insert(key.clone(), value.clone());
                }
            }
        }
        body.retain(|key, _| !PARAMETERS.contains(&key.as_str()) && !IGNORED.contains(&key.as_str()));
        body.insert("messages".to_owned(), messages);
        return Some(body);
    }
    if depth == WRAPPED_DEPTH_MAX {
        return None;
    }
    WRAPPERS.iter().filter_map(|key| map.get(*key)).find_map(|inner| body_of(inner, depth + 1))
}

/// Keys of log lines that are no part of a request; naming each would say nothing.
const IGNORED: &[&str] = &[
    "id",
    "trace_id",
    "call_type",
    "response",
    "response_cost",
    "status",
    "status_code",
    "startTime",
    "endTime",
    "completionStartTime",
    "timestamp",
    "created_at",
    "duration_ms",
    "latency_ms",
    "headers",
    "end_user",
    "api_base",
    "cache_hit",
    "cache_key",
    "hidden_params",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "request_tags",
    "requester_ip_address",
    "error_str",
    "model_group",
    "model_id",
    "provider",
    "custom_llm_provider",
    "method",
    "url",
    "custom_id",
];

fn messages_of(map: &Map<String, Value>) -> Option<Value> {
    match map.get("messages")? {
        list @ Value::Array(_) => Some(list.clone()),
        Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_array),
        _ => None,
    }
}

/// A client error that the log tells of: such a request is not valid, and says nothing about providers.
fn refused_status(line: &Value) -> Option<u64> {
    let paths = ["/status_code", "/status", "/response/status_code", "/response/status"];
    let status = paths.iter().find_map(|p| line.pointer(p)?.as_u64())?;
    ((400..500).contains(&status) && status != 408 && status != 429).then_some(status)
}

fn case_of(chat: Chat) -> Map<String, Value> {
    let format = chat.response_format.as_ref().and_then(|f| f["type"].as_str());
    // With tools on offer a call is as good an answer as the format.
    let scorer = match (format, &chat.tools) {
        (Some("json_schema"), None) => Some("json-schema"),
        (Some("json_object"), None) => Some("json"),
        _ => None,
    };
    let category = if chat.tools.is_some() { "tools" } else { "text" };
    let mut case = Map::new();
    case.insert("category".to_owned(), json!(category));
    case.extend(chat.into_case());
    if let Some(kind) = scorer {
        case.insert("scorers".to_owned(), json!([{"type": kind}]));
    }
    case
}

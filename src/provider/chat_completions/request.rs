//! The request body.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::CaseInstance;

const STREAM: &str = "stream";
const STREAM_OPTIONS: &str = "stream_options";

/// The body of a chat-completions request: the model, what the case sends, its request keys as they are, then the keys
/// of `extra_body` that the case does not set itself.
///
/// Whether the answer is a stream is for the case alone to say. A streamed request asks for usage
/// (`stream_options.include_usage`) unless that is set.
#[must_use]
pub fn request_body(upstream_model: &str, instance: &CaseInstance, extra_body: &Map<String, Value>) -> Bytes {
    let body = RequestBody { instance, extra_body, stream_options: stream_options(instance, extra_body) };
    Bytes::from(body.written(upstream_model))
}

/// Whether the answer owes usage: plain ones always, streams when they are asked for it.
#[must_use]
pub fn expects_usage(instance: &CaseInstance, extra_body: &Map<String, Value>) -> bool {
    !instance.stream()
        || stream_options(instance, extra_body)
            .is_some_and(|options| options.get("include_usage").and_then(Value::as_bool) == Some(true))
}

fn stream_options(instance: &CaseInstance, extra_body: &Map<String, Value>) -> Option<Value> {
    let own = instance.case.request.get(STREAM_OPTIONS);
    if !instance.stream() {
        return own.cloned();
    }
    match own.or_else(|| extra_body.get(STREAM_OPTIONS)) {
        None => Some(json!({"include_usage": true})),
        Some(Value::Object(given)) => {
            let mut options = given.clone();
            options.entry("include_usage").or_insert(Value::Bool(true));
            Some(Value::Object(options))
        }
        Some(other) => Some(other.clone()),
    }
}

/// Bytes of a body besides messages and tools, usually.
const KEYS_ROOM: usize = 256;

struct RequestBody<'a> {
    instance: &'a CaseInstance,
    extra_body: &'a Map<String, Value>,
    stream_options: Option<Value>,
}

impl RequestBody<'_> {
    /// Keys that are written from elsewhere than the case's request keys.
    fn is_placed(&self, key: &str) -> bool {
        match key {
            "model" | "messages" | STREAM_OPTIONS => true,
            "tools" => self.instance.tools.is_some(),
            "response_format" => self.instance.response_format.is_some(),
            _ => false,
        }
    }

    fn written(&self, upstream_model: &str) -> Vec<u8> {
        let instance = self.instance;
        let request = &instance.case.request;
        let tools = instance.tools.as_ref();
        let room = instance.messages.text().len() + tools.map_or(0, |t| t.text().len()) + KEYS_ROOM;
        let mut out = Object { bytes: Vec::with_capacity(room) };
        out.value("model", &upstream_model);
        out.text("messages", instance.messages.text());
        if let Some(tools) = tools {
            out.text("tools", tools.text());
        }
        if let Some(format) = &instance.response_format {
            out.text("response_format", format.text());
        }
        for (key, value) in request.iter().filter(|(key, _)| !self.is_placed(key)) {
            out.value(key, value);
        }
        if let Some(options) = &self.stream_options {
            out.value(STREAM_OPTIONS, options);
        }
        let free = |key: &str| key != STREAM && !self.is_placed(key) && !request.contains_key(key);
        for (key, value) in self.extra_body.iter().filter(|(key, _)| free(key)) {
            out.value(key, value);
        }
        out.close()
    }
}

/// A JSON object while it is written: texts that are JSON already go in as they are.
struct Object {
    bytes: Vec<u8>,
}

impl Object {
    fn key(&mut self, key: &str) {
        self.bytes.push(if self.bytes.is_empty() { b'{' } else { b',' });
        self.json(&key);
        self.bytes.push(b':');
    }

    fn json(&mut self, value: &impl Serialize) {
        // Values with string keys always serialize, and a vector takes every byte.
        let _ = serde_json::to_writer(&mut self.bytes, value);
    }

    fn value(&mut self, key: &str, value: &impl Serialize) {
        self.key(key);
        self.json(value);
    }

    fn text(&mut self, key: &str, json: &str) {
        self.key(key);
        self.bytes.extend_from_slice(json.as_bytes());
    }

    fn close(mut self) -> Vec<u8> {
        self.bytes.push(b'}');
        self.bytes
    }
}

//! The request body.

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};
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
    let body =
        RequestBody { upstream_model, instance, extra_body, stream_options: stream_options(instance, extra_body) };
    // Values with string keys always serialize, so the default is never taken.
    Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
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

struct RequestBody<'a> {
    upstream_model: &'a str,
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
}

impl Serialize for RequestBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = &self.instance.case.request;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", self.upstream_model)?;
        map.serialize_entry("messages", &self.instance.messages)?;
        if let Some(tools) = &self.instance.tools {
            map.serialize_entry("tools", tools)?;
        }
        if let Some(format) = &self.instance.response_format {
            map.serialize_entry("response_format", format)?;
        }
        for (key, value) in request.iter().filter(|(key, _)| !self.is_placed(key)) {
            map.serialize_entry(key, value)?;
        }
        if let Some(options) = &self.stream_options {
            map.serialize_entry(STREAM_OPTIONS, options)?;
        }
        let free = |key: &str| key != STREAM && !self.is_placed(key) && !request.contains_key(key);
        for (key, value) in self.extra_body.iter().filter(|(key, _)| free(key)) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

//! What a request asks for. Everything that a condition, a defect or the answer depends on is read once
//! per different request and shared; a repeat costs one scan of the body and one hash.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::draws::Hash64;
use super::exam::Exam;
use super::library::Known;
use super::spec::{Choice, Format};

/// Largest number of choices in one request.
pub const CHOICES_MAX: u64 = 8;
/// Deepest nesting of JSON that is read for its features.
const DEPTH_MAX: usize = 64;
/// Bytes that count as one token in the simulator's estimate.
pub const BYTES_PER_TOKEN: u64 = 4;
/// Tokens added per message for its frame.
const TOKENS_PER_MESSAGE: u64 = 4;
/// Request keys that say nothing about the answer: they never change what is drawn.
pub const VOLATILE_KEYS: &[&str] =
    &["model", "user", "metadata", "safety_identifier", "prompt_cache_key", "store", "service_tier"];

/// Why a request cannot be answered, as the server says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The body is no JSON object.
    #[error("failed to read the request body as a JSON object: {0}")]
    NotJson(String),
    /// A key has a wrong type or value.
    #[error("`{key}` must be {want}")]
    Key {
        /// The key.
        key: &'static str,
        /// What it must be.
        want: &'static str,
    },
    /// Another model is asked for.
    #[error("the model `{asked}` does not exist here; this endpoint serves `{served}`")]
    Model {
        /// The model asked for.
        asked: String,
        /// The model served.
        served: String,
    },
}

/// The top level of a request body, values unread.
#[derive(Debug)]
pub struct Outline<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Outline<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Outline<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(12);
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    entries.push((key, map.next_value::<&'de RawValue>()?));
                }
                Ok(Outline(entries))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

impl<'a> Outline<'a> {
    /// Scans a body without reading its values.
    ///
    /// # Errors
    /// [`BadRequest::NotJson`].
    pub fn scan(body: &'a [u8]) -> Result<Self, BadRequest> {
        serde_json::from_slice(body).map_err(|error| BadRequest::NotJson(error.to_string()))
    }

    fn raw(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, raw)| *raw)
    }

    /// The model asked for, when it is a string.
    #[must_use]
    pub fn model(&self) -> Option<String> {
        self.raw("model").and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// Hash of the `user` field.
    #[must_use]
    pub fn user(&self) -> Option<u64> {
        self.raw("user").map(|raw| Hash64::default().bytes(raw.get().as_bytes()).value())
    }

    /// Hash of all that says something about the answer, whatever the order of the keys.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let keys = self.0.iter().filter(|(key, _)| !VOLATILE_KEYS.contains(&key.as_ref()));
        keys.map(|(key, raw)| Hash64::default().bytes(key.as_bytes()).bytes(raw.get().as_bytes()).value())
            .fold(0, u64::wrapping_add)
    }

    /// Reads the values.
    ///
    /// # Errors
    /// [`BadRequest`] when a value cannot be read or a key has a wrong type.
    pub fn read(&self) -> Result<serde_json::Map<String, Value>, BadRequest> {
        let read = |raw: &RawValue| serde_json::from_str(raw.get());
        self.0
            .iter()
            .map(|(key, raw)| Ok((key.clone().into_owned(), read(raw)?)))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| BadRequest::NotJson(error.to_string()))
    }
}

/// How much reasoning is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// `minimal` or `low`.
    Low,
    /// `medium`, or no word about it.
    Medium,
    /// `high` or more.
    High,
}

/// What one request asks for.
#[derive(Debug)]
pub struct Prompt {
    /// Hash of all that says something about the answer.
    pub hash: u64,
    /// Hash of the messages alone: which replica a router with prefix affinity would choose.
    pub prefix: u64,
    /// A stream is asked for.
    pub stream: bool,
    /// A usage frame is asked for at the end of the stream.
    pub include_usage: bool,
    /// Number of choices.
    pub choices: u32,
    /// Output limit.
    pub max_tokens: Option<u64>,
    /// Stop sequences, none of them empty.
    pub stop: Vec<String>,
    /// Number of top logprobs per token, when logprobs are asked for.
    pub logprobs: Option<u8>,
    /// Reasoning asked for, and how much.
    pub effort: Option<Effort>,
    /// Tools offered.
    pub tools: Vec<Value>,
    /// Effective tool choice.
    pub choice: Choice,
    /// The tool named by the choice.
    pub named: Option<String>,
    /// Response format.
    pub format: Format,
    /// Schema of the response format.
    pub schema: Option<Value>,
    /// A `seed` is sent.
    pub seeded: bool,
    /// A temperature above 0 is sent: words are drawn.
    pub draws: bool,
    /// Assistant messages in the history.
    pub history_turns: u32,
    /// The history holds calls.
    pub history_calls: bool,
    /// Every call id in the history looks like `functions.name:0`.
    pub history_ids_indexed: bool,
    /// Estimated tokens of the prompt.
    pub tokens: u64,
    /// Characters outside ASCII in the messages.
    pub non_ascii: bool,
    /// Objects or arrays inside a tool's parameters or the response schema.
    pub nested_schema: bool,
    /// The case that it is, if it is one.
    pub known: Option<Known>,
    /// It asks for the examination of an answer.
    pub exam: Option<Exam>,
}

impl Prompt {
    /// Reads a request's values; the case is looked up by the caller.
    ///
    /// # Errors
    /// [`BadRequest::Key`] for what a provider refuses with 400.
    pub fn read(hash: u64, body: &serde_json::Map<String, Value>) -> Result<Prompt, BadRequest> {
        let messages = match body.get("messages") {
            Some(Value::Array(messages)) if !messages.is_empty() => messages,
            _ => return Err(BadRequest::Key { key: "messages", want: "an array of at least one message" }),
        };
        let tools = match body.get("tools") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(tools)) => tools.clone(),
            Some(_) => return Err(BadRequest::Key { key: "tools", want: "an array" }),
        };
        let choices = match body.get("n") {
            None | Some(Value::Null) => 1,
            Some(n) => match n.as_u64() {
                Some(n @ 1..=CHOICES_MAX) => n as u32,
                _ => return Err(BadRequest::Key { key: "n", want: "an integer from 1 to 8" }),
            },
        };
        let (choice, named) = read_choice(body.get("tool_choice"));
        let (format, schema) = read_format(body.get("response_format"));
        let history: Vec<&Value> = messages.iter().filter(|m| m["role"] == "assistant").collect();
        let ids = || history.iter().filter_map(|m| m["tool_calls"].as_array()).flatten();
        let text = |value: &Value| value.to_string();
        let messages_text: Vec<String> = messages.iter().map(text).collect();
        let bytes: usize =
            messages_text.iter().map(String::len).sum::<usize>() + tools.iter().map(|t| text(t).len()).sum::<usize>();
        let prefix = messages_text.iter().fold(Hash64::default(), |h, m| h.bytes(m.as_bytes()));
        Ok(Prompt {
            hash,
            prefix: prefix.value(),
            stream: flag(body.get("stream")),
            include_usage: flag(body.get("stream_options").and_then(|o| o.get("include_usage"))),
            choices,
            max_tokens: ["max_completion_tokens", "max_tokens"].iter().find_map(|k| body.get(*k)?.as_u64()),
            stop: read_stop(body.get("stop")),
            logprobs: flag(body.get("logprobs"))
                .then(|| body.get("top_logprobs").and_then(Value::as_u64).unwrap_or(0).min(20) as u8),
            effort: read_effort(body),
            nested_schema: tools.iter().any(|t| is_nested(&t["function"]["parameters"]))
                || schema.as_ref().is_some_and(is_nested),
            tools,
            choice,
            named,
            format,
            schema,
            seeded: body.get("seed").is_some_and(Value::is_number),
            draws: body.get("temperature").and_then(Value::as_f64).is_some_and(|t| t > 0.0),
            history_turns: history.len() as u32,
            history_calls: ids().next().is_some(),
            history_ids_indexed: ids().all(|call| call["id"].as_str().is_some_and(is_indexed_id)),
            tokens: bytes as u64 / BYTES_PER_TOKEN + TOKENS_PER_MESSAGE * messages.len() as u64,
            non_ascii: messages_text.iter().any(|m| !m.is_ascii()),
            known: None,
            exam: None,
        })
    }

    /// Names of the offered tools.
    pub fn tool_names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().filter_map(|tool| tool["function"]["name"].as_str())
    }

    /// The parameters' schema of an offered tool.
    #[must_use]
    pub fn parameters(&self, name: &str) -> Option<&Value> {
        self.tools.iter().find(|t| t["function"]["name"] == name).map(|t| &t["function"]["parameters"])
    }

    /// A call must be made.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        matches!(self.choice, Choice::Required | Choice::Named)
    }
}

fn flag(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool).unwrap_or(false)
}

fn read_choice(value: Option<&Value>) -> (Choice, Option<String>) {
    match value {
        Some(Value::String(word)) if word == "none" => (Choice::None, None),
        Some(Value::String(word)) if word == "required" => (Choice::Required, None),
        Some(Value::Object(choice)) => {
            let name = choice.get("function").and_then(|f| f["name"].as_str()).map(str::to_owned);
            (if name.is_some() { Choice::Named } else { Choice::Auto }, name)
        }
        _ => (Choice::Auto, None),
    }
}

fn read_format(value: Option<&Value>) -> (Format, Option<Value>) {
    let Some(format) = value else { return (Format::Text, None) };
    match format["type"].as_str() {
        Some("json_object") => (Format::JsonObject, None),
        Some("json_schema") => (Format::JsonSchema, Some(format["json_schema"]["schema"].clone())),
        _ => (Format::Text, None),
    }
}

fn read_stop(value: Option<&Value>) -> Vec<String> {
    let texts: Vec<&Value> = match value {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    texts.into_iter().filter_map(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

fn read_effort(body: &serde_json::Map<String, Value>) -> Option<Effort> {
    let level = |value: &Value| match value.as_str() {
        Some("none") => None,
        Some("minimal" | "low") => Some(Effort::Low),
        Some("high" | "xhigh" | "max") => Some(Effort::High),
        _ => Some(Effort::Medium),
    };
    if let Some(effort) = body.get("reasoning_effort").filter(|v| v.is_string()) {
        return level(effort);
    }
    if let Some(reasoning) = body.get("reasoning").filter(|v| v.is_object()) {
        return if reasoning["enabled"] == false { None } else { level(&reasoning["effort"]) };
    }
    let template = body.get("chat_template_kwargs");
    let switches = [body.get("enable_thinking"), template.and_then(|t| t.get("enable_thinking"))];
    let thinking = body.get("thinking").is_some_and(|t| t["type"] == "enabled" || *t == Value::Bool(true));
    (thinking || switches.into_iter().any(flag)).then_some(Effort::Medium)
}

fn is_indexed_id(id: &str) -> bool {
    id.strip_prefix("functions.")
        .and_then(|rest| rest.rsplit_once(':'))
        .is_some_and(|(name, index)| !name.is_empty() && index.parse::<u32>().is_ok())
}

/// Whether a schema has objects or arrays below its top level.
fn is_nested(schema: &Value) -> bool {
    fn holds(schema: &Value, depth: usize) -> bool {
        let composite = matches!(schema["type"].as_str(), Some("object" | "array"))
            || schema.get("properties").is_some()
            || schema.get("items").is_some();
        composite || (depth > 0 && inner(schema).any(|s| holds(s, depth - 1)))
    }
    fn inner(schema: &Value) -> impl Iterator<Item = &Value> {
        let properties = schema["properties"].as_object().into_iter().flat_map(|p| p.values());
        let choices = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|k| schema[k].as_array()).flatten();
        properties.chain(schema.get("items")).chain(choices)
    }
    inner(schema).any(|s| holds(s, DEPTH_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<Prompt, BadRequest> {
        let text = body.to_string();
        let outline = Outline::scan(text.as_bytes())?;
        Prompt::read(outline.hash(), &outline.read()?)
    }

    #[test]
    fn reads_what_conditions_ask_about() {
        let prompt = read(json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true}, "n": 2, "stop": ["", "END"],
            "reasoning_effort": "high", "seed": 1, "max_tokens": 9,
            "messages": [{"role": "user", "content": "é"}, {"role": "assistant", "content": null,
                "tool_calls": [{"id": "functions.f:0", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "functions.f:0", "content": "1"}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object",
                "properties": {"a": {"type": "array", "items": {"type": "string"}}}}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
        }))
        .unwrap();
        assert!(prompt.stream && prompt.include_usage && prompt.seeded && prompt.non_ascii && prompt.nested_schema);
        assert!(prompt.history_calls && prompt.history_ids_indexed && prompt.is_forced());
        assert_eq!((prompt.choices, prompt.history_turns, prompt.max_tokens), (2, 1, Some(9)));
        assert_eq!(prompt.stop, ["END"]);
        assert_eq!((prompt.choice, prompt.named.as_deref()), (Choice::Named, Some("f")));
        assert_eq!((prompt.format, prompt.effort), (Format::JsonSchema, Some(Effort::High)));
        assert!(prompt.tokens > 20);
    }

    #[test]
    fn volatile_keys_and_the_order_of_keys_leave_the_hash_alone() {
        let hash = |text: &str| Outline::scan(text.as_bytes()).unwrap().hash();
        let plain = hash(r#"{"messages":[],"n":1,"model":"a"}"#);
        assert_eq!(plain, hash(r#"{"user":"x","n":1,"messages":[],"model":"b"}"#));
        assert_ne!(plain, hash(r#"{"messages":[],"n":2,"model":"a"}"#));
        assert_ne!(plain, hash(r#"{"messages":[],"n":1,"model":"a","seed":1}"#));
    }

    #[test]
    fn what_a_provider_refuses_is_refused() {
        for body in [json!({}), json!({"messages": []}), json!({"messages": "x"}), json!({"messages": [1], "n": 99})] {
            assert!(matches!(read(body.clone()), Err(BadRequest::Key { .. })), "{body}");
        }
        assert!(Outline::scan(b"[1]").is_err());
        assert!(Outline::scan(b"\xff").is_err());
        assert!(read(json!({"messages": [1], "tool_choice": 5, "stop": 3, "tools": [7]})).is_ok());
    }
}

//! A message from a suite file, read as if a provider had sent it.

use serde_json::{Map, Value, json};

use super::Parsed;
use super::plain::parse;
use crate::domain::Completion;

/// Reads a reference answer (or a counter-example) `{role, content, tool_calls, ...}` as a [`Completion`].
///
/// For the convenience of those who write suites: `function.arguments` may be an object, which is written as the string
/// that the wire would carry; `role` and the calls' `type` and `id` are filled in where the key is absent (not where it
/// is null or empty); `finish_reason` may stand beside them and is otherwise `tool_calls` when there are calls and
/// `stop` when there are none. There is no usage, and that is no breach; the number of choices is not known (0). A value
/// that is no object gives an empty Completion.
#[must_use]
pub fn completion_from_message(message: &Value) -> Completion {
    read_message(message).unwrap_or_default()
}

/// As [`completion_from_message`], for a message that others wrote.
///
/// # Errors
/// A [`Delivery`](super::Delivery) for a message that no answer may hold, such as one with too many calls.
pub fn read_message(message: &Value) -> Parsed {
    let Value::Object(message) = message else { return Ok(Completion::default()) };
    let mut message = message.clone();
    message.entry("role").or_insert_with(|| json!("assistant"));
    if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
        for (number, call) in calls.iter_mut().enumerate() {
            if let Value::Object(call) = call {
                fill_call(number, call);
            }
        }
    }
    let has_calls = message.get("tool_calls").and_then(Value::as_array).is_some_and(|calls| !calls.is_empty());
    let finish_reason =
        message.shift_remove("finish_reason").unwrap_or_else(|| json!(if has_calls { "tool_calls" } else { "stop" }));
    let body = json!({
        "id": "reference", "object": "chat.completion", "created": 0, "model": "reference",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    });
    let mut completion = parse(body.to_string().as_bytes(), false)?;
    completion.model = None;
    // How many choices a case asks for is not said in a message.
    completion.choices = 0;
    Ok(completion)
}

fn fill_call(number: usize, call: &mut Map<String, Value>) {
    call.entry("id").or_insert_with(|| json!(format!("call_{number}")));
    call.entry("type").or_insert_with(|| json!("function"));
    if let Some(arguments) = call.get_mut("function").and_then(|function| function.get_mut("arguments"))
        && !matches!(arguments, Value::String(_) | Value::Null)
    {
        *arguments = Value::String(arguments.to_string());
    }
}

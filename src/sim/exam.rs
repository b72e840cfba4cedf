//! Playing a judge: a request that examines an answer is answered by what is known of the question.

use serde_json::{Map, Value, json};

use super::library::Library;

/// What a judge is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exam {
    /// To be repeated.
    pub ticket: String,
    /// The examined answer says what the reference says.
    pub right: bool,
}

/// Reads the last message of a request as an examination: an object with a ticket, a rubric, a conversation and an
/// answer. Its conversation is looked up as any request is.
#[must_use]
pub fn read(library: &Library, body: &Map<String, Value>) -> Option<Exam> {
    let last = body.get("messages")?.as_array()?.last()?;
    let asked: Value = serde_json::from_str(last.get("content")?.as_str()?).ok()?;
    let ticket = asked.get("ticket")?.as_str()?.to_owned();
    let (answer, conversation) = (asked.get("answer")?, asked.get("conversation")?.as_array()?);
    asked.get("rubric")?.as_str()?;
    let mut request = Map::from_iter([("messages".to_owned(), json!(conversation))]);
    request.extend(asked.get("tools").map(|tools| ("tools".to_owned(), tools.clone())));
    let known = library.find(&request);
    let reference = known.and_then(|known| Some(known.instance.reference.as_ref()?.value()));
    Some(Exam { ticket, right: reference.is_some_and(|reference| says_the_same(&reference, answer)) })
}

fn says_the_same(reference: &Value, answer: &Value) -> bool {
    let text = |message: &Value| message["content"].as_str().unwrap_or("").trim().to_owned();
    let parsed = |arguments: &Value| match arguments {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    };
    let calls = |message: &Value| -> Vec<(Value, Value)> {
        let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
        let function = |call: &Value| call.get("function").cloned().unwrap_or_else(|| call.clone());
        calls.iter().map(function).map(|f| (f["name"].clone(), parsed(&f["arguments"]))).collect()
    };
    calls(reference) == calls(answer) && text(reference) == text(answer)
}

/// What a judge replies that finds so.
#[must_use]
pub fn reply(ticket: &str, right: bool) -> String {
    let (verdict, reason) = match right {
        true => ("pass", "The answer says what was asked for."),
        false => ("fail", "The answer does not say what was asked for."),
    };
    json!({"ticket": ticket, "reason": reason, "verdict": verdict}).to_string()
}

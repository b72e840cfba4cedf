//! Tests of whole judgements: the catalogue of defects, benign variety, each scorer, and laws.

mod benign;
mod bfcl;
mod catalogue;
mod custom;
mod judges;
mod laws;
mod outside;
mod plain_schema;
mod python_json;
mod scorers;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::spec::child_spec;
use super::{Judge, ScorerError};
use crate::domain::{
    Breach, Case, CaseId, CaseInstance, Completion, Fault, Json, Judgement, ScorerSpec, ToolCall, Usage,
};

/// An instance from the keys of a case: messages, tools, response_format, request, expected, scorers, reference.
fn instance(case: &Value) -> CaseInstance {
    let list = |key: &str| case.get(key).and_then(Value::as_array).cloned();
    let scorers: Vec<ScorerSpec> = list("scorers").unwrap_or_default().iter().map(|s| child_spec(s).unwrap()).collect();
    let messages = list("messages").unwrap_or_else(|| vec![json!({"role": "user", "content": "Please answer."})]);
    let (messages, scorers) = (Json::from(messages), Arc::<[ScorerSpec]>::from(scorers));
    let request = Arc::new(case.get("request").and_then(Value::as_object).cloned().unwrap_or_default());
    let value = |key: &str| case.get(key).map(Json::from);
    let files = case.get("files").and_then(Value::as_object).into_iter().flatten();
    let files = files.map(|(name, text)| (name.clone(), Arc::from(text.as_str().unwrap()))).collect();
    let case = Case {
        id: CaseId::new("case").unwrap(),
        category: None,
        tags: vec![],
        messages: messages.clone(),
        tools: value("tools"),
        response_format: value("response_format"),
        request,
        expected: value("expected"),
        scorers: scorers.clone(),
        metadata: None,
        params: Arc::default(),
        derive: Arc::default(),
        fixed: true,
        world: None,
        files: Arc::new(files),
        reference: value("reference"),
        counterexample: None,
        answers: None,
        pair: None,
        hash: String::new(),
    };
    CaseInstance {
        messages,
        tools: case.tools.clone(),
        response_format: case.response_format.clone(),
        expected: case.expected.clone(),
        scorers,
        world: None,
        reference: case.reference.clone(),
        counterexample: None,
        answers: None,
        draw: None,
        case: Arc::new(case),
    }
}

/// A Completion as the provider module delivers it, from: content, refusal, reasoning, calls, finish, usage, breaches,
/// ambiguous, truncated. Call arguments in a string are the wire string; null is absent; anything else came as a value.
fn completion(answer: &Value) -> Completion {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    let calls = answer.get("calls").and_then(Value::as_array);
    let tool_calls = calls.into_iter().flatten().enumerate().map(|(at, call)| {
        let arguments = call.get("arguments").unwrap_or(&Value::Null);
        ToolCall {
            id: match call.get("id") {
                None => Some(format!("call_{at}")),
                Some(id) => id.as_str().map(str::to_owned),
            },
            name: call["name"].as_str().unwrap().to_owned(),
            arguments: match arguments {
                Value::Null => None,
                Value::String(s) => Some(s.clone()),
                other => Some(other.to_string()),
            },
            arguments_as_value: !matches!(arguments, Value::Null | Value::String(_)),
        }
    });
    let tool_calls: Vec<ToolCall> = tool_calls.collect();
    let finish = if tool_calls.is_empty() { "stop" } else { "tool_calls" };
    let usage = answer.get("usage").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![json!(50), json!(20)]);
    let tokens = |at: usize| usage.get(at).and_then(Value::as_u64);
    let breaches = answer.get("breaches").and_then(Value::as_array);
    Completion {
        content: text("content"),
        refusal: text("refusal"),
        reasoning: text("reasoning"),
        tool_calls_present: calls.is_some(),
        tool_calls,
        finish_reason: Some(text("finish").unwrap_or_else(|| finish.to_owned())),
        usage: Usage { tokens_in: tokens(0), tokens_out: tokens(1), tokens_reasoning: tokens(2) },
        choices: 1,
        breaches: breaches
            .into_iter()
            .flatten()
            .map(|f| Breach { fault: f.as_str().unwrap().parse().unwrap(), what: "as seen".to_owned() })
            .collect(),
        ambiguous_calls: answer.get("ambiguous") == Some(&Value::Bool(true)),
        truncated: answer.get("truncated") == Some(&Value::Bool(true)),
        ..Completion::default()
    }
}

fn prepare_error(case: &Value) -> ScorerError {
    match Judge::new().prepare(&instance(case)) {
        Ok(_) => panic!("{case} should be broken"),
        Err(e) => e,
    }
}

fn judge(case: &Value, answer: &Value) -> Judgement {
    let prepared = Judge::new().prepare(&instance(case)).unwrap_or_else(|e| panic!("{case}: {e}"));
    prepared.judge(&completion(answer))
}

/// Overlays the keys of `over` on `base`.
fn with(base: &Value, over: &Value) -> Value {
    let mut map: Map<String, Value> = base.as_object().cloned().unwrap_or_default();
    map.extend(over.as_object().cloned().unwrap_or_default());
    Value::Object(map)
}

/// Two tools: a strict one, and one with nested arguments.
fn tools() -> Value {
    json!([
        {"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city"], "additionalProperties": false}}},
        {"type": "function", "function": {"name": "write_note", "parameters": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
            "required": ["text"]}}},
        {"type": "function", "function": {"name": "list_notes"}}
    ])
}

/// A case in which one call is due.
fn one_call() -> Value {
    json!({"tools": tools(), "scorers": [{"type": "tool-calls"}],
        "expected": {"calls": [{"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}}]}})
}

/// A case in which two calls are due.
fn two_calls() -> Value {
    json!({"tools": tools(), "scorers": [{"type": "tool-calls"}], "expected": {"calls": [
        {"name": "list_notes"}, {"name": "get_weather", "arguments": {"city": "Oslo"}}]}})
}

/// A case whose answer is a text.
fn text_case() -> Value {
    json!({"messages": [{"role": "user", "content": "What is the capital of Norway?"}],
        "scorers": [{"type": "contains", "value": "Oslo"}]})
}

/// A call of the weather tool with its wire arguments.
fn weather(arguments: &Value) -> Value {
    json!({"name": "get_weather", "arguments": arguments})
}

/// The right call of [`one_call`].
fn right_call() -> Value {
    json!({"calls": [weather(&json!(r#"{"city": "Oslo", "days": 3}"#))]})
}

fn assert_fault(name: &str, judgement: &Judgement, primary: Option<Fault>, secondary: &[Fault]) {
    assert_eq!(judgement.fault, primary, "{name}: {judgement:?}");
    for fault in secondary {
        assert!(judgement.secondary.contains(fault), "{name} lacks {fault}: {judgement:?}");
    }
    match primary {
        None => assert_eq!(judgement.verdict, crate::domain::Verdict::Pass, "{name}"),
        Some(fault) => {
            assert_eq!(judgement.verdict, crate::domain::Verdict::Fail(fault), "{name}");
            assert!(!judgement.explanation.is_empty(), "{name}");
            assert!(judgement.error_type.as_ref().is_some_and(|t| t.contains(':')), "{name}: {judgement:?}");
        }
    }
}

use serde_json::{Value, json};

use super::*;
use crate::domain::{ToolCall, Usage};

fn usage() -> Value {
    json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
}

fn body(message: Value, finish_reason: Value) -> Value {
    json!({
        "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": usage(),
    })
}

fn call(arguments: Value) -> Value {
    json!({"id": "call_a", "type": "function", "function": {"name": "f", "arguments": arguments}})
}

fn calls(list: &[Value]) -> Value {
    body(json!({"role": "assistant", "content": null, "tool_calls": list}), json!("tool_calls"))
}

fn parse(body: &Value) -> Completion {
    parse_plain(body.to_string().as_bytes()).unwrap()
}

#[test]
fn a_healthy_answer_has_no_breach() {
    let completion = parse(&calls(&[call(json!("{\"b\": 1.0,\"a\":2}"))]));
    assert_eq!(completion.breaches, []);
    assert_eq!(completion.tool_calls[0].arguments.as_deref(), Some("{\"b\": 1.0,\"a\":2}"), "the text as sent");
    assert!(!completion.tool_calls[0].arguments_as_value && completion.tool_calls_present);
    assert_eq!(completion.finish_reason.as_deref(), Some("tool_calls"));
    assert_eq!(completion.usage, Usage { tokens_in: Some(10), tokens_out: Some(5), tokens_reasoning: None });
    assert_eq!((completion.choices, completion.model.as_deref()), (1, Some("m")));
    assert!(!completion.truncated && !completion.streamed && !completion.ambiguous_calls);
}

#[test]
fn benign_differences_are_no_breaches() {
    for message in [
        json!({"role": "assistant", "content": "x", "extra": {"deep": [1, 2]}, "annotations": []}),
        json!({"role": "assistant", "content": "x", "tool_calls": null, "refusal": null}),
        json!({"role": "assistant", "content": "", "tool_calls": [call(json!("{}"))]}),
        json!({"role": "assistant", "tool_calls": [{"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
        json!({"role": "assistant", "content": "x", "tool_calls": [], "reasoning": ""}),
    ] {
        assert_eq!(parse(&body(message.clone(), json!("stop"))).breaches, [], "{message}");
    }
    let mut extra = body(json!({"role": "assistant", "content": "x"}), json!("stop"));
    extra["service_tier"] = json!("default");
    extra["error"] = Value::Null;
    extra["usage"]["prompt_tokens_details"] = json!({"cached_tokens": 0});
    extra["choices"][0]["native_finish_reason"] = json!("STOP");
    assert_eq!(parse(&extra).breaches, []);
}

#[test]
fn arguments_are_kept_as_sent() {
    // args_truncated_finish_tool_calls, args_duplicated, args_double_encoded, args_python_literal: judged as sent.
    for wire in
        ["{\"city\": \"Par", "{\"a\":1}{\"a\":1}", "\"{\\\"a\\\":1}\"", "{'a': True}", "", "{\"a\":\"\\u00e9\"}"]
    {
        let completion = parse(&calls(&[call(json!(wire))]));
        assert_eq!(completion.tool_calls[0].arguments.as_deref(), Some(wire));
        assert_eq!(completion.breaches, [], "the wire shape is right: {wire}");
    }
    for absent in
        [calls(&[call(Value::Null)]), calls(&[json!({"id": "a", "type": "function", "function": {"name": "f"}})])]
    {
        assert_eq!(parse(&absent).tool_calls[0].arguments, None);
    }
}

#[test]
fn args_object_not_string() {
    let wire = calls(&[call(json!("@"))]).to_string().replace("\"@\"", "{ \"b\": 1.50, \"a\": [1,2] }");
    let completion = parse_plain(wire.as_bytes()).unwrap();
    let expected = ToolCall {
        id: Some("call_a".to_owned()),
        name: "f".to_owned(),
        arguments: Some("{ \"b\": 1.50, \"a\": [1,2] }".to_owned()),
        arguments_as_value: true,
    };
    assert_eq!(completion.tool_calls, [expected]);
    assert_eq!(breaches(&completion), [Fault::WireShape]);
}

#[test]
fn call_ids() {
    let with_id = |id: Value| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let without = json!({"type": "function", "function": {"name": "f", "arguments": "{}"}});
    // call_id_missing, call_id_empty, call_id_duplicate
    for (list, id) in [
        (vec![without], None),
        (vec![with_id(Value::Null)], None),
        (vec![with_id(json!(""))], Some("")),
        (vec![with_id(json!("x")), with_id(json!("x"))], Some("x")),
        (vec![with_id(json!(7))], None),
    ] {
        let completion = parse(&calls(&list));
        assert!(breaches(&completion).iter().all(|f| *f == Fault::BadCallId), "{:?}", completion.breaches);
        assert!(!completion.breaches.is_empty());
        assert_eq!(completion.tool_calls[0].id.as_deref(), id);
        assert_eq!(completion.tool_calls.len(), list.len());
    }
}

#[test]
fn names_are_kept_as_sent() {
    // name_undeclared, name_template_tokens
    let mut odd = call(json!("{}"));
    odd["function"]["name"] = json!("query<|channel|>commentary");
    let completion = parse(&calls(&[odd]));
    assert_eq!(completion.tool_calls[0].name, "query<|channel|>commentary");
    assert_eq!(completion.breaches, []);
    let nameless = parse(&calls(&[json!({"id": "a", "type": "function"})]));
    assert_eq!((nameless.tool_calls[0].name.as_str(), breaches(&nameless)), ("", vec![Fault::WireShape]));
}

#[test]
fn finish_reasons_are_kept_as_sent() {
    // finish_stop_with_calls, finish_tool_calls_empty, finish_raw_token, finish_unknown
    for reason in ["stop", "tool_calls", "length", "stop_163586", "other"] {
        let completion = parse(&body(json!({"role": "assistant", "content": "x", "tool_calls": []}), json!(reason)));
        assert_eq!(completion.finish_reason.as_deref(), Some(reason));
        assert!(completion.tool_calls_present && completion.tool_calls.is_empty());
        assert_eq!(completion.breaches, []);
    }
    let without = parse(&body(json!({"role": "assistant", "content": "x"}), Value::Null));
    assert!(without.truncated && without.finish_reason.is_none());
    let empty = parse(&body(json!({"role": "assistant", "content": "x"}), json!("")));
    assert!(empty.truncated);
    assert_eq!(breaches(&empty), [Fault::WireShape]);
}

#[test]
fn reasoning_under_either_name() {
    for name in ["reasoning", "reasoning_content"] {
        let mut wire = body(json!({"role": "assistant", "content": null, name: "thinking"}), json!("stop"));
        wire["usage"]["completion_tokens_details"] = json!({"reasoning_tokens": 4});
        let completion = parse(&wire);
        assert_eq!((completion.reasoning.as_deref(), completion.content.as_deref()), (Some("thinking"), None));
        assert_eq!(completion.usage.tokens_reasoning, Some(4));
        assert_eq!(completion.breaches, []);
    }
    let both = json!({"role": "assistant", "content": "x", "reasoning": "t", "reasoning_content": "t"});
    assert_eq!(parse(&body(both, json!("stop"))).reasoning.as_deref(), Some("t"));
}

#[test]
fn bad_usage() {
    let said = |usage: Value, message: Value| {
        let mut wire = body(message, json!("stop"));
        wire["usage"] = usage;
        breaches(&parse(&wire))
    };
    let text = json!({"role": "assistant", "content": "x"});
    let thought = json!({"role": "assistant", "content": "x", "reasoning": "because"});
    let long = json!({"role": "assistant", "content": "a word ".repeat(30)});
    let one = json!({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11});
    // usage_null_or_zero, reasoning_tokens_uncounted, reasoning_only with 0 tokens, leak_harmony_channels (1 billed)
    for (usage, message) in [
        (Value::Null, &text),
        (json!("10"), &text),
        (json!({}), &text),
        (json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}), &text),
        (json!({"prompt_tokens": 10, "completion_tokens": -5, "total_tokens": 5}), &text),
        (json!({"prompt_tokens": 10, "completion_tokens": 5.0, "total_tokens": 15}), &text),
        (json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 99}), &text),
        (usage(), &thought),
        (one.clone(), &long),
    ] {
        let found = said(usage.clone(), message.clone());
        assert!(!found.is_empty() && found.iter().all(|f| *f == Fault::BadUsage), "{usage} {found:?}");
    }
    assert_eq!(said(one, text), []);
}

#[test]
fn ok_with_error_body() {
    let plain = |text: &str| fault(parse_plain(text.as_bytes()));
    assert_eq!(plain(r#"{"error":{"message":"boom","code":500}}"#), Fault::ServerError);
    assert_eq!(plain(r#"{"error":"boom","choices":null}"#), Fault::ServerError);
    assert_eq!(plain(r#"{"error":{"message":"slow down","code":429},"choices":[]}"#), Fault::RateLimited);
    assert_eq!(plain(r#"{"error":{"message":"slow","type":"rate_limit_exceeded"}}"#), Fault::RateLimited);
    let inside =
        r#"{"choices":[{"index":0,"error":{"message":"m"},"message":{"content":""},"finish_reason":"error"}]}"#;
    assert_eq!(plain(inside), Fault::ServerError);
    for malformed in [
        r#"{"choices":null}"#,
        r#"{"choices":[]}"#,
        r#"{"choices":{}}"#,
        r#"{"choices":[null]}"#,
        r#"{"choices":[{"index":0,"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"message":null,"finish_reason":"stop"}]}"#,
        r#"{"id":"x"}"#,
        "{}",
        "[]",
        "null",
        "\"text\"",
        "17",
        "",
        "  \n ",
        "<html>busy</html>",
        "{\"choices\":[{\"mess",
        r#"{"choices":[]} {"choices":[]}"#,
    ] {
        assert_eq!(plain(malformed), Fault::MalformedBody, "{malformed}");
    }
    let detail = parse_plain(br#"{"error":{"message":"over capacity","code":503}}"#).unwrap_err().detail;
    assert_eq!(detail, "an error object under status 200: over capacity");
}

#[test]
fn wire_shapes() {
    let healthy = body(json!({"role": "assistant", "content": "x"}), json!("stop"));
    let with = |pointer: &str, value: Value| {
        let mut wire = healthy.clone();
        *wire.pointer_mut(pointer).unwrap() = value;
        let completion = parse(&wire);
        (completion.content.clone(), breaches(&completion))
    };
    for (pointer, value) in [
        ("/id", Value::Null),
        ("/object", json!("chat.completion.chunk")),
        ("/created", json!("now")),
        ("/model", json!(7)),
        ("/choices/0/index", Value::Null),
        ("/choices/0/message/role", json!("user")),
        ("/choices/0/message/content", json!([{"type": "text", "text": "x"}])),
    ] {
        assert_eq!(with(pointer, value), (Some("x".to_owned()), vec![Fault::WireShape]), "{pointer}");
    }
    assert_eq!(with("/choices/0/message/content", json!({"a": 1})), (None, vec![Fault::WireShape]));
    assert_eq!(with("/choices/0/message/content", json!(1)), (None, vec![Fault::WireShape]));
    let marked = format!("\u{feff}{healthy}");
    assert_eq!(breaches(&parse_plain(marked.as_bytes()).unwrap()), [Fault::WireShape]);
}

#[test]
fn corrupt_text_is_read_and_noted() {
    let wire = body(json!({"role": "assistant", "content": "caf@ x"}), json!("stop")).to_string();
    let cut = wire.split_once('@').map(|(a, b)| [a.as_bytes(), b"\xc3", b.as_bytes()].concat()).unwrap();
    let lone = wire.replace('@', "\\ud83d");
    let pair = wire.replace('@', "\\ud83d\\ude00");
    for corrupt in [&cut[..], lone.as_bytes()] {
        let completion = parse_plain(corrupt).unwrap();
        assert_eq!(completion.content.as_deref(), Some("caf\u{fffd} x"));
        assert_eq!(breaches(&completion), [Fault::CorruptText]);
    }
    let whole = parse_plain(pair.as_bytes()).unwrap();
    assert_eq!((whole.content.as_deref(), whole.breaches.len()), (Some("caf\u{1f600} x"), 0));
}

#[test]
fn several_choices_keys_in_any_order_and_repeated() {
    let wire = br#"{"usage":{"total_tokens":3,"completion_tokens":1,"prompt_tokens":2},"choices":[
        {"finish_reason":"stop","message":{"content":"second","role":"assistant"},"index":1},
        {"message":{"content":"x","content":"first","role":"assistant"},"index":0,"finish_reason":"stop","logprobs":{"content": [ ]}}],
        "system_fingerprint":"fp","provider":"Other","model":"m","created":1,"object":"chat.completion","id":"i"}"#;
    let completion = parse_plain(wire).unwrap();
    assert_eq!((completion.content.as_deref(), completion.choices), (Some("first"), 2));
    assert_eq!((completion.served_by.as_deref(), completion.fingerprint.as_deref()), (Some("Other"), Some("fp")));
    assert_eq!(completion.logprobs.unwrap().0.get(), "{\"content\": [ ]}");
    assert_eq!(completion.breaches, []);
}

#[test]
fn limits_hold() {
    let many = vec![call(json!("{}")); CALLS_MAX + 1];
    assert_eq!(fault(parse_plain(calls(&many).to_string().as_bytes())), Fault::MalformedBody);
    let choices = format!("{{\"choices\":[{}null]}}", "{},".repeat(1 << 16));
    assert_eq!(fault(parse_plain(choices.as_bytes())), Fault::MalformedBody);
    let deep = format!("{{\"choices\":{}", "[".repeat(1 << 16));
    assert_eq!(fault(parse_plain(deep.as_bytes())), Fault::MalformedBody);
}

#[test]
fn reference_messages() {
    let message = json!({"tool_calls": [
        {"function": {"name": "f", "arguments": {"b": 1.0, "a": "\u{e9}"}}},
        {"id": null, "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]});
    let completion = completion_from_message(&message);
    assert_eq!(completion.tool_calls[0].arguments.as_deref(), Some("{\"b\":1.0,\"a\":\"\u{e9}\"}"));
    assert!(!completion.tool_calls[0].arguments_as_value);
    assert_eq!(completion.tool_calls[0].id.as_deref(), Some("call_0"));
    assert_eq!(completion.tool_calls[1].id, None);
    assert_eq!(breaches(&completion), [Fault::BadCallId], "an id of null is meant");
    // A message does not say how many choices its answer had.
    assert_eq!((completion.finish_reason.as_deref(), completion.choices), (Some("tool_calls"), 0));

    let text = completion_from_message(&json!({"role": "assistant", "content": "four"}));
    assert_eq!((text.content.as_deref(), text.finish_reason.as_deref()), (Some("four"), Some("stop")));
    assert_eq!((text.breaches.len(), text.usage), (0, Usage::default()));
    let cut = completion_from_message(&json!({"content": "fo", "finish_reason": "length"}));
    assert_eq!(cut.finish_reason.as_deref(), Some("length"));
    assert_eq!(completion_from_message(&json!("no message")), Completion::default());
}

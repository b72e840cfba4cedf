use serde_json::{Map, Value, json};

use super::*;
use crate::provider::test_kit::instance;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn body(request: Value, extra: Value) -> String {
    String::from_utf8(request_body("up/m", &instance(request), &object(extra)).to_vec()).unwrap()
}

#[test]
fn the_body_holds_the_case_and_its_request_keys() {
    let text = body(json!({"temperature": 0, "seed": 7, "tool_choice": "required", "stop": ["X"]}), json!({}));
    assert_eq!(
        text,
        r#"{"model":"up/m","messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f"}}],"response_format":{"type":"json_object"},"temperature":0,"seed":7,"tool_choice":"required","stop":["X"]}"#
    );
}

#[test]
fn extra_keys_stand_under_the_cases_own() {
    let extra = json!({"temperature": 1, "provider": {"only": ["a"]}, "model": "no", "messages": [], "tools": [], "stream": true});
    let text = body(json!({"temperature": 0, "model": "no"}), extra);
    assert!(text.ends_with(r#","temperature":0,"provider":{"only":["a"]}}"#), "{text}");
    assert_eq!(text.matches("\"no\"").count(), 0, "{text}");
    assert_eq!(text.matches("\"tools\"").count(), 1, "{text}");
}

#[test]
fn streams_ask_for_usage_unless_told() {
    let options = |request: Value, extra: Value| {
        let text = body(request.clone(), extra.clone());
        let expected = expects_usage(&instance(request), &object(extra));
        (serde_json::from_str::<Value>(&text).unwrap().get("stream_options").cloned(), expected)
    };
    assert_eq!(options(json!({"stream": true}), json!({})), (Some(json!({"include_usage": true})), true));
    let given = json!({"stream": true, "stream_options": {"include_usage": false}});
    assert_eq!(options(given, json!({})), (Some(json!({"include_usage": false})), false));
    let other = options(json!({"stream": true}), json!({"stream_options": {"x": 1}}));
    assert_eq!(other, (Some(json!({"x": 1, "include_usage": true})), true));
    assert_eq!(options(json!({"stream": true, "stream_options": null}), json!({})), (Some(Value::Null), false));
    assert_eq!(options(json!({}), json!({"stream_options": {"include_usage": true}})), (None, true));
    assert_eq!(options(json!({"stream": false}), json!({})), (None, true));
}

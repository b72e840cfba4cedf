//! Section 13 of the catalogue: what differs without being worse must pass, without any secondary Fault.

use super::*;

fn clean(name: &str, case: &Value, answer: &Value) {
    let judgement = judge(case, answer);
    assert_fault(name, &judgement, None, &[]);
    assert_eq!(judgement.secondary, vec![], "{name}");
    assert_eq!((judgement.explanation.as_str(), judgement.error_type.as_deref()), ("", None), "{name}");
    assert_eq!(judgement.score, Some(1.0), "{name}");
}

#[test]
fn other_wording_and_formats() {
    for content in
        ["Oslo", "The capital is **Oslo**.", "It's Oslo — Norway's largest city!", "Oslo\n\n| a | b |\n|---|---|\n"]
    {
        clean("wording", &text_case(), &json!({"content": content}));
    }
    let reasoned = json!({"content": "Oslo", "reasoning": "Norway has Oslo.", "usage": [50, 20, 6]});
    clean("reasoning in its own field", &text_case(), &reasoned);
    clean("no usage at all", &text_case(), &json!({"content": "Oslo", "usage": []}));
}

#[test]
fn other_forms_of_a_right_call() {
    let one = one_call();
    for arguments in [
        r#"{"city":"Oslo","days":3}"#,
        "{ \"days\" : 3,\n  \"city\" : \"Oslo\" }",
        r#"{"city":"Oslo","days":3.0}"#,
        r#"{"city":"\u004fslo","days":3}"#,
    ] {
        clean(arguments, &one, &json!({"calls": [weather(&json!(arguments))]}));
    }
    for id in ["call_abc", "functions.get_weather:0", "0", "a b c", "550e8400-e29b-41d4-a716-446655440000"] {
        let call = with(&weather(&json!(r#"{"city":"Oslo","days":3}"#)), &json!({"id": id}));
        clean(id, &one, &json!({"calls": [call]}));
    }
    for content in [Value::Null, json!(""), json!("I will look that up.")] {
        clean("content beside a call", &one, &with(&right_call(), &json!({"content": content})));
    }
    let swapped = json!({"calls": [weather(&json!(r#"{"city":"Oslo"}"#)), {"name": "list_notes", "arguments": "{}"}]});
    clean("another order of parallel calls", &two_calls(), &swapped);
    let reasoned = with(&right_call(), &json!({"reasoning": "I need the weather tool.", "usage": [9, 9, 4]}));
    clean("reasoning beside a call", &one, &reasoned);
}

#[test]
fn text_that_the_case_asks_for() {
    let quoted = json!({"messages": [{"role": "user", "content": "Repeat exactly: <tool_call> and <think>x</think>"}],
        "scorers": [{"type": "contains", "value": "<tool_call>"}]});
    clean("markers of the prompt", &quoted, &json!({"content": "<tool_call> and <think>x</think>"}));
    let expected = json!({"scorers": [{"type": "contains"}], "expected": {"value": "<|im_end|>"}});
    clean("markers of the expectation", &expected, &json!({"content": "It is <|im_end|>."}));
    clean("a word like a marker", &text_case(), &json!({"content": "Oslo: no tool_call or think needed"}));
    let broken = json!({"messages": [{"role": "user", "content": "Which character is \u{fffd}?"}]});
    clean("U+FFFD of the prompt", &broken, &json!({"content": "\u{fffd} is the replacement character"}));
    let chinese = json!({"messages": [{"role": "user", "content": "Name one Chinese numeral."}]});
    clean("a language of the prompt", &chinese, &json!({"content": "The numeral is 三 in that script"}));
    let thai = json!({"scorers": [{"type": "script", "script": "Thai", "min_share": 0.0}]});
    clean("the asked script", &thai, &json!({"content": "The letter is ก in that script"}));
    let chant = json!({"reference": {"content": "row ".repeat(40)}, "scorers": [{"type": "count", "pattern": "row", "min": 40, "max": 40}]});
    clean("a repetition that was asked for", &chant, &json!({"content": "row ".repeat(40)}));
    let fenced = json!({"scorers": [{"type": "json", "json": {"a": 1}}]});
    clean("JSON in a fence", &fenced, &json!({"content": "```json\n{\"a\": 1.0}\n```"}));
}

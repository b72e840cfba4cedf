//! One row per defect of the catalogue that shows in one Attempt: primary Fault and the secondary ones it requires.
//!
//! Left out: what the client answers by itself (`ok_with_error_body`, `rate_limit_bursts`, `midstream_error_frame`,
//! `replay_rejected` and their kin: see `judge_delivery`), what only many or paired Attempts show, and what the wire
//! suite alone judges (`prompt_tokens_off`, `max_tokens_low_default`).

use super::*;
use Fault::*;

fn row(defect: &str, case: &Value, answer: &Value, primary: Fault, secondary: &[Fault]) {
    assert_fault(defect, &judge(case, answer), Some(primary), secondary);
}

fn pass(defect: &str, case: &Value, answer: &Value, secondary: &[Fault]) {
    assert_fault(defect, &judge(case, answer), None, secondary);
}

#[test]
fn arguments_of_calls() {
    let one = one_call();
    let args = |text: &str| json!({"calls": [weather(&json!(text))]});
    let cut = args(r#"{"city": "Os"#);
    row("args_truncated_finish_tool_calls", &one, &cut, InvalidJson, &[WrongFinishReason]);
    let honest = judge(&one, &with(&cut, &json!({"finish": "length"})));
    assert_fault("cut with an honest reason", &honest, Some(InvalidJson), &[]);
    assert!(!honest.secondary.contains(&WrongFinishReason));
    let twice = args(r#"{"city":"Oslo","days":3}{"city":"Oslo","days":3}"#);
    row("args_duplicated", &one, &twice, InvalidJson, &[]);
    assert_eq!(judge(&one, &twice).error_type.as_deref(), Some("arguments:trailing_data"));

    let two = two_calls();
    let lost = |second: Value| json!({"calls": [{"name": "list_notes", "arguments": "{}"}, weather(&second)]});
    row("args_lost_after_empty_call: {}", &two, &lost(json!("{}")), SchemaMismatch, &[]);
    row("args_lost_after_empty_call: empty", &two, &lost(json!("")), InvalidJson, &[]);
    row("args_lost_after_empty_call: absent", &two, &lost(Value::Null), InvalidJson, &[]);
    let bare = json!({"calls": [{"name": "list_notes", "arguments": ""}, weather(&json!(r#"{"city":"Oslo"}"#))]});
    row("empty arguments of a tool without parameters", &two, &bare, InvalidJson, &[]);

    row("stream_type_not_coerced", &one, &args(r#"{"city":"Oslo","days":"3"}"#), SchemaMismatch, &[]);
    let object = json!({"calls": [weather(&json!({"city": "Oslo", "days": 3}))]});
    pass("args_object_not_string", &one, &object, &[WireShape]);
    let double = args(r#""{\"city\":\"Oslo\",\"days\":3}""#);
    row("args_double_encoded", &one, &double, SchemaMismatch, &[]);
    assert_eq!(judge(&one, &double).error_type.as_deref(), Some("arguments:double_encoded"));
    let nested = json!({"calls": [{"name": "write_note", "arguments": r#"{"text":"x","tags":"[\"a\"]"}"#}]});
    row("args_double_encoded: nested", &one, &nested, SchemaMismatch, &[]);
    row("args_python_literal", &one, &args("{'city': 'Oslo', 'days': None}"), InvalidJson, &[]);
    for broken in [r#"{"days":3}"#, r#"{"city":7}"#, r#"{"city":"Oslo","x":1}"#, r#"{"city":"Oslo","unit":"K"}"#, "[]"]
    {
        row("args_schema_invalid", &one, &args(broken), SchemaMismatch, &[]);
    }
}

#[test]
fn names_ids_and_indexes() {
    let one = one_call();
    let named = |name: &str| json!({"calls": [{"name": name, "arguments": r#"{"city":"Oslo","days":3}"#}]});
    row("name_undeclared", &one, &named("get_forecast"), UnknownName, &[]);
    row("name_template_tokens", &one, &named("get_weather<|channel|>commentary"), UnknownName, &[MarkupLeak]);
    row("name_concatenated", &one, &named("get_weatherget_weather"), UnknownName, &[]);
    row("a call though nothing is offered", &text_case(), &named("get_weather"), UnknownName, &[]);

    let two = two_calls();
    let ids = |a: Value, b: Value| {
        json!({"calls": [{"name": "list_notes", "arguments": "{}", "id": a},
            {"name": "get_weather", "arguments": r#"{"city":"Oslo"}"#, "id": b}]})
    };
    pass("call_id_missing", &two, &ids(json!("a"), Value::Null), &[BadCallId]);
    pass("call_id_empty", &two, &ids(json!(""), json!("b")), &[BadCallId]);
    pass("call_id_duplicate", &two, &ids(json!("a"), json!("a")), &[BadCallId]);

    let merged = json!({"ambiguous": true,
        "calls": [{"name": "list_notesget_weather", "arguments": r#"{}{"city":"Oslo"}"#}]});
    row("call_index_all_zero", &two, &merged, BadCallIndex, &[InvalidJson, UnknownName]);
    let readable = with(&ids(json!("a"), json!("b")), &json!({"ambiguous": true}));
    row("call_index_missing: several calls", &two, &readable, BadCallIndex, &[]);
    let single = with(&right_call(), &json!({"breaches": ["BadCallIndex"]}));
    pass("call_index_missing: one call", &one, &single, &[BadCallIndex]);
}

#[test]
fn finish_reasons() {
    let judged = with(
        &one_call(),
        &json!({"scorers": [{"type": "tool-calls"},
        {"type": "finish-reason", "finish_reason": "tool_calls"}]}),
    );
    let stop = with(&right_call(), &json!({"finish": "stop"}));
    row("finish_stop_with_calls: judged", &judged, &stop, WrongFinishReason, &[]);
    pass("finish_stop_with_calls: not judged", &one_call(), &stop, &[WrongFinishReason]);
    for calls in [json!([]), Value::Null] {
        let empty = json!({"calls": calls, "finish": "tool_calls"});
        row("finish_tool_calls_empty", &one_call(), &empty, MissingCall, &[WrongFinishReason]);
        let tools_offered = with(&text_case(), &json!({"tools": tools()}));
        row("finish_tool_calls_empty: no call due", &tools_offered, &empty, MissingCall, &[WrongFinishReason]);
    }
    let raw = with(&right_call(), &json!({"finish": "stop_163586"}));
    row("finish_raw_token: judged", &judged, &raw, WrongFinishReason, &[]);
    pass("finish_raw_token: not judged", &one_call(), &raw, &[WrongFinishReason]);
    let other = json!({"content": "Oslo", "finish": "other"});
    pass("finish_unknown: complete", &text_case(), &other, &[WrongFinishReason]);
    row("finish_unknown: nothing came", &text_case(), &json!({"finish": "other"}), WrongFinishReason, &[EmptyAnswer]);
}

#[test]
fn leaks() {
    let section = r#"<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city":"Oslo"}<|tool_call_end|>"#;
    let beside = with(&right_call(), &json!({"content": "<|tool_calls_section_end|>"}));
    row("leak_section_markers: beside the call", &one_call(), &beside, MarkupLeak, &[]);
    row("leak_section_markers: only text", &one_call(), &json!({"content": section}), MissingCall, &[MarkupLeak]);
    let reasoned = json!({"reasoning": section});
    row("leak_section_markers: reasoning", &one_call(), &reasoned, MissingCall, &[MarkupLeak, ReasoningOnly]);
    let no_call = with(&text_case(), &json!({"tools": tools()}));
    row("leak_section_markers: no call due", &no_call, &json!({"content": format!("Oslo {section}")}), MarkupLeak, &[]);
    for content in ["<tool_call>\n{\"name\": \"get_weather\"}\n</tool_call>", "<tool_call>\n{\"name\": \"get_weather\""]
    {
        row("leak_tool_call_tags", &one_call(), &json!({"content": content}), MissingCall, &[MarkupLeak]);
    }
    let harmony = json!({"content": "<|channel|>analysis<|message|>The user asks.<|end|>Oslo"});
    row("leak_harmony_channels", &text_case(), &harmony, MarkupLeak, &[]);
    let billed = json!({"usage": [50, 1], "content":
        "<|channel|>analysis<|message|>The user asks for the capital of Norway, which is a city that I know well, so: Oslo"});
    row("leak_harmony_channels: one token billed", &text_case(), &billed, MarkupLeak, &[BadUsage]);
    let both = with(
        &one_call(),
        &json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}}),
    );
    for text in [r#"{"city": "Oslo", "days": 3}"#, "```json\n{\"name\": \"get_weather\", \"arguments\": {}}\n```"] {
        row("leak_args_as_text", &both, &json!({"content": text}), MissingCall, &[MarkupLeak]);
    }
    row("reasoning in the text", &text_case(), &json!({"content": "<think>hm</think>Oslo"}), MarkupLeak, &[]);
    let outside = json!({"reasoning": "I <think> so", "content": "Oslo", "usage": [50, 20, 5]});
    pass("reasoning markup in reasoning", &text_case(), &outside, &[]);
}

#[test]
fn tool_choice_and_propensity() {
    let choice = |c: Value| with(&one_call(), &json!({"request": {"tool_choice": c}}));
    let named = choice(json!({"type": "function", "function": {"name": "get_weather"}}));
    let text = json!({"content": "It is sunny."});
    row("tool_choice_required_ignored", &choice(json!("required")), &text, ToolChoiceIgnored, &[MissingCall]);
    row("tool_choice_named_ignored: no call", &named, &text, ToolChoiceIgnored, &[MissingCall]);
    let other = json!({"calls": [{"name": "list_notes", "arguments": "{}"}]});
    row("tool_choice_named_ignored: another", &named, &other, ToolChoiceIgnored, &[]);
    pass("tool_choice named, obeyed, as OpenAI ends it", &named, &with(&right_call(), &json!({"finish": "stop"})), &[]);
    let none = with(&text_case(), &json!({"tools": tools(), "request": {"tool_choice": "none"}}));
    row("tool_choice_none_deletes_content", &none, &json!({"content": ""}), EmptyAnswer, &[]);
    row("tool_choice none with calls", &none, &right_call(), ToolChoiceIgnored, &[]);
    row("a text where a call was due", &one_call(), &text, MissingCall, &[]);
    row("an empty answer where a call was due", &one_call(), &json!({"content": " \n"}), EmptyAnswer, &[MissingCall]);
    let forced = judge(&choice(json!("required")), &json!({"content": null}));
    assert_fault(
        "an empty answer where a call was forced",
        &forced,
        Some(EmptyAnswer),
        &[ToolChoiceIgnored, MissingCall],
    );
    let no_call = with(&one_call(), &json!({"expected": {"calls": []}}));
    row("over_calling, in one answer", &no_call, &right_call(), WrongAnswer, &[]);
}

#[test]
fn reasoning() {
    let lost = json!({"reasoning": "The capital is Oslo.", "content": "", "usage": [50, 20, 20]});
    row("answer_in_reasoning", &text_case(), &lost, ReasoningOnly, &[]);
    let none = json!({"reasoning": "Let me think.", "usage": [50, 0]});
    row("reasoning_only: nothing counted", &text_case(), &none, ReasoningOnly, &[BadUsage]);
    row("reasoning_only where a call was due", &one_call(), &lost, ReasoningOnly, &[MissingCall]);
    let uncounted = json!({"reasoning": "Hm.", "content": "Oslo", "usage": [50, 20, 0]});
    pass("reasoning_tokens_uncounted", &text_case(), &uncounted, &[BadUsage]);
}

#[test]
fn streams() {
    row("empty_stream_with_tools", &one_call(), &json!({}), EmptyAnswer, &[MissingCall]);
    let tools_and_reasoning = json!({"content": "", "finish": "stop"});
    row(
        "content_dropped_tools_reasoning",
        &with(&text_case(), &json!({"tools": tools()})),
        &tools_and_reasoning,
        EmptyAnswer,
        &[],
    );
    pass("done_missing", &text_case(), &json!({"content": "Oslo", "breaches": ["WireShape"]}), &[WireShape]);
    let cut = json!({"content": "Osl", "truncated": true, "breaches": ["WireShape"]});
    row("done_missing without a finish reason", &text_case(), &cut, Truncated, &[WireShape]);
    let usage = json!({"content": "Oslo", "usage": [0, 0], "breaches": ["BadUsage"]});
    pass("usage_null_or_zero", &text_case(), &usage, &[BadUsage]);
    row("utf8_split", &text_case(), &json!({"content": "Oslo liegt s\u{fffd}\u{fffd}dlich"}), CorruptText, &[]);
    let in_call = json!({"calls": [weather(&json!("{\"city\": \"Troms\u{fffd}\", \"days\": 3}"))]});
    row("utf8_split in arguments", &one_call(), &in_call, CorruptText, &[]);
    let escaped = json!({"calls": [weather(&json!(r#"{"city": "Troms\ufffd", "days": 3}"#))]});
    row("utf8_split in arguments, escaped", &one_call(), &escaped, CorruptText, &[]);
}

#[test]
fn limits_parameters_and_context() {
    let needle = json!({"scorers": [{"type": "needle"}], "expected": {"answers": ["4711"], "min_prompt_tokens": 9000}});
    let gone = json!({"content": "I do not see a code.", "usage": [4096, 9]});
    row("context_silently_truncated", &needle, &gone, ContextTruncated, &[]);
    let unwitnessed = json!({"content": "I do not see a code.", "usage": []});
    row("context_silently_truncated: no usage", &needle, &unwitnessed, ContextTruncated, &[]);
    let read = json!({"content": "The code is 4712.", "usage": [9100, 9]});
    row("a wrong answer from a context that was read", &needle, &read, WrongAnswer, &[]);
    let lucky = json!({"content": "4711", "usage": [4096, 9]});
    pass("context cut elsewhere", &needle, &lucky, &[ContextTruncated]);
    let long = json!({"request": {"max_tokens": 49152}, "scorers": [{"type": "length", "min_words": 100}]});
    let capped = json!({"content": "word word.", "finish": "length", "usage": [10, 16384]});
    row("max_tokens_capped", &long, &capped, LimitLowered, &[]);
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false});
    let structured = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        "scorers": [{"type": "json-schema", "json": {"n": 3}}]});
    row("json_schema_downgraded", &structured, &json!({"content": r#"{"number": 3}"#}), ResponseFormatIgnored, &[]);
    row("json_schema ignored", &structured, &json!({"content": "It is 3."}), ResponseFormatIgnored, &[]);
    row("right shape, wrong value", &structured, &json!({"content": r#"{"n": 4}"#}), WrongAnswer, &[]);
    let stop = json!({"request": {"stop": ["END"]}, "scorers": [{"type": "stop"}]});
    row("stop_overrun", &stop, &json!({"content": "one two END three"}), ParameterIgnored, &[]);
    let korean = json!({"scorers": [{"type": "script", "script": "Hangul"}]});
    row("top_k_missing_wrong_language", &korean, &json!({"content": "The capital is Oslo."}), Degenerate, &[]);
}

#[test]
fn output_quality() {
    let loops = json!({"content": format!("Oslo. {}", "I am sure of it ".repeat(30))});
    row("repeated_tokens", &text_case(), &loops, Degenerate, &[]);
    row("kv_quant_garbage", &text_case(), &json!({"content": "!".repeat(400)}), Degenerate, &[]);
    row(
        "wrong_script_chars: Thai",
        &text_case(),
        &json!({"content": "The capital of Norway is Oslส."}),
        CorruptText,
        &[],
    );
    row(
        "wrong_script_chars: Chinese",
        &text_case(),
        &json!({"content": "The capital 是 of Norway: Oslo."}),
        CorruptText,
        &[],
    );
    row("compressed_model, in one answer", &text_case(), &json!({"content": "Bergen"}), WrongAnswer, &[]);
    pass("args_single_final_delta", &one_call(), &right_call(), &[]);
}

#[test]
fn the_wire_judged_strictly() {
    let case = with(&text_case(), &json!({"scorers": [{"type": "wire"}], "expected": null}));
    pass("a clean answer", &case, &json!({"content": "Oslo"}), &[]);
    row("done_missing", &case, &json!({"content": "Oslo", "breaches": ["WireShape"]}), WireShape, &[]);
    let both = json!({"content": "Oslo", "breaches": ["WireShape", "BadUsage"]});
    row("the first Fault is the primary one", &case, &both, BadUsage, &[WireShape]);
    row("usage_null_or_zero", &case, &json!({"content": "Oslo", "usage": [0, 0]}), BadUsage, &[]);
    let calls = with(&one_call(), &json!({"scorers": [{"type": "wire"}], "expected": null}));
    let good = weather(&json!(r#"{"city": "Oslo", "days": 3}"#));
    pass("a clean call", &calls, &json!({"calls": [good]}), &[]);
    row("finish_stop_with_calls", &calls, &json!({"calls": [good], "finish": "stop"}), WrongFinishReason, &[]);
    row("id_missing", &calls, &json!({"calls": [with(&good, &json!({"id": null}))]}), BadCallId, &[]);
    // What is no matter of the wire is none of its: the answer may be wrong.
    pass("another city", &calls, &json!({"calls": [weather(&json!(r#"{"city": "Lima"}"#))]}), &[]);
}

use serde_json::{Value, json};

use super::*;
use crate::domain::Usage;

fn frame(delta: Value, finish_reason: Value) -> Value {
    json!({"id": "s1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
}

fn delta(delta: Value) -> String {
    frame(delta, Value::Null).to_string()
}

fn role() -> String {
    delta(json!({"role": "assistant", "content": ""}))
}

fn finish(reason: &str) -> String {
    frame(json!({}), json!(reason)).to_string()
}

fn usage() -> String {
    json!({"id": "s1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}})
    .to_string()
}

/// A stream of the given deltas between the role and the end.
fn stream(deltas: &[Value], reason: &str) -> Completion {
    let mut frames = vec![role()];
    frames.extend(deltas.iter().map(|d| delta(d.clone())));
    frames.extend([finish(reason), usage()]);
    assemble(sse(&frames).as_bytes()).unwrap()
}

fn call(index: Value, id: Value, name: Value, arguments: Value) -> Value {
    json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn calls(list: &[Value]) -> Value {
    json!({"tool_calls": list})
}

fn more(index: Value, arguments: Value) -> Value {
    calls(&[json!({"index": index, "function": {"arguments": arguments}})])
}

fn shown(completion: &Completion) -> Vec<(Option<&str>, &str, Option<&str>)> {
    completion.tool_calls.iter().map(|c| (c.id.as_deref(), c.name.as_str(), c.arguments.as_deref())).collect()
}

#[test]
fn a_healthy_stream_has_no_breach() {
    let completion = stream(
        &[
            json!({"content": "Let me "}),
            json!({"content": "see."}),
            calls(&[call(json!(0), json!("a"), json!("f"), json!(""))]),
            more(json!(0), json!("{\"x\"")),
            more(json!(0), json!(": 1}")),
            calls(&[call(json!(1), json!("b"), json!("g"), json!("{}"))]),
        ],
        "tool_calls",
    );
    assert_eq!(completion.breaches, []);
    assert_eq!(completion.content.as_deref(), Some("Let me see."));
    assert_eq!(shown(&completion), [(Some("a"), "f", Some("{\"x\": 1}")), (Some("b"), "g", Some("{}"))]);
    assert_eq!(completion.usage, Usage { tokens_in: Some(10), tokens_out: Some(5), tokens_reasoning: None });
    assert_eq!((completion.choices, completion.streamed, completion.truncated), (1, true, false));
    assert_eq!((completion.model.as_deref(), completion.finish_reason.as_deref()), (Some("m"), Some("tool_calls")));
}

#[test]
fn benign_differences_are_no_breaches() {
    // args_single_final_delta; comments; repeated role; null and empty fields; parallel calls in one delta.
    let frames = [
        role(),
        delta(json!({"role": "assistant", "content": null, "tool_calls": [
            call(json!(0), json!("a"), json!("f"), json!("{}")), call(json!(1), json!("b"), json!("f"), json!("{}"))]})),
        delta(
            json!({"tool_calls": [{"index": 1, "id": null, "type": null, "function": {"name": null, "arguments": ""}}]}),
        ),
        finish("tool_calls"),
        usage(),
    ];
    let text = frames.iter().map(|f| format!(": keep-alive\r\n\r\ndata: {f}\r\n\r\n")).collect::<String>();
    let completion = assemble((text + "data: [DONE]\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(completion.breaches, []);
    assert_eq!(completion.tool_calls.len(), 2);
    let null_usage = frame(json!({"role": "assistant", "content": "x"}), Value::Null);
    let mut with_null = null_usage;
    with_null["usage"] = Value::Null;
    let completion = assemble(sse(&[with_null.to_string(), finish("stop"), usage()]).as_bytes()).unwrap();
    assert_eq!(completion.breaches, []);
}

#[test]
fn call_index_all_zero_is_merged_as_the_contract_says() {
    let apart = stream(
        &[
            calls(&[call(json!(0), json!("a"), json!("f"), json!("{\"x\":1}"))]),
            calls(&[call(json!(0), json!("b"), json!("g"), json!("{\"y\":2}"))]),
        ],
        "tool_calls",
    );
    assert!(apart.ambiguous_calls);
    assert_eq!(shown(&apart), [(Some("ab"), "fg", Some("{\"x\":1}{\"y\":2}"))]);
    assert!(breaches(&apart).contains(&Fault::BadCallIndex));
    let together = stream(
        &[calls(&[
            call(json!(0), json!(""), json!("f"), json!("{}")),
            call(json!(0), json!(""), json!("g"), json!("{}")),
        ])],
        "tool_calls",
    );
    assert!(together.ambiguous_calls);
}

#[test]
fn call_index_missing() {
    let one = stream(
        &[calls(&[call(Value::Null, json!("a"), json!("f"), json!("{\"x\""))]), more(Value::Null, json!(":1}"))],
        "tool_calls",
    );
    assert!(!one.ambiguous_calls, "one call without an index goes on");
    assert_eq!(shown(&one), [(Some("a"), "f", Some("{\"x\":1}"))]);
    assert_eq!(breaches(&one), [Fault::BadCallIndex]);
    let other_id = stream(
        &[
            calls(&[call(Value::Null, json!("a"), json!("f"), json!("{}"))]),
            calls(&[call(Value::Null, json!("b"), json!("g"), json!("{}"))]),
        ],
        "tool_calls",
    );
    let no_ids = stream(
        &[
            calls(&[call(Value::Null, Value::Null, json!("f"), json!("{}"))]),
            calls(&[call(Value::Null, Value::Null, json!("f"), json!("{}"))]),
        ],
        "tool_calls",
    );
    for several in [other_id, no_ids] {
        assert!(several.ambiguous_calls);
        assert_eq!(several.tool_calls.len(), 2);
    }
}

#[test]
fn call_indexes_step_by_one() {
    let from_one = stream(&[calls(&[call(json!(1), json!("a"), json!("f"), json!("{}"))])], "tool_calls");
    assert_eq!((breaches(&from_one), from_one.ambiguous_calls), (vec![Fault::BadCallIndex], false));
    let turned = stream(
        &[
            calls(&[call(json!(1), json!("b"), json!("g"), json!("{}"))]),
            calls(&[call(json!(0), json!("a"), json!("f"), json!("{}"))]),
        ],
        "tool_calls",
    );
    assert_eq!(shown(&turned)[0].1, "f", "in the order of the index");
    assert!(!turned.ambiguous_calls);
}

#[test]
fn repetitions_are_appended() {
    // name_concatenated
    let name = stream(
        &[
            calls(&[call(json!(0), json!("a"), json!("write_file"), json!(""))]),
            calls(&[json!({"index": 0, "function": {"name": "write_file", "arguments": "{}"}})]),
        ],
        "tool_calls",
    );
    assert_eq!(shown(&name), [(Some("a"), "write_filewrite_file", Some("{}"))]);
    assert_eq!(breaches(&name), [Fault::WireShape]);
    let id = stream(
        &[
            calls(&[call(json!(0), json!("a"), json!("f"), json!(""))]),
            calls(&[json!({"index": 0, "id": "a", "function": {"arguments": "{}"}})]),
        ],
        "tool_calls",
    );
    assert_eq!(shown(&id), [(Some("aa"), "f", Some("{}"))]);
    assert_eq!(breaches(&id), [Fault::WireShape, Fault::BadCallId]);
    assert!(!id.ambiguous_calls);
    // args_duplicated
    let twice = stream(
        &[calls(&[call(json!(0), json!("a"), json!("f"), json!("{\"x\":1}"))]), more(json!(0), json!("{\"x\":1}"))],
        "tool_calls",
    );
    assert_eq!((shown(&twice)[0].2, twice.breaches.len()), (Some("{\"x\":1}{\"x\":1}"), 0));
}

#[test]
fn call_ids_and_lost_arguments() {
    // call_id_missing for index > 0 only; call_id_duplicate; args_lost_after_empty_call
    let missing = stream(
        &[
            calls(&[call(json!(0), json!("a"), json!("f"), json!("{}"))]),
            calls(&[call(json!(1), Value::Null, json!("g"), json!("{}"))]),
        ],
        "tool_calls",
    );
    assert_eq!(breaches(&missing), [Fault::BadCallId]);
    assert_eq!(missing.tool_calls[1].id, None);
    let duplicate = stream(
        &[
            calls(&[call(json!(0), json!("a"), json!("f"), json!("{}"))]),
            calls(&[call(json!(1), json!("a"), json!("g"), json!(""))]),
        ],
        "tool_calls",
    );
    assert_eq!(breaches(&duplicate), [Fault::BadCallId]);
    assert_eq!(duplicate.tool_calls[1].arguments.as_deref(), Some(""));
    let object = stream(&[calls(&[call(json!(0), json!("a"), json!("f"), json!({"x": 1}))])], "tool_calls");
    assert!(object.tool_calls[0].arguments_as_value);
    assert_eq!((shown(&object)[0].2, breaches(&object)), (Some("{\"x\":1}"), vec![Fault::WireShape]));
}

#[test]
fn midstream_error_frame() {
    let error = json!({"id": "s1", "error": {"code": 502, "message": "upstream died"},
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]})
    .to_string();
    for frames in [vec![error.clone()], vec![role(), delta(json!({"content": "x"})), error.clone(), finish("stop")]] {
        let delivery = assemble(sse(&frames).as_bytes()).unwrap_err();
        assert_eq!(delivery.fault, Fault::StreamError);
        assert!(delivery.detail.contains("upstream died"), "{}", delivery.detail);
    }
    let event = format!("data: {}\n\nevent: error\ndata: {{\"message\":\"gone\"}}\n\n", role());
    assert_eq!(fault(assemble(event.as_bytes())), Fault::StreamError);
    let event = "event: error\ndata: gone wrong\n\n";
    assert_eq!(fault(assemble(event.as_bytes())), Fault::StreamError);
    let limited = json!({"error": {"code": 429, "message": "slow"}}).to_string();
    assert_eq!(fault(assemble(sse(&[limited]).as_bytes())), Fault::StreamError);
}

#[test]
fn empty_streams() {
    // empty_stream_with_tools, cold_start_empty, content_dropped_tools_reasoning
    for text in [
        "",
        "data: [DONE]\n\n",
        ": ping\n\n",
        "<html>busy</html>",
        &sse::<String>(&[]),
        &sse(&[usage()]),
        &sse(&["{}"]),
    ] {
        assert_eq!(fault(assemble(text.as_bytes())), Fault::MalformedBody, "{text}");
    }
    let finished = assemble(sse(&[role(), finish("stop"), usage()]).as_bytes()).unwrap();
    assert_eq!((finished.content.as_deref(), finished.truncated), (Some(""), false));
    assert_eq!(finished.breaches, []);
}

#[test]
fn without_a_finish_reason_it_is_truncated() {
    for text in [sse(&[role(), delta(json!({"content": "x"}))]), format!("data: {}\n\n", role()), sse(&[role()])] {
        let completion = assemble(text.as_bytes()).unwrap();
        assert!(completion.truncated && completion.finish_reason.is_none());
    }
    let half = format!("data: {}\n\ndata: {}", role(), &delta(json!({"content": "x"}))[..40]);
    assert!(assemble(half.as_bytes()).unwrap().truncated, "a cut frame is no frame");
}

#[test]
fn done_missing() {
    let text = sse(&[role(), delta(json!({"content": "x"})), finish("stop"), usage()]);
    let without = text.replace("data: [DONE]\n\n", "");
    let completion = assemble(without.as_bytes()).unwrap();
    assert_eq!((completion.content.as_deref(), breaches(&completion)), (Some("x"), vec![Fault::WireShape]));
    let unended = text.trim_end();
    let completion = assemble(unended.as_bytes()).unwrap();
    assert_eq!(breaches(&completion), [Fault::WireShape], "[DONE] without its empty line");
}

#[test]
fn usage_null_or_zero_or_absent() {
    let with = |usage: Value| {
        let mut last: Value = serde_json::from_str(&super::stream::usage()).unwrap();
        last["usage"] = usage;
        let frames = [role(), delta(json!({"content": "x"})), finish("stop"), last.to_string()];
        breaches(&assemble(sse(&frames).as_bytes()).unwrap())
    };
    assert_eq!(with(Value::Null), [Fault::BadUsage]);
    let zeros = with(json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}));
    assert_eq!(zeros, [Fault::BadUsage, Fault::BadUsage]);
    let frames = sse(&[role(), delta(json!({"content": "x"})), finish("stop")]);
    assert_eq!(breaches(&assemble(frames.as_bytes()).unwrap()), [Fault::BadUsage]);
    let mut unasked = StreamAssembler::new(false);
    unasked.push(frames.as_bytes());
    assert_eq!(unasked.finish().unwrap().breaches, []);
}

#[test]
fn wire_shapes() {
    let x = || delta(json!({"content": "x"}));
    let other = |key: &str| {
        x().replace(&format!("\"{key}\":\"{}\"", if key == "id" { "s1" } else { "m" }), &format!("\"{key}\":\"z\""))
    };
    for (frames, what) in [
        (vec![x(), finish("stop"), usage()], "no role"),
        (vec![role(), other("id"), finish("stop"), usage()], "id changes"),
        (vec![role(), other("model"), finish("stop"), usage()], "model changes"),
        (vec![role(), x(), finish("stop"), finish("stop"), usage()], "two finish reasons"),
        (vec![role(), finish("stop"), x(), usage()], "content after the end"),
        (vec![usage(), role(), x(), finish("stop")], "usage before the answer"),
        (vec![role(), x(), usage(), finish("stop")], "usage within the answer"),
        (vec![role(), x(), finish("stop"), usage(), usage()], "usage twice"),
        (vec![role(), x(), finish("stop"), usage(), "[DONE]".into(), usage()], "a frame after [DONE]"),
        (
            vec![
                role(),
                x(),
                finish("stop").replacen('{', "{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1},", 1),
            ],
            "usage beside",
        ),
        (vec![role(), x().replace(".chunk", ""), finish("stop"), usage()], "object"),
        (vec![role(), x().replace("\"delta\"", "\"message\""), finish("stop"), usage()], "message"),
        (vec![role(), "[1]".into(), x(), finish("stop"), usage()], "no object"),
        (vec![role(), delta(json!({"content": [{"text": "x"}]})), finish("stop"), usage()], "parts"),
    ] {
        let completion = assemble(sse(&frames).as_bytes()).unwrap();
        assert_eq!(breaches(&completion), [Fault::WireShape], "{what}: {:?}", completion.breaches);
        assert_eq!(completion.content.as_deref(), Some("x"), "{what}");
        assert_eq!(completion.finish_reason.as_deref(), Some("stop"));
    }
}

/// One that goes on with another provider is the answer of neither.
#[test]
fn a_stream_tells_all_who_served_it() {
    let by = |frame: String, provider: &str| frame.replacen('{', &format!("{{\"provider\":\"{provider}\","), 1);
    let x = || delta(json!({"content": "x"}));
    let read = |providers: [&str; 3]| {
        let [a, b, c] = providers;
        assemble(sse(&[by(role(), a), by(x(), b), by(finish("stop"), c), usage()]).as_bytes()).unwrap()
    };
    let same = read(["Groq", "Groq", "Groq"]);
    assert_eq!((same.served_by.as_deref(), breaches(&same)), (Some("Groq"), vec![]));
    for providers in [["Groq", "Novita", "Novita"], ["Groq", "Novita", "Groq"], ["Groq", "Novita", "Other"]] {
        let changed = read(providers);
        assert_eq!((changed.served_by.as_deref(), breaches(&changed)), (Some("Groq, Novita"), vec![Fault::WireShape]));
    }
}

#[test]
fn a_frame_that_is_not_json_breaks_the_answer() {
    let delivery = assemble(sse(&[role(), "{\"choices\": [tru".into(), finish("stop")]).as_bytes()).unwrap_err();
    assert_eq!(delivery.fault, Fault::MalformedBody);
    assert!(delivery.detail.starts_with("frame 2 is not JSON"), "{}", delivery.detail);
}

#[test]
fn utf8_split() {
    let text = sse(&[role(), delta(json!({"content": "caf\u{e9} \u{1f600}"})), finish("stop"), usage()]);
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        let mut assembler = StreamAssembler::new(true);
        assembler.push(&bytes[..at]);
        assembler.push(&bytes[at..]);
        let completion = assembler.finish().unwrap();
        assert_eq!((completion.content.as_deref(), completion.breaches.len()), (Some("caf\u{e9} \u{1f600}"), 0));
    }
    // A character split over deltas: invalid bytes, or escapes of half a character.
    let at = text.find('\u{e9}').unwrap();
    let cut = [&bytes[..at + 1], &bytes[at + 2..]].concat();
    let half = text.replace('\u{e9}', "\\udc00");
    for corrupt in [&cut[..], half.as_bytes()] {
        let completion = assemble(corrupt).unwrap();
        assert_eq!(completion.content.as_deref(), Some("caf\u{fffd} \u{1f600}"));
        assert_eq!(breaches(&completion), [Fault::CorruptText]);
    }
}

#[test]
fn several_choices_are_kept_apart() {
    let second = |delta: Value| delta.to_string().replace("\"index\":0", "\"index\":1");
    let frames = [
        second(frame(json!({"role": "assistant", "content": "no"}), json!("length"))),
        delta(json!({"role": "assistant", "content": "yes"})),
        finish("stop"),
        usage(),
    ];
    let completion = assemble(sse(&frames).as_bytes()).unwrap();
    assert_eq!((completion.content.as_deref(), completion.choices), (Some("yes"), 2));
    assert_eq!((completion.finish_reason.as_deref(), completion.breaches.len()), (Some("stop"), 0));
}

#[test]
fn reasoning_refusal_logprobs_and_names() {
    let mut logged = frame(json!({"content": "x", "refusal": "no"}), Value::Null);
    logged["choices"][0]["logprobs"] = json!({"content": [{"token": "x", "logprob": -0.5}]});
    logged["provider"] = json!("Other");
    logged["system_fingerprint"] = json!("fp");
    let mut last: Value = serde_json::from_str(&usage()).unwrap();
    last["usage"]["completion_tokens_details"] = json!({"reasoning_tokens": 2});
    let frames = [
        role(),
        delta(json!({"reasoning_content": "be"})),
        delta(json!({"reasoning": "cause", "reasoning_content": "cause"})),
        logged.to_string(),
        logged.to_string(),
        finish("stop"),
        last.to_string(),
    ];
    let completion = assemble(sse(&frames).as_bytes()).unwrap();
    assert_eq!(completion.breaches, []);
    assert_eq!((completion.reasoning.as_deref(), completion.refusal.as_deref()), (Some("because"), Some("nono")));
    assert_eq!((completion.served_by.as_deref(), completion.fingerprint.as_deref()), (Some("Other"), Some("fp")));
    assert_eq!(completion.usage.tokens_reasoning, Some(2));
    let item = r#"{"token":"x","logprob":-0.5}"#;
    assert_eq!(completion.logprobs.unwrap().0.get(), format!("{{\"content\":[{item},{item}]}}"));
}

#[test]
fn progress_tells_what_has_arrived() {
    let mut assembler = StreamAssembler::new(true);
    let mut push = |text: &str| assembler.push(format!("data: {text}\n\n").as_bytes());
    assert_eq!(push(&role()), Progress::default());
    assert!(push(&delta(json!({"reasoning": "hm"}))).has_content);
    assert!(push(&finish("stop")).is_complete);
    let done = push("[DONE]");
    assert!(done.is_done && !done.is_settled);
}

#[test]
fn limits_hold() {
    let many = (0..=CALLS_MAX).map(|i| calls(&[call(json!(i), json!("a"), json!("f"), json!("{}"))]));
    let frames: Vec<String> = many.map(delta).collect();
    assert_eq!(fault(assemble(sse(&frames).as_bytes())), Fault::MalformedBody);
    let frames: Vec<String> =
        (0..=CHOICES_MAX).map(|i| role().replace("\"index\":0", &format!("\"index\":{i}"))).collect();
    assert_eq!(fault(assemble(sse(&frames).as_bytes())), Fault::MalformedBody);
    let mut assembler = StreamAssembler::new(true);
    let long = vec![b'x'; crate::provider::sse::EVENT_BYTES_MAX + 1];
    assert!(assembler.push(&long).is_settled);
    assert_eq!(fault(assembler.finish()), Fault::MalformedBody);
}

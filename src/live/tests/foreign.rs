//! Records of other programs: LiteLLM's payloads and traces.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::kit::{NOW, Scene, lines};
use crate::live::{Cell, Count, Door, Format, TimeWindow};

const NOW_S: f64 = NOW as f64 / 1e6;

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        "additionalProperties": false}}}])
}

fn payload(id: &str, arguments: Value, other: Value) -> Value {
    let mut payload = json!({
        "id": "chatcmpl-1", "litellm_call_id": id, "trace_id": "t", "status": "success", "stream": null,
        "call_type": "acompletion", "custom_llm_provider": "openai", "model": "m-large", "model_group": "kimi:exacto",
        "model_id": "prov2", "api_base": "https://api.two.example", "startTime": NOW_S - 1.5, "endTime": NOW_S,
        "completionStartTime": NOW_S, "response_time": 1.5, "prompt_tokens": 120, "completion_tokens": 20,
        "response_cost": 0.001, "model_parameters": {"tools": tools(), "temperature": 0},
        "metadata": {"user_api_key_hash": "secret", "deep": [[[{}]]]}, "messages": [{"role": "user", "content": "hi"}],
        "response": {"choices": [{"finish_reason": "tool_calls", "index": 0, "message": {"role": "assistant",
            "content": null, "tool_calls": [{"id": "c", "type": "function",
                "function": {"name": "weather", "arguments": arguments}}]}}]},
        "error_str": null, "error_information": {"error_code": "", "error_class": "", "llm_provider": ""}
    });
    payload.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    payload
}

fn of_litellm(payload: &Value) -> Cell {
    let scene = Scene::new();
    let reply = scene.take(Format::LiteLlm, &lines(std::slice::from_ref(payload)));
    assert_eq!((reply.accepted, reply.rejected), (1, 0), "{:?} {payload}", reply.errors);
    scene.counted("two")
}

#[test]
fn a_payload_comes_alone_in_lines_in_an_array_or_over_many_lines() {
    let one = |id: &str| payload(id, json!("{\"city\":\"Paris\"}"), json!({}));
    let bodies = [
        (one("a").to_string().into_bytes(), 1),
        (serde_json::to_vec_pretty(&one("b")).unwrap(), 1),
        (lines(&[one("c"), one("d")]), 2),
        (serde_json::to_vec_pretty(&[one("e"), one("f"), one("g")]).unwrap(), 3),
        (Vec::new(), 0),
    ];
    let scene = Scene::new();
    for (body, n) in bodies {
        let reply = scene.take(Format::LiteLlm, &body);
        assert_eq!((reply.accepted, reply.rejected), (n, 0), "{}", String::from_utf8_lossy(&body));
    }
    let cell = scene.counted("two");
    let n = |count| cell.get(count);
    assert_eq!((n(Count::Good), n(Count::CalledJudged), n(Count::Called)), (7, 7, 7));
    assert_eq!((n(Count::TokensIn), n(Count::TokensOut), n(Count::CostNanousd)), (840, 140, 7_000_000));
    assert_eq!((cell.latency.total(), cell.ttft.total()), (7, 0), "no stream, no time to the first token");
}

#[test]
fn tool_calls_are_judged_by_the_tools_that_were_offered() {
    let judged = |arguments: Value, other: Value| {
        let cell = of_litellm(&payload("x", arguments, other));
        let reasons = [Count::InvalidJson, Count::UnknownTool, Count::Schema, Count::LeakedText, Count::InvalidUnsaid];
        match reasons.into_iter().find(|c| cell.get(*c) == 1) {
            Some(reason) => reason.name(),
            None if cell.get(Count::ToolsJudged) == 1 => "valid",
            None => "not judged",
        }
    };
    let with_tools = |tools: Value| json!({"model_parameters": {"tools": tools}});
    assert_eq!(judged(json!("{\"city\":\"Paris\"}"), json!({})), "valid");
    assert_eq!(judged(json!({"city": "Paris"}), json!({})), "valid", "as a value");
    assert_eq!(judged(json!("{\"city\":\"Par"), json!({})), "invalid_json");
    assert_eq!(judged(json!("[1]"), json!({})), "invalid_json");
    assert_eq!(judged(json!("{\"town\":\"Paris\"}"), json!({})), "schema");
    assert_eq!(judged(json!(""), json!({})), "schema", "nothing stands for no arguments");
    let other = json!([{"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}]);
    assert_eq!(judged(json!("{}"), with_tools(other)), "unknown_tool");
    let without = json!([{"type": "function", "function": {"name": "weather"}}]);
    assert_eq!(judged(json!("{}"), with_tools(without)), "not judged");
    assert_eq!(judged(json!("{}"), json!({"model_parameters": {}})), "not judged");
    let broken = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "objekt"}}}]);
    assert_eq!(judged(json!("{}"), with_tools(broken)), "not judged");
    // What one broken call among right ones makes of an answer.
    let call = |arguments: &str| json!({"function": {"name": "weather", "arguments": arguments}});
    let calls = json!([call("{\"city\":\"A\"}"), call("{"), call("redacted-by-litellm")]);
    let response =
        json!({"response": {"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": calls}}]}});
    assert_eq!(judged(json!(null), response), "invalid_json");
}

#[test]
fn what_was_redacted_is_not_judged() {
    let redacted = "redacted-by-litellm";
    let cells = [
        of_litellm(&payload("a", json!(redacted), json!({}))),
        of_litellm(&payload("b", json!("{}"), json!({"response": {"text": redacted}}))),
        of_litellm(&payload("c", json!("{}"), json!({"response": redacted}))),
        of_litellm(&payload("d", json!("{}"), json!({"model_parameters": redacted}))),
        of_litellm(&payload("e", json!("[REDACTED]"), json!({}))),
    ];
    for cell in cells {
        assert_eq!((cell.get(Count::Good), cell.get(Count::ToolsJudged)), (1, 0), "{cell:?}");
    }
    // An argument may speak of what was redacted.
    let spoken = of_litellm(&payload("f", json!("{\"city\":\"redacted\"}"), json!({})));
    assert_eq!(spoken.get(Count::ToolsJudged), 1);
}

#[test]
fn failures_keep_their_deployment_and_their_class() {
    let failed = |code: Value, class: &str| {
        let cell = of_litellm(&payload(
            "x",
            json!("{}"),
            json!({"status": "failure", "response": {}, "error_str": "boom",
                   "error_information": {"error_code": code, "error_class": class, "error_message": "boom"}}),
        ));
        let classes = &Count::ALL[Count::RateLimit as usize..=Count::Other as usize];
        (classes.iter().find(|c| cell.get(**c) == 1).unwrap().name(), cell.get(Count::Undelivered))
    };
    assert_eq!(failed(json!("429"), "RateLimitError"), ("rate_limit", 1));
    assert_eq!(failed(json!("500"), "InternalServerError"), ("server", 1));
    assert_eq!(failed(json!(503), ""), ("server", 1));
    assert_eq!(failed(json!("408"), "Timeout"), ("timeout", 1));
    assert_eq!(failed(json!("500"), "APIConnectionError"), ("network", 1));
    assert_eq!(failed(json!("500"), "APIError"), ("server", 1));
    assert_eq!(failed(json!("401"), "AuthenticationError"), ("auth", 0));
    assert_eq!(failed(json!("400"), "ContextWindowExceededError"), ("context_length", 0));
    assert_eq!(failed(json!("400"), "BadRequestError"), ("client", 0));
    assert_eq!(failed(json!(null), "SomethingNew"), ("other", 0));
    let cached = of_litellm(&payload("y", json!("{"), json!({"cache_hit": true})));
    assert_eq!((cached.get(Count::Unscored), cached.scored()), (1, 0), "nobody was asked");
}

#[test]
fn a_payload_is_attributed_by_deployment_then_host_and_not_by_the_kind_of_api() {
    let found = |other: Value| {
        let scene = Scene::new();
        scene.take(Format::LiteLlm, &lines(&[payload("x", json!("{}"), other)]));
        ["one/fp8", "two", "two/eu"].into_iter().find(|e| !scene.counted(e).is_empty())
    };
    assert_eq!(found(json!({})), Some("two"));
    assert_eq!(found(json!({"model_id": "9f8e7d"})), Some("two"), "by its host");
    let kind = json!({"model_id": "9f8e7d", "api_base": "https://elsewhere.example", "custom_llm_provider": "one"});
    assert_eq!(found(kind), None, "a kind of API says nothing where the host is another");
    assert_eq!(found(json!({"model_id": null, "api_base": "", "custom_llm_provider": "one"})), Some("one/fp8"));
    let model = json!({"model_group": null, "model_id": "prov1", "model": "m-large"});
    assert_eq!(found(model), Some("one/fp8"), "by the provider's own name of the model");
}

#[test]
fn odd_types_are_as_absent_and_what_must_be_there_is_named() {
    let cell = of_litellm(&payload(
        "x",
        json!("{\"city\":\"Paris\"}"),
        json!({"stream": "true", "prompt_tokens": "120", "completion_tokens": 20.0, "response_cost": "?",
               "response_time": [], "model_id": 7, "completionStartTime": NOW_S - 1.0}),
    ));
    let n = |count| cell.get(count);
    assert_eq!((n(Count::TokensIn), n(Count::TokensOut), n(Count::CostNanousd)), (120, 20, 0));
    assert_eq!((cell.ttft.total(), cell.latency.total()), (1, 1));
    let scene = Scene::new();
    let gone = |key: &str| payload("x", json!("{}"), json!({key: null}));
    let mut no_id = gone("litellm_call_id");
    no_id["id"] = json!(null);
    let mut no_time = gone("endTime");
    no_time["startTime"] = json!(null);
    let mut no_model = gone("model_group");
    no_model["model"] = json!(null);
    let old = payload("x", json!("{}"), json!({"endTime": NOW_S - 90_000.0}));
    let reply = scene.take(Format::LiteLlm, &lines(&[no_id, no_time, no_model, old]));
    let told: Vec<_> = reply.errors.iter().map(|e| (e.line, e.why.code, e.why.field.unwrap())).collect();
    let expected =
        [(1, "missing", "id"), (2, "missing", "endTime"), (3, "missing", "model_group"), (4, "too_old", "ts")];
    assert_eq!(told, expected);
}

/// A span as JSON.
fn span(id: &str, attributes: &[(&str, Value)], other: Value) -> Value {
    let attributes: Vec<Value> = attributes.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    let mut span = json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": id, "name": "chat m", "kind": 3,
        "startTimeUnixNano": ((NOW - 800_000) * 1000).to_string(), "endTimeUnixNano": (NOW * 1000).to_string(),
        "attributes": attributes, "status": {}
    });
    span.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    span
}

fn text(value: &str) -> Value {
    json!({"stringValue": value})
}

fn body(spans: &[Value]) -> Value {
    json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {}, "spans": spans}]}]})
}

/// The same in protobuf.
fn protobuf(body: &Value) -> Vec<u8> {
    fn varint(out: &mut Vec<u8>, mut n: u64) {
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
    }
    fn bytes(out: &mut Vec<u8>, number: u8, value: &[u8]) {
        out.push(number << 3 | 2);
        varint(out, value.len() as u64);
        out.extend_from_slice(value);
    }
    fn any(value: &Value) -> Vec<u8> {
        let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
        let mut out = Vec::new();
        match kind.as_str() {
            "stringValue" => bytes(&mut out, 1, value.as_str().unwrap().as_bytes()),
            "boolValue" => out.extend([2 << 3, u8::from(value.as_bool().unwrap())]),
            "intValue" => {
                out.push(3 << 3);
                varint(&mut out, value.as_str().unwrap().parse().unwrap());
            }
            "doubleValue" => {
                out.push(4 << 3 | 1);
                out.extend(value.as_f64().unwrap().to_le_bytes());
            }
            "arrayValue" => {
                let mut array = Vec::new();
                value["values"].as_array().unwrap().iter().for_each(|v| bytes(&mut array, 1, &any(v)));
                bytes(&mut out, 5, &array);
            }
            other => panic!("{other}"),
        }
        out
    }
    let hex = |text: &Value| -> Vec<u8> {
        let text = text.as_str().unwrap_or_default();
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
    };
    let mut scope = Vec::new();
    for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap() {
        let mut out = Vec::new();
        bytes(&mut out, 1, &hex(&span["traceId"]));
        bytes(&mut out, 2, &hex(&span["spanId"]));
        bytes(&mut out, 4, &hex(&span["parentSpanId"]));
        bytes(&mut out, 5, span["name"].as_str().unwrap().as_bytes());
        out.extend([6 << 3, 3]);
        for (number, key) in [(7, "startTimeUnixNano"), (8, "endTimeUnixNano")] {
            out.push(number << 3 | 1);
            out.extend(span[key].as_str().unwrap().parse::<u64>().unwrap().to_le_bytes());
        }
        for pair in span["attributes"].as_array().unwrap() {
            let mut attribute = Vec::new();
            bytes(&mut attribute, 1, pair["key"].as_str().unwrap().as_bytes());
            bytes(&mut attribute, 2, &any(&pair["value"]));
            bytes(&mut out, 9, &attribute);
        }
        let mut status = Vec::new();
        bytes(&mut status, 2, b"why");
        status.extend([3 << 3, span["status"]["code"].as_u64().unwrap_or(0) as u8]);
        bytes(&mut out, 15, &status);
        bytes(&mut scope, 2, &out);
    }
    let (mut resource, mut out) = (Vec::new(), Vec::new());
    bytes(&mut resource, 2, &scope);
    bytes(&mut out, 1, &resource);
    out
}

fn traced(scene: &Scene, spans: &[Value], is_json: bool) -> (u64, u64, u64) {
    let window = TimeWindow::live(NOW);
    let mut door = Door::new(&scene.intake, &scene.directory, "otel", (Format::Native, window));
    let body = body(spans);
    let bytes = if is_json { body.to_string().into_bytes() } else { protobuf(&body) };
    door.push_traces(&bytes, is_json).unwrap();
    let reply = door.end();
    (reply.accepted, reply.unattributed, reply.rejected)
}

fn good_span(id: &str) -> Value {
    let messages = json!([{"role": "assistant", "parts": [{"type": "text", "content": "let me see"},
        {"type": "tool_call", "id": "c", "name": "weather", "arguments": {"city": "Paris"}}]}]);
    span(
        id,
        &[
            ("gen_ai.request.model", text("kimi")),
            ("gen_ai.provider.name", text("one")),
            ("exacto.provider", text("prov2")),
            ("gen_ai.tool.definitions", text(&tools().to_string())),
            ("gen_ai.output.messages", text(&messages.to_string())),
            ("gen_ai.response.finish_reasons", json!({"arrayValue": {"values": [text("tool_calls")]}})),
            ("gen_ai.usage.input_tokens", json!({"intValue": "1200"})),
            ("gen_ai.usage.output_tokens", json!({"intValue": "40"})),
            ("gen_ai.response.time_to_first_chunk", json!({"doubleValue": 0.25})),
            ("gen_ai.request.stream", json!({"boolValue": true})),
        ],
        json!({}),
    )
}

#[test]
fn a_trace_says_the_same_in_json_and_in_protobuf() {
    let mut cells = Vec::new();
    for is_json in [true, false] {
        let scene = Scene::new();
        let child = span(
            "b000000000000002",
            &[("gen_ai.request.model", text("kimi"))],
            json!({"parentSpanId": "a000000000000001"}),
        );
        let web = span("b000000000000003", &[("http.route", text("/v1/chat/completions"))], json!({}));
        let spans = [good_span("a000000000000001"), child, web];
        assert_eq!(traced(&scene, &spans, is_json), (1, 0, 0), "a part of a request, and what is none, are left out");
        cells.push(scene.counted("two"));
    }
    assert_eq!(cells[0], cells[1]);
    let n = |count| cells[0].get(count);
    assert_eq!((n(Count::Good), n(Count::Called), n(Count::CalledJudged), n(Count::Streamed)), (1, 1, 1, 1));
    assert_eq!((n(Count::TokensIn), n(Count::TokensOut)), (1200, 40));
    assert!(cells[0].ttft.quantile_us(0.5).unwrap().abs_diff(250_000) < 4_000);
    assert!(cells[0].latency.quantile_us(0.5).unwrap().abs_diff(800_000) < 13_000);
}

#[test]
fn spans_are_attributed_by_what_names_a_host_or_a_deployment_only() {
    let found = |attributes: &[(&str, Value)]| {
        let scene = Scene::new();
        let all: Vec<(&str, Value)> =
            [("litellm.model_group", text("kimi:exacto"))].into_iter().chain(attributes.iter().cloned()).collect();
        assert_eq!(traced(&scene, &[span("a000000000000001", &all, json!({}))], false).0, 1);
        ["one/fp8", "two", "two/eu"].into_iter().find(|e| !scene.counted(e).is_empty())
    };
    assert_eq!(found(&[("gen_ai.system", text("one")), ("gen_ai.provider.name", text("one"))]), None);
    let hidden = json!({"model_id": "prov1", "api_base": null, "cache_key": null}).to_string();
    assert_eq!(found(&[("hidden_params", text(&hidden))]), Some("one/fp8"));
    let port = json!({"intValue": "8443"});
    assert_eq!(found(&[("server.address", text("eu.two.example")), ("server.port", port)]), Some("two/eu"));
    assert_eq!(found(&[("server.address", text("api.two.example"))]), Some("two"));
}

#[test]
fn failed_spans_tell_their_class_and_old_conventions_are_read() {
    let outcome = |attributes: &[(&str, Value)], code: u8| {
        let scene = Scene::new();
        let all: Vec<(&str, Value)> = [("gen_ai.request.model", text("kimi")), ("exacto.provider", text("two"))]
            .into_iter()
            .chain(attributes.iter().cloned())
            .collect();
        let one = span("a000000000000001", &all, json!({"status": {"code": code}}));
        let mut cells = [true, false].map(|is_json| {
            let scene = Scene::new();
            traced(&scene, std::slice::from_ref(&one), is_json);
            scene.counted("two")
        });
        assert_eq!(cells[0], cells[1]);
        drop(scene);
        std::mem::take(&mut cells[0])
    };
    let n = |cell: &Cell, count| cell.get(count);
    let cell = outcome(&[("error.type", text("openai.RateLimitError"))], 2);
    assert_eq!((n(&cell, Count::RateLimit), n(&cell, Count::Undelivered)), (1, 1));
    let cell = outcome(&[("http.response.status_code", json!({"intValue": "503"}))], 2);
    assert_eq!(n(&cell, Count::Server), 1);
    let cell = outcome(&[("error.type", text("429"))], 0);
    assert_eq!(n(&cell, Count::RateLimit), 1, "a status in the place of a name");
    assert_eq!(n(&outcome(&[], 2), Count::Unscored), 1, "an error that nobody can place");
    let old = [
        ("gen_ai.response.finish_reasons", text("[\"tool_calls\"]")),
        ("gen_ai.completion.0.function_call.name", text("weather")),
        ("gen_ai.completion.0.function_call.arguments", text("{\"city\":")),
        ("llm.request.functions.0.name", text("weather")),
        ("llm.request.functions.0.parameters", text("{\"type\":\"object\"}")),
        ("gen_ai.usage.prompt_tokens", json!({"intValue": "7"})),
    ];
    let cell = outcome(&old, 0);
    assert_eq!((n(&cell, Count::CalledInvalidJson), n(&cell, Count::BadAnswers), n(&cell, Count::TokensIn)), (1, 1, 7));
}

proptest! {
    #[test]
    fn no_bytes_break_the_reading_of_traces(bytes in prop::collection::vec(any::<u8>(), 0..200), is_json: bool) {
        let scene = Scene::new();
        let mut door = Door::new(&scene.intake, &scene.directory, "otel", (Format::Native, TimeWindow::live(NOW)));
        let _ = door.push_traces(&bytes, is_json);
    }

    #[test]
    fn a_cut_or_spoilt_trace_never_panics(at in 0usize..900, byte: u8) {
        let scene = Scene::new();
        let mut bytes = protobuf(&body(&[good_span("a000000000000001")]));
        let at = at % bytes.len();
        bytes[at] = byte;
        let mut door = Door::new(&scene.intake, &scene.directory, "otel", (Format::Native, TimeWindow::live(NOW)));
        let _ = door.push_traces(&bytes, false);
        let _ = door.push_traces(&bytes[..at], false);
    }
}

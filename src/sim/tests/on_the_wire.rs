//! Each defect shows on the wire what its row says, strikes only where it may, and expects what it declares.

use serde_json::{Map, Value, json};

use super::kit::{MODEL, NOW_US, Seen, ask, body_of, instances, player, spec};
use super::library::{case, library};
use crate::domain::{CaseInstance, Fault};
use crate::sim::answer::Answer;
use crate::sim::defects::{DEFECTS, Defect, Expected, Need};
use crate::sim::play::Player;
use crate::sim::prompt::{Outline, Prompt};
use crate::sim::spec::{Choice, Condition, EndpointSpec, Format, Injection};
use std::sync::Arc;

/// Shipped cases in every form that some defect needs: with and without streams, reasoning, seeds, limits.
fn bodies() -> Vec<Value> {
    let mut bodies = Vec::new();
    // A quarter of the cases shows every shape; the few with a tool choice are all wanted.
    let wanted = |i: usize, instance: &CaseInstance| i.is_multiple_of(4) || instance.tool_choice().is_some();
    for (i, (_, instance)) in instances(21).into_iter().enumerate().filter(|(i, (_, c))| wanted(*i, c)) {
        let mut body = body_of(&instance);
        for (key, value) in [("seed", json!(1)), ("n", json!(2)), ("reasoning_effort", json!("high"))] {
            if i % 8 == 0 {
                body.insert(key.to_owned(), value);
            }
        }
        for stream in [false, true] {
            let mut body = body.clone();
            body.insert("stream".to_owned(), json!(stream));
            body.insert("stream_options".to_owned(), json!({"include_usage": true}));
            let limit = bodies.len() % 3;
            if limit > 0 {
                body.shift_remove("max_tokens");
            }
            if limit > 1 {
                body.insert("max_tokens".to_owned(), json!(100_000));
            }
            bodies.push(Value::Object(body));
        }
    }
    bodies
}

fn prompt_of(body: &Value) -> Prompt {
    let text = body.to_string();
    let outline = Outline::scan(text.as_bytes()).unwrap();
    Prompt::read(outline.hash(), &outline.read().unwrap()).unwrap()
}

fn declared(expected: Expected, row: &[Fault]) -> bool {
    match expected {
        Expected::Fault(fault) => row.contains(&fault),
        Expected::Pass | Expected::NoPass | Expected::Unknown => true,
    }
}

#[test]
fn every_defect_shows_what_its_row_says() {
    let bodies = bodies();
    let healthy: Vec<Seen> = {
        let player = player(spec(vec![]), 1);
        bodies.iter().map(|body| Seen::of(&ask(&player, body))).collect()
    };
    let prompts: Vec<Prompt> = bodies.iter().map(prompt_of).collect();
    let (mut silent, mut complaints) = (Vec::new(), Vec::new());
    for defect in DEFECTS.iter().filter(|d| d.id != "args_lost_after_empty_call") {
        let player = player(spec(vec![Injection::new(defect.id, 1.0)]), 1);
        let mut fired = 0;
        for ((body, before), prompt) in bodies.iter().zip(&healthy).zip(&prompts) {
            let seen = Seen::of(&ask(&player, body));
            let outcome = player.log().pop().unwrap();
            if outcome.fired.is_empty() {
                continue;
            }
            fired += 1;
            assert_eq!(outcome.fired, [defect.id]);
            let case = outcome.case.map(|(_, case)| case.to_string());
            let mut complain = |what: &str| complaints.push(format!("{} {case:?}: {what}", defect.id));
            if !declared(outcome.quality, defect.quality) || !declared(outcome.wire, defect.wire) {
                complain(&format!("undeclared {:?} {:?}", outcome.quality, outcome.wire));
            }
            if !shows(defect, &seen, before, prompt) {
                complain(&format!("not on the wire: {}\nbefore: {}", seen.text, before.text));
            }
        }
        if fired == 0 {
            silent.push(defect.id);
        }
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n\n"));
    assert_eq!(silent, Vec::<&str>::new(), "no shipped case shows these");
}

fn json_of(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// What each row claims, looked for in the bytes.
fn shows(defect: &Defect, seen: &Seen, before: &Seen, prompt: &Prompt) -> bool {
    let args = || seen.calls.iter().map(|call| call.arguments.as_str());
    let parsed = || args().map(json_of).collect::<Vec<_>>();
    let content = seen.content.clone().unwrap_or_default();
    let old_content = before.content.clone().unwrap_or_default();
    let offered = |name: &str| prompt.tool_names().any(|n| n == name);
    let schema_broken = || {
        seen.calls.iter().any(|call| {
            let schema = prompt.parameters(&call.name).cloned().unwrap_or(Value::Bool(true));
            json_of(&call.arguments).is_some_and(|v| !jsonschema::validator_for(&schema).unwrap().is_valid(&v))
        })
    };
    let error = || seen.chunks.first().is_some_and(|body| body["error"]["message"].is_string());
    let usage = |key: &str| seen.usage.as_ref().and_then(|u| u[key].as_u64());
    let old_usage = |key: &str| before.usage.as_ref().and_then(|u| u[key].as_u64());
    let text_for_calls = || seen.calls.is_empty() && !before.calls.is_empty();
    match defect.id {
        "args_truncated_finish_tool_calls" => parsed().contains(&None) && seen.finish == ["tool_calls"],
        "args_duplicated" => {
            let all = args().zip(&before.calls).any(|(now, old)| now == format!("{0}{0}", old.arguments));
            all && parsed().contains(&None)
        }
        "stream_type_not_coerced" | "args_schema_invalid" | "args_double_encoded" => {
            schema_broken() && parsed().iter().all(Option::is_some)
        }
        "args_object_not_string" => {
            seen.calls.iter().all(|call| call.as_value) && seen.calls.len() == before.calls.len()
        }
        "args_python_literal" => args().any(|text| text.starts_with("{'") && json_of(text).is_none()),
        "name_undeclared" => seen.calls.iter().any(|call| !offered(&call.name)),
        "name_template_tokens" => seen.calls[0].name.ends_with("<|channel|>commentary"),
        "name_concatenated" => seen.calls[0].name == before.calls[0].name.repeat(2),
        "call_id_missing" => seen.calls.iter().any(|call| call.id.is_none()),
        "call_id_empty" => seen.calls.iter().all(|call| call.id.as_deref() == Some("")),
        "call_id_duplicate" => seen.calls.len() > 1 && seen.calls.iter().all(|call| call.id == seen.calls[0].id),
        "history_id_format_required" | "tool_choice_required_rejected" | "replay_rejected" => {
            seen.status == 400 && error()
        }
        "call_index_all_zero" => seen.call_deltas().iter().all(|call| call["index"] == 0) && before.calls.len() > 1,
        "call_index_missing" => seen.call_deltas().iter().all(|call| call.get("index").is_none()),
        "parallel_calls_dropped" => seen.calls.len() == 1 && before.calls.len() > 1,
        "finish_stop_with_calls" => seen.finish.iter().all(|f| f == "stop") && !seen.calls.is_empty(),
        "finish_tool_calls_empty" => seen.finish.iter().all(|f| f == "tool_calls") && text_for_calls(),
        "finish_raw_token" => seen.finish.iter().all(|f| f.starts_with("stop_1")) && !seen.finish.is_empty(),
        "finish_unknown" => seen.finish.iter().all(|f| f == "other") && !seen.finish.is_empty(),
        "leak_section_markers" => format!("{content}{:?}", seen.reasoning).contains("<|tool_calls_section_begin|>"),
        "leak_tool_call_tags" => content.starts_with("<tool_call>") && seen.calls.is_empty(),
        "leak_harmony_channels" => content.contains("<|channel|>final<|message|>") && content.ends_with(&old_content),
        "leak_args_as_text" => text_for_calls() && content == before.calls[0].arguments,
        "tool_choice_required_ignored" | "under_calling" => text_for_calls() && !content.is_empty(),
        "tool_choice_none_deletes_content" | "content_dropped_tools_reasoning" => {
            content.is_empty() && seen.calls.is_empty() && seen.finish.iter().all(|f| f == "stop")
        }
        "tool_choice_named_ignored" => {
            seen.calls.iter().all(|call| Some(call.name.as_str()) != prompt.named.as_deref())
        }
        "over_calling" => {
            !seen.calls.is_empty() && before.calls.is_empty() && seen.calls.iter().all(|c| offered(&c.name))
        }
        "answer_in_reasoning" => {
            content.is_empty() && seen.reasoning.as_ref().is_some_and(|r| r.ends_with(&old_content))
        }
        "reasoning_only" => content.is_empty() && seen.calls.is_empty() && seen.reasoning.is_some(),
        "reasoning_missing_in_stream" => seen.reasoning.is_none() && before.reasoning.is_some(),
        "effort_ignored" => seen.reasoning.as_ref().unwrap().len() < before.reasoning.as_ref().unwrap().len(),
        "empty_stream_with_tools" => content.is_empty() && seen.calls.is_empty() && before.done,
        "args_single_final_delta" => {
            seen.call_deltas().len()
                == seen.calls.len() * seen.chunks[0]["choices"].as_array().map_or(1, |_| prompt.choices as usize)
        }
        "stream_differs"
        | "compressed_model"
        | "engine_gap"
        | "model_substituted"
        | "partial_sticky_misroute"
        | "reasoning_not_replayed" => {
            let answer = |seen: &Seen| {
                (
                    seen.content.clone(),
                    seen.calls.iter().map(|c| c.arguments.clone()).collect::<Vec<_>>(),
                    seen.finish.clone(),
                )
            };
            answer(seen) != answer(before)
                || seen.calls.iter().map(|c| &c.name).ne(before.calls.iter().map(|c| &c.name))
        }
        "midstream_error_frame" => seen.chunks.last().is_some_and(|chunk| chunk["error"].is_object()),
        "done_missing" => !seen.done && seen.finish == before.finish,
        "stream_cut" => !seen.done && seen.finish.is_empty() && !seen.chunks.is_empty(),
        "usage_null_or_zero" => seen.usage == Some(Value::Null) || usage("total_tokens") == Some(0),
        "utf8_split" => content.contains("\u{FFFD}\u{FFFD}") && !old_content.contains('\u{FFFD}'),
        "ok_with_error_body" => seen.status == 200 && (error() || !seen.chunks[0]["choices"].is_array()),
        "ok_empty_body_for_429" => seen.status == 200 && seen.text.is_empty(),
        "rate_limit_bursts" => seen.status == 429 && error(),
        "cold_start_empty" => seen.status == 200 && content.is_empty() && seen.calls.is_empty(),
        "context_silently_truncated" => {
            usage("prompt_tokens") < old_usage("prompt_tokens").map(|n| n / 2) && content != old_content
        }
        "max_tokens_capped" | "max_tokens_low_default" => {
            seen.finish.iter().all(|f| f == "length")
                && old_content.starts_with(&content)
                && content.len() < old_content.len()
        }
        "json_schema_downgraded" => {
            let schema = prompt.schema.as_ref().unwrap();
            json_of(&content).is_some_and(|v| !jsonschema::validator_for(schema).unwrap().is_valid(&v))
        }
        "seed_ignored" => seen.chunks[0]["system_fingerprint"].is_string(),
        "stop_overrun" => prompt.stop.iter().any(|stop| content.contains(stop)) && content.starts_with(&old_content),
        "sampling_ignored" => {
            seen.chunks.iter().filter_map(|c| c["choices"].as_array()).flatten().all(|c| c["index"] == 0)
        }
        "top_k_missing_wrong_language" => content != old_content && !content.is_empty(),
        "prompt_tokens_off" => usage("prompt_tokens") > old_usage("prompt_tokens"),
        "reasoning_tokens_uncounted" => {
            seen.reasoning.is_some() && usage("completion_tokens") < old_usage("completion_tokens")
        }
        "kv_quant_garbage" => content.contains("the of the of the of"),
        "repeated_tokens" => content.ends_with("and then again and then again") && content.starts_with(&old_content),
        "wrong_script_chars" => content.chars().count() == old_content.chars().count() + 1,
        "served_by_other" => seen.chunks[0]["provider"].is_string(),
        "cache_hit" | "healed_response" => true,
        other => panic!("say here what {other} shows on the wire"),
    }
}

#[test]
fn headers_tell_of_caches_and_repairs() {
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "x"}]});
    for (id, header) in [("cache_hit", ("x-cache", "HIT")), ("healed_response", ("x-response-healed", "true"))] {
        assert_eq!(ask(&player(spec(vec![Injection::new(id, 1.0)]), 1), &body).headers, [header]);
    }
}

#[test]
fn arguments_after_an_empty_call_are_lost() {
    let mut two = case("two", "Look at both", vec![], &[], "");
    let call = |name: &str, arguments: &str| json!({"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}});
    two.reference = Some(
        json!({"role": "assistant", "content": null, "tool_calls": [call("now", "{}"), call("at", "{\"a\":1}")]})
            .into(),
    );
    let tool =
        |name: &str, schema: Value| json!({"type": "function", "function": {"name": name, "parameters": schema}});
    two.tools = Some(
        vec![tool("now", json!({"type": "object"})), tool("at", json!({"type": "object", "required": ["a"]}))].into(),
    );
    let body = json!({"model": MODEL, "messages": two.messages.value(), "tools": two.tools.as_ref().unwrap().value()});
    let (_, library) = library(vec![two]);
    let player =
        Player::new(spec(vec![Injection::new("args_lost_after_empty_call", 1.0)]), MODEL, 1, Arc::new(library), NOW_US);
    let mut shown = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let seen = Seen::of(&ask(&player, &body));
        assert_eq!(seen.calls[0].arguments, "{}");
        let expected = player.log().pop().unwrap().quality;
        let fits = match seen.calls[1].arguments.as_str() {
            "" => expected == Expected::Fault(Fault::InvalidJson),
            "{}" => expected == Expected::Fault(Fault::SchemaMismatch),
            _ => false,
        };
        assert!(fits, "{expected:?} {}", seen.text);
        shown.insert(seen.calls[1].arguments.clone());
    }
    assert_eq!(shown.len(), 2, "both forms are seen");
}

#[test]
fn rows_strike_only_where_their_needs_hold() {
    let bodies = bodies();
    for defect in DEFECTS {
        let player = player(spec(vec![Injection::new(defect.id, 1.0)]), 1);
        for body in bodies.iter().step_by(5) {
            let _ = ask(&player, body);
            let fired = !player.log().pop().unwrap().fired.is_empty();
            let prompt = prompt_of(body);
            let of_request =
                |need: &&Need| !matches!(need, Need::Calls | Need::TwoCalls | Need::Text | Need::Reasoning);
            let possible = defect.needs.iter().filter(of_request).all(|need| need.holds(&prompt, &Answer::default()));
            assert!(possible || !fired, "{} {body}", defect.id);
        }
    }
}

#[test]
fn conditions_are_obeyed() {
    type Holds = fn(&Map<String, Value>, &Prompt) -> bool;
    let none = Condition::default;
    let cases: Vec<(Condition, Holds)> = vec![
        (Condition { tools: Some(true), ..none() }, |b, _| b.contains_key("tools")),
        (Condition { tools: Some(false), ..none() }, |b, _| !b.contains_key("tools")),
        (Condition { stream: Some(true), ..none() }, |b, _| b["stream"] == true),
        (Condition { reasoning: Some(true), ..none() }, |b, _| b.contains_key("reasoning_effort")),
        (Condition { reasoning: Some(false), ..none() }, |b, _| !b.contains_key("reasoning_effort")),
        (Condition { context_tokens_over: Some(900), ..none() }, |_, p| p.tokens > 900),
        (Condition { tool_choice: Some(Choice::Required), ..none() }, |b, _| {
            b.get("tool_choice") == Some(&json!("required"))
        }),
        (Condition { tool_choice: Some(Choice::None), ..none() }, |b, _| b.get("tool_choice") == Some(&json!("none"))),
        (Condition { tool_choice: Some(Choice::Named), ..none() }, |b, _| {
            b.get("tool_choice").is_some_and(Value::is_object)
        }),
        (Condition { response_format: Some(Format::JsonSchema), ..none() }, |b, _| {
            b.get("response_format").is_some_and(|f| f["type"] == "json_schema")
        }),
        (Condition { history_turns_over: Some(0), ..none() }, |b, _| {
            b["messages"].as_array().unwrap().iter().any(|m| m["role"] == "assistant")
        }),
        (Condition { stream: Some(true), tools: Some(true), nested_schema: Some(true), ..none() }, |b, p| {
            b["stream"] == true && b.contains_key("tools") && p.nested_schema
        }),
    ];
    let bodies = bodies();
    for (condition, holds) in cases {
        let injection = Injection { condition: condition.clone(), ..Injection::new("finish_unknown", 1.0) };
        let player = player(spec(vec![injection]), 1);
        let mut hits = 0;
        for body in &bodies {
            let _ = ask(&player, body);
            let fired = !player.log().pop().unwrap().fired.is_empty();
            assert_eq!(fired, holds(body.as_object().unwrap(), &prompt_of(body)), "{condition:?} {body}");
            hits += usize::from(fired);
        }
        assert!(hits > 0 && hits < bodies.len(), "{condition:?} tells nothing apart: {hits}");
    }
    let calls =
        Injection { condition: Condition { calls_min: Some(2), ..none() }, ..Injection::new("finish_unknown", 1.0) };
    let player = player(spec(vec![calls]), 1);
    for body in &bodies {
        let seen = Seen::of(&ask(&player, body));
        assert_eq!(seen.calls.len() >= 2, seen.finish == ["other"]);
    }
}

#[test]
fn base_rates_and_calling_propensity_are_kept() {
    let bodies: Vec<Value> = (0..6).flat_map(instances).map(|(_, i)| Value::Object(body_of(&i))).collect();
    let run = |spec: EndpointSpec| {
        let player = player(spec, 4);
        bodies.iter().for_each(|body| drop(ask(&player, body)));
        (player.counts(), player.log())
    };
    let n = bodies.len() as f64;
    let rates = [("tool-use".to_owned(), 0.5)].into();
    let (counts, log) = run(EndpointSpec { base: 0.9, rates, ..spec(vec![]) });
    let share = |suite: &str| {
        let of: Vec<_> = log.iter().filter(|o| o.case.as_ref().is_some_and(|(s, _)| s.as_str() == suite)).collect();
        of.iter().filter(|o| o.base_failure).count() as f64 / of.len() as f64
    };
    assert_eq!(counts.unmatched, 0);
    assert!((share("tool-use") - 0.5).abs() < 0.06, "{}", share("tool-use"));
    assert!((share("output-quality") - 0.1).abs() < 0.04, "{}", share("output-quality"));
    let (counts, _) = run(EndpointSpec { error_rate: 0.2, ..spec(vec![]) });
    assert!((counts.errors as f64 / n - 0.2).abs() < 0.04);
    let mut shy = spec(vec![]);
    shy.calling.when_due = 0.0;
    let (_, log) = run(shy);
    let missing = log.iter().filter(|o| o.quality == Expected::Fault(Fault::MissingCall)).count();
    assert!(missing as f64 > n * 0.2, "{missing}");
}

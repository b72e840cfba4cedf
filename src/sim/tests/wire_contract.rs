//! The healthy mode satisfies every point of the catalogue's streaming checklist (section 14), in every
//! harmless variant, and streams say what plain answers say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::kit::{MODEL, Seen, ask, body_of, instances, player, spec};
use crate::sim::spec::{
    ArgumentStyle, Benign, CallIds, ContentWithCalls, Deltas, EndpointSpec, Fingerprint, Reasoning, ReasoningField,
};

fn variants() -> Vec<Benign> {
    let plain = Benign::default();
    vec![
        plain.clone(),
        Benign {
            call_ids: CallIds::FunctionsNameIndex,
            arguments: ArgumentStyle::Spaced,
            deltas: Deltas::One,
            content_with_calls: ContentWithCalls::Absent,
            extra_fields: true,
            comments: true,
            keep_alives: true,
            reasoning_field: ReasoningField::Reasoning,
            usage_details: true,
            fingerprint: Fingerprint::Changing,
            role_in_every_delta: false,
            crlf: true,
        },
        Benign {
            call_ids: CallIds::Short,
            arguments: ArgumentStyle::Reversed,
            deltas: Deltas::Few,
            content_with_calls: ContentWithCalls::Empty,
            fingerprint: Fingerprint::Constant,
            role_in_every_delta: true,
            ..plain
        },
    ]
}

fn endpoint(benign: &Benign) -> EndpointSpec {
    EndpointSpec { benign: benign.clone(), reasoning: Reasoning::Always, ..spec(vec![]) }
}

fn with(instance: &crate::domain::CaseInstance, stream: bool) -> Value {
    let mut body = body_of(instance);
    body.insert("stream".to_owned(), json!(stream));
    body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    Value::Object(body)
}

/// Points 1 to 6 and 9 for one stream with so many choices.
fn check(seen: &Seen, choices: u64, role_repeats: bool) {
    let first = &seen.chunks[0];
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant", "1: {first}");
    for chunk in &seen.chunks {
        assert_eq!((&chunk["id"], &chunk["model"]), (&first["id"], &json!(MODEL)), "1: constant");
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert!(chunk.get("error").is_none(), "9");
    }
    let mut finishes: BTreeMap<u64, u32> = BTreeMap::new();
    let mut begun: BTreeMap<(u64, u64), ()> = BTreeMap::new();
    let mut roles = 0;
    for choice in seen.chunks.iter().filter_map(|c| c["choices"].as_array()).flatten() {
        let number = choice["index"].as_u64().unwrap();
        assert!(!finishes.contains_key(&number), "4: nothing of a choice after its finish reason");
        roles += u32::from(choice["delta"].get("role").is_some());
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap();
            let keys: Vec<&str> = call.as_object().unwrap().keys().map(String::as_str).collect();
            if begun.insert((number, index), ()).is_none() {
                assert!(call["id"].as_str().is_some_and(|id| !id.is_empty()), "2: {call}");
                assert_eq!(call["type"], "function", "2");
                assert!(call["function"]["name"].is_string(), "2");
                let before = begun.keys().filter(|(n, i)| *n == number && *i < index).count() as u64;
                assert_eq!(before, index, "3: from 0 in steps of 1");
            } else {
                assert_eq!(keys, ["index", "function"], "2: {call}");
                assert_eq!(call["function"].as_object().unwrap().len(), 1, "2");
            }
        }
        if choice["finish_reason"].is_string() {
            *finishes.entry(number).or_default() += 1;
        }
    }
    assert!(role_repeats || u64::from(roles) == choices, "1: the role once per choice");
    assert_eq!(finishes, (0..choices).map(|n| (n, 1)).collect(), "4 and 8");
    let last = seen.chunks.last().unwrap();
    assert_eq!(last["choices"], json!([]), "5");
    for key in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert!(last["usage"][key].as_u64().is_some_and(|n| n > 0), "5: {last}");
    }
    let reasoning = last["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64();
    assert_eq!(reasoning.is_some_and(|n| n > 0), seen.reasoning.is_some(), "5");
    assert!(seen.done, "6");
}

#[test]
fn streams_keep_the_contract_and_say_what_plain_answers_say() {
    for benign in variants() {
        let player = player(endpoint(&benign), 1);
        for (_, instance) in instances(11) {
            let streamed = Seen::of(&ask(&player, &with(&instance, true)));
            check(&streamed, 1, benign.role_in_every_delta);
            let plain = Seen::of(&ask(&player, &with(&instance, false)));
            assert_eq!(plain.chunks[0]["object"], "chat.completion");
            let content = |seen: &Seen| seen.content.clone().filter(|text| !text.is_empty());
            assert_eq!(content(&streamed), content(&plain), "{}", instance.case.id);
            assert_eq!(streamed.reasoning, plain.reasoning);
            assert_eq!(streamed.finish, plain.finish);
            let calls =
                |seen: &Seen| seen.calls.iter().map(|c| (c.name.clone(), c.arguments.clone())).collect::<Vec<_>>();
            assert_eq!(calls(&streamed), calls(&plain));
            let ids: std::collections::HashSet<_> = plain.calls.iter().map(|c| c.id.clone().unwrap()).collect();
            assert_eq!(ids.len(), plain.calls.len(), "ids are unique");
            let usage = plain.usage.unwrap();
            assert!(usage["completion_tokens"].as_u64().unwrap() > 0, "{usage}");
        }
        assert_eq!(player.counts().unmatched, 0);
    }
}

#[test]
fn several_choices_and_stop_sequences_are_kept_apart() {
    let player = player(spec(vec![]), 1);
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Tell me"}], "n": 3,
        "stop": ["short answer", "question"], "stream": true, "stream_options": {"include_usage": true}});
    let streamed = Seen::of(&ask(&player, &body));
    check(&streamed, 3, false);
    body["stream"] = json!(false);
    let plain = Seen::of(&ask(&player, &body));
    assert_eq!(plain.chunks[0]["choices"].as_array().unwrap().len(), 3, "8");
    for seen in [streamed, plain] {
        let text = seen.content.unwrap();
        assert!(!text.is_empty() && !text.contains("short answer") && !text.contains("question"), "8: {text}");
    }
}

#[test]
fn no_usage_frame_without_being_asked() {
    let player = player(spec(vec![]), 1);
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "stream": true});
    let seen = Seen::of(&ask(&player, &body));
    assert!(seen.done && seen.usage.is_none());
    assert!(seen.chunks.iter().all(|chunk| chunk["choices"].as_array().is_some_and(|c| c.len() == 1)));
}

#[test]
fn old_malformed_calls_in_the_history_are_tolerated() {
    let player = player(spec(vec![]), 1);
    for call in [json!({"id": null, "function": {"name": "f", "arguments": "{'a': True"}}), json!(7), json!({})] {
        let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "x"},
            {"role": "assistant", "content": null, "tool_calls": [call]}, {"role": "tool", "content": 3}]});
        assert_eq!(ask(&player, &body).status, 200, "10");
    }
}

#[test]
fn logprobs_come_when_asked_for() {
    let player = player(spec(vec![]), 1);
    for stream in [false, true] {
        let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "stream": stream,
            "logprobs": true, "top_logprobs": 2});
        let seen = Seen::of(&ask(&player, &body));
        let choices = seen.chunks.iter().filter_map(|c| c["choices"].as_array()).flatten();
        let tokens: Vec<&Value> = choices.filter_map(|c| c["logprobs"]["content"].as_array()).flatten().collect();
        let text: String = tokens.iter().filter_map(|t| t["token"].as_str()).collect();
        assert_eq!(Some(text), seen.content);
        assert!(tokens.iter().all(|t| t["logprob"].as_f64().is_some_and(|p| p <= 0.0)
            && t["top_logprobs"].as_array().is_some_and(|top| top.len() == 2)));
    }
}

#[test]
fn another_model_is_refused_with_a_reason() {
    let player = player(spec(vec![]), 1);
    let response = ask(&player, &json!({"model": "other", "messages": [{"role": "user", "content": "x"}]}));
    let text = String::from_utf8(response.body()).unwrap();
    assert_eq!(response.status, 404);
    assert!(text.contains("`other`") && text.contains("`lab/m`"), "{text}");
}

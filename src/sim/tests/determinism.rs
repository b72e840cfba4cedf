//! Same seed, same requests, same answers: whatever the order.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::kit::{NOW_US, NoHeaders, ask, body_of, instances, player, spec};
use crate::sim::defects::DEFECTS;
use crate::sim::spec::{Benign, EndpointSpec, Injection};

fn mixed() -> EndpointSpec {
    let injections =
        ["args_python_literal", "stream_cut", "wrong_script_chars", "call_id_missing", "ok_with_error_body"];
    EndpointSpec {
        base: 0.8,
        error_rate: 0.05,
        benign: Benign { comments: true, extra_fields: true, ..Benign::default() },
        ..spec(injections.iter().map(|id| Injection::new(id, 0.3)).collect())
    }
}

fn bodies() -> Vec<Value> {
    instances(5).into_iter().step_by(3).map(|(_, instance)| Value::Object(body_of(&instance))).collect()
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    let bodies = bodies();
    let run = |seed: u64, order: &[usize]| {
        let player = player(mixed(), seed);
        order.iter().map(|i| (*i, ask(&player, &bodies[*i]))).collect::<HashMap<_, _>>()
    };
    let forward: Vec<usize> = (0..bodies.len()).collect();
    let backward: Vec<usize> = forward.iter().rev().copied().collect();
    assert_eq!(run(1, &forward), run(1, &backward));
    assert_ne!(run(1, &forward), run(2, &forward));
}

#[test]
fn repeats_are_drawn_anew_and_reproducibly() {
    let body = &bodies()[0];
    let run = || {
        let player = player(EndpointSpec { base: 0.5, ..spec(vec![]) }, 3);
        (0..40).map(|_| ask(&player, body)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
    let player = player(EndpointSpec { base: 0.5, ..spec(vec![]) }, 3);
    (0..400).for_each(|_| drop(ask(&player, body)));
    let failures = player.counts().base_failures;
    assert!((150..250).contains(&failures), "{failures} of 400");
    assert!(player.log().iter().map(|o| o.repeats).eq(0..400));
}

#[test]
fn volatile_keys_change_nothing() {
    let mut body = bodies()[4].clone();
    let first = ask(&player(mixed(), 1), &body);
    body["user"] = json!("somebody");
    body["metadata"] = json!({"trace": 1});
    assert_eq!(ask(&player(mixed(), 1), &body), first);
}

#[test]
fn one_injection_more_leaves_the_others_alone() {
    let fired = |injections: Vec<Injection>| {
        let player = player(spec(injections), 9);
        bodies().iter().for_each(|body| drop(ask(&player, body)));
        let log = player.log();
        log.iter().map(|o| o.fired.contains(&"args_python_literal")).collect::<Vec<_>>()
    };
    let alone = fired(vec![Injection::new("args_python_literal", 0.5)]);
    let both = fired(vec![Injection::new("args_python_literal", 0.5), Injection::new("finish_unknown", 0.5)]);
    assert_eq!(alone, both);
    assert!(alone.contains(&true) && alone.contains(&false));
}

/// Any JSON, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(
                ("(role|content|tool_calls|function|name|parameters|type|id|[a-z]{1,4})", inner),
                0..4
            )
            .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

const KEYS: &[&str] = &[
    "messages",
    "tools",
    "tool_choice",
    "response_format",
    "stream",
    "stream_options",
    "stop",
    "n",
    "max_tokens",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "reasoning",
    "seed",
    "user",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_body_gets_an_answer(
        keys in prop::collection::vec((prop::sample::select(KEYS), any_json()), 0..8),
        valid in any::<bool>(),
        stream in any::<bool>(),
        defect in 0..DEFECTS.len(),
    ) {
        let mut body: serde_json::Map<String, Value> = keys.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        body.insert("model".to_owned(), json!("lab/m"));
        if valid {
            body.insert("messages".to_owned(), json!([{"role": "user", "content": "hi"}]));
            body.insert("stream".to_owned(), json!(stream));
        }
        let player = player(spec(vec![Injection::new(DEFECTS[defect].id, 1.0)]), 1);
        let response = ask(&player, &Value::Object(body));
        prop_assert!([200, 400, 429].contains(&response.status));
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let response = player(spec(vec![]), 1).answer(&bytes, &NoHeaders, 0, NOW_US);
        prop_assert_eq!(response.status, 400);
    }
}

#[test]
fn every_defect_meets_every_shipped_case_without_harm() {
    let bodies: Vec<Value> = instances(2).into_iter().step_by(4).map(|(_, i)| Value::Object(body_of(&i))).collect();
    for defect in DEFECTS {
        let player = player(spec(vec![Injection::new(defect.id, 1.0)]), 1);
        for body in &bodies {
            let response = ask(&player, body);
            assert!([200, 400, 429].contains(&response.status), "{}", defect.id);
        }
    }
}

//! Providers answer in any shape: every attempt gets a verdict, and the sweep ends.

use std::collections::BTreeMap;

use exactod::domain::Verdict;
use exactod::provider::{BODY_BYTES_MAX, STREAM_BYTES_MAX};
use serde_json::{Value, json};

use crate::odd_server::{Asked, http, http_until_close, serve};
use crate::suites::TEXT_CASES;
use crate::world::{Settings, World, good};

/// What may come in beyond a limit before it is noticed.
const EVENT_BYTES: usize = 4 << 20;
/// As many cases of each suite as the smaller one has, twice.
const CASES: usize = 2 * TEXT_CASES;

/// Bytes that look random and are the same in every run (xorshift).
fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (seed as u64 + 1);
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// Not HTTP at all, now and then; else noise in an HTTP answer.
fn noise_server(asked: &Asked) -> Vec<u8> {
    match asked.number % 4 {
        0 => noise(asked.number, 500),
        1 => http("200 OK", "application/json", &noise(asked.number, 5_000)),
        2 => http_until_close("text/event-stream", &noise(asked.number, 5_000)),
        _ => Vec::new(),
    }
}

/// The beginning of an answer, cut at another byte each time.
fn cut_server(asked: &Asked) -> Vec<u8> {
    let message = json!({"role": "assistant", "content": "A text that is long enough to be cut in many places."});
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 5});
    let plain = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage});
    let delta = json!({"choices": [{"index": 0, "delta": {"content": "A text"}}]});
    let whole = if asked.body.contains("\"stream\":true") {
        http_until_close("text/event-stream", format!("data: {delta}\n\ndata: {delta}\n\ndata: [DONE]\n\n").as_bytes())
    } else {
        http("200 OK", "application/json", plain.to_string().as_bytes())
    };
    let end = whole.len() * (asked.number % 17) / 17;
    whole[..end].to_vec()
}

/// Valid JSON of the wrong shape.
fn shape_server(asked: &Asked) -> Vec<u8> {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = [
        "null".to_owned(),
        "[]".to_owned(),
        "{\"choices\": []}".to_owned(),
        "{\"choices\": {\"0\": 1}}".to_owned(),
        "{\"choices\": [{\"message\": \"hello\"}]}".to_owned(),
        "{\"choices\": [{\"message\": {\"content\": [1, {\"text\": 2}], \"tool_calls\": 7}}]}".to_owned(),
        "{\"choices\": [{\"message\": {\"tool_calls\": [null, {\"function\": {\"name\": 3, \"arguments\": {}}}]}}]}"
            .to_owned(),
        "{\"choices\": [{\"message\": {\"content\": \"x\"}}], \"usage\": {\"prompt_tokens\": -1e300}}".to_owned(),
        "{\"choices\": [{\"message\": {\"content\": \"\\ud800\\u0000\"}, \"finish_reason\": 3}]}".to_owned(),
        format!("{{\"choices\": {deep}}}"),
        "\u{feff}{}".to_owned(),
    ];
    let body = &bodies[asked.number % bodies.len()];
    if asked.number.is_multiple_of(2) {
        http("200 OK", "application/json", body.as_bytes())
    } else {
        http_until_close("text/event-stream", format!("data: {body}\n\n{body}\n\n").as_bytes())
    }
}

/// More than anyone takes: a body, an event, a header.
fn huge_server(asked: &Asked) -> Vec<u8> {
    match asked.number % 3 {
        0 => http("200 OK", "application/json", &vec![b' '; BODY_BYTES_MAX + 1]),
        1 => http_until_close("text/event-stream", format!("data: {}\n\n", "x".repeat(EVENT_BYTES + 1)).as_bytes()),
        _ => format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "y".repeat(2 << 20)).into_bytes(),
    }
}

/// A whole answer of a megabyte, wrong for every case, and one word without an end.
fn long_server(asked: &Asked) -> Vec<u8> {
    let message = json!({"role": "assistant", "content": "wrong'".repeat(1 << 18)});
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 5});
    let plain = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage});
    match asked.body.contains("\"stream\":true") {
        true => http_until_close("text/event-stream", b"data: [DONE]\n\n"),
        false => http("200 OK", "application/json", plain.to_string().as_bytes()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_gets_a_verdict() {
    every_attempt_gets_a_verdict(serve(long_server).await, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_gets_a_verdict() {
    every_attempt_gets_a_verdict(serve(noise_server).await, CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_anywhere_gets_a_verdict() {
    every_attempt_gets_a_verdict(serve(cut_server).await, CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_any_shape_gets_a_verdict() {
    every_attempt_gets_a_verdict(serve(shape_server).await, CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_gets_a_verdict() {
    // Two suites: four attempts, each with two tries, see every kind.
    every_attempt_gets_a_verdict(serve(huge_server).await, 4).await;
}

async fn every_attempt_gets_a_verdict(odd: String, cases: usize) {
    let world = World::new(vec![good("alder")]).await;
    let providers = [("alder".to_owned(), world.fleet.base_url("alder").unwrap()), ("odd".to_owned(), odd)];
    let settings = Settings {
        provider: "limits = { concurrency = 2 }\nretry = { attempts = 1, over = \"5ms\" }".to_owned(),
        ..Settings::default()
    };
    world.configure_for(&providers, &settings);
    let said = world.json(&["sweep", "--full", "--limit", &(cases / 2).to_string(), "--json"]).await;
    let cases = cases as u64;
    let count = |row: &Value, key: &str| row[key].as_u64().unwrap();
    for row in said["endpoints"].as_array().unwrap() {
        let judged = count(row, "pass") + count(row, "fail") + count(row, "unscored");
        assert_eq!((count(row, "attempts"), judged), (cases, cases), "{row}");
        let faults: BTreeMap<String, u64> = serde_json::from_value(row["faults"].clone()).unwrap();
        // Each verdict but a pass has its fault: it was the provider, not us.
        assert_eq!(faults.values().sum::<u64>(), cases - count(row, "pass"), "{row}");
        let is_good = row["id"] == json!("alder");
        assert!(!is_good || count(row, "pass") == cases, "{row}");
        assert!(is_good || count(row, "fail") + count(row, "unscored") > 0, "{row}");
    }
    // What is said of it is for people to read, and what is kept of it is bounded.
    for stored in world.attempts().await {
        let attempt = stored.attempt;
        let passed = attempt.judgement.verdict == Verdict::Pass;
        assert_eq!(attempt.judgement.explanation.is_empty(), passed, "{:?}", attempt.judgement);
        assert!(attempt.judgement.explanation.len() < 4096, "{}", attempt.judgement.explanation.len());
        let kept = attempt.transcript.unwrap().response.len();
        assert!(kept <= STREAM_BYTES_MAX + EVENT_BYTES, "{kept} bytes");
    }
}

//! JSON shapes of stored things, shared by the API and the command line.
//!
//! Times stand twice: `..._at` in RFC 3339 for people, `..._at_us` in microseconds since the epoch for programs. Money
//! is in US dollars.

use serde_json::{Map, Value, json};

pub use super::curl::curl_of;
use super::state::Ruling;
use crate::clock::rfc3339;
use crate::config::ModelConfig;
use crate::domain::base64;
use crate::domain::{Decision, EndpointId, Exchange, Micros, Part, Revision, SuitePlan, Transcript, Try};
use crate::store::{Ack, Alarm, StoredAttempt, StoredSweep, SweepRecord};

/// Billionths of a dollar in a dollar.
const NANO: f64 = 1e9;

/// Puts a time in twice.
fn put_time(into: &mut Map<String, Value>, name: &str, at_us: Option<Micros>) {
    into.insert(name.to_owned(), json!(at_us.map(rfc3339)));
    into.insert(format!("{name}_us"), json!(at_us));
}

/// What a consumer said last about a list; `current` is the revision served by now.
#[must_use]
pub fn ack(ack: &Ack, current: Option<Revision>) -> Value {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("client", json!(ack.client));
    put("model", json!(some(&ack.model)));
    put("capability", json!(some(&ack.capability)));
    put("version", json!(ack.version));
    put("status", json!(ack.status.name()));
    put("detail", json!(ack.detail));
    put("adopted", json!(ack.adopted));
    put("current", json!(current));
    put("behind", json!(current.map(|current| ack.adopted != Some(current))));
    put("token", json!(some(&ack.token)));
    put_time(&mut out, "at", Some(ack.at_us));
    Value::Object(out)
}

/// An attempt in a list: all but its tries and transcript.
#[must_use]
pub fn attempt_summary(stored: &StoredAttempt) -> Value {
    Value::Object(summary(stored))
}

fn summary(stored: &StoredAttempt) -> Map<String, Value> {
    let a = &stored.attempt;
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("id", json!(a.id));
    put("sweep", json!(a.key.sweep));
    put("model", json!(stored.model));
    put("endpoint", json!(a.key.endpoint));
    put("suite", json!(a.key.suite));
    put("case", json!(a.key.case));
    put("epoch", json!(a.key.epoch));
    put("verdict", json!(a.judgement.verdict.to_string()));
    put("score", json!(a.judgement.score));
    put("fault", json!(a.judgement.fault));
    put("secondary_faults", json!(a.judgement.secondary));
    put("error_type", json!(a.judgement.error_type));
    put("explanation", json!(a.judgement.explanation));
    put("scorers", json!(a.judgement.scorers));
    put("delivered", json!(stored.delivered));
    put("first_try_ok", json!(a.first_try_ok()));
    put("tries", json!(a.tries.len()));
    put("ttft_us", json!(a.ttft_us));
    put("total_us", json!(a.total_us));
    put("tokens_in", json!(a.usage.tokens_in));
    put("tokens_out", json!(a.usage.tokens_out));
    put("cost_usd", json!(a.cost_nanousd as f64 / NANO));
    put("finish_reason", json!(a.finish_reason));
    put_time(&mut out, "started_at", Some(a.started_at_us));
    out
}

/// An attempt with everything: tries, drawn values, transcript, and the command that repeats the request.
#[must_use]
pub fn attempt_detail(stored: &StoredAttempt, votes: &[Exchange], models: &[ModelConfig]) -> Value {
    let mut out = summary(stored);
    out.insert("votes".to_owned(), Value::Array(votes.iter().filter_map(vote).collect()));
    out.insert("tries".to_owned(), Value::Array(stored.attempt.tries.iter().map(one_try).collect()));
    out.insert("draw".to_owned(), json!(stored.attempt.draw));
    out.insert("transcript".to_owned(), stored.attempt.transcript.as_ref().map_or(Value::Null, transcript));
    out.insert("curl".to_owned(), json!(curl_of(stored, models)));
    Value::Object(out)
}

/// What a judge was asked about the answer, and what it said.
fn vote(exchange: &Exchange) -> Option<Value> {
    let Part::Vote { scorer, vote } = exchange.part else { return None };
    Some(json!({
        "scorer": scorer, "vote": vote, "tries": exchange.tries.iter().map(one_try).collect::<Vec<_>>(),
        "total_us": exchange.total_us, "cost_usd": exchange.cost_nanousd as f64 / NANO,
        "transcript": transcript(&exchange.transcript),
    }))
}

fn one_try(t: &Try) -> Value {
    let mut out = Map::new();
    put_time(&mut out, "started_at", Some(t.started_at_us));
    out.insert("took_us".to_owned(), json!(t.took_us));
    out.insert("status".to_owned(), json!(t.status));
    out.insert("fault".to_owned(), json!(t.fault));
    out.insert("detail".to_owned(), json!(t.detail));
    out.insert("retry_after_us".to_owned(), json!(t.retry_after_us));
    Value::Object(out)
}

/// `request` is the JSON sent; a body is given as text and, when that loses something, in base64 as well.
fn transcript(t: &Transcript) -> Value {
    let mut out = Map::new();
    match serde_json::from_slice::<Value>(&t.request) {
        Ok(request) => {
            out.insert("request".to_owned(), request);
        }
        Err(_) => put_body(&mut out, "request", &t.request),
    }
    put_body(&mut out, "response", &t.response);
    out.insert("headers".to_owned(), json!(t.headers));
    Value::Object(out)
}

fn put_body(into: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            into.insert(name.to_owned(), json!(text));
        }
        Err(_) => {
            into.insert(name.to_owned(), json!(String::from_utf8_lossy(bytes)));
            into.insert(format!("{name}_base64"), json!(base64::encode(bytes)));
        }
    }
}

/// A decision.
#[must_use]
pub fn decision(decision: &Decision) -> Value {
    let Decision { id, model, endpoint, capability, sweep, at_us, kind, from, to, suite, reason, evidence } = decision;
    let mut out = Map::new();
    out.insert("id".to_owned(), json!(id));
    out.insert("model".to_owned(), json!(model));
    out.insert("endpoint".to_owned(), json!(endpoint));
    out.insert("capability".to_owned(), json!(capability));
    put_time(&mut out, "at", Some(*at_us));
    out.insert("kind".to_owned(), json!(kind));
    out.insert("from".to_owned(), json!(from));
    out.insert("to".to_owned(), json!(to));
    out.insert("suite".to_owned(), json!(suite));
    out.insert("reason".to_owned(), json!(reason));
    out.insert("sweep".to_owned(), json!(sweep));
    out.insert("evidence".to_owned(), evidence.clone());
    Value::Object(out)
}

/// What came of an order.
#[must_use]
pub fn ruling(ruling: &Ruling) -> Value {
    let Ruling { model, verb, changed, message, decisions, published, list } = ruling;
    let list = list.as_ref().map(|list| {
        let listed: Vec<&EndpointId> = list.providers.iter().map(|p| &p.id).collect();
        json!({"version": list.version, "mode": list.mode, "published": published, "listed": listed})
    });
    let decisions: Vec<Value> = decisions.iter().map(decision).collect();
    json!({"model": model, "verb": verb, "changed": changed, "message": message, "decisions": decisions,
           "allowlist": list})
}

/// An alarm.
#[must_use]
pub fn alarm(alarm: &Alarm) -> Value {
    let mut out = Map::new();
    out.insert("id".to_owned(), json!(alarm.id));
    out.insert("kind".to_owned(), json!(alarm.key.kind));
    out.insert("model".to_owned(), json!(alarm.key.model));
    out.insert("endpoint".to_owned(), json!(alarm.key.endpoint));
    out.insert("capability".to_owned(), json!(alarm.key.capability));
    out.insert("open".to_owned(), json!(alarm.closed_at_us.is_none()));
    out.insert("text".to_owned(), json!(alarm.text));
    put_time(&mut out, "opened_at", Some(alarm.opened_at_us));
    put_time(&mut out, "closed_at", alarm.closed_at_us);
    Value::Object(out)
}

/// A sweep in a list.
#[must_use]
pub fn sweep_summary(record: &SweepRecord) -> Value {
    Value::Object(sweep_map(record))
}

fn sweep_map(record: &SweepRecord) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("id".to_owned(), json!(record.id));
    out.insert("model".to_owned(), json!(record.model));
    out.insert("ordinal".to_owned(), json!(record.ordinal));
    out.insert("kind".to_owned(), json!(record.kind));
    out.insert("state".to_owned(), json!(record.state));
    put_time(&mut out, "planned_at", Some(record.planned_at_us));
    put_time(&mut out, "finished_at", record.finished_at_us);
    out.insert("reserved_usd".to_owned(), json!(record.reserved_nanousd as f64 / NANO));
    out.insert("spent_usd".to_owned(), json!(record.spent_nanousd as f64 / NANO));
    out.insert("note".to_owned(), json!(record.note));
    out
}

/// A sweep with its plan in short (`null` once pruned); the caller adds the progress.
#[must_use]
pub fn sweep_detail(stored: &StoredSweep) -> Map<String, Value> {
    let mut out = sweep_map(&stored.record);
    let plan = stored.plan.as_ref().map(|plan| {
        let parts = |parts: &[SuitePlan]| -> Vec<Value> { parts.iter().map(sweep_part).collect() };
        json!({"seed": plan.seed, "anchors": plan.anchors, "gives_evidence": plan.gives_evidence,
               "attempts": plan.attempts(), "suites": parts(&plan.suites), "aside": parts(&plan.aside)})
    });
    out.insert("plan".to_owned(), json!(plan));
    out
}

fn sweep_part(part: &SuitePlan) -> Value {
    json!({"suite": part.suite, "digest": part.digest, "cases": part.cases.len(), "epochs": part.epochs,
           "endpoints": part.endpoints})
}

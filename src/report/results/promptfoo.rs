//! promptfoo's result file (version 3 of its summary), which its viewer reads.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Outcome, ResultRow};
use crate::clock::rfc3339;
use crate::domain::Micros;

/// Version of promptfoo's summary.
const SUMMARY_VERSION: u32 = 3;
/// The prompt that stands for all: the messages are the case's.
const PROMPT: &str = "{{messages}}";

/// What one endpoint's column counts.
#[derive(Default)]
struct Column {
    pass: u64,
    fail: u64,
    error: u64,
    score: f64,
    latency_ms: f64,
    cost: f64,
    tokens_in: u64,
    tokens_out: u64,
}

impl Column {
    fn add(&mut self, row: &ResultRow) {
        let attempt = &row.stored.attempt;
        match row.outcome() {
            Outcome::Pass => self.pass += 1,
            Outcome::Fail => self.fail += 1,
            Outcome::Error | Outcome::Skipped => self.error += 1,
        }
        self.score += attempt.judgement.score.unwrap_or(0.0);
        self.latency_ms += attempt.total_us as f64 / 1e3;
        self.cost += attempt.cost_nanousd as f64 / 1e9;
        self.tokens_in += attempt.usage.tokens_in.unwrap_or(0);
        self.tokens_out += attempt.usage.tokens_out.unwrap_or(0);
    }

    fn tokens(&self) -> Value {
        tokens(self.tokens_in, self.tokens_out, self.pass + self.fail + self.error)
    }
}

fn tokens(prompt: u64, completion: u64, requests: u64) -> Value {
    json!({"prompt": prompt, "completion": completion, "cached": 0, "total": prompt + completion, "numRequests": requests})
}

/// Attempts as a result file of promptfoo: a column for each endpoint of a model, a row for each case that was asked. What was
/// not judged is an error there, for which promptfoo knows no other word.
#[must_use]
pub fn promptfoo(rows: &[ResultRow], exported_at_us: Micros) -> Value {
    let mut columns: BTreeMap<[String; 2], (usize, Column)> = BTreeMap::new();
    let mut tests: BTreeMap<(String, String, String, u32), usize> = BTreeMap::new();
    for row in rows {
        let key = &row.stored.attempt.key;
        columns.entry([row.stored.model.to_string(), key.endpoint.to_string()]).or_default().1.add(row);
        tests.insert(test_of(row), 0);
    }
    columns.values_mut().enumerate().for_each(|(i, column)| column.0 = i);
    tests.values_mut().enumerate().for_each(|(i, test)| *test = i);
    let mut all = Column::default();
    rows.iter().for_each(|row| all.add(row));
    let results: Vec<Value> = rows
        .iter()
        .map(|row| {
            let key = &row.stored.attempt.key;
            let column = [row.stored.model.to_string(), key.endpoint.to_string()];
            let prompt = columns.get(&column).map_or(0, |column| column.0);
            result(row, prompt, tests.get(&test_of(row)).copied().unwrap_or(0))
        })
        .collect();
    let prompts: Vec<Value> = columns.iter().map(|(names, (_, column))| prompt(names, column)).collect();
    json!({
        "evalId": rows.first().map(|row| format!("exactod-{}", row.stored.attempt.key.sweep)),
        "results": {
            "version": SUMMARY_VERSION,
            "timestamp": rfc3339(exported_at_us),
            "prompts": prompts,
            "results": results,
            "stats": {"successes": all.pass, "failures": all.fail, "errors": all.error, "tokenUsage": all.tokens()},
        },
        "config": {"description": "Attempts of exactod", "prompts": [PROMPT]},
        "shareableUrl": null,
        "metadata": {"exactodVersion": env!("CARGO_PKG_VERSION"), "exportedAt": rfc3339(exported_at_us)},
    })
}

/// Which test a row is a result of.
fn test_of(row: &ResultRow) -> (String, String, String, u32) {
    let key = &row.stored.attempt.key;
    (key.sweep.to_string(), key.suite.to_string(), key.case.to_string(), key.epoch)
}

fn prompt([model, endpoint]: &[String; 2], column: &Column) -> Value {
    let asserts = column.pass + column.fail;
    json!({
        "raw": PROMPT, "label": model, "provider": endpoint,
        "metrics": {
            "score": column.score, "testPassCount": column.pass, "testFailCount": column.fail,
            "testErrorCount": column.error, "assertPassCount": column.pass, "assertFailCount": asserts - column.pass,
            "totalLatencyMs": column.latency_ms, "tokenUsage": column.tokens(), "namedScores": {},
            "namedScoresCount": {}, "cost": column.cost,
        },
    })
}

fn result(row: &ResultRow, prompt: usize, test: usize) -> Value {
    let attempt = &row.stored.attempt;
    let (outcome, score) = (row.outcome(), attempt.judgement.score.unwrap_or(0.0));
    let mut vars = attempt.draw.as_ref().and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
    vars.insert("suite".to_owned(), json!(attempt.key.suite));
    vars.insert("case".to_owned(), json!(attempt.key.case));
    let raw = row.messages.as_ref().map(Value::to_string).unwrap_or_default();
    let cost = attempt.cost_nanousd as f64 / 1e9;
    let usage = tokens(attempt.usage.tokens_in.unwrap_or(0), attempt.usage.tokens_out.unwrap_or(0), 1);
    let failure = match outcome {
        Outcome::Pass => 0,
        Outcome::Fail => 1,
        Outcome::Error | Outcome::Skipped => 2,
    };
    let (success, reason) = (outcome == Outcome::Pass, row.reason());
    let mut out = json!({
        "id": attempt.id, "promptIdx": prompt, "testIdx": test, "promptId": attempt.key.endpoint,
        "provider": {"id": attempt.key.endpoint, "label": attempt.key.endpoint},
        "prompt": {"raw": raw, "label": row.stored.model},
        "vars": vars,
        "testCase": {"description": format!("{} {}", attempt.key.suite, attempt.key.case), "vars": vars, "assert": []},
        "response": {"output": row.output, "tokenUsage": usage, "cost": cost, "finishReason": attempt.finish_reason},
        "success": success, "failureReason": failure, "score": score, "namedScores": {},
        "latencyMs": attempt.total_us as f64 / 1e3, "cost": cost,
        "metadata": {
            "verdict": attempt.judgement.verdict.to_string(), "fault": attempt.judgement.fault,
            "secondaryFaults": attempt.judgement.secondary, "errorType": attempt.judgement.error_type,
            "sweep": attempt.key.sweep, "epoch": attempt.key.epoch, "startedAt": rfc3339(attempt.started_at_us),
        },
    });
    let Value::Object(map) = &mut out else { return out };
    if failure == 2 {
        map.insert("error".to_owned(), json!(reason));
    } else {
        let told = if reason.is_empty() { "All scorers passed".to_owned() } else { reason };
        let grading =
            json!({"pass": success, "score": score, "reason": told, "componentResults": [], "namedScores": {}});
        map.insert("gradingResult".to_owned(), grading);
    }
    out
}

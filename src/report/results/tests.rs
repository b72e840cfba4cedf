use serde_json::json;

use super::*;
use crate::domain::{
    Attempt, AttemptId, AttemptKey, CaseId, EndpointId, Fault, Judgement, ModelId, SuiteName, SweepId, Usage,
};

fn row(number: u8, case: &str, epoch: u32, judgement: Judgement) -> ResultRow {
    let id = |n: u8| uuid::Uuid::from_bytes([n; 16]);
    let attempt = Attempt {
        id: AttemptId(id(number)),
        key: AttemptKey {
            sweep: SweepId(id(9)),
            endpoint: EndpointId::new(if number.is_multiple_of(2) { "birch" } else { "alder" }).unwrap(),
            suite: SuiteName::new("facts").unwrap(),
            case: CaseId::new(case).unwrap(),
            epoch,
        },
        judgement,
        tries: Vec::new(),
        started_at_us: 1_700_000_000_000_000 + i64::from(number),
        ttft_us: None,
        total_us: 1_234_500,
        usage: Usage { tokens_in: Some(10), tokens_out: Some(5), tokens_reasoning: None },
        cost_nanousd: 2_000_000,
        finish_reason: Some("stop".to_owned()),
        draw: Some(json!({"land": "Peru"})),
        observed: None,
        sampled: None,
        transcript: None,
    };
    let stored = StoredAttempt { model: ModelId::new("lab/m").unwrap(), delivered: true, attempt };
    ResultRow { stored, messages: Some(json!([{"role": "user", "content": "Capital?"}])), output: Some(json!("Lima")) }
}

fn rows() -> Vec<ResultRow> {
    let wrong = "expected \"Lima\" & <nothing>, found \u{1}\n\"Oslo\"";
    vec![
        row(1, "a", 0, Judgement::pass(1.0)),
        row(3, "a", 1, Judgement::fail(Fault::WrongAnswer, 0.25, "equals:mismatch", wrong)),
        row(2, "a", 0, Judgement::undelivered(Fault::RateLimited, "429")),
        row(4, "a", 1, Judgement::unscored(UnscoredWhy::Ours, "judge missing")),
    ]
}

#[test]
fn build_servers_read_junit() {
    insta::assert_snapshot!(junit(&rows()));
    assert!(junit(&[]).contains("tests=\"0\""));
}

#[test]
fn promptfoo_reads_its_own_form() {
    let file = promptfoo(&rows(), 1_700_000_100_000_000);
    insta::assert_snapshot!(serde_json::to_string_pretty(&file).unwrap());
    let results = file["results"]["results"].as_array().unwrap();
    let at: Vec<(u64, u64)> =
        results.iter().map(|r| (r["promptIdx"].as_u64().unwrap(), r["testIdx"].as_u64().unwrap())).collect();
    assert_eq!(at, [(0, 0), (0, 1), (1, 0), (1, 1)], "columns are endpoints, rows are tests");
    assert_eq!(promptfoo(&[], 0)["results"]["results"], json!([]));
}

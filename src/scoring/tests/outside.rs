//! Scorers that look beyond the answer: what it took to get it, and what a program of the operator says of it.

use serde_json::{Value, json};

use super::super::Judge;
use super::{completion, instance};
use crate::domain::{Completion, Fault, ProgramOutputs, ProgramRun, Testimony, Took, UnscoredWhy, Verdict};
use crate::scoring::PreparedCase;

fn prepared(scorers: Value) -> PreparedCase {
    Judge::new().prepare(&instance(&json!({"scorers": scorers}))).unwrap()
}

fn answered(took: Took) -> Completion {
    Completion { took, ..completion(&json!({"content": "Oslo"})) }
}

#[test]
fn latency_and_cost_hold_up_to_their_bounds() {
    let case = prepared(json!([{"type": "latency", "max_ms": 1500}, {"type": "cost", "max_usd": 0.002}]));
    let judged = |total_us, cost_nanousd| {
        case.judge(&answered(Took { total_us: Some(total_us), ttft_us: None, cost_nanousd: Some(cost_nanousd) }))
    };
    assert_eq!(judged(1_500_000, 2_000_000).verdict, Verdict::Pass);
    let slow = judged(1_500_001, 0);
    assert_eq!((slow.verdict, slow.score), (Verdict::Fail(Fault::WrongAnswer), Some(0.5)));
    assert_eq!(slow.error_type.as_deref(), Some("latency:too_slow"));
    assert_eq!(judged(0, 2_000_001).error_type.as_deref(), Some("cost:too_high"));
    let first = prepared(json!([{"type": "latency", "max_ms": 200, "of": "first_token"}]));
    let took = |ttft_us| Took { total_us: Some(9_000_000), ttft_us, cost_nanousd: None };
    assert_eq!(first.judge(&answered(took(Some(200_000)))).verdict, Verdict::Pass);
    assert_eq!(first.judge(&answered(took(Some(200_001)))).verdict, Verdict::Fail(Fault::WrongAnswer));
    assert_eq!(first.judge(&answered(took(None))).verdict, Verdict::Unscored(UnscoredWhy::Ours));
}

#[test]
fn facts_that_are_not_known_give_no_verdict() {
    for scorer in [json!({"type": "latency", "max_ms": 1e9}), json!({"type": "cost", "max_usd": 1e9})] {
        let case = prepared(json!([scorer]));
        let judgement = case.judge(&answered(Took::default()));
        assert_eq!((judgement.verdict, judgement.score), (Verdict::Unscored(UnscoredWhy::Ours), None));
        assert!(judgement.explanation.contains("is not known"), "{judgement:?}");
        assert_eq!(case.judge(&answered(Took::NOTHING)).verdict, Verdict::Pass);
        // What the implicit checks found stands.
        let empty = Completion { took: Took::default(), ..completion(&json!({"content": ""})) };
        assert_eq!(case.judge(&empty).verdict, Verdict::Fail(Fault::EmptyAnswer));
    }
    for broken in [json!({"type": "latency", "max_ms": -1}), json!({"type": "cost", "max_usd": -0.1})] {
        assert!(Judge::new().prepare(&instance(&json!({"scorers": [broken]}))).is_err(), "{broken}");
    }
}

fn program() -> PreparedCase {
    Judge::new()
        .prepare(&instance(&json!({
            "expected": {"capital": "Oslo"},
            "scorers": [{"type": "length", "max_words": 9}, {"type": "exec", "program": "grader", "version": "1"}],
        })))
        .unwrap()
}

fn judged(output: Result<&str, &str>) -> crate::domain::Judgement {
    let outputs = ProgramOutputs::from([(0, output.map(str::to_owned).map_err(str::to_owned))]);
    program().judge_with(&answered(Took::default()), &Testimony { outputs, ..Testimony::default() })
}

#[test]
fn a_program_is_told_the_case_and_the_answer() {
    let runs = program().runs(&answered(Took::default()));
    let [ProgramRun { scorer: 0, program, input }] = runs.as_slice() else { panic!("{runs:?}") };
    assert_eq!(program, "grader");
    assert!(input.ends_with('\n') && input.trim_end().lines().count() == 1, "one line");
    let told: Value = serde_json::from_str(input).unwrap();
    assert_eq!((&told["version"], &told["case"]["expected"]["capital"]), (&json!(1), &json!("Oslo")));
    assert_eq!(told["completion"]["content"], "Oslo");
    let empty = completion(&json!({"content": ""}));
    assert!(self::program().runs(&empty).is_empty(), "an answer that fails without it");
}

#[test]
fn a_programs_output_is_read_as_that_of_a_custom_scorer() {
    assert_eq!(judged(Ok("true\n")).verdict, Verdict::Pass);
    assert_eq!(judged(Ok("{\"score\": 1}")).verdict, Verdict::Pass);
    let half = judged(Ok("0.5"));
    assert_eq!((half.verdict, half.score), (Verdict::Fail(Fault::WrongAnswer), Some(0.75)));
    assert_eq!(half.error_type.as_deref(), Some("exec:failed"));
    let named = judged(Ok("{\"score\": 0, \"reason\": \"not polite\", \"error_type\": \"tone:rude\"}"));
    assert_eq!(named.error_type.as_deref(), Some("tone:rude"));
    assert!(named.explanation.contains("not polite"), "{named:?}");
}

#[test]
fn a_program_that_says_nothing_of_use_leaves_the_answer_unscored() {
    for output in
        [Err("it ended with exit status: 1"), Ok(""), Ok("yes"), Ok("2"), Ok("{\"score\": 1, \"x\": 2}"), Ok("[]")]
    {
        let judgement = judged(output);
        assert_eq!((judgement.verdict, judgement.score), (Verdict::Unscored(UnscoredWhy::Ours), None), "{output:?}");
        assert!(judgement.explanation.contains("the program `grader`"), "{judgement:?}");
    }
    let not_run = program().judge(&answered(Took::default()));
    assert_eq!(not_run.verdict, Verdict::Unscored(UnscoredWhy::Ours));
}

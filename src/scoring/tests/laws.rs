//! Laws that hold for every answer: no panic, the same answer the same Judgement, the invariants of a Judgement.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::domain::{Testimony, Took, Verdict};
use crate::scoring::PreparedCase;

/// Cases that together use every scorer kind.
static CASES: LazyLock<Vec<PreparedCase>> = LazyLock::new(|| {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    let texts = json!([
        {"type": "equals", "value": "a"}, {"type": "icontains", "any": ["a", "ß"]}, {"type": "regex", "pattern": "a+b"},
        {"type": "starts-with", "value": "é"}, {"type": "number", "number": 3}, {"type": "choice", "choice": "B"},
        {"type": "length", "max_words": 5, "min_chars": 1, "max_lines": 3}, {"type": "count", "pattern": "\\w", "max": 3},
        {"type": "answer-in-text", "answers": ["a b", "的"]}, {"type": "levenshtein", "value": "abc", "max": 3},
        {"type": "stop", "sequences": ["b"]}, {"type": "needle", "answers": ["x"], "min_prompt_tokens": 5},
        {"type": "script", "script": "Kana"}, {"type": "json"}, {"type": "json-schema", "schema": schema, "json": {"a": 1}},
        {"type": "finish-reason", "finish_reason": "stop"}, {"type": "leak"}, {"type": "tool-schema"},
        {"type": "ifeval", "mode": "loose", "instructions": [{"id": "punctuation:no_comma"}, {"id": "startend:quotation"}]}
    ]);
    let cases = [
        one_call(),
        with(&two_calls(), &json!({"request": {"tool_choice": "required", "max_tokens": 100}})),
        with(&text_case(), &json!({"tools": tools(), "request": {"tool_choice": "none"}})),
        json!({"scorers": [{"type": "group", "threshold": 0.4, "scorers": texts}]}),
        json!({"scorers": texts}),
        json!({"tools": tools(), "scorers": [{"type": "parallel-calls", "min_calls": 2}, {"type": "tool-choice"},
            {"type": "tool-calls", "mode": "ordered", "threshold": 0.5, "calls": [
                {"name": "list_notes"}, {"name": "get_weather", "arguments": {"city": {"$regex": "O"}}, "extra": true}]}]}),
    ];
    let judge = Judge::new();
    cases.iter().map(|c| judge.prepare(&instance(c)).unwrap_or_else(|e| panic!("{c}: {e}"))).collect()
});

/// Text near the edges of every check, or anything at all.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<|".to_owned()),
        Just("|>".to_owned()),
        Just("<tool_call>".to_owned()),
        Just("◁think▷".to_owned()),
        Just("<｜".to_owned()),
        Just("```".to_owned()),
        Just("{\"a\": 1}".to_owned()),
        Just("\\boxed{B}".to_owned()),
        Just("answer is ".to_owned()),
        Just("-$1,234.5e".to_owned()),
        Just("1,".to_owned()),
        Just("的".to_owned()),
        Just("กา".to_owned()),
        Just("é".to_owned()),
        Just("İ".to_owned()),
        Just("ﬃ".to_owned()),
        Just("Oslo".to_owned()),
        Just("a b ".repeat(30)),
        Just("ab".repeat(80)),
        Just("\u{fffd}".to_owned()),
        Just("\u{202f}".to_owned()),
        Just("\n".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop_oneof![any::<String>(), prop::collection::vec(piece, 0..12).prop_map(|p| p.concat())]
}

fn any_arguments() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(Some(r#"{"city": "Oslo", "days": 3}"#.to_owned())),
        Just(Some(r#"{"city": "Oslo"}"#.to_owned())),
        Just(Some("{}".to_owned())),
        Just(Some(r#""{\"city\": \"Oslo\"}""#.to_owned())),
        Just(Some("[".repeat(500))),
        Just(None),
        any_text().prop_map(Some),
        any_text().prop_map(|t| Some(json!({"city": t}).to_string())),
    ]
}

fn any_call() -> impl Strategy<Value = ToolCall> {
    let name = prop_oneof![Just("get_weather".to_owned()), Just("list_notes".to_owned()), any_text()];
    (proptest::option::of(any_text()), name, any_arguments(), any::<bool>())
        .prop_map(|(id, name, arguments, arguments_as_value)| ToolCall { id, name, arguments, arguments_as_value })
}

fn any_reason() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(Some("stop".to_owned())),
        Just(Some("length".to_owned())),
        Just(Some("tool_calls".to_owned())),
        Just(None),
        any_text().prop_map(Some),
    ]
}

fn any_completion() -> impl Strategy<Value = Completion> {
    let texts = (proptest::option::of(any_text()), proptest::option::of(any_text()), proptest::option::of(any_text()));
    let tokens = (any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>());
    let breach = (0..Fault::ALL.len()).prop_map(|at| Breach { fault: Fault::ALL[at], what: "seen".to_owned() });
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (texts, prop::collection::vec(any_call(), 0..4), any_reason(), tokens, prop::collection::vec(breach, 0..3), flags)
        .prop_map(|((content, refusal, reasoning), tool_calls, finish_reason, (i, o, r), breaches, flags)| Completion {
            content,
            refusal,
            reasoning,
            tool_calls,
            tool_calls_present: flags.0,
            finish_reason,
            usage: Usage { tokens_in: i, tokens_out: o, tokens_reasoning: r },
            breaches,
            ambiguous_calls: flags.1,
            truncated: flags.2,
            ..Completion::default()
        })
}

fn check_invariants(judgement: &Judgement) -> Result<(), TestCaseError> {
    let score = judgement.score.ok_or_else(|| TestCaseError::fail("no score"))?;
    prop_assert!((0.0..=1.0).contains(&score));
    prop_assert!(judgement.secondary.windows(2).all(|w| w[0] < w[1]), "{:?}", judgement.secondary);
    match judgement.verdict {
        Verdict::Pass => prop_assert!(judgement.fault.is_none() && judgement.error_type.is_none()),
        Verdict::Fail(fault) => {
            prop_assert_eq!(judgement.fault, Some(fault));
            prop_assert!(judgement.error_type.is_some() && !judgement.explanation.is_empty());
            prop_assert!(!judgement.secondary.contains(&fault));
        }
        Verdict::Unscored(_) => prop_assert!(false, "a Completion is always scored"),
    }
    prop_assert!(!judgement.secondary.contains(&Fault::WrongAnswer));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_answer_gets_one_and_the_same_judgement(answer in any_completion()) {
        for case in CASES.iter() {
            let first = case.judge(&answer);
            prop_assert_eq!(&first, &case.judge(&answer));
            check_invariants(&first)?;
        }
    }

    #[test]
    fn the_order_of_calls_does_not_change_an_unordered_verdict(answer in any_completion(), turn in 0..4_usize) {
        let mut turned = answer.clone();
        turned.tool_calls.reverse();
        let by = turn % turned.tool_calls.len().max(1);
        turned.tool_calls.rotate_left(by);
        for case in &CASES[..3] {
            let (first, second) = (case.judge(&answer), case.judge(&turned));
            prop_assert_eq!((first.verdict, first.score, first.secondary), (second.verdict, second.score, second.secondary));
        }
    }

    #[test]
    fn any_scorer_table_compiles_or_is_refused(kind in 0..crate::scoring::kinds::KINDS.len(), value in any_text(), n in any::<f64>()) {
        let kind = &crate::scoring::kinds::KINDS[kind];
        for option in [json!(value), json!(n), json!([value]), json!({"$regex": value}), json!(null), json!([{"name": value}])] {
            let options: Map<String, Value> = kind.keys.iter().map(|(k, _)| ((*k).to_owned(), option.clone())).collect();
            let spec = ScorerSpec { kind: kind.name.to_owned(), options };
            let problems = super::super::check_spec(&spec);
            prop_assert!(problems.iter().all(|p| !p.message.is_empty()));
            let mut instance = instance(&json!({}));
            instance.scorers = Arc::from([spec]);
            if let Ok(prepared) = Judge::new().prepare(&instance) {
                prop_assert!(problems.is_empty(), "{:?}", problems);
                let answer = Completion { took: Took::NOTHING, ..completion(&json!({"content": "a 1"})) };
                let outputs = prepared.runs(&answer).iter().map(|run| (run.scorer, Ok("true".to_owned()))).collect();
                check_invariants(&prepared.judge_with(&answer, &Testimony { outputs, ..Testimony::default() }))?;
            }
        }
    }
}

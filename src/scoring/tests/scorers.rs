//! Each scorer kind: passes what is right, fails what is wrong, by the right name; weights, thresholds, broken cases.

use super::*;
use Fault::*;

use crate::domain::{UnscoredWhy, Verdict};

/// Judges a text under one scorer: its error type, empty when it passes.
fn under(scorer: &Value, content: &str) -> String {
    let case = json!({"scorers": [scorer]});
    judge(&case, &json!({"content": content})).error_type.unwrap_or_default()
}

fn table(scorer: Value, rows: &[(&str, &str)]) {
    for (content, expected) in rows {
        assert_eq!(under(&scorer, content), *expected, "{scorer} on {content:?}");
    }
}

#[test]
fn instructions_are_counted_and_those_not_followed_are_named() {
    let instructions =
        json!([{"id": "punctuation:no_comma"}, {"id": "startend:quotation", "kwargs": {"num_words": null}}]);
    let strict = json!({"type": "ifeval", "instructions": instructions});
    table(
        strict.clone(),
        &[("\"fine\"", ""), ("Here:\n\"fine\"", "ifeval:not_followed"), ("a, b", "ifeval:not_followed")],
    );
    table(json!({"type": "ifeval", "mode": "loose", "instructions": instructions}), &[("Here:\n\"fine\"", "")]);
    table(
        json!({"type": "ifeval", "threshold": 0.5, "instructions": instructions}),
        &[("fine", ""), ("a, b", "ifeval:not_followed")],
    );
    let half = judge(&json!({"scorers": [strict]}), &json!({"content": "no quotes"}));
    assert_eq!((half.verdict, half.score), (Verdict::Fail(WrongAnswer), Some(0.5)));
    let expected = "1 of 2 instructions followed; not followed: startend:quotation; followed: punctuation:no_comma";
    assert_eq!(half.explanation, expected);
    let unknown = json!({"scorers": [{"type": "ifeval"}], "expected": {"instructions": [{"id": "made:up"}]}});
    let broken = Judge::new().prepare(&instance(&unknown)).err().unwrap().to_string();
    assert!(broken.contains("`made:up` is not implemented"), "{broken}");
}

#[test]
fn no_call_is_due_where_none_is_said() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let call = json!({"calls": [{"name": "f", "arguments": "{}"}]});
    for case in [
        json!({"tools": tools, "scorers": [{"type": "tool-calls", "none": true}]}),
        json!({"tools": tools, "scorers": [{"type": "tool-calls", "mode": "subset"}], "expected": {"none": true}}),
    ] {
        assert_eq!(judge(&case, &json!({"content": "Cold."})).verdict, Verdict::Pass, "{case}");
        let called = judge(&case, &call);
        assert_eq!(called.verdict, Verdict::Fail(WrongAnswer), "{case}");
        assert_eq!(called.error_type.as_deref(), Some("tool_calls:unexpected_call"));
    }
}

#[test]
fn a_number_of_400_digits_is_a_number() {
    let case = json!({"scorers": [{"type": "number", "number": 7}]});
    let judged = judge(&case, &json!({"content": format!("It is {}.", "9".repeat(400))}));
    assert_eq!(judged.error_type.as_deref(), Some("number:mismatch"));
    assert!(judged.explanation.contains("too large for a 64-bit number"), "{}", judged.explanation);
}

#[test]
fn text_kinds() {
    table(json!({"type": "equals", "value": "Oslo"}), &[(" Oslo\n", ""), ("oslo", "equals:mismatch")]);
    table(
        json!({"type": "equals", "value": "Oslo", "ignore_case": true}),
        &[("OSLO", ""), ("Os lo", "equals:mismatch")],
    );
    table(json!({"type": "equals", "value": "Oslo", "trim": false}), &[("Oslo", ""), ("Oslo ", "equals:mismatch")]);
    table(json!({"type": "equals", "value": 42}), &[("42", ""), ("43", "equals:mismatch")]);
    table(json!({"type": "contains", "value": "slo"}), &[("Oslo", ""), ("OSLO", "contains:missing")]);
    table(json!({"type": "icontains", "any": ["SLO", "x"]}), &[("Oslo", ""), ("Rome", "contains:missing")]);
    table(json!({"type": "contains", "all": ["a", "b"]}), &[("ab", ""), ("a", "contains:missing")]);
    table(json!({"type": "not-contains", "any": ["a", "b"]}), &[("cd", ""), ("ca", "text:forbidden")]);
    table(json!({"type": "regex", "pattern": "^\\d{3}$"}), &[("123", ""), ("1234", "regex:no_match")]);
    table(json!({"type": "not-regex", "pattern": "(?i)sorry"}), &[("fine", ""), ("Sorry!", "text:forbidden")]);
    table(json!({"type": "starts-with", "value": "Dear"}), &[("\nDear all", ""), ("Oh Dear", "starts_with:mismatch")]);
    table(
        json!({"type": "number", "number": 1234.5}),
        &[("= 1,234.50", ""), ("1234", "number:mismatch"), ("?", "number:none")],
    );
    table(json!({"type": "number", "number": "10", "tolerance": 0.5}), &[("10.5", ""), ("10.6", "number:mismatch")]);
    table(
        json!({"type": "choice", "choice": "b"}),
        &[("(B)", ""), ("The answer is C.", "choice:mismatch"), ("hm", "choice:none")],
    );
    table(
        json!({"type": "length", "min_words": 2, "max_words": 3}),
        &[("a b", ""), ("a", "length:too_short"), ("a b c d", "length:too_long")],
    );
    table(json!({"type": "length", "max_chars": 3}), &[("äöü", ""), ("äöüß", "length:too_long")]);
    table(json!({"type": "length", "min_lines": 2, "max_lines": 2}), &[("a\n\nb", ""), ("a b", "length:too_short")]);
    table(
        json!({"type": "count", "pattern": "- ", "min": 2, "max": 2}),
        &[("- a - b", ""), ("- a", "count:too_few"), ("- - - ", "count:too_many")],
    );
    table(
        json!({"type": "answer-in-text", "answers": ["New York", "NYC"]}),
        &[("It is NEW YORK, yes", ""), ("in n.y.c.", ""), ("New Yorker", "answer_in_text:absent")],
    );
    table(
        json!({"type": "answer-in-text", "answers": ["4711"]}),
        &[("Code: (4711)", ""), ("47110", "answer_in_text:absent")],
    );
    let long = (0..9000).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    table(
        json!({"type": "levenshtein", "value": "kitten", "max": 2}),
        &[("mitten", ""), ("sitting", "levenshtein:too_far"), (&long, "levenshtein:too_far")],
    );
}

#[test]
fn fault_kinds() {
    table(json!({"type": "json"}), &[("[1]", ""), ("{'a': 1}", "json:not_json")]);
    table(json!({"type": "json", "strip_fences": "none"}), &[("{}", ""), ("```json\n{}\n```", "json:not_json")]);
    table(
        json!({"type": "json-schema", "schema": {"type": "string", "format": "date"}}),
        &[("\"2024-02-29\"", ""), ("\"soon\"", "json:schema")],
    );
    table(json!({"type": "stop", "sequences": ["\n\n"]}), &[("a\nb", ""), ("a\n\nb", "stop:overrun")]);
    table(json!({"type": "leak"}), &[("fine", ""), ("<think>", "leak:reasoning_markup")]);
    let parallel = json!({"tools": tools(), "scorers": [{"type": "parallel-calls", "min_calls": 2}]});
    let judgement = judge(&parallel, &right_call());
    assert_eq!((judgement.fault, judgement.score), (Some(MissingCall), Some(0.5)));
    let finish = json!({"scorers": [{"type": "finish-reason"}], "expected": {"finish_reason": "length"}});
    assert_eq!(judge(&finish, &json!({"content": "x", "finish": "length"})).fault, None);
    assert_eq!(judge(&finish, &json!({"content": "x", "finish": "stop"})).fault, Some(WrongFinishReason));
}

#[test]
fn implicit_checks_by_name() {
    for (kind, case, answer, fault) in [
        ("tool-schema", json!({"tools": tools()}), json!({"calls": [weather(&json!("{}"))]}), SchemaMismatch),
        (
            "tool-choice",
            json!({"tools": tools(), "request": {"tool_choice": "required"}}),
            json!({"content": "x"}),
            ToolChoiceIgnored,
        ),
        ("leak", json!({}), json!({"content": "<think>x"}), MarkupLeak),
    ] {
        let judgement = judge(&with(&case, &json!({"scorers": [{"type": kind}]})), &answer);
        assert_eq!((judgement.fault, judgement.score), (Some(fault), Some(0.0)), "{kind}");
        assert_eq!(judge(&case, &answer).fault, Some(fault), "{kind} holds without a scorer");
    }
}

#[test]
fn weights_and_thresholds() {
    let case = |scorers: Value| json!({"scorers": scorers});
    let half = case(
        json!([{"type": "contains", "all": ["a", "b"], "threshold": 0.5, "weight": 3}, {"type": "regex", "pattern": "a"}]),
    );
    let judgement = judge(&half, &json!({"content": "a"}));
    assert_eq!((judgement.fault, judgement.score), (None, Some(0.625)));
    let judgement = judge(&half, &json!({"content": "b"}));
    assert_eq!((judgement.fault, judgement.score), (Some(WrongAnswer), Some(0.375)));
    let weightless = case(json!([{"type": "contains", "value": "a", "weight": 0}]));
    assert_eq!(judge(&weightless, &json!({"content": "a"})).score, Some(1.0));
    assert_eq!(judge(&weightless, &json!({"content": "b"})).score, Some(0.0));
    assert_eq!(judge(&json!({}), &json!({"content": "b"})).score, Some(1.0));
}

#[test]
fn of_several_scorers_each_says_what_it_makes_of_an_answer() {
    let told = |case: Value, answer: Value| -> Vec<(String, f64, bool, Option<String>, bool)> {
        let judgement = judge(&case, &answer);
        let each = judgement.scorers.into_iter();
        each.map(|r| (r.kind, r.value, r.passed, r.error_type, r.reason.is_empty())).collect()
    };
    assert_eq!(told(text_case(), json!({"content": "Bergen"})), [], "the verdict tells of a single one");
    let several = json!({"scorers": [
        {"type": "contains", "value": "a"},
        {"type": "group", "threshold": 0.5, "scorers": [
            {"type": "contains", "value": "b"}, {"type": "starts-with", "value": "a", "weight": 3}]},
        {"type": "leak"}]});
    let leaking = json!({"content": "a <tool_call>{\"name\": \"x\"}</tool_call>"});
    let found = told(several, leaking);
    let line = |kind: &str, value: f64, passed: bool, error: Option<&str>| {
        (kind.to_owned(), value, passed, error.map(str::to_owned), error.is_none())
    };
    let expected = [
        line("contains", 1.0, true, None),
        line("group/contains", 0.0, false, Some("contains:missing")),
        line("group/starts-with", 1.0, true, None),
        line("group", 0.75, true, None),
        line("leak", 0.0, false, Some("leak:tool_markup")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn groups() {
    let group = |over: Value| {
        let children =
            json!([{"type": "contains", "value": "a"}, {"type": "contains", "value": "b"}, {"type": "leak"}]);
        json!({"scorers": [with(&json!({"type": "group", "scorers": children}), &over)]})
    };
    assert_eq!(judge(&group(json!({})), &json!({"content": "ab"})).fault, None);
    let failed = judge(&group(json!({})), &json!({"content": "a"}));
    assert_eq!((failed.fault, failed.error_type.as_deref()), (Some(WrongAnswer), Some("contains:missing")));
    assert!((failed.score.unwrap() - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!(judge(&group(json!({"threshold": 0.6})), &json!({"content": "a"})).fault, None);
    assert_eq!(judge(&group(json!({"threshold": 0.7})), &json!({"content": "a"})).fault, Some(WrongAnswer));
    let low = json!({"scorers": [{"type": "group", "threshold": 0.9,
        "scorers": [{"type": "contains", "all": ["a", "b"], "threshold": 0.5}]}]});
    assert_eq!(judge(&low, &json!({"content": "a"})).error_type.as_deref(), Some("group:below_threshold"));
}

#[test]
fn own_options_go_before_expected() {
    let case = json!({"scorers": [{"type": "equals", "value": "a"}], "expected": {"value": "b", "ignore_case": true}});
    assert_eq!(judge(&case, &json!({"content": "A"})).fault, None);
    let one_of = json!({"scorers": [{"type": "contains", "value": "a"}], "expected": {"all": ["b"]}});
    assert_eq!(judge(&one_of, &json!({"content": "a"})).fault, None);
    let shared = json!({"scorers": [{"type": "leak"}], "expected": {"threshold": 0, "weight": "x"}});
    assert_eq!(judge(&shared, &json!({"content": "a"})).fault, None);
}

#[test]
fn a_broken_case_is_our_error() {
    for (case, words) in [
        (json!({"scorers": [{"type": "made-up"}]}), "no such scorer"),
        (json!({"scorers": [{"type": "equals"}]}), "needs `value`"),
        (json!({"scorers": [{"type": "equals", "value": "a", "valeu": 1}]}), "no option `valeu`"),
        (json!({"scorers": [{"type": "regex", "pattern": "("}]}), "regular expression"),
        (json!({"scorers": [{"type": "json-schema"}]}), "no schema"),
        (json!({"scorers": [{"type": "json-schema", "schema": {"type": "text"}}]}), "does not compile"),
        (json!({"scorers": [{"type": "stop"}]}), "no stop sequence"),
        (json!({"scorers": [{"type": "count", "pattern": "a"}]}), "`min`, `max`"),
        (json!({"scorers": [{"type": "choice", "choice": "ab"}]}), "one letter"),
        (json!({"scorers": [{"type": "length", "min_words": 3, "max_words": 2}]}), "at least"),
        (json!({"scorers": [{"type": "answer-in-text", "answers": ["--"]}]}), "nothing remains"),
        (json!({"scorers": [{"type": "number", "number": 1, "tolerance": -1}]}), "from 0"),
        (json!({"scorers": [{"type": "leak", "weight": -1}]}), "from 0"),
        (json!({"tools": [{"type": "function", "function": {}}]}), "function.name"),
        (json!({"tools": [{"function": {"name": "f"}}, {"function": {"name": "f"}}]}), "twice"),
        (json!({"tools": tools(), "request": {"tool_choice": "always"}}), "tool_choice"),
        (json!({"tools": tools(), "request": {"tool_choice": {"function": {"name": "x"}}}}), "not among"),
    ] {
        let error = prepare_error(&case).to_string();
        assert!(error.contains(words), "{case}: {error}");
    }
}

#[test]
fn a_schema_that_does_not_compile_is_our_error_when_it_is_called_for() {
    let case = json!({"tools": [{"function": {"name": "f", "parameters": {"$ref": "https://example.com/x"}}}]});
    let judgement = judge(&case, &json!({"calls": [{"name": "f", "arguments": "{}"}]}));
    assert_eq!(judgement.verdict, Verdict::Unscored(UnscoredWhy::Ours));
    assert!(judgement.explanation.contains("does not compile"), "{}", judgement.explanation);
}

#[test]
fn explanations_say_what_was_expected_and_what_came() {
    let wrong = judge(&one_call(), &json!({"calls": [weather(&json!(r#"{"city":"Rome","days":3}"#))]}));
    assert_eq!(wrong.explanation, r#"argument "city" of "get_weather" should be "Oslo" and is "Rome""#);
    let long = judge(&text_case(), &json!({"content": "x".repeat(100_000)}));
    assert!(long.explanation.chars().count() <= super::super::finding::EXPLANATION_CHARS_MAX + 1);
    let noted = judge(&one_call(), &with(&right_call(), &json!({"finish": "stop"})));
    assert_eq!(noted.explanation, "Passed, but the finish reason is \"stop\" though calls came");
}

#[test]
fn judges_and_cases_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Judge>();
    shared::<super::super::PreparedCase>();
    let judge = Judge::new();
    let instance = instance(&one_call());
    let faults: Vec<Option<Fault>> = std::thread::scope(|scope| {
        let one = || judge.prepare(&instance).unwrap().judge(&completion(&right_call())).fault;
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(faults, vec![None; 4]);
}

//! Custom scorers: a file of the suite judges.

use serde_json::{Value, json};

use super::{completion, instance, prepare_error};
use crate::domain::{Fault, Judgement, UnscoredWhy, Verdict};
use crate::scoring::Judge;

fn judged(source: &str, answer: &Value) -> Judgement {
    let case = json!({
        "files": {"own.star": source}, "expected": {"wanted": "blue"}, "metadata": {"n": 3},
        "scorers": [{"type": "starlark", "file": "own.star"}],
    });
    Judge::new().prepare(&instance(&case)).unwrap().judge(&completion(answer))
}

fn says(text: &str) -> Value {
    json!({"content": text})
}

#[test]
fn the_result_is_the_score() {
    let source = "def score(case, completion):\n    return completion['content'] == case['expected']['wanted']\n";
    assert_eq!(judged(source, &says("blue")).verdict, Verdict::Pass);
    let wrong = judged(source, &says("red"));
    assert_eq!(
        (wrong.verdict, wrong.error_type.as_deref()),
        (Verdict::Fail(Fault::WrongAnswer), Some("starlark:failed"))
    );
    let half = judged("def score(case, completion):\n    return 0.5\n", &says("x"));
    assert_eq!((half.verdict, half.score), (Verdict::Fail(Fault::WrongAnswer), Some(0.5)));
    let told =
        "def score(case, completion):\n    return {'score': 0, 'reason': 'too blue', 'error_type': 'hue:blue'}\n";
    let told = judged(told, &says("blue"));
    assert_eq!((told.error_type.as_deref(), told.explanation.as_str()), (Some("hue:blue"), "too blue"));
}

#[test]
fn it_sees_the_calls_and_the_case() {
    let source = "def score(case, completion):\n    call = completion['tool_calls'][0]\n    return call['parsed']['n'] == case['metadata']['n'] and call['arguments'] == '{\"n\":3}' and completion['finish_reason'] == 'tool_calls'\n";
    let case = json!({
        "files": {"own.star": source}, "metadata": {"n": 3}, "scorers": [{"type": "starlark", "file": "own.star"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    });
    let mut drawn = instance(&case);
    let metadata = case.get("metadata").map(crate::domain::Json::from);
    std::sync::Arc::make_mut(&mut drawn.case).metadata = metadata;
    let judge = Judge::new().prepare(&drawn).unwrap();
    let answer = completion(&json!({"calls": [{"name": "f", "arguments": "{\"n\":3}"}]}));
    assert_eq!(judge.judge(&answer).verdict, Verdict::Pass);
}

#[test]
fn a_scorer_that_breaks_leaves_the_answer_unscored() {
    for (body, word) in [
        ("fail('no idea')", "no idea"),
        ("return completion['nothing']", "nothing"),
        ("return 1 / 0", "line 2"),
        ("return 2", "from 0 to 1"),
        ("return None", "from 0 to 1"),
        ("return 'yes'", "from 0 to 1"),
        ("return {'reason': 'x'}", "no `score`"),
        ("return {'score': 1, 'why': 'x'}", "`why`"),
        ("return {'score': 0, 'error_type': 'two words'}", "characters"),
        ("return [x for x in range(1000000) for y in range(1000000)]", "limit"),
        ("return 'a' * 1000000000", "limit"),
        ("return score(case, completion)", "stack"),
        ("return completion", "no `score`"),
    ] {
        let source = format!("def score(case, completion):\n    {body}\n");
        let judgement = judged(&source, &says("x"));
        assert_eq!(judgement.verdict, Verdict::Unscored(UnscoredWhy::Ours), "{body}: {judgement:?}");
        assert!(judgement.explanation.contains(word), "{body}: {}", judgement.explanation);
        assert!(judgement.explanation.contains("own.star:score"), "{}", judgement.explanation);
    }
}

#[test]
fn what_the_implicit_checks_find_stands_whatever_the_scorer_does() {
    let source = "def score(case, completion):\n    fail('tripped')\n";
    let judgement = judged(source, &says("<tool_call>{}</tool_call>"));
    assert_eq!(judgement.verdict, Verdict::Fail(Fault::MarkupLeak));
}

#[test]
fn a_scorer_that_is_not_there_is_told_of() {
    for (files, spec, word) in [
        (json!({}), json!({"type": "starlark", "file": "own.star"}), "no file `own.star`"),
        (
            json!({"own.star": "def other(a, b):\n    return 1\n"}),
            json!({"type": "starlark", "file": "own.star"}),
            "score(case, completion)",
        ),
        (
            json!({"own.star": "def score(a):\n    return 1\n"}),
            json!({"type": "starlark", "file": "own.star"}),
            "score(case, completion)",
        ),
        (json!({"own.star": "def score(a, b:\n"}), json!({"type": "starlark", "file": "own.star"}), "own.star"),
        (json!({}), json!({"type": "starlark"}), "`file`"),
    ] {
        let error = prepare_error(&json!({"files": files, "scorers": [spec.clone()]})).to_string();
        assert!(error.contains(word), "{spec}: {error}");
    }
}

#[test]
fn another_function_and_a_group_may_be_asked() {
    let source = "def tone(case, completion):\n    return 1.0\ndef length(case, completion):\n    return len(completion['content']) < 3\n";
    let group = json!([{"type": "group", "scorers": [
        {"type": "starlark", "file": "own.star", "function": "tone"},
        {"type": "starlark", "file": "own.star", "function": "length"},
    ]}]);
    let judge = Judge::new().prepare(&instance(&json!({"files": {"own.star": source}, "scorers": group}))).unwrap();
    assert_eq!(judge.judge(&completion(&says("ab"))).verdict, Verdict::Pass);
    assert_eq!(judge.judge(&completion(&says("abc"))).verdict, Verdict::Fail(Fault::WrongAnswer));
}

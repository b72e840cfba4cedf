//! Suites of other tools through the front door: imported, checked, shown; what cannot be taken over is told.

use std::path::Path;

use serde_json::Value;

use crate::world::{Ran, exactod};

async fn run(dir: &Path, args: &[&str]) -> Ran {
    Ran::of(exactod().current_dir(dir).args(args)).await
}

/// One source of each kind: its kind, file, text, and how many cases come of it.
const SOURCES: &[(&str, &str, &str, usize)] = &[
    (
        "k2vv",
        "k2.jsonl",
        r#"{"model":"m","messages":[{"role":"_input","content":"x"},{"role":"user","content":"Weather?"}],"tools":[{"type":"function","function":{"name":"w","parameters":{"type":"object"}}}],"user":"u"}"#,
        1,
    ),
    (
        "promptfoo",
        "pf.yaml",
        "prompts: ['Say {{word}}']\ntests:\n  - vars: {word: [hi, ho]}\n    assert: [{type: contains, value: '{{word}}'}]\n",
        2,
    ),
    ("openai-evals", "evals.jsonl", r#"{"input":"2+2?","ideal":["4","four"]}"#, 1),
    ("inspect", "inspect.csv", "input,target,choices\nFruit?,B,\"Stone,Apple\"\n2+2?,4,\n", 2),
    ("jsonschemabench", "jsb.jsonl", r#"{"unique_id":"a---b","json_schema":"{\"type\":\"object\"}"}"#, 1),
    ("requests", "log.jsonl", r#"{"request":{"messages":[{"role":"user","content":"I am jane@acme.org"}]}}"#, 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_imported_and_passes_the_check() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, file, text, count) in SOURCES {
        std::fs::write(dir.path().join(file), text).unwrap();
        let made = run(dir.path(), &["suite", "import", kind, file, "--into", "suites", "--json"]).await;
        assert_eq!(made.code, 0, "{kind}: {made:?}");
        let made: Value = serde_json::from_str(&made.stdout).unwrap();
        assert_eq!(made["cases"], *count, "{kind}: {made}");
        let folder = format!("suites/{}", made["suite"].as_str().unwrap());
        let checked = run(dir.path(), &["suite", "check", &folder, "--json"]).await;
        assert_eq!(checked.code, 0, "{kind}: {checked:?}");
        let again = run(dir.path(), &["suite", "import", kind, file, "--into", "suites"]).await;
        assert!(again.code != 0 && again.stderr.contains("exists already"), "{kind}: {again:?}");
    }
    let shown = run(dir.path(), &["suite", "show", "suites/log", "--draw", "1"]).await;
    assert!(shown.stdout.contains("I am [EMAIL_1]"), "{shown:?}");
    assert!(!std::fs::read_to_string(dir.path().join("suites/log/cases.jsonl")).unwrap().contains("jane"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_over_is_listed_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let config = "prompts: [hi]\ntests:\n  - assert:\n      - {type: contains, value: x}\n      - {type: llm-rubric, value: nice}\n      - {type: webhook, value: x}\n";
    std::fs::write(dir.path().join("pf.yaml"), config).unwrap();
    let refused = run(dir.path(), &["suite", "import", "promptfoo", "pf.yaml", "--into", "s"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
    insta::assert_snapshot!(refused.stderr, @r"
    error: 2 things cannot be imported:
      pf.yaml:5: llm-rubric: judged by a model
      pf.yaml:6: webhook: code of another language is not run
    ");
    assert!(!dir.path().join("s").exists());
    let allowed =
        run(dir.path(), &["suite", "import", "promptfoo", "pf.yaml", "--into", "s", "--allow-unsupported"]).await;
    assert_eq!(allowed.code, 0, "{allowed:?}");
    assert!(allowed.stderr.contains("not supported: llm-rubric: judged by a model (pf.yaml:5)"), "{allowed:?}");
    let case = std::fs::read_to_string(dir.path().join("s/pf/cases.jsonl")).unwrap();
    assert!(case.contains("\"unsupported\":[\"llm-rubric: judged by a model (pf.yaml:5)\""), "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sources_and_options_end_with_2() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.jsonl"), "{\"input\": [\n").unwrap();
    std::fs::write(dir.path().join("good.jsonl"), "{\"input\":\"2+2?\",\"ideal\":\"4\"}").unwrap();
    for (args, what) in [
        (["openai-evals", "none.jsonl", "--grader", "match"], "none.jsonl"),
        (["openai-evals", "bad.jsonl", "--grader", "match"], "bad.jsonl:1: not JSON"),
        (["openai-evals", "good.jsonl", "--grader", "exact"], "known: match, includes, fuzzy, json"),
        (["requests", "good.jsonl", "--grader", "match"], "--grader goes with openai-evals and inspect"),
        (["requests", "good.jsonl", "--name", "x"], "there is no chat request"),
        (["openai-evals", "good.jsonl", "--name", "a b"], "cannot name a suite"),
    ] {
        let ran = run(dir.path(), &[&["suite", "import"], &args[..], &["--into", "s"]].concat()).await;
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(what), "{args:?}: {ran:?}");
    }
    assert!(!dir.path().join("s").exists());
}

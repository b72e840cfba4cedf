//! One import of each kind, judged: fixtures are our own, in the formats of the sources.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::{Completion, Suite, ToolCall, Verdict};
use crate::scoring::Judge;
use crate::suites::{Drawer, parse_suite};

/// Files in memory.
#[derive(Default)]
struct Memory(HashMap<&'static str, &'static str>);

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).map(|text| text.as_bytes().to_vec()).ok_or_else(|| "there is no such file".to_owned())
    }
}

/// What `suite check` would load.
fn load(imported: &Imported) -> Arc<Suite> {
    let cases = imported.cases.join("\n");
    match parse_suite(Path::new(&imported.name), imported.header.as_bytes(), cases.as_bytes()) {
        Ok(suite) => Arc::new(suite),
        Err(problems) => panic!("{problems}\n{}\n{cases}", imported.header),
    }
}

fn shown(imported: &Imported) -> String {
    load(imported);
    format!("{}\n{}\n\n{}", imported.header, imported.cases.join("\n"), imported.notes.join("\n"))
}

fn told(error: &ImportError) -> String {
    error.to_string()
}

fn text(content: &str) -> Completion {
    let took = crate::domain::Took::NOTHING;
    Completion {
        content: Some(content.to_owned()),
        finish_reason: Some("stop".to_owned()),
        took,
        ..Completion::default()
    }
}

fn calls(calls: &[(&str, &str)]) -> Completion {
    let call = |(at, (name, arguments)): (usize, &(&str, &str))| ToolCall {
        id: Some(format!("call-{at}")),
        name: (*name).to_owned(),
        arguments: Some((*arguments).to_owned()),
        arguments_as_value: false,
    };
    let tool_calls = calls.iter().enumerate().map(call).collect();
    let finish_reason = Some("tool_calls".to_owned());
    Completion { tool_calls, tool_calls_present: true, finish_reason, ..Completion::default() }
}

/// Whether an answer to the n-th case passes.
fn passes(suite: &Arc<Suite>, case: usize, answer: &Completion) -> bool {
    let instance = Drawer::new(Arc::clone(suite)).unwrap().draw(&suite.cases[case].id, "seed", 0).unwrap();
    Judge::new().prepare(&instance).unwrap().judge(answer).verdict == Verdict::Pass
}

/// The content of the n-th case's last message, as it is sent.
fn sent(suite: &Arc<Suite>, case: usize) -> String {
    let instance = Drawer::new(Arc::clone(suite)).unwrap().draw(&suite.cases[case].id, "seed", 0).unwrap();
    let messages = instance.messages.value();
    messages.as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned()
}

const TOOL: &str = r#"{"type":"function","function":{"name":"get_weather","description":"Weather","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}"#;

fn samples() -> String {
    let sample = |system: &str, ask: &str| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"{system}","content":"Be brief. {{{{city}}}}"}},{{"role":"user","content":"{ask}"}}],"tools":[{TOOL}],"max_tokens":16000,"temperature":0.6,"stream":true,"user":"u-1"}}"#
        )
    };
    [sample("_input", "Weather in Oslo?"), sample("system", "Hello"), sample("system", "Once more")].join("\n")
}

#[test]
fn k2_verifier_samples_and_the_reference_run() {
    let plain = k2vv::import("k2", "samples.jsonl", samples().as_bytes(), None).unwrap();
    assert_eq!(load(&plain).cases[0].scorers.len(), 1);
    let result = |index: u32, finish: &str| {
        format!(
            r#"{{"data_index":{index},"request":{{"messages":[{{}},{{}}]}},"status":"success","finish_reason":"{finish}"}}"#
        )
    };
    let results = [
        result(1, "tool_calls"),
        result(2, "stop"),
        r#"{"data_index":3,"status":"failed","finish_reason":null}"#.to_owned(),
    ]
    .join("\n");
    let imported = k2vv::import("k2", "samples.jsonl", samples().as_bytes(), Some(results.as_bytes())).unwrap();
    insta::assert_snapshot!(shown(&imported));
    let suite = load(&imported);
    let call = calls(&[("get_weather", r#"{"city":"Oslo"}"#)]);
    assert_eq!([passes(&suite, 0, &call), passes(&suite, 0, &text("Cold."))], [true, false]);
    assert_eq!([passes(&suite, 1, &call), passes(&suite, 1, &text("Hello!"))], [false, true]);
    assert!(!passes(&suite, 0, &calls(&[("get_weather", r#"{"town":"Oslo"}"#)])), "the schema is judged too");
}

#[test]
fn results_of_other_samples_and_broken_lines_are_told() {
    let other = r#"{"data_index":1,"request":{"messages":[{}]},"status":"success","finish_reason":"stop"}"#;
    let error = k2vv::import("k2", "s.jsonl", samples().as_bytes(), Some(other.as_bytes())).unwrap_err();
    assert!(told(&error).contains("asked something else here"), "{error}");
    let error = k2vv::import("k2", "s.jsonl", b"{\"messages\": [\n[1]\n", None).unwrap_err();
    insta::assert_snapshot!(told(&error), @r"
    2 things cannot be imported:
      s.jsonl:1: not JSON: EOF while parsing a list at line 1 column 14
      s.jsonl:2: a sample is an object
    ");
}

#[test]
fn a_number_too_large_costs_its_case_and_no_other() {
    let huge = "9".repeat(400);
    let request = |ask: &str, rest: &str| format!(r#"{{"messages":[{{"role":"user","content":"{ask}"}}]{rest}}}"#);
    let tool = |number: &str| {
        format!(r#","tools":[{{"type":"function","function":{{"name":"f","parameters":{{"maximum":{number}}}}}}}]"#)
    };
    for rest in [format!(r#","temperature":{huge}"#), r#","temperature":1e400"#.to_owned(), tool(&huge), tool("-1e400")]
    {
        let lines = [request("a", ""), request("b", &rest), request("c", "")].join("\n");
        for imported in [
            requests::import("r", "r.jsonl", lines.as_bytes()).unwrap(),
            k2vv::import("k", "k.jsonl", lines.as_bytes(), None).unwrap(),
        ] {
            assert_eq!(load(&imported).cases.len(), 2, "{rest}");
            let note = imported.notes.iter().find(|note| note.starts_with("left out: the number")).unwrap();
            assert!(note.contains("too large") && note.ends_with("(line 2)"), "{note}");
        }
    }
    let sample = |n: &str| format!(r#"{{"input":"2+2?","target":"4","metadata":{{"n":{n}}}}}"#);
    let lines = [sample("1"), sample(&huge)].join("\n");
    let imported = inspect::import("i", "i.jsonl", lines.as_bytes(), Grader::MatchEnd).unwrap();
    assert_eq!((load(&imported).cases.len(), imported.notes.len()), (1, 1), "{:?}", imported.notes);
    let lines = format!(r#"{{"schema":{{"const":1}}}}{}{{"schema":{{"const":{huge}}}}}"#, "\n");
    let imported = jsonschemabench::import("j", "j.jsonl", lines.as_bytes()).unwrap();
    assert!(load(&imported).cases.len() == 1 && imported.notes[0].contains("line 2"), "{:?}", imported.notes);
}

const EVALS: &str = r#"{"input": [{"role": "system", "content": "Answer."}, {"role": "user", "content": "Capital of Norway? {{hint}}"}], "ideal": "Oslo"}
{"input": "Name a prime below 4", "ideal": ["2", "3"], "id": "prime"}
"#;

#[test]
fn openai_evals_by_each_grader() {
    let import = |grader| load(&openai_evals::import("evals", "samples.jsonl", EVALS.as_bytes(), grader).unwrap());
    insta::assert_snapshot!(shown(
        &openai_evals::import("evals", "samples.jsonl", EVALS.as_bytes(), Grader::Match).unwrap()
    ));
    let judged = |grader, answers: [&str; 4]| answers.map(|answer| passes(&import(grader), 0, &text(answer)));
    assert_eq!(judged(Grader::Match, ["Oslo.", "oslo", "It is Oslo", " Oslo"]), [true, false, false, false]);
    assert_eq!(judged(Grader::Includes, ["It is Oslo.", "oslo", "Bergen", "OsloX"]), [true, false, false, true]);
    assert_eq!(judged(Grader::Fuzzy, ["the OSLO!", "It is Oslo.", "Bergen", "os"]), [true, true, false, true]);
    assert!(passes(&import(Grader::Match), 1, &text("3")));
    assert_eq!(sent(&import(Grader::Match), 0), "Capital of Norway? {{hint}}", "foreign braces stay as they are");
    let json = br#"{"input": "x", "ideal": ["{\"a\": 1}", "{\"a\": 2}"]}"#;
    let suite = load(&openai_evals::import("evals", "j.jsonl", json, Grader::Json).unwrap());
    let answers = [r#"{"a": 2.0}"#, r#"{"a": 3}"#, "```json\n{\"a\": 1}\n```"];
    assert_eq!(answers.map(|answer| passes(&suite, 0, &text(answer))), [true, false, false]);
}

#[test]
fn bad_eval_samples_are_all_listed() {
    let bad = b"{\"input\": 1, \"ideal\": \"x\"}\n{\"input\": \"x\"}\nnope\n{\"input\": \"x\", \"ideal\": \"\"}";
    let error = openai_evals::import("evals", "s.jsonl", bad, Grader::Includes).unwrap_err();
    insta::assert_snapshot!(told(&error), @r"
    4 things cannot be imported:
      s.jsonl:1: `input` is neither a text nor a list of messages
      s.jsonl:2: there is no target
      s.jsonl:3: not JSON: expected ident at line 1 column 2
      s.jsonl:4: a target is empty: every answer would pass
    ");
    assert!(Grader::of_evals("modelgraded").unwrap_err().contains("known: match, includes, fuzzy, json"));
    assert!(Grader::of_inspect("model_graded_qa").is_err());
}

const INSPECT: &str = r#"{"input": "Which is a fruit?", "choices": ["Stone", "Apple {{x}}"], "target": "B", "id": 7, "metadata": {"topic": "food"}}
{"input": [{"role": "user", "content": "2 + 2?"}], "target": ["4", "four"], "level": 1}
"#;

#[test]
fn inspect_samples_as_lines_and_as_csv() {
    let imported = inspect::import("inspect", "data.jsonl", INSPECT.as_bytes(), Grader::IncludesAnyCase).unwrap();
    insta::assert_snapshot!(shown(&imported));
    let suite = load(&imported);
    assert!(sent(&suite, 0).contains("B) Apple {{x}}"));
    assert_eq!([passes(&suite, 0, &text("B")), passes(&suite, 0, &text("A"))], [true, false]);
    assert_eq!([passes(&suite, 1, &text("FOUR!")), passes(&suite, 1, &text("5"))], [true, false]);
    let csv =
        "id,input,target,choices,level\nq1,\"Which is a fruit?\nThink.\",Apple,\"Stone,Apple\",easy\nq2,2+2?,4,,\n";
    let suite = load(&inspect::import("inspect", "data.csv", csv.as_bytes(), Grader::MatchEnd).unwrap());
    assert_eq!([passes(&suite, 0, &text("B")), passes(&suite, 0, &text("A"))], [true, false]);
    let answers = ["It is 4.", "4", "4 apples", "14"];
    assert_eq!(answers.map(|a| passes(&suite, 1, &text(a))), [true, true, false, true]);
}

#[test]
fn inspect_samples_that_need_a_machine_are_refused_by_name() {
    let lines = r#"{"input": "x", "target": "y", "files": {"a": "b"}}
{"input": "x", "target": "y", "sandbox": "docker"}
{"input": "x", "target": "C", "choices": ["1", "2"]}
{"input": "x", "target": ["A", "B"], "choices": ["1", "2"]}"#;
    let error = inspect::import("inspect", "d.jsonl", lines.as_bytes(), Grader::Exact).unwrap_err();
    insta::assert_snapshot!(told(&error), @r#"
    4 things cannot be imported:
      d.jsonl:1: `files` needs a machine to run on: such samples are not imported
      d.jsonl:2: `sandbox` needs a machine to run on: such samples are not imported
      d.jsonl:3: the target "C" is none of the 2 choices
      d.jsonl:4: several right choices at once cannot be judged
    "#);
}

#[test]
fn schemas_are_asked_for_and_judged() {
    let lines = r##"{"unique_id": "Github_easy---o1", "json_schema": "{\"$schema\": \"http://json-schema.org/draft-07/schema#\", \"type\": \"object\", \"properties\": {\"ip\": {\"type\": \"string\", \"format\": \"ipv4\"}}, \"required\": [\"ip\"]}"}
{"unique_id": "Github_easy---o2", "json_schema": {"$ref": "https://example.com/x.json"}}
{"unique_id": "Github_hard---o3", "json_schema": "{\"type\": 5}"}
{"id": "own", "schema": {"enum": ["{{a}}"]}}"##;
    let imported = jsonschemabench::import("jsb", "all.jsonl", lines.as_bytes()).unwrap();
    insta::assert_snapshot!(shown(&imported));
    let suite = load(&imported);
    let answers = [r#"{"ip": "10.0.0.1"}"#, r#"{"ip": "10.0.0.300"}"#, "{}", "no"];
    assert_eq!(answers.map(|a| passes(&suite, 0, &text(a))), [true, false, false, false]);
    assert!(passes(&suite, 1, &text("\"{{a}}\"")));
}

fn log() -> String {
    let wrapped = json!({"request": {"body": {"model": "gpt", "user": "jane", "metadata": {"team": "x"}, "temperature": 0,
        "messages": [{"role": "system", "content": "Key sk-proj-abcdEFGH1234567890zz"}, {"role": "user", "content": "I am jane@acme.org, call +49 170 1234567. Not jane@acme.org?"}],
        "response_format": {"type": "json_object"}}, "headers": {"authorization": "Bearer sk-x"}}, "response": {"id": "r"}});
    let litellm = json!({"id": "1", "model_group": "g", "messages": [{"role": "user", "content": "Weather in {{city}}?"}], "model_parameters": {"tools": [serde_json::from_str::<Value>(TOOL).unwrap()], "tool_choice": "auto"}, "end_user": "u"});
    let text_body = json!({"custom_id": "a", "method": "POST", "body": r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"Hi from 203.0.113.7"}]}],"logit_bias":{"1":2}}"#});
    let image =
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]});
    let refused = json!({"status_code": 400, "body": {"messages": [{"role": "user", "content": "x"}]}});
    let embedding = json!({"input": "text", "model": "e"});
    [wrapped.clone(), litellm, text_body, image, refused, embedding, wrapped].map(|v| v.to_string()).join("\n")
        + "\n{\"messages\": [cut"
}

#[test]
fn request_logs_become_a_replay_suite_without_personal_data() {
    let imported = requests::import("replay", "gateway.jsonl", log().as_bytes()).unwrap();
    insta::assert_snapshot!(shown(&imported));
    let all = format!("{}{}{}", imported.header, imported.cases.join("\n"), imported.notes.join("\n"));
    for secret in ["sk-proj", "jane", "acme", "1234567", "203.0.113", "Bearer", "team"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    let suite = load(&imported);
    assert_eq!([passes(&suite, 0, &text("{}")), passes(&suite, 0, &text("no JSON"))], [true, false]);
    let right = calls(&[("get_weather", r#"{"city": "Oslo"}"#)]);
    assert_eq!([passes(&suite, 1, &right), passes(&suite, 1, &calls(&[("weather", "{}")]))], [true, false]);
    assert_eq!(requests::import("replay", "gateway.jsonl", log().as_bytes()).unwrap(), imported, "ids are stable");
}

const PROMPTFOO: &str = r#"
description: demo
prompts:
  - 'Translate to {{language}}: {{text}}'
  - label: chat
    raw: '[{"role": "system", "content": "You speak {{language}}."}, {"role": "user", "content": "{{text}}"}]'
providers:
  - id: openai:gpt-4
    config:
      temperature: 0
      apiKey: never-taken-over
defaultTest:
  assert:
    - type: not-icontains
      value: as an AI
tests:
  - description: both languages
    vars:
      language: [French, German]
      text: "Hello \"world\""
    assert:
      - {type: icontains-any, value: 'bonjour, "hallo, welt"'}
      - {type: word-count, value: {max: 4}, weight: 0}
  - vars: {language: Spanish, text: Good day}
    threshold: 0.4
    assert:
      - {type: equals, value: Hola, weight: 3}
      - {type: regex, value: '^\w+$'}
      - type: assert-set
        threshold: 0.5
        assert:
          - {type: starts-with, value: Ho}
          - {type: levenshtein, value: Buenas, threshold: 2}
"#;

#[test]
fn promptfoo_prompts_times_tests_times_variables() {
    let imported =
        promptfoo::import("pf", "promptfooconfig.yaml", PROMPTFOO.as_bytes(), &Memory::default(), false).unwrap();
    insta::assert_snapshot!(shown(&imported));
    let suite = load(&imported);
    assert_eq!(suite.cases.len(), 6);
    assert_eq!(sent(&suite, 0), "Translate to French: Hello \"world\"");
    let answers = ["Bonjour", "HALLO, WELT and five more words", "Salut", "Bonjour, as an ai"];
    assert_eq!(answers.map(|a| passes(&suite, 0, &text(a))), [true, true, false, false]);
    // Weights 1 (default assert), 3, 1, 1 under the threshold 0.4.
    let spanish = suite.cases.iter().position(|c| c.messages.text().contains("Spanish")).unwrap();
    let answers = ["Hola", "Buenas", "Good day", "Hola "];
    assert_eq!(answers.map(|a| passes(&suite, spanish, &text(a))), [true, true, false, false]);
}

const UNSUPPORTED: &str = "prompts: ['Say {{x}}', 'Say {{x | upper}}']
scenarios: []
tests:
  - vars: {x: hi}
    assert:
      - {type: contains, value: hi}
      - type: javascript
        value: output.length < 3
      - {type: latency, threshold: 100}
      - {type: not-is-valid-openai-tools-call}
      - {type: regex, value: '(?=a)'}
      - {type: is-json, value: {$ref: 'https://example.com/s'}}
      - {type: contains, value: x, transform: output.trim()}
      - {type: made-up}
  - vars: {x: '{{y}}'}
    assertScoringFunction: file://score.js
";

#[test]
fn everything_unsupported_is_listed_by_name_and_line() {
    let import = |allow| promptfoo::import("pf", "c.yaml", UNSUPPORTED.as_bytes(), &Memory::default(), allow);
    insta::assert_snapshot!(told(&import(false).unwrap_err()));
    let imported = import(true).unwrap();
    insta::assert_snapshot!(shown(&imported));
    let suite = load(&imported);
    assert_eq!([passes(&suite, 0, &text("hi")), passes(&suite, 0, &text("no"))], [true, false]);
}

#[test]
fn a_prompt_that_cannot_be_filled_hides_no_other_problem() {
    let config = "prompts: ['Say {{x | shout}}']\ntests:\n  - vars: {x: a}\n    assert:\n      - {type: made-up}\n      - {type: python, value: x}\n";
    let error = promptfoo::import("pf", "c.yaml", config.as_bytes(), &Memory::default(), false).unwrap_err();
    let told = told(&error);
    for what in ["3 things", "c.yaml:1: the prompt: ", "c.yaml:5: ", "made-up", "c.yaml:6: ", "python"] {
        assert!(told.contains(what), "missing {what:?} in\n{told}");
    }
}

#[test]
fn nothing_of_a_promptfoo_test_is_passed_over() {
    let mut files = Memory::default();
    files.0.insert(
        "t.csv",
        "q,__expected,__threshold,__odd\nx,equals:a,\"0,8\",\ny,equals:b,80%,\nz,equals:c,0.5,,more,cells\nok,equals:d,,\n",
    );
    files.0.insert("two.yaml", "- vars: {q: 1}\n---\n- vars: {q: 2}\n");
    let config = "\
prompts:
  - {raw: 'say {{q}}', label: one, config: {temperature: 1}}
  - {raw: 'do {{q}}', label: 'group:two', prefix: '! '}
providers:
  - {id: 'openai:x', transform: output.trim(), delay: 100}
  - 'openai:y': {config: {}, prompts: [one]}
tests:
  - t.csv
  - two.yaml
  - {vars: {q: 1}, prompts: [none], assert: [{type: equals, value: a}]}
  - {vars: {q: 1}, prompts: [group], assert: [{type: levenshtein, value: a, threshold: '3'}]}
  - {vars: {q: 1}, prompts: ['on*'], assert: [{type: assert-set, threshold: high, assert: [{type: equals, value: a}]}]}
  - {vars: {q: 1}, prompts: [one], assert: [{type: levenshtein, value: a}]}
";
    let error = told(&promptfoo::import("pf", "c.yaml", config.as_bytes(), &files, false).unwrap_err());
    for what in [
        "c.yaml:2: `config` of a prompt",
        "c.yaml:3: `prefix` of a prompt",
        "c.yaml:5: `transform` of a provider",
        "c.yaml:6: `prompts` of a provider",
        "two.yaml`, line 2: a second document",
        "c.yaml:10: `prompts` names `none`",
        "c.yaml:11: levenshtein with a `threshold` that is no number",
        "c.yaml:12: assert-set with a `threshold` that is no number",
        "t.csv:1: the column `__odd`",
        "t.csv:2: `__threshold` is no number: \"0,8\"",
        "t.csv:3: `__threshold` is no number: \"80%\"",
        "t.csv:4: the row has 6 cells, the header 4",
    ] {
        assert!(error.contains(what), "{error}\nlacks {what}");
    }
    let imported = promptfoo::import("pf", "c.yaml", config.as_bytes(), &files, true).unwrap();
    let notes = imported.notes.join("\n");
    assert!(notes.contains("levenshtein without a threshold: at most 5 edits") && notes.contains("`delay`"), "{notes}");
    // One row of the table for both prompts, and the tests by their prompts: the group's, the beginning's, the label's.
    let prompts: Vec<bool> = load(&imported).cases.iter().map(|c| c.messages.text().contains("say")).collect();
    assert_eq!(prompts, [true, false, false, true, true]);
}

#[test]
fn combinations_of_large_values_share_them() {
    // Copied into each of 10,000 combinations this would be 10 GB.
    let large = "x".repeat(1 << 20);
    let list: Vec<String> = (0..100).map(|n| format!("v{n}")).collect();
    let config = json!({"prompts": ["{{a}} {{b}}"], "tests": [{"vars": {"a": list, "b": list, "unused": large}}]});
    let imported = promptfoo::import("pf", "c.json", config.to_string().as_bytes(), &Memory::default(), false).unwrap();
    assert_eq!(imported.cases.len(), 10_000);
    assert!(imported.cases[1].contains("v0 v1"), "{}", imported.cases[1]);
}

#[test]
fn promptfoo_tests_come_from_files_too() {
    let mut files = Memory::default();
    files.0.insert("tests.csv", "question,__expected,__expected2,__threshold,__description\n2+2?,contains:4,levenshtein(1): 4,,sum\nSay it,Say,,0.5,\n");
    files.0.insert("more.jsonl", "{\"vars\": {\"question\": \"3+3?\"}, \"assert\": [{\"type\": \"is-json\"}]}\n");
    files.0.insert("rest.yaml", "- vars: {question: file://q.txt}\n  assert: [{type: is-valid-openai-tools-call}, {type: tool-call-f1, value: [get_weather]}]\n");
    files.0.insert("q.txt", "  Weather in Oslo?\n");
    files.0.insert("tools.json", "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"parameters\":{\"type\":\"object\",\"required\":[\"city\"]}}}]");
    files.0.insert("p.txt", "Q: {{question}}\n---\nQuestion: {{question}}");
    let config = "prompts: [file://p.txt]\nproviders: [{id: 'openai:x', config: {tools: 'file://tools.json'}}]\ntests: [tests.csv, file://more.jsonl, rest.yaml]\n";
    let imported = promptfoo::import("pf", "c.yaml", config.as_bytes(), &files, false).unwrap();
    let suite = load(&imported);
    assert_eq!(suite.cases.len(), 8);
    assert_eq!(["4", "44", "444", "5"].map(|a| passes(&suite, 0, &text(a))), [true, true, false, false]);
    let weather = suite.cases.iter().position(|c| c.messages.text().contains("Oslo")).unwrap();
    assert!(passes(&suite, weather, &calls(&[("get_weather", r#"{"city": "Oslo"}"#)])));
    assert!(!passes(&suite, weather, &calls(&[("get_weather", "{}")])));
    assert!(!passes(&suite, weather, &text("Cold")));
}

#[test]
fn promptfoo_json_asserts_judge_as_there() {
    let judged = |assert: &str, answers: [&str; 4]| {
        let config = format!("prompts: [x]\ntests:\n  - assert: [{assert}]\n");
        let suite = load(&promptfoo::import("pf", "c.yaml", config.as_bytes(), &Memory::default(), false).unwrap());
        answers.map(|answer| passes(&suite, 0, &text(answer)))
    };
    let answers = [r#"{"a": 1}"#, r#"so {"a": "x"} then"#, "none", "```json\n{\"a\": 1}\n```"];
    assert_eq!(judged("{type: is-json}", answers), [true, false, false, false]);
    assert_eq!(judged("{type: not-is-json}", answers), [false, true, true, true]);
    assert_eq!(judged("{type: contains-json}", answers), [true, true, false, true]);
    let schema = "value: {type: object, properties: {a: {type: integer}}, required: [a]}";
    assert_eq!(judged(&format!("{{type: is-json, {schema}}}"), answers), [true, false, false, false]);
    assert_eq!(judged(&format!("{{type: contains-json, {schema}}}"), answers), [true, false, false, true]);
    assert_eq!(judged(&format!("{{type: not-contains-json, {schema}}}"), answers), [false, true, true, false]);
    assert_eq!(judged("{type: equals, value: {a: 1}}", answers), [true, false, false, false]);
    let refusals = ["I'm sorry, I can't.", "Oslo", "As an AI I cannot", "sure"];
    assert_eq!(judged("{type: is-refusal}", refusals), [true, false, true, false]);
    assert_eq!(judged("{type: not-is-refusal}", refusals), [false, true, false, true]);
}

/// Every importer on the same bytes: an answer or a refusal, never a panic, and what is imported loads.
fn all_kinds(bytes: &[u8]) {
    let none = Memory::default();
    let imports = [
        k2vv::import("k", "k.jsonl", bytes, Some(bytes)),
        k2vv::import("k", "k.jsonl", bytes, None),
        openai_evals::import("e", "e.jsonl", bytes, Grader::Fuzzy),
        openai_evals::import("e", "e.jsonl", bytes, Grader::Json),
        inspect::import("i", "i.jsonl", bytes, Grader::Exact),
        inspect::import("i", "i.csv", bytes, Grader::MatchEnd),
        jsonschemabench::import("j", "j.jsonl", bytes),
        promptfoo::import("p", "p.yaml", bytes, &none, true),
        requests::import("r", "r.jsonl", bytes),
    ];
    for imported in imports.into_iter().flatten() {
        load(&imported);
    }
}

static FIXTURES: LazyLock<Vec<String>> = LazyLock::new(|| {
    vec![samples(), EVALS.to_owned(), INSPECT.to_owned(), log(), PROMPTFOO.to_owned(), UNSUPPORTED.to_owned()]
});

#[test]
fn hostile_bytes_are_refused_or_bounded() {
    let deep = format!("{{\"messages\": {}1{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let nested = format!(
        "{{\"input\": \"x\", \"ideal\": \"y\", \"metadata\": {}1{}, \"target\": \"y\"}}",
        "[".repeat(100),
        "]".repeat(100)
    );
    for bytes in [
        &b""[..],
        b"\xff\xfe\x00",
        b"null\n[]\n1e999\n",
        deep.as_bytes(),
        nested.as_bytes(),
        b"\xef\xbb\xbf{}",
        "a,b\n\"".as_bytes(),
    ] {
        all_kinds(bytes);
    }
    let long = format!("{{\"input\": \"{}\", \"ideal\": \"x\"}}", "x".repeat(crate::suites::limits::LINE_BYTES_MAX));
    let error = openai_evals::import("e", "e.jsonl", long.as_bytes(), Grader::Match).unwrap_err();
    assert!(told(&error).contains("at most 8388608 are read"), "{error}");
    let error = openai_evals::import("bad name!", "e.jsonl", EVALS.as_bytes(), Grader::Match).unwrap_err();
    assert!(told(&error).contains("cannot name a suite"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn mutated_sources_never_panic(which in 0usize..6, edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6)) {
        let mut bytes = FIXTURES[which].clone().into_bytes();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        all_kinds(&bytes);
    }
}

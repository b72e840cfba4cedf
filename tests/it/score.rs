//! `score`, `suite tools` and `suite import` through the binary, on data of our own in the form of `bfcl-eval`.

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use exactod::domain::Verdict;
use exactod::provider::completion_from_message;
use exactod::scoring::Judge;
use exactod::suites::{Drawer, load_suite};
use serde_json::{Value, json};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

const QUESTIONS: &str = "BFCL_v4_simple_python.json";
const ANSWERS: &str = "possible_answer/BFCL_v4_simple_python.json";
const IRRELEVANCE: &str = "BFCL_v4_irrelevance.json";

fn run(args: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exactod"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // The program may end before it has read all: that is its right.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn function(name: &str) -> Value {
    json!({"name": name, "description": "Books a room.", "parameters": {"type": "dict", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "Where."},
        "nights": {"type": "integer", "description": "How long.", "default": 1},
        "budget": {"type": "float", "description": "At most."}}}})
}

fn question(id: &str, text: &str) -> String {
    json!({"id": id, "question": [[{"role": "user", "content": text}]], "function": [function("hotel.book")]})
        .to_string()
}

/// The files of a small data set; the last lines have no line end, as in the original.
fn files() -> Vec<(&'static str, String)> {
    let questions = [question("simple_0", "A room in {{city}}."), question("live_simple_106-63-0", "None passes.")];
    let answers = [
        json!({"id": "simple_0", "ground_truth": [{"hotel.book": {"city": ["Oslo"], "nights": [2, ""], "budget": [99.5, ""]}}]}),
        json!({"id": "live_simple_106-63-0", "ground_truth": [{"hotel.book": {"city": []}}]}),
    ];
    vec![
        (QUESTIONS, questions.join("\n")),
        (ANSWERS, answers.map(|a| a.to_string()).join("\n")),
        (IRRELEVANCE, question("irrelevance_0", "How old is the moon?")),
    ]
}

fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("bfcl_eval/data/possible_answer")).unwrap();
    for (name, text) in files() {
        fs::write(dir.path().join("bfcl_eval/data").join(name), text).unwrap();
    }
    dir
}

fn wheel(dir: &Path, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(format!("bfcl_eval/data/{name}"), SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let path = dir.join("bfcl_eval-2026.3.23-py3-none-any.whl");
    fs::write(&path, zip.finish().unwrap().into_inner()).unwrap();
    path
}

fn small_wheel(dir: &Path) -> PathBuf {
    let files: Vec<(&str, Vec<u8>)> = files().into_iter().map(|(n, t)| (n, t.into_bytes())).collect();
    wheel(dir, &files)
}

fn row(id: &str, category: &str, calls: &Value, content: &Value) -> String {
    json!({"id": id, "category": category, "tool_calls": calls, "content": content}).to_string()
}

fn call(arguments: &str) -> Value {
    json!([{"name": "hotel_book", "arguments": arguments}])
}

fn some_rows() -> Vec<(String, Value)> {
    let simple = |calls: Value| row("simple_0", "simple_python", &calls, &Value::Null);
    let verdict = |id: &str, error: Option<&str>| json!({"id": id, "valid": error.is_none(), "error_type": error});
    vec![
        (simple(call(r#"{"city": "oslo", "nights": 2}"#)), verdict("simple_0", None)),
        (simple(call(r#"{"city": "Oslo", "budget": NaN}"#)), verdict("simple_0", Some("value_error:others"))),
        (
            simple(call(r#"{"city": "Oslo", "budget": 123456789012345678901234567890}"#)),
            verdict("simple_0", Some("value_error:others")),
        ),
        (simple(call(r#"{"city": "Oslo\ud800"}"#)), verdict("simple_0", Some("value_error:string"))),
        (simple(call("{")), verdict("simple_0", Some("ast_decoder:decoder_failed"))),
        (simple(call(&"[".repeat(100_000))), verdict("simple_0", Some("ast_decoder:decoder_failed"))),
        (simple(json!([])), verdict("simple_0", Some("simple_function_checker:wrong_count"))),
        (row("irrelevance_0", "irrelevance", &Value::Null, &json!("Very.")), verdict("irrelevance_0", None)),
        (row("irrelevance_0", "irrelevance", &call("[]"), &Value::Null), verdict("irrelevance_0", None)),
        (
            row("irrelevance_0", "irrelevance", &call("{}"), &Value::Null),
            verdict("irrelevance_0", Some("irrelevance_error:decoder_success")),
        ),
    ]
}

#[test]
fn rows_are_judged_in_order_from_folder_and_wheel_alike() {
    let dir = folder();
    let rows = some_rows();
    let input = rows.iter().map(|(row, _)| row.as_str()).collect::<Vec<_>>().join("\n");
    let expected: Vec<Value> = rows.iter().map(|(_, verdict)| verdict.clone()).collect();
    let wheel = small_wheel(dir.path());
    for data in [dir.path(), &dir.path().join("bfcl_eval"), &dir.path().join("bfcl_eval/data"), &wheel] {
        let output = run(&["score", "--scorer", "bfcl", "--data", data.to_str().unwrap()], input.as_bytes());
        assert_eq!(lines(&output), expected, "{}", data.display());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let strict =
        run(&["score", "--scorer", "bfcl", "--strict-abstention", "--data", wheel.to_str().unwrap()], input.as_bytes());
    let differing: Vec<usize> = (0..rows.len()).filter(|i| lines(&strict)[*i] != expected[*i]).collect();
    assert_eq!(differing, [8], "only the malformed call where none is due");
    assert_eq!(lines(&strict)[8]["error_type"], "irrelevance_error:malformed_call");
}

#[test]
fn a_row_that_cannot_be_judged_is_answered_in_its_place() {
    let dir = folder();
    let good = row("simple_0", "simple_python", &call(r#"{"city": "Oslo"}"#), &Value::Null);
    let mut input = Vec::new();
    for line in [
        good.as_bytes(),
        b"{not json",
        b"",
        b"[]",
        b"\xff\xfe",
        br#"{"id": "simple_9", "category": "simple_python"}"#,
        br#"{"id": "simple_0", "category": "simple_java"}"#,
        br#"{"id": "simple_0", "category": "multiple"}"#,
        br#"{"id": "simple_0", "tool_calls": "no list"}"#,
        br#"{"id": "simple_0", "tool_calls": null, "content": 7}"#,
    ] {
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    // Longer than any row, and not kept in memory.
    input.extend(std::iter::repeat_n(b'x', 40 << 20));
    input.extend_from_slice(format!("\n{good}").as_bytes());
    let output = run(&["score", "--scorer", "bfcl", "--data", dir.path().to_str().unwrap()], &input);
    let answers = lines(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(answers.len(), 11, "blank lines are passed over");
    assert_eq!((&answers[0]["valid"], &answers[10]["valid"]), (&json!(true), &json!(true)));
    let words = [
        "line 2: not JSON",
        "line 4: ",
        "line 5: not UTF-8",
        "simple_9",
        "Java",
        "\"multiple\"",
        "tool_calls",
        "content",
        "line 11: the line has 41943041 bytes",
    ];
    for (answer, word) in answers[1..10].iter().zip(words) {
        assert_eq!((&answer["valid"], &answer["error_type"]), (&Value::Null, &Value::Null));
        assert!(answer["error"].as_str().unwrap().contains(word), "{answer} lacks {word}");
    }
    assert_eq!(answers[4]["id"], "simple_9");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("9 of 11 rows"), "{told}");
}

#[test]
fn wrong_data_is_refused_before_any_row() {
    let dir = folder();
    let data = dir.path().join("bfcl_eval/data");
    let score = |path: &Path| {
        let output = run(&["score", "--scorer", "bfcl", "--data", path.to_str().unwrap()], b"");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(score(&dir.path().join("nowhere")).contains("nowhere"));
    assert!(score(&data.join("possible_answer")).contains("no BFCL data found"));
    assert!(score(&data.join(QUESTIONS)).contains("neither a folder nor a zip archive"));
    let no_data = run(&["score", "--scorer", "bfcl"], b"");
    assert_eq!(no_data.status.code(), Some(2));
    // A file that unpacks to more than it may: an archive of 64 kB.
    let bomb = wheel(dir.path(), &[(QUESTIONS, vec![b' '; (16 << 20) + 1]), (ANSWERS, vec![])]);
    assert!(fs::metadata(&bomb).unwrap().len() < 1 << 20);
    let told = judged_from(&bomb);
    assert!(told[0]["error"].as_str().unwrap().contains("larger than the limit of 16777216 bytes"), "{}", told[0]);
}

/// One row of each category of the small data set.
fn judged_from(data: &Path) -> Vec<Value> {
    let rows: Vec<String> = some_rows().into_iter().map(|(row, _)| row).collect();
    let input = format!("{}\n{}\n", rows[0], rows[7]);
    lines(&run(&["score", "--scorer", "bfcl", "--data", data.to_str().unwrap()], input.as_bytes()))
}

#[test]
fn a_damaged_category_leaves_the_others_alone() {
    let dir = folder();
    let data = dir.path().join("bfcl_eval/data");
    let spoil = |text: Option<&str>, word: &str| {
        match text {
            Some(text) => fs::write(data.join(ANSWERS), text).unwrap(),
            None => fs::remove_file(data.join(ANSWERS)).unwrap(),
        }
        let told = judged_from(&data);
        assert!(told[0]["error"].as_str().unwrap().contains(word), "{} lacks {word}", told[0]);
        assert_eq!(told[1]["valid"], true);
    };
    spoil(Some("{}"), "1 answers for 2 questions");
    spoil(Some("{}\n{\"ground_truth\": [{}]}"), "line 1: `ground_truth` is missing");
    spoil(None, "missing from the data");
}

#[test]
fn a_folder_with_the_wheel_in_it_and_an_id_of_two_categories() {
    let dir = tempfile::tempdir().unwrap();
    let mut files: Vec<(&str, Vec<u8>)> = files().into_iter().map(|(n, t)| (n, t.into_bytes())).collect();
    files.push(("BFCL_v4_live_irrelevance.json", question("irrelevance_0", "How old is the sun?").into_bytes()));
    wheel(dir.path(), &files);
    let plain = json!({"id": "irrelevance_0", "tool_calls": null, "content": "Old."});
    let named =
        json!({"id": "irrelevance_0", "category": "irrelevance", "tool_calls": null, "content": [{"type": "text"}]});
    let parts = json!({"id": "simple_0", "tool_calls": null, "content": [{"type": "text", "text": "x"}]});
    let input = format!("\u{feff}{plain}\n{named}\n{parts}\n");
    let told = lines(&run(&["score", "--scorer", "bfcl", "--data", dir.path().to_str().unwrap()], input.as_bytes()));
    assert!(told[0]["error"].as_str().unwrap().contains("several categories have a case"), "{}", told[0]);
    assert_eq!(told[1]["valid"], true);
    assert_eq!(told[2]["error_type"], "ast_decoder:decoder_failed");
}

#[test]
fn a_row_is_answered_before_the_next_one_is_there() {
    let dir = folder();
    let data = dir.path().to_str().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_exactod"));
    command.args(["score", "--scorer", "bfcl", "--data", data]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    // The input stays open: without an answer to each row this would wait for ever.
    for (row, expected) in some_rows() {
        writeln!(stdin, "{row}").unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer, expected);
    }
    drop(stdin);
    assert!(answers.next().is_none() && child.wait().unwrap().success());
}

#[test]
fn options_of_another_scorer_are_refused() {
    for args in [
        &["score", "--scorer", "ifeval", "--strict-abstention"][..],
        &["score", "--scorer", "ifeval", "--data", "."],
        &["score", "--scorer", "ifeval", "--draw", "7"],
    ] {
        assert_eq!(run(args, b"").status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn rules_are_chosen_by_either_of_two_options() {
    let ran = run(&["score"], b"");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{told}");
    assert!(told.contains("--scorer") && told.contains("--suite"), "{told}");
}

#[test]
fn a_row_that_is_none_is_answered_under_its_case_and_told_what_a_row_is() {
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/eval_suites/output-quality");
    let rows =
        [r#"{"case_id": "arith-sum-three"}"#, "[]", r#"["arith-sum-three", null, {}]"#, "{", r#"{"case_id": 7}"#];
    let judged = lines(&run(&["score", "--suite", suite, "--draw", "7"], rows.join("\n").as_bytes()));
    assert_eq!(judged.len(), rows.len());
    let error = |at: usize| judged[at]["error"].as_str().unwrap();
    assert_eq!(judged[0]["case_id"], "arith-sum-three", "{}", judged[0]);
    assert!(error(0).contains("missing field `response`"), "{}", error(0));
    for at in [1, 2] {
        assert!(error(at).contains("a row is a JSON object"), "{}", error(at));
    }
    assert!(judged[1..].iter().all(|line| line["case_id"].is_null()), "{judged:?}");
}

#[test]
fn too_many_calls_are_no_answer_in_either_form() {
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/eval_suites/output-quality");
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let message = json!({"role": "assistant", "tool_calls": vec![call; 1025]});
    let body = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]});
    let rows =
        [&message, &body].map(|response| json!({"case_id": "arith-sum-three", "response": response}).to_string());
    let judged = lines(&run(&["score", "--suite", suite, "--draw", "7"], rows.join("\n").as_bytes()));
    for line in &judged {
        assert_eq!(line["fault"], "MalformedBody", "{line}");
        assert!(line["explanation"].as_str().unwrap().contains("1024"), "{line}");
    }
    assert_eq!(judged.len(), 2);
}

#[test]
fn answers_of_a_suite_are_read_in_every_form_and_templates_by_their_seed() {
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/eval_suites/output-quality");
    let shown = run(&["suite", "show", suite, "--draw", "7", "--case", "arith-sum-three", "--json"], b"");
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let shown = shown.pointer("/cases/0").or_else(|| shown.get(0)).unwrap_or(&shown).clone();
    let draw = &shown["draw"];
    let sum: i64 = ["a", "b", "c"].iter().map(|name| draw[*name].as_i64().unwrap()).sum();
    let message = json!({"role": "assistant", "content": sum.to_string()});
    let body = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}});
    let row = |response: &Value| json!({"case_id": "arith-sum-three", "model": "m", "run": 3, "response": response});
    let mut told = row(&message);
    told["draw"] = draw.clone();
    let input = format!("{}\n{}\n{told}\n", row(&message), row(&body));
    let judged = lines(&run(&["score", "--suite", suite, "--draw", "7"], input.as_bytes()));
    assert!(judged.len() == 3 && judged.iter().all(|line| line["verdict"] == "Pass"), "{judged:?}");
    let other = lines(&run(&["score", "--suite", suite, "--draw", "8"], input.as_bytes()));
    assert_ne!(other[0]["verdict"], "Pass");
    assert_eq!(other[2]["verdict"], "Pass", "a row's own draw comes first");
    let untold = lines(&run(&["score", "--suite", suite], input.as_bytes()));
    assert!(untold[0]["error"].as_str().unwrap().contains("template"), "{}", untold[0]);
}

#[test]
fn tools_are_printed_a_line_a_case() {
    let dir = folder();
    let data = dir.path().to_str().unwrap();
    let output = run(&["suite", "tools", "--data", data, "--category", "simple_python"], b"");
    let cases = lines(&output);
    assert_eq!((cases.len(), &cases[0]["id"]), (2, &json!("simple_0")));
    let function = &cases[0]["tools"][0]["function"];
    assert_eq!(function["name"], "hotel_book");
    assert_eq!(function["parameters"]["properties"]["budget"]["format"], "float");
    let refused = run(&["suite", "tools", "--data", data, "--category", "multi_turn_base"], b"");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not supported"));
}

#[test]
fn an_imported_suite_gives_the_verdicts_of_offline_scoring() {
    let dir = folder();
    let wheel = small_wheel(dir.path());
    let into = dir.path().join("suites");
    let args = ["suite", "import", "bfcl", wheel.to_str().unwrap(), "--into", into.to_str().unwrap()];
    let output = run(&args, b"");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = into.join("bfcl-python-single");
    let suite = std::sync::Arc::new(load_suite(&folder).unwrap());
    assert_eq!((suite.revision.as_str(), suite.license.as_deref()), ("2026.3.23+1", Some("Apache-2.0")));
    let ids: Vec<&str> = suite.cases.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, ["simple_0", "irrelevance_0"], "what no answer passes is excluded");
    assert_eq!(suite.excluded.len(), 1);
    let drawer = Drawer::new(std::sync::Arc::clone(&suite)).unwrap();
    let judge = Judge::new();
    for (row, expected) in some_rows() {
        let row: Value = serde_json::from_str(&row).unwrap();
        let id = suite.cases.iter().find(|c| c.id.as_str() == row["id"]).unwrap().id.clone();
        let instance = drawer.draw(&id, "00000000000000000000000000000000", 0).unwrap();
        if id.as_str() == "simple_0" {
            assert_eq!(instance.messages.value()[0]["content"], "A room in {{city}}.", "word for word");
        }
        let calls = row["tool_calls"].as_array().map(|calls| {
            let wrapped = calls.iter().map(|c| json!({"id": "c", "type": "function", "function": c}));
            Value::Array(wrapped.collect())
        });
        let message = json!({"role": "assistant", "content": row["content"], "tool_calls": calls});
        let judgement = judge.prepare(&instance).unwrap().judge(&completion_from_message(&message));
        assert_eq!(judgement.verdict == Verdict::Pass, expected["valid"] == true, "{row}: {}", judgement.explanation);
        assert_eq!(json!(judgement.error_type), expected["error_type"], "{row}");
    }
    let again = run(&args, b"");
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));
    let java = [&args[..], &["--category", "simple_java"]].concat();
    assert!(String::from_utf8_lossy(&run(&java, b"").stderr).contains("not supported"));
}

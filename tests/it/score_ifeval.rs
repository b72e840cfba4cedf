//! IFEval through the binary: rows from stdin, and an imported suite.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

fn exactod(args: &[&str], stdin: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_exactod"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn row(response: &str, instructions: &[(&str, Value)]) -> Value {
    let ids: Vec<&str> = instructions.iter().map(|(id, _)| *id).collect();
    let kwargs: Vec<&Value> = instructions.iter().map(|(_, k)| k).collect();
    json!({"prompt": "p", "instruction_id_list": ids, "kwargs": kwargs, "response": response})
}

#[test]
fn rows_come_back_as_verdict_lines_in_order() {
    let words = ("length_constraints:number_words", json!({"num_words": 3, "relation": "less than", "letter": null}));
    let quoted = ("startend:quotation", json!({}));
    let french = ("language:response_language", json!({"language": "fr"}));
    let rows = [
        row("Sure, here:\n\"two words\"", &[words.clone(), quoted.clone()]),
        row("<think>\nlong and loud\n</think>\n\"ok\"", &[quoted, words]),
        row("Le chat dort sur la chaise près de la fenêtre.", &[french, ("made:up", json!({}))]),
    ];
    let input: String = rows.iter().map(|r| format!("{r}\n")).collect();
    let (code, out, err) = exactod(&["score", "--scorer", "ifeval"], &input);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[0], json!({"strict": [false, false], "loose": [true, true]}));
    assert_eq!(lines[1], json!({"strict": [true, true], "loose": [true, true]}));
    assert_eq!((&lines[2]["strict"], &lines[2]["loose"]), (&json!([true, null]), &json!([true, null])));
    assert_eq!(lines[2]["unscored"][0]["id"], "made:up");
    let (code, out, err) = exactod(&["score", "--scorer", "ifeval"], "{}\n");
    assert_eq!(code, 1);
    assert!(out.contains("\"error\":\"line 1: not a row") && err.contains("1 of 1 rows"), "{out}{err}");
}

#[test]
fn an_imported_suite_passes_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut source = String::new();
    for (key, word) in [(1000, "rain"), (1001, "{{snow}}")] {
        let keywords = json!({"keywords": [word], "num_words": null});
        let mut line = row("", &[("keywords:existence", keywords), ("punctuation:no_comma", json!({}))]);
        line["key"] = json!(key);
        source += &format!("{line}\n");
    }
    std::fs::write(path("input_data.jsonl"), source).unwrap();
    let (code, out, err) =
        exactod(&["suite", "import", "ifeval", &path("input_data.jsonl"), "--into", &path("made")], "");
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("2 cases"), "{out}");
    let (code, out, err) = exactod(&["suite", "check", &path("made/ifeval-exact")], "");
    assert_eq!(code, 0, "{out}{err}");
}

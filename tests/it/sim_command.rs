//! `exactod sim` as people start it: a program that prints where it listens, answers, and ends when told to.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::world::{MODEL, PATIENCE, Ran, exactod};
use crate::{gate, suites};

const SPEC: &str = r#"
model = "lab/m"
seed = 5

[[endpoints]]
name = "alder"

[[endpoints]]
name = "birch"
[[endpoints.injections]]
defect = "args_python_literal"
prevalence = 1.0

[[endpoints]]
name = "cedar"
base = 0.5
"#;

/// A simulator that runs. Killed when dropped.
struct Sim {
    child: Child,
    /// What it printed.
    said: Value,
    urls: BTreeMap<String, String>,
}

fn sim(dir: &Path, args: &[&str]) -> Command {
    let mut command = exactod();
    command.arg("sim").arg("--spec").arg(dir.join("fleet.toml")).arg("--suites").arg(dir.join("suites")).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Sim {
    async fn start(dir: &Path, args: &[&str]) -> Sim {
        let mut child = sim(dir, &[&["--json"], args].concat()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut text = String::new();
        // The document is over with the bracket at the beginning of a line.
        while !text.ends_with("\n}\n") {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it speaks").unwrap();
            text += &line.unwrap_or_else(|| panic!("it ended after {text:?}"));
            text.push('\n');
        }
        let said: Value = serde_json::from_str(&text).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let endpoints = said["endpoints"].as_array().unwrap().iter();
        let urls = endpoints.map(|e| (text(&e["id"]), text(&e["base_url"]))).collect();
        Sim { child, said, urls }
    }

    /// The body of an answer to a request.
    async fn ask(&self, endpoint: &str, request: &Value) -> String {
        let url = format!("{}/chat/completions", self.urls[endpoint]);
        let sent = gate::client().post(url).header("content-type", "application/json").body(request.to_string());
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), http::StatusCode::OK);
        answer.text().await.unwrap()
    }

    /// Asks it to stop; exit code and what it said to people.
    async fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().await.unwrap().success());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        let mut told = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut told).await.unwrap();
        (status.code(), told)
    }
}

/// A folder with the spec and the small suites.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    suites::write(&dir.path().join("suites"));
    std::fs::write(dir.path().join("fleet.toml"), SPEC).unwrap();
    dir
}

/// The cases of the suite of calls under a seed, as requests with the arguments that are right.
async fn requests(dir: &Path, seed: &str) -> Vec<(Value, Option<Value>)> {
    let suite = dir.join("suites/tool-use").display().to_string();
    let shown = Ran::of(exactod().args(["suite", "show", &suite, "--draw", seed, "--json"])).await.json();
    let request = |case: &Value| {
        let right = case["reference"].pointer("/tool_calls/0/function/arguments").and_then(Value::as_str);
        let request = json!({"model": MODEL, "messages": case["messages"], "tools": case["tools"]});
        (request, right.map(|text| serde_json::from_str(text).unwrap()))
    };
    shown.as_array().unwrap().iter().map(request).collect()
}

/// The arguments of the one call in a plain answer.
fn arguments(body: &str) -> String {
    let answer: Value = serde_json::from_str(body).unwrap();
    let found = answer.pointer("/choices/0/message/tool_calls/0/function/arguments");
    found.and_then(Value::as_str).unwrap_or_else(|| panic!("no call: {body}")).to_owned()
}

/// The arguments of the one call in a stream, put together.
fn streamed_arguments(body: &str) -> String {
    let frames: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(frames.last(), Some(&"[DONE]"), "{body}");
    let delta = |frame: &&str| {
        let frame: Value = serde_json::from_str(frame).unwrap();
        let found = frame.pointer("/choices/0/delta/tool_calls/0/function/arguments");
        found.and_then(Value::as_str).map(str::to_owned)
    };
    frames[..frames.len() - 1].iter().filter_map(delta).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_plain_and_streamed_plays_its_defects_and_ends_when_told_to() {
    let dir = folder();
    let sim = Sim::start(dir.path(), &[]).await;
    assert_eq!((&sim.said["model"], &sim.said["seed"], &sim.said["control"]), (&json!(MODEL), &json!(5), &Value::Null));
    assert_eq!(sim.urls.keys().collect::<Vec<_>>(), ["alder", "birch", "cedar"]);
    let mut called = 0;
    for (request, right) in requests(dir.path(), "3").await {
        let Some(right) = right else { continue };
        let mut streamed = request.clone();
        streamed["stream"] = json!(true);
        let plain = arguments(&sim.ask("alder", &request).await);
        assert_eq!(serde_json::from_str::<Value>(&plain).unwrap(), right);
        let pieces = streamed_arguments(&sim.ask("alder", &streamed).await);
        assert_eq!(serde_json::from_str::<Value>(&pieces).unwrap(), right);
        // The defect in every answer: arguments as Python writes them.
        for broken in
            [arguments(&sim.ask("birch", &request).await), streamed_arguments(&sim.ask("birch", &streamed).await)]
        {
            assert!(broken.starts_with("{'") && serde_json::from_str::<Value>(&broken).is_err(), "{broken}");
        }
        called += 1;
    }
    assert_eq!(called, suites::TOOL_CASES - 1);
    let (code, told) = sim.end("TERM").await;
    assert_eq!((code, told.as_str()), (Some(0), "simulating; interrupt to stop\n"));
    // From the moment that its addresses are known.
    assert_eq!(Sim::start(dir.path(), &[]).await.end("INT").await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_answers() {
    let dir = folder();
    let mut asked = Vec::new();
    for seed in ["1", "2", "3"] {
        asked.extend(requests(dir.path(), seed).await);
    }
    let answers = async |args: &[&str]| {
        let sim = Sim::start(dir.path(), args).await;
        let mut answers = Vec::new();
        for (request, _) in &asked {
            let answer: Value = serde_json::from_str(&sim.ask("cedar", request).await).unwrap();
            answers.push(answer["choices"].clone());
        }
        (sim.said["seed"].clone(), answers)
    };
    let of_spec = answers(&[]).await;
    assert_eq!(of_spec.0, json!(5));
    assert_eq!(answers(&["--seed", "5"]).await, of_spec);
    let other = answers(&["--seed", "6"]).await;
    assert_eq!(other.0, json!(6));
    assert_ne!(other.1, of_spec.1, "half of the answers are wrong, others than before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_spec_is_told_with_file_and_line() {
    let dir = folder();
    let wrong = SPEC.replace("prevalence = 1.0", "prevalence = 2.0").replace("base = 0.5", "bsae = 0.5");
    let spec = dir.path().join("fleet.toml");
    std::fs::write(&spec, wrong).unwrap();
    let ran = Ran::of(&mut sim(dir.path(), &["--json"])).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    // All at once, each with its place.
    for (line, part) in [(12, "prevalence"), (16, "bsae")] {
        assert!(ran.stderr.contains(&format!("fleet.toml:{line}:")) && ran.stderr.contains(part), "{ran:?}");
    }
    std::fs::write(&spec, SPEC.replace("args_python_literal", "args_python_litteral")).unwrap();
    let ran = Ran::of(&mut sim(dir.path(), &[])).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("fleet.toml:11:") && ran.stderr.contains("did you mean `args_python_literal`"),
        "{ran:?}"
    );
    std::fs::remove_file(&spec).unwrap();
    let ran = Ran::of(&mut sim(dir.path(), &[])).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("failed to read the simulator's spec"), "{ran:?}");
}

//! `sweep`: what it counts is what the simulated fleet did; what it prints; how it ends.

use std::collections::BTreeMap;

use exactod::domain::{CaseId, FaultClass, SuiteName};
use exactod::sim::{EndpointSpec, Expected, Outcome};
use exactod::store::StoredAttempt;
use serde_json::{Value, json};

use crate::suites;
use crate::world::{World, broken, good, weak};

/// Endpoints that go wrong in many ways, each with one right verdict.
fn mixed_fleet() -> Vec<EndpointSpec> {
    vec![
        good("alder"),
        weak("birch", 0.5),
        broken("cedar", &[("args_python_literal", 0.4), ("name_undeclared", 0.4), ("reasoning_only", 0.3)]),
        broken("dogwood", &[("ok_empty_body_for_429", 0.3), ("args_truncated_finish_tool_calls", 0.5)]),
        EndpointSpec { error_rate: 0.4, ..good("elm") },
        EndpointSpec { error_rate: 1.0, ..good("fir") },
    ]
}

/// What the simulator says that one endpoint's attempts must come to.
#[derive(Debug, Default, PartialEq)]
struct Expectation {
    attempts: u64,
    pass: u64,
    fail: u64,
    unscored: u64,
    faults: BTreeMap<String, u64>,
    first_try_ok: u64,
}

impl Expectation {
    /// Each case was asked once; its tries follow each other, and the last one counts.
    fn of(log: &[Outcome]) -> Expectation {
        let mut tries: BTreeMap<&(SuiteName, CaseId), Vec<Expected>> = BTreeMap::new();
        for outcome in log {
            tries.entry(outcome.case.as_ref().expect("a known case")).or_default().push(outcome.quality);
        }
        let mut out = Expectation::default();
        for (case, tries) in tries {
            out.attempts += 1;
            out.first_try_ok += u64::from(!is_delivery(tries[0]));
            match tries[tries.len() - 1] {
                Expected::Pass => out.pass += 1,
                Expected::Fault(fault) => {
                    *out.faults.entry(fault.name().to_owned()).or_default() += 1;
                    if fault.class() == FaultClass::Infra { out.unscored += 1 } else { out.fail += 1 }
                }
                unclear => panic!("{case:?}: the test needs defects with one right verdict, not {unclear:?}"),
            }
        }
        out
    }

    fn said(row: &Value) -> Expectation {
        let count = |key: &str| row[key].as_u64().unwrap();
        Expectation {
            attempts: count("attempts"),
            pass: count("pass"),
            fail: count("fail"),
            unscored: count("unscored"),
            faults: serde_json::from_value(row["faults"].clone()).unwrap(),
            first_try_ok: count("first_try_ok"),
        }
    }
}

fn is_delivery(expected: Expected) -> bool {
    matches!(expected, Expected::Fault(fault) if fault.class() == FaultClass::Infra)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_counts_what_every_endpoint_did() {
    let world = World::new(mixed_fleet()).await;
    let said = world.json(&["sweep", "--full", "--json"]).await;
    assert_eq!((&said["model"], &said["sweeps"], &said["decided"]), (&json!("lab/m"), &json!(1), &json!(false)));
    let rows = said["endpoints"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    let mut faults_seen: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows {
        let id = row["id"].as_str().unwrap();
        let expected = Expectation::of(&world.fleet.log(id).unwrap());
        assert_eq!(Expectation::said(row), expected, "{id}");
        assert_eq!(expected.attempts, suites::CASES as u64, "{id}");
        faults_seen.extend(expected.faults);
    }
    // The comparison would be worth little if all had gone well. Draws differ from run to run, and so do the kinds seen.
    assert!(faults_seen.len() >= 3, "{faults_seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_money_are_those_of_the_answers() {
    let world = World::new(mixed_fleet()).await;
    let said = world.json(&["sweep", "--full", "--json"]).await;
    let mut by_endpoint: BTreeMap<String, (u64, u64, f64)> = BTreeMap::new();
    for stored in world.attempts().await {
        let (tokens_in, tokens_out) = usage(&stored).unwrap_or((0, 0));
        let sums = by_endpoint.entry(stored.attempt.key.endpoint.to_string()).or_default();
        *sums = (sums.0 + tokens_in, sums.1 + tokens_out, sums.2 + cost_usd(&stored));
    }
    for row in said["endpoints"].as_array().unwrap() {
        let (tokens_in, tokens_out, cost) = by_endpoint[row["id"].as_str().unwrap()];
        assert_eq!(
            (row["tokens_in"].as_u64(), row["tokens_out"].as_u64()),
            (Some(tokens_in), Some(tokens_out)),
            "{row}"
        );
        // Each attempt's cost is a whole number of billionths.
        assert!((row["cost_usd"].as_f64().unwrap() - cost).abs() < 1e-7, "{row}: {cost}");
    }
    let spent: f64 = said["endpoints"].as_array().unwrap().iter().map(|row| row["cost_usd"].as_f64().unwrap()).sum();
    assert!(spent > 0.0, "{said}");
}

/// The config's price: 0.50 and 1.50 dollars per million tokens. An answer without usage may still be billed: it counts by
/// its bytes, four to a token. What was not delivered costs nothing.
fn cost_usd(stored: &StoredAttempt) -> f64 {
    let transcript = stored.attempt.transcript.as_ref().unwrap();
    let by_bytes = || ((transcript.request.len() / 4) as u64, (transcript.response.len() / 4) as u64);
    let delivered = stored.attempt.judgement.score.is_some();
    let (tokens_in, tokens_out) = usage(stored).unwrap_or_else(|| if delivered { by_bytes() } else { (0, 0) });
    (tokens_in as f64 * 0.5 + tokens_out as f64 * 1.5) / 1e6
}

/// The usage that an answer reports, read from its stored bytes.
fn usage(stored: &StoredAttempt) -> Option<(u64, u64)> {
    let body = std::str::from_utf8(&stored.attempt.transcript.as_ref()?.response).ok()?;
    let lines = body.lines().map(|line| line.strip_prefix("data:").unwrap_or(line));
    let documents = lines.filter_map(|line| serde_json::from_str::<Value>(line.trim()).ok());
    let whole = serde_json::from_str::<Value>(body).into_iter();
    let usages: Vec<Value> = documents.chain(whole).map(|d| d["usage"].clone()).filter(Value::is_object).collect();
    let usage = usages.last()?;
    Some((usage["prompt_tokens"].as_u64()?, usage["completion_tokens"].as_u64()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_document_stands_on_stdout_whatever_is_logged() {
    let world = World::new(vec![good("alder"), weak("birch", 0.5)]).await;
    let quiet = world.run(&["sweep", "--json"]).await;
    assert_eq!(quiet.code, 0, "{quiet:?}");
    assert_eq!(quiet.json()["endpoints"].as_array().unwrap().len(), 2);
    let mut loud = world.exactod(&["sweep", "--json"]);
    let loud = crate::world::Ran::of(loud.env("EXACTOD_LOG", "debug")).await;
    assert_eq!(loud.code, 0, "{loud:?}");
    assert_eq!(loud.json()["endpoints"].as_array().unwrap().len(), 2);
    assert!(loud.stderr.contains("DEBUG"), "logs go to stderr: {}", loud.stderr);
    // For people the same rows, as a table.
    let table = world.run(&["sweep"]).await;
    assert_eq!(table.code, 0);
    assert!(table.stdout.contains("alder") && table.stdout.contains("birch"), "{table:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_cases_and_endpoints_is_asked_and_no_more() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let args = ["sweep", "--suite", "tool-use", "--endpoint", "birch", "--limit", "3", "--json"];
    let said = world.json(&args).await;
    let attempts: Vec<(String, u64)> = said["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["id"].as_str().unwrap().to_owned(), row["attempts"].as_u64().unwrap()))
        .collect();
    let expected = [("alder", 0), ("birch", 3), ("cedar", 0)].map(|(id, n)| (id.to_owned(), n));
    assert_eq!(attempts, expected);
    assert_eq!(world.requests(), 3);
    assert!(world.fleet.log("birch").unwrap().iter().all(|o| o.case.as_ref().unwrap().0.as_str() == "tool-use"));
    // Repeats of a full sweep are drawn anew and counted apart.
    let said = world.json(&["sweep", "--full", "--epochs", "2", "--suite", "output-quality", "--json"]).await;
    for row in said["endpoints"].as_array().unwrap() {
        assert_eq!(row["attempts"], json!(2 * suites::TEXT_CASES), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_end_with_2_and_say_what_there_is() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    for (args, part) in [
        (["sweep", "--suite", "tool-usse"], "loaded: output-quality, tool-use"),
        (["sweep", "--model", "lab/n"], "known: lab/m"),
        (["sweep", "--endpoint", "alter"], "no endpoint \"alter\""),
        (["sweep", "--limit", "0"], "at least 1"),
        (["sweep", "--epochs", "2"], "--full"),
        (["sweep", "--frob", "1"], "--frob"),
        (["sweep", "--until-decided", "--endpoint=alder"], "leave --endpoint out"),
        (["sweep", "--until-decided", "--suite=tool-use"], "add output-quality"),
    ] {
        let ran = world.run(&args).await;
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(part), "{args:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    assert_eq!(world.requests(), 0, "nothing was asked");
}

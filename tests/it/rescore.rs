//! `rescore`: stored answers get the verdicts of a newer suite beside their own.

use std::collections::BTreeMap;

use exactod::domain::{AttemptId, Judgement};
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::suites::TEXT_CASES;
use crate::world::{self, World, good, weak};

const SUITE: &str = "output-quality";

/// The suite by which any text passes; one case has another question now, one is gone.
pub fn loosen(world: &World) {
    let (header, cases) = (format!("suites/{SUITE}/suite.toml"), format!("suites/{SUITE}/cases.jsonl"));
    let text = std::fs::read_to_string(world.path(&header)).unwrap();
    std::fs::write(world.path(&header), text.replace("revision = \"1\"", "revision = \"2\"")).unwrap();
    let text = std::fs::read_to_string(world.path(&cases)).unwrap();
    let lines = text.lines().filter(|line| !line.contains("\"sum-1\"")).map(|line| {
        let mut case: Value = serde_json::from_str(&line.replace("One word.", "In one word.")).unwrap();
        case["scorers"] = json!([{"type": "length", "min_chars": 1}]);
        case.to_string()
    });
    std::fs::write(world.path(&cases), lines.collect::<Vec<_>>().join("\n")).unwrap();
}

async fn judgements(world: &World) -> BTreeMap<AttemptId, Judgement> {
    world.attempts().await.into_iter().map(|stored| (stored.attempt.id, stored.attempt.judgement)).collect()
}

async fn a_newer_suite_judges_what_is_stored(world: World) {
    world.json(&["sweep", "--full", "--epochs", "3", "--json"]).await;
    let first = judgements(&world).await;
    let text = ["--suite", SUITE];
    let same = world.json(&[&["rescore", "--json"], &text[..]].concat()).await;
    let asked = 2 * 3 * TEXT_CASES as u64;
    assert_eq!(same[0]["attempts"], asked);
    assert_eq!(same[0]["skipped"], json!({"judged by this digest in its sweep": asked}), "nothing to do yet");

    loosen(&world);
    let now = world.json(&[&["rescore", "--json"], &text[..]].concat()).await;
    let report = &now[0];
    let judged = asked - 2 * 2 * 3;
    assert_eq!((&report["rescored"], &report["new"]), (&json!(judged), &json!(judged)), "{report}");
    assert_eq!(
        report["skipped"],
        json!({"the case asks something else now": 6, "the suite has no such case any more": 6})
    );
    let (alder, birch) = (&report["endpoints"]["alder"], &report["endpoints"]["birch"]);
    let half = judged / 2;
    let all =
        json!({"answers": half, "scored_before": half, "passed_before": half, "scored_now": half, "passes_now": half});
    assert_eq!(*alder, all);
    let failed = judged / 2 - birch["passed_before"].as_u64().unwrap();
    assert!(failed > 0, "half of birch's answers are wrong: {report}");
    assert_eq!((&birch["passes_now"], &report["changed"]), (&json!(judged / 2), &json!(failed)));
    assert_eq!(report["examples"].as_array().unwrap().len() as u64, failed);
    assert_eq!(
        (&report["examples"][0]["before"], &report["examples"][0]["now"]),
        (&json!("Fail(WrongAnswer)"), &json!("Pass"))
    );

    let again = world.json(&[&["rescore", "--json"], &text[..]].concat()).await;
    assert_eq!((&again[0]["rescored"], &again[0]["new"]), (&json!(judged), &json!(0)), "no verdict twice");
    assert_eq!(judgements(&world).await, first, "the first verdicts stay");
    assert_eq!(world.requests() as usize, first.len(), "and nobody was asked anything");
    a_series_of_its_own(&world, (judged / 2, judged / 2 - failed)).await;
    let check = world.json(&["db", "check", "--json"]).await;
    assert_eq!(check["rows"]["rescored"], judged, "{check}");
}

/// (answers of birch that were judged again, of these passed by their first verdicts).
async fn a_series_of_its_own(world: &World, (judged, before): (u64, u64)) {
    let daemon = Daemon::start(world).await;
    let path = format!("/v1/models/{}/endpoints/birch/series?suite={SUITE}", world::model());
    let series = daemon.get(&path, None).await.json();
    let total = |list: &str, what: &str| -> u64 {
        let buckets = series[list].as_array().unwrap().iter().flat_map(|one| one["buckets"].as_array().unwrap());
        buckets.map(|bucket| bucket[what].as_u64().unwrap()).sum()
    };
    assert_eq!((total("rescored", "pass"), total("rescored", "fail")), (judged, 0), "{series}");
    assert_eq!(total("rescored", "passed_before"), before, "{series}");
    assert_eq!(total("rescored", "scored_before"), judged, "{series}");
    assert!(total("suites", "fail") > 0, "the first verdicts stay as they are: {series}");
    assert_ne!(series["rescored"][0]["digest"], series["suites"][0]["digest"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_suite_judges_what_is_stored_on_sqlite() {
    a_newer_suite_judges_what_is_stored(World::new(vec![good("alder"), weak("birch", 0.5)]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_suite_judges_what_is_stored_on_postgres() {
    a_newer_suite_judges_what_is_stored(World::on_postgres(vec![good("alder"), weak("birch", 0.5)]).await).await;
}

#[tokio::test]
async fn an_unknown_suite_is_a_usage_error_that_names_the_known_ones() {
    let world = World::new(vec![good("alder")]).await;
    world.json(&["sweep", "--json"]).await;
    let ran = world.run(&["rescore", "--suite", "nonsense"]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("nonsense") && ran.stderr.contains(SUITE), "{}", ran.stderr);
}

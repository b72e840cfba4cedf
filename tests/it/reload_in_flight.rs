//! A config that changes while a sweep is in flight: the sweep's end takes nothing back of what was decided under the
//! new one.

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::gate::Gate;
use crate::history::{FAST_POLICY, fast};
use crate::world::{MODEL, Settings, World, eventually, good};

const TAKEN: &str = "exactod_config_reloads_total{result=\"ok\"}";

fn reasons(log: &Value, of: &str) -> Vec<String> {
    let items = log["items"].as_array().unwrap().iter().filter(|d| d["endpoint"] == of);
    items.map(|d| d["reason"].as_str().unwrap().to_owned()).collect()
}

/// What a sweep has left whose config was changed after a few answers, and an order given, before the others came.
struct Ended {
    sweep: Value,
    decisions: Value,
    listed: Vec<String>,
}

async fn changed_in_flight(change: impl AsyncFnOnce(&World, &[(String, String)])) -> Ended {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let gate = Gate::before(&world.fleet, 2).await;
    world.configure_for(&gate.providers, &fast());
    let daemon = Daemon::start(&world).await;
    let begun = format!("exactod_sweep_done_attempts{{model=\"{MODEL}\"}}");
    eventually("some answers are stored", async || daemon.metric(&begun).await.filter(|n| *n >= 6.0)).await;
    change(&world, &gate.providers).await;
    daemon.signal("HUP").await;
    eventually("the config is taken", async || daemon.metric(TAKEN).await).await;
    let ordered = daemon.post(&format!("/v1/models/{MODEL}/endpoints/alder/note"), &json!({"note": "seen"})).await;
    assert_eq!(ordered.status.as_u16(), 200, "{ordered:?}");
    gate.open();
    let sweep = eventually("the sweep has ended", async || {
        let all = daemon.get("/v1/sweeps", None).await.json()["items"].take();
        let all = all.as_array().unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        (all[0]["state"] != json!("running")).then(|| all[0].clone())
    })
    .await;
    let decisions = daemon.get(&format!("/v1/models/{MODEL}/decisions?limit=200"), None).await.json();
    let list = daemon.allowlist().await.json();
    let listed = list["providers"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
    daemon.stop().await;
    let replayed = world.run(&["replay"]).await;
    assert_eq!(replayed.code, 0, "{replayed:?}");
    Ended { sweep, decisions, listed }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_left_in_mid_sweep_is_not_let_in_again() {
    let ended = changed_in_flight(async |world, providers| world.configure_for(&providers[..2], &fast())).await;
    assert_eq!(ended.sweep["state"], json!("closed"), "{}", ended.sweep);
    assert!(ended.sweep["note"].as_str().unwrap().contains("endpoint cedar is not configured any more"));
    let cedar = reasons(&ended.decisions, "cedar");
    assert_eq!(cedar.iter().filter(|r| r.starts_with("left")).count(), 1, "{cedar:?}");
    assert!(cedar[0].starts_with("left"), "nothing after it: {cedar:?}");
    assert!(!ended.listed.contains(&"cedar".to_owned()), "{:?}", ended.listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_was_renamed_in_mid_sweep_keeps_its_new_name() {
    let ended = changed_in_flight(async |world, providers| {
        let mut renamed = providers.to_vec();
        renamed[2].0 = "cypress".to_owned();
        world.configure_for(&renamed, &fast());
    })
    .await;
    assert_eq!(ended.sweep["state"], json!("closed"), "{}", ended.sweep);
    let (cedar, cypress) = (reasons(&ended.decisions, "cedar"), reasons(&ended.decisions, "cypress"));
    assert!(cedar[0].starts_with("left"), "{cedar:?}");
    assert_eq!(cypress.len(), 1, "it entered, once, and never left: {cypress:?}");
    assert!(ended.listed.contains(&"cypress".to_owned()) && !ended.listed.contains(&"cedar".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_was_edited_in_mid_sweep_stays_and_folds_the_sweep() {
    let ended = changed_in_flight(async |world, _| {
        let policy = format!("{FAST_POLICY}\ncapabilities = [\"streaming\"]").replace("alpha = 0.2", "alpha = 0.1");
        let text = std::fs::read_to_string(world.config_path()).unwrap();
        std::fs::write(world.config_path(), text.replace(FAST_POLICY, &policy)).unwrap();
    })
    .await;
    assert_eq!(ended.sweep["state"], json!("done"), "{}", ended.sweep);
    let alder = reasons(&ended.decisions, "alder");
    let edits: Vec<&String> = alder.iter().filter(|r| r.starts_with("policy change")).collect();
    assert_eq!(edits.len(), 1, "in force from the order on: {alder:?}");
    assert!(edits[0].contains("alpha 0.2 -> 0.1"), "{edits:?}");
    assert_eq!(ended.listed.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_asked_for_by_another_name_in_mid_sweep_gets_no_evidence_of_the_old_one() {
    let ended = changed_in_flight(async |world, providers| {
        let other = Settings { endpoint: format!("upstream_model = \"other\"\n{}", fast().endpoint), ..fast() };
        world.configure_for(providers, &other);
    })
    .await;
    assert_eq!(ended.sweep["state"], json!("closed"), "{}", ended.sweep);
    assert!(ended.sweep["note"].as_str().unwrap().contains("another upstream_model"), "{}", ended.sweep);
    changed_once(&ended.decisions, "alder", "version change: upstream model lab/m at alder -> other at alder");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_another_provider_serves_in_mid_sweep_gets_no_evidence_of_the_old_one() {
    let ended = changed_in_flight(async |world, _| at_another_provider(world)).await;
    assert_eq!(ended.sweep["state"], json!("closed"), "{}", ended.sweep);
    let note = ended.sweep["note"].as_str().unwrap();
    assert!(note.contains("endpoint cedar has another upstream_model or provider"), "{note}");
    changed_once(&ended.decisions, "cedar", "version change: upstream model lab/m at cedar -> lab/m at cypress");
    let alder = reasons(&ended.decisions, "alder");
    assert!(!alder.iter().any(|r| r.starts_with("version change")), "the others are what they were: {alder:?}");
}

/// The endpoint cedar keeps its id, and cypress serves it.
fn at_another_provider(world: &World) {
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let text = text.replacen(
        "[[model.endpoint]]\nprovider = \"cedar\"",
        "[[model.endpoint]]\nid = \"cedar\"\nprovider = \"cypress\"",
        1,
    );
    std::fs::write(
        world.config_path(),
        text.replacen("[[provider]]\nid = \"cedar\"", "[[provider]]\nid = \"cypress\"", 1),
    )
    .unwrap();
}

fn changed_once(decisions: &Value, of: &str, what: &str) {
    let reasons = reasons(decisions, of);
    assert_eq!(reasons.iter().filter(|r| r.starts_with(what)).count(), 1, "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_was_killed_is_not_gone_on_with_at_another_upstream() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let gate = Gate::before(&world.fleet, 2).await;
    world.configure_for(&gate.providers, &fast());
    let daemon = Daemon::start(&world).await;
    let begun = format!("exactod_sweep_done_attempts{{model=\"{MODEL}\"}}");
    eventually("some answers are stored", async || daemon.metric(&begun).await.filter(|n| *n >= 6.0)).await;
    daemon.signal("KILL").await;
    daemon.ended().await;
    at_another_provider(&world);
    // Somebody has looked at the new config already: the store's last step knows it.
    world.json(&["note", MODEL, "alder", "--note", "moved", "--json"]).await;
    gate.open();
    let before = world.requests();
    let daemon = Daemon::start(&world).await;
    let closed = eventually("the sweep is closed", async || {
        let all = daemon.get("/v1/sweeps?state=closed", None).await.json()["items"].take();
        all.get(0).cloned()
    })
    .await;
    assert!(closed["note"].as_str().unwrap().contains("another upstream_model or provider"), "{closed}");
    let decisions = daemon.get(&format!("/v1/models/{MODEL}/decisions?limit=200"), None).await.json();
    changed_once(&decisions, "cedar", "version change: upstream model lab/m at cedar -> lab/m at cypress");
    let cedar = reasons(&decisions, "cedar");
    assert!(cedar.iter().any(|r| r.contains("was closed without evidence")), "{cedar:?}");
    daemon.stop().await;
    // The tick of the sweep is taken: none of its cases was asked again.
    assert_eq!(world.requests(), before);
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_that_changed_in_mid_sweep_restarts_the_evidence_once() {
    let ended = changed_in_flight(async |world, _| {
        let header = world.path("suites/output-quality/suite.toml");
        let text = std::fs::read_to_string(&header).unwrap();
        std::fs::write(&header, text.replace("revision = \"1\"", "revision = \"2\"")).unwrap();
        let cases = world.path("suites/output-quality/cases.jsonl");
        let text = std::fs::read_to_string(&cases).unwrap();
        std::fs::write(&cases, text.replace("One word.", "In one word.")).unwrap();
    })
    .await;
    assert_eq!(ended.sweep["state"], json!("closed"), "{}", ended.sweep);
    let alder = reasons(&ended.decisions, "alder");
    assert_eq!(alder.iter().filter(|r| r.starts_with("version change")).count(), 1, "{alder:?}");
}

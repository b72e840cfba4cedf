//! Endpoints that are pinned through an aggregator: answers of somebody else, from a cache, or repaired on the way are not
//! scored, and whoever gives many of them stays where it is.

use std::collections::{BTreeMap, BTreeSet};

use exactod::domain::{Attempt, UnscoredWhy, Verdict};
use exactod::sim::{Condition, EndpointSpec, Injection};
use serde_json::{Value, json};

use crate::history::fast;
use crate::rescore::loosen;
use crate::world::{MODEL, Settings, World, broken, good};

/// Far more than the good ones take to be admitted.
const SWEEPS_MAX: usize = 60;
const NOT_ITS_OWN: Verdict = Verdict::Unscored(UnscoredWhy::Provenance);

/// Cedar is never served by the one it is pinned to, dogwood in two of fourteen cases (calls in streams) not, elm is cached or
/// repaired. Healthy answers do not say who served them.
fn fleet() -> Vec<EndpointSpec> {
    let streamed_calls = Condition { stream: Some(true), tools: Some(true), ..Condition::default() };
    let at_times = Injection { condition: streamed_calls, ..Injection::new("served_by_other", 1.0) };
    vec![
        good("alder"),
        good("birch"),
        broken("cedar", &[("served_by_other", 1.0)]),
        EndpointSpec { injections: vec![at_times], ..good("dogwood") },
        broken("elm", &[("cache_hit", 0.5), ("healed_response", 0.5)]),
    ]
}

async fn standings(world: &World) -> BTreeMap<String, String> {
    let said = world.json(&["explain", MODEL, "--json"]).await;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    said["endpoints"].as_array().unwrap().iter().map(|e| (text(e, "endpoint"), text(e, "standing"))).collect()
}

/// Endpoints with an open alarm `provenance`, and its texts.
async fn alarmed(world: &World) -> BTreeMap<String, String> {
    let store = world.store().await;
    let open = store.open_alarms().await.unwrap().into_iter().filter(|alarm| alarm.key.kind == "provenance");
    let open = open.map(|alarm| (alarm.key.endpoint.unwrap().to_string(), alarm.text)).collect();
    store.close().await;
    open
}

async fn attempts_of(world: &World, endpoint: &str) -> Vec<Attempt> {
    let all = world.attempts().await.into_iter().map(|stored| stored.attempt);
    all.filter(|attempt| attempt.key.endpoint.as_str() == endpoint).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_others_are_not_scored_on_sqlite() {
    not_scored(World::new(fleet()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_others_are_not_scored_on_postgres() {
    not_scored(World::on_postgres(fleet()).await).await;
}

async fn not_scored(world: World) {
    let priced = Settings::default().endpoint;
    world.configure(&Settings { endpoint: format!("{priced}\nserved_by = \"Lab\""), ..fast() });
    for sweep in 0.. {
        assert!(sweep < SWEEPS_MAX, "nobody is admitted: {:?}", standings(&world).await);
        world.json(&["sweep", "--json"]).await;
        let now = standings(&world).await;
        if ["alder", "birch", "dogwood"].iter().all(|good| now[*good] == "Admitted") {
            break;
        }
    }
    let now = standings(&world).await;
    assert_eq!((now["cedar"].as_str(), now["elm"].as_str()), ("Unknown", "Unknown"), "they stay where they are");
    let alarms = alarmed(&world).await;
    assert_eq!(alarms.keys().collect::<Vec<_>>(), ["cedar", "elm"], "two of fourteen are no reason for an alarm");
    assert!(alarms["cedar"].contains("14 of 14 attempts of cedar cannot be attributed to it"), "{alarms:?}");

    for attempt in attempts_of(&world, "cedar").await {
        let judgement = &attempt.judgement;
        assert_eq!((judgement.verdict, judgement.score, judgement.fault), (NOT_ITS_OWN, None, None));
        assert!(judgement.explanation.contains("served by \"another-provider\", not by \"Lab\""), "{judgement:?}");
        assert!(attempt.cost_nanousd > 0 && attempt.first_try_ok(), "it came, and is paid for");
    }
    let at_times = attempts_of(&world, "dogwood").await;
    let doubted = at_times.iter().filter(|a| a.judgement.verdict == NOT_ITS_OWN).count();
    assert_eq!(doubted * 7, at_times.len());
    assert!(at_times.iter().all(|a| matches!(a.judgement.verdict, Verdict::Pass | NOT_ITS_OWN)));
    let told: BTreeSet<bool> = attempts_of(&world, "elm")
        .await
        .iter()
        .filter(|a| a.judgement.verdict == NOT_ITS_OWN)
        .map(|a| a.judgement.explanation.contains("from a cache (x-cache: HIT)"))
        .collect();
    assert_eq!(told.len(), 2, "cached ones, and repaired ones");
    assert_eq!(attempts_of(&world, "alder").await.iter().filter(|a| a.judgement.verdict != Verdict::Pass).count(), 0);

    let cards = world.json(&["scorecard", "--json"]).await;
    let card = |id: &str| cards["items"].as_array().unwrap().iter().find(|card| card["endpoint"] == *id).unwrap();
    for suite in card("cedar")["suites"].as_array().unwrap() {
        assert_eq!((&suite["latency"], &suite["rate"]), (&Value::Null, &Value::Null), "another's speed is not its own");
    }
    assert!(card("alder")["suites"][0]["latency"]["p50_us"].as_i64() > Some(0), "{cards}");

    assert_eq!(world.json(&["replay", "--json"]).await["equal"], json!(true));
    rescored(&world).await;
    world.configure(&fast());
    world.json(&["sweep", "--json"]).await;
    assert_eq!(alarmed(&world).await, BTreeMap::new(), "whoever is not pinned is taken at its word");
}

/// Another version of a suite finds no verdict for what is not the endpoint's.
async fn rescored(world: &World) {
    loosen(world);
    let said = world.json(&["rescore", "--suite", "output-quality", "--json"]).await;
    let not_its_own = world.attempts().await.into_iter().map(|stored| stored.attempt);
    let not_its_own =
        not_its_own.filter(|a| a.key.suite.as_str() == "output-quality" && a.judgement.verdict == NOT_ITS_OWN).count();
    assert_eq!(said[0]["skipped"]["the answer cannot be attributed to its endpoint"], json!(not_its_own), "{said}");
    assert_eq!(said[0]["endpoints"].get("cedar"), None, "{said}");
}

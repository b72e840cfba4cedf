//! Fingerprints as people see them: the same model raises no alarm, another one becomes Suspect, and replays agree.

use std::collections::BTreeSet;
use std::process::Stdio;

use exactod::domain::{AttemptKey, SweepState};
use exactod::sim::{EndpointSpec, Language};
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::history::FAST_POLICY;
use crate::suites::CASES;
use crate::world::{Settings, World, eventually, good};

const NAMES: [&str; 4] = ["alder", "birch", "cedar", "dogwood"];

fn speaking(name: &str, drift: f64) -> EndpointSpec {
    EndpointSpec { language: Some(Language { drift, ..Language::default() }), ..good(name) }
}

fn fleet(drift_of_dogwood: f64) -> Vec<EndpointSpec> {
    NAMES.iter().map(|name| speaking(name, if *name == "dogwood" { drift_of_dogwood } else { 0.0 })).collect()
}

/// Fingerprints in every sweep.
fn settings() -> Settings {
    Settings { policy: format!("{FAST_POLICY}\nfingerprint = \"1ms\""), ..Settings::default() }
}

async fn open(world: &World) -> Vec<(String, String)> {
    let store = world.store().await;
    let open = store.open_alarms().await.unwrap().into_iter();
    let out = open.map(|a| (a.key.kind, a.key.endpoint.map(|e| e.to_string()).unwrap_or_default())).collect();
    store.close().await;
    out
}

async fn standing(world: &World, id: &str) -> Value {
    world.json(&["explain", "lab/m", id, "--json"]).await["endpoints"][0]["standing"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_behind_the_same_name_is_noticed_on_sqlite() {
    noticed(World::new(fleet(0.0)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_behind_the_same_name_is_noticed_on_postgres() {
    noticed(World::on_postgres(fleet(0.0)).await).await;
}

async fn noticed(before: World) {
    before.configure(&settings());
    let said = before.json(&["sweep", "--until-decided", "--json"]).await;
    assert_eq!(said["decided"], json!(true), "{said}");
    for _ in 0..3 {
        before.json(&["sweep", "--json"]).await;
    }
    assert_eq!(open(&before).await, [], "the same model everywhere");
    // The prompts are the program's own affair: no suite, no scorecard, no standing comes of them.
    let card = before.run(&["scorecard"]).await;
    assert!(card.code == 0 && !card.stdout.contains("fingerprint"), "{card:?}");
    let observed = before.attempts().await.iter().filter(|a| a.attempt.observed.is_some()).count();
    assert!(observed > 0 && observed.is_multiple_of(4 * (120 + 60)), "{observed}");

    // The same store, and another model at one of the endpoints.
    let world = World::on(before.database.clone(), fleet(0.5)).await;
    world.configure(&settings());
    let mut sweeps = 0;
    while open(&world).await.is_empty() {
        world.json(&["sweep", "--json"]).await;
        sweeps += 1;
        assert!(sweeps < 10, "not noticed");
    }
    assert_eq!(open(&world).await, [("fingerprint_changed".to_owned(), "dogwood".to_owned())]);
    assert_eq!(standing(&world, "dogwood").await, json!("Suspect"));
    assert_eq!(standing(&world, "alder").await, json!("Admitted"));
    let decisions = world.json(&["decisions", "--json"]).await;
    let reason = decisions["items"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("suspect: fingerprint changed; more sampling"), "{reason}");
    let replayed = world.json(&["replay", "--json"]).await;
    assert_eq!(replayed["equal"], json!(true), "{replayed}");
}

/// Another way to draw words: at temperature 0 it says what the others say, and shows the same log-probabilities.
fn drawing(heat_of_dogwood: f64) -> Vec<EndpointSpec> {
    let speaking = |name: &&str| {
        let heat = if *name == "dogwood" { heat_of_dogwood } else { 1.0 };
        EndpointSpec { language: Some(Language { heat, ..Language::default() }), ..good(name) }
    };
    NAMES.iter().map(speaking).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_distribution_of_answers_is_noticed_on_sqlite() {
    sampled(World::new(drawing(1.0)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_distribution_of_answers_is_noticed_on_postgres() {
    sampled(World::on_postgres(drawing(1.0)).await).await;
}

/// Sweeps of a round of sampled answers.
const ROUND: usize = 12;

/// A heat that the comparison sees in every round: of twelve simulated rounds at the level 0.001 it saw 10 at a heat of 2, and
/// all at 3.
const HOT: f64 = 6.0;

async fn sampled(before: World) {
    let settings = Settings { policy: format!("{FAST_POLICY}\nfingerprint_samples = \"1ms\""), ..Settings::default() };
    before.configure(&settings);
    let said = before.json(&["sweep", "--until-decided", "--json"]).await;
    assert_eq!(said["decided"], json!(true), "{said}");
    let count = async |world: &World| {
        let all = world.attempts().await;
        let sampled: Vec<_> =
            all.into_iter().filter(|a| a.attempt.key.suite.as_str() == "fingerprint-samples").collect();
        assert!(sampled.iter().all(|a| a.attempt.sampled.as_ref().is_some_and(|text| text.chars().count() <= 128)));
        sampled.len()
    };
    let begun = count(&before).await;
    for _ in 0..ROUND {
        before.json(&["sweep", "--json"]).await;
    }
    assert_eq!(open(&before).await, [], "the same model everywhere");
    assert_eq!(count(&before).await - begun, 4 * 600, "a whole round");
    let planned = before.json(&["plan", "--json"]).await;
    let row = &planned["models"][0]["fingerprints"][0];
    assert_eq!(
        (&row["prompts"], &row["requests"], &row["sweeps"]),
        (&json!("fingerprint-samples"), &json!(2400), &json!(12))
    );

    let world = World::on(before.database.clone(), drawing(HOT)).await;
    world.configure(&settings);
    let mut sweeps = 0;
    while open(&world).await.is_empty() {
        world.json(&["sweep", "--json"]).await;
        sweeps += 1;
        assert!(sweeps <= 2 * ROUND, "not noticed");
    }
    assert_eq!(open(&world).await, [("fingerprint_changed".to_owned(), "dogwood".to_owned())]);
    assert_eq!(
        (standing(&world, "dogwood").await, standing(&world, "alder").await),
        (json!("Suspect"), json!("Admitted"))
    );
    let decisions = world.json(&["decisions", "--json"]).await;
    let reason = decisions["items"][0]["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.starts_with("suspect: fingerprint changed") && reason.contains("its sampled answers differ"),
        "{reason}"
    );
    let replayed = world.json(&["replay", "--json"]).await;
    assert_eq!(replayed["equal"], json!(true), "{replayed}");
}

/// Requests in flight per endpoint, as configured.
const IN_FLIGHT: usize = 2;
/// Prompts for fingerprints: five times each of 24, and 60.
const PROMPTS: usize = 180;
/// Answers of each endpoint that arrive before the kill: all cases, and a part of the prompts.
const ANSWERS: usize = CASES + 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_killed_among_its_fingerprints_is_finished_and_nothing_is_doubled_or_lost_on_sqlite() {
    killed(World::new(fleet(0.0)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_killed_among_its_fingerprints_is_finished_and_nothing_is_doubled_or_lost_on_postgres() {
    killed(World::on_postgres(fleet(0.0)).await).await;
}

async fn killed(world: World) {
    let gate = Gate::before(&world.fleet, ANSWERS).await;
    world.configure_for(&gate.providers, &settings());
    let store = world.store().await;
    let mut first = world.exactod(&["sweep", "--json"]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (sweep, stored) = eventually("a part of the prompts is stored", async || {
        let running = store.running_sweeps(None).await.unwrap();
        let sweep = running.first()?;
        let stored = store.done_keys(sweep.record.id).await.unwrap();
        let asked = world.requests() as usize == NAMES.len() * (ANSWERS + IN_FLIGHT);
        let plan = sweep.plan.clone().unwrap();
        (stored.len() == NAMES.len() * ANSWERS && asked).then_some((plan, stored))
    })
    .await;
    first.start_kill().unwrap();
    first.wait().await.unwrap();
    let planned = NAMES.len() * (CASES + PROMPTS);
    assert_eq!(sweep.attempts() as usize, planned);

    gate.open();
    let said = world.json(&["sweep", "--json"]).await;
    assert_eq!((&said["sweep"], &said["sweeps"]), (&json!(sweep.id.to_string()), &json!(1)), "the same sweep");
    assert_eq!(world.requests() as usize, planned + NAMES.len() * IN_FLIGHT, "only what was in flight is asked again");
    let attempts = world.attempts().await;
    let keys: BTreeSet<AttemptKey> = attempts.iter().map(|a| a.attempt.key.clone()).collect();
    assert_eq!((attempts.len(), keys.len()), (planned, planned), "every attempt is stored, and once");
    assert!(stored.iter().all(|key| keys.contains(key)));
    let observed = attempts.iter().filter(|a| a.attempt.observed.is_some()).count();
    assert_eq!(observed, NAMES.len() * PROMPTS, "every prompt has shown something");
    let ended = store.sweep(sweep.id).await.unwrap().unwrap().record;
    assert_eq!(ended.state, SweepState::Done);
    assert_eq!(ended.spent_nanousd, attempts.iter().map(|a| a.attempt.cost_nanousd).sum::<i64>());
    store.close().await;
    assert_eq!(open(&world).await, [], "the same model everywhere");
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

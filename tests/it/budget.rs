//! Money: a sweep that does not fit is made smaller before its first call, the same for every endpoint, or not begun.

use serde_json::{Value, json};

use crate::suites::CASES;
use crate::world::{Settings, World, good, weak};

/// Dear enough that a sweep's worst case is dollars.
const PRICE: &str = "price = { input_per_mtok = 100.0, output_per_mtok = 1000.0 }";

fn settings(budget: &str) -> Settings {
    Settings { budget: budget.to_owned(), endpoint: PRICE.to_owned(), ..Settings::default() }
}

fn attempts(said: &Value) -> Vec<u64> {
    said["endpoints"].as_array().unwrap().iter().map(|row| row["attempts"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_over_its_budget_shrinks_the_same_for_every_endpoint() {
    let world = World::new(vec![good("alder"), weak("birch", 0.5), good("cedar")]).await;
    world.configure(&settings(""));
    let whole = world.json(&["sweep", "--json"]).await;
    assert_eq!(attempts(&whole), [CASES as u64; 3]);
    let store = world.store().await;
    let reserved = store.sweeps(None, None, 1, None).await.unwrap().items[0].reserved_nanousd as f64 / 1e9;
    assert_eq!(whole["note"], Value::Null);
    assert!(reserved > 1.0, "{reserved} dollars");

    let cap = reserved / 2.0;
    world.configure(&settings(&format!("usd_per_sweep = {cap}")));
    let half = world.json(&["sweep", "--json"]).await;
    let counts = attempts(&half);
    assert!(counts.iter().all(|n| *n == counts[0]), "the same for all: {counts:?}");
    assert!((1..CASES as u64).contains(&counts[0]) && counts[0] >= CASES as u64 / 3, "{counts:?}");
    let shrunk = store.sweeps(None, None, 1, None).await.unwrap().items.remove(0);
    assert!(shrunk.reserved_nanousd as f64 / 1e9 <= cap);
    let note = format!("shrunk from {} to {} cases by the budget", 3 * CASES, counts.iter().sum::<u64>());
    assert_eq!((&half["note"], &shrunk.note), (&json!(note), &note), "what was left out is told");
    assert!(shrunk.spent_nanousd <= shrunk.reserved_nanousd, "the reservation is the worst case");
    // All are asked the same cases.
    let asked = |id: &str| {
        let log = world.fleet.log(id).unwrap();
        let mut cases: Vec<String> = log[CASES..].iter().map(|o| format!("{:?}", o.case)).collect();
        cases.sort();
        cases
    };
    assert_eq!(asked("alder"), asked("birch"));
    assert_eq!(asked("alder"), asked("cedar"));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_day_is_spent_no_sweep_begins_and_an_alarm_says_so() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    world.configure(&settings("usd_per_day = 0.001"));
    let refused = world.run(&["sweep", "--json"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let said = refused.json();
    assert_eq!((&said["sweep"], &said["sweeps"]), (&Value::Null, &json!(0)));
    assert!(said["note"].as_str().unwrap().contains("budget"), "{said}");
    assert_eq!(world.requests(), 0, "nothing was asked");
    let store = world.store().await;
    let alarms = store.open_alarms().await.unwrap();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!((alarms[0].key.kind.as_str(), alarms[0].key.model.as_ref().unwrap().as_str()), ("budget", "lab/m"));

    // It is closed by the first sweep that fits again, and what was spent counts for the day.
    world.configure(&settings("usd_per_day = 1000.0"));
    assert_eq!(attempts(&world.json(&["sweep", "--json"]).await), [CASES as u64; 2]);
    assert!(store.open_alarms().await.unwrap().is_empty());
    let spent = store.sweeps(None, None, 1, None).await.unwrap().items[0].spent_nanousd as f64 / 1e9;
    world.configure(&settings(&format!("usd_per_day = {}", spent * 1.001)));
    let refused = world.run(&["sweep", "--json"]).await;
    assert_eq!((refused.code, world.requests() as usize), (1, 2 * CASES), "{refused:?}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_evidence_only_when_every_case_is_asked() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let store = world.store().await;
    let newest = async || {
        let id = store.newest_sweeps(&crate::world::model(), 1).await.unwrap().remove(0).id;
        store.sweep(id).await.unwrap().unwrap()
    };
    world.configure(&settings(""));
    let whole = world.json(&["sweep", "--full", "--epochs", "2", "--json"]).await;
    let stored = newest().await;
    assert_eq!((&whole["note"], stored.plan.unwrap().gives_evidence), (&Value::Null, true));

    let part = world.json(&["sweep", "--full", "--epochs", "2", "--limit", "3", "--json"]).await;
    let stored = newest().await;
    assert!(!stored.plan.unwrap().gives_evidence);
    assert!(part["note"].as_str().unwrap().starts_with("gives no evidence: repeats of a part"), "{part}");
    // Asked whole, and made a part by the budget.
    let cap = stored.record.reserved_nanousd as f64 / 1e9;
    world.configure(&settings(&format!("usd_per_sweep = {cap}")));
    let shrunk = world.json(&["sweep", "--full", "--epochs", "2", "--json"]).await;
    let note = shrunk["note"].as_str().unwrap();
    assert!(note.starts_with("shrunk from") && note.contains("; gives no evidence"), "{note}");
    let stored = newest().await;
    assert_eq!((stored.plan.unwrap().gives_evidence, stored.record.note.as_str()), (false, note));
    // A part without repeats is evidence as ever.
    let once = world.json(&["sweep", "--full", "--limit", "3", "--json"]).await;
    let gives_evidence = newest().await.plan.unwrap().gives_evidence;
    assert!(gives_evidence && !once["note"].as_str().unwrap_or_default().contains("evidence"), "{once}");
    store.close().await;
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

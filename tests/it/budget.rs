//! Money: a sweep that does not fit is made smaller before its first call, the same for every endpoint, or not begun.

use exactod::store::SweepRecord;
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

/// Only what is sent costs: of a reservation much is spent, and few sweeps use the day up.
const SENT: &str = "price = { input_per_mtok = 1000.0, output_per_mtok = 0.0 }";
const DAY_US: i64 = 86_400_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn until_decided_ends_with_its_money_and_spends_no_more() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let with = |budget: &str| Settings { budget: budget.to_owned(), endpoint: SENT.to_owned(), ..Settings::default() };
    world.configure(&with(""));
    world.json(&["sweep", "--json"]).await;
    let store = world.store().await;
    let first = store.sweeps(None, None, 1, None).await.unwrap().items.remove(0);
    // Room for this one, for a whole second one, and for a part of a third.
    let cap = first.spent_nanousd + first.reserved_nanousd + first.reserved_nanousd / 4;
    world.configure(&with(&format!("usd_per_day = {}", cap as f64 / 1e9)));
    let asked = world.requests();
    let ran = world.run(&["sweep", "--until-decided", "--json"]).await;
    assert_eq!(ran.code, 1, "done, and no: {ran:?}");
    let said = ran.json();
    assert_eq!((&said["decided"], &said["model"]), (&json!(false), &json!("lab/m")));
    assert!(said["note"].as_str().unwrap().contains("no sweep fits what is left of the budget"), "{said}");

    let mut sweeps = store.sweeps(None, None, 200, None).await.unwrap().items;
    sweeps.reverse();
    let own = &sweeps[1..];
    assert!(own.len() >= 2, "{said}");
    assert_eq!((&said["sweeps"], &said["sweep"]), (&json!(own.len()), &json!(own.last().unwrap().id)));
    // The counts are sums over its sweeps, and nothing was asked beside them.
    assert_eq!(attempts(&said).iter().sum::<u64>(), world.requests() - asked, "{said}");
    let spent: i64 = own.iter().map(|sweep| sweep.spent_nanousd).sum();
    let told: f64 = said["endpoints"].as_array().unwrap().iter().map(|row| row["cost_usd"].as_f64().unwrap()).sum();
    assert!((told - spent as f64 / 1e9).abs() < 1e-6, "{told} {spent}");
    // Whenever one began, its worst case fitted beside what the day had spent.
    for (i, sweep) in sweeps.iter().enumerate() {
        let of_day = |other: &&SweepRecord| other.planned_at_us / DAY_US == sweep.planned_at_us / DAY_US;
        let before: i64 = sweeps[..i].iter().filter(of_day).map(|other| other.spent_nanousd).sum();
        assert!(i == 0 || before + sweep.reserved_nanousd <= cap, "{i}: {before} + {} > {cap}", sweep.reserved_nanousd);
        assert!(sweep.spent_nanousd <= sweep.reserved_nanousd, "{sweep:?}");
    }
    let alarms = store.open_alarms().await.unwrap();
    assert_eq!(alarms.iter().map(|alarm| alarm.key.kind.as_str()).collect::<Vec<_>>(), ["budget"]);
    store.close().await;
}

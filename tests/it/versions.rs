//! A new version of a suite: rates of both apart, the cases that both have as the overlap, and no list that moves.

use serde_json::{Value, json};

use crate::history::fast;
use crate::world::{World, good};

const NAMES: [&str; 3] = ["alder", "birch", "cedar"];

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_told_apart_on_sqlite() {
    told_apart(World::new(NAMES.map(good).into()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_told_apart_on_postgres() {
    told_apart(World::on_postgres(NAMES.map(good).into()).await).await;
}

fn listed(list: &Value) -> Vec<String> {
    let mut ids: Vec<String> =
        list["providers"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

async fn told_apart(world: World) {
    world.configure(&fast());
    let said = world.json(&["sweep", "--until-decided", "--json"]).await;
    assert_eq!(said["decided"], json!(true), "{said}");
    let list = world.json(&["allowlist", "--json"]).await;
    assert_eq!(listed(&list), NAMES);
    let card = &world.json(&["scorecard", "--json"]).await;
    assert!(!card.to_string().contains("\"change\""), "one version so far: {card}");
    let attempts_before = world.attempts().await.len();

    // One case of output-quality asks another thing; the others are as they were.
    let (header, cases) = ("suites/output-quality/suite.toml", "suites/output-quality/cases.jsonl");
    let edit = |path: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(world.path(path)).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(world.path(path), text.replacen(from, to, 1)).unwrap();
        text.lines().filter(|line| !line.trim().is_empty()).count() as u64
    };
    edit(header, "revision = \"1\"", "revision = \"2\"");
    let of = edit(cases, "One word.", "In one word.");
    world.json(&["sweep", "--json"]).await;
    assert!(world.attempts().await.len() > attempts_before);

    let cards = world.json(&["scorecard", "--json"]).await;
    let cards = find(&cards, "change");
    assert_eq!(cards.len(), 3, "of the suite that changed, for each endpoint: {cards:?}");
    for change in cards {
        assert_ne!(change["from"], change["to"]);
        assert_eq!(change["same_cases"], json!(of - 1), "{change}");
        let overlap = &change["overlap"];
        assert_eq!((&overlap["before"], &overlap["after"]), (&json!(1.0), &json!(1.0)), "{change}");
        assert!(overlap["difference"]["cases"].as_u64().unwrap() >= 2, "{change}");
    }
    let text = world.run(&["scorecard"]).await;
    assert!(text.stdout.contains("output-quality has a new version since"), "{text:?}");

    // Evidence begins anew, and nobody leaves the list for it.
    assert_eq!(listed(&world.json(&["allowlist", "--json"]).await), NAMES);
    let decisions = world.json(&["decisions", "--json"]).await;
    let kinds = decisions["items"].as_array().unwrap().iter().filter(|d| d["kind"] == "version_change");
    assert_eq!(kinds.count(), 3, "{decisions}");
    let replayed = world.json(&["replay", "--json"]).await;
    assert_eq!(replayed["equal"], json!(true), "{replayed}");
}

/// The objects under a key, wherever they stand.
fn find<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    match value {
        Value::Object(map) => {
            let here = map.get(key).into_iter();
            here.chain(map.values().flat_map(|below| find(below, key))).collect()
        }
        Value::Array(all) => all.iter().flat_map(|below| find(below, key)).collect(),
        _ => Vec::new(),
    }
}

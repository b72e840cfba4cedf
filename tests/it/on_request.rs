//! A suite that is asked only where it is named: it judges nobody unless a schedule says so.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::suites::CASES;
use crate::world::{Settings, World, broken, good};

const EXTRA: &str = "extra";
/// Cases of the suite that nobody passes: the fleet does not know them.
const EXTRA_CASES: usize = 5;

const FAST_POLICY: &str = "margin = 0.4\nadmission_margin = 0.3\nalpha = 0.2\nexclude_after_sweeps = 20\n\
    readmit_after_sweeps = 10\nsuspect_at = 5\nburst_at = 3\nmin_providers = 1\n\
    cases = { standard = 8, burst = 8, unknown = 8, cap = 1000 }";

/// A world with one more suite, and a schedule that asks `suites` (`None`: it names none).
async fn world_with(endpoints: Vec<exactod::sim::EndpointSpec>, suites: Option<&str>) -> World {
    let world = World::new(endpoints).await;
    world.configure(&Settings { policy: FAST_POLICY.to_owned(), ..Settings::default() });
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let named = "suites = [\"tool-use\", \"output-quality\"]\n";
    assert!(text.contains(named));
    let instead = suites.map(|suites| format!("suites = {suites}\n")).unwrap_or_default();
    std::fs::write(world.config_path(), text.replace(named, &instead)).unwrap();
    let folder = world.path("suites").join(EXTRA);
    std::fs::create_dir_all(&folder).unwrap();
    let header = format!(
        "version = 1\nname = \"{EXTRA}\"\nkind = [\"output_quality\"]\nrevision = \"1\"\ndefault = false\n\
         [request]\nmax_tokens = 64\n[[scorers]]\ntype = \"equals\"\n"
    );
    std::fs::write(folder.join("suite.toml"), header).unwrap();
    let case = |n| json!({"id": format!("x-{n}"), "input": format!("Say {n} zyx."), "expected": {"value": format!("{n} zyx")}});
    let lines: Vec<String> = (0..EXTRA_CASES).map(|n| case(n).to_string()).collect();
    std::fs::write(folder.join("cases.jsonl"), lines.join("\n")).unwrap();
    world
}

async fn suites_asked(world: &World) -> BTreeSet<String> {
    world.attempts().await.iter().map(|stored| stored.attempt.key.suite.to_string()).collect()
}

fn standings(said: &Value) -> Vec<(&str, &str)> {
    let rows = said["endpoints"].as_array().unwrap();
    rows.iter().map(|row| (row["id"].as_str().unwrap(), row["standing"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_it_is_left_out_and_blocks_no_admission() {
    let bad = [("args_python_literal", 1.0), ("reasoning_only", 0.9)];
    let world = world_with(vec![good("alder"), good("birch"), broken("cedar", &bad), good("dogwood")], None).await;
    let plan = world.json(&["plan", "--json"]).await;
    assert!(!plan.to_string().contains(EXTRA), "{plan}");
    let said = world.json(&["sweep", "--until-decided", "--json"]).await;
    assert_eq!(said["decided"], json!(true));
    let expected = [("alder", "Admitted"), ("birch", "Admitted"), ("cedar", "Excluded"), ("dogwood", "Admitted")];
    assert_eq!(standings(&said), expected);
    assert_eq!(suites_asked(&world).await, BTreeSet::from(["output-quality".to_owned(), "tool-use".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn named_by_a_command_alone_it_is_scored_and_decides_nothing() {
    let world = world_with(vec![good("alder"), good("birch"), good("cedar")], None).await;
    let before = world.json(&["sweep", "--until-decided", "--json"]).await;
    let list = world.json(&["allowlist", "--json"]).await;
    let decisions = world.json(&["decisions", "--json"]).await;
    // Sweep after sweep nobody passes a case of it.
    for _ in 0..3 {
        let said = world.json(&["sweep", "--suite", EXTRA, "--full", "--json"]).await;
        for row in said["endpoints"].as_array().unwrap() {
            assert_eq!((&row["attempts"], &row["fail"]), (&json!(EXTRA_CASES), &json!(EXTRA_CASES)), "{row}");
        }
        assert_eq!(standings(&said), standings(&before));
    }
    let providers = |list: &Value| list["providers"].clone();
    assert_eq!(providers(&world.json(&["allowlist", "--json"]).await), providers(&list));
    assert_eq!(world.json(&["decisions", "--json"]).await, decisions);
    // Together with suites that judge, those judge on.
    let said = world
        .json(&["sweep", "--suite", EXTRA, "--suite", "tool-use", "--suite", "output-quality", "--full", "--json"])
        .await;
    assert_eq!(said["endpoints"][0]["attempts"], json!(EXTRA_CASES + CASES));
    assert_eq!(standings(&said), standings(&before));
    let store = world.store().await;
    let sweep = store.sweeps(None, None, 1, None).await.unwrap().items.remove(0);
    let plan = store.sweep(sweep.id).await.unwrap().unwrap().plan.unwrap();
    assert!(plan.gives_evidence);
    assert_eq!((plan.suites.len(), plan.aside.len(), plan.aside[0].suite.as_str()), (2, 1, EXTRA));
    store.close().await;
    let replayed = world.json(&["replay", "--json"]).await;
    assert!(replayed.to_string().contains("lab/m"), "{replayed}");
    let cards = world.json(&["scorecard", "--json"]).await;
    assert!(cards.to_string().contains(EXTRA), "it has a scorecard of its own: {cards}");
}

#[tokio::test(flavor = "multi_thread")]
async fn named_by_a_schedule_it_judges() {
    let world = world_with(vec![good("alder"), good("birch")], Some("[\"tool-use\", \"extra\"]")).await;
    world.json(&["sweep", "--full", "--json"]).await;
    assert_eq!(suites_asked(&world).await, BTreeSet::from([EXTRA.to_owned(), "tool-use".to_owned()]));
    let store = world.store().await;
    let sweep = store.sweeps(None, None, 1, None).await.unwrap().items.remove(0);
    let plan = store.sweep(sweep.id).await.unwrap().unwrap().plan.unwrap();
    assert_eq!((plan.suites.len(), plan.aside.len(), plan.gives_evidence), (2, 0, true));
    store.close().await;
}

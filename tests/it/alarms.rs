//! Change alarms as people see them: answers known by heart, errors that follow the content; found, shown, forgotten by
//! order, and never a verdict.

use std::collections::BTreeMap;

use exactod::sim::{AuditAwareness, Condition, EndpointSpec, Injection};
use serde_json::{Value, json};

use crate::world::{Settings, World, good};

/// Thresholds out of reach: nothing is decided, so that what happens is the alarms' doing alone.
const UNDECIDED: &str = "margin = 0.5\nalpha = 1e-100\nexclude_after_sweeps = 1e12\nreadmit_after_sweeps = 1e12\n\
    suspect_at = 1e12\nburst_at = 1e12\nmin_providers = 1\nusable_margin = 0.9";
/// Far more than any of these alarms takes.
const SWEEPS_MAX: usize = 120;

fn with(name: &str, injection: Injection) -> EndpointSpec {
    EndpointSpec { injections: vec![injection], ..good(name) }
}

/// Wrong nearly always, but for prompts that it has seen before.
fn learns_by_heart() -> Injection {
    let seen_before = AuditAwareness { repeated_prompt: true, header: None, probability: 1.0 };
    Injection { audit_awareness: Some(seen_before), ..Injection::new("compressed_model", 0.95) }
}

fn when_streamed(defect: &str, prevalence: f64) -> Injection {
    let streamed = Condition { stream: Some(true), ..Condition::default() };
    Injection { condition: streamed, ..Injection::new(defect, prevalence) }
}

/// Open alarms by kind, with the endpoints they are about.
async fn open(world: &World) -> BTreeMap<String, Vec<(String, String)>> {
    let store = world.store().await;
    let mut out: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for alarm in store.open_alarms().await.unwrap() {
        let endpoint = alarm.key.endpoint.map(|e| e.to_string()).unwrap_or_default();
        out.entry(alarm.key.kind).or_default().push((endpoint, alarm.text));
    }
    store.close().await;
    out
}

async fn sweep_until(world: &World, what: &str, done: impl Fn(&BTreeMap<String, Vec<(String, String)>>) -> bool) {
    for _ in 0..SWEEPS_MAX / 10 {
        for _ in 0..10 {
            world.json(&["sweep", "--json"]).await;
        }
        if done(&open(world).await) {
            return;
        }
    }
    panic!("{what}: not within {SWEEPS_MAX} sweeps; open: {:?}", open(world).await);
}

async fn explained(world: &World, endpoint: &str) -> Value {
    let said = world.json(&["explain", "lab/m", endpoint, "--json"]).await;
    said["endpoints"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_by_heart_and_errors_that_follow_the_content_are_alarmed_on_sqlite() {
    found_and_forgotten(World::new(fleet()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_by_heart_and_errors_that_follow_the_content_are_alarmed_on_postgres() {
    found_and_forgotten(World::on_postgres(fleet()).await).await;
}

/// Streamed cases are hard for the good ones; `dogwood` does not answer those at all.
fn fleet() -> Vec<EndpointSpec> {
    vec![
        with("alder", when_streamed("compressed_model", 0.4)),
        with("birch", when_streamed("compressed_model", 0.4)),
        with("cedar", learns_by_heart()),
        with("dogwood", when_streamed("rate_limit_bursts", 1.0)),
    ]
}

async fn found_and_forgotten(world: World) {
    world.configure(&Settings { policy: UNDECIDED.to_owned(), ..Settings::default() });
    sweep_until(&world, "both alarms", |open| {
        open.contains_key("hold_out_gap") && open.contains_key("content_linked_errors")
    })
    .await;
    let alarms = open(&world).await;
    let about = |kind: &str| alarms[kind].iter().map(|(endpoint, _)| endpoint.as_str()).collect::<Vec<_>>();
    assert_eq!((about("hold_out_gap"), about("content_linked_errors")), (vec!["cedar"], vec!["dogwood"]));
    assert!(alarms["hold_out_gap"][0].1.contains("cases that it may have seen"), "{alarms:?}");

    let cedar = explained(&world, "cedar").await;
    assert_eq!(cedar["findings"][0]["kind"], json!("hold_out_gap"), "{cedar}");
    assert!(cedar["explanation"].as_str().unwrap().contains("Alarm, no verdict: does better on"), "{cedar}");
    assert_eq!(explained(&world, "alder").await["findings"], json!([]));
    let text = world.run(&["explain", "lab/m", "dogwood"]).await.stdout;
    assert!(text.contains("alarm      content-linked errors: ") && text.contains("(no verdict)"), "{text}");
    // No verdict: nobody has moved.
    let decisions = world.json(&["decisions", "--json"]).await;
    let moved = decisions["items"].as_array().unwrap().iter().filter(|d| d["from"] != d["to"]).count();
    assert_eq!(moved, 0, "{decisions}");
    let replayed = world.json(&["replay", "--json"]).await;
    assert_eq!(replayed["equal"], json!(true), "{replayed}");

    // Measured afresh by an operator's order: the findings are forgotten, and the alarms close at once.
    for id in ["cedar", "dogwood"] {
        world
            .json(&["reset", "lab/m", id, "--note", "its provider says that it is repaired", "--by", "ann", "--json"])
            .await;
    }
    assert_eq!(open(&world).await, BTreeMap::new());
    assert_eq!(explained(&world, "cedar").await["findings"], json!([]));
    assert_eq!(world.json(&["replay", "--json"]).await["equal"], json!(true));
}

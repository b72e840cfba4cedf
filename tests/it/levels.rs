//! All endpoints turn bad at one time: an alarm as people see it, for nobody can be excluded by comparison; and a floor, by
//! which they can.

use exactod::sim::Injection;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::world::{Settings, World, good};

/// Decided soon, and small sweeps: a suite has a level after 63 of them.
const FAST: &str = "margin = 0.1\nalpha = 0.3\nexclude_after_sweeps = 50\nreadmit_after_sweeps = 10\nsuspect_at = 20\n\
    burst_at = 20\nmin_providers = 1\n";
/// Sweeps after which every suite has a level: 500 cases, 8 or 6 a sweep.
const SWEEPS_TO_A_LEVEL: usize = 90;
/// Far more than it takes.
const SWEEPS_MAX: usize = 40;

const NAMES: [&str; 3] = ["alder", "birch", "cedar"];

async fn world(floor: &str) -> World {
    let world = World::new(NAMES.map(good).to_vec()).await;
    world.configure(&Settings { policy: format!("{FAST}{floor}"), ..Settings::default() });
    world
}

fn turn_bad(world: &World, share: f64) {
    for name in NAMES {
        world.fleet.set_injections(name, &[Injection::new("compressed_model", share)]).unwrap();
    }
}

async fn standings(world: &World) -> Vec<(String, String)> {
    let told = world.json(&["explain", "lab/m", "--json"]).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    told["endpoints"].as_array().unwrap().iter().map(|e| (text(&e["endpoint"]), text(&e["standing"]))).collect()
}

async fn open_alarm(world: &World, kind: &str) -> Option<String> {
    let store = world.store().await;
    let found = store.open_alarms().await.unwrap().into_iter().find(|alarm| alarm.key.kind == kind);
    store.close().await;
    found.map(|alarm| alarm.text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fall_of_all_endpoints_is_alarmed_told_acknowledged_and_replayed() {
    let world = world("").await;
    for _ in 0..SWEEPS_TO_A_LEVEL {
        world.json(&["sweep", "--json"]).await;
    }
    let stand = standings(&world).await;
    assert!(stand.iter().all(|(_, standing)| standing == "Admitted"), "{stand:?}");
    assert_eq!(open_alarm(&world, "level_fell").await, None);

    turn_bad(&world, 0.9);
    let mut text = None;
    for _ in 0..SWEEPS_MAX {
        world.json(&["sweep", "--json"]).await;
        text = open_alarm(&world, "level_fell").await;
        if text.is_some() {
            break;
        }
    }
    let text = text.expect("alarmed");
    assert!(text.starts_with("all endpoints together do worse on "), "{text}");
    let stand = standings(&world).await;
    assert!(stand.iter().all(|(_, standing)| standing == "Admitted"), "no verdict: {stand:?}");

    let daemon = Daemon::start(&world).await;
    let open = daemon.get("/v1/alarms?open=true", None).await.json();
    let of_level: Vec<&Value> =
        open["items"].as_array().unwrap().iter().filter(|a| a["kind"] == "level_fell").collect();
    assert_eq!((of_level.len(), &of_level[0]["endpoint"]), (1, &Value::Null), "{open}");
    assert_eq!(daemon.metric("exactod_alarms_open{model=\"lab/m\",kind=\"level_fell\"}").await, Some(1.0));
    daemon.stop().await;
    let told = world.run(&["explain", "lab/m", "alder"]).await.stdout;
    assert!(told.contains("alarm      all endpoints together do worse on "), "{told}");

    let acknowledged =
        world.json(&["ack", "lab/m", "--note", "the suite is harder now", "--by", "ann", "--json"]).await;
    let reason = acknowledged["decisions"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("the usual level is learned anew"), "{acknowledged}");
    assert_eq!(open_alarm(&world, "level_fell").await, None);
    assert_eq!(world.json(&["replay", "--json"]).await["equal"], json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_falls_below_a_floor_is_excluded_though_all_do_and_the_list_stays() {
    let floors = "suites.tool-use.floor = 0.6\nsuites.output-quality.floor = 0.6\n";
    let world = world(floors).await;
    for _ in 0..15 {
        world.json(&["sweep", "--json"]).await;
    }
    let stand = standings(&world).await;
    assert!(stand.iter().all(|(_, standing)| standing == "Admitted"), "{stand:?}");
    turn_bad(&world, 0.9);
    let mut stand = Vec::new();
    for _ in 0..SWEEPS_MAX {
        world.json(&["sweep", "--json"]).await;
        stand = standings(&world).await;
        if stand.iter().all(|(_, standing)| standing == "Excluded") {
            break;
        }
    }
    assert!(stand.iter().all(|(_, standing)| standing == "Excluded"), "{stand:?}");
    let told = world.run(&["explain", "lab/m", "birch"]).await.stdout;
    assert!(told.contains("is below the floor 60%") && told.contains("; floor 60%: below it "), "{told}");
    assert!(open_alarm(&world, "frozen").await.is_some());
    let list = world.json(&["allowlist", "--json"]).await;
    assert_eq!(list["mode"], json!("frozen"), "{list}");
    assert!(list["providers"].as_array().is_some_and(|listed| !listed.is_empty()), "{list}");
    assert_eq!(world.json(&["replay", "--json"]).await["equal"], json!(true));
}

//! `serve`: the first list, the end by SIGTERM, the reload by SIGHUP.

use exactod::domain::SweepState;
use http::StatusCode;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::gate::Gate;
use crate::suites::CASES;
use crate::world::{Settings, World, eventually, good, weak};

const LIST: &str = "/v1/models/lab/m/allowlist";

/// Waits until a daemon's sweep has ended.
async fn swept(daemon: &Daemon) -> Value {
    eventually("a sweep is done", async || {
        let items = daemon.get("/v1/sweeps?state=done", None).await.json()["items"].take();
        items.get(0).cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_sweeps_at_its_first_start_and_serves_the_list() {
    let world = World::new(vec![good("alder"), good("birch"), weak("cedar", 0.6)]).await;
    let daemon = Daemon::start(&world).await;
    assert_eq!(daemon.get("/readyz", None).await.status, StatusCode::OK);
    assert_eq!(daemon.get("/healthz", None).await.status, StatusCode::OK);
    let sweep = swept(&daemon).await;
    assert_eq!(sweep["kind"], json!("scheduled"));

    let list = daemon.allowlist().await;
    assert_eq!(list.status, StatusCode::OK);
    let listed = list.json();
    assert_eq!(listed["model"], json!("lab/m"));
    let mut ids: Vec<&str> =
        listed["providers"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["alder", "birch", "cedar"], "one sweep decides nothing: all are listed");
    assert_eq!(list.header("exacto-version"), listed["version"].to_string());
    assert!(list.header("cache-control").contains("stale-if-error"));

    // Who has it already gets nothing; who has another one gets it.
    let etag = list.header("etag");
    let again = daemon.get(LIST, Some(("if-none-match", etag))).await;
    assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(again.header("etag"), etag);
    let other = daemon.get(LIST, Some(("if-none-match", "\"another\""))).await;
    assert_eq!((other.status, &other.body), (StatusCode::OK, &list.body));

    // The command line shows the same bytes, from the same store at the same time.
    let printed = world.run(&["allowlist", "--json"]).await;
    assert_eq!(printed.stdout.trim_end(), list.body);
    // The counters tell of every attempt.
    let metrics = daemon.get("/metrics", None).await.body;
    let attempts: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("exactod_attempts_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(attempts, (3 * CASES) as f64, "{metrics}");
    daemon.stop().await;

    // The next start has nothing to make up for, and serves the list at once.
    let asked = world.requests();
    let daemon = Daemon::start(&world).await;
    assert_eq!(daemon.allowlist().await.body, list.body);
    daemon.stop().await;
    assert_eq!(world.requests(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_what_is_in_flight_finish_and_the_next_start_asks_only_the_rest() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let gate = Gate::before(&world.fleet, 3).await;
    let settings =
        Settings { server: "listen = \"127.0.0.1:0\"\ndrain_timeout = \"100s\"".to_owned(), ..Settings::default() };
    world.configure_for(&gate.providers, &settings);
    let mut daemon = Daemon::start(&world).await;
    // Three answers each have arrived, two requests each are in flight.
    eventually("requests are in flight", async || (world.requests() == 10).then_some(())).await;
    daemon.signal("TERM").await;
    daemon.says("stopping").await;
    gate.open();
    let (code, log) = daemon.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("sweep parked"), "{log}");
    assert_eq!(world.requests(), 10, "no new requests after the signal");
    assert_eq!(world.attempts().await.len(), 10, "the answers in flight were stored");

    let daemon = Daemon::start(&world).await;
    let sweep = swept(&daemon).await;
    daemon.stop().await;
    assert_eq!(world.requests() as usize, 2 * CASES, "nothing was asked twice");
    let store = world.store().await;
    let sweeps = store.sweeps(None, None, 10, None).await.unwrap().items;
    assert_eq!(sweeps.len(), 1, "the same sweep");
    assert_eq!((sweeps[0].state, json!(sweeps[0].id)), (SweepState::Done, sweep["id"].clone()));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_of_the_drain_time_what_is_in_flight_is_given_up_and_asked_again() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let gate = Gate::before(&world.fleet, 3).await;
    let settings =
        Settings { server: "listen = \"127.0.0.1:0\"\ndrain_timeout = \"200ms\"".to_owned(), ..Settings::default() };
    world.configure_for(&gate.providers, &settings);
    let daemon = Daemon::start(&world).await;
    eventually("requests are in flight", async || (world.requests() == 10).then_some(())).await;
    let log = daemon.stop().await;
    assert!(log.contains("giving up the attempts in flight") && log.contains("sweep parked"), "{log}");
    assert_eq!(world.attempts().await.len(), 6);
    gate.open();
    let daemon = Daemon::start(&world).await;
    swept(&daemon).await;
    daemon.stop().await;
    assert_eq!(world.requests() as usize, 2 * CASES + 4, "only the given up are asked again");
    assert_eq!(world.attempts().await.len(), 2 * CASES);
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_takes_a_right_config_and_refuses_a_wrong_one_whole() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let all: Vec<(String, String)> = world.fleet.endpoints().map(|(id, url)| (id.to_string(), url)).collect();
    world.configure_for(&all[..2], &Settings::default());
    let daemon = Daemon::start(&world).await;
    swept(&daemon).await;
    let endpoints = async || {
        let models = daemon.get("/v1/models", None).await.json();
        models["items"][0]["endpoints"].as_array().unwrap().len()
    };
    assert_eq!(endpoints().await, 2);
    let list = daemon.allowlist().await.body;

    let right = std::fs::read_to_string(world.config_path()).unwrap();
    std::fs::write(world.config_path(), right.replace("[budget]", "[budget]\nusd_per_dya = 1\n")).unwrap();
    daemon.signal("HUP").await;
    let refused = eventually("the config is refused", async || {
        daemon.metric("exactod_config_reloads_total{result=\"refused\"}").await
    })
    .await;
    assert!(refused >= 1.0);
    let log = daemon.log();
    assert!(log.contains("config refused") && log.contains("usd_per_day"), "the reason, with a hint: {log}");
    assert_eq!(endpoints().await, 2, "the old one goes on");
    assert_eq!(daemon.allowlist().await.body, list);
    assert_eq!(daemon.metric("exactod_config_reloads_total{result=\"ok\"}").await, None);

    world.configure_for(&all, &Settings::default());
    daemon.signal("HUP").await;
    eventually("the third endpoint is known", async || (endpoints().await == 3).then_some(())).await;
    assert!(daemon.metric("exactod_config_reloads_total{result=\"ok\"}").await.unwrap() >= 1.0);
    assert!(daemon.stop().await.contains("config reloaded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sweep_by_hand_starts_one_waits_and_a_third_is_refused() {
    let world = World::new(vec![good("alder")]).await;
    world.json(&["sweep", "--json"]).await;
    let asked = world.requests();
    let gate = Gate::before(&world.fleet, 0).await;
    world.configure_for(&gate.providers, &Settings::default());
    let daemon = Daemon::start(&world).await;
    // The daemon's first sweep makes up for the tick of the year.
    eventually("its own sweep is in flight", async || (world.requests() == asked + 2).then_some(())).await;
    let running = daemon.get("/v1/sweeps?state=running", None).await.json()["items"][0]["id"].take();
    let second = daemon.post("/v1/sweeps", &json!({"model": "lab/m"})).await;
    assert_eq!(second.status, StatusCode::ACCEPTED, "{second:?}");
    assert_eq!((&second.json()["status"], &second.json()["after"]), (&json!("queued"), &running));
    let third = daemon.post("/v1/sweeps", &json!({"model": "lab/m"})).await;
    assert_eq!(third.status, StatusCode::CONFLICT, "{third:?}");
    assert!(third.body.contains("another one waits"), "{third:?}");
    gate.open();
    eventually("all are done", async || {
        let items = daemon.get("/v1/sweeps?state=done", None).await.json()["items"].take();
        (items.as_array().unwrap().len() == 3).then_some(())
    })
    .await;
    let started = eventually("the worker is idle", async || {
        let answer = daemon.post("/v1/sweeps", &json!({"model": "lab/m", "limit": 1})).await;
        (answer.status == StatusCode::ACCEPTED).then(|| answer.json())
    })
    .await;
    assert!(started["status"] == "started" || started["status"] == "queued", "{started}");
    daemon.stop().await;
}

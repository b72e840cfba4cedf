//! Live traffic through the real program: reports, files, bursts and quarantine.

use exactod::clock::{Clock, SystemClock, rfc3339};
use http::StatusCode;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::world::{Settings, World, eventually, good, weak};

fn record(id: &str, endpoint: &str, other: Value) -> Value {
    let mut record = json!({
        "v": 1, "id": id, "ts": rfc3339(SystemClock.now_us()), "model": "m:exacto", "provider": endpoint, "ok": true,
        "http_status": 200, "tools_offered": 1, "tool_calls": 1, "tool_call_valid": true, "input_tokens": 70,
        "output_tokens": 5, "latency_ms": 80, "finish_reason": "tool_calls"
    });
    record.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    record
}

fn bad() -> Value {
    json!({"tool_call_valid": false, "invalid_reason": "json"})
}

async fn report(daemon: &Daemon, records: &[Value]) {
    let taken = daemon.post("/v1/observations", &json!(records)).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{taken:?}");
    assert_eq!((&taken.json()["accepted"], &taken.json()["unattributed"]), (&json!(records.len()), &json!(0)));
}

/// Some good answers of everybody, and ten bad ones in a row of `cedar`.
async fn cedar_turns_bad(daemon: &Daemon) {
    let names = ["alder", "birch", "cedar"];
    let now_us = SystemClock.now_us();
    let usual = |i: usize| {
        let ts = rfc3339(now_us - (60 - i as i64) * 1_000_000);
        record(&format!("usual-{i}"), names[i % 3], json!({"ts": ts}))
    };
    report(daemon, &(0..30).map(usual).collect::<Vec<_>>()).await;
    for i in 0..10 {
        report(daemon, &[record(&format!("bad-{i}"), "cedar", bad())]).await;
    }
}

async fn listed(daemon: &Daemon) -> Vec<String> {
    let list = daemon.allowlist().await;
    if list.status != StatusCode::OK {
        return Vec::new();
    }
    let mut names: Vec<String> =
        list.json()["providers"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    names
}

async fn quarantines(daemon: &Daemon) -> Vec<String> {
    let page = daemon.get("/v1/models/lab/m/decisions?kind=quarantine", None).await.json();
    page["items"].as_array().unwrap().iter().map(|d| d["reason"].as_str().unwrap().to_owned()).collect()
}

fn with_quarantine(world: &World) {
    let policy = "quarantine = { enabled = true, for = \"10m\" }".to_owned();
    world.configure(&Settings { policy, ..Settings::default() });
}

#[tokio::test]
async fn a_provider_that_live_traffic_alone_speaks_against_is_set_aside_evaluated_and_cleared() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    with_quarantine(&world);
    let daemon = Daemon::start(&world).await;
    eventually("the first list is published", async || (listed(&daemon).await.len() == 3).then_some(())).await;
    cedar_turns_bad(&daemon).await;
    eventually("the quarantine is published", async || (!quarantines(&daemon).await.is_empty()).then_some(())).await;
    let begun = quarantines(&daemon).await.pop().unwrap();
    assert!(begun.contains("10 of") && begun.contains("reported by local"), "{begun}");
    let decision = daemon.get("/v1/models/lab/m/decisions?kind=quarantine", None).await.json();
    let decision = decision["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&decision["endpoint"], &decision["evidence"]["live"]["bad"]), (&json!("cedar"), &json!(10)));
    // It answers well when it is asked: a sweep that began after the quarantine finds nothing against it.
    let ended = eventually("the evaluation clears it", async || {
        quarantines(&daemon).await.into_iter().find(|reason| reason.contains("quarantine over"))
    })
    .await;
    assert!(ended.contains("finds nothing against it"), "{ended}");
    eventually("it is listed again", async || (listed(&daemon).await.len() == 3).then_some(())).await;
    assert_eq!(daemon.metric("exactod_live_quarantines_total{model=\"lab/m\",kind=\"begun\"}").await, Some(1.0));
    daemon.stop().await;
    let replayed = world.run(&["replay"]).await;
    assert_eq!(replayed.code, 0, "{replayed:?}");
}

#[tokio::test]
async fn a_provider_that_is_bad_indeed_is_excluded_by_the_evaluation_that_live_traffic_asked_for() {
    let world = World::new(vec![good("alder"), good("birch"), good("larch"), weak("cedar", 0.0)]).await;
    with_quarantine(&world);
    let daemon = Daemon::start(&world).await;
    eventually("the first list is published", async || (listed(&daemon).await.len() == 4).then_some(())).await;
    cedar_turns_bad(&daemon).await;
    let ended = eventually("the evaluation confirms it", async || {
        quarantines(&daemon).await.into_iter().find(|reason| reason.contains("quarantine over"))
    })
    .await;
    assert!(ended.contains("has excluded it"), "{ended}");
    assert!(!listed(&daemon).await.contains(&"cedar".to_owned()));
    daemon.stop().await;
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

#[tokio::test]
async fn without_quarantine_live_traffic_asks_for_a_sweep_and_delists_nobody() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let daemon = Daemon::start(&world).await;
    eventually("the first list is published", async || (listed(&daemon).await.len() == 3).then_some(())).await;
    cedar_turns_bad(&daemon).await;
    eventually("a sweep was asked for", async || {
        daemon.metric("exactod_live_bursts_total{model=\"lab/m\"}").await.filter(|n| *n == 1.0)
    })
    .await;
    eventually("it has ended", async || {
        let sweeps = daemon.get("/v1/sweeps", None).await.json();
        sweeps["items"].as_array().unwrap().iter().any(|s| s["state"] == "done").then_some(())
    })
    .await;
    assert_eq!((listed(&daemon).await.len(), quarantines(&daemon).await.len()), (3, 0));
    daemon.stop().await;
}

#[tokio::test]
async fn what_was_reported_is_stored_at_a_stop_and_read_by_the_next_start() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let daemon = Daemon::start(&world).await;
    let records: Vec<Value> = (0..50).map(|i| record(&format!("r{i}"), "birch", json!({}))).collect();
    report(&daemon, &records).await;
    daemon.stop().await;
    let daemon = Daemon::start(&world).await;
    let live = daemon.get("/v1/models/lab/m/live?since=1h", None).await.json();
    let birch = live["endpoints"].as_array().unwrap().iter().find(|e| e["endpoint"] == "birch").unwrap().clone();
    assert_eq!((&birch["requests"], &birch["bad"]), (&json!(50), &json!(0)));
    report(&daemon, &[record("r50", "birch", bad())]).await;
    eventually("both parts of the minute are summed", async || {
        let live = daemon.get("/v1/models/lab/m/endpoints/birch/live?since=2h&step=1h", None).await.json();
        (live["total"]["requests"] == json!(51)).then_some(())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_file_is_counted_once_however_often_it_is_taken() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    assert_eq!(world.run(&["db", "migrate"]).await.code, 0);
    let now_us = SystemClock.now_us();
    let line = |i: i64| {
        let ts = rfc3339(now_us - i * 3_600_000_000);
        format!("{}\n", record(&format!("r{i}"), ["alder", "birch"][(i % 2) as usize], json!({"ts": ts})))
    };
    let text: String = (0..200).map(line).collect();
    std::fs::write(world.path("traffic.ndjson"), format!("{text}oops\n")).unwrap();
    let packed = zstd::stream::encode_all(text.as_bytes(), 3).unwrap();
    std::fs::write(world.path("traffic.ndjson.zst"), packed).unwrap();
    let file = world.path("traffic.ndjson").display().to_string();
    for _ in 0..2 {
        let ran = world.run(&["ingest", &file, "--json"]).await;
        assert_eq!(ran.code, 1, "a line was refused: {ran:?}");
        let told = ran.json();
        assert_eq!(
            (&told["accepted"], &told["rejected"], &told["errors"][0]["line"]),
            (&json!(200), &json!(1), &json!(201))
        );
    }
    let daemon = Daemon::start(&world).await;
    let counted = async || -> Vec<u64> {
        let live = daemon.get("/v1/models/lab/m/live?since=30d", None).await.json();
        live["endpoints"].as_array().unwrap().iter().map(|e| e["requests"].as_u64().unwrap()).collect()
    };
    assert_eq!(counted().await, [100, 100, 0]);
    daemon.stop().await;
    // Another file is another count: it is the bytes that make it the same.
    let packed = world.path("traffic.ndjson.zst").display().to_string();
    let ran = world.run(&["ingest", &packed]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let missing = world.run(&["ingest", "no-such-file"]).await;
    assert_eq!(missing.code, 2, "{missing:?}");
    let pruned = world.run(&["db", "prune", "--json"]).await.json();
    assert_eq!(pruned["observations"], json!(0), "nothing is older than the retention");
}

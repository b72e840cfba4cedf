//! `demo`: no config, no keys, no network.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::world::{Ran, eventually, exactod};

/// Its own limit is ten minutes.
const TIME_LIMIT: Duration = Duration::from_secs(660);

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_says_where_to_look_and_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = exactod();
    command.current_dir(folder.path()).env("TMPDIR", folder.path()).args(["demo", "--seed", "3"]);
    let mut demo = Daemon::saying(&mut command, "page", "http://").await;
    demo.says("allowlist  http://127.0.0.1:").await;
    assert_eq!(demo.get("/", None).await.status, StatusCode::OK);
    let endpoints = eventually("a sweep is in flight", async || {
        let models = demo.get("/v1/models", None).await.json();
        let sweeps = demo.get("/v1/sweeps", None).await.json();
        let begun = !sweeps["items"].as_array().unwrap().is_empty();
        begun.then(|| models["items"][0]["endpoints"].as_array().unwrap().len())
    })
    .await;
    assert!((8..=12).contains(&endpoints), "{endpoints}");
    demo.signal("INT").await;
    let (code, log) = demo.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("WARN"), "its lines stand alone: {log}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "it leaves nothing behind: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow tier: scripts/test slow"]
async fn slow_the_demo_decides_every_endpoint_rightly() {
    for seed in [1, 2, 3] {
        let mut command = exactod();
        let ran =
            Ran::within(command.args(["demo", "--until-decided", "--seed", &seed.to_string(), "--json"]), TIME_LIMIT)
                .await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let said = ran.json();
        assert_eq!((&said["model"], &said["seed"]), (&json!("lab/demo-model"), &json!(seed)));
        let endpoints = said["endpoints"].as_array().unwrap();
        assert!((8..=12).contains(&endpoints.len()));
        let listed = |id: &Value| said["allowlist"]["providers"].as_array().unwrap().iter().any(|p| p["id"] == *id);
        for e in endpoints {
            assert_eq!(e["matches"], json!(true), "{e}");
            assert_eq!(listed(&e["id"]), e["truth"] == json!("good"), "{e}");
            assert!(e["reason"].as_str().unwrap().len() > 20, "{e}");
        }
        assert!(endpoints.iter().any(|e| e["truth"] == "bad") && endpoints.iter().any(|e| e["truth"] == "good"));
    }
}

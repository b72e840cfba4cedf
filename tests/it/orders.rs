//! Operators' orders beside a running daemon: on the command line and over HTTP, followed within moments.

use std::process::Stdio;

use exactod::domain::AllowlistMode;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::gate::Gate;
use crate::history::{fast, raw};
use crate::world::{MODEL, World, eventually, good};

fn fleet() -> Vec<exactod::sim::EndpointSpec> {
    vec![good("alder"), good("birch"), good("cedar")]
}

fn ids(list: &Value) -> Vec<String> {
    let mut ids: Vec<String> =
        list["providers"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// Waits until the daemon serves a list for which something holds.
async fn served(daemon: &Daemon, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || {
        let answer = daemon.allowlist().await;
        let list = answer.status.is_success().then(|| answer.json())?;
        holds(&list).then_some(list)
    })
    .await
}

async fn swept(daemon: &Daemon) {
    eventually("a sweep is done", async || {
        let items = daemon.get("/v1/sweeps?state=done", None).await.json()["items"].take();
        items.get(0).cloned()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_follows_orders_on_sqlite() {
    followed(World::new(fleet()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_follows_orders_on_postgres() {
    followed(World::on_postgres(fleet()).await).await;
}

async fn followed(world: World) {
    world.configure(&fast());
    let daemon = Daemon::start(&world).await;
    swept(&daemon).await;
    let said = world.json(&["ban", "lab/m", "birch", "--note", "leaks prompts", "--by", "ann", "--json"]).await;
    assert_eq!((&said["changed"], &said["allowlist"]["published"]), (&json!(true), &json!(true)), "{said}");
    assert_eq!(said["decisions"][0]["evidence"]["by"], json!("ann"));
    let list = served(&daemon, "the ban is served", |list| !ids(list).contains(&"birch".to_owned())).await;
    assert_eq!(list["version"], said["allowlist"]["version"]);
    let metric = format!("exactod_allowlist_providers{{model=\"{MODEL}\"}}");
    eventually("the metrics follow", async || daemon.metric(&metric).await.filter(|n| *n == 2.0)).await;
    let log = daemon.get("/v1/models/lab/m/decisions?endpoint=birch", None).await.json();
    assert!(log["items"][0]["reason"].as_str().unwrap().contains("leaks prompts"), "{log}");
    assert_eq!((&log["items"][0]["kind"], &log["items"][0]["evidence"]["verb"]), (&json!("operator"), &json!("ban")));
    let page = daemon.get("/", None).await.body;
    assert!(page.contains("leaks prompts"), "the page shows who did what");

    // Again: nothing to change. Somebody unknown: exit code 2 and who is known.
    let again = world.run(&["ban", "lab/m", "birch"]).await;
    assert!(again.code == 0 && again.stdout.contains("birch is banned: nothing to change"), "{again:?}");
    let unknown = world.run(&["ban", "lab/m", "brich"]).await;
    assert!(unknown.code == 2 && unknown.stderr.contains("alder, birch, cedar"), "{unknown:?}");
    let nothing = world.run(&["ack", "lab/m"]).await;
    assert!(nothing.code == 1 && nothing.stderr.contains("nothing to acknowledge"), "{nothing:?}");
    let wordless = world.run(&["note", "lab/m", "alder"]).await;
    assert!(wordless.code == 2 && wordless.stderr.contains("--note"), "{wordless:?}");

    over_http(&world, &daemon).await;
    daemon.stop().await;
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

/// The last listed ones are banned over HTTP: the list is held and says so, everywhere; then all is undone.
async fn over_http(world: &World, daemon: &Daemon) {
    for endpoint in ["alder", "cedar"] {
        let answer = daemon
            .post(&format!("/v1/models/{MODEL}/endpoints/{endpoint}/ban"), &serde_json::json!({"by": "bob"}))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let list = served(daemon, "the list is held", |list| list["mode"] == json!(AllowlistMode::Frozen)).await;
    assert_eq!(ids(&list), ["cedar"], "never empty");
    let alarms = daemon.get("/v1/alarms?open=true", None).await.json();
    assert!(alarms["items"].as_array().unwrap().iter().any(|a| a["kind"] == "frozen"), "{alarms}");
    let metric = format!("exactod_alarms_open{{model=\"{MODEL}\",kind=\"frozen\"}}");
    assert_eq!(daemon.metric(&metric).await, Some(1.0));
    for endpoint in ["alder", "birch", "cedar"] {
        world.json(&["unban", "lab/m", endpoint, "--json"]).await;
    }
    served(daemon, "all are back", |list| ids(list).len() == 3).await;
    eventually("the alarm is closed", async || daemon.metric(&metric).await.filter(|n| *n == 0.0)).await;
    let refused = daemon.post(&format!("/v1/models/{MODEL}/ack"), &serde_json::json!({})).await;
    assert_eq!(refused.status, 409, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_noticed_at_the_next_start() {
    let world = World::new(fleet()).await;
    world.configure(&fast());
    let daemon = Daemon::start(&world).await;
    swept(&daemon).await;
    daemon.stop().await;
    let file = world.path("store.db");
    std::fs::copy(&file, world.path("backup.db")).unwrap();

    let said = world.json(&["ban", "lab/m", "birch", "--json"]).await;
    let version = said["allowlist"]["version"].as_u64().unwrap();
    let daemon = Daemon::start(&world).await;
    let mark = world.path("store.db.mark");
    eventually("the daemon has marked how far the store has come", async || {
        let text = std::fs::read_to_string(&mark).ok()?;
        let marked: Value = serde_json::from_str(&text).ok()?;
        (marked[MODEL]["revision"].as_u64() == Some(version)).then_some(())
    })
    .await;
    daemon.stop().await;

    for beside in ["store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(world.path(beside));
    }
    std::fs::copy(world.path("backup.db"), &file).unwrap();
    let daemon = Daemon::start(&world).await;
    let list = served(&daemon, "a later revision is served", |list| list["version"].as_u64() > Some(version)).await;
    assert_eq!(ids(&list).len(), 3, "the ban was lost with the day");
    told_of_the_restore(&daemon).await;
    daemon.stop().await;
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_that_went_on_before_the_next_start_is_noticed() {
    // As many steps as were lost, and more.
    for further in [1, 3] {
        let world = World::new(fleet()).await;
        world.configure(&fast());
        let daemon = Daemon::start(&world).await;
        swept(&daemon).await;
        daemon.stop().await;
        let file = world.path("store.db");
        std::fs::copy(&file, world.path("backup.db")).unwrap();
        let said = world.json(&["ban", "lab/m", "birch", "--json"]).await;
        let version = said["allowlist"]["version"].as_u64().unwrap();
        // It marks how far the store has come when it starts, and when it stops.
        Daemon::start(&world).await.stop().await;

        for beside in ["store.db-wal", "store.db-shm"] {
            let _ = std::fs::remove_file(world.path(beside));
        }
        std::fs::copy(world.path("backup.db"), &file).unwrap();
        // The same revision, to consumers of another content.
        let other = world.json(&["ban", "lab/m", "cedar", "--json"]).await;
        assert_eq!(other["allowlist"]["version"].as_u64(), Some(version));
        for _ in 1..further {
            world.json(&["note", "lab/m", "alder", "--note", "as before", "--json"]).await;
        }
        let daemon = Daemon::start(&world).await;
        let list = served(&daemon, "a later revision is served", |list| list["version"].as_u64() > Some(version)).await;
        assert_eq!(ids(&list), ["alder", "birch"], "what was decided since holds");
        told_of_the_restore(&daemon).await;
        daemon.stop().await;
        // Told once.
        let daemon = Daemon::start(&world).await;
        told_of_the_restore(&daemon).await;
        daemon.stop().await;
        assert_eq!(world.run(&["replay"]).await.code, 0);
    }
}

async fn told_of_the_restore(daemon: &Daemon) {
    let log = daemon.get("/v1/models/lab/m/decisions", None).await.json();
    let items = log["items"].as_array().unwrap();
    let told = items.iter().filter(|d| d["kind"] == "irregular" && d["reason"].as_str().unwrap().contains("restored"));
    assert_eq!(told.count(), 3, "once for every endpoint: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_notices_a_database_that_was_put_back() {
    let world = World::on_postgres(fleet()).await;
    world.configure(&fast());
    let daemon = Daemon::start(&world).await;
    swept(&daemon).await;
    let said = world.json(&["ban", "lab/m", "birch", "--json"]).await;
    let version = said["allowlist"]["version"].as_u64().unwrap();
    served(&daemon, "the ban is served", |list| list["version"].as_u64() == Some(version)).await;
    // As if the database of before the ban were restored: its last step is gone. (The state before it is still kept.)
    raw(
        &world,
        "BEGIN; DELETE FROM allowlists WHERE revision = (SELECT MAX(revision) FROM allowlists); \
         DELETE FROM decisions WHERE seq = (SELECT MAX(seq) FROM history); \
         DELETE FROM states WHERE seq = (SELECT MAX(seq) FROM history); \
         DELETE FROM history WHERE seq = (SELECT MAX(seq) FROM history); COMMIT",
    )
    .await;
    let list = served(&daemon, "a later revision is served", |list| list["version"].as_u64() > Some(version)).await;
    assert_eq!(ids(&list).len(), 3);
    told_of_the_restore(&daemon).await;
    daemon.stop().await;
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_mid_sweep_is_kept_by_its_end() {
    let world = World::new(fleet()).await;
    let gate = Gate::before(&world.fleet, 3).await;
    world.configure_for(&gate.providers, &fast());
    let mut sweep = world.exactod(&["sweep", "--json"]);
    let sweep = sweep.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the sweep is in flight", async || (world.requests() == 15).then_some(())).await;
    world.json(&["ban", "lab/m", "birch", "--json"]).await;
    gate.open();
    assert!(sweep.wait_with_output().await.unwrap().status.success());
    let list = world.json(&["allowlist", "--json"]).await;
    assert_eq!(ids(&list), ["alder", "cedar"]);
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

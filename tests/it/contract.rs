//! The contract with gateways, through the real daemon: keys and signatures, waiting, streams.

use std::time::Duration;

use exactod::client::{Consumer, Follower, FollowerOptions, Offered, Polled, Refusal, Trust};
use exactod::clock::{Clock as _, SystemClock};
use exactod::signing::{KeySet, Signature};
use http::StatusCode;
use serde_json::json;

use crate::daemon::Daemon;
use crate::world::{MODEL, Settings, World, eventually, good};

const LIST: &str = "/v1/models/lab/m/allowlist";

fn now_us() -> i64 {
    SystemClock.now_us()
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.budget += "\n[signing]\nkeys = { file = \"signing-keys.json\" }\n";
    settings
}

async fn signed_world() -> World {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    assert_eq!(world.run(&["keys", "new", "--id", "k1"]).await.code, 0);
    world.configure(&settings());
    world
}

async fn first_list(daemon: &Daemon) {
    eventually("the first list is published", async || {
        (daemon.allowlist().await.status == StatusCode::OK).then_some(())
    })
    .await;
}

fn follower(daemon: &Daemon) -> Follower {
    Follower::new(&daemon.base, &FollowerOptions { wait: Duration::from_secs(60), token: None }).unwrap()
}

/// One poll, offered to a consumer.
async fn take(follower: &Follower, consumer: &mut Consumer) -> Result<Offered, Refusal> {
    match follower.next(MODEL, consumer.etag()).await.unwrap() {
        Polled::Unchanged => Ok(Offered::Known),
        Polled::Document { bytes, signature } => consumer.offer(&bytes, signature.as_deref(), now_us()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_adopts_what_the_daemon_signs_and_waits_for_the_next() {
    let world = signed_world().await;
    let daemon = Daemon::start(&world).await;
    first_list(&daemon).await;
    let follower = follower(&daemon);
    let keys = follower.keys().await.unwrap();
    assert_eq!(keys.ids(), ["k1"]);
    let trust = Trust { keys, ..Trust::signed(MODEL) };
    let (mut consumer, _) = Consumer::open(trust.clone(), world.path("router.json"));
    assert_eq!(take(&follower, &mut consumer).await, Ok(Offered::Adopted));
    let before = consumer.held().unwrap().held.revision;

    // The next revision arrives in a poll that was waiting for it.
    let waiting = tokio::spawn({
        let (follower, etag) = (follower.clone(), consumer.etag());
        async move { follower.next(MODEL, etag).await }
    });
    let banned = daemon.post("/v1/models/lab/m/endpoints/birch/ban", &json!({})).await;
    assert_eq!(banned.status, StatusCode::OK, "{banned:?}");
    let Polled::Document { bytes, signature } = waiting.await.unwrap().unwrap() else { panic!("a change was due") };
    assert_eq!(consumer.offer(&bytes, signature.as_deref(), now_us()), Ok(Offered::Adopted));
    let held = consumer.held().unwrap();
    assert_eq!(held.held.revision, before + 1);
    assert_eq!(held.list.excluded[0].id.as_str(), "birch");

    // With the daemon gone, the next process of the router has the list.
    daemon.stop().await;
    let (consumer, problem) = Consumer::open(trust, world.path("router.json"));
    assert!(problem.is_none());
    assert_eq!(consumer.held().unwrap().held.revision, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_takes_over_from_another_without_a_moment_without_a_signature() {
    let world = signed_world().await;
    let daemon = Daemon::start(&world).await;
    first_list(&daemon).await;
    let list = daemon.allowlist().await;
    let signers = async || {
        let signatures = daemon.get(&format!("{LIST}.sig"), None).await;
        let known = KeySet::read(&daemon.get("/.well-known/exacto-keys.json", None).await.body).unwrap();
        let signatures = Signature::read(&signatures.body).unwrap();
        assert!(signatures.iter().all(|s| known.get(&s.key_id).unwrap().verifies(list.body.as_bytes(), s)));
        signatures.into_iter().map(|s| s.key_id).collect::<Vec<_>>()
    };
    assert_eq!(signers().await, ["k1"]);

    let rotated = world.run(&["keys", "rotate", "--id", "k2"]).await;
    assert_eq!(rotated.code, 0, "{rotated:?}");
    assert_eq!(world.run(&["keys", "rotate"]).await.code, 2, "one rotation at a time");
    daemon.signal("HUP").await;
    eventually("both sign", async || (signers().await == ["k1", "k2"]).then_some(())).await;
    assert_eq!(daemon.allowlist().await.body, list.body, "the document stays as it is");
    let listed = world.json(&["keys", "list", "--json"]).await;
    assert_eq!((&listed["keys"][0]["kid"], &listed["keys"][1]["kid"]), (&json!("k1"), &json!("k2")));

    assert_eq!(world.run(&["keys", "rotate", "--finish"]).await.code, 0);
    assert_eq!(world.run(&["keys", "rotate", "--finish"]).await.code, 2, "there is nothing to finish");
    daemon.signal("HUP").await;
    eventually("the new one signs alone", async || (signers().await == ["k2"]).then_some(())).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_is_its_owners_alone_and_never_shown() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new(vec![good("alder")]).await;
    let made = world.run(&["keys", "new"]).await;
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(made.stdout, "[signing]\nkeys = { file = \"signing-keys.json\" }\n", "ready to be appended");
    let path = world.path("signing-keys.json");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let secret = serde_json::from_str::<serde_json::Value>(&text).unwrap()["keys"][0]["d"].as_str().unwrap().to_owned();
    assert_eq!(world.run(&["keys", "new"]).await.code, 2, "a key is never written over");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let rotated = world.run(&["keys", "rotate", "--json"]).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    world.configure(&settings());
    let listed = world.run(&["keys", "list"]).await;
    let daemon = Daemon::start(&world).await;
    let shown = daemon.get("/.well-known/exacto-keys.json", None).await.body;
    let log = daemon.stop().await;
    for text in [&made.stderr, &rotated.stdout, &rotated.stderr, &listed.stdout, &shown, &log] {
        assert!(!text.contains(&secret) && !text.contains("\"d\""), "{text}");
    }
    assert_eq!(shown.matches("\"kid\"").count(), 2);

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = world.run(&["config", "check"]).await;
    assert!(refused.code == 2 && refused.stderr.contains("chmod 600"), "{refused:?}");
    std::fs::write(&path, "{}").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let refused = world.run(&["config", "check"]).await;
    assert!(refused.code == 2 && refused.stderr.contains("`[signing] keys`"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_daemon_and_is_taken_up_again() {
    let world = signed_world().await;
    let daemon = Daemon::start(&world).await;
    first_list(&daemon).await;
    let watch = |base: &str, last: &str| {
        crate::gate::client().get(format!("{base}{LIST}/watch")).header("last-event-id", last.to_owned()).send()
    };
    let mut stream = watch(&daemon.base, "0").await.unwrap();
    let mut sent = String::new();
    while !sent.contains("event: put") || !sent.ends_with("\n\n") {
        sent += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
    }
    let list = daemon.allowlist().await;
    assert!(sent.contains(&format!("\ndata: {}\n\n", list.body)), "{sent}");
    assert!(sent.contains(&format!("event: signature\ndata: {}\n\n", list.header("exacto-signature"))), "{sent}");
    // Neither streams nor polls hold up the end.
    let waiting = tokio::spawn({
        let (follower, etag) = (follower(&daemon), list.header("etag").to_owned());
        async move { follower.next(MODEL, Some(etag)).await }
    });
    eventually("the stream and the poll wait", async || {
        daemon.metric("exactod_http_watchers ").await.filter(|waiting| *waiting == 2.0)
    })
    .await;
    let log = daemon.stop().await;
    assert!(!log.contains("still open"), "{log}");
    assert_eq!(waiting.await.unwrap().unwrap(), Polled::Unchanged);
    let ended = tokio::time::timeout(crate::world::PATIENCE, async {
        while let Ok(Some(more)) = stream.chunk().await {
            assert!(more.starts_with(b":"), "{more:?}");
        }
    });
    ended.await.expect("the stream has ended");

    let daemon = Daemon::start(&world).await;
    let version = list.header("exacto-version");
    let mut stream = watch(&daemon.base, version).await.unwrap();
    assert_eq!(stream.chunk().await.unwrap().unwrap().as_ref(), b"retry: 2000\n\n");
    let banned = daemon.post("/v1/models/lab/m/endpoints/birch/ban", &json!({})).await;
    assert_eq!(banned.status, StatusCode::OK, "{banned:?}");
    let next = stream.chunk().await.unwrap().unwrap();
    let next = std::str::from_utf8(&next).unwrap();
    let following = version.parse::<u64>().unwrap() + 1;
    assert!(next.contains(&format!("\nid: {following}\n")), "not the one it has, but the next: {next}");
    drop(stream);
    daemon.stop().await;
}

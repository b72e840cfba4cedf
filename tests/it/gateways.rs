//! Out to the gateways and to people: relays, exports, files, webhooks, through the real daemon.

use std::sync::{Arc, Mutex};

use exactod::domain::base64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::daemon::{Answer, Daemon};
use crate::odd_server::{self, Asked};
use crate::world::{Settings, World, eventually, exactod, good};

/// A world whose daemon signs, with more tables in its config.
async fn world(more: &str) -> World {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    assert_eq!(world.run(&["keys", "new", "--id", "k1"]).await.code, 0);
    configure(&world, more);
    world
}

fn configure(world: &World, more: &str) {
    let mut settings = Settings::default();
    settings.budget += &format!("\n[signing]\nkeys = {{ file = \"signing-keys.json\" }}\n{more}");
    world.configure(&settings);
}

async fn first_list(daemon: &Daemon) -> Answer {
    eventually("the first list is published", async || {
        Some(daemon.allowlist().await).filter(|list| list.status == StatusCode::OK)
    })
    .await
}

async fn ban(daemon: &Daemon, endpoint: &str) {
    let banned = daemon.post(&format!("/v1/models/lab/m/endpoints/{endpoint}/ban"), &json!({})).await;
    assert_eq!(banned.status, StatusCode::OK, "{banned:?}");
}

fn header<'a>(asked: &'a Asked, name: &str) -> &'a str {
    let line = asked.head.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)));
    line.map_or("", |(_, value)| value.trim())
}

fn relay_config(world: &World, from: &str) {
    let folder = world.path("relay");
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"sqlite://relay.db\"\n\
         [[relay]]\nfrom = \"{from}\"\nmodels = [\"lab/m\"]\nkeys_file = \"keys.json\"\nclient = \"edge-1\"\n"
    );
    std::fs::write(folder.join("exactod.toml"), text).unwrap();
}

fn relay_command(world: &World) -> Command {
    let mut command = exactod();
    command.arg("--config").arg(world.path("relay/exactod.toml")).arg("serve");
    command
}

async fn start_relay(world: &World) -> Daemon {
    Daemon::saying(&mut relay_command(world), "exactod is up", "address=").await
}

/// What a server that plays the other daemon answers with: revision, body and signature.
type Played = Arc<Mutex<(String, String)>>;

async fn played_daemon(played: &Played) -> String {
    let played = Arc::clone(played);
    let base = odd_server::serve(move |asked| {
        let (body, signature) = played.lock().unwrap().clone();
        match asked.head.starts_with("GET /v1/models/") {
            true => {
                let head = format!("exacto-signature: {signature}\r\ncontent-length: {}", body.len());
                format!("HTTP/1.1 200 OK\r\n{head}\r\nconnection: close\r\n\r\n{body}").into_bytes()
            }
            false => odd_server::http("404 Not Found", "text/plain", b""),
        }
    })
    .await;
    base.trim_end_matches("/v1").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_serves_what_it_has_verified_and_goes_on_without_its_source() {
    let world = world("").await;
    let source = Daemon::start(&world).await;
    let first = first_list(&source).await;
    relay_config(&world, &source.base);
    let keys = source.get("/.well-known/exacto-keys.json", None).await.body;
    std::fs::write(world.path("relay/keys.json"), &keys).unwrap();
    let relay = start_relay(&world).await;
    let taken = first_list(&relay).await;
    assert_eq!((&taken.body, taken.header("etag")), (&first.body, first.header("etag")), "byte for byte");
    assert_eq!(taken.header("exacto-signature"), first.header("exacto-signature"), "its source has signed it");
    assert_eq!(relay.get("/.well-known/exacto-keys.json", None).await.json()["keys"][0]["kid"], "k1");
    assert_eq!(relay.get("/v1/models", None).await.json()["items"][0]["relayed_from"], format!("{}/", source.base));
    let names = relay.get("/v1/export/names/lab/m?gateway=litellm", None).await.json();
    assert_eq!(names["allow"].as_array().unwrap().len(), 3);

    ban(&source, "birch").await;
    let second = source.allowlist().await;
    assert_ne!(second.body, first.body);
    eventually("the relay has the next one", async || (relay.allowlist().await.body == second.body).then_some(()))
        .await;
    // The source knows what the relay runs, and so does whoever asks it.
    let acks = eventually("the ack has arrived", async || {
        let acks = source.get("/v1/acks", None).await.json()["items"].take();
        (acks[0]["behind"] == json!(false)).then_some(acks)
    })
    .await;
    assert_eq!((&acks[0]["client"], &acks[0]["status"]), (&json!("edge-1"), &json!("adopted")));
    let shown = world.json(&["consumers", "--json"]).await;
    assert_eq!(shown["items"][0]["adopted"], acks[0]["current"]);

    source.signal("KILL").await;
    assert_eq!(relay.allowlist().await.body, second.body);
    relay.stop().await;
    // Started without its source, it has the list at once.
    let relay = start_relay(&world).await;
    let kept = relay.allowlist().await;
    assert_eq!((kept.status, &kept.body), (StatusCode::OK, &second.body));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_adopts_nothing_that_is_tampered_rolled_back_or_empty() {
    let world = world("").await;
    let source = Daemon::start(&world).await;
    let first = first_list(&source).await;
    let keys = source.get("/.well-known/exacto-keys.json", None).await.body;
    ban(&source, "birch").await;
    let second = source.allowlist().await;
    source.stop().await;
    let text = |answer: &Answer| (answer.body.clone(), answer.header("exacto-signature").to_owned());

    let played: Played = Arc::new(Mutex::new(text(&second)));
    relay_config(&world, &played_daemon(&played).await);
    std::fs::write(world.path("relay/keys.json"), &keys).unwrap();
    let relay = start_relay(&world).await;
    assert_eq!(first_list(&relay).await.body, second.body);
    let tampered = (second.body.replace("birch", "aspen"), second.header("exacto-signature").to_owned());
    let cut = (second.body[..second.body.len() / 2].to_owned(), second.header("exacto-signature").to_owned());
    let unsigned = (second.body.replace("\"version\":", "\"version\":9"), String::new());
    for (bad, why) in [
        (tampered, "tampered with"),
        (text(&first), "rolled back"),
        (cut, "tampered with"),
        (unsigned, "not signed"),
        ((String::new(), String::new()), "not signed"),
    ] {
        *played.lock().unwrap() = bad;
        let alarm = eventually(why, async || {
            let alarms = relay.get("/v1/alarms?open=true", None).await.json()["items"].take();
            let text = alarms.as_array().unwrap().iter().find(|alarm| alarm["kind"] == "relay")?["text"].clone();
            text.as_str().unwrap().contains(why).then_some(text)
        })
        .await;
        assert!(alarm.as_str().unwrap().contains("the last good one is served on"), "{alarm}");
        assert_eq!(relay.allowlist().await.body, second.body, "{why}");
    }
    *played.lock().unwrap() = text(&second);
    eventually("the alarm is closed", async || {
        let alarms = relay.get("/v1/alarms?open=true", None).await.json()["items"].take();
        (!alarms.to_string().contains("\"relay\"")).then_some(())
    })
    .await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_what_the_daemon_serves() {
    let world = world("").await;
    let none = world.run(&["export", "names"]).await;
    assert_eq!(none.code, 1, "{none:?}");
    let daemon = Daemon::start(&world).await;
    first_list(&daemon).await;
    ban(&daemon, "birch").await;
    for format in
        ["json", "names", "openrouter", "vercel", "portkey", "huggingface", "helicone", "litellm-yaml", "nginx", "kong"]
    {
        let served = daemon.get(&format!("/v1/export/{format}/lab/m"), None).await;
        let printed = world.run(&["export", format, "--model", "lab/m"]).await;
        assert_eq!((printed.code, printed.stdout.trim_end()), (0, served.body.trim_end()), "{format}");
        assert!(!served.body.contains("birch") || ["json", "names"].contains(&format), "{}", served.body);
    }
    let served = daemon.get("/v1/export/litellm", None).await;
    assert_eq!(served.json()["groups"]["m:exacto"].as_array().unwrap().len(), 2);
    assert_eq!(world.run(&["export", "litellm"]).await.stdout.trim_end(), served.body);
    let out = world.path("exclude.json");
    let ran = world.run(&["export", "names", "--form", "exclude", "--out", out.to_str().unwrap()]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    let written: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert_eq!(written["exclude"], json!(["birch"]));
    assert_eq!(world.run(&["export", "ngnix"]).await.code, 2);
    assert_eq!(world.run(&["export", "vercel", "--form", "exclude"]).await.code, 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_follows_the_list_and_its_program_is_run() {
    let sink = |check: &str| {
        format!(
            "[[sink]]\nformat = \"names\"\nmodel = \"lab/m\"\npath = \"gateway/exacto.json\"\ncheck = {check}\n\
             after = [\"cp\", \"exacto.json\", \"taken.json\"]\n"
        )
    };
    let world = world(&sink("[]")).await;
    std::fs::create_dir(world.path("gateway")).unwrap();
    let daemon = Daemon::start(&world).await;
    first_list(&daemon).await;
    let taken = async |count: usize| {
        eventually("the file is taken into use", async || {
            let text = std::fs::read(world.path("gateway/taken.json")).ok()?;
            let names: Value = serde_json::from_slice(&text).ok()?;
            (names["allow"].as_array()?.len() == count).then_some(names)
        })
        .await
    };
    taken(3).await;
    ban(&daemon, "birch").await;
    assert_eq!(taken(2).await["exclude"], json!(["birch"]));
    // A file that does not pass its check is put back, and somebody is told.
    configure(&world, &sink("[\"grep\", \"-q\", 'exclude...birch', \"exacto.json\"]"));
    daemon.signal("HUP").await;
    eventually("the config is taken", async || daemon.log().contains("config reloaded").then_some(())).await;
    let unbanned = daemon.post("/v1/models/lab/m/endpoints/birch/unban", &json!({})).await;
    assert_eq!(unbanned.status, StatusCode::OK);
    let alarm = eventually("the alarm is open", async || {
        let alarms = daemon.get("/v1/alarms?open=true", None).await.json()["items"].take();
        alarms.as_array().unwrap().iter().find(|alarm| alarm["kind"] == "sink").cloned()
    })
    .await;
    assert!(alarm["text"].as_str().unwrap().contains("the previous file was put back"), "{alarm}");
    let names: Value = serde_json::from_slice(&std::fs::read(world.path("gateway/exacto.json")).unwrap()).unwrap();
    assert_eq!(names["exclude"], json!(["birch"]));
    daemon.stop().await;
}

/// A receiver of webhooks that can be told to refuse.
struct Receiver {
    url: String,
    taken: Arc<Mutex<Vec<Asked>>>,
    refused: Arc<Mutex<Vec<String>>>,
    refuses: Arc<Mutex<bool>>,
}

impl Receiver {
    async fn new() -> Receiver {
        let (taken, refused) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let refuses = Arc::new(Mutex::new(false));
        let (into, away, says_no) = (Arc::clone(&taken), Arc::clone(&refused), Arc::clone(&refuses));
        let base = odd_server::serve(move |asked| {
            if *says_no.lock().unwrap() {
                away.lock().unwrap().push(header(asked, "webhook-id").to_owned());
                return odd_server::http("503 Service Unavailable", "text/plain", b"later");
            }
            into.lock().unwrap().push(asked.clone());
            odd_server::http("204 No Content", "text/plain", b"")
        })
        .await;
        Receiver { url: format!("{base}/hook"), taken, refused, refuses }
    }

    fn refuse(&self, refuses: bool) {
        *self.refuses.lock().unwrap() = refuses;
    }

    /// Events about an endpoint, by their order of arrival.
    fn about(&self, endpoint: &str) -> Vec<(String, Value)> {
        let taken = self.taken.lock().unwrap();
        let events = taken.iter().map(|asked| {
            let event: Value = serde_json::from_str(&asked.body).unwrap();
            assert_eq!(event["id"], header(asked, "webhook-id"));
            (header(asked, "webhook-id").to_owned(), event)
        });
        events.filter(|(_, event)| event["decision"]["endpoint"] == endpoint).collect()
    }
}

fn verified(asked: &Asked, secret: &str) -> bool {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(
        format!("{}.{}.{}", header(asked, "webhook-id"), header(asked, "webhook-timestamp"), asked.body).as_bytes(),
    );
    header(asked, "webhook-signature") == format!("v1,{}", base64::encode(&mac.finalize().into_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_told_in_order_signed_and_nothing_is_lost_by_a_kill() {
    const SECRET: &str = "a-secret-of-the-receiver";
    let (receiver, slack) = (Receiver::new().await, Receiver::new().await);
    let world = world(&format!(
        "[[webhook]]\nname = \"ops\"\nurl = \"{}\"\nsecret = {{ file = \"hook-secret\" }}\n\
         [[webhook]]\nname = \"chat\"\nurl = {{ file = \"chat-url\" }}\nform = \"slack\"\nevents = [\"decision\"]\n",
        receiver.url
    ))
    .await;
    std::fs::write(world.path("hook-secret"), SECRET).unwrap();
    std::fs::write(world.path("chat-url"), &slack.url).unwrap();
    let daemon = Daemon::start(&world).await;
    first_list(&daemon).await;
    ban(&daemon, "birch").await;
    let told = eventually("the ban is told", async || {
        receiver
            .about("birch")
            .iter()
            .rfind(|(_, e)| e["decision"]["reason"].as_str().unwrap().contains("ban"))
            .cloned()
    })
    .await;
    assert_eq!((&told.1["schema"], &told.1["type"]), (&json!("exacto.event/v1"), &json!("decision")));
    assert!(receiver.taken.lock().unwrap().iter().all(|asked| verified(asked, SECRET)));
    let text = eventually("the chat is told", async || {
        slack.taken.lock().unwrap().iter().map(|asked| asked.body.clone()).find(|body| body.contains("birch"))
    })
    .await;
    let text: Value = serde_json::from_str(&text).unwrap();
    assert!(text["text"].as_str().unwrap().starts_with("*lab/m* birch"), "{text}");

    // While the receiver refuses, the first event is tried again under its id, and none overtakes it.
    receiver.refuse(true);
    for endpoint in ["birch/unban", "cedar/ban", "cedar/unban"] {
        let done = daemon.post(&format!("/v1/models/lab/m/endpoints/{endpoint}"), &json!({})).await;
        assert_eq!(done.status, StatusCode::OK);
    }
    eventually("it was tried twice", async || (receiver.refused.lock().unwrap().len() >= 2).then_some(())).await;
    let refused = receiver.refused.lock().unwrap().clone();
    assert!(refused.iter().all(|id| *id == refused[0]), "{refused:?}");
    daemon.signal("KILL").await;
    daemon.ended().await;

    receiver.refuse(false);
    let daemon = Daemon::start(&world).await;
    // What a sweep says of it may come before.
    let ordered = || {
        let mut told = receiver.about("cedar");
        told.retain(|(_, event)| event["decision"]["reason"].as_str().unwrap().contains("ban"));
        told
    };
    eventually("all were told", async || (ordered().len() >= 2).then_some(())).await;
    let all: Vec<String> =
        receiver.taken.lock().unwrap().iter().map(|asked| header(asked, "webhook-id").to_owned()).collect();
    let once: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(once.len(), all.len(), "nothing is told twice where the receiver answered: {all:?}");
    assert_eq!(receiver.about("birch").last().unwrap().0, refused[0], "the one that was refused");
    let place = |id: &str| all.iter().position(|told| told == id).unwrap();
    let cedar: Vec<usize> = ordered().iter().map(|(id, _)| place(id)).collect();
    assert!(place(&refused[0]) < cedar[cedar.len() - 2] && cedar.is_sorted(), "in order");
    let log = daemon.stop().await;
    assert!(!log.contains(SECRET) && !log.contains(&slack.url), "{log}");
}

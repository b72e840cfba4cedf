//! Lists put into gateways by their admin APIs: stub servers that keep the documented contracts, not the vendors' programs.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon};
use crate::odd_server::{self, Asked, http};
use crate::world::{Settings, World, eventually, good};

/// Kong's admin API for one plugin.
#[derive(Clone, Default)]
struct Kong(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    plugin: Value,
    /// Says yes and changes nothing.
    forgets: bool,
    /// How many further changes are refused with 429.
    busy: usize,
    changes: usize,
    reads: usize,
    tokens: Vec<String>,
}

impl Kong {
    /// With a target for each endpoint of the world.
    async fn of(world: &World) -> (Kong, String) {
        let kong = Kong::default();
        let target = |(id, url): (String, String)| {
            json!({"route_type": "llm/v1/chat", "weight": 100, "auth": {"header_value": "the-users-key"},
                   "model": {"provider": "openai", "name": id, "options": {"upstream_url": format!("{url}/chat/completions")}}})
        };
        let targets: Vec<Value> = world.fleet.endpoints().map(|(id, url)| target((id.to_string(), url))).collect();
        kong.0.lock().unwrap().plugin = json!({"id": "p1", "name": "ai-proxy-advanced", "config": {"balancer": {"algorithm": "round-robin"}, "targets": targets}});
        let answers = kong.clone();
        let base = odd_server::serve(move |asked| answers.answer(asked)).await;
        (kong, base.trim_end_matches("/v1").to_owned())
    }

    fn answer(&self, asked: &Asked) -> Vec<u8> {
        let mut told = self.0.lock().unwrap();
        let token = asked.head.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| *n == "authorization"));
        told.tokens.push(token.map_or(String::new(), |(_, token)| token.to_owned()));
        if asked.head.starts_with("GET /plugins/p1 ") {
            told.reads += 1;
        } else if asked.head.starts_with("PATCH /plugins/p1 ") {
            if told.busy > 0 {
                told.busy -= 1;
                return b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
            }
            told.changes += 1;
            if !told.forgets {
                let change: Value = serde_json::from_str(&asked.body).unwrap();
                told.plugin["config"]["targets"] = change["config"]["targets"].clone();
            }
        } else {
            return http("404 Not Found", "application/json", b"{}");
        }
        http("200 OK", "application/json", told.plugin.to_string().as_bytes())
    }

    fn weights(&self) -> Vec<u64> {
        let told = self.0.lock().unwrap();
        told.plugin["config"]["targets"].as_array().unwrap().iter().map(|t| t["weight"].as_u64().unwrap()).collect()
    }

    fn told<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

fn configure(world: &World, url: &str, more: &str) {
    std::fs::write(world.path("kong-token"), "secret-token").unwrap();
    let mut settings = Settings::default();
    settings.budget += &format!(
        "\n[[push]]\nname = \"kong\"\nadapter = \"kong\"\nmodel = \"lab/m\"\nurl = \"{url}\"\ntarget = \"p1\"\n\
         token = {{ file = \"kong-token\" }}\nfolder = \"pushed\"\npause = \"1ms\"\n{more}\n"
    );
    world.configure(&settings);
}

async fn first_list(daemon: &Daemon) -> Answer {
    eventually("the first list is published", async || {
        Some(daemon.allowlist().await).filter(|list| list.status == StatusCode::OK)
    })
    .await
}

async fn order(daemon: &Daemon, endpoint: &str, verb: &str) {
    let done = daemon.post(&format!("/v1/models/lab/m/endpoints/{endpoint}/{verb}"), &json!({})).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
}

async fn alarms(daemon: &Daemon) -> Vec<String> {
    let page = daemon.get("/v1/alarms?open=true", None).await.json();
    let of_push = page["items"].as_array().unwrap().iter().filter(|alarm| alarm["kind"] == "push").cloned();
    of_push.map(|alarm| alarm["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_follows_the_list_is_changed_back_and_goes_back_by_hand() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let (kong, url) = Kong::of(&world).await;
    configure(&world, &url, "every = \"100ms\"");
    let daemon = Daemon::start(&world).await;
    first_list(&daemon).await;
    eventually("all have their weight", async || (kong.weights() == [10_000, 10_000, 10_000]).then_some(())).await;
    order(&daemon, "birch", "ban").await;
    eventually("the banned one is demoted", async || (kong.weights() == [10_000, 1, 10_000]).then_some(())).await;
    assert!(kong.told(|told| told.tokens.iter().all(|token| token == "Bearer secret-token")));
    // Changed by hand, it is changed back.
    kong.told(|told| told.plugin["config"]["targets"][1]["weight"] = json!(77));
    eventually("it is changed back", async || (kong.weights() == [10_000, 1, 10_000]).then_some(())).await;
    assert_eq!(kong.told(|told| told.plugin["config"]["targets"][1]["auth"]["header_value"].clone()), "the-users-key");
    let kept = std::fs::read_to_string(world.path("pushed/kong.previous.json")).unwrap();
    assert!(kept.contains("77") && !kept.contains("the-users-key"), "{kept}");

    // Back by hand: the daemon leaves it so, and says that it does.
    let ran = world.run(&["push", "kong", "--roll-back"]).await;
    assert!(ran.code == 0 && ran.stdout.trim().ends_with(" birch: weight 1 -> 77"), "{ran:?}");
    assert_eq!(kong.weights(), [10_000, 77, 10_000]);
    let held = async || alarms(&daemon).await.pop().filter(|text| text.contains("held"));
    eventually("an alarm says that it is held", held).await;
    let (reads, changes) = kong.told(|told| (told.reads, told.changes));
    eventually("it was looked at again", async || (kong.told(|told| told.reads) >= reads + 3).then_some(())).await;
    assert_eq!((kong.weights(), kong.told(|told| told.changes)), (vec![10_000, 77, 10_000], changes));
    assert_eq!(world.run(&["push", "kong", "--resume"]).await.code, 0);
    eventually("it follows again", async || (kong.weights() == [10_000, 1, 10_000]).then_some(())).await;
    eventually("the alarm is over", async || alarms(&daemon).await.is_empty().then_some(())).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_differs_and_changes_nothing() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let (kong, url) = Kong::of(&world).await;
    configure(&world, &url, "dry_run = true\nevery = \"50ms\"");
    let daemon = Daemon::start(&world).await;
    first_list(&daemon).await;
    eventually("it was looked at", async || (kong.told(|told| told.reads) >= 3).then_some(())).await;
    daemon.stop().await;
    let said = world.json(&["push", "kong", "--dry-run", "--json"]).await;
    assert_eq!(said["diff"][0], "alder: weight 100 -> 10000", "{said}");
    assert_eq!((kong.told(|told| told.changes), kong.weights()), (0, vec![100, 100, 100]));
    assert_eq!(world.run(&["push", "kong", "--roll-back"]).await.code, 1, "there is nothing to go back to");
    // By hand it is changed, and then nothing differs.
    assert_eq!(world.json(&["push", "kong", "--json"]).await["diff"].as_array().unwrap().len(), 3);
    assert_eq!(world.json(&["push", "kong", "--json"]).await["diff"], json!([]));
    let wrong = world.run(&["push", "kng"]).await;
    assert!(wrong.code == 2 && wrong.stderr.contains("did you mean `kong`?"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_forgets_or_is_busy_is_an_alarm_and_tried_again() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let (kong, url) = Kong::of(&world).await;
    kong.told(|told| told.forgets = true);
    configure(&world, &url, "every = \"1h\"");
    let daemon = Daemon::start(&world).await;
    first_list(&daemon).await;
    let told = eventually("an alarm says so", async || alarms(&daemon).await.pop()).await;
    assert!(told.contains("reads otherwise") && !told.contains("secret-token"), "{told}");
    kong.told(|told| (told.forgets, told.busy) = (false, 1));
    eventually("it is as the list says", async || (kong.weights() == [10_000, 10_000, 10_000]).then_some(())).await;
    eventually("the alarm is over", async || alarms(&daemon).await.is_empty().then_some(())).await;
    assert_eq!(kong.told(|told| told.busy), 0, "it was told to wait, and tried again");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_put_into_a_gateway_that_knows_nobody() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let (kong, url) = Kong::of(&world).await;
    kong.told(|told| {
        for target in told.plugin["config"]["targets"].as_array_mut().unwrap() {
            target["model"]["options"]["upstream_url"] = json!("https://elsewhere.example/chat/completions");
        }
    });
    configure(&world, &url, "");
    let daemon = Daemon::start(&world).await;
    first_list(&daemon).await;
    let told = eventually("an alarm says so", async || alarms(&daemon).await.pop()).await;
    assert!(told.contains("nobody to route to") && told.contains("nothing was changed"), "{told}");
    assert_eq!(kong.told(|told| told.changes), 0);
    daemon.stop().await;
}

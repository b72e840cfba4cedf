//! What a running daemon takes from a changed config, and what it refuses.

use std::sync::Arc;

use exactod::clock::{Clock, ManualClock};
use exactod::config::Config;
use exactod::daemon::Runtime;
use http::StatusCode;

use crate::daemon::{Answer, Daemon};
use crate::world::{Settings, World, endpoint, eventually, good, model};

const REFUSED: &str = "exactod_config_reloads_total{result=\"refused\"}";
const TAKEN: &str = "exactod_config_reloads_total{result=\"ok\"}";

/// The table of a token, and the token.
async fn token(world: &World) -> (String, String) {
    let made = world.json(&["token", "new", "--role", "admin", "--json"]).await;
    let table = format!("[[server.token]]\nname = \"t\"\nrole = \"admin\"\nsha256 = {}", made["sha256"]);
    (table, made["token"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_token_of_a_server_on_the_network_stays_until_the_restart() {
    let world = World::new(vec![good("alder")]).await;
    let (table, token) = token(&world).await;
    let open = |listen: &str| format!("listen = \"{listen}\"\ndrain_timeout = \"10s\"");
    world.configure(&Settings { server: format!("{}\n{table}", open("0.0.0.0:0")), ..Settings::default() });
    let mut daemon = Daemon::start(&world).await;
    daemon.base = daemon.base.replace("0.0.0.0", "127.0.0.1");
    let bearer = format!("Bearer {token}");
    let authorized = ("authorization", bearer.as_str());
    let ask = async |header| -> Answer { daemon.get("/v1/models", Some(header)).await };
    assert_eq!(ask(authorized).await.status, StatusCode::OK);

    // A right config for a new start; this server stays where it is.
    world.configure(&Settings { server: open("127.0.0.1:0"), ..Settings::default() });
    daemon.signal("HUP").await;
    eventually("the config is refused", async || {
        let text = daemon.get("/metrics", Some(authorized)).await.body;
        text.contains(REFUSED).then_some(())
    })
    .await;
    let log = daemon.log();
    assert!(log.contains("listens on 0.0.0.0") && log.contains("restart to remove the last token"), "{log}");
    assert_eq!(ask(("host", "localhost")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(authorized).await.status, StatusCode::OK, "the old config goes on");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_changed_under_the_same_label_is_refused_and_a_new_label_is_taken() {
    let world = World::new(vec![good("alder")]).await;
    let daemon = Daemon::start(&world).await;
    eventually("the first sweep", async || {
        let items = daemon.get("/v1/sweeps?state=done", None).await.json()["items"].take();
        items.get(0).cloned()
    })
    .await;
    let (header, cases) =
        (world.path("suites/output-quality/suite.toml"), world.path("suites/output-quality/cases.jsonl"));
    let text = std::fs::read_to_string(&cases).unwrap();
    std::fs::write(&cases, text.replace("One word.", "In one word.")).unwrap();
    daemon.signal("HUP").await;
    eventually("the config is refused", async || daemon.metric(REFUSED).await).await;
    let log = daemon.log();
    assert!(log.contains("output-quality still calls itself revision") && log.contains("(capital)"), "{log}");

    let label = std::fs::read_to_string(&header).unwrap().replace("revision = \"1\"", "revision = \"2\"");
    std::fs::write(&header, label).unwrap();
    daemon.signal("HUP").await;
    eventually("the new label is taken", async || daemon.metric(TAKEN).await).await;
    daemon.stop().await;
    // What was taken is what the next start finds.
    Daemon::start(&world).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_up_of_a_limit_stays_used_up_after_a_reload() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    let service = world.service(Arc::new(ManualClock::at(0)), "only").await;
    let before = service.runtime.load_full();
    let changed = Settings { budget: "usd_per_day = 100".to_owned(), ..Settings::default() };
    world.configure(&changed);
    let after = rebuilt(&world, &before);
    for id in ["alder", "birch"] {
        assert!(
            after.models[&model()].lanes[&endpoint(id)]
                .limiter
                .is_same(&before.models[&model()].lanes[&endpoint(id)].limiter)
        );
    }
    let provider = changed.provider.replace("concurrency = 2", "concurrency = 3");
    world.configure(&Settings { provider, ..changed });
    let after = rebuilt(&world, &before);
    assert!(
        !after.models[&model()].lanes[&endpoint("alder")]
            .limiter
            .is_same(&before.models[&model()].lanes[&endpoint("alder")].limiter)
    );
    service.close().await;
}

fn rebuilt(world: &World, before: &Runtime) -> Runtime {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
    Runtime::build_after(Config::load(&world.config_path()).unwrap(), &clock, before).unwrap()
}

//! What a running daemon takes from a changed config, and what it refuses.

use http::StatusCode;

use crate::daemon::{Answer, Daemon};
use crate::world::{Settings, World, eventually, good};

const REFUSED: &str = "exactod_config_reloads_total{result=\"refused\"}";

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

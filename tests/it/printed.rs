//! What commands print for people.

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::world::{self, Ran, World, exactod, good, weak};

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_a_short_table_then_request_and_answer() {
    let world = World::new(vec![good("alder"), weak("birch", 0.5)]).await;
    world.json(&["sweep", "--full", "--json"]).await;
    let listed = world.json(&["attempts", "--json"]).await;
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    let whole = world.json(&["attempt", &id, "--json"]).await;
    let shown = world.run(&["attempt", &id]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(serde_json::from_str::<Value>(&shown.stdout).is_err(), "no document for people: {}", shown.stdout);
    let (table, rest) = shown.stdout.split_once("\nrequest\n").unwrap();
    for part in [&id, "verdict", whole["endpoint"].as_str().unwrap(), whole["case"].as_str().unwrap()] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let (request, answer) = rest.split_once("\n\nanswer\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(request).unwrap(), whole["transcript"]["request"]);
    assert_eq!(
        answer.trim_end(),
        whole["transcript"]["response"].as_str().unwrap().replace('\r', "\u{fffd}").trim_end()
    );
}

/// What was swept, newest first, as `GET /v1/sweeps` says it; and lists of one suite or endpoint alone.
async fn lists_are_of_what_is_asked_for(world: World) {
    let first = world.json(&["sweep", "--json"]).await["sweep"].clone();
    let second = world.json(&["sweep", "--suite", "output-quality", "--full", "--json"]).await["sweep"].clone();
    let listed = world.json(&["sweeps", "--json"]).await;
    let items = listed["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["id"], &items[1]["id"]), (2, &second, &first), "{listed}");
    assert_eq!(
        (&items[0]["kind"], &items[0]["state"], &items[0]["ordinal"]),
        (&json!("full"), &json!("done"), &json!(2))
    );
    assert!(items[0]["spent_usd"].is_number() && items[0]["finished_at"].is_string(), "{listed}");
    let one = world.json(&["sweeps", "--model", world::MODEL, "--limit", "1", "--json"]).await;
    assert_eq!(one["items"], json!([items[0]]));
    let table = world.run(&["sweeps"]).await.stdout;
    let (newer, older) = (table.find(second.as_str().unwrap()).unwrap(), table.find(first.as_str().unwrap()).unwrap());
    assert!(newer < older && table.contains("full") && table.contains(world::MODEL), "{table}");
    let daemon = Daemon::start(&world).await;
    let served = daemon.get("/v1/sweeps", None).await.json();
    // The daemon may have begun one of its own.
    assert!(served["items"].as_array().unwrap().ends_with(items), "{served}");
    daemon.stop().await;

    let of_suite = world.json(&["attempts", "--suite", "output-quality", "--json"]).await;
    let items = of_suite["items"].as_array().unwrap();
    assert!(!items.is_empty() && items.iter().all(|item| item["suite"] == "output-quality"), "{of_suite}");
    let cards = world.json(&["scorecard", "--suite", "output-quality", "--json"]).await;
    for card in cards["items"].as_array().unwrap() {
        let suites = card["suites"].as_array().unwrap();
        assert!(suites.len() == 1 && suites[0]["suite"] == "output-quality", "{card}");
    }
    for (args, near) in [
        (["attempts", "--suite", "output-qualty"], "output-quality"),
        (["scorecard", "--suite", "output-qualty"], "output-quality"),
        (["attempts", "--endpoint", "aldr"], "alder"),
        (["sweeps", "--model", "lab/n"], "lab/m"),
    ] {
        let refused = world.run(&args).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{args:?}: {refused:?}");
        assert!(refused.stderr.contains(&format!("did you mean \"{near}\"?")), "{args:?}: {}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_of_what_is_asked_for_on_sqlite() {
    lists_are_of_what_is_asked_for(World::new(vec![good("alder"), weak("birch", 0.5)]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_of_what_is_asked_for_on_postgres() {
    lists_are_of_what_is_asked_for(World::on_postgres(vec![good("alder"), weak("birch", 0.5)]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_names_its_mode_as_the_document_does() {
    let world = World::new(vec![good("alder")]).await;
    world.json(&["sweep", "--json"]).await;
    let mode = world.json(&["allowlist", "--json"]).await["mode"].as_str().unwrap().to_owned();
    let table = world.run(&["allowlist"]).await.stdout;
    assert!(table.contains(&format!("({mode})")), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_token_hold_no_secret_and_its_secret_stands_apart() {
    let ran = Ran::of(exactod().args(["token", "new", "--role", "read", "--name", "gateway"])).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("[[server.token]]\n") && !ran.stdout.contains("exd_"), "{ran:?}");
    assert!(ran.stderr.contains("exd_"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_has_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = exactod();
    let child = command.args(["config", "schema"]).stdout(writer).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(command);
    let ran = Ran::from(child.wait_with_output().await.unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
}

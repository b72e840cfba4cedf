//! What commands print for people.

use serde_json::Value;

use crate::world::{Ran, World, exactod, good, weak};

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

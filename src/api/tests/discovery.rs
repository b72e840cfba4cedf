use std::sync::Arc;

use serde_json::{Value, json};

use super::kit::*;
use crate::api::ApiSetup;
use crate::config::Role;
use crate::publish::{Document, Origin};

const PATH: &str = "/v3/discovery:routes";
const TYPE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// As Envoy 1.40 sends it.
fn poll(version: &str, name: &str) -> String {
    json!({"version_info": version, "node": {"id": "edge-1", "cluster": "c", "extensions": [{"name": "x"}]},
           "resource_names": [name], "type_url": TYPE, "response_nonce": "", "error_detail": null})
    .to_string()
}

async fn ask(kit: &Kit, version: &str, name: &str) -> Answer {
    kit.post(PATH, &poll(version, name), &[("host", "exactod_cluster")]).await
}

fn publish_weight(kit: &Kit, revision: u64, weight: u32) {
    let list = String::from_utf8(Kit::own_list(revision).to_vec()).unwrap();
    let list = list.replace("\"weight\":100", &format!("\"weight\":{weight}"));
    kit.state.board.publish(Document::read(list.into()).unwrap(), Origin::Own);
}

async fn acks(kit: &Kit) -> Vec<Value> {
    kit.get("/v1/acks").await.json()["items"].as_array().unwrap().clone()
}

/// The ack is written beside the answer.
async fn acks_of(kit: &Kit, version: u64) -> Vec<Value> {
    for _ in 0..10_000 {
        let found = acks(kit).await;
        if found.iter().any(|ack| ack["adopted"] == json!(version)) {
            return found;
        }
        tokio::task::yield_now().await;
    }
    panic!("no ack of {version}: {:?}", acks(kit).await);
}

#[tokio::test]
async fn envoy_gets_its_routes_once_and_304_until_they_change() {
    let kit = Kit::new().await;
    ask(&kit, "", "exacto").await.is_problem(404, "no-allowlist");
    kit.publish(17);
    let first = ask(&kit, "", "exacto").await;
    assert_eq!((first.status.as_u16(), first.header("content-type")), (200, "application/json"));
    let version = first.json()["version_info"].as_str().unwrap().to_owned();
    insta::assert_snapshot!(first.text().replace(&version, "VERSION"), @r#"{"version_info":"VERSION","type_url":"type.googleapis.com/envoy.config.route.v3.RouteConfiguration","resources":[{"@type":"type.googleapis.com/envoy.config.route.v3.RouteConfiguration","name":"exacto","virtual_hosts":[{"name":"exacto","domains":["*"],"routes":[{"match":{"prefix":"/","headers":[{"name":"x-model","string_match":{"exact":"m:free:exacto"}}]},"route":{"timeout":"300s","retry_policy":{"retry_on":"5xx,reset,connect-failure","num_retries":1},"weighted_clusters":{"clusters":[{"name":"good/fp8","weight":100,"host_rewrite_literal":"api.good.example","response_headers_to_add":[{"header":{"key":"x-exacto-provider","value":"good/fp8"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}]}]}}},{"match":{"prefix":"/","headers":[{"name":"x-ai-eg-model","string_match":{"exact":"m:free:exacto"}}]},"route":{"timeout":"300s","retry_policy":{"retry_on":"5xx,reset,connect-failure","num_retries":1},"weighted_clusters":{"clusters":[{"name":"good/fp8","weight":100,"host_rewrite_literal":"api.good.example","response_headers_to_add":[{"header":{"key":"x-exacto-provider","value":"good/fp8"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}]}]}}},{"match":{"prefix":"/","headers":[{"name":"x-model","string_match":{"exact":"kimi:exacto"}}]},"route":{"timeout":"300s","retry_policy":{"retry_on":"5xx,reset,connect-failure","num_retries":1},"weighted_clusters":{"clusters":[{"name":"good/fp8","weight":100,"host_rewrite_literal":"api.good.example","response_headers_to_add":[{"header":{"key":"x-exacto-provider","value":"good/fp8"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}]}]}}},{"match":{"prefix":"/","headers":[{"name":"x-ai-eg-model","string_match":{"exact":"kimi:exacto"}}]},"route":{"timeout":"300s","retry_policy":{"retry_on":"5xx,reset,connect-failure","num_retries":1},"weighted_clusters":{"clusters":[{"name":"good/fp8","weight":100,"host_rewrite_literal":"api.good.example","response_headers_to_add":[{"header":{"key":"x-exacto-provider","value":"good/fp8"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}]}]}}}]}]}]}"#);
    let again = ask(&kit, &version, "exacto").await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    assert_eq!(ask(&kit, "another", "exacto").await.body, first.body);
    // Issued anew: the routes are the same, and so is their version.
    kit.publish(18);
    assert_eq!(ask(&kit, &version, "exacto").await.status, 304);
    publish_weight(&kit, 19, 50);
    let next = ask(&kit, &version, "exacto").await.json();
    assert_ne!(next["version_info"], json!(version));
    // Another configuration under the same lists is another version as well.
    let mut setup = ApiSetup::clone(&kit.state.setup.load());
    setup.models[0].endpoints[0].slugs.insert("envoy".to_owned(), "cluster_g".to_owned());
    kit.state.setup.store(Arc::new(setup));
    kit.state.board.touch();
    let renamed = ask(&kit, next["version_info"].as_str().unwrap(), "exacto").await.json();
    let clusters = &renamed["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]["weighted_clusters"]["clusters"];
    assert_eq!(clusters[0]["name"], "cluster_g");
}

#[tokio::test]
async fn a_resource_called_as_a_model_is_that_models_alone() {
    let kit = Kit::new().await;
    kit.publish(3);
    for name in [MODEL, "kimi", "m:free:exacto"] {
        let found = ask(&kit, "", name).await.json();
        let resource = &found["resources"][0];
        assert_eq!((&resource["name"], &found["type_url"]), (&json!(name), &json!(TYPE)));
        let routes = resource["virtual_hosts"][0]["routes"].as_array().unwrap();
        assert_eq!((routes.len(), &routes[0]["match"]), (1, &json!({"prefix": "/"})));
    }
    ask(&kit, "", "lab/other").await.is_problem(404, "no-allowlist");
    ask(&kit, "", "nobody").await.is_problem(404, "unknown-resource");
    let both = json!({"resource_names": ["exacto", "kimi"]}).to_string();
    assert_eq!(kit.post(PATH, &both, &[]).await.json()["resources"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_allowlist_that_lists_nobody_known_makes_no_routes() {
    let kit = Kit::new().await;
    let list = kit.publish(3);
    let known = ask(&kit, "", "exacto").await;
    // Of another time: the endpoint that it lists is not configured any more.
    let stale = String::from_utf8(list.body.to_vec()).unwrap();
    let stale = stale.replace("\"good/fp8\"", "\"gone\"").replace("\"version\":3", "\"version\":4");
    kit.state.board.publish(Document::read(stale.into()).unwrap(), Origin::Own);
    let version = known.json()["version_info"].as_str().unwrap().to_owned();
    ask(&kit, &version, "exacto").await.is_problem(404, "no-allowlist");
    ask(&kit, &version, "kimi").await.is_problem(404, "no-allowlist");
}

#[tokio::test]
async fn what_an_envoy_runs_is_seen_from_its_polls() {
    let kit = Kit::new().await;
    kit.publish(17);
    let first = ask(&kit, "", "exacto").await.json()["version_info"].as_str().unwrap().to_owned();
    assert_eq!(acks(&kit).await, Vec::<Value>::new(), "it has nothing yet");
    ask(&kit, &first, "exacto").await;
    let noted = acks_of(&kit, 17).await;
    assert_eq!((&noted[0]["client"], &noted[0]["model"]), (&json!("envoy:edge-1"), &Value::Null));
    publish_weight(&kit, 18, 50);
    // It goes on polling with the old version: it has refused the new one, or not taken it yet.
    for _ in 0..3 {
        assert_eq!(ask(&kit, &first, "exacto").await.status, 200);
    }
    assert_eq!(acks(&kit).await[0]["adopted"], json!(17));
    let of_one = ask(&kit, "", "kimi").await.json()["version_info"].as_str().unwrap().to_owned();
    ask(&kit, &of_one, "kimi").await;
    let noted = acks_of(&kit, 18).await;
    let model = noted.iter().find(|ack| ack["model"] == MODEL).unwrap();
    assert_eq!((&model["adopted"], &model["behind"]), (&json!(18), &json!(false)));
    for odd in ["x", "17", "\u{1f600}"] {
        assert_eq!(ask(&kit, odd, "exacto").await.status, 200, "{odd}");
    }
}

#[tokio::test]
async fn bodies_that_envoy_does_not_send_are_refused() {
    let kit = Kit::new().await;
    kit.publish(1);
    for body in ["", "{", "[1]", r#"{"resource_names": "exacto"}"#, r#"{"version_info": 7}"#] {
        kit.post(PATH, body, &[]).await.is_problem(400, "bad-body");
    }
    let clusters = r#"{"type_url": "type.googleapis.com/envoy.config.cluster.v3.Cluster"}"#;
    kit.post(PATH, clusters, &[]).await.is_problem(400, "bad-body");
    let many = json!({"resource_names": vec!["exacto"; 65]}).to_string();
    kit.post(PATH, &many, &[]).await.is_problem(400, "bad-body");
    let large = json!({"node": {"id": "x".repeat(5 << 20)}}).to_string();
    kit.post(PATH, &large, &[]).await.is_problem(413, "body-too-large");
    let of_an_extension_rich_build = json!({"node": {"id": "x".repeat(1 << 20)}}).to_string();
    assert_eq!(kit.post(PATH, &of_an_extension_rich_build, &[]).await.status, 200);
    kit.get(PATH).await.is_problem(405, "method-not-allowed");
}

#[tokio::test]
async fn discovery_is_as_open_as_allowlists_are() {
    let kit = Kit::with_tokens(&[(Role::Read, "r"), (Role::Admin, "a")]).await;
    kit.publish(2);
    kit.post(PATH, &poll("", "exacto"), &[]).await.is_problem(401, "unauthorized");
    let shown = [("authorization", "Bearer r")];
    assert_eq!(kit.post(PATH, &poll("", "exacto"), &shown).await.status, 200);
    kit.public_read();
    assert_eq!(ask(&kit, "", "exacto").await.status, 200);
    // Who shows no token is served, and writes nothing.
    let version = ask(&kit, "", "exacto").await.json()["version_info"].as_str().unwrap().to_owned();
    for name in ["a", "b", "c"] {
        let body = poll(&version, "exacto").replace("edge-1", name);
        assert_eq!(kit.post(PATH, &body, &[]).await.status, 304);
    }
    assert_eq!(kit.post(PATH, &poll(&version, "exacto"), &shown).await.status, 304);
    for _ in 0..10_000 {
        let kept = kit.ask("GET", "/v1/acks", &shown).await.json();
        let clients: Vec<&Value> = kept["items"].as_array().unwrap().iter().map(|ack| &ack["client"]).collect();
        if !clients.is_empty() {
            assert_eq!(clients, ["envoy:edge-1"]);
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the poll with a token was not noted");
}

#[tokio::test]
async fn without_tokens_a_page_in_a_browser_gets_no_routes() {
    let kit = Kit::new().await;
    kit.publish(2);
    for headers in [
        [("host", "rebound.example:8080"), ("origin", "http://rebound.example:8080")],
        [("host", "127.0.0.1:8080"), ("origin", "https://evil.example")],
    ] {
        kit.post(PATH, &poll("", "exacto"), &headers).await.is_problem(403, "foreign-site");
    }
    let kit = Kit::new().await.on_the_network();
    kit.publish(2);
    ask(&kit, "", "exacto").await.is_problem(403, "foreign-site");
}

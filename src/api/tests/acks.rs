use serde_json::json;

use super::kit::*;
use crate::config::Role;

#[tokio::test]
async fn a_consumer_says_what_it_runs_and_everybody_sees_it() {
    let kit = Kit::new().await;
    kit.publish(17);
    let ack = async |body: serde_json::Value| kit.post("/v1/acks", &body.to_string(), &[]).await;
    let taken = ack(json!({"client": "router-1", "model": "kimi", "version": 17, "status": "adopted"})).await.json();
    assert_eq!((&taken["model"], &taken["current"], &taken["behind"]), (&json!(MODEL), &json!(17), &json!(false)));
    kit.publish(18);
    let rejected =
        json!({"client": "router-1", "model": MODEL, "version": 18, "status": "rejected", "detail": "bad_signature"});
    let taken = ack(rejected).await.json();
    assert_eq!((&taken["adopted"], &taken["behind"]), (&json!(17), &json!(true)), "it still runs what it adopted");
    ack(json!({"client": "plugin", "version": 40, "status": "adopted"})).await.json();
    let listed = kit.get("/v1/acks").await.json();
    let brief: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| json!([a["client"], a["model"], a["version"], a["status"]]))
        .collect();
    assert_eq!(brief, [json!(["plugin", null, 40, "adopted"]), json!(["router-1", MODEL, 18, "rejected"])]);
    assert_eq!(kit.get("/v1/acks?model=kimi").await.json()["items"].as_array().unwrap().len(), 1);
    let page = kit.get("/page/fragment").await;
    assert!(page.text().contains("router-1") && page.text().contains("rejected 18: bad_signature"), "{}", page.text());
}

#[tokio::test]
async fn an_ack_that_cannot_be_meant_is_refused() {
    let kit = Kit::with_tokens(&[(Role::Read, "r-token"), (Role::Ingest, "i-token")]).await;
    kit.publish(1);
    kit.public_read();
    let good = json!({"client": "c", "model": MODEL, "version": 1, "status": "adopted"});
    kit.post("/v1/acks", &good.to_string(), &[]).await.is_problem(401, "unauthorized");
    kit.post("/v1/acks", &good.to_string(), &[("authorization", "Bearer i-token")]).await.is_problem(403, "forbidden");
    let token = [("authorization", "Bearer r-token")];
    let taken = kit.post("/v1/acks", &good.to_string(), &token).await.json();
    assert_eq!(taken["token"], "read");
    let with = |key: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[key] = value;
        body.to_string()
    };
    for (body, kind) in [
        (with("client", json!("")), "bad-body"),
        (with("client", json!("x".repeat(129))), "bad-body"),
        (with("client", json!("a\nb")), "bad-body"),
        (with("version", json!(-1)), "bad-body"),
        (with("version", json!(u64::MAX)), "bad-body"),
        (with("status", json!("maybe")), "bad-body"),
        (with("statuss", json!("adopted")), "bad-body"),
        (with("detail", json!("x".repeat(501))), "bad-body"),
    ] {
        kit.post("/v1/acks", &body, &token).await.is_problem(400, kind);
    }
    kit.post("/v1/acks", &with("model", json!("nobody")), &token).await.is_problem(404, "unknown-model");
    kit.post("/v1/acks", &with("capability", json!("x")), &token).await.is_problem(404, "unknown-capability");
    assert_eq!(kit.ask("GET", "/v1/acks", &token).await.json()["items"].as_array().unwrap().len(), 1);
}

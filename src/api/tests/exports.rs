use std::sync::Arc;

use futures_util::{FutureExt as _, poll};
use serde_json::json;

use super::kit::*;
use crate::api::ApiSetup;
use crate::config::Role;
use crate::publish::exports::Format;
use crate::signing::Signature;

#[tokio::test]
async fn every_format_is_served_with_tag_version_and_signature() {
    let kit = Kit::new().await;
    let list = kit.publish(17);
    kit.sign_with(&["k1"]);
    for format in Format::ALL {
        let path = format!("/v1/export/{}/lab/m:free", format.name());
        let answer = kit.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), format.content_type());
        assert_eq!(
            (answer.header("exacto-version"), answer.header("cache-control").contains("stale-if-error")),
            ("17", true)
        );
        let signatures = Signature::read(answer.header("exacto-signature")).unwrap();
        let keys = kit.state.board.public_keys();
        assert!(keys.get("k1").unwrap().verifies(&answer.body, &signatures[0]));
        let known = [("if-none-match", answer.header("etag"))];
        let again = kit.ask("GET", &path, &known).await;
        assert_eq!((again.status.as_u16(), again.body.len(), again.header("etag")), (304, 0, answer.header("etag")));
        assert_eq!(kit.ask("HEAD", &path, &[]).await.header("etag"), answer.header("etag"));
    }
    assert_eq!(kit.get("/v1/export/json/kimi").await.body, list.body, "the document itself");
    assert_eq!(kit.get("/v1/export/names/lab%2Fm%3Afree?gateway=litellm").await.json()["allow"], json!(["g"]));
    assert_eq!(kit.get("/v1/export/openrouter/kimi?form=exclude").await.json()["provider"], json!({"ignore": ["bad"]}));
    let problem = kit.get("/v1/export/vercel/kimi?form=exclude").await.is_problem(400, "bad-parameter");
    assert!(problem["detail"].as_str().unwrap().contains("no form of exceptions"));
    assert_eq!(
        kit.get("/v1/export/ngnix/kimi").await.is_problem(404, "unknown-format")["hint"],
        "did you mean `nginx`?"
    );
    kit.get("/v1/export/nginx/nobody").await.is_problem(404, "unknown-model");
    kit.get("/v1/export/nginx/lab/other").await.is_problem(404, "no-allowlist");
    kit.get("/v1/export/nginx").await.is_problem(404, "unknown-path");
    kit.get("/v1/export/nginx/%ff").await.is_problem(400, "bad-encoding");
    kit.get("/v1/export/json/kimi?fomr=allow").await.is_problem(400, "unknown-parameter");
    kit.ask("DELETE", "/v1/export/json/kimi", &[]).await.is_problem(405, "method-not-allowed");
}

#[tokio::test]
async fn an_export_is_waited_for_and_changes_with_list_or_configuration_alone() {
    let kit = Kit::new().await;
    kit.publish(1);
    tokio::time::pause();
    let path = "/v1/export/openrouter/kimi";
    let first = kit.get(path).await;
    let known = [("if-none-match", first.header("etag"))];
    let long = format!("{path}?wait=60s");
    let mut waiting = Box::pin(kit.ask("GET", &long, &known));
    assert!(poll!(waiting.as_mut()).is_pending());
    // A revision that only renews the list changes no name.
    kit.publish(2);
    assert!(poll!(waiting.as_mut()).is_pending());
    let mut setup = ApiSetup::clone(&kit.state.setup.load());
    setup.models[0].slugs.insert("openrouter".to_owned(), "another/name".to_owned());
    kit.state.setup.store(Arc::new(setup));
    kit.state.board.touch();
    let second = waiting.await;
    assert_eq!((second.status.as_u16(), &second.json()["model"]), (200, &json!("another/name")));
    let known = [("if-none-match", second.header("etag"))];
    assert_eq!(kit.ask("GET", &long, &known).await.status, 304, "after a minute of the paused clock");
    assert_eq!(kit.get(&long).now_or_never().unwrap().status, 200);
}

#[tokio::test]
async fn the_index_for_litellm_names_all_models() {
    let kit = Kit::with_tokens(&[(Role::Read, "r-token")]).await;
    kit.get("/v1/export/litellm").await.is_problem(401, "unauthorized");
    kit.public_read();
    let before = kit.get("/v1/export/litellm").await;
    assert_eq!((&before.json()["version"], &before.json()["groups"]), (&json!(0), &json!({})));
    kit.publish(17);
    let index = kit.get("/v1/export/litellm").await.json();
    assert_eq!(index["groups"], json!({"m:free:exacto": ["g"], "kimi:exacto": ["g"]}));
    assert_eq!((&index["version"], &index["schema"]), (&json!(17), &json!("exacto.groups/v1")));
    kit.publish(18);
    assert_eq!(kit.get("/v1/export/litellm").await.header("exacto-version"), "18");
    kit.get("/v1/export/litellm?form=allow").await.is_problem(400, "unknown-parameter");
}

use std::sync::Arc;

use serde_json::json;

use super::kit::*;
use crate::api::ApiSetup;
use crate::domain::Standing;

const PATH: &str = "/v1/models/lab/m:free/allowlist";

#[tokio::test]
async fn the_exact_bytes_are_served_with_everything_a_cache_needs() {
    let kit = Kit::new().await;
    let published = kit.publish(17);
    let answer = kit.get(PATH).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, published.body);
    assert_eq!(answer.header("etag"), published.etag);
    assert_eq!(answer.header("cache-control"), "max-age=15, stale-while-revalidate=60, stale-if-error=86400");
    assert_eq!(answer.header("exacto-version"), "17");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("last-modified"), "Mon, 21 Sep 2026 13:13:20 GMT");
}

#[tokio::test]
async fn a_known_etag_gives_304_without_a_body() {
    let kit = Kit::new().await;
    let etag = kit.publish(17).etag;
    for known in [&etag, &format!("W/{etag}"), &format!("\"x\", {etag}"), &format!("W/\"x\",W/{etag}"), "*"] {
        let answer = kit.ask("GET", PATH, &[("if-none-match", known)]).await;
        assert_eq!(answer.status, 304, "{known}");
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("etag"), etag);
        assert_eq!(answer.header("exacto-version"), "17");
        assert!(!answer.header("cache-control").is_empty() && !answer.header("last-modified").is_empty());
    }
    for other in ["\"x\"", "x", &etag.replace('"', "")] {
        assert_eq!(kit.ask("GET", PATH, &[("if-none-match", other)]).await.status, 200, "{other}");
    }
    kit.publish(18);
    assert_eq!(kit.ask("GET", PATH, &[("if-none-match", &etag)]).await.status, 200);
}

#[tokio::test]
async fn a_model_goes_by_its_id_plain_or_encoded_and_by_its_aliases() {
    let kit = Kit::new().await;
    kit.publish(1);
    for name in ["lab/m:free", "lab%2Fm%3Afree", "lab%2fm:free", "kimi"] {
        assert_eq!(kit.get(&format!("/v1/models/{name}/allowlist")).await.status, 200, "{name}");
    }
    let problem = kit.get("/v1/models/lab/m:fre/allowlist").await.is_problem(404, "unknown-model");
    assert_eq!(problem["hint"], "did you mean `lab/m:free`?");
}

#[tokio::test]
async fn a_model_that_left_the_config_has_no_list_but_its_history() {
    let kit = Kit::new().await;
    kit.publish(1);
    let setup = kit.state.setup.load_full();
    let mut without = ApiSetup::clone(&setup);
    without.models.clear();
    kit.state.setup.store(Arc::new(without));
    for form in ["", "?detail=1", "?detail=0"] {
        let problem = kit.get(&format!("{PATH}{form}")).await.is_problem(404, "model-removed");
        assert!(problem["detail"].as_str().unwrap().contains("not in the configuration any more"), "{problem}");
    }
    for history in ["decisions", "scorecards", "endpoints/good/fp8/series"] {
        assert_eq!(kit.get(&format!("/v1/models/lab/m:free/{history}")).await.status, 200, "{history}");
    }
    assert_eq!(kit.get("/v1/models").await.json()["items"], json!([]));
    kit.state.setup.store(setup);
    assert_eq!(kit.get(PATH).await.status, 200);
}

#[tokio::test]
async fn head_tells_the_same_without_the_body() {
    let kit = Kit::new().await;
    let published = kit.publish(3);
    let answer = kit.ask("HEAD", PATH, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("etag"), published.etag);
    assert_eq!(answer.header("content-length"), published.body.len().to_string());
}

#[tokio::test]
async fn what_is_not_there_yet_says_so() {
    let kit = Kit::new().await;
    kit.get(PATH).await.is_problem(404, "no-allowlist");
    kit.publish(1);
    for query in ["capability=tools", "wait=30s"] {
        kit.get(&format!("{PATH}?{query}")).await.is_problem(501, "not-yet");
    }
    let problem = kit.get(&format!("{PATH}?detial=1")).await.is_problem(400, "unknown-parameter");
    assert_eq!(problem["hint"], "did you mean `detail`?");
    kit.get(&format!("{PATH}?detail=yes")).await.is_problem(400, "bad-parameter");
    let answer = kit.ask("DELETE", PATH, &[]).await;
    answer.is_problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn detail_adds_the_evidence_of_every_endpoint() {
    let kit = Kit::new().await;
    kit.publish(2);
    *kit.daemon.standings.lock().unwrap() =
        vec![view(0, Standing::Admitted, "good"), view(1, Standing::Excluded, "bad")];
    let detail = kit.get(&format!("{PATH}?detail=1")).await.json();
    assert_eq!(detail["version"], 2);
    assert_eq!(detail["providers"][0]["evidence"], json!({"tool-use": {"gap": 0.01}}));
    assert_eq!(detail["providers"][0]["standing"], "Admitted");
    assert_eq!(detail["excluded"][0]["evidence"], json!({"tool-use": {"gap": 0.01}}));
    assert_eq!(detail["unlisted"], json!([]));
    // `detail=0` is the plain document.
    assert_eq!(kit.get(&format!("{PATH}?detail=0")).await.json()["providers"][0].get("evidence"), None);

    *kit.daemon.broken.lock().unwrap() = true;
    let problem = kit.get(&format!("{PATH}?detail=1")).await.is_problem(500, "internal");
    assert!(!problem.to_string().contains("secret path"));
    assert_eq!(kit.get(PATH).await.status, 200);
}

#[tokio::test]
async fn reads_are_counted_by_status() {
    let kit = Kit::new().await;
    let etag = kit.publish(1).etag;
    kit.get(PATH).await;
    kit.get(PATH).await;
    kit.ask("GET", PATH, &[("if-none-match", &etag)]).await;
    let metrics = kit.get("/metrics").await;
    for (status, n) in [(200, 2), (304, 1)] {
        let line =
            format!("exactod_http_requests_total{{route=\"/v1/models/{{model}}/allowlist\",status=\"{status}\"}} {n}");
        assert!(metrics.text().contains(&line), "{line} in {}", metrics.text());
    }
}

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
    let etag = kit.publish(17).etag.clone();
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
async fn a_capability_has_a_list_of_its_own() {
    let kit = Kit::new().await;
    let own = kit.publish(17);
    let of_tools = format!("{PATH}?capability=tools");
    let problem = kit.get(&of_tools).await.is_problem(404, "unknown-capability");
    assert!(problem["hint"].as_str().unwrap().contains("`capabilities`"), "{problem}");
    kit.ask_for(&["streaming", "tools"]);
    let problem = kit.get(&of_tools).await.is_problem(404, "no-allowlist");
    assert_eq!(problem["detail"], "no allowlist of capability tools of lab/m:free was published yet");

    let tools = kit.publish_for("tools", 3);
    let answer = kit.get(&of_tools).await;
    assert_eq!((answer.status.as_u16(), &answer.body), (200, &tools.body));
    assert_eq!((answer.header("etag"), answer.header("exacto-version")), (tools.etag.as_str(), "3"));
    assert!(answer.header("cache-control").contains("stale-if-error"));
    let known = [("if-none-match", tools.etag.as_str())];
    assert_eq!(kit.ask("GET", &of_tools, &known).await.status, 304);
    assert_eq!(kit.ask("GET", PATH, &known).await.status, 200, "the model's own list has its own tag");
    assert_eq!(kit.get(PATH).await.body, own.body);
    assert_eq!(kit.get("/v1/models/kimi/allowlist?capability=tools").await.body, tools.body);

    let problem = kit.get(&format!("{PATH}?capability=tool")).await.is_problem(404, "unknown-capability");
    assert_eq!(problem["hint"], "did you mean `tools`? There are: streaming, tools");
    // Out of the policy it is withdrawn, whatever stands on the board.
    kit.ask_for(&["streaming"]);
    kit.get(&of_tools).await.is_problem(404, "unknown-capability");
}

#[tokio::test]
async fn a_capability_has_standings_of_its_own() {
    let kit = Kit::new().await;
    kit.ask_for(&["tools"]);
    kit.publish(17);
    kit.publish_for("tools", 3);
    *kit.daemon.standings.lock().unwrap() =
        vec![view(0, Standing::Admitted, "good"), view(1, Standing::Admitted, "too")];
    *kit.daemon.of_capabilities.lock().unwrap() =
        vec![view(0, Standing::Admitted, "good"), view(1, Standing::Excluded, "capability tools: bad")];
    let detail = kit.get(&format!("{PATH}?detail=1&capability=tools")).await.json();
    assert_eq!((&detail["version"], &detail["capability"]), (&json!(3), &json!("tools")));
    assert_eq!(detail["excluded"][0]["standing"], "Excluded");
    let of = "/v1/models/lab/m:free/endpoints/bad";
    let own = kit.get(of).await.json();
    assert_eq!((&own["standing"], &own["capability"]), (&json!("Admitted"), &json!(null)));
    let of_tools = kit.get(&format!("{of}?capability=tools")).await.json();
    assert_eq!((&of_tools["standing"], &of_tools["capability"]), (&json!("Excluded"), &json!("tools")));
    kit.get(&format!("{of}?capability=x")).await.is_problem(404, "unknown-capability");

    let model = &kit.get("/v1/models").await.json()["items"][0];
    let of_tools = &model["capabilities"]["tools"];
    assert_eq!((&of_tools["version"], &of_tools["url"]), (&json!(3), &json!(format!("{PATH}?capability=tools"))));
    let page = kit.get("/page/fragment").await;
    assert!(page.text().contains("allowlist?capability=tools\">revision 3</a>"), "{}", page.text());
}

#[tokio::test]
async fn reads_are_counted_by_status() {
    let kit = Kit::new().await;
    let etag = kit.publish(1).etag.clone();
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

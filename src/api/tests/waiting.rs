//! Long-polls, streams, signatures.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::poll;
use futures_util::{FutureExt as _, StreamExt};
use http::Request;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::kit::*;
use crate::api::limits::{HEARTBEAT_EVERY, WATCHERS_MAX};
use crate::config::Role;
use crate::signing::{KeySet, Signature};

const PATH: &str = "/v1/models/lab/m:free/allowlist";
const WATCH: &str = "/v1/models/lab/m:free/allowlist/watch";

/// The pieces of a stream, as they come.
async fn stream(kit: &Kit, path: &str, headers: &[(&str, &str)]) -> impl StreamExt<Item = Bytes> + Unpin + use<> {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = kit.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    response.into_body().into_data_stream().map(|piece| piece.unwrap())
}

fn text(piece: Option<Bytes>) -> String {
    String::from_utf8(piece.expect("the stream goes on").to_vec()).unwrap()
}

#[tokio::test]
async fn a_long_poll_answers_as_soon_as_there_is_another_list() {
    let kit = Kit::new().await;
    tokio::time::pause();
    let etag = kit.publish(1).etag.clone();
    let known = [("if-none-match", etag.as_str())];
    let path = format!("{PATH}?wait=30s");
    let mut waiting = Box::pin(kit.ask("GET", &path, &known));
    assert!(poll!(waiting.as_mut()).is_pending());
    // Another list's news is none.
    kit.publish_for("tools", 1);
    assert!(poll!(waiting.as_mut()).is_pending());
    // Nor are other keys: the bytes are the same.
    kit.sign_with(&["k1"]);
    assert!(poll!(waiting.as_mut()).is_pending());
    let second = kit.publish(2);
    let answer = waiting.await;
    assert_eq!((answer.status.as_u16(), &answer.body), (200, &second.body));
    assert_eq!(answer.header("exacto-version"), "2");
    // Who knows another one is answered at once, and so is who knows none.
    assert_eq!(kit.ask("GET", &path, &known).now_or_never().unwrap().status, 200);
    assert_eq!(kit.get(&path).now_or_never().unwrap().status, 200);
    assert_eq!(kit.ask("HEAD", &path, &[("if-none-match", second.etag.as_str())]).now_or_never().unwrap().status, 304);
}

#[tokio::test]
async fn without_news_a_long_poll_ends_after_its_wait_and_a_little_jitter() {
    let kit = Kit::new().await;
    tokio::time::pause();
    let etag = kit.publish(1).etag.clone();
    let mut lasted = Vec::new();
    for _ in 0..4 {
        let begun = Instant::now();
        let answer = kit.ask("GET", &format!("{PATH}?wait=32s"), &[("if-none-match", &etag)]).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0));
        assert_eq!(answer.header("etag"), etag);
        lasted.push(begun.elapsed());
    }
    assert!(lasted.iter().all(|d| (Duration::from_secs(32)..=Duration::from_millis(34_001)).contains(d)), "{lasted:?}");
    lasted.sort_unstable();
    assert!(lasted.windows(2).all(|pair| pair[0] < pair[1]), "not all at once: {lasted:?}");
}

#[tokio::test]
async fn the_first_list_is_waited_for() {
    let kit = Kit::new().await;
    tokio::time::pause();
    let path = format!("{PATH}?wait=10s");
    kit.get(&path).await.is_problem(404, "no-allowlist");
    let mut waiting = Box::pin(kit.get(&path));
    assert!(poll!(waiting.as_mut()).is_pending());
    kit.publish(1);
    assert_eq!(waiting.await.status, 200);
    kit.ask_for(&["tools"]);
    let of_tools = format!("{PATH}?capability=tools&wait=10s");
    let mut waiting = Box::pin(kit.get(&of_tools));
    assert!(poll!(waiting.as_mut()).is_pending());
    let tools = kit.publish_for("tools", 4);
    assert_eq!(waiting.await.body, tools.body);
}

#[tokio::test]
async fn a_wait_that_cannot_be_meant_is_refused() {
    let kit = Kit::new().await;
    tokio::time::pause();
    kit.publish(1);
    for (query, hint) in [("wait=301s", "at most 300s"), ("wait=30", "unit"), ("wait=1m&detail=1", "plain form")] {
        let problem = kit.get(&format!("{PATH}?{query}")).await.is_problem(400, "bad-parameter");
        assert!(problem["hint"].as_str().unwrap().contains(hint), "{query}: {problem}");
    }
    kit.get("/v1/models/nobody/allowlist?wait=1s").await.is_problem(404, "unknown-model");
    kit.get(&format!("{PATH}?wait=1s&capability=x")).await.is_problem(404, "unknown-capability");
}

#[tokio::test]
async fn who_waits_is_refused_when_its_token_is_gone() {
    let kit = Kit::with_tokens(&[(Role::Read, "r-token")]).await;
    tokio::time::pause();
    let etag = kit.publish(1).etag.clone();
    let path = format!("{PATH}?wait=300s");
    kit.get(&path).await.is_problem(401, "unauthorized");
    let headers = [("if-none-match", etag.as_str()), ("authorization", "Bearer r-token")];
    let mut waiting = Box::pin(kit.ask("GET", &path, &headers));
    assert!(poll!(waiting.as_mut()).is_pending());
    let mut events = stream(&kit, WATCH, &headers[1..]).await;
    assert_eq!(text(events.next().await), "retry: 2000\n\n");
    text(events.next().await);
    let mut setup = crate::api::ApiSetup::clone(&kit.state.setup.load());
    let tokens = std::mem::take(&mut setup.server.tokens);
    setup.server.tokens =
        vec![crate::config::Token { sha256: crate::config::tokens::hash("another"), ..tokens[0].clone() }];
    kit.state.setup.store(std::sync::Arc::new(setup));
    kit.publish(2);
    waiting.await.is_problem(401, "unauthorized");
    assert!(events.next().await.is_none(), "a revoked token learns nothing more");
}

#[tokio::test]
async fn who_waits_is_answered_when_the_process_stops() {
    let kit = Kit::new().await;
    tokio::time::pause();
    let etag = kit.publish(1).etag.clone();
    let known = [("if-none-match", etag.as_str())];
    let path = format!("{PATH}?wait=300s");
    let mut waiting = Box::pin(kit.ask("GET", &path, &known));
    assert!(poll!(waiting.as_mut()).is_pending());
    let mut events = stream(&kit, WATCH, &[("last-event-id", "1")]).await;
    events.next().await;
    kit.state.stopping.cancel();
    assert_eq!(waiting.await.status, 304);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn too_many_who_wait_are_answered_at_once_and_nobody_is_kept_from_polling() {
    let kit = Kit::new().await;
    tokio::time::pause();
    let etag = kit.publish(1).etag.clone();
    let mut streams = Vec::new();
    for _ in 0..WATCHERS_MAX {
        streams.push(stream(&kit, WATCH, &[]).await);
    }
    kit.get(WATCH).await.is_problem(503, "busy");
    let known = [("if-none-match", etag.as_str())];
    let answer = kit.ask("GET", &format!("{PATH}?wait=300s"), &known).now_or_never().expect("it does not wait");
    assert_eq!(answer.status, 304);
    drop(streams.pop());
    let path = format!("{PATH}?wait=300s");
    let mut waiting = Box::pin(kit.ask("GET", &path, &known));
    assert!(poll!(waiting.as_mut()).is_pending());
}

#[tokio::test]
async fn a_stream_sends_the_list_and_then_each_new_one() {
    let kit = Kit::new().await;
    tokio::time::pause();
    let first = kit.publish(17);
    let mut events = stream(&kit, WATCH, &[]).await;
    assert_eq!(text(events.next().await), "retry: 2000\n\n");
    let body = String::from_utf8(first.body.to_vec()).unwrap();
    assert_eq!(text(events.next().await), format!("event: put\nid: 17\ndata: {body}\n\n"));
    let begun = Instant::now();
    assert_eq!(text(events.next().await), ":\n\n");
    assert_eq!(begun.elapsed().as_secs(), HEARTBEAT_EVERY.as_secs());
    kit.sign_with(&["k1"]);
    let second = kit.publish(18);
    let signature = second.signature.clone().unwrap();
    let sent = text(events.next().await);
    assert!(
        sent.starts_with(&format!("event: signature\ndata: {signature}\n\nevent: put\nid: 18\ndata: {{")),
        "{sent}"
    );
    // Two in one go: the last one is what counts.
    kit.publish(19);
    kit.publish(20);
    assert!(text(events.next().await).contains("\nid: 20\n"));
    assert!(text(events.next().await).starts_with(':'));
}

#[tokio::test]
async fn a_stream_is_resumed_by_the_last_event_id() {
    let kit = Kit::new().await;
    tokio::time::pause();
    kit.publish(5);
    let mut current = stream(&kit, WATCH, &[("last-event-id", "5")]).await;
    current.next().await;
    assert_eq!(text(current.next().await), ":\n\n", "who has it gets nothing");
    for old in ["4", "6", "x"] {
        let mut resumed = stream(&kit, WATCH, &[("last-event-id", old)]).await;
        resumed.next().await;
        assert!(text(resumed.next().await).starts_with("event: put\nid: 5\n"), "{old}");
    }
    kit.publish(6);
    assert!(text(current.next().await).starts_with("event: put\nid: 6\n"));
    // Out of the configuration: the list is withdrawn.
    let mut setup = crate::api::ApiSetup::clone(&kit.state.setup.load());
    setup.models.clear();
    kit.state.setup.store(std::sync::Arc::new(setup));
    assert!(current.next().await.is_none());
    kit.get(WATCH).await.is_problem(404, "model-removed");
}

#[tokio::test]
async fn signatures_travel_in_the_header_and_beside_it_and_the_keys_are_public() {
    let kit = Kit::with_tokens(&[(Role::Read, "r-token")]).await;
    let token = [("authorization", "Bearer r-token")];
    let sig = format!("{PATH}.sig");
    kit.publish(3);
    let keys = kit.get("/.well-known/exacto-keys.json").await;
    assert_eq!(keys.text(), r#"{"keys":[]}"#, "no token is needed");
    kit.ask("GET", &sig, &token).await.is_problem(404, "not-signed");
    kit.get(&sig).await.is_problem(401, "unauthorized");

    kit.sign_with(&["old", "new"]);
    let keys = KeySet::read(kit.get("/.well-known/exacto-keys.json").await.text()).unwrap();
    let list = kit.ask("GET", PATH, &token).await;
    let beside = kit.ask("GET", &sig, &token).await;
    assert_eq!(beside.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(beside.header("exacto-version"), "3");
    assert_eq!(beside.text().lines().count(), 2, "one line for each key: {}", beside.text());
    let signatures = Signature::read(list.header("exacto-signature")).unwrap();
    assert_eq!(Signature::read(beside.text()).unwrap(), signatures);
    assert_eq!(signatures.len(), 2);
    for signature in &signatures {
        assert!(keys.get(&signature.key_id).unwrap().verifies(&list.body, signature));
    }
    let known = [token[0], ("if-none-match", list.header("etag"))];
    let unchanged = kit.ask("GET", PATH, &known).await;
    assert_eq!(
        (unchanged.status.as_u16(), unchanged.header("exacto-signature")),
        (304, list.header("exacto-signature"))
    );
}

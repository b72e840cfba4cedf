use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use serde_json::{Value, json};

use super::kit::*;
use crate::api::views;
use crate::domain::{SweepKind, Transcript, Verdict};
use crate::progress::{EndpointProgress, SweepProgress};
use crate::store::{Alarm, AlarmKey, CurationCommit};

/// All pages of a list by their cursors.
async fn all(kit: &Kit, path: &str) -> Vec<Value> {
    let (mut items, mut next) = (vec![], None::<String>);
    loop {
        let cursor = next.map(|next| format!("&cursor={next}")).unwrap_or_default();
        let page = kit.get(&format!("{path}{cursor}")).await.json();
        let page_items = page["items"].as_array().unwrap().clone();
        assert!(!page_items.is_empty());
        items.extend(page_items);
        match page["next"].as_str() {
            Some(cursor) => next = Some(cursor.to_owned()),
            None => return items,
        }
    }
}

#[tokio::test]
async fn attempts_are_listed_newest_first_page_by_page_and_by_filter() {
    let kit = Kit::new().await;
    let sweep = kit.sweep(1).await;
    kit.store((0..7).map(|n| attempt(sweep, n)).collect()).await;
    let cases: Vec<Value> = all(&kit, "/v1/attempts?limit=3").await.iter().map(|a| a["case"].clone()).collect();
    assert_eq!(cases, ["case-6", "case-5", "case-4", "case-3", "case-2", "case-1", "case-0"]);
    let count =
        async |query: &str| kit.get(&format!("/v1/attempts?{query}")).await.json()["items"].as_array().unwrap().len();
    assert_eq!(count("verdict=fail").await, 3);
    assert_eq!(count("fault=InvalidJson&endpoint=bad").await, 3);
    assert_eq!(count("endpoint=good/fp8").await, 4);
    assert_eq!(count("endpoint=good%2Ffp8&verdict=fail").await, 0);
    assert_eq!(count(&format!("sweep={sweep}&model=kimi&suite=tool-use")).await, 7);
    let item = kit.get("/v1/attempts?limit=1").await.json()["items"][0].clone();
    assert_eq!(item["verdict"], "Pass");
    assert_eq!((item["started_at"].as_str().unwrap().len(), &item["cost_usd"]), (20, &json!(0.0015)));
    assert_eq!(item.get("transcript"), None);
}

#[tokio::test]
async fn bad_parameters_say_what_is_possible() {
    let kit = Kit::new().await;
    let problem = kit.get("/v1/attempts?fault=InvalidJsn").await.is_problem(400, "bad-parameter");
    assert_eq!(problem["hint"], "did you mean `InvalidJson`?");
    for (query, kind) in [
        ("limit=0", "bad-parameter"),
        ("limit=501", "bad-parameter"),
        ("limit=x", "bad-parameter"),
        ("limit=", "bad-parameter"),
        ("limit=1&limit=2", "bad-parameter"),
        ("sweep=1", "bad-parameter"),
        ("verdict=Pass", "bad-parameter"),
        ("cursor=1", "bad-cursor"),
        ("colour=red", "unknown-parameter"),
    ] {
        kit.get(&format!("/v1/attempts?{query}")).await.is_problem(400, kind);
    }
    for path in ["/v1/attempts/1", "/v1/attempts/01940000-0000-7000-8000-000000000000"] {
        kit.get(path).await.is_problem(404, "unknown-attempt");
    }
    kit.get("/v1/sweeps/x").await.is_problem(404, "unknown-sweep");
    kit.get("/v1/sweeps?state=runing").await.is_problem(400, "bad-parameter");
    for query in ["since=soon", "since=0s", "since=401d", "since=2999-01-01T00:00:00Z"] {
        kit.get(&format!("/v1/models/kimi/scorecards?{query}")).await.is_problem(400, "bad-parameter");
    }
    insta::assert_snapshot!(kit.get("/v1/attempts?limit=501").await.text(), @r#"{"type":"urn:exactod:problem:bad-parameter","title":"bad parameter","status":400,"detail":"parameter `limit`: 501 is out of range","hint":"1 to 500; take further items by `cursor`"}"#);
    insta::assert_snapshot!(kit.get("/v2/models").await.text(), @r#"{"type":"urn:exactod:problem:unknown-path","title":"unknown path","status":404,"detail":"there is nothing at /v2/models","hint":"/openapi.json describes every path; the page for people is at /"}"#);
    insta::assert_snapshot!(kit.ask("PUT", "/v1/sweeps", &[]).await.text(), @r#"{"type":"urn:exactod:problem:method-not-allowed","title":"method not allowed","status":405,"detail":"PUT is not possible on /v1/sweeps","hint":"allowed: GET, HEAD, POST"}"#);
    insta::assert_snapshot!(kit.get("/v1/models/lab/m:free").await.text(), @r#"{"type":"urn:exactod:problem:unknown-path","title":"unknown path","status":404,"detail":"/v1/models/lab/m:free names no resource of a model","hint":"below /v1/models/{model}: /allowlist, /allowlist.sig, /allowlist/watch, /decisions, /scorecards, /live, /endpoints/{endpoint}, its /series and /live, and for commands /ack and /endpoints/{endpoint}/pin, unpin, ban, unban, reset, note"}"#);
}

#[tokio::test]
async fn an_attempt_is_shown_whole_with_the_command_that_repeats_it() {
    let kit = Kit::new().await;
    let sweep = kit.sweep(1).await;
    let mut odd = attempt(sweep, 0);
    odd.draw = Some(json!({"city": "Oslo"}));
    odd.transcript = Some(Transcript {
        request: Bytes::from_static(br#"{"content":"it's $HOME `x`"}"#),
        response: Bytes::from_static(b"\xffbroken"),
        headers: "a: b\n".to_owned(),
    });
    kit.store(vec![odd.clone()]).await;
    let shown = kit.get(&format!("/v1/attempts/{}", odd.id)).await.json();
    assert_eq!(shown["transcript"]["request"], json!({"content": "it's $HOME `x`"}));
    assert_eq!(shown["transcript"]["response"], "\u{fffd}broken");
    assert_eq!(shown["transcript"]["response_base64"], "/2Jyb2tlbg==");
    assert_eq!(shown["tries"][0]["status"], 200);
    assert_eq!(shown["draw"], json!({"city": "Oslo"}));
    insta::assert_snapshot!(shown["curl"].as_str().unwrap(), @r#"
    curl -sS -N 'https://api.good.example/v1/chat/completions' \
      -H 'Content-Type: application/json' \
      -H 'x-org: '"$HEADER_X_ORG" \
      --data-raw '{"content":"it'\''s $HOME `x`"}'
    "#);
    assert!(!shown.to_string().contains("it's secret"));
}

#[tokio::test]
async fn a_pruned_transcript_is_null_and_has_no_command() {
    let kit = Kit::new().await;
    let stored = crate::store::StoredAttempt {
        model: model(),
        delivered: true,
        attempt: crate::domain::Attempt { transcript: None, ..attempt(kit.sweep(1).await, 0) },
    };
    let shown = views::attempt_detail(&stored, &[], &kit.state.setup.load().models);
    assert_eq!((&shown["transcript"], &shown["curl"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn sweeps_are_listed_and_shown_with_their_progress() {
    let kit = Kit::new().await;
    let (first, second) = (kit.sweep(1).await, kit.sweep(2).await);
    kit.store((0..3).map(|n| attempt(first, n)).collect()).await;
    let listed: Vec<Value> = all(&kit, "/v1/sweeps?limit=1").await.iter().map(|s| s["id"].clone()).collect();
    assert_eq!(listed, [json!(second), json!(first)]);
    assert_eq!(kit.get("/v1/sweeps?model=lab/other").await.json()["items"], json!([]));
    assert_eq!(kit.get("/v1/sweeps?state=done").await.json()["items"], json!([]));
    let shown = kit.get(&format!("/v1/sweeps/{first}")).await.json();
    assert_eq!(
        (&shown["state"], &shown["plan"]["attempts"], &shown["reserved_usd"]),
        (&json!("running"), &json!(4), &json!(0.002))
    );
    assert_eq!(shown["progress"]["done"], 3);
    assert_eq!(shown["progress"]["in_flight"], false);

    let counts = EndpointProgress { planned: AtomicU64::new(2), ..EndpointProgress::default() };
    let live = SweepProgress {
        sweep: second,
        model: model(),
        kind: SweepKind::Onboarding,
        planned_at_us: NOW,
        planned: 2,
        done: AtomicU64::new(0),
        endpoints: BTreeMap::from([(endpoint(0), counts)]),
    };
    live.ended(&endpoint(0), Verdict::Pass);
    kit.state.progress.begin(Arc::new(live));
    let shown = kit.get(&format!("/v1/sweeps/{second}")).await.json();
    assert_eq!(
        shown["progress"],
        json!({"in_flight": true, "planned": 2, "done": 1,
               "endpoints": [{"id": "good/fp8", "planned": 2, "done": 1, "pass": 1, "fail": 0, "unscored": 0}]})
    );
}

#[tokio::test]
async fn decisions_are_those_of_the_model_newest_first() {
    let kit = Kit::new().await;
    let commit =
        CurationCommit { decisions: (0..3).map(|n| decision(n, "because")).collect(), ..CurationCommit::default() };
    kit.state.store.commit_curation(&model(), NOW, &commit).await.unwrap();
    let found = all(&kit, "/v1/models/lab%2Fm%3Afree/decisions?limit=2").await;
    assert_eq!(found.len(), 3);
    assert!(found[0]["at_us"].as_i64() > found[2]["at_us"].as_i64());
    assert_eq!((&found[0]["to"], &found[0]["reason"]), (&json!("Excluded"), &json!("because")));
    assert_eq!(all(&kit, "/v1/models/kimi/decisions?endpoint=bad").await.len(), 1);
    assert_eq!(kit.get("/v1/models/lab/other/decisions").await.json(), json!({"items": [], "next": null}));
}

#[tokio::test]
async fn alarms_are_listed_and_those_that_are_open_apart() {
    let kit = Kit::new().await;
    let alarm = |n: u64, kind: &str| Alarm {
        id: id_at(NOW + n as i64 * SECOND, n),
        key: AlarmKey { model: Some(model()), endpoint: None, capability: None, kind: kind.to_owned() },
        text: "look".to_owned(),
        opened_at_us: NOW + n as i64 * SECOND,
        closed_at_us: None,
    };
    let (one, two) = (alarm(1, "frozen"), alarm(2, "budget"));
    kit.state.store.set_alarms(&[one.clone(), two], &[], NOW).await.unwrap();
    kit.state.store.set_alarms(&[], &[one.key], NOW + 9 * SECOND).await.unwrap();
    let kinds = |page: Value| page["items"].as_array().unwrap().iter().map(|a| a["kind"].clone()).collect::<Vec<_>>();
    assert_eq!(kinds(kit.get("/v1/alarms").await.json()), ["budget", "frozen"]);
    assert_eq!(kinds(kit.get("/v1/alarms?open=true&model=kimi").await.json()), ["budget"]);
    assert_eq!(kinds(kit.get("/v1/alarms?open=true&model=lab/other").await.json()), Vec::<Value>::new());
}

#[tokio::test]
async fn scorecards_are_of_the_window_that_was_asked_for() {
    let kit = Kit::new().await;
    *kit.daemon.cards.lock().unwrap() = vec![card(0, 0.9)];
    let found = kit.get("/v1/models/kimi/scorecards?since=2d").await.json();
    assert_eq!(
        (&found["items"][0]["endpoint"], &found["items"][0]["suites"][0]["rate"]),
        (&json!("good/fp8"), &json!(0.9))
    );
    // Times stand twice, above as in the items.
    assert_eq!((&found["from_us"], &found["to_us"]), (&json!(NOW - 2 * 86_400 * SECOND), &json!(NOW)));
    let item = &found["items"][0];
    for time in ["from", "to"] {
        let us = item[format!("{time}_us")].as_i64().unwrap();
        assert_eq!(item[time], json!(crate::clock::rfc3339(us)));
    }
    kit.get("/v1/models/kimi/scorecards").await;
    kit.get("/v1/models/kimi/scorecards?since=2026-09-21T00:00:00Z").await;
    let day = 86_400 * SECOND;
    assert_eq!(
        *kit.daemon.asked.lock().unwrap(),
        [(NOW - 2 * day, NOW), (NOW - 7 * day, NOW), (1_789_948_800_000_000, NOW)]
    );
}

#[tokio::test]
async fn a_series_counts_what_is_stored() {
    let kit = Kit::new().await;
    let sweep = kit.sweep(1).await;
    kit.store((0..40).map(|n| attempt(sweep, n)).collect()).await;
    for path in ["/v1/models/kimi/endpoints/good/fp8/series", "/v1/models/lab%2Fm%3Afree/endpoints/good%2Ffp8/series"] {
        let series = kit.get(&format!("{path}?since=1h&step=1m")).await.json();
        let buckets = series["suites"][0]["buckets"].as_array().unwrap();
        assert_eq!(buckets.iter().map(|b| b["pass"].as_u64().unwrap()).sum::<u64>(), 20, "{series}");
        assert_eq!((&buckets[0]["fail"], &buckets[0]["rate"]), (&json!(0), &json!(1.0)));
        assert!(buckets[0]["interval"]["lo"].as_f64().unwrap() < 0.95);
        assert_eq!(series["step_us"], 60 * SECOND);
    }
    assert_eq!(kit.get("/v1/models/kimi/endpoints/bad/series?suite=other").await.json()["suites"], json!([]));
    kit.get("/v1/models/kimi/endpoints/worse/series").await.is_problem(404, "unknown-endpoint");
    kit.get("/v1/models/kimi/endpoints/bad/series?step=1s").await.is_problem(400, "bad-parameter");
}

#[tokio::test]
async fn the_index_names_models_with_their_lists() {
    let kit = Kit::new().await;
    let etag = kit.publish(4).etag.clone();
    let index = kit.get("/v1/models").await.json();
    assert_eq!(index["next"], Value::Null);
    let first = &index["items"][0];
    assert_eq!(
        (&first["id"], &first["aliases"], &first["public_name"]),
        (&json!(MODEL), &json!(["kimi"]), &json!("m:free:exacto"))
    );
    assert_eq!((&first["allowlist"]["version"], &first["allowlist"]["etag"]), (&json!(4), &json!(etag)));
    assert_eq!(first["endpoints"][0]["slugs"], json!({"litellm": "g"}));
    assert_eq!(index["items"][1]["allowlist"], Value::Null);
    let url = first["allowlist"]["url"].as_str().unwrap();
    assert_eq!(kit.get(url).await.status, 200);
}

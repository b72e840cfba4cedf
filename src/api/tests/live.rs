//! Live traffic through the front door.

use std::io::Write as _;

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::kit::*;
use crate::clock::rfc3339;
use crate::config::Role;
use crate::daemon;
use crate::live::Intake;

fn record(id: &str, other: Value) -> Value {
    let mut record = json!({
        "v": 1, "id": id, "ts": rfc3339(NOW - SECOND), "model": "kimi", "provider": "g", "ok": true,
        "http_status": 200, "tools_offered": 1, "tool_call_valid": true, "finish_reason": "tool_calls",
        "latency_ms": 900, "input_tokens": 700, "output_tokens": 50, "cost_usd": 0.5
    });
    record.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    record
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|r| format!("{r}\n")).collect()
}

async fn send(kit: &Kit, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = Request::builder().method("POST").uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    kit.send(request.body(Body::from(body)).unwrap()).await
}

async fn stored(kit: &Kit) {
    daemon::live::store(&kit.state.store, &kit.state.intake, NOW).await.unwrap();
}

#[tokio::test]
async fn reports_are_counted_and_read_by_endpoint_over_time() {
    let kit = Kit::new().await;
    let bad = json!({"provider": "bad", "tool_call_valid": false, "invalid_reason": "json"});
    let old = json!({"ts": rfc3339(NOW - 7200 * SECOND), "input_tokens": 20_000});
    let records = [
        record("a", json!({})),
        record("b", json!({})),
        record("c", old),
        record("d", bad),
        record("e", json!({"provider": "who"})),
    ];
    let body = format!("{}{{\"id\":", lines(&records));
    let answer = kit.post("/v1/observations", &body, &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (
            202,
            json!({
                "accepted": 5, "duplicate": 0, "rejected": 1, "unattributed": 1, "errors": [{"line": 6, "code": "not_json"}]
            })
        )
    );
    stored(&kit).await;
    let series = kit.get(&format!("/v1/models/{MODEL}/endpoints/good/fp8/live?since=1d&step=1h")).await.json();
    assert_eq!((&series["total"]["requests"], &series["total"]["bad"]), (&json!(3), &json!(0)));
    assert_eq!(series["buckets"].as_array().unwrap().len(), 2);
    assert_eq!(series["strata"].as_object().unwrap().keys().collect::<Vec<_>>(), ["tools-long", "tools-short"]);
    assert_eq!(series["total"]["cost_usd"], json!(1.5));
    let latency = series["total"]["latency_ms"]["p50"].as_f64().unwrap();
    assert!((latency - 900.0).abs() < 15.0, "{latency}");
    let one = kit.get("/v1/models/kimi/endpoints/good%2Ffp8/live?stratum=tools-long").await.json();
    assert_eq!(one["total"]["requests"], json!(1));
    let model = kit.get("/v1/models/kimi/live?since=3h").await.json();
    let brief: Vec<Value> = model["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| json!([e["endpoint"], e["requests"], e["bad"], e["tool_errors"]["InvalidJson"]]))
        .collect();
    assert_eq!(brief, [json!(["good/fp8", 3, 0, 0]), json!(["bad", 1, 1, 1])]);
    assert_eq!(model["unattributed"], json!(1));
    let rate = &model["endpoints"][1]["tool_errors"];
    assert_eq!((&rate["requests"], &rate["errors"], &rate["rate"]["rate"]), (&json!(1), &json!(1), &json!(1.0)));
    let sources = kit.get("/v1/observations").await.json();
    assert_eq!(sources["sources"][0]["source"], json!("local"));
    assert_eq!(sources["unattributed"], json!([{"model": "kimi", "provider": "who", "records": 1}]));
    let metrics = kit.get("/metrics").await;
    assert!(metrics.text().contains("exactod_live_records_total{source=\"local\",result=\"accepted\"} 5"));
}

#[tokio::test]
async fn every_width_is_read_from_what_was_summed_for_it() {
    let kit = Kit::new().await;
    let of = |i: i64| record(&format!("r{i}"), json!({"ts": rfc3339(NOW - i * 600 * SECOND)}));
    kit.post("/v1/observations", &lines(&(0..140).map(of).collect::<Vec<_>>()), &[]).await;
    stored(&kit).await;
    for step in ["10m", "1h", "6h", "1d"] {
        let series = kit.get(&format!("/v1/models/kimi/endpoints/good/fp8/live?since=2d&step={step}")).await.json();
        assert_eq!(series["total"]["requests"], json!(140), "{step}");
        let sum: u64 = series["buckets"].as_array().unwrap().iter().map(|b| b["requests"].as_u64().unwrap()).sum();
        assert_eq!(sum, 140);
    }
    for since in ["1h", "12h", "7d", "90d"] {
        kit.get(&format!("/v1/models/kimi/endpoints/good/fp8/live?since={since}")).await.json();
        kit.get(&format!("/v1/models/kimi/live?since={since}")).await.json();
    }
    for query in ["step=90s", "since=30d&step=1m", "stratum=many", "since=400d&step=1h"] {
        let answer = kit.get(&format!("/v1/models/kimi/endpoints/good/fp8/live?{query}")).await;
        answer.is_problem(400, "bad-parameter");
    }
    kit.get("/v1/models/kimi/endpoints/nobody/live").await.is_problem(404, "unknown-endpoint");
}

#[tokio::test]
async fn bodies_come_packed_and_bombs_are_refused() {
    let kit = Kit::new().await;
    let gzip = |bytes: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    let body = |id: &str| lines(&[record(id, json!({})), record(&format!("{id}2"), json!({}))]).into_bytes();
    for (name, packed) in [
        ("gzip", gzip(&body("a"))),
        ("zstd", zstd::stream::encode_all(&body("b")[..], 1).unwrap()),
        ("identity", body("c")),
    ] {
        let answer = send(&kit, "/v1/observations", &[("content-encoding", name)], packed).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["accepted"]), (202, &json!(2)), "{name}");
    }
    // A body that unpacks to far more than it may.
    let bomb = zstd::stream::encode_all(&vec![0; 100 << 20][..], 1).unwrap();
    assert!(bomb.len() < 100_000);
    send(&kit, "/v1/observations", &[("content-encoding", "zstd")], bomb.clone())
        .await
        .is_problem(413, "body-too-large");
    send(&kit, "/v1/traces", &[("content-encoding", "zstd")], bomb).await.is_problem(413, "body-too-large");
    let wide = {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&body("d")).unwrap();
        encoder.finish().unwrap()
    };
    send(&kit, "/v1/observations", &[("content-encoding", "zstd")], wide).await.is_problem(400, "bad-encoding");
    let mut cut = gzip(&body("e"));
    cut.truncate(cut.len() - 10);
    send(&kit, "/v1/observations", &[("content-encoding", "gzip")], cut).await.is_problem(400, "bad-encoding");
    for encoding in ["gzip", "zstd"] {
        send(&kit, "/v1/observations", &[("content-encoding", encoding)], body("f"))
            .await
            .is_problem(400, "bad-encoding");
        let empty = send(&kit, "/v1/observations", &[("content-encoding", encoding)], Vec::new()).await;
        assert_eq!(empty.status.as_u16(), 202, "{encoding}");
    }
    send(&kit, "/v1/observations", &[("content-encoding", "br")], body("g")).await.is_problem(415, "unknown-encoding");
    let html = [("content-type", "text/html")];
    send(&kit, "/v1/observations", &html, body("h")).await.is_problem(415, "unknown-type");
    let large = [("content-length", "99999999999")];
    send(&kit, "/v1/observations", &large, Vec::new()).await.is_problem(413, "body-too-large");
}

#[tokio::test]
async fn only_tokens_of_role_ingest_may_report_and_they_may_not_read() {
    let kit = Kit::with_tokens(&[(Role::Read, "r-token"), (Role::Ingest, "i-token"), (Role::Admin, "a-token")]).await;
    let body = || lines(&[record("a", json!({}))]).into_bytes();
    for path in ["/v1/observations", "/v1/ingest/litellm", "/v1/traces"] {
        let with = |token: &'static str| [("authorization", token)];
        send(&kit, path, &[], body()).await.is_problem(401, "unauthorized");
        send(&kit, path, &with("Bearer wrong"), body()).await.is_problem(401, "unauthorized");
        send(&kit, path, &with("Bearer r-token"), body()).await.is_problem(403, "forbidden");
        for token in ["Bearer i-token", "Bearer a-token"] {
            let status = send(&kit, path, &with(token), Vec::new()).await.status.as_u16();
            assert!([200, 202].contains(&status), "{path} {status}");
        }
    }
    send(&kit, "/v1/observations", &[("authorization", "Bearer i-token")], body()).await.json();
    let seen = kit.ask("GET", "/v1/observations", &[("authorization", "Bearer r-token")]).await.json();
    let names: Vec<&str> = seen["sources"].as_array().unwrap().iter().map(|s| s["source"].as_str().unwrap()).collect();
    assert_eq!(names, ["admin", "ingest"], "a source is the name of its token");
    kit.ask("GET", "/v1/observations", &[("authorization", "Bearer i-token")]).await.is_problem(403, "forbidden");
    kit.ask("GET", "/v1/models/kimi/live", &[("authorization", "Bearer i-token")]).await.is_problem(403, "forbidden");
}

#[tokio::test]
async fn back_pressure_is_told_and_nothing_is_lost_by_it() {
    let kit = Kit::new().await;
    let kit = kit.with_intake(Intake::with_room(1, 500));
    // More minutes and endpoints than are held at once: refused until they are stored.
    let many = |provider: &str| {
        let one = |i: i64| {
            let ts = rfc3339(NOW - i * 60 * SECOND);
            record(&format!("{provider}{i}"), json!({"ts": ts, "provider": provider}))
        };
        lines(&(0..210).map(one).collect::<Vec<_>>())
    };
    for provider in ["g", "bad"] {
        assert_eq!(kit.post("/v1/observations", &many(provider), &[]).await.json()["accepted"], json!(210));
    }
    let refused = kit.post("/v1/observations", &many("who"), &[]).await;
    refused.is_problem(429, "too-many");
    assert_eq!(refused.headers.get("retry-after").unwrap(), "1");
    stored(&kit).await;
    let rest = kit.post("/v1/observations", &many("who"), &[]).await.json();
    assert_eq!((&rest["accepted"], &rest["duplicate"]), (&json!(130), &json!(80)));
    stored(&kit).await;
    let model = kit.get("/v1/models/kimi/live?since=3d").await.json();
    let endpoints = model["endpoints"].as_array().unwrap();
    let counted: Vec<u64> = endpoints.iter().map(|e| e["requests"].as_u64().unwrap()).collect();
    assert_eq!((counted, &model["unattributed"]), (vec![210, 210], &json!(210)));
}

#[tokio::test]
async fn litellm_and_traces_are_answered_as_they_expect() {
    let kit = Kit::new().await;
    for kind in ["application/json", "text/html", "x/y"] {
        let empty =
            send(&kit, "/v1/ingest/litellm", &[("content-type", kind), ("x-test-connection", "true")], vec![]).await;
        assert_eq!(empty.status.as_u16(), 200);
    }
    let now_s = NOW as f64 / 1e6;
    let payload = json!({"litellm_call_id": "x", "model_group": "kimi", "model_id": "g", "status": "success",
        "startTime": now_s - 2.0, "endTime": now_s - 1.0});
    let taken =
        send(&kit, "/v1/ingest/litellm", &[("content-type", "application/json")], payload.to_string().into_bytes());
    let taken = taken.await;
    assert_eq!((taken.status.as_u16(), &taken.json()["accepted"]), (200, &json!(1)));
    kit.get("/v1/ingest/litellm").await.is_problem(405, "method-not-allowed");
    kit.get("/v1/traces").await.is_problem(405, "method-not-allowed");
    let traces = async |method: &str, kind: &str, body: &[u8]| {
        let request = Request::builder().method(method).uri("/v1/traces").header("content-type", kind);
        kit.send(request.body(Body::from(body.to_vec())).unwrap()).await
    };
    for method in ["POST", "PUT"] {
        let json = traces(method, "application/json", b"{}").await;
        assert_eq!((json.status.as_u16(), json.text()), (200, "{}"));
        let protobuf = traces(method, "application/x-protobuf", b"").await;
        assert_eq!((protobuf.status.as_u16(), protobuf.body.len()), (200, 0));
        assert_eq!(protobuf.headers.get("content-type").unwrap(), "application/x-protobuf");
    }
    traces("POST", "application/json", b"{\"resourceSpans\": 7}").await.is_problem(400, "bad-body");
    traces("POST", "application/x-protobuf", b"\x0a\xff\xff\xff\xff\xff").await.is_problem(400, "bad-body");
    let attribute = json!({"key": "gen_ai.request.model", "value": {"stringValue": "kimi"}});
    let span = json!({"traceId": "01", "spanId": "02", "endTimeUnixNano": "5", "attributes": [attribute]});
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string();
    let partial = traces("POST", "", body.as_bytes()).await.json();
    assert_eq!(partial, json!({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "span 1: too_old (ts)"}}));
}

//! `POST` and `PUT /v1/traces`: live traffic by traces of OpenTelemetry (OTLP/HTTP).

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use super::access::Need;
use super::guard::{self, Shared};
use super::ingest::{self, Holds, Taking};
use crate::live::Reply;

const PATH: &str = "/v1/traces";
const TRACES: Taking = Taking { route: PATH, holds: Holds::Traces, types: &[], status: StatusCode::OK };

/// Takes traces.
pub async fn take(State(app): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if [Method::POST, Method::PUT].contains(&parts.method) {
        return Box::pin(ingest::take(&app, &parts, body, &TRACES)).await;
    }
    let work = async { guard::wrong_method(&parts.method, PATH, "POST, PUT").into_response() };
    guard::run(&app, PATH, Need::Ingest, &parts, work).await
}

/// What the content type says of the encoding; `None` when it says neither.
pub fn said_to_be_json(headers: &HeaderMap) -> Option<bool> {
    let given = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim().to_ascii_lowercase();
    match given.as_str() {
        "application/json" => Some(true),
        "application/x-protobuf" | "application/protobuf" => Some(false),
        _ => None,
    }
}

/// An `ExportTraceServiceResponse` in the encoding of the request.
pub fn taken(reply: &Reply, is_json: bool) -> Response {
    let rejected = reply.rejected;
    let why = reply.errors.first().map(|error| match error.why.field {
        None => format!("span {}: {}", error.line, error.why.code),
        Some(field) => format!("span {}: {} ({field})", error.line, error.why.code),
    });
    let why = why.unwrap_or_default();
    let (kind, body) = match (is_json, rejected) {
        (true, 0) => ("application/json", b"{}".to_vec()),
        (true, _) => {
            let partial = json!({"partialSuccess": {"rejectedSpans": rejected.to_string(), "errorMessage": why}});
            ("application/json", partial.to_string().into_bytes())
        }
        (false, 0) => ("application/x-protobuf", Vec::new()),
        (false, _) => ("application/x-protobuf", partial_success(rejected, &why)),
    };
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// `partial_success` (1) with `rejected_spans` (1) and `error_message` (2).
fn partial_success(rejected: u64, why: &str) -> Vec<u8> {
    let mut inner = vec![1 << 3];
    varint(&mut inner, rejected);
    inner.push(2 << 3 | 2);
    varint(&mut inner, why.len() as u64);
    inner.extend_from_slice(why.as_bytes());
    let mut out = vec![1 << 3 | 2];
    varint(&mut out, inner.len() as u64);
    out.extend_from_slice(&inner);
    out
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

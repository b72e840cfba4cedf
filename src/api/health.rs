//! Probes and metrics.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::json;

use super::guard::{App, Shared};
use super::limits::{READY_STORE_TIMEOUT, WATCHERS_MAX};
use super::models;
use super::params::Params;
use super::problem::Problem;

/// A key that need not exist: asking for it shows that the store answers.
const READY_PROBE: &str = "ready_probe";

/// `GET /healthz`: the process answers.
pub async fn alive() -> Response {
    models::json(&json!({"status": "ok"}))
}

/// `GET /readyz`: the daemon has started up, all its parts are alive, outcomes are stored, and the store answers.
pub async fn ready(State(app): State<Shared>) -> Result<Response, Problem> {
    let not_ready = |detail: &str| Problem::unavailable("not-ready", "not ready", detail);
    if !*app.state.ready.borrow() {
        return Err(not_ready("the daemon is starting up, a part of it broke, or it cannot store outcomes")
            .hint("try again in a moment; what is wrong is in the daemon's log"));
    }
    match tokio::time::timeout(READY_STORE_TIMEOUT, app.state.store.fact(READY_PROBE)).await {
        Ok(Ok(_)) => Ok(models::json(&json!({"status": "ready"}))),
        Ok(Err(error)) => {
            tracing::error!(%error, "the store does not answer");
            Err(not_ready("the store does not answer").hint("the cause is in the daemon's log"))
        }
        Err(_) => Err(not_ready("the store does not answer in time").hint("see whether another program holds it")),
    }
}

/// `GET /metrics`
pub async fn metrics(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    Params::read(request.uri().query(), &[])?;
    read_gauges(&app);
    let text = app.state.metrics.encode().map_err(|error| Problem::internal("writing the metrics", &error))?;
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// Gauges of what changes with every attempt are read when they are asked for.
fn read_gauges(app: &App) {
    let state = &app.state;
    state.metrics.set_watchers(WATCHERS_MAX.saturating_sub(app.watchers.available_permits()));
    state.metrics.set_writer(state.writer.waiting(), state.writer.status().failures);
    for model in &state.setup.load().models {
        let sweep = state.progress.of(&model.id);
        let (done, planned) = sweep.map_or((0, 0), |s| (s.done(), s.planned));
        state.metrics.set_sweep(&model.id, done, planned);
    }
}

/// `GET /openapi.json`
pub async fn openapi(State(app): State<Shared>) -> Response {
    let mut response = Response::new(Body::from(app.openapi.clone()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}

/// `GET /.well-known/exacto-keys.json`: the public keys, as a JWK set; empty while nothing is signed.
pub async fn keys(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    Params::read(request.uri().query(), &[])?;
    let mut response = Response::new(Body::from(app.state.board.public_keys().to_text()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    Ok(response)
}

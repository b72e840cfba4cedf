//! `/v1/observations`: live traffic in exactod's own records, and how its sources fare.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::access::Need;
use super::guard::{self, App, Shared};
use super::ingest::{self, Holds, Taking};
use super::models;
use super::params::Params;
use super::problem::Problem;
use crate::clock::rfc3339;
use crate::live::{Format, SourceView, Unattributed};

const PATH: &str = "/v1/observations";
const NATIVE: Taking = Taking {
    route: PATH,
    holds: Holds::Records(Format::Native),
    types: &[
        "application/json",
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/json-lines",
        "text/plain",
        "application/octet-stream",
    ],
    status: StatusCode::ACCEPTED,
};

const LITELLM_PATH: &str = "/v1/ingest/litellm";
/// LiteLLM says `application/json` of NDJSON too, and its versions differ: what comes is looked at.
const LITELLM: Taking =
    Taking { route: LITELLM_PATH, holds: Holds::Records(Format::LiteLlm), types: &[], status: StatusCode::OK };

/// Takes what LiteLLM logs.
pub async fn litellm(State(app): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method == Method::POST {
        return Box::pin(ingest::take(&app, &parts, body, &LITELLM)).await;
    }
    let work = async { guard::wrong_method(&parts.method, LITELLM_PATH, "POST").into_response() };
    guard::run(&app, LITELLM_PATH, Need::Ingest, &parts, work).await
}

/// Takes records, or tells how the sources fare.
pub async fn dispatch(State(app): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::POST => Box::pin(ingest::take(&app, &parts, body, &NATIVE)).await,
        Method::GET | Method::HEAD => {
            let work = async { told(&app, parts.uri.query()).unwrap_or_else(Problem::into_response) };
            guard::run(&app, PATH, Need::Read, &parts, work).await
        }
        _ => {
            let work = async { guard::wrong_method(&parts.method, PATH, "GET, HEAD, POST").into_response() };
            guard::run(&app, PATH, Need::Read, &parts, work).await
        }
    }
}

fn told(app: &App, query: Option<&str>) -> Result<Response, Problem> {
    Params::read(query, &[])?;
    let sources: Vec<Value> = app.state.intake.sources().iter().map(source).collect();
    let names: Vec<Value> = app.state.intake.unattributed().iter().map(unattributed).collect();
    Ok(models::json(&json!({"sources": sources, "unattributed": names, "held": app.state.intake.held()})))
}

fn source(source: &SourceView) -> Value {
    let SourceView { name, accepted, duplicate, rejected, unattributed, ids, last_us } = source;
    json!({"source": name, "accepted": accepted, "duplicate": duplicate, "rejected": rejected,
           "unattributed": unattributed, "ids": ids, "last": rfc3339(*last_us), "last_us": last_us})
}

fn unattributed(name: &Unattributed) -> Value {
    let Unattributed { model, provider, records } = name;
    json!({"model": model, "provider": provider, "records": records})
}

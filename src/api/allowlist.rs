//! `GET /v1/models/{model}/allowlist`: the document that gateways poll.
//!
//! The plain form does no IO and waits for nothing: it finds the published bytes, compares entity tags and answers.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::guard::App;
use super::models::ModelRef;
use super::params::{CAPABILITY, DETAIL, Param, Params, WAIT};
use super::problem::{Problem, names};
use super::state::{ApiSetup, EndpointView};
use crate::clock::rfc3339;
use crate::diagnostics::nearest;
use crate::domain::{Capability, Micros};
use crate::publish::{Board, Published};

/// Its parameters.
pub const PARAMS: &[Param] = &[DETAIL, CAPABILITY, WAIT];
/// How long clients and caches may keep a list, and go on with it while the daemon is down.
pub const LIST_CACHE_CONTROL: &str = "max-age=15, stale-while-revalidate=60, stale-if-error=86400";
/// Carries the revision.
pub const VERSION_HEADER: HeaderName = HeaderName::from_static("exacto-version");

/// Which list is asked for, and in which form.
#[derive(Debug, Default)]
pub struct Wanted {
    /// With evidence.
    pub detail: bool,
    /// The list of a capability, as written by the client.
    pub capability: Option<String>,
}

/// Reads the query.
pub fn wanted(query: Option<&str>) -> Result<Wanted, Problem> {
    if query.is_none() {
        return Ok(Wanted::default());
    }
    let params = Params::read(query, PARAMS)?;
    if params.text(WAIT).is_some() {
        return Err(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "not-yet",
            "comes later",
            format!("parameter `{}` comes with a later version", WAIT.name),
        )
        .hint("ask for the list without it"));
    }
    let detail = params.word(DETAIL, &["0", "1"])? == Some("1");
    Ok(Wanted { detail, capability: params.text(CAPABILITY).map(ToOwned::to_owned) })
}

/// The capability of a model that a client names: one that its policy asks for. Lists of others are withdrawn.
pub fn known_capability(setup: &ApiSetup, model: &ModelRef, name: &str) -> Result<Capability, Problem> {
    let capabilities = setup.model(model.id.as_str()).map(|m| m.policy.capabilities.as_slice()).unwrap_or_default();
    capabilities.iter().find(|c| c.as_str() == name).cloned().ok_or_else(|| {
        let detail = format!("{} has no list of capability {name:?}", model.id);
        let problem = Problem::not_found("unknown-capability", "unknown capability", detail);
        let known = || capabilities.iter().map(Capability::as_str);
        match (nearest(name, known()), capabilities.is_empty()) {
            (Some(near), _) => problem.hint(format!("did you mean `{near}`? There are: {}", names(known()))),
            (None, false) => problem.hint(format!("there are: {}", names(known()))),
            (None, true) => {
                problem.hint("name the tag in the policy's `capabilities`; the list without is the model's own")
            }
        }
    })
}

/// The list of a model: its own, or that of a capability.
pub fn find(
    board: &Board,
    setup: &ApiSetup,
    model: &ModelRef,
    capability: Option<&str>,
) -> Result<Arc<Published>, Problem> {
    if !model.configured {
        // Nobody measures it any more and nobody renews its list: a consumer must not take it for a current one.
        return Err(Problem::not_found(
            "model-removed",
            "model removed",
            format!("{} is not in the configuration any more: its allowlist is withdrawn", model.id),
        )
        .hint("take the model out of the gateway, or put it back into the config; /decisions and /scorecards go on"));
    }
    let (found, whose) = match capability {
        None => (board.get(model.id.as_str()), model.id.to_string()),
        Some(name) => {
            let capability = known_capability(setup, model, name)?;
            let whose = format!("capability {capability} of {}", model.id);
            (board.of_capability(model.id.as_str(), capability.as_str()), whose)
        }
    };
    found.ok_or_else(|| {
        Problem::not_found("no-allowlist", "no allowlist yet", format!("no allowlist of {whose} was published yet"))
            .hint("the first sweep publishes it: wait for the schedule, or start one by POST /v1/sweeps")
    })
}

/// The pre-rendered document, or 304.
pub fn plain(published: &Published, headers: &HeaderMap) -> Response {
    // An entity tag is hexadecimal in quotes: always a header value.
    let etag = HeaderValue::from_str(&published.etag).unwrap_or(HeaderValue::from_static("\"\""));
    let matches = names_etag(headers, &published.etag);
    let body = if matches { Body::empty() } else { Body::from(published.body.clone()) };
    let mut response = Response::new(body);
    if matches {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    if !matches {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(ETAG, etag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(LIST_CACHE_CONTROL));
    headers.insert(VERSION_HEADER, HeaderValue::from(published.revision));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(time) = http_date(published.issued_at_us) {
        headers.insert(LAST_MODIFIED, time);
    }
    response
}

/// Whether `If-None-Match` names the tag: lists, `*` and weak forms (RFC 9110, 13.1.2: weak comparison).
fn names_etag(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

/// IMF-fixdate (RFC 9110, 5.6.7).
pub fn http_date(at_us: Micros) -> Option<HeaderValue> {
    let time = chrono::DateTime::from_timestamp_micros(at_us)?;
    HeaderValue::from_str(&time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

/// The document with `evidence` per endpoint; `unlisted` holds the endpoints that stand on neither list.
pub async fn detailed(
    app: &App,
    setup: &ApiSetup,
    model: &ModelRef,
    capability: Option<&str>,
) -> Result<Response, Problem> {
    let published = find(&app.state.board, setup, model, capability)?;
    let views = app.state.standings.of(model.id.clone(), published.capability.clone()).await;
    let mut views = views.map_err(|error| Problem::internal("reading the standings", &error))?;
    let mut document: Map<String, Value> = serde_json::from_slice(&published.body)
        .map_err(|error| Problem::internal("reading the published allowlist", &error))?;
    for list in ["providers", "excluded"] {
        for entry in document.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let at = views.iter().position(|v| entry.get("id").and_then(Value::as_str) == Some(v.id.as_str()));
            if let (Some(at), Some(entry)) = (at, entry.as_object_mut()) {
                let view = views.remove(at);
                entry.insert("standing".to_owned(), json!(view.standing));
                entry.insert("evidence".to_owned(), view.evidence);
            }
        }
    }
    document.insert("unlisted".to_owned(), Value::Array(views.into_iter().map(unlisted).collect()));
    let mut response = super::models::json(&Value::Object(document));
    response.headers_mut().insert(VERSION_HEADER, HeaderValue::from(published.revision));
    Ok(response)
}

fn unlisted(view: EndpointView) -> Value {
    let EndpointView { id, standing, override_, since_us, reason, evidence } = view;
    json!({"id": id, "standing": standing, "override": override_, "since": rfc3339(since_us), "reason": reason,
           "evidence": evidence})
}

//! `GET /v1/models`, and the way to everything below a model.

use std::future::ready;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::access::Need;
use super::guard::{self, App, Shared};
use super::model_path::{self, PathError, Resource, Target};
use super::params::Params;
use super::parking::{Parking, detached};
use super::problem::{Problem, names};
use super::state::{ApiSetup, ApiState};
use super::{allowlist, decisions, endpoints, live, orders, scorecards, series, watch};
use crate::clock::rfc3339;
use crate::config::ModelConfig;
use crate::diagnostics::nearest;
use crate::domain::ModelId;
use crate::publish::Published;

/// Where models are mounted.
pub const PREFIX: &str = "/v1/models/";

/// A JSON answer.
pub fn json(value: &Value) -> Response {
    json_text(value.to_string().into())
}

/// JSON that is written already.
pub fn json_text(text: Bytes) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A page of a list.
pub fn page(items: Vec<Value>, next: Option<String>) -> Response {
    json(&json!({"items": items, "next": next}))
}

/// A model that a client named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRef {
    /// Its canonical id.
    pub id: ModelId,
    /// It is in the config; else it was, and keeps its history.
    pub configured: bool,
}

/// Finds a model by id or alias: a configured one, or one that was and still has a list.
pub fn resolve(state: &ApiState, setup: &ApiSetup, name: &str) -> Result<ModelRef, Problem> {
    if let Some(model) = setup.model(name) {
        return Ok(ModelRef { id: model.id.clone(), configured: true });
    }
    if let Some((id, _)) = setup.relayed.iter().find(|(id, _)| id.as_str() == name) {
        return Ok(ModelRef { id: id.clone(), configured: true });
    }
    if let Some(published) = state.board.get(name) {
        return Ok(ModelRef { id: published.model.clone(), configured: false });
    }
    let known = || setup.models.iter().map(|m| &m.id).chain(setup.relayed.keys()).map(ModelId::as_str);
    let problem = Problem::not_found("unknown-model", "unknown model", format!("no model goes by the name {name:?}"));
    Err(match nearest(name, known()) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem.hint(format!("configured: {}; GET /v1/models lists them with their aliases", names(known()))),
    })
}

/// `GET /v1/models`
pub async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    Params::read(request.uri().query(), &[])?;
    let setup = app.state.setup.load();
    let own = setup.models.iter().map(|model| one(&app.state, model));
    let relayed = setup.relayed.iter().map(|(id, from)| relayed(&app.state, id, from));
    Ok(page(own.chain(relayed).collect(), None))
}

/// A model whose list is taken over from another daemon: all that is known here is that list.
fn relayed(state: &ApiState, id: &ModelId, from: &str) -> Value {
    let list = state.board.get(id.as_str()).map(shown);
    json!({"id": id, "aliases": [], "public_name": null, "reference": null, "endpoints": [], "allowlist": list,
           "capabilities": {}, "relayed_from": from})
}

/// A list in short.
fn shown(p: Arc<Published>) -> Value {
    let query = p.capability.as_ref().map(|c| format!("?capability={c}")).unwrap_or_default();
    json!({"version": p.revision, "etag": p.etag, "issued_at": rfc3339(p.issued_at_us),
           "expires_at": rfc3339(p.expires_at_us), "url": format!("{PREFIX}{}/allowlist{query}", p.model)})
}

fn one(state: &ApiState, model: &ModelConfig) -> Value {
    let list = state.board.get(model.id.as_str()).map(shown);
    let capabilities: Map<String, Value> = (model.policy.capabilities.iter())
        .map(|c| (c.to_string(), json!(state.board.of_capability(model.id.as_str(), c.as_str()).map(shown))))
        .collect();
    let endpoints: Vec<Value> = model
        .endpoints
        .iter()
        .map(|e| {
            json!({"id": e.id, "provider": e.provider, "upstream_model": e.upstream_model, "tag": e.tag,
                   "price": e.price, "slugs": e.slugs})
        })
        .collect();
    json!({"id": model.id, "aliases": model.aliases, "public_name": model.public_name, "reference": model.reference,
           "endpoints": endpoints, "allowlist": list, "capabilities": capabilities})
}

/// Everything below `/v1/models/`. Lies outside all layers for the sake of the allowlist; the other resources are
/// guarded one by one.
pub async fn dispatch(State(app): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match target(&app, &parts) {
        Ok((Target { resource: Resource::Allowlist, model }, false)) => {
            let response = allowlist::now(&app, &parts, &model, None).unwrap_or_else(Problem::into_response);
            app.count_read(response.status());
            response
        }
        // These wait, thousands at a time: off their connection, and the other resources' work is boxed.
        Ok((Target { resource: Resource::Allowlist, model }, true)) if waits(&parts) => {
            let parking = Parking::of(&parts, &body);
            let head = detached(&parts);
            let work = async move {
                let response = waited(&app, &head, &model).await.unwrap_or_else(Problem::into_response);
                app.count_read(response.status());
                response
            };
            aside(parking, &parts, work).await
        }
        Ok((Target { resource: Resource::Watch, model }, _)) => {
            let parking = Parking::of(&parts, &body);
            let response = watch::open(&app, detached(&parts), &model).unwrap_or_else(Problem::into_response);
            app.count("/v1/models/{model}/allowlist/watch", response.status());
            aside(parking, &parts, ready(response)).await
        }
        Ok((target, _)) => Box::pin(guarded(app, parts, body, target)).await,
        Err(problem) => {
            let work = async { problem.into_response() };
            Box::pin(guard::run(&app, "/v1/models/{model}", Need::Read, &parts, work)).await
        }
    }
}

/// Does work off the connection where that offers a place for it.
async fn aside(
    parking: Option<Parking>,
    parts: &Parts,
    work: impl Future<Output = Response> + Send + 'static,
) -> Response {
    match parking {
        Some(parking) => parking.park(parts, work).await,
        None => work.await,
    }
}

/// Whether a request for an allowlist asks to wait.
fn waits(parts: &Parts) -> bool {
    allowlist::wanted(parts.uri.query()).is_ok_and(|wanted| wanted.wait.is_some())
}

async fn waited(app: &App, parts: &Parts, model: &str) -> Result<Response, Problem> {
    let wanted = allowlist::wanted(parts.uri.query())?;
    allowlist::later(app, parts, model, wanted.capability.as_deref(), wanted.wait.unwrap_or_default()).await
}

async fn guarded(app: Shared, parts: Parts, body: Body, target: Target) -> Response {
    // Evidence is not part of what `public_read` opens.
    let bare = !allowlist::wanted(parts.uri.query()).is_ok_and(|wanted| wanted.detail);
    let need = match target.resource {
        Resource::Order { .. } => Need::Admin,
        Resource::Allowlist if bare => Need::Allowlist,
        Resource::Signature => Need::Allowlist,
        _ => Need::Read,
    };
    let work = async { below(&app, &parts, body, &target).await.unwrap_or_else(Problem::into_response) };
    guard::run(&app, route_name(&target.resource), need, &parts, work).await
}

fn route_name(resource: &Resource) -> &'static str {
    match resource {
        Resource::Allowlist => guard::LIST_ROUTE,
        Resource::Signature => "/v1/models/{model}/allowlist.sig",
        Resource::Watch => "/v1/models/{model}/allowlist/watch",
        Resource::Decisions => "/v1/models/{model}/decisions",
        Resource::Scorecards => "/v1/models/{model}/scorecards",
        Resource::Endpoint { .. } => "/v1/models/{model}/endpoints/{endpoint}",
        Resource::Series { .. } => "/v1/models/{model}/endpoints/{endpoint}/series",
        Resource::Live { endpoint: None } => "/v1/models/{model}/live",
        Resource::Live { .. } => "/v1/models/{model}/endpoints/{endpoint}/live",
        Resource::Order { endpoint: None, .. } => "/v1/models/{model}/ack",
        Resource::Order { .. } => "/v1/models/{model}/endpoints/{endpoint}/{verb}",
    }
}

/// The resource, and whether it has parameters: then even an allowlist goes the long way. Looks at path and query only.
fn target(app: &App, parts: &Parts) -> Result<(Target, bool), Problem> {
    guard::check_target(parts)?;
    let rest = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let setup = app.state.setup.load();
    let target = model_path::parse(rest, |name| setup.model(name).is_some()).map_err(|error| match error {
        PathError::Encoding => {
            Problem::bad_request("bad-encoding", "bad percent-encoding", "the path is not percent-encoded UTF-8")
                .hint("encode a slash as %2F and a colon as %3A, or write them plain")
        }
        PathError::Unknown => {
            let path = parts.uri.path();
            Problem::not_found("unknown-path", "unknown path", format!("{path} names no resource of a model")).hint(
                "below /v1/models/{model}: /allowlist, /allowlist.sig, /allowlist/watch, /decisions, /scorecards, /live, /endpoints/{endpoint}, its /series and /live, and \
                     for commands /ack and /endpoints/{endpoint}/pin, unpin, ban, unban, reset, note",
            )
        }
    })?;
    let (methods, allowed): (&[Method], _) = match target.resource {
        Resource::Order { .. } => (&[Method::POST], "POST"),
        _ => (&[Method::GET, Method::HEAD], "GET, HEAD"),
    };
    if !methods.contains(&parts.method) {
        return Err(guard::wrong_method(&parts.method, parts.uri.path(), allowed));
    }
    Ok((target, parts.uri.query().is_some()))
}

async fn below(app: &App, parts: &Parts, body: Body, target: &Target) -> Result<Response, Problem> {
    let setup = app.state.setup.load_full();
    let model = resolve(&app.state, &setup, &target.model)?;
    let query = parts.uri.query();
    match &target.resource {
        Resource::Allowlist => {
            let allowlist::Wanted { detail, capability, wait: _ } = allowlist::wanted(query)?;
            if detail {
                return allowlist::detailed(app, &setup, &model, capability.as_deref()).await;
            }
            allowlist::now(app, parts, &target.model, capability.as_deref())
        }
        Resource::Signature => allowlist::signature(app, parts, &target.model, query),
        // Lies outside the guards: it is answered before.
        Resource::Watch => Err(Problem::internal("watching", &"a stream was asked for behind the guards")),
        Resource::Decisions => decisions::list(app, &model, query).await,
        Resource::Scorecards => scorecards::list(app, &model, query).await,
        Resource::Endpoint { endpoint } => endpoints::get(app, &setup, &model, endpoint, query).await,
        Resource::Series { endpoint } => series::get(app, &setup, &model, endpoint, query).await,
        Resource::Live { endpoint: None } => live::of_model(app, &setup, &model, query).await,
        Resource::Live { endpoint: Some(endpoint) } => live::of_endpoint(app, &setup, &model, endpoint, query).await,
        Resource::Order { verb, endpoint } => {
            orders::act(app, &setup, &model, (*verb, endpoint.as_deref()), parts, body).await
        }
    }
}

/// A path that is not in the route table.
pub async fn unknown_path(request: Request) -> Response {
    let path = request.uri().path().to_owned();
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", "unknown path", format!("there is nothing at {path}"))
        .hint("/openapi.json describes every path; the page for people is at /")
        .into_response()
}

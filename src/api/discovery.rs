//! `POST /v3/discovery:routes`: Envoy polls for its routes (REST xDS, RDS).
//!
//! The resource `exacto` holds the routes of all models, told apart by a header; a resource that is called as a model is (by
//! its id, an alias or its public name) holds that model's alone, for a listener of its own. `version_info` is a hash of the
//! routes: it changes when and only when they do, whichever daemon is asked and however often lists are issued anew.
//!
//! Envoy refuses silently: over REST no word of it arrives. What it runs is seen from the `version_info` of its polls, which
//! are kept as its acks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;
use serde_json::Value;
use tracing::debug;

use super::exports::scene_of;
use super::guard::{App, Shared};
use super::limits::{
    ACK_CLIENT_CHARS_MAX, DISCOVERED_MAX, DISCOVERY_BYTES_MAX, DISCOVERY_NAMES_MAX, POLL_NOTED_EVERY, POLLS_MAX,
};
use super::params::Params;
use super::problem::Problem;
use super::state::ApiSetup;
use super::{access, body, models};
use crate::domain::{Micros, ModelId, Revision, canonical};
use crate::publish::Published;
use crate::publish::exports::{
    ENVOY_RESOURCE, ENVOY_TYPE_URL, EnvoyMatch, envoy_configuration, envoy_response, envoy_routes,
};
use crate::store::{Ack, AckStatus};

const EXAMPLE: &str = r#"such as {"node": {"id": "edge-1"}, "resource_names": ["exacto"], "version_info": ""}"#;
/// Digits of the hash in `version_info`.
const HASH_DIGITS: usize = 32;
/// What an Envoy is called in acks, before its node id.
const CLIENT_PREFIX: &str = "envoy:";

/// What Envoy sends, as far as it is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DiscoveryRequest {
    #[serde(alias = "versionInfo")]
    version_info: Option<String>,
    #[serde(alias = "resourceNames")]
    resource_names: Vec<String>,
    node: Option<Node>,
    #[serde(alias = "typeUrl")]
    type_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    id: String,
}

/// Routes, ready to be sent.
#[derive(Debug)]
struct Routes {
    version_info: String,
    /// The revision of the list; of several the sum, as in the index of all models.
    revision: Revision,
    body: Bytes,
}

/// What was asked for, with the state of the board and the configuration that it was made from.
type Kept = BTreeMap<Vec<String>, (u64, Arc<ApiSetup>, Arc<Routes>)>;

/// Routes as rendered last, and what was last noted of who polls.
#[derive(Debug, Default)]
pub struct Discovered {
    kept: Mutex<Kept>,
    /// Which revision stood behind a `version_info`, as far as this process has served it.
    known: Mutex<BTreeMap<String, Revision>>,
    polls: Mutex<BTreeMap<(String, String), (Revision, Micros)>>,
}

/// Answers a poll: 304 while Envoy has what there is.
pub async fn routes(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    Params::read(request.uri().query(), &[])?;
    let (parts, content) = request.into_parts();
    let asked = read(content).await?;
    let names = match asked.resource_names.is_empty() {
        true => vec![ENVOY_RESOURCE.to_owned()],
        false => asked.resource_names,
    };
    let setup = app.state.setup.load_full();
    let current = rendered(&app, &setup, &names)?;
    let has = asked.version_info.unwrap_or_default();
    if let Some(revision) = revision_of(&app, &current, &has) {
        note(&app, &setup, &parts, (&names, revision), asked.node.unwrap_or_default().id);
    }
    if has == current.version_info {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    Ok(models::json_text(current.body.clone()))
}

async fn read(content: axum::body::Body) -> Result<DiscoveryRequest, Problem> {
    let bytes = to_bytes(content, DISCOVERY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("the body is larger than {DISCOVERY_BYTES_MAX} bytes, or broke off");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "body too large", detail).hint(EXAMPLE)
    })?;
    let asked: DiscoveryRequest =
        serde_json::from_slice(&bytes).map_err(|error| body::bad(error.to_string(), EXAMPLE))?;
    if asked.resource_names.len() > DISCOVERY_NAMES_MAX {
        return Err(body::bad(format!("more than {DISCOVERY_NAMES_MAX} resources are named"), "ask for `exacto`"));
    }
    match asked.type_url.as_deref() {
        None | Some("" | ENVOY_TYPE_URL) => Ok(asked),
        Some(other) => {
            let detail = format!("{other:?} is not served here, only {ENVOY_TYPE_URL}");
            Err(body::bad(detail, "clusters and listeners stand in Envoy's own configuration"))
        }
    }
}

/// The routes, made anew when board or configuration have changed since.
fn rendered(app: &App, setup: &Arc<ApiSetup>, names: &[String]) -> Result<Arc<Routes>, Problem> {
    let generation = *app.state.board.subscribe().borrow();
    let kept = || app.discovered.kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, with, routes)) = kept().get(names)
        && (*of, Arc::as_ptr(with)) == (generation, Arc::as_ptr(setup))
    {
        return Ok(Arc::clone(routes));
    }
    let routes = Arc::new(render(app, setup, names)?);
    let mut known = app.discovered.known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= DISCOVERED_MAX {
        known.clear();
    }
    known.insert(routes.version_info.clone(), routes.revision);
    let mut kept = kept();
    if kept.len() >= DISCOVERED_MAX {
        kept.clear();
    }
    kept.insert(names.to_vec(), (generation, Arc::clone(setup), Arc::clone(&routes)));
    Ok(routes)
}

fn render(app: &App, setup: &ApiSetup, names: &[String]) -> Result<Routes, Problem> {
    let (mut resources, mut sum): (Vec<Value>, Revision) = (Vec::new(), 0);
    for name in names {
        let (revision, routes) = match model_of(setup, name) {
            _ if name == ENVOY_RESOURCE => of_all(app, setup)?,
            Some(model) => of_one(app, setup, &model)?,
            None => return Err(unknown(name)),
        };
        sum += revision;
        resources.push(envoy_configuration(name, &routes));
    }
    let hash = canonical::sha256_hex(Value::from(resources.clone()).to_string().as_bytes());
    let version_info = hash.get(..HASH_DIGITS).unwrap_or_default().to_owned();
    let body = envoy_response(&version_info, &resources).to_string().into();
    Ok(Routes { version_info, revision: sum, body })
}

/// Models without a list, and lists of which nobody is configured any more, have no routes.
fn of_all(app: &App, setup: &ApiSetup) -> Result<(Revision, Vec<Value>), Problem> {
    let published = app.state.board.all();
    let own = || published.iter().filter(|list| list.capability.is_none());
    let scenes = own().filter_map(|list| scene_of(setup, &list.model, &list.list));
    let routes: Vec<Value> =
        scenes.filter_map(|scene| envoy_routes(&scene, EnvoyMatch::ByHeader).ok()).flatten().collect();
    if routes.is_empty() {
        return Err(none_yet("no allowlist was published yet".to_owned()));
    }
    Ok((own().map(|list| list.revision).sum(), routes))
}

fn of_one(app: &App, setup: &ApiSetup, model: &ModelId) -> Result<(Revision, Vec<Value>), Problem> {
    let published: Option<Arc<Published>> = app.state.board.get(model.as_str());
    let scene = published.as_ref().and_then(|list| scene_of(setup, model, &list.list));
    let routes = scene.and_then(|scene| envoy_routes(&scene, EnvoyMatch::All).ok());
    match (published, routes) {
        (Some(published), Some(routes)) => Ok((published.revision, routes)),
        _ => Err(none_yet(format!("{model} has no allowlist of configured endpoints"))),
    }
}

fn model_of(setup: &ApiSetup, name: &str) -> Option<ModelId> {
    let own = setup.models.iter().find(|model| model.is_called(name) || model.public_name == name);
    let relayed = || setup.relayed.keys().find(|id| id.as_str() == name);
    own.map(|model| &model.id).or_else(relayed).cloned()
}

fn none_yet(detail: String) -> Problem {
    Problem::not_found("no-allowlist", "no allowlist yet", detail)
        .hint("Envoy asks again; the first sweep publishes the list: wait for the schedule, or POST /v1/sweeps")
}

fn unknown(name: &str) -> Problem {
    Problem::not_found("unknown-resource", "unknown resource", format!("there is no route configuration {name:?}"))
        .hint("`route_config_name` is `exacto`, or the name of a model: GET /v1/models lists them")
}

/// The revision that an Envoy runs, if it is known: it has none at first, or one that another daemon has served.
fn revision_of(app: &App, current: &Routes, has: &str) -> Option<Revision> {
    if has == current.version_info {
        return Some(current.revision);
    }
    app.discovered.known.lock().unwrap_or_else(PoisonError::into_inner).get(has).copied()
}

/// Keeps what an Envoy runs as its ack. Who shows no token where tokens are known may not write.
fn note(app: &App, setup: &ApiSetup, parts: &Parts, (names, version): (&[String], Revision), node: String) {
    let token = access::caller(setup, parts);
    if token.is_none() && !setup.server.tokens.is_empty() {
        return;
    }
    let visible = node.trim().chars().filter(|c| !c.is_control());
    let client: String = CLIENT_PREFIX.chars().chain(visible).take(ACK_CLIENT_CHARS_MAX).collect();
    let model = match names {
        [name] => model_of(setup, name).map(|model| model.to_string()).unwrap_or_default(),
        _ => String::new(),
    };
    let now_us = app.state.clock.now_us();
    if !is_news(app, (&client, &model), version, now_us) {
        return;
    }
    let ack = Ack {
        client,
        model,
        capability: String::new(),
        version,
        status: AckStatus::Adopted,
        detail: String::new(),
        token: token.unwrap_or_default(),
        adopted: None,
        at_us: now_us,
    };
    let store = app.state.store.clone();
    // Beside the answer: a slow store must not keep Envoy waiting.
    tokio::spawn(async move {
        if let Err(error) = store.set_ack(ack).await {
            debug!(%error, "what an Envoy runs could not be noted");
        }
    });
}

/// Whether a poll says something else than the last one that was noted, or that was long ago.
fn is_news(app: &App, who: (&str, &str), version: Revision, now_us: Micros) -> bool {
    let mut polls = app.discovered.polls.lock().unwrap_or_else(PoisonError::into_inner);
    if polls.len() >= POLLS_MAX {
        polls.clear();
    }
    let again_us = i64::try_from(POLL_NOTED_EVERY.as_micros()).unwrap_or(i64::MAX);
    let known = polls.insert((who.0.to_owned(), who.1.to_owned()), (version, now_us));
    match known {
        Some((noted, at_us)) if noted == version && now_us - at_us < again_us => {
            polls.insert((who.0.to_owned(), who.1.to_owned()), (noted, at_us));
            false
        }
        _ => true,
    }
}

//! `GET /v1/models/{model}/allowlist`: the document that gateways poll, plain or with a long wait, and its signature.
//!
//! The plain form does no IO and waits for nothing: it finds the published bytes, compares entity tags and answers with
//! headers that were made at publication. The long form waits on the list's one channel and holds nothing but the request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until};

use super::access::{self, Need};
use super::guard::App;
use super::limits::{WAIT_JITTER_SHARE, WAIT_MAX};
use super::models::{ModelRef, resolve};
use super::params::{CAPABILITY, DETAIL, Param, Params, WAIT, bad};
use super::problem::{Problem, names};
use super::state::{ApiSetup, EndpointView};
use crate::clock::rfc3339;
use crate::config::durations;
use crate::diagnostics::nearest;
use crate::domain::Capability;
use crate::publish::{Board, Published, VERSION_HEADER};

/// Its parameters.
pub const PARAMS: &[Param] = &[DETAIL, CAPABILITY, WAIT];
/// Those of its signature and of its stream.
pub const WHICH_PARAMS: &[Param] = &[CAPABILITY];

/// Which list is asked for, and in which form.
#[derive(Debug, Default)]
pub struct Wanted {
    /// With evidence.
    pub detail: bool,
    /// The list of a capability, as written by the client.
    pub capability: Option<String>,
    /// How long to wait for another one.
    pub wait: Option<Duration>,
}

/// Reads the query.
pub fn wanted(query: Option<&str>) -> Result<Wanted, Problem> {
    if query.is_none() {
        return Ok(Wanted::default());
    }
    let params = Params::read(query, PARAMS)?;
    let detail = params.word(DETAIL, &["0", "1"])? == Some("1");
    let wait = wait(&params)?;
    if detail && wait.is_some() {
        return Err(bad(WAIT.name, "the detailed form has no entity tag to wait by").hint("wait for the plain form"));
    }
    Ok(Wanted { detail, capability: params.text(CAPABILITY).map(ToOwned::to_owned), wait })
}

/// How long a client is willing to wait.
pub fn wait(params: &Params) -> Result<Option<Duration>, Problem> {
    let Some(text) = params.text(WAIT) else { return Ok(None) };
    match durations::parse(text) {
        Ok(wait) if wait <= WAIT_MAX => Ok(Some(wait)),
        Ok(_) => Err(bad(WAIT.name, "it is too long").hint(format!("at most {}s; ask again then", WAIT_MAX.as_secs()))),
        Err(error) => Err(bad(WAIT.name, &error.to_string()).hint(durations::DURATION_HINT)),
    }
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
    let matches = names_etag(headers, &published.etag);
    let body = if matches { Body::empty() } else { Body::from(published.body.clone()) };
    let mut response = Response::new(body);
    if matches {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = published.headers_alone.clone();
    } else {
        *response.headers_mut() = published.headers.clone();
    }
    response
}

/// The current list as a request may have it: access, model and configuration are looked at anew each time, for a wait may
/// outlast them.
fn current(app: &App, parts: &Parts, name: &str, capability: Option<&str>) -> Result<Arc<Published>, Problem> {
    let setup = app.state.setup.load();
    access::check(&app.state, parts, Need::Allowlist)?;
    let model = resolve(&app.state, &setup, name)?;
    find(&app.state.board, &setup, &model, capability)
}

/// The plain form, at once.
pub fn now(app: &App, parts: &Parts, name: &str, capability: Option<&str>) -> Result<Response, Problem> {
    Ok(plain(&*current(app, parts, name, capability)?, &parts.headers))
}

/// The plain form as soon as it is another one than the client names, or after a while.
pub async fn later(
    app: &App,
    parts: &Parts,
    name: &str,
    capability: Option<&str>,
    wait: Duration,
) -> Result<Response, Problem> {
    let reads = parts.method == Method::GET;
    let permit = app.watchers.try_acquire();
    // Without a tag to compare with there is nothing to wait for, but for the first list. Too many who wait: a return is no
    // promise of a change, so they are answered at once.
    let waits = match current(app, parts, name, capability) {
        Ok(published) => parts.headers.contains_key(IF_NONE_MATCH) && names_etag(&parts.headers, &published.etag),
        Err(problem) => problem.is("no-allowlist"),
    };
    if waits && reads && permit.is_ok() {
        wait_for_another(app, parts, name, capability, wait).await?;
    }
    now(app, parts, name, capability)
}

async fn wait_for_another(
    app: &App,
    parts: &Parts,
    name: &str,
    capability: Option<&str>,
    wait: Duration,
) -> Result<(), Problem> {
    let mut list = {
        let setup = app.state.setup.load();
        let model = resolve(&app.state, &setup, name)?;
        let capability = capability.map(|name| known_capability(&setup, &model, name)).transpose()?;
        app.state.board.watch(&model.id, capability.as_ref())
    };
    let until = Instant::now() + wait + app.jitter(wait / WAIT_JITTER_SHARE);
    loop {
        let is_another = |published: &Arc<Published>| !names_etag(&parts.headers, &published.etag);
        if list.borrow_and_update().as_ref().is_some_and(is_another) {
            return Ok(());
        }
        tokio::select! {
            // The board outlives every request.
            _ = list.changed() => {}
            () = sleep_until(until) => return Ok(()),
            () = app.state.stopping.cancelled() => return Ok(()),
        }
    }
}

/// The signature text of the current document, for mirrors and copies in files.
pub fn signature(app: &App, parts: &Parts, name: &str, query: Option<&str>) -> Result<Response, Problem> {
    let params = Params::read(query, WHICH_PARAMS)?;
    let published = current(app, parts, name, params.text(CAPABILITY))?;
    let Some(text) = &published.signature else {
        let detail = "this daemon has no keys, so its allowlists are not signed";
        return Err(Problem::not_found("not-signed", "not signed", detail)
            .hint("`exactod keys new` makes a key and prints the lines for the config"));
    };
    let mut response = Response::new(Body::from(format!("{}\n", text.replace(", keyid=", "\nkeyid="))));
    *response.headers_mut() = published.headers_alone.clone();
    response.headers_mut().remove(http::header::ETAG);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

/// Whether `If-None-Match` names the tag: lists, `*` and weak forms (RFC 9110, 13.1.2: weak comparison).
pub fn names_etag(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
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

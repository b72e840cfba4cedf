//! `GET /v1/export/...`: lists in the words of gateways, cached and waited for like the lists themselves.
//!
//! A fragment is rendered and signed once for each state of board and configuration, and shared by all who read it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, StatusCode};
use tokio::time::{Instant, sleep_until};

use super::access::{self, Need};
use super::allowlist;
use super::guard::{self, App, Shared};
use super::limits::{RENDERED_MAX, WAIT_JITTER_SHARE};
use super::model_path;
use super::models::resolve;
use super::params::{CAPABILITY, FORM, GATEWAY, Param, Params, WAIT};
use super::problem::{Problem, names};
use super::state::ApiSetup;
use crate::config::ModelConfig;
use crate::diagnostics::nearest;
use crate::domain::{Allowlist, ModelId, Revision};
use crate::publish::exports::{self, Form, Format, ModelNames, NotRendered, Scene, Wanted};
use crate::publish::{LIST_CACHE_CONTROL, VERSION_HEADER, etag_of};
use crate::signing::SIGNATURE_HEADER;

/// Where exports are mounted.
const PREFIX: &str = "/v1/export/";
/// The route as it is counted.
const ROUTE: &str = "/v1/export/{format}/{model}";
/// The index of all models for the LiteLLM plugin.
const GROUPS: &str = "litellm";

/// Parameters of a model's export.
pub const PARAMS: &[Param] = &[FORM, GATEWAY, CAPABILITY, WAIT];
/// Parameters of the index.
pub const GROUPS_PARAMS: &[Param] = &[WAIT];

/// A fragment, ready to be sent.
#[derive(Debug)]
pub struct Rendered {
    body: Bytes,
    etag: String,
    headers: HeaderMap,
}

/// What is kept: by what was asked for, with the state of the board and the configuration that it was made from.
type Kept = BTreeMap<Asked, (u64, Arc<ApiSetup>, Arc<Rendered>)>;

/// Fragments as rendered last.
#[derive(Debug, Default)]
pub struct Fragments(Mutex<Kept>);

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Groups,
    Of { wanted: Wanted, model: String, capability: Option<String> },
}

/// `GET /v1/export/{format}/{model}` and `GET /v1/export/litellm`. Outside the guards, as it may wait.
pub async fn dispatch(State(app): State<Shared>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let response = answer(&app, &parts).await.unwrap_or_else(Problem::into_response);
    app.count(ROUTE, response.status());
    response
}

async fn answer(app: &App, parts: &Parts) -> Result<Response, Problem> {
    guard::check_target(parts)?;
    access::check(&app.state, parts, Need::Allowlist)?;
    if ![Method::GET, Method::HEAD].contains(&parts.method) {
        return Err(guard::wrong_method(&parts.method, parts.uri.path(), "GET, HEAD"));
    }
    let (asked, wait) = asked(parts)?;
    let known = |rendered: &Rendered| allowlist::names_etag(&parts.headers, &rendered.etag);
    let waits = parts.method == Method::GET && parts.headers.contains_key(IF_NONE_MATCH);
    if let (Some(wait), true, Ok(_permit)) = (wait, waits, app.watchers.try_acquire()) {
        wait_for_another(app, &asked, wait, known).await?;
        access::check(&app.state, parts, Need::Allowlist)?;
    }
    let rendered = rendered(app, &asked)?;
    let is_known = known(&rendered);
    let mut response = Response::new(if is_known { Body::empty() } else { Body::from(rendered.body.clone()) });
    *response.headers_mut() = rendered.headers.clone();
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_TYPE);
    }
    Ok(response)
}

async fn wait_for_another(
    app: &App,
    asked: &Asked,
    wait: Duration,
    known: impl Fn(&Rendered) -> bool,
) -> Result<(), Problem> {
    let mut changes = app.state.board.subscribe();
    let until = Instant::now() + wait + app.jitter(wait / WAIT_JITTER_SHARE);
    loop {
        changes.borrow_and_update();
        if !known(&*rendered(app, asked)?) {
            return Ok(());
        }
        tokio::select! {
            // The board outlives every request.
            _ = changes.changed() => {}
            () = sleep_until(until) => return Ok(()),
            () = app.state.stopping.cancelled() => return Ok(()),
        }
    }
}

/// What path and query ask for, and for how long it may be waited.
fn asked(parts: &Parts) -> Result<(Asked, Option<Duration>), Problem> {
    let rest = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    if rest == GROUPS {
        let params = Params::read(parts.uri.query(), GROUPS_PARAMS)?;
        return Ok((Asked::Groups, allowlist::wait(&params)?));
    }
    let known = || Format::ALL.map(Format::name);
    let (format, model) = rest.split_once('/').unwrap_or((rest, ""));
    let Some(found) = Format::by_name(format) else {
        let problem = Problem::not_found("unknown-format", "unknown format", format!("there is no export {format:?}"));
        return Err(match nearest(format, known()) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem.hint(format!("there are: {}; and /v1/export/litellm for all models", names(known()))),
        });
    };
    let model = model_path::decode(model).map_err(|_| {
        Problem::bad_request("bad-encoding", "bad percent-encoding", "the path is not percent-encoded UTF-8")
            .hint("encode a slash as %2F and a colon as %3A, or write them plain")
    })?;
    if model.is_empty() {
        let detail = format!("{} names no model", parts.uri.path());
        return Err(Problem::not_found("unknown-path", "unknown path", detail)
            .hint(format!("such as /v1/export/{format}/lab/m")));
    }
    let params = Params::read(parts.uri.query(), PARAMS)?;
    let form = params.word(FORM, &["allow", "exclude"])?.and_then(Form::by_name).unwrap_or_default();
    let text = |param| params.text(param).map(ToOwned::to_owned);
    let wanted = Wanted { format: found, form, gateway: text(GATEWAY) };
    Ok((Asked::Of { wanted, model, capability: text(CAPABILITY) }, allowlist::wait(&params)?))
}

/// The fragment, made anew when board or configuration have changed since.
fn rendered(app: &App, asked: &Asked) -> Result<Arc<Rendered>, Problem> {
    let generation = *app.state.board.subscribe().borrow();
    let setup = app.state.setup.load_full();
    let kept = || app.exports.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, with, rendered)) = kept().get(asked)
        && (*of, Arc::as_ptr(with)) == (generation, Arc::as_ptr(&setup))
    {
        return Ok(Arc::clone(rendered));
    }
    let rendered = Arc::new(render(app, &setup, asked)?);
    let mut kept = kept();
    if kept.len() >= RENDERED_MAX {
        kept.clear();
    }
    kept.insert(asked.clone(), (generation, setup, Arc::clone(&rendered)));
    Ok(rendered)
}

fn render(app: &App, setup: &ApiSetup, asked: &Asked) -> Result<Rendered, Problem> {
    let (text, version, kind) = match asked {
        Asked::Groups => groups(app, setup),
        Asked::Of { wanted, model, capability } => {
            let model = resolve(&app.state, setup, model)?;
            let published = allowlist::find(&app.state.board, setup, &model, capability.as_deref())?;
            let config = setup.model(model.id.as_str());
            let text = match (wanted.format, wanted.form) {
                (Format::Json, Form::Allow) => published.body.clone(),
                _ => {
                    let of_list = || Scene::of_list(&published.list);
                    let scene = config.map_or_else(of_list, |config| scene(config, &published.list));
                    exports::render(wanted, &scene).map_err(not_rendered)?.into()
                }
            };
            (text, published.revision, wanted.format.content_type())
        }
    };
    let etag = etag_of(&text);
    let mut headers = HeaderMap::with_capacity(8);
    let value = |text: &str| HeaderValue::from_str(text).ok();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.extend(value(&etag).map(|etag| (ETAG, etag)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(LIST_CACHE_CONTROL));
    headers.insert(VERSION_HEADER, HeaderValue::from(version));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let signature = app.state.board.sign(&text).and_then(|text| value(&text));
    headers.extend(signature.map(|text| (HeaderName::from_static(SIGNATURE_HEADER), text)));
    Ok(Rendered { body: text, etag, headers })
}

fn not_rendered(error: NotRendered) -> Problem {
    let hint = match &error {
        NotRendered::NoExceptions(_) => "ask without `form=exclude`",
        NotRendered::OwnNames(_) => "ask without `gateway`",
        NotRendered::Empty => "keep what you have; a sweep or a reload of the configuration mends the list",
        NotRendered::BadName { .. } => "`slugs` stand in the config at the endpoint",
    };
    let kind = match error {
        NotRendered::NoExceptions(_) | NotRendered::OwnNames(_) => "bad-parameter",
        NotRendered::Empty | NotRendered::BadName { .. } => "not-rendered",
    };
    let status = if kind == "bad-parameter" { StatusCode::BAD_REQUEST } else { StatusCode::CONFLICT };
    Problem::new(status, kind, "cannot be rendered", error.to_string()).hint(hint)
}

/// The index of all models, and its version: the sum of all revisions, which grows whenever a list is published.
fn groups(app: &App, setup: &ApiSetup) -> (Bytes, Revision, &'static str) {
    let published = app.state.board.all();
    let own = || published.iter().filter(|list| list.capability.is_none());
    let version = own().map(|list| list.revision).sum();
    let scenes: Vec<Scene<'_>> = own().filter_map(|list| scene_of(setup, &list.model, &list.list)).collect();
    (exports::groups(version, &scenes).into(), version, Format::Json.content_type())
}

/// As [`scene`], of a model that is configured or relayed.
pub fn scene_of<'a>(setup: &'a ApiSetup, model: &ModelId, list: &'a Allowlist) -> Option<Scene<'a>> {
    match setup.model(model.as_str()) {
        Some(config) => Some(scene(config, list)),
        None => setup.relayed.contains_key(model).then(|| Scene::of_list(list)),
    }
}

/// What an export of a model is made from.
#[must_use]
pub fn scene<'a>(config: &'a ModelConfig, list: &'a Allowlist) -> Scene<'a> {
    Scene {
        list,
        model: ModelNames {
            id: config.id.as_str(),
            aliases: config.aliases.iter().map(|alias| alias.as_str()).collect(),
            public_name: (&config.public_name).into(),
            slugs: &config.slugs,
        },
        endpoints: config.endpoints.iter().zip(config.providers.iter().map(Arc::as_ref)).collect(),
    }
}

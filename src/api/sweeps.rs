//! `/v1/sweeps`: what was swept, what is in flight, and sweeps by hand.

use std::sync::atomic::Ordering;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::guard::{App, Shared};
use super::limits::{EPOCHS_MAX, SWEEP_REPLY_TIMEOUT};
use super::models::{self, page, resolve};
use super::params::{CURSOR, LIMIT, MODEL, Param, Params, STATE};
use super::problem::{Problem, names};
use super::state::{ApiSetup, SweepCommand, SweepReply};
use super::{body, views};
use crate::domain::{EndpointId, ModelId, SuiteName, SweepId, SweepState};
use crate::progress::SweepProgress;
use crate::store::StoredSweep;

const EXAMPLE: &str =
    r#"such as {"model": "lab/m", "suites": ["tool-use"], "endpoints": ["groq"], "limit": 20}; only `model` is needed"#;

/// Parameters of the list.
pub const PARAMS: &[Param] = &[MODEL, STATE, LIMIT, CURSOR];
const STATES: [SweepState; 3] = [SweepState::Running, SweepState::Done, SweepState::Closed];

/// `GET /v1/sweeps`
pub async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let params = Params::read(request.uri().query(), PARAMS)?;
    let setup = app.state.setup.load_full();
    let model = params.text(MODEL).map(|name| resolve(&app.state, &setup, name)).transpose()?;
    let name = params.word(STATE, &STATES.map(SweepState::name))?;
    let state = STATES.into_iter().find(|s| Some(s.name()) == name);
    let model = model.as_ref().map(|m| &m.id);
    let found = app.state.store.sweeps(model, state, params.limit()?, params.cursor()).await?;
    Ok(page(found.items.iter().map(views::sweep_summary).collect(), found.next))
}

/// `GET /v1/sweeps/{id}`
pub async fn get(State(app): State<Shared>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    Params::read(request.uri().query(), &[])?;
    let unknown = || {
        Problem::not_found("unknown-sweep", "unknown sweep", format!("no sweep {id:?} is stored"))
            .hint("GET /v1/sweeps lists the sweeps with their ids")
    };
    let id: SweepId = id.parse().map_err(|_| unknown())?;
    let stored = app.state.store.sweep(id).await?.ok_or_else(unknown)?;
    let mut out = views::sweep_detail(&stored);
    out.insert("progress".to_owned(), progress(&app, &stored).await?);
    Ok(models::json(&Value::Object(out)))
}

/// What is done: as the runner counts while the sweep is in flight here, else as stored.
async fn progress(app: &App, stored: &StoredSweep) -> Result<Value, Problem> {
    let record = &stored.record;
    if let Some(live) = app.state.progress.of(&record.model).filter(|live| live.sweep == record.id) {
        return Ok(live_progress(&live));
    }
    let planned = stored.plan.as_ref().map(crate::domain::SweepPlan::attempts);
    let counted = app.state.store.progress(record.id).await?;
    let done: u64 = counted.iter().map(|c| c.pass + c.fail + c.unscored).sum();
    let endpoints: Vec<Value> = counted
        .iter()
        .map(|c| {
            json!({"id": c.endpoint, "done": c.pass + c.fail + c.unscored, "pass": c.pass, "fail": c.fail,
                   "unscored": c.unscored})
        })
        .collect();
    Ok(json!({"in_flight": false, "planned": planned, "done": done, "endpoints": endpoints}))
}

fn live_progress(live: &SweepProgress) -> Value {
    let endpoints: Vec<Value> = live
        .endpoints
        .iter()
        .map(|(id, e)| {
            let [planned, done, pass, fail] =
                [&e.planned, &e.done, &e.pass, &e.fail].map(|n| n.load(Ordering::Relaxed));
            // The counters move one by one, so for a moment they may not add up.
            json!({"id": id, "planned": planned, "done": done, "pass": pass, "fail": fail,
                   "unscored": done.saturating_sub(pass + fail)})
        })
        .collect();
    json!({"in_flight": true, "planned": live.planned, "done": live.done(), "endpoints": endpoints})
}

/// The body of `POST /v1/sweeps`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSweep {
    /// The model, by id or alias.
    model: String,
    /// Only these suites; without it those of the model's schedules.
    #[serde(default)]
    suites: Vec<String>,
    /// Only these endpoints; without it all.
    #[serde(default)]
    endpoints: Vec<String>,
    /// At most this many cases per suite.
    #[serde(default)]
    limit: Option<u32>,
    /// Every case of every suite.
    #[serde(default)]
    full: bool,
    /// Repeats per case; with `full` only.
    #[serde(default)]
    epochs: Option<u32>,
}

/// `POST /v1/sweeps`
pub async fn start(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    Params::read(request.uri().query(), &[])?;
    let (parts, content) = request.into_parts();
    let asked = body::json(&parts.headers, content, EXAMPLE).await?;
    let (reply, answer) = oneshot::channel();
    let command = command(&app, asked, reply)?;
    let model = command.model.clone();
    app.state.sweeps.try_send(command).map_err(|error| match error {
        TrySendError::Full(_) => Problem::unavailable(
            "busy",
            "too many commands wait",
            "the daemon has more sweep commands than it can take",
        )
        .hint("try again in a moment"),
        TrySendError::Closed(_) => stopping(),
    })?;
    match tokio::time::timeout(SWEEP_REPLY_TIMEOUT, answer).await {
        Ok(Ok(SweepReply::Started)) => Ok(accepted(&app, &model, "started")),
        Ok(Ok(SweepReply::Queued)) => Ok(accepted(&app, &model, "queued")),
        Ok(Ok(SweepReply::Overlaps)) => Err(Problem::new(
            StatusCode::CONFLICT,
            "sweep-overlaps",
            "a sweep waits already",
            format!("a sweep of {model} is in flight and another one waits for its end"),
        )
        .hint("wait until the first ends: GET /v1/sweeps?state=running shows it")),
        Ok(Ok(SweepReply::UnknownModel)) => {
            Err(Problem::not_found("unknown-model", "unknown model", format!("{model} is not configured any more"))
                .hint("GET /v1/models lists the models"))
        }
        Ok(Err(_)) => Err(stopping()),
        Err(_) => Err(Problem::unavailable("timed-out", "took too long", "the daemon did not answer in time")
            .hint("the sweep may have begun: look at GET /v1/sweeps before trying again")),
    }
}

/// What is known of a sweep that was taken: its id is made when it is planned.
fn accepted(app: &App, model: &ModelId, status: &str) -> Response {
    let before = (status == "queued").then(|| app.state.progress.of(model)).flatten();
    let mut response = models::json(&json!({
        "status": status, "model": model, "after": before.map(|sweep| sweep.sweep),
        "watch": format!("/v1/sweeps?model={}", encoded(model.as_str())),
    }));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn stopping() -> Problem {
    Problem::unavailable("stopping", "the daemon is stopping", "it takes no sweeps any more")
        .hint("try again after the restart")
}

fn bad_body(detail: String) -> Problem {
    body::bad(detail, EXAMPLE)
}

/// Checks the names and numbers, so that what is queued can be done.
fn command(app: &App, asked: NewSweep, reply: oneshot::Sender<SweepReply>) -> Result<SweepCommand, Problem> {
    let NewSweep { model, suites, endpoints, limit, full, epochs } = asked;
    let setup = app.state.setup.load();
    let model = resolve(&app.state, &setup, &model)?.id;
    let config = setup.model(model.as_str());
    let endpoint = |name: &String| {
        let known = config.into_iter().flat_map(|c| &c.endpoints).map(|e| &e.id);
        known.clone().find(|id| id.as_str() == name).cloned().ok_or_else(|| {
            unknown_name("endpoint", name, &format!("endpoints of {model}: {}", names(known.map(EndpointId::as_str))))
        })
    };
    let endpoints = endpoints.iter().map(endpoint).collect::<Result<Vec<_>, _>>()?;
    let suites = suites.iter().map(|name| suite(&setup, name)).collect::<Result<Vec<_>, _>>()?;
    if limit == Some(0) {
        return Err(bad_body("`limit`: 0 cases are no sweep".to_owned()).hint("1 or more, or leave it out"));
    }
    if let Some(epochs) = epochs {
        if !full {
            return Err(bad_body("`epochs`: repeats are possible in a full sweep only".to_owned())
                .hint("add \"full\": true, or leave `epochs` out"));
        }
        if !(1..=EPOCHS_MAX).contains(&epochs) {
            return Err(bad_body(format!("`epochs`: {epochs} is out of range")).hint(format!("1 to {EPOCHS_MAX}")));
        }
    }
    Ok(SweepCommand { model, suites, endpoints, limit, full, epochs, reply })
}

fn suite(setup: &ApiSetup, name: &str) -> Result<SuiteName, Problem> {
    let found = setup.suites.iter().find(|s| s.name.as_str() == name);
    found.map(|s| s.name.clone()).ok_or_else(|| {
        unknown_name("suite", name, &format!("loaded suites: {}", names(setup.suites.iter().map(|s| s.name.as_str()))))
    })
}

fn unknown_name(kind: &str, name: &str, hint: &str) -> Problem {
    Problem::bad_request("unknown-name", "unknown name", format!("there is no {kind} {name:?}")).hint(hint)
}

//! `/v1/attempts`: what was asked, what came back, how it was judged.

use axum::extract::{Path, Request, State};
use axum::response::Response;

use super::guard::Shared;
use super::models::{self, page, resolve};
use super::params::{CURSOR, ENDPOINT, FAULT, LIMIT, MODEL, Param, Params, SUITE, SWEEP, VERDICT};
use super::problem::Problem;
use super::views;
use crate::domain::{AttemptId, Fault};
use crate::store::AttemptFilter;

/// Parameters of the list.
pub const PARAMS: &[Param] = &[SWEEP, MODEL, ENDPOINT, SUITE, VERDICT, FAULT, LIMIT, CURSOR];

/// `GET /v1/attempts`
pub async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let params = Params::read(request.uri().query(), PARAMS)?;
    let setup = app.state.setup.load_full();
    let model = params.text(MODEL).map(|name| resolve(&app.state, &setup, name)).transpose()?;
    let faults: Vec<&str> = Fault::ALL.iter().map(|f| f.name()).collect();
    params.word(FAULT, &faults)?;
    let filter = AttemptFilter {
        sweep: params.value(SWEEP)?,
        model: model.map(|m| m.id),
        endpoint: params.value(ENDPOINT)?,
        suite: params.value(SUITE)?,
        verdict: params.word(VERDICT, &["pass", "fail", "unscored"])?.map(str::to_owned),
        fault: params.value(FAULT)?,
        since_us: None,
    };
    let found = app.state.store.attempts(&filter, params.limit()?, params.cursor()).await?;
    Ok(page(found.items.iter().map(views::attempt_summary).collect(), found.next))
}

/// `GET /v1/attempts/{id}`
pub async fn get(State(app): State<Shared>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    Params::read(request.uri().query(), &[])?;
    let unknown = || {
        Problem::not_found("unknown-attempt", "unknown attempt", format!("no attempt {id:?} is stored"))
            .hint("GET /v1/attempts lists the attempts with their ids; old ones are pruned")
    };
    let id: AttemptId = id.parse().map_err(|_| unknown())?;
    let stored = app.state.store.attempt(id).await?.ok_or_else(unknown)?;
    let votes = app.state.store.votes(&stored.attempt.key).await?;
    Ok(models::json(&views::attempt_detail(&stored, &votes, &app.state.setup.load().models)))
}

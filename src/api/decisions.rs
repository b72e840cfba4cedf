//! `GET /v1/models/{model}/decisions`

use axum::response::Response;

use super::guard::App;
use super::models::{ModelRef, page};
use super::params::{CURSOR, ENDPOINT, LIMIT, Param, Params};
use super::problem::Problem;
use super::views;
use crate::domain::EndpointId;

/// Its parameters.
pub const PARAMS: &[Param] = &[ENDPOINT, LIMIT, CURSOR];

/// Decisions of a model, newest first.
pub async fn list(app: &App, model: &ModelRef, query: Option<&str>) -> Result<Response, Problem> {
    let params = Params::read(query, PARAMS)?;
    let endpoint: Option<EndpointId> = params.value(ENDPOINT)?;
    let found = app.state.store.decisions(Some(&model.id), endpoint.as_ref(), params.limit()?, params.cursor()).await?;
    Ok(page(found.items.iter().map(views::decision).collect(), found.next))
}

//! `GET /v1/models/{model}/decisions`

use axum::response::Response;

use super::guard::App;
use super::models::{ModelRef, page};
use super::params::{CURSOR, ENDPOINT, KIND, LIMIT, OF_CAPABILITY, Param, Params};
use super::problem::Problem;
use super::views;
use crate::domain::DecisionKind;
use crate::store::DecisionFilter;

/// Its parameters.
pub const PARAMS: &[Param] = &[ENDPOINT, OF_CAPABILITY, KIND, LIMIT, CURSOR];

/// Decisions of a model, newest first.
pub async fn list(app: &App, model: &ModelRef, query: Option<&str>) -> Result<Response, Problem> {
    let params = Params::read(query, PARAMS)?;
    let kind = params.word(KIND, &DecisionKind::ALL.map(DecisionKind::name))?;
    let filter = DecisionFilter {
        model: Some(model.id.clone()),
        endpoint: params.value(ENDPOINT)?,
        // One that the policy no longer names is found as well: its decisions remain.
        capability: params.value(OF_CAPABILITY)?,
        kind: kind.and_then(DecisionKind::by_name),
    };
    let found = app.state.store.decisions_like(&filter, params.limit()?, params.cursor()).await?;
    Ok(page(found.items.iter().map(views::decision).collect(), found.next))
}

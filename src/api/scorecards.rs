//! `GET /v1/models/{model}/scorecards`

use axum::response::Response;
use serde_json::json;

use super::guard::App;
use super::models::{self, ModelRef};
use super::params::{Param, Params, SINCE};
use super::problem::Problem;
use crate::clock::rfc3339;

/// Its parameters.
pub const PARAMS: &[Param] = &[SINCE];

/// A scorecard per endpoint over the window that ends now.
pub async fn list(app: &App, model: &ModelRef, query: Option<&str>) -> Result<Response, Problem> {
    let params = Params::read(query, PARAMS)?;
    let now_us = app.state.clock.now_us();
    let from_us = params.since_us(now_us)?;
    let cards = app.state.scorecards.of(model.id.clone(), from_us, now_us).await;
    let cards = cards.map_err(|error| Problem::internal("computing the scorecards", &error))?;
    Ok(models::json(&json!({"model": model.id, "from": rfc3339(from_us), "to": rfc3339(now_us), "items": cards,
                            "next": null})))
}

//! `GET /v1/models/{model}/scorecards`

use axum::response::Response;
use serde_json::{Value, json};

use super::guard::App;
use super::models::ModelRef;
use super::params::{Param, Params, SINCE};
use super::problem::Problem;
use crate::clock::rfc3339;
use crate::domain::Scorecard;

/// Its parameters.
pub const PARAMS: &[Param] = &[SINCE];

/// A scorecard per endpoint over the window that ends now.
pub async fn list(app: &App, model: &ModelRef, query: Option<&str>) -> Result<Response, Problem> {
    let params = Params::read(query, PARAMS)?;
    let now_us = app.state.clock.now_us();
    let from_us = params.since_us(now_us)?;
    let make = async {
        let cards = app.state.scorecards.of(model.id.clone(), from_us, now_us).await;
        let cards = cards.map_err(|error| Problem::internal("computing the scorecards", &error))?;
        let items: Vec<Value> = cards.iter().map(item).collect();
        Ok(json!({"model": model.id, "from": rfc3339(from_us), "from_us": from_us, "to": rfc3339(now_us),
                  "to_us": now_us, "items": items, "next": null}))
    };
    app.reports.answer(format!("scorecards {} {}", model.id, query.unwrap_or_default()), make).await
}

/// A scorecard; its window stands twice, as every time does.
fn item(card: &Scorecard) -> Value {
    let mut item = json!(card);
    item["from"] = json!(rfc3339(card.from_us));
    item["to"] = json!(rfc3339(card.to_us));
    item
}

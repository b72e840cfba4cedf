//! Operators' orders: `POST /v1/models/{model}/endpoints/{endpoint}/{verb}` and `POST /v1/models/{model}/ack`.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;
use utoipa::ToSchema;

use super::guard::App;
use super::models::{self, ModelRef};
use super::params::Params;
use super::problem::{Problem, names};
use super::state::{ApiSetup, Refusal};
use super::{access, body, views};
use crate::domain::{EndpointId, Order, Verb};

const EXAMPLE: &str =
    r#"such as {"note": "ticket 12", "by": "ann"}; all keys may be left out, but a `note` order needs its note"#;

/// Who is behind an order without a token and without a name.
const NAMELESS: &str = "api";

/// The body of an order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// Why; kept with the decision. Up to 500 characters in one line.
    #[serde(default)]
    note: String,
    /// Who says so; the token's name stands beside it.
    #[serde(default)]
    by: String,
}

/// Carries out an order.
pub async fn act(
    app: &App,
    setup: &ApiSetup,
    model: &ModelRef,
    (verb, endpoint): (Verb, Option<&str>),
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    Params::read(parts.uri.query(), &[])?;
    let asked: NewOrder = body::json(&parts.headers, body, EXAMPLE).await?;
    let endpoint = endpoint.map(|name| known(setup, model, name)).transpose()?;
    let by = signed(access::caller(setup, parts), asked.by.trim());
    let order = Order::new(verb, endpoint, &by, &asked.note).map_err(|e| body::bad(e.to_string(), EXAMPLE))?;
    let ruling = app.state.operators.act(model.id.clone(), order).await.map_err(|refusal| match refusal {
        Refusal::NothingHeld(why) => Problem::new(StatusCode::CONFLICT, "nothing-held", "nothing is held", why)
            .hint("GET /v1/alarms?open=true shows what holds; only a common alarm is acknowledged"),
        Refusal::UnknownEndpoint | Refusal::UnknownModel => {
            Problem::not_found("unknown-endpoint", "unknown endpoint", refusal.to_string())
                .hint("the configuration has just changed: GET /v1/models shows what is there")
        }
        Refusal::NotNow(why) => Problem::store_unavailable(&why),
        Refusal::Failed(why) => Problem::internal("carrying out the order", &why),
    })?;
    Ok(models::json(&views::ruling(&ruling)))
}

fn known(setup: &ApiSetup, model: &ModelRef, name: &str) -> Result<EndpointId, Problem> {
    let endpoints = || setup.model(model.id.as_str()).into_iter().flat_map(|m| &m.endpoints).map(|e| &e.id);
    endpoints().find(|id| id.as_str() == name).cloned().ok_or_else(|| {
        let detail = format!("{} has no endpoint {name:?}", model.id);
        Problem::not_found("unknown-endpoint", "unknown endpoint", detail).hint(format!(
            "endpoints of {}: {}",
            model.id,
            names(endpoints().map(EndpointId::as_str))
        ))
    })
}

fn signed(token: Option<String>, by: &str) -> String {
    match (token, by) {
        (None, "") => NAMELESS.to_owned(),
        (None, by) => by.to_owned(),
        (Some(token), "") => token,
        (Some(token), by) => format!("{by} (token {token})"),
    }
}

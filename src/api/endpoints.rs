//! `GET /v1/models/{model}/endpoints/{endpoint}`: where an endpoint stands, why, and what would change it.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::allowlist::known_capability;
use super::guard::App;
use super::models::{ModelRef, json as answer};
use super::params::{CAPABILITY, Param, Params};
use super::problem::Problem;
use super::series::known_endpoint;
use super::state::{ApiSetup, EndpointView};
use crate::clock::rfc3339;
use crate::domain::{Allowlist, Standing};

/// Its parameters.
pub const PARAMS: &[Param] = &[CAPABILITY];

/// The endpoint with its evidence, its place on the list and its explanation.
pub async fn get(
    app: &App,
    setup: &ApiSetup,
    model: &ModelRef,
    endpoint: &str,
    query: Option<&str>,
) -> Result<Response, Problem> {
    let params = Params::read(query, PARAMS)?;
    let id = known_endpoint(setup, model, endpoint)?;
    let capability = params.text(CAPABILITY).map(|name| known_capability(setup, model, name)).transpose()?;
    let views = app.state.standings.of(model.id.clone(), capability.clone()).await;
    let views = views.map_err(|error| Problem::internal("reading the standings", &error))?;
    let list = match &capability {
        None => app.state.board.get(model.id.as_str()),
        Some(capability) => app.state.board.of_capability(model.id.as_str(), capability.as_str()),
    };
    let list = list.filter(|_| model.configured);
    let list: Option<Allowlist> = list.and_then(|published| serde_json::from_slice(&published.body).ok());
    let entry = list.as_ref().and_then(|list| list.providers.iter().find(|entry| entry.id == id));
    let mut out = match views.into_iter().find(|view| view.id == id) {
        Some(view) => of_view(view),
        // Configured since the last sweep.
        None => Map::from_iter([("standing".to_owned(), json!(Standing::Unknown))]),
    };
    out.insert("id".to_owned(), json!(id));
    out.insert("model".to_owned(), json!(model.id));
    out.insert("capability".to_owned(), json!(capability));
    out.insert("rank".to_owned(), json!(entry.map(|e| e.rank)));
    out.insert("weight".to_owned(), json!(entry.map(|e| e.weight)));
    Ok(answer(&Value::Object(out)))
}

fn of_view(view: EndpointView) -> Map<String, Value> {
    let EndpointView { id: _, standing, override_, since_us, reason, evidence } = view;
    let explanation = evidence.get("explanation").cloned().unwrap_or_default();
    let findings = evidence.pointer("/explained/findings").cloned().unwrap_or_else(|| json!([]));
    let fields = [
        ("standing", json!(standing)),
        ("override", json!(override_)),
        ("since", json!(rfc3339(since_us))),
        ("since_us", json!(since_us)),
        ("reason", json!(reason)),
        ("explanation", explanation),
        ("findings", findings),
        ("evidence", evidence),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

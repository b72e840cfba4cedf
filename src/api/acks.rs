//! `GET` and `POST /v1/acks`: which consumer runs which revision, in its own words.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::guard::Shared;
use super::limits::{ACK_CLIENT_CHARS_MAX, ACK_DETAIL_CHARS_MAX};
use super::models::{self, page, resolve};
use super::params::{MODEL, Param, Params};
use super::problem::Problem;
use super::{access, allowlist, body, views};
use crate::domain::Revision;
use crate::publish::Board;
use crate::store::{ACKS_MAX, Ack, AckStatus};

/// Parameters of the list.
pub const PARAMS: &[Param] = &[MODEL];

const EXAMPLE: &str = r#"such as {"client": "router-eu-1", "model": "lab/m", "version": 17, "status": "adopted"}"#;

/// The body of an ack.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAck {
    /// Who says so: a name that tells this consumer from all others. 1 to 128 visible characters.
    client: String,
    /// The model, by id or alias; without it the ack is about `GET /v1/export/litellm`, which is about all.
    #[serde(default)]
    model: Option<String>,
    /// The capability; without it the model's own list.
    #[serde(default)]
    capability: Option<String>,
    /// The revision that it is about.
    #[schema(value_type = i64)]
    version: Revision,
    /// `adopted` or `rejected`.
    #[schema(value_type = String)]
    status: Status,
    /// Why it was rejected. Up to 500 characters.
    #[serde(default)]
    detail: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Adopted,
    Rejected,
}

/// Takes an ack.
pub async fn take(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    Params::read(request.uri().query(), &[])?;
    let (parts, content) = request.into_parts();
    let asked: NewAck = body::json(&parts.headers, content, EXAMPLE).await?;
    let setup = app.state.setup.load_full();
    let (model, capability) = about(&app, &asked)?;
    let ack = Ack {
        client: text(&asked.client, 1, ACK_CLIENT_CHARS_MAX, "client")?,
        model,
        capability,
        version: asked.version,
        status: match asked.status {
            Status::Adopted => AckStatus::Adopted,
            Status::Rejected => AckStatus::Rejected,
        },
        detail: text(&asked.detail, 0, ACK_DETAIL_CHARS_MAX, "detail")?,
        token: access::caller(&setup, &parts).unwrap_or_default(),
        adopted: None,
        at_us: app.state.clock.now_us(),
    };
    if i64::try_from(ack.version).is_err() {
        return Err(body::bad("`version` is larger than any revision".to_owned(), EXAMPLE));
    }
    let Some(ack) = app.state.store.set_ack(ack).await? else {
        let detail = format!("{ACKS_MAX} consumers are known already");
        return Err(Problem::new(StatusCode::CONFLICT, "too-many-consumers", "too many consumers", detail)
            .hint("give each consumer one lasting name; those that are silent for 30 days are forgotten"));
    };
    let current = current(&app.state.board, &ack);
    Ok(models::json(&views::ack(&ack, current)))
}

/// The list that an ack is about, by canonical names.
fn about(app: &Shared, asked: &NewAck) -> Result<(String, String), Problem> {
    let setup = app.state.setup.load();
    let Some(name) = &asked.model else {
        return match &asked.capability {
            None => Ok((String::new(), String::new())),
            Some(_) => Err(body::bad("`capability` needs its `model`".to_owned(), EXAMPLE)),
        };
    };
    let model = resolve(&app.state, &setup, name)?;
    let capability = asked.capability.as_deref().map(|name| allowlist::known_capability(&setup, &model, name));
    Ok((model.id.to_string(), capability.transpose()?.map(|c| c.to_string()).unwrap_or_default()))
}

/// A text of visible characters in one line.
fn text(given: &str, least: usize, most: usize, key: &str) -> Result<String, Problem> {
    let given = given.trim();
    let chars = given.chars().count();
    if (least..=most).contains(&chars) && !given.chars().any(char::is_control) {
        return Ok(given.to_owned());
    }
    Err(body::bad(format!("`{key}` must have {least} to {most} visible characters in one line"), EXAMPLE))
}

/// The revision that is served by now.
fn current(board: &Board, ack: &Ack) -> Option<Revision> {
    let list = match ack.capability.as_str() {
        "" => board.get(&ack.model),
        capability => board.of_capability(&ack.model, capability),
    };
    list.map(|list| list.revision)
}

/// The last word of every consumer about every list.
pub async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let params = Params::read(request.uri().query(), PARAMS)?;
    let setup = app.state.setup.load_full();
    let model = params.text(MODEL).map(|name| resolve(&app.state, &setup, name)).transpose()?.map(|m| m.id);
    let mut acks = app.state.store.acks().await?;
    acks.retain(|ack| model.as_ref().is_none_or(|model| model.as_str() == ack.model));
    let items: Vec<Value> = acks.iter().map(|ack| views::ack(ack, current(&app.state.board, ack))).collect();
    Ok(page(items, None))
}

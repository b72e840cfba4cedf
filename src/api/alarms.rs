//! `GET /v1/alarms`

use axum::extract::{Request, State};
use axum::response::Response;

use super::guard::Shared;
use super::models::{page, resolve};
use super::params::{CURSOR, LIMIT, MODEL, OPEN, Param, Params, bad};
use super::problem::Problem;
use super::views;

/// Its parameters.
pub const PARAMS: &[Param] = &[MODEL, OPEN, LIMIT, CURSOR];

/// Alarms newest first, or all that are open.
pub async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let params = Params::read(request.uri().query(), PARAMS)?;
    let setup = app.state.setup.load_full();
    let model = params.text(MODEL).map(|name| resolve(&app.state, &setup, name)).transpose()?.map(|m| m.id);
    if params.word(OPEN, &["true", "false"])? == Some("true") {
        if params.text(LIMIT).or(params.cursor()).is_some() {
            return Err(bad(OPEN.name, "the open alarms are given whole").hint("leave `limit` and `cursor` out"));
        }
        let mut open = app.state.store.open_alarms().await?;
        open.retain(|alarm| model.is_none() || alarm.key.model == model);
        open.reverse();
        return Ok(page(open.iter().map(views::alarm).collect(), None));
    }
    let found = app.state.store.alarms(model.as_ref(), params.limit()?, params.cursor()).await?;
    Ok(page(found.items.iter().map(views::alarm).collect(), found.next))
}

//! The route table.

use axum::Router;

use super::state::ApiState;

/// The API.
pub fn router(state: ApiState) -> Router {
    let _ = state;
    Router::new().route("/healthz", axum::routing::get(|| async { "ok\n" }))
}

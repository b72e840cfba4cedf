//! Helicone: the field `model` of a request, names that are tried in order.

use serde_json::json;

use super::{Cast, NotRendered};

pub(super) fn allow(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let model = cast.model(|| cast.short_model());
    let names: Vec<String> = cast.names().into_iter().map(|name| format!("{model}/{name}")).collect();
    Ok(json!(names.join(",")).to_string())
}

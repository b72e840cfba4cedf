//! Hugging Face router: names for the field `model`, each with one provider; the client falls through the list.

use serde_json::json;

use super::{Cast, NotRendered};

pub(super) fn allow(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let model = cast.model(|| cast.model_id());
    let names: Vec<String> = cast.names().into_iter().map(|name| format!("{model}:{name}")).collect();
    Ok(json!(names).to_string())
}

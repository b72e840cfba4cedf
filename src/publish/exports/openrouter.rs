//! OpenRouter: the fields `model` and `provider` of a chat request.

use serde_json::json;

use super::{Cast, NotRendered};

pub(super) fn allow(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let names = cast.names();
    let model = cast.model(|| cast.model_id());
    Ok(json!({"model": model, "provider": {"only": names, "order": names, "allow_fallbacks": false}}).to_string())
}

pub(super) fn exclude(cast: &Cast<'_>) -> String {
    json!({"model": cast.model(|| cast.model_id()), "provider": {"ignore": cast.exceptions()}}).to_string()
}

//! Names alone, for scripts and for gateways without a format of their own.

use serde_json::json;

use super::{Cast, NotRendered};

pub(super) fn allow(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let (model, list) = (&cast.scene.model, cast.scene.list);
    Ok(json!({
        "model": model.id, "name": model.public_name, "mode": list.mode.name(), "allow": cast.names(),
        "exclude": cast.exceptions(),
    })
    .to_string())
}

pub(super) fn exclude(cast: &Cast<'_>) -> String {
    let model = &cast.scene.model;
    json!({"model": model.id, "name": model.public_name, "exclude": cast.exceptions()}).to_string()
}

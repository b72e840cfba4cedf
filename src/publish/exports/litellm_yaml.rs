//! LiteLLM: a `model_list` for its configuration file.
//!
//! `model_info.id` is the join key of the plugin: `slugs.litellm`, else the endpoint's id. Keys are named, not held: the
//! variable is `slugs.litellm_api_key`, else the provider's id in capitals with `_API_KEY`.

use std::fmt::Write as _;

use serde_json::json;

use super::{Cast, NotRendered, base_url};
use crate::domain::{Endpoint, Provider};

pub(super) fn allow(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let mut out = "# Written by exactod: changes are lost.\nmodel_list:\n".to_owned();
    // JSON strings are YAML strings.
    let text = |value: &str| json!(value).to_string();
    let name = text(&cast.scene.model.public_name);
    for (player, endpoint, provider) in cast.reachable()? {
        let _ = write!(
            out,
            "  - model_name: {name}\n    litellm_params:\n      model: {}\n      api_base: {}\n      api_key: {}\n      \
             weight: {}\n    model_info:\n      id: {}\n",
            text(&format!("openai/{}", endpoint.upstream_model)),
            text(&base_url(provider)),
            text(&format!("os.environ/{}", variable(endpoint, provider))),
            player.weight,
            text(&player.name),
        );
    }
    Ok(out)
}

/// The variable that holds the provider's key where LiteLLM runs.
fn variable(endpoint: &Endpoint, provider: &Provider) -> String {
    let made = || {
        let capital = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        format!("{}_API_KEY", provider.id.as_str().chars().map(capital).collect::<String>())
    };
    endpoint.slugs.get("litellm_api_key").cloned().unwrap_or_else(made)
}

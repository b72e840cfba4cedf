//! Portkey: the value of the header `x-portkey-config`.
//!
//! An endpoint with `slugs.portkey` is named by it (`@provider-slug`); another one by its address, and the client puts its
//! own `api_key` into the target of that `id`.

use serde_json::{Value, json};

use super::{Cast, NotRendered, base_url};

/// Weights of lists are 1 to 100; Portkey's are shares.
const WEIGHT_MAX: f64 = 100.0;

pub(super) fn allow(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let mut targets: Vec<Value> = Vec::new();
    for (player, endpoint, provider) in cast.reachable()? {
        let mut target = match cast.slug(Some(&endpoint.slugs), player.id) {
            Some(slug) => json!({"id": player.id, "provider": format!("@{}", slug.trim_start_matches('@'))}),
            None => json!({"id": player.id, "provider": "openai", "custom_host": base_url(provider)}),
        };
        target["weight"] = json!(f64::from(player.weight) / WEIGHT_MAX);
        target["override_params"] = json!({"model": endpoint.upstream_model});
        targets.push(target);
    }
    Ok(json!({"strategy": {"mode": "loadbalance"}, "targets": targets}).to_string())
}

//! Kong: the body of `PATCH /plugins/{id}` for `ai-proxy-advanced`.

use serde_json::{Value, json};

use super::{Cast, NotRendered, base_url};

pub(super) fn allow(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let mut targets: Vec<Value> = Vec::new();
    for (player, endpoint, provider) in cast.reachable()? {
        let name = cast.slug(Some(&endpoint.slugs), player.id).unwrap_or_else(|| endpoint.upstream_model.clone());
        let url = format!("{}/chat/completions", base_url(provider));
        targets.push(json!({
            "route_type": "llm/v1/chat", "weight": player.weight,
            "model": {"provider": "openai", "name": name, "options": {"upstream_url": url}},
        }));
    }
    Ok(json!({"config": {"balancer": {"algorithm": "round-robin"}, "targets": targets}}).to_string())
}

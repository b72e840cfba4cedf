//! Envoy: routes over clusters, one cluster for each endpoint, as a `RouteConfiguration`.
//!
//! A cluster is named by `slugs.envoy`, else by the endpoint's id; it stands in Envoy's own configuration with the address,
//! TLS and key of its provider. Envoy does not see the model in a body, so a route goes by a header.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Cast, Format, NotRendered, Scene};
use crate::domain::{Endpoint, Provider};

/// The `RouteConfiguration` that holds the routes of all models.
pub const ENVOY_RESOURCE: &str = "exacto";
/// What a discovery request asks for.
pub const ENVOY_TYPE_URL: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// Headers that name the model: a plain one, and that of the Envoy AI Gateway.
pub const ENVOY_MODEL_HEADERS: [&str; 2] = ["x-model", "x-ai-eg-model"];
/// The response header that names the endpoint.
const ENDPOINT_HEADER: &str = "x-exacto-provider";
/// How long an answer may take where no provider's own limit is known.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// A failed request goes once more through the draw of its cluster.
const RETRIES: u32 = 1;

/// Which requests a model's routes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvoyMatch {
    /// Those whose header names the model.
    ByHeader,
    /// All: the listener is the model's own.
    All,
}

/// The routes of one model, in the order in which Envoy tries them.
///
/// # Errors
/// [`NotRendered::Empty`] when no listed endpoint is configured: Envoy would refuse routes without clusters.
pub fn envoy_routes(scene: &Scene<'_>, which: EnvoyMatch) -> Result<Vec<Value>, NotRendered> {
    routes(&Cast { format: Format::Envoy, gateway: None, scene }, which)
}

/// A `RouteConfiguration`.
#[must_use]
pub fn envoy_configuration(name: &str, routes: &[Value]) -> Value {
    json!({"@type": ENVOY_TYPE_URL, "name": name,
           "virtual_hosts": [{"name": "exacto", "domains": ["*"], "routes": routes}]})
}

/// A `DiscoveryResponse`.
#[must_use]
pub fn envoy_response(version_info: &str, resources: &[Value]) -> Value {
    json!({"version_info": version_info, "type_url": ENVOY_TYPE_URL, "resources": resources})
}

/// As a file for `path_config_source`.
pub(super) fn allow(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let routes = routes(cast, EnvoyMatch::ByHeader)?;
    let resource = envoy_configuration(ENVOY_RESOURCE, &routes);
    Ok(envoy_response(&cast.scene.list.version.to_string(), &[resource]).to_string())
}

fn routes(cast: &Cast<'_>, which: EnvoyMatch) -> Result<Vec<Value>, NotRendered> {
    let action = action(cast)?;
    let route = |matches: Value| json!({"match": matches, "route": action});
    if which == EnvoyMatch::All {
        return Ok(vec![route(json!({"prefix": "/"}))]);
    }
    let by_header =
        |(name, header)| route(json!({"prefix": "/", "headers": [{"name": header, "string_match": {"exact": name}}]}));
    let names = cast.scene.model.curated();
    let pairs = names.iter().flat_map(|name| ENVOY_MODEL_HEADERS.map(|header| (name, header)));
    Ok(pairs.map(by_header).collect())
}

fn action(cast: &Cast<'_>) -> Result<Value, NotRendered> {
    // Of a list that comes from elsewhere only names are known: its clusters keep the host that the client has sent.
    let from_elsewhere = cast.scene.endpoints.is_empty();
    let mut timeout = None;
    let mut clusters: Vec<Value> = Vec::new();
    for player in cast.listed() {
        let header = json!({"key": ENDPOINT_HEADER, "value": player.id});
        let mut cluster = json!({"name": player.name, "weight": player.weight});
        match player.place {
            Some((endpoint, provider)) => {
                cluster["host_rewrite_literal"] = host(endpoint, provider).into();
                timeout = timeout.max(Some(provider.timeouts.total));
            }
            None if from_elsewhere => {}
            None => continue,
        }
        cluster["response_headers_to_add"] = json!([{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]);
        clusters.push(cluster);
    }
    if clusters.is_empty() {
        return Err(NotRendered::Empty);
    }
    let timeout = timeout.unwrap_or(TIMEOUT_DEFAULT).as_secs_f64();
    Ok(json!({"timeout": format!("{timeout}s"),
              "retry_policy": {"retry_on": "5xx,reset,connect-failure", "num_retries": RETRIES},
              "weighted_clusters": {"clusters": clusters}}))
}

/// What the provider expects as `Host`: `slugs.host`, else that of its address.
fn host(endpoint: &Endpoint, provider: &Provider) -> String {
    if let Some(host) = endpoint.slugs.get("host") {
        return host.clone();
    }
    let host = provider.base_url.host_str().unwrap_or_default();
    // `Url` leaves out the port that its scheme has anyway.
    provider.base_url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

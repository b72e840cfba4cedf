//! nginx: `server` lines for an `include` inside `upstream {}`.
//!
//! An endpoint is named by `slugs.nginx` (`host:port`), else by `slugs.host`, else by its address. Several endpoints of one
//! address are one server.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Cast, NotRendered};
use crate::domain::{Endpoint, EndpointId, Provider};

const HEAD: &str = "# Written by exactod: changes are lost.\n";

pub(super) fn allow(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let mut out = HEAD.to_owned();
    let mut seen = BTreeSet::new();
    for (player, endpoint, provider) in cast.reachable()? {
        let server = server(cast, endpoint, provider, player.id)?;
        if seen.insert(server.clone()) {
            let _ = writeln!(out, "server {server} weight={};", player.weight);
        }
    }
    Ok(out)
}

/// The excluded servers, out of service.
pub(super) fn exclude(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let mut seen = BTreeSet::new();
    for (player, endpoint, provider) in cast.reachable()? {
        seen.insert(server(cast, endpoint, provider, player.id)?);
    }
    let mut out = HEAD.to_owned();
    for entry in &cast.scene.list.excluded {
        let Some((endpoint, provider)) = cast.place(&entry.id) else { continue };
        let server = server(cast, endpoint, provider, &entry.id)?;
        if seen.insert(server.clone()) {
            let _ = writeln!(out, "server {server} down;");
        }
    }
    Ok(out)
}

/// `host:port`. What is no such thing would be read by nginx as configuration.
fn server(cast: &Cast<'_>, endpoint: &Endpoint, provider: &Provider, id: &EndpointId) -> Result<String, NotRendered> {
    let port = provider.base_url.port_or_known_default();
    let with_port = |host: &str| port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let named = cast.slug(Some(&endpoint.slugs), id);
    let host = || endpoint.slugs.get("host").map(String::as_str).or(provider.base_url.host_str()).map(with_port);
    let server = named.or_else(host).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_' | '[' | ']' | '/');
    if server.is_empty() || !server.chars().all(plain) {
        return Err(NotRendered::BadName { endpoint: id.clone(), name: server });
    }
    Ok(server)
}

//! Lists put into gateways by their admin APIs: what to ask, what to change, how to go back. Pure; the daemon sends it.
//!
//! A gateway is read by one request. From its answer and the list a [`Plan`] is made: the differences in words, and the
//! requests that end them. A plan without differences is how a change is verified: the gateway is read again and planned for
//! again. What has to be known to go back is a [`memory`] of the answer, which holds no credentials.
//!
//! The shapes are those of the vendors' documentation: tested against stub servers that keep them, not against the vendors.

mod cloudflare;
mod kong;
mod litellm_db;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use super::exports::{Cast, Format, NotRendered, Scene};

/// The gateways that lists can be put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// Weights of the targets of Kong's `ai-proxy-advanced`.
    Kong,
    /// Orders and weights of the deployments of a LiteLLM proxy with a database.
    LitellmDb,
    /// A dynamic route of the Cloudflare AI Gateway.
    Cloudflare,
}

impl Adapter {
    /// All of them.
    pub const ALL: [Adapter; 3] = [Adapter::Kong, Adapter::LitellmDb, Adapter::Cloudflare];

    /// As written in the config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Adapter::Kong => "kong",
            Adapter::LitellmDb => "litellm-db",
            Adapter::Cloudflare => "cloudflare",
        }
    }

    /// The adapter of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Adapter> {
        Adapter::ALL.into_iter().find(|adapter| adapter.name() == name)
    }

    /// What `target` must say, where the adapter needs it.
    #[must_use]
    pub fn target(self) -> Option<&'static str> {
        match self {
            Adapter::Kong => Some("the id of the plugin"),
            Adapter::LitellmDb => None,
            Adapter::Cloudflare => Some("account, gateway and route, such as `0123abcd/gateway/route-id`"),
        }
    }

    /// The export whose names of endpoints it goes by.
    fn format(self) -> Format {
        match self {
            Adapter::Kong => Format::Kong,
            Adapter::LitellmDb => Format::LitellmYaml,
            Adapter::Cloudflare => Format::Cloudflare,
        }
    }
}

/// One request to an admin API.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// The path below the gateway's address.
    pub path: String,
    /// The body, JSON.
    pub body: Option<Value>,
    /// What is taken from the answer to the call before: the pointer there, and the key here.
    pub takes: Option<(&'static str, &'static str)>,
}

impl Call {
    fn get(path: String) -> Call {
        Call { method: "GET", path, body: None, takes: None }
    }

    fn send(method: &'static str, path: String, body: Value) -> Call {
        Call { method, path, body: Some(body), takes: None }
    }
}

/// What to change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The differences, one a line. Empty: the gateway is as the list says.
    pub diff: Vec<String>,
    /// The requests that end them, in order.
    pub calls: Vec<Call>,
}

/// Why there is no plan; nothing is sent then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPlanned {
    /// It would leave nobody to route to.
    #[error("it would leave nobody to route to: no listed endpoint is known to the gateway{0}")]
    Empty(String),
    /// The gateway's answer has another form than documented.
    #[error("the gateway's answer is not of the documented form: {0}")]
    Form(String),
    /// The gateway does not let it be changed.
    #[error("{0}")]
    Foreign(String),
    /// A name that cannot stand there.
    #[error("{0}")]
    NotRendered(#[from] NotRendered),
}

/// The request that reads what a plan is made from.
#[must_use]
pub fn read(adapter: Adapter, target: &str) -> Call {
    match adapter {
        Adapter::Kong => Call::get(kong::path(target)),
        Adapter::LitellmDb => Call::get("/model/info".to_owned()),
        Adapter::Cloudflare => Call::get(cloudflare::path(target)),
    }
}

/// What to change so that the gateway is as a list says. `current`: its answer to [`read`].
///
/// # Errors
/// [`NotPlanned`].
pub fn plan(adapter: Adapter, target: &str, scene: &Scene<'_>, current: &Value) -> Result<Plan, NotPlanned> {
    let cast = Cast::new(adapter.format(), scene);
    match adapter {
        Adapter::Kong => kong::plan(&cast, target, current),
        Adapter::LitellmDb => litellm_db::plan(&cast, current),
        Adapter::Cloudflare => cloudflare::plan(&cast, target, current),
    }
}

/// What has to be known of an answer to go back to it.
///
/// # Errors
/// [`NotPlanned::Form`].
pub fn memory(adapter: Adapter, scene: &Scene<'_>, current: &Value) -> Result<Value, NotPlanned> {
    let cast = Cast::new(adapter.format(), scene);
    match adapter {
        Adapter::Kong => kong::memory(current),
        Adapter::LitellmDb => litellm_db::memory(&cast, current),
        Adapter::Cloudflare => cloudflare::memory(current),
    }
}

/// What to change so that the gateway is again as it was remembered.
///
/// # Errors
/// [`NotPlanned`].
pub fn restore(adapter: Adapter, target: &str, current: &Value, remembered: &Value) -> Result<Plan, NotPlanned> {
    match adapter {
        Adapter::Kong => kong::restore(target, current, remembered),
        Adapter::LitellmDb => litellm_db::restore(current, remembered),
        Adapter::Cloudflare => cloudflare::restore(target, current, remembered),
    }
}

/// What is wanted of each endpoint by its name in the gateway: its weight when listed, `None` when not. A name that several
/// endpoints share is listed when one of them is.
fn wanted(cast: &Cast<'_>) -> BTreeMap<String, Option<u32>> {
    let listed = cast.listed().into_iter().map(|player| (player.name, Some(player.weight)));
    let mut out: BTreeMap<String, Option<u32>> = listed.collect();
    for name in cast.others() {
        out.entry(name).or_insert(None);
    }
    out
}

fn form(what: &str) -> NotPlanned {
    NotPlanned::Form(what.to_owned())
}

fn array<'a>(value: &'a Value, pointer: &str) -> Result<&'a Vec<Value>, NotPlanned> {
    value.pointer(pointer).and_then(Value::as_array).ok_or_else(|| form(&format!("`{pointer}` is no array")))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// A part of a path, percent-encoded.
fn encoded(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    part.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

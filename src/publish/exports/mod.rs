//! Lists in the words of the gateways that are configured per request or by file: one file for each.
//!
//! Every fragment is a function of a list and of what the configuration says about its model. It names endpoints as the
//! gateway does: by their `slugs`, and without one by their id. It holds no key of any provider, and it is never empty.

mod envoy;
mod groups;
mod helicone;
mod huggingface;
mod kong;
mod litellm_yaml;
mod names;
mod nginx;
mod openrouter;
mod portkey;
#[cfg(test)]
mod tests;
mod vercel;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Allowlist, Endpoint, EndpointId, Provider};

pub use envoy::{
    ENVOY_MODEL_HEADERS, ENVOY_RESOURCE, ENVOY_TYPE_URL, EnvoyMatch, envoy_configuration, envoy_response, envoy_routes,
};
pub use groups::{GROUPS_SCHEMA, groups};

/// What a fragment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// The document itself.
    Json,
    /// Names alone: allowed and excluded.
    Names,
    /// OpenRouter's `provider` preferences.
    OpenRouter,
    /// The `providerOptions` of the Vercel AI Gateway.
    Vercel,
    /// A Portkey config.
    Portkey,
    /// Model names for the Hugging Face router.
    HuggingFace,
    /// The `model` field for Helicone.
    Helicone,
    /// A `model_list` for LiteLLM.
    LitellmYaml,
    /// `server` lines for an nginx `upstream`.
    Nginx,
    /// The configuration of Kong's `ai-proxy-advanced`.
    Kong,
    /// Routes for Envoy, as a file.
    Envoy,
    /// Names in the Cloudflare AI Gateway; no export.
    Cloudflare,
}

impl Format {
    /// All that are exports.
    pub const ALL: [Format; 11] = [
        Format::Json,
        Format::Names,
        Format::OpenRouter,
        Format::Vercel,
        Format::Portkey,
        Format::HuggingFace,
        Format::Helicone,
        Format::LitellmYaml,
        Format::Nginx,
        Format::Kong,
        Format::Envoy,
    ];

    /// As written in paths and commands.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Names => "names",
            Format::OpenRouter => "openrouter",
            Format::Vercel => "vercel",
            Format::Portkey => "portkey",
            Format::HuggingFace => "huggingface",
            Format::Helicone => "helicone",
            Format::LitellmYaml => "litellm-yaml",
            Format::Nginx => "nginx",
            Format::Kong => "kong",
            Format::Envoy => "envoy",
            Format::Cloudflare => "cloudflare",
        }
    }

    /// The format of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Media type of its fragments.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Format::LitellmYaml => "application/yaml",
            Format::Nginx => "text/plain; charset=utf-8",
            _ => "application/json",
        }
    }

    /// Keys of `slugs` that name endpoints in it, the first that is there.
    fn slug_keys(self) -> &'static [&'static str] {
        match self {
            Format::OpenRouter => &["openrouter"],
            Format::Vercel => &["vercel"],
            Format::Portkey => &["portkey"],
            Format::HuggingFace => &["huggingface", "hf"],
            Format::Helicone => &["helicone"],
            Format::LitellmYaml => &["litellm"],
            Format::Nginx => &["nginx"],
            Format::Kong => &["kong"],
            Format::Envoy => &["envoy"],
            Format::Cloudflare => &["cloudflare"],
            Format::Json | Format::Names => &[],
        }
    }
}

/// Which side of the list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Form {
    /// The endpoints to route to.
    #[default]
    Allow,
    /// The endpoints not to route to, for gateways that are open by default.
    Exclude,
}

impl Form {
    /// As written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Form::Allow => "allow",
            Form::Exclude => "exclude",
        }
    }

    /// The form of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Form> {
        [Form::Allow, Form::Exclude].into_iter().find(|form| form.name() == name)
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// For what.
    pub format: Format,
    /// Which side.
    pub form: Form,
    /// With [`Format::Names`]: the key of `slugs` by which endpoints are named; their ids without it.
    pub gateway: Option<String>,
}

/// A model's own names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelNames<'a> {
    /// Canonical id.
    pub id: &'a str,
    /// Other names.
    pub aliases: Vec<&'a str>,
    /// The name under which routers offer the curated model.
    pub public_name: Cow<'a, str>,
    /// Its name in each gateway.
    pub slugs: &'a BTreeMap<String, String>,
}

/// What is appended to a model's names where the curated model is meant.
const SUFFIX: &str = ":exacto";

impl ModelNames<'_> {
    /// The names of the curated model: its public name, and each alias with `:exacto`.
    #[must_use]
    pub fn curated(&self) -> Vec<String> {
        let aliases = self.aliases.iter().map(|alias| format!("{alias}{SUFFIX}"));
        let mut names: Vec<String> = std::iter::once(self.public_name.to_string()).chain(aliases).collect();
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

/// What a fragment is made from.
#[derive(Debug, Clone)]
pub struct Scene<'a> {
    /// The list.
    pub list: &'a Allowlist,
    /// The model's names.
    pub model: ModelNames<'a>,
    /// The configured endpoints with the way to each.
    pub endpoints: Vec<(&'a Endpoint, &'a Provider)>,
}

/// A model without names of its own.
static NO_SLUGS: BTreeMap<String, String> = BTreeMap::new();

impl<'a> Scene<'a> {
    /// Of a list that comes from elsewhere: all that is known is what it says.
    #[must_use]
    pub fn of_list(list: &'a Allowlist) -> Self {
        let id = list.model.as_str();
        let public_name = format!("{}:exacto", id.rsplit('/').next().unwrap_or(id)).into();
        let model = ModelNames { id, aliases: Vec::new(), public_name, slugs: &NO_SLUGS };
        Scene { list, model, endpoints: Vec::new() }
    }
}

/// Why there is no fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRendered {
    /// It would name nobody.
    #[error("it would name no endpoint, and gateways read that as \"deny all\" or as \"allow all\"")]
    Empty,
    /// The gateway knows no exceptions.
    #[error("the format {0} has no form of exceptions; formats that have one: names, openrouter, nginx")]
    NoExceptions(&'static str),
    /// `gateway` was given for a format that names endpoints by itself.
    #[error("`gateway` is for the format names; {0} has names of its own")]
    OwnNames(&'static str),
    /// A name cannot stand in the gateway's configuration.
    #[error("endpoint {endpoint} is called {name:?}, which cannot stand there; mend its `slugs`")]
    BadName {
        /// The endpoint.
        endpoint: EndpointId,
        /// The name.
        name: String,
    },
}

/// Renders a fragment. `Json` is the document, which its publisher holds as bytes: it is rendered here from the list.
///
/// # Errors
/// [`NotRendered`].
pub fn render(wanted: &Wanted, scene: &Scene<'_>) -> Result<String, NotRendered> {
    let Wanted { format, form, gateway } = wanted;
    if scene.list.providers.is_empty() {
        return Err(NotRendered::Empty);
    }
    if gateway.is_some() && *format != Format::Names {
        return Err(NotRendered::OwnNames(format.name()));
    }
    let cast = Cast { format: *format, gateway: gateway.as_deref(), scene };
    match (format, form) {
        (Format::Names, Form::Allow) => names::allow(&cast),
        (Format::Names, Form::Exclude) => Ok(names::exclude(&cast)),
        (Format::OpenRouter, Form::Allow) => openrouter::allow(&cast),
        (Format::OpenRouter, Form::Exclude) => Ok(openrouter::exclude(&cast)),
        (Format::Nginx, Form::Allow) => nginx::allow(&cast),
        (Format::Nginx, Form::Exclude) => nginx::exclude(&cast),
        (format, Form::Exclude) => Err(NotRendered::NoExceptions(format.name())),
        (Format::Json, Form::Allow) => serde_json::to_string(scene.list).map_err(|_| NotRendered::Empty),
        (Format::Vercel, Form::Allow) => vercel::allow(&cast),
        (Format::Portkey, Form::Allow) => portkey::allow(&cast),
        (Format::HuggingFace, Form::Allow) => huggingface::allow(&cast),
        (Format::Helicone, Form::Allow) => helicone::allow(&cast),
        (Format::LitellmYaml, Form::Allow) => litellm_yaml::allow(&cast),
        (Format::Kong, Form::Allow) => kong::allow(&cast),
        (Format::Envoy, Form::Allow) => envoy::allow(&cast),
        (Format::Cloudflare, Form::Allow) => Err(NotRendered::Empty),
    }
}

/// The endpoints of a scene under the names of a format.
pub(super) struct Cast<'a> {
    format: Format,
    gateway: Option<&'a str>,
    pub(super) scene: &'a Scene<'a>,
}

/// A listed endpoint.
pub(super) struct Player<'a> {
    pub(super) id: &'a EndpointId,
    /// Its name in the gateway.
    pub(super) name: String,
    pub(super) weight: u32,
    /// The way to it, while it is configured.
    pub(super) place: Option<(&'a Endpoint, &'a Provider)>,
}

impl<'a> Cast<'a> {
    pub(super) fn new(format: Format, scene: &'a Scene<'a>) -> Self {
        Cast { format, gateway: None, scene }
    }

    fn place(&self, id: &EndpointId) -> Option<(&'a Endpoint, &'a Provider)> {
        self.scene.endpoints.iter().find(|(endpoint, _)| endpoint.id == *id).copied()
    }

    /// Its name in the gateway, if it has one there.
    pub(super) fn slug(&self, slugs: Option<&BTreeMap<String, String>>, id: &EndpointId) -> Option<String> {
        let keys: &[&str] = self.gateway.as_ref().map_or(self.format.slug_keys(), std::slice::from_ref);
        let configured = self.place(id).map(|(endpoint, _)| &endpoint.slugs);
        let known = [slugs, configured];
        known.into_iter().flatten().find_map(|slugs| keys.iter().find_map(|key| slugs.get(*key))).cloned()
    }

    /// The listed endpoints in routing order. Of several that the gateway knows by one name the first stands for all.
    pub(super) fn listed(&self) -> Vec<Player<'a>> {
        let mut seen = BTreeSet::new();
        let player = |entry: &'a crate::domain::ListedEntry| Player {
            id: &entry.id,
            name: self.slug(Some(&entry.slugs), &entry.id).unwrap_or_else(|| entry.id.to_string()),
            weight: entry.weight,
            place: self.place(&entry.id),
        };
        let players = self.scene.list.providers.iter().map(player);
        players.filter(|player| seen.insert(player.name.clone())).collect()
    }

    /// Those of the listed endpoints whose address is known: a list may be older than the configuration.
    fn reachable(&self) -> Result<Vec<(Player<'a>, &'a Endpoint, &'a Provider)>, NotRendered> {
        let known = self.listed().into_iter().filter_map(|player| {
            let (endpoint, provider) = player.place?;
            Some((player, endpoint, provider))
        });
        let known: Vec<_> = known.collect();
        if known.is_empty() { Err(NotRendered::Empty) } else { Ok(known) }
    }

    /// Every configured endpoint with its weight on the list, if it is listed, and the way to it.
    pub(super) fn everybody(&self) -> Vec<(&'a EndpointId, Option<u32>, &'a Endpoint, &'a Provider)> {
        let listed = &self.scene.list.providers;
        let weight = |id: &EndpointId| listed.iter().find(|entry| entry.id == *id).map(|entry| entry.weight);
        self.scene.endpoints.iter().map(|(e, provider)| (&e.id, weight(&e.id), *e, *provider)).collect()
    }

    /// Names of the endpoints that are not listed: the configured ones and those that the list excludes.
    pub(super) fn others(&self) -> BTreeSet<String> {
        let listed: BTreeSet<String> = self.names().into_iter().collect();
        let configured = self.scene.endpoints.iter().map(|(endpoint, _)| &endpoint.id);
        let all = configured.chain(self.scene.list.excluded.iter().map(|entry| &entry.id));
        let names = all.map(|id| self.slug(None, id).unwrap_or_else(|| id.to_string()));
        names.filter(|name| !listed.contains(name)).collect()
    }

    /// Names of the listed endpoints, in routing order.
    fn names(&self) -> Vec<String> {
        self.listed().into_iter().map(|player| player.name).collect()
    }

    /// Names of the excluded endpoints. One by which a listed endpoint is known as well is left out: an exception would
    /// hit both.
    fn exceptions(&self) -> Vec<String> {
        let listed: BTreeSet<String> = self.names().into_iter().collect();
        let mut seen = BTreeSet::new();
        let excluded = self.scene.list.excluded.iter();
        let names = excluded.map(|entry| self.slug(None, &entry.id).unwrap_or_else(|| entry.id.to_string()));
        names.filter(|name| !listed.contains(name) && seen.insert(name.clone())).collect()
    }

    /// The model's name in the gateway.
    fn model(&self, otherwise: impl FnOnce() -> String) -> String {
        let slugs = self.scene.model.slugs;
        self.format.slug_keys().iter().find_map(|key| slugs.get(*key)).cloned().unwrap_or_else(otherwise)
    }

    /// The model's canonical id.
    fn model_id(&self) -> String {
        self.scene.model.id.to_owned()
    }

    /// The last part of the model's id.
    fn short_model(&self) -> String {
        self.scene.model.id.rsplit('/').next().unwrap_or(self.scene.model.id).to_owned()
    }
}

/// A provider's address without the slash at its end.
pub(super) fn base_url(provider: &Provider) -> String {
    provider.base_url.as_str().trim_end_matches('/').to_owned()
}

//! `exactod.toml`: read once, validated whole, explained.
//!
//! Every key stands once, in [`keys`]; the parser's first pass (`check`), the JSON Schema and the reference in
//! `docs/config.md` ([`schema()`]) are made from it. The second pass (one file per section) builds the [`Config`] and
//! checks what concerns several keys. All problems are reported at once, with file, line, caret, reason and hint;
//! secrets are hidden in the lines shown (`mask`). Only a file that is no TOML stops after its first pass.
//!
//! Environment, key files and key commands are asked through [`Env`].

mod check;
pub mod durations;
mod gateways;
mod judges;
pub mod keys;
mod load;
mod mask;
mod models;
mod policy;
mod programs;
mod providers;
mod pushes;
mod reader;
mod schedules;
pub mod schema;
pub mod secrets;
mod server;
#[cfg(test)]
mod tests;
pub mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::diagnostics::{Diagnostic, Diagnostics, Place, nearest};
use crate::domain::{Capability, Endpoint, EndpointId, ModelId, Policy, Provider, SuiteName};

pub use gateways::{EVENTS, RelayConfig, SinkConfig, WebhookConfig};
pub use judges::JudgeConfig;
pub use load::{CONFIG_BYTES_MAX, PolicyFile, load_policy, parse_policy};
pub use programs::ExecConfig;
pub use pushes::PushConfig;
pub use schedules::ONBOARDING_NAME;
pub use schema::schema;
pub use secrets::{Env, SecretError, SystemEnv};
pub use tokens::{NewToken, Role, Token, TokenSet, new_token};

/// Where the config is looked for when no path is given.
pub const DEFAULT_PATH: &str = "exactod.toml";

/// The whole configuration: valid, defaults filled in, secrets fetched.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, as named by the user.
    pub path: PathBuf,
    /// The HTTP server.
    pub server: Server,
    /// The store.
    pub store: StoreConfig,
    /// Folders of suites, resolved.
    pub suites: Vec<PathBuf>,
    /// `[signing] keys`: private keys as a JWK set, not looked at here. `None`: nothing is signed.
    pub signing: Option<SecretString>,
    /// Providers, in file order.
    pub providers: Vec<Arc<Provider>>,
    /// Models, in file order.
    pub models: Vec<ModelConfig>,
    /// Models that judge answers, in file order.
    pub judges: Vec<JudgeConfig>,
    /// Programs that may judge answers, in file order.
    pub programs: Vec<ExecConfig>,
    /// Schedules, in file order.
    pub schedules: Vec<ScheduleConfig>,
    /// `[policy]`; each model carries its own, merged.
    pub policy: Policy,
    /// Caps on money.
    pub budget: Budget,
    /// Other daemons whose lists are taken over, in file order.
    pub relays: Vec<RelayConfig>,
    /// Files kept as lists say, in file order.
    pub sinks: Vec<SinkConfig>,
    /// Gateways that lists are put into, in file order.
    pub pushes: Vec<PushConfig>,
    /// Who is told of decisions and alarms, in file order.
    pub webhooks: Vec<WebhookConfig>,
    /// SHA-256 of the file's text, in lower-case hexadecimal.
    pub digest: String,
    /// Suites that the file names, for [`Config::check_suites`].
    named_suites: Vec<NamedSuite>,
    /// Capabilities that the file names, for [`Config::check_capabilities`].
    named_capabilities: Vec<NamedCapability>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where the HAProxy agent-check listens; `None`: there is none.
    pub agent_listen: Option<SocketAddr>,
    /// Allowlists, exports and discovery need no token.
    pub public_read: bool,
    /// How long a shutdown waits for requests in flight.
    pub drain_timeout: Duration,
    /// The tokens; empty only when `listen` is a loopback address.
    pub tokens: Vec<Token>,
}

/// `[store]`
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where the store is.
    pub url: StoreUrl,
    /// How long raw data is kept.
    pub retention: Retention,
}

/// The store's URL: `sqlite://` with a resolved path, or `postgres://`. Its credentials are never shown.
#[derive(Clone)]
pub struct StoreUrl(SecretString);

impl StoreUrl {
    /// Wraps a URL that is already resolved.
    #[must_use]
    pub fn new(url: String) -> Self {
        StoreUrl(SecretString::from(url))
    }

    /// The whole URL, for the one who connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Parameters after `?` may carry a password as well.
        let url = self.expose();
        let (url, hidden) = url.split_once('?').map_or((url, ""), |(url, _)| (url, "?..."));
        write!(f, "{}{hidden}", mask::message(url))
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

/// Ages at which raw data is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Requests and answers as sent and received.
    pub transcripts: Duration,
    /// Rows of attempts.
    pub attempts: Duration,
    /// Outcomes of live traffic.
    pub observations: Duration,
}

/// `[[model]]`
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Canonical id.
    pub id: ModelId,
    /// Other names, each unique over all models.
    pub aliases: Vec<ModelId>,
    /// The name under which routers offer the curated model.
    pub public_name: String,
    /// Its name in each gateway where that is not its id.
    pub slugs: BTreeMap<String, String>,
    /// The designated reference, one of `endpoints`.
    pub reference: Option<EndpointId>,
    /// `[policy]` with this model's keys over it.
    pub policy: Policy,
    /// The endpoints, in file order; at least one.
    pub endpoints: Vec<Endpoint>,
    /// For every endpoint, in the same order: its provider with the endpoint's own headers and body keys merged in.
    pub providers: Vec<Arc<Provider>>,
}

impl ModelConfig {
    /// Finds an endpoint with the provider to reach it by.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<(&Endpoint, &Arc<Provider>)> {
        self.endpoints.iter().zip(&self.providers).find(|(e, _)| e.id == *id)
    }

    /// Whether the model goes by a name: its id or an alias.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.id.as_str() == name || self.aliases.iter().any(|a| a.as_str() == name)
    }
}

/// `[[schedule]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleConfig {
    /// Its name, unique.
    pub name: String,
    /// Five cron fields, valid, and due at some time.
    pub cron: String,
    /// Time zone of the fields.
    pub timezone: chrono_tz::Tz,
    /// Most delay of a tick.
    pub jitter: Duration,
    /// Patterns of model ids and aliases; `*` stands for any characters. Each matches a model.
    pub models: Vec<String>,
    /// Suites; empty: every loaded one that is asked by default.
    pub suites: Vec<SuiteName>,
    /// The calls of a sweep are spread over this much time; zero: as fast as the limits allow.
    pub spread: Duration,
    /// An interrupted sweep older than this is closed as it is.
    pub deadline: Duration,
    /// Pause from the end of a sweep to the start of the next while an endpoint waits for its first standing; `None`: the
    /// schedule alone holds then as well.
    pub onboarding: Option<Duration>,
}

impl ScheduleConfig {
    /// Whether the schedule sweeps a model.
    #[must_use]
    pub fn covers_model(&self, model: &ModelConfig) -> bool {
        self.models.iter().any(|p| schedules::pattern_matches_model(p, model))
    }

    /// Whether the schedule takes a suite. `by_default`: the suite is asked where none is named.
    #[must_use]
    pub fn covers_suite(&self, suite: &SuiteName, by_default: bool) -> bool {
        if self.suites.is_empty() { by_default } else { self.suites.contains(suite) }
    }

    /// The evaluator of the cron line: the same dialect by which it was validated.
    ///
    /// # Errors
    /// Never for a schedule that was read from a config.
    pub fn evaluator(&self) -> Result<croner::Cron, croner::errors::CronError> {
        schedules::cron_parser().parse(&self.cron)
    }
}

/// `[budget]`, in US dollars; `None`: no cap.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Budget {
    /// Per UTC day, over all models.
    pub usd_per_day: Option<f64>,
    /// Per sweep.
    pub usd_per_sweep: Option<f64>,
}

/// A place where the file names a suite.
#[derive(Debug, Clone)]
struct NamedSuite {
    name: SuiteName,
    place: Place,
}

/// A place where the file names a capability: for a model, or for all that have no list of their own.
#[derive(Debug, Clone)]
struct NamedCapability {
    capability: Capability,
    model: Option<ModelId>,
    place: Place,
}

impl Config {
    /// Finds a model by id or alias.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&ModelConfig> {
        self.models.iter().find(|m| m.is_called(name))
    }

    /// The suites that the file names and that are not among the loaded ones.
    #[must_use]
    pub fn check_suites(&self, known: &[SuiteName]) -> Diagnostics {
        unknown_suites(&self.path, &self.named_suites, known)
    }

    /// The capabilities that no case of a model's suites carries the tag of: nothing could be decided about them.
    /// `tags`: those of the cases of the suites that judge a model.
    #[must_use]
    pub fn check_capabilities(&self, tags: impl Fn(&ModelConfig) -> BTreeSet<String>) -> Diagnostics {
        let mut out = Diagnostics::default();
        for model in self.models.iter().filter(|m| !m.policy.capabilities.is_empty()) {
            let known = tags(model);
            for capability in model.policy.capabilities.iter().filter(|c| !known.contains(c.as_str())) {
                let named = self.named_capabilities.iter().filter(|n| n.capability == *capability);
                // The model's own key, if it has one, goes before that of [policy].
                let place = named
                    .filter(|n| n.model.as_ref().is_none_or(|id| *id == model.id))
                    .max_by_key(|n| n.model.is_some());
                let hint = match nearest(capability.as_str(), known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if known.is_empty() => "its suites have no tags: see `tags` in docs/suites.md".to_owned(),
                    None => format!("tags there: {}", known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
                };
                out.push(Diagnostic {
                    file: self.path.clone(),
                    place: place.map(|n| n.place.clone()),
                    message: format!("no case of the suites that judge {} has the tag `{capability}`", model.id),
                    hint: Some(hint),
                });
            }
        }
        out
    }
}

/// A config that was refused, with what it says of suites: their problems can be told together with its own.
#[derive(Debug, Clone)]
pub struct Refused {
    /// What is wrong, ordered by line.
    pub problems: Diagnostics,
    /// Folders of suites, resolved, as far as the file could be read.
    pub suites: Vec<PathBuf>,
    /// The file, as named by the user.
    path: PathBuf,
    named_suites: Vec<NamedSuite>,
}

impl Refused {
    /// Whether the file could be read far enough to look at suites.
    #[must_use]
    pub fn names_suites(&self) -> bool {
        !self.suites.is_empty() || !self.named_suites.is_empty()
    }

    /// As [`Config::check_suites`].
    #[must_use]
    pub fn check_suites(&self, known: &[SuiteName]) -> Diagnostics {
        unknown_suites(&self.path, &self.named_suites, known)
    }

    fn alone(path: &Path, problems: Diagnostics) -> Refused {
        Refused { problems, suites: Vec::new(), path: path.to_owned(), named_suites: Vec::new() }
    }
}

fn unknown_suites(path: &Path, named: &[NamedSuite], known: &[SuiteName]) -> Diagnostics {
    let mut out = Diagnostics::default();
    for NamedSuite { name, place } in named.iter().filter(|n| !known.contains(&n.name)) {
        let names = known.iter().map(SuiteName::as_str);
        let hint = match nearest(name.as_str(), names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("loaded suites: {}", names.collect::<Vec<_>>().join(", ")),
        };
        out.push(Diagnostic {
            file: path.to_owned(),
            place: Some(place.clone()),
            message: format!("unknown suite `{name}`"),
            hint: Some(hint),
        });
    }
    out
}

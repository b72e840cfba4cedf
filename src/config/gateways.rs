//! `[[relay]]`, `[[sink]]` and `[[webhook]]`: what comes from other daemons and what goes out to gateways and people.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::providers::{http_url, is_loopback};
use super::reader::{Span, View};
use super::{ModelConfig, secrets};
use crate::diagnostics::nearest;
use crate::domain::ModelId;

const RELAY_FOLDER: &str = "data/relay";
const RELAY_WAIT: Duration = Duration::from_secs(60);
const RELAY_CLIENT: &str = "exactod";
const HOOK_TIME_LIMIT: Duration = Duration::from_secs(30);
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
const WEBHOOK_GIVE_UP: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest `wait` of a relay: what a daemon takes.
const RELAY_WAIT_MAX: Duration = Duration::from_secs(300);
/// What webhooks can be told of.
pub const EVENTS: [&str; 3] = ["decision", "alarm_opened", "alarm_closed"];

/// `[[relay]]`: lists taken over from another daemon.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// The other daemon's address.
    pub from: Url,
    /// The models whose lists are taken over.
    pub models: Vec<ModelId>,
    /// The token, of role read.
    pub token: Option<SecretString>,
    /// The other daemon's public keys, a JWK set; `None`: the first that it shows are believed.
    pub keys_file: Option<PathBuf>,
    /// Its lists must be signed.
    pub signed: bool,
    /// The folder with the last good documents.
    pub folder: PathBuf,
    /// How long one poll waits.
    pub wait: Duration,
    /// This daemon's name in acks.
    pub client: String,
}

/// `[[sink]]`: a file kept as a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkConfig {
    /// The model, by id.
    pub model: ModelId,
    /// The capability; `None`: the model's own list.
    pub capability: Option<String>,
    /// The export's format, by name.
    pub format: String,
    /// `allow` or `exclude`.
    pub form: String,
    /// With the format names: the key of `slugs`.
    pub gateway: Option<String>,
    /// The file.
    pub path: PathBuf,
    /// A program that says whether the new file is right: arguments, no shell. Empty: none.
    pub check: Vec<String>,
    /// A program that takes the new file into use: arguments, no shell. Empty: none.
    pub after: Vec<String>,
    /// How long each program may run.
    pub time_limit: Duration,
}

/// `[[webhook]]`: an address that is told of decisions and alarms.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Its name: deliveries are remembered by it.
    pub name: String,
    /// The address; a secret, for whoever knows it may write there.
    pub url: SecretString,
    /// `json` or `slack`.
    pub form: String,
    /// The key of the signature; `None`: unsigned.
    pub secret: Option<SecretString>,
    /// Which events, by name.
    pub events: Vec<String>,
    /// Patterns of model ids and aliases; `*` stands for any characters.
    pub models: Vec<String>,
    /// How long one try may take.
    pub timeout: Duration,
    /// How old an event may become before it is given up.
    pub give_up: Duration,
}

impl WebhookConfig {
    /// Whether it is to be told of a model. What concerns no model concerns all.
    #[must_use]
    pub fn covers(&self, models: &[ModelConfig], model: Option<&ModelId>) -> bool {
        let Some(id) = model else { return true };
        let named = models.iter().find(|m| m.id == *id);
        self.models.iter().any(|pattern| match named {
            Some(model) => super::schedules::pattern_matches_model(pattern, model),
            None => pattern == "*" || pattern == id.as_str(),
        })
    }
}

/// Reads every `[[relay]]`. A model has one source.
pub(super) fn relays(root: &View<'_>, models: &[ModelConfig]) -> Vec<RelayConfig> {
    let mut sources: BTreeMap<String, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for view in root.children("relay") {
        let from = view.text("from").and_then(|(text, span)| address(&view, "from", text, &span, "allow_http"));
        let mut taken = Vec::new();
        for (text, span) in view.texts("models").unwrap_or_default() {
            let first = sources.insert(text.to_owned(), view.reader.line(&span));
            let here = models.iter().any(|model| model.is_called(text));
            if let (true, _) | (_, Some(_)) = (here, first) {
                let hint = match first {
                    Some(line) if !here => format!("the first relay of it stands in line {line}"),
                    _ => "it is a [[model]] of this file: either measure it here or take its list over".to_owned(),
                };
                view.reader.problem(&span, format!("the list of `{text}` would have two sources"), hint);
                continue;
            }
            match ModelId::new(text) {
                Ok(model) => taken.push(model),
                Err(e) => view.reader.problem(&span, format!("`models`: {e}"), ""),
            }
        }
        let wait = view.duration("wait").unwrap_or(RELAY_WAIT);
        if wait > RELAY_WAIT_MAX {
            let message = format!("`wait` is longer than {} s, the most that a daemon takes", RELAY_WAIT_MAX.as_secs());
            view.reader.problem(&view.span_of("wait"), message, "");
        }
        let token = secret(&view, "token");
        let (keys_file, signed) = (path(&view, "keys_file"), view.flag("signed").unwrap_or(true));
        let folder = path(&view, "folder").unwrap_or_else(|| view.reader.resolve(RELAY_FOLDER));
        let client = view.text("client").map_or(RELAY_CLIENT, |(text, _)| text).to_owned();
        if let Some(from) = from {
            out.push(RelayConfig { from, models: taken, token, keys_file, signed, folder, wait, client });
        }
    }
    out
}

/// Reads every `[[sink]]`. A file has one writer.
pub(super) fn sinks(root: &View<'_>, models: &[ModelConfig], relays: &[RelayConfig]) -> Vec<SinkConfig> {
    let mut files: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for view in root.children("sink") {
        let text = |key: &str| view.text(key).map(|(text, _)| text.to_owned());
        let words = |key: &str| -> Vec<String> {
            view.texts(key).unwrap_or_default().into_iter().map(|(word, _)| word.to_owned()).collect()
        };
        let model = view.text("model").and_then(|(text, span)| model(&view, text, &span, models, relays));
        let file = path(&view, "path");
        if let Some(file) = &file
            && let Some(line) = files.insert(file.clone(), view.reader.line(&view.span_of("path")))
        {
            let message = format!("two sinks would write the same file `{}`", file.display());
            view.reader.problem(&view.span_of("path"), message, format!("the first stands in line {line}"));
        }
        let sink = (
            text("capability"),
            text("format"),
            text("form").unwrap_or_else(|| "allow".to_owned()),
            text("gateway"),
            words("check"),
            words("after"),
            view.duration("time_limit").unwrap_or(HOOK_TIME_LIMIT),
        );
        let (capability, format, form, gateway, check, after, time_limit) = sink;
        if let (Some(model), Some(path), Some(format)) = (model, file, format) {
            out.push(SinkConfig { model, capability, format, form, gateway, path, check, after, time_limit });
        }
    }
    out
}

/// Reads every `[[webhook]]`.
pub(super) fn webhooks(root: &View<'_>) -> Vec<WebhookConfig> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for view in root.children("webhook") {
        let name = view.text("name").map(|(name, span)| {
            if let Some(line) = names.insert(name.to_owned(), view.reader.line(&span)) {
                let message = format!("duplicate webhook name `{name}`");
                view.reader.problem(&span, message, format!("the first stands in line {line}"));
            }
            name.to_owned()
        });
        let texts = |key: &str| view.texts(key).map(|all| all.into_iter().map(|(t, s)| (t.to_owned(), s)).collect());
        let events: Option<Vec<(String, Span)>> = texts("events");
        for (event, span) in events.iter().flatten().filter(|(event, _)| !EVENTS.contains(&event.as_str())) {
            let hint = match nearest(event, EVENTS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are: {}", EVENTS.join(", ")),
            };
            view.reader.problem(span, format!("unknown event `{event}`"), hint);
        }
        let all = |of: &[&str]| of.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        let plain = |found: Vec<(String, Span)>| found.into_iter().map(|(text, _)| text).collect::<Vec<String>>();
        let url = webhook_url(&view);
        let form = view.text("form").map_or("json", |(form, _)| form).to_owned();
        let secret = secret(&view, "secret");
        let events = events.map_or_else(|| all(&EVENTS), plain);
        let models = texts("models").map_or_else(|| all(&["*"]), plain);
        let timeout = view.duration("timeout").unwrap_or(WEBHOOK_TIMEOUT);
        let give_up = view.duration("give_up").unwrap_or(WEBHOOK_GIVE_UP);
        if let (Some(name), Some(url)) = (name, url) {
            out.push(WebhookConfig { name, url, form, secret, events, models, timeout, give_up });
        }
    }
    out
}

pub(super) fn path(view: &View<'_>, key: &str) -> Option<PathBuf> {
    view.text(key).map(|(text, _)| view.reader.resolve(text))
}

pub(super) fn secret(view: &View<'_>, key: &str) -> Option<SecretString> {
    let value = view.value(key)?;
    secrets::resolve(view.reader, key, value.get_ref().as_table()?, &value.span())
}

/// The model that a sink names, by id or alias.
pub(super) fn model(
    view: &View<'_>,
    text: &str,
    span: &Span,
    models: &[ModelConfig],
    relays: &[RelayConfig],
) -> Option<ModelId> {
    let relayed = || relays.iter().flat_map(|relay| &relay.models);
    let found = models.iter().find(|m| m.is_called(text)).map(|m| &m.id);
    let found = found.or_else(|| relayed().find(|m| m.as_str() == text));
    if found.is_none() {
        let known = || models.iter().map(|m| m.id.as_str()).chain(relayed().map(ModelId::as_str));
        let hint = match nearest(text, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("models: {}", known().collect::<Vec<_>>().join(", ")),
        };
        view.reader.problem(span, format!("no model goes by the name `{text}`"), hint);
    }
    found.cloned()
}

/// An address that secrets or decisions may be sent to: https, or http where that is allowed.
pub(super) fn address(view: &View<'_>, key: &str, text: &str, span: &Span, allow: &str) -> Option<Url> {
    let anywhere = view.flag(allow).unwrap_or(false);
    let url = http_url(view, key, text, span)?;
    if url.scheme() == "http" && !is_loopback(&url) && !anywhere {
        let message = format!("`{key}`: plain http would send it all in the clear");
        view.reader.problem(span, message, format!("use https, or permit it with {allow} = true"));
        return None;
    }
    Some(url)
}

/// A webhook's address often holds a key: it is read as a secret and never shown.
fn webhook_url(view: &View<'_>) -> Option<SecretString> {
    let value = view.value("url")?;
    let span = value.span();
    if let Some(text) = value.get_ref().as_str() {
        return address(view, "url", text, &span, "allow_http").map(|url| SecretString::from(url.to_string()));
    }
    let text = secrets::resolve(view.reader, "url", value.get_ref().as_table()?, &span)?;
    // The messages about what was fetched must not repeat it.
    let url = Url::parse(text.expose_secret()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let allowed = |url: &Url| url.scheme() == "https" || is_loopback(url) || view.flag("allow_http").unwrap_or(false);
    match url {
        Some(url) if allowed(&url) => Some(SecretString::from(url.to_string())),
        _ => {
            let hint = "an https address is due; plain http needs allow_http = true";
            view.reader.problem(&span, "`url`: what was fetched is no address to send to", hint);
            None
        }
    }
}

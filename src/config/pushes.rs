//! `[[push]]`: gateways that lists are put into by their admin APIs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::ModelConfig;
use super::gateways::{RelayConfig, address, model, path, secret};
use super::reader::View;
use crate::domain::ModelId;

const FOLDER: &str = "data/push";
const EVERY: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where Cloudflare's API is.
const CLOUDFLARE: &str = "https://api.cloudflare.com/client/v4";

/// `[[push]]`: one gateway.
#[derive(Debug, Clone)]
pub struct PushConfig {
    /// Its name: what it was before is remembered by it.
    pub name: String,
    /// The adapter, by name.
    pub adapter: String,
    /// The model whose own list it gets, by id.
    pub model: ModelId,
    /// The address of its admin API.
    pub url: Url,
    /// What is changed there; empty where the adapter needs nothing.
    pub target: String,
    /// The token, sent as `Authorization: Bearer`.
    pub token: Option<SecretString>,
    /// Differences are told, and nothing is changed.
    pub dry_run: bool,
    /// How often it is looked at without a change of the list.
    pub every: Duration,
    /// The least time between two changes.
    pub pause: Duration,
    /// How long one request may take.
    pub timeout: Duration,
    /// The folder with what was there before.
    pub folder: PathBuf,
}

/// Reads every `[[push]]`.
pub(super) fn pushes(root: &View<'_>, models: &[ModelConfig], relays: &[RelayConfig]) -> Vec<PushConfig> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for view in root.children("push") {
        let name = view.text("name").and_then(|(name, span)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if name.is_empty() || !name.chars().all(plain) {
                view.reader.problem(&span, "`name` is part of the name of a file", "letters, digits, - and _");
                return None;
            }
            if let Some(line) = names.insert(name.to_owned(), view.reader.line(&span)) {
                let message = format!("duplicate push name `{name}`");
                view.reader.problem(&span, message, format!("the first stands in line {line}"));
            }
            Some(name.to_owned())
        });
        let adapter = view.text("adapter").map(|(adapter, _)| adapter.to_owned());
        let is = |name: &str| adapter.as_deref() == Some(name);
        let named = view.text("model").and_then(|(text, span)| model(&view, text, &span, models, relays));
        let given = view.text("url").map(|(text, span)| address(&view, "url", text, &span, "allow_http"));
        let url = given.unwrap_or_else(|| Url::parse(CLOUDFLARE).ok().filter(|_| is("cloudflare")));
        if url.is_none() && view.text("url").is_none() && adapter.is_some() {
            view.reader.problem(&view.span_of("name"), "`url` is missing", "the address of the gateway's admin API");
        }
        let target = view.text("target").map_or("", |(text, _)| text).trim_matches('/').to_owned();
        let parts = target.split('/').filter(|part| !part.is_empty()).count();
        let (due, hint) = match adapter.as_deref() {
            Some("kong") => (1, "the id of the plugin"),
            Some("cloudflare") => (3, "account, gateway and route, such as \"0123abcd/gateway/route-id\""),
            _ => (0, "this adapter changes the deployments of the model: take it out"),
        };
        if adapter.is_some() && (parts != due || target.split('/').count() > parts.max(1)) {
            view.reader.problem(&view.span_of("target"), "`target` does not say what is to be changed", hint);
        }
        let push = (
            view.flag("dry_run").unwrap_or(false),
            view.duration("every").unwrap_or(EVERY),
            view.duration("pause").unwrap_or(PAUSE),
            view.duration("timeout").unwrap_or(TIMEOUT),
            path(&view, "folder").unwrap_or_else(|| view.reader.resolve(FOLDER)),
            secret(&view, "token"),
        );
        let (dry_run, every, pause, timeout, folder, token) = push;
        if let (Some(name), Some(adapter), Some(model), Some(url)) = (name, adapter, named, url) {
            out.push(PushConfig { name, adapter, model, url, target, token, dry_run, every, pause, timeout, folder });
        }
    }
    out
}

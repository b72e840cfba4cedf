//! `[[provider]]`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Map, Value};
use toml::de::{DeArray, DeTable, DeValue};
use url::{Host, Url};

use crate::domain::{Limits, Protocol, Provider, ProviderId, Retry, Timeouts};

use super::reader::{Span, View, integer, number};
use super::secrets;

/// The providers that are right, and the ids of all.
pub(super) struct Providers {
    pub(super) good: Vec<Arc<Provider>>,
    /// Every id in the file with its line, so that a wrong provider does not make its endpoints wrong too.
    pub(super) lines: BTreeMap<String, usize>,
}

/// Headers that the client itself sets.
const OWN_HEADERS: [&str; 6] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"];
/// Keys of the body that the case or the endpoint sets.
const OWN_BODY_KEYS: [&str; 2] = ["model", "messages"];

/// Reads every `[[provider]]`.
pub(super) fn read(root: &View<'_>) -> Providers {
    let mut out = Providers { good: Vec::new(), lines: BTreeMap::new() };
    for view in root.children("provider") {
        let id = view.text("id").and_then(|(text, span)| provider_id(&view, text, &span, &mut out.lines));
        // Read every part before any is missed, so that all problems are found.
        let parts = (id, base_url(&view), api_key(&view), headers(&view), extra_body(&view));
        let (limits, timeouts, retry) = (limits(&view), timeouts(&view), retry(&view));
        let (proxy, ca_file) = (proxy(&view), ca_file(&view));
        if let (Some(id), Some(base_url), api_key, headers, extra_body) = parts {
            out.good.push(Arc::new(Provider {
                id,
                base_url,
                protocol: protocol(&view),
                api_key,
                headers,
                extra_body: Arc::new(extra_body),
                limits,
                timeouts,
                retry,
                proxy,
                ca_file,
            }));
        }
    }
    out
}

fn provider_id(view: &View<'_>, text: &str, span: &Span, lines: &mut BTreeMap<String, usize>) -> Option<ProviderId> {
    match lines.get(text) {
        Some(line) => {
            view.reader.problem(
                span,
                format!("duplicate provider id `{text}`"),
                format!("the first stands in line {line}; for a second set of settings choose another id"),
            );
            None
        }
        None => {
            lines.insert(text.to_owned(), view.reader.line(span));
            ProviderId::new(text).map_err(|e| view.reader.problem(span, e.to_string(), "")).ok()
        }
    }
}

/// The only protocol of this version; the first pass has refused all others.
fn protocol(view: &View<'_>) -> Protocol {
    match view.text("protocol") {
        Some(_) | None => Protocol::OpenAiChat,
    }
}

fn base_url(view: &View<'_>) -> Option<Url> {
    let (text, span) = view.text("base_url")?;
    let problem = |message: String, hint: &str| {
        view.reader.problem(&span, message, hint);
        None
    };
    let url = http_url(view, "base_url", text, &span)?;
    if url.query().is_some() || url.fragment().is_some() {
        return problem("`base_url` must end with its path".to_owned(), "leave out what stands from `?` or `#` on");
    }
    let path = url.path().trim_end_matches('/');
    if let Some(before) = path.strip_suffix("/chat/completions") {
        return problem("`base_url` holds the path of the request".to_owned(), &format!("end it with `{before}`"));
    }
    let (plain, loopback) = (url.scheme() == "http", is_loopback(&url));
    let (anywhere, here) = (view.flag("allow_http").unwrap_or(false), view.flag("allow_loopback_http").unwrap_or(true));
    if plain && !anywhere && !(loopback && here) {
        let host = url.host_str().unwrap_or("");
        let message = format!("plain http to `{host}` would send keys and answers in the clear");
        let hint = if loopback {
            "allow_loopback_http = true permits it on this machine"
        } else {
            "use https, or permit it with allow_http = true"
        };
        return problem(message, hint);
    }
    let mut url = url.clone();
    let path = path.to_owned();
    url.set_path(&path);
    Some(url)
}

/// An http or https URL without credentials.
pub(super) fn http_url(view: &View<'_>, key: &str, text: &str, span: &Span) -> Option<Url> {
    let problem = |message: String, hint: &str| {
        view.reader.problem(span, message, hint);
        None
    };
    const FORM: &str = "it begins with https:// and a host, such as https://api.example.com/v1";
    match Url::parse(text.trim()) {
        Err(e) => problem(format!("`{key}` is not a URL: {e}"), FORM),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            problem(format!("`{key}` must be http or https, not {}", url.scheme()), FORM)
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => problem(
            format!("`{key}` holds credentials in the clear"),
            "take out what stands before `@`; keys go into api_key or headers, as { env = \"NAME\" }",
        ),
        Ok(url) => Some(url),
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn api_key(view: &View<'_>) -> Option<SecretString> {
    let value = view.value("api_key")?;
    secrets::resolve(view.reader, "api_key", value.get_ref().as_table()?, &value.span())
}

/// Reads `headers`, of a provider or an endpoint.
pub(super) fn headers(view: &View<'_>) -> BTreeMap<String, SecretString> {
    let r = view.reader;
    let mut out = BTreeMap::new();
    for (name, name_span, value) in view.entries("headers") {
        let lower = name.to_lowercase();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            r.problem(&name_span, format!("`{name}` is not a header name"), "letters, digits and `-`");
            continue;
        }
        if OWN_HEADERS.contains(&lower.as_str()) {
            r.problem(&name_span, format!("the client itself sets the header `{name}`"), "take it out");
            continue;
        }
        let secret = match value.get_ref() {
            DeValue::Table(table) => secrets::resolve(r, name, table, &value.span()),
            DeValue::String(text) if http::HeaderValue::from_str(text).is_ok_and(|v| v.to_str().is_ok()) => {
                Some(SecretString::from(text.as_ref()))
            }
            _ => {
                r.problem(&value.span(), format!("header `{name}` must be one line of ASCII text"), "");
                None
            }
        };
        if let Some(secret) = secret
            && out.insert(lower, secret).is_some()
        {
            r.problem(&name_span, format!("duplicate header `{name}`"), "header names do not tell case apart");
        }
    }
    out
}

/// Reads `extra_body`, of a provider or an endpoint.
pub(super) fn extra_body(view: &View<'_>) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, span, value) in view.entries("extra_body") {
        if OWN_BODY_KEYS.contains(&name) {
            let hint = "the endpoint's upstream_model and the cases of the suites set it";
            view.reader.problem(&span, format!("`{name}` must not stand in extra_body"), hint);
            continue;
        }
        match json(value.get_ref()) {
            Some(value) => {
                out.insert(name.to_owned(), value);
            }
            None => view.reader.problem(&value.span(), "a number that JSON cannot hold", "finite, and below 2^63"),
        }
    }
    out
}

/// A TOML value as JSON; dates become texts.
pub(super) fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(s) => Value::String(s.to_string()),
        DeValue::Integer(_) => Value::from(integer(value)?),
        DeValue::Float(_) => Value::from(number(value)?),
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(d) => Value::String(d.to_string()),
        DeValue::Array(items) => json_array(items)?,
        DeValue::Table(table) => json_object(table)?,
    })
}

fn json_array(items: &DeArray<'_>) -> Option<Value> {
    items.iter().map(|i| json(i.get_ref())).collect::<Option<Vec<_>>>().map(Value::Array)
}

fn json_object(table: &DeTable<'_>) -> Option<Value> {
    let entry = |(k, v): (&toml::Spanned<_>, &toml::Spanned<_>)| {
        let k: &toml::Spanned<std::borrow::Cow<'_, str>> = k;
        Some((k.get_ref().to_string(), json(v.get_ref())?))
    };
    table.iter().map(entry).collect::<Option<Map<_, _>>>().map(Value::Object)
}

fn limits(view: &View<'_>) -> Limits {
    let view = view.child("limits");
    let default = Limits::default();
    Limits {
        concurrency: view.count("concurrency").unwrap_or(default.concurrency),
        requests_per_minute: view.count("requests_per_minute").or(default.requests_per_minute),
        tokens_per_minute: view.count("tokens_per_minute").or(default.tokens_per_minute),
    }
}

fn timeouts(view: &View<'_>) -> Timeouts {
    let view = view.child("timeouts");
    let default = Timeouts::default();
    Timeouts {
        connect: view.duration("connect").unwrap_or(default.connect),
        first_byte: view.duration("first_byte").unwrap_or(default.first_byte),
        idle: view.duration("idle").unwrap_or(default.idle),
        total: view.duration("total").unwrap_or(default.total),
    }
}

fn retry(view: &View<'_>) -> Retry {
    let view = view.child("retry");
    let default = Retry::default();
    Retry {
        attempts: view.count("attempts").unwrap_or(default.attempts),
        over: view.duration("over").unwrap_or(default.over),
    }
}

fn proxy(view: &View<'_>) -> Option<Url> {
    let (text, span) = view.text("proxy")?;
    http_url(view, "proxy", text, &span)
}

fn ca_file(view: &View<'_>) -> Option<PathBuf> {
    view.text("ca_file").map(|(path, _)| view.reader.resolve(path))
}

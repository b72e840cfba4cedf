//! The shell command that repeats an attempt's request. Credentials are shell variables, never values.

use crate::config::ModelConfig;
use crate::domain::Provider;
use crate::store::StoredAttempt;

/// The variable that stands for the provider's key.
const KEY_VARIABLE: &str = "API_KEY";

/// `curl` that sends the stored request again, ready for a POSIX shell. The key is the variable `$API_KEY`; configured
/// headers and query values may be secret too and are variables named after them. `None` when the transcript was
/// pruned or the endpoint is not configured any more.
#[must_use]
pub fn curl_of(stored: &StoredAttempt, models: &[ModelConfig]) -> Option<String> {
    let transcript = stored.attempt.transcript.as_ref()?;
    let model = models.iter().find(|m| m.id == stored.model)?;
    let (_, provider) = model.endpoint(&stored.attempt.key.endpoint)?;
    let body = std::str::from_utf8(&transcript.request).ok()?;
    Some(command(provider, body))
}

fn command(provider: &Provider, body: &str) -> String {
    let mut lines = vec![format!("curl -sS -N {}", target(provider)), "-H 'Content-Type: application/json'".to_owned()];
    let overridden = provider.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization"));
    if provider.api_key.is_some() && !overridden {
        lines.push(format!("-H \"Authorization: Bearer ${KEY_VARIABLE}\""));
    }
    for name in provider.headers.keys() {
        // A header's name is a token of RFC 9110, but a config is not the place to trust with a shell.
        let quoted = quote(&format!("{name}: "));
        lines.push(format!("-H {quoted}\"${}\"", variable("HEADER", name)));
    }
    lines.push(format!("--data-binary {}", quote(body)));
    lines.join(" \\\n  ")
}

/// The URL as one shell word, the values of its query as variables.
fn target(provider: &Provider) -> String {
    let mut url = provider.base_url.clone();
    let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let pairs: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    url.set_query(None);
    // Neither can fail on an http(s) URL, and on any other there is no password.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    let mut out = quote(url.as_str());
    for (at, name) in pairs.iter().enumerate() {
        let joint = if at == 0 { '?' } else { '&' };
        let name_encoded: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        out.push_str(&quote(&format!("{joint}{name_encoded}=")));
        out.push_str(&format!("\"${}\"", variable("QUERY", name)));
    }
    out
}

/// A shell variable's name made from another name.
fn variable(kind: &str, name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("{kind}_{name}")
}

/// One word of a POSIX shell: in single quotes, in which nothing is special but the quote itself.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

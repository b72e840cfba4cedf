//! The shell command that repeats an attempt's request. Credentials are shell variables, never values.

use crate::config::ModelConfig;
use crate::domain::Provider;
use crate::store::StoredAttempt;

/// The variable that stands for the provider's key.
const KEY_VARIABLE: &str = "API_KEY";

/// `curl` that sends the stored request again, ready for a POSIX shell. The key is the variable `$API_KEY`; configured
/// headers may be secret too and are variables named after them. `None` when the transcript was
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
    let mut lines =
        vec![format!("curl -sS -N {}", quote(&target(provider))), "-H 'Content-Type: application/json'".to_owned()];
    let overridden = provider.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization"));
    if provider.api_key.is_some() && !overridden {
        lines.push(format!("-H \"Authorization: Bearer ${KEY_VARIABLE}\""));
    }
    for name in provider.headers.keys() {
        // A header's name is a token of RFC 9110, but a config is not the place to trust with a shell.
        let quoted = quote(&format!("{name}: "));
        lines.push(format!("-H {quoted}\"${}\"", variable(name)));
    }
    lines.push(format!("--data-raw {}", quote(body)));
    lines.join(" \\\n  ")
}

/// Where requests of the provider go.
fn target(provider: &Provider) -> String {
    let mut url = provider.base_url.clone();
    let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
    url.set_path(&path);
    // A config has none of these; whatever made the provider, they are not shown.
    url.set_query(None);
    // Neither can fail on an http(s) URL, and on any other there is no password.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.into()
}

/// The shell variable that stands for a header's value.
fn variable(header: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("HEADER_{}", header.chars().map(word).collect::<String>())
}

/// One word of a POSIX shell: in single quotes, in which nothing is special but the quote itself.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Arc;

    use secrecy::SecretString;

    use super::*;
    use crate::domain::{Limits, Protocol, ProviderId, Retry, Timeouts};

    fn provider(headers: &[&str]) -> Provider {
        Provider {
            id: ProviderId::new("p").unwrap(),
            base_url: url::Url::parse("https://user:pass@api.example/v1/?key=abc").unwrap(),
            protocol: Protocol::OpenAiChat,
            api_key: Some(SecretString::from("sk-secret")),
            headers: headers.iter().map(|name| ((*name).to_owned(), SecretString::from("hidden"))).collect(),
            extra_body: Arc::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            proxy: None,
            ca_file: None,
        }
    }

    /// The arguments that a shell gives to `curl`.
    fn arguments(command: &str) -> Vec<String> {
        let script = format!("curl() {{ printf '%s\\0' \"$@\"; }}\n{command}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env("API_KEY", "the key").env("HEADER_X_ORG_ID", "a \"b\" $c");
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_reads_exactly_what_was_sent() {
        for body in [
            "{}",
            "it's",
            "'",
            "''\\'",
            "$HOME `id` $(id) \\ \" !\n\ttwo lines",
            "ünïcode 🙂",
            "--data @/etc/passwd",
            "@file",
        ] {
            let arguments = arguments(&command(&provider(&["X-Org.Id"]), body));
            assert_eq!(
                arguments,
                [
                    "-sS",
                    "-N",
                    "https://api.example/v1/chat/completions",
                    "-H",
                    "Content-Type: application/json",
                    "-H",
                    "Authorization: Bearer the key",
                    "-H",
                    "X-Org.Id: a \"b\" $c",
                    "--data-raw",
                    body
                ]
            );
        }
    }

    #[test]
    fn no_credential_is_written_and_a_configured_authorization_wins() {
        let command = command(&provider(&["authorization"]), "{}");
        for secret in ["sk-secret", "hidden", "pass", "abc", "$API_KEY"] {
            assert!(!command.contains(secret), "{command}");
        }
        assert!(command.contains("$HEADER_AUTHORIZATION"));
    }
}

//! What a webhook is sent: the body of an event and its signature. Pure.
//!
//! Signatures are those of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, so that receivers can use its libraries.

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::clock::rfc3339;
use crate::domain::{Decision, Micros, base64};

/// Schema name of an event.
pub const EVENT_SCHEMA: &str = "exacto.event/v1";
/// Carries the event's id: the same on every try.
pub const ID_HEADER: &str = "webhook-id";
/// Carries the time of the try, in seconds since the epoch.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// Carries the signature.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// What a secret in base64 begins with.
const SECRET_PREFIX: &str = "whsec_";
/// Longest text of a message, in characters.
const TEXT_CHARS_MAX: usize = 3_000;

/// What an event is about, as it is told.
#[derive(Debug, Clone)]
pub enum Told<'a> {
    /// A decision.
    Decision(&'a Decision),
    /// An alarm that opened or closed.
    Alarm {
        /// Its kind, such as `frozen`.
        kind: &'a str,
        /// What it concerns: model, endpoint, capability.
        about: String,
        /// What happened and what to do.
        text: &'a str,
        /// It closed.
        closed: bool,
        /// As the API shows it.
        view: Value,
    },
}

/// The body of form `json`.
#[must_use]
pub fn json_body(id: &str, kind: &str, at_us: Micros, told: &Told<'_>) -> String {
    let mut event = json!({"schema": EVENT_SCHEMA, "id": id, "type": kind, "at": rfc3339(at_us), "at_us": at_us});
    match told {
        Told::Decision(decision) => event["decision"] = json!(decision),
        Told::Alarm { view, .. } => event["alarm"] = view.clone(),
    }
    event.to_string()
}

/// The body of form `slack`: one text, in which nothing that others wrote is markup.
#[must_use]
pub fn slack_body(told: &Told<'_>) -> String {
    let text = match told {
        Told::Decision(d) => {
            let of = d.capability.as_ref().map(|c| format!(" (capability {c})")).unwrap_or_default();
            let moved = if d.from == d.to { format!("stays {}", d.to) } else { format!("{} → {}", d.from, d.to) };
            let (model, endpoint) = (plain(d.model.as_str()), plain(d.endpoint.as_str()));
            format!("*{model}* {endpoint}{}: {moved}\n{}", plain(&of), plain(&d.reason))
        }
        Told::Alarm { kind, about, text, closed, .. } => {
            let what = if *closed { "alarm closed" } else { "alarm" };
            format!("*{}* {what} {}: {}", plain(about), plain(&kind.replace('_', " ")), plain(text))
        }
    };
    let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
    json!({"text": text}).to_string()
}

/// The three characters that Slack reads as markup.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The value of the signature header: `v1,<base64>`.
#[must_use]
pub fn sign(secret: &SecretString, id: &str, timestamp_s: i64, body: &str) -> String {
    let text = secret.expose_secret();
    let key = text.strip_prefix(SECRET_PREFIX).and_then(base64::decode).unwrap_or_else(|| text.as_bytes().to_vec());
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(format!("{id}.{timestamp_s}.{body}").as_bytes());
    format!("v1,{}", base64::encode(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The example of its specification.
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = sign(&SecretString::from("a plain text"), "id", 1, "{}");
        assert!(other.starts_with("v1,") && other.len() == 47, "{other}");
    }

    #[test]
    fn what_others_wrote_is_no_markup() {
        let alarm = Told::Alarm {
            kind: "stale_list",
            about: "lab/m <!channel>".to_owned(),
            text: "a & <https://evil.example|b>",
            closed: false,
            view: json!({}),
        };
        assert_eq!(
            slack_body(&alarm),
            json!({"text": "*lab/m &lt;!channel&gt;* alarm stale list: a &amp; &lt;https://evil.example|b&gt;"})
                .to_string()
        );
        let long = "x".repeat(10_000);
        let alarm = Told::Alarm { kind: "k", about: String::new(), text: &long, closed: true, view: json!({}) };
        assert!(slack_body(&alarm).len() < TEXT_CHARS_MAX + 20);
    }
}

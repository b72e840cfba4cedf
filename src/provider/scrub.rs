//! Credentials never leave the provider module: what providers echo is cleaned before anyone else sees it.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem::Finder;
use secrecy::ExposeSecret;

use super::unescape::hidden;
use crate::domain::Provider;

/// What stands where a credential stood.
pub const REDACTED: &str = "[redacted]";

/// Shorter values are no secrets (`none`, `EMPTY`, `true`), and replacing them would garble every transcript.
pub const SECRET_BYTES_MIN: usize = 6;

/// Replaces every known secret, also as JSON and URLs write it, with whatever is escaped.
#[derive(Default)]
pub struct Scrubber {
    /// Longest first, so that a secret inside another does not leave a rest.
    needles: Vec<Finder<'static>>,
    /// The secrets as they are.
    secrets: Vec<Finder<'static>>,
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scrubber({} needles)", self.needles.len())
    }
}

impl Scrubber {
    /// A scrubber for these secrets; those shorter than [`SECRET_BYTES_MIN`] are ignored.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets: Vec<&str> = secrets.into_iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN).collect();
        let mut forms: Vec<String> = secrets.iter().copied().flat_map(written_forms).collect();
        forms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        let finders = |texts: &[&str]| texts.iter().map(|text| Finder::new(text.as_bytes()).into_owned()).collect();
        let forms: Vec<&str> = forms.iter().map(String::as_str).collect();
        Scrubber { needles: finders(&forms), secrets: finders(&secrets) }
    }

    /// A scrubber for everything secret in a provider's settings: its key, its headers' values, and what stands in
    /// its URLs as user, password or query.
    #[must_use]
    pub fn for_provider(provider: &Provider) -> Self {
        let mut secrets: Vec<String> = vec![];
        secrets.extend(provider.api_key.iter().map(|key| key.expose_secret().to_owned()));
        for value in provider.headers.values() {
            let value = value.expose_secret();
            secrets.push(value.to_owned());
            // `Bearer <key>`: the key alone may be echoed.
            secrets.extend(value.split_once(' ').map(|(_, rest)| rest.trim().to_owned()));
        }
        for url in std::iter::once(&provider.base_url).chain(provider.proxy.as_ref()) {
            secrets.push(url.username().to_owned());
            secrets.extend(url.password().map(str::to_owned));
            secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        }
        Scrubber::new(secrets.iter().map(String::as_str))
    }

    /// The text without secrets.
    #[must_use]
    pub fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.cleaned(text.as_bytes()) {
            None => Cow::Borrowed(text),
            Some(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The bytes without secrets; the same bytes when they hold none.
    #[must_use]
    pub fn clean_bytes(&self, bytes: Bytes) -> Bytes {
        self.cleaned(&bytes).map_or(bytes, Bytes::from)
    }

    /// Cleans a text in place; true when it held a secret.
    pub fn clean_in_place(&self, text: &mut String) -> bool {
        match self.clean(text) {
            Cow::Borrowed(_) => false,
            Cow::Owned(cleaned) => {
                *text = cleaned;
                true
            }
        }
    }

    fn cleaned(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out: Option<Vec<u8>> = None;
        for needle in &self.needles {
            let current = out.as_deref().unwrap_or(bytes);
            if needle.find(current).is_some() {
                let length = needle.needle().len();
                out = Some(without(current, needle.find_iter(current).map(|at| at..at + length)));
            }
        }
        let current = out.as_deref().unwrap_or(bytes);
        let hidden = hidden(current, &self.secrets);
        if !hidden.is_empty() {
            out = Some(without(current, hidden));
        }
        out
    }
}

/// The bytes with other words in place of some ranges, which come in order.
fn without(bytes: &[u8], ranges: impl IntoIterator<Item = Range<usize>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for range in ranges {
        out.extend_from_slice(&bytes[from..range.start]);
        out.extend_from_slice(REDACTED.as_bytes());
        from = range.end;
    }
    out.extend_from_slice(&bytes[from..]);
    out
}

/// A secret as it is, and as JSON writers and URL encoders put it.
fn written_forms(secret: &str) -> Vec<String> {
    let json = serde_json::Value::from(secret).to_string();
    let json = json.trim_matches('"').to_owned();
    let escaped = |upper: bool| {
        json.chars().fold(String::new(), |mut out, c| {
            match c {
                '&' | '<' | '>' | '+' | '\'' if upper => out.push_str(&format!("\\u{:04X}", c as u32)),
                '&' | '<' | '>' | '+' | '\'' => out.push_str(&format!("\\u{:04x}", c as u32)),
                c => out.push(c),
            }
            out
        })
    };
    let percent = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
    vec![secret.to_owned(), json.replace('/', "\\/"), escaped(true), escaped(false), percent, json]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_written_form_is_replaced() {
        let scrubber = Scrubber::new(["sk-a/b+c=\"d", "short"]);
        for text in [
            "key sk-a/b+c=\"d!",
            r#"{"m":"sk-a/b+c=\"d"}"#,
            r#"{"m":"sk-a\/b+c=\"d"}"#,
            r#"{"m":"sk-a/b\u002Bc=\"d"}"#,
            r#"{"m":"sk-a/b\u002bc=\"d"}"#,
            "?key=sk-a%2Fb%2Bc%3D%22d&x=1",
            r#"{"m":"\u0073k\u002da/b+c=\"d"#,
        ] {
            let clean = scrubber.clean(text);
            assert!(clean.contains(REDACTED), "{clean}");
            assert!(!clean.contains("sk-a"), "{clean}");
        }
        assert_eq!(scrubber.clean("nothing short here"), "nothing short here");
    }

    #[test]
    fn bytes_without_secrets_are_not_copied() {
        let bytes = Bytes::from_static(b"\xff plain");
        let same = Scrubber::new(["secret-key"]).clean_bytes(bytes.clone());
        assert_eq!(same.as_ptr(), bytes.as_ptr());
        let cleaned = Scrubber::new(["secret-key"]).clean_bytes(Bytes::from_static(b"\xffsecret-keysecret-key."));
        assert_eq!(&cleaned[..], b"\xff[redacted][redacted].");
    }

    #[test]
    fn a_longer_secret_leaves_no_rest() {
        let scrubber = Scrubber::new(["secret", "secret-key-long"]);
        assert_eq!(scrubber.clean("a secret-key-long b secret c"), "a [redacted] b [redacted] c");
    }
}

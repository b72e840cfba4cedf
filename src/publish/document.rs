//! A document to be published: its bytes, and what they say.

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderName;

use crate::domain::allowlist::ALLOWLIST_SCHEMA;
use crate::domain::{Allowlist, Capability, IdError, Micros, ModelId, Revision, canonical};

/// How long clients and caches may keep a list, and go on with it while the daemon is down.
pub const LIST_CACHE_CONTROL: &str = "max-age=15, stale-while-revalidate=60, stale-if-error=86400";
/// Carries the revision.
pub const VERSION_HEADER: HeaderName = HeaderName::from_static("exacto-version");

/// Why bytes are not put up.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// No allowlist.
    #[error("it is no allowlist: {0}")]
    NotAList(#[from] serde_json::Error),
    /// Of another schema.
    #[error("its schema is {0:?}, not {ALLOWLIST_SCHEMA:?}")]
    Schema(String),
    /// The model's id cannot be one.
    #[error("it is about no model: {0}")]
    Model(#[from] IdError),
    /// Nobody is listed: gateways read that as "deny all", or as "allow all".
    #[error("it lists no endpoint")]
    Empty,
    /// A time cannot be read, or it expires before it is issued.
    #[error("its times are not in order")]
    Times,
}

/// A document that may be published: the exact bytes and what they say.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The model.
    pub model: ModelId,
    /// The capability; `None`: the model's own list.
    pub capability: Option<Capability>,
    /// Its revision.
    pub revision: Revision,
    /// The exact bytes; signatures and ETags are over these.
    pub body: Bytes,
    /// When it was issued.
    pub issued_at_us: Micros,
    /// When it expires.
    pub expires_at_us: Micros,
    /// What the bytes say.
    pub list: Allowlist,
}

impl Document {
    /// Reads the bytes of a document. An empty list is never published, whoever made it.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn read(body: Bytes) -> Result<Document, Unfit> {
        let list: Allowlist = serde_json::from_slice(&body)?;
        if list.schema != ALLOWLIST_SCHEMA {
            return Err(Unfit::Schema(list.schema));
        }
        if list.providers.is_empty() {
            return Err(Unfit::Empty);
        }
        let time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).map(|t| t.timestamp_micros());
        let (Ok(issued_at_us), Ok(expires_at_us)) = (time(&list.issued_at), time(&list.expires_at)) else {
            return Err(Unfit::Times);
        };
        if expires_at_us <= issued_at_us {
            return Err(Unfit::Times);
        }
        let model = ModelId::new(&list.model)?;
        let (capability, revision) = (list.capability.clone(), list.version);
        Ok(Document { model, capability, revision, body, issued_at_us, expires_at_us, list })
    }
}

/// Strong ETag of a body: quoted SHA-256 in hexadecimal.
#[must_use]
pub fn etag_of(body: &[u8]) -> String {
    format!("\"{}\"", canonical::sha256_hex(body))
}

/// IMF-fixdate (RFC 9110, 5.6.7).
#[must_use]
pub fn http_date(at_us: Micros) -> Option<HeaderValue> {
    let time = chrono::DateTime::from_timestamp_micros(at_us)?;
    HeaderValue::from_str(&time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn list() -> Value {
        json!({"schema": "exacto.allowlist/v1", "model": "lab/m", "version": 3, "issued_at": "2026-01-31T12:00:00Z",
               "expires_at": "2026-02-01T12:00:00Z", "mode": "normal", "excluded": [],
               "providers": [{"id": "a", "rank": 1, "weight": 100, "tier": "admitted", "slugs": {}}]})
    }

    fn read(value: &Value) -> Result<Document, Unfit> {
        Document::read(Bytes::from(value.to_string()))
    }

    #[test]
    fn a_document_says_what_it_is() {
        let document = read(&list()).unwrap();
        assert_eq!((document.model.as_str(), document.revision), ("lab/m", 3));
        assert_eq!(document.expires_at_us - document.issued_at_us, 86_400_000_000);
    }

    #[test]
    fn an_empty_or_senseless_document_is_not_published() {
        let with = |key: &str, value: Value| {
            let mut list = list();
            list[key] = value;
            read(&list)
        };
        assert!(matches!(with("providers", json!([])), Err(Unfit::Empty)));
        assert!(matches!(with("schema", json!("exacto.allowlist/v2")), Err(Unfit::Schema(_))));
        assert!(matches!(with("model", json!("")), Err(Unfit::Model(_))));
        assert!(matches!(with("expires_at", json!("2026-01-31T12:00:00Z")), Err(Unfit::Times)));
        assert!(matches!(with("issued_at", json!("yesterday")), Err(Unfit::Times)));
        assert!(matches!(with("version", json!(-1)), Err(Unfit::NotAList(_))));
    }
}

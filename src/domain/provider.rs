//! Providers: who serves a model, and how to talk to them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::ProviderId;
use super::completion::JsonObject;

/// The wire protocol. Further ones come later; a config that names them gets a clear error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI chat completions.
    OpenAiChat,
}

/// Ceilings on what is sent; `None`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests in flight at once, per endpoint. At least 1.
    pub concurrency: u32,
    /// Requests per minute, per endpoint.
    pub requests_per_minute: Option<u32>,
    /// Tokens (prompt and answer) per minute, per endpoint.
    pub tokens_per_minute: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { concurrency: 8, requests_per_minute: None, tokens_per_minute: None }
    }
}

/// Time limits of one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until connected.
    pub connect: Duration,
    /// From sending until the first byte of the body.
    pub first_byte: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
    /// The whole try.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(300),
        }
    }
}

/// Retries of transport Faults within an Attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries after the first; 0: none.
    pub attempts: u32,
    /// The time over which they are spread.
    pub over: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: 3, over: Duration::from_secs(600) }
    }
}

/// Who serves: base URL, protocol, credentials, limits.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its id.
    pub id: ProviderId,
    /// Base URL without a trailing slash, such as `https://api.groq.com/openai/v1`.
    pub base_url: url::Url,
    /// Wire protocol.
    pub protocol: Protocol,
    /// Bearer key; never printed, logged or stored.
    pub api_key: Option<SecretString>,
    /// Further request headers (values may be secret as well).
    pub headers: BTreeMap<String, SecretString>,
    /// Keys merged into every request body, under the case's own.
    pub extra_body: Arc<JsonObject>,
    /// Ceilings.
    pub limits: Limits,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Retries.
    pub retry: Retry,
    /// HTTP proxy.
    pub proxy: Option<url::Url>,
    /// Further root certificates, PEM.
    pub ca_file: Option<PathBuf>,
}

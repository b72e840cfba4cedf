//! Asks a daemon for the next document, by long-polls.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};

use super::verify::DOCUMENT_BYTES_MAX;
use crate::signing::{KeyError, KeySet, SIGNATURE_HEADER};

/// How long one poll waits for news.
pub const POLL_WAIT: Duration = Duration::from_secs(60);
/// How much longer than its wait a poll may take: jitter, connecting, sending.
const POLL_GRACE: Duration = Duration::from_secs(30);
/// Until connected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For everything but polls.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer to anything but a poll.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Where the public keys are.
const KEYS_PATH: &str = ".well-known/exacto-keys.json";

/// How a daemon is asked.
#[derive(Debug, Clone)]
pub struct FollowerOptions {
    /// The token, of role read.
    pub token: Option<SecretString>,
    /// How long one poll waits for news; at most 300 s.
    pub wait: Duration,
}

impl Default for FollowerOptions {
    fn default() -> Self {
        FollowerOptions { token: None, wait: POLL_WAIT }
    }
}

/// Why nothing came. The messages hold no token.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The address or the token cannot be used.
    #[error("{0}")]
    Setup(String),
    /// No answer.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// Another answer than expected.
    #[error("the answer is {status}: {detail}")]
    Answer {
        /// HTTP status.
        status: u16,
        /// What the daemon says of it, shortened.
        detail: String,
    },
    /// Longer than any document may be.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The keys cannot be used.
    #[error("its keys cannot be used: {0}")]
    Keys(#[from] KeyError),
}

/// What a poll came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// There is nothing new.
    Unchanged,
    /// A document. Verify it before use.
    Document {
        /// The exact bytes.
        bytes: Vec<u8>,
        /// The signature text.
        signature: Option<String>,
    },
}

/// A connection to one daemon.
#[derive(Debug, Clone)]
pub struct Follower {
    http: reqwest::Client,
    base: Url,
    wait: Duration,
}

impl Follower {
    /// For the daemon at an address such as `https://exactod.internal:8080`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`FollowError::Setup`].
    pub fn new(base: &str, options: &FollowerOptions) -> Result<Follower, FollowError> {
        // An error means that the program has installed one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let setup = |why: String| FollowError::Setup(why);
        let mut base = Url::parse(base).map_err(|e| setup(format!("{base:?} is no address: {e}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(setup(format!("{base} is neither http nor https")));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = &options.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            let mut value = value.map_err(|_| setup("the token cannot be sent in a header".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // A token goes to the daemon that it is for and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("exactod/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| setup(e.to_string()))?;
        Ok(Follower { http, base, wait: options.wait })
    }

    /// Waits for another document than that of an entity tag. Without a tag: the current one, at once.
    ///
    /// # Errors
    /// [`FollowError`]; a later call may succeed.
    pub async fn next(&self, model: &str, etag: Option<String>) -> Result<Polled, FollowError> {
        let mut url = self.list_url(model)?;
        url.query_pairs_mut().append_pair("wait", &format!("{}ms", self.wait.as_millis()));
        let mut request = self.http.get(url).timeout(self.wait + self.wait / 16 + POLL_GRACE);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let answer = request.send().await.map_err(unreachable)?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(Polled::Unchanged);
        }
        let answer = expect_ok(answer).await?;
        let signature = answer.headers().get_all(SIGNATURE_HEADER).iter().filter_map(|value| value.to_str().ok());
        let signature = signature.collect::<Vec<_>>().join(", ");
        let signature = (!signature.is_empty()).then_some(signature);
        Ok(Polled::Document { bytes: body(answer, DOCUMENT_BYTES_MAX).await?, signature })
    }

    /// The daemon's public keys.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn keys(&self) -> Result<KeySet, FollowError> {
        let url = self.base.join(KEYS_PATH).map_err(|e| FollowError::Setup(e.to_string()))?;
        let answer = expect_ok(self.http.get(url).send().await.map_err(unreachable)?).await?;
        let bytes = body(answer, ANSWER_BYTES_MAX).await?;
        Ok(KeySet::read(&String::from_utf8_lossy(&bytes))?)
    }

    /// Tells the daemon what became of a revision: a JSON document for `POST /v1/acks`.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn ack(&self, document: &serde_json::Value) -> Result<(), FollowError> {
        let url = self.base.join("v1/acks").map_err(|e| FollowError::Setup(e.to_string()))?;
        let request = self.http.post(url).header("content-type", "application/json").body(document.to_string());
        expect_ok(request.send().await.map_err(unreachable)?).await.map(drop)
    }

    /// `{base}/v1/models/{model}/allowlist`, the model's slashes and colons percent-encoded.
    fn list_url(&self, model: &str) -> Result<Url, FollowError> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(["v1", "models", model, "allowlist"]),
            Err(()) => return Err(FollowError::Setup(format!("{} has no path", self.base))),
        };
        Ok(url)
    }
}

fn unreachable(error: reqwest::Error) -> FollowError {
    use std::error::Error as _;
    // The cause tells more than the URL, which the caller knows.
    let mut source = error.source();
    let mut cause = None;
    while let Some(deeper) = source {
        cause = Some(deeper.to_string());
        source = deeper.source();
    }
    FollowError::Unreachable(cause.unwrap_or_else(|| error.without_url().to_string()))
}

async fn expect_ok(answer: reqwest::Response) -> Result<reqwest::Response, FollowError> {
    const DETAIL_CHARS: usize = 300;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = body(answer, ANSWER_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let told = serde_json::from_str::<serde_json::Value>(&text).ok();
    let told = told.and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()));
    let detail = told.unwrap_or_else(|| text.trim().to_owned()).chars().take(DETAIL_CHARS).collect();
    Err(FollowError::Answer { status: status.as_u16(), detail })
}

async fn body(mut answer: reqwest::Response, most: usize) -> Result<Vec<u8>, FollowError> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
        if bytes.len() + piece.len() > most {
            return Err(FollowError::TooLarge(most));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

//! The client of one provider: its settings made ready, and the loop of tries that is one Attempt.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use secrecy::ExposeSecret;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chat_completions::{self, Delivery, Parsed};
use super::limiter::{EndpointLimiter, Outcome};
use super::retry::{Jitter, wait_before_next};
use super::scrub::Scrubber;
use super::transport::{self, Exchange, Want};
use crate::clock::Clock;
use crate::domain::{CaseInstance, Fault, Micros, Provider, Timeouts, Transcript, Try, Usage};

/// Sent unless the provider's `headers` name another one: nothing that tells tests from other traffic.
const DEFAULT_USER_AGENT: HeaderValue = HeaderValue::from_static("Mozilla/5.0 (compatible)");
/// Idle connections kept, per unit of concurrency: several models may share a provider.
const IDLE_PER_CONCURRENCY: u32 = 4;
/// Idle connections are closed before most servers close them: a request on a closing connection is lost.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// A dead peer is noticed after a few of these.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// Bytes of a request per token, for the estimate that the token bucket works with.
const BYTES_PER_TOKEN: u64 = 4;
/// Answer tokens that are reckoned with, at most; the usage settles the difference.
const ANSWER_TOKENS_GUESS: u64 = 1024;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A header's name or value cannot be sent.
    #[error("provider {provider}: header {name:?} cannot be sent: {what}")]
    Header {
        /// The provider.
        provider: String,
        /// The header.
        name: String,
        /// What is wrong; never the value.
        what: &'static str,
    },
    /// The file of root certificates cannot be used.
    #[error("provider {provider}: ca_file {path} cannot be used: {reason}; it must hold PEM certificates")]
    CaFile {
        /// The provider.
        provider: String,
        /// The file.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The proxy's URL cannot be used.
    #[error("provider {provider}: the proxy cannot be used: {reason}; give a URL such as http://proxy.example:3128")]
    Proxy {
        /// The provider.
        provider: String,
        /// The reason.
        reason: String,
    },
    /// The HTTP client cannot be built.
    #[error("provider {provider}: no HTTP client: {reason}; check that the system's root certificates are installed")]
    Build {
        /// The provider.
        provider: String,
        /// The reason.
        reason: String,
    },
}

/// What came of one Attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The answer, or why there is none. Of no meaning when `cancelled`.
    pub outcome: Result<crate::domain::Completion, Delivery>,
    /// Every finished try, first to last; empty only when `cancelled`.
    pub tries: Vec<Try>,
    /// What was sent and, of the last finished try, what came back; without secrets.
    pub transcript: Transcript,
    /// When the first try was sent, by the client's clock; when the Attempt began if none was.
    pub started_at_us: Micros,
    /// Of the last finished try: from sending to the first content (streams) or the first byte, in microseconds.
    pub ttft_us: Option<i64>,
    /// Duration of the last finished try, in microseconds.
    pub total_us: i64,
    /// The Attempt was given up because the caller said so.
    pub cancelled: bool,
}

/// Speaks to one provider. Cheap to share behind an `Arc`; holds the connections.
pub struct Client {
    provider: Arc<Provider>,
    clock: Arc<dyn Clock>,
    http: reqwest::Client,
    url: reqwest::Url,
    headers: HeaderMap,
    scrubber: Scrubber,
    jitter: Jitter,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("provider", &self.provider.id).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with the provider's settings. No connection is made yet.
    ///
    /// # Errors
    /// [`ClientError`] when a header, the certificates or the proxy cannot be used.
    pub fn new(provider: Arc<Provider>, clock: Arc<dyn Clock>) -> Result<Client, ClientError> {
        // An error means that the program has installed one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scrubber = Scrubber::for_provider(&provider);
        let http = http_client(&provider, &scrubber)?;
        let mut seed = DefaultHasher::new();
        (provider.id.as_str(), clock.now_us()).hash(&mut seed);
        Ok(Client {
            http,
            url: endpoint_url(&provider),
            headers: headers(&provider)?,
            jitter: Jitter::new(seed.finish()),
            scrubber,
            provider,
            clock,
        })
    }

    /// The provider it speaks to.
    #[must_use]
    pub fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// Asks one case of one endpoint: waits for the limiter, sends, and tries again after transport Faults as the
    /// provider's `retry` says. Ends early, with `cancelled`, when the token is cancelled. `first_byte_min` raises the
    /// provider's first-byte limit (and its total with it) for cases that take the anchors long.
    pub async fn attempt(
        &self,
        upstream_model: &str,
        instance: &CaseInstance,
        limiter: &EndpointLimiter,
        first_byte_min: Option<Duration>,
        cancel: &CancellationToken,
    ) -> Reply {
        let timeouts = raised(self.provider.timeouts, first_byte_min);
        let extra_body = &self.provider.extra_body;
        let body = chat_completions::request_body(upstream_model, instance, extra_body);
        let want = Want { stream: instance.stream(), usage: chat_completions::expects_usage(instance, extra_body) };
        let mut course = Course { tokens: estimate(&body, instance), body, want, tries: vec![], last: None };
        let began = self.clock.now_us();
        let finished = cancel.run_until_cancelled(Box::pin(self.run(&mut course, limiter, &timeouts))).await;
        course.into_reply(began, finished.is_none(), &self.scrubber)
    }

    async fn run(&self, course: &mut Course, limiter: &EndpointLimiter, timeouts: &Timeouts) {
        let retry = self.provider.retry;
        let mut first_failure = None;
        for number in 0..=retry.attempts {
            let permit = limiter.acquire(course.tokens).await;
            let started_at_us = self.clock.now_us();
            let request = self.request(course);
            let exchange =
                transport::exchange(&self.http, request, course.want, timeouts, &self.scrubber, started_at_us).await;
            permit.settle(pace(&exchange, retry.over));
            let fault = course.record(started_at_us, exchange);
            let Some(fault) = fault.filter(|fault| fault.is_retried() && number < retry.attempts) else { return };
            let since = *first_failure.get_or_insert_with(Instant::now);
            let asked = course.last.as_ref().and_then(|last| last.retry_after);
            let wait = wait_before_next(retry, number, self.jitter.next_unit(), asked, since.elapsed());
            tracing::debug!(provider = %self.provider.id, %fault, number, wait_ms = wait.as_millis() as u64, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    fn request(&self, course: &Course) -> reqwest::Request {
        let mut request = reqwest::Request::new(reqwest::Method::POST, self.url.clone());
        *request.headers_mut() = self.headers.clone();
        if course.want.stream && !request.headers().contains_key(ACCEPT) {
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        } else {
            request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        }
        *request.body_mut() = Some(course.body.clone().into());
        request
    }
}

/// An Attempt under way.
struct Course {
    body: Bytes,
    want: Want,
    /// About how many tokens a try takes.
    tokens: u64,
    tries: Vec<Try>,
    last: Option<Exchange>,
}

impl Course {
    /// Records a finished try and tells its Fault.
    fn record(&mut self, started_at_us: Micros, exchange: Exchange) -> Option<Fault> {
        let delivery = exchange.outcome.as_ref().err();
        let fault = delivery.map(|delivery| delivery.fault);
        self.tries.push(Try {
            started_at_us,
            took_us: micros(exchange.took),
            status: exchange.status,
            fault,
            detail: delivery.map(|delivery| delivery.detail.clone()).unwrap_or_default(),
            retry_after_us: exchange.retry_after.map(micros),
        });
        self.last = Some(exchange);
        fault
    }

    fn into_reply(self, began: Micros, cancelled: bool, scrubber: &Scrubber) -> Reply {
        let started_at_us = self.tries.first().map_or(began, |first| first.started_at_us);
        let request = scrubber.clean_bytes(self.body);
        let nothing: Parsed = Err(Delivery::new(Fault::Unreachable, "given up before an answer arrived"));
        let (outcome, response, headers, first_content, took) = match self.last {
            Some(last) => (last.outcome, last.response, last.headers, last.first_content, last.took),
            None => (nothing, Bytes::new(), String::new(), None, Duration::ZERO),
        };
        Reply {
            outcome,
            tries: self.tries,
            transcript: Transcript { request, response, headers },
            started_at_us,
            ttft_us: first_content.map(micros),
            total_us: micros(took),
            cancelled,
        }
    }
}

/// The time limits with a first-byte limit of at least `first_byte_min`; the total never ends before it.
fn raised(timeouts: Timeouts, first_byte_min: Option<Duration>) -> Timeouts {
    let first_byte = timeouts.first_byte.max(first_byte_min.unwrap_or_default());
    Timeouts { first_byte, total: timeouts.total.max(first_byte), ..timeouts }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// What a try teaches the limiter.
fn pace(exchange: &Exchange, pause_max: Duration) -> Outcome {
    match &exchange.outcome {
        Err(Delivery { fault: Fault::RateLimited, .. }) => {
            Outcome::Refused { retry_after: exchange.retry_after, pause_max }
        }
        Err(_) => Outcome::Answered { tokens: None },
        Ok(completion) => {
            let Usage { tokens_in, tokens_out, .. } = completion.usage;
            Outcome::Answered { tokens: tokens_in.and_then(|tokens_in| tokens_in.checked_add(tokens_out?)) }
        }
    }
}

fn estimate(body: &Bytes, instance: &CaseInstance) -> u64 {
    let request = &instance.case.request;
    let limit = ["max_tokens", "max_completion_tokens"].into_iter().find_map(|key| request.get(key)?.as_u64());
    body.len() as u64 / BYTES_PER_TOKEN + limit.unwrap_or(ANSWER_TOKENS_GUESS).min(ANSWER_TOKENS_GUESS)
}

/// `{base_url}/chat/completions`, the base's query kept.
fn endpoint_url(provider: &Provider) -> reqwest::Url {
    let mut url = provider.base_url.clone();
    let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

/// The headers of every request; the configured ones override ours.
fn headers(provider: &Provider) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, DEFAULT_USER_AGENT);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let wrong =
        |name: &str, what| ClientError::Header { provider: provider.id.to_string(), name: name.to_owned(), what };
    let secret = |name: &str, text: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| {
            wrong(
                name,
                "its value holds a line break or another control character; check what the file or command yields",
            )
        })?;
        value.set_sensitive(true);
        Ok::<_, ClientError>(value)
    };
    if let Some(key) = &provider.api_key {
        headers.insert(AUTHORIZATION, secret("authorization", &format!("Bearer {}", key.expose_secret()))?);
    }
    for (name, value) in &provider.headers {
        let parsed =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(name, "its name is not a header name"))?;
        headers.insert(parsed, secret(name, value.expose_secret())?);
    }
    Ok(headers)
}

fn http_client(provider: &Provider, scrubber: &Scrubber) -> Result<reqwest::Client, ClientError> {
    let name = || provider.id.to_string();
    let reason = |error: reqwest::Error| scrubber.clean(&transport::chain(&error.without_url())).into_owned();
    let idle = provider.limits.concurrency.saturating_mul(IDLE_PER_CONCURRENCY);
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(provider.timeouts.connect)
        .pool_max_idle_per_host(usize::try_from(idle).unwrap_or(usize::MAX))
        .pool_idle_timeout(POOL_IDLE)
        .tcp_keepalive(TCP_KEEPALIVE);
    if let Some(path) = &provider.ca_file {
        let wrong = |reason| ClientError::CaFile { provider: name(), path: path.display().to_string(), reason };
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(reason(error)))?;
        if certificates.is_empty() {
            return Err(wrong("it holds no certificate".to_owned()));
        }
        builder = builder.tls_certs_merge(certificates);
    } else if provider.base_url.scheme() == "http" && provider.proxy.as_ref().is_none_or(|p| p.scheme() == "http") {
        // Plain http to everywhere, redirects refused: the system's certificates need not exist, nor be parsed.
        builder = builder.tls_certs_only([]);
    }
    if let Some(proxy) = &provider.proxy {
        let proxy = reqwest::Proxy::all(proxy.clone())
            .map_err(|error| ClientError::Proxy { provider: name(), reason: reason(error) })?;
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| ClientError::Build { provider: name(), reason: reason(error) })
}

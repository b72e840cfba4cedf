//! What stands around every handler but the allowlist's: access, a ceiling on work, a time limit, a count.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{Method, StatusCode};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Semaphore;

use super::access::{self, Need};
use super::discovery::Discovered;
use super::exports::Fragments;
use super::limits::{
    INGESTS_AT_ONCE, REQUEST_TIMEOUT, REQUESTS_IN_FLIGHT_MAX, RETRY_AFTER_S, TARGET_BYTES_MAX, WATCHERS_MAX,
};
use super::page::PageCache;
use super::problem::Problem;
use super::reports::Reports;
use super::routes::Operation;
use super::state::ApiState;
use crate::metrics::RouteLabels;

/// The route of the allowlist, as it is counted.
pub const LIST_ROUTE: &str = "/v1/models/{model}/allowlist";

/// The state of the router: what the daemon gave and what belongs to the API alone.
pub struct App {
    /// From the daemon.
    pub state: ApiState,
    /// Work that may be in flight.
    pub permits: Semaphore,
    /// Bodies of live traffic that may be read.
    pub ingests: Arc<Semaphore>,
    /// Clients that may wait for a list.
    pub watchers: Arc<Semaphore>,
    /// Reads of allowlists, by their outcome: 200 and 304.
    reads: [Counter; 2],
    /// Waits so far: the source of their jitter.
    waits: AtomicU64,
    /// The page as made last.
    pub page: PageCache,
    /// Scorecards and series.
    pub reports: Reports,
    /// Exports as rendered last.
    pub exports: Fragments,
    /// Routes as rendered last, and who runs which.
    pub discovered: Discovered,
    /// The OpenAPI document.
    pub openapi: Bytes,
}

/// Shared by all handlers.
pub type Shared = Arc<App>;

impl App {
    /// Around the daemon's handles.
    pub fn new(state: ApiState, openapi: Bytes) -> Self {
        let reads = [StatusCode::OK, StatusCode::NOT_MODIFIED].map(|status| {
            let labels = RouteLabels { route: LIST_ROUTE.to_owned(), status: status.as_u16() };
            state.metrics.http_requests.get_or_create(&labels).clone()
        });
        App {
            state,
            permits: Semaphore::new(REQUESTS_IN_FLIGHT_MAX),
            ingests: Arc::new(Semaphore::new(INGESTS_AT_ONCE)),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            reads,
            waits: AtomicU64::new(0),
            page: PageCache::default(),
            reports: Reports::default(),
            exports: Fragments::default(),
            discovered: Discovered::default(),
            openapi,
        }
    }

    /// Counts an answer of the allowlist's route, without looking its labels up.
    pub fn count_read(&self, status: StatusCode) {
        let counted = match status {
            StatusCode::OK => &self.reads[0],
            StatusCode::NOT_MODIFIED => &self.reads[1],
            other => return self.count(LIST_ROUTE, other),
        };
        counted.inc();
    }

    /// A part of a time, another for each call.
    pub fn jitter(&self, most: Duration) -> Duration {
        // The golden ratio's multiples spread evenly, whatever their number.
        let turn = self.waits.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        most.mul_f64((turn >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// Counts an answer.
    pub fn count(&self, route: &'static str, status: StatusCode) {
        let labels = RouteLabels { route: route.to_owned(), status: status.as_u16() };
        self.state.metrics.http_requests.get_or_create(&labels).inc();
    }
}

/// The layer of one route.
#[derive(Clone)]
pub struct Gate {
    /// The router's state.
    pub app: Shared,
    /// The route as it is counted.
    pub route: &'static str,
    /// Its operations, which say what their requests must show.
    pub operations: &'static [Operation],
    /// What requests of other methods must show.
    pub otherwise: Need,
}

impl Gate {
    fn allowed(&self) -> String {
        let named = |method: &'static str| if method == "GET" { "GET, HEAD" } else { method };
        self.operations.iter().map(|o| named(o.method)).collect::<Vec<_>>().join(", ")
    }

    fn need_of(&self, method: &Method) -> Need {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.operations.iter().find(|o| o.method == method.as_str()).map_or(self.otherwise, |o| o.need)
    }
}

/// [`run`] as a middleware.
pub async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let head = parts.clone();
    let work = async {
        let response = next.run(Request::from_parts(parts, body)).await;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return wrong_method(&head.method, head.uri.path(), &gate.allowed()).into_response();
        }
        response
    };
    run(&gate.app, gate.route, gate.need_of(&head.method), &head, work).await
}

/// Does a piece of work if the request may have it done, within the limits.
pub async fn run(
    app: &App,
    route: &'static str,
    need: Need,
    request: &Parts,
    work: impl Future<Output = Response>,
) -> Response {
    let mut response = match admitted(app, need, request, work).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    harden(&mut response);
    app.count(route, response.status());
    response
}

async fn admitted(
    app: &App,
    need: Need,
    request: &Parts,
    work: impl Future<Output = Response>,
) -> Result<Response, Problem> {
    check_target(request)?;
    access::check(&app.state, request, need)?;
    let Ok(_permit) = app.permits.try_acquire() else {
        return Err(Problem::unavailable("busy", "too many requests at once", "the server is busy")
            .hint(format!("try again in {RETRY_AFTER_S} s; poll allowlists, they are not limited by this")));
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, work).await {
        Ok(response) => Ok(response),
        Err(_) => Err(Problem::unavailable(
            "timed-out",
            "took too long",
            format!("the request was given up after {} s", REQUEST_TIMEOUT.as_secs()),
        )
        .hint("ask for a shorter window or a smaller page, and send the body without pauses")),
    }
}

/// Refuses overlong paths.
pub fn check_target(request: &Parts) -> Result<(), Problem> {
    let bytes = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if bytes <= TARGET_BYTES_MAX {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::URI_TOO_LONG,
        "path-too-long",
        "path too long",
        format!("path and query have {bytes} bytes"),
    )
    .hint(format!("at most {TARGET_BYTES_MAX} bytes")))
}

/// The path exists, not with this method.
pub fn wrong_method(method: &Method, path: &str, allowed: &str) -> Problem {
    let allow = HeaderValue::from_str(allowed).unwrap_or(HeaderValue::from_static("GET, HEAD"));
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "method not allowed",
        format!("{method} is not possible on {path}"),
    )
    .hint(format!("allowed: {allowed}"))
    .header(ALLOW, allow)
}

/// Headers that keep browsers from doing more with an answer than showing it.
pub fn harden(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    );
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().entry(RETRY_AFTER).or_insert(HeaderValue::from(RETRY_AFTER_S));
    }
}

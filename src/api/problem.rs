//! Errors as `application/problem+json` (RFC 9457).
//!
//! Which one to use: [`Problem::bad_request`] for what the client wrote wrong, [`Problem::not_found`] for what is not
//! there, [`Problem::unavailable`] for what a later try may get, [`Problem::internal`] for our own failures: the cause
//! is logged once, here, and not shown.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use super::limits::{HINT_NAMES_MAX, RETRY_AFTER_S};
use crate::store::StoreError;

/// Prefix of every `type`.
pub const TYPE_PREFIX: &str = "urn:exactod:problem:";

/// An error for a client. Small, for it is the rare side of every result.
#[derive(Debug, Clone)]
pub struct Problem(Box<Told>);

/// The body of an error.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Told {
    /// What kind of problem: a URN that stays the same over versions.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// What to do.
    hint: String,
    #[serde(skip)]
    #[schema(ignore)]
    headers: HeaderMap,
}

impl Problem {
    /// A problem of a kind, named by the last part of its URN.
    #[must_use]
    pub fn new(status: StatusCode, kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Problem(Box::new(Told {
            kind: format!("{TYPE_PREFIX}{kind}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            hint: String::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// The request cannot be understood.
    #[must_use]
    pub fn bad_request(kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, kind, title, detail)
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, kind, title, detail)
    }

    /// Not now.
    #[must_use]
    pub fn unavailable(kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail)
            .header(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S))
    }

    /// The store does not answer, which may pass: the cause is logged here, not shown.
    #[must_use]
    pub fn store_unavailable(cause: &dyn std::fmt::Display) -> Self {
        error!(%cause, "the store does not answer");
        let detail = "the store does not answer at the moment";
        Problem::unavailable("store-unavailable", "store unavailable", detail)
            .hint("nothing was changed: try again; the cause is in the daemon's log")
    }

    /// Our own failure: logged here, not shown.
    #[must_use]
    pub fn internal(what: &str, cause: &dyn std::fmt::Display) -> Self {
        error!(what, %cause, "a request failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error", format!("{what} failed"))
            .hint("the cause is in the daemon's log; try again, and report it if it stays")
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = hint.into();
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Whether it is of a kind.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.0.kind.strip_prefix(TYPE_PREFIX) == Some(kind)
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status
    }
}

/// The first few of several names, for a hint.
pub(super) fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    let more = names.len().saturating_sub(HINT_NAMES_MAX);
    names.truncate(HINT_NAMES_MAX);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BadCursor(_) => Problem::bad_request("bad-cursor", "bad cursor", error.to_string())
                .hint("pass the `next` of the page before, unchanged, or no cursor for the first page"),
            error if error.is_passing() => Problem::store_unavailable(&error),
            error => Problem::internal("reading the store", &error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem(told) = self;
        let body = serde_json::to_vec(&told).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = told.headers;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

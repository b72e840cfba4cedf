//! Bodies of live traffic: taken from whoever has a token of role ingest, decoded within limits, read off the async
//! workers, and answered with what became of every record. What is too much is answered with 429, never with a 5xx.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::access::{self, Need};
use super::guard::{self, Shared};
use super::limits::{
    INGEST_BODY_BYTES_MAX, INGEST_BODY_TIMEOUT, INGEST_UNPACKED_BYTES_MAX, RETRY_AFTER_S, TRACES_UNPACKED_BYTES_MAX,
};
use super::problem::Problem;
use super::traces;
use crate::live::{Directory, Door, Format, Intake, Packing, Reply, Spoilt, TimeWindow};

/// The source of what comes without a token, where none is configured.
pub const LOCAL_SOURCE: &str = "local";

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Records.
    Records(Format),
    /// Traces.
    Traces,
}

/// How a route takes bodies.
#[derive(Debug, Clone, Copy)]
pub struct Taking {
    /// The route as it is counted.
    pub route: &'static str,
    /// What the body holds.
    pub holds: Holds,
    /// The content types that are taken; empty: any.
    pub types: &'static [&'static str],
    /// The status of a success.
    pub status: StatusCode,
}

/// Takes a body, from the check of the token to the answer.
pub async fn take(app: &Shared, parts: &Parts, body: Body, taking: &Taking) -> Response {
    let answered = admitted(app, parts, body, taking).await;
    let mut response = answered.unwrap_or_else(Problem::into_response);
    guard::harden(&mut response);
    app.count(taking.route, response.status());
    response
}

async fn admitted(app: &Shared, parts: &Parts, body: Body, taking: &Taking) -> Result<Response, Problem> {
    guard::check_target(parts)?;
    access::check(&app.state, parts, Need::Ingest)?;
    check_type(&parts.headers, taking.types)?;
    let packing = packing(&parts.headers)?;
    let permit = Arc::clone(&app.ingests).try_acquire_owned().map_err(|_| {
        app.state.metrics.live_refused("busy");
        too_many("too many bodies are read at once")
    })?;
    let bytes = collect(&parts.headers, body).await?;
    let setup = app.state.setup.load_full();
    let source = access::caller(&setup, parts).unwrap_or_else(|| LOCAL_SOURCE.to_owned());
    let work = Work {
        intake: Arc::clone(&app.state.intake),
        directory: Arc::clone(&setup.directory),
        source,
        window: TimeWindow::live(app.state.clock.now_us()),
        is_json: traces::said_to_be_json(&parts.headers),
        _permit: permit,
    };
    let holds = taking.holds;
    let read = tokio::task::spawn_blocking(move || {
        let read = match holds {
            Holds::Records(format) => work.records(format, &bytes, packing),
            Holds::Traces => work.traces(&bytes, packing),
        };
        (read, work.source)
    });
    let (read, source) = read.await.map_err(|error| Problem::internal("reading the records", &error))?;
    let Reply { accepted, duplicate, rejected, unattributed, .. } = read.reply;
    app.state.metrics.live_taken(&source, [accepted, duplicate, rejected, unattributed]);
    answer(app, read, taking)
}

fn answer(app: &Shared, read: Read, taking: &Taking) -> Result<Response, Problem> {
    let Read { reply, spoilt, is_json } = read;
    let so_far = format!("{} records before that were counted; sent again they are counted once", reply.accepted);
    match spoilt {
        Some(Spoilt::TooLarge) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "body too large",
            format!("the body has more bytes than are taken when unpacked; {so_far}"),
        )
        .hint("send smaller batches")),
        Some(Spoilt::Unreadable(why)) => Err(Problem::bad_request(
            "bad-body",
            "body cannot be read",
            format!("the body cannot be read: {}", why.code),
        )
        .hint("an ExportTraceServiceRequest, as protobuf with the content type application/x-protobuf or as JSON")),
        Some(Spoilt::Undecodable(why)) => Err(Problem::bad_request(
            "bad-encoding",
            "body cannot be unpacked",
            format!("the body is not what its Content-Encoding says: {why}; {so_far}"),
        )
        .hint("send it whole, packed as the header says, or plain without the header")),
        None if reply.is_full => {
            app.state.metrics.live_refused("full");
            Err(too_many(&format!("what was counted waits for the store, and there is no room for more; {so_far}")))
        }
        None if taking.holds == Holds::Traces => Ok(traces::taken(&reply, is_json)),
        None => {
            let mut response = Response::new(Body::from(reply.to_json().to_string()));
            *response.status_mut() = taking.status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        }
    }
}

fn too_many(why: &str) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "not now", why.to_owned())
        .header(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S))
        .hint(format!("send the same body again in {RETRY_AFTER_S} s"))
}

fn check_type(headers: &HeaderMap, types: &[&str]) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE).filter(|_| !types.is_empty()) else { return Ok(()) };
    let given = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if types.iter().any(|known| given.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unknown-type",
        "content type not taken",
        format!("{given:?} is not taken here"),
    )
    .hint(format!("one of: {}", types.join(", "))))
}

fn packing(headers: &HeaderMap) -> Result<Packing, Problem> {
    let given = headers.get(CONTENT_ENCODING).map_or(Ok(""), |value| value.to_str()).unwrap_or("?").trim();
    match given.to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Packing::None),
        "gzip" | "x-gzip" => Ok(Packing::Gzip),
        "zstd" => Ok(Packing::Zstd),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unknown-encoding",
            "content encoding not taken",
            format!("the content encoding {given:?} is not taken here"),
        )
        .hint("gzip, zstd, or none")),
    }
}

/// The whole body, packed as it is.
async fn collect(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "body too large",
            format!("the body has more than {INGEST_BODY_BYTES_MAX} bytes, or broke off"),
        )
        .hint("send smaller batches, or pack them (gzip, zstd)")
    };
    let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > INGEST_BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(INGEST_BODY_TIMEOUT, to_bytes(body, INGEST_BODY_BYTES_MAX)).await {
        Ok(read) => read.map_err(|_| too_large()),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "timed-out",
            "took too long",
            format!("the body was not there after {} s", INGEST_BODY_TIMEOUT.as_secs()),
        )
        .hint("send the body without pauses")),
    }
}

/// What a blocking thread needs to read a body.
struct Work {
    intake: Arc<Intake>,
    directory: Arc<Directory>,
    source: String,
    window: TimeWindow,
    /// What the content type says; `None`: nothing.
    is_json: Option<bool>,
    _permit: OwnedSemaphorePermit,
}

/// What became of a body.
struct Read {
    reply: Reply,
    spoilt: Option<Spoilt>,
    is_json: bool,
}

impl Work {
    fn records(&self, format: Format, bytes: &[u8], packing: Packing) -> Read {
        let mut door = Door::new(&self.intake, &self.directory, &self.source, (format, self.window));
        match door.push_packed(packing, bytes, INGEST_UNPACKED_BYTES_MAX) {
            Ok(()) => Read { reply: door.end(), spoilt: None, is_json: true },
            Err(spoilt) => Read { reply: door.broken_off(), spoilt: Some(spoilt), is_json: true },
        }
    }

    fn traces(&self, bytes: &[u8], packing: Packing) -> Read {
        let mut door = Door::new(&self.intake, &self.directory, &self.source, (Format::Native, self.window));
        let unpacked = packing.whole(bytes, TRACES_UNPACKED_BYTES_MAX);
        // Protobuf begins with the key of its first field.
        let looks_like_json = |body: &[u8]| body.trim_ascii_start().first().is_none_or(|byte| *byte == b'{');
        let is_json = self.is_json.unwrap_or_else(|| unpacked.as_deref().is_ok_and(looks_like_json));
        let taken = unpacked.and_then(|body| door.push_traces(&body, is_json).map_err(Spoilt::Unreadable));
        Read { reply: door.broken_off(), spoilt: taken.err(), is_json }
    }
}

//! A listener of its own for whoever started a fleet as a process: breaks and heals endpoints while they run, and tells how
//! many requests each has received, and from whom. The counters are what tests of gateways go by; the truth is not told.
//!
//! | request | does |
//! |---|---|
//! | `GET /counts` | requests by endpoint and bearer token since the start or the last reset |
//! | `POST /reset` | sets them to 0 |
//! | `POST /injections/{endpoint}` | replaces its injections by a JSON array of them; `[]` heals it |

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::server::RunningSim;
use super::spec::Injection;

/// Largest request body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bearer tokens told apart; further ones are counted as [`OTHERS`].
const CALLERS_MAX: usize = 64;
/// Longest part of a token that is shown.
const CALLER_CHARS_MAX: usize = 64;
/// Requests of callers beyond [`CALLERS_MAX`].
const OTHERS: &str = "...";

/// How many requests an endpoint has received, by bearer token; requests without one count under the empty name.
#[derive(Debug, Default)]
pub struct Callers(Mutex<BTreeMap<String, u64>>);

impl Callers {
    /// Counts a request.
    pub fn count(&self, authorization: &[u8]) {
        let text = String::from_utf8_lossy(authorization);
        let token = text.strip_prefix("Bearer ").unwrap_or(&text);
        let name: String = token.chars().take(CALLER_CHARS_MAX).collect();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if counts.len() < CALLERS_MAX || counts.contains_key(&name) { name } else { OTHERS.to_owned() };
        *counts.entry(name).or_default() += 1;
    }

    /// The counts by now.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins anew.
    pub fn reset(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Serves the control of a fleet for as long as it is polled.
pub async fn control(listener: TcpListener, sim: Arc<RunningSim>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let sim = Arc::clone(&sim);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&sim), request));
            // A client that goes away is its own business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(sim: Arc<RunningSim>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let (status, told) = match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/counts") => (StatusCode::OK, counts(&sim)),
        (&Method::POST, "/reset") => {
            sim.callers().for_each(|(_, callers)| callers.reset());
            (StatusCode::OK, json!({}))
        }
        (&Method::POST, path) => match path.strip_prefix("/injections/") {
            Some(endpoint) => match Limited::new(body, BODY_BYTES_MAX).collect().await {
                Ok(body) => inject(&sim, endpoint, &body.to_bytes()),
                Err(error) => (StatusCode::PAYLOAD_TOO_LARGE, json!({"error": error.to_string()})),
            },
            None => nothing(),
        },
        _ => nothing(),
    };
    let mut response = Response::new(Full::new(Bytes::from(told.to_string())));
    *response.status_mut() = status;
    Ok(response)
}

fn nothing() -> (StatusCode, Value) {
    (StatusCode::NOT_FOUND, json!({"error": "there are GET /counts, POST /reset and POST /injections/{endpoint}"}))
}

fn counts(sim: &RunningSim) -> Value {
    let one = |callers: &Callers| {
        let by = callers.counts();
        json!({"requests": by.values().sum::<u64>(), "by_key": by})
    };
    sim.callers().map(|(id, callers)| (id.to_string(), one(callers))).collect::<serde_json::Map<_, _>>().into()
}

fn inject(sim: &RunningSim, endpoint: &str, body: &[u8]) -> (StatusCode, Value) {
    let injections: Vec<Injection> = match serde_json::from_slice(body) {
        Ok(injections) => injections,
        Err(error) => return (StatusCode::BAD_REQUEST, json!({"error": error.to_string()})),
    };
    if let Some(odd) = injections.iter().find(|i| !(i.prevalence > 0.0 && i.prevalence <= 1.0)) {
        let error = format!("prevalence of {}: above 0, at most 1", odd.defect);
        return (StatusCode::BAD_REQUEST, json!({"error": error}));
    }
    match sim.set_injections(endpoint, &injections) {
        Ok(()) => (StatusCode::OK, json!({})),
        Err(error) => (StatusCode::NOT_FOUND, json!({"error": error.to_string()})),
    }
}

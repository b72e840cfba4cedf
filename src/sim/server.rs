//! The sockets of the simulator: one listener per endpoint, plain hyper, no layers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::control::Callers;
use super::defects::{self, Instead};
use super::draws::Hash64;
use super::library::Library;
use super::play::{Counts, InFlight, Outcome, Player, Response};
use super::schedule::HasHeader;
use super::spec::{Injection, SimSpec, Truth};
use crate::clock::{Clock, SystemClock};
use crate::domain::EndpointId;

/// Largest request body.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a stop waits for requests in flight.
pub const STOP_GRACE: Duration = Duration::from_secs(2);
/// Pause after a failed accept (out of file descriptors, usually).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Why the simulator cannot do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A listener could not be opened.
    #[error(
        "failed to listen on {address} for endpoint `{endpoint}`: {source}; choose another port, or 0 for a free one"
    )]
    Listen {
        /// The endpoint.
        endpoint: EndpointId,
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// No endpoint of this name.
    #[error("the simulated fleet has no endpoint `{0}`")]
    UnknownEndpoint(String),
    /// No defect of this id.
    #[error("the simulator knows no defect `{0}`; `catalogue()` lists them")]
    UnknownDefect(String),
}

/// The ground truth of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EndpointTruth {
    /// The endpoint.
    pub id: EndpointId,
    /// Whether it ought to be listed.
    pub truth: Truth,
    /// Ids of the defects that its spec injects.
    pub defects: Vec<String>,
}

/// A fleet that is up. Dropping it stops it without waiting; [`RunningSim::stop`] waits.
#[derive(Debug)]
pub struct RunningSim {
    endpoints: Vec<RunningEndpoint>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct RunningEndpoint {
    player: Arc<Player>,
    callers: Arc<Callers>,
    address: SocketAddr,
}

/// Starts a fleet on the machine's clock: one listener per endpoint, on its port or a free one.
///
/// # Errors
/// [`SimError::Listen`] when a port cannot be had; then nothing runs.
pub async fn start(spec: &SimSpec, library: Arc<Library>, seed: u64, bind: IpAddr) -> Result<RunningSim, SimError> {
    start_with_clock(spec, library, seed, bind, Arc::new(SystemClock)).await
}

/// As [`start`], with a clock for `created` and for time profiles in seconds. Latencies are real time.
///
/// # Errors
/// As for [`start`].
pub async fn start_with_clock(
    spec: &SimSpec,
    library: Arc<Library>,
    seed: u64,
    bind: IpAddr,
    clock: Arc<dyn Clock>,
) -> Result<RunningSim, SimError> {
    let mut bound = Vec::with_capacity(spec.endpoints.len());
    for endpoint in &spec.endpoints {
        let address = SocketAddr::new(bind, endpoint.port);
        let refused = |source| SimError::Listen { endpoint: endpoint.name.clone(), address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let now_us = clock.now_us();
        let player = Player::new(endpoint.clone(), spec.model.as_str(), seed, library.clone(), now_us);
        bound.push((listener, RunningEndpoint { player: Arc::new(player), callers: Arc::default(), address }));
    }
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let mut endpoints = Vec::with_capacity(bound.len());
    for (listener, endpoint) in bound {
        let host = Host {
            player: endpoint.player.clone(),
            callers: endpoint.callers.clone(),
            model: spec.model.as_str().into(),
            clock: clock.clone(),
        };
        tasks.spawn(listen(listener, host, stop.clone(), tasks.clone()));
        endpoints.push(endpoint);
    }
    Ok(RunningSim { endpoints, stop, tasks })
}

impl Drop for RunningSim {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl RunningSim {
    /// The endpoints with their base URLs, such as `http://127.0.0.1:40123/v1`, in the order of the spec.
    pub fn endpoints(&self) -> impl Iterator<Item = (&EndpointId, String)> {
        self.endpoints.iter().map(|e| (&e.player.spec().name, base_url(e.address)))
    }

    /// The base URL of an endpoint.
    #[must_use]
    pub fn base_url(&self, endpoint: &str) -> Option<String> {
        self.find(endpoint).ok().map(|e| base_url(e.address))
    }

    /// Counts of an endpoint since the start.
    #[must_use]
    pub fn counts(&self, endpoint: &str) -> Option<Counts> {
        self.find(endpoint).ok().map(|e| e.player.counts())
    }

    /// The endpoints with the requests that each has received, by who sent them.
    pub fn callers(&self) -> impl Iterator<Item = (&EndpointId, &Callers)> {
        self.endpoints.iter().map(|e| (&e.player.spec().name, e.callers.as_ref()))
    }

    /// The latest outcomes of an endpoint, oldest first: what was injected and how it must be judged.
    #[must_use]
    pub fn log(&self, endpoint: &str) -> Option<Vec<Outcome>> {
        self.find(endpoint).ok().map(|e| e.player.log())
    }

    /// Breaks or heals an endpoint from now on.
    ///
    /// # Errors
    /// [`SimError::UnknownEndpoint`] or [`SimError::UnknownDefect`]; then nothing changes.
    pub fn set_injections(&self, endpoint: &str, injections: &[Injection]) -> Result<(), SimError> {
        let found = self.find(endpoint)?;
        if let Some(unknown) = injections.iter().find(|i| defects::find(&i.defect).is_none()) {
            return Err(SimError::UnknownDefect(unknown.defect.clone()));
        }
        found.player.set_injections(injections);
        Ok(())
    }

    /// The ground truth, as decided before the start. For the end of a demo and for tests: nothing else may look.
    #[must_use]
    pub fn truth(&self) -> Vec<EndpointTruth> {
        self.endpoints.iter().map(|e| EndpointTruth::of(e.player.spec())).collect()
    }

    /// Takes no new requests, finishes those in flight within [`STOP_GRACE`], and ends.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        // Connections watch the grace themselves; this bound only guards against a stuck one.
        let _ = tokio::time::timeout(STOP_GRACE * 2, self.tasks.wait()).await;
    }

    fn find(&self, endpoint: &str) -> Result<&RunningEndpoint, SimError> {
        let found = self.endpoints.iter().find(|e| e.player.spec().name.as_str() == endpoint);
        found.ok_or_else(|| SimError::UnknownEndpoint(endpoint.to_owned()))
    }
}

impl EndpointTruth {
    /// The truth of a spec.
    #[must_use]
    pub fn of(spec: &super::spec::EndpointSpec) -> Self {
        let defects = spec.injections.iter().map(|i| i.defect.clone()).collect();
        EndpointTruth { id: spec.name.clone(), truth: spec.truth(), defects }
    }
}

fn base_url(address: SocketAddr) -> String {
    format!("http://{address}/v1")
}

/// What every connection of an endpoint shares.
#[derive(Clone)]
struct Host {
    player: Arc<Player>,
    callers: Arc<Callers>,
    model: Arc<str>,
    clock: Arc<dyn Clock>,
}

async fn listen(listener: TcpListener, host: Host, stop: CancellationToken, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(connection(stream, host.clone(), stop.clone()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, host: Host, stop: CancellationToken) {
    // Without it small frames wait for acknowledgements; where it fails, they do.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| serve(host.clone(), request));
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A client that goes away is its own business.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(STOP_GRACE, connection).await;
}

async fn serve(host: Host, request: Request<Incoming>) -> Result<http::Response<SimBody>, Infallible> {
    let path = request.uri().path().trim_end_matches('/');
    let response = if path.ends_with("/chat/completions") {
        if request.method() == Method::POST {
            return Ok(complete(host, request).await);
        }
        plain(405, Instead::error(405, "invalid_request_error", "use POST for chat completions").body.into_bytes())
    } else if path.ends_with("/models") && request.method() == Method::GET {
        plain(200, models(&host.model, host.clock.now_us().div_euclid(1_000_000)))
    } else {
        let message = "this endpoint serves POST /v1/chat/completions and GET /v1/models";
        plain(404, Instead::error(404, "invalid_request_error", message).body.into_bytes())
    };
    Ok(response)
}

/// The document of `GET /v1/models`.
fn models(model: &str, created: i64) -> Vec<u8> {
    let entry = serde_json::json!({"id": model, "object": "model", "created": created, "owned_by": "simulator"});
    serde_json::json!({"object": "list", "data": [entry]}).to_string().into_bytes()
}

async fn complete(host: Host, request: Request<Incoming>) -> http::Response<SimBody> {
    let place = match host.player.enter() {
        Ok(place) => place,
        Err(full) => return write(full, None),
    };
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let message = format!("failed to read the request body: {error}");
            return plain(413, Instead::error(413, "invalid_request_error", &message).body.into_bytes());
        }
    };
    let authorization = parts.headers.get(http::header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    host.callers.count(authorization);
    let authorization = Hash64::default().bytes(authorization).value();
    let response = host.player.answer(&body, &Headers(&parts.headers), authorization, host.clock.now_us());
    drop(body);
    if response.delay_us > 0 {
        tokio::time::sleep(Duration::from_micros(response.delay_us)).await;
    }
    write(response, Some(place))
}

struct Headers<'a>(&'a HeaderMap);

impl HasHeader for Headers<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn plain(status: u16, body: Vec<u8>) -> http::Response<SimBody> {
    let response = Response {
        status,
        is_stream: false,
        parts: vec![body],
        delay_us: 0,
        gap_us: 0,
        retry_after_ms: None,
        headers: Vec::new(),
    };
    write(response, None)
}

fn write(response: Response, place: Option<InFlight>) -> http::Response<SimBody> {
    let Response { status, is_stream, parts, delay_us: _, gap_us, retry_after_ms, headers } = response;
    let parts = parts.into_iter().map(Bytes::from).collect();
    let pause = (gap_us > 0).then(|| Duration::from_micros(gap_us));
    let mut out = http::Response::new(SimBody { parts, is_stream, pause, sleep: None, _place: place });
    *out.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if is_stream { "text/event-stream" } else { "application/json" };
    out.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(ms) = retry_after_ms {
        out.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        out.headers_mut().insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(ms));
    }
    for (name, value) in headers {
        out.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    out
}

/// A body of parts, with pauses between them or without.
struct SimBody {
    parts: VecDeque<Bytes>,
    is_stream: bool,
    pause: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Held until the last byte: the concurrency cap counts requests that are still being answered.
    _place: Option<InFlight>,
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        let part = self.parts.pop_front();
        if let (Some(pause), false) = (self.pause, self.parts.is_empty()) {
            self.sleep = Some(Box::pin(tokio::time::sleep(pause)));
        }
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        // Real servers send streams without a length.
        if self.is_stream {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

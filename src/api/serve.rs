//! The listener: connections with limits on their number, their heads and their patience, drained at the end.

use std::convert::Infallible;
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::descriptors::connections_max;
use super::impatient::Impatient;
use super::limits::{ACCEPT_BACKLOG, ACCEPT_PAUSE, HEADER_BYTES_MAX, HEADER_TIMEOUT, WRITE_STALL_TIMEOUT};
use super::parking::{self, Parked, Parking};
use super::routes::router;
use super::state::ApiState;
use crate::clock::{Clock as _, SystemClock};
use crate::publish::http_date;

/// Why the API stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Connections were still open at the end of the drain time; they were cut.
    #[error("{0} connection(s) were still busy after the drain time and were cut")]
    Undrained(usize),
    /// The listener is unusable.
    #[error("cannot accept connections: {0}")]
    Accept(#[from] io::Error),
}

/// Listens on `address`, with a queue in which all consumers of a gateway fit that come back at once.
///
/// # Errors
/// The address is taken, not this machine's, or not allowed.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A daemon that starts again need not wait for its predecessor's connections to be forgotten.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}

/// Serves until `shutdown`, then accepts nothing more and gives the requests in flight as long to end as `drain` says by then.
///
/// # Errors
/// [`ApiError`].
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: CancellationToken,
    drain: impl Fn() -> Duration,
) -> Result<(), ApiError> {
    listener.local_addr()?;
    let router = router(ApiState { stopping: shutdown.clone(), ..state });
    let permits = Arc::new(Semaphore::new(connections_max()));
    let connections = TaskTracker::new();
    // Dropped with this future: connections never outlive it.
    let cut = CancellationToken::new();
    let _guard = cut.clone().drop_guard();
    loop {
        let accept = async {
            // The semaphore is never closed, so there is always a permit in the end.
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            listener.accept().await.map(|(stream, _)| (stream, permit))
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let connection = connection(stream, router.clone(), shutdown.clone(), cut.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain(), connections.wait()).await.is_err() {
        return Err(ApiError::Undrained(connections.len()));
    }
    Ok(())
}

/// What ended hyper's part of a connection.
enum Turn {
    /// The connection is over.
    Over,
    /// A request waits.
    Parked(Impatient<TcpStream>, Parked),
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken, cut: CancellationToken) {
    // A connection on which this fails is gone already.
    let _ = stream.set_nodelay(true);
    let mut stream = Impatient::new(stream, WRITE_STALL_TIMEOUT);
    loop {
        // Boxed, so that it takes no room while a request waits.
        let turn = Box::pin(talk(stream, router.clone(), &shutdown, &cut)).await;
        let Turn::Parked(back, parked) = turn else { return };
        stream = back;
        // hyper's own dates are those of the system: in fast motion as well.
        let date = || http_date(SystemClock.now_us());
        let settled = tokio::select! {
            settled = parking::settle(&mut stream, parked, || !shutdown.is_cancelled(), date) => settled,
            () = cut.cancelled() => return,
        };
        match settled {
            Ok(true) => {}
            Ok(false) => {
                let _ = stream.shutdown().await;
                return;
            }
            Err(error) => {
                debug!(%error, "a connection ended while a request waited");
                return;
            }
        }
    }
}

/// Speaks HTTP until the connection ends or a request is parked.
async fn talk(
    stream: Impatient<TcpStream>,
    router: Router,
    shutdown: &CancellationToken,
    cut: &CancellationToken,
) -> Turn {
    let parking = Parking::default();
    let offered = parking.clone();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(offered.clone());
        let router = router.clone();
        async move {
            let answered: Result<_, Infallible> = router.oneshot(request.map(Body::new)).await;
            answered
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut parked = None;
    let mut stopping = std::pin::pin!(shutdown.cancelled());
    let mut is_stopping = false;
    let ended = std::future::poll_fn(|cx| {
        // The connection first: a request that has arrived is answered, though the end is near.
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            parked = parking.take();
            if parked.is_some() {
                return Poll::Ready(None);
            }
            if is_stopping || stopping.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            is_stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
    });
    let ended = tokio::select! {
        ended = ended => ended,
        () = cut.cancelled() => return Turn::Over,
    };
    match (ended, parked) {
        (None, Some(mut parked)) => {
            let parts = connection.into_parts();
            // A client that sends its next request before this one is answered is told to send it again.
            parked.persistent &= parts.read_buf.is_empty();
            Turn::Parked(parts.io.into_inner(), parked)
        }
        (Some(Err(error)), _) => {
            debug!(%error, "a connection ended early");
            Turn::Over
        }
        _ => Turn::Over,
    }
}

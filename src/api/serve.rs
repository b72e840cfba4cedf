//! The listener: connections with limits on their number, their heads and their patience, drained at the end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::descriptors::connections_max;
use super::impatient::Impatient;
use super::limits::{ACCEPT_PAUSE, HEADER_BYTES_MAX, HEADER_TIMEOUT, WRITE_STALL_TIMEOUT};
use super::routes::router;
use super::state::ApiState;

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

/// Serves until `shutdown`, then accepts nothing more and gives the requests in flight `drain` to end.
///
/// # Errors
/// [`ApiError`].
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: CancellationToken,
    drain: Duration,
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
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        return Err(ApiError::Undrained(connections.len()));
    }
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken, cut: CancellationToken) {
    // A connection on which this fails is gone already.
    let _ = stream.set_nodelay(true);
    let stream = Impatient::new(stream, WRITE_STALL_TIMEOUT);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move {
            let answered: Result<_, Infallible> = router.oneshot(request.map(Body::new)).await;
            answered
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cut.cancelled() => return,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}

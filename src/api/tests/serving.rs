use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::kit::*;
use crate::api::{ApiError, serve};

const DRAIN: Duration = Duration::from_secs(20);

async fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn it_serves_until_told_to_stop_and_closes_idle_connections() {
    let kit = Kit::new().await;
    kit.publish(5);
    let (listener, address) = listen().await;
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, kit.state.clone(), stop.clone(), DRAIN));
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = "GET /v1/models/kimi/allowlist HTTP/1.1\r\nHost: localhost\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}]}") {
        assert!(connection.read_buf(&mut answer).await.unwrap() > 0);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    stop.cancel();
    served.await.unwrap().unwrap();
    assert_eq!(connection.read_buf(&mut answer).await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_connection_that_does_not_end_is_cut_after_the_drain_time() {
    let kit = Kit::new().await;
    let (listener, address) = listen().await;
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, kit.state.clone(), stop.clone(), Duration::ZERO));
    // A command whose body never comes.
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = "POST /v1/sweeps HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    // The handler has begun when it asks for the body.
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    stop.cancel();
    assert!(matches!(served.await.unwrap(), Err(ApiError::Undrained(1))));
}

#[tokio::test]
async fn readiness_follows_the_daemon_and_the_store() {
    let kit = Kit::new().await;
    assert_eq!(kit.get("/readyz").await.status, 200);
    kit.ready.send_replace(false);
    let answer = kit.get("/readyz").await;
    answer.is_problem(503, "not-ready");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(kit.get("/healthz").await.status, 200);
    kit.ready.send_replace(true);
    kit.state.store.close().await;
    kit.get("/readyz").await.is_problem(503, "not-ready");
    // The list does not need the store.
    kit.publish(1);
    assert_eq!(kit.get("/v1/models/kimi/allowlist").await.status, 200);
}

#[tokio::test]
async fn too_much_work_at_once_is_refused_and_lists_are_not() {
    let kit = Kit::new().await;
    kit.publish(1);
    // Each of these waits for a body that never comes.
    let mut waiting = Vec::new();
    for _ in 0..crate::api::limits::REQUESTS_IN_FLIGHT_MAX {
        let body =
            axum::body::Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        let request = http::Request::post("/v1/sweeps").header("content-type", "application/json").body(body).unwrap();
        let mut work = Box::pin(kit.send(request));
        assert!(futures_util::poll!(work.as_mut()).is_pending());
        waiting.push(work);
    }
    let refused = kit.get("/v1/models").await;
    refused.is_problem(503, "busy");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(kit.get("/v1/models/kimi/allowlist").await.status, 200);
    drop(waiting);
    assert_eq!(kit.get("/v1/models").await.status, 200);
}

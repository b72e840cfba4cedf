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
    let served = tokio::spawn(serve(listener, kit.state.clone(), stop.clone(), || DRAIN));
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
    let served = tokio::spawn(serve(listener, kit.state.clone(), stop.clone(), || Duration::ZERO));
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

/// A server and a connection to it.
async fn served(kit: &Kit) -> (TcpStream, CancellationToken, tokio::task::JoinHandle<Result<(), ApiError>>) {
    let (listener, address) = listen().await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, kit.state.clone(), stop.clone(), || DRAIN));
    (TcpStream::connect(address).await.unwrap(), stop, task)
}

async fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let count = connection.read_buf(&mut answer).await.unwrap();
        assert!(count > 0, "the end came early: {}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

fn long_poll(etag: &str, more: &str) -> String {
    format!("GET /v1/models/kimi/allowlist?wait=30s HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {etag}\r\n{more}\r\n")
}

#[tokio::test]
async fn a_connection_goes_on_after_each_request_that_waited_on_it() {
    let kit = Kit::new().await;
    let mut etag = kit.publish(1).etag.clone();
    let (mut connection, stop, task) = served(&kit).await;
    for revision in 2..5 {
        connection.write_all(long_poll(&etag, "").as_bytes()).await.unwrap();
        kit.waiters(1).await;
        etag = kit.publish(revision).etag.clone();
        let answer = read_until(&mut connection, "}]}").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let heads = [
            "content-length: ",
            "date: ",
            "cache-control: ",
            &format!("etag: {etag}"),
            &format!("exacto-version: {revision}"),
        ];
        assert!(heads.iter().all(|head| answer.contains(&format!("\r\n{head}"))), "{answer}");
        kit.waiters(0).await;
    }
    // One that does not wait is answered on the same connection, and so is the last one when the process stops.
    connection.write_all(b"GET /v1/models/kimi/allowlist HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    read_until(&mut connection, "}]}").await;
    connection.write_all(long_poll(&etag, "").as_bytes()).await.unwrap();
    kit.waiters(1).await;
    kit.state.stopping.cancel();
    stop.cancel();
    let answer = read_until(&mut connection, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 304 Not Modified\r\n") && !answer.contains("content-length"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(connection.read_buf(&mut Vec::new()).await.unwrap(), 0);
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_sent_before_the_waiting_one_is_answered_ends_the_connection_with_its_answer() {
    let kit = Kit::new().await;
    // Two at once, or one that says itself that it is the last.
    for (revision, closes) in [(1, ""), (3, "Connection: close\r\n")] {
        let etag = kit.publish(revision).etag.clone();
        let requests = long_poll(&etag, closes).repeat(if closes.is_empty() { 2 } else { 1 });
        let (mut connection, _stop, _task) = served(&kit).await;
        connection.write_all(requests.as_bytes()).await.unwrap();
        kit.waiters(1).await;
        kit.publish(revision + 1);
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn who_goes_away_waits_no_longer() {
    let kit = Kit::new().await;
    let etag = kit.publish(1).etag.clone();
    let watch = "GET /v1/models/kimi/allowlist/watch HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    for request in [long_poll(&etag, ""), watch] {
        let (mut connection, _stop, _task) = served(&kit).await;
        connection.write_all(request.as_bytes()).await.unwrap();
        kit.waiters(1).await;
        drop(connection);
        kit.waiters(0).await;
    }
}

#[tokio::test]
async fn a_stream_comes_in_chunks_and_ends_as_it_should_when_the_process_stops() {
    let kit = Kit::new().await;
    kit.publish(1);
    let (mut connection, stop, task) = served(&kit).await;
    let request = "GET /v1/models/kimi/allowlist/watch HTTP/1.1\r\nHost: localhost\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    let begin = read_until(&mut connection, "}]}\n\n\r\n").await;
    let (head, body) = begin.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\ntransfer-encoding: chunked") && head.contains("\r\ncontent-type: text/event-stream"));
    assert!(body.starts_with("d\r\nretry: 2000\n\n\r\n"), "{body}");
    kit.publish(2);
    let next = read_until(&mut connection, "}]}\n\n\r\n").await;
    let (length, event) = next.split_once("\r\n").unwrap();
    assert_eq!(usize::from_str_radix(length, 16).unwrap(), event.len() - 2);
    kit.state.stopping.cancel();
    stop.cancel();
    assert_eq!(read_until(&mut connection, "0\r\n\r\n").await, "0\r\n\r\n");
    task.await.unwrap().unwrap();
}

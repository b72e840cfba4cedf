//! The client against a real server on loopback. Time limits that must fire are short against a server that never
//! answers; all others are never reached.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::test_kit::{
    STREAM_HEAD, Server, Step, answer, chunk, frames, healthy, instance, last_chunk, plain, provider,
};
use super::*;
use crate::clock::ManualClock;
use crate::domain::{Fault, Limits, Provider, Retry};

const KEY: &str = "sk-key-of-prov1";

/// A key after it is cut in two by whoever shortens a detail text before cleaning it.
const PAD: &str = {
    const X: [u8; transport::DETAIL_CHARS_MAX - 30] = [b'x'; transport::DETAIL_CHARS_MAX - 30];
    match std::str::from_utf8(&X) {
        Ok(pad) => pad,
        Err(_) => "",
    }
};

fn client(provider: Provider) -> Client {
    Client::new(Arc::new(provider), Arc::new(ManualClock::at(1_000_000))).unwrap()
}

async fn ask(client: &Client, request: serde_json::Value) -> Reply {
    let limiter = EndpointLimiter::new(client.provider().limits);
    client.attempt("up/m", &instance(request), &limiter, None, &CancellationToken::new()).await
}

async fn ask_server(script: Vec<Vec<Step>>, request: serde_json::Value) -> (Server, Reply) {
    let server = Server::start(script).await;
    let reply = ask(&client(provider(&server.url)), request).await;
    (server, reply)
}

fn fault(reply: &Reply) -> Fault {
    reply.outcome.as_ref().unwrap_err().fault
}

fn with_retries(mut provider: Provider, attempts: u32) -> Provider {
    provider.retry = Retry { attempts, over: Duration::from_millis(20) };
    provider
}

#[tokio::test]
async fn a_plain_request_and_its_reply() {
    let (server, reply) = ask_server(vec![healthy("four")], json!({"temperature": 0})).await;
    let completion = reply.outcome.as_ref().unwrap();
    assert_eq!((completion.content.as_deref(), completion.breaches.len()), (Some("four"), 0));
    assert_eq!(reply.transcript.response, plain("four"));
    assert_eq!(reply.transcript.headers, "content-type: application/json\n");
    assert_eq!(reply.tries.len(), 1);
    assert_eq!((reply.tries[0].status, reply.tries[0].fault, reply.cancelled), (Some(200), None, false));
    assert_eq!((reply.started_at_us, reply.tries[0].started_at_us), (1_000_000, 1_000_000));
    assert!(reply.ttft_us.unwrap() <= reply.total_us && reply.total_us == reply.tries[0].took_us);

    let seen = &server.seen()[0];
    assert_eq!(reply.transcript.request, seen.body);
    assert!(seen.head.starts_with("post /v1/chat/completions http/1.1\r\n"), "{}", seen.head);
    assert!(seen.head.contains("authorization: bearer sk-key-of-prov1"), "{}", seen.head);
    assert!(seen.head.contains("accept: application/json"), "{}", seen.head);
    for tell_tale in ["exactod", "reqwest", "accept-encoding", "traceparent"] {
        assert!(!seen.head.contains(tell_tale), "{}", seen.head);
    }
}

#[tokio::test]
async fn a_streamed_request_and_its_reply() {
    let bytes = frames("caf\u{e9}").concat().into_bytes();
    let mut steps = vec![Step::Send(STREAM_HEAD.as_bytes().to_vec())];
    steps.extend(bytes.chunks(5).map(chunk));
    steps.push(last_chunk());
    let (server, reply) = ask_server(vec![steps], json!({"stream": true})).await;
    let completion = reply.outcome.as_ref().unwrap();
    assert_eq!((completion.content.as_deref(), completion.breaches.len()), (Some("caf\u{e9}"), 0));
    assert!(completion.streamed && reply.ttft_us.is_some());
    assert_eq!(reply.transcript.response, bytes);
    assert!(server.seen()[0].head.contains("accept: text/event-stream"));
    assert!(server.seen()[0].body.contains(r#""stream_options":{"include_usage":true}"#));
}

#[tokio::test]
async fn configured_headers_query_and_body_are_sent() {
    let server = Server::start(vec![healthy("x")]).await;
    let mut provider = provider(&format!("{}?api-version=7", server.url));
    provider.headers.insert("User-Agent".to_owned(), "gateway/1.0".into());
    provider.headers.insert("X-Title".to_owned(), "abc".into());
    provider.extra_body = Arc::new(json!({"provider": {"only": ["a"]}}).as_object().cloned().unwrap());
    ask(&client(provider), json!({})).await.outcome.unwrap();
    let seen = &server.seen()[0];
    assert!(seen.head.starts_with("post /v1/chat/completions?api-version=7 "), "{}", seen.head);
    assert!(seen.head.contains("user-agent: gateway/1.0") && seen.head.contains("x-title: abc"), "{}", seen.head);
    assert_eq!(seen.head.matches("user-agent").count(), 1);
    assert!(seen.body.ends_with(r#""provider":{"only":["a"]}}"#), "{}", seen.body);
}

#[tokio::test]
async fn transport_faults_are_tried_again_and_every_try_recorded() {
    let script = vec![
        answer("503 Service Unavailable", "retry-after-ms: 1\r\n", r#"{"error":{"message":"warming up"}}"#),
        vec![Step::Close],
        healthy("x"),
    ];
    let server = Server::start(script).await;
    let reply = ask(&client(with_retries(provider(&server.url), 3)), json!({})).await;
    assert_eq!(reply.outcome.as_ref().unwrap().content.as_deref(), Some("x"));
    let faults: Vec<_> = reply.tries.iter().map(|t| (t.status, t.fault)).collect();
    let expected = [(Some(503), Some(Fault::ServerError)), (None, Some(Fault::Unreachable)), (Some(200), None)];
    assert_eq!(faults, expected);
    assert_eq!(reply.tries[0].retry_after_us, Some(1000));
    assert_eq!(reply.tries[0].detail, "status 503 Service Unavailable: warming up");
    assert_eq!(server.seen().len(), 3);
    assert!(server.seen().iter().all(|seen| seen.body == server.seen()[0].body));
}

#[tokio::test]
async fn tries_end_with_the_last_fault() {
    let server = Server::start(vec![answer("429 Too Many Requests", "", "slow down")]).await;
    let reply = ask(&client(with_retries(provider(&server.url), 2)), json!({})).await;
    assert_eq!((fault(&reply), reply.tries.len(), server.seen().len()), (Fault::RateLimited, 3, 3));
    assert_eq!(reply.transcript.response, "slow down");
}

#[tokio::test]
async fn what_is_no_transport_fault_is_not_tried_again() {
    for (steps, expected) in [
        (answer("400 Bad Request", "", "{}"), Fault::Rejected),
        (answer("307 Temporary Redirect", "location: https://elsewhere.example\r\n", ""), Fault::Rejected),
        (answer("200 OK", "", ""), Fault::MalformedBody),
        (answer("200 OK", "", r#"{"choices":null}"#), Fault::MalformedBody),
        (answer("200 OK", "content-encoding: gzip\r\n", "\u{1f}\u{8b}"), Fault::MalformedBody),
    ] {
        let server = Server::start(vec![steps]).await;
        let reply = ask(&client(with_retries(provider(&server.url), 3)), json!({})).await;
        assert_eq!((fault(&reply), server.seen().len()), (expected, 1));
        assert_eq!(reply.tries[0].fault, Some(expected));
    }
}

#[tokio::test]
async fn errors_under_status_200() {
    let body = r#"{"error":{"message":"slow","code":429}}"#;
    let (_, reply) = ask_server(vec![answer("200 OK", "", body)], json!({})).await;
    assert_eq!(fault(&reply), Fault::RateLimited);
    let stream = [frames("x")[0].as_str(), "data: {\"error\":{\"message\":\"gone\"}}\n\n"].concat();
    let steps = answer("200 OK", "content-type: text/event-stream\r\n", &stream);
    let (_, reply) = ask_server(vec![steps], json!({"stream": true})).await;
    assert_eq!(fault(&reply), Fault::StreamError);
    assert_eq!(reply.transcript.response, stream);
}

#[tokio::test]
async fn a_slow_first_byte_and_a_stall_time_out() {
    let hanging_head = Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".to_vec());
    for steps in [vec![Step::Hang], vec![hanging_head.clone(), Step::Hang]] {
        let server = Server::start(vec![steps]).await;
        let mut provider = provider(&server.url);
        provider.timeouts.first_byte = Duration::from_millis(50);
        let reply = ask(&client(provider), json!({})).await;
        assert_eq!(fault(&reply), Fault::TimedOut);
        assert!(reply.tries[0].detail.contains("first_byte"), "{}", reply.tries[0].detail);
    }
    let server = Server::start(vec![vec![hanging_head, Step::Send(b"{".to_vec()), Step::Hang]]).await;
    let mut provider = provider(&server.url);
    provider.timeouts.idle = Duration::from_millis(50);
    let reply = ask(&client(provider), json!({})).await;
    assert_eq!(fault(&reply), Fault::TimedOut);
    assert_eq!((reply.tries[0].status, reply.transcript.response.as_ref()), (Some(200), b"{".as_slice()));
}

#[tokio::test]
async fn connections_that_break() {
    // Nobody listens on the port of a listener that is gone.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let reply = ask(&client(provider(&format!("http://{gone}/v1"))), json!({})).await;
    assert_eq!((fault(&reply), reply.tries[0].status), (Fault::Unreachable, None));
    assert!(reply.tries[0].detail.starts_with("no connection"), "{}", reply.tries[0].detail);

    let (_, reply) = ask_server(vec![vec![Step::Reset]], json!({})).await;
    assert_eq!(fault(&reply), Fault::Unreachable);

    let head = Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"choices\"".to_vec());
    let (_, reply) = ask_server(vec![vec![head.clone(), Step::Close]], json!({})).await;
    assert_eq!(fault(&reply), Fault::Unreachable);
    let (_, reply) = ask_server(vec![vec![head, Step::Reset]], json!({})).await;
    assert_eq!(fault(&reply), Fault::Unreachable);

    let begun =
        vec![Step::Send(STREAM_HEAD.as_bytes().to_vec()), chunk(frames("x")[..2].concat().as_bytes()), Step::Close];
    let (_, reply) = ask_server(vec![begun], json!({"stream": true})).await;
    assert!(reply.outcome.unwrap().truncated, "closed without the last chunk");
}

#[tokio::test]
async fn huge_bodies_are_not_read_to_their_end() {
    let head = Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{".to_vec());
    let mut steps = vec![head];
    steps.extend((0..20).map(|_| Step::Send(vec![b'x'; 1 << 20])));
    steps.push(Step::Hang);
    let (_, reply) = ask_server(vec![steps], json!({})).await;
    assert_eq!(fault(&reply), Fault::MalformedBody);
    assert!(reply.transcript.response.len() < BODY_BYTES_MAX + (4 << 20));
}

#[tokio::test]
async fn cancelling_ends_an_attempt_at_once() {
    let arrived = Arc::new(Notify::new());
    let server = Server::start(vec![vec![Step::Tell(Arc::clone(&arrived)), Step::Hang]]).await;
    let client = client(with_retries(provider(&server.url), 3));
    let limiter = EndpointLimiter::new(Limits { concurrency: 1, ..Limits::default() });
    let cancel = CancellationToken::new();
    let instance = instance(json!({}));
    let (reply, ()) = tokio::join!(client.attempt("m", &instance, &limiter, None, &cancel), async {
        arrived.notified().await;
        cancel.cancel();
    });
    assert!(reply.cancelled && reply.tries.is_empty() && reply.outcome.is_err());
    assert_eq!(limiter.in_flight(), 0);
    let again = client.attempt("m", &instance, &limiter, None, &cancel).await;
    assert!(again.cancelled);
    assert_eq!(server.seen().len(), 1, "nothing is sent once cancelled");
}

#[tokio::test]
async fn cancelling_while_waiting_keeps_the_tries_made() {
    let server = Server::start(vec![answer("500 Internal Server Error", "", "broken")]).await;
    let mut provider = provider(&server.url);
    provider.retry = Retry { attempts: 3, over: Duration::from_secs(36_000) };
    let client = client(provider);
    let limiter = EndpointLimiter::new(Limits::default());
    let cancel = CancellationToken::new();
    let instance = instance(json!({}));
    let mut attempt = Box::pin(client.attempt("m", &instance, &limiter, None, &cancel));
    // The slot is free again when the try is over and the wait has begun.
    loop {
        tokio::select! {
            biased;
            _ = &mut attempt => panic!("the wait lasts for hours"),
            () = tokio::task::yield_now() => (),
        }
        if server.seen().len() == 1 && limiter.in_flight() == 0 {
            break;
        }
    }
    cancel.cancel();
    let reply = attempt.await;
    assert!(reply.cancelled);
    assert_eq!((reply.tries.len(), fault(&reply)), (1, Fault::ServerError));
}

#[tokio::test]
async fn the_limiter_bounds_what_is_in_flight() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut steps = vec![Step::Tell(Arc::clone(&arrived)), Step::Await(Arc::clone(&go))];
    steps.extend(healthy("x"));
    let server = Server::start(vec![steps]).await;
    let client = client(provider(&server.url));
    let limiter = EndpointLimiter::new(Limits { concurrency: 1, ..Limits::default() });
    let (cancel, instance) = (CancellationToken::new(), instance(json!({})));
    let one = || client.attempt("m", &instance, &limiter, None, &cancel);
    let (first, second, ()) = tokio::join!(one(), one(), async {
        arrived.notified().await;
        assert_eq!(server.seen().len(), 1);
        assert_eq!(limiter.in_flight(), 1);
        go.notify_one();
        arrived.notified().await;
        go.notify_one();
    });
    assert!(first.outcome.is_ok() && second.outcome.is_ok());
}

#[tokio::test]
async fn keys_never_come_out() {
    let header = "header-secret-7";
    let echo = format!("bad key {KEY} and {header}");
    let streamed_in_pieces = {
        let (head, tail) = KEY.split_at(6);
        let all = frames("@");
        [all[0].clone(), all[1].replace('@', head), all[1].replace('@', tail), all[2..].concat()].concat()
    };
    let event_stream = "content-type: text/event-stream\r\n";
    let id = format!("x-request-id: {KEY}\r\n");
    for (steps, stream) in [
        (answer("401 Unauthorized", &id, &json!({"error": {"message": echo}}).to_string()), false),
        (answer("401 Unauthorized", "", &(PAD.to_owned() + KEY)), false),
        (answer("302 Found", &format!("location: https://x.example/?k={KEY}\r\n"), ""), false),
        (answer("200 OK", "", &json!({"error": {"message": echo, "code": 500}}).to_string()), false),
        (answer("200 OK", "", &plain(&echo)), false),
        (answer("200 OK", "", &echo), false),
        (answer("200 OK", event_stream, &frames(&echo).concat()), true),
        (answer("200 OK", event_stream, &streamed_in_pieces), true),
        (answer("200 OK", event_stream, &format!("data: {{\"error\":{{\"message\":\"{echo}\"}}}}\n\n")), true),
        (answer("200 OK", event_stream, &format!("data: {{{echo}\n\n")), true),
    ] {
        let server = Server::start(vec![steps]).await;
        let mut provider = provider(&server.url);
        provider.headers.insert("x-api-key".to_owned(), header.into());
        provider.extra_body = Arc::new(json!({"user": KEY}).as_object().cloned().unwrap());
        let client = client(provider);
        let reply = ask(&client, json!({"stream": stream})).await;
        let shown = format!("{reply:?} {client:?}");
        assert!(server.seen()[0].body.contains(KEY), "it is sent as configured");
        for secret in [KEY, header, &KEY[..5], &KEY[3..], &header[..12]] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

#[test]
fn wrong_settings_are_told_without_values() {
    let made = |change: fn(&mut Provider)| {
        let mut provider = provider("https://api.example/v1");
        change(&mut provider);
        Client::new(Arc::new(provider), Arc::new(ManualClock::default())).unwrap_err().to_string()
    };
    let key = made(|p| p.api_key = Some("secret-key\n".into()));
    assert!(key.contains("authorization") && !key.contains("secret-key"), "{key}");
    let value = made(|p| drop(p.headers.insert("x-api-key".into(), "secret\u{7}key".into())));
    assert!(value.contains("x-api-key") && !value.contains("secret"), "{value}");
    let name = made(|p| drop(p.headers.insert("x api".into(), "secret-key".into())));
    assert!(name.contains("x api") && !name.contains("secret-key"), "{name}");
    let file = made(|p| p.ca_file = Some("/nowhere/ca.pem".into()));
    assert!(file.contains("/nowhere/ca.pem") && file.contains("PEM"), "{file}");
}

#[test]
fn a_ca_file_must_hold_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "no certificate").unwrap();
    let mut provider = provider("https://api.example/v1");
    provider.ca_file = Some(path);
    let error = Client::new(Arc::new(provider), Arc::new(ManualClock::default())).unwrap_err();
    assert!(matches!(error, ClientError::CaFile { .. }), "{error}");
}

#[tokio::test]
async fn requests_go_through_the_configured_proxy() {
    let server = Server::start(vec![healthy("x")]).await;
    let mut provider = provider("http://far.example/v1");
    provider.proxy = Some(server.url.trim_end_matches("/v1").parse().unwrap());
    ask(&client(provider), json!({})).await.outcome.unwrap();
    assert!(server.seen()[0].head.starts_with("post http://far.example/v1/chat/completions "));
}

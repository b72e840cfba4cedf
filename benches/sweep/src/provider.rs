//! The fake provider: answers every request with the call that its message asks for, plain or as a stream of 21 events.
//!
//! It does as little as it can: the call's arguments are copied from the request as they are, escapes and all.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::Failure;

/// Events of a stream: the call's name, this many pieces of its arguments, the finish, the usage, `[DONE]`.
const ARGUMENT_PIECES: usize = 17;
const HEAD: &str = r#""id":"chatcmpl-7f3","created":1790000000,"model":"bench-model""#;
const USAGE: &str = r#""usage":{"prompt_tokens":412,"completion_tokens":38,"total_tokens":450}"#;

type Body = BoxBody<Bytes, Infallible>;

/// Serves until standard input ends; prints the port first. Always `true`.
///
/// # Errors
/// No port, or no runtime.
pub fn main(latency_ms: &str) -> Result<bool, Failure> {
    let latency = Duration::from_millis(latency_ms.parse()?);
    // One thread: with two cores the client has the other.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr()?.port())?;
        out.flush()?;
        let (gone, parent_gone) = oneshot::channel();
        std::thread::spawn(move || gone.send(std::io::stdin().read(&mut [0])));
        tokio::select! {
            _ = parent_gone => Ok(true),
            failed = accept(&listener, latency) => failed,
        }
    })
}

async fn accept(listener: &TcpListener, latency: Duration) -> Result<bool, Failure> {
    loop {
        tokio::spawn(serve(listener.accept().await?.0, latency));
    }
}

async fn serve(connection: TcpStream, latency: Duration) {
    let _ = connection.set_nodelay(true);
    let service = service_fn(move |request| answer(request, latency));
    // A client that goes away is none of our business.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

async fn answer(request: Request<Incoming>, latency: Duration) -> Result<Response<Body>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let Some((name, arguments)) = due_call(&body) else {
        let mut refusal = Response::new(Full::from("no call is asked for").boxed());
        *refusal.status_mut() = http::StatusCode::BAD_REQUEST;
        return Ok(refusal);
    };
    let is_stream = memmem::find(&body, br#""stream":true"#).is_some();
    let (kind, body) = if is_stream {
        ("text/event-stream", streamed(name, arguments))
    } else {
        ("application/json", Full::from(plain(name, arguments)).boxed())
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static(kind));
    headers.insert("x-request-id", http::HeaderValue::from_static("req_0c51b7e2"));
    Ok(response)
}

/// `call NAME with [[ARGUMENTS]]`, as the JSON string of the message writes it.
fn due_call(body: &[u8]) -> Option<(&str, &str)> {
    let middle = memmem::find(body, b" with [[")?;
    let name_at = memmem::rfind(&body[..middle], b"call ")? + 5;
    let arguments = &body[middle + 8..];
    let end = memmem::find(arguments, b"]]")?;
    Some((std::str::from_utf8(&body[name_at..middle]).ok()?, std::str::from_utf8(&arguments[..end]).ok()?))
}

fn plain(name: &str, arguments: &str) -> String {
    format!(
        r#"{{{HEAD},"object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_1","type":"function","function":{{"name":"{name}","arguments":"{arguments}"}}}}]}},"logprobs":null,"finish_reason":"tool_calls"}}],{USAGE}}}"#
    )
}

/// The events, each flushed alone.
fn streamed(name: &str, arguments: &str) -> Body {
    let frame = |delta: &str, finish: &str| {
        format!(
            "data: {{{HEAD},\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let mut events = vec![frame(
        &format!(
            r#"{{"role":"assistant","content":null,"tool_calls":[{{"index":0,"id":"call_1","type":"function","function":{{"name":"{name}","arguments":""}}}}]}}"#
        ),
        "null",
    )];
    for piece in pieces(arguments, ARGUMENT_PIECES) {
        let delta = format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{piece}"}}}}]}}"#);
        events.push(frame(&delta, "null"));
    }
    events.push(frame("{}", r#""tool_calls""#));
    events.push(format!("data: {{{HEAD},\"object\":\"chat.completion.chunk\",\"choices\":[],{USAGE}}}\n\n"));
    events.push("data: [DONE]\n\n".to_owned());
    let frames = stream::iter(events).then(|event| async move {
        // The server writes out what it has whenever the next piece is not ready.
        tokio::task::yield_now().await;
        Ok(Frame::data(Bytes::from(event)))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

/// About equal pieces; none begins inside an escape.
fn pieces(text: &str, count: usize) -> Vec<&str> {
    let mut out = Vec::with_capacity(count);
    let mut rest = text;
    for left in (1..=count).rev() {
        let mut at = (rest.len() / left).max(1).min(rest.len());
        while at < rest.len() && (!rest.is_char_boundary(at) || rest.as_bytes()[at - 1] == b'\\') {
            at += 1;
        }
        let (piece, after) = rest.split_at(if left == 1 { rest.len() } else { at });
        out.push(piece);
        rest = after;
    }
    out
}

//! Requests that wait for long, taken off their HTTP connection meanwhile.
//!
//! hyper keeps 16 KiB of buffers for a connection as long as one of its requests is worked on; ten thousand long-polls and
//! streams would hold 160 MB. A handler that waits leaves its work in the connection's [`Parking`] instead. The connection
//! is then taken from hyper, which has read nothing beyond the request, and the answer is written here; hyper reads the next
//! request. Only requests whose answer needs no more than that are parked: `GET` by HTTP/1.1 without a body.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::impatient::Impatient;

/// What a parked request waits for.
pub type Work = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A request off its connection.
pub struct Parked {
    work: Work,
    /// The client wants to go on with the connection.
    pub persistent: bool,
}

/// The place of one connection for the request that waits.
#[derive(Clone, Default)]
pub struct Parking(Arc<Mutex<Option<Parked>>>);

impl Parking {
    /// The place that the connection of a request offers, if the request may be parked at all.
    pub fn of(parts: &Parts, body: &Body) -> Option<Parking> {
        let plain = parts.method == Method::GET && parts.version == Version::HTTP_11 && body.is_end_stream();
        parts.extensions.get::<Parking>().filter(|_| plain).cloned()
    }

    /// Leaves the work to the connection. The future never ends: the connection drops it.
    pub async fn park(self, parts: &Parts, work: impl Future<Output = Response> + Send + 'static) -> Response {
        let closes = |value: &HeaderValue| value.to_str().is_ok_and(|v| v.to_ascii_lowercase().contains("close"));
        let persistent = !parts.headers.get_all(CONNECTION).iter().any(closes);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Parked { work: Box::pin(work), persistent });
        pending().await
    }

    /// Takes what was left.
    pub fn take(&self) -> Option<Parked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The head of a request with storage of its own: what hyper gives holds on to the buffer that it was read into.
pub fn detached(parts: &Parts) -> Parts {
    let (mut out, ()) = Request::new(()).into_parts();
    out.method = parts.method.clone();
    out.version = parts.version;
    out.uri = parts.uri.to_string().parse::<Uri>().unwrap_or_else(|_| parts.uri.clone());
    let mut headers = HeaderMap::with_capacity(parts.headers.keys_len());
    for (name, value) in &parts.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone());
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone()));
    }
    out.headers = headers;
    out
}

/// Waits for a parked request's answer and writes it. Tells whether the connection can go on.
///
/// # Errors
/// The connection failed or its peer went away.
pub async fn settle(
    stream: &mut Impatient<TcpStream>,
    parked: Parked,
    stays: impl Fn() -> bool,
    date: impl Fn() -> Option<HeaderValue>,
) -> io::Result<bool> {
    let Parked { work, persistent } = parked;
    let response = tokio::select! {
        response = work => response,
        error = gone(stream.get_ref()) => return Err(error),
    };
    let persistent = persistent && stays();
    let (mut head, mut body) = response.into_parts();
    head.headers.remove(TRANSFER_ENCODING);
    if let Some(date) = date() {
        head.headers.insert(DATE, date);
    }
    if !persistent {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let chunked = match body.size_hint().exact() {
        _ if bodiless => false,
        Some(length) => {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            false
        }
        None => {
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            true
        }
    };
    let mut bytes = head_bytes(head.status, &head.headers);
    if !bodiless {
        write_body(stream, &mut body, &mut bytes, chunked).await?;
    }
    if chunked {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(persistent)
}

/// Bytes that a client has not taken, above which nothing more is got for it: of lists that follow each other a slow one gets
/// the newest.
const UNWRITTEN_BYTES_MAX: usize = 8 << 10;

/// Puts the frames of a body into the buffer, which is written whenever the next one is waited for.
async fn write_body(
    stream: &mut Impatient<TcpStream>,
    body: &mut Body,
    bytes: &mut Vec<u8>,
    chunked: bool,
) -> io::Result<()> {
    loop {
        while bytes.len() > UNWRITTEN_BYTES_MAX {
            write_some(stream, bytes).await?;
        }
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            error = gone_or_flush(stream, bytes) => return Err(error),
        };
        let Some(frame) = frame else { return Ok(()) };
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        push(bytes, &data, chunked);
    }
}

async fn write_some(stream: &mut Impatient<TcpStream>, bytes: &mut Vec<u8>) -> io::Result<()> {
    match stream.write(bytes).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => {
            bytes.drain(..written);
            Ok(())
        }
    }
}

/// Writes what there is, then waits for the peer to go away. Bytes leave the buffer as they are written, so that nothing is
/// lost or sent twice when the body goes on in the middle of a write.
async fn gone_or_flush(stream: &mut Impatient<TcpStream>, bytes: &mut Vec<u8>) -> io::Error {
    while !bytes.is_empty() {
        if let Err(error) = write_some(stream, bytes).await {
            return error;
        }
    }
    *bytes = Vec::new();
    gone(stream.get_ref()).await
}

/// Ends when the peer has closed its side. What it sends before it is answered waits for its turn.
async fn gone(stream: &TcpStream) -> io::Error {
    match stream.peek(&mut [0]).await {
        Ok(0) => io::ErrorKind::ConnectionReset.into(),
        Ok(_) => pending().await,
        Err(error) => error,
    }
}

fn head_bytes(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in headers {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
    out
}

fn push(out: &mut Vec<u8>, data: &Bytes, chunked: bool) {
    match (chunked, data.is_empty()) {
        // A chunk without bytes would end the body.
        (true, true) => {}
        (true, false) => {
            out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
        (false, _) => out.extend_from_slice(data),
    }
}

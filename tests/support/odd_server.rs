//! Servers that are no model servers: they answer whatever a test makes of a request, byte by byte.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as far as a test looks at it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Request line and headers.
    pub head: String,
    /// The body.
    pub body: String,
    /// How many requests came before it.
    pub number: usize,
}

type Reply = dyn Fn(&Asked) -> Vec<u8> + Send + Sync;

/// Answers every request with the bytes that `reply` gives, and closes. The base URL.
pub async fn serve(reply: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let reply: Arc<Reply> = Arc::new(reply);
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let reply = Arc::clone(&reply);
            // A client that goes away early is part of the game.
            tokio::spawn(async move { answer(stream, number, &*reply).await.unwrap_or_default() });
        }
    });
    base
}

async fn answer(mut stream: TcpStream, number: usize, reply: &Reply) -> std::io::Result<()> {
    let Some(asked) = read(&mut stream, number).await? else { return Ok(()) };
    stream.write_all(&reply(&asked)).await?;
    stream.shutdown().await
}

async fn read(stream: &mut TcpStream, number: usize) -> std::io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let body = &bytes[end + 4..];
            if body.len() >= length.unwrap_or(0) {
                return Ok(Some(Asked { head, body: String::from_utf8_lossy(body).into_owned(), number }));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// An HTTP answer with a body of a kind, as bytes.
pub fn http(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An answer without a length, ended by the end of the connection.
pub fn http_until_close(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

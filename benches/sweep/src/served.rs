//! The daemon as a process of its own, and a client that is no dearer than it must be.

use std::fs;
use std::net::TcpListener as Bound;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Failure;

/// How long anything may take before the benchmark gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with the benchmark.
pub struct Server(pub Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn free_port() -> Result<u16, Failure> {
    Ok(Bound::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A config of one model, `lab/m`, with these endpoints; nobody is there to answer for them, and nothing is scheduled.
pub fn configured(dir: &Path, port: u16, endpoints: &[String], policy: &str) -> String {
    let providers =
        endpoints.iter().map(|id| format!("[[provider]]\nid = \"{id}\"\nbase_url = \"http://127.0.0.1:9/v1\"\n"));
    let endpoints = endpoints
        .iter()
        .map(|id| format!("[[model.endpoint]]\nid = \"{id}\"\nprovider = \"{id}\"\nupstream_model = \"m\"\n"));
    format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n[store]\nurl = \"sqlite://{}\"\n{policy}{}[[model]]\nid = \"lab/m\"\n{}",
        dir.join("store.db").display(),
        providers.collect::<String>(),
        endpoints.collect::<String>(),
    )
}

/// Starts the daemon with a config.
///
/// # Errors
/// The folder cannot be written, or the program is not built.
pub fn serve(dir: &Path, config: &str) -> Result<Server, Failure> {
    let file = dir.join("exactod.toml");
    fs::write(&file, config)?;
    let program = std::env::current_exe()?.with_file_name("exactod");
    let mut command = Command::new(&program);
    command.arg("--config").arg(&file).arg("serve").stdout(Stdio::null()).stderr(fs::File::create(dir.join("log"))?);
    let child =
        command.spawn().map_err(|e| format!("{}: {e}; build it first: scripts/bench does", program.display()))?;
    Ok(Server(child))
}

/// One answer with a body of known length.
pub async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(String, Vec<u8>), Failure> {
    buffer.clear();
    loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..at].to_vec())?;
            let length =
                head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.unwrap_or(0);
            while buffer.len() < at + 4 + length {
                more(stream, buffer).await?;
            }
            return Ok((head, buffer[at + 4..at + 4 + length].to_vec()));
        }
        more(stream, buffer).await?;
    }
}

pub async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    match tokio::time::timeout(PATIENCE, stream.read_buf(buffer)).await? {
        Ok(0) => Err("the server closed the connection".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub async fn ask(port: u16, request: &str) -> Result<(String, Vec<u8>), Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request.as_bytes()).await?;
    answer(&mut stream, &mut Vec::new()).await
}

pub fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

pub async fn ready(port: u16) -> Result<(), Failure> {
    up(port, "/readyz").await
}

/// Until a server answers.
pub async fn up(port: u16, path: &str) -> Result<(), Failure> {
    let begun = Instant::now();
    while !matches!(ask(port, &get(path, "")).await, Ok((head, _)) if head.contains(" 200 ")) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("no answer on {path}").into());
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

pub async fn order(port: u16, verb: &str) -> Result<(), Failure> {
    let body = r#"{"note":"benchmark"}"#;
    let request = format!(
        "POST /v1/models/lab/m/endpoints/a/{verb} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (head, body) = ask(port, &request).await?;
    if head.contains(" 200 ") { Ok(()) } else { Err(format!("{head}\n{}", String::from_utf8_lossy(&body)).into()) }
}

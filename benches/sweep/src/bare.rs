//! The floor: the same requests by a bare `reqwest` loop that parses the answer and validates the call's arguments, and
//! does nothing else. What the program needs on top of it is its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use exactod::provider::chat_completions::request_body;
use exactod::suites::{Drawer, load_suite};
use jsonschema::Validator;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::client::{Figures, Order};
use super::{Failure, process};

/// What every request needs, made before the clock starts.
struct Loop {
    http: reqwest::Client,
    url: reqwest::Url,
    bodies: Vec<Bytes>,
    validator: Validator,
    next: AtomicUsize,
}

/// Sends every case of the suite once and prints the [`Figures`] as JSON. Always `true`.
///
/// # Errors
/// A request fails, or an answer is not what it must be.
#[expect(clippy::print_stdout, reason = "the figures go to the process that started this one")]
pub fn main(order: &str) -> Result<bool, Failure> {
    let order: Order = serde_json::from_str(order)?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let figures = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&order))?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(true)
}

async fn run(order: &Order) -> Result<Figures, Failure> {
    let shared = Arc::new(Loop {
        http: reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?,
        url: format!("http://127.0.0.1:{}/v1/chat/completions", order.port).parse()?,
        bodies: bodies(&order.suite)?,
        validator: validator()?,
        next: AtomicUsize::new(0),
    });
    let (start_cpu, start_rss_mib, started) = (process::cpu_seconds(), process::rss_mib()?, Instant::now());
    let mut workers = JoinSet::new();
    for _ in 0..order.concurrency {
        workers.spawn(worker(Arc::clone(&shared)));
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), process::cpu_seconds() - start_cpu);
    let (requests, peak_rss_mib) = (shared.bodies.len() as u64, process::peak_rss_mib()?);
    Ok(Figures { requests, start_cpu, start_rss_mib, cpu, seconds, peak_rss_mib, database_mib: 0.0 })
}

fn bodies(suite: &Path) -> Result<Vec<Bytes>, Failure> {
    let drawer = Drawer::new(Arc::new(load_suite(suite)?))?;
    let body = |case: &Arc<exactod::domain::Case>| {
        let instance = drawer.draw(&case.id, "0123456789abcdef0123456789abcdef", 0)?;
        Ok(request_body("bench-model", &instance, &Map::new()))
    };
    drawer.suite().cases.iter().map(body).collect()
}

fn validator() -> Result<Validator, Failure> {
    let schema = super::suite::tool("any", 1).pointer("/function/parameters").cloned().ok_or("no schema")?;
    Ok(jsonschema::options().offline().build(&schema)?)
}

async fn worker(shared: Arc<Loop>) -> Result<(), Failure> {
    while let Some(body) = shared.bodies.get(shared.next.fetch_add(1, Ordering::Relaxed)) {
        let request = shared.http.post(shared.url.clone()).header(CONTENT_TYPE, "application/json").body(body.clone());
        let answer = request.send().await?.bytes().await?;
        let wire = if answer.starts_with(b"data:") { streamed(&answer)? } else { plain(&answer)? };
        let arguments: Value = serde_json::from_str(&wire)?;
        if !shared.validator.is_valid(&arguments) && arguments.get("crates").is_none() {
            return Err("an answer is not valid".into());
        }
    }
    Ok(())
}

fn plain(answer: &[u8]) -> Result<String, Failure> {
    let body: Value = serde_json::from_slice(answer)?;
    let wire = body.pointer("/choices/0/message/tool_calls/0/function/arguments").and_then(Value::as_str);
    Ok(wire.ok_or("no call")?.to_owned())
}

fn streamed(answer: &[u8]) -> Result<String, Failure> {
    let mut wire = String::new();
    for line in std::str::from_utf8(answer)?.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if line == "[DONE]" {
            continue;
        }
        let chunk: Value = serde_json::from_str(line)?;
        let piece = chunk.pointer("/choices/0/delta/tool_calls/0/function/arguments").and_then(Value::as_str);
        wire.push_str(piece.unwrap_or_default());
    }
    Ok(wire)
}

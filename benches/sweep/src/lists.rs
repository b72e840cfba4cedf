//! What serving lists costs: CPU per read beside nginx, memory of ten thousand clients that wait, and how soon a new
//! revision reaches them all.
//!
//! The daemon is the program itself (`target/release/exactod`, which `scripts/bench` builds), a process of its own; nginx
//! serves the very bytes as a file, in one process without a log, from the open file and opened anew each time.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::served::{PATIENCE, Server, answer, ask, configured, free_port, get, more, order, ready, serve, up};
use super::{Failure, process};

/// Clients that wait at once.
const CLIENTS: usize = 10_000;
/// MiB that the daemon has resident with all of them, at most: 150 MB.
const RSS_MIB_MAX: f64 = 150e6 / (1 << 20) as f64;
/// Seconds from the order that makes a revision to the last client's answer, at most.
const REACH_S_MAX: f64 = 1.0;
/// CPU of a read over that of nginx with a file, at most.
const NGINX_RATIO_MAX: f64 = 1.0;
/// Connections that read, and reads of each.
const READERS: usize = 16;
const READS: usize = 6_000;
/// Clients that connect at once: more than the system's queue takes would measure its retransmissions.
const CONNECTING: usize = 512;
/// Rounds of reads, one server after the other; their median counts.
const ROUNDS: usize = 5;
const LIST: &str = "/v1/models/lab/m/allowlist";

/// Runs the daemon and prints the figures. `false` when a goal is missed.
///
/// # Errors
/// The daemon does not start, nginx is missing, or a client gets something else than the list.
pub fn main() -> Result<bool, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

#[expect(clippy::print_stdout, reason = "the benchmark tells its figures on the terminal")]
async fn run() -> Result<bool, Failure> {
    let dir = std::env::temp_dir().join(format!("exactod-lists-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let port = free_port()?;
    let ids = ["a", "b", "c", "d"].map(str::to_owned);
    let daemon = serve(&dir, &configured(&dir, port, &ids, ""))?;
    let pid = daemon.0.id();
    ready(port).await?;
    order(port, "pin").await?;
    let (head, body) = list(port).await?;
    fs::write(dir.join("allowlist.json"), &body)?;
    let mut good = true;
    let mut goal = |what: &str, value: f64, most: f64, unit: &str| {
        good &= value <= most;
        println!("{what:<58} {value:>8.2} {unit:<4} goal {most} {}", if value <= most { "ok" } else { "MISSED" });
    };

    let nginx_port = free_port()?;
    let mut own = Vec::new();
    for (name, cache) in [("opened for each request", ""), ("kept open", "open_file_cache max=10;")] {
        let nginx = nginx(&dir, nginx_port, cache)?;
        up(nginx_port, "/allowlist.json").await?;
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let theirs = cpu_us_per_read(nginx.0.id(), nginx_port, "/allowlist.json").await?;
            let ours = cpu_us_per_read(pid, port, LIST).await?;
            own.push(ours);
            ratios.push(ours / theirs);
        }
        goal(&format!("CPU of a read over nginx's, its file {name}"), median(&mut ratios), NGINX_RATIO_MAX, "");
    }
    println!("{:<58} {:>8.2} us", "CPU of a read", median(&mut own));

    let etag = head.lines().find_map(|l| l.strip_prefix("etag: ")).ok_or("the list has no entity tag")?.to_owned();
    println!("{:<58} {:>8.1} MiB", "resident before anybody waits", process::rss_mib_of(pid)?);
    for (kind, verb) in [("long-polls", "unpin"), ("streams", "pin")] {
        let (rss, reach) = wait_all(kind, verb, port, pid, &etag).await?;
        goal(&format!("resident with {CLIENTS} idle {kind}"), rss, RSS_MIB_MAX, "MiB");
        goal(&format!("from the order to the last of {CLIENTS} {kind}"), reach, REACH_S_MAX, "s");
        // The list is as it was for the next kind.
        ready(port).await?;
    }
    drop(daemon);
    fs::remove_dir_all(&dir)?;
    Ok(good)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn nginx(dir: &Path, port: u16, more: &str) -> Result<Server, Failure> {
    let text = format!(
        "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/nginx.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; keepalive_requests 100000000; sendfile on; {more} types {{ application/json json; }}\n\
         server {{ listen 127.0.0.1:{port}; root {0}; }} }}\n",
        dir.display()
    );
    let config = dir.join("nginx.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Server(command.spawn().map_err(|e| format!("nginx: {e}; install it to compare with"))?))
}

async fn list(port: u16) -> Result<(String, Vec<u8>), Failure> {
    let (head, body) = ask(port, &get(LIST, "")).await?;
    if head.contains(" 200 ") { Ok((head, body)) } else { Err(head.into()) }
}

/// CPU of a server per read, in microseconds.
async fn cpu_us_per_read(pid: u32, port: u16, path: &str) -> Result<f64, Failure> {
    let before = process::cpu_seconds_of(pid)?;
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let request = get(path, "");
            tokio::spawn(async move {
                let (mut stream, mut buffer) = (TcpStream::connect(("127.0.0.1", port)).await?, Vec::new());
                for _ in 0..READS {
                    stream.write_all(request.as_bytes()).await?;
                    let (head, body) = answer(&mut stream, &mut buffer).await?;
                    if !head.contains(" 200 ") || body.is_empty() {
                        return Err(Failure::from(head));
                    }
                }
                Ok(())
            })
        })
        .collect();
    for reader in readers {
        reader.await??;
    }
    Ok((process::cpu_seconds_of(pid)? - before) * 1e6 / (READERS * READS) as f64)
}

/// Memory with all clients waiting, and the seconds until the last has what an order made.
async fn wait_all(kind: &str, verb: &'static str, port: u16, pid: u32, etag: &str) -> Result<(f64, f64), Failure> {
    let polls = kind == "long-polls";
    let request = if polls {
        get(&format!("{LIST}?wait=300s"), &format!("If-None-Match: {etag}\r\n"))
    } else {
        get(&format!("{LIST}/watch"), "")
    };
    let request: Arc<str> = request.into();
    let door = Arc::new(Semaphore::new(CONNECTING));
    let (tell, mut told) = mpsc::channel::<Result<(), Failure>>(CLIENTS);
    for _ in 0..CLIENTS {
        let (request, door, tell) = (Arc::clone(&request), Arc::clone(&door), tell.clone());
        tokio::spawn(async move {
            let waited = one_that_waits(&request, polls, port, &door).await;
            let _ = tell.send(waited).await;
        });
    }
    tokio::select! {
        waiting = all_wait(port) => waiting?,
        // Nothing is new yet: whoever is back so early has failed.
        early = told.recv() => return Err(early.ok_or("no client is left")?.err().unwrap_or_else(|| "a client was told something before there was news".into())),
    }
    let rss = process::rss_mib_of(pid)?;
    let begun = Instant::now();
    order(port, verb).await?;
    for _ in 0..CLIENTS {
        told.recv().await.ok_or("a client is missing")??;
    }
    Ok((rss, begun.elapsed().as_secs_f64()))
}

/// Until the daemon counts every client among those that wait.
async fn all_wait(port: u16) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let (_, body) = ask(port, &get("/metrics", "")).await?;
        let text = String::from_utf8(body)?;
        let waiting = text.lines().find_map(|line| line.strip_prefix("exactod_http_watchers "));
        if waiting.is_some_and(|count| count == CLIENTS.to_string()) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} of {CLIENTS} clients wait", waiting.unwrap_or("none")).into());
        }
        tokio::task::yield_now().await;
    }
}

async fn one_that_waits(request: &str, polls: bool, port: u16, door: &Semaphore) -> Result<(), Failure> {
    let permit = door.acquire().await?;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::with_capacity(2_048);
    if !polls {
        // The list in force comes first.
        while !buffer.ends_with(b"}\n\n\r\n") {
            more(&mut stream, &mut buffer).await?;
        }
        buffer.clear();
    }
    drop(permit);
    loop {
        more(&mut stream, &mut buffer).await?;
        // A heartbeat is no news.
        let is_news =
            |bytes: &[u8]| if polls { bytes.starts_with(b"HTTP/1.1 200") } else { bytes.ends_with(b"}\n\n\r\n") };
        if is_news(&buffer) {
            return Ok(());
        }
    }
}

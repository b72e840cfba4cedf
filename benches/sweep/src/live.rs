//! Live traffic against the program itself: how soon ten bad answers take an endpoint off the list, and how long a year of
//! counts takes to read.
//!
//! The year is written as the daemon would have written it: an hour of all endpoints after the other, and then its sums.
//! Minutes are left out for all but one endpoint and the last day: they would be 263 million rows, and what is read for a year
//! are the sums.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use exactod::clock::{Clock, SystemClock, rfc3339};
use exactod::live::{Cell, Observation, Outcome, PlaceId};
use exactod::store::{LiveCell, LiveSeries, Store, StoreOptions};
use serde_json::{Value, json};

use super::Failure;
use super::served::{PATIENCE, ask, configured, free_port, get, order, ready, serve};

/// Endpoints of the year.
const ENDPOINTS: usize = 500;
/// Days of the year, the one that has begun included.
const DAYS: i64 = 366;
/// Seconds of an hour and a day.
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;
/// The endpoint whose minutes are all there.
const WHOLE: usize = 7;
/// Rows of one transaction.
const ROWS_MAX: usize = 50_000;
/// Endpoints that are asked about, each once: answers are kept for some seconds.
const ASKED: usize = 25;
/// Milliseconds of a query, at most.
const QUERY_MS_MAX: f64 = 50.0;
/// Seconds from the tenth bad answer to the list without the endpoint, at most.
const QUARANTINE_S_MAX: f64 = 5.0;
/// Quarantines that are timed, each by a fresh daemon; the slowest counts.
const QUARANTINES: usize = 5;

/// Measures both and prints. `false` when a goal is missed.
///
/// # Errors
/// The daemon does not start, or answers something else than is expected.
#[expect(clippy::print_stdout, reason = "the benchmark tells its figures on the terminal")]
pub fn main() -> Result<bool, Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let dir = std::env::temp_dir().join(format!("exactod-live-{}", std::process::id()));
    let mut good = true;
    let mut goal = |what: &str, value: f64, most: f64, unit: &str| {
        good &= value <= most;
        println!("{what:<66} {value:>8.2} {unit:<3} goal {most} {}", if value <= most { "ok" } else { "MISSED" });
    };
    let mut slowest = 0.0_f64;
    for round in 0..QUARANTINES {
        let dir = dir.join(format!("quarantine-{round}"));
        fs::create_dir_all(&dir)?;
        slowest = slowest.max(runtime.block_on(quarantine(&dir))?);
    }
    goal("from the tenth bad answer to the list without it, the slowest", slowest, QUARANTINE_S_MAX, "s");

    fs::create_dir_all(&dir)?;
    let rows = runtime.block_on(write_year(&dir))?;
    let size = fs::metadata(dir.join("store.db"))?.len() as f64 / 1e6;
    println!("a year of {ENDPOINTS} endpoints: {rows} rows, {size:.0} MB");
    for (what, ms) in runtime.block_on(queries(&dir))? {
        goal(&what, ms, QUERY_MS_MAX, "ms");
    }
    fs::remove_dir_all(&dir)?;
    Ok(good)
}

/// Seconds from the answer to the report of the tenth bad one until the list is without the endpoint.
async fn quarantine(dir: &Path) -> Result<f64, Failure> {
    let port = free_port()?;
    let ids = ["a", "b", "c", "d"].map(str::to_owned);
    let _daemon = serve(dir, &configured(dir, port, &ids, "[policy]\nquarantine = { enabled = true }\n"))?;
    ready(port).await?;
    order(port, "pin").await?;
    let record = |id: String, endpoint: &str, valid: bool, ago_s: i64| {
        let ts = rfc3339(SystemClock.now_us() - ago_s * 1_000_000);
        let mut record = json!({
            "v": 1, "id": id, "ts": ts, "model": "m:exacto", "provider": endpoint, "ok": true, "http_status": 200,
            "tools_offered": 1, "tool_calls": 1, "tool_call_valid": valid, "finish_reason": "tool_calls", "latency_ms": 80
        });
        if !valid {
            record["invalid_reason"] = json!("json");
        }
        record
    };
    let usual = (0..30).map(|i| record(format!("usual-{i}"), &ids[i % ids.len()], true, 60 - i as i64));
    report(port, &usual.collect::<Vec<_>>()).await?;
    for i in 0..10 {
        report(port, &[record(format!("bad-{i}"), "c", false, 0)]).await?;
    }
    let begun = Instant::now();
    loop {
        let (_, body) = ask(port, &get("/v1/models/lab/m/allowlist", "")).await?;
        let list: Value = serde_json::from_slice(&body)?;
        let listed = list["providers"].as_array().ok_or("there is no list")?;
        if !listed.iter().any(|provider| provider["id"] == "c") {
            return Ok(begun.elapsed().as_secs_f64());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("`c` is still listed: {list}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn report(port: u16, records: &[Value]) -> Result<(), Failure> {
    let body = json!(records).to_string();
    let request = format!(
        "POST /v1/observations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (head, body) = ask(port, &request).await?;
    let said: Value = serde_json::from_slice(&body)?;
    match said["accepted"].as_u64() == Some(records.len() as u64) {
        true => Ok(()),
        false => Err(format!("{head}\n{said}").into()),
    }
}

fn name(endpoint: usize) -> String {
    format!("provider-{endpoint:03}")
}

/// Rows of a store that was reported to for a year.
async fn write_year(dir: &Path) -> Result<usize, Failure> {
    let store =
        Store::open_migrated(&format!("sqlite://{}", dir.join("store.db").display()), &StoreOptions::default()).await?;
    let end_s = SystemClock.now_us() / 1_000_000 / HOUR_S * HOUR_S;
    let begin_s = end_s / DAY_S * DAY_S - (DAYS - 1) * DAY_S;
    let (minute, hour, day) = (counted(1), counted(60), counted(60 * 24));
    let mut rows = Rows { store: &store, waiting: Vec::new(), written: 0 };
    for at_s in (begin_s..end_s).step_by(HOUR_S as usize) {
        for endpoint in 0..ENDPOINTS {
            if endpoint == WHOLE || end_s - at_s <= DAY_S {
                for minute_s in (at_s..at_s + HOUR_S).step_by(60) {
                    rows.add(endpoint, 60, minute_s, &minute).await?;
                }
            }
            rows.add(endpoint, HOUR_S, at_s, &hour).await?;
            if (at_s + HOUR_S) % DAY_S == 0 {
                rows.add(endpoint, DAY_S, at_s + HOUR_S - DAY_S, &day).await?;
            }
        }
    }
    rows.flush().await?;
    let written = rows.written;
    store.close().await;
    Ok(written)
}

struct Rows<'a> {
    store: &'a Store,
    waiting: Vec<LiveCell>,
    written: usize,
}

impl Rows<'_> {
    async fn add(&mut self, endpoint: usize, width_s: i64, start_s: i64, bytes: &[u8]) -> Result<(), Failure> {
        let series =
            LiveSeries { model: "lab/m".to_owned(), endpoint: name(endpoint), stratum: "tools-short".to_owned() };
        let width_s = u32::try_from(width_s)?;
        self.waiting.push(LiveCell { series, width_s, start_us: start_s * 1_000_000, part: 1, bytes: bytes.to_vec() });
        if self.waiting.len() >= ROWS_MAX { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        self.store.put_live(&self.waiting).await?;
        self.written += self.waiting.len();
        self.waiting.clear();
        Ok(())
    }
}

/// The counts of so many minutes of some traffic.
fn counted(minutes: u64) -> Vec<u8> {
    let mut cell = Cell::default();
    for i in 0..minutes * 20 {
        cell.observe(&Observation {
            id: i,
            at_us: 0,
            place: PlaceId::NOWHERE,
            stratum: Observation::stratum_of(Some(2), Some(700)),
            outcome: Outcome::Good,
            tool_call: Some(Ok(())),
            called: true,
            stream: true,
            retried: false,
            ttft_us: Some(90_000 + i * 6_007 % 400_000),
            latency_us: Some(400_000 + i * 7_919 % 4_000_000),
            tokens_in: Some(700),
            tokens_out: Some(50),
            cost_nanousd: 40_000,
        });
    }
    cell.encode()
}

/// The median of each query, in milliseconds.
async fn queries(dir: &Path) -> Result<Vec<(String, f64)>, Failure> {
    let port = free_port()?;
    let ids: Vec<String> = (0..ENDPOINTS).map(name).collect();
    let daemon = serve(dir, &configured(dir, port, &ids, ""))?;
    ready(port).await?;
    let of = |endpoint: usize, query: &str| format!("/v1/models/lab/m/endpoints/{}/live?{query}", name(endpoint));
    let spread = |i: usize| i * ENDPOINTS / ASKED;
    let mut out = Vec::new();
    for (what, query) in [
        ("a year of an endpoint by days", "since=365d&step=1d"),
        ("a month of an endpoint by hours", "since=30d&step=1h"),
        ("sixteen hours of an endpoint by minutes", "since=16h&step=1m"),
    ] {
        let mut times = Vec::new();
        for i in 0..ASKED {
            times.push(timed(port, &of(spread(i), query)).await?);
        }
        out.push((what.to_owned(), median(&mut times)));
    }
    let mut times = Vec::new();
    // The windows differ, so that no answer is given again.
    for days in 361..366 {
        times.push(timed(port, &format!("/v1/models/lab/m/live?since={days}d")).await?);
    }
    out.push((format!("a year of all {ENDPOINTS} endpoints, summed"), median(&mut times)));
    drop(daemon);
    Ok(out)
}

async fn timed(port: u16, path: &str) -> Result<f64, Failure> {
    let begun = Instant::now();
    let (head, body) = ask(port, &get(path, "")).await?;
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    match head.contains(" 200 ") && body.len() > 1_000 {
        true => Ok(ms),
        false => Err(format!("{path}: {head}\n{}", String::from_utf8_lossy(&body)).into()),
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

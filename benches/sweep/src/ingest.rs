//! What live traffic costs: records read, attributed, deduplicated, counted, weighed and stored, on two threads.
//!
//! No HTTP: a body of a thousand records costs one request. Ids are written anew before every body, so that none is a
//! repetition; that is counted too.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use exactod::clock::{Clock, SystemClock, rfc3339};
use exactod::daemon::live;
use exactod::domain::{Endpoint, EndpointId, ModelId, ProviderId};
use exactod::live::{Directory, Door, Format, Intake, ModelNames, TimeWindow};
use exactod::store::{Store, StoreOptions};

use super::{Failure, process};

/// Threads that read.
const THREADS: u64 = 2;
/// Endpoints that are reported on.
const ENDPOINTS: usize = 50;
/// How long each kind of record is sent.
const LASTS: Duration = Duration::from_secs(12);
/// Digits of an id.
const DIGITS: usize = 12;
/// Stands where an id goes.
const BLANK: &str = "idididididid";

/// Measures both kinds of records and prints.
///
/// # Errors
/// A name is no name, the store cannot be made, or there is no `/proc`.
pub fn main() -> Result<bool, Failure> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let now = rfc3339(SystemClock.now_us());
    let native = |i: usize| {
        format!(
            r#"{{"v":1,"id":"{BLANK}","ts":"{now}","model":"kimi-k2","provider":"prov{}","source":"litellm-eu","ok":true,"error_class":null,"http_status":200,"tools_offered":3,"tool_calls":1,"tool_call_valid":true,"invalid_reason":null,"finish_reason":"tool_calls","ttft_ms":{},"latency_ms":{},"input_tokens":{},"output_tokens":50,"cost_usd":0.0004,"attempt":1,"stream":true}}"#,
            i % ENDPOINTS,
            200 + i % 300,
            900 + i * 7 % 4_000,
            700 + i * 131 % 9_000,
        )
    };
    let met = run("native records", Format::Native, &body(1_000, native), 100_000.0)?;
    let seconds = SystemClock.now_us() as f64 / 1e6;
    let prompt = "a prompt of some length, ".repeat(330);
    let litellm = |i: usize| {
        format!(
            r#"{{"id":"chatcmpl-1","litellm_call_id":"{BLANK}","trace_id":"t","status":"success","stream":true,"call_type":"acompletion","custom_llm_provider":"openai","model":"m","model_group":"kimi-k2:exacto","model_id":"prov{}","api_base":"https://api.example","startTime":{},"endTime":{seconds},"completionStartTime":{},"response_time":1.5,"prompt_tokens":1200,"completion_tokens":40,"response_cost":0.001,"metadata":{{"user_api_key_alias":"team","headers":{{"x":"y"}}}},"messages":[{{"role":"user","content":"{prompt}"}}],"model_parameters":{{"temperature":0,"tools":[{{"type":"function","function":{{"name":"weather","description":"looks out of the window","parameters":{{"type":"object","properties":{{"city":{{"type":"string"}},"days":{{"type":"integer"}}}},"required":["city"],"additionalProperties":false}}}}}}]}},"response":{{"choices":[{{"finish_reason":"tool_calls","index":0,"message":{{"role":"assistant","content":null,"tool_calls":[{{"id":"c","type":"function","function":{{"name":"weather","arguments":"{{\"city\":\"Paris\",\"days\":{}}}"}}}}]}}}}]}},"error_information":{{"error_code":"","error_class":""}}}}"#,
            i % ENDPOINTS,
            seconds - 1.5,
            seconds - 1.0,
            i % 14,
        )
    };
    let met_too = run("LiteLLM payloads", Format::LiteLlm, &body(200, litellm), 5_000.0)?;
    Ok(met && met_too)
}

fn body(records: usize, one: impl Fn(usize) -> String) -> Vec<u8> {
    (0..records).map(|i| one(i) + "\n").collect::<String>().into_bytes()
}

/// Where the ids stand.
fn blanks(body: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(body, BLANK).collect()
}

#[expect(clippy::print_stdout, reason = "the benchmark tells its figures on the terminal")]
fn run(what: &str, format: Format, body: &[u8], wanted: f64) -> Result<bool, Failure> {
    let folder = std::env::temp_dir().join(format!("exactod-ingest-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let url = format!("sqlite://{}", folder.join(format!("{}.db", what.len())).display());
    let store = runtime.block_on(Store::open_migrated(&url, &StoreOptions::default()))?;
    let intake = Intake::new(1);
    let directory = directory(&intake)?;
    let (ended, taken, ids) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let places = blanks(body);
    let (cpu, rss, begun) = (process::cpu_seconds(), process::rss_mib()?, Instant::now());
    let mut spans = 0;
    std::thread::scope(|scope| -> Result<(), Failure> {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut body = body.to_vec();
                while !ended.load(Ordering::Relaxed) {
                    let first = ids.fetch_add(places.len() as u64, Ordering::Relaxed);
                    for (at, id) in places.iter().zip(first..) {
                        body[*at..at + DIGITS].copy_from_slice(format!("{id:012}").as_bytes());
                    }
                    let window = TimeWindow::live(SystemClock.now_us());
                    let mut door = Door::new(&intake, &directory, "bench", (format, window));
                    door.push(&body);
                    taken.fetch_add(door.end().accepted, Ordering::Relaxed);
                }
            });
        }
        let mut written = Ok(());
        while begun.elapsed() < LASTS && written.is_ok() {
            std::thread::sleep(live::WRITE_EVERY);
            written = runtime.block_on(live::store(&store, &intake, SystemClock.now_us())).map(|n| spans += n);
        }
        ended.store(true, Ordering::Relaxed);
        Ok(written?)
    })?;
    spans += runtime.block_on(live::store(&store, &intake, SystemClock.now_us()))?;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), process::cpu_seconds() - cpu);
    let records = taken.load(Ordering::Relaxed) as f64;
    let rate = records / seconds;
    println!(
        "{what} of {} bytes: {rate:.0} a second ({wanted:.0} wanted), {:.2} µs CPU each, {spans} spans written, RSS {rss:.0} -> {:.0} MiB",
        body.len() / places.len(),
        cpu * 1e6 / records,
        process::rss_mib()?,
    );
    runtime.block_on(store.close());
    std::fs::remove_dir_all(&folder)?;
    Ok(rate >= wanted)
}

fn directory(intake: &Intake) -> Result<Directory, Failure> {
    let model = ModelId::new("lab/kimi-k2")?;
    let one = |i: usize| -> Result<Endpoint, Failure> {
        Ok(Endpoint {
            id: EndpointId::new(&format!("provider-{i}/fp8"))?,
            model: model.clone(),
            provider: ProviderId::new(&format!("provider-{i}"))?,
            upstream_model: "m".to_owned(),
            tag: None,
            price: None,
            slugs: [("litellm".to_owned(), format!("prov{i}"))].into(),
            served_by: None,
        })
    };
    let endpoints = (0..ENDPOINTS).map(one).collect::<Result<Vec<_>, _>>()?;
    let names = ModelNames {
        id: &model,
        names: vec!["kimi-k2"],
        endpoints: endpoints.iter().map(|endpoint| (endpoint, "https://elsewhere.example")).collect(),
    };
    Ok(intake.directory(&[names]))
}

//! `demo`: a simulated fleet with known truth, the daemon in fast motion, the page. No keys, no network, no config.
//!
//! The daemon gets what any daemon gets: a config and HTTP endpoints. The truth stays in the simulator until the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::args::DemoArgs;
use super::output::{self, CliError, Exit};
use super::setup;
use crate::api;
use crate::clock::{Clock, FastClock, SystemClock};
use crate::config::{Config, SystemEnv};
use crate::curation;
use crate::daemon::{Service, ServiceOptions};
use crate::domain::{EndpointId, ModelId, Standing};
use crate::runner::Ids;
use crate::sim::{self, Library, RunningSim, Truth};
use crate::suites::{self, Drawer};

/// The demo's model.
const MODEL: &str = "lab/demo-model";
/// Fewest and most endpoints.
const ENDPOINTS: (u64, u64) = (8, 12);
/// The demo's clock: a day and a half passes in a second, so that the schedule of every six hours never waits long.
const FAST: f64 = 129_600.0;
/// How often the standings are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A demo that is not decided by then says so.
const UNTIL_DECIDED_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, Serialize)]
struct EndpointReport {
    id: String,
    truth: Truth,
    defects: Vec<String>,
    standing: String,
    matches: bool,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    seed: u64,
    requests: u64,
    seconds: f64,
    endpoints: Vec<EndpointReport>,
    allowlist: Value,
}

/// Runs the demo.
pub async fn run(args: &DemoArgs, as_json: bool) -> Result<Exit, CliError> {
    if !args.listen.ip().is_loopback() {
        return Err(CliError::Usage(format!("--listen {}: the demo listens on loopback only", args.listen)));
    }
    let started = Instant::now();
    let folder = TemporaryFolder::new()?;
    let fleet = start_fleet(args.seed).await?;
    let config = demo_config(&fleet, args, &folder.0)?;
    let listener =
        api::listen(args.listen).map_err(|e| CliError::Failed(format!("failed to listen on {}: {e}", args.listen)))?;
    let address = listener.local_addr().map_err(CliError::failed)?;
    let clock: Arc<dyn Clock> = Arc::new(FastClock::new(SystemClock.now_us(), FAST));
    let ids = Arc::new(Ids::from_number(args.seed));
    let service = Service::open(config, ServiceOptions { clock, ids, owner: "demo".to_owned() })
        .await
        .map_err(setup::service_error)?;
    // Who reads where to look may end it from then on.
    let interrupts = setup::Interrupts::new();
    output::note(&format!(
        "exactod demo: a simulated fleet of {} endpoints of {MODEL}, seed {}",
        fleet.endpoints().count(),
        args.seed
    ));
    output::note(&format!("page       http://{address}/"));
    output::note(&format!("allowlist  http://{address}/v1/models/{MODEL}/allowlist"));
    output::note("sweeps run in fast motion: a day and a half of schedule passes every second");
    let service = Arc::new(service);
    let serving = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.serve(listener, None).await }
    });
    let end = watch(&service, args.until_decided, started, interrupts).await?;
    let seconds = started.elapsed().as_secs_f64();
    service.signals.stop.cancel();
    serving.await.map_err(CliError::failed)?.map_err(setup::service_error)?;
    let report = report(&service, &fleet, args.seed, seconds).await;
    service.close().await;
    let report = report?;
    fleet.stop().await;
    finish(&report, end, args.until_decided, as_json)
}

async fn start_fleet(seed: u64) -> Result<RunningSim, CliError> {
    let model = ModelId::new(MODEL).map_err(CliError::failed)?;
    let span = ENDPOINTS.1 - ENDPOINTS.0 + 1;
    let count = ENDPOINTS.0 + seed % span;
    let spec = sim::random_fleet(seed, usize::try_from(count).unwrap_or(8), model).map_err(CliError::failed)?;
    let drawers = suites::shipped()?
        .into_iter()
        .map(|suite| Drawer::new(suite).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(CliError::failed)?;
    let library = Arc::new(Library::new(drawers));
    sim::start(&spec, library, seed, IpAddr::V4(Ipv4Addr::LOCALHOST)).await.map_err(CliError::failed)
}

/// The config that an operator would write for this fleet, with every retry window and time limit below a second.
fn demo_config(fleet: &RunningSim, args: &DemoArgs, folder: &Path) -> Result<Config, CliError> {
    let mut text = format!(
        r#"[server]
listen = "{listen}"
drain_timeout = "2s"

[store]
url = "sqlite://demo.db"

[policy]
cases = {{ standard = 25, burst = 100, unknown = 150, cap = 10000, weekly_burst = 2000 }}

[[schedule]]
name = "demo"
cron = "0 */6 * * *"
jitter = "0s"
spread = "0s"
onboarding = "off"
models = ["*"]
suites = ["tool-use", "output-quality"]

[[model]]
id = "{MODEL}"
aliases = ["demo"]
"#,
        listen = args.listen,
    );
    for (id, _) in fleet.endpoints() {
        let _ = write!(
            text,
            "\n  [[model.endpoint]]\n  provider = \"{id}\"\n  upstream_model = \"{MODEL}\"\n  \
             price = {{ input_per_mtok = 0.5, output_per_mtok = 1.5 }}\n  slugs = {{ litellm = \"{id}\" }}\n"
        );
    }
    for (id, url) in fleet.endpoints() {
        let _ = write!(
            text,
            r#"
[[provider]]
id = "{id}"
base_url = "{url}"
protocol = "openai-chat"
allow_loopback_http = true
limits = {{ concurrency = 8 }}
timeouts = {{ connect = "900ms", first_byte = "900ms", idle = "900ms", total = "950ms" }}
retry = {{ attempts = 3, over = "200ms" }}
"#
        );
    }
    Ok(Config::parse(&text, &folder.join("exactod.toml"), &SystemEnv)?)
}

/// How the watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Decided,
    TimedOut,
    Interrupted,
}

/// Shows what happens until all are decided (if asked to stop then), the user interrupts or time is up.
async fn watch(
    service: &Arc<Service>,
    until_decided: bool,
    started: Instant,
    mut interrupts: setup::Interrupts,
) -> Result<End, CliError> {
    let bars = super::bars::Bars::start(&service.sweeper.progress);
    let mut shown: BTreeMap<EndpointId, Standing> = BTreeMap::new();
    let end = loop {
        tokio::select! {
            () = interrupts.next() => break End::Interrupted,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let standings = standings(service).await?;
        for (id, standing) in &standings {
            if shown.insert(id.clone(), *standing).unwrap_or(Standing::Unknown) != *standing {
                output::note(&format!("{:>6.1} s  {id:<12} {standing}", started.elapsed().as_secs_f64()));
            }
        }
        let decided = !standings.is_empty() && standings.values().all(|s| s.is_decided());
        if decided && until_decided {
            break End::Decided;
        }
        if until_decided && started.elapsed() > UNTIL_DECIDED_MAX {
            break End::TimedOut;
        }
    };
    bars.finish().await;
    Ok(end)
}

async fn standings(service: &Service) -> Result<BTreeMap<EndpointId, Standing>, CliError> {
    let model = ModelId::new(MODEL).map_err(CliError::failed)?;
    crate::daemon::standings(&service.sweeper, &model).await.map_err(CliError::failed)
}

async fn report(service: &Service, fleet: &RunningSim, seed: u64, seconds: f64) -> Result<Report, CliError> {
    let model = ModelId::new(MODEL).map_err(CliError::failed)?;
    let store = &service.sweeper.store;
    let stored = store.state(&model).await.map_err(CliError::failed)?;
    let state = match stored {
        Some(stored) => curation::decode(&stored.bytes).map_err(CliError::failed)?,
        None => curation::ModelState::default(),
    };
    let list = store.allowlist(&model, None).await.map_err(CliError::failed)?;
    let allowlist = list.and_then(|l| serde_json::from_str(&l.list.document).ok()).unwrap_or(Value::Null);
    let mut requests = 0;
    let mut endpoints = Vec::new();
    // Only now, when everything is decided, the truth is looked at.
    for truth in fleet.truth() {
        requests += fleet.counts(truth.id.as_str()).map_or(0, |c| c.requests);
        let endpoint = state.endpoints.get(&truth.id);
        let standing = endpoint.map_or(Standing::Unknown, |e| e.standing);
        let matches = match truth.truth {
            Truth::Good => matches!(standing, Standing::Admitted | Standing::Suspect),
            Truth::Bad => standing == Standing::Excluded,
        };
        endpoints.push(EndpointReport {
            id: truth.id.to_string(),
            truth: truth.truth,
            defects: truth.defects,
            standing: standing.to_string(),
            matches,
            reason: endpoint.map(|e| e.last_reason.clone()).unwrap_or_default(),
        });
    }
    Ok(Report { model: model.to_string(), seed, requests, seconds, endpoints, allowlist })
}

fn finish(report: &Report, end: End, until_decided: bool, as_json: bool) -> Result<Exit, CliError> {
    if as_json {
        output::json(report)?;
    } else {
        print(report)?;
    }
    if end == End::TimedOut {
        output::note(&format!("not all endpoints were decided within {} s", UNTIL_DECIDED_MAX.as_secs()));
    }
    Ok(exit(end, until_decided, report.endpoints.iter().all(|e| e.matches)))
}

/// Only who waited for the decisions is told by the exit code how they came out.
fn exit(end: End, until_decided: bool, all_match: bool) -> Exit {
    match (until_decided, end) {
        (true, End::Interrupted) => Exit::Interrupted,
        (true, _) if !all_match => Exit::No,
        _ => Exit::Yes,
    }
}

fn print(report: &Report) -> Result<(), CliError> {
    let mut table = output::table(&["endpoint", "truth", "defects", "standing", "right", "reason"]);
    for e in &report.endpoints {
        let truth = if e.truth == Truth::Good { "good" } else { "bad" };
        let right = if e.matches { "yes" } else { "no" };
        table.add_row([e.id.as_str(), truth, &e.defects.join(", "), &e.standing, right, &e.reason]);
    }
    output::line(&format!(
        "{table}\n{} requests in {:.1} s; {} of {} standings match the truth",
        report.requests,
        report.seconds,
        report.endpoints.iter().filter(|e| e.matches).count(),
        report.endpoints.len()
    ))
}

/// A folder that goes with the demo: new, of a name that nobody can guess, and for nobody else to read.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Result<Self, CliError> {
        let name = Ids::from_system().map_err(CliError::failed)?.seed();
        let path = std::env::temp_dir().join(format!("exactod-demo-{name}"));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // Not recursive: what is there already is somebody else's.
        builder.create(&path).map_err(|e| CliError::Failed(format!("failed to make {}: {e}", path.display())))?;
        Ok(TemporaryFolder(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_new_private_and_gone_in_the_end() {
        let (one, two) = (TemporaryFolder::new().unwrap(), TemporaryFolder::new().unwrap());
        assert_ne!(one.0, two.0);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&one.0).unwrap().permissions().mode() & 0o777, 0o700);
        }
        let path = one.0.clone();
        drop(one);
        assert!(!path.exists());
    }

    #[test]
    fn one_wrong_standing_is_a_no_of_whoever_waited_for_it() {
        let ends = [End::Decided, End::TimedOut, End::Interrupted];
        let exits = |until_decided, all_match| ends.map(|end| exit(end, until_decided, all_match));
        assert_eq!(exits(true, true), [Exit::Yes, Exit::Yes, Exit::Interrupted]);
        assert_eq!(exits(true, false), [Exit::No, Exit::No, Exit::Interrupted]);
        assert_eq!(exits(false, false), [Exit::Yes; 3]);
    }
}

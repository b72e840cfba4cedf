//! One sweep, measured: loaded from files, planned, asked, judged and stored as the daemon does it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use exactod::clock::{Clock, SystemClock};
use exactod::domain::{
    BudgetedEndpoint, Endpoint, EndpointId, Limits, ModelId, Price, Protocol, Provider, ProviderId, Retry, SweepKind,
    SweepPlan, Timeouts,
};
use exactod::metrics::Metrics;
use exactod::progress::{EndpointProgress, SweepProgress};
use exactod::provider::{Client, EndpointLimiter};
use exactod::runner::{Execution, Ids, Lane, PlanInput, SuiteBudget, build_plan, execute};
use exactod::scoring::Judge;
use exactod::store::{BatchWriter, Created, Store, StoreOptions, WriterOptions};
use exactod::suites::{Drawer, load_suite};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Failure, process};

/// What one client is told to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The suite's folder.
    pub suite: PathBuf,
    /// The database, made anew.
    pub database: PathBuf,
    /// The fake provider's port.
    pub port: u16,
    /// Requests in flight at once.
    pub concurrency: u32,
}

/// What it measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Figures {
    /// Requests made; all of them passed and are stored.
    pub requests: u64,
    /// CPU seconds before the sweep: suite loaded, templates compiled, database opened.
    pub start_cpu: f64,
    /// Resident before the sweep, MiB.
    pub start_rss_mib: f64,
    /// CPU seconds of the sweep, planning and the last flush included.
    pub cpu: f64,
    /// Duration of the sweep in seconds.
    pub seconds: f64,
    /// The most memory resident at any time, MiB.
    pub peak_rss_mib: f64,
    /// Size of the database with its log, MiB.
    pub database_mib: f64,
}

/// Runs one sweep and prints its [`Figures`] as JSON. Always `true`.
///
/// # Errors
/// Anything that keeps the sweep from being whole: the figures of half a sweep are none.
#[expect(clippy::print_stdout, reason = "the figures go to the process that started this one")]
pub fn main(order: &str) -> Result<bool, Failure> {
    let order: Order = serde_json::from_str(order)?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let figures = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(sweep(&order))?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(true)
}

async fn sweep(order: &Order) -> Result<Figures, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let suite = Arc::new(load_suite(&order.suite)?);
    let drawer = Arc::new(Drawer::new(suite)?);
    let store =
        Store::open_migrated(&format!("sqlite://{}", order.database.display()), &StoreOptions::default()).await?;
    let writer = BatchWriter::start(store.clone(), WriterOptions::default());
    let (start_cpu, start_rss_mib) = (process::cpu_seconds(), process::rss_mib()?);

    let started = Instant::now();
    let ids = Arc::new(Ids::from_number(1));
    let plan = Arc::new(plan(&ids, &clock, &drawer)?);
    if store.create_sweep(&plan, None, None).await? != Created::Created {
        return Err("the sweep is not new".into());
    }
    let run = execution(order, &plan, &drawer, (&store, &writer), &clock, ids)?;
    if !execute(run).await? {
        return Err("the sweep was stopped".into());
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), process::cpu_seconds() - start_cpu);

    let requests = plan.attempts();
    let stored = store.progress(plan.id).await?;
    let passed: u64 = stored.iter().map(|endpoint| endpoint.pass).sum();
    if passed != requests {
        return Err(format!("{passed} of {requests} answers passed and were stored: {stored:?}").into());
    }
    let database_mib = [order.database.clone(), with_suffix(&order.database, "-wal")]
        .iter()
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|found| found.len() as f64 / f64::from(1 << 20))
        .sum();
    writer.shutdown().await;
    store.close().await;
    let peak_rss_mib = process::peak_rss_mib()?;
    Ok(Figures { requests, start_cpu, start_rss_mib, cpu, seconds, peak_rss_mib, database_mib })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn plan(ids: &Ids, clock: &Arc<dyn Clock>, drawer: &Drawer) -> Result<SweepPlan, Failure> {
    let now_us = clock.now_us();
    let suite = Arc::clone(drawer.suite());
    let cases = u32::try_from(suite.cases.len())?;
    Ok(build_plan(PlanInput {
        id: ids.sweep(now_us),
        model: ModelId::new("bench/model")?,
        kind: SweepKind::Manual,
        ordinal: 1,
        seed: ids.seed(),
        planned_at_us: now_us,
        anchors: Vec::new(),
        suites: vec![SuiteBudget {
            suite,
            cases: vec![BudgetedEndpoint { id: endpoint_id()?, cases }],
            only: None,
            epochs: 1,
        }],
        aside: Vec::new(),
        gives_evidence: false,
        probes: Vec::new(),
    }))
}

fn endpoint_id() -> Result<EndpointId, Failure> {
    Ok(EndpointId::new("bench")?)
}

fn execution(
    order: &Order,
    plan: &Arc<SweepPlan>,
    drawer: &Arc<Drawer>,
    (store, writer): (&Store, &BatchWriter),
    clock: &Arc<dyn Clock>,
    ids: Arc<Ids>,
) -> Result<Execution, Failure> {
    let planned = EndpointProgress { planned: plan.attempts().into(), ..EndpointProgress::default() };
    let progress = SweepProgress {
        sweep: plan.id,
        model: plan.model.clone(),
        kind: plan.kind,
        planned_at_us: plan.planned_at_us,
        planned: plan.attempts(),
        done: 0.into(),
        endpoints: BTreeMap::from([(endpoint_id()?, planned)]),
    };
    Ok(Execution {
        plan: Arc::clone(plan),
        lanes: BTreeMap::from([(endpoint_id()?, lane(order, &plan.model, clock)?)]),
        drawers: BTreeMap::from([(drawer.suite().name.clone(), Arc::clone(drawer))]),
        judge: Arc::new(Judge::new()),
        done: HashSet::new(),
        exchanges: HashMap::new(),
        store: store.clone(),
        writer: writer.clone(),
        clock: Arc::clone(clock),
        ids,
        metrics: Arc::new(Metrics::new()),
        progress: Arc::new(progress),
        spread: Duration::ZERO,
        judges: Arc::default(),
        programs: Arc::default(),
        first_byte_min: BTreeMap::new(),
        stop: CancellationToken::new(),
        abort: CancellationToken::new(),
    })
}

fn lane(order: &Order, model: &ModelId, clock: &Arc<dyn Clock>) -> Result<Lane, Failure> {
    let limits = Limits { concurrency: order.concurrency, requests_per_minute: None, tokens_per_minute: None };
    let provider = Provider {
        id: ProviderId::new("bench")?,
        base_url: url::Url::parse(&format!("http://127.0.0.1:{}/v1", order.port))?,
        protocol: Protocol::OpenAiChat,
        api_key: Some("sk-bench-0123456789abcdef".to_owned().into()),
        headers: BTreeMap::new(),
        extra_body: Arc::default(),
        limits,
        timeouts: Timeouts::default(),
        retry: Retry { attempts: 0, over: Duration::from_secs(1) },
        proxy: None,
        ca_file: None,
    };
    let endpoint = Endpoint {
        id: endpoint_id()?,
        model: model.clone(),
        provider: provider.id.clone(),
        upstream_model: "bench-model".to_owned(),
        tag: None,
        price: Some(Price { input_per_mtok: 0.6, output_per_mtok: 2.5 }),
        slugs: BTreeMap::new(),
        served_by: None,
    };
    let client = Arc::new(Client::new(Arc::new(provider), Arc::clone(clock))?);
    Ok(Lane { endpoint, client, limiter: EndpointLimiter::new(limits), concurrency: order.concurrency })
}

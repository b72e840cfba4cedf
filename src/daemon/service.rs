//! The process as a whole: opened from a config, run until told to stop, drained, closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::follow::{self, Follower};
use super::gauges;
use super::live::{self, LiveWriter};
use super::push::Pushes;
use super::quarantine::LiveWatch;
use super::relay::{self, Relays};
use super::reload::Reloader;
use super::runtime::{Runtime, RuntimeError};
use super::scheduler::Scheduler;
use super::sinks::Sinks;
use super::speed::SpeedCache;
use super::supervise::{self, PAUSE_AFTER_PANIC, Supervisor};
use super::sweeper::{Signals, SweepError, SweepRequest, Sweeper};
use super::upkeep::Upkeep;
use super::views;
use super::webhooks::{self, Webhooks};
use super::workers::{Handed, Workers};
use crate::api::{self, ApiState, SweepCommand, SweepReply};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{ModelId, Suite, SweepKind};
use crate::live::Intake;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::publish::Board;
use crate::runner::Ids;
use crate::scoring::Judge;
use crate::store::{BatchWriter, Registered, ShutdownReport, Store, StoreError, StoreOptions, WriterOptions};

/// Sweep commands from the API that may wait.
const COMMANDS_WAITING_MAX: usize = 16;
/// After the drain time, how long the given-up attempts have to end.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the store has to close its connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Suites or clients.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A suite's label stands for another content than before.
    #[error(
        "suite {name} still calls itself revision {revision:?} but {what}: give it a new revision, so that results of \
         different contents are never pooled"
    )]
    Relabelled {
        /// The suite.
        name: String,
        /// Its label.
        revision: String,
        /// Which cases differ.
        what: String,
    },
    /// The listener has no address.
    #[error("cannot tell where the API listens: {0}")]
    Listener(#[source] std::io::Error),
    /// A model's state.
    #[error(transparent)]
    Sweep(#[from] SweepError),
}

/// Time and randomness of the process.
#[derive(Clone)]
pub struct ServiceOptions {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids and seeds.
    pub ids: Arc<Ids>,
    /// This process, in leases.
    pub owner: String,
}

/// An open service.
pub struct Service {
    /// Sweeps.
    pub sweeper: Arc<Sweeper>,
    /// The current configuration.
    pub runtime: Arc<ArcSwap<Runtime>>,
    /// Ends everything.
    pub signals: Signals,
    workers: Arc<Workers>,
    reloaded: Arc<watch::Sender<u64>>,
    /// Changes when anybody has written to the store.
    news: Arc<watch::Sender<u64>>,
}

impl Service {
    /// Opens the store, registers the suites and puts the current lists up.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn open(config: Config, options: ServiceOptions) -> Result<Service, ServiceError> {
        let runtime = Runtime::build(config, &options.clock)?;
        let store = Store::open_migrated(runtime.config.store.url.expose(), &StoreOptions::default()).await?;
        register_suites(&store, runtime.suites(), options.clock.now_us()).await?;
        let runtime = Arc::new(ArcSwap::from_pointee(runtime));
        let first_part = live::first_part(&options.owner, options.clock.now_us());
        let sweeper = Arc::new(Sweeper {
            writer: BatchWriter::start(store.clone(), WriterOptions::default()),
            store,
            board: Arc::default(),
            clock: options.clock,
            ids: options.ids,
            metrics: Arc::new(Metrics::new()),
            progress: Arc::new(Progress::default()),
            judge: Arc::new(Judge::new()),
            intake: Arc::new(Intake::new(first_part)),
            current: Arc::clone(&runtime),
            speeds: SpeedCache::default(),
            owner: options.owner,
        });
        let signals = Signals::default();
        let workers = Arc::new(Workers::new(Arc::clone(&sweeper), Arc::clone(&runtime), signals.clone()));
        let (reloaded, news) = (Arc::new(watch::channel(0).0), Arc::new(watch::channel(0).0));
        let service = Service { sweeper, runtime, signals, workers, reloaded, news };
        service.sweeper.board.set_keys(service.runtime.load().keys.clone());
        relay::put_kept_up(&service.sweeper, &service.runtime.load());
        follow::put_lists_up(&service.sweeper).await?;
        gauges::seed(&service.sweeper, &service.runtime.load()).await?;
        Ok(service)
    }

    /// The current lists.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.sweeper.board
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep::new(Arc::clone(&self.sweeper), Arc::clone(&self.runtime), self.signals.clone())
    }

    /// Serves the API, and agent-checks where there is a listener for them, and runs the schedules until the stop signal;
    /// then drains within the configured time.
    ///
    /// # Errors
    /// [`ServiceError`] when the listener is unusable or the interrupted sweeps cannot be looked up.
    pub async fn serve(&self, listener: TcpListener, agent: Option<TcpListener>) -> Result<(), ServiceError> {
        let listening = listener.local_addr().map_err(ServiceError::Listener)?;
        gauges::close_alarms_of_removed(&self.sweeper, &self.runtime.load_full()).await?;
        webhooks::begin(&self.sweeper, &self.runtime.load_full()).await?;
        self.follower().catch_up().await;
        self.finish_interrupted().await?;
        let (commands, received) = mpsc::channel(COMMANDS_WAITING_MAX);
        let tasks = self.start_tasks(listening, received);
        // As configured when it ends.
        let runtime = Arc::clone(&self.runtime);
        let drain = move || runtime.load().config.server.drain_timeout;
        let state = self.api_state(listening, commands, &tasks);
        let stop = self.signals.stop.clone();
        if let Some(agent) = agent {
            let (agent, state, stop) = (Arc::new(agent), state.clone(), stop.clone());
            tasks.keep("agent-check", move || api::serve_agent(Arc::clone(&agent), state.clone(), stop.clone()));
        }
        let drain_of_api = drain.clone();
        let api = tokio::spawn(async move {
            if let Err(error) = api::serve(listener, state, stop, drain_of_api).await {
                warn!(%error, "the HTTP API ended");
            }
        });
        self.signals.stop.cancelled().await;
        let drain = drain();
        info!(timeout_s = drain.as_secs(), "stopping: no new attempts; those in flight may finish");
        self.drain(drain).await;
        if let Err(error) = self.workers.note_left().await {
            warn!(%error, "failed to note the ticks that waited");
        }
        if tokio::time::timeout(drain + ABORT_TIMEOUT, api).await.is_err() {
            warn!("connections were still open at the end of the drain time");
        }
        self.follower().catch_up().await;
        Ok(())
    }

    fn follower(&self) -> Follower {
        Follower {
            sweeper: Arc::clone(&self.sweeper),
            runtime: Arc::clone(&self.runtime),
            signals: self.signals.clone(),
            news: Arc::clone(&self.news),
        }
    }

    /// Schedules, reloads, upkeep, other processes' lists and commands, each alive until the stop signal.
    fn start_tasks(&self, listening: SocketAddr, commands: mpsc::Receiver<SweepCommand>) -> Supervisor {
        let tasks = Supervisor::new(self.signals.stop.clone(), PAUSE_AFTER_PANIC);
        let scheduler = Scheduler {
            sweeper: Arc::clone(&self.sweeper),
            runtime: Arc::clone(&self.runtime),
            workers: Arc::clone(&self.workers),
            signals: self.signals.clone(),
            reloaded: self.reloaded.subscribe(),
            news: self.news.subscribe(),
        };
        tasks.keep("scheduler", move || scheduler.clone().run());
        let reloader = Reloader {
            listening,
            sweeper: Arc::clone(&self.sweeper),
            runtime: Arc::clone(&self.runtime),
            reloaded: Arc::clone(&self.reloaded),
            signals: self.signals.clone(),
        };
        tasks.keep("reloader", move || reloader.clone().run());
        let upkeep = self.upkeep();
        tasks.keep("upkeep", move || upkeep.clone().run());
        let follower = self.follower();
        tasks.keep("follower", move || follower.clone().run());
        let relays = Relays {
            sweeper: Arc::clone(&self.sweeper),
            runtime: Arc::clone(&self.runtime),
            reloaded: self.reloaded.subscribe(),
            signals: self.signals.clone(),
        };
        tasks.keep("relays", move || relays.clone().run());
        let sinks = Sinks {
            sweeper: Arc::clone(&self.sweeper),
            runtime: Arc::clone(&self.runtime),
            reloaded: self.reloaded.subscribe(),
            signals: self.signals.clone(),
        };
        tasks.keep("sinks", move || sinks.clone().run());
        let pushes = Pushes {
            sweeper: Arc::clone(&self.sweeper),
            runtime: Arc::clone(&self.runtime),
            reloaded: self.reloaded.subscribe(),
            signals: self.signals.clone(),
        };
        tasks.keep("pushes", move || pushes.clone().run());
        let webhooks = Webhooks {
            sweeper: Arc::clone(&self.sweeper),
            runtime: Arc::clone(&self.runtime),
            signals: self.signals.clone(),
        };
        tasks.keep("webhooks", move || webhooks.clone().run());
        let live = LiveWriter { sweeper: Arc::clone(&self.sweeper), signals: self.signals.clone() };
        tasks.keep("live traffic", move || live.clone().run());
        let watch = LiveWatch {
            sweeper: Arc::clone(&self.sweeper),
            runtime: Arc::clone(&self.runtime),
            workers: Arc::clone(&self.workers),
            signals: self.signals.clone(),
        };
        tasks.keep("live watch", move || watch.clone().run());
        let commands = Commands {
            workers: Arc::clone(&self.workers),
            runtime: Arc::clone(&self.runtime),
            received: Arc::new(Mutex::new(commands)),
            stop: self.signals.stop.clone(),
        };
        tasks.keep("commands", move || commands.clone().run());
        tasks
    }

    fn api_state(&self, listening: SocketAddr, sweeps: mpsc::Sender<SweepCommand>, tasks: &Supervisor) -> ApiState {
        let (mut broken, mut writer) = (tasks.broken(), self.sweeper.writer.subscribe());
        let (ready, is_ready) = watch::channel(supervise::is_ready(&mut broken, &mut writer));
        tokio::spawn(supervise::watch_readiness(ready, broken, writer));
        let state = views::api_state(&self.sweeper, &self.runtime, self.reloaded.subscribe(), sweeps);
        ApiState { loopback_only: listening.ip().is_loopback(), ready: is_ready, ..state }
    }

    /// Sweeps that an earlier run left are finished at once, not at the next tick.
    async fn finish_interrupted(&self) -> Result<(), StoreError> {
        for stored in self.sweeper.store.running_sweeps(None).await? {
            let deadline = self.deadline_of(&stored.record.model);
            let request = SweepRequest { resume_only: true, ..manual_request(deadline) };
            if self.workers.hand(&stored.record.model, request) == Handed::UnknownModel {
                let (model, sweep) = (&stored.record.model, stored.record.id);
                warn!(%model, %sweep, "an interrupted sweep belongs to a model that is not configured any more");
            }
        }
        Ok(())
    }

    /// The longest deadline of the schedules that cover a model.
    #[must_use]
    pub fn deadline_of(&self, model: &ModelId) -> Duration {
        deadline_of(&self.runtime.load(), model)
    }

    /// Waits for the sweeps in flight, gives them up after the drain time or when somebody else gave them up.
    async fn drain(&self, timeout: Duration) {
        let ended = tokio::time::timeout(timeout, self.workers.ended()).await.is_ok();
        if ended && !self.signals.abort.is_cancelled() {
            return;
        }
        warn!("giving up the attempts in flight; the next start asks them again");
        self.signals.abort.cancel();
        if tokio::time::timeout(ABORT_TIMEOUT, self.workers.ended()).await.is_err() {
            warn!("sweeps were still ending after the drain time");
        }
    }

    /// Writes what is queued, or gives it up after a few tries, and closes the store.
    pub async fn close(&self) -> ShutdownReport {
        live::write(&self.sweeper).await;
        let report = self.sweeper.writer.shutdown().await;
        if tokio::time::timeout(CLOSE_TIMEOUT, self.sweeper.store.close()).await.is_err() {
            warn!("the store did not close in time; what it holds is safe");
        }
        report
    }
}

pub(super) fn deadline_of(runtime: &Runtime, model: &ModelId) -> Duration {
    const DEADLINE_DEFAULT: Duration = Duration::from_secs(7200);
    let Some(model) = runtime.models.get(model) else { return DEADLINE_DEFAULT };
    let covering = runtime.schedules.iter().filter(|s| s.config.covers_model(&model.config));
    covering.map(|s| s.config.deadline).max().unwrap_or(DEADLINE_DEFAULT)
}

/// A sweep by hand by the usual budgets, without spreading its calls.
#[must_use]
pub fn manual_request(deadline: Duration) -> SweepRequest {
    SweepRequest {
        kind: SweepKind::Manual,
        suites: None,
        endpoints: Vec::new(),
        limit: None,
        epochs: None,
        include_broken: false,
        goes_on: None,
        back_to_back: false,
        fire: None,
        spread: Duration::ZERO,
        deadline,
        resume_only: false,
    }
}

/// Makes the names of all suites known, or finds one that already stands for something else.
///
/// # Errors
/// [`ServiceError::Relabelled`] for such a suite, [`ServiceError::Store`] of the database.
pub async fn register_suites(
    store: &Store,
    suites: impl Iterator<Item = &Arc<Suite>>,
    now_us: i64,
) -> Result<(), ServiceError> {
    for suite in suites {
        if let Registered::Conflict { changed, added, removed } = store.register_suite(suite, now_us).await? {
            return Err(ServiceError::Relabelled {
                name: suite.name.to_string(),
                revision: suite.revision.clone(),
                what: difference(&changed, &added, &removed),
            });
        }
    }
    Ok(())
}

/// Which cases differ, the first few of each kind by name.
fn difference(changed: &[String], added: &[String], removed: &[String]) -> String {
    const NAMED_MAX: usize = 5;
    let part = |(verb, cases): (&str, &[String])| {
        let more = if cases.len() > NAMED_MAX { ", ..." } else { "" };
        let named = cases.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
        (!cases.is_empty()).then(|| format!("{} case(s) {verb} ({named}{more})", cases.len()))
    };
    [("changed", changed), ("were added", added), ("are gone", removed)]
        .into_iter()
        .filter_map(part)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Hands the API's sweep commands to the workers.
#[derive(Clone)]
struct Commands {
    workers: Arc<Workers>,
    runtime: Arc<ArcSwap<Runtime>>,
    received: Arc<Mutex<mpsc::Receiver<SweepCommand>>>,
    stop: CancellationToken,
}

impl Commands {
    async fn run(self) {
        let mut received = self.received.lock().await;
        loop {
            let command = tokio::select! {
                command = received.recv() => command,
                () = self.stop.cancelled() => None,
            };
            let Some(command) = command else { return };
            self.hand(command);
        }
    }

    fn hand(&self, command: SweepCommand) {
        let SweepCommand { model, suites, endpoints, limit, full, epochs, reply } = command;
        let deadline = deadline_of(&self.runtime.load(), &model);
        let request = SweepRequest {
            kind: if full { SweepKind::Full } else { SweepKind::Manual },
            suites: (!suites.is_empty()).then_some(suites),
            endpoints,
            limit,
            epochs,
            ..manual_request(deadline)
        };
        let answer = match self.workers.hand(&model, request) {
            Handed::Started => SweepReply::Started,
            Handed::Queued => SweepReply::Queued,
            Handed::Overlaps => SweepReply::Overlaps,
            Handed::UnknownModel => SweepReply::UnknownModel,
        };
        // The asker may be gone.
        let _ = reply.send(answer);
    }
}

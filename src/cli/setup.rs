//! Logging, the async runtime, signals, and the way from a config file to an open store.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use super::args::{Cli, Command};
use super::output::{self, CliError, is_watched};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ModelConfig};
use crate::daemon::{self, Runtime, Service, ServiceError, ServiceOptions, Signals};
use crate::diagnostics::nearest;
use crate::domain::{Capability, EndpointId};
use crate::runner::Ids;
use crate::store::{Store, StoreError, StoreOptions};

/// Logs to stderr: `EXACTOD_LOG` chooses what (default: info for the daemon, warnings for other commands), and
/// `EXACTOD_LOG_FORMAT=json` how.
pub fn logging(cli: &Cli) {
    let default = match cli.command {
        Command::Serve => "info",
        // Its alarms are part of the show: the page and the list's mode tell of them.
        Command::Demo(_) => "warn,exactod::daemon::conclude=error",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_env("EXACTOD_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(is_watched())
        .with_writer(BoxMakeWriter::new(io::stderr));
    let json = std::env::var("EXACTOD_LOG_FORMAT").is_ok_and(|f| f == "json");
    // A second initialisation (tests in one process) keeps the first.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

/// Runs a command on the async runtime.
pub fn block_on<T>(command: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    // Another library may have installed its provider first; that is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::Failed(format!("failed to start the async runtime: {e}")))?;
    let done = runtime.block_on(command);
    // What the command awaited has ended. A task that does not let go must not keep the program from ending.
    runtime.shutdown_timeout(SHUTDOWN_WAIT);
    done
}

/// How long tasks are waited for that nobody awaited.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);

/// What asks to stop: SIGINT and SIGTERM, one after another.
pub struct Interrupts {
    #[cfg(unix)]
    signals: Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>,
}

impl Interrupts {
    /// Begins to listen: none that comes from now on is missed.
    #[cfg(unix)]
    pub fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Interrupts { signals: signal(SignalKind::interrupt()).ok().zip(signal(SignalKind::terminate()).ok()) }
    }

    /// Begins to listen.
    #[cfg(not(unix))]
    pub fn new() -> Self {
        Interrupts {}
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if let Some((interrupt, terminate)) = &mut self.signals {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
        if tokio::signal::ctrl_c().await.is_err() {
            // Signals cannot be listened to here: the system ends the process itself.
            std::future::pending::<()>().await;
        }
    }
}

/// Resolves when the user or the system asks to stop.
pub async fn interrupted() {
    Interrupts::new().next().await;
}

/// Ends work in two steps: the first signal lets what is in flight finish and begins nothing new; the second one, or the
/// end of the drain time, gives up what is in flight.
pub fn end_on_signals(signals: &Signals, drain: impl Fn() -> Duration + Send + 'static) {
    let signals = signals.clone();
    let mut interrupts = Interrupts::new();
    tokio::spawn(async move {
        interrupts.next().await;
        signals.stop.cancel();
        let drain = drain();
        output::note(&format!(
            "stopping: what is in flight may finish within {} s; once more to give it up",
            drain.as_secs()
        ));
        tokio::select! {
            () = interrupts.next() => {}
            () = tokio::time::sleep(drain) => {}
        }
        signals.abort.cancel();
    });
}

/// Reads the config.
pub fn config(cli: &Cli) -> Result<Config, CliError> {
    Ok(daemon::read_config(&cli.config)?)
}

/// The machine's clock.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// Opens everything that a sweep needs.
pub async fn service(config: Config) -> Result<Service, CliError> {
    let ids = Arc::new(Ids::from_system().map_err(CliError::failed)?);
    let clock = clock();
    let owner = crate::daemon::this_process(ids.uuid(clock.now_us()));
    Service::open(config, ServiceOptions { clock, ids, owner }).await.map_err(service_error)
}

/// Wrong files are the user's to mend (exit 2); everything else failed while running.
pub fn service_error(error: ServiceError) -> CliError {
    match error {
        ServiceError::Runtime(crate::daemon::RuntimeError::Files(diagnostics)) => CliError::Files(diagnostics),
        error @ (ServiceError::Runtime(_) | ServiceError::Relabelled { .. }) => CliError::Usage(error.to_string()),
        error => CliError::failed(error),
    }
}

/// Opens the store for commands that read: they bring tables up to date, and make none.
pub async fn store(config: &Config) -> Result<Store, CliError> {
    let store = existing_store(config).await?;
    if let Err(error) = store.migrate().await {
        store.close().await;
        return Err(CliError::failed(error));
    }
    Ok(store)
}

/// Opens the store as it is.
pub async fn existing_store(config: &Config) -> Result<Store, CliError> {
    Store::open_existing(config.store.url.expose(), &StoreOptions::default()).await.map_err(CliError::failed)
}

/// Opens the store for a command that has something to say without one as well.
pub async fn store_if_any(config: &Config) -> Result<Option<Store>, CliError> {
    match Store::open_existing(config.store.url.expose(), &StoreOptions::default()).await {
        Ok(store) => {
            if let Err(error) = store.migrate().await {
                store.close().await;
                return Err(CliError::failed(error));
            }
            Ok(Some(store))
        }
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(CliError::failed(error)),
    }
}

/// Suites, models and timetables of a config, without a store.
pub fn runtime(config: Config, clock: &Arc<dyn Clock>) -> Result<Runtime, CliError> {
    Runtime::build(config, clock).map_err(|error| service_error(ServiceError::Runtime(error)))
}

/// The model that an option names, or the only one.
pub fn model<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a ModelConfig, CliError> {
    let known = || config.models.iter().map(|m| m.id.as_str());
    let names = || known().chain(config.models.iter().flat_map(|m| m.aliases.iter().map(|a| a.as_str())));
    match (name, config.models.as_slice()) {
        (Some(name), _) => config.model(name).ok_or_else(|| {
            let hint = did_you_mean(name, names(), known());
            CliError::Usage(format!("no model {name:?} in {} ({hint})", config.path.display()))
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(CliError::Usage(format!(
            "say which model with --model (known: {})",
            known().collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The endpoint of a model that an argument names.
pub fn endpoint(model: &ModelConfig, name: &str) -> Result<EndpointId, CliError> {
    let known = || model.endpoints.iter().map(|e| e.id.as_str());
    let found = model.endpoints.iter().find(|e| e.id.as_str() == name).map(|e| e.id.clone());
    found.ok_or_else(|| {
        CliError::Usage(format!("{} has no endpoint {name:?} ({})", model.id, did_you_mean(name, known(), known())))
    })
}

/// The capability of a model that an option names: one that its policy asks for.
pub fn capability(model: &ModelConfig, name: &str) -> Result<Capability, CliError> {
    let known = || model.policy.capabilities.iter().map(Capability::as_str);
    model.policy.capabilities.iter().find(|c| c.as_str() == name).cloned().ok_or_else(|| {
        let hint = match known().next() {
            Some(_) => did_you_mean(name, known(), known()),
            None => "policy.capabilities is empty".to_owned(),
        };
        CliError::Usage(format!("{} has no list of capability {name:?} ({hint})", model.id))
    })
}

/// The nearest name, and all known ones.
pub fn did_you_mean<'a>(
    name: &str,
    near: impl Iterator<Item = &'a str>,
    known: impl Iterator<Item = &'a str>,
) -> String {
    let known = format!("known: {}", known.collect::<Vec<_>>().join(", "));
    match nearest(name, near) {
        Some(near) => format!("did you mean {near:?}? {known}"),
        None => known,
    }
}

//! Reload on SIGHUP or file change: a wrong config is refused whole, the old one goes on.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::gauges;
use super::runtime::{Runtime, read_config};
use super::service::{ServiceError, register_suites};
use super::sweeper::{Signals, Sweeper};
use crate::config::Config;
use crate::metrics::WordLabel;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Watches the config file.
#[derive(Clone)]
pub struct Reloader {
    /// Its clock and metrics are used.
    pub sweeper: Arc<Sweeper>,
    /// Replaced on success.
    pub runtime: Arc<ArcSwap<Runtime>>,
    /// Told of every replacement.
    pub reloaded: Arc<watch::Sender<u64>>,
    /// Where the API listens, whatever the config says by now.
    pub listening: SocketAddr,
    /// Ends the loop.
    pub signals: Signals,
}

impl Reloader {
    /// Runs until stopped.
    pub async fn run(self) {
        let path = self.runtime.load().config.path.clone();
        let mut hangup = Hangup::new();
        // Read once after the start: the file may have changed since it was read for it.
        let mut seen = None;
        loop {
            let asked = tokio::select! {
                () = hangup.recv() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
                () = self.signals.stop.cancelled() => return,
            };
            let now = stamp(&path);
            let changed = now.is_some() && now != seen;
            if (asked || changed) && !self.reload(&path, asked).await {
                // The file may be right: it is read again at the next look.
                seen = None;
                continue;
            }
            seen = now;
        }
    }

    /// One try. Nothing changes when the file is wrong or says what it said before. `false`: the store kept it from
    /// being taken, which may pass.
    async fn reload(&self, path: &Path, asked: bool) -> bool {
        let old = self.runtime.load_full();
        let runtime = match self.read(path, Arc::clone(&old), asked).await {
            Ok(Some(runtime)) => runtime,
            Ok(None) => return true,
            Err(why) => return self.refuse(&why),
        };
        // Before the swap, as at every start: what a sweep measures must have a name that nothing else has.
        match register_suites(&self.sweeper.store, runtime.suites(), self.sweeper.clock.now_us()).await {
            Ok(()) => {}
            Err(error @ ServiceError::Store(_)) => {
                warn!(%error, "the store does not take the suites of the new config; trying again");
                return false;
            }
            Err(error) => return self.refuse(&error.to_string()),
        }
        let addresses = |runtime: &Runtime| (runtime.config.server.listen, runtime.config.server.agent_listen);
        if addresses(&runtime) != addresses(&old) || runtime.config.store.url.expose() != old.config.store.url.expose()
        {
            warn!("server.listen, server.agent_listen and store.url change with the next start only");
        }
        let runtime = Arc::new(runtime);
        self.runtime.store(Arc::clone(&runtime));
        self.sweeper.board.set_keys(runtime.keys.clone());
        if let Err(error) = gauges::close_alarms_of_removed(&self.sweeper, &runtime).await {
            warn!(%error, "failed to close the alarms of removed models; the next start closes them");
        }
        self.reloaded.send_modify(|generation| *generation += 1);
        self.count("ok");
        info!(file = %path.display(), "config reloaded");
        true
    }

    /// Reads config and suites beside the async tasks: files may be slow, and a key command may take its time. `None`: the
    /// config says what it said before, and nobody has asked for its suites to be read again.
    async fn read(&self, path: &Path, old: Arc<Runtime>, asked: bool) -> Result<Option<Runtime>, String> {
        let (path, clock, listening) = (path.to_owned(), Arc::clone(&self.sweeper.clock), self.listening);
        let read = move || {
            let config = read_config(&path).map_err(|problems| problems.to_string())?;
            if config.digest == old.config.digest && !asked {
                return Ok(None);
            }
            if let Some(why) = would_open_the_api(&config, listening) {
                return Err(why);
            }
            Runtime::build_after(config, &clock, &old).map(Some).map_err(|error| error.to_string())
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Tells why; the matter is settled until the file changes.
    fn refuse(&self, why: &str) -> bool {
        self.count("refused");
        error!("config refused, the old one goes on:\n{why}");
        true
    }

    fn count(&self, result: &str) {
        self.sweeper.metrics.config_reloads.get_or_create(&WordLabel { result: result.to_owned() }).inc();
    }
}

/// A config without tokens is right for a server on loopback, and the running one may be bound elsewhere.
fn would_open_the_api(config: &Config, listening: SocketAddr) -> Option<String> {
    (config.server.tokens.is_empty() && !listening.ip().is_loopback()).then(|| {
        format!("the running server listens on {listening}, open to the network: restart to remove the last token")
    })
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// SIGHUP, where there is such a thing.
struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    #[cfg(unix)]
    fn new() -> Self {
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
        if let Err(error) = &signal {
            warn!(%error, "no SIGHUP here: the config is reloaded on file change only");
        }
        Hangup { signal: signal.ok() }
    }

    #[cfg(not(unix))]
    fn new() -> Self {
        Hangup {}
    }

    async fn recv(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal {
            signal.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    }
}

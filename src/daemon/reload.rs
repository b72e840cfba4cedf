//! Reload on SIGHUP or file change: a wrong config is refused whole, the old one goes on.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::runtime::Runtime;
use super::sweeper::{Signals, Sweeper};
use crate::config::Config;
use crate::metrics::WordLabel;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Watches the config file.
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
        let mut seen = stamp(&path);
        loop {
            let asked = tokio::select! {
                () = hangup.recv() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
                () = self.signals.stop.cancelled() => return,
            };
            let now = stamp(&path);
            if asked || (now.is_some() && now != seen) {
                self.reload(&path, asked);
            }
            seen = now;
        }
    }

    /// One try. Nothing changes when the file is wrong or says what it said before.
    fn reload(&self, path: &Path, asked: bool) {
        let config = match Config::load(path) {
            Ok(config) => config,
            Err(diagnostics) => return self.refuse(&diagnostics.to_string()),
        };
        if let Some(why) = self.would_open_the_api(&config) {
            return self.refuse(&why);
        }
        let old = self.runtime.load_full();
        if config.digest == old.config.digest && !asked {
            return;
        }
        if config.server.listen != old.config.server.listen
            || config.store.url.expose() != old.config.store.url.expose()
        {
            warn!("server.listen and store.url change with the next start only");
        }
        match Runtime::build(config, &self.sweeper.clock) {
            Err(error) => self.refuse(&error.to_string()),
            Ok(runtime) => {
                self.runtime.store(Arc::new(runtime));
                self.reloaded.send_modify(|generation| *generation += 1);
                self.count("ok");
                info!(file = %path.display(), "config reloaded");
            }
        }
    }

    /// A config without tokens is right for a server on loopback, and this one may be bound elsewhere.
    fn would_open_the_api(&self, config: &Config) -> Option<String> {
        (config.server.tokens.is_empty() && !self.listening.ip().is_loopback()).then(|| {
            format!(
                "the running server listens on {}, open to the network: restart to remove the last token",
                self.listening
            )
        })
    }

    fn refuse(&self, why: &str) {
        self.count("refused");
        error!("config refused, the old one goes on:\n{why}");
    }

    fn count(&self, result: &str) {
        self.sweeper.metrics.config_reloads.get_or_create(&WordLabel { result: result.to_owned() }).inc();
    }
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

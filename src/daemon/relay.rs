//! Lists of other daemons: followed by long-polls, verified, kept on disk, served on byte for byte.
//!
//! A list that was verified once is up from the start on, whether the other daemon can be reached or not. What does not
//! verify, is rolled back or stale is never put up; an alarm `relay` says why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::conclude;
use super::runtime::Runtime;
use super::sweeper::{Signals, Sweeper};
use crate::client::{Consumer, FollowError, Follower, FollowerOptions, Kept, Polled, Refusal, Routing, Trust};
use crate::config::RelayConfig;
use crate::domain::ModelId;
use crate::publish::{Document, Origin, file};
use crate::signing::{KeySet, Signature};
use crate::store::StoreError;

/// Kind of the alarm of a list that cannot be followed.
const ALARM: &str = "relay";
/// Least time between the beginnings of two polls that brought nothing.
const POLL_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after failures.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Failures in a row from which on it is an alarm: a restart of the other daemon is none.
const ALARM_AFTER: u32 = 3;
/// Largest file of public keys.
const KEYS_BYTES_MAX: u64 = 256 * 1024;

/// The task that follows other daemons.
#[derive(Clone)]
pub struct Relays {
    /// Board, store, clock, metrics.
    pub sweeper: Arc<Sweeper>,
    /// The current configuration.
    pub runtime: Arc<ArcSwap<Runtime>>,
    /// Told when the configuration was replaced.
    pub reloaded: watch::Receiver<u64>,
    /// Ends the loop.
    pub signals: Signals,
}

impl Relays {
    /// Runs until stopped; begins anew with every configuration.
    pub async fn run(mut self) {
        loop {
            self.reloaded.borrow_and_update();
            let runtime = self.runtime.load_full();
            // Dropped at the end of the turn: all lines end with it.
            let mut lines = JoinSet::new();
            let believed = Arc::new(Believed::default());
            for relay in &runtime.config.relays {
                for model in &relay.models {
                    lines.spawn(Line::follow(
                        Arc::clone(&self.sweeper),
                        relay.clone(),
                        model.clone(),
                        Arc::clone(&believed),
                        self.signals.stop.clone(),
                    ));
                }
            }
            tokio::select! {
                changed = self.reloaded.changed() => if changed.is_err() { return },
                () = self.signals.stop.cancelled() => return,
            }
        }
    }
}

/// The keys that are believed, by the daemon that they belong to.
#[derive(Default)]
struct Believed(Mutex<BTreeMap<String, KeySet>>);

impl Believed {
    /// Notes the keys of a daemon; all of them together.
    fn note(&self, from: &str, keys: &KeySet) -> KeySet {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(from.to_owned(), keys.clone());
        known.values().fold(KeySet::default(), |all, keys| all.with(keys))
    }
}

/// Puts up what is kept of the lists that the configuration names.
pub(super) fn put_kept_up(sweeper: &Sweeper, runtime: &Runtime) {
    let believed = Believed::default();
    for relay in &runtime.config.relays {
        let keys = match remembered_keys(relay) {
            Ok(keys) => keys.unwrap_or_default(),
            Err(error) => {
                warn!(from = %relay.from, error, "the keys that are believed cannot be read");
                continue;
            }
        };
        sweeper.board.set_relayed_keys(believed.note(relay.from.as_str(), &keys));
        for model in &relay.models {
            let (consumer, problem) = consumer(relay, model, keys.clone());
            if let Some(problem) = problem {
                warn!(%model, %problem, "the last good list cannot be used; waiting for the other daemon");
            }
            if let Some(kept) = consumer.document() {
                put_up(sweeper, model, kept);
            }
        }
    }
}

fn consumer(relay: &RelayConfig, model: &ModelId, keys: KeySet) -> (Consumer, Option<crate::client::KeptError>) {
    let trust = Trust { keys, signed: relay.signed, ..Trust::signed(model.as_str()) };
    Consumer::open(trust, relay.folder.join(format!("{}.kept.json", file_name(model.as_str()))))
}

/// A text as part of a file's name.
fn file_name(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Where the first keys that a daemon showed are kept.
fn first_keys_path(relay: &RelayConfig) -> PathBuf {
    let from = format!("{}:{}", relay.from.host_str().unwrap_or(""), relay.from.port_or_known_default().unwrap_or(0));
    relay.folder.join(format!("{}.keys.json", file_name(&from)))
}

/// The keys that are believed already; `None`: those that the daemon shows first will be.
fn remembered_keys(relay: &RelayConfig) -> Result<Option<KeySet>, String> {
    match &relay.keys_file {
        Some(path) => read_keys(path).map(Some),
        None if first_keys_path(relay).exists() => read_keys(&first_keys_path(relay)).map(Some),
        None => Ok(None),
    }
}

/// Public keys in a file.
pub(super) fn read_keys(path: &Path) -> Result<KeySet, String> {
    let told = |error: String| format!("{}: {error}", path.display());
    if std::fs::metadata(path).map_err(|e| told(e.to_string()))?.len() > KEYS_BYTES_MAX {
        return Err(told("it is too long for a set of keys".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|e| told(e.to_string()))?;
    KeySet::read(&text).map_err(|e| told(e.to_string()))
}

/// Puts a verified document on the board and into the metrics.
fn put_up(sweeper: &Sweeper, model: &ModelId, kept: &Kept) {
    match Document::read(Bytes::from(kept.document.clone())) {
        Ok(document) => {
            let (listed, expires_s) = (document.list.providers.len(), document.expires_at_us / 1_000_000);
            sweeper.metrics.set_list(model, None, document.revision, listed, expires_s);
            sweeper.board.publish(document, Origin::Relayed { signature: kept.signature.clone() });
        }
        Err(error) => warn!(%model, %error, "a verified list cannot be served"),
    }
}

/// One list of one daemon.
struct Line {
    sweeper: Arc<Sweeper>,
    relay: RelayConfig,
    model: ModelId,
    believed: Arc<Believed>,
    follower: Follower,
    consumer: Consumer,
    failures: u32,
}

/// Why a turn brought nothing.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error("{0}")]
    Follow(#[from] FollowError),
    #[error("what came is refused: {0}")]
    Refused(#[from] Refusal),
    #[error("its keys: {0}")]
    Keys(String),
}

impl Line {
    async fn follow(
        sweeper: Arc<Sweeper>,
        relay: RelayConfig,
        model: ModelId,
        believed: Arc<Believed>,
        stop: CancellationToken,
    ) {
        let options = FollowerOptions { token: relay.token.clone(), wait: relay.wait };
        let follower = match Follower::new(relay.from.as_str(), &options) {
            Ok(follower) => follower,
            Err(error) => {
                warn!(%model, %error, "this relay cannot work; mend the config");
                return;
            }
        };
        let keys = remembered_keys(&relay).ok().flatten().unwrap_or_default();
        let (consumer, _) = consumer(&relay, &model, keys);
        let mut line = Line { sweeper, relay, model, believed, follower, consumer, failures: 0 };
        tokio::select! {
            () = line.run() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn run(&mut self) {
        loop {
            let begun = Instant::now();
            let turn = self.turn().await;
            let noted = match &turn {
                Ok(()) => self.succeeded().await,
                Err(missed) => self.missed(missed).await,
            };
            if let Err(error) = noted.and(self.watch_expiry().await) {
                warn!(model = %self.model, %error, "failed to note an alarm; trying again");
            }
            let pause = match turn {
                Ok(()) => POLL_PAUSE.saturating_sub(begun.elapsed()),
                Err(_) => POLL_PAUSE.saturating_mul(1 << self.failures.min(8)).min(BACKOFF_MAX),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One poll, and what follows from it.
    async fn turn(&mut self) -> Result<(), Missed> {
        self.know_keys().await?;
        match self.follower.next(self.model.as_str(), self.consumer.etag()).await? {
            Polled::Unchanged => Ok(()),
            Polled::Document { bytes, signature } => self.take(&bytes, signature.as_deref()).await,
        }
    }

    async fn take(&mut self, bytes: &[u8], signature: Option<&str>) -> Result<(), Missed> {
        let offered = self.consumer.offer(bytes, signature, self.sweeper.clock.now_us());
        let version = serde_json::from_slice::<crate::domain::Allowlist>(bytes).map_or(0, |list| list.version);
        if let Err(refusal) = offered {
            self.ack(version, "rejected", refusal.code()).await;
            return Err(refusal.into());
        }
        if let Some(error) = self.consumer.unwritten() {
            warn!(model = %self.model, %error, "the list is in use, but could not be kept on disk");
        }
        if let Some(kept) = self.consumer.document() {
            put_up(&self.sweeper, &self.model, kept);
        }
        info!(model = %self.model, revision = version, from = %self.relay.from, "list taken over");
        self.learn_keys(bytes, signature).await;
        self.ack(version, "adopted", "").await;
        Ok(())
    }

    /// Keys to believe: those of the file, or the first that the daemon shows.
    async fn know_keys(&mut self) -> Result<(), Missed> {
        if !self.consumer.trust().keys.is_empty() {
            return Ok(());
        }
        let keys = match remembered_keys(&self.relay).map_err(Missed::Keys)? {
            Some(keys) => keys,
            None => {
                let keys = self.follower.keys().await?;
                if !keys.is_empty() {
                    info!(from = %self.relay.from, keys = keys.ids().join(", "), "believing the keys that it shows first");
                    self.remember(&keys)?;
                }
                keys
            }
        };
        self.believe(keys);
        Ok(())
    }

    /// While a key takes over from another both sign: the new one is learnt from a document that a known key has signed.
    async fn learn_keys(&mut self, bytes: &[u8], signature: Option<&str>) {
        let known = &self.consumer.trust().keys;
        let signatures = Signature::read(signature.unwrap_or_default()).unwrap_or_default();
        let is_new = |s: &&Signature| known.get(&s.key_id).is_none();
        if self.relay.keys_file.is_some() || known.is_empty() || !signatures.iter().any(|s| is_new(&s)) {
            return;
        }
        let Ok(shown) = self.follower.keys().await else { return };
        let verifies = |s: &&Signature| shown.get(&s.key_id).is_some_and(|key| key.verifies(bytes, s));
        let learnt: Vec<String> = signatures.iter().filter(is_new).filter(verifies).map(|s| s.key_id.clone()).collect();
        let keys = known.clone().with(&shown.only(&learnt));
        if let Err(error) = self.remember(&keys) {
            warn!(from = %self.relay.from, %error, "a new key could not be kept on disk");
        }
        info!(from = %self.relay.from, keys = learnt.join(", "), "new keys are believed");
        self.believe(keys);
    }

    fn remember(&self, keys: &KeySet) -> Result<(), Missed> {
        let path = first_keys_path(&self.relay);
        let written =
            std::fs::create_dir_all(&self.relay.folder).and_then(|()| file::replace(&path, keys.to_text().as_bytes()));
        written.map_err(|e| Missed::Keys(format!("{}: {e}", path.display())))
    }

    fn believe(&mut self, keys: KeySet) {
        let all = self.believed.note(self.relay.from.as_str(), &keys);
        self.sweeper.board.set_relayed_keys(all);
        self.consumer.believe(keys);
    }

    /// Tells the other daemon; it need not listen.
    async fn ack(&self, version: u64, status: &str, detail: &str) {
        let (client, model) = (&self.relay.client, &self.model);
        let ack = json!({"client": client, "model": model, "version": version, "status": status, "detail": detail});
        if let Err(error) = self.follower.ack(&ack).await {
            debug!(%model, %error, "the ack was not taken");
        }
    }

    async fn succeeded(&mut self) -> Result<(), StoreError> {
        self.failures = 0;
        conclude::clear(&self.sweeper, &self.model, ALARM).await
    }

    async fn missed(&mut self, missed: &Missed) -> Result<(), StoreError> {
        self.failures = self.failures.saturating_add(1);
        let (model, from) = (&self.model, &self.relay.from);
        if self.failures == 1 {
            warn!(%model, %from, error = %missed, "the list could not be followed; the last good one is served on");
        }
        // A document that is refused is never harmless; a daemon that is away for a moment is.
        if self.failures < ALARM_AFTER && matches!(missed, Missed::Follow(_)) {
            return Ok(());
        }
        let text = format!("the list of {from} cannot be followed: {missed}; the last good one is served on");
        conclude::raise(&self.sweeper, model, ALARM, &text).await
    }

    async fn watch_expiry(&self) -> Result<(), StoreError> {
        match self.consumer.routing(self.sweeper.clock.now_us()) {
            Routing::Listed { expired: true, .. } => {
                let text = "the list that was taken over has expired and no newer one came";
                conclude::raise(&self.sweeper, &self.model, "stale_list", text).await
            }
            Routing::Listed { .. } | Routing::Open => conclude::clear(&self.sweeper, &self.model, "stale_list").await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_hold_no_path() {
        assert_eq!(file_name("lab/m:free"), "lab%2Fm%3Afree");
        assert_eq!(file_name("../x"), "..%2Fx");
        assert_ne!(file_name("a%2F"), file_name("a/"));
    }
}

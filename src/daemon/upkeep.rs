//! What a daemon does beside sweeps: keeps lists from expiring, prunes, and raises the
//! alarms that no sweep would raise.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::{info, warn};

use super::runtime::{ModelRuntime, Runtime};
use super::sweeper::{Signals, SweepError, Sweeper};
use super::{conclude, gauges, steps};
use crate::domain::{Capability, Micros, ModelId};
use crate::store::{Retention, StoreError};

/// How often it all is looked at.
const EVERY: Duration = Duration::from_secs(30);
/// Pruning happens once in so many looks.
pub const PRUNE_EVERY_LOOKS: u32 = 120;
/// Consumers that say nothing for so long, and events so old, are forgotten, in microseconds: 30 days.
const FORGET_AFTER_US: i64 = 30 * 86_400 * 1_000_000;
/// A sweep is late when it is so many ticks since the last one began, or since the daemon did.
const LATE_TICKS: usize = 3;
/// A tick counts as missed when its sweep could have begun for so long, in microseconds: a minute.
const LATE_AFTER_US: Micros = 60_000_000;

/// The upkeep task.
#[derive(Clone)]
pub struct Upkeep {
    /// Store, clock, board.
    pub sweeper: Arc<Sweeper>,
    /// The current configuration.
    pub runtime: Arc<ArcSwap<Runtime>>,
    /// Ends the loop.
    pub signals: Signals,
    /// When it began.
    began_at_us: Micros,
}

impl Upkeep {
    /// The upkeep of a daemon that begins now.
    #[must_use]
    pub fn new(sweeper: Arc<Sweeper>, runtime: Arc<ArcSwap<Runtime>>, signals: Signals) -> Self {
        let began_at_us = sweeper.clock.now_us();
        Upkeep { sweeper, runtime, signals, began_at_us }
    }

    /// Runs until stopped.
    pub async fn run(self) {
        let mut looks = 0u32;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.signals.stop.cancelled() => return,
            }
            self.turn(looks).await;
            looks = looks.wrapping_add(1);
        }
    }

    /// One turn, after so many earlier ones: looks after every model, and now and then prunes by retention, the first time
    /// at once.
    pub async fn turn(&self, looks: u32) {
        self.look().await;
        if looks.is_multiple_of(PRUNE_EVERY_LOOKS) {
            self.prune(&self.runtime.load_full()).await;
        }
    }

    /// Looks after every model once.
    pub async fn look(&self) {
        let runtime = self.runtime.load_full();
        for model in runtime.models.values() {
            if let Err(error) = self.look_after(&runtime, model).await {
                warn!(model = %model.config.id, %error, "upkeep failed; trying again");
                if matches!(error, SweepError::Store(_)) {
                    // The alarm's row cannot be written either: the metric tells of it, until a look succeeds.
                    self.sweeper.metrics.set_alarms(&model.config.id, "store", 1);
                }
            }
        }
        gauges::forget_removed(&self.sweeper, &runtime);
    }

    async fn look_after(&self, runtime: &Runtime, model: &ModelRuntime) -> Result<(), SweepError> {
        // A sweep in flight ends with a publication of its own.
        if self.sweeper.progress.of(&model.config.id).is_none() {
            match conclude::refresh(&self.sweeper, runtime, model).await {
                // Another process was faster.
                overtaken if steps::was_overtaken(&overtaken) => {}
                ended => ended?,
            }
        }
        self.watch_expiry(&model.config.id, &model.config.policy.capabilities).await?;
        self.watch_lateness(runtime, model).await?;
        let pending = self.sweeper.writer.status();
        if let Some(failed) = pending.failed {
            conclude::raise(&self.sweeper, &model.config.id, "store", &failed.message).await?;
        } else {
            conclude::clear(&self.sweeper, &model.config.id, "store").await?;
        }
        Ok(())
    }

    async fn watch_expiry(&self, model: &ModelId, capabilities: &[Capability]) -> Result<(), StoreError> {
        let Some(list) = self.sweeper.board.get(model.as_str()) else { return Ok(()) };
        let wanted = capabilities.iter();
        let of_capabilities = wanted.filter_map(|c| self.sweeper.board.of_capability(model.as_str(), c.as_str()));
        let now_us = self.sweeper.clock.now_us();
        let expired = [list].into_iter().chain(of_capabilities).find(|list| list.expires_at_us < now_us);
        match expired.map(|list| list.capability.clone()) {
            None => conclude::clear(&self.sweeper, model, "stale_list").await,
            Some(None) => {
                let text = "the published list has expired and was not renewed";
                conclude::raise(&self.sweeper, model, "stale_list", text).await
            }
            Some(Some(capability)) => {
                let text = format!("the published list of capability {capability} has expired and was not renewed");
                conclude::raise(&self.sweeper, model, "stale_list", &text).await
            }
        }
    }

    async fn watch_lateness(&self, runtime: &Runtime, model: &ModelRuntime) -> Result<(), StoreError> {
        let now_us = self.sweeper.clock.now_us();
        let newest = self.sweeper.store.sweeps(Some(&model.config.id), None, 1, None).await?.items;
        let since_us = newest.first().map_or(self.began_at_us, |sweep| sweep.planned_at_us);
        let late = runtime.ticks_due(&model.config, since_us, now_us - LATE_AFTER_US) >= LATE_TICKS;
        if late {
            let text = "no sweep began at three ticks of the schedule: look at the log and the budget";
            conclude::raise(&self.sweeper, &model.config.id, "late_sweep", text).await
        } else {
            conclude::clear(&self.sweeper, &model.config.id, "late_sweep").await
        }
    }

    async fn prune(&self, runtime: &Runtime) {
        let cutoffs = cutoffs(runtime, self.sweeper.clock.now_us());
        match self.sweeper.store.prune(&cutoffs).await {
            Ok(pruned) if pruned.transcripts + pruned.attempts > 0 => {
                info!(transcripts = pruned.transcripts, attempts = pruned.attempts, "pruned by retention");
            }
            Ok(_) => {}
            Err(error) => warn!(%error, "failed to prune; trying again later"),
        }
        let before_us = self.sweeper.clock.now_us() - FORGET_AFTER_US;
        let store = &self.sweeper.store;
        if let Err(error) = store.forget_acks(before_us).await.and(store.forget_events(before_us).await) {
            warn!(%error, "failed to forget silent consumers and old events; trying again later");
        }
    }
}

/// The retention of the config as times.
#[must_use]
pub fn cutoffs(runtime: &Runtime, now_us: Micros) -> Retention {
    let before = |age: Duration| Some(now_us - i64::try_from(age.as_micros()).unwrap_or(i64::MAX / 2));
    let retention = &runtime.config.store.retention;
    Retention {
        transcripts_before_us: before(retention.transcripts),
        attempts_before_us: before(retention.attempts),
        observations_before_us: before(retention.observations),
    }
}

//! Follows what others write to the store: other daemons, sweeps and orders from the command line. Their lists, standings
//! and alarms are here within [`FOLLOW_EVERY`]. Also notices a store that knows less than it had said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{error, warn};

use super::mark::{Mark, Seen};
use super::runtime::Runtime;
use super::sweeper::{Signals, SweepError, Sweeper};
use super::{conclude, gauges, steps};
use crate::domain::{Allowlist, ModelId};
use crate::store::{Head, StoreError};

/// How often the store is asked whether anybody has written: one small statement.
pub const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// The following task.
#[derive(Clone)]
pub struct Follower {
    /// Store, board, metrics.
    pub sweeper: Arc<Sweeper>,
    /// The current configuration.
    pub runtime: Arc<ArcSwap<Runtime>>,
    /// Ends the loop.
    pub signals: Signals,
    /// Told whenever there was news.
    pub news: Arc<watch::Sender<u64>>,
}

impl Follower {
    fn mark(&self) -> Mark {
        Mark::of(self.runtime.load().config.store.url.expose(), self.sweeper.store.place())
    }

    /// One look beside the loop. Before a start serves anything: a restored backup must not serve, nor a sweep's end give
    /// out again, revisions that consumers have seen superseded. After a stop: the mark must know the last of them.
    pub async fn catch_up(&self) {
        let mark = self.mark();
        let mut seen = mark.read();
        match self.look(&mut seen, true).await {
            Ok(true) => mark.write(&seen),
            Ok(false) => {}
            Err(error) => {
                warn!(%error, "failed to see how far the store has come; a restored backup may not be noticed")
            }
        }
    }

    /// Runs until stopped.
    pub async fn run(self) {
        let mark = self.mark();
        let mut seen = mark.read();
        let mut told = false;
        loop {
            match self.look(&mut seen, false).await {
                Ok(news) => {
                    told = false;
                    if news {
                        mark.write(&seen);
                        self.news.send_modify(|n| *n += 1);
                    }
                }
                // Once is enough, until it has worked again.
                Err(_) if told => {}
                Err(error) => {
                    warn!(%error, "failed to follow the store; the lists at hand are served on");
                    told = true;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
                () = self.signals.stop.cancelled() => return,
            }
        }
    }

    /// One look; `true` when there was news. A thorough one also looks at models that are where they were: they may have
    /// come there another way.
    async fn look(&self, seen: &mut BTreeMap<ModelId, Seen>, thorough: bool) -> Result<bool, SweepError> {
        let heads = self.sweeper.store.heads().await?;
        let is_news = |head: &&Head| thorough || seen.get(&head.model).is_none_or(|s| s.seq != head.seq);
        let news: Vec<&Head> = heads.iter().filter(is_news).collect();
        if news.is_empty() {
            return Ok(false);
        }
        put_lists_up(&self.sweeper).await?;
        for head in news {
            let before = seen.get(&head.model).cloned().unwrap_or_default();
            let overtaken = head.seq >= before.seq && self.is_another(&head.model, &before).await?;
            if head.seq < before.seq || overtaken {
                self.went_back(head, before, overtaken).await?;
            }
            let state = steps::state(&self.sweeper.store, &head.model).await?;
            gauges::show_standings(&self.sweeper.metrics, &head.model, &state);
            gauges::show_stored_alarms(&self.sweeper, &head.model).await?;
            let step = steps::identity(&self.sweeper.store, &head.model, head.seq).await?;
            seen.insert(head.model.clone(), Seen { step, ..self.seen(head) });
        }
        Ok(true)
    }

    /// How far a model has come, by its newest step and by what stands on the board.
    fn seen(&self, head: &Head) -> Seen {
        let mut seen = Seen { seq: head.seq, ..Seen::default() };
        for list in self.sweeper.board.all().into_iter().filter(|list| list.model == head.model) {
            match &list.capability {
                None => seen.revision = list.revision,
                Some(capability) => drop(seen.capabilities.insert(capability.clone(), list.revision)),
            }
        }
        seen
    }

    /// Whether the step that had been reached is another one now: the store was put back, and has gone on since.
    async fn is_another(&self, model: &ModelId, before: &Seen) -> Result<bool, SweepError> {
        let Some(known) = &before.step else { return Ok(false) };
        let found = steps::identity(&self.sweeper.store, model, before.seq).await?;
        Ok(found.is_some_and(|found| found != *known))
    }

    /// The store ends before a step that it had reached, or has reached another one in its place.
    async fn went_back(&self, head: &Head, before: Seen, overtaken: bool) -> Result<(), SweepError> {
        let runtime = self.runtime.load_full();
        let model = &head.model;
        error!(%model, step = head.seq, expected = before.seq, overtaken, "the store went back: a backup was restored");
        let Some(configured) = runtime.models.get(model) else { return Ok(()) };
        let mut told = self.seen(head);
        told.seq = before.seq;
        told.revision = told.revision.max(before.revision);
        for (capability, revision) in before.capabilities {
            let known = told.capabilities.entry(capability).or_default();
            *known = revision.max(*known);
        }
        conclude::restored(&self.sweeper, &runtime, configured, (told, overtaken)).await
    }
}

/// Puts the stored current lists on the board: those of earlier runs and of other processes.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn put_lists_up(sweeper: &Sweeper) -> Result<(), StoreError> {
    for stored in sweeper.store.current_allowlists().await? {
        let known = match &stored.capability {
            None => sweeper.board.get(stored.model.as_str()),
            Some(capability) => sweeper.board.of_capability(stored.model.as_str(), capability.as_str()),
        };
        if stored.list.revision > known.map_or(0, |p| p.revision) {
            let listed =
                serde_json::from_str::<Allowlist>(&stored.list.document).map_or(0, |list| list.providers.len());
            steps::put_up(sweeper, (&stored.model, stored.capability), stored.list, listed);
        }
    }
    Ok(())
}

//! One task per model runs its sweeps, one after another; the scheduler and the API hand it requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::runtime::Runtime;
use super::sweeper::{Signals, SweepError, SweepOutcome, SweepRequest, Sweeper};
use crate::clock::rfc3339;
use crate::domain::{ModelId, SweepKind};
use crate::store::{Fire, StoreError};

/// Requests that may wait per model beside the sweep in flight: one tick. Further ones are told that they overlap.
pub const REQUESTS_WAITING_MAX: usize = 1;
/// Pause after a failed sweep before the next request is taken.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Pause before a sweep that another process holds is looked at again.
const PAUSE_WHILE_BUSY: Duration = Duration::from_secs(2);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// Nothing else was to be done: it is run at once.
    Started,
    /// It will be run next.
    Queued,
    /// A sweep is in flight and another request waits: this one is dropped.
    Overlaps,
    /// No such model.
    UnknownModel,
}

/// The way to one worker.
struct Queue {
    requests: mpsc::Sender<SweepRequest>,
    /// Requests handed over and not yet served.
    open: Arc<AtomicUsize>,
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }

    /// `None`: the worker is no more.
    fn hand(&self, request: SweepRequest) -> Option<Handed> {
        if self.requests.is_closed() {
            return None;
        }
        // Counted before it is seen, so that it is never served before it is counted. The count decides, not the
        // channel: a request that the worker has not taken yet is the one in flight, not the one that waits.
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        if before > REQUESTS_WAITING_MAX {
            self.open.fetch_sub(1, Ordering::SeqCst);
            return Some(Handed::Overlaps);
        }
        let handed = match self.requests.try_send(request) {
            Ok(()) if before == 0 => return Some(Handed::Started),
            Ok(()) => return Some(Handed::Queued),
            Err(mpsc::error::TrySendError::Full(_)) => Some(Handed::Overlaps),
            Err(mpsc::error::TrySendError::Closed(_)) => None,
        };
        self.open.fetch_sub(1, Ordering::SeqCst);
        handed
    }
}

/// The workers of all models.
pub struct Workers {
    sweeper: Arc<Sweeper>,
    runtime: Arc<ArcSwap<Runtime>>,
    signals: Signals,
    queues: Mutex<BTreeMap<ModelId, Queue>>,
    tasks: tokio_util::task::TaskTracker,
    /// Counts the sweeps that were done.
    done: Arc<watch::Sender<u64>>,
    /// Ticks that had no turn before the stop.
    left: Arc<Mutex<Vec<Fire>>>,
}

impl Workers {
    /// No tasks yet; they start with their model's first request.
    #[must_use]
    pub fn new(sweeper: Arc<Sweeper>, runtime: Arc<ArcSwap<Runtime>>, signals: Signals) -> Self {
        Workers {
            sweeper,
            runtime,
            signals,
            queues: Mutex::default(),
            tasks: tokio_util::task::TaskTracker::new(),
            done: Arc::new(watch::channel(0).0),
            left: Arc::default(),
        }
    }

    /// After the end of all: the ticks that waited and had no turn. The last tick of a schedule is left to the next start,
    /// which makes up for it; one after which others were noted nobody would look for any more, so it is noted here.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn note_left(&self) -> Result<(), StoreError> {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        for fire in left {
            let (schedule, model, at) = (&fire.schedule, &fire.model, rfc3339(fire.fire_at_us));
            if self.sweeper.store.last_fire_until(schedule, model, fire.fire_at_us).await? == Some(fire.fire_at_us) {
                continue;
            }
            let last = self.sweeper.store.last_fire(schedule, model).await?;
            if last.is_none_or(|last_us| last_us < fire.fire_at_us) {
                info!(schedule, %model, at, "stopped while a tick waited: the next start makes up for the last one");
            } else {
                self.sweeper.store.skip_fire(&fire, "stopped").await?;
                info!(schedule, %model, at, "tick skipped: stopped while it waited");
            }
        }
        Ok(())
    }

    /// Changes whenever a worker has done a sweep and has nothing more to do for that request. Not when none was begun:
    /// whoever follows must not try again at once.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.done.subscribe()
    }

    /// Whether a model's worker has nothing to do.
    pub fn is_idle(&self, model: &ModelId) -> bool {
        self.lock().get(model).is_none_or(Queue::is_idle)
    }

    /// Hands a request to the model's worker if that has nothing to do: it never keeps a tick from waiting.
    pub fn hand_if_idle(&self, model: &ModelId, request: SweepRequest) -> bool {
        let queues = self.lock();
        if !queues.get(model).is_none_or(Queue::is_idle) {
            return false;
        }
        matches!(self.hand_to(queues, model, request), Handed::Started | Handed::Queued)
    }

    /// Hands a request to the model's worker, without waiting.
    pub fn hand(&self, model: &ModelId, request: SweepRequest) -> Handed {
        if !self.runtime.load().models.contains_key(model) {
            return Handed::UnknownModel;
        }
        self.hand_to(self.lock(), model, request)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ModelId, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_to(
        &self,
        mut queues: MutexGuard<'_, BTreeMap<ModelId, Queue>>,
        model: &ModelId,
        request: SweepRequest,
    ) -> Handed {
        let queue = queues.entry(model.clone()).or_insert_with(|| self.start(model.clone()));
        if let Some(handed) = queue.hand(request.clone()) {
            return handed;
        }
        // The task broke, which was logged: start another.
        *queue = self.start(model.clone());
        queue.hand(request).unwrap_or(Handed::Overlaps)
    }

    /// Waits until all workers have ended (after the stop signal).
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn start(&self, model: ModelId) -> Queue {
        let (requests, receiver) = mpsc::channel(1 + REQUESTS_WAITING_MAX);
        let open = Arc::new(AtomicUsize::new(0));
        let worker = Worker {
            sweeper: Arc::clone(&self.sweeper),
            runtime: Arc::clone(&self.runtime),
            signals: self.signals.clone(),
            model,
            open: Arc::clone(&open),
            done: Arc::clone(&self.done),
            left: Arc::clone(&self.left),
        };
        self.tasks.spawn(async move {
            let model = worker.model.clone();
            // A task of its own, so that a panic ends here. The next request starts another worker.
            if let Err(error) = AbortOnDropHandle::new(tokio::spawn(worker.run(receiver))).await {
                error!(%model, %error, "a sweep broke; what is stored is kept, the next tick goes on");
            }
        });
        Queue { requests, open }
    }
}

struct Worker {
    sweeper: Arc<Sweeper>,
    runtime: Arc<ArcSwap<Runtime>>,
    signals: Signals,
    model: ModelId,
    open: Arc<AtomicUsize>,
    done: Arc<watch::Sender<u64>>,
    left: Arc<Mutex<Vec<Fire>>>,
}

impl Worker {
    async fn run(self, mut requests: mpsc::Receiver<SweepRequest>) {
        loop {
            let request = tokio::select! {
                // A request that waited is not begun after the stop: it would find the sweep that was just parked.
                biased;
                () = self.signals.stop.cancelled() => None,
                request = requests.recv() => request,
            };
            let Some(request) = request else {
                requests.close();
                while let Some(waited) = requests.recv().await {
                    self.leave(&waited);
                }
                return;
            };
            let done = self.serve(&request).await;
            self.open.fetch_sub(1, Ordering::SeqCst);
            if done {
                self.done.send_modify(|sweeps| *sweeps += 1);
            }
        }
    }

    /// A request that has no turn any more. What is due between the ticks is due again by itself.
    fn leave(&self, request: &SweepRequest) {
        let tick = request.fire.as_ref().filter(|_| request.kind == SweepKind::Scheduled);
        self.left.lock().unwrap_or_else(PoisonError::into_inner).extend(tick.cloned());
    }

    /// One request. An interrupted sweep is finished first; then the request has its turn. `true`: a sweep was done.
    async fn serve(&self, request: &SweepRequest) -> bool {
        let mut done = false;
        loop {
            let runtime = self.runtime.load_full();
            let Some(model) = runtime.models.get(&self.model) else { return done };
            match Box::pin(self.sweeper.run(&runtime, model, request, &self.signals)).await {
                Ok(SweepOutcome::Done { sweep, resumed: true }) => {
                    info!(model = %self.model, %sweep, "interrupted sweep finished");
                    done = true;
                }
                Ok(SweepOutcome::Done { sweep, resumed: false }) => {
                    info!(model = %self.model, %sweep, kind = request.kind.name(), "sweep done");
                    return true;
                }
                Ok(SweepOutcome::Parked { sweep }) => {
                    info!(model = %self.model, %sweep, "sweep parked: the next start finishes it");
                    // It may be an earlier one.
                    self.leave(request);
                    return done;
                }
                // Whoever only finishes what was left finds nothing left, which is good.
                Ok(SweepOutcome::NotStarted { .. }) if request.resume_only => return done,
                Ok(SweepOutcome::NotStarted { why }) => {
                    warn!(model = %self.model, why, "no sweep started");
                    return done;
                }
                // It ends, or its lease does: then this request has its turn.
                Err(SweepError::Busy { .. }) => self.pause(PAUSE_WHILE_BUSY).await,
                // The other one finishes it. If it was an earlier sweep, this request has its turn after it; if it was this
                // request's own, its tick is known.
                Err(error @ SweepError::TakenOver { resumed, .. }) => {
                    warn!(model = %self.model, %error, "sweep given up");
                    if !resumed {
                        return done;
                    }
                    self.pause(PAUSE_WHILE_BUSY).await;
                }
                Err(error) => {
                    error!(model = %self.model, %error, "sweep failed; what is stored is kept, the next tick goes on");
                    self.pause(PAUSE_AFTER_FAILURE).await;
                    return done;
                }
            }
            if self.signals.stop.is_cancelled() {
                self.leave(request);
                return done;
            }
        }
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.signals.stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::manual_request;

    #[test]
    fn of_ticks_that_come_together_the_second_waits_though_the_first_is_not_taken_yet() {
        let (requests, mut taken) = mpsc::channel(1 + REQUESTS_WAITING_MAX);
        let queue = Queue { requests, open: Arc::default() };
        let hand = || queue.hand(manual_request(Duration::ZERO));
        assert_eq!([hand(), hand(), hand()], [Some(Handed::Started), Some(Handed::Queued), Some(Handed::Overlaps)]);
        // Taken is not served: it is in flight.
        assert!(taken.try_recv().is_ok());
        assert_eq!(hand(), Some(Handed::Overlaps));
        queue.open.fetch_sub(1, Ordering::SeqCst);
        assert_eq!(hand(), Some(Handed::Queued));
        drop(taken);
        assert_eq!(hand(), None, "the worker is no more");
    }
}

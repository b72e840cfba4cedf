//! What a sweep in flight has done so far, for terminals, the page and the metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::{EndpointId, Micros, ModelId, SweepId, SweepKind, Verdict};

/// Counts of one endpoint.
#[derive(Debug, Default)]
pub struct EndpointProgress {
    /// Attempts planned (those stored before a restart included).
    pub planned: AtomicU64,
    /// Attempts ended.
    pub done: AtomicU64,
    /// Of these, passed.
    pub pass: AtomicU64,
    /// Of these, failed.
    pub fail: AtomicU64,
}

/// One sweep in flight.
#[derive(Debug)]
pub struct SweepProgress {
    /// The sweep.
    pub sweep: SweepId,
    /// The model.
    pub model: ModelId,
    /// Who asked for it.
    pub kind: SweepKind,
    /// When it was planned.
    pub planned_at_us: Micros,
    /// Attempts planned.
    pub planned: u64,
    /// Attempts ended, those stored before a restart included.
    pub done: AtomicU64,
    /// By endpoint.
    pub endpoints: BTreeMap<EndpointId, EndpointProgress>,
}

impl SweepProgress {
    /// Counts one ended attempt.
    pub fn ended(&self, endpoint: &EndpointId, verdict: Verdict) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if let Some(e) = self.endpoints.get(endpoint) {
            e.done.fetch_add(1, Ordering::Relaxed);
            match verdict {
                Verdict::Pass => e.pass.fetch_add(1, Ordering::Relaxed),
                Verdict::Fail(_) => e.fail.fetch_add(1, Ordering::Relaxed),
                Verdict::Unscored(_) => 0,
            };
        }
    }

    /// Attempts ended.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// The sweeps in flight, at most one per model.
#[derive(Debug, Default)]
pub struct Progress {
    sweeps: Mutex<BTreeMap<ModelId, Arc<SweepProgress>>>,
}

impl Progress {
    /// The sweeps in flight.
    #[must_use]
    pub fn current(&self) -> Vec<Arc<SweepProgress>> {
        self.lock().values().cloned().collect()
    }

    /// The sweep in flight of a model.
    #[must_use]
    pub fn of(&self, model: &ModelId) -> Option<Arc<SweepProgress>> {
        self.lock().get(model).cloned()
    }

    /// Shows a sweep.
    pub fn begin(&self, sweep: Arc<SweepProgress>) {
        self.lock().insert(sweep.model.clone(), sweep);
    }

    /// Hides a model's sweep.
    pub fn end(&self, model: &ModelId) {
        self.lock().remove(model);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ModelId, Arc<SweepProgress>>> {
        self.sweeps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

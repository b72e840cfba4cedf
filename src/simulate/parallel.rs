//! Repetitions over threads: the results stand in the order of the repetitions, whoever computed them.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// What a run is told and tells while it goes on.
#[derive(Debug, Default)]
pub struct Control {
    /// Set from outside: the run ends after the repetitions in flight.
    pub stop: AtomicBool,
    /// Repetitions finished, over all policies.
    pub done: AtomicU64,
    /// Repetitions planned, over all policies.
    pub planned: AtomicU64,
}

impl Control {
    /// Whether the run was asked to stop.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The run was stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped before all repetitions were done")]
pub struct Stopped;

/// As many threads as the machine has processors for this process.
#[must_use]
pub fn threads_here() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Runs `work` for every repetition below `repetitions`.
///
/// # Errors
/// [`Stopped`] when the control says so before all are done.
pub fn repeat<T: Send>(
    repetitions: u64,
    threads: NonZeroUsize,
    control: &Control,
    work: impl Fn(u64) -> T + Sync,
) -> Result<Vec<T>, Stopped> {
    let next = AtomicU64::new(0);
    let one_thread = || {
        let mut mine = Vec::new();
        while !control.stopped() {
            let repetition = next.fetch_add(1, Ordering::Relaxed);
            if repetition >= repetitions {
                break;
            }
            mine.push((repetition, work(repetition)));
            control.done.fetch_add(1, Ordering::Relaxed);
        }
        mine
    };
    let mut all: Vec<(u64, T)> = if threads.get() == 1 {
        one_thread()
    } else {
        thread::scope(|scope| {
            let handles: Vec<_> = (0..threads.get()).map(|_| scope.spawn(one_thread)).collect();
            // A thread that panicked leaves its repetitions out: the count below tells.
            handles.into_iter().filter_map(|h| h.join().ok()).flatten().collect()
        })
    };
    if (all.len() as u64) < repetitions {
        return Err(Stopped);
    }
    all.sort_by_key(|(repetition, _)| *repetition);
    Ok(all.into_iter().map(|(_, value)| value).collect())
}

//! Tasks that live as long as the daemon: one that panics is begun anew after a pause, and meanwhile the daemon is not ready.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::error;

use crate::store::WriterStatus;

/// Pause before a broken task is begun anew: whatever broke it may still be there.
pub const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(5);

/// Keeps tasks alive until stopped.
pub struct Supervisor {
    tasks: TaskTracker,
    stop: CancellationToken,
    pause: Duration,
    broken: Arc<watch::Sender<u32>>,
}

impl Supervisor {
    /// No tasks yet.
    pub fn new(stop: CancellationToken, pause: Duration) -> Self {
        Supervisor { tasks: TaskTracker::new(), stop, pause, broken: Arc::new(watch::channel(0).0) }
    }

    /// Number of tasks that are broken at the moment.
    pub fn broken(&self) -> watch::Receiver<u32> {
        self.broken.subscribe()
    }

    /// Runs what `begin` gives, and again whenever it ends although nobody stopped the daemon.
    pub fn keep<F>(&self, name: &'static str, begin: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, pause, broken) = (self.stop.clone(), self.pause, Arc::clone(&self.broken));
        self.tasks.spawn(async move {
            loop {
                let ended = AbortOnDropHandle::new(tokio::spawn(begin())).await;
                if stop.is_cancelled() {
                    return;
                }
                let why = ended.err().map_or_else(|| "it ended by itself".to_owned(), |error| error.to_string());
                error!(task = name, why, pause_s = pause.as_secs_f64(), "a task broke; it is begun anew after a pause");
                broken.send_modify(|n| *n += 1);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => return,
                }
                broken.send_modify(|n| *n -= 1);
            }
        });
    }
}

/// Whether no task is broken and outcomes can be stored.
pub fn is_ready(broken: &mut watch::Receiver<u32>, writer: &mut watch::Receiver<WriterStatus>) -> bool {
    *broken.borrow_and_update() == 0 && writer.borrow_and_update().failed.is_none()
}

/// Says whether the daemon is ready, until one of its sources is gone.
pub async fn watch_readiness(
    ready: watch::Sender<bool>,
    mut broken: watch::Receiver<u32>,
    mut writer: watch::Receiver<WriterStatus>,
) {
    loop {
        let is_ready = is_ready(&mut broken, &mut writer);
        ready.send_if_modified(|was| std::mem::replace(was, is_ready) != is_ready);
        let changed = tokio::select! {
            changed = broken.changed() => changed,
            changed = writer.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::store::WriterFailure;

    fn panics_at_first(supervisor: &Supervisor, stop: &CancellationToken) -> Arc<AtomicU32> {
        let begun = Arc::new(AtomicU32::new(0));
        let (counter, stop) = (Arc::clone(&begun), stop.clone());
        supervisor.keep("shaky", move || {
            let (time, stop) = (counter.fetch_add(1, Ordering::SeqCst), stop.clone());
            async move {
                assert!(time > 0, "the first time");
                stop.cancelled().await;
            }
        });
        begun
    }

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_begun_anew_after_a_pause_and_told_meanwhile() {
        let stop = CancellationToken::new();
        let supervisor = Supervisor::new(stop.clone(), Duration::from_secs(5));
        let mut broken = supervisor.broken();
        let begun = panics_at_first(&supervisor, &stop);
        broken.wait_for(|n| *n == 1).await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        broken.wait_for(|n| *n == 0).await.unwrap();
        supervisor.tasks.close();
        stop.cancel();
        supervisor.tasks.wait().await;
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_follows_the_tasks_and_the_writer() {
        let (broken, is_broken) = watch::channel(0);
        let (writer, status) = watch::channel(WriterStatus::default());
        let (ready, mut is_ready) = watch::channel(false);
        let watching = tokio::spawn(watch_readiness(ready, is_broken, status));
        is_ready.wait_for(|ready| *ready).await.unwrap();
        broken.send_replace(1);
        is_ready.wait_for(|ready| !ready).await.unwrap();
        broken.send_replace(0);
        is_ready.wait_for(|ready| *ready).await.unwrap();
        let failed = Some(WriterFailure { message: "full".to_owned(), disk_full: true, tries: 1 });
        writer.send_modify(|status| status.failed = failed);
        is_ready.wait_for(|ready| !ready).await.unwrap();
        drop(broken);
        watching.await.unwrap();
    }
}

//! The one batching writer: takes attempts, writes them in batches, loses none.
//!
//! `append` prepares an attempt on the caller's task (compression included) and queues it. One task takes what is
//! queued and writes it when a batch is full or its oldest attempt has waited long enough. A batch that cannot be
//! written is held and tried again until it can: the queue fills, `append` waits, and [`BatchWriter::status`] says why,
//! so that the runner stops asking providers for answers that nobody can keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::attempts::Prepared;
use super::error::StoreError;
use super::{Appended, Store};
use crate::domain::Attempt;

/// Limits of a writer. The defaults suit a disk and a database in the same data centre.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Attempts that may wait; `append` waits for room beyond.
    pub queue: usize,
    /// Bytes (compressed) that may wait; `append` waits for room beyond.
    pub queue_bytes: usize,
    /// Attempts written in one transaction at most.
    pub batch: usize,
    /// An attempt waits at most this long for its batch to fill.
    pub max_age: Duration,
    /// First pause after a failed write; doubles with every further one.
    pub retry_min: Duration,
    /// Longest pause between tries.
    pub retry_max: Duration,
    /// Tries of the last batches at shutdown before they are given up.
    pub shutdown_tries: u32,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions {
            queue: 1024,
            queue_bytes: 32 * 1024 * 1024,
            batch: 256,
            max_age: Duration::from_millis(100),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(10),
            shutdown_tries: 3,
        }
    }
}

/// Transcripts larger than this are compressed beside the async workers.
const INLINE_BYTES_MAX: usize = 256 * 1024;
/// Unit of the permits that bound the bytes waiting.
const PERMIT_BYTES: usize = 1024;

/// Why nothing is written at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterFailure {
    /// What the store said.
    pub message: String,
    /// Free space is what is missing.
    pub disk_full: bool,
    /// Tries of the held batch so far.
    pub tries: u32,
}

/// How the writer fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriterStatus {
    /// What became of all written attempts.
    pub written: Appended,
    /// Batches written.
    pub batches: u64,
    /// Set while the last write failed: stop asking, nothing can be kept.
    pub failed: Option<WriterFailure>,
    /// Failed writes since the start, every try counted.
    pub failures: u64,
    /// The message of the last failure, also after it passed.
    pub last_error: Option<String>,
}

/// The writer has been shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store's writer has been shut down; the attempt was not stored")]
pub struct WriterClosed;

/// How a shutdown went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownReport {
    /// The state at the end; `failed` is set when something could not be written.
    pub status: WriterStatus,
    /// Attempts given up, because the last tries to write them failed. Their requests will be asked again.
    pub lost: u64,
}

enum Command {
    Append(Box<Prepared>, OwnedSemaphorePermit),
    Flush(oneshot::Sender<()>),
}

/// Handle of the writer's task. Cheap to clone; when all are gone the task writes what it has and ends.
#[derive(Clone)]
pub struct BatchWriter {
    store: Store,
    commands: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    room_permits: u32,
    status: watch::Receiver<WriterStatus>,
    waiting: Arc<AtomicU64>,
    closing: CancellationToken,
    ended: watch::Receiver<Option<u64>>,
}

impl BatchWriter {
    /// Starts the task.
    #[must_use]
    pub fn start(store: Store, options: WriterOptions) -> BatchWriter {
        let (commands, received) = mpsc::channel(options.queue.max(1));
        let (status_sender, status) = watch::channel(WriterStatus::default());
        let (ended_sender, ended) = watch::channel(None);
        let closing = CancellationToken::new();
        let waiting = Arc::new(AtomicU64::new(0));
        let permits = u32::try_from(options.queue_bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).max(1);
        let room_permits = permits.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        let room = Arc::new(Semaphore::new(room_permits as usize));
        let task = Task {
            store: store.clone(),
            options,
            received,
            status: status_sender,
            waiting: Arc::clone(&waiting),
            closing: closing.clone(),
            batch: Batch::default(),
            lost: 0,
        };
        tokio::spawn(async move {
            let lost = task.run().await;
            ended_sender.send_replace(Some(lost));
        });
        BatchWriter { store, commands, room, room_permits, status, waiting, closing, ended }
    }

    /// Queues an attempt; waits while the queue is full. It is durable once a later [`BatchWriter::flush`] returns.
    ///
    /// # Errors
    /// [`WriterClosed`] after a shutdown.
    pub async fn append(&self, attempt: Attempt) -> Result<(), WriterClosed> {
        let prepared = self.prepare(attempt).await?;
        let permits = u32::try_from(prepared.bytes().div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).min(self.room_permits);
        let permit = tokio::select! {
            permit = Arc::clone(&self.room).acquire_many_owned(permits) => permit.map_err(|_| WriterClosed)?,
            () = self.closing.cancelled() => return Err(WriterClosed),
        };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.send(Command::Append(Box::new(prepared), permit)).await;
        if sent.is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }

    /// Attempts queued and not written yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits until everything queued before is durable. While writing fails this waits for it to succeed.
    ///
    /// # Errors
    /// [`WriterClosed`] after a shutdown.
    pub async fn flush(&self) -> Result<(), WriterClosed> {
        let (done, written) = oneshot::channel();
        self.send(Command::Flush(done)).await?;
        written.await.map_err(|_| WriterClosed)
    }

    /// How the writer fares now.
    #[must_use]
    pub fn status(&self) -> WriterStatus {
        self.status.borrow().clone()
    }

    /// Tells of every change of the status.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<WriterStatus> {
        self.status.clone()
    }

    /// Waits until writes do not fail (any more). Before every request: one `await` that mostly returns at once.
    ///
    /// # Errors
    /// [`WriterClosed`] after a shutdown.
    pub async fn healthy(&self) -> Result<(), WriterClosed> {
        let mut status = self.status.clone();
        tokio::select! {
            found = status.wait_for(|status| status.failed.is_none()) => found.map(|_| ()).map_err(|_| WriterClosed),
            () = self.closing.cancelled() => Err(WriterClosed),
        }
    }

    /// Takes no more attempts, writes what is queued, and ends. While writes fail the last batches are tried
    /// [`WriterOptions::shutdown_tries`] times, then given up.
    pub async fn shutdown(&self) -> ShutdownReport {
        self.closing.cancel();
        let mut ended = self.ended.clone();
        let lost = match ended.wait_for(Option::is_some).await {
            Ok(lost) => lost.unwrap_or_default(),
            // The task is gone without a word: its runtime is shutting down.
            Err(_) => 0,
        };
        ShutdownReport { status: self.status(), lost }
    }

    async fn prepare(&self, attempt: Attempt) -> Result<Prepared, WriterClosed> {
        let size = attempt.transcript.as_ref().map_or(0, |t| t.request.len() + t.response.len());
        let prepared = if size <= INLINE_BYTES_MAX {
            self.store.prepare_attempt(attempt)
        } else {
            let store = self.store.clone();
            tokio::task::spawn_blocking(move || store.prepare_attempt(attempt)).await.map_err(|_| WriterClosed)?
        };
        // Only a value that cannot be written as JSON fails here, and the domain has none.
        prepared.map_err(|_| WriterClosed)
    }

    async fn send(&self, command: Command) -> Result<(), WriterClosed> {
        tokio::select! {
            sent = self.commands.send(command) => sent.map_err(|_| WriterClosed),
            () = self.closing.cancelled() => Err(WriterClosed),
        }
    }
}

/// What is written next, and who waits for it.
#[derive(Default)]
struct Batch {
    rows: Vec<Prepared>,
    permits: Vec<OwnedSemaphorePermit>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Batch {
    fn take(&mut self, command: Command) {
        match command {
            Command::Append(row, permit) => {
                self.rows.push(*row);
                self.permits.push(permit);
            }
            Command::Flush(done) => self.flushes.push(done),
        }
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.flushes.is_empty()
    }
}

struct Task {
    store: Store,
    options: WriterOptions,
    received: mpsc::Receiver<Command>,
    status: watch::Sender<WriterStatus>,
    waiting: Arc<AtomicU64>,
    closing: CancellationToken,
    batch: Batch,
    lost: u64,
}

impl Task {
    /// Runs until the shutdown; the number of attempts that could not be written.
    async fn run(mut self) -> u64 {
        loop {
            let more = self.collect().await;
            self.write().await;
            if !more && self.batch.is_empty() {
                return self.lost;
            }
        }
    }

    /// Fills the batch. `false`: nothing more will come.
    async fn collect(&mut self) -> bool {
        let first = tokio::select! {
            biased;
            command = self.received.recv() => command,
            () = self.closing.cancelled() => {
                self.received.close();
                self.received.recv().await
            }
        };
        let Some(first) = first else { return false };
        self.batch.take(first);
        let deadline = Instant::now() + self.options.max_age;
        while self.batch.rows.len() < self.options.batch.max(1) && self.batch.flushes.is_empty() {
            let next = tokio::select! {
                biased;
                command = timeout_at(deadline, self.received.recv()) => command,
                () = self.closing.cancelled(), if !self.received.is_closed() => {
                    self.received.close();
                    continue;
                }
            };
            match next {
                Ok(Some(command)) => self.batch.take(command),
                Ok(None) | Err(_) => break,
            }
        }
        true
    }

    /// Writes the batch, however long it takes; gives it up only when shutting down.
    async fn write(&mut self) {
        let mut tries = 0;
        let mut pause = self.options.retry_min;
        while !self.batch.rows.is_empty() {
            let error = match self.store.append_prepared(&self.batch.rows).await {
                Ok(appended) => {
                    self.succeeded(appended);
                    break;
                }
                Err(error) => error,
            };
            tries += 1;
            self.failed(&error, tries);
            // After one batch was given up the next ones get one try each: a shutdown must end.
            let enough = if self.lost == 0 { self.options.shutdown_tries } else { 1 };
            if self.closing.is_cancelled() && tries >= enough {
                self.lost += self.batch.rows.len() as u64;
                // Those who wait for a flush must not be told that it succeeded.
                self.batch.flushes.clear();
                break;
            }
            self.pause(pause).await;
            pause = (pause * 2).min(self.options.retry_max);
        }
        self.waiting.fetch_sub(self.batch.rows.len() as u64, Ordering::Relaxed);
        self.batch.rows.clear();
        self.batch.permits.clear();
        for done in self.batch.flushes.drain(..) {
            // Nobody waits any more: fine.
            let _ = done.send(());
        }
    }

    /// A shutdown cuts a long pause short, but still leaves one between tries.
    async fn pause(&self, pause: Duration) {
        if self.closing.is_cancelled() {
            tokio::time::sleep(self.options.retry_min).await;
        } else {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.closing.cancelled() => {}
            }
        }
    }

    fn succeeded(&self, appended: Appended) {
        self.status.send_modify(|status| {
            status.written.new += appended.new;
            status.written.known += appended.known;
            status.written.late += appended.late;
            status.batches += 1;
            status.failed = None;
        });
        if appended.late > 0 {
            tracing::warn!(late = appended.late, "attempts came after their sweep had ended and were not stored");
        }
    }

    fn failed(&self, error: &StoreError, tries: u32) {
        let message = error.to_string();
        tracing::error!(tries, waiting = self.batch.rows.len(), error = %message, "attempts cannot be stored; trying again");
        let failure = WriterFailure { message: message.clone(), disk_full: error.is_disk_full(), tries };
        self.status.send_modify(|status| {
            status.failed = Some(failure);
            status.failures += 1;
            status.last_error = Some(message);
        });
    }
}

//! The batching writer.

use std::time::Duration;

use exactod::store::{Appended, BatchWriter, Store, WriterClosed, WriterOptions};

use crate::kit::{Database, attempt, attempts, sweep};

/// Fails soon and tries again soon.
fn eager() -> WriterOptions {
    WriterOptions {
        max_age: Duration::from_millis(1),
        retry_min: Duration::from_millis(1),
        retry_max: Duration::from_millis(4),
        shutdown_tries: 2,
        ..WriterOptions::default()
    }
}

/// Makes every new attempt fail as a full disk does.
async fn fill_disk(db: &Database) {
    if db.is_sqlite() {
        // What SQLite does when the system says ENOSPC cannot be had without a full disk; `sqlite_only` has the nearest
        // to it. Here a trigger refuses the rows: the writer must hold them all the same.
        db.raw("CREATE TRIGGER full_disk BEFORE INSERT ON attempts BEGIN SELECT RAISE(ABORT, 'full'); END").await;
    } else {
        db.raw(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$; \
             CREATE TRIGGER full_disk BEFORE INSERT ON attempts EXECUTE FUNCTION full_disk()",
        )
        .await;
    }
}

async fn free_disk(db: &Database) {
    db.raw(if db.is_sqlite() { "DROP TRIGGER full_disk" } else { "DROP TRIGGER full_disk ON attempts" }).await;
}

async fn running(db: &Database) -> (Store, exactod::domain::SweepId) {
    let store = db.store().await;
    let id = sweep(&store, 1).await;
    (store, id)
}

pub async fn what_was_flushed_is_stored(db: Database) {
    let (store, sweep) = running(&db).await;
    // Nothing but the flush makes these be written: the batch is larger and the age never comes.
    let patient = WriterOptions { max_age: Duration::from_secs(3600), batch: 1000, ..WriterOptions::default() };
    let writer = BatchWriter::start(store.clone(), patient);
    for n in 0..300 {
        writer.append(attempt(sweep, n)).await.unwrap();
    }
    writer.flush().await.unwrap();
    assert_eq!(store.done_keys(sweep).await.unwrap().len(), 300);
    assert_eq!(writer.status().written, Appended { new: 300, known: 0, late: 0 });
    writer.append(attempt(sweep, 5)).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(writer.status().written.known, 1);
    let stored = store.attempt(attempt(sweep, 7).id).await.unwrap().unwrap();
    assert_eq!(stored.attempt, attempt(sweep, 7));
}

pub async fn a_full_disk_is_waited_out(db: Database) {
    let (store, sweep) = running(&db).await;
    fill_disk(&db).await;
    let writer = BatchWriter::start(store.clone(), eager());
    for n in 0..20 {
        writer.append(attempt(sweep, n)).await.unwrap();
    }
    let mut status = writer.subscribe();
    let failing = status.wait_for(|s| s.failed.as_ref().is_some_and(|f| f.tries > 2)).await.unwrap().clone();
    assert_eq!(failing.failed.unwrap().disk_full, !db.is_sqlite());
    assert_eq!(store.done_keys(sweep).await.unwrap().len(), 0);
    let flushed = tokio::spawn({
        let writer = writer.clone();
        async move {
            writer.flush().await.unwrap();
            writer.healthy().await.unwrap();
        }
    });
    free_disk(&db).await;
    flushed.await.unwrap();
    assert_eq!(store.done_keys(sweep).await.unwrap().len(), 20, "nothing was lost");
    let status = writer.status();
    assert!(status.failed.is_none() && status.last_error.is_some());
    assert_eq!(status.written, Appended { new: 20, known: 0, late: 0 });
}

pub async fn a_shutdown_writes_what_is_queued(db: Database) {
    let (store, sweep) = running(&db).await;
    let patient = WriterOptions { max_age: Duration::from_secs(3600), batch: 1000, ..WriterOptions::default() };
    let writer = BatchWriter::start(store.clone(), patient);
    for n in 0..50 {
        writer.append(attempt(sweep, n)).await.unwrap();
    }
    let report = writer.shutdown().await;
    assert_eq!((report.lost, report.status.written.new), (0, 50));
    assert_eq!(store.done_keys(sweep).await.unwrap().len(), 50);
    assert_eq!(writer.append(attempt(sweep, 60)).await, Err(WriterClosed));
    assert_eq!(writer.flush().await, Err(WriterClosed));
    assert_eq!(writer.shutdown().await, report, "a second shutdown finds the first one's end");
}

pub async fn a_shutdown_on_a_full_disk_tells_what_was_lost(db: Database) {
    let (store, sweep) = running(&db).await;
    store.append_attempts(attempts(sweep, 0..5)).await.unwrap();
    fill_disk(&db).await;
    let writer = BatchWriter::start(store.clone(), eager());
    for n in 5..20 {
        writer.append(attempt(sweep, n)).await.unwrap();
    }
    let flush = tokio::spawn({
        let writer = writer.clone();
        async move { writer.flush().await }
    });
    let report = writer.shutdown().await;
    assert_eq!(report.lost, 15);
    assert!(report.status.failed.is_some());
    assert_eq!(flush.await.unwrap(), Err(WriterClosed), "a flush must not claim what was not stored");
    assert_eq!(store.done_keys(sweep).await.unwrap().len(), 5);
}

pub async fn a_small_queue_loses_nothing(db: Database) {
    let (store, sweep) = running(&db).await;
    let small = WriterOptions { queue: 2, queue_bytes: 2048, batch: 3, ..eager() };
    let writer = BatchWriter::start(store.clone(), small);
    let tasks: Vec<_> = (0..8)
        .map(|part| {
            let writer = writer.clone();
            tokio::spawn(async move {
                for n in part * 10..part * 10 + 10 {
                    writer.append(attempt(sweep, n)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    writer.flush().await.unwrap();
    assert_eq!(store.done_keys(sweep).await.unwrap().len(), 80);
    assert!(writer.status().batches >= 27, "a batch of at most 3");
}

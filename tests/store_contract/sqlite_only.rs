//! What only a file can do wrong.

use std::time::Duration;

use exactod::store::{BatchWriter, Created, SQLITE_APPLICATION_ID, Store, StoreError, StoreOptions, WriterOptions};
use sqlx::{Connection, Row, SqliteConnection};

use crate::kit::{DAY, Database, T0, attempt, attempts, model, plan, sweep};

fn impatient() -> StoreOptions {
    StoreOptions { busy_timeout: Duration::from_millis(20), ..StoreOptions::default() }
}

async fn number(url: &str, sql: &'static str) -> i64 {
    let mut conn = SqliteConnection::connect(url).await.unwrap();
    let row = sqlx::query(sql).fetch_one(&mut conn).await.unwrap();
    row.get(0)
}

#[tokio::test]
async fn a_missing_folder_is_made_and_the_file_marked() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("a/b/store.db").display());
    let never = StoreOptions { create: false, ..StoreOptions::default() };
    let error = Store::open(&url, &never).await.unwrap_err();
    assert!(matches!(&error, StoreError::Missing { .. }), "{error}");
    assert!(!folder.path().join("a").exists());
    Store::open_migrated(&url, &StoreOptions::default()).await.unwrap().close().await;
    assert_eq!(number(&url, "PRAGMA application_id").await, SQLITE_APPLICATION_ID);
    assert_eq!(number(&url, "PRAGMA auto_vacuum").await, 2, "freed space can be given back");
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    let mode: String = sqlx::query("PRAGMA journal_mode").fetch_one(&mut conn).await.unwrap().get(0);
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let url = format!("sqlite://{}", folder.path().join("file/store.db").display());
    let error = Store::open(&url, &StoreOptions::default()).await.unwrap_err();
    assert!(matches!(&error, StoreError::CannotOpen { .. }), "{error}");
    assert!(error.to_string().contains("file/store.db"), "{error}");
}

#[tokio::test]
async fn urls_without_a_file_are_refused() {
    for url in ["sqlite::memory:", "sqlite://", "sqlite://x.db?mode=rwc", "mysql://u:secret@h/d", "store.db"] {
        let error = Store::open(url, &StoreOptions::default()).await.unwrap_err();
        assert!(matches!(&error, StoreError::BadUrl { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_foreign_file_is_refused_and_left_as_it_is() {
    let db = Database::empty_sqlite();
    let mut conn = SqliteConnection::connect(&format!("{}?mode=rwc", db.url)).await.unwrap();
    sqlx::raw_sql("CREATE TABLE invoices (id INTEGER); PRAGMA application_id = 77").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let before = std::fs::read(db.path()).unwrap();
    let error = Store::open(&db.url, &StoreOptions::default()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { .. }), "{error}");
    assert_eq!(std::fs::read(db.path()).unwrap(), before);
    let beside: Vec<_> = std::fs::read_dir(std::path::Path::new(db.path()).parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let db = Database::empty_sqlite();
    let text = "[server]\nlisten = \"127.0.0.1:8080\"\n".repeat(200);
    std::fs::write(db.path(), &text).unwrap();
    let error = Store::open(&db.url, &StoreOptions::default()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(db.path()).unwrap(), text);
}

#[tokio::test]
async fn a_file_held_by_another_program_is_told() {
    let db = Database::sqlite().await;
    let mut other = SqliteConnection::connect(&db.url).await.unwrap();
    let hold = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE meta SET value = value";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    let error = Store::open_migrated(&db.url, &impatient()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Locked(_)), "{error}");
    other.close().await.unwrap();
    Store::open_migrated(&db.url, &impatient()).await.unwrap();
}

#[tokio::test]
async fn a_lock_taken_while_we_run_is_told_and_passes() {
    let db = Database::sqlite().await;
    let store = Store::open(&db.url, &impatient()).await.unwrap();
    let id = sweep(&store, 1).await;
    let mut other = SqliteConnection::connect(&db.url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let error = store.append_attempts(attempts(id, 0..3)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Locked(_)), "{error}");
    assert_eq!(store.done_keys(id).await.unwrap().len(), 0, "reading goes on beside the lock");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(store.append_attempts(attempts(id, 0..3)).await.unwrap().new, 3);
}

/// Opens a store that may grow by a few pages only, and fills it. The sweep, and the attempts stored.
async fn full_store(db: &Database) -> (Store, exactod::domain::SweepId, u64) {
    let pages = number(&db.url, "PRAGMA page_count").await as u32;
    let store =
        Store::open(&db.url, &StoreOptions { max_pages: Some(pages + 40), ..StoreOptions::default() }).await.unwrap();
    let id = sweep(&store, 1).await;
    let mut stored = 0;
    loop {
        match store.append_attempts(attempts(id, stored..stored + 10)).await {
            Ok(_) => stored += 10,
            Err(error) => {
                assert!(matches!(&error, StoreError::DiskFull(_)) && error.is_disk_full(), "{error}");
                return (store, id, stored);
            }
        }
        assert!(stored < 100_000, "the limit of pages has no effect");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing() {
    let db = Database::sqlite().await;
    let (store, id, stored) = full_store(&db).await;
    assert!(stored > 0);
    assert_eq!(store.done_keys(id).await.unwrap().len() as u64, stored);
    assert!(store.check().await.unwrap().problems.is_empty());
    let big = {
        let mut plan = plan(&model(), 2);
        plan.anchors = (0..20_000).map(crate::kit::endpoint).collect();
        plan
    };
    assert!(matches!(store.create_sweep(&big, None, None).await, Err(StoreError::DiskFull(_))));
}

#[tokio::test]
async fn the_writer_holds_its_batch_until_there_is_room() {
    let db = Database::sqlite().await;
    let (store, id, stored) = full_store(&db).await;
    let options = WriterOptions {
        max_age: Duration::from_millis(1),
        retry_min: Duration::from_millis(1),
        retry_max: Duration::from_millis(4),
        ..WriterOptions::default()
    };
    let writer = BatchWriter::start(store.clone(), options);
    for n in stored..stored + 100 {
        writer.append(attempt(id, n)).await.unwrap();
    }
    let mut status = writer.subscribe();
    let failed = status.wait_for(|s| s.failed.is_some()).await.unwrap().failed.clone().unwrap();
    assert!(failed.disk_full, "{failed:?}");
    // Another program (`db prune`, an operator) makes room.
    let other = db.store().await;
    let all = exactod::store::Retention { transcripts_before_us: Some(T0 + DAY), ..Default::default() };
    assert!(other.prune(&all).await.unwrap().transcripts >= stored);
    // Neighbours: what is left half empty of a page holds no new one.
    db.raw("DELETE FROM attempts WHERE rowid <= (SELECT MAX(rowid) / 4 * 3 FROM attempts)").await;
    writer.flush().await.unwrap();
    writer.healthy().await.unwrap();
    assert_eq!(writer.status().written.new, 100);
    assert!(store.attempt(attempt(id, stored + 99).id).await.unwrap().is_some());
}

#[tokio::test]
async fn pruning_shrinks_the_file() {
    let db = Database::sqlite().await;
    let store = db.store().await;
    let id = sweep(&store, 1).await;
    let mut many = attempts(id, 0..60);
    // Bytes that do not compress: each transcript takes a few pages of its own.
    let mut random = 1_u64;
    for attempt in &mut many {
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 56) as u8
        })
        .take(12_000)
        .collect();
        attempt.transcript.as_mut().unwrap().response = noise.into();
    }
    store.append_attempts(many).await.unwrap();
    let before = store.check().await.unwrap().size_bytes;
    let all = exactod::store::Retention { transcripts_before_us: Some(T0 + DAY), ..Default::default() };
    store.prune(&all).await.unwrap();
    let after = store.check().await.unwrap().size_bytes;
    assert!(after < before * 8 / 10, "{before} bytes became {after}");
}

#[tokio::test]
async fn an_empty_file_is_taken() {
    let db = Database::empty_sqlite();
    std::fs::write(db.path(), "").unwrap();
    let store = db.store().await;
    assert_eq!(store.create_sweep(&plan(&model(), 1), None, None).await.unwrap(), Created::Created);
}

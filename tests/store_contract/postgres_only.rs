//! What only a server can do wrong.

use std::time::Duration;

use exactod::store::{Store, StoreError, StoreOptions};
use sqlx::{Connection, PgConnection};

use crate::kit::{Database, attempts, sweep};

#[tokio::test]
async fn no_space_left_is_told_apart() {
    let db = Database::postgres().await;
    let store = db.store().await;
    let id = sweep(&store, 1).await;
    db.raw(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$; \
         CREATE TRIGGER full_disk BEFORE INSERT ON transcripts EXECUTE FUNCTION full_disk()",
    )
    .await;
    let error = store.append_attempts(attempts(id, 0..2)).await.unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert_eq!(store.done_keys(id).await.unwrap().len(), 0, "attempts and transcripts are one transaction");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://exactod:hush@localhost/x?host={}", folder.path().display());
    let options = StoreOptions { busy_timeout: Duration::from_millis(50), ..StoreOptions::default() };
    let error = Store::open(&url, &options).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable(_) | StoreError::Locked(_)), "{error:?}");
    assert!(!error.to_string().contains("hush"), "{error}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told() {
    let db = Database::postgres().await;
    let url = db.url.replacen("exactod_test", "no_such_database", 1);
    let error = Store::open(&url, &StoreOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[tokio::test]
async fn a_lock_that_somebody_holds_is_not_waited_for_for_ever() {
    let db = Database::postgres().await;
    let options = StoreOptions { busy_timeout: Duration::from_millis(50), ..StoreOptions::default() };
    let store = Store::open_migrated(&db.url, &options).await.unwrap();
    let mut holder = PgConnection::connect(&db.url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE sweeps IN ACCESS EXCLUSIVE MODE").execute(&mut holder).await.unwrap();
    let error = store.running_sweeps(None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Locked(_)) && error.is_passing(), "{error}");
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    assert!(store.running_sweeps(None).await.unwrap().is_empty(), "the connection is as good as before");
    holder.close().await.unwrap();
}

#[tokio::test]
async fn a_statement_that_does_not_end_is_ended() {
    let db = Database::postgres().await;
    let options = StoreOptions { statement_timeout: Duration::from_secs(2), ..StoreOptions::default() };
    let store = Store::open_migrated(&db.url, &options).await.unwrap();
    let id = sweep(&store, 1).await;
    db.raw(
        "CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$; \
         CREATE TRIGGER stuck BEFORE INSERT ON transcripts EXECUTE FUNCTION stuck()",
    )
    .await;
    let error = store.append_attempts(attempts(id, 0..2)).await.unwrap_err();
    assert!(matches!(&error, StoreError::TimedOut(_)) && error.is_passing(), "{error}");
    db.raw("DROP TRIGGER stuck ON transcripts").await;
    store.append_attempts(attempts(id, 0..2)).await.unwrap();
    assert_eq!(store.done_keys(id).await.unwrap().len(), 2, "tried again, it goes well");
}

//! The store: sweeps, attempts, curation states, decisions and allowlists, in SQLite or PostgreSQL.
//!
//! *The store never computes a rate*: it keeps, finds and counts. Ids and times come from the caller.
//!
//! # One SQL text for both databases
//!
//! | use | leave aside |
//! |---|---|
//! | `$n` placeholders | `?` (but in the generated large inserts, for SQLite's sake: see `statements.rs`) |
//! | ids made by the application (UUIDv7: they sort by time) | autoincrement, identity, sequences |
//! | times as BIGINT, unix microseconds, UTC | timestamps, `now()`, `CURRENT_TIMESTAMP`, `datetime()` |
//! | JSON as TEXT; enums as TEXT with CHECK; blobs as BYTEA columns | JSON operators, native enums |
//! | `ON CONFLICT`, `RETURNING`, `FILTER`, window functions | arrays, `ANY($1)`, `ILIKE` |
//! | `CAST(SUM(x) AS BIGINT)` | bare `SUM(bigint)` (NUMERIC on PostgreSQL) |
//! | optional filters as `CAST($1 AS TEXT) IS NULL OR ...` | statements put together at run time |
//! | order by ids and numbers | order by names (the databases collate differently; sort in Rust) |
//!
//! Every statement stands in `statements.rs`; everything that differs between the databases stands in `pool.rs`
//! and `pool/open.rs`.
//!
//! # What is promised
//!
//! * An attempt is unique by (sweep, endpoint, suite, case, epoch) and a fire by (schedule, time, model): whatever is
//!   written twice counts once.
//! * The end of a sweep (state, decisions, alarms, allowlist) is one transaction, refused whole when another owner has
//!   taken the sweep over or another end was committed meanwhile.
//! * A state is stored with what it was made from (`history.rs`), so that it can be made again and compared.
//! * A sweep that is not running takes no attempts: what decisions were made from does not change afterwards.

mod acks;
mod attempts;
mod curation;
mod error;
mod exchanges;
mod history;
mod listing;
mod live;
mod maintenance;
mod migrate;
mod outbox;
mod paired;
mod pool;
mod rescored;
mod rows;
mod statements;
mod suites;
mod sweeps;
mod transcripts;
mod window;
mod writer;

use std::sync::Arc;

pub use acks::{ACKS_MAX, Ack, AckStatus};
pub use attempts::{Appended, MeasuredRow};
pub use curation::{Alarm, AlarmKey, CurationCommit, NewAllowlist, NewState, StoredAllowlist, StoredState, SweepEnd};
pub use error::StoreError;
pub use history::{CHECKPOINT_EVERY_STEPS, Checkpoint, Head, NewStep, StoredStep};
pub use listing::{AttemptFilter, DecisionFilter, PAGE_ITEMS_MAX, Page, StoredAttempt};
pub use live::{LiveCell, LiveSeries};
pub use maintenance::{CheckReport, Pruned, Retention};
pub use migrate::{SCHEMA_VERSION, Schema};
pub use outbox::{DeliveryOutcome, Event, EventKind, EventSubject};
pub use paired::{ANSWERS_PAGE_ROWS, AnswerRow};
pub use pool::{BUSY_TIMEOUT, CONNECTIONS, SQLITE_APPLICATION_ID, STATEMENT_TIMEOUT, StoreOptions};
pub use rescored::{Rescored, RescoredRow};
pub use rows::FREE_TEXT_BYTES_MAX;
pub use suites::Registered;
pub use sweeps::{Created, DayBudget, Fire, Progress, Spend, StoredSweep, SweepRecord};
pub use transcripts::TRANSCRIPT_BYTES_MAX;
pub use window::{AttemptColumns, CalledRow, WINDOW_PAGE_ROWS, Window};
pub use writer::{BatchWriter, ShutdownReport, WriterClosed, WriterFailure, WriterOptions, WriterStatus};

use error::Result;

/// The open store. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub struct Store {
    pool: pool::Pool,
    place: Arc<str>,
    packer: Arc<transcripts::Packer>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database at a URL (`sqlite://path/to/file.db` or `postgres://...`), making a SQLite file and its
    /// folder when they are missing. Changes no table: call [`Store::migrate`] next, or look at [`Store::schema`].
    ///
    /// # Errors
    /// [`StoreError::BadUrl`], [`StoreError::CannotOpen`], [`StoreError::Denied`], [`StoreError::Missing`], [`StoreError::Foreign`], [`StoreError::NewerVersion`],
    /// [`StoreError::Locked`], [`StoreError::ReadOnly`], [`StoreError::DiskFull`], [`StoreError::Unreachable`].
    pub async fn open(url: &str, options: &StoreOptions) -> Result<Store> {
        let (pool, place) = pool::open(url, options).await?;
        let store = Store { pool, place: place.into(), packer: Arc::default() };
        match store.refuse_unknown_schema().await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error.while_opening(&store.place))
            }
        }
    }

    /// [`Store::open`], then [`Store::migrate`].
    ///
    /// # Errors
    /// Those of both.
    pub async fn open_migrated(url: &str, options: &StoreOptions) -> Result<Store> {
        let store = Store::open(url, options).await?;
        store.migrate().await?;
        Ok(store)
    }

    /// [`Store::open`] of a database that has tables; makes none.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub async fn open_existing(url: &str, options: &StoreOptions) -> Result<Store> {
        let store = Store::open(url, &StoreOptions { create: false, ..options.clone() }).await?;
        let error = match store.schema().await {
            Ok(schema) if schema.found == 0 => StoreError::Missing { place: store.place.to_string() },
            Ok(_) => return Ok(store),
            Err(error) => error,
        };
        store.close().await;
        Err(error)
    }

    /// The database's path, or its URL without the password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Waits for the work in flight and closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A small fact that the daemon keeps under a key of its own.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn fact(&self, key: &str) -> Result<Option<String>> {
        self.pool.read_one(statements::META_GET, &[key.into()], |row| row.get(0)).await
    }

    /// Sets a fact.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn set_fact(&self, key: &str, value: &str) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        tx.execute(statements::META_SET, &[key.into(), value.into()]).await?;
        tx.commit().await
    }

    /// Every statement as this database gets it, for the contract test that prepares them all.
    #[must_use]
    pub fn statements(&self) -> Vec<&'static str> {
        self.pool.statements()
    }

    /// Parses and plans a statement without running it.
    ///
    /// # Errors
    /// [`StoreError::Database`] when the database does not accept it.
    pub async fn prepare(&self, statement: &'static str) -> Result<()> {
        self.pool.prepare(statement).await
    }
}

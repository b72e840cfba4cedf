//! Opening a database: what is refused, and which settings each kind gets.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, Sqlite};

use super::super::error::{Result, StoreError};
use super::{Pool, SQLITE_APPLICATION_ID};

/// How a store is opened. The defaults are right for the daemon.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// How long to wait for another program's lock, or for a free connection.
    pub busy_timeout: Duration,
    /// How long a PostgreSQL server may work on one statement, waiting for locks included; migrations may take their time.
    pub statement_timeout: Duration,
    /// Connections that read (SQLite), or connections in all (PostgreSQL). At least 1.
    pub connections: u32,
    /// Largest size of a SQLite file in pages of 4 KiB; `None`: the disk is the limit. Tests fill a disk with it.
    pub max_pages: Option<u32>,
    /// Make the SQLite file, and its folder, when they are missing.
    pub create: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            busy_timeout: BUSY_TIMEOUT,
            statement_timeout: STATEMENT_TIMEOUT,
            connections: CONNECTIONS,
            max_pages: None,
            create: true,
        }
    }
}

/// Between two attempts to open a file that is locked.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// Default of [`StoreOptions::busy_timeout`].
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of [`StoreOptions::statement_timeout`]: many times what the largest statement takes, and an end to one that a
/// server in trouble would never answer.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Default of [`StoreOptions::connections`].
pub const CONNECTIONS: u32 = 4;
/// Rows that a SQLite worker reads ahead.
const SQLITE_ROWS_AHEAD: usize = 512;

/// How long a connection may be idle, or live: without end. Any end would start a task in sqlx 0.9 that counts idle connections;
/// when one is taken while another comes back, that count can fall below zero, and the task then turns for ever.
const KEPT: Option<Duration> = None;

/// Opens the database that a URL names; also gives its place as it may be shown (without a password).
pub async fn open(url: &str, options: &StoreOptions) -> Result<(Pool, String)> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return open_sqlite(path, options).await.map_err(|e| e.while_opening(path)).map(|pool| (pool, path.to_owned()));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let place = without_password(url);
        return open_postgres(url, &place, options)
            .await
            .map_err(|e| e.while_opening(&place))
            .map(|pool| (pool, place));
    }
    Err(StoreError::BadUrl {
        url: without_password(url),
        why: "write sqlite://path/to/file.db or postgres://user:password@host/database".to_owned(),
    })
}

async fn open_sqlite(path: &str, options: &StoreOptions) -> Result<Pool> {
    let bad = |why: &str| StoreError::BadUrl { url: format!("sqlite://{path}"), why: why.to_owned() };
    if path.is_empty() || path.contains(":memory:") {
        return Err(bad("it must name a file: every connection would have a memory of its own"));
    }
    if path.contains('?') {
        return Err(bad("parameters are not known here: write sqlite://path/to/file.db alone"));
    }
    let file = PathBuf::from(path);
    if file.is_dir() {
        let why = "it is a folder: name a file in it".to_owned();
        return Err(StoreError::CannotOpen { place: path.to_owned(), why });
    }
    let exists = std::fs::metadata(&file).is_ok_and(|found| found.len() > 0);
    if exists {
        refuse_foreign_file(&file, options).await?;
    } else if options.create {
        make_parent(&file)?;
    } else {
        return Err(StoreError::Missing { place: path.to_owned() });
    }
    let write = connect_writer(&file, options).await?;
    let reader = SqliteConnectOptions::new()
        .filename(&file)
        .read_only(true)
        .busy_timeout(options.busy_timeout)
        .row_buffer_size(SQLITE_ROWS_AHEAD)
        .disable_statement_logging();
    let read = SqlitePoolOptions::new()
        .max_connections(options.connections.max(1))
        .acquire_timeout(options.busy_timeout.max(BUSY_TIMEOUT))
        .idle_timeout(KEPT)
        .max_lifetime(KEPT)
        .connect_lazy_with(reader);
    Ok(Pool::Sqlite { write, read })
}

/// SQLite does not wait for the lock when two switch a new file to WAL at once: one of them is told at once that it is locked.
async fn connect_writer(file: &Path, options: &StoreOptions) -> Result<SqlitePool> {
    let began = Instant::now();
    loop {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .acquire_timeout(options.busy_timeout.max(BUSY_TIMEOUT))
            .idle_timeout(KEPT)
            .max_lifetime(KEPT);
        match pool.connect_with(sqlite_writer(file, options)).await.map_err(StoreError::from) {
            Err(StoreError::Locked(_)) if began.elapsed() < options.busy_timeout => {
                tokio::time::sleep(LOCKED_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

/// WAL lets readers go on beside the writer. With it, `synchronous=NORMAL` cannot damage the file, and nothing
/// committed is lost when the process is killed; a power cut may take the last moments' commits. That costs at most
/// those few requests again (an attempt is unique by its key), and FULL would cost an fsync per batch.
fn sqlite_writer(file: &Path, options: &StoreOptions) -> SqliteConnectOptions {
    let writer = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(options.create)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(options.busy_timeout)
        .row_buffer_size(SQLITE_ROWS_AHEAD)
        .disable_statement_logging();
    match options.max_pages {
        Some(pages) => writer.pragma("max_page_count", pages.to_string()),
        None => writer,
    }
}

fn make_parent(file: &Path) -> Result<()> {
    let Some(parent) = file.parent().filter(|p| !p.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(parent).map_err(|error| StoreError::CannotOpen {
        place: file.display().to_string(),
        why: format!("its folder cannot be made: {error}"),
    })
}

/// Looks at a file through a connection that cannot change it: switching to WAL alone would rewrite its header.
async fn refuse_foreign_file(file: &Path, options: &StoreOptions) -> Result<()> {
    let mut probe = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .busy_timeout(options.busy_timeout)
        .disable_statement_logging()
        .connect()
        .await?;
    let sql = "SELECT (SELECT CAST(application_id AS BIGINT) FROM pragma_application_id()), \
               (SELECT COUNT(*) FROM sqlite_master)";
    let row = sqlx::query::<Sqlite>(sql).fetch_one(&mut probe).await?;
    let (id, objects): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    probe.close().await?;
    if id == SQLITE_APPLICATION_ID || (id == 0 && objects == 0) {
        return Ok(());
    }
    let why = format!("it is a SQLite file of another program (application id {id:#x}, {objects} tables and indexes)");
    Err(StoreError::Foreign { place: file.display().to_string(), why })
}

async fn open_postgres(url: &str, place: &str, options: &StoreOptions) -> Result<Pool> {
    let connect = PgConnectOptions::from_str(url)
        .map_err(|error| StoreError::BadUrl { url: place.to_owned(), why: error.to_string() })?
        .application_name("exactod")
        .disable_statement_logging();
    let patience = options.busy_timeout.max(BUSY_TIMEOUT);
    // Once without the pool, which tries again until its time is up and then does not say why.
    match tokio::time::timeout(patience, connect.connect()).await {
        Ok(connection) => connection?.close().await?,
        Err(_) => return Err(StoreError::Unreachable(format!("no answer within {} s", patience.as_secs()))),
    }
    // By statements, not by start-up parameters: connection poolers refuse those.
    let limits = format!(
        "SET lock_timeout = {}; SET statement_timeout = {}",
        milliseconds(options.busy_timeout),
        milliseconds(options.statement_timeout)
    );
    let pool = PgPoolOptions::new()
        .after_connect(move |conn, _| {
            let limits = AssertSqlSafe(limits.clone());
            Box::pin(async move { sqlx::raw_sql(limits).execute(conn).await.map(drop) })
        })
        .max_connections(options.connections.max(1))
        .acquire_timeout(patience)
        .idle_timeout(KEPT)
        .max_lifetime(KEPT)
        .connect_with(connect)
        .await
        .map_err(|error| StoreError::from(error).on_a_server())?;
    Ok(Pool::Postgres(pool))
}

/// For PostgreSQL, to whom 0 is no limit at all.
fn milliseconds(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).clamp(1, i32::MAX as u32)
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) => {
            if parsed.password().is_some() && parsed.set_password(Some("***")).is_err() {
                return "(a URL with a password)".to_owned();
            }
            let pairs: Vec<(String, String)> = parsed
                .query_pairs()
                .map(|(k, v)| (k.to_string(), if k == "password" { "***".to_owned() } else { v.to_string() }))
                .collect();
            if !pairs.is_empty() {
                parsed.query_pairs_mut().clear().extend_pairs(pairs);
            }
            parsed.to_string()
        }
        Err(_) => "(not a URL)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_never_show() {
        assert_eq!(without_password("postgres://u:secret@h/db"), "postgres://u:***@h/db");
        assert!(!without_password("postgres://h/db?user=u&password=secret").contains("secret"));
        assert_eq!(without_password("nonsense secret"), "(not a URL)");
    }
}

//! The two databases behind one face. Everything that differs between them is in this file and nowhere else.
//!
//! `on_pool!` and `on_tx!` expand one body for both concrete drivers. They are used in this file only: statements come
//! with their values as [`Arg`]s and rows are read through [`Row`], so every other file is written, and compiled, once,
//! and functions can take part in a transaction without naming its driver.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Decode, Postgres, Row as _, Sqlite, Transaction, Type};
use uuid::Uuid;

use super::error::{Result, StoreError};

/// How a store is opened. The defaults are right for the daemon.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// How long to wait for another program's lock, or for a free connection.
    pub busy_timeout: Duration,
    /// Connections that read (SQLite), or connections in all (PostgreSQL). At least 1.
    pub connections: u32,
    /// Largest size of a SQLite file in pages of 4 KiB; `None`: the disk is the limit. Tests fill a disk with it.
    pub max_pages: Option<u32>,
    /// Make the SQLite file, and its folder, when they are missing.
    pub create: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions { busy_timeout: BUSY_TIMEOUT, connections: CONNECTIONS, max_pages: None, create: true }
    }
}

/// Default of [`StoreOptions::busy_timeout`].
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of [`StoreOptions::connections`].
pub const CONNECTIONS: u32 = 4;
/// Written into the header of every SQLite file of ours (`exac`), so that a foreign file is known before it is touched.
pub const SQLITE_APPLICATION_ID: i64 = 0x6578_6163;
/// Rows that a SQLite worker reads ahead.
const SQLITE_ROWS_AHEAD: usize = 512;
/// Key of the advisory lock under which PostgreSQL migrates and plans (`exactod`).
const POSTGRES_LOCK: i64 = 0x65_7861_6374_6f64;

/// One value of a statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arg<'a> {
    /// BIGINT, possibly NULL.
    Int(Option<i64>),
    /// DOUBLE PRECISION, possibly NULL.
    Real(Option<f64>),
    /// BOOLEAN.
    Flag(bool),
    /// TEXT, possibly NULL.
    Text(Option<&'a str>),
    /// A UUID, as TEXT.
    Id(Uuid),
    /// A blob.
    Bytes(&'a [u8]),
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Arg::Int(Some(value))
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Arg::Text(Some(value))
    }
}

/// A row of either database.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column, by its number from 0.
    pub fn get<'r, T>(&'r self, column: usize) -> Result<T>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(match self {
            Row::Sqlite(row) => row.try_get(column)?,
            Row::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// The open database.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    /// One connection writes, others read: SQLite has one writer at a time, and waiting for a connection is fair
    /// while waiting for SQLite's lock is not.
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

/// A write transaction; dropped without [`Tx::commit`] it leaves nothing.
pub(super) enum Tx {
    Sqlite(SqliteTx),
    Postgres(Transaction<'static, Postgres>),
}

/// SQLite ends a transaction by itself when the disk is full. sqlx's own transaction would try to roll back what is no
/// more, keep counting it as open, and leave the one writing connection unusable for ever. This one closes the
/// connection instead whenever it does not end in order (SQLite rolls back then); the pool opens the next.
pub(super) struct SqliteTx {
    conn: PoolConnection<Sqlite>,
    open: bool,
}

impl SqliteTx {
    async fn begin(pool: &SqlitePool) -> Result<Self> {
        // Marked as open before BEGIN: the caller may give up while it runs.
        let mut tx = SqliteTx { conn: pool.acquire().await?, open: true };
        sqlx::query::<Sqlite>("BEGIN IMMEDIATE").execute(&mut *tx.conn).await?;
        Ok(tx)
    }

    async fn end(mut self, sql: &'static str) -> Result<()> {
        sqlx::query::<Sqlite>(sql).execute(&mut *self.conn).await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for SqliteTx {
    fn drop(&mut self) {
        if self.open {
            self.conn.close_on_drop();
        }
    }
}

/// A statement with its values, for the driver `$db`.
macro_rules! bound {
    ($db:ty, $sql:expr, $args:expr) => {{
        let mut query = sqlx::query::<$db>($sql);
        for arg in $args {
            query = match *arg {
                Arg::Int(value) => query.bind(value),
                Arg::Real(value) => query.bind(value),
                Arg::Flag(value) => query.bind(value),
                Arg::Text(value) => query.bind(value),
                Arg::Id(value) => query.bind(&*value.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
                Arg::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}

/// One body for both databases; `$reader` is the pool that reads.
macro_rules! on_pool {
    ($pool:expr, $db:ident, $wrap:ident, $reader:ident => $body:expr) => {
        match $pool {
            Pool::Sqlite { read: $reader, .. } => {
                type $db = Sqlite;
                let $wrap = Row::Sqlite;
                $body
            }
            Pool::Postgres($reader) => {
                type $db = Postgres;
                let $wrap = Row::Postgres;
                $body
            }
        }
    };
}

/// One body for the transactions of both databases.
macro_rules! on_tx {
    ($tx:expr, $db:ident, $wrap:ident, $conn:ident => $body:expr) => {
        match $tx {
            Tx::Sqlite(tx) => {
                type $db = Sqlite;
                let ($wrap, $conn) = (Row::Sqlite, &mut *tx.conn);
                $body
            }
            Tx::Postgres(tx) => {
                type $db = Postgres;
                let ($wrap, $conn) = (Row::Postgres, &mut **tx);
                $body
            }
        }
    };
}

impl Pool {
    /// Runs a statement that reads, and turns each row into a value as it arrives.
    pub async fn read<T>(
        &self,
        sql: &'static str,
        args: &[Arg<'_>],
        mut each: impl FnMut(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        on_pool!(self, Db, wrap, reader => {
            let mut rows = bound!(Db, sql, args).fetch(reader);
            while let Some(row) = rows.try_next().await? {
                found.push(each(&wrap(row))?);
            }
        });
        Ok(found)
    }

    /// As [`Pool::read`], for a statement that gives one row at most.
    pub async fn read_one<T>(
        &self,
        sql: &'static str,
        args: &[Arg<'_>],
        each: impl FnMut(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.read(sql, args, each).await?.pop())
    }

    /// Begins a write. SQLite takes the write lock at once: a transaction that reads first and writes later is refused
    /// with BUSY without any waiting when another program wrote in between.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Pool::Sqlite { write, .. } => Tx::Sqlite(SqliteTx::begin(write).await?),
            Pool::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Waits for the work in flight and closes all connections.
    pub async fn close(&self) {
        match self {
            Pool::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }

    /// `SQLite 3.x` or `PostgreSQL x`.
    pub async fn product(&self) -> Result<String> {
        let (name, sql) = match self {
            Pool::Sqlite { .. } => ("SQLite", "SELECT sqlite_version()"),
            Pool::Postgres(_) => ("PostgreSQL", "SELECT current_setting('server_version')"),
        };
        let version = self.read_one(sql, &[], |row| row.get::<String>(0)).await?;
        Ok(format!("{name} {}", version.unwrap_or_default()))
    }

    /// Names of all tables, sorted.
    pub async fn tables(&self) -> Result<Vec<String>> {
        let sql = match self {
            Pool::Sqlite { .. } => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            Pool::Postgres(_) => {
                "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema()"
            }
        };
        let mut names = self.read(sql, &[], |row| row.get::<String>(0)).await?;
        names.sort_unstable();
        Ok(names)
    }

    /// Names and declared types of a table's columns, in order.
    pub async fn columns(&self, table: &str) -> Result<Vec<(String, String)>> {
        let sql = match self {
            Pool::Sqlite { .. } => "SELECT name, upper(type) FROM pragma_table_info($1) ORDER BY cid",
            Pool::Postgres(_) => {
                "SELECT CAST(column_name AS TEXT), upper(CAST(data_type AS TEXT)) FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position"
            }
        };
        self.read(sql, &[table.into()], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// Size of the database in bytes.
    pub async fn size_bytes(&self) -> Result<i64> {
        let sql = match self {
            Pool::Sqlite { .. } => "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
            Pool::Postgres(_) => "SELECT pg_database_size(current_database())",
        };
        Ok(self.read_one(sql, &[], |row| row.get::<i64>(0)).await?.unwrap_or_default())
    }

    /// Whether a SQLite file carries our mark; PostgreSQL has no such mark.
    pub async fn has_mark(&self) -> Result<bool> {
        match self {
            Pool::Postgres(_) => Ok(true),
            Pool::Sqlite { .. } => {
                let sql = "SELECT CAST(application_id AS BIGINT) FROM pragma_application_id()";
                Ok(self.read_one(sql, &[], |row| row.get::<i64>(0)).await? == Some(SQLITE_APPLICATION_ID))
            }
        }
    }

    /// What the database itself finds wrong with its storage; PostgreSQL checks its pages as it reads them.
    pub async fn integrity(&self) -> Result<Vec<String>> {
        if matches!(self, Pool::Postgres(_)) {
            return Ok(vec![]);
        }
        let mut problems = self.read("PRAGMA integrity_check(100)", &[], |row| row.get::<String>(0)).await?;
        problems.retain(|problem| problem != "ok");
        let dangling = self.read("PRAGMA foreign_key_check", &[], |row| row.get::<String>(0)).await?;
        problems.extend(dangling.into_iter().map(|table| format!("a row of {table} refers to a row that is missing")));
        Ok(problems)
    }

    /// Gives freed space back to the file system, a bounded amount at a time; PostgreSQL's autovacuum does it itself.
    pub async fn reclaim(&self) -> Result<()> {
        if let Pool::Sqlite { write, .. } = self {
            sqlx::raw_sql("PRAGMA incremental_vacuum(4096); PRAGMA wal_checkpoint(PASSIVE);").execute(write).await?;
        }
        Ok(())
    }

    /// Applies the migrations that are missing, all in one transaction, while no other daemon can.
    pub async fn migrate(&self, migrator: &Migrator) -> std::result::Result<(), MigrateError> {
        match self {
            Pool::Sqlite { write, .. } => {
                // A connection of its own, so that a failure cannot spoil the one that writes.
                let mut conn = write.connect_options().connect().await?;
                let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
                migrator.run_direct(None, &mut *tx, false).await?;
                let mark = sqlx::AssertSqlSafe(format!("PRAGMA application_id = {SQLITE_APPLICATION_ID}"));
                sqlx::raw_sql(mark).execute(&mut *tx).await?;
                tx.commit().await?;
                conn.close().await?;
            }
            Pool::Postgres(pool) => {
                let mut tx = pool.begin().await?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(POSTGRES_LOCK).execute(&mut *tx).await?;
                migrator.run_direct(None, &mut *tx, false).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// Parses and plans a statement without running it.
    pub async fn prepare(&self, sql: &'static str) -> Result<()> {
        use sqlx::{Executor, SqlSafeStr};
        on_pool!(self, Db, wrap, reader => {
            let _ = wrap;
            let mut conn: PoolConnection<Db> = reader.acquire().await?;
            conn.prepare(sql.into_sql_str()).await?;
        });
        Ok(())
    }
}

impl Tx {
    /// Runs a statement; the number of rows it changed.
    pub async fn execute(&mut self, sql: &'static str, args: &[Arg<'_>]) -> Result<u64> {
        Ok(on_tx!(self, Db, wrap, conn => {
            let _ = wrap;
            bound!(Db, sql, args).execute(conn).await?.rows_affected()
        }))
    }

    /// Runs a statement to its end and turns each row into a value.
    pub async fn read<T>(
        &mut self,
        sql: &'static str,
        args: &[Arg<'_>],
        mut each: impl FnMut(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        on_tx!(self, Db, wrap, conn => {
            let mut rows = bound!(Db, sql, args).fetch(conn);
            while let Some(row) = rows.try_next().await? {
                found.push(each(&wrap(row))?);
            }
        });
        Ok(found)
    }

    /// As [`Tx::read`], for a statement that gives one row at most.
    pub async fn read_one<T>(
        &mut self,
        sql: &'static str,
        args: &[Arg<'_>],
        each: impl FnMut(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.read(sql, args, each).await?.pop())
    }

    /// Makes it durable.
    pub async fn commit(self) -> Result<()> {
        match self {
            Tx::Sqlite(tx) => tx.end("COMMIT").await?,
            Tx::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Takes everything back.
    pub async fn rollback(self) -> Result<()> {
        match self {
            Tx::Sqlite(tx) => tx.end("ROLLBACK").await?,
            Tx::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }

    /// Keeps every other daemon from planning (or migrating) until this transaction ends. SQLite's one writer does that
    /// by itself. (A lock of the transaction, not of the session: it also works behind a connection pooler.)
    pub async fn exclude_others(&mut self) -> Result<()> {
        if let Tx::Postgres(tx) = self {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(POSTGRES_LOCK).execute(&mut **tx).await?;
        }
        Ok(())
    }
}

/// Opens the database that a URL names; also gives its place as it may be shown (without a password).
pub(super) async fn open(url: &str, options: &StoreOptions) -> Result<(Pool, String)> {
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
    let exists = std::fs::metadata(&file).is_ok_and(|found| found.len() > 0);
    if exists {
        refuse_foreign_file(&file, options).await?;
    } else if options.create {
        make_parent(&file)?;
    } else {
        return Err(StoreError::CannotOpen { place: path.to_owned(), why: "there is no such file".to_owned() });
    }
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .acquire_timeout(options.busy_timeout.max(BUSY_TIMEOUT))
        .connect_with(sqlite_writer(&file, options))
        .await?;
    let reader = SqliteConnectOptions::new()
        .filename(&file)
        .read_only(true)
        .busy_timeout(options.busy_timeout)
        .row_buffer_size(SQLITE_ROWS_AHEAD)
        .disable_statement_logging();
    let read = SqlitePoolOptions::new()
        .max_connections(options.connections.max(1))
        .acquire_timeout(options.busy_timeout.max(BUSY_TIMEOUT))
        .connect_lazy_with(reader);
    Ok(Pool::Sqlite { write, read })
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
    let pool = PgPoolOptions::new()
        .max_connections(options.connections.max(1))
        .acquire_timeout(options.busy_timeout.max(BUSY_TIMEOUT))
        .connect_with(connect)
        .await?;
    Ok(Pool::Postgres(pool))
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

//! The two databases behind one face. Everything that differs between them is here (opening them: `pool/open.rs`).
//!
//! `on_pool!` and `on_tx!` expand one body for both concrete drivers. They are used in this file only: statements come
//! with their values as [`Arg`]s and rows are read through [`Row`], so every other file is written, and compiled, once,
//! and functions can take part in a transaction without naming its driver.

mod open;

use futures_util::TryStreamExt;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{ConnectOptions, Connection, Decode, Postgres, Row as _, Sqlite, Transaction, Type};
use uuid::Uuid;

use super::error::{Result, StoreError};
use super::statements::{self, Placeholders};

pub(super) use open::open;
pub use open::{BUSY_TIMEOUT, CONNECTIONS, STATEMENT_TIMEOUT, StoreOptions};

/// Written into the header of every SQLite file of ours (`exac`), so that a foreign file is known before it is touched.
pub const SQLITE_APPLICATION_ID: i64 = 0x6578_6163;
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
            while let Some(row) = rows.try_next().await.map_err(|e| self.error(e))? {
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
            Pool::Postgres(pool) => Tx::Postgres(pool.begin().await.map_err(|e| self.error(e))?),
        })
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        match self {
            Pool::Sqlite { .. } => error.into(),
            Pool::Postgres(_) => StoreError::from(error).on_a_server(),
        }
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
                // Another daemon's migration, and this one's, may take their time.
                sqlx::raw_sql("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0").execute(&mut *tx).await?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(POSTGRES_LOCK).execute(&mut *tx).await?;
                migrator.run_direct(None, &mut *tx, false).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// How values are marked: what tells the databases apart where statements differ.
    pub fn placeholders(&self) -> Placeholders {
        match self {
            Pool::Sqlite { .. } => Placeholders::Positional,
            Pool::Postgres(_) => Placeholders::Numbered,
        }
    }

    /// Every statement as this database gets it.
    pub fn statements(&self) -> Vec<&'static str> {
        statements::all(self.placeholders())
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

    /// How the values of large inserts are marked.
    pub fn placeholders(&self) -> Placeholders {
        match self {
            Tx::Sqlite(_) => Placeholders::Positional,
            Tx::Postgres(_) => Placeholders::Numbered,
        }
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

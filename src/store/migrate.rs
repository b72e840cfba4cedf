//! Migrations: embedded, forward only, all of them in one transaction.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::Store;
use super::error::{Result, StoreError};
use super::statements::{self, Placeholders};

/// What a migration does.
#[derive(Clone, Copy)]
enum Text {
    /// The same on both databases.
    Same(&'static str),
    /// A step that cannot be one text for both: `<version>_<name>.{sqlite,postgres}.sql`.
    Apart { sqlite: &'static str, postgres: &'static str },
}

/// The migrations in order. A shipped one never changes; a new one is added at the end.
const MIGRATIONS: &[(i64, &str, Text)] = &[
    (1, "first", Text::Same(include_str!("migrations/0001_first.sql"))),
    (2, "history", Text::Same(include_str!("migrations/0002_history.sql"))),
    (3, "capabilities", Text::Same(include_str!("migrations/0003_capabilities.sql"))),
    (4, "observed", Text::Same(include_str!("migrations/0004_observed.sql"))),
    (5, "onboarding", Text::Same(include_str!("migrations/0005_onboarding.sql"))),
    (6, "sampled", Text::Same(include_str!("migrations/0006_sampled.sql"))),
    (7, "rescored", Text::Same(include_str!("migrations/0007_rescored.sql"))),
    (8, "exchanges", Text::Same(include_str!("migrations/0008_exchanges.sql"))),
    (9, "gateways", Text::Same(include_str!("migrations/0009_gateways.sql"))),
    (10, "votes", Text::Same(include_str!("migrations/0010_votes.sql"))),
    (11, "live", Text::Same(include_str!("migrations/0011_live.sql"))),
    (12, "scorers", Text::Same(include_str!("migrations/0012_scorers.sql"))),
    (
        13,
        "live_in_order",
        Text::Apart {
            sqlite: include_str!("migrations/0013_live_in_order.sqlite.sql"),
            postgres: include_str!("migrations/0013_live_in_order.postgres.sql"),
        },
    ),
];

/// The schema that this program knows: the version of the last migration.
pub const SCHEMA_VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// The table in which applied migrations are noted.
const APPLIED: &str = "_sqlx_migrations";

/// Where a database's schema stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// Version of the last applied migration; 0 for an empty database.
    pub found: i64,
    /// Version that this program knows.
    pub known: i64,
}

impl Store {
    /// Where the database's schema stands.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn schema(&self) -> Result<Schema> {
        let known = SCHEMA_VERSION;
        if !self.pool.tables().await?.iter().any(|table| table == APPLIED) {
            return Ok(Schema { found: 0, known });
        }
        let found = self.pool.read_one(statements::SCHEMA_VERSION, &[], |row| row.get(0)).await?;
        Ok(Schema { found: found.unwrap_or_default(), known })
    }

    /// Applies the migrations that are missing, in one transaction: all or none. Several daemons may call it at once.
    ///
    /// # Errors
    /// [`StoreError::Migration`] when a migration fails or was altered after it had been applied,
    /// [`StoreError::NewerVersion`], and those of the database ([`StoreError::DiskFull`], [`StoreError::Locked`], ..).
    pub async fn migrate(&self) -> Result<Schema> {
        self.migrate_to(SCHEMA_VERSION).await
    }

    /// As [`Store::migrate`], up to a version only: what an older program would have made. For the tests of upgrades.
    ///
    /// # Errors
    /// As [`Store::migrate`].
    pub async fn migrate_to(&self, version: i64) -> Result<Schema> {
        let wanted = MIGRATIONS.iter().filter(|(number, ..)| *number <= version);
        let steps = wanted.map(|(version, name, text)| {
            let text = match (text, self.pool.placeholders()) {
                (Text::Same(text), _) => text,
                (Text::Apart { sqlite, .. }, Placeholders::Positional) => sqlite,
                (Text::Apart { postgres, .. }, Placeholders::Numbered) => postgres,
            };
            Migration::new(*version, Cow::Borrowed(name), MigrationType::Simple, text.into_sql_str(), false)
        });
        let mut migrator = Migrator::with_migrations(steps.collect());
        // Our own lock, which ends with the transaction, stands in for sqlx's, which belongs to the session.
        migrator.set_locking(false);
        self.pool.migrate(&migrator).await.map_err(|error| self.migration_error(error))?;
        self.schema().await
    }

    fn migration_error(&self, error: MigrateError) -> StoreError {
        match error {
            MigrateError::VersionMissing(found) => {
                StoreError::NewerVersion { place: self.place.to_string(), found, known: SCHEMA_VERSION }
            }
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                match StoreError::from(source) {
                    StoreError::Database(source) => StoreError::Migration(source.to_string()),
                    told => told,
                }
            }
            other => StoreError::Migration(other.to_string()),
        }
    }

    /// Refuses a database that is not ours or is newer than this program.
    pub(super) async fn refuse_unknown_schema(&self) -> Result<()> {
        let foreign = |why: String| StoreError::Foreign { place: self.place.to_string(), why };
        let tables = self.pool.tables().await?;
        let has = |name: &str| tables.iter().any(|table| table == name);
        if !has(APPLIED) {
            let ours = ["meta"].into_iter().chain(statements::COUNTS.iter().map(|(table, _)| *table)).find(|t| has(t));
            return match ours {
                Some(table) => Err(foreign(format!("it has a table {table:?} that exactod did not make"))),
                None => Ok(()),
            };
        }
        let application = if has("meta") { self.fact("application").await.ok().flatten() } else { None };
        if application.as_deref() != Some("exactod") || !self.pool.has_mark().await? {
            return Err(foreign("its migrations are those of another program".to_owned()));
        }
        let Schema { found, known } = self.schema().await?;
        if found > known {
            return Err(StoreError::NewerVersion { place: self.place.to_string(), found, known });
        }
        Ok(())
    }

    /// Names of all tables and of their columns, in order; for the contract test that compares both databases.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn layout(&self) -> Result<Vec<(String, Vec<String>)>> {
        let mut layout = Vec::new();
        for table in self.pool.tables().await? {
            let columns = self.pool.columns(&table).await?;
            layout.push((table, columns.into_iter().map(|(name, _)| name).collect()));
        }
        Ok(layout)
    }
}

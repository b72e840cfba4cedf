//! What can go wrong in the store, told so that the reader knows what to do.

use crate::domain::{ModelId, Revision, SweepId};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no database that exactod can use.
    #[error("store url {url:?} cannot be used: {why}")]
    BadUrl {
        /// The URL, without its password.
        url: String,
        /// Why, and what to write.
        why: String,
    },
    /// The database cannot be opened at all.
    #[error("cannot open the database {place}: {why}")]
    CannotOpen {
        /// Path, or URL without its password.
        place: String,
        /// What the system said.
        why: String,
    },
    /// There is no database yet, and the caller only reads.
    #[error("no database at {place}: `exactod serve` or `exactod sweep` makes one")]
    Missing {
        /// Path, or URL without its password.
        place: String,
    },
    /// The database belongs to another program, or is no database.
    #[error("{place} is not exactod's: {why}; nothing was changed, give the store another place ([store] url)")]
    Foreign {
        /// Path, or URL without its password.
        place: String,
        /// What was found.
        why: String,
    },
    /// A newer exactod has migrated the database.
    #[error(
        "{place} was written by a newer exactod (schema {found}, this program knows {known}); \
         update exactod, or restore a backup made before the update"
    )]
    NewerVersion {
        /// Path, or URL without its password.
        place: String,
        /// Schema version found.
        found: i64,
        /// Newest schema version known here.
        known: i64,
    },
    /// A migration failed or had been altered.
    #[error("cannot migrate the database: {0}")]
    Migration(String),
    /// Another program holds the database longer than the time limit.
    #[error("the database is locked by another program ({0}); stop it, or wait until it is done")]
    Locked(String),
    /// A statement took longer than the time limit.
    #[error(
        "the database did not finish a statement in time ({0}); it is tried again: look what keeps the server busy"
    )]
    TimedOut(String),
    /// No space is left for the database.
    #[error("no space is left for the database ({0}); free some: what is stored is safe, what waits is tried again")]
    DiskFull(String),
    /// The database may not be written.
    #[error("the database is read-only ({0}); give exactod the right to write the file and its folder")]
    ReadOnly(String),
    /// The database server does not let us in.
    #[error("the database server refuses the user or the password: {0}; look at [store] url")]
    Denied(String),
    /// The database server does not answer.
    #[error("the database server does not answer: {0}")]
    Unreachable(String),
    /// Stored data do not make sense.
    #[error("the database is damaged: {0}; run `exactod db check`, then restore a backup")]
    Corrupt(String),
    /// A page was asked for with a cursor that this store never gave.
    #[error("cursor {0:?} is not one of this list; take the `next` of the page before")]
    BadCursor(String),
    /// Another owner has claimed the sweep since; nothing was written.
    #[error("sweep {sweep} has been taken over by another owner (fence {held} is stale); nothing was written")]
    StaleFence {
        /// The sweep.
        sweep: SweepId,
        /// The fencing number that the caller holds.
        held: i64,
    },
    /// The sweep is not running any more; nothing was written.
    #[error("sweep {0} is not running any more; nothing was written")]
    NotRunning(SweepId),
    /// Another sweep's end was committed since the state was read; nothing was written.
    #[error("the curation state of {model} has moved on from {base}; read it again and decide again")]
    StaleState {
        /// The model.
        model: ModelId,
        /// The sequence number that the decision was based on.
        base: u64,
    },
    /// The revision exists, or a later one does; nothing was written.
    #[error("allowlist revision {revision} of {model} is not newer than the published one")]
    StaleRevision {
        /// The model.
        model: ModelId,
        /// The refused revision.
        revision: Revision,
    },
    /// Anything else that the database said.
    #[error("the database refused: {0}")]
    Database(#[source] sqlx::Error),
}

/// Short for results of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What is said of a pool without a free connection.
const NO_CONNECTION: &str = "no connection became free in time";

/// PostgreSQL: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
mod sqlstate {
    pub const DISK_FULL: &str = "53100";
    pub const READ_ONLY: &str = "25006";
    pub const LOCK_NOT_AVAILABLE: &str = "55P03";
    pub const DEADLOCK: &str = "40P01";
    pub const QUERY_CANCELED: &str = "57014";
    pub const NO_SUCH_DATABASE: &str = "3D000";
}

/// SQLite: <https://www.sqlite.org/rescode.html>, primary codes.
mod sqlite_code {
    pub const PERM: i64 = 3;
    pub const BUSY: i64 = 5;
    pub const LOCKED: i64 = 6;
    pub const READONLY: i64 = 8;
    pub const CORRUPT: i64 = 11;
    pub const FULL: i64 = 13;
    pub const CANTOPEN: i64 = 14;
    pub const NOTADB: i64 = 26;
    /// The extended code's low byte is the primary code.
    pub const PRIMARY: i64 = 0xff;
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::PoolTimedOut => StoreError::Locked(NO_CONNECTION.to_owned()),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => StoreError::Unreachable(text),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Corrupt(text),
            sqlx::Error::Database(inner) => {
                let code = inner.code().unwrap_or_default().into_owned();
                let message = inner.message().to_owned();
                if inner.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                    of_sqlite(&code, message).unwrap_or(StoreError::Database(error))
                } else {
                    of_postgres(&code, message).unwrap_or(StoreError::Database(error))
                }
            }
            _ => StoreError::Database(error),
        }
    }
}

fn of_sqlite(code: &str, message: String) -> Option<StoreError> {
    use sqlite_code as c;
    let primary = code.parse::<i64>().ok()? & c::PRIMARY;
    Some(match primary {
        c::FULL => StoreError::DiskFull(message),
        c::BUSY | c::LOCKED => StoreError::Locked(message),
        c::READONLY | c::PERM => StoreError::ReadOnly(message),
        c::CANTOPEN => StoreError::CannotOpen { place: "file".to_owned(), why: message },
        c::CORRUPT => StoreError::Corrupt(message),
        c::NOTADB => StoreError::Foreign { place: "the file".to_owned(), why: message },
        _ => return None,
    })
}

fn of_postgres(code: &str, message: String) -> Option<StoreError> {
    Some(match code {
        sqlstate::DISK_FULL => StoreError::DiskFull(message),
        sqlstate::READ_ONLY => StoreError::ReadOnly(message),
        sqlstate::LOCK_NOT_AVAILABLE | sqlstate::DEADLOCK => StoreError::Locked(message),
        sqlstate::QUERY_CANCELED => StoreError::TimedOut(message),
        sqlstate::NO_SUCH_DATABASE => {
            StoreError::CannotOpen { place: "database".to_owned(), why: format!("{message}: create it with createdb") }
        }
        // 28: invalid authorization.
        _ if code.starts_with("28") => StoreError::Denied(message),
        // 08: connection; 57P: the server shuts down or starts.
        _ if code.starts_with("08") || code.starts_with("57P") => StoreError::Unreachable(message),
        _ => return None,
    })
}

impl StoreError {
    /// Whether free space is what is missing.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, StoreError::DiskFull(_))
    }

    /// Whether the same may go well a little later without anybody changing what is asked.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        use StoreError::{DiskFull, Locked, TimedOut, Unreachable};
        matches!(self, Locked(_) | TimedOut(_) | Unreachable(_) | DiskFull(_))
    }

    /// On a server nobody else's lock keeps a pool from having a connection.
    pub(super) fn on_a_server(self) -> Self {
        match self {
            StoreError::Locked(why) if why == NO_CONNECTION => StoreError::Unreachable(why),
            other => other,
        }
    }

    /// Gives an error met while opening the place it is about.
    pub(super) fn while_opening(self, place: &str) -> Self {
        let place = place.to_owned();
        match self {
            StoreError::CannotOpen { why, .. } => StoreError::CannotOpen { place, why },
            StoreError::Foreign { why, .. } => StoreError::Foreign { place, why },
            StoreError::Corrupt(why) => StoreError::Corrupt(format!("{place}: {why}")),
            StoreError::Locked(why) => StoreError::Locked(format!("{place}: {why}")),
            StoreError::TimedOut(why) => StoreError::TimedOut(format!("{place}: {why}")),
            StoreError::DiskFull(why) => StoreError::DiskFull(format!("{place}: {why}")),
            StoreError::ReadOnly(why) => StoreError::ReadOnly(format!("{place}: {why}")),
            StoreError::Denied(why) => StoreError::Denied(format!("{place}: {why}")),
            StoreError::Unreachable(why) => StoreError::Unreachable(format!("{place}: {why}")),
            StoreError::Database(source) => StoreError::CannotOpen { place, why: source.to_string() },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_are_told_by_their_primary_code() {
        // 778 = SQLITE_IOERR_WRITE, 261 = SQLITE_BUSY_RECOVERY, 1544 = SQLITE_READONLY_DIRECTORY
        assert!(of_sqlite("778", String::new()).is_none());
        assert!(matches!(of_sqlite("261", String::new()), Some(StoreError::Locked(_))));
        assert!(matches!(of_sqlite("1544", String::new()), Some(StoreError::ReadOnly(_))));
        assert!(matches!(of_sqlite("13", String::new()), Some(StoreError::DiskFull(_))));
    }

    #[test]
    fn a_server_that_is_going_down_is_not_a_refusal() {
        assert!(matches!(of_postgres("57P01", String::new()), Some(StoreError::Unreachable(_))));
        assert!(matches!(of_postgres("28P01", String::new()), Some(StoreError::Denied(_))));
        assert!(matches!(of_postgres("3D000", String::new()), Some(StoreError::CannotOpen { .. })));
        assert!(matches!(StoreError::from(sqlx::Error::PoolTimedOut), StoreError::Locked(_)));
        assert!(matches!(StoreError::from(sqlx::Error::PoolTimedOut).on_a_server(), StoreError::Unreachable(_)));
        assert!(of_postgres("57014", String::new()).is_some_and(|e| e.is_passing()));
        assert!(of_postgres("55P03", String::new()).is_some_and(|e| e.is_passing()));
        assert!(of_postgres("23505", String::new()).is_none());
    }
}

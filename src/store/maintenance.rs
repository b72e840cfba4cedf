//! Maintenance: check and prune.

use std::collections::BTreeMap;

use super::error::Result;
use super::history::move_to_horizon;
use super::pool::Arg;
use super::rows::{count, id_floor};
use super::{Store, statements};
use crate::domain::Micros;
use crate::domain::probes::ROUND_MAX_US;

/// Rows deleted in one transaction: short enough that a writer beside it hardly notices.
const PRUNE_ROWS: i64 = 2_000;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// `SQLite 3.x` or `PostgreSQL x`.
    pub database: String,
    /// Version of the last applied migration.
    pub schema: i64,
    /// Version that this program knows.
    pub schema_known: i64,
    /// Rows of each table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Size of the database in bytes.
    pub size_bytes: i64,
    /// What is wrong, one sentence each; empty when all is well.
    pub problems: Vec<String>,
}

/// What is older than these times is deleted; `None` keeps all. Sweeps, decisions, allowlists and
/// the history of decisions stay for ever.
///
/// Age goes by the time in an attempt's id (version 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Transcripts before this time.
    pub transcripts_before_us: Option<Micros>,
    /// Attempts before this time, with their transcripts, and the plans of their sweeps. Attempts of running sweeps
    /// stay. What was decided from them cannot be recomputed afterwards: a checkpoint stays from which it goes on.
    pub attempts_before_us: Option<Micros>,
    /// Counts of live traffic that begin before this time.
    pub observations_before_us: Option<Micros>,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Transcripts, without those that went with their attempts.
    pub transcripts: u64,
    /// Attempts.
    pub attempts: u64,
    /// Plans of finished sweeps.
    pub plans: u64,
    /// Counted spans of live traffic.
    pub observations: u64,
}

impl Store {
    /// Looks for damage: the database's own integrity check, rows that refer to nothing, and the schema's version.
    /// Reads everything; on a large store that takes a while, and others go on beside it.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) when the database cannot be read at all.
    pub async fn check(&self) -> Result<CheckReport> {
        let schema = self.schema().await?;
        let mut report = CheckReport {
            database: self.pool.product().await?,
            schema: schema.found,
            schema_known: schema.known,
            rows: BTreeMap::new(),
            size_bytes: self.pool.size_bytes().await?,
            problems: self.pool.integrity().await?,
        };
        if schema.found < schema.known {
            let text = "the schema is older than this program: run `exactod db migrate`";
            report.problems.push(text.to_owned());
            return Ok(report);
        }
        for (table, statement) in statements::COUNTS {
            report.rows.insert(table, self.count(statement).await?);
        }
        for (statement, what) in ORPHANS {
            match self.count(statement).await? {
                0 => {}
                n => report.problems.push(format!("{n} {what}")),
            }
        }
        Ok(report)
    }

    async fn count(&self, statement: &'static str) -> Result<u64> {
        Ok(self.pool.read_one(statement, &[], |row| count(row, 0)).await?.unwrap_or_default())
    }

    /// Deletes what is older than the retention, in short transactions, and gives the space back.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database; what was deleted before stays deleted.
    pub async fn prune(&self, retention: &Retention) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        if let Some(before_us) = retention.attempts_before_us {
            // Plans first: a sweep that has its plan has its attempts. With them the horizon of replays moves.
            let mut tx = self.pool.begin().await?;
            pruned.plans = tx.execute(statements::PRUNE_PLANS, &[id_floor(before_us).as_str().into()]).await?;
            if pruned.plans > 0 {
                move_to_horizon(&mut tx).await?;
            }
            tx.commit().await?;
            let (floor, of_round) = (id_floor(before_us), id_floor(before_us.saturating_sub(ROUND_MAX_US)));
            let args = [floor.as_str().into(), PRUNE_ROWS.into(), of_round.as_str().into()];
            pruned.attempts = self.delete(statements::PRUNE_ATTEMPTS, &args).await?;
            self.prune_exchanges(&floor).await?;
        }
        if let Some(before_us) = retention.transcripts_before_us {
            let floor = id_floor(before_us);
            let args = [floor.as_str().into(), PRUNE_ROWS.into()];
            pruned.transcripts = self.delete(statements::PRUNE_TRANSCRIPTS, &args).await?;
            self.prune_exchanges(&floor).await?;
        }
        if let Some(before_us) = retention.observations_before_us {
            pruned.observations = self.prune_live(before_us).await?;
        }
        self.pool.reclaim().await?;
        Ok(pruned)
    }

    /// Deletes the exchanges of sweeps before a floor, unless they are running.
    async fn prune_exchanges(&self, floor: &str) -> Result<()> {
        self.delete(statements::PRUNE_EXCHANGES, &[floor.into(), PRUNE_ROWS.into()]).await.map(drop)
    }

    /// Deletes at most [`PRUNE_ROWS`] rows, the second of `args`, until none is left.
    async fn delete(&self, statement: &'static str, args: &[Arg<'_>]) -> Result<u64> {
        let mut deleted = 0;
        loop {
            let mut tx = self.pool.begin().await?;
            let rows = tx.execute(statement, args).await?;
            tx.commit().await?;
            deleted += rows;
            if rows < PRUNE_ROWS.unsigned_abs() {
                return Ok(deleted);
            }
            self.pool.reclaim().await?;
        }
    }
}

/// Rows that should be impossible.
const ORPHANS: &[(&str, &str)] = &[
    (statements::ORPHAN_TRANSCRIPTS, "transcripts belong to no attempt"),
    (statements::ORPHAN_ATTEMPTS, "attempts belong to no sweep"),
    (statements::ORPHAN_DECISIONS, "decisions name a sweep that is missing"),
    (statements::SWEEPS_UNFINISHED, "sweeps have ended without a time"),
    (statements::PLANS_MISSING, "running sweeps have no plan and cannot be finished"),
];

//! Verdicts of stored answers by another digest of their suite.

use super::error::{Result, StoreError};
use super::pool::{Arg, Row};
use super::rows::{Shared, fault_list, free_text, id, verdict, verdict_names};
use super::{Store, WINDOW_PAGE_ROWS, statements};
use crate::domain::{
    AttemptId, CaseId, EndpointId, Fault, Judgement, Micros, ModelId, SuiteDigest, SuiteName, Verdict,
};

/// A stored answer, judged again.
#[derive(Debug, Clone, PartialEq)]
pub struct Rescored {
    /// The attempt that brought the answer.
    pub attempt: AttemptId,
    /// The digest of the suite that judged it now.
    pub digest: SuiteDigest,
    /// What it is by that.
    pub judgement: Judgement,
}

/// A row of a series of new verdicts.
#[derive(Debug, Clone, PartialEq)]
pub struct RescoredRow {
    /// The attempt.
    pub attempt: AttemptId,
    /// The digest that judged it again.
    pub digest: SuiteDigest,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Its suite.
    pub suite: SuiteName,
    /// Its case.
    pub case: CaseId,
    /// When it was asked.
    pub started_at_us: Micros,
    /// The new verdict.
    pub verdict: Verdict,
    /// The first one.
    pub first: Verdict,
}

impl Store {
    /// Adds verdicts, all in one transaction; how many are new. What a digest has judged already stays as it is: judging is
    /// pure. The verdict on an attempt that has been pruned meanwhile is passed over.
    ///
    /// # Errors
    /// [`StoreError`] of the database; nothing was written then.
    pub async fn add_rescored(&self, rows: &[Rescored], at_us: Micros) -> Result<u64> {
        match self.try_rescored(rows, at_us).await {
            // PostgreSQL refuses the reference to an attempt whose pruning was not yet seen: it is seen the second time. What
            // has a name of its own (a lock, a full disk) stays what it is.
            Err(StoreError::Database(_)) => self.try_rescored(rows, at_us).await,
            done => done,
        }
    }

    async fn try_rescored(&self, rows: &[Rescored], at_us: Micros) -> Result<u64> {
        let mut new = 0;
        let mut tx = self.pool.begin().await?;
        for row in rows {
            let judgement = &row.judgement;
            let (kind, why) = verdict_names(judgement);
            let (secondary, explanation) = (fault_list(&judgement.secondary), free_text(&judgement.explanation));
            let error_type = judgement.error_type.as_deref().map(free_text);
            let args = [
                Arg::Id(row.attempt.0),
                row.digest.as_str().into(),
                kind.into(),
                Arg::Text(why),
                Arg::Real(judgement.score),
                Arg::Text(judgement.fault.map(Fault::name)),
                secondary.as_str().into(),
                Arg::Text(error_type.as_deref()),
                Arg::Text(Some(&explanation)),
                at_us.into(),
            ];
            new += tx.execute(statements::RESCORED_ADD, &args).await?;
        }
        tx.commit().await?;
        Ok(new)
    }

    /// New verdicts of a model's attempts that started in `[from_us, to_us)`, oldest first: the page after an attempt and
    /// digest, empty after the last.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn rescored(
        &self,
        model: &ModelId,
        (from_us, to_us): (Micros, Micros),
        after: Option<&RescoredRow>,
    ) -> Result<Vec<RescoredRow>> {
        let (mut endpoints, mut suites, mut cases) = (Shared::new(), Shared::new(), Shared::new());
        let mut digests = Shared::new();
        let (from_us, attempt, digest) = after.map_or((from_us, String::new(), ""), |row| {
            (row.started_at_us, row.attempt.to_string(), row.digest.as_str())
        });
        let args = [
            model.as_str().into(),
            from_us.into(),
            to_us.into(),
            attempt.as_str().into(),
            digest.into(),
            (WINDOW_PAGE_ROWS as i64).into(),
        ];
        let each = |row: &Row| {
            Ok(RescoredRow {
                attempt: AttemptId(id(row, 0)?),
                digest: digests.read(row, 1)?,
                endpoint: endpoints.read(row, 2)?,
                suite: suites.read(row, 3)?,
                case: cases.read(row, 4)?,
                started_at_us: row.get(5)?,
                verdict: verdict(row, 6, 7, 8)?.0,
                first: verdict(row, 9, 10, 11)?.0,
            })
        };
        self.pool.read(statements::RESCORED_WINDOW, &args, each).await
    }
}

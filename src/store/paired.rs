//! Answers of a suite with their transcripts, newest first: for what only several answers show together.

use super::error::Result;
use super::pool::Row;
use super::rows::{Shared, epoch, id};
use super::transcripts::unpack;
use super::{Store, statements};
use crate::domain::{AttemptId, CaseId, EndpointId, Micros, ModelId, SuiteName, SweepId, Transcript};

/// Rows of one page of [`Store::answers`].
pub const ANSWERS_PAGE_ROWS: usize = 500;

/// An attempt and its packed transcript.
#[derive(Debug, Clone)]
pub struct AnswerRow {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its sweep.
    pub sweep: SweepId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Its case.
    pub case: CaseId,
    /// Its repeat.
    pub epoch: u32,
    /// When it was asked.
    pub started_at_us: Micros,
    codec: i64,
    packed: Vec<u8>,
}

impl AnswerRow {
    /// Unpacks the transcript: work for a thread that may block.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](super::StoreError::Corrupt) when it is damaged.
    pub fn transcript(&self) -> Result<Transcript> {
        unpack(self.codec, &self.packed)
    }
}

impl Store {
    /// A model's answers to a suite that were asked in `[from_us, to_us)` and still have their transcript, newest first: the
    /// page after a row, at most [`ANSWERS_PAGE_ROWS`], fewer on the last.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn answers(
        &self,
        model: &ModelId,
        suite: &SuiteName,
        (from_us, to_us): (Micros, Micros),
        after: Option<&AnswerRow>,
    ) -> Result<Vec<AnswerRow>> {
        let (mut endpoints, mut cases) = (Shared::new(), Shared::new());
        let each = |row: &Row| {
            Ok(AnswerRow {
                attempt: AttemptId(id(row, 0)?),
                sweep: SweepId(id(row, 1)?),
                endpoint: endpoints.read(row, 2)?,
                case: cases.read(row, 3)?,
                epoch: epoch(row, 4)?,
                started_at_us: row.get(5)?,
                codec: row.get(6)?,
                packed: row.get::<&[u8]>(7)?.to_vec(),
            })
        };
        let (at_us, before) = after.map_or((to_us, String::new()), |row| (row.started_at_us, row.attempt.to_string()));
        let args = [
            model.as_str().into(),
            from_us.into(),
            suite.as_str().into(),
            at_us.into(),
            before.as_str().into(),
            (ANSWERS_PAGE_ROWS as i64).into(),
        ];
        self.pool.read(statements::ANSWERS_WINDOW, &args, each).await
    }
}

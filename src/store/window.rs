//! Windows of attempts as columns, read in pages, so that memory stays bounded whatever the window.

use super::attempts::MeasureReader;
use super::error::Result;
use super::pool::Row;
use super::rows::{Shared, epoch, id};
use super::{MeasuredRow, Store, statements};
use crate::domain::{AttemptId, CaseId, EndpointId, Fault, Micros, ModelId, SuiteName, SweepId, UnscoredWhy, Verdict};

/// Rows of one page of a [`Window`].
pub const WINDOW_PAGE_ROWS: usize = 10_000;

/// Attempts as columns, all of the same length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AttemptColumns {
    /// Ids.
    pub id: Vec<AttemptId>,
    /// Sweeps.
    pub sweep: Vec<SweepId>,
    /// Endpoints; equal ones share their text.
    pub endpoint: Vec<EndpointId>,
    /// Suites; equal ones share their text.
    pub suite: Vec<SuiteName>,
    /// Cases; equal ones share their text.
    pub case: Vec<CaseId>,
    /// Repeats.
    pub epoch: Vec<u32>,
    /// Verdicts.
    pub verdict: Vec<Verdict>,
    /// Scores in \[0,1\].
    pub score: Vec<Option<f64>>,
    /// Primary Faults.
    pub fault: Vec<Option<Fault>>,
    /// Further Faults.
    pub secondary: Vec<Vec<Fault>>,
    /// The first try delivered.
    pub first_try_ok: Vec<bool>,
    /// The last try delivered.
    pub delivered: Vec<bool>,
    /// When the first try was sent.
    pub started_at_us: Vec<Micros>,
    /// Time to first token, in microseconds.
    pub ttft_us: Vec<Option<i64>>,
    /// Duration of the last try, in microseconds.
    pub total_us: Vec<i64>,
    /// Prompt tokens.
    pub tokens_in: Vec<Option<u64>>,
    /// Answer tokens.
    pub tokens_out: Vec<Option<u64>>,
    /// Cost in billionths of a US dollar.
    pub cost_nanousd: Vec<i64>,
}

impl AttemptColumns {
    /// Whether the last try delivered an answer, and nothing says that it is somebody else's.
    #[must_use]
    pub fn is_its_own_answer(&self, row: usize) -> bool {
        self.delivered[row] && self.verdict[row] != Verdict::Unscored(UnscoredWhy::Provenance)
    }

    /// Number of attempts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// Keeps the rows that are marked, of as many marks as there are rows.
    pub fn keep(&mut self, marks: &[bool]) {
        fn of<T>(column: &mut Vec<T>, marks: &[bool]) {
            let mut marks = marks.iter();
            column.retain(|_| marks.next().is_some_and(|mark| *mark));
        }
        of(&mut self.id, marks);
        of(&mut self.sweep, marks);
        of(&mut self.endpoint, marks);
        of(&mut self.suite, marks);
        of(&mut self.case, marks);
        of(&mut self.epoch, marks);
        of(&mut self.verdict, marks);
        of(&mut self.score, marks);
        of(&mut self.fault, marks);
        of(&mut self.secondary, marks);
        of(&mut self.first_try_ok, marks);
        of(&mut self.delivered, marks);
        of(&mut self.started_at_us, marks);
        of(&mut self.ttft_us, marks);
        of(&mut self.total_us, marks);
        of(&mut self.tokens_in, marks);
        of(&mut self.tokens_out, marks);
        of(&mut self.cost_nanousd, marks);
    }

    /// Adds a row.
    pub fn push(&mut self, row: MeasuredRow) {
        let MeasuredRow {
            id,
            key,
            verdict,
            score,
            fault,
            secondary,
            first_try_ok,
            delivered,
            started_at_us,
            ttft_us,
            total_us,
            tokens_in,
            tokens_out,
            cost_nanousd,
            observed: _,
            sampled: _,
        } = row;
        self.id.push(id);
        self.sweep.push(key.sweep);
        self.endpoint.push(key.endpoint);
        self.suite.push(key.suite);
        self.case.push(key.case);
        self.epoch.push(key.epoch);
        self.verdict.push(verdict);
        self.score.push(score);
        self.fault.push(fault);
        self.secondary.push(secondary);
        self.first_try_ok.push(first_try_ok);
        self.delivered.push(delivered);
        self.started_at_us.push(started_at_us);
        self.ttft_us.push(ttft_us);
        self.total_us.push(total_us);
        self.tokens_in.push(tokens_in);
        self.tokens_out.push(tokens_out);
        self.cost_nanousd.push(cost_nanousd);
    }
}

/// A model's attempts in a window of time, page by page, oldest first. No connection is held between pages.
pub struct Window {
    store: Store,
    model: ModelId,
    from_us: Micros,
    to_us: Micros,
    /// Id of the last row given, among those that started at `from_us`.
    after: String,
    page_rows: usize,
    reader: MeasureReader,
    ended: bool,
}

impl Window {
    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn next(&mut self) -> Result<Option<AttemptColumns>> {
        if self.ended {
            return Ok(None);
        }
        let args = [
            self.model.as_str().into(),
            self.from_us.into(),
            self.to_us.into(),
            self.after.as_str().into(),
            (self.page_rows as i64).into(),
        ];
        let mut page = AttemptColumns::default();
        let each = |row: &Row| {
            page.push(self.reader.read(row)?);
            Ok(())
        };
        self.store.pool.read(statements::ATTEMPTS_WINDOW, &args, each).await?;
        self.ended = page.len() < self.page_rows;
        if let (Some(started), Some(id)) = (page.started_at_us.last(), page.id.last()) {
            self.from_us = *started;
            self.after = id.to_string();
        }
        Ok(Some(page).filter(|page| !page.is_empty()))
    }

    /// Sets the number of rows of a page, at least 1; [`WINDOW_PAGE_ROWS`] otherwise.
    #[must_use]
    pub fn page_rows(mut self, rows: usize) -> Self {
        self.page_rows = rows.max(1);
        self
    }
}

/// Whether an answer calls a tool, by its finish reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledRow {
    /// The sweep.
    pub sweep: SweepId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The case.
    pub case: CaseId,
    /// The repeat.
    pub epoch: u32,
    /// The finish reason is `tool_calls`.
    pub called: bool,
}

impl Store {
    /// Which of a model's scored answers of a suite, asked in `[from_us, to_us)`, call a tool. Answers without a finish
    /// reason say nothing about it.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn called(
        &self,
        model: &ModelId,
        suite: &SuiteName,
        (from_us, to_us): (Micros, Micros),
    ) -> Result<Vec<CalledRow>> {
        let (mut endpoints, mut cases) = (Shared::new(), Shared::new());
        let each = |row: &Row| {
            Ok(CalledRow {
                sweep: SweepId(id(row, 0)?),
                endpoint: endpoints.read(row, 1)?,
                case: cases.read(row, 2)?,
                epoch: epoch(row, 3)?,
                called: row.get::<&str>(4)? == "tool_calls",
            })
        };
        let args = [model.as_str().into(), from_us.into(), to_us.into(), suite.as_str().into()];
        self.pool.read(statements::CALLED_WINDOW, &args, each).await
    }

    /// A model's attempts that started in `[from_us, to_us)`.
    #[must_use]
    pub fn window(&self, model: &ModelId, from_us: Micros, to_us: Micros) -> Window {
        Window {
            store: self.clone(),
            model: model.clone(),
            from_us,
            to_us,
            after: String::new(),
            page_rows: WINDOW_PAGE_ROWS,
            reader: MeasureReader::new(),
            ended: false,
        }
    }
}

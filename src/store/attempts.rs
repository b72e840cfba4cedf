//! Attempts: appended once, read back as keys and as measured rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::error::Result;
use super::pool::{Arg, Row, Tx};
use super::rows::{
    self, Shared, count_option, epoch, fault_list, faults, free_text, id, json, parsed, to_json, verdict, verdict_names,
};
use super::transcripts::{Packed, Packer, unpack};
use super::{Store, StoredAttempt, statements};
use crate::domain::probes::is_probe;
use crate::domain::{
    Attempt, AttemptId, AttemptKey, CaseId, EndpointId, Fault, FaultClass, Judgement, Micros, Outcome, OutcomeRow,
    SuiteName, SweepId, SweepPlan, Transcript, UnscoredWhy, Usage, Verdict,
};

/// What became of appended attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Stored now.
    pub new: u64,
    /// Already stored (the same key, or the same id): left as they were.
    pub known: u64,
    /// Came after their sweep had ended (or name a sweep that is not stored): not stored, for its decisions have been
    /// made.
    pub late: u64,
}

/// What one attempt of a sweep measured, without its long texts.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredRow {
    /// Its id.
    pub id: AttemptId,
    /// What makes it unique.
    pub key: AttemptKey,
    /// The verdict.
    pub verdict: Verdict,
    /// Score in \[0,1\]; `None` without one.
    pub score: Option<f64>,
    /// Primary Fault, that of an Unscored attempt included.
    pub fault: Option<Fault>,
    /// Further Faults.
    pub secondary: Vec<Fault>,
    /// The first try delivered an answer.
    pub first_try_ok: bool,
    /// The last try delivered an answer.
    pub delivered: bool,
    /// When the first try was sent.
    pub started_at_us: Micros,
    /// Time to first token of the last try, in microseconds.
    pub ttft_us: Option<i64>,
    /// Duration of the last try, in microseconds.
    pub total_us: i64,
    /// Prompt tokens, as reported.
    pub tokens_in: Option<u64>,
    /// Answer tokens, as reported.
    pub tokens_out: Option<u64>,
    /// Cost in billionths of a US dollar.
    pub cost_nanousd: i64,
    /// What an answer to a prompt for fingerprints shows.
    pub observed: Option<f64>,
    /// The start of the answer to a prompt of sampled answers.
    pub sampled: Option<Arc<str>>,
}

impl MeasuredRow {
    /// What the attempt means for evidence (interfaces, section 5). `graded`: evidence is the score, not 1/0.
    ///
    /// A passed or failed attempt whose score is no number in \[0, 1\] is a grader's error whatever counts: it gives NaN,
    /// which curation skips and notes. Its verdict came from the same score. (A NaN is stored as NULL by SQLite and as NaN
    /// by PostgreSQL, so no score and NaN mean the same.)
    #[must_use]
    pub fn outcome(&self, graded: bool) -> OutcomeRow {
        let (observed, is_probe) = (self.observed.map(Outcome::Observed), is_probe(&self.key.suite));
        let binary = f64::from(u8::from(self.verdict == Verdict::Pass));
        let outcome = match self.verdict {
            Verdict::Pass | Verdict::Fail(_) if is_probe => observed.unwrap_or(Outcome::Skipped { provenance: false }),
            Verdict::Pass | Verdict::Fail(_) => Outcome::Scored(match self.score {
                Some(score) if !(0.0..=1.0).contains(&score) => f64::NAN,
                None => f64::NAN,
                Some(score) if graded => score,
                Some(_) => binary,
            }),
            Verdict::Unscored(UnscoredWhy::Provider) => Outcome::Missing,
            Verdict::Unscored(why) => Outcome::Skipped { provenance: why == UnscoredWhy::Provenance },
        };
        OutcomeRow {
            suite: self.key.suite.clone(),
            case: self.key.case.clone(),
            endpoint: self.key.endpoint.clone(),
            epoch: self.key.epoch,
            outcome,
            sampled: self.sampled.clone(),
        }
    }
}

/// An attempt ready to be written: everything that costs time is done before the write transaction begins.
#[derive(Debug)]
pub(super) struct Prepared {
    attempt: Attempt,
    tries: String,
    secondary: String,
    scorers: Option<String>,
    draw: Option<String>,
    transcript: Option<Packed>,
}

impl Prepared {
    pub fn new(packer: &Packer, mut attempt: Attempt) -> Result<Self> {
        let transcript = attempt.transcript.take().map(|transcript| packer.pack(&transcript));
        Ok(Prepared {
            tries: to_json(&attempt.tries)?,
            secondary: fault_list(&attempt.judgement.secondary),
            scorers: Some(&attempt.judgement.scorers).filter(|s| !s.is_empty()).map(to_json).transpose()?,
            draw: attempt.draw.as_ref().map(to_json).transpose()?,
            transcript,
            attempt,
        })
    }

    /// Bytes held while it waits to be written.
    pub fn bytes(&self) -> usize {
        let transcript = self.transcript.as_ref().map_or(0, |packed| packed.bytes.len());
        let [draw, scorers] = [&self.draw, &self.scorers].map(|text| text.as_ref().map_or(0, String::len));
        let texts = self.tries.len() + draw + scorers;
        size_of::<Self>() + transcript + texts + self.attempt.judgement.explanation.len()
    }

    /// The last try delivered an answer, right or wrong.
    fn delivered(&self) -> bool {
        self.attempt.tries.last().is_some_and(|t| t.fault.is_none_or(|f| f.class() == FaultClass::Quality))
    }
}

/// Texts of one row that are made for it alone and must outlive the statement.
struct RowTexts<'a> {
    sweep: String,
    explanation: std::borrow::Cow<'a, str>,
    error_type: Option<std::borrow::Cow<'a, str>>,
    finish_reason: Option<std::borrow::Cow<'a, str>>,
    sampled: Option<std::borrow::Cow<'a, str>>,
}

impl<'a> RowTexts<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        RowTexts {
            sweep: attempt.key.sweep.to_string(),
            explanation: free_text(&attempt.judgement.explanation),
            error_type: attempt.judgement.error_type.as_deref().map(free_text),
            finish_reason: attempt.finish_reason.as_deref().map(free_text),
            sampled: attempt.sampled.as_deref().map(free_text),
        }
    }
}

/// The values of a row, in the order of the attempt columns.
fn bind<'a>(row: &'a Prepared, texts: &'a RowTexts<'a>, model: &'a str) -> [Arg<'a>; statements::ATTEMPT_COLUMNS] {
    let (a, j) = (&row.attempt, &row.attempt.judgement);
    let (verdict, why) = verdict_names(j);
    let tokens = |n: Option<u64>| Arg::Int(n.map(|n| i64::try_from(n).unwrap_or(i64::MAX)));
    [
        Arg::Id(a.id.0),
        texts.sweep.as_str().into(),
        a.key.endpoint.as_str().into(),
        a.key.suite.as_str().into(),
        a.key.case.as_str().into(),
        i64::from(a.key.epoch).into(),
        model.into(),
        verdict.into(),
        Arg::Text(why),
        Arg::Real(j.score),
        Arg::Text(j.fault.map(Fault::name)),
        row.secondary.as_str().into(),
        Arg::Text(texts.error_type.as_deref()),
        Arg::Text(Some(&texts.explanation)),
        row.tries.as_str().into(),
        Arg::Flag(a.first_try_ok()),
        Arg::Flag(row.delivered()),
        a.started_at_us.into(),
        Arg::Int(a.ttft_us),
        a.total_us.into(),
        tokens(a.usage.tokens_in),
        tokens(a.usage.tokens_out),
        tokens(a.usage.tokens_reasoning),
        a.cost_nanousd.into(),
        Arg::Text(texts.finish_reason.as_deref()),
        Arg::Text(row.draw.as_deref()),
        Arg::Real(a.observed),
        Arg::Text(texts.sampled.as_deref()),
        Arg::Text(row.scorers.as_deref()),
    ]
}

impl Store {
    /// Makes an attempt ready to be written: compresses its transcript.
    pub(super) fn prepare_attempt(&self, attempt: Attempt) -> Result<Prepared> {
        Prepared::new(&self.packer, attempt)
    }

    /// Stores attempts with their transcripts, all in one transaction. What is already stored is left as it is, so a
    /// batch of which nobody knows whether it arrived may simply be written again.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database; nothing was written then.
    pub async fn append_attempts(&self, attempts: Vec<Attempt>) -> Result<Appended> {
        let rows = attempts.into_iter().map(|a| self.prepare_attempt(a)).collect::<Result<Vec<_>>>()?;
        self.append_prepared(&rows).await
    }

    /// [`Store::append_attempts`] for prepared rows.
    pub(super) async fn append_prepared(&self, rows: &[Prepared]) -> Result<Appended> {
        let mut done = Appended::default();
        if rows.is_empty() {
            return Ok(done);
        }
        let mut tx = self.pool.begin().await?;
        let models = hold_sweeps(&mut tx, rows).await?;
        let taken: Vec<(&Prepared, &str)> = rows
            .iter()
            .filter_map(|row| models.get(&row.attempt.key.sweep).and_then(Option::as_ref).map(|m| (row, m.as_str())))
            .collect();
        done.late = (rows.len() - taken.len()) as u64;
        let mut rest = taken.as_slice();
        while !rest.is_empty() {
            let (text, size) = statements::ATTEMPTS_ADD.for_rows(rest.len(), tx.placeholders());
            let (chunk, after) = rest.split_at(size);
            let new = insert(&mut tx, text, chunk).await?;
            done.new += new;
            done.known += size as u64 - new;
            let stored = if new == size as u64 {
                chunk.iter().map(|(row, _)| *row).collect()
            } else {
                known(&mut tx, chunk).await?
            };
            insert_transcripts(&mut tx, &stored).await?;
            rest = after;
        }
        tx.commit().await?;
        Ok(done)
    }

    /// The keys of a sweep's stored attempts: what need not be asked again.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn done_keys(&self, sweep: SweepId) -> Result<HashSet<AttemptKey>> {
        let (mut endpoints, mut suites, mut cases) = (Shared::new(), Shared::new(), Shared::new());
        let key = |row: &Row| {
            Ok(AttemptKey {
                sweep,
                endpoint: endpoints.read(row, 0)?,
                suite: suites.read(row, 1)?,
                case: cases.read(row, 2)?,
                epoch: epoch(row, 3)?,
            })
        };
        Ok(self.pool.read(statements::ATTEMPT_KEYS, &[Arg::Id(sweep.0)], key).await?.into_iter().collect())
    }

    /// All attempts of a sweep, sorted by suite, case, endpoint and epoch.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn sweep_rows(&self, sweep: SweepId) -> Result<Vec<MeasuredRow>> {
        let mut reader = MeasureReader::new();
        let each = |row: &Row| reader.read(row);
        let mut rows = self.pool.read(statements::ATTEMPTS_OF_SWEEP, &[Arg::Id(sweep.0)], each).await?;
        sort(&mut rows);
        Ok(rows)
    }

    /// All that the end of a sweep is made from: its attempts, then, where it ends a round of sampled answers, those of
    /// the round's earlier sweeps that were folded.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn rows_to_fold(&self, plan: &SweepPlan) -> Result<Vec<MeasuredRow>> {
        let mut rows = self.sweep_rows(plan.id).await?;
        if let Some(share) = plan.samples.filter(|share| share.closes) {
            let mut reader = MeasureReader::new();
            let each = |row: &Row| reader.read(row);
            let place = |ordinal: u64| Arg::from(i64::try_from(ordinal).unwrap_or(i64::MAX));
            let args = [plan.model.as_str().into(), place(share.from), place(plan.ordinal), Arg::Id(plan.id.0)];
            let mut earlier = self.pool.read(statements::ATTEMPTS_OF_ROUND, &args, each).await?;
            sort(&mut earlier);
            rows.append(&mut earlier);
        }
        Ok(rows)
    }

    /// One attempt with its transcript (as long as that is kept).
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database, [`StoreError::Corrupt`](super::StoreError::Corrupt) for a damaged transcript.
    pub async fn attempt(&self, attempt: AttemptId) -> Result<Option<StoredAttempt>> {
        let Some(mut found) =
            self.pool.read_one(statements::ATTEMPT_GET, &[Arg::Id(attempt.0)], stored_attempt).await?
        else {
            return Ok(None);
        };
        found.attempt.transcript = self.transcript(attempt).await?;
        Ok(Some(found))
    }

    /// The transcript of an attempt, as long as it is kept.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database, [`StoreError::Corrupt`](super::StoreError::Corrupt) for a damaged transcript.
    pub async fn transcript(&self, attempt: AttemptId) -> Result<Option<Transcript>> {
        let each = |row: &Row| unpack(row.get(0)?, row.get(1)?);
        self.pool.read_one(statements::TRANSCRIPT_GET, &[Arg::Id(attempt.0)], each).await
    }
}

fn sort(rows: &mut [MeasuredRow]) {
    rows.sort_unstable_by(|a, b| {
        let by = |r: &MeasuredRow| {
            (r.key.suite.clone(), r.key.case.clone(), r.key.endpoint.clone(), r.key.sweep, r.key.epoch)
        };
        by(a).cmp(&by(b))
    });
}

/// Locks the sweeps of some attempts until the transaction ends; their models, `None` for those not running.
async fn hold_sweeps(tx: &mut Tx, rows: &[Prepared]) -> Result<HashMap<SweepId, Option<String>>> {
    // Sorted, so that two writers that hold several sweeps cannot wait for each other.
    let mut sweeps: Vec<SweepId> = rows.iter().map(|row| row.attempt.key.sweep).collect();
    sweeps.sort_unstable();
    sweeps.dedup();
    let mut models = HashMap::with_capacity(sweeps.len());
    for sweep in sweeps {
        let model = tx.read_one(statements::SWEEP_HOLD, &[Arg::Id(sweep.0)], |row| row.get::<String>(0)).await?;
        models.insert(sweep, model);
    }
    Ok(models)
}

async fn insert(tx: &mut Tx, text: &'static str, chunk: &[(&Prepared, &str)]) -> Result<u64> {
    let texts: Vec<RowTexts<'_>> = chunk.iter().map(|(row, _)| RowTexts::of(&row.attempt)).collect();
    let mut args = Vec::with_capacity(chunk.len() * statements::ATTEMPT_COLUMNS);
    for ((row, model), texts) in chunk.iter().zip(&texts) {
        args.extend(bind(row, texts, model));
    }
    tx.execute(text, &args).await
}

/// Those of a chunk that are stored under their own id: only they may have a transcript.
async fn known<'a>(tx: &mut Tx, chunk: &[(&'a Prepared, &str)]) -> Result<Vec<&'a Prepared>> {
    let mut stored = Vec::new();
    for (row, _) in chunk {
        let id = [Arg::Id(row.attempt.id.0)];
        if tx.read_one(statements::ATTEMPT_KNOWN, &id, |_| Ok(())).await?.is_some() {
            stored.push(*row);
        }
    }
    Ok(stored)
}

async fn insert_transcripts(tx: &mut Tx, rows: &[&Prepared]) -> Result<()> {
    let with: Vec<(AttemptId, &Packed)> =
        rows.iter().filter_map(|row| row.transcript.as_ref().map(|packed| (row.attempt.id, packed))).collect();
    let mut rest = with.as_slice();
    while !rest.is_empty() {
        let (text, size) = statements::TRANSCRIPTS_ADD.for_rows(rest.len(), tx.placeholders());
        let (chunk, after) = rest.split_at(size);
        let mut args = Vec::with_capacity(size * statements::TRANSCRIPT_COLUMNS);
        for (id, packed) in chunk {
            args.extend([Arg::Id(id.0), packed.codec.into(), Arg::Bytes(&packed.bytes)]);
        }
        tx.execute(text, &args).await?;
        rest = after;
    }
    Ok(())
}

/// Reads the measure columns; equal names are shared between rows.
pub(super) struct MeasureReader {
    sweeps: Shared<SweepId>,
    endpoints: Shared<EndpointId>,
    suites: Shared<SuiteName>,
    cases: Shared<CaseId>,
}

impl MeasureReader {
    pub fn new() -> Self {
        MeasureReader { sweeps: Shared::new(), endpoints: Shared::new(), suites: Shared::new(), cases: Shared::new() }
    }

    pub fn read(&mut self, row: &Row) -> Result<MeasuredRow> {
        let (verdict, fault) = verdict(row, 6, 7, 9)?;
        Ok(MeasuredRow {
            id: AttemptId(id(row, 0)?),
            key: AttemptKey {
                sweep: self.sweeps.read(row, 1)?,
                endpoint: self.endpoints.read(row, 2)?,
                suite: self.suites.read(row, 3)?,
                case: self.cases.read(row, 4)?,
                epoch: epoch(row, 5)?,
            },
            verdict,
            score: row.get(8)?,
            fault,
            secondary: faults(row, 10)?,
            first_try_ok: row.get(11)?,
            delivered: row.get(12)?,
            started_at_us: row.get(13)?,
            ttft_us: row.get(14)?,
            total_us: row.get(15)?,
            tokens_in: count_option(row, 16)?,
            tokens_out: count_option(row, 17)?,
            cost_nanousd: row.get(18)?,
            observed: row.get(19)?,
            sampled: row.get::<Option<&str>>(20)?.map(Arc::from),
        })
    }
}

/// Reads the attempt columns; the transcript is left out.
pub(super) fn stored_attempt(row: &Row) -> Result<StoredAttempt> {
    let (verdict, fault) = verdict(row, 7, 8, 10)?;
    let text = |column| row.get::<Option<String>>(column);
    let attempt = Attempt {
        id: AttemptId(id(row, 0)?),
        key: AttemptKey {
            sweep: parsed(row, 1)?,
            endpoint: parsed(row, 2)?,
            suite: parsed(row, 3)?,
            case: parsed(row, 4)?,
            epoch: epoch(row, 5)?,
        },
        judgement: Judgement {
            verdict,
            score: row.get(9)?,
            fault,
            secondary: faults(row, 11)?,
            error_type: text(12)?,
            explanation: row.get(13)?,
            scorers: row.get::<Option<&str>>(28)?.map(rows::json).transpose()?.unwrap_or_default(),
        },
        tries: json(row.get(14)?)?,
        started_at_us: row.get(17)?,
        ttft_us: row.get(18)?,
        total_us: row.get(19)?,
        usage: Usage {
            tokens_in: count_option(row, 20)?,
            tokens_out: count_option(row, 21)?,
            tokens_reasoning: count_option(row, 22)?,
        },
        cost_nanousd: row.get(23)?,
        finish_reason: text(24)?,
        draw: row.get::<Option<&str>>(25)?.map(rows::json).transpose()?,
        observed: row.get(26)?,
        sampled: text(27)?,
        transcript: None,
    };
    Ok(StoredAttempt { model: parsed(row, 6)?, delivered: row.get(16)?, attempt })
}

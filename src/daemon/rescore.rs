//! Judges stored answers by a suite as it is now. What was decided rests on the first verdicts and stays.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::domain::{
    AttemptId, EndpointId, Exchange, FaultClass, Judgement, Micros, ModelId, Suite, SuiteDigest, SuiteName, SweepId,
    Took, UnscoredWhy, Verdict,
};
use crate::runner::{Known, Offline, OfflineError, Programs};
use crate::store::{AttemptColumns, Rescored, Store, StoreError, StoredAttempt};
use crate::suites::DrawError;

/// Changed verdicts that a report lists at most; all are counted and stored.
pub const CHANGED_LISTED_MAX: usize = 100;
/// Verdicts written in one transaction.
const BATCH_ROWS: usize = 500;

/// Why answers could not be judged again.
#[derive(Debug, thiserror::Error)]
pub enum RescoreError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The suite does not compile.
    #[error(transparent)]
    Suite(#[from] DrawError),
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct RescoreReport {
    /// The model.
    pub model: ModelId,
    /// The suite.
    pub suite: SuiteName,
    /// Its digest now.
    pub digest: SuiteDigest,
    /// Its label now.
    pub revision: String,
    /// Attempts of the window that asked the suite.
    pub attempts: u64,
    /// Answers that were judged again.
    pub rescored: u64,
    /// Of these, verdicts that were not stored already.
    pub new: u64,
    /// Of these, verdicts (with their Fault) that are others now.
    pub changed: u64,
    /// The others, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Counts per endpoint.
    pub endpoints: BTreeMap<EndpointId, Overlap>,
    /// The first [`CHANGED_LISTED_MAX`] changed verdicts.
    pub examples: Vec<Changed>,
}

/// The same answers under both verdicts.
#[derive(Debug, Default, Serialize)]
pub struct Overlap {
    /// Answers judged twice.
    pub answers: u64,
    /// Of these, with a score at first: an Unscored one neither passed nor failed.
    pub scored_before: u64,
    /// Passed at first.
    pub passed_before: u64,
    /// With a score now.
    pub scored_now: u64,
    /// Pass now.
    pub passes_now: u64,
}

/// An answer whose verdict is another now.
#[derive(Debug, Serialize)]
pub struct Changed {
    /// The attempt: `exactod attempt ID` shows the answer.
    pub attempt: AttemptId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Its case.
    pub case: String,
    /// The first verdict.
    pub before: String,
    /// The verdict now.
    pub now: String,
    /// Why.
    pub explanation: String,
}

/// Judges the stored answers of a model to a suite again, and stores the verdicts beside the first ones.
///
/// # Errors
/// [`RescoreError`]; what was stored before it stays, and a further run goes on from there.
pub async fn rescore(
    store: &Store,
    model: &ModelId,
    suite: &Arc<Suite>,
    programs: &Programs,
    (from_us, to_us): (Micros, Micros),
    now_us: Micros,
) -> Result<RescoreReport, RescoreError> {
    let mut work = Rescoring {
        offline: Offline::new(Arc::clone(suite))?,
        digests: HashMap::new(),
        pending: Vec::new(),
        report: RescoreReport {
            model: model.clone(),
            suite: suite.name.clone(),
            digest: suite.digest.clone(),
            revision: suite.revision.clone(),
            attempts: 0,
            rescored: 0,
            new: 0,
            changed: 0,
            skipped: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            examples: Vec::new(),
        },
    };
    let mut window = store.window(model, from_us, to_us);
    while let Some(page) = window.next().await? {
        work.page(store, &page, programs, now_us).await?;
    }
    work.write(store, now_us).await?;
    Ok(work.report)
}

struct Rescoring {
    offline: Offline,
    /// The digest by which a sweep judged the suite; `None`: its plan is not kept any more.
    digests: HashMap<SweepId, Option<SuiteDigest>>,
    pending: Vec<Rescored>,
    report: RescoreReport,
}

impl Rescoring {
    async fn page(
        &mut self,
        store: &Store,
        page: &AttemptColumns,
        programs: &Programs,
        now_us: Micros,
    ) -> Result<(), RescoreError> {
        let name = self.offline.suite().name.clone();
        for i in (0..page.len()).filter(|i| page.suite[*i] == name) {
            self.report.attempts += 1;
            let delivered = page.fault[i].is_none_or(|fault| fault.class() == FaultClass::Quality);
            let skipped = if !delivered {
                Some("no answer was delivered")
            } else if page.verdict[i] == Verdict::Unscored(UnscoredWhy::Provenance) {
                Some(NOT_ITS_OWN)
            } else if self.is_judged_already(store, page.sweep[i]).await? {
                Some("judged by this digest in its sweep")
            } else {
                match store.attempt(page.id[i]).await? {
                    Some(stored) => {
                        let votes = match self.offline.has_judges() {
                            true => store.votes(&stored.attempt.key).await?,
                            false => Vec::new(),
                        };
                        self.again(&stored, &votes, programs).await.err()
                    }
                    // Pruned meanwhile.
                    None => Some(NO_TRANSCRIPT),
                }
            };
            if let Some(why) = skipped {
                *self.report.skipped.entry(why).or_default() += 1;
            }
            if self.pending.len() >= BATCH_ROWS {
                self.write(store, now_us).await?;
            }
        }
        Ok(())
    }

    async fn is_judged_already(&mut self, store: &Store, sweep: SweepId) -> Result<bool, StoreError> {
        let name = &self.offline.suite().name;
        let digest = match self.digests.get(&sweep) {
            Some(digest) => digest.clone(),
            None => {
                let plan = store.sweep(sweep).await?.and_then(|stored| stored.plan);
                let part =
                    plan.and_then(|plan| plan.suites.into_iter().chain(plan.aside).find(|part| part.suite == *name));
                let digest = part.map(|part| part.digest);
                self.digests.insert(sweep, digest.clone());
                digest
            }
        };
        Ok(digest.as_ref() == Some(&self.offline.suite().digest))
    }

    async fn again(
        &mut self,
        stored: &StoredAttempt,
        votes: &[Exchange],
        programs: &Programs,
    ) -> Result<(), &'static str> {
        let attempt = &stored.attempt;
        let Some(transcript) = &attempt.transcript else {
            return Err(if attempt.was_asked() { NO_TRANSCRIPT } else { NOT_ASKED });
        };
        let draw = attempt.draw.as_ref().and_then(Value::as_object);
        let case = self.offline.case(&attempt.key.case, draw).map_err(|error| why_not(&error))?;
        if !case.asks_the_same(&transcript.request) {
            return Err("the case asks something else now");
        }
        let outputs = programs.outputs(&case.runs(&transcript.response)).await;
        let no_output = outputs.values().any(Result::is_err);
        let now = case.judge(&transcript.response, &Known { votes, outputs, took: took(stored, votes) });
        if no_output {
            return Err(NO_OUTPUT);
        }
        if case.has_judges() && now.verdict == Verdict::Unscored(UnscoredWhy::Ours) {
            return Err(NO_VOTES);
        }
        self.note(stored, now);
        Ok(())
    }

    fn note(&mut self, stored: &StoredAttempt, now: Judgement) {
        let attempt = &stored.attempt;
        let before = attempt.judgement.verdict;
        self.report.rescored += 1;
        let overlap = self.report.endpoints.entry(attempt.key.endpoint.clone()).or_default();
        overlap.answers += 1;
        overlap.scored_before += u64::from(before.is_scored());
        overlap.passed_before += u64::from(before == Verdict::Pass);
        overlap.scored_now += u64::from(now.verdict.is_scored());
        overlap.passes_now += u64::from(now.verdict == Verdict::Pass);
        if before != now.verdict {
            self.report.changed += 1;
            if self.report.examples.len() < CHANGED_LISTED_MAX {
                self.report.examples.push(Changed {
                    attempt: attempt.id,
                    endpoint: attempt.key.endpoint.clone(),
                    case: attempt.key.case.to_string(),
                    before: before.to_string(),
                    now: now.verdict.to_string(),
                    explanation: now.explanation.clone(),
                });
            }
        }
        let digest = self.offline.suite().digest.clone();
        self.pending.push(Rescored { attempt: attempt.id, digest, judgement: now });
    }

    async fn write(&mut self, store: &Store, now_us: Micros) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.pending);
        self.report.new += store.add_rescored(&rows, now_us).await?;
        Ok(())
    }
}

/// What it took to get a stored answer. What it cost is not known where it cost nothing: then there may be no price.
fn took(stored: &StoredAttempt, votes: &[Exchange]) -> Took {
    let attempt = &stored.attempt;
    let cost = attempt.cost_nanousd.saturating_sub(votes.iter().map(|vote| vote.cost_nanousd).sum());
    let cost_nanousd = Some(cost).filter(|cost| *cost > 0);
    Took { total_us: Some(attempt.total_us), ttft_us: attempt.ttft_us, cost_nanousd }
}

/// The config does not allow it, or it failed.
const NO_OUTPUT: &str = "a program that judges it gave no verdict";
/// Nobody is asked again.
const NO_VOTES: &str = "its judges were not asked this question";
/// No suite makes an answer the endpoint's own.
const NOT_ITS_OWN: &str = "the answer cannot be attributed to its endpoint";
const NO_TRANSCRIPT: &str = "the transcript is not kept any more";
/// Our own side failed before: there never was a transcript.
const NOT_ASKED: &str = "nobody was asked";

fn why_not(error: &OfflineError) -> &'static str {
    match error {
        OfflineError::Draw(DrawError::UnknownCase { .. }) => "the suite has no such case any more",
        OfflineError::Draw(_) | OfflineError::NoDraw(_) => "the case draws other values now",
        OfflineError::Scorer(_) | OfflineError::World(_) => "the case is broken",
    }
}

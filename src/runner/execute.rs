//! Executes a planned sweep: asks, judges, stores.
//!
//! Per endpoint a few workers (its concurrency) walk through the plan in order; all endpoints go at once, so that a case
//! reaches all of them within minutes. Nothing is kept in memory but the attempts in flight.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::converse::converse;
use super::ids::Ids;
use super::jury::{self, JudgeLane};
use super::prepared::{Prepared, PreparedCases, Slot};
use super::programs::Programs;
use super::provenance;
use crate::clock::Clock;
use crate::domain::jury::{Ask, JudgeId};
use crate::domain::probes::{is_probe, observe, sample};
use crate::domain::{
    Attempt, AttemptKey, CaseId, Completion, Endpoint, EndpointId, Exchange, Exchanges, Judgement, Part, Price,
    ProgramOutputs, SuiteName, SweepPlan, Testimony, Took, Transcript, UnscoredWhy, Usage, Verdict,
};
use crate::metrics::Metrics;
use crate::progress::SweepProgress;
use crate::provider::{Client, EndpointLimiter, Reply};
use crate::scoring::{Judge, judge_delivery};
use crate::store::{BatchWriter, Store, StoreError, WriterClosed};
use crate::suites::Drawer;

/// Workers over all endpoints of a sweep, at most.
pub const WORKERS_MAX: usize = 1024;
/// Bytes per token, to estimate the cost of an answer that reports no usage.
const BYTES_PER_TOKEN: u64 = 4;
/// Answers up to this size are judged where they arrive; that takes well under a millisecond.
const JUDGED_IN_PLACE_BYTES_MAX: usize = 64 << 10;
/// Longer answers of a sweep judged at once.
const LONG_ANSWERS_MAX: usize = 2;

/// One endpoint and the way to it.
#[derive(Clone)]
pub struct Lane {
    /// What is judged.
    pub endpoint: Endpoint,
    /// The provider's client.
    pub client: Arc<Client>,
    /// Its limits, shared by all sweeps.
    pub limiter: EndpointLimiter,
    /// Requests in flight at once.
    pub concurrency: u32,
}

/// Why a sweep could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store refuses to take outcomes.
    #[error("failed to store outcomes: {0}")]
    Store(#[from] StoreError),
    /// The writer has ended.
    #[error("failed to store outcomes: {0}")]
    Writer(#[from] WriterClosed),
    /// The plan names what the configuration does not have (any more).
    #[error("the plan names {what}, which is not loaded")]
    Gone {
        /// What is missing.
        what: String,
    },
    /// A worker broke.
    #[error("a worker of the sweep failed: {0}")]
    Worker(String),
}

/// What an execution works with.
pub struct Execution {
    /// The plan.
    pub plan: Arc<SweepPlan>,
    /// By endpoint.
    pub lanes: BTreeMap<EndpointId, Lane>,
    /// By suite.
    pub drawers: BTreeMap<SuiteName, Arc<Drawer>>,
    /// Compiles scorers.
    pub judge: Arc<Judge>,
    /// Stored already (a resumed sweep).
    pub done: HashSet<AttemptKey>,
    /// What was paid for of attempts that are not stored (a resumed sweep).
    pub exchanges: Exchanges,
    /// Takes what attempts of several requests are answered as it arrives.
    pub store: Store,
    /// Takes the outcomes.
    pub writer: BatchWriter,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<Ids>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// For onlookers.
    pub progress: Arc<SweepProgress>,
    /// The calls are spread over this much time.
    pub spread: Duration,
    /// Models that judge answers.
    pub judges: Arc<BTreeMap<JudgeId, JudgeLane>>,
    /// Programs that judge answers.
    pub programs: Arc<Programs>,
    /// Raises the first-byte limit, per suite (interfaces 6.6).
    pub first_byte_min: BTreeMap<SuiteName, Duration>,
    /// Cancelled: take no new attempts.
    pub stop: CancellationToken,
    /// Cancelled: give up the attempts in flight (nothing of them is stored).
    pub abort: CancellationToken,
}

impl Execution {
    /// What is kept of an attempt's part.
    pub(super) fn kept(&self, key: &AttemptKey, part: Part) -> Option<&Exchange> {
        self.exchanges.get(key)?.get(&part)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Item {
    slot: Slot,
    pub(super) suite: SuiteName,
    pub(super) case: CaseId,
}

pub(super) struct Shared {
    pub(super) run: Execution,
    prepared: PreparedCases,
    started: Instant,
    positions: u32,
    /// Turns to judge a long answer.
    long_answers: Semaphore,
}

/// Runs what the plan holds and the store does not. Returns true when the sweep is complete and stored, false when it was
/// stopped.
///
/// # Errors
/// [`RunError`]: the store takes nothing any more, or the plan names what is not loaded.
pub async fn execute(run: Execution) -> Result<bool, RunError> {
    let lists = work_lists(&run)?;
    let mut uses: HashMap<Slot, u32> = HashMap::new();
    for items in lists.values() {
        for item in items {
            *uses.entry(item.slot).or_default() += 1;
        }
    }
    let positions = lists.values().flatten().map(|i| i.slot.1 + 1).max().unwrap_or(0);
    let prepared = PreparedCases::new(Arc::clone(&run.judge), run.plan.seed.clone(), uses);
    let writer = run.writer.clone();
    let shared = Arc::new(Shared {
        run,
        prepared,
        started: Instant::now(),
        positions,
        long_answers: Semaphore::new(LONG_ANSWERS_MAX),
    });
    let finished = run_workers(&shared, lists).await;
    // Also when a worker failed: what was paid for is stored. Where it cannot be, the writer goes on trying; whoever gives
    // up does not wait for it.
    tokio::select! {
        flushed = writer.flush() => flushed?,
        () = shared.run.abort.cancelled() => return Ok(false),
    }
    finished?;
    Ok(!shared.run.stop.is_cancelled() && !shared.run.abort.is_cancelled())
}

async fn run_workers(shared: &Arc<Shared>, lists: BTreeMap<EndpointId, Vec<Item>>) -> Result<(), RunError> {
    let per_lane_max = (WORKERS_MAX / lists.len().max(1)).max(1);
    let mut workers = JoinSet::new();
    for (id, items) in lists {
        let Some(lane) = shared.run.lanes.get(&id) else { continue };
        let lane = Arc::new(lane.clone());
        let items = Arc::new(items);
        let next = Arc::new(AtomicUsize::new(0));
        let count = (lane.concurrency as usize).clamp(1, per_lane_max).min(items.len());
        for _ in 0..count {
            workers.spawn(worker(Arc::clone(shared), Arc::clone(&lane), Arc::clone(&items), Arc::clone(&next)));
        }
    }
    let mut first_error = None;
    while let Some(joined) = workers.join_next().await {
        let result = joined.unwrap_or_else(|e| Err(RunError::Worker(e.to_string())));
        if let Err(error) = result {
            // No further paid requests once outcomes cannot be stored.
            shared.run.stop.cancel();
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// The attempts of each endpoint in plan order: place by place, over all suites, so that the suites advance together.
fn work_lists(run: &Execution) -> Result<BTreeMap<EndpointId, Vec<Item>>, RunError> {
    let mut lists: BTreeMap<EndpointId, Vec<Item>> = BTreeMap::new();
    for (index, part) in run.plan.parts().enumerate() {
        if !run.drawers.contains_key(&part.suite) {
            return Err(RunError::Gone { what: format!("suite {}", part.suite) });
        }
        for endpoint in &part.endpoints {
            if !run.lanes.contains_key(&endpoint.id) {
                return Err(RunError::Gone { what: format!("endpoint {}", endpoint.id) });
            }
            let list = lists.entry(endpoint.id.clone()).or_default();
            let first = run.plan.first_epoch(&part.suite);
            for epoch in first..first.saturating_add(part.epochs) {
                for (place, case) in part.cases.iter().take(endpoint.cases as usize).enumerate() {
                    let key = AttemptKey {
                        sweep: run.plan.id,
                        endpoint: endpoint.id.clone(),
                        suite: part.suite.clone(),
                        case: case.clone(),
                        epoch,
                    };
                    if !run.done.contains(&key) {
                        let slot = (index as u32, place as u32, epoch);
                        list.push(Item { slot, suite: part.suite.clone(), case: case.clone() });
                    }
                }
            }
        }
    }
    for list in lists.values_mut() {
        list.sort_by_key(|i| (i.slot.2, i.slot.1, i.slot.0));
    }
    lists.retain(|_, list| !list.is_empty());
    Ok(lists)
}

async fn worker(
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    items: Arc<Vec<Item>>,
    next: Arc<AtomicUsize>,
) -> Result<(), RunError> {
    let run = &shared.run;
    loop {
        let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
        if !wait_for_turn(&shared, item).await {
            return Ok(());
        }
        let Some(attempt) = attempt(&shared, &lane, item).await? else { return Ok(()) };
        run.metrics.attempt_ended(&run.plan.model, &attempt);
        run.progress.ended(&attempt.key.endpoint, attempt.judgement.verdict);
        tokio::select! {
            biased;
            queued = run.writer.append(attempt) => queued?,
            // The queue is full because nothing can be written: this answer will be asked for again.
            () = run.abort.cancelled() => return Ok(()),
        }
    }
}

/// Waits until the item's place in the spread-out sweep; false when the sweep stops first.
async fn wait_for_turn(shared: &Shared, item: &Item) -> bool {
    let run = &shared.run;
    // While outcomes cannot be stored nothing more is asked for.
    let healthy = tokio::select! {
        healthy = run.writer.healthy() => healthy.is_ok(),
        () = run.stop.cancelled() => false,
    };
    if !healthy || run.stop.is_cancelled() {
        return false;
    }
    if run.spread.is_zero() || shared.positions == 0 {
        return true;
    }
    let due = shared.started + run.spread.mul_f64(f64::from(item.slot.1) / f64::from(shared.positions));
    tokio::select! {
        () = tokio::time::sleep_until(due) => true,
        () = run.stop.cancelled() => false,
    }
}

/// Asks and judges; `None` when the attempt was given up in flight.
async fn attempt(shared: &Shared, lane: &Lane, item: &Item) -> Result<Option<Attempt>, RunError> {
    let run = &shared.run;
    let Some(drawer) = run.drawers.get(&item.suite) else { return Ok(None) };
    let prepared = match shared.prepared.get(item.slot, drawer, &item.case) {
        Ok(prepared) => prepared,
        Err(reason) => return Ok(Some(broken_case(run, lane, item, reason))),
    };
    if let Some(world) = &prepared.world {
        return Ok(converse(shared, lane, item, &prepared, world).await);
    }
    if !prepared.judges.is_empty() {
        return examined(shared, lane, item, &prepared).await;
    }
    let reply = ask(run, lane, item, &prepared).await;
    if reply.cancelled {
        return Ok(None);
    }
    if is_doubted(lane, &reply) {
        return Ok(Some(judged(shared, lane, item, &prepared, reply, Default::default()).await));
    }
    let Some(outputs) = outputs(shared, &prepared, &reply).await else { return Ok(None) };
    let testimony = Testimony { outputs, ..Testimony::default() };
    Ok(Some(judged(shared, lane, item, &prepared, reply, (testimony, 0)).await))
}

/// Whether an answer is not the endpoint's own: then no judge and no program is asked about it.
fn is_doubted(lane: &Lane, reply: &Reply) -> bool {
    provenance::doubt(&lane.endpoint, &reply.outcome, &reply.transcript.headers).is_some()
}

async fn ask(run: &Execution, lane: &Lane, item: &Item, prepared: &Prepared) -> Reply {
    let first_byte_min = run.first_byte_min.get(&item.suite).copied();
    let upstream_model = &lane.endpoint.upstream_model;
    let asked = lane.client.attempt(upstream_model, &prepared.instance, &lane.limiter, first_byte_min, &run.abort);
    with_took(asked.await, lane)
}

/// A reply whose Completion knows what it took to get it.
fn with_took(mut reply: Reply, lane: &Lane) -> Reply {
    if let Ok(completion) = &mut reply.outcome {
        let price = lane.endpoint.price;
        completion.took = Took {
            total_us: Some(reply.total_us),
            ttft_us: reply.ttft_us,
            cost_nanousd: price.map(|_| cost_by(price, &completion.usage, &reply.transcript, true)),
        };
    }
    reply
}

/// What programs say of an answer; `None`: given up in flight.
async fn outputs(shared: &Shared, prepared: &Arc<Prepared>, reply: &Reply) -> Option<ProgramOutputs> {
    let Ok(completion) = &reply.outcome else { return Some(ProgramOutputs::new()) };
    if !prepared.has_programs {
        return Some(ProgramOutputs::new());
    }
    let (judging, completion) = (Arc::clone(prepared), completion.clone());
    let runs = look(shared, reply.transcript.response.len(), move || judging.judge.runs(&completion)).await;
    // Whoever judges the answer next meets the same panic, and tells it.
    let runs = runs.unwrap_or_default();
    tokio::select! {
        outputs = shared.run.programs.outputs(&runs) => Some(outputs),
        () = shared.run.abort.cancelled() => None,
    }
}

/// Asks the endpoint, then the judges of its answer. Each answer is kept as soon as it is there: a run that is killed in
/// between asks for nothing twice. Without judges nobody is asked at all.
async fn examined(
    shared: &Shared,
    lane: &Lane,
    item: &Item,
    prepared: &Arc<Prepared>,
) -> Result<Option<Attempt>, RunError> {
    let run = &shared.run;
    if let Some(why) = jury::why_not(run, &prepared.judges, lane) {
        return Ok(Some(broken_case(run, lane, item, why)));
    }
    let key = key_of(run, lane, item);
    let reply = match run.kept(&key, Part::Answer) {
        Some(kept) => with_took(jury::reply_of(kept, &prepared.instance), lane),
        None => {
            let reply = ask(run, lane, item, prepared).await;
            if reply.cancelled {
                return Ok(None);
            }
            let cost = cost_of_reply(lane, &reply);
            if let Err(error) = run.store.add_exchange(&jury::exchange(&key, Part::Answer, &reply, cost)).await {
                // The attempt is stored by the writer, which goes on trying.
                warn!(endpoint = %key.endpoint, case = %key.case, %error, "failed to store an answer before it is judged");
            }
            reply
        }
    };
    if is_doubted(lane, &reply) {
        return Ok(Some(judged(shared, lane, item, prepared, reply, Default::default()).await));
    }
    let Some(outputs) = outputs(shared, prepared, &reply).await else { return Ok(None) };
    let asks = asks(shared, prepared, &reply).await;
    let Some((votes, cost)) = jury::ask(run, &key, &asks).await else { return Ok(None) };
    Ok(Some(judged(shared, lane, item, prepared, reply, (Testimony { votes, outputs }, cost)).await))
}

pub(super) fn key_of(run: &Execution, lane: &Lane, item: &Item) -> AttemptKey {
    AttemptKey {
        sweep: run.plan.id,
        endpoint: lane.endpoint.id.clone(),
        suite: item.suite.clone(),
        case: item.case.clone(),
        epoch: item.slot.2,
    }
}

/// Looks at an answer: at a long one away from the threads that carry the requests of all endpoints. An error is a panic.
async fn look<T: Send + 'static>(
    shared: &Shared,
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    if bytes <= JUDGED_IN_PLACE_BYTES_MAX {
        return Ok(work());
    }
    let _turn = shared.long_answers.acquire().await;
    tokio::task::spawn_blocking(work).await
}

/// What judges are to be asked about an answer, and nothing where it fails without them.
async fn asks(shared: &Shared, prepared: &Arc<Prepared>, reply: &Reply) -> Vec<Ask> {
    let Ok(completion) = &reply.outcome else { return Vec::new() };
    let (prepared, completion) = (Arc::clone(prepared), completion.clone());
    let asks = look(shared, reply.transcript.response.len(), move || prepared.judge.asks(&completion)).await;
    // Whoever judges the answer next meets the same panic, and tells it.
    asks.unwrap_or_default()
}

/// Judges an answer.
async fn judgement(
    shared: &Shared,
    prepared: &Arc<Prepared>,
    completion: Completion,
    bytes: usize,
    testimony: Testimony,
) -> Judgement {
    let prepared = Arc::clone(prepared);
    let judged = look(shared, bytes, move || prepared.judge.judge_with(&completion, &testimony)).await;
    judged.unwrap_or_else(|e| Judgement::unscored(UnscoredWhy::Ours, format!("the scorer failed: {e}")))
}

async fn judged(
    shared: &Shared,
    lane: &Lane,
    item: &Item,
    prepared: &Arc<Prepared>,
    reply: Reply,
    (testimony, judges_nanousd): (Testimony, i64),
) -> Attempt {
    let run = &shared.run;
    let Reply { outcome, tries, transcript, started_at_us, ttft_us, total_us, cancelled: _ } = reply;
    let (mut observed, mut sampled) = (None, None);
    let doubt = provenance::doubt(&lane.endpoint, &outcome, &transcript.headers);
    let (judgement, usage, finish_reason) = match (doubt, outcome) {
        (Some(doubt), outcome) => {
            let Completion { usage, finish_reason, .. } = outcome.unwrap_or_default();
            (doubt, usage, finish_reason)
        }
        (None, Ok(completion)) if is_probe(&item.suite) => {
            (observed, sampled) = (observe(&item.suite, &completion), sample(&item.suite, &completion));
            (noticed(observed.is_some() || sampled.is_some()), completion.usage, completion.finish_reason)
        }
        (None, Ok(completion)) => {
            let (usage, finish_reason) = (completion.usage, completion.finish_reason.clone());
            let bytes = transcript.response.len();
            (judgement(shared, prepared, completion, bytes, testimony).await, usage, finish_reason)
        }
        (None, Err(delivery)) => (judge_delivery(delivery.fault, &delivery.detail), Usage::default(), None),
    };
    Attempt {
        id: run.ids.attempt(started_at_us),
        key: key_of(run, lane, item),
        cost_nanousd: cost_of(lane, &usage, &transcript, &judgement).saturating_add(judges_nanousd),
        judgement,
        tries,
        started_at_us,
        ttft_us,
        total_us,
        usage,
        finish_reason,
        draw: prepared.instance.draw.clone(),
        observed,
        sampled,
        transcript: Some(transcript),
    }
}

/// An answer to a prompt for fingerprints is neither right nor wrong.
fn noticed(shown: bool) -> Judgement {
    match shown {
        true => Judgement::pass(1.0),
        false => Judgement::unscored(UnscoredWhy::Ours, "the answer does not show what is looked for"),
    }
}

/// Cost by reported usage; by bytes where an answer reports none, so that no paid answer counts as free.
pub(super) fn cost_of(lane: &Lane, usage: &Usage, transcript: &Transcript, judgement: &Judgement) -> i64 {
    // An answer that judges were asked about came, whatever they said; so did one that somebody else gave.
    let came = judgement.verdict != Verdict::Unscored(UnscoredWhy::Provider);
    cost_by(lane.endpoint.price, usage, transcript, came)
}

/// As [`cost_of`], of an answer that is not judged yet.
fn cost_of_reply(lane: &Lane, reply: &Reply) -> i64 {
    match &reply.outcome {
        Ok(completion) => cost_by(lane.endpoint.price, &completion.usage, &reply.transcript, true),
        Err(delivery) => {
            let judgement = judge_delivery(delivery.fault, &delivery.detail);
            cost_of(lane, &Usage::default(), &reply.transcript, &judgement)
        }
    }
}

/// As [`cost_of`], of anything that was asked for; `came`: there was an answer.
pub(super) fn cost_by(price: Option<Price>, usage: &Usage, transcript: &Transcript, came: bool) -> i64 {
    let Some(price) = price else { return 0 };
    if !came && usage.tokens_in.is_none() {
        return 0;
    }
    let tokens_in = usage.tokens_in.unwrap_or(transcript.request.len() as u64 / BYTES_PER_TOKEN);
    let tokens_out = usage.tokens_out.unwrap_or(transcript.response.len() as u64 / BYTES_PER_TOKEN);
    price.cost_nanousd(tokens_in, tokens_out)
}

fn broken_case(run: &Execution, lane: &Lane, item: &Item, reason: String) -> Attempt {
    let now_us = run.clock.now_us();
    Attempt {
        id: run.ids.attempt(now_us),
        key: key_of(run, lane, item),
        judgement: Judgement::unscored(UnscoredWhy::Ours, reason),
        tries: Vec::new(),
        started_at_us: now_us,
        ttft_us: None,
        total_us: 0,
        usage: Usage::default(),
        cost_nanousd: 0,
        finish_reason: None,
        draw: None,
        observed: None,
        sampled: None,
        transcript: None,
    }
}

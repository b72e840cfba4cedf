//! One sweep from plan to published list. Idempotent: whatever was interrupted is finished by the next call.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::budget::Fitted;
use super::runtime::{ModelRuntime, Runtime};
use super::{budget, conclude, fingerprints, onboarding, owner, taking_part, ticks_ahead};
use crate::clock::Clock;
use crate::curation;
use crate::domain::{
    BudgetedEndpoint, CaseId, EndpointId, GoesOn, ModelId, Suite, SuiteName, SuitePlan, SweepId, SweepKind, SweepPlan,
    SweepState, Upstream,
};
use crate::metrics::{Metrics, ModelWordLabels};
use crate::progress::{EndpointProgress, Progress, SweepProgress};
use crate::publish::Board;
use crate::runner::{Execution, Ids, PlanInput, RunError, SuiteBudget, WorstCase, build_plan, execute, sample};
use crate::scoring::Judge;
use crate::store::{BatchWriter, Created, Fire, Store, StoreError, StoredSweep, SweepRecord};

/// How long a claim on a sweep holds without renewal, in seconds of the machine.
pub const LEASE_SECONDS: f64 = 60.0;
/// How often a claim is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(20);
/// Plans that lose the race for their ordinal are made anew this often at most.
const PLAN_TRIES_MAX: u32 = 5;

/// What everything that sweeps works with.
pub struct Sweeper {
    /// The store.
    pub store: Store,
    /// Its batching writer.
    pub writer: BatchWriter,
    /// Current allowlists.
    pub board: Arc<Board>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids and seeds.
    pub ids: Arc<Ids>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Sweeps in flight.
    pub progress: Arc<Progress>,
    /// Live traffic that was counted and is not stored yet.
    pub intake: Arc<crate::live::Intake>,
    /// Compiles scorers.
    pub judge: Arc<Judge>,
    /// The configuration in force: a sweep that began under another ends under this one.
    pub current: Arc<ArcSwap<Runtime>>,
    /// How fast endpoints were lately.
    pub speeds: super::speed::SpeedCache,
    /// This process, in leases.
    pub owner: String,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct SweepRequest {
    /// Scheduled, onboarding, by hand or full.
    pub kind: SweepKind,
    /// Only these suites; `None`: all that judge the model.
    pub suites: Option<Vec<SuiteName>>,
    /// Only these endpoints; empty: all.
    pub endpoints: Vec<EndpointId>,
    /// At most this many cases per suite.
    pub limit: Option<u32>,
    /// Repeats (full sweeps); `None`: as the suites say.
    pub epochs: Option<u32>,
    /// Go on with this finished sweep: ask its cases until each has been asked `epochs` times.
    pub goes_on: Option<SweepId>,
    /// Cases that their suites exclude as broken are asked as well (full sweeps).
    pub include_broken: bool,
    /// Sweeps follow one another: Excluded endpoints take part in each.
    pub back_to_back: bool,
    /// The tick that asks.
    pub fire: Option<Fire>,
    /// The calls are spread over this much time.
    pub spread: Duration,
    /// An interrupted sweep older than this is closed as it is.
    pub deadline: Duration,
    /// Only finish what was interrupted; begin nothing new.
    pub resume_only: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepOutcome {
    /// Stored, folded, published; or closed without evidence, as the configuration has changed meanwhile so that it could
    /// not have been resumed.
    Done {
        /// The sweep.
        sweep: SweepId,
        /// It was begun by an earlier run.
        resumed: bool,
    },
    /// Stopped in flight; the next start finishes it.
    Parked {
        /// The sweep.
        sweep: SweepId,
    },
    /// Nothing was begun, and why.
    NotStarted {
        /// In words.
        why: String,
    },
}

/// Why a sweep failed. It stays running in the store and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The execution.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The stored state of the model cannot be read.
    #[error("failed to read the state of {model}: {reason}; restore a backup, or start anew with another store")]
    State {
        /// The model.
        model: ModelId,
        /// Why.
        reason: String,
    },
    /// Another process works on this model's sweep.
    #[error("another process is sweeping {model} (lease held by {owner})")]
    Busy {
        /// The model.
        model: ModelId,
        /// Who.
        owner: String,
    },
    /// Another process claimed the sweep while this one worked on it, and finishes it.
    #[error(
        "another process{} has taken over sweep {sweep} of {model}: this one had not renewed its lease for \
         {LEASE_SECONDS} s (suspended, starved, or cut off from the store). What it stored is kept, and the other process \
         finishes the sweep; `exactod sweep` waits for it, or goes on where it ends",
        by(owner)
    )]
    TakenOver {
        /// The model.
        model: ModelId,
        /// The sweep.
        sweep: SweepId,
        /// Who holds it now; empty when it is done already.
        owner: String,
        /// It had been begun before, by whomever.
        resumed: bool,
    },
}

fn by(owner: &str) -> String {
    if owner.is_empty() { String::new() } else { format!(" ({owner})") }
}

/// The two ways to end a sweep early.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Take no new attempts.
    pub stop: CancellationToken,
    /// Give up those in flight.
    pub abort: CancellationToken,
}

impl Sweeper {
    /// Finishes the model's interrupted sweep if there is one; otherwise plans and runs a new one.
    ///
    /// # Errors
    /// [`SweepError`].
    pub async fn run(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        request: &SweepRequest,
        signals: &Signals,
    ) -> Result<SweepOutcome, SweepError> {
        if let Some(outcome) = self.finish_interrupted(runtime, model, request, signals).await? {
            return Ok(outcome);
        }
        if request.resume_only {
            return Ok(SweepOutcome::NotStarted { why: "nothing was interrupted".to_owned() });
        }
        match self.plan(runtime, model, request).await? {
            Err(why) => Ok(SweepOutcome::NotStarted { why }),
            Ok(plan) => self.carry_out(runtime, model, request, Arc::new(plan), false, signals).await,
        }
    }

    /// Finishes what an earlier run left; `None` when there is nothing.
    ///
    /// # Errors
    /// [`SweepError`].
    pub async fn finish_interrupted(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        request: &SweepRequest,
        signals: &Signals,
    ) -> Result<Option<SweepOutcome>, SweepError> {
        for stored in self.store.running_sweeps(Some(&model.config.id)).await? {
            let StoredSweep { record, plan } = stored;
            let age_us = self.clock.now_us() - record.planned_at_us;
            let too_old = age_us as f64 > request.deadline.as_secs_f64() * 1e6;
            let why_not = plan.as_ref().and_then(|p| why_not_resumed(runtime, model, p));
            match (plan, too_old, why_not) {
                (Some(plan), false, None) => {
                    info!(model = %model.config.id, sweep = %record.id, "finishing an interrupted sweep");
                    let plan = Arc::new(plan);
                    return self.carry_out(runtime, model, request, plan, true, signals).await.map(Some);
                }
                (plan, too_old, why_not) => {
                    let why = if too_old { "older than its deadline".to_owned() } else { why_not.unwrap_or_default() };
                    let closing =
                        conclude::Closing { sweep: record.id, ordinal: record.ordinal, plan: plan.as_ref(), why: &why };
                    self.close_as_it_is(runtime, model, &closing).await?;
                }
            }
        }
        Ok(None)
    }

    async fn close_as_it_is(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        closing: &conclude::Closing<'_>,
    ) -> Result<(), SweepError> {
        let (sweep, why) = (closing.sweep, closing.why);
        let Some(fence) = self.claim(sweep).await? else {
            // Held by a living process, it is not interrupted at all: no second one is planned beside it.
            return match self.store.sweep(sweep).await?.map(|stored| stored.record) {
                Some(SweepRecord { state: SweepState::Running, lease_owner: Some(owner), .. }) => {
                    Err(SweepError::Busy { model: model.config.id.clone(), owner })
                }
                _ => Ok(()),
            };
        };
        warn!(model = %model.config.id, %sweep, why, "closing an interrupted sweep as it is: it gives no evidence");
        conclude::close(self, runtime, model, closing, fence).await
    }

    /// Claims a sweep, also from an owner that has ended without giving it back.
    async fn claim(&self, sweep: SweepId) -> Result<Option<i64>, StoreError> {
        let now_us = self.clock.now_us();
        let claim = || self.store.claim_sweep(sweep, &self.owner, now_us + self.lease_us(), now_us);
        if let Some(fence) = claim().await? {
            return Ok(Some(fence));
        }
        let holder = self.store.sweep(sweep).await?.and_then(|s| s.record.lease_owner);
        match holder {
            Some(holder) if owner::has_ended(&holder) => {
                info!(%sweep, "its owner was killed: taking the sweep over");
                // In the dead owner's name the lease is cut short; of several heirs one gets it.
                self.store.claim_sweep(sweep, &holder, now_us, now_us).await?;
                claim().await
            }
            _ => Ok(None),
        }
    }

    fn lease_us(&self) -> i64 {
        (LEASE_SECONDS * self.clock.rate()) as i64
    }

    /// Fixes everything before the first call and reserves the money; `Err(why)` when nothing is begun.
    async fn plan(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        request: &SweepRequest,
    ) -> Result<Result<SweepPlan, String>, SweepError> {
        for _ in 0..PLAN_TRIES_MAX {
            let now_us = self.clock.now_us();
            if onboarding::is_overtaken(&self.store, &model.config.id, request, now_us).await? {
                return Ok(Err("another sweep has ended since this one was due: the pause begins anew".to_owned()));
            }
            let day_cap = budget::day_budget(&runtime.config.budget, now_us);
            let day_left = match &day_cap {
                None => None,
                Some(cap) => {
                    let spend = self.store.spend_since(cap.since_us).await?;
                    Some(cap.cap_nanousd - spend.spent_nanousd - spend.reserved_nanousd)
                }
            };
            let plan = match request.goes_on {
                None => self.draft(runtime, model, request, now_us).await?,
                Some(sweep) => match self.continued(runtime, model, (sweep, request), now_us).await? {
                    Ok(plan) => plan,
                    Err(why) => return Ok(Err(why)),
                },
            };
            if plan.attempts() == 0 {
                return Ok(Err("no endpoint takes part".to_owned()));
            }
            let is_onboarding = request.kind == SweepKind::Onboarding;
            let day_left = match day_left {
                Some(left) if is_onboarding => Some(left - ticks_ahead::held_back(&self.store, runtime, now_us).await?),
                left => left,
            };
            let allowance = budget::allowance(&runtime.config.budget, day_left);
            let worth_it = |f: &Fitted| !is_onboarding || budget::is_worth_it(f, &runtime.config.budget, day_left);
            let Some(fitted) = self.fitted(runtime, model, plan, allowance).await?.filter(worth_it) else {
                return Ok(Err(self.no_money(&model.config.id, request).await?));
            };
            let (shrunk, mut plan) = (fitted.note(), fitted.plan);
            let size = |suite: &SuiteName| runtime.drawers.get(suite).map_or(0, |d| d.suite().cases.len());
            let repeats = budget::without_repeats_of_a_part(&mut plan, size);
            let notes: Vec<&str> = [shrunk.as_str(), repeats].into_iter().filter(|note| !note.is_empty()).collect();
            let note = notes.join("; ");
            match self.store.create_noted_sweep(&plan, &note, request.fire.as_ref(), day_cap.as_ref()).await? {
                Created::Created => {
                    if !note.is_empty() {
                        warn!(model = %model.config.id, sweep = %plan.id, "{note}");
                    }
                    conclude::clear(self, &model.config.id, "budget").await?;
                    let labels = ModelWordLabels { model: plan.model.to_string(), kind: plan.kind.name().to_owned() };
                    self.metrics.sweeps_begun.get_or_create(&labels).inc();
                    info!(model = %plan.model, sweep = %plan.id, kind = plan.kind.name(), attempts = plan.attempts(), "sweep begins");
                    return Ok(Ok(plan));
                }
                Created::AlreadyFired => return Ok(Err("this tick was taken by another process".to_owned())),
                // Another process was faster: look again at what is left and plan anew.
                Created::OrdinalTaken | Created::OverBudget { .. } => {}
            }
        }
        Ok(Err("other processes kept taking the next place; the next tick tries again".to_owned()))
    }

    /// Says that no sweep is begun for want of money. An onboarding sweep is not tried again before the next UTC day, unless
    /// the schedule has swept meanwhile; a tick comes again by itself.
    async fn no_money(&self, model: &ModelId, request: &SweepRequest) -> Result<String, StoreError> {
        const NONE_FITS: &str = "no sweep fits what is left of the budget";
        const WAITS: &str = "less than half an onboarding sweep fits what is left of the budget beside the ticks still to \
                             come today: onboarding goes on with the next UTC day, or after the schedule's next sweep";
        let onboarding = request.kind == SweepKind::Onboarding;
        let why = if onboarding { WAITS } else { NONE_FITS };
        conclude::raise(self, model, "budget", why).await?;
        if let Some(fire) = request.fire.as_ref().filter(|_| onboarding) {
            self.store.skip_fire(fire, "budget").await?;
        }
        Ok(why.to_owned())
    }

    /// The plan with its reservation, within what may be spent; `None` when nothing fits.
    async fn fitted(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        plan: SweepPlan,
        allowance: Option<i64>,
    ) -> Result<Option<Fitted>, SweepError> {
        let (drawers, tariffs) = (runtime.askable(), budget::tariffs(model));
        let prices = runtime.judge_prices();
        // Draws every case: work for a thread of its own.
        let fitting = tokio::task::spawn_blocking(move || {
            let worst_case = WorstCase::with_judges(&plan, &drawers, &tariffs, &prices);
            (worst_case.unlimited, budget::fit(plan, &worst_case, allowance))
        });
        let (unlimited, fitted) = fitting.await.map_err(|e| RunError::Worker(e.to_string()))?;
        if unlimited > 0 && allowance.is_some() {
            warn!(
                model = %model.config.id,
                cases = unlimited,
                "cases without max_tokens may cost more than is reserved for them: see [budget] in docs/config.md"
            );
        }
        Ok(fitted)
    }

    async fn draft(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        request: &SweepRequest,
        now_us: i64,
    ) -> Result<SweepPlan, SweepError> {
        let state = conclude::synced_state(self, runtime, model, now_us).await?;
        let policy = &model.config.policy;
        let asked: HashSet<&EndpointId> = request.endpoints.iter().collect();
        let order: Vec<EndpointId> = model.config.endpoints.iter().map(|e| e.id.clone()).collect();
        let judging = runtime.suites_of(&model.config);
        let names = match (&request.suites, &request.fire) {
            (Some(names), _) => names.clone(),
            (None, Some(fire)) => runtime.suites_of_schedule(&model.config, &fire.schedule),
            (None, None) => judging.clone(),
        };
        let due = taking_part::excluded_are_due(&self.store, &model.config.id, &state, &names, now_us).await?;
        let occasion = curation::Occasion { now_us, first_of_utc_day: due, back_to_back: request.back_to_back };
        let taking_part = curation::participants(&state, policy, &order, occasion);
        let anchors = curation::anchors(&state, policy, &order, &taking_part);
        let sizes: BTreeMap<SuiteName, u32> = names
            .iter()
            .filter_map(|n| runtime.drawers.get(n).map(|d| (n.clone(), d.suite().cases.len() as u32)))
            .collect();
        let mut budgets = curation::budgets(&state, policy, &anchors, &sizes, occasion);
        taking_part::add_asked_for(&mut budgets, &sizes, &state, policy, request.kind, &request.endpoints);
        let (mut suites, mut aside) = (Vec::new(), Vec::new());
        let (seed, mut is_chosen) = (self.ids.seed(), false);
        for (name, endpoints) in budgets {
            let Some(drawer) = runtime.drawers.get(&name) else { continue };
            let suite = Arc::clone(drawer.suite());
            let chosen = Chosen::of(&suite, request, &seed);
            is_chosen |= chosen.only.is_some();
            let epochs = request.epochs.unwrap_or(if request.kind == SweepKind::Full { suite.epochs.count } else { 1 });
            let full = chosen.count(&suite);
            let cases = endpoints
                .into_iter()
                .filter(|b| asked.is_empty() || asked.contains(&b.id))
                .map(|b| BudgetedEndpoint { cases: size(&b, request, full, chosen.only.is_some()), id: b.id })
                .collect();
            // What no schedule takes judges nobody: it is asked because a command names it.
            let list = if judging.contains(&name) { &mut suites } else { &mut aside };
            list.push(SuiteBudget { suite, cases, only: chosen.only, epochs });
        }
        // A part of the endpoints gives evidence only where the anchors are compared as well.
        let has_anchors = asked.is_empty() || anchors.iter().all(|a| asked.contains(a));
        // So it is with the capabilities, each with its own anchors.
        let mut capabilities = curation::capability_anchors(&state, policy, &order, &taking_part);
        capabilities.retain(|_, anchors| asked.is_empty() || anchors.iter().all(|a| asked.contains(a)));
        let ordinal = self.store.next_ordinal(&model.config.id).await?;
        let due = fingerprints::due(runtime, &state, policy, request, &taking_part, (ordinal, now_us));
        let plan = build_plan(PlanInput {
            id: self.ids.sweep(now_us),
            model: model.config.id.clone(),
            kind: request.kind,
            ordinal,
            seed,
            planned_at_us: now_us,
            anchors,
            // Cases that were chosen otherwise than at random are no sample that a decision could rest on.
            gives_evidence: has_anchors && !is_chosen && (aside.is_empty() || !suites.is_empty()),
            suites,
            aside,
            probes: due.probes,
        });
        let upstreams = upstreams(model, &plan);
        Ok(SweepPlan { capabilities, upstreams, samples: due.samples, ..plan })
    }

    /// The plan that asks further repeats of a finished sweep; `Err(why)` where that cannot be.
    async fn continued(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        (sweep, request): (SweepId, &SweepRequest),
        now_us: i64,
    ) -> Result<Result<SweepPlan, String>, SweepError> {
        let stored = self.store.sweep(sweep).await?.filter(|stored| stored.record.model == model.config.id);
        let Some(stored) = stored else { return Ok(Err(format!("{} has no sweep {sweep}", model.config.id))) };
        let Some(before) = stored.plan else { return Ok(Err(format!("the plan of {sweep} is not kept any more"))) };
        if stored.record.finished_at_us.is_none() {
            return Ok(Err(format!("sweep {sweep} is not finished: `exactod sweep` finishes it")));
        }
        if let Some(why) = why_not_resumed(runtime, model, &before) {
            return Ok(Err(why));
        }
        let total = request.epochs.unwrap_or(1);
        let mut goes_on = GoesOn { sweep: before.counted_as(), first_epochs: BTreeMap::new() };
        let mut more = |part: &SuitePlan| {
            let asked = before.first_epoch(&part.suite).saturating_add(part.epochs);
            let epochs = total.checked_sub(asked).filter(|epochs| *epochs > 0)?;
            goes_on.first_epochs.insert(part.suite.clone(), asked);
            Some(SuitePlan { epochs, ..part.clone() })
        };
        let suites: Vec<SuitePlan> = before.suites.iter().filter_map(&mut more).collect();
        let aside: Vec<SuitePlan> = before.aside.iter().filter_map(&mut more).collect();
        if suites.is_empty() && aside.is_empty() {
            return Ok(Err(format!("every case of {sweep} has been asked {total} times already: give more --epochs")));
        }
        Ok(Ok(SweepPlan {
            id: self.ids.sweep(now_us),
            ordinal: self.store.next_ordinal(&model.config.id).await?,
            planned_at_us: now_us,
            kind: request.kind,
            suites,
            aside,
            reserved_nanousd: 0,
            gives_evidence: false,
            capabilities: BTreeMap::new(),
            probes: Vec::new(),
            samples: None,
            goes_on: Some(goes_on),
            ..before
        }))
    }

    async fn carry_out(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        request: &SweepRequest,
        plan: Arc<SweepPlan>,
        resumed: bool,
        signals: &Signals,
    ) -> Result<SweepOutcome, SweepError> {
        let Some(fence) = self.claim(plan.id).await? else {
            let owner = self.store.sweep(plan.id).await?.and_then(|s| s.record.lease_owner).unwrap_or_default();
            return Err(SweepError::Busy { model: plan.model.clone(), owner });
        };
        let own = Signals { stop: signals.stop.child_token(), abort: signals.abort.child_token() };
        let progress = self.begin_progress(&plan).await?;
        // Both end with this sweep, also when it breaks: a lease must not be renewed for nobody.
        let lost = CancellationToken::new();
        let renewal = self.keep_lease(plan.id, fence, own.clone(), lost.clone());
        let shown = Shown { progress: Arc::clone(&self.progress), model: plan.model.clone() };
        let executed = self.execute(runtime, model, request, &plan, &progress, &own).await;
        drop((renewal, shown));
        let complete = match executed {
            Ok(complete) => complete,
            Err(error) => {
                self.store.release_sweep(plan.id, fence).await?;
                return Err(error);
            }
        };
        if lost.is_cancelled() {
            return Err(self.taken_over(&plan, resumed).await);
        }
        if !complete {
            // A store that does not answer must not keep what was stopped from ending.
            if let Err(error) = self.store.release_sweep(plan.id, fence).await {
                warn!(sweep = %plan.id, %error, "failed to give the sweep back; its lease ends by itself");
            }
            return Ok(SweepOutcome::Parked { sweep: plan.id });
        }
        self.speeds.forget(&plan.model);
        match conclude::end(self, (runtime, model), &plan, fence).await {
            Err(SweepError::Store(StoreError::StaleFence { .. } | StoreError::NotRunning(_))) => {
                return Err(self.taken_over(&plan, resumed).await);
            }
            ended => ended?,
        }
        if let Err(error) = self.store.clear_exchanges(plan.id).await {
            warn!(sweep = %plan.id, %error, "failed to delete the answers that stand in attempts");
        }
        Ok(SweepOutcome::Done { sweep: plan.id, resumed })
    }

    /// Says who has the sweep now.
    async fn taken_over(&self, plan: &SweepPlan, resumed: bool) -> SweepError {
        let stored = self.store.sweep(plan.id).await;
        let owner = stored.ok().flatten().and_then(|stored| stored.record.lease_owner).unwrap_or_default();
        SweepError::TakenOver { model: plan.model.clone(), sweep: plan.id, owner, resumed }
    }

    async fn begin_progress(&self, plan: &SweepPlan) -> Result<Arc<SweepProgress>, StoreError> {
        let mut endpoints: BTreeMap<EndpointId, EndpointProgress> = BTreeMap::new();
        for part in plan.parts() {
            for e in &part.endpoints {
                let planned = u64::from(e.cases) * u64::from(part.epochs);
                *endpoints.entry(e.id.clone()).or_default().planned.get_mut() += planned;
            }
        }
        let mut done = 0;
        for stored in self.store.progress(plan.id).await? {
            if let Some(e) = endpoints.get_mut(&stored.endpoint) {
                *e.pass.get_mut() = stored.pass;
                *e.fail.get_mut() = stored.fail;
                *e.done.get_mut() = stored.pass + stored.fail + stored.unscored;
                done += stored.pass + stored.fail + stored.unscored;
            }
        }
        let progress = Arc::new(SweepProgress {
            sweep: plan.id,
            model: plan.model.clone(),
            kind: plan.kind,
            planned_at_us: plan.planned_at_us,
            planned: plan.attempts(),
            done: done.into(),
            endpoints,
        });
        self.progress.begin(Arc::clone(&progress));
        Ok(progress)
    }

    /// Renews the lease until dropped; when it is `lost` to another process, says so and gives everything up.
    fn keep_lease(&self, sweep: SweepId, fence: i64, own: Signals, lost: CancellationToken) -> AbortOnDropHandle<()> {
        let (store, clock, lease_us) = (self.store.clone(), Arc::clone(&self.clock), self.lease_us());
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW_EVERY).await;
                match store.renew_lease(sweep, fence, clock.now_us() + lease_us).await {
                    Ok(()) => {}
                    Err(error @ (StoreError::StaleFence { .. } | StoreError::NotRunning(_))) => {
                        warn!(%sweep, %error, "another process has taken the sweep over: giving it up");
                        lost.cancel();
                        own.stop.cancel();
                        own.abort.cancel();
                        return;
                    }
                    // The lease outlives two missed renewals.
                    Err(error) => warn!(%sweep, %error, "failed to renew the lease; trying again"),
                }
            }
        }))
    }

    async fn execute(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        request: &SweepRequest,
        plan: &Arc<SweepPlan>,
        progress: &Arc<SweepProgress>,
        own: &Signals,
    ) -> Result<bool, SweepError> {
        let done = self.store.done_keys(plan.id).await?;
        let exchanges = self.store.open_exchanges(plan.id).await?;
        let speeds = self.speeds.of(&self.store, &model.config.id, self.clock.now_us()).await?;
        let first_byte_min = speeds.first_byte_minima(&plan.anchors);
        execute(Execution {
            plan: Arc::clone(plan),
            lanes: model.lanes.clone(),
            drawers: runtime.askable(),
            judge: Arc::clone(&self.judge),
            done,
            exchanges,
            store: self.store.clone(),
            judges: Arc::clone(&runtime.judges),
            programs: Arc::clone(&runtime.programs),
            writer: self.writer.clone(),
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
            metrics: Arc::clone(&self.metrics),
            progress: Arc::clone(progress),
            spread: request.spread,
            first_byte_min,
            stop: own.stop.clone(),
            abort: own.abort.clone(),
        })
        .await
        .map_err(SweepError::from)
    }
}

/// A sweep on show, until dropped.
struct Shown {
    progress: Arc<Progress>,
    model: ModelId,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.progress.end(&self.model);
    }
}

/// What answers under the id of everybody who is asked.
fn upstreams(model: &ModelRuntime, plan: &SweepPlan) -> BTreeMap<EndpointId, Upstream> {
    let asked = plan.parts().flat_map(|part| &part.endpoints).filter(|e| e.cases > 0);
    asked.filter_map(|e| Some((e.id.clone(), Upstream::of(model.config.endpoint(&e.id)?.0)))).collect()
}

/// A plan made under another configuration is not finished under this one.
pub(super) fn why_not_resumed(runtime: &Runtime, model: &ModelRuntime, plan: &SweepPlan) -> Option<String> {
    for part in plan.parts() {
        match runtime.drawers.get(&part.suite).or_else(|| runtime.probes.get(&part.suite)) {
            None => return Some(format!("suite {} is not loaded any more", part.suite)),
            Some(d) if d.suite().digest != part.digest => {
                return Some(format!("suite {} has changed since", part.suite));
            }
            Some(_) => {}
        }
        if let Some(gone) = part.endpoints.iter().find(|e| !model.lanes.contains_key(&e.id)) {
            return Some(format!("endpoint {} is not configured any more", gone.id));
        }
    }
    let is_other = |(id, upstream): &(&EndpointId, &Upstream)| {
        model.config.endpoint(id).is_some_and(|(endpoint, _)| Upstream::of(endpoint) != **upstream)
    };
    let other = plan.upstreams.iter().find(is_other);
    other.map(|(id, _)| format!("endpoint {id} has another upstream_model or provider by now"))
}

/// Which cases of a suite a full sweep asks.
struct Chosen {
    /// `None`: all of them, or a random part.
    only: Option<Vec<CaseId>>,
}

impl Chosen {
    /// By the suite's `[sampling]`, over which a command's `--limit` goes; broken cases come on top.
    fn of(suite: &Suite, request: &SweepRequest, sweep_seed: &str) -> Chosen {
        if request.kind != SweepKind::Full {
            return Chosen { only: None };
        }
        let sampling = &suite.sampling;
        let limit = request.limit.or(sampling.limit).map_or(usize::MAX, |limit| limit as usize);
        // A limit alone takes a random part, as it does of every suite.
        let is_sampled = limit < suite.cases.len()
            && (sampling.limit.is_some() || sampling.strategy.is_some() || sampling.seed.is_some());
        let broken = match request.include_broken {
            true => suite.broken.as_slice(),
            false => &[],
        };
        if !is_sampled && broken.is_empty() {
            return Chosen { only: None };
        }
        let seed = sampling.seed.map_or_else(|| sweep_seed.to_owned(), |seed| seed.to_string());
        let mut only = sample(&seed, suite, limit.min(suite.cases.len()));
        only.extend(broken.iter().map(|case| case.id.clone()));
        Chosen { only: Some(only) }
    }

    fn count(&self, suite: &Suite) -> u32 {
        u32::try_from(self.only.as_ref().map_or(suite.cases.len(), Vec::len)).unwrap_or(u32::MAX)
    }
}

fn size(budgeted: &BudgetedEndpoint, request: &SweepRequest, full: u32, is_chosen: bool) -> u32 {
    let cases = if request.kind == SweepKind::Full { full } else { budgeted.cases };
    request.limit.filter(|_| !is_chosen).map_or(cases, |limit| cases.min(limit))
}

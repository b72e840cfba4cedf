//! What follows from live traffic: bursts of evaluation, and, where the policy has it, quarantine.
//!
//! Live traffic admits nobody and changes no standing. An endpoint that fails far more often than before and than its
//! peers has the model swept at once; where that is beyond doubt and the policy says so, it leaves the list until the
//! sweep has decided, for a limited time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::{info, warn};

use super::runtime::{ModelRuntime, Runtime};
use super::service::{deadline_of, manual_request};
use super::steps;
use super::sweeper::{Signals, SweepError, Sweeper};
use super::workers::Workers;
use crate::config::durations;
use crate::curation::{self, Act, Input, ModelState, Refused};
use crate::domain::live::{LiveEvidence, Quarantined};
use crate::domain::{DecisionKind, EndpointId, Micros, ModelId, Standing, SweepId};
use crate::live::watch::{Alarm, Level};
use crate::metrics::{ModelLabels, ModelWordLabels};
use crate::stats::num::{exp, ln};
use crate::store::DecisionFilter;

/// How often live traffic is looked at. Far below the 5 s in which a quarantine must be published.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A model is swept on behalf of live traffic once in so long at most, in microseconds; a quarantine sweeps at once.
pub const BURST_EVERY_US: i64 = 3_600 * 1_000_000;
/// Quarantines of a model within an hour at most.
pub const QUARANTINES_PER_HOUR_MAX: usize = 3;
/// While a quarantine is undecided, a sweep is begun once in so long at most, in microseconds.
const SWEEP_AGAIN_US: i64 = 10 * 1_000_000;
/// An endpoint that may not be set aside is not looked at again for so long, in microseconds.
const REFUSED_PAUSE_US: i64 = 10 * 60 * 1_000_000;
const HOUR_US: i64 = 3_600 * 1_000_000;
/// Decisions looked through for the rates.
const DECISIONS_READ: usize = 100;

/// The task.
#[derive(Clone)]
pub(super) struct LiveWatch {
    pub(super) sweeper: Arc<Sweeper>,
    pub(super) runtime: Arc<ArcSwap<Runtime>>,
    pub(super) workers: Arc<Workers>,
    pub(super) signals: Signals,
}

/// What the task remembers between looks. All of it may be lost: rates of quarantines are kept by the decision log.
#[derive(Default)]
struct Memory {
    bursts: BTreeMap<ModelId, Micros>,
    refused: BTreeMap<(ModelId, EndpointId), Micros>,
    /// What was in force after the newest step that was read.
    overlays: BTreeMap<ModelId, (u64, Vec<Quarantined>)>,
}

/// Why an endpoint stays where it is.
enum Undone {
    Refused(String),
    Failed(SweepError),
}

impl From<SweepError> for Undone {
    fn from(error: SweepError) -> Self {
        Undone::Failed(error)
    }
}

impl LiveWatch {
    /// Runs until stopped.
    pub(super) async fn run(self) {
        let mut memory = Memory::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.signals.stop.cancelled() => return,
            }
            let runtime = self.runtime.load_full();
            let now_us = self.sweeper.clock.now_us();
            for alarm in self.sweeper.intake.alarms(now_us) {
                self.answer(&runtime, &mut memory, alarm, now_us).await;
            }
            for model in runtime.models.values().filter(|m| m.config.policy.quarantine.enabled) {
                if let Err(error) = self.look_after(&runtime, &mut memory, model, now_us).await {
                    warn!(model = %model.config.id, %error, "failed to look after a quarantine; trying again");
                }
            }
        }
    }

    /// What follows from an alarm.
    async fn answer(&self, runtime: &Runtime, memory: &mut Memory, alarm: Alarm, now_us: Micros) {
        let Some(place) = self.sweeper.intake.place(alarm.place) else { return };
        let (Some(id), Some(endpoint)) = (place.model, place.endpoint) else { return };
        let Some(model) = runtime.models.get(&id) else { return };
        let key = (id.clone(), endpoint.clone());
        let is_refused = memory.refused.get(&key).is_some_and(|at| now_us - at < REFUSED_PAUSE_US);
        if alarm.level == Level::Quarantine && model.config.policy.quarantine.enabled && !is_refused {
            match self.set_aside(runtime, model, &endpoint, &alarm.evidence, now_us).await {
                Ok(reason) => {
                    info!(model = %id, %endpoint, "{reason}");
                    self.sweeper.intake.restart(alarm.place, now_us);
                    self.count(&id, "begun");
                    self.sweep(runtime, memory, &id, now_us);
                    return;
                }
                Err(Undone::Refused(why)) => {
                    warn!(model = %id, %endpoint, "live traffic speaks against an endpoint that stays listed: {why}");
                    self.count(&id, "refused");
                    memory.refused.insert(key, now_us);
                }
                Err(Undone::Failed(error)) => {
                    warn!(model = %id, %endpoint, %error, "failed to quarantine; trying again")
                }
            }
        }
        if memory.bursts.get(&id).is_none_or(|at| now_us - at >= BURST_EVERY_US) {
            let LiveEvidence { bad, answers, .. } = alarm.evidence;
            let by: Vec<&String> = alarm.evidence.sources.keys().collect();
            if self.sweep(runtime, memory, &id, now_us) {
                info!(model = %id, %endpoint, bad, answers, ?by, "live traffic speaks against an endpoint: sweeping the model");
            }
        }
    }

    /// Hands a sweep to the model's worker, unless it has something to do.
    fn sweep(&self, runtime: &Runtime, memory: &mut Memory, model: &ModelId, now_us: Micros) -> bool {
        let handed = self.workers.hand_if_idle(model, manual_request(deadline_of(runtime, model)));
        if handed {
            memory.bursts.insert(model.clone(), now_us);
            self.sweeper.metrics.live_bursts.get_or_create(&ModelLabels { model: model.to_string() }).inc();
        }
        handed
    }

    fn count(&self, model: &ModelId, kind: &str) {
        let labels = ModelWordLabels { model: model.to_string(), kind: kind.to_owned() };
        self.sweeper.metrics.live_quarantines.get_or_create(&labels).inc();
    }

    /// Takes an endpoint off the list; the sentence of the decision.
    async fn set_aside(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        endpoint: &EndpointId,
        evidence: &LiveEvidence,
        now_us: Micros,
    ) -> Result<String, Undone> {
        let for_us = durations::parse(&model.config.policy.quarantine.for_).map_or(HOUR_US / 2, micros);
        self.check_rates(model, endpoint, (for_us, now_us)).await?;
        let act = Act::Quarantined { endpoint: endpoint.clone(), for_us, evidence: evidence.clone() };
        self.step(runtime, model, &act).await
    }

    async fn check_rates(
        &self,
        model: &ModelRuntime,
        endpoint: &EndpointId,
        (for_us, now_us): (i64, Micros),
    ) -> Result<(), Undone> {
        let filter = DecisionFilter {
            model: Some(model.config.id.clone()),
            kind: Some(DecisionKind::Quarantine),
            ..DecisionFilter::default()
        };
        let page = self.sweeper.store.decisions_like(&filter, DECISIONS_READ, None).await.map_err(SweepError::from)?;
        let began = |evidence: &serde_json::Value| evidence.get("until_us").is_some();
        let lately = page.items.iter().filter(|d| now_us - d.at_us < HOUR_US && began(&d.evidence)).count();
        if lately >= QUARANTINES_PER_HOUR_MAX {
            return Err(Undone::Refused(format!("{lately} quarantines of the model within the last hour")));
        }
        let last = page.items.iter().find(|d| d.endpoint == *endpoint);
        if last.is_some_and(|d| now_us - d.at_us < for_us) {
            return Err(Undone::Refused("its last quarantine began or ended a short while ago".to_owned()));
        }
        Ok(())
    }

    /// Makes a step; the sentence of its decision.
    async fn step(&self, runtime: &Runtime, model: &ModelRuntime, act: &Act) -> Result<String, Undone> {
        for _ in 0..steps::TRIES_MAX {
            let made = self.step_once(runtime, model, act).await;
            match made {
                Ok(Ok(reason)) => return Ok(reason),
                Ok(Err(refused)) => return Err(Undone::Refused(refused.to_string())),
                overtaken if steps::was_overtaken(&overtaken) => {}
                Err(error) => return Err(Undone::Failed(error)),
            }
        }
        Err(Undone::Refused("other processes kept changing the model's state".to_owned()))
    }

    async fn step_once(
        &self,
        runtime: &Runtime,
        model: &ModelRuntime,
        act: &Act,
    ) -> Result<Result<String, Refused>, SweepError> {
        let at_us = self.sweeper.clock.now_us();
        let base = steps::base(&self.sweeper.store, &model.config.id).await?;
        let setting = steps::setting(runtime, model);
        let record = steps::record(&self.sweeper, model, act.clone(), at_us).await?;
        let input = Input { at_us, setting: &setting, record: &record, sweep: None };
        let stepped = match curation::step(&base, &input) {
            Ok(stepped) => stepped,
            Err(refused) => return Ok(Err(refused)),
        };
        let commit = steps::commit_of(&self.sweeper, &base, (&setting, &record), &stepped, at_us).await?;
        self.sweeper.store.commit_curation(&model.config.id, at_us, &commit).await?;
        steps::announce(&self.sweeper, &model.config.id, &stepped).await;
        let own = stepped.decisions.iter().find(|d| d.kind == DecisionKind::Quarantine);
        Ok(Ok(own.map(|d| d.reason.clone()).unwrap_or_default()))
    }

    /// Ends the quarantines of a model that are over, and sees to it that those which are not are decided.
    async fn look_after(
        &self,
        runtime: &Runtime,
        memory: &mut Memory,
        model: &ModelRuntime,
        now_us: Micros,
    ) -> Result<(), SweepError> {
        let id = &model.config.id;
        let heads = self.sweeper.store.heads().await?;
        let Some(seq) = heads.iter().find(|head| head.model == *id).map(|head| head.seq) else { return Ok(()) };
        if memory.overlays.get(id).is_none_or(|(known, _)| *known != seq) {
            let overlay = steps::overlay(&self.sweeper.store, model).await?;
            memory.overlays.insert(id.clone(), (seq, overlay));
        }
        let overlay = memory.overlays.get(id).map(|(_, overlay)| overlay.clone()).unwrap_or_default();
        if overlay.is_empty() {
            return Ok(());
        }
        let state = steps::state(&self.sweeper.store, id).await?;
        for entry in overlay {
            let Some((word, why)) = ended(&state, model, &entry, now_us) else {
                if memory.bursts.get(id).is_none_or(|at| now_us - at >= SWEEP_AGAIN_US) {
                    self.sweep(runtime, memory, id, now_us);
                }
                continue;
            };
            let act = Act::Released { endpoint: entry.endpoint.clone(), why };
            match self.step(runtime, model, &act).await {
                Ok(reason) => {
                    info!(model = %id, endpoint = %entry.endpoint, "{reason}");
                    self.count(id, word);
                }
                Err(Undone::Refused(why)) => warn!(model = %id, endpoint = %entry.endpoint, "quarantine: {why}"),
                Err(Undone::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether a quarantine is over: in a word and in words.
fn ended(
    state: &ModelState,
    model: &ModelRuntime,
    entry: &Quarantined,
    now_us: Micros,
) -> Option<(&'static str, String)> {
    let Some(endpoint) = state.endpoints.get(&entry.endpoint).filter(|e| e.configured) else {
        return Some(("gone", "the endpoint is not configured any more".to_owned()));
    };
    if entry.until_us <= now_us {
        return Some(("expired", "its time is up, and no evaluation has decided".to_owned()));
    }
    let swept = state.last_sweep.is_some_and(|sweep| began_us(sweep) >= entry.since_us / 1000 * 1000);
    if !swept {
        return None;
    }
    let score = curation::read(state, &model.config.policy, endpoint).log_r_ex;
    let threshold = model.config.policy.burst_at;
    if endpoint.standing == Standing::Excluded {
        Some(("confirmed", "the evaluation has excluded it".to_owned()))
    } else if score < ln(threshold) {
        let score = exp(score);
        Some((
            "cleared",
            format!("the evaluation since then finds nothing against it (R={score:.1}, below {threshold})"),
        ))
    } else {
        None
    }
}

/// When a sweep was planned: its id tells, to the millisecond.
fn began_us(sweep: SweepId) -> Micros {
    let (s, ns) = sweep.0.get_timestamp().map_or((0, 0), |time| time.to_unix());
    i64::try_from(s).unwrap_or(0).saturating_mul(1_000_000) + i64::from(ns / 1000)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

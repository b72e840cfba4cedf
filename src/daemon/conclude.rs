//! The end of a sweep: outcomes become evidence, evidence becomes decisions, decisions become the published list: all in
//! one transaction. Everything here can be recomputed from what is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use super::mark::Seen;
use super::runtime::{ModelRuntime, Runtime};
use super::steps;
use super::sweeper::{SweepError, Sweeper, why_not_resumed};
use crate::config::ModelConfig;
use crate::curation::{self, Act, Base, Input, ModelState, Record, Refused, Setting, Stepped};
use crate::domain::{EndpointId, Micros, ModelId, OutcomeRow, Standing, SweepId, SweepPlan, SweepState};
use crate::metrics::ModelWordLabels;
use crate::store::{Alarm, AlarmKey, CurationCommit, MeasuredRow, Store, StoreError, SweepEnd};

/// Kind of the steps that note a restored backup: [`Act::Restored`].
const RESTORED: &str = "restored";

/// A step that only an operator's order could be refused.
fn made(stepped: Result<Stepped, Refused>, model: &ModelId) -> Result<Stepped, SweepError> {
    stepped.map_err(|e| SweepError::State { model: model.clone(), reason: e.to_string() })
}

/// Makes a step outside sweeps and commits it, if something comes of it.
async fn step_outside(
    sweeper: &Sweeper,
    (setting, record): (&Setting, &Record),
    base: &Base,
    at_us: Micros,
) -> Result<Stepped, SweepError> {
    let model = &setting.model;
    let input = Input { at_us, setting, record, sweep: None };
    let stepped = made(curation::step(base, &input), model)?;
    if stepped.is_news {
        let commit = steps::commit_of(sweeper, base, (setting, record), &stepped, at_us).await?;
        sweeper.store.commit_curation(model, at_us, &commit).await?;
        steps::announce(sweeper, model, &stepped).await;
    }
    Ok(stepped)
}

/// The model's state in line with the configuration; what that decided is stored and published at once.
pub(super) async fn synced_state(
    sweeper: &Sweeper,
    runtime: &Runtime,
    model: &ModelRuntime,
    now_us: Micros,
) -> Result<ModelState, SweepError> {
    let setting = steps::setting(runtime, model);
    let mut tries = 1;
    loop {
        let base = steps::base(&sweeper.store, &model.config.id).await?;
        let record = steps::record(sweeper, model, Act::Configured, now_us).await?;
        let stepped = step_outside(sweeper, (&setting, &record), &base, now_us).await;
        if tries < steps::TRIES_MAX && steps::was_overtaken(&stepped) {
            tries += 1;
            continue;
        }
        return stepped.map(|s| s.state);
    }
}

/// Ends a complete sweep under the configuration in force by now, which is that of every step since a reload: folds it and
/// publishes what follows, or closes it as it is when it could not have been resumed under that configuration.
pub(super) async fn end(
    sweeper: &Sweeper,
    (begun, model): (&Runtime, &ModelRuntime),
    plan: &Arc<SweepPlan>,
    fence: i64,
) -> Result<(), SweepError> {
    let measured = sweeper.store.rows_to_fold(plan).await?;
    let mut tries = 1;
    loop {
        // Read before the base is: whoever steps under a newer one in between overtakes this try.
        let current = sweeper.current.load_full();
        let ended = match in_force(&current, plan) {
            Ok(model) => fold(sweeper, &current, model, (plan, &measured), fence).await,
            Err(why) => {
                warn!(model = %plan.model, sweep = %plan.id, why, "closing a sweep as it is: it gives no evidence");
                // A model that is gone has no other setting than that it was swept under.
                let (runtime, model) = match current.models.get(&plan.model) {
                    Some(model) => (&*current, &**model),
                    None => (begun, model),
                };
                let closing = Closing { sweep: plan.id, ordinal: plan.ordinal, plan: Some(plan), why: &why };
                return close(sweeper, runtime, model, &closing, fence).await;
            }
        };
        if tries < steps::TRIES_MAX && steps::was_overtaken(&ended) {
            tries += 1;
            continue;
        }
        ended?;
        count_sweep(sweeper, &plan.model, SweepState::Done);
        return Ok(());
    }
}

/// The model as it is configured by now, or why a sweep that began as it was before cannot end under that.
fn in_force<'a>(current: &'a Runtime, plan: &SweepPlan) -> Result<&'a ModelRuntime, String> {
    let Some(model) = current.models.get(&plan.model) else {
        return Err("the model is not configured any more".to_owned());
    };
    why_not_resumed(current, model, plan).map_or(Ok(model), Err)
}

/// Folds a complete sweep and publishes what follows.
async fn fold(
    sweeper: &Sweeper,
    runtime: &Runtime,
    model: &ModelRuntime,
    (plan, measured): (&Arc<SweepPlan>, &[MeasuredRow]),
    fence: i64,
) -> Result<(), SweepError> {
    let graded = model.config.policy.graded;
    let rows: Vec<OutcomeRow> = measured.iter().map(|row| row.outcome(graded)).collect();
    let at_us = sweeper.clock.now_us();
    let sweeps_per_year = Some(runtime.sweeps_per_year(&model.config, at_us)).filter(|n| *n > 0.0);
    let setting = steps::setting(runtime, model);
    let base = steps::base(&sweeper.store, &plan.model).await?;
    let after = match base.state.last_sweep {
        Some(last) => sweeper.store.sweep(last).await?.map(|stored| stored.record.ordinal),
        None => None,
    };
    let act = Act::Sweep { attempts: rows.len() as u64, sweeps_per_year, after };
    let record = steps::record(sweeper, model, act, at_us).await?;
    let input = Input { at_us, setting: &setting, record: &record, sweep: Some((plan, &rows)) };
    let stepped = made(curation::step(&base, &input), &plan.model)?;
    let end = SweepEnd {
        sweep: plan.id,
        model: plan.model.clone(),
        fence,
        state: SweepState::Done,
        at_us,
        note: String::new(),
        curation: steps::commit_of(sweeper, &base, (&setting, &record), &stepped, at_us).await?,
    };
    sweeper.store.commit_sweep_end(&end).await?;
    steps::announce(sweeper, &plan.model, &stepped).await;
    Ok(())
}

fn count_sweep(sweeper: &Sweeper, model: &ModelId, state: SweepState) {
    let labels = ModelWordLabels { model: model.to_string(), kind: state.name().to_owned() };
    sweeper.metrics.sweeps.get_or_create(&labels).inc();
}

/// A sweep that ends without evidence.
pub(super) struct Closing<'a> {
    pub(super) sweep: SweepId,
    pub(super) ordinal: u64,
    pub(super) plan: Option<&'a SweepPlan>,
    pub(super) why: &'a str,
}

/// Ends a sweep without evidence; its attempts remain, and the decision log says so.
pub(super) async fn close(
    sweeper: &Sweeper,
    runtime: &Runtime,
    model: &ModelRuntime,
    closing: &Closing<'_>,
    fence: i64,
) -> Result<(), SweepError> {
    let mut tries = 1;
    loop {
        let closed = close_once(sweeper, runtime, model, closing, fence).await;
        if tries < steps::TRIES_MAX && steps::was_overtaken(&closed) {
            tries += 1;
            continue;
        }
        closed?;
        count_sweep(sweeper, &model.config.id, SweepState::Closed);
        return Ok(());
    }
}

async fn close_once(
    sweeper: &Sweeper,
    runtime: &Runtime,
    model: &ModelRuntime,
    closing: &Closing<'_>,
    fence: i64,
) -> Result<(), SweepError> {
    let Closing { sweep, ordinal, plan, why } = *closing;
    let at_us = sweeper.clock.now_us();
    let shares = plan.into_iter().flat_map(|p| &p.suites).flat_map(|s| &s.endpoints);
    let endpoints: std::collections::BTreeSet<EndpointId> = shares.map(|e| e.id.clone()).collect();
    let act = Act::Closed { sweep, ordinal, endpoints: endpoints.into_iter().collect(), why: why.to_owned() };
    let record = steps::record(sweeper, model, act, at_us).await?;
    let setting = steps::setting(runtime, model);
    let base = steps::base(&sweeper.store, &model.config.id).await?;
    let input = Input { at_us, setting: &setting, record: &record, sweep: None };
    let stepped = made(curation::step(&base, &input), &model.config.id)?;
    let curation = match stepped.is_news {
        true => steps::commit_of(sweeper, &base, (&setting, &record), &stepped, at_us).await?,
        false => CurationCommit::default(),
    };
    let end = SweepEnd {
        sweep,
        model: model.config.id.clone(),
        fence,
        state: SweepState::Closed,
        at_us,
        note: why.to_owned(),
        curation,
    };
    sweeper.store.commit_sweep_end(&end).await?;
    if stepped.is_news {
        steps::announce(sweeper, &model.config.id, &stepped).await;
    }
    Ok(())
}

/// Issues the list anew when half of its validity has passed, so that it never expires while the daemon runs.
///
/// # Errors
/// [`SweepError`].
pub async fn refresh(sweeper: &Sweeper, runtime: &Runtime, model: &ModelRuntime) -> Result<(), SweepError> {
    let now_us = sweeper.clock.now_us();
    let base = steps::base(&sweeper.store, &model.config.id).await?;
    if base.seq == 0 {
        return Ok(());
    }
    let setting = steps::setting(runtime, model);
    let record = steps::record(sweeper, model, Act::Refresh, now_us).await?;
    step_outside(sweeper, (&setting, &record), &base, now_us).await.map(drop)
}

/// The store knows less than it had said, or something else: notes it and issues the list with a revision that no consumer
/// has seen. Nothing happens when another process has done so already.
pub(super) async fn restored(
    sweeper: &Sweeper,
    runtime: &Runtime,
    model: &ModelRuntime,
    (seen, overtaken): (Seen, bool),
) -> Result<(), SweepError> {
    let now_us = sweeper.clock.now_us();
    let Seen { seq, revision, capabilities, step: _ } = seen;
    let base = steps::base(&sweeper.store, &model.config.id).await?;
    let done = match overtaken {
        // What has been made since carries revisions of its own: they tell nothing. Whoever noted it may have gone on.
        true => sweeper.store.has_step_of_kind(&model.config.id, seq, RESTORED).await?,
        false => base.list.as_ref().is_some_and(|list| list.version > revision),
    };
    if done {
        return Ok(());
    }
    let setting = steps::setting(runtime, model);
    let act = Act::Restored { seq, revision, capabilities, overtaken };
    let record = steps::record(sweeper, model, act, now_us).await?;
    step_outside(sweeper, (&setting, &record), &base, now_us).await.map(drop)
}

/// Opens an alarm of a model; one that is open takes the text.
pub(super) async fn raise(sweeper: &Sweeper, model: &ModelId, kind: &str, text: &str) -> Result<(), StoreError> {
    let now_us = sweeper.clock.now_us();
    // Before the row: on a full disk the row cannot be written, and that is when the alarm is wanted.
    sweeper.metrics.set_alarms(model, kind, 1);
    let key = AlarmKey { model: Some(model.clone()), endpoint: None, capability: None, kind: kind.to_owned() };
    let alarm =
        Alarm { id: sweeper.ids.uuid(now_us), key, text: text.to_owned(), opened_at_us: now_us, closed_at_us: None };
    let opened = sweeper.store.set_alarms(&[alarm], &[], now_us).await?;
    if !opened.is_empty() {
        warn!(%model, kind, "alarm: {text}");
    }
    Ok(())
}

/// Closes an alarm of a model, if it is open.
pub(super) async fn clear(sweeper: &Sweeper, model: &ModelId, kind: &str) -> Result<(), StoreError> {
    sweeper.metrics.set_alarms(model, kind, 0);
    let key = AlarmKey { model: Some(model.clone()), endpoint: None, capability: None, kind: kind.to_owned() };
    sweeper.store.set_alarms(&[], &[key], sweeper.clock.now_us()).await?;
    Ok(())
}

/// The standings of a model's configured endpoints now.
///
/// # Errors
/// [`SweepError`].
pub async fn standings(sweeper: &Sweeper, model: &ModelId) -> Result<BTreeMap<EndpointId, Standing>, SweepError> {
    let state = steps::state(&sweeper.store, model).await?;
    Ok(state.endpoints.iter().filter(|(_, e)| e.configured).map(|(id, e)| (id.clone(), e.standing)).collect())
}

/// The stored standings of the endpoints that a model is configured with; those never seen are Unknown.
///
/// # Errors
/// [`SweepError`].
pub async fn stored_standings(
    store: &Store,
    model: &ModelConfig,
) -> Result<BTreeMap<EndpointId, Standing>, SweepError> {
    let state = steps::state(store, &model.id).await?;
    let standing = |id: &EndpointId| state.endpoints.get(id).map_or(Standing::Unknown, |e| e.standing);
    Ok(model.endpoints.iter().map(|e| (e.id.clone(), standing(&e.id))).collect())
}

//! The end of a sweep: outcomes become evidence, evidence becomes decisions, decisions become the published list: all in
//! one transaction. Everything here can be recomputed from what is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{info, warn};

use super::gauges;
use super::runtime::{ModelRuntime, Runtime};
use super::sweeper::{SweepError, Sweeper};
use crate::config::ModelConfig;
use crate::curation::{self, AlarmNote, Draft, Figures, ModelState, NewDecision};
use crate::domain::{
    Allowlist, Decision, EndpointId, Micros, ModelId, OutcomeRow, Standing, SuiteDigest, SuiteName, SweepId, SweepPlan,
    SweepState,
};
use crate::metrics::{ModelLabels, ModelWordLabels, StandingLabels};
use crate::publish::{Published, etag_of};
use crate::store::{Alarm, AlarmKey, CurationCommit, NewAllowlist, NewState, Store, StoreError, SweepEnd};

/// Alarm kinds that a fold sets and clears; others (budget, writer) have owners of their own.
const FOLD_ALARMS: [&str; 4] = ["common", "provenance", "reference", "frozen"];
/// Of these, what follows from state and list alone: set and cleared with every list.
const LIST_ALARMS: [&str; 1] = ["frozen"];

/// A model's state as stored, with the number that the next one must follow.
pub(super) struct Base {
    pub(super) seq: u64,
    pub(super) state: ModelState,
}

pub(super) async fn load(store: &Store, model: &ModelId) -> Result<Base, SweepError> {
    match store.state(model).await? {
        None => Ok(Base { seq: 0, state: ModelState::default() }),
        Some(stored) => {
            let state = curation::decode(&stored.bytes)
                .map_err(|e| SweepError::State { model: model.clone(), reason: e.to_string() })?;
            Ok(Base { seq: stored.seq, state })
        }
    }
}

/// The model's state in line with the configuration; what that decided is stored and published at once.
pub(super) async fn synced_state(
    sweeper: &Sweeper,
    runtime: &Runtime,
    model: &ModelRuntime,
    now_us: Micros,
) -> Result<ModelState, SweepError> {
    let base = load(&sweeper.store, &model.config.id).await?;
    let (next, decisions) = synced(runtime, model, &base.state, now_us);
    let figures = figures(sweeper, model, now_us).await?;
    let Listing { draft, held } = listing(sweeper, model, &next, &figures, now_us).await?;
    if next == base.state && decisions.is_empty() && draft.is_none() {
        return Ok(next);
    }
    let decisions = identified(sweeper, &model.config.id, decisions);
    let (open, close) = alarm_changes(sweeper, &model.config.id, &LIST_ALARMS, held.as_slice(), now_us).await?;
    let commit = CurationCommit {
        state: Some(NewState { base: base.seq, bytes: curation::encode(&next) }),
        decisions: decisions.clone(),
        open,
        close,
        allowlist: draft.as_ref().map(new_allowlist),
    };
    sweeper.store.commit_curation(&model.config.id, now_us, &commit).await?;
    gauges::show_alarms(&sweeper.metrics, &model.config.id, &LIST_ALARMS, held.as_slice());
    announce(sweeper, &model.config.id, &next, &decisions, draft);
    Ok(next)
}

fn synced(
    runtime: &Runtime,
    model: &ModelRuntime,
    state: &ModelState,
    now_us: Micros,
) -> (ModelState, Vec<NewDecision>) {
    let configured: Vec<EndpointId> = model.config.endpoints.iter().map(|e| e.id.clone()).collect();
    let (state, mut decisions) = curation::sync_endpoints(state, &configured, model.config.reference.as_ref(), now_us);
    let (state, more) = curation::sync_suites(&state, &digests(runtime, model), now_us);
    decisions.extend(more);
    (state, decisions)
}

fn digests(runtime: &Runtime, model: &ModelRuntime) -> BTreeMap<SuiteName, SuiteDigest> {
    runtime
        .suites_of(&model.config)
        .into_iter()
        .filter_map(|name| runtime.drawers.get(&name).map(|d| (name, d.suite().digest.clone())))
        .collect()
}

/// Folds a complete sweep and publishes what follows.
pub(super) async fn fold(
    sweeper: &Sweeper,
    runtime: &Runtime,
    model: &ModelRuntime,
    plan: &Arc<SweepPlan>,
    fence: i64,
) -> Result<(), SweepError> {
    let now_us = sweeper.clock.now_us();
    let policy = &model.config.policy;
    let base = load(&sweeper.store, &plan.model).await?;
    let (state, mut decisions) = synced(runtime, model, &base.state, now_us);
    let rows: Vec<OutcomeRow> =
        sweeper.store.sweep_rows(plan.id).await?.iter().map(|row| row.outcome(policy.graded)).collect();
    let sweeps_per_year = Some(runtime.sweeps_per_year(&model.config, now_us)).filter(|n| *n > 0.0);
    let record = curation::SweepRecord { plan, rows: &rows, ended_at_us: now_us, sweeps_per_year };
    let folded = curation::fold_sweep(&state, policy, &record);
    decisions.extend(folded.decisions);
    let figures = figures(sweeper, model, now_us).await?;
    let Listing { draft, held } = listing(sweeper, model, &folded.state, &figures, now_us).await?;
    let mut alarms = folded.alarms;
    alarms.extend(held);
    let (open, close) = alarm_changes(sweeper, &plan.model, &FOLD_ALARMS, &alarms, now_us).await?;
    let decisions = identified(sweeper, &plan.model, decisions);
    let end = SweepEnd {
        sweep: plan.id,
        model: plan.model.clone(),
        fence,
        state: SweepState::Done,
        at_us: now_us,
        note: String::new(),
        curation: CurationCommit {
            state: Some(NewState { base: base.seq, bytes: curation::encode(&folded.state) }),
            decisions: decisions.clone(),
            open,
            close,
            allowlist: draft.as_ref().map(new_allowlist),
        },
    };
    sweeper.store.commit_sweep_end(&end).await?;
    let labels = ModelWordLabels { model: plan.model.to_string(), kind: SweepState::Done.name().to_owned() };
    sweeper.metrics.sweeps.get_or_create(&labels).inc();
    gauges::show_alarms(&sweeper.metrics, &plan.model, &FOLD_ALARMS, &alarms);
    for alarm in &alarms {
        warn!(model = %plan.model, kind = alarm.kind.name(), "alarm: {}", alarm.message);
    }
    announce(sweeper, &plan.model, &folded.state, &decisions, draft);
    Ok(())
}

/// Ends a sweep without evidence; its attempts remain.
pub(super) async fn close(
    sweeper: &Sweeper,
    model: &ModelRuntime,
    sweep: SweepId,
    fence: i64,
    why: &str,
) -> Result<(), SweepError> {
    let end = SweepEnd {
        sweep,
        model: model.config.id.clone(),
        fence,
        state: SweepState::Closed,
        at_us: sweeper.clock.now_us(),
        note: why.to_owned(),
        curation: CurationCommit::default(),
    };
    sweeper.store.commit_sweep_end(&end).await?;
    let labels = ModelWordLabels { model: model.config.id.to_string(), kind: SweepState::Closed.name().to_owned() };
    sweeper.metrics.sweeps.get_or_create(&labels).inc();
    Ok(())
}

/// Issues the list anew when half of its validity has passed, so that it never expires while the daemon runs.
///
/// # Errors
/// [`SweepError`].
pub async fn refresh(sweeper: &Sweeper, model: &ModelRuntime) -> Result<(), SweepError> {
    let now_us = sweeper.clock.now_us();
    let base = load(&sweeper.store, &model.config.id).await?;
    if base.seq == 0 {
        return Ok(());
    }
    let figures = figures(sweeper, model, now_us).await?;
    let Listing { draft: Some(draft), held } = listing(sweeper, model, &base.state, &figures, now_us).await? else {
        return Ok(());
    };
    let (open, close) = alarm_changes(sweeper, &model.config.id, &LIST_ALARMS, held.as_slice(), now_us).await?;
    let commit = CurationCommit { open, close, allowlist: Some(new_allowlist(&draft)), ..CurationCommit::default() };
    sweeper.store.commit_curation(&model.config.id, now_us, &commit).await?;
    gauges::show_alarms(&sweeper.metrics, &model.config.id, &LIST_ALARMS, held.as_slice());
    announce(sweeper, &model.config.id, &base.state, &[], Some(draft));
    Ok(())
}

/// The next document, if there is one, and the alarm of the list that is in force with it: also the old list may be held.
struct Listing {
    draft: Option<Draft>,
    held: Option<AlarmNote>,
}

async fn listing(
    sweeper: &Sweeper,
    model: &ModelRuntime,
    state: &ModelState,
    figures: &BTreeMap<EndpointId, Figures>,
    now_us: Micros,
) -> Result<Listing, SweepError> {
    let previous = sweeper.store.allowlist(&model.config.id, None).await?;
    let previous: Option<Allowlist> = match previous {
        None => None,
        Some(stored) => Some(serde_json::from_str(&stored.list.document).map_err(|e| SweepError::State {
            model: model.config.id.clone(),
            reason: format!("its stored allowlist is damaged: {e}"),
        })?),
    };
    let endpoints = &model.config.endpoints;
    let draft = curation::allowlist(state, &model.config.policy, endpoints, previous.as_ref(), now_us, figures);
    let in_force = draft.as_ref().map(|d| &d.allowlist).or(previous.as_ref());
    let held = in_force.and_then(|list| curation::frozen_alarm(state, list));
    Ok(Listing { draft, held })
}

/// What `rank_by` may order by: price from the configuration, latency and throughput from the stored attempts.
async fn figures(
    sweeper: &Sweeper,
    model: &ModelRuntime,
    now_us: Micros,
) -> Result<BTreeMap<EndpointId, Figures>, SweepError> {
    if !model.config.policy.rank_by.needs_speeds() {
        return Ok(BTreeMap::new());
    }
    let measured = sweeper.speeds.of(&sweeper.store, &model.config.id, now_us).await?;
    let figure = |e: &crate::domain::Endpoint| {
        let speed = measured.endpoints.get(&e.id);
        let figures = Figures {
            latency_us: speed.and_then(|s| s.latency_us).map(|us| us as f64),
            tokens_per_second: speed.and_then(|s| s.tokens_per_second),
        };
        (e.id.clone(), figures)
    };
    Ok(model.config.endpoints.iter().map(figure).collect())
}

fn identified(sweeper: &Sweeper, model: &ModelId, decisions: Vec<NewDecision>) -> Vec<Decision> {
    decisions
        .into_iter()
        .map(|d| {
            let id = sweeper.ids.uuid(d.at_us);
            d.into_decision(id, model.clone())
        })
        .collect()
}

fn new_allowlist(draft: &Draft) -> NewAllowlist {
    let document = curation::render(&draft.allowlist);
    let Draft { allowlist, changed: _ } = draft;
    NewAllowlist {
        revision: allowlist.version,
        issued_at_us: time_of(&allowlist.issued_at),
        expires_at_us: time_of(&allowlist.expires_at),
        mode: allowlist.mode,
        etag: etag_of(document.as_bytes()),
        document,
    }
}

/// A time of the document. Drafts hold times that curation wrote itself.
fn time_of(text: &str) -> Micros {
    chrono::DateTime::parse_from_rfc3339(text).map_or(0, |t| t.timestamp_micros())
}

/// Tells the log, the metrics and the board what was committed.
fn announce(sweeper: &Sweeper, model: &ModelId, state: &ModelState, decisions: &[Decision], draft: Option<Draft>) {
    for d in decisions {
        info!(model = %d.model, endpoint = %d.endpoint, from = %d.from, to = %d.to, "{}", d.reason);
        let labels = StandingLabels {
            model: model.to_string(),
            endpoint: d.endpoint.to_string(),
            standing: d.to.name().to_owned(),
        };
        sweeper.metrics.decisions.get_or_create(&labels).inc();
    }
    gauges::show_standings(&sweeper.metrics, model, state);
    if let Some(draft) = draft {
        let list = new_allowlist(&draft);
        info!(%model, revision = list.revision, listed = draft.allowlist.providers.len(), "allowlist published");
        put_up(sweeper, model, list, draft.allowlist.providers.len());
    }
}

/// Puts a stored list on the board and into the metrics.
pub fn put_up(sweeper: &Sweeper, model: &ModelId, list: NewAllowlist, listed: usize) {
    let labels = ModelLabels { model: model.to_string() };
    sweeper.metrics.allowlist_version.get_or_create(&labels).set(i64::try_from(list.revision).unwrap_or(i64::MAX));
    sweeper.metrics.allowlist_providers.get_or_create(&labels).set(i64::try_from(listed).unwrap_or(i64::MAX));
    sweeper.metrics.allowlist_expiry.get_or_create(&labels).set(list.expires_at_us / 1_000_000);
    let body = bytes::Bytes::from(list.document);
    sweeper.board.publish(Published::new(model.clone(), list.revision, body, list.issued_at_us, list.expires_at_us));
}

async fn alarm_changes(
    sweeper: &Sweeper,
    model: &ModelId,
    kinds: &[&str],
    notes: &[AlarmNote],
    now_us: Micros,
) -> Result<(Vec<Alarm>, Vec<AlarmKey>), StoreError> {
    let key = |note: &AlarmNote| AlarmKey {
        model: Some(model.clone()),
        endpoint: note.endpoint.clone(),
        kind: note.kind.name().to_owned(),
    };
    let holding: Vec<AlarmKey> = notes.iter().map(key).collect();
    let open = notes
        .iter()
        .map(|note| Alarm {
            id: sweeper.ids.uuid(now_us),
            key: key(note),
            text: note.message.clone(),
            opened_at_us: now_us,
            closed_at_us: None,
        })
        .collect();
    let close = sweeper
        .store
        .open_alarms()
        .await?
        .into_iter()
        .map(|alarm| alarm.key)
        .filter(|k| k.model.as_ref() == Some(model) && kinds.contains(&k.kind.as_str()) && !holding.contains(k))
        .collect();
    Ok((open, close))
}

/// Opens an alarm of a model.
pub(super) async fn raise(sweeper: &Sweeper, model: &ModelId, kind: &str, text: &str) -> Result<(), StoreError> {
    let now_us = sweeper.clock.now_us();
    // Before the row: on a full disk the row cannot be written, and that is when the alarm is wanted.
    sweeper.metrics.set_alarms(model, kind, 1);
    let key = AlarmKey { model: Some(model.clone()), endpoint: None, kind: kind.to_owned() };
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
    let key = AlarmKey { model: Some(model.clone()), endpoint: None, kind: kind.to_owned() };
    sweeper.store.set_alarms(&[], &[key], sweeper.clock.now_us()).await?;
    Ok(())
}

/// The standings of a model's configured endpoints now.
///
/// # Errors
/// [`SweepError`].
pub async fn standings(sweeper: &Sweeper, model: &ModelId) -> Result<BTreeMap<EndpointId, Standing>, SweepError> {
    let base = load(&sweeper.store, model).await?;
    Ok(base.state.endpoints.iter().filter(|(_, e)| e.configured).map(|(id, e)| (id.clone(), e.standing)).collect())
}

/// The stored standings of the endpoints that a model is configured with; those never seen are Unknown.
///
/// # Errors
/// [`SweepError`].
pub async fn stored_standings(
    store: &Store,
    model: &ModelConfig,
) -> Result<BTreeMap<EndpointId, Standing>, SweepError> {
    let base = load(store, &model.id).await?;
    let standing = |id: &EndpointId| base.state.endpoints.get(id).map_or(Standing::Unknown, |e| e.standing);
    Ok(model.endpoints.iter().map(|e| (e.id.clone(), standing(&e.id))).collect())
}

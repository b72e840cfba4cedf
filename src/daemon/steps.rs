//! Steps of curation between the pure function and the store: what it builds on is read, what it gives is committed with
//! what it was made from, and told.

use std::collections::BTreeMap;

use tracing::{error, info, warn};

use super::gauges;
use super::runtime::{ModelRuntime, Runtime};
use super::sweeper::{SweepError, Sweeper};
use crate::clock::rfc3339;
use crate::curation::{
    self, Act, AlarmNote, Base, Draft, Figures, Form, HistoryError, ModelState, RULES, Record, Setting, Stepped, Tagged,
};
use crate::domain::live::Quarantined;
use crate::domain::{Allowlist, Capability, CaseId, Decision, EndpointId, Micros, ModelId, Suite};
use crate::metrics::StandingLabels;
use crate::publish::{Document, Origin, etag_of};
use crate::store::{Alarm, AlarmKey, CurationCommit, NewAllowlist, NewState, NewStep, Store, StoreError};

/// A step whose base has moved on is made anew this often at most. Each try follows a commit of somebody else.
pub(super) const TRIES_MAX: u32 = 20;

/// Whether an error means that another process was faster: read again and make the step anew.
pub(super) fn was_overtaken<T>(result: &Result<T, SweepError>) -> bool {
    let stale = |e: &StoreError| matches!(e, StoreError::StaleState { .. } | StoreError::StaleRevision { .. });
    matches!(result, Err(SweepError::Store(error)) if stale(error))
}

fn damaged(model: &ModelId, why: impl std::fmt::Display) -> SweepError {
    SweepError::State { model: model.clone(), reason: why.to_string() }
}

impl From<(&ModelId, HistoryError)> for SweepError {
    fn from((model, error): (&ModelId, HistoryError)) -> Self {
        damaged(model, error)
    }
}

/// A model's newest state, for reading.
pub(super) async fn state(store: &Store, model: &ModelId) -> Result<ModelState, SweepError> {
    match store.state(model).await? {
        None => Ok(ModelState::default()),
        Some(stored) => curation::decode(&stored.bytes).map_err(|e| damaged(model, e)),
    }
}

/// What tells a step from every other: its mark grows with every step of the model, and the state is what came of it.
pub(super) async fn identity(store: &Store, model: &ModelId, seq: u64) -> Result<Option<String>, StoreError> {
    Ok(store.step(model, seq).await?.map(|step| format!("{}-{}", step.mark_us, step.state_digest)))
}

/// What the next step of a model builds on.
pub(super) async fn base(store: &Store, model: &ModelId) -> Result<Base, SweepError> {
    let Some(stored) = store.state(model).await? else {
        let (list, lists) = (list_in_force(store, model).await?, capability_lists(store, model, None).await?);
        return Ok(Base { list, lists, ..Base::default() });
    };
    let state = curation::decode(&stored.bytes).map_err(|e| damaged(model, e))?;
    let (list, lists) = (list_in_force(store, model).await?, capability_lists(store, model, None).await?);
    let step = store.step(model, stored.seq).await?;
    let setting = match &step {
        None => None,
        Some(step) => {
            let json = store.setting(&step.setting).await?;
            Some(Setting::from_stored(&json).map_err(|e| (model, e))?)
        }
    };
    let mark_us = step.map_or(stored.at_us, |step| step.mark_us);
    Ok(Base { seq: stored.seq, at_us: stored.at_us, mark_us, state, list, lists, setting })
}

async fn list_in_force(store: &Store, model: &ModelId) -> Result<Option<Allowlist>, SweepError> {
    let Some(stored) = store.allowlist(model, None).await? else { return Ok(None) };
    let read = serde_json::from_str(&stored.list.document);
    read.map(Some).map_err(|e| damaged(model, format!("its stored allowlist is damaged: {e}")))
}

/// The lists of a model's capabilities: the newest, or those in force after a step.
pub(super) async fn capability_lists(
    store: &Store,
    model: &ModelId,
    up_to: Option<u64>,
) -> Result<BTreeMap<Capability, Allowlist>, SweepError> {
    let mut lists = BTreeMap::new();
    for stored in store.capability_lists(model, up_to).await? {
        let read = serde_json::from_str(&stored.list.document);
        let list: Allowlist = read.map_err(|e| damaged(model, format!("a stored allowlist is damaged: {e}")))?;
        lists.extend(stored.capability.map(|capability| (capability, list)));
    }
    Ok(lists)
}

/// The cases that carry a capability's tag, of the suites that judge a model.
pub(super) fn tagged(runtime: &Runtime, model: &ModelRuntime, capability: &Capability) -> Tagged {
    let of = |suite: &Suite| {
        let carries = |tags: &[String]| tags.iter().any(|tag| tag == capability.as_str());
        let mut cases: Vec<CaseId> =
            suite.cases.iter().filter(|case| carries(&case.tags)).map(|case| case.id.clone()).collect();
        cases.sort_unstable();
        cases
    };
    let suites = runtime.suites_of(&model.config).into_iter();
    let suites = suites.filter_map(|name| runtime.drawers.get(&name).map(|d| (name, of(d.suite()))));
    suites.filter(|(_, cases)| !cases.is_empty()).collect()
}

/// What the configuration says about a model.
pub(super) fn setting(runtime: &Runtime, model: &ModelRuntime) -> Setting {
    let suites = runtime.suites_of(&model.config).into_iter();
    let suites = suites.filter_map(|name| runtime.drawers.get(&name).map(|d| (name, d.suite().digest.clone())));
    let capabilities = model.config.policy.capabilities.iter();
    Setting {
        model: model.config.id.clone(),
        endpoints: model.config.endpoints.clone(),
        reference: model.config.reference.clone(),
        suites: suites.collect(),
        policy: model.config.policy.clone(),
        capabilities: capabilities.map(|c| (c.clone(), tagged(runtime, model, c))).collect(),
    }
}

/// What happened, with what live traffic keeps off the list, and with the figures that `rank_by` orders by: latency and throughput from the stored attempts, where the
/// policy needs them (price stands in the setting).
pub(super) async fn record(
    sweeper: &Sweeper,
    model: &ModelRuntime,
    act: Act,
    now_us: Micros,
) -> Result<Record, SweepError> {
    let overlay = curation::overlay_after(overlay(&sweeper.store, model).await?, &act, now_us);
    if !model.config.policy.rank_by.needs_speeds() {
        return Ok(Record { act, figures: BTreeMap::new(), overlay, form: Form::NEWEST });
    }
    let measured = sweeper.speeds.of(&sweeper.store, &model.config.id, now_us).await?;
    let figures = model.config.endpoints.iter().filter_map(|e| {
        let speed = measured.endpoints.get(&e.id)?;
        let figures = Figures {
            latency_us: speed.latency_us.map(|us| us as f64),
            tokens_per_second: speed.tokens_per_second.filter(|t| t.is_finite()),
        };
        Some((e.id.clone(), figures))
    });
    let figures: BTreeMap<EndpointId, Figures> = figures.collect();
    Ok(Record { act, figures, overlay, form: Form::NEWEST })
}

/// What the newest step says of endpoints that live traffic keeps off the list; nothing where the policy has no
/// quarantine (any more). Read after the base: whoever steps in between overtakes the step that is made.
pub(super) async fn overlay(store: &Store, model: &ModelRuntime) -> Result<Vec<Quarantined>, SweepError> {
    if !model.config.policy.quarantine.enabled {
        return Ok(Vec::new());
    }
    let id = &model.config.id;
    let Some(head) = store.state(id).await? else { return Ok(Vec::new()) };
    let Some(step) = store.step(id, head.seq).await? else { return Ok(Vec::new()) };
    Ok(Record::from_stored(&step.record).map_err(|e| (id, e))?.overlay)
}

/// What a step leaves in the store.
pub(super) async fn commit_of(
    sweeper: &Sweeper,
    base: &Base,
    (setting, record): (&Setting, &Record),
    stepped: &Stepped,
    at_us: Micros,
) -> Result<CurationCommit, SweepError> {
    let model = &setting.model;
    let (digest, json) = setting.to_stored().map_err(|e| (model, e))?;
    let step = NewStep {
        kind: record.act.name(),
        mark_us: stepped.mark_us,
        rules: RULES,
        setting: digest,
        setting_json: json,
        record: record.to_stored().map_err(|e| (model, e))?,
    };
    let (open, close) = alarm_changes(sweeper, model, stepped, at_us).await?;
    Ok(CurationCommit {
        state: Some(NewState { base: base.seq, bytes: curation::encode(&stepped.state), step }),
        decisions: stepped.decisions.clone(),
        open,
        close,
        allowlist: stepped.draft.as_ref().map(new_allowlist),
        capabilities: stepped
            .capabilities
            .iter()
            .filter_map(|(name, part)| Some((name.clone(), new_allowlist(part.draft.as_ref()?))))
            .collect(),
    })
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

/// All alarms that hold after a step, each with the capability whose list it concerns.
fn alarms(stepped: &Stepped) -> impl Iterator<Item = (Option<&Capability>, &AlarmNote)> {
    let of_capabilities =
        stepped.capabilities.iter().flat_map(|(name, part)| part.alarms.iter().map(move |note| (Some(name), note)));
    stepped.alarms.iter().map(|note| (None, note)).chain(of_capabilities)
}

async fn alarm_changes(
    sweeper: &Sweeper,
    model: &ModelId,
    stepped: &Stepped,
    now_us: Micros,
) -> Result<(Vec<Alarm>, Vec<AlarmKey>), StoreError> {
    let key = |(capability, note): (Option<&Capability>, &AlarmNote)| AlarmKey {
        model: Some(model.clone()),
        endpoint: note.endpoint.clone(),
        capability: capability.cloned(),
        kind: note.kind.name().to_owned(),
    };
    let holding: Vec<AlarmKey> = alarms(stepped).map(key).collect();
    let alarm = |(capability, note): (Option<&Capability>, &AlarmNote)| Alarm {
        id: sweeper.ids.uuid(now_us),
        key: key((capability, note)),
        text: note.message.clone(),
        opened_at_us: now_us,
        closed_at_us: None,
    };
    let open = alarms(stepped).map(alarm).collect();
    let governed = |key: &AlarmKey| {
        let part = key.capability.as_ref().and_then(|name| stepped.capabilities.get(name));
        part.map_or(stepped.governs, |part| part.governs).iter().any(|kind| kind.name() == key.kind)
    };
    let open_now = sweeper.store.open_alarms().await?.into_iter().map(|alarm| alarm.key);
    let close = open_now.filter(|k| k.model.as_ref() == Some(model) && governed(k) && !holding.contains(k));
    Ok((open, close.collect()))
}

/// Tells the log, the metrics and the board what was committed.
pub(super) async fn announce(sweeper: &Sweeper, model: &ModelId, stepped: &Stepped) {
    for (_, alarm) in alarms(stepped) {
        warn!(%model, kind = alarm.kind.name(), "alarm: {}", alarm.message);
    }
    // As stored: an alarm of a list that this step says nothing of stays open.
    if let Err(error) = gauges::show_stored_alarms(sweeper, model).await {
        warn!(%model, %error, "failed to count the open alarms; the next step counts them");
    }
    for d in &stepped.decisions {
        tell(d);
        if d.capability.is_some() {
            continue;
        }
        let labels = StandingLabels {
            model: model.to_string(),
            endpoint: d.endpoint.to_string(),
            standing: d.to.name().to_owned(),
        };
        sweeper.metrics.decisions.get_or_create(&labels).inc();
    }
    gauges::show_standings(&sweeper.metrics, model, &stepped.state);
    let own = stepped.draft.iter();
    for draft in own.chain(stepped.capabilities.values().filter_map(|part| part.draft.as_ref())) {
        let (list, listed) = (new_allowlist(draft), draft.allowlist.providers.len());
        let capability = draft.allowlist.capability.clone();
        match &capability {
            None => info!(%model, revision = list.revision, listed, "allowlist published"),
            Some(name) => info!(%model, capability = %name, revision = list.revision, listed, "allowlist published"),
        }
        put_up(sweeper, (model, capability), list, listed);
    }
}

fn tell(d: &Decision) {
    info!(model = %d.model, endpoint = %d.endpoint, from = %d.from, to = %d.to, at = rfc3339(d.at_us), "{}", d.reason);
}

/// Puts a stored list on the board and into the metrics.
pub(super) fn put_up(
    sweeper: &Sweeper,
    (model, capability): (&ModelId, Option<Capability>),
    list: NewAllowlist,
    listed: usize,
) {
    let document = match Document::read(bytes::Bytes::from(list.document)) {
        Ok(document) => document,
        // The list before it stays up: consumers fail static.
        Err(error) => {
            error!(%model, revision = list.revision, %error, "a stored allowlist cannot be served");
            return;
        }
    };
    sweeper.metrics.set_list(model, capability.as_ref(), list.revision, listed, list.expires_at_us / 1_000_000);
    sweeper.board.publish(document, Origin::Own);
}

//! What a sweep's end leaves: state, decisions, alarms and allowlist, all or nothing.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::error::{Result, StoreError};
use super::pool::{Arg, Row, Tx};
use super::rows::{count, id, json, parsed, parsed_option, to_json};
use super::sweeps::why_not_ours;
use super::{DecisionFilter, NewStep, Page, Store, history, listing, statements};
use crate::domain::{
    AllowlistMode, Capability, Decision, DecisionKind, EndpointId, Micros, ModelId, Revision, SweepId, SweepState,
};

/// States kept per model: the newest and the one before (the others can be made again from the history).
const STATES_KEPT: i64 = 2;

/// In place of a capability: the model's own list.
const OWN_LIST: &str = "";

/// A stored curation state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredState {
    /// Counts the model's states from 1.
    pub seq: u64,
    /// The sweep whose end made it.
    pub sweep: Option<SweepId>,
    /// When it was made.
    pub at_us: Micros,
    /// The state, opaque here.
    pub bytes: Vec<u8>,
}

/// A curation state to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewState {
    /// `seq` of the state that it was made from; 0 when there was none.
    pub base: u64,
    /// The state, opaque here.
    pub bytes: Vec<u8>,
    /// What it was made from.
    pub step: NewStep,
}

/// An allowlist to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAllowlist {
    /// Must be later than every stored one of the model and capability.
    pub revision: Revision,
    /// When it was made.
    pub issued_at_us: Micros,
    /// When it is out of date.
    pub expires_at_us: Micros,
    /// Why it is what it is.
    pub mode: AllowlistMode,
    /// The document: exactly the bytes served.
    pub document: String,
    /// Its entity tag, with quotes.
    pub etag: String,
}

/// A published allowlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAllowlist {
    /// The model.
    pub model: ModelId,
    /// The capability; `None`: the model's own list.
    pub capability: Option<Capability>,
    /// The sweep whose end published it.
    pub sweep: Option<SweepId>,
    /// The list.
    pub list: NewAllowlist,
}

/// What makes an open alarm unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AlarmKey {
    /// The model, when it concerns one.
    pub model: Option<ModelId>,
    /// The endpoint, when it concerns one.
    pub endpoint: Option<EndpointId>,
    /// The capability, when it concerns the list of one.
    pub capability: Option<Capability>,
    /// What kind: `stale_list`, `frozen`, `budget`, ...
    pub kind: String,
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Its id (UUIDv7).
    pub id: Uuid,
    /// What makes it unique while it is open.
    pub key: AlarmKey,
    /// What happened and what to do.
    pub text: String,
    /// When it was opened.
    pub opened_at_us: Micros,
    /// When it was closed; `None` while it is open.
    pub closed_at_us: Option<Micros>,
}

/// What curation leaves for one model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CurationCommit {
    /// The new state.
    pub state: Option<NewState>,
    /// Decisions, each with an id of its own.
    pub decisions: Vec<Decision>,
    /// Alarms to open; one that is open already stays as it is.
    pub open: Vec<Alarm>,
    /// Alarms to close; one that is not open is ignored.
    pub close: Vec<AlarmKey>,
    /// The new allowlist.
    pub allowlist: Option<NewAllowlist>,
    /// The new allowlists of capabilities.
    pub capabilities: BTreeMap<Capability, NewAllowlist>,
}

/// The end of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepEnd {
    /// The sweep.
    pub sweep: SweepId,
    /// Its model.
    pub model: ModelId,
    /// The fencing number of the claim.
    pub fence: i64,
    /// [`SweepState::Done`] or [`SweepState::Closed`].
    pub state: SweepState,
    /// When it ends.
    pub at_us: Micros,
    /// How it ended, in words; may be empty.
    pub note: String,
    /// What curation leaves; empty for a sweep without evidence.
    pub curation: CurationCommit,
}

impl Store {
    /// Ends a sweep with everything it leaves, in one transaction. What it spent is summed from its attempts, and its
    /// reservation ends.
    ///
    /// # Errors
    /// [`StoreError::StaleFence`], [`StoreError::NotRunning`], [`StoreError::StaleState`],
    /// [`StoreError::StaleRevision`], or those of the database; nothing was written then.
    pub async fn commit_sweep_end(&self, end: &SweepEnd) -> Result<()> {
        let state = if end.state == SweepState::Running { SweepState::Closed } else { end.state };
        let args =
            [Arg::Id(end.sweep.0), end.fence.into(), state.name().into(), end.at_us.into(), end.note.as_str().into()];
        let mut tx = self.pool.begin().await?;
        if tx.execute(statements::SWEEP_END, &args).await? == 0 {
            return Err(why_not_ours(&mut tx, end.sweep, end.fence).await?);
        }
        write(&mut tx, &end.model, Some(end.sweep), end.at_us, &end.curation).await?;
        tx.commit().await
    }

    /// Stores what curation leaves outside a sweep (an operator's act, a designated reference), in one transaction.
    ///
    /// # Errors
    /// [`StoreError::StaleState`], [`StoreError::StaleRevision`], or those of the database; nothing was written then.
    pub async fn commit_curation(&self, model: &ModelId, at_us: Micros, curation: &CurationCommit) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        write(&mut tx, model, None, at_us, curation).await?;
        tx.commit().await
    }

    /// The newest curation state of a model.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn state(&self, model: &ModelId) -> Result<Option<StoredState>> {
        self.pool.read_one(statements::STATE_NEWEST, &[model.as_str().into()], stored_state).await
    }

    /// The curation state before the newest.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn state_before(&self, model: &ModelId, seq: u64) -> Result<Option<StoredState>> {
        self.pool.read_one(statements::STATE_BEFORE, &[model.as_str().into(), signed(seq).into()], stored_state).await
    }

    /// The newest allowlist of every model and of every capability, sorted by model, its own first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn current_allowlists(&self) -> Result<Vec<StoredAllowlist>> {
        let mut found = self.pool.read(statements::ALLOWLISTS_CURRENT, &[], stored_allowlist).await?;
        found.sort_unstable_by(|a, b| a.model.cmp(&b.model).then_with(|| a.capability.cmp(&b.capability)));
        Ok(found)
    }

    /// An allowlist of a model: of a revision, or the newest.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn allowlist(&self, model: &ModelId, revision: Option<Revision>) -> Result<Option<StoredAllowlist>> {
        let own = [model.as_str().into(), OWN_LIST.into()];
        match revision {
            None => self.pool.read_one(statements::ALLOWLIST_NEWEST, &own, stored_allowlist).await,
            Some(revision) => {
                let args = [own[0], own[1], signed(revision).into()];
                self.pool.read_one(statements::ALLOWLIST_GET, &args, stored_allowlist).await
            }
        }
    }

    /// The newest allowlist of a capability of a model.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn capability_list(&self, model: &ModelId, capability: &Capability) -> Result<Option<StoredAllowlist>> {
        let args = [model.as_str().into(), capability.as_str().into()];
        self.pool.read_one(statements::ALLOWLIST_NEWEST, &args, stored_allowlist).await
    }

    /// The newest allowlist of every capability of a model; with a step's number: of those published up to it.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn capability_lists(&self, model: &ModelId, up_to: Option<u64>) -> Result<Vec<StoredAllowlist>> {
        let args = [model.as_str().into(), up_to.map_or(i64::MAX, signed).into()];
        self.pool.read(statements::CAPABILITY_LISTS, &args, stored_allowlist).await
    }

    /// The allowlists of capabilities that a step published.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn capability_lists_of_step(&self, model: &ModelId, seq: u64) -> Result<Vec<StoredAllowlist>> {
        let args = [model.as_str().into(), signed(seq).into()];
        self.pool.read(statements::CAPABILITY_LISTS_OF_STEP, &args, stored_allowlist).await
    }

    /// Decisions newest first, of one model and endpoint or of all; `limit` up to
    /// [`PAGE_ITEMS_MAX`](super::PAGE_ITEMS_MAX), `cursor` from the page before.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], or those of the database.
    pub async fn decisions(
        &self,
        model: Option<&ModelId>,
        endpoint: Option<&EndpointId>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Decision>> {
        let filter = DecisionFilter { model: model.cloned(), endpoint: endpoint.cloned(), ..DecisionFilter::default() };
        self.decisions_like(&filter, limit, cursor).await
    }

    /// As [`Store::decisions`], those that a filter lets through.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], or those of the database.
    pub async fn decisions_like(
        &self,
        filter: &DecisionFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Decision>> {
        let after = listing::cursor(cursor)?;
        let rest = [
            after.as_str().into(),
            Arg::Text(filter.endpoint.as_ref().map(EndpointId::as_str)),
            Arg::Text(filter.capability.as_ref().map(Capability::as_str)),
            Arg::Text(filter.kind.map(DecisionKind::name)),
            listing::rows(limit).into(),
        ];
        let found = match &filter.model {
            None => self.pool.read(statements::DECISIONS_OF_ALL, &rest, decision).await?,
            Some(model) => {
                let args = [model.as_str().into(), rest[0], rest[1], rest[2], rest[3], rest[4]];
                self.pool.read(statements::DECISIONS_LIST, &args, decision).await?
            }
        };
        Ok(Page::of(found, limit, |decision| decision.id.to_string()))
    }

    /// Opens and closes alarms. One that is open already takes the new text: it says what holds. Gives the alarms that were
    /// not open before.
    ///
    /// # Errors
    /// [`StoreError`] of the database; nothing was written then.
    pub async fn set_alarms(&self, open: &[Alarm], close: &[AlarmKey], now_us: Micros) -> Result<Vec<Uuid>> {
        let mut tx = self.pool.begin().await?;
        let opened = write_alarms(&mut tx, open, close, now_us).await?;
        tx.commit().await?;
        Ok(opened)
    }

    /// The alarms that are open, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn open_alarms(&self) -> Result<Vec<Alarm>> {
        self.pool.read(statements::ALARMS_OPEN, &[], alarm).await
    }

    /// Alarms newest first, of one model or of all; `limit` up to [`PAGE_ITEMS_MAX`](super::PAGE_ITEMS_MAX).
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], or those of the database.
    pub async fn alarms(&self, model: Option<&ModelId>, limit: usize, cursor: Option<&str>) -> Result<Page<Alarm>> {
        let after = listing::cursor(cursor)?;
        let args = [after.as_str().into(), Arg::Text(model.map(ModelId::as_str)), Arg::from(listing::rows(limit))];
        let found = self.pool.read(statements::ALARMS_LIST, &args, alarm).await?;
        Ok(Page::of(found, limit, |alarm| alarm.id.to_string()))
    }
}

async fn write(
    tx: &mut Tx,
    model: &ModelId,
    sweep: Option<SweepId>,
    at_us: Micros,
    curation: &CurationCommit,
) -> Result<()> {
    let CurationCommit { state, decisions, open, close, allowlist, capabilities } = curation;
    let sweep = sweep.map(|id| id.to_string());
    let seq = state.as_ref().map(|s| s.base.saturating_add(1));
    if let Some(state) = state {
        write_state(tx, model, sweep.as_deref(), at_us, state).await?;
        let made = (decisions.len(), allowlist.as_ref().map(|list| list.revision));
        let place = (model, state.base.saturating_add(1));
        history::write_step(tx, place, sweep.as_deref(), at_us, (&state.step, &state.bytes), made).await?;
    }
    for decision in decisions {
        write_decision(tx, decision, seq).await?;
    }
    write_alarms(tx, open, close, at_us).await?;
    if let Some(list) = allowlist {
        write_allowlist(tx, (model, None), (sweep.as_deref(), seq), list).await?;
    }
    for (capability, list) in capabilities {
        write_allowlist(tx, (model, Some(capability)), (sweep.as_deref(), seq), list).await?;
    }
    if let Some(seq) = seq {
        history::keep_from_time_to_time(tx, model, seq).await?;
    }
    Ok(())
}

/// The state must follow the newest one. Two ends that read the same state cannot both get its successor's number.
async fn write_state(tx: &mut Tx, model: &ModelId, sweep: Option<&str>, at_us: Micros, state: &NewState) -> Result<()> {
    let stale = || StoreError::StaleState { model: model.clone(), base: state.base };
    let newest = tx.read_one(statements::STATE_SEQ, &[model.as_str().into()], |row| count(row, 0)).await?;
    if newest != Some(state.base) {
        return Err(stale());
    }
    history::keep_base(tx, model, state.base, state.step.rules).await?;
    let seq = signed(state.base).saturating_add(1);
    let args = [model.as_str().into(), seq.into(), Arg::Text(sweep), at_us.into(), Arg::Bytes(&state.bytes)];
    if tx.execute(statements::STATE_ADD, &args).await? == 0 {
        return Err(stale());
    }
    let oldest = seq.saturating_sub(STATES_KEPT - 1);
    tx.execute(statements::STATE_FORGET, &[model.as_str().into(), oldest.into()]).await?;
    Ok(())
}

async fn write_decision(tx: &mut Tx, decision: &Decision, seq: Option<u64>) -> Result<()> {
    let sweep = decision.sweep.map(|id| id.to_string());
    let evidence = to_json(&decision.evidence)?;
    let args = [
        Arg::Id(decision.id),
        decision.model.as_str().into(),
        decision.endpoint.as_str().into(),
        Arg::Text(sweep.as_deref()),
        decision.at_us.into(),
        decision.kind.name().into(),
        decision.from.name().into(),
        decision.to.name().into(),
        Arg::Text(decision.suite.as_ref().map(crate::domain::SuiteName::as_str)),
        decision.reason.as_str().into(),
        evidence.as_str().into(),
        Arg::Text(decision.capability.as_ref().map(Capability::as_str)),
        Arg::Int(seq.map(signed)),
    ];
    tx.execute(statements::DECISION_ADD, &args).await?;
    Ok(())
}

async fn write_alarms(tx: &mut Tx, open: &[Alarm], close: &[AlarmKey], now_us: Micros) -> Result<Vec<Uuid>> {
    for key in close {
        let [model, endpoint, kind, capability] = alarm_args(key);
        tx.execute(statements::ALARM_CLOSE, &[model, endpoint, kind, capability, now_us.into()]).await?;
    }
    let mut opened = Vec::new();
    for alarm in open {
        let [model, endpoint, kind, capability] = alarm_args(&alarm.key);
        let text = alarm.text.as_str().into();
        let args = [Arg::Id(alarm.id), model, endpoint, kind, capability, text, alarm.opened_at_us.into()];
        if tx.execute(statements::ALARM_OPEN, &args).await? == 1 {
            opened.push(alarm.id);
        } else {
            let [model, endpoint, kind, capability] = alarm_args(&alarm.key);
            tx.execute(statements::ALARM_RENEW, &[model, endpoint, kind, capability, alarm.text.as_str().into()])
                .await?;
        }
    }
    Ok(opened)
}

fn alarm_args(key: &AlarmKey) -> [Arg<'_>; 4] {
    let model = key.model.as_ref().map_or("", ModelId::as_str);
    let endpoint = key.endpoint.as_ref().map_or("", EndpointId::as_str);
    let capability = key.capability.as_ref().map_or(OWN_LIST, Capability::as_str);
    [model.into(), endpoint.into(), key.kind.as_str().into(), capability.into()]
}

async fn write_allowlist(
    tx: &mut Tx,
    (model, capability): (&ModelId, Option<&Capability>),
    (sweep, seq): (Option<&str>, Option<u64>),
    list: &NewAllowlist,
) -> Result<()> {
    let args = [
        model.as_str().into(),
        signed(list.revision).into(),
        list.issued_at_us.into(),
        list.expires_at_us.into(),
        mode_name(list.mode).into(),
        list.document.as_str().into(),
        list.etag.as_str().into(),
        Arg::Text(sweep),
        capability.map_or(OWN_LIST, Capability::as_str).into(),
        Arg::Int(seq.map(signed)),
    ];
    if tx.execute(statements::ALLOWLIST_ADD, &args).await? == 0 {
        return Err(StoreError::StaleRevision { model: model.clone(), revision: list.revision });
    }
    Ok(())
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn mode_name(mode: AllowlistMode) -> &'static str {
    match mode {
        AllowlistMode::Normal => "normal",
        AllowlistMode::Frozen => "frozen",
        AllowlistMode::Bootstrap => "bootstrap",
    }
}

fn mode(text: &str) -> Result<AllowlistMode> {
    [AllowlistMode::Normal, AllowlistMode::Frozen, AllowlistMode::Bootstrap]
        .into_iter()
        .find(|mode| mode_name(*mode) == text)
        .ok_or_else(|| StoreError::Corrupt(format!("an allowlist of mode {text:?} is stored")))
}

fn decision_kind(text: &str) -> Result<DecisionKind> {
    DecisionKind::by_name(text).ok_or_else(|| StoreError::Corrupt(format!("a decision of kind {text:?} is stored")))
}

fn none_if_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn stored_state(row: &Row) -> Result<StoredState> {
    Ok(StoredState { seq: count(row, 0)?, sweep: parsed_option(row, 1)?, at_us: row.get(2)?, bytes: row.get(3)? })
}

fn stored_allowlist(row: &Row) -> Result<StoredAllowlist> {
    Ok(StoredAllowlist {
        model: parsed(row, 0)?,
        capability: none_if_empty(row.get(8)?).map(|text| super::rows::parse(&text)).transpose()?,
        sweep: parsed_option(row, 7)?,
        list: NewAllowlist {
            revision: count(row, 1)?,
            issued_at_us: row.get(2)?,
            expires_at_us: row.get(3)?,
            mode: mode(row.get(4)?)?,
            document: row.get(5)?,
            etag: row.get(6)?,
        },
    })
}

pub(super) fn decision(row: &Row) -> Result<Decision> {
    Ok(Decision {
        id: id(row, 0)?,
        model: parsed(row, 1)?,
        endpoint: parsed(row, 2)?,
        sweep: parsed_option(row, 3)?,
        at_us: row.get(4)?,
        kind: decision_kind(row.get(5)?)?,
        from: parsed(row, 6)?,
        to: parsed(row, 7)?,
        suite: parsed_option(row, 8)?,
        reason: row.get(9)?,
        evidence: json(row.get(10)?)?,
        capability: parsed_option(row, 11)?,
    })
}

fn alarm(row: &Row) -> Result<Alarm> {
    let model = none_if_empty(row.get(1)?).map(|text| super::rows::parse(&text)).transpose()?;
    let endpoint = none_if_empty(row.get(2)?).map(|text| super::rows::parse(&text)).transpose()?;
    let capability = none_if_empty(row.get(7)?).map(|text| super::rows::parse(&text)).transpose()?;
    Ok(Alarm {
        id: id(row, 0)?,
        key: AlarmKey { model, endpoint, capability, kind: row.get(3)? },
        text: row.get(4)?,
        opened_at_us: row.get(5)?,
        closed_at_us: row.get(6)?,
    })
}

//! Replay: makes the steps of a model again from what is stored, and compares them byte for byte; or tells what would
//! have been published under another policy.
//!
//! It begins at the first step, or where the attempts behind the first steps were pruned at the oldest checkpoint from
//! which every later step can be made again. Steps are read page by page, a sweep's attempts one sweep at a time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::steps;
use super::sweeper::SweepError;
use crate::curation::{self, Act, Base, Input, RULES, Record, Setting, Stepped};
use crate::domain::{
    Allowlist, AllowlistMode, Capability, Decision, EndpointId, Micros, ModelId, OutcomeRow, Policy, Revision,
    Standing, SweepPlan,
};
use crate::store::{Store, StoreError, StoredStep};

/// Steps that are read at once.
const PAGE_STEPS: usize = 200;
/// Longest text of a difference that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 400;
/// Text before the first different character that is shown.
const SHOWN_BEFORE: usize = 40;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// Only up to the step that published this revision.
    pub revision: Option<Revision>,
    /// Instead of the policies in force then.
    pub policy: Option<Policy>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// The model.
    pub model: ModelId,
    /// The step from whose state it began; 0: from nothing.
    pub from_step: u64,
    /// The last step that was made again.
    pub to_step: u64,
    /// Sweeps that were folded again.
    pub sweeps: u64,
    /// Decisions that were made again.
    pub decisions: u64,
    /// Allowlists that were made again: the model's own.
    pub revisions: u64,
    /// Those of its capabilities.
    pub capability_revisions: u64,
    /// Why it could not begin at the first step.
    pub note: Option<String>,
    /// Where what was made again first differs from what is stored.
    pub difference: Option<Difference>,
    /// What another policy would have changed; only when one was given.
    pub counterfactual: Option<Counterfactual>,
}

/// A place where what is stored and what follows from it differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The step.
    pub step: u64,
    /// What differs.
    pub what: String,
    /// As stored.
    pub stored: String,
    /// As made again.
    pub replayed: String,
}

/// Another policy's `capabilities` have no effect: sweeps froze anchors for those of their time alone.
const OTHER_CAPABILITIES: &str = "the other policy names other capabilities: that is left out, every step keeps the \
    capabilities of its time, for its sweep froze no anchors for others";

/// What another policy would have changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Counterfactual {
    /// Differences of the lists, as they change over time.
    pub lists: Vec<ListChange>,
    /// Endpoints that would stand elsewhere at the end.
    pub standings: Vec<StandingChange>,
}

/// From a step on the lists differ so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListChange {
    /// The step.
    pub step: u64,
    /// When.
    pub at_us: Micros,
    /// The revision in force then.
    pub revision: Option<Revision>,
    /// What was published.
    pub was: Brief,
    /// What would have been; equal to `was` when the lists meet again.
    pub would: Brief,
}

/// A list in brief.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Brief {
    /// Why it is what it is.
    pub mode: Option<AllowlistMode>,
    /// Endpoints with their weights, in routing order.
    pub listed: Vec<(EndpointId, u32)>,
}

/// An endpoint that would stand elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StandingChange {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Where it stood.
    pub was: Standing,
    /// Where it would have stood.
    pub would: Standing,
    /// The sentence of the decision that would have put it there.
    pub reason: String,
}

/// Why a replay cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store, or something in it that cannot be read.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// There is nothing yet.
    #[error("no step of {0} is stored: it has not been swept, or only before its history was kept")]
    NoHistory(ModelId),
    /// The revision is not there, or from before the history.
    #[error("revision {revision} of {model} cannot be recomputed: {why}")]
    Revision {
        /// The model.
        model: ModelId,
        /// The revision.
        revision: Revision,
        /// Why.
        why: String,
    },
}

impl From<StoreError> for ReplayError {
    fn from(error: StoreError) -> Self {
        ReplayError::Sweep(SweepError::Store(error))
    }
}

/// Makes a model's steps again.
///
/// # Errors
/// [`ReplayError`]. What differs is no error: it is told.
pub async fn replay(store: &Store, model: &ModelId, options: &ReplayOptions) -> Result<Replayed, ReplayError> {
    let (base, until, note) = beginning(store, model, options.revision).await?;
    let mut run = Run {
        store,
        model,
        policy: options.policy.as_ref(),
        stored_list: base.list.clone(),
        base,
        settings: None,
        out: Replayed {
            model: model.clone(),
            from_step: 0,
            to_step: 0,
            sweeps: 0,
            decisions: 0,
            revisions: 0,
            capability_revisions: 0,
            note,
            difference: None,
            counterfactual: options.policy.as_ref().map(|_| Counterfactual::default()),
        },
        shown: None,
    };
    (run.out.from_step, run.out.to_step) = (run.base.seq, run.base.seq);
    loop {
        let before = run.base.seq;
        run.all(until).await?;
        // A daemon that works on the store may have gone on meanwhile: then so does the replay.
        if !run.finish(until).await? || run.base.seq == before {
            return Ok(run.out);
        }
    }
}

/// Where to begin, where to end, and why not at the first step.
async fn beginning(
    store: &Store,
    model: &ModelId,
    revision: Option<Revision>,
) -> Result<(Base, Option<u64>, Option<String>), ReplayError> {
    let Some(first) = store.steps(model, 0, 1).await?.into_iter().next() else {
        return Err(ReplayError::NoHistory(model.clone()));
    };
    let until = match revision {
        None => None,
        Some(revision) => Some(step_of(store, model, revision).await?),
    };
    let horizon = store.replay_horizon(model, RULES).await?;
    let checkpoints = store.checkpoints(model).await?;
    let whole = first.seq == 1 && horizon == 0;
    // Of one revision the nearest start does; of all of them the earliest.
    let start = match until {
        Some(until) => checkpoints.iter().copied().filter(|c| *c >= horizon && *c < until).max(),
        None if whole => None,
        None => checkpoints.iter().copied().filter(|c| *c >= horizon).min(),
    };
    let note = |start: u64| {
        (!whole).then(|| {
            format!("steps up to {start} cannot be made again: their attempts were pruned, or other rules made them")
        })
    };
    match (start, whole) {
        (Some(start), _) => Ok((at_checkpoint(store, model, start).await?, until, note(start))),
        (None, true) => Ok((Base::default(), until, None)),
        // Other rules made every step so far: the newest state is where the next one begins.
        (None, false) if until.is_none() => {
            let base = steps::base(store, model).await?;
            let note = note(base.seq);
            Ok((base, None, note))
        }
        (None, false) => {
            let oldest = checkpoints.iter().find(|c| **c >= horizon).copied().unwrap_or(horizon);
            let why = format!("the attempts behind it were pruned; steps after {oldest} can be recomputed");
            Err(ReplayError::Revision { model: model.clone(), revision: revision.unwrap_or_default(), why })
        }
    }
}

async fn step_of(store: &Store, model: &ModelId, revision: Revision) -> Result<u64, ReplayError> {
    if let Some(step) = store.step_of_revision(model, revision).await? {
        return Ok(step);
    }
    let newest = store.allowlist(model, None).await?.map_or(0, |list| list.list.revision);
    let why = match store.allowlist(model, Some(revision)).await? {
        Some(_) => "it was published before the history of decisions was kept".to_owned(),
        None => format!("there is no such revision; the newest is {newest}"),
    };
    Err(ReplayError::Revision { model: model.clone(), revision, why })
}

async fn at_checkpoint(store: &Store, model: &ModelId, seq: u64) -> Result<Base, ReplayError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("{what} of {model} at step {seq} is missing"));
    let kept = store.checkpoint(model, seq).await?.ok_or_else(|| corrupt("the checkpoint"))?;
    let state =
        curation::decode(&kept.bytes).map_err(|e| SweepError::State { model: model.clone(), reason: e.to_string() })?;
    let list = match kept.revision {
        None => None,
        Some(revision) => {
            let stored = store.allowlist(model, Some(revision)).await?.ok_or_else(|| corrupt("the list"))?;
            Some(read_list(model, &stored.list.document)?)
        }
    };
    let step = store.step(model, seq).await?;
    let setting = match &step {
        None => None,
        Some(step) => Some(setting_of(store, model, &step.setting).await?),
    };
    let lists = steps::capability_lists(store, model, Some(seq)).await?;
    let mark_us = step.map_or(kept.at_us, |s| s.mark_us);
    Ok(Base { seq, at_us: kept.at_us, mark_us, state, list, lists, setting })
}

fn read_list(model: &ModelId, document: &str) -> Result<Allowlist, SweepError> {
    serde_json::from_str(document)
        .map_err(|e| SweepError::State { model: model.clone(), reason: format!("a stored allowlist is damaged: {e}") })
}

async fn setting_of(store: &Store, model: &ModelId, digest: &str) -> Result<Setting, ReplayError> {
    let json = store.setting(digest).await?;
    Ok(Setting::from_stored(&json).map_err(|e| SweepError::from((model, e)))?)
}

/// A replay in progress.
struct Run<'a> {
    store: &'a Store,
    model: &'a ModelId,
    policy: Option<&'a Policy>,
    base: Base,
    /// The list in force as stored.
    stored_list: Option<Allowlist>,
    /// The last setting, by its digest: it seldom changes.
    settings: Option<(String, Setting)>,
    /// The difference of lists that was told last.
    shown: Option<(Brief, Brief)>,
    out: Replayed,
}

/// What a step read beside its record.
struct Read {
    setting: Setting,
    record: Record,
    sweep: Option<(SweepPlan, Vec<OutcomeRow>)>,
}

impl Run<'_> {
    async fn all(&mut self, until: Option<u64>) -> Result<(), ReplayError> {
        loop {
            let page = self.store.steps(self.model, self.base.seq, PAGE_STEPS).await?;
            if page.is_empty() {
                return Ok(());
            }
            for step in page {
                if until.is_some_and(|until| step.seq > until) {
                    return Ok(());
                }
                self.one(&step).await?;
                if self.out.difference.is_some() {
                    return Ok(());
                }
            }
        }
    }

    async fn one(&mut self, stored: &StoredStep) -> Result<(), ReplayError> {
        if stored.seq != self.base.seq + 1 {
            self.differs(stored.seq, "number of the step", &stored.seq.to_string(), &(self.base.seq + 1).to_string());
            return Ok(());
        }
        let Some(read) = self.read(stored).await? else { return Ok(()) };
        let sweep = read.sweep.as_ref().map(|(plan, rows)| (plan, rows.as_slice()));
        let input = Input { at_us: stored.at_us, setting: &read.setting, record: &read.record, sweep };
        let made = curation::step(&self.base, &input);
        self.out.sweeps += u64::from(read.sweep.is_some());
        match (made, self.policy) {
            (Ok(made), None) => {
                self.compare(stored, &made).await?;
                self.advance(stored, made, read.setting);
            }
            (Err(refused), None) => self.differs(stored.seq, "the order", "carried out", &refused.to_string()),
            (made, Some(_)) => {
                if let Some(revision) = stored.revision {
                    self.stored_list = Some(self.stored(revision).await?.1);
                }
                match made {
                    Ok(made) => self.advance(stored, made, read.setting),
                    // Under the other policy there was nothing to acknowledge, for instance.
                    Err(_) => {
                        self.base.seq = stored.seq;
                        self.out.to_step = stored.seq;
                    }
                }
                self.tell_lists(stored);
            }
        }
        Ok(())
    }

    /// Everything that the step was made from; `None` when something of it is gone (a difference).
    async fn read(&mut self, stored: &StoredStep) -> Result<Option<Read>, ReplayError> {
        let mut setting = match self.settings.take() {
            Some((digest, setting)) if digest == stored.setting => setting,
            _ => setting_of(self.store, self.model, &stored.setting).await?,
        };
        self.settings = Some((stored.setting.clone(), setting.clone()));
        if let Some(policy) = self.policy {
            if policy.capabilities != setting.policy.capabilities && self.out.note.is_none() {
                self.out.note = Some(OTHER_CAPABILITIES.to_owned());
            }
            setting.policy = policy.clone();
            if let Some(before) = &mut self.base.setting {
                before.policy = policy.clone();
            }
        }
        let record = Record::from_stored(&stored.record).map_err(|e| SweepError::from((self.model, e)))?;
        let Act::Sweep { attempts, .. } = record.act else { return Ok(Some(Read { setting, record, sweep: None })) };
        let plan = match stored.sweep {
            None => None,
            Some(id) => self.store.sweep(id).await?.and_then(|s| s.plan),
        };
        let Some(plan) = plan else {
            self.differs(stored.seq, "plan of the sweep", "missing", "needed");
            return Ok(None);
        };
        let rows = self.store.rows_to_fold(&plan).await?;
        let rows: Vec<OutcomeRow> = rows.iter().map(|row| row.outcome(setting.policy.graded)).collect();
        if rows.len() as u64 != attempts {
            let what = format!("attempts of sweep {} (those folded then stand right)", plan.ordinal);
            self.differs(stored.seq, &what, &rows.len().to_string(), &attempts.to_string());
            return Ok(None);
        }
        Ok(Some(Read { setting, record, sweep: Some((plan, rows)) }))
    }

    fn advance(&mut self, stored: &StoredStep, made: Stepped, setting: Setting) {
        self.out.to_step = stored.seq;
        self.out.decisions += made.decisions.len() as u64;
        let of_capabilities = made.capabilities.values().filter(|part| part.draft.is_some()).count();
        self.out.revisions += u64::from(made.draft.is_some());
        self.out.capability_revisions += of_capabilities as u64;
        let before = std::mem::take(&mut self.base);
        self.base = made.into_base(stored.at_us, before, setting);
    }

    // ------------------------------------------------------------------------------------------------------ compare

    async fn compare(&mut self, stored: &StoredStep, made: &Stepped) -> Result<(), ReplayError> {
        let decisions = self.store.decisions_of_step(self.model, stored.seq).await?;
        let (was, is) = (lines(&decisions), lines(&made.decisions));
        if was != is {
            let at = was.iter().zip(&is).position(|(a, b)| a != b).unwrap_or(was.len().min(is.len()));
            let of = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "none".to_owned());
            self.differs(stored.seq, &format!("decision {} of {}", at + 1, was.len()), &of(&was), &of(&is));
            return Ok(());
        }
        let replayed = made.draft.as_ref().map(|d| (d.allowlist.version, curation::render(&d.allowlist)));
        let published = match stored.revision {
            None => None,
            Some(revision) => Some((revision, self.stored(revision).await?.0)),
        };
        if published != replayed {
            let show = |list: Option<(Revision, String)>| list.map_or("no list".to_owned(), |(_, document)| document);
            let revision = published.as_ref().or(replayed.as_ref()).map_or(0, |(revision, _)| *revision);
            self.differs(stored.seq, &format!("allowlist revision {revision}"), &show(published), &show(replayed));
            return Ok(());
        }
        if self.compare_capabilities(stored, made).await? {
            return Ok(());
        }
        let digest = crate::domain::canonical::sha256_hex(&curation::encode(&made.state));
        if digest != stored.state_digest {
            self.differs(stored.seq, "bytes of the state (SHA-256)", &stored.state_digest, &digest);
        }
        if made.mark_us != stored.mark_us {
            self.differs(stored.seq, "mark", &stored.mark_us.to_string(), &made.mark_us.to_string());
        }
        Ok(())
    }

    /// The documents of the capabilities' lists; `true`: they differ.
    async fn compare_capabilities(&mut self, stored: &StoredStep, made: &Stepped) -> Result<bool, ReplayError> {
        let published = self.store.capability_lists_of_step(self.model, stored.seq).await?;
        let published = published.into_iter().filter_map(|list| Some((list.capability?, list.list.document)));
        let published: BTreeMap<Capability, String> = published.collect();
        let drafts = made.capabilities.iter().filter_map(|(name, part)| Some((name, part.draft.as_ref()?)));
        let replayed: BTreeMap<Capability, String> =
            drafts.map(|(name, draft)| (name.clone(), curation::render(&draft.allowlist))).collect();
        let names = published.keys().chain(replayed.keys());
        let Some(capability) = names.into_iter().find(|name| published.get(*name) != replayed.get(*name)) else {
            return Ok(false);
        };
        let show =
            |lists: &BTreeMap<Capability, String>| lists.get(capability).map_or("no list", String::as_str).to_owned();
        let what = format!("allowlist of capability {capability}");
        self.differs(stored.seq, &what, &show(&published), &show(&replayed));
        Ok(true)
    }

    async fn stored(&self, revision: Revision) -> Result<(String, Allowlist), ReplayError> {
        let missing = || StoreError::Corrupt(format!("revision {revision} of {} is missing", self.model));
        let document = self.store.allowlist(self.model, Some(revision)).await?.ok_or_else(missing)?.list.document;
        let list = read_list(self.model, &document)?;
        Ok((document, list))
    }

    fn differs(&mut self, step: u64, what: &str, stored: &str, replayed: &str) {
        if self.out.difference.is_none() {
            let (stored, replayed) = around_the_difference(stored, replayed);
            self.out.difference = Some(Difference { step, what: what.to_owned(), stored, replayed });
        }
    }

    /// The state that is stored as the newest must be the one that the last step gives. `true`: there are newer steps.
    async fn finish(&mut self, until: Option<u64>) -> Result<bool, ReplayError> {
        let Some(newest) = self.store.state(self.model).await? else { return Ok(false) };
        if until.is_some() || self.out.difference.is_some() {
            return Ok(false);
        }
        if newest.seq > self.base.seq && self.store.step(self.model, self.base.seq + 1).await?.is_some() {
            return Ok(true);
        }
        if self.policy.is_some() {
            let state = curation::decode(&newest.bytes)
                .map_err(|e| SweepError::State { model: self.model.clone(), reason: e.to_string() })?;
            self.tell_standings(&state);
        } else if newest.seq != self.base.seq {
            let (was, is) = (newest.seq.to_string(), self.base.seq.to_string());
            self.differs(newest.seq, "number of the newest state", &was, &is);
        } else if newest.bytes != curation::encode(&self.base.state) {
            self.differs(newest.seq, "bytes of the newest state", "stored otherwise", "made again");
        }
        Ok(false)
    }

    // ----------------------------------------------------------------------------------------------- another policy

    fn tell_lists(&mut self, stored: &StoredStep) {
        let (was, would) = (brief(self.stored_list.as_ref()), brief(self.base.list.as_ref()));
        let equal = was == would;
        let now = (was, would);
        // Told when the difference changes; the end of a difference is told as well.
        let is_new = match &self.shown {
            None => !equal,
            Some(shown) => *shown != now && !(equal && shown.0 == shown.1),
        };
        if let (true, Some(out)) = (is_new, &mut self.out.counterfactual) {
            let (was, would) = now.clone();
            let revision = self.stored_list.as_ref().map(|l| l.version);
            out.lists.push(ListChange { step: stored.seq, at_us: stored.at_us, revision, was, would });
            self.shown = Some(now);
        }
    }

    fn tell_standings(&mut self, stored: &curation::ModelState) {
        let Some(out) = &mut self.out.counterfactual else { return };
        let standing = |e: Option<&curation::EndpointState>| e.map_or(Standing::Unknown, |e| e.standing);
        let would: &BTreeMap<EndpointId, curation::EndpointState> = &self.base.state.endpoints;
        for (id, endpoint) in stored.endpoints.iter().filter(|(_, e)| e.configured) {
            let other = would.get(id);
            if standing(other) != endpoint.standing {
                out.standings.push(StandingChange {
                    endpoint: id.clone(),
                    was: endpoint.standing,
                    would: standing(other),
                    reason: other.map(|e| e.last_reason.clone()).unwrap_or_default(),
                });
            }
        }
    }
}

fn brief(list: Option<&Allowlist>) -> Brief {
    Brief {
        mode: list.map(|l| l.mode),
        listed: list.map(|l| l.providers.iter().map(|p| (p.id.clone(), p.weight)).collect()).unwrap_or_default(),
    }
}

/// Decisions as text, one a line: equal decisions give equal lines.
fn lines(decisions: &[Decision]) -> Vec<String> {
    decisions.iter().map(|d| serde_json::to_string(d).unwrap_or_default()).collect()
}

/// Both texts from shortly before their first difference on.
fn around_the_difference(a: &str, b: &str) -> (String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
    let skip = same.saturating_sub(SHOWN_BEFORE);
    let cut = |text: &str| {
        let shown: String = text.chars().skip(skip).take(SHOWN_CHARS_MAX).collect();
        let more = text.chars().count() > skip + SHOWN_CHARS_MAX;
        format!("{}{shown}{}", if skip > 0 { "…" } else { "" }, if more { "…" } else { "" })
    };
    (cut(a), cut(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_what_stands_before_it() {
        let (a, b) = (format!("{}x{}", "é".repeat(100), "z".repeat(1000)), format!("{}y", "é".repeat(100)));
        let (a, b) = around_the_difference(&a, &b);
        assert!(a.starts_with('…') && a.ends_with('…') && a.contains("éxz"), "{a}");
        assert!(b.starts_with('…') && b.ends_with("éy"), "{b}");
        assert_eq!(around_the_difference("1", "2"), ("1".to_owned(), "2".to_owned()));
    }
}

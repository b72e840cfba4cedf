//! One step of a model's curation: a pure function of the state before it and of what its history holds.
//!
//! The daemon makes every commit by this function, and a replay makes it again.

use std::collections::BTreeMap;

use serde_json::json;

use crate::domain::{
    Allowlist, AllowlistMode, Capability, Decision, EndpointId, Micros, Order, OutcomeRow, Policy, Revision, SweepPlan,
};

use super::allowlist::{Draft, frozen_alarm, issue};
use super::capabilities::{self, Part};
use super::decision::{AlarmKind, AlarmNote, NewDecision};
use super::fold::{SweepRecord, fold_sweep};
use super::history::{Act, Record, Setting, decision_id};
use super::notes;
use super::operator::{Refused, operate};
use super::quarantine;
use super::state::ModelState;
use super::sync::{sync_endpoints, sync_suites, upstream_changes};

/// What a step builds on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Base {
    /// Number of the last step; 0 before the first.
    pub seq: u64,
    /// What the clock said at the last step.
    pub at_us: Micros,
    /// Its mark: grows with every step, whatever the clock does.
    pub mark_us: Micros,
    /// The state after it.
    pub state: ModelState,
    /// The allowlist in force.
    pub list: Option<Allowlist>,
    /// The newest lists of capabilities, also of those that the policy no longer asks for: their revisions go on.
    pub lists: BTreeMap<Capability, Allowlist>,
    /// The setting of the last step, when it is known.
    pub setting: Option<Setting>,
}

/// What a step is given.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What the clock says.
    pub at_us: Micros,
    /// What the configuration says.
    pub setting: &'a Setting,
    /// What happened.
    pub record: &'a Record,
    /// The sweep that ended: its plan and its outcomes.
    pub sweep: Option<(&'a SweepPlan, &'a [OutcomeRow])>,
}

/// What a step gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Stepped {
    /// Its number.
    pub seq: u64,
    /// Its mark.
    pub mark_us: Micros,
    /// The state after it.
    pub state: ModelState,
    /// Its decisions, in order.
    pub decisions: Vec<Decision>,
    /// The alarms that hold after it, of the kinds in `governs`.
    pub alarms: Vec<AlarmNote>,
    /// Kinds of alarms that this step sets and clears, but for those of [`Part::governs`].
    pub governs: &'static [AlarmKind],
    /// The document to publish.
    pub draft: Option<Draft>,
    /// Alarms and documents of the capabilities' lists.
    pub capabilities: BTreeMap<Capability, Part>,
    /// Something came of it; else it need not be stored.
    pub is_news: bool,
}

impl Stepped {
    /// What the next step builds on.
    #[must_use]
    pub fn into_base(self, at_us: Micros, before: Base, setting: Setting) -> Base {
        let mut lists = before.lists;
        let drafts = self.capabilities.into_iter().filter_map(|(name, part)| Some((name, part.draft?.allowlist)));
        lists.extend(drafts);
        Base {
            seq: self.seq,
            at_us,
            mark_us: self.mark_us,
            state: self.state,
            list: self.draft.map(|d| d.allowlist).or(before.list),
            lists,
            setting: Some(setting),
        }
    }
}

/// Alarms that any step may end: the state says whether they hold. The others only a sweep knows of.
pub(super) const ALWAYS: &[AlarmKind] = &[
    AlarmKind::Common,
    AlarmKind::Frozen,
    AlarmKind::HoldOutGap,
    AlarmKind::ContentLinkedErrors,
    AlarmKind::FingerprintChanged,
    AlarmKind::LevelFell,
];
pub(super) const AFTER_A_SWEEP: &[AlarmKind] = &AlarmKind::ALL;

/// Makes a step.
///
/// # Errors
/// [`Refused`] when an operator's order changes nothing, or live traffic may not take the endpoint off the list.
pub fn step(base: &Base, input: &Input<'_>) -> Result<Stepped, Refused> {
    let Input { at_us, setting, record, sweep } = *input;
    let policy = &setting.policy;
    let mut decisions = notes::clock(&base.state, base.at_us, at_us);
    if let Some(before) = &base.setting {
        decisions.extend(notes::policy_change(&base.state, &before.policy, policy, at_us));
    }
    let mut alarms = Vec::new();
    let mut governs = ALWAYS;
    let mut state = base.state.clone();
    state.take_form(record.form);
    // Whatever happened: the next step compares with this one's setting.
    decisions.extend(upstream_changes(&mut state, base.setting.as_ref(), setting, at_us));
    match &record.act {
        Act::Refresh => {}
        act @ (Act::Quarantined { .. } | Act::Released { .. }) => {
            decisions.extend(quarantine::decided(&state, setting, (act, &record.overlay), at_us)?);
        }
        Act::Configured => sync(&mut state, setting, at_us, &mut decisions),
        Act::Operator { order } => {
            sync(&mut state, setting, at_us, &mut decisions);
            match operate(&state, order, at_us) {
                Ok((next, more)) => {
                    state = next;
                    decisions.extend(more);
                }
                // One acknowledgement ends all holds, also where only a capability's list has one.
                Err(Refused::NothingHeld) if capabilities::any_held(&state) => {}
                Err(refused) => return Err(refused),
            }
        }
        Act::Closed { sweep, ordinal, endpoints, why } => {
            decisions.extend(notes::closed(&state, (*sweep, *ordinal), endpoints, why, at_us));
        }
        Act::Restored { seq, revision, overtaken, .. } => {
            decisions.extend(notes::restored(base, (*seq, *revision), *overtaken, at_us));
        }
        Act::Sweep { sweeps_per_year, after, .. } => {
            sync(&mut state, setting, at_us, &mut decisions);
            if let Some((plan, rows)) = sweep {
                decisions.extend(notes::out_of_order(&state, plan, *after, at_us));
                decisions.extend(notes::out_of_range(&state, plan, rows, at_us));
                let ended = SweepRecord { plan, rows, ended_at_us: at_us, sweeps_per_year: *sweeps_per_year };
                let folded = fold_sweep(&state, policy, &ended);
                state = folded.state;
                decisions.extend(folded.decisions);
                // A sweep that gives no evidence has looked at nothing that it could end an alarm by.
                if plan.gives_evidence {
                    alarms = folded.alarms;
                    governs = AFTER_A_SWEEP;
                }
            }
        }
    }
    let draft = draft(base, &state, setting, record, at_us);
    let list = draft.as_ref().map(|d| &d.allowlist).or(base.list.as_ref());
    quarantine::check_effect(&record.act, base.list.as_ref(), list)?;
    if let Act::Operator { order } = &record.act {
        tell_of_the_list(order, base.list.as_ref(), list, &state, &mut decisions);
    }
    alarms.extend(list.and_then(|list| frozen_alarm(&state, list)));
    if governs == ALWAYS {
        alarms.extend(super::fold::standing_alarms(&state));
    }
    let made = capabilities::step_all(base, input, &state);
    if let Act::Operator { order: Order { endpoint: Some(endpoint), .. } } = &record.act
        && let (Some(told), Some(decision)) = (capabilities::told(base, &made, endpoint), decisions.last_mut())
    {
        decision.evidence["capabilities"] = told;
    }
    let mut decisions: Vec<(Option<Capability>, NewDecision)> = decisions.into_iter().map(|d| (None, d)).collect();
    let mut parts = BTreeMap::new();
    let looks_at_config =
        !matches!(record.act, Act::Refresh | Act::Closed { .. } | Act::Quarantined { .. } | Act::Released { .. });
    if looks_at_config {
        state.capabilities.clear();
    }
    for (capability, made) in made {
        decisions.extend(made.decisions.into_iter().map(|d| (Some(capability.clone()), d)));
        state.capabilities.insert(capability.clone(), made.state);
        parts.insert(capability, made.part);
    }
    let publishes = draft.is_some() || parts.values().any(|part| part.draft.is_some());
    let is_news = state != base.state || !decisions.is_empty() || publishes;
    let (seq, mark_us) = (base.seq + 1, at_us.max(base.mark_us + 1));
    let named = |(index, (capability, decision)): (usize, (Option<Capability>, NewDecision))| {
        let id = decision_id(&setting.model, seq, mark_us, index);
        decision.into_decision(id, setting.model.clone(), capability)
    };
    let decisions = decisions.into_iter().enumerate().map(named).collect();
    Ok(Stepped { seq, mark_us, state, decisions, alarms, governs, draft, capabilities: parts, is_news })
}

fn sync(state: &mut ModelState, setting: &Setting, at_us: Micros, decisions: &mut Vec<NewDecision>) {
    let configured: Vec<EndpointId> = setting.endpoints.iter().map(|e| e.id.clone()).collect();
    let (next, entered) = sync_endpoints(state, &configured, setting.reference.as_ref(), at_us);
    let (next, changed) = sync_suites(&next, &setting.suites, at_us);
    *state = next;
    decisions.extend(entered);
    decisions.extend(changed);
}

fn draft(base: &Base, state: &ModelState, setting: &Setting, record: &Record, at_us: Micros) -> Option<Draft> {
    let above: Option<Revision> = match record.act {
        Act::Restored { revision, .. } => Some(revision),
        _ => None,
    };
    let policy: &Policy = &setting.policy;
    issue(state, policy, &setting.endpoints, base.list.as_ref(), at_us, record.into(), above)
}

/// An order's decision says what became of the list.
fn tell_of_the_list(
    order: &Order,
    before: Option<&Allowlist>,
    after: Option<&Allowlist>,
    state: &ModelState,
    decisions: &mut [NewDecision],
) {
    let Some(decision) = order.endpoint.as_ref().and(decisions.last_mut()) else { return };
    let listed = |list: Option<&Allowlist>| list.is_some_and(|l| l.providers.iter().any(|p| p.id == decision.endpoint));
    let (was, is) = (listed(before), listed(after));
    let frozen = |list: Option<&Allowlist>| list.is_some_and(|l| l.mode == AllowlistMode::Frozen);
    let held = after.filter(|_| frozen(after)).and_then(|list| frozen_alarm(state, list));
    decision.evidence["listed"] = json!({"before": was, "after": is});
    decision.evidence["mode"] = json!(after.map(|l| l.mode));
    if let (Some(held), false) = (held, frozen(before)) {
        decision.reason.push_str("; ");
        decision.reason.push_str(&held.message);
    }
}

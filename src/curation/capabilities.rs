//! Lists per capability: the machinery of the model's own list once more, over the cases that carry a tag.
//!
//! A capability has a [`ModelState`] of its own: standings, evidence, anchors, common alarm and list. It is fed by the
//! same sweeps: the plan is the same, the rows are those of the tagged cases. Of the permutation's prefix that an endpoint
//! is asked, the tagged cases are a uniform random sample of the tagged cases of the suite (where in the permutation tags
//! stand says nothing about which of the tagged cases stands there first), so the proof of statistics 3.2 holds for the
//! mean over the tagged cases. Whom an endpoint is compared with follows from the plan and the capability's standings
//! before the sweep, never from outcomes.
//!
//! A suite's tagged part has an identity of its own, made of the suite's and of the tagged cases: other tags are another
//! version (T13). A suite without a tagged case does not judge the capability. Overrides are those of the model's own
//! list. A capability that is asked for no longer takes its evidence with it, as a suite does that is gone.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use crate::domain::canonical::{hex, sha256_parts};
use crate::domain::{
    Allowlist, Capability, CaseId, DecisionKind, EndpointId, Order, OutcomeRow, Policy, Revision, Standing,
    SuiteDigest, SuiteName, SweepPlan, Verb,
};

use super::allowlist::{Draft, frozen_alarm, issue};
use super::anchors::anchors;
use super::decision::{AlarmKind, AlarmNote, NewDecision};
use super::fold::{SweepRecord, fold_sweep, standing_alarms};
use super::history::{Act, Setting};
use super::levels;
use super::operator::operate;
use super::state::ModelState;
use super::step::{AFTER_A_SWEEP, ALWAYS, Base, Input};
use super::sync::{sync_endpoints, sync_suites, upstream_changes};

/// The cases that carry a tag, by suite, in order of their ids. Suites without one are not there.
pub type Tagged = BTreeMap<SuiteName, Vec<CaseId>>;

/// What a step gives for one capability's list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Part {
    /// The alarms that hold after it, of the kinds in `governs`.
    pub alarms: Vec<AlarmNote>,
    /// Kinds of alarms of this capability that the step sets and clears.
    pub governs: &'static [AlarmKind],
    /// The document to publish.
    pub draft: Option<Draft>,
}

/// A capability after a step.
pub(super) struct Made {
    pub(super) state: ModelState,
    pub(super) decisions: Vec<NewDecision>,
    pub(super) part: Part,
}

/// The anchors of every capability in the next sweep; frozen before its first call, as those of the model's own list.
#[must_use]
pub fn capability_anchors(
    state: &ModelState,
    policy: &Policy,
    configured: &[EndpointId],
    participating: &[EndpointId],
) -> BTreeMap<Capability, Vec<EndpointId>> {
    let of = |state| anchors(state, policy, configured, participating);
    state.capabilities.iter().map(|(capability, state)| (capability.clone(), of(state))).collect()
}

/// A capability's state in line with the setting, as the next step will find it; `None` when the setting has no such
/// capability. `state`: the model's, in line with the setting itself.
#[must_use]
pub fn capability_state(
    state: &ModelState,
    setting: &Setting,
    capability: &Capability,
    now_us: i64,
) -> Option<ModelState> {
    let tagged = setting.capabilities.get(capability)?;
    let before = state.capabilities.get(capability).cloned().unwrap_or_default();
    Some(synced(&before, setting, (capability, tagged), state, now_us).0)
}

/// Makes a step for every capability whose list it concerns. `own`: the model's state after its own step.
pub(super) fn step_all(base: &Base, input: &Input<'_>, own: &ModelState) -> BTreeMap<Capability, Made> {
    let syncs =
        matches!(input.record.act, Act::Configured | Act::Operator { .. } | Act::Sweep { .. } | Act::Restored { .. });
    let wanted = input.setting.capabilities.iter();
    // Acts that do not look at the configuration leave a new capability to one that does.
    let concerned = wanted.filter(|(capability, _)| syncs || base.state.capabilities.contains_key(*capability));
    concerned.map(|one| (one.0.clone(), step_one(base, input, own, one, syncs))).collect()
}

fn step_one(
    base: &Base,
    input: &Input<'_>,
    own: &ModelState,
    (capability, tagged): (&Capability, &Tagged),
    syncs: bool,
) -> Made {
    let Input { at_us, setting, record, sweep } = *input;
    let before = base.state.capabilities.get(capability).cloned().unwrap_or_default();
    let mut state = before.clone();
    state.take_form(record.form);
    let mut decisions = upstream_changes(&mut state, base.setting.as_ref(), setting, at_us);
    if syncs {
        let (next, more) = synced(&state, setting, (capability, tagged), own, at_us);
        state = next;
        decisions.extend(more);
    }
    let mut alarms = None;
    match &record.act {
        Act::Operator { order } => {
            if let Some((next, more)) = ordered(&state, order, at_us) {
                state = next;
                decisions.extend(more);
            }
        }
        Act::Sweep { sweeps_per_year, .. } => {
            if let Some((plan, rows)) = sweep.and_then(|(plan, rows)| part_of(plan, rows, capability, tagged)) {
                let ended =
                    SweepRecord { plan: &plan, rows: &rows, ended_at_us: at_us, sweeps_per_year: *sweeps_per_year };
                let folded = fold_sweep(&state, &setting.policy, &ended);
                state = folded.state;
                decisions.extend(folded.decisions);
                alarms = plan.gives_evidence.then_some(folded.alarms);
            }
        }
        Act::Refresh
        | Act::Configured
        | Act::Closed { .. }
        | Act::Restored { .. }
        | Act::Quarantined { .. }
        | Act::Released { .. } => {}
    }
    let governs = if alarms.is_some() { AFTER_A_SWEEP } else { ALWAYS };
    let mut alarms = alarms.unwrap_or_else(|| standing_alarms(&state));
    name_it(capability, &before, &mut state, &mut decisions);
    let draft = draft(base, input, &state, capability, own);
    let list = draft.as_ref().map(|d| &d.allowlist).or(base.lists.get(capability));
    alarms.extend(list.and_then(|list| frozen_alarm(&state, list)));
    for alarm in &mut alarms {
        alarm.message = named(capability, &alarm.message);
    }
    Made { state, decisions, part: Part { alarms, governs, draft } }
}

/// In line with the configuration, and with the overrides of the model's own list. Who enters and who leaves is told once,
/// by the model's own.
fn synced(
    before: &ModelState,
    setting: &Setting,
    (capability, tagged): (&Capability, &Tagged),
    own: &ModelState,
    now_us: i64,
) -> (ModelState, Vec<NewDecision>) {
    let configured: Vec<EndpointId> = setting.endpoints.iter().map(|e| e.id.clone()).collect();
    let (next, mut decisions) = sync_endpoints(before, &configured, setting.reference.as_ref(), now_us);
    decisions.retain(|d| !matches!(d.kind, DecisionKind::Entered | DecisionKind::Left));
    let parts = tagged.iter().filter_map(|(suite, cases)| {
        let digest = setting.suites.get(suite)?;
        Some((suite.clone(), digest_of(digest, capability, cases)))
    });
    let (mut next, changed) = sync_suites(&next, &parts.collect(), now_us);
    decisions.extend(changed);
    for (id, endpoint) in &mut next.endpoints {
        endpoint.override_ = own.endpoints.get(id).and_then(|e| e.override_);
    }
    (next, decisions)
}

/// The identity of a suite's tagged part.
fn digest_of(suite: &SuiteDigest, capability: &Capability, cases: &[CaseId]) -> SuiteDigest {
    let head = [b"exactod-capability-v1".as_slice(), suite.as_str().as_bytes(), capability.as_str().as_bytes()];
    let parts: Vec<&[u8]> = head.into_iter().chain(cases.iter().map(|case| case.as_str().as_bytes())).collect();
    // Hexadecimal is always a digest.
    SuiteDigest::new(&hex(&sha256_parts(&parts))).unwrap_or_else(|_| suite.clone())
}

/// Orders that concern the evidence of each list: a reset, and the end of a hold. Overrides are taken over as they are.
fn ordered(state: &ModelState, order: &Order, now_us: i64) -> Option<(ModelState, Vec<NewDecision>)> {
    match order.verb {
        Verb::Reset | Verb::Ack => operate(state, order, now_us).ok(),
        Verb::Pin | Verb::Unpin | Verb::Ban | Verb::Unban | Verb::Note => None,
    }
}

/// The capability's part of a sweep: the same prefixes of the same permutation, its own anchors, the rows of the tagged
/// cases. `None` when the plan has no anchors for it (it was not there when the sweep began) or no suite of it.
fn part_of(
    plan: &SweepPlan,
    rows: &[OutcomeRow],
    capability: &Capability,
    tagged: &Tagged,
) -> Option<(SweepPlan, Vec<OutcomeRow>)> {
    let anchors = plan.capabilities.get(capability)?.clone();
    let mut part = SweepPlan { anchors, capabilities: BTreeMap::new(), samples: None, ..plan.clone() };
    part.suites.retain(|suite| tagged.contains_key(&suite.suite));
    if part.suites.is_empty() {
        return None;
    }
    for suite in &mut part.suites {
        suite.digest = digest_of(&suite.digest, capability, &tagged[&suite.suite]);
    }
    let carries: HashSet<(&SuiteName, &CaseId)> =
        tagged.iter().flat_map(|(suite, cases)| cases.iter().map(move |case| (suite, case))).collect();
    let rows = rows.iter().filter(|row| carries.contains(&(&row.suite, &row.case))).cloned().collect();
    Some((part, rows))
}

fn named(capability: &Capability, text: &str) -> String {
    format!("capability {capability}: {text}")
}

/// What was said in this step says of which capability it speaks: in decisions, and in what the list repeats of them.
fn name_it(capability: &Capability, before: &ModelState, state: &mut ModelState, decisions: &mut [NewDecision]) {
    for decision in decisions {
        decision.reason = named(capability, &decision.reason);
    }
    for (id, endpoint) in &mut state.endpoints {
        let said = before.endpoints.get(id).map(|e| &e.last_reason);
        if said != Some(&endpoint.last_reason) && !endpoint.last_reason.is_empty() {
            endpoint.last_reason = named(capability, &endpoint.last_reason);
        }
    }
}

/// The state as the list takes it: who is Excluded on the model's own list and has no word of its own here yet is listed
/// only where the floor needs it. A capability that is new would else send traffic to endpoints known to be bad.
fn forewarned(state: &ModelState, own: &ModelState) -> ModelState {
    let mut seen = state.clone();
    let bootstrap = !state.ever_admitted();
    for (id, endpoint) in &mut seen.endpoints {
        let Some(known) = own.endpoints.get(id).filter(|known| known.standing == Standing::Excluded) else { continue };
        let open = match endpoint.standing {
            Standing::Unknown => true,
            Standing::Provisional => bootstrap,
            Standing::Admitted | Standing::Suspect | Standing::Excluded => false,
        };
        if open {
            endpoint.standing = Standing::Excluded;
            endpoint.since_us = known.since_us;
            endpoint.last_reason = format!("on the model's own list {}", known.last_reason);
        }
    }
    seen
}

fn draft(
    base: &Base,
    input: &Input<'_>,
    state: &ModelState,
    capability: &Capability,
    own: &ModelState,
) -> Option<Draft> {
    let Input { at_us, setting, record, .. } = *input;
    let above: Option<Revision> = match &record.act {
        Act::Restored { capabilities, .. } => Some(capabilities.get(capability).copied().unwrap_or_default()),
        _ => None,
    };
    let in_force = base.lists.get(capability);
    let held = state.frozen.is_some();
    let seen = if held { state.clone() } else { forewarned(state, own) };
    let mut draft = issue(&seen, &setting.policy, &setting.endpoints, in_force, at_us, record.into(), above)?;
    draft.allowlist.capability = Some(capability.clone());
    Some(draft)
}

/// Whether any capability has something that an acknowledgement ends.
pub(super) fn any_held(state: &ModelState) -> bool {
    state.capabilities.values().any(|capability| capability.frozen.is_some() || levels::any_fallen(capability))
}

/// What an order on an endpoint did to the capabilities' lists, for the evidence of its decision; `None` without any.
pub(super) fn told(base: &Base, made: &BTreeMap<Capability, Made>, endpoint: &EndpointId) -> Option<Value> {
    let is_on = |list: Option<&Allowlist>| list.is_some_and(|l| l.providers.iter().any(|p| p.id == *endpoint));
    let of = |(capability, made): (&Capability, &Made)| {
        let before = base.lists.get(capability);
        let after = made.part.draft.as_ref().map(|d| &d.allowlist).or(before);
        let listed = json!({"before": is_on(before), "after": is_on(after)});
        (capability.to_string(), json!({"listed": listed, "mode": after.map(|l| l.mode)}))
    };
    (!made.is_empty()).then(|| Value::Object(made.iter().map(of).collect()))
}

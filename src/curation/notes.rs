//! What is irregular stands in the decision log: clocks that go back, policies that change, sweeps out of order, scores
//! out of range, a store that was restored. Such decisions change no standing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::domain::{
    DecisionKind, EndpointId, Micros, Outcome, OutcomeRow, Policy, Revision, SuiteName, SweepId, SweepPlan,
};

use super::allowlist::CLOCK_TOLERANCE_US;
use super::decision::NewDecision;
use super::explain::policy_label;
use super::state::ModelState;
use super::step::Base;
use super::sync::outside_sweep;

/// One row for every configured endpoint that `concerns` holds for.
fn for_all(
    state: &ModelState,
    kind: DecisionKind,
    reason: &str,
    evidence: &Value,
    at_us: Micros,
    concerns: impl Fn(&EndpointId) -> bool,
) -> Vec<NewDecision> {
    let of = state.endpoints.iter().filter(|(id, e)| e.configured && concerns(id));
    of.map(|(id, endpoint)| {
        let standings = (endpoint.standing, endpoint.standing);
        let mut decision = outside_sweep(id, kind, standings, reason.to_owned(), at_us);
        decision.evidence = evidence.clone();
        decision
    })
    .collect()
}

fn irregular(state: &ModelState, reason: &str, evidence: &Value, at_us: Micros) -> Vec<NewDecision> {
    for_all(state, DecisionKind::Irregular, reason, evidence, at_us, |_| true)
}

/// The clock says less than at the last step, by more than clocks may disagree. Steps keep their order by number; burst
/// tokens do not refill until the clock has caught up; documents carry the time that the clock says.
pub(super) fn clock(state: &ModelState, before_us: Micros, at_us: Micros) -> Vec<NewDecision> {
    if at_us >= before_us.saturating_sub(CLOCK_TOLERANCE_US) {
        return Vec::new();
    }
    let reason = format!(
        "irregular: the clock went back from {} to {}; steps keep their order, times of this one are the clock's",
        rfc3339(before_us),
        rfc3339(at_us)
    );
    irregular(state, &reason, &json!({"before_us": before_us, "after_us": at_us}), at_us)
}

/// The policy was edited. Evidence is kept, but for margins, whose change restarts the evidence at the next sweep's end.
pub(super) fn policy_change(state: &ModelState, before: &Policy, after: &Policy, at_us: Micros) -> Vec<NewDecision> {
    if before == after {
        return Vec::new();
    }
    let (Ok(was), Ok(is)) = (serde_json::to_value(before), serde_json::to_value(after)) else { return Vec::new() };
    let mut changes = Vec::new();
    differences("", &was, &is, &mut changes);
    let reason = format!(
        "policy change: {}; in force from now on (policy {} -> {})",
        changes.join(", "),
        policy_label(before),
        policy_label(after)
    );
    let evidence = json!({"before": was, "after": is});
    for_all(state, DecisionKind::VersionChange, &reason, &evidence, at_us, |_| true)
}

/// The leaves that differ: `cases.cap 2500 -> 3000`. An absent value reads as `none`.
fn differences(path: &str, was: &Value, is: &Value, out: &mut Vec<String>) {
    let (Value::Object(a), Value::Object(b)) = (was, is) else {
        if was != is {
            let show = |v: &Value| if v.is_null() { "none".to_owned() } else { v.to_string().replace('"', "") };
            out.push(format!("{path} {} -> {}", show(was), show(is)));
        }
        return;
    };
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
        differences(&below, &of(a), &of(b), out);
    }
}

/// A sweep was closed without evidence.
pub(super) fn closed(
    state: &ModelState,
    (sweep, ordinal): (SweepId, u64),
    endpoints: &[EndpointId],
    why: &str,
    at_us: Micros,
) -> Vec<NewDecision> {
    let reason = format!("irregular: sweep {ordinal} was closed without evidence ({why}); its attempts remain");
    let evidence = json!({"sweep_ordinal": ordinal, "why": why});
    let mut rows = for_all(state, DecisionKind::Irregular, &reason, &evidence, at_us, |id| endpoints.contains(id));
    rows.iter_mut().for_each(|d| d.sweep = Some(sweep));
    rows
}

/// The store knows less than it has said: it was restored from a backup. What was lost with it stays lost; revisions go
/// on above those that consumers have seen.
pub(super) fn restored(
    base: &Base,
    (seq, revision): (u64, Revision),
    overtaken: bool,
    at_us: Micros,
) -> Vec<NewDecision> {
    let found = base.list.as_ref().map_or(0, |l| l.version);
    let went = match overtaken {
        true => format!(
            "it has gone on to step {} (revision {found}) since, and its step {seq} is another than the one that had been \
             reached; what came of that one",
            base.seq
        ),
        false => format!(
            "it ends at step {} (revision {found}), step {seq} (revision {revision}) had been reached; what happened \
             between",
            base.seq
        ),
    };
    let reason = format!(
        "irregular: the store was restored from a backup: {went} is unknown, revisions go on at {}",
        revision.max(found) + 1
    );
    let evidence = json!({
        "found": {"seq": base.seq, "revision": found}, "expected": {"seq": seq, "revision": revision},
    });
    irregular(&base.state, &reason, &evidence, at_us)
}

/// A sweep ended after one that was begun later. Its outcomes count when it ends: evidence is a sum, and its anchors and
/// budgets were frozen before its first call. Which was begun later is told by their places: a clock that was set back
/// gives the later one the smaller id. (`after` is absent from steps of earlier versions, which went by ids.)
pub(super) fn out_of_order(
    state: &ModelState,
    plan: &SweepPlan,
    after: Option<u64>,
    at_us: Micros,
) -> Vec<NewDecision> {
    let is_later = |last: SweepId| after.map_or(last > plan.id, |after| after > plan.ordinal);
    let Some(last) = state.last_sweep.filter(|last| is_later(*last)) else { return Vec::new() };
    let reason = format!(
        "irregular: sweep {} ended after one that was begun later; sweeps count in the order of their ends",
        plan.ordinal
    );
    let mut rows = irregular(state, &reason, &json!({"sweep_ordinal": plan.ordinal, "folded_before": last}), at_us);
    rows.iter_mut().for_each(|d| d.sweep = Some(plan.id));
    rows
}

/// Scores outside \[0, 1\], NaN included, are a grader's error: they say nothing about the endpoint and are skipped.
pub(super) fn out_of_range(
    state: &ModelState,
    plan: &SweepPlan,
    rows: &[OutcomeRow],
    at_us: Micros,
) -> Vec<NewDecision> {
    let mut counts: BTreeMap<(&EndpointId, &SuiteName), u64> = BTreeMap::new();
    for row in rows {
        if matches!(row.outcome, Outcome::Scored(y) if !(0.0..=1.0).contains(&y)) {
            *counts.entry((&row.endpoint, &row.suite)).or_default() += 1;
        }
    }
    let note = |((id, suite), n): ((&EndpointId, &SuiteName), u64)| {
        let endpoint = state.endpoints.get(id).filter(|e| e.configured)?;
        let reason = format!(
            "irregular: {n} score(s) of suite {suite} in sweep {} are not in [0, 1] (grader error): skipped; look at the \
             suite's scorers",
            plan.ordinal
        );
        let standings = (endpoint.standing, endpoint.standing);
        let mut decision = outside_sweep(id, DecisionKind::Irregular, standings, reason, at_us);
        decision.sweep = Some(plan.id);
        decision.suite = Some(suite.clone());
        decision.evidence = json!({"scores": n, "sweep_ordinal": plan.ordinal});
        Some(decision)
    };
    counts.into_iter().filter_map(note).collect()
}

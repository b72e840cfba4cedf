//! Brings the state in line with the configuration: endpoints that come and go, suites that change (T13, T14).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::{DecisionKind, EndpointId, Micros, Policy, ProviderId, Standing, SuiteDigest, SuiteName};

use super::decision::NewDecision;
use super::floor::FloorEvidence;
use super::history::Setting;
use super::state::{EndpointState, ModelState, SuiteEvidence, UsableEvidence};

/// Digits of a digest that a sentence shows.
const DIGEST_DIGITS: usize = 8;

/// Configured endpoints enter as Unknown (T14), the reference as Admitted by designation, others leave the set with
/// their state kept. Idempotent: a second call decides nothing.
#[must_use]
pub fn sync_endpoints(
    state: &ModelState,
    configured: &[EndpointId],
    reference: Option<&EndpointId>,
    now_us: Micros,
) -> (ModelState, Vec<NewDecision>) {
    let mut next = state.clone();
    let mut decisions = Vec::new();
    for (id, endpoint) in &mut next.endpoints {
        if endpoint.configured && !configured.contains(id) {
            endpoint.configured = false;
            let reason = "left: not configured any more; its evidence is kept in case it comes back".to_owned();
            let standings = (endpoint.standing, endpoint.standing);
            decisions.push(outside_sweep(id, DecisionKind::Left, standings, reason, now_us));
        }
        endpoint.designated &= reference == Some(id);
    }
    for id in configured {
        let known = next.endpoints.contains_key(id);
        let endpoint = next.endpoints.entry(id.clone()).or_insert_with(|| EndpointState::new(now_us));
        if !known || !endpoint.configured {
            endpoint.configured = true;
            decisions.push(entered(id, endpoint, known, now_us));
        }
        if reference == Some(id) && !endpoint.designated {
            decisions.push(designate(id, endpoint, now_us));
        }
    }
    (next, decisions)
}

fn entered(id: &EndpointId, endpoint: &mut EndpointState, known: bool, now_us: Micros) -> NewDecision {
    let standing = endpoint.standing;
    let reason = if known {
        format!("entered: configured again, goes on as {standing} with its evidence kept")
    } else {
        "entered: new endpoint, no evidence yet".to_owned()
    };
    if !known {
        endpoint.last_reason.clone_from(&reason);
    }
    outside_sweep(id, DecisionKind::Entered, (standing, standing), reason, now_us)
}

fn designate(id: &EndpointId, endpoint: &mut EndpointState, now_us: Micros) -> NewDecision {
    let from = endpoint.standing;
    endpoint.designated = true;
    let reason = "reference: Admitted by designation in the configuration".to_owned();
    if from != Standing::Admitted {
        endpoint.standing = Standing::Admitted;
        endpoint.since_us = now_us;
        endpoint.since_sweep = 0;
        endpoint.listed_through_change = false;
        endpoint.last_reason.clone_from(&reason);
        endpoint.reset(now_us);
    }
    outside_sweep(id, DecisionKind::Designated, (from, Standing::Admitted), reason, now_us)
}

/// A decision that no sweep gave.
pub(super) fn outside_sweep(
    id: &EndpointId,
    kind: DecisionKind,
    (from, to): (Standing, Standing),
    reason: String,
    now_us: Micros,
) -> NewDecision {
    NewDecision {
        endpoint: id.clone(),
        sweep: None,
        at_us: now_us,
        kind,
        from,
        to,
        suite: None,
        reason,
        evidence: json!({}),
    }
}

/// Takes over the suites that the model is judged by: *all* of them, also those that the next sweep does not ask.
///
/// A suite that is new only adds a condition for admission. One that is gone takes its evidence with it. One with
/// another digest is a version change (T13): all evidence of the model restarts and no standing survives as decided.
#[must_use]
pub fn sync_suites(
    state: &ModelState,
    suites: &BTreeMap<SuiteName, SuiteDigest>,
    now_us: Micros,
) -> (ModelState, Vec<NewDecision>) {
    let mut next = state.clone();
    let decisions = adopt_suites(&mut next, suites, now_us);
    next.suites.retain(|name, _| suites.contains_key(name));
    next.levels.retain(|name, _| suites.contains_key(name));
    for endpoint in next.endpoints.values_mut() {
        endpoint.suites.retain(|name, _| suites.contains_key(name));
        endpoint.watch.hold_out.retain(|name, _| suites.contains_key(name));
    }
    (next, decisions)
}

/// As [`sync_suites`], without dropping suites that are not named.
pub(super) fn adopt_suites(
    state: &mut ModelState,
    suites: &BTreeMap<SuiteName, SuiteDigest>,
    now_us: Micros,
) -> Vec<NewDecision> {
    let mut changes: Vec<(SuiteName, SuiteDigest, SuiteDigest)> = Vec::new();
    for (name, digest) in suites {
        if let Some(old) = state.suites.insert(name.clone(), digest.clone())
            && old != *digest
        {
            changes.push((name.clone(), old, digest.clone()));
        }
    }
    if changes.is_empty() { Vec::new() } else { version_change(state, &changes, now_us) }
}

/// T13. Listing does not change by itself: what was listed stays Provisional and listed, the rest becomes Unknown.
fn version_change(
    state: &mut ModelState,
    changes: &[(SuiteName, SuiteDigest, SuiteDigest)],
    now_us: Micros,
) -> Vec<NewDecision> {
    let short = |d: &SuiteDigest| d.as_str().chars().take(DIGEST_DIGITS).collect::<String>();
    let what: Vec<String> =
        changes.iter().map(|(name, old, new)| format!("{name} {} -> {}", short(old), short(new))).collect();
    let what = what.join(", ");
    state.frozen = None;
    for (name, _, _) in changes {
        state.levels.remove(name);
    }
    let mut decisions = Vec::new();
    for (id, endpoint) in &mut state.endpoints {
        let from = endpoint.standing;
        let to = endpoint.restart(now_us);
        let reason = format!("version change: suite {what}; evidence restarts, {from} becomes {to}");
        if to != from {
            endpoint.standing = to;
            endpoint.since_us = now_us;
            endpoint.last_reason.clone_from(&reason);
        }
        if endpoint.configured {
            let mut decision = outside_sweep(id, DecisionKind::VersionChange, (from, to), reason, now_us);
            decision.suite = changes.first().map(|(name, _, _)| name.clone());
            decision.evidence = changed_suites(changes);
            decisions.push(decision);
        }
    }
    decisions
}

/// Another deployment answers under an endpoint's id: the provider's name of the model changed, or the provider. That is
/// another version of the endpoint (T13): its evidence restarts, the others' stays. What the setting does not hold (the
/// provider's address, parameters of requests) cannot be told.
pub(super) fn upstream_changes(
    state: &mut ModelState,
    before: Option<&Setting>,
    setting: &Setting,
    now_us: Micros,
) -> Vec<NewDecision> {
    let mut decisions = Vec::new();
    for now in &setting.endpoints {
        let was = before.and_then(|setting| setting.endpoints.iter().find(|was| was.id == now.id));
        let Some(was) = was.filter(|was| was.upstream() != now.upstream()) else { continue };
        let Some(endpoint) = state.endpoints.get_mut(&now.id) else { continue };
        let from = endpoint.standing;
        let to = endpoint.restart(now_us);
        let (old, new) = (was.upstream(), now.upstream());
        let reason = format!(
            "version change: upstream model {} at {} -> {} at {}; evidence restarts, {from} becomes {to}",
            old.0, old.1, new.0, new.1
        );
        if to != from {
            endpoint.standing = to;
            endpoint.since_us = now_us;
            endpoint.since_sweep = 0;
            endpoint.last_reason.clone_from(&reason);
        }
        let mut decision = outside_sweep(&now.id, DecisionKind::VersionChange, (from, to), reason, now_us);
        let told = |(model, provider): (&str, &ProviderId)| json!({"upstream_model": model, "provider": provider});
        decision.evidence = json!({"from": told(old), "to": told(new)});
        decisions.push(decision);
    }
    decisions
}

fn changed_suites(changes: &[(SuiteName, SuiteDigest, SuiteDigest)]) -> Value {
    let changes: Vec<Value> = changes
        .iter()
        .map(|(name, old, new)| json!({"suite": name.as_str(), "from": old.as_str(), "to": new.as_str()}))
        .collect();
    json!({ "changes": changes })
}

/// Restarts the evidence that was gathered under other margins and floors than the policy's: its bets answer another
/// question. Returns what is to be told.
#[must_use]
pub fn align_margins(state: &mut ModelState, policy: &Policy, now_us: Micros) -> Vec<NewDecision> {
    let mut decisions = Vec::new();
    for (id, endpoint) in &mut state.endpoints {
        let mut changes = Vec::new();
        for (name, evidence) in &mut endpoint.suites {
            let (delta, delta_in) = (policy.delta(name), policy.delta_in(name));
            // Told with the policy's change: it touches no other test.
            if evidence.floor.as_ref().map(|e| e.floor) != policy.floor(name) {
                evidence.floor = policy.floor(name).map(FloorEvidence::new);
            }
            if (evidence.delta, evidence.delta_in) == (delta, delta_in) {
                continue;
            }
            if evidence.cases > 0 {
                changes.push(format!("{name} {}/{} -> {delta}/{delta_in}", evidence.delta, evidence.delta_in));
            }
            *evidence = SuiteEvidence { ranking: evidence.ranking, ..SuiteEvidence::new(name, policy) };
        }
        if endpoint.usable.margin != policy.usable_margin {
            if endpoint.usable.asked > 0 {
                changes.push(format!("usable {} -> {}", endpoint.usable.margin, policy.usable_margin));
            }
            endpoint.usable = UsableEvidence::new(policy.usable_margin);
        }
        if endpoint.configured && !changes.is_empty() {
            let standing = endpoint.standing;
            let reason = format!("policy change: margins {}; that evidence restarts", changes.join(", "));
            decisions.push(outside_sweep(id, DecisionKind::VersionChange, (standing, standing), reason, now_us));
        }
    }
    decisions
}

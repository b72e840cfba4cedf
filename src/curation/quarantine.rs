//! Quarantine: live traffic takes an endpoint off the list for a limited time, while a burst of evaluation decides
//! (interfaces, 6.7).
//!
//! It is an overlay on the list and no standing: the evidence goes on untouched, and nothing is ever admitted by it. What
//! is in force stands in the [`Record`](super::Record) of every step, so a replay needs nothing else. It never takes the
//! list below `min_providers`, never touches a pinned endpoint, nor the designated reference (unless the policy lets it
//! fall), nor a list that is held.

use serde_json::json;

use crate::clock::rfc3339;
use crate::domain::live::{LiveEvidence, Quarantined};
use crate::domain::{Allowlist, DecisionKind, EndpointId, Micros};
use crate::stats::num::exp;

use super::decision::NewDecision;
use super::history::{Act, Setting};
use super::operator::Refused;
use super::state::ModelState;
use super::sync::outside_sweep;

/// What is in force after an act, from what was in force before it.
#[must_use]
pub fn overlay_after(mut overlay: Vec<Quarantined>, act: &Act, now_us: Micros) -> Vec<Quarantined> {
    overlay.retain(|entry| entry.until_us > now_us);
    match act {
        Act::Quarantined { endpoint, for_us, evidence } => {
            overlay.retain(|entry| entry.endpoint != *endpoint);
            let until_us = now_us.saturating_add(*for_us);
            let reason = sentence(until_us, evidence);
            overlay.push(Quarantined { endpoint: endpoint.clone(), since_us: now_us, until_us, reason });
        }
        Act::Released { endpoint, .. } => overlay.retain(|entry| entry.endpoint != *endpoint),
        _ => {}
    }
    overlay
}

/// The decision of an act; `None`: it is another act.
///
/// # Errors
/// [`Refused`]: the endpoint may not be set aside.
pub(super) fn decided(
    state: &ModelState,
    setting: &Setting,
    (act, overlay): (&Act, &[Quarantined]),
    now_us: Micros,
) -> Result<Option<NewDecision>, Refused> {
    let (endpoint, reason, evidence) = match act {
        Act::Quarantined { endpoint, evidence, .. } => {
            may_be_set_aside(state, setting, endpoint, evidence)?;
            let entry = overlay.iter().find(|entry| entry.endpoint == *endpoint);
            let entry = entry.ok_or_else(|| Refused::NotSetAside(format!("{endpoint} is in no overlay")))?;
            let told = json!({"live": evidence, "since_us": entry.since_us, "until_us": entry.until_us});
            (endpoint, entry.reason.clone(), told)
        }
        Act::Released { endpoint, why } => (endpoint, format!("quarantine over: {why}"), json!({"why": why})),
        _ => return Ok(None),
    };
    let Some(found) = state.endpoints.get(endpoint) else { return Err(Refused::UnknownEndpoint(endpoint.clone())) };
    let standings = (found.standing, found.standing);
    let mut decision = outside_sweep(endpoint, DecisionKind::Quarantine, standings, reason, now_us);
    decision.evidence = evidence;
    Ok(Some(decision))
}

fn may_be_set_aside(
    state: &ModelState,
    setting: &Setting,
    endpoint: &EndpointId,
    evidence: &LiveEvidence,
) -> Result<(), Refused> {
    let refused = |why: &str| Err(Refused::NotSetAside(format!("{endpoint} {why}")));
    let found = state.endpoints.get(endpoint).filter(|e| e.configured);
    let found = found.ok_or_else(|| Refused::UnknownEndpoint(endpoint.clone()))?;
    if found.override_.is_some() {
        return refused("is pinned or banned: an operator has decided");
    }
    if setting.reference.as_ref() == Some(endpoint) && !setting.policy.reference_may_fall {
        return refused("is the reference, which the policy does not let fall");
    }
    if state.frozen.is_some() {
        return refused("stands on a list that is held: acknowledge the common alarm first");
    }
    if !setting.policy.quarantine.enabled {
        return refused("is left alone: the policy has no quarantine");
    }
    if evidence.log_r < evidence.log_threshold || evidence.log_threshold.is_nan() || evidence.log_r.is_nan() {
        return refused("has too little against it");
    }
    Ok(())
}

/// Refuses a quarantine that took nobody off the list: it would have fallen below `min_providers`, or the endpoint did
/// not stand on it.
pub(super) fn check_effect(act: &Act, before: Option<&Allowlist>, after: Option<&Allowlist>) -> Result<(), Refused> {
    let Act::Quarantined { endpoint, .. } = act else { return Ok(()) };
    let is_on = |list: Option<&Allowlist>| list.is_some_and(|l| l.providers.iter().any(|p| p.id == *endpoint));
    match (is_on(before), is_on(after)) {
        (true, false) => Ok(()),
        (true, true) => Err(Refused::NotSetAside(format!(
            "{endpoint} stays listed: without it the list would fall below `min_providers`"
        ))),
        (false, _) => Err(Refused::NotSetAside(format!("{endpoint} is not listed"))),
    }
}

fn sentence(until_us: Micros, evidence: &LiveEvidence) -> String {
    let LiveEvidence { requests, answers, bad, since_us, own_rate, peer_rate, log_r, log_threshold, sources, .. } =
        evidence;
    let kind = match requests.as_str() {
        "tools" => " to requests with tools",
        "plain" => " to requests without tools",
        _ => "",
    };
    let by: Vec<String> =
        sources.iter().map(|(name, source)| format!("{name} ({} of {})", source.bad, source.answers)).collect();
    format!(
        "quarantined until {}: {bad} of {answers} live answers{kind} were bad since {}, against {:.1}% before and {:.1}% \
         of its peers, detector R={:.1e} (threshold {:.1e}), reported by {}; an evaluation decides meanwhile",
        rfc3339(until_us),
        rfc3339(*since_us),
        own_rate * 100.0,
        peer_rate * 100.0,
        exp(*log_r),
        exp(*log_threshold),
        by.join(", ")
    )
}

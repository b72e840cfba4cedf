//! What operators do by hand: pin, ban, reset (T12), note, and the acknowledgement of a common alarm (statistics, T15).
//!
//! Overrides stand beside the evidence: a pinned endpoint is listed whatever its standing and goes on being measured, a
//! banned one is neither listed nor asked. A reset changes no listing, as a version change of a suite does not (T13):
//! what was listed becomes Provisional and stays listed, an Excluded endpoint becomes Unknown (T12), the designated
//! reference stays Admitted; all are measured afresh.

use serde_json::json;

use crate::domain::{DecisionKind, EndpointId, Micros, Order, Override, SuiteName, Verb};

use super::decision::NewDecision;
use super::levels;
use super::state::{EndpointState, Freeze, ModelState};
use super::sync::outside_sweep;

/// Why an order changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The model has no such endpoint.
    #[error("{0} is not an endpoint of the model")]
    UnknownEndpoint(EndpointId),
    /// There is no alarm to acknowledge.
    #[error("no common alarm holds the list, and no fall of all endpoints is alarmed: there is nothing to acknowledge")]
    NothingHeld,
    /// It is so already.
    #[error("{0}: nothing to change")]
    AlreadySo(String),
    /// Live traffic may not take the endpoint off the list.
    #[error("{0}")]
    NotSetAside(String),
}

/// Carries out an order on a state that is in line with the configuration.
///
/// # Errors
/// [`Refused`]; nothing changes then.
pub fn operate(state: &ModelState, order: &Order, now_us: Micros) -> Result<(ModelState, Vec<NewDecision>), Refused> {
    let mut next = state.clone();
    let Some(id) = &order.endpoint else {
        let decisions = acknowledge(&mut next, order, now_us).ok_or(Refused::NothingHeld)?;
        return Ok((next, decisions));
    };
    let endpoint = next.endpoints.get_mut(id).filter(|e| e.configured);
    let endpoint = endpoint.ok_or_else(|| Refused::UnknownEndpoint(id.clone()))?;
    let before = (endpoint.standing, endpoint.override_);
    let what = apply(endpoint, id, order.verb, now_us)?;
    let reason = sentence(order, &what);
    if endpoint.standing != before.0 {
        endpoint.last_reason.clone_from(&reason);
    }
    let mut decision = outside_sweep(id, DecisionKind::Operator, (before.0, endpoint.standing), reason, now_us);
    decision.evidence = json!({
        "verb": order.verb, "by": order.by, "note": order.note,
        "override": {"before": before.1, "after": endpoint.override_},
    });
    Ok((next, vec![decision]))
}

/// What is done, in words.
fn apply(endpoint: &mut EndpointState, id: &EndpointId, verb: Verb, now_us: Micros) -> Result<String, Refused> {
    let standing = endpoint.standing;
    let already = |what: &str| Err(Refused::AlreadySo(format!("{id} is {what}")));
    match (verb, endpoint.override_) {
        (Verb::Pin, Some(Override::Pinned)) => return already("pinned"),
        (Verb::Ban, Some(Override::Banned)) => return already("banned"),
        (Verb::Unpin, None | Some(Override::Banned)) => return already("not pinned"),
        (Verb::Unban, None | Some(Override::Pinned)) => return already("not banned"),
        _ => {}
    }
    Ok(match verb {
        Verb::Pin => {
            endpoint.override_ = Some(Override::Pinned);
            format!("pinned: listed whatever its standing ({standing}); its evidence goes on")
        }
        Verb::Ban => {
            endpoint.override_ = Some(Override::Banned);
            format!("banned: neither listed nor asked, whatever its standing ({standing})")
        }
        Verb::Unpin | Verb::Unban => {
            endpoint.override_ = None;
            format!("{verb}ned: its standing ({standing}) rules again")
        }
        Verb::Reset => reset(endpoint, now_us),
        Verb::Note | Verb::Ack => "note".to_owned(),
    })
}

fn reset(endpoint: &mut EndpointState, now_us: Micros) -> String {
    let from = endpoint.standing;
    let to = endpoint.restart(now_us);
    if to == from {
        return format!("reset: its evidence is forgotten, it is measured afresh as {to}");
    }
    endpoint.standing = to;
    endpoint.since_us = now_us;
    endpoint.since_sweep = 0;
    format!("reset: its evidence is forgotten, {from} becomes {to} and is measured afresh")
}

/// Ends the hold of a common alarm: the evidence is kept and rules again from the next sweep on; and the alarms of levels
/// that fell: the new levels are learned as the usual ones. `None` when there is neither.
fn acknowledge(state: &mut ModelState, order: &Order, now_us: Micros) -> Option<Vec<NewDecision>> {
    let (held, fallen) = (state.frozen.take(), levels::acknowledge(state));
    let mut what = Vec::new();
    if held.is_some() {
        what.push("common alarm acknowledged: the evidence is kept and rules again from the next sweep on".to_owned());
    }
    if !fallen.is_empty() {
        let suites: Vec<&str> = fallen.iter().map(SuiteName::as_str).collect();
        let suites = suites.join(", ");
        what.push(format!("fall of all endpoints on {suites} acknowledged: the usual level is learned anew"));
    }
    if what.is_empty() {
        return None;
    }
    let reason = sentence(order, &what.join("; "));
    let one = |(id, endpoint): (&EndpointId, &EndpointState)| {
        let standings = (endpoint.standing, endpoint.standing);
        let mut decision = outside_sweep(id, DecisionKind::Operator, standings, reason.clone(), now_us);
        decision.evidence = json!({"verb": order.verb, "by": order.by, "note": order.note});
        if let Some(Freeze { since_us, reason }) = &held {
            decision.evidence["held"] = json!({"since_us": since_us, "reason": reason});
        }
        if !fallen.is_empty() {
            decision.evidence["fallen"] = json!(fallen);
        }
        decision
    };
    Some(state.endpoints.iter().filter(|(_, e)| e.configured).map(one).collect())
}

fn sentence(order: &Order, what: &str) -> String {
    let Order { verb, by, note, .. } = order;
    match (verb, note.is_empty()) {
        (Verb::Note, _) => format!("operator {by}: {note}"),
        (_, true) => format!("operator {by}: {what}"),
        (_, false) => format!("operator {by}: {what} (\"{note}\")"),
    }
}

//! What operators may do to the evidence: acknowledge a common alarm, ask for an early return (T12).

use crate::domain::{DecisionKind, EndpointId, Micros, Standing};

use super::decision::NewDecision;
use super::state::ModelState;
use super::sync::outside_sweep;

/// Ends the hold of a common alarm: the evidence is kept and rules again from the next sweep on. `None` when nothing is
/// held.
#[must_use]
pub fn acknowledge(state: &ModelState) -> Option<ModelState> {
    state.frozen.as_ref()?;
    Some(ModelState { frozen: None, ..state.clone() })
}

/// T12: an Excluded endpoint becomes Unknown and is measured afresh. `None` when it is not Excluded or not there.
#[must_use]
pub fn return_early(
    state: &ModelState,
    endpoint: &EndpointId,
    note: &str,
    now_us: Micros,
) -> Option<(ModelState, NewDecision)> {
    let mut next = state.clone();
    let subject = next.endpoints.get_mut(endpoint).filter(|e| e.standing == Standing::Excluded)?;
    let reason = if note.is_empty() {
        "operator: early return, measured afresh".to_owned()
    } else {
        format!("operator: early return, measured afresh ({note})")
    };
    subject.standing = Standing::Unknown;
    subject.since_us = now_us;
    subject.since_sweep = 0;
    subject.last_reason.clone_from(&reason);
    subject.reset(now_us);
    let standings = (Standing::Excluded, Standing::Unknown);
    Some((next, outside_sweep(endpoint, DecisionKind::Operator, standings, reason, now_us)))
}

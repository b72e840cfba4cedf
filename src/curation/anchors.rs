//! Who is compared with (statistics, 4, amended by docs/adr/0018).

use crate::domain::policy::Pool;
use crate::domain::{BudgetedEndpoint, EndpointId, Policy, Standing};

use super::reading::read;
use super::state::{EndpointState, ModelState};
use crate::stats::num::ln;

/// Width of the wide pool, in margins: whoever ranks lower below the best is not compared with.
pub const POOL_WINDOW: f64 = 1.0;

/// Detector score against an endpoint from which the wide pool goes without it (at `burst_at`, where that is lower): one
/// that has just fallen lowers the bar for all who fall with it long before its ranking shows it.
pub const POOL_DOUBT_R: f64 = 10.0;

/// Anchors of the next sweep, best first; frozen before its first call.
///
/// The designated reference alone, while it is Admitted and takes part. Else, with [`Pool::Wide`], everybody trusted and
/// not in doubt ([`POOL_DOUBT_R`]) whose ranking estimate lies within [`POOL_WINDOW`] margins of the best (the smallest
/// margin of the suites); with [`Pool::Anchors`] the `policy.anchors` best: Admitted first, then Unknown and Provisional,
/// then the rest. Ties by configuration order. Only endpoints of `participating` are chosen.
#[must_use]
pub fn anchors(
    state: &ModelState,
    policy: &Policy,
    configured: &[EndpointId],
    participating: &[EndpointId],
) -> Vec<EndpointId> {
    let reference =
        configured.iter().find(|id| participating.contains(id) && state.endpoints.get(*id).is_some_and(leads));
    match reference {
        Some(reference) => vec![reference.clone()],
        None => pool(state, policy, configured, |id| participating.contains(id)),
    }
}

/// Whether an endpoint's designation replaces the pool.
fn leads(endpoint: &EndpointState) -> bool {
    endpoint.designated && endpoint.is_in_service() && endpoint.standing == Standing::Admitted
}

/// Whether the anchors of a sweep are the designated reference alone.
pub(super) fn is_reference(state: &ModelState, planned: &[EndpointId]) -> bool {
    matches!(planned, [only] if state.endpoints.get(only).is_some_and(leads))
}

/// The anchors that one endpoint is compared with on a suite: those of the plan without itself.
///
/// Only those that are asked at least as many cases as it: one and the same set over all of its cases, or the proof for a
/// random subset of cases (statistics, 3.2) would not hold. The anchors of the model's own list have the largest budget
/// with [`Pool::Anchors`]; those of a capability may have less. Where none is left, everybody else
/// not Excluded who is asked as much takes their place, then anybody who is. The designated reference, which has no
/// anchor but itself, is tested against the pool of the others. All of it is known before the first call.
#[must_use]
pub fn comparison(
    state: &ModelState,
    policy: &Policy,
    planned: &[EndpointId],
    asked: &[BudgetedEndpoint],
    endpoint: &EndpointId,
) -> Vec<EndpointId> {
    let tests_itself = matches!(planned, [only] if only == endpoint);
    let own = asked.iter().find(|share| share.id == *endpoint).map_or(0, |share| share.cases);
    let others: Vec<EndpointId> =
        asked.iter().filter(|share| share.id != *endpoint && share.cases >= own).map(|s| s.id.clone()).collect();
    let mut chosen: Vec<EndpointId> = if tests_itself && (policy.pool == Pool::Anchors || is_reference(state, planned))
    {
        pool(state, policy, &others, |_| true)
    } else {
        planned.iter().filter(|id| others.contains(id)).cloned().collect()
    };
    if chosen.is_empty() {
        let trusted = |id: &&EndpointId| state.endpoints.get(*id).is_some_and(|e| e.standing != Standing::Excluded);
        chosen = others.iter().filter(trusted).cloned().collect();
    }
    if chosen.is_empty() { others } else { chosen }
}

fn pool(
    state: &ModelState,
    policy: &Policy,
    candidates: &[EndpointId],
    may: impl Fn(&EndpointId) -> bool,
) -> Vec<EndpointId> {
    let mut ranked: Vec<(u8, f64, &EndpointId)> = candidates
        .iter()
        .filter(|id| may(id))
        .filter_map(|id| {
            let endpoint = state.endpoints.get(id).filter(|e| e.is_in_service())?;
            Some((tier(state, policy, endpoint), state.ranking(policy, id), id))
        })
        .collect();
    // The sort is stable: equal estimates keep the order of the configuration.
    ranked.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    match policy.pool {
        Pool::Anchors => ranked.truncate(policy.anchors as usize),
        Pool::Wide => {
            let Some(&(best, lead, _)) = ranked.first() else { return Vec::new() };
            let lowest = lead - window(state, policy);
            ranked.retain(|(tier, estimate, _)| *tier == best && *estimate >= lowest);
        }
    }
    ranked.into_iter().map(|(_, _, id)| id.clone()).collect()
}

/// Who goes first. In the wide pool whoever is not known or thought to be bad counts alike, and others stand in only
/// where nobody is left.
fn tier(state: &ModelState, policy: &Policy, endpoint: &EndpointState) -> u8 {
    match (policy.pool, endpoint.standing) {
        (Pool::Wide, Standing::Admitted | Standing::Unknown | Standing::Provisional) => {
            let doubt = ln(POOL_DOUBT_R.min(policy.burst_at));
            u8::from(read(state, policy, endpoint).log_r_ex >= doubt)
        }
        (Pool::Anchors, Standing::Admitted) => 0,
        (Pool::Anchors, Standing::Unknown | Standing::Provisional) | (Pool::Wide, Standing::Suspect) => 1,
        (Pool::Anchors, Standing::Suspect) | (_, Standing::Excluded) => 2,
    }
}

fn window(state: &ModelState, policy: &Policy) -> f64 {
    let smallest = state.suites.keys().map(|suite| policy.delta(suite)).min_by(f64::total_cmp);
    POOL_WINDOW * smallest.unwrap_or(policy.margin)
}

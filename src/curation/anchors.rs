//! Who is compared with (statistics, 4).

use crate::domain::{EndpointId, Policy, Standing};

use super::state::{EndpointState, ModelState};

/// Anchors of the next sweep, best first; frozen before its first call.
///
/// The designated reference alone, while it is Admitted and takes part. Else the `policy.anchors` endpoints with the
/// highest ranking estimate: Admitted first, then Unknown and Provisional, then the rest. Ties by configuration order.
/// Only endpoints of `participating` are chosen.
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

/// The anchors that one endpoint is compared with: those of the plan without itself. The designated reference, which has
/// no anchor but itself, is tested against the pool of the others, as the state before the sweep ranks them.
#[must_use]
pub fn comparison(
    state: &ModelState,
    policy: &Policy,
    planned: &[EndpointId],
    asked: &[EndpointId],
    endpoint: &EndpointId,
) -> Vec<EndpointId> {
    match planned {
        [only] if only == endpoint => pool(state, policy, asked, |id| id != endpoint),
        _ => planned.iter().filter(|id| *id != endpoint).cloned().collect(),
    }
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
            Some((tier(endpoint.standing), state.ranking(policy, id), id))
        })
        .collect();
    // The sort is stable: equal estimates keep the order of the configuration.
    ranked.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    ranked.truncate(policy.anchors as usize);
    ranked.into_iter().map(|(_, _, id)| id.clone()).collect()
}

fn tier(standing: Standing) -> u8 {
    match standing {
        Standing::Admitted => 0,
        Standing::Unknown | Standing::Provisional => 1,
        Standing::Suspect | Standing::Excluded => 2,
    }
}

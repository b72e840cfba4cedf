//! Who takes part in a sweep beyond what the standings give: the Excluded once a UTC day, and whom a person asks for.

use std::collections::BTreeMap;

use super::budget::day_start;
use crate::curation::ModelState;
use crate::domain::{
    BudgetedEndpoint, EndpointId, Micros, ModelId, Override, Policy, Standing, SuiteName, SweepKind, SweepPlan,
    SweepState,
};
use crate::store::{Store, StoreError};

/// Sweeps of one day that are looked at, newest first. Whoever sweeps more often asks the Excluded again.
const SWEEPS_OF_DAY_MAX: usize = 100;

/// Whether the Excluded are due: no sweep of this UTC day has asked all of them for evidence. Sweeps that give none (a few
/// endpoints or suites by hand, those closed as they were) do not count.
pub async fn excluded_are_due(
    store: &Store,
    model: &ModelId,
    state: &ModelState,
    suites: &[SuiteName],
    now_us: Micros,
) -> Result<bool, StoreError> {
    let resting: Vec<&EndpointId> = state
        .endpoints
        .iter()
        .filter(|(_, e)| e.configured && e.standing == Standing::Excluded && e.override_.is_none())
        .map(|(id, _)| id)
        .collect();
    if resting.is_empty() {
        return Ok(true);
    }
    let newest = store.sweeps(Some(model), None, SWEEPS_OF_DAY_MAX, None).await?.items;
    for record in newest.iter().take_while(|s| s.planned_at_us >= day_start(now_us)) {
        if record.state == SweepState::Closed {
            continue;
        }
        let plan = store.sweep(record.id).await?.and_then(|stored| stored.plan);
        if plan.is_some_and(|plan| plan.gives_evidence && asks_all(&plan, suites, &resting)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn asks_all(plan: &SweepPlan, suites: &[SuiteName], endpoints: &[&EndpointId]) -> bool {
    suites.iter().all(|suite| {
        let part = plan.suites.iter().find(|part| part.suite == *suite);
        part.is_some_and(|part| endpoints.iter().all(|id| part.endpoints.iter().any(|e| e.id == **id && e.cases > 0)))
    })
}

/// Gives at least the standard share to the endpoints that are asked for by name, and to all in a full sweep, whatever
/// their standing. A ban holds.
pub fn add_asked_for(
    budgets: &mut BTreeMap<SuiteName, Vec<BudgetedEndpoint>>,
    sizes: &BTreeMap<SuiteName, u32>,
    state: &ModelState,
    policy: &Policy,
    kind: SweepKind,
    asked: &[EndpointId],
) {
    let wanted = |id: &EndpointId| if asked.is_empty() { kind == SweepKind::Full } else { asked.contains(id) };
    for (suite, size) in sizes {
        let shares = budgets.entry(suite.clone()).or_default();
        for (id, endpoint) in &state.endpoints {
            if !endpoint.configured || endpoint.override_ == Some(Override::Banned) || !wanted(id) {
                continue;
            }
            let standard = policy.cases.standard.min(*size);
            match shares.iter_mut().find(|share| share.id == *id) {
                Some(share) => share.cases = share.cases.max(standard),
                None => shares.push(BudgetedEndpoint { id: id.clone(), cases: standard }),
            }
        }
    }
}

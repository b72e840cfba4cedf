//! Which endpoints a sweep asks the program's own prompts, and how often.

use std::sync::Arc;

use super::runtime::Runtime;
use super::sweeper::SweepRequest;
use crate::curation::{ModelState, prints};
use crate::domain::probes::TOKENS;
use crate::domain::{BudgetedEndpoint, EndpointId, Micros, Policy, SweepKind};
use crate::runner::SuiteBudget;
use crate::suites::TOKEN_REPEATS;

/// The prompts that are due: all of them for everybody who takes part, or none. A sweep of some suites, endpoints or
/// cases alone asks none, nor does a full one.
pub(super) fn due(
    runtime: &Runtime,
    state: &ModelState,
    policy: &Policy,
    request: &SweepRequest,
    taking_part: &[EndpointId],
    now_us: Micros,
) -> Vec<(SuiteBudget, u32)> {
    let whole = request.suites.is_none() && request.endpoints.is_empty() && request.limit.is_none();
    let every_us = policy.fingerprint_us.filter(|_| whole && request.kind != SweepKind::Full);
    if !every_us.is_some_and(|every_us| prints::are_due(state, taking_part, every_us, now_us)) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for (name, drawer) in &runtime.probes {
        let of_tokens = name.as_str() == TOKENS;
        let suite = Arc::clone(drawer.suite());
        let count = u32::try_from(suite.cases.len()).unwrap_or(u32::MAX);
        let gives_none =
            |id: &&EndpointId| of_tokens && state.endpoints.get(*id).is_some_and(|e| e.watch.prints.no_tokens);
        let asked = taking_part.iter().filter(|id| !gives_none(id));
        let cases = asked.map(|id| BudgetedEndpoint { id: id.clone(), cases: count }).collect();
        out.push((SuiteBudget { suite, cases, only: None }, if of_tokens { TOKEN_REPEATS } else { 1 }));
    }
    out
}

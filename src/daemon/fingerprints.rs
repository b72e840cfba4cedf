//! Which endpoints a sweep asks the program's own prompts, and how often.

use std::sync::Arc;

use super::runtime::Runtime;
use super::sweeper::SweepRequest;
use crate::curation::{ModelState, prints, samples};
use crate::domain::probes::{GREEDY, SAMPLE_REPEATS, SAMPLES, TOKENS};
use crate::domain::{BudgetedEndpoint, CaseId, EndpointId, Micros, Policy, SampleShare, Suite, SweepKind};
use crate::runner::SuiteBudget;
use crate::suites::TOKEN_REPEATS;

/// The prompts that are due, and the share of a round of sampled answers among them.
#[derive(Default)]
pub(super) struct Due {
    pub probes: Vec<SuiteBudget>,
    pub samples: Option<SampleShare>,
}

/// The prompts that are due. Those of one answer: all of them for everybody who takes part, or none. A sweep of some suites,
/// endpoints or cases alone asks none, nor does a full one.
pub(super) fn due(
    runtime: &Runtime,
    state: &ModelState,
    policy: &Policy,
    request: &SweepRequest,
    taking_part: &[EndpointId],
    (ordinal, now_us): (u64, Micros),
) -> Due {
    let whole = request.suites.is_none() && request.endpoints.is_empty() && request.limit.is_none();
    let mut out = Due::default();
    if !whole || request.kind == SweepKind::Full {
        return out;
    }
    if policy.fingerprint_us.is_some_and(|every_us| prints::are_due(state, taking_part, every_us, now_us)) {
        out.probes.extend(probe(runtime, GREEDY).map(|suite| all_of(suite, taking_part, 1)));
        out.probes.extend(of_tokens(runtime, state, taking_part));
    }
    let share = policy.fingerprint_samples_us.and_then(|every_us| samples::share(state, every_us, (ordinal, now_us)));
    let asked: Vec<EndpointId> = taking_part.iter().filter(|id| samples::is_asked(state, id)).cloned().collect();
    // One alone has nobody to be compared with.
    if let (Some((prompts, share)), Some(suite), [_, _, ..]) = (share, probe(runtime, SAMPLES), asked.as_slice()) {
        let range = prompts.start as usize..prompts.end as usize;
        let only: Vec<CaseId> = suite.cases.get(range).unwrap_or_default().iter().map(|case| case.id.clone()).collect();
        out.probes.push(SuiteBudget { only: Some(only), ..all_of(suite, &asked, SAMPLE_REPEATS) });
        out.samples = Some(share);
    }
    out
}

fn probe<'a>(runtime: &'a Runtime, name: &str) -> Option<&'a Arc<Suite>> {
    runtime.probes.iter().find(|(probe, _)| probe.as_str() == name).map(|(_, drawer)| drawer.suite())
}

fn all_of(suite: &Arc<Suite>, asked: &[EndpointId], epochs: u32) -> SuiteBudget {
    let cases = u32::try_from(suite.cases.len()).unwrap_or(u32::MAX);
    let cases = asked.iter().map(|id| BudgetedEndpoint { id: id.clone(), cases }).collect();
    SuiteBudget { suite: Arc::clone(suite), cases, only: None, epochs }
}

/// First tokens, of those who show their log-probabilities.
fn of_tokens(runtime: &Runtime, state: &ModelState, taking_part: &[EndpointId]) -> Option<SuiteBudget> {
    let shows = |id: &&EndpointId| state.endpoints.get(*id).is_none_or(|e| !e.watch.prints.no_tokens);
    let asked: Vec<EndpointId> = taking_part.iter().filter(shows).cloned().collect();
    Some(all_of(probe(runtime, TOKENS)?, &asked, TOKEN_REPEATS))
}

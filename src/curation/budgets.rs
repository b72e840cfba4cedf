//! How many cases of each suite each endpoint is asked (statistics, 6).

use std::collections::BTreeMap;

use crate::domain::{BudgetedEndpoint, EndpointId, Micros, Override, Policy, Standing, SuiteName};
use crate::stats::num::ln;

use super::reading::{Reading, read};
use super::state::{EndpointState, ModelState};

/// Detector score for re-admission at which an Excluded endpoint counts as recovering.
pub const RECOVERING_R: f64 = 4.0;

/// A week in microseconds: the time in which an empty burst bucket fills.
pub const WEEK_US: f64 = 7.0 * 24.0 * 3600.0 * 1e6;

/// When a sweep is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occasion {
    /// Now.
    pub now_us: Micros,
    /// No sweep of this UTC day has asked the Excluded endpoints for evidence yet.
    pub first_of_utc_day: bool,
    /// Sweeps follow each other without a schedule (onboarding, demo, `--until-decided`).
    pub back_to_back: bool,
}

/// Endpoints with a budget in a sweep of the model's suites, in the order given.
#[must_use]
pub fn participants(
    state: &ModelState,
    policy: &Policy,
    configured: &[EndpointId],
    occasion: Occasion,
) -> Vec<EndpointId> {
    configured
        .iter()
        .filter(|id| {
            let Some(endpoint) = state.endpoints.get(*id) else { return false };
            let reading = read(state, policy, endpoint);
            endpoint.configured && own_budget(endpoint, &reading, policy, 0, occasion) > 0
        })
        .cloned()
        .collect()
}

/// Cases per suite for every endpoint that is asked, by id. No endpoint is asked more cases than a suite has.
#[must_use]
pub fn budgets(
    state: &ModelState,
    policy: &Policy,
    anchors: &[EndpointId],
    suite_sizes: &BTreeMap<SuiteName, u32>,
    occasion: Occasion,
) -> BTreeMap<SuiteName, Vec<BudgetedEndpoint>> {
    let configured: Vec<(&EndpointId, &EndpointState, Reading)> =
        state.endpoints.iter().filter(|(_, e)| e.configured).map(|(id, e)| (id, e, read(state, policy, e))).collect();
    let one_suite = |(suite, size): (&SuiteName, &u32)| {
        let mut shares: Vec<BudgetedEndpoint> = configured
            .iter()
            .map(|(id, endpoint, reading)| {
                let asked = endpoint.suites.get(suite).map_or(0, |e| e.cases);
                let cases = own_budget(endpoint, reading, policy, asked, occasion).min(*size);
                BudgetedEndpoint { id: (*id).clone(), cases }
            })
            .filter(|share| share.cases > 0)
            .collect();
        let largest = shares.iter().map(|share| share.cases).max().unwrap_or(0);
        for share in shares.iter_mut().filter(|share| anchors.contains(&share.id)) {
            share.cases = largest;
        }
        (suite.clone(), shares)
    };
    suite_sizes.iter().map(one_suite).collect()
}

/// The budget by standing, before the anchors get the largest. `asked`: cases of the suite since the reset.
fn own_budget(endpoint: &EndpointState, reading: &Reading, policy: &Policy, asked: u64, occasion: Occasion) -> u32 {
    let cases = &policy.cases;
    match endpoint.override_ {
        Some(Override::Banned) => return 0,
        Some(Override::Pinned) => return cases.standard,
        None => {}
    }
    match endpoint.standing {
        Standing::Unknown | Standing::Provisional if asked < u64::from(cases.cap) => cases.unknown,
        Standing::Unknown | Standing::Provisional => cases.standard,
        Standing::Admitted | Standing::Suspect => {
            let suspicious = reading.log_r_ex >= ln(policy.burst_at);
            let burst = suspicious && tokens_left(endpoint, policy, occasion.now_us) > 0.0;
            if burst { cases.burst } else { cases.standard }
        }
        Standing::Excluded if reading.log_r_ad >= ln(RECOVERING_R) => cases.burst,
        Standing::Excluded if occasion.first_of_utc_day || occasion.back_to_back => cases.standard,
        Standing::Excluded => 0,
    }
}

/// Burst tokens now, in cases. A clock that went back refills nothing.
#[must_use]
pub fn tokens_left(endpoint: &EndpointState, policy: &Policy, now_us: Micros) -> f64 {
    f64::from(policy.cases.weekly_burst) - tokens_spent(endpoint, policy, now_us)
}

fn tokens_spent(endpoint: &EndpointState, policy: &Policy, now_us: Micros) -> f64 {
    let elapsed_us = now_us.saturating_sub(endpoint.tokens_at_us).max(0) as f64;
    (endpoint.tokens_spent - f64::from(policy.cases.weekly_burst) * elapsed_us / WEEK_US).max(0.0)
}

/// Takes the tokens of a sweep that was asked `cases` cases of its largest suite while evidence gathered.
pub(super) fn spend_tokens(endpoint: &mut EndpointState, policy: &Policy, cases: u32, now_us: Micros) {
    endpoint.tokens_spent = tokens_spent(endpoint, policy, now_us) + f64::from(cases);
    endpoint.tokens_at_us = now_us.max(endpoint.tokens_at_us);
}

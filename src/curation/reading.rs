//! The evidence of one endpoint over all suites (statistics, 5.3).

use crate::domain::{Policy, SuiteName};
use crate::stats::num::{ln, log_sum_exp};

use super::floor;
use super::state::{EndpointState, ModelState, SuiteEvidence};

/// Combined evidence: natural logarithms of e-values (`log_e`) and detector scores (`log_r`).
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Weighted mean of the suites' e-values against the endpoint.
    pub log_e_ex: f64,
    /// Weighted mean of the suites' detector scores against it.
    pub log_r_ex: f64,
    /// Smallest e-value for it, that it is above the suites' floors included.
    pub log_e_ad: f64,
    /// Smallest detector score for it, that it is above the suites' floors included.
    pub log_r_ad: f64,
    /// The suite with the largest weighted e-value against it.
    pub blamed_by_e: Option<SuiteName>,
    /// The suite with the largest weighted detector score against it.
    pub blamed_by_r: Option<SuiteName>,
    /// The suite with the smallest e-value for it.
    pub weakest_by_e: Option<SuiteName>,
    /// The suite with the smallest detector score for it.
    pub weakest_by_r: Option<SuiteName>,
    /// e-value that it answers too rarely.
    pub usable_log_e: f64,
    /// Detector score that it answers too rarely.
    pub usable_log_r: f64,
    /// Weighted mean of the e-values that it is below a suite's floor; -inf without floors.
    pub floor_log_e: f64,
    /// The same of the detector scores.
    pub floor_log_r: f64,
    /// The suite under whose floor it is by its e-value.
    pub floor_by_e: Option<SuiteName>,
    /// The same by its detector score.
    pub floor_by_r: Option<SuiteName>,
    /// Cases asked since the reset in the suite that has fewest.
    pub effort: u64,
}

/// Weight of a suite among those that the model is judged by; they sum to 1.
#[must_use]
pub fn share(state: &ModelState, policy: &Policy, suite: &SuiteName) -> f64 {
    policy.weight(suite) / state.suites.keys().map(|s| policy.weight(s)).sum::<f64>()
}

/// Reads an endpoint's evidence. A suite without evidence has e-value 1 and detector score 0: it lowers the mean and
/// forbids admission. Without suites nothing can be decided.
#[must_use]
pub fn read(state: &ModelState, policy: &Policy, endpoint: &EndpointState) -> Reading {
    let pick = |f: &dyn Fn(&SuiteEvidence) -> f64, none: f64, shift: bool| -> Vec<(f64, &SuiteName)> {
        state
            .suites
            .keys()
            .map(|suite| {
                let value = endpoint.suites.get(suite).map_or(none, f);
                (if shift { value + ln(share(state, policy, suite)) } else { value }, suite)
            })
            .collect()
    };
    let against_e = pick(&|e| e.log_e_ex(policy), 0.0, true);
    let against_r = pick(&SuiteEvidence::log_r_ex, f64::NEG_INFINITY, true);
    let floors = floor::read(state, policy, endpoint);
    let mut for_e = pick(&|e| e.log_e_ad(policy), 0.0, false);
    let mut for_r = pick(&SuiteEvidence::log_r_ad, f64::NEG_INFINITY, false);
    for_e.extend(floors.above.iter().map(|(e, _, suite)| (*e, suite)));
    for_r.extend(floors.above.iter().map(|(_, r, suite)| (*r, suite)));
    let below_e: Vec<(f64, &SuiteName)> = floors.below.iter().map(|(e, _, suite)| (*e, suite)).collect();
    let below_r: Vec<(f64, &SuiteName)> = floors.below.iter().map(|(_, r, suite)| (*r, suite)).collect();
    Reading {
        log_e_ex: total(&against_e),
        log_r_ex: total(&against_r),
        log_e_ad: smallest(&for_e).map_or(f64::NEG_INFINITY, |(v, _)| v),
        log_r_ad: smallest(&for_r).map_or(f64::NEG_INFINITY, |(v, _)| v),
        blamed_by_e: largest(&against_e),
        blamed_by_r: largest(&against_r),
        weakest_by_e: smallest(&for_e).map(|(_, s)| s),
        weakest_by_r: smallest(&for_r).map(|(_, s)| s),
        usable_log_e: endpoint.usable.log_e(),
        usable_log_r: endpoint.usable.log_r(),
        floor_log_e: total(&below_e),
        floor_log_r: total(&below_r),
        floor_by_e: largest(&below_e),
        floor_by_r: largest(&below_r),
        effort: endpoint.effort(state.suites.keys()),
    }
}

fn total(values: &[(f64, &SuiteName)]) -> f64 {
    log_sum_exp(&values.iter().map(|(v, _)| *v).collect::<Vec<f64>>())
}

// Ties go to the first suite by name.
fn largest(values: &[(f64, &SuiteName)]) -> Option<SuiteName> {
    values.iter().rev().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, s)| (*s).clone())
}

fn smallest(values: &[(f64, &SuiteName)]) -> Option<(f64, SuiteName)> {
    values.iter().min_by(|a, b| a.0.total_cmp(&b.0)).map(|(v, s)| (*v, (*s).clone()))
}

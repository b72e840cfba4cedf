//! What may be promised about the decisions (statistics, 11): numbers to print.

use serde::Serialize;

use crate::domain::Policy;

/// Bounds that hold in the worst case, exactly at the margin.
///
/// Assumptions to print with them: [`ASSUMPTIONS`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Guarantees {
    /// Batches a year in which an endpoint takes part.
    pub batches_per_year: f64,
    /// Chance that the first decision excludes an endpoint within the margin of the best, by quality.
    pub first_wrong_exclusion_quality: f64,
    /// The same by the `usable` test, in addition.
    pub first_wrong_exclusion_usable: f64,
    /// Chance that the first decision admits one worse than the anchors by the admission margin or more.
    pub first_wrong_admission: f64,
    /// Later false exclusions per provider-year, by quality.
    pub false_exclusions_per_year_quality: f64,
    /// The same by the `usable` test, in addition.
    pub false_exclusions_per_year_usable: f64,
    /// Chance that the first decision excludes an endpoint above its floors by them, in addition; absent without floors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_wrong_exclusion_floor: Option<f64>,
    /// Later false exclusions per provider-year by the floors, in addition; absent without floors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_exclusions_per_year_floor: Option<f64>,
    /// All of them: what to print when the text does not say which test it speaks of.
    pub false_exclusions_per_year: f64,
    /// False re-admissions per provider-year.
    pub false_readmissions_per_year: f64,
    /// Full cycles of exclusion and re-admission per provider-year of an endpoint that does not change.
    pub cycles_per_year: f64,
}

/// False exclusions a year of an endpoint that loses exactly the margin in the long run, where its failures come bunched: the
/// worst that was simulated under the default policy (docs/statistics.md, "What the proofs do not cover"; a quarter of one sweep in ten).
pub const BUNCHED_EXCLUSIONS_PER_YEAR: f64 = 7.1;

/// Under which the guarantees hold.
pub const ASSUMPTIONS: [&str; 4] = [
    "outcomes are independent given the past; failures that come bunched inside a sweep, as in an outage of minutes that \
     hits an endpoint's calls together, are not",
    "anchors and budgets are fixed before each sweep",
    "the suite is stationary",
    "attempts are not selected by their outcome",
];

/// Bounds under a policy with so many batches a year (statistics 3.2: an epoch that is a batch of its own counts).
#[must_use]
pub fn guarantees(policy: &Policy, batches_per_year: f64) -> Guarantees {
    let exclusions = batches_per_year / policy.exclude_after_sweeps;
    let readmissions = batches_per_year / policy.readmit_after_sweeps;
    Guarantees {
        batches_per_year,
        first_wrong_exclusion_quality: policy.alpha,
        first_wrong_exclusion_usable: policy.alpha,
        first_wrong_admission: policy.alpha,
        false_exclusions_per_year_quality: exclusions,
        false_exclusions_per_year_usable: exclusions,
        first_wrong_exclusion_floor: policy.has_floors().then_some(policy.alpha),
        false_exclusions_per_year_floor: policy.has_floors().then_some(exclusions),
        false_exclusions_per_year: exclusion_tests(policy) * exclusions,
        false_readmissions_per_year: readmissions,
        cycles_per_year: batches_per_year / policy.exclude_after_sweeps.min(policy.readmit_after_sweeps),
    }
}

/// Tests that may exclude an endpoint: by quality, by answering too rarely, and by the floors, where there are any.
#[must_use]
pub fn exclusion_tests(policy: &Policy) -> f64 {
    if policy.has_floors() { 3.0 } else { 2.0 }
}

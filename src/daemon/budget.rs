//! Money: the worst case of a sweep is reserved before it starts; one that does not fit is shrunk, the same for every
//! endpoint, or not started (interfaces 6.5).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Budget;
use crate::domain::{EndpointId, Micros, Price, Suite, SweepPlan};
use crate::runner::{shrink_to, worst_case_nanousd};
use crate::store::DayBudget;

const DAY_US: i64 = 86_400_000_000;
const NANO: f64 = 1e9;

/// Start of the UTC day of a time.
#[must_use]
pub fn day_start(now_us: Micros) -> Micros {
    now_us.div_euclid(DAY_US) * DAY_US
}

/// The cap of the day, for the store's transaction that reserves.
#[must_use]
pub fn day_budget(budget: &Budget, now_us: Micros) -> Option<DayBudget> {
    let cap = budget.usd_per_day?;
    Some(DayBudget { since_us: day_start(now_us), cap_nanousd: (cap * NANO) as i64 })
}

/// The plan with its reservation, shrunk to what may be spent; `None`: not even one case per endpoint fits.
#[must_use]
pub fn fit(
    plan: SweepPlan,
    suites: &BTreeMap<&str, Arc<Suite>>,
    prices: &BTreeMap<EndpointId, Price>,
    left_nanousd: Option<i64>,
) -> Option<SweepPlan> {
    let cost = |p: &SweepPlan| worst_case_nanousd(p, suites, prices);
    let mut plan = plan;
    plan.reserved_nanousd = cost(&plan);
    let Some(left) = left_nanousd else { return Some(plan) };
    while plan.reserved_nanousd > left {
        if left <= 0 {
            return None;
        }
        // Rounding down and cases of unequal cost: go on until it fits. Every round takes at least one case.
        let factor = (left as f64 / plan.reserved_nanousd as f64).min(0.99);
        plan = shrink_to(plan, factor)?;
        plan.reserved_nanousd = cost(&plan);
    }
    Some(plan)
}

/// What one sweep may cost: the smaller of its own cap and what the day has left.
#[must_use]
pub fn allowance(budget: &Budget, day_left_nanousd: Option<i64>) -> Option<i64> {
    let own = budget.usd_per_sweep.map(|usd| (usd * NANO) as i64);
    match (own, day_left_nanousd) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

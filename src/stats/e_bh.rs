//! The e-BH procedure: a false discovery rate over a list of e-values, under any dependence (statistics, 5.4).

use super::num::ln;

/// Indices rejected at false discovery rate `q`, ascending.
#[must_use]
pub fn e_bh(log_e: &[f64], q: f64) -> Vec<usize> {
    let n = log_e.len() as f64;
    let mut order: Vec<usize> = (0..log_e.len()).collect();
    order.sort_by(|&i, &j| log_e[j].total_cmp(&log_e[i]));
    let rejected =
        (1..=order.len()).rev().find(|&rank| log_e[order[rank - 1]] >= ln(n / (q * rank as f64))).unwrap_or(0);
    order.truncate(rejected);
    order.sort_unstable();
    order
}

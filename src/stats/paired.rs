//! Mean difference of two endpoints on the cases that both answered (statistics, 2.2).

use std::collections::BTreeMap;

/// A mean per-case difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedDiff {
    /// Mean of the per-case differences a - b.
    pub mean: f64,
    /// Its standard error; Student t with `groups - 1` degrees of freedom. NaN with one case.
    pub se: f64,
    /// Cases compared.
    pub groups: usize,
}

/// Mean difference `a - b` over common cases; `None` without a common case. Cases with no score are left out.
#[must_use]
pub fn paired_diff<C: Ord>(a: &BTreeMap<C, Vec<f64>>, b: &BTreeMap<C, Vec<f64>>) -> Option<PairedDiff> {
    let mean_of = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
    let differences: Vec<f64> = a
        .iter()
        .filter_map(|(case, scores)| Some((scores, b.get(case)?)))
        .filter(|(x, y)| !x.is_empty() && !y.is_empty())
        .map(|(x, y)| mean_of(x) - mean_of(y))
        .collect();
    if differences.is_empty() {
        return None;
    }
    let g = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / g;
    let squares: f64 = differences.iter().map(|x| (x - mean) * (x - mean)).sum();
    Some(PairedDiff { mean, se: (squares / (g - 1.0) / g).sqrt(), groups: differences.len() })
}

//! Risk difference over strata, for endpoints that saw different cases (statistics, 2.2).

/// Passes and trials of two groups in one stratum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Table {
    /// Passes of group 1.
    pub a: f64,
    /// Trials of group 1.
    pub n1: f64,
    /// Passes of group 0.
    pub b: f64,
    /// Trials of group 0.
    pub n0: f64,
}

/// Mantel-Haenszel risk difference (group 1 minus group 0) and its Greenland-Robins standard error; `None` when no
/// stratum holds both groups.
#[must_use]
pub fn risk_difference(tables: &[Table]) -> Option<(f64, f64)> {
    let (mut num, mut den, mut var) = (0.0, 0.0, 0.0);
    for &Table { a, n1, b, n0 } in tables.iter().filter(|t| t.n1 > 0.0 && t.n0 > 0.0) {
        let total = n1 + n0;
        num += (a * n0 - b * n1) / total;
        den += n1 * n0 / total;
        var += (a * (n1 - a) * n0 * n0 * n0 + b * (n0 - b) * n1 * n1 * n1) / (n1 * n0 * total * total);
    }
    (den > 0.0).then(|| (num / den, var.sqrt() / den))
}

//! McNemar's test on the discordant counts of a pass/fail comparison (display only).

use super::num::{exp, ln, ln_gamma};

/// Two-sided p-values and the statistic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct McNemar {
    /// Exact two-sided p.
    pub exact: f64,
    /// Mid-p.
    pub mid_p: f64,
    /// Chi-square without continuity correction.
    pub chi2: f64,
}

/// Probability of `i` heads in `n` fair throws.
fn fair_pmf(n: u64, i: u64) -> f64 {
    let (n, i) = (n as f64, i as f64);
    exp(ln_gamma(n + 1.0) - ln_gamma(i + 1.0) - ln_gamma(n - i + 1.0) - n * ln(2.0))
}

/// `b` and `c`: cases that only the one, only the other passed.
#[must_use]
pub fn mcnemar(b: u64, c: u64) -> McNemar {
    let n = b + c;
    let k = b.min(c);
    let tail: f64 = (0..=k).map(|i| fair_pmf(n, i)).sum();
    let at_k = fair_pmf(n, k);
    let exact = (2.0 * tail).min(1.0);
    let mid_p = if b == c { 1.0 - 0.5 * at_k } else { (exact - at_k).min(1.0) };
    let gap = b as f64 - c as f64;
    McNemar { exact, mid_p, chi2: if n == 0 { 0.0 } else { gap * gap / n as f64 } }
}

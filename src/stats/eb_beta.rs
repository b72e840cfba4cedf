//! Moment beta-binomial shrinkage (display and choice of anchors only, never a decision: it pulls a bad endpoint toward
//! the crowd).

/// Bounds of the intra-class correlation.
const RHO: (f64, f64) = (1e-4, 0.5);

/// A fitted prior and the shrunk rates.
#[derive(Debug, Clone, PartialEq)]
pub struct Shrunk {
    /// First parameter of the beta prior.
    pub a: f64,
    /// Second parameter of the beta prior.
    pub b: f64,
    /// Posterior mean of each group.
    pub means: Vec<f64>,
}

/// Shrinks (passes, trials) of several groups; `None` with fewer than two groups with trials, or no more trials than
/// groups.
#[must_use]
pub fn eb_beta(groups: &[(f64, f64)]) -> Option<Shrunk> {
    let g = groups.len() as f64;
    let total: f64 = groups.iter().map(|(_, n)| n).sum();
    if groups.len() < 2 || total <= g || groups.iter().any(|(_, n)| *n <= 0.0) {
        return None;
    }
    let mu = groups.iter().map(|(k, _)| k).sum::<f64>() / total;
    let between: f64 = groups.iter().map(|(k, n)| n * (k / n - mu) * (k / n - mu)).sum();
    let n_bar = (total - groups.iter().map(|(_, n)| n * n).sum::<f64>() / total) / (g - 1.0);
    let msb = between / (g - 1.0);
    let msw = groups.iter().map(|(k, n)| k * (n - k) / n).sum::<f64>() / (total - g);
    let rho = if msw > 0.0 { (msb - msw) / (msb + (n_bar - 1.0) * msw) } else { RHO.0 };
    let strength = 1.0 / rho.clamp(RHO.0, RHO.1) - 1.0;
    let (a, b) = (mu * strength, (1.0 - mu) * strength);
    Some(Shrunk { a, b, means: groups.iter().map(|(k, n)| (k + a) / (n + strength)).collect() })
}

//! The classical Bernoulli CUSUM (for comparison in the simulator; it also alarms when the suite changes).

use super::num::ln;

/// Path of the statistic for a fall of the pass rate from `p0` to `p1`.
#[must_use]
pub fn bernoulli_cusum(passes: &[bool], p0: f64, p1: f64) -> Vec<f64> {
    let (on_pass, on_fail) = (ln(p1 / p0), ln((1.0 - p1) / (1.0 - p0)));
    passes
        .iter()
        .scan(0.0f64, |s, &pass| {
            *s = (*s + if pass { on_pass } else { on_fail }).max(0.0);
            Some(*s)
        })
        .collect()
}

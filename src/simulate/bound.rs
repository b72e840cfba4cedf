//! The information lower bound: how many requests any rule of this reliability needs on average.
//!
//! A rule that errs with probability at most alpha must tell the truth from every fleet in which an endpoint stands on
//! the other side of the margin. By the change-of-measure inequality (Kaufmann, Cappé, Garivier 2016) the expected
//! requests n to reference and endpoint satisfy `n_0 KL_0 + n_i KL_i >= ln(1 / (2.4 alpha))` for each such fleet. Case
//! difficulties are taken as known, and an alternative shifts all logits of an endpoint together: knowledge that no real
//! rule has, so that the bound cannot be reached.

use crate::stats::num::{exp, ln};

/// Quantiles of the logit-normal population that stand for the cases.
const CASES: usize = 200;

/// Places on the way from the truth to the alternative.
const GRID: usize = 48;

/// Halvings and sections of the searches.
const STEPS: u32 = 60;

/// Lower bound on the expected requests that classify endpoints with these drops against a reference with drop 0, at
/// error `alpha` per endpoint. Endpoints at the margin itself are left out: no number would do.
#[must_use]
pub fn requests(base: f64, spread: f64, delta: f64, drops: &[f64], alpha: f64) -> f64 {
    let needed = ln(1.0 / (2.4 * alpha));
    let logits = quantiles(spread);
    let shift = shift_for(&logits, base);
    let truth: Vec<f64> = logits.iter().map(|z| z + shift).collect();
    let mut distinct: Vec<f64> = drops.iter().copied().filter(|d| *d != delta).collect();
    distinct.sort_by(f64::total_cmp);
    let curves: Vec<(f64, Curve)> = distinct
        .chunk_by(|a, b| a == b)
        .map(|same| (same.len() as f64, Curve::new(&truth, base, same[0], delta)))
        .collect();
    let total = |reference: f64| {
        reference + curves.iter().map(|(n, c)| n * c.endpoint_requests(reference, needed)).sum::<f64>()
    };
    let (mut low, mut high) = (0.0, ln(1e7));
    for _ in 0..2 * STEPS {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if total(exp(a)) < total(exp(b)) { high = b } else { low = a }
    }
    total(exp(low))
}

/// Divergences along the alternatives of one endpoint: (reference, endpoint) moved to a gap of exactly the margin.
struct Curve(Vec<(f64, f64)>);

impl Curve {
    fn new(reference: &[f64], base: f64, drop: f64, delta: f64) -> Curve {
        let shift = shift_for(reference, base - drop);
        let endpoint: Vec<f64> = reference.iter().map(|z| z + shift).collect();
        // The gap changes from `drop` to `delta`; the reference takes a part of the way.
        let way = delta - drop;
        let points = (0..=GRID).map(|i| {
            let part = way * i as f64 / GRID as f64;
            let (mean_0, mean_i) = (base + part, base + part - delta);
            (divergence(reference, mean_0), divergence(&endpoint, mean_i))
        });
        Curve(points.filter(|(a, b)| a.is_finite() && b.is_finite()).collect())
    }

    /// Least requests to the endpoint, given those to the reference.
    fn endpoint_requests(&self, reference: f64, needed: f64) -> f64 {
        let at = |(k0, ki): &(f64, f64)| {
            let missing = needed - reference * k0;
            // Where the endpoint stays as it is, the reference alone must tell.
            if missing <= 0.0 { 0.0 } else { missing / ki.max(f64::MIN_POSITIVE) }
        };
        self.0.iter().map(at).fold(0.0, f64::max)
    }
}

/// Mean Kullback-Leibler divergence per request from pass rates at `logits` to those shifted to a mean of `target`;
/// infinite when no shift gives that mean.
fn divergence(logits: &[f64], target: f64) -> f64 {
    if !(0.0..1.0).contains(&target) || target <= 0.0 {
        return f64::INFINITY;
    }
    let shift = shift_for(logits, target);
    let one = |z: f64| {
        let (p, q) = (expit(z), expit(z + shift));
        // The complements by their own formula: a difference from 1 would lose them for easy cases.
        let (p_not, q_not) = (expit(-z), expit(-z - shift));
        p * ln(p / q) + p_not * ln(p_not / q_not)
    };
    logits.iter().map(|z| one(*z)).sum::<f64>() / logits.len() as f64
}

fn expit(z: f64) -> f64 {
    1.0 / (1.0 + exp(-z))
}

fn shift_for(logits: &[f64], target: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..STEPS {
        let middle = (low + high) / 2.0;
        let mean = logits.iter().map(|z| expit(z + middle)).sum::<f64>() / logits.len() as f64;
        if mean < target { low = middle } else { high = middle }
    }
    low
}

fn quantiles(spread: f64) -> Vec<f64> {
    (0..CASES).map(|i| spread * normal_quantile((i as f64 + 0.5) / CASES as f64)).collect()
}

fn normal_quantile(p: f64) -> f64 {
    if p < 0.5 { -super::rules::z_of(p) } else { super::rules::z_of(1.0 - p) }
}

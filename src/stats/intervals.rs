//! Intervals (display only): anytime-valid for a gap and a rate, Wilson and Clopper-Pearson for a fixed sample.

use super::bets::{Histogram, Side, log_e_hist};
use super::num::{bisect, exp, ln, ln_1p, ln_gamma};

/// Two-sided 95 % point of the standard normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;

/// Margins from which the bisection of [`diff_cs`] starts.
const GAP_EDGE: f64 = 0.999;

/// Terms of the continued fraction after which [`clopper_pearson`] takes what it has.
const FRACTION_TERMS_MAX: u32 = 1000;

/// Halvings of the beta quantile: below the spacing of f64 in \[0, 1\].
const QUANTILE_STEPS: u32 = 100;

/// Lower and upper end.
pub type Bounds = (f64, f64);

/// Confidence sequence of level `1 - alpha` for the mean of D: all margins that neither test rejects at `alpha / 2`, so
/// that interval and decision cannot disagree about the same evidence. `(-1, 1)` for an empty histogram.
#[must_use]
pub fn diff_cs(hist: &Histogram, alpha: f64) -> Bounds {
    let threshold = ln(2.0 / alpha);
    let n: f64 = hist.iter().map(|(_, count)| count).sum();
    if n <= 0.0 {
        return (-1.0, 1.0);
    }
    let mean = hist.iter().map(|(d, count)| d * count).sum::<f64>() / n;
    let too_low = |margin: f64| log_e_hist(hist, margin, Side::Exclude) >= threshold;
    let too_high = |margin: f64| log_e_hist(hist, margin, Side::Admit) >= threshold;
    let low = if too_low(-GAP_EDGE) { bisect(-GAP_EDGE, mean, too_low) } else { -1.0 };
    let high = if too_high(GAP_EDGE) { bisect(GAP_EDGE, mean, too_high) } else { 1.0 };
    (low, high)
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Beta(1/2, 1/2)-mixture likelihood ratio against "the rate is m", for `k` passes of `n`. Natural logarithm.
#[must_use]
pub fn log_e_rate(k: f64, n: f64, m: f64) -> f64 {
    let term = |count: f64, p: f64| match (count == 0.0, p <= 0.0) {
        (true, _) => 0.0,
        (false, true) => f64::NEG_INFINITY,
        (false, false) => count * ln(p),
    };
    ln_beta(k + 0.5, n - k + 0.5) - ln_beta(0.5, 0.5) - term(k, m) - term(n - k, 1.0 - m)
}

/// Anytime-valid interval of level `1 - alpha` for one pass rate; `(0, 1)` without trials.
#[must_use]
pub fn rate_cs(k: f64, n: f64, alpha: f64) -> Bounds {
    if n <= 0.0 {
        return (0.0, 1.0);
    }
    let threshold = ln(1.0 / alpha);
    let rate = k / n;
    let rejected = |m: f64| log_e_rate(k, n, m) >= threshold;
    let low = if k == 0.0 { 0.0 } else { bisect(0.0, rate, rejected) };
    let high = if k == n { 1.0 } else { bisect(1.0, rate, rejected) };
    (low, high)
}

/// Wilson score interval; `k` and `n` may be fractional (effective counts). `(0, 1)` without trials.
#[must_use]
pub fn wilson(k: f64, n: f64, z: f64) -> Bounds {
    if n <= 0.0 {
        return (0.0, 1.0);
    }
    let p = k / n;
    let d = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / d;
    let half = z / d * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).max(0.0).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// Regularised incomplete beta function by continued fraction (Lentz).
fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_cdf(1.0 - x, b, a);
    }
    let log_front = a * ln(x) + b * ln_1p(-x) - ln_beta(a, b);
    exp(log_front) * beta_fraction(x, a, b) / a
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |v: f64| if v.abs() > TINY { v } else { TINY };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut f = d;
    for i in 1..FRACTION_TERMS_MAX {
        let i = f64::from(i);
        let even = i * (b - i) * x / ((a + 2.0 * i - 1.0) * (a + 2.0 * i));
        let odd = -(a + i) * (a + b + i) * x / ((a + 2.0 * i) * (a + 2.0 * i + 1.0));
        let mut change = 1.0;
        for coefficient in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + coefficient * d);
            c = away_from_zero(1.0 + coefficient / c);
            change = c * d;
            f *= change;
        }
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    f
}

fn beta_quantile(q: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..QUANTILE_STEPS {
        let middle = (low + high) / 2.0;
        if beta_cdf(middle, a, b) < q {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// Two-sided quantile of Student's t: the t that `|T|` exceeds with probability `alpha`, for `df` degrees of freedom
/// (by the incomplete beta function: `alpha = I_x(df/2, 1/2)` with `x = df / (df + t^2)`). Infinite without freedom.
#[must_use]
pub fn student_t(alpha: f64, df: f64) -> f64 {
    if df <= 0.0 {
        return f64::INFINITY;
    }
    let x = beta_quantile(alpha, df / 2.0, 0.5);
    if x <= 0.0 { f64::INFINITY } else { (df * (1.0 - x) / x).sqrt() }
}

/// Exact binomial interval of level `1 - alpha`: quantiles of beta distributions. `(0, 1)` without trials.
#[must_use]
pub fn clopper_pearson(k: u64, n: u64, alpha: f64) -> Bounds {
    let (kf, nf) = (k as f64, n as f64);
    let low = if k == 0 { 0.0 } else { beta_quantile(alpha / 2.0, kf, nf - kf + 1.0) };
    let high = if k >= n { 1.0 } else { beta_quantile(1.0 - alpha / 2.0, kf + 1.0, nf - kf) };
    (low, high)
}

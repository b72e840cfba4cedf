//! Logarithms, exponentials and sums in the log domain.
//!
//! The elementary functions come from `libm`, not from the platform's C library: a decision that is recomputed on
//! another machine must agree to the last bit.

/// `ln(1 + x)`, exact near 0. NaN below -1.
#[must_use]
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// Natural logarithm; -inf at 0.
#[must_use]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// Exponential; 0 at -inf.
#[must_use]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// Logarithm of the gamma function, for positive `x`.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// `ln(sum(exp(v)))` without overflow; -inf when every value is -inf or there is none.
#[must_use]
pub fn log_sum_exp(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    top + ln(values.iter().map(|v| exp(v - top)).sum())
}

/// `ln(exp(a) + exp(b))`, with guards for -inf.
#[must_use]
pub fn log_add_exp(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY {
        b
    } else if b == f64::NEG_INFINITY {
        a
    } else {
        a.max(b) + ln_1p(exp(-(a - b).abs()))
    }
}

/// Logarithm of the mean of `exp(values)`: the mixture with equal weights. -inf when there is no value.
#[must_use]
pub fn log_mean_exp(values: &[f64]) -> f64 {
    if values.is_empty() { f64::NEG_INFINITY } else { log_sum_exp(values) - ln(values.len() as f64) }
}

/// Steps of every bisection: fixed, so that two implementations agree to the last digits.
pub const BISECTION_STEPS: u32 = 60;

/// Boundary of a region: `rejected` lies inside it, `kept` outside. Returns the last point known to be outside.
#[must_use]
pub fn bisect(mut rejected: f64, mut kept: f64, is_rejected: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..BISECTION_STEPS {
        let middle = (rejected + kept) / 2.0;
        if is_rejected(middle) {
            rejected = middle;
        } else {
            kept = middle;
        }
    }
    kept
}

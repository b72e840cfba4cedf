//! Cases of known difficulty and endpoints of known quality (statistics, 14.1).

use crate::stats::num::exp;

use super::dice::Dice;

/// Spread of the logits of a suite's cases.
pub const SPREAD: f64 = 2.0;

/// Noise on the logits of an endpoint: it finds other cases hard than the others do.
pub const NOISE: f64 = 0.3;

/// Halvings of the search for the shift of all logits.
const SHIFT_STEPS: u32 = 60;

/// Largest shift of the logits that is tried.
const SHIFT_MAX: f64 = 40.0;

/// A suite's cases: the logits of their pass rates, shifted so that their mean rate is `base`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cases {
    /// Mean pass rate of an endpoint without fault.
    pub base: f64,
    logits: Vec<f64>,
}

impl Cases {
    /// Draws `count` cases.
    #[must_use]
    pub fn draw(count: usize, base: f64, spread: f64, dice: &mut Dice) -> Self {
        let mut logits: Vec<f64> = (0..count).map(|_| spread * dice.normal()).collect();
        let shift = shift_for(&logits, base);
        logits.iter_mut().for_each(|z| *z += shift);
        Cases { base, logits }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.logits.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logits.is_empty()
    }

    /// How an endpoint finds the cases: their logits, with normal noise of a standard deviation added to each.
    #[must_use]
    pub fn seen_with(&self, noise: f64, dice: &mut Dice) -> Vec<f64> {
        self.logits.iter().map(|z| if noise > 0.0 { z + noise * dice.normal() } else { *z }).collect()
    }

    /// Pass rates by case of an endpoint whose mean lies `drop` below the base.
    #[must_use]
    pub fn rates(&self, drop: f64, noise: f64, dice: &mut Dice) -> Vec<f64> {
        rates_at(&self.seen_with(noise, dice), self.base - drop)
    }

    /// Pass rates of an endpoint that fails the `broken` easiest cases but for `broken_rate`, while all others are
    /// shifted together so that the mean lies `drop` below the base.
    #[must_use]
    pub fn rates_broken(&self, drop: f64, broken: usize, broken_rate: f64) -> Vec<f64> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| self.logits[*b].total_cmp(&self.logits[*a]));
        let (easy, rest) = order.split_at(broken.min(order.len()));
        let target = (self.base - drop) * self.len() as f64 - broken_rate * easy.len() as f64;
        let others: Vec<f64> = rest.iter().map(|i| self.logits[*i]).collect();
        let rates = rates_at(&others, target / rest.len().max(1) as f64);
        let mut out = vec![broken_rate; self.len()];
        for (i, rate) in rest.iter().zip(rates) {
            out[*i] = rate;
        }
        out
    }

    /// Places of the cases, hardest first.
    #[must_use]
    pub fn hardest_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| self.logits[*a].total_cmp(&self.logits[*b]));
        order
    }
}

fn expit(z: f64) -> f64 {
    1.0 / (1.0 + exp(-z))
}

fn mean_rate(logits: &[f64], shift: f64) -> f64 {
    logits.iter().map(|z| expit(z + shift)).sum::<f64>() / logits.len().max(1) as f64
}

fn shift_for(logits: &[f64], target: f64) -> f64 {
    let (mut low, mut high) = (-SHIFT_MAX, SHIFT_MAX);
    for _ in 0..SHIFT_STEPS {
        let middle = (low + high) / 2.0;
        if mean_rate(logits, middle) < target { low = middle } else { high = middle }
    }
    low
}

/// Pass rates at logits that are shifted together so that the mean rate is `target`.
#[must_use]
pub fn rates_at(logits: &[f64], target: f64) -> Vec<f64> {
    let shift = shift_for(logits, target.clamp(0.0, 1.0));
    logits.iter().map(|z| expit(z + shift)).collect()
}

/// Expected variance of a pass or fail within a case, E\[p (1 - p)\], over a suite of logits with mean rate `base`:
/// what a paired comparison of two endpoints leaves per endpoint. By the trapezoidal rule over the normal density.
#[must_use]
pub fn variance_within_case(base: f64, spread: f64) -> f64 {
    /// Standard deviations on each side.
    const REACH: f64 = 8.0;
    const STEPS: u32 = 2000;
    let points = || (0..=STEPS).map(|i| REACH * (2.0 * f64::from(i) / f64::from(STEPS) - 1.0));
    let mass: f64 = points().map(|x| exp(-x * x / 2.0)).sum();
    let mean = |shift: f64, f: fn(f64) -> f64| {
        points().map(|x| exp(-x * x / 2.0) * f(expit(spread * x + shift))).sum::<f64>() / mass
    };
    let (mut low, mut high) = (-SHIFT_MAX, SHIFT_MAX);
    for _ in 0..SHIFT_STEPS {
        let middle = (low + high) / 2.0;
        if mean(middle, |p| p) < base { low = middle } else { high = middle }
    }
    mean(low, |p| p * (1.0 - p))
}

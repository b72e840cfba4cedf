//! Bets on the mean of a paired difference: payoffs, increments, the e-process (statistics, 3.1).

use super::num::{exp, ln, ln_1p, log_mean_exp};

/// Number of constant bets in the mixture.
pub const K: usize = 6;

/// Bet fractions, largest first: `0.98 * (0.08 / 0.98)^(i / 5)`.
pub const FRACS: [f64; K] =
    [0.98, 0.593_743_485_955_569_7, 0.359_725_843_994_563_03, 0.217_943_751_634_327_83, 0.132_043_553_915_919_04, 0.08];

/// Weights of the bets in the first decision against an endpoint, in parts of their sum.
///
/// Most of the stake lies where endpoints worse by two to ten margins are found at pass rates of 70 to 99 %. Constants
/// of the program, never chosen from data: a mixture with fixed weights is as exact as the even one.
pub const WEIGHTS_EXCLUDE: [u32; K] = [1, 4, 4, 2, 1, 1];

/// Weights of the bets in the first decision for an endpoint, in parts of their sum. The boldest bet loses nearly all
/// of its stake with every single failure: it never helps to admit.
pub const WEIGHTS_ADMIT: [u32; K] = [0, 2, 4, 3, 2, 1];

/// One logarithm per bet.
pub type Logs = [f64; K];

/// Distinct values with their counts.
pub type Histogram = [(f64, f64)];

/// Which claim is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Bets against "not worse than the anchors by more than the margin".
    Exclude,
    /// Bets against "worse than the anchors by at least the margin".
    Admit,
}

impl Side {
    /// Largest possible loss of the payoff, which scales the bets.
    #[must_use]
    pub fn bound(self, margin: f64) -> f64 {
        match self {
            Side::Exclude => 1.0 + margin,
            Side::Admit => 1.0 - margin,
        }
    }

    /// Payoff of one paired difference.
    #[must_use]
    pub fn payoff(self, d: f64, margin: f64) -> f64 {
        match self {
            Side::Exclude => d - margin,
            Side::Admit => margin - d,
        }
    }
}

/// The bets of one test at one margin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bets {
    side: Side,
    margin: f64,
    lambda: [f64; K],
}

impl Bets {
    /// Bets for a margin in (0, 1): no payoff loses more than 98 % of the largest stake.
    #[must_use]
    pub fn new(side: Side, margin: f64) -> Self {
        let bound = side.bound(margin);
        Bets { side, margin, lambda: FRACS.map(|f| f / bound) }
    }

    /// What one outcome adds to each bet's logarithm. `d` is clamped to \[-1, 1\].
    #[must_use]
    pub fn increments(&self, d: f64) -> Logs {
        let x = self.side.payoff(d.clamp(-1.0, 1.0), self.margin);
        self.lambda.map(|l| ln_1p(l * x))
    }

    /// What a batch of outcomes adds: a function of the multiset alone, to the last bit.
    ///
    /// Sorts `ds` and takes one logarithm per distinct value, so that the order in which outcomes arrived cannot
    /// leave a trace in the rounding.
    #[must_use]
    pub fn batch_increments(&self, ds: &mut [f64]) -> Logs {
        self.run_increments(&runs(ds))
    }

    /// As [`Bets::batch_increments`], from the distinct values in ascending order with their counts (see [`runs`]).
    #[must_use]
    pub fn run_increments(&self, runs: &[(f64, u64)]) -> Logs {
        let mut sum = [0.0; K];
        for (d, count) in runs {
            add_scaled(&mut sum, &self.increments(*d), *count as f64);
        }
        sum
    }
}

/// Sorts values and counts the distinct ones: ascending, told apart to the last bit.
#[must_use]
pub fn runs(ds: &mut [f64]) -> Vec<(f64, u64)> {
    ds.sort_unstable_by(f64::total_cmp);
    ds.chunk_by(|a, b| a.to_bits() == b.to_bits()).map(|run| (run[0], run.len() as u64)).collect()
}

/// `sum += scale * increments`, bet by bet.
pub fn add_scaled(sum: &mut Logs, increments: &Logs, scale: f64) {
    for (s, inc) in sum.iter_mut().zip(increments) {
        *s += scale * inc;
    }
}

/// Mixture over the constant bets. Tests that the mean payoff is at most 0; look at sweep ends only and decide at
/// `log_e() >= ln(1 / alpha)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EProcess {
    bets: Bets,
    acc: Logs,
}

impl EProcess {
    /// A process without outcomes.
    #[must_use]
    pub fn new(side: Side, margin: f64) -> Self {
        EProcess { bets: Bets::new(side, margin), acc: [0.0; K] }
    }

    /// Takes one paired difference.
    pub fn add(&mut self, d: f64) {
        add_scaled(&mut self.acc, &self.bets.increments(d), 1.0);
    }

    /// Logarithm of the e-value.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mean_exp(&self.acc)
    }

    /// The logarithm of each bet.
    #[must_use]
    pub fn components(&self) -> &Logs {
        &self.acc
    }
}

/// Log e-value of the weighted mixture of the first decision, from the logarithm of each bet: 0 before the first outcome.
///
/// Tests the same claim as the even mixture ([`EProcess::log_e`]) with the same guarantee.
#[must_use]
pub fn log_e_weighted(acc: &Logs, side: Side) -> f64 {
    let weights = match side {
        Side::Exclude => &WEIGHTS_EXCLUDE,
        Side::Admit => &WEIGHTS_ADMIT,
    };
    // A bet without stake is left out: its logarithm may be anything.
    let staked = || weights.iter().zip(acc).filter(|(w, _)| **w > 0);
    let top = staked().map(|(_, log)| *log).fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    let parts: f64 = staked().map(|(w, log)| f64::from(*w) * exp(log - top)).sum();
    top + ln(parts) - ln(f64::from(weights.iter().sum::<u32>()))
}

/// Log e-value of a histogram of paired differences.
#[must_use]
pub fn log_e_hist(hist: &Histogram, margin: f64, side: Side) -> f64 {
    let bets = Bets::new(side, margin);
    let mut acc = [0.0; K];
    for &(d, count) in hist {
        add_scaled(&mut acc, &bets.increments(d), count);
    }
    log_mean_exp(&acc)
}

/// Log e-value for pass/fail scores and one reference.
///
/// `plus`: the reference passes and the endpoint fails; `minus`: the reverse; `zero`: both agree.
#[must_use]
pub fn log_e_counts(plus: u64, zero: u64, minus: u64, margin: f64, side: Side) -> f64 {
    log_e_hist(&[(1.0, plus as f64), (0.0, zero as f64), (-1.0, minus as f64)], margin, side)
}

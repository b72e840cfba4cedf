//! The e-Shiryaev-Roberts detector, restarted at every batch (statistics, 5.2).

use super::bets::{Bets, K, Logs, Side, add_scaled};
use super::num::{log_add_exp, log_mean_exp};

/// A detector that has seen no batch.
pub const FRESH: Logs = [f64::NEG_INFINITY; K];

/// Ends a batch: per bet `R <- (R + 1) * L`, where `L` is the product of the batch's factors, here as its logarithm.
pub fn close_batch(r: &mut Logs, increments: &Logs) {
    for (r, inc) in r.iter_mut().zip(increments) {
        *r = log_add_exp(*r, 0.0) + inc;
    }
}

/// Bets, the state of the closed batches and the open batch.
///
/// Alarm at `log_r() >= ln(A)`: under the null the expected number of false alarms in T batches is at most T / A.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detector {
    bets: Bets,
    r: Logs,
    inc: Logs,
}

impl Detector {
    /// A detector without batches.
    #[must_use]
    pub fn new(side: Side, margin: f64) -> Self {
        Detector { bets: Bets::new(side, margin), r: FRESH, inc: [0.0; K] }
    }

    /// Takes one paired difference into the open batch.
    pub fn add(&mut self, d: f64) {
        add_scaled(&mut self.inc, &self.bets.increments(d), 1.0);
    }

    /// Closes the open batch and tells the score after it.
    pub fn end_batch(&mut self) -> f64 {
        close_batch(&mut self.r, &self.inc);
        self.inc = [0.0; K];
        self.log_r()
    }

    /// Logarithm of the detector score after the closed batches; -inf before the first.
    #[must_use]
    pub fn log_r(&self) -> f64 {
        log_mean_exp(&self.r)
    }

    /// The logarithm of each bet.
    #[must_use]
    pub fn components(&self) -> &Logs {
        &self.r
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.r = FRESH;
        self.inc = [0.0; K];
    }
}

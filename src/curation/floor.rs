//! An absolute floor under a suite: never route to what answers less than such a share right, even if all are as bad.
//!
//! Two more tests of the endpoint's own scores, without anchors, by the bets of the decision at a margin of 0:
//!
//! | test | payoff | null hypothesis | missing answers |
//! |---|---|---|---|
//! | below | `floor - y` | the mean over the suite is at least the floor | left out |
//! | above | `y - floor` | the mean over the suite is at most the floor | failures |
//!
//! Where a policy sets a floor, an admission needs the second beside the tests of quality, and the first excludes: at
//! `1 / alpha` before the first decision, by the detector at `exclude_after_sweeps` after it. An endpoint in between stays
//! where it is. Over several suites with floors the mean of the tests excludes, by the weights of the suites.

use serde_json::{Value, json};

use crate::domain::{Policy, SuiteName};
use crate::stats::bets::{Bets, K, Logs, Side, add_scaled, runs};
use crate::stats::detector::{FRESH, close_batch};
use crate::stats::num::{ln, log_mean_exp};

use super::state::{EndpointState, ModelState};

/// The margin of both tests: a floor is a floor.
const MARGIN: f64 = 0.0;

/// The tests of one endpoint against the floor under one suite.
#[derive(Debug, Clone, PartialEq)]
pub struct FloorEvidence {
    /// The floor; evidence about another one is dropped.
    pub floor: f64,
    /// e-process that it is below.
    pub acc_below: Logs,
    /// e-process that it is above.
    pub acc_above: Logs,
    /// e-SR detector that it is below.
    pub r_below: Logs,
    /// e-SR detector that it is above.
    pub r_above: Logs,
}

/// What is added to the logarithms of the bets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Added {
    below: Logs,
    above: Logs,
}

impl FloorEvidence {
    /// No evidence about a floor.
    #[must_use]
    pub fn new(floor: f64) -> FloorEvidence {
        FloorEvidence { floor, acc_below: [0.0; K], acc_above: [0.0; K], r_below: FRESH, r_above: FRESH }
    }

    /// Logarithm of the e-value that it is below.
    #[must_use]
    pub fn log_e_below(&self) -> f64 {
        log_mean_exp(&self.acc_below)
    }

    /// Logarithm of the e-value that it is above.
    #[must_use]
    pub fn log_e_above(&self) -> f64 {
        log_mean_exp(&self.acc_above)
    }

    /// Logarithm of the detector score that it is below.
    #[must_use]
    pub fn log_r_below(&self) -> f64 {
        log_mean_exp(&self.r_below)
    }

    /// Logarithm of the detector score that it is above.
    #[must_use]
    pub fn log_r_above(&self) -> f64 {
        log_mean_exp(&self.r_above)
    }

    /// Closes the batch of a sweep: its scores, in any order, and how many answers are missing.
    pub(super) fn take(&mut self, scores: &[f64], missing: u64) {
        if scores.is_empty() && missing == 0 {
            return;
        }
        let mut lacks: Vec<f64> = scores.iter().map(|y| self.floor - y).collect();
        let below = Bets::new(Side::Exclude, MARGIN).batch_increments(&mut lacks);
        lacks.extend(std::iter::repeat_n(self.floor, usize::try_from(missing).unwrap_or(usize::MAX)));
        let above = Bets::new(Side::Admit, MARGIN).run_increments(&runs(&mut lacks));
        self.close(&Added { below, above });
    }

    /// What one case adds on average where such a share of the answers is right.
    pub(super) fn expected(&self, right: f64) -> Added {
        let mut out = Added { below: [0.0; K], above: [0.0; K] };
        for (lack, share) in [(self.floor - 1.0, right), (self.floor, 1.0 - right)] {
            add_scaled(&mut out.below, &Bets::new(Side::Exclude, MARGIN).increments(lack), share);
            add_scaled(&mut out.above, &Bets::new(Side::Admit, MARGIN).increments(lack), share);
        }
        out
    }

    pub(super) fn close(&mut self, added: &Added) {
        add_scaled(&mut self.acc_below, &added.below, 1.0);
        add_scaled(&mut self.acc_above, &added.above, 1.0);
        close_batch(&mut self.r_below, &added.below);
        close_batch(&mut self.r_above, &added.above);
    }

    pub(super) fn logs(&mut self) -> [&mut Logs; 4] {
        let FloorEvidence { floor: _, acc_below, acc_above, r_below, r_above } = self;
        [acc_below, acc_above, r_below, r_above]
    }

    /// The numbers of a decision.
    pub(super) fn numbers(&self) -> Value {
        json!({
            "floor": self.floor,
            "log_e_below": self.log_e_below(), "log_r_below": self.log_r_below(),
            "log_e_above": self.log_e_above(), "log_r_above": self.log_r_above(),
        })
    }
}

impl Added {
    /// So many times as much.
    pub(super) fn times(&self, cases: u64) -> Added {
        let mut out = Added { below: [0.0; K], above: [0.0; K] };
        add_scaled(&mut out.below, &self.below, cases as f64);
        add_scaled(&mut out.above, &self.above, cases as f64);
        out
    }
}

/// What is read of the floors under the suites that a model is judged by: logarithms, by suite.
pub(super) struct Floors {
    /// e-values and detector scores that it is below, weighted so that their sum is the mean.
    pub(super) below: Vec<(f64, f64, SuiteName)>,
    /// e-values and detector scores that it is above.
    pub(super) above: Vec<(f64, f64, SuiteName)>,
}

/// Reads an endpoint's floors. One without evidence has e-value 1 and detector score 0, as a suite has.
pub(super) fn read(state: &ModelState, policy: &Policy, endpoint: &EndpointState) -> Floors {
    let suites: Vec<(&SuiteName, f64)> =
        state.suites.keys().filter_map(|suite| Some((suite, policy.floor(suite)?))).collect();
    let weights: f64 = suites.iter().map(|(suite, _)| policy.weight(suite)).sum();
    let mut out = Floors { below: Vec::new(), above: Vec::new() };
    for (suite, floor) in suites {
        let evidence = endpoint.suites.get(suite).and_then(|e| e.floor.as_ref()).filter(|e| e.floor == floor);
        let share = ln(policy.weight(suite) / weights);
        let of = |e: fn(&FloorEvidence) -> f64, none: f64| evidence.map_or(none, e);
        let (e_below, r_below) =
            (of(FloorEvidence::log_e_below, 0.0), of(FloorEvidence::log_r_below, f64::NEG_INFINITY));
        let (e_above, r_above) =
            (of(FloorEvidence::log_e_above, 0.0), of(FloorEvidence::log_r_above, f64::NEG_INFINITY));
        out.below.push((e_below + share, r_below + share, suite.clone()));
        out.above.push((e_above, r_above, suite.clone()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_is_told_from_what_is_above_and_the_order_does_not_matter() {
        let scores: Vec<f64> = (0..200).map(|i| f64::from(u8::from(i % 10 < 6))).collect();
        let mut backwards = scores.clone();
        backwards.reverse();
        let (mut a, mut b) = (FloorEvidence::new(0.8), FloorEvidence::new(0.8));
        a.take(&scores, 3);
        b.take(&backwards, 3);
        assert_eq!(a, b);
        assert!(a.log_e_below() > ln(100.0) && a.log_e_above() < 0.0, "{a:?}");
        let mut high = FloorEvidence::new(0.5);
        high.take(&scores, 0);
        assert!(high.log_e_below() < 0.0 && high.log_e_above() > 0.0, "{high:?}");
        // Nothing asked is no batch.
        let before = high.clone();
        high.take(&[], 0);
        assert_eq!(high, before);
    }

    #[test]
    fn exactly_at_the_floor_no_test_gains_on_average() {
        let evidence = FloorEvidence::new(0.8);
        let mean = |bets: &Bets| {
            let factor = |lack: f64| bets.increments(lack).map(f64::exp);
            let (pass, fail) = (factor(-0.2), factor(0.8));
            (0..K).map(|i| 0.8 * pass[i] + 0.2 * fail[i]).fold(0.0, f64::max)
        };
        for side in [Side::Exclude, Side::Admit] {
            assert!((mean(&Bets::new(side, MARGIN)) - 1.0).abs() < 1e-12);
        }
        let added = evidence.expected(0.8);
        assert!(added.below.iter().chain(&added.above).all(|log| *log < 0.0), "{added:?}");
    }
}

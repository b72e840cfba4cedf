//! Trigger similarity of the Kimi K2 Vendor Verifier: does an endpoint call a tool where the reference does.
//!
//! Positive is an answer that ends in calls (`finish_reason` is `tool_calls`). TP: endpoint and reference both; FP: only
//! the endpoint; FN: only the reference. F1 = 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall.
//!
//! F1 measures sampling noise too: the vendor against itself reaches 0.76 to 0.84. So an endpoint is held against the
//! reference's own split-half: the same figure between two answers of the reference to the same sample.

use super::intervals::{Bounds, wilson};

/// Counts of called and not called, endpoint against reference. Means over pairs, so they need not be whole.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TriggerCounts {
    /// Both call.
    pub both: f64,
    /// Only the endpoint calls.
    pub only_endpoint: f64,
    /// Only the reference calls.
    pub only_reference: f64,
    /// Neither calls.
    pub neither: f64,
}

impl TriggerCounts {
    /// Adds one sample, answered by both.
    pub fn add(&mut self, endpoint: bool, reference: bool) {
        self.add_weighted(endpoint, reference, 1.0);
    }

    fn add_weighted(&mut self, endpoint: bool, reference: bool, weight: f64) {
        match (endpoint, reference) {
            (true, true) => self.both += weight,
            (true, false) => self.only_endpoint += weight,
            (false, true) => self.only_reference += weight,
            (false, false) => self.neither += weight,
        }
    }

    /// Samples.
    #[must_use]
    pub fn samples(&self) -> f64 {
        self.both + self.only_endpoint + self.only_reference + self.neither
    }

    /// `tool_call_f1` in \[0, 1\]; `None` where neither ever calls, so that there is nothing to find.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        let all = 2.0 * self.both + self.only_endpoint + self.only_reference;
        (all > 0.0).then(|| 2.0 * self.both / all)
    }

    /// Share of samples on which the two differ; `None` without samples.
    #[must_use]
    pub fn disagreement(&self) -> Option<f64> {
        let samples = self.samples();
        (samples > 0.0).then(|| (self.only_endpoint + self.only_reference) / samples)
    }

    /// Wilson's interval of the share on which the two differ, at `z` standard deviations; `None` without samples.
    #[must_use]
    pub fn disagreement_bounds(&self, z: f64) -> Option<Bounds> {
        let samples = self.samples();
        (samples > 0.0).then(|| wilson(self.only_endpoint + self.only_reference, samples, z))
    }
}

/// The reference against itself. Per sample its answers; each pair of different answers weighs the same, and each sample
/// with at least two answers counts once. The mean over all splits into halves, without drawing any. `None` when no
/// sample has two answers.
#[must_use]
pub fn split_half(reference: &[Vec<bool>]) -> Option<TriggerCounts> {
    let mut counts = TriggerCounts::default();
    for answers in reference.iter().filter(|answers| answers.len() > 1) {
        let (n, calls) = (answers.len() as f64, answers.iter().filter(|called| **called).count() as f64);
        let pairs = n * (n - 1.0);
        counts.add_weighted(true, true, calls * (calls - 1.0) / pairs);
        counts.add_weighted(false, false, (n - calls) * (n - calls - 1.0) / pairs);
        counts.add_weighted(true, false, calls * (n - calls) / pairs);
        counts.add_weighted(false, true, calls * (n - calls) / pairs);
    }
    (counts.samples() > 0.0).then_some(counts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(pairs: &[(bool, bool)]) -> TriggerCounts {
        let mut counts = TriggerCounts::default();
        pairs.iter().for_each(|(endpoint, reference)| counts.add(*endpoint, *reference));
        counts
    }

    #[test]
    fn the_formula_by_hand() {
        // TP 2, FP 1, FN 1: precision and recall 2/3.
        let c = counts(&[(true, true), (true, true), (true, false), (false, true), (false, false)]);
        assert!((c.f1().unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!((c.disagreement().unwrap() - 0.4).abs() < 1e-12);
        let bounds = c.disagreement_bounds(1.96).unwrap();
        assert!(bounds.0 < 0.4 && 0.4 < bounds.1);
        assert_eq!(counts(&[(false, false)]).f1(), None);
        assert_eq!(counts(&[]).disagreement(), None);
    }

    #[test]
    fn split_half_is_one_for_a_steady_reference_and_less_for_a_wavering_one() {
        assert_eq!(split_half(&[vec![true, true], vec![false, false, false]]).unwrap().f1(), Some(1.0));
        // Two answers that differ: each half sees what the other does not.
        assert_eq!(split_half(&[vec![true, false]]).unwrap().f1(), Some(0.0));
        // One steady sample, one that wavers: TP 1, FP 1/2, FN 1/2.
        let c = split_half(&[vec![true, true], vec![true, false]]).unwrap();
        assert!((c.f1().unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(split_half(&[vec![true], vec![]]), None);
    }

    proptest! {
        #[test]
        fn the_mean_over_pairs_equals_counting_them(reference in prop::collection::vec(prop::collection::vec(any::<bool>(), 0..6), 0..8)) {
            let mut slow = TriggerCounts::default();
            for answers in reference.iter().filter(|a| a.len() > 1) {
                let weight = 1.0 / (answers.len() * (answers.len() - 1)) as f64;
                for i in 0..answers.len() {
                    for j in (0..answers.len()).filter(|j| *j != i) {
                        slow.add_weighted(answers[i], answers[j], weight);
                    }
                }
            }
            match split_half(&reference) {
                None => prop_assert_eq!(slow.samples(), 0.0),
                Some(fast) => {
                    prop_assert!((fast.both - slow.both).abs() < 1e-9 && (fast.only_endpoint - slow.only_endpoint).abs() < 1e-9);
                    prop_assert!((fast.samples() - slow.samples()).abs() < 1e-9);
                    prop_assert!(fast.f1().is_none_or(|f1| (0.0..=1.0).contains(&f1)));
                }
            }
        }
    }
}

//! Laws that hold for every input.

use proptest::prelude::*;

use crate::stats::bets::{Bets, add_scaled};
use crate::stats::clustered::from_clusters;
use crate::stats::num::log_mean_exp;
use crate::stats::{Detector, K, Side, Z95, clopper_pearson, diff_cs, log_e_hist, rate_cs, wilson, wilson_clustered};

/// Differences as three anchors give them, and any other.
fn difference() -> impl Strategy<Value = f64> {
    prop_oneof![(0u8..=3, 0u8..=1).prop_map(|(a, y)| f64::from(a) / 3.0 - f64::from(y)), -1.0..=1.0f64,]
}

fn margin() -> impl Strategy<Value = f64> {
    0.001..0.5f64
}

fn log_e(ds: &[f64], margin: f64, side: Side) -> f64 {
    let mut ds = ds.to_vec();
    log_mean_exp(&Bets::new(side, margin).batch_increments(&mut ds))
}

proptest! {
    #[test]
    fn a_batch_is_a_function_of_the_multiset_to_the_last_bit(
        ds in prop::collection::vec(difference(), 0..80),
        shuffled in any::<prop::sample::Index>(),
        m in margin(),
    ) {
        let mut other = ds.clone();
        other.reverse();
        let by = if other.is_empty() { 0 } else { shuffled.index(other.len()) };
        other.rotate_left(by);
        for side in [Side::Exclude, Side::Admit] {
            let bets = Bets::new(side, m);
            prop_assert_eq!(bets.batch_increments(&mut ds.clone()), bets.batch_increments(&mut other));
        }
    }

    #[test]
    fn a_batch_equals_its_outcomes_one_by_one(ds in prop::collection::vec(difference(), 1..80), m in margin()) {
        for side in [Side::Exclude, Side::Admit] {
            let bets = Bets::new(side, m);
            let mut one_by_one = [0.0; K];
            for d in &ds {
                add_scaled(&mut one_by_one, &bets.increments(*d), 1.0);
            }
            let at_once = bets.batch_increments(&mut ds.clone());
            for k in 0..K {
                prop_assert!((one_by_one[k] - at_once[k]).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_failure_in_place_of_a_pass_speaks_for_exclusion_and_against_admission(
        ds in prop::collection::vec(difference(), 1..60),
        which in any::<prop::sample::Index>(),
        by in 0.0..=1.0f64,
        m in margin(),
    ) {
        let mut worse = ds.clone();
        let i = which.index(worse.len());
        worse[i] = (worse[i] + by).min(1.0);
        prop_assert!(log_e(&worse, m, Side::Exclude) >= log_e(&ds, m, Side::Exclude) - 1e-12);
        prop_assert!(log_e(&worse, m, Side::Admit) <= log_e(&ds, m, Side::Admit) + 1e-12);
    }

    #[test]
    fn a_further_failure_where_the_anchors_pass_never_lowers_the_evidence_for_exclusion(
        ds in prop::collection::vec(difference(), 0..60),
        anchors in 0.5..=1.0f64,
        m in margin(),
    ) {
        let mut more = ds.clone();
        more.push(anchors);
        prop_assert!(log_e(&more, m, Side::Exclude) >= log_e(&ds, m, Side::Exclude));
    }

    #[test]
    fn bets_never_lose_more_than_the_stake(d in -5.0..5.0f64, m in margin()) {
        for side in [Side::Exclude, Side::Admit] {
            for inc in Bets::new(side, m).increments(d) {
                prop_assert!(inc.is_finite() && inc >= (1.0f64 - 0.98).ln() - 1e-9);
            }
        }
    }

    #[test]
    fn the_detector_stands_above_the_last_batch_alone(
        batches in prop::collection::vec(prop::collection::vec(difference(), 0..20), 1..8),
        m in margin(),
    ) {
        let mut detector = Detector::new(Side::Exclude, m);
        let mut last = f64::NEG_INFINITY;
        for batch in &batches {
            batch.iter().for_each(|d| detector.add(*d));
            last = detector.end_batch();
        }
        let alone = log_e(batches.last().unwrap(), m, Side::Exclude);
        prop_assert!(last >= alone - 1e-9);
        detector.reset();
        prop_assert_eq!(detector.log_r(), f64::NEG_INFINITY);
    }

    #[test]
    fn intervals_of_a_rate_lie_in_0_1_and_hold_the_rate(n in 1u64..2000, share in 0.0..=1.0f64, alpha in 0.001..0.2f64) {
        let k = (share * n as f64).round() as u64;
        let rate = k as f64 / n as f64;
        for (name, (lo, hi)) in [
            ("wilson", wilson(k as f64, n as f64, Z95)),
            ("rate_cs", rate_cs(k as f64, n as f64, alpha)),
            ("clopper_pearson", clopper_pearson(k, n, alpha)),
        ] {
            prop_assert!((0.0..=1.0).contains(&lo) && (0.0..=1.0).contains(&hi), "{name} [{lo}, {hi}]");
            prop_assert!(lo <= rate + 1e-12 && rate <= hi + 1e-12, "{name} [{lo}, {hi}] without {rate}");
        }
    }

    #[test]
    fn the_gap_interval_holds_the_mean_and_agrees_with_the_tests(
        plus in 0u32..200, zero in 0u32..2000, minus in 0u32..200, m in margin(),
    ) {
        let hist = [(1.0, f64::from(plus)), (0.0, f64::from(zero)), (-1.0, f64::from(minus))];
        let (lo, hi) = diff_cs(&hist, 0.05);
        prop_assert!(-1.0 <= lo && lo <= hi && hi <= 1.0);
        let n = f64::from(plus + zero + minus);
        if n > 0.0 {
            let mean = (f64::from(plus) - f64::from(minus)) / n;
            prop_assert!(lo <= mean + 1e-9 && mean <= hi + 1e-9);
        }
        let rejects = log_e_hist(&hist, m, Side::Exclude) >= (2.0f64 / 0.05).ln();
        prop_assert_eq!(rejects, lo > m, "lo = {}, margin {}", lo, m);
    }

    #[test]
    fn repeats_of_a_case_never_narrow_the_interval_below_independence(
        clusters in prop::collection::vec((0u8..=5, 1u8..=5), 2..30),
    ) {
        let clusters: Vec<(f64, f64)> =
            clusters.into_iter().map(|(k, n)| (f64::from(k.min(n)), f64::from(n))).collect();
        let summary = from_clusters(clusters.iter().copied()).unwrap();
        let ((lo, hi), effect) = wilson_clustered(&summary, Z95);
        prop_assert!(effect >= 1.0);
        let plain = wilson(summary.mean * summary.attempts, summary.attempts, Z95);
        prop_assert!(hi - lo >= plain.1 - plain.0 - 1e-12);
        prop_assert!((0.0..=1.0).contains(&lo) && (0.0..=1.0).contains(&hi));
    }
}

//! Statements about a list: the median of the peers, which flags identical endpoints, and e-BH, which bounds the share of
//! false ones among the flagged (statistics, 5.4 and 14.11.3).

use serde_json::json;

use crate::stats::e_bh::e_bh;
use crate::stats::num::ln;
use crate::stats::{EProcess, Side};

use super::dice::Dice;
use super::population::{Cases, NOISE, SPREAD};
use super::report::{Figures, PolicyReport, Sample, number, share};
use super::windows::{REQUESTS_MIN, below_median};
use super::{Run, SimulateError};

// ----------------------------------------------------------------------------------------------------------- peers

/// Rules of the scenario `peers`.
pub const PEERS_POLICIES: [&str; 1] = ["median-mad"];

/// Evaluations in a repetition.
const EVALUATIONS: u64 = 100;

/// Pass rate of every one of the identical endpoints.
const PEER_RATE: f64 = 0.99;

/// How often identical endpoints are flagged in one evaluation.
///
/// # Errors
/// When the run is stopped.
pub fn peers(run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
    let mut report = PolicyReport::new(policy);
    for (what, normal, k) in [
        ("normal scores, 2 sigma", true, 2.0),
        ("normal scores, 1.5 sigma", true, 1.5),
        ("200 requests at 99 %, 2 sigma", false, 2.0),
    ] {
        for peers in [4usize, 10, 20] {
            let counts = run.repeat(&format!("{what}/{peers}"), |_, dice| {
                let (mut flagged, mut any) = (0u64, 0u64);
                for _ in 0..EVALUATIONS {
                    let values: Vec<f64> = (0..peers).map(|_| value(normal, dice)).collect();
                    let out = below_median(&values, k).len() as u64;
                    flagged += out;
                    any += u64::from(out > 0);
                }
                (flagged, any)
            })?;
            let evaluations = EVALUATIONS * run.reps;
            let sum = |f: fn(&(u64, u64)) -> u64| counts.iter().map(f).sum::<u64>();
            let mut cell = Figures::new();
            cell.insert("values".to_owned(), json!(what));
            cell.insert("peers".to_owned(), json!(peers));
            cell.insert("false_exclude".to_owned(), share(sum(|c| c.0), evaluations * peers as u64));
            cell.insert("any_error".to_owned(), share(sum(|c| c.1), evaluations));
            if report.cells.is_empty() {
                report.figures = cell.clone().into_iter().filter(|(name, _)| name.contains('_')).collect();
            }
            report.cells.push(cell);
        }
    }
    Ok(report)
}

fn value(normal: bool, dice: &mut Dice) -> f64 {
    if normal { dice.normal() } else { f64::from(dice.binomial(REQUESTS_MIN, PEER_RATE)) / f64::from(REQUESTS_MIN) }
}

// ------------------------------------------------------------------------------------------------------------- e-BH

/// Rules of the scenario `e-bh`.
pub const LIST_POLICIES: [&str; 2] = ["e-bh", "each-by-itself"];

/// Endpoints at the margin, and beyond it by `BEYOND`.
const NULLS: usize = 10;
const OTHERS: usize = 10;
const BEYOND: f64 = 0.03;

/// Sweeps and cases of a sweep.
const SWEEPS: usize = 20;
const CASES: usize = 100;

/// Share of false ones among the endpoints that a list calls worse than the margin, looked at after each sweep. All
/// endpoints are compared with the same reference, so that their e-values depend on each other; half of them stand
/// exactly at the margin. The figure of a repetition is the worst look.
///
/// # Errors
/// When the run is stopped.
pub fn list(run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
    let (delta, alpha) = (run.policy.margin, run.policy.alpha);
    let looks = run.repeat(policy, |_, dice| {
        let cases = Cases::draw(CASES, 0.97, SPREAD, dice);
        let reference = cases.rates(0.0, 0.0, dice);
        let drops = std::iter::repeat_n(delta, NULLS).chain(std::iter::repeat_n(delta + BEYOND, OTHERS));
        let rates: Vec<Vec<f64>> = drops.map(|d| cases.rates(d, NOISE, dice)).collect();
        let mut tests = vec![EProcess::new(Side::Exclude, delta); rates.len()];
        (0..SWEEPS)
            .map(|_| {
                for case in 0..CASES {
                    let anchor = f64::from(u8::from(dice.chance(reference[case])));
                    for (test, rates) in tests.iter_mut().zip(&rates) {
                        test.add(anchor - f64::from(u8::from(dice.chance(rates[case]))));
                    }
                }
                let log_e: Vec<f64> = tests.iter().map(EProcess::log_e).collect();
                let rejected = if policy == "e-bh" {
                    e_bh(&log_e, alpha)
                } else {
                    (0..log_e.len()).filter(|i| log_e[*i] >= ln(1.0 / alpha)).collect()
                };
                let false_ones = rejected.iter().filter(|i| **i < NULLS).count();
                (rejected.len(), false_ones)
            })
            .collect::<Vec<(usize, usize)>>()
    })?;
    let proportion = |(all, wrong): (usize, usize)| if all == 0 { 0.0 } else { wrong as f64 / all as f64 };
    let at_end: Sample = looks.iter().filter_map(|l| l.last()).map(|l| proportion(*l)).collect();
    let worst_look =
        (0..SWEEPS).map(|i| looks.iter().map(|l| proportion(l[i])).collect::<Sample>().mean()).fold(0.0, f64::max);
    let found: Sample = looks.iter().filter_map(|l| l.last()).map(|(all, wrong)| (all - wrong) as f64).collect();
    Ok(PolicyReport::new(policy)
        .with("requests_mean", (SWEEPS * CASES * (NULLS + OTHERS + 1)) as u64)
        .with("any_error", share(looks.iter().filter(|l| l.iter().any(|(_, w)| *w > 0)).count() as u64, run.reps))
        .with("false_share_at_end", number(at_end.mean()))
        .with("false_share_at_worst_look", number(worst_look))
        .with("found_share", number(found.mean() / OTHERS as f64)))
}

// ------------------------------------------------------------------------------------------------------ live traffic

/// Rules of the scenario `live`.
pub const LIVE_POLICIES: [&str; 2] = ["paired-in-strata", "paired-without-strata"];

/// Pass rate of an endpoint without fault, by stratum.
const STRATA: [f64; 4] = [0.995, 0.98, 0.95, 0.88];

/// Pairs in a repetition, and between two looks.
const PAIRS: usize = 10_000;
const PAIRS_PER_LOOK: usize = 100;

/// Live traffic instead of cases (statistics, 5.5): within a stratum the k-th outcome of an endpoint is paired with the
/// k-th of the anchors. The endpoint is exactly at the margin; its share of false exclusions must stay below alpha while
/// the router chooses at random within strata, and does not when it sends it the harder prompts of a stratum.
///
/// # Errors
/// When the run is stopped.
pub fn live(run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
    let mut report = PolicyReport::new(policy);
    for (what, skew, gap) in [
        ("random within strata, at the margin", 0.0, run.policy.margin),
        ("harder strata more often, at the margin", 0.5, run.policy.margin),
        ("harder prompts inside a stratum, no gap", 1.0, 0.0),
    ] {
        let wrong = run.repeat(&format!("{what}/{policy}"), |_, dice| live_once(run, policy, skew, gap, dice))?;
        let rate = share(wrong.iter().filter(|w| **w).count() as u64, run.reps);
        let mut cell = Figures::new();
        cell.insert("routing".to_owned(), json!(what));
        cell.insert("false_exclude".to_owned(), rate.clone());
        if report.cells.is_empty() {
            report = report.with("requests_mean", 0u64).with("any_error", rate.clone()).with("false_exclude", rate);
        }
        report.cells.push(cell);
    }
    Ok(report)
}

/// `skew`: 0 equal traffic, 0.5 the endpoint sees the hard strata more often, 1 also the harder prompts in each.
fn live_once(run: &Run<'_>, policy: &str, skew: f64, gap: f64, dice: &mut Dice) -> bool {
    let mut test = EProcess::new(Side::Exclude, run.policy.margin);
    let threshold = ln(1.0 / run.policy.alpha);
    for pair in 1..=PAIRS {
        let strata = STRATA.len();
        let theirs = dice.below(strata);
        // A pair forms within the stratum of the endpoint's prompt, or with whatever the anchor was asked.
        let own = if skew > 0.0 && dice.chance(0.5) { strata - 1 } else { dice.below(strata) };
        let anchor_stratum = if policy == "paired-in-strata" { own } else { theirs };
        let harder = if skew >= 1.0 { 0.03 } else { 0.0 };
        let anchor = dice.chance(STRATA[anchor_stratum]);
        let endpoint = dice.chance(STRATA[own] - gap - harder);
        test.add(f64::from(u8::from(anchor)) - f64::from(u8::from(endpoint)));
        if pair % PAIRS_PER_LOOK == 0 && test.log_e() >= threshold {
            return true;
        }
    }
    false
}

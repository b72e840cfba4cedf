//! Every section of `tests/vectors/vectors.json`, at 1e-9.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::stats::bets::FRACS;
use crate::stats::cusum::bernoulli_cusum;
use crate::stats::e_bh::e_bh;
use crate::stats::eb_beta::eb_beta;
use crate::stats::intervals::log_e_rate;
use crate::stats::mantel_haenszel::{Table, risk_difference};
use crate::stats::mcnemar::mcnemar;
use crate::stats::mmd::mmd2_hamming;
use crate::stats::paired::paired_diff;
use crate::stats::{
    Detector, EProcess, Side, Z95, clopper_pearson, clustered, diff_cs, log_e_counts, log_e_weighted, rate_cs, wilson,
    wilson_clustered,
};

const TOLERANCE: f64 = 1e-9;

fn num(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("{v} is not a number"))
}

fn int(v: &Value) -> u64 {
    v.as_u64().unwrap_or_else(|| panic!("{v} is not a count"))
}

fn nums(v: &Value) -> Vec<f64> {
    v.as_array().unwrap_or_else(|| panic!("{v} is not an array")).iter().map(num).collect()
}

fn items(v: &Value) -> Vec<&Value> {
    v.as_array().map_or_else(|| vec![v], |a| a.iter().collect())
}

fn same(label: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{label}: number of values");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= TOLERANCE, "{label}[{i}]: {g}, expected {w}");
    }
}

fn pick(v: &Value, keys: &[&str]) -> Vec<f64> {
    keys.iter().map(|k| num(&v[*k])).collect()
}

fn side(name: &str) -> Side {
    match name {
        "exclude" => Side::Exclude,
        "admit" => Side::Admit,
        other => panic!("{other} is no side"),
    }
}

fn both(bounds: (f64, f64)) -> [f64; 2] {
    [bounds.0, bounds.1]
}

fn rates(name: &str, v: &Value) {
    let (k, n) = (num(&v["k"]), num(&v["n"]));
    match name {
        "wilson" => same(name, &both(wilson(k, n, num(&v["z"]))), &pick(v, &["lo", "hi"])),
        "clopper_pearson" => {
            let got = clopper_pearson(int(&v["k"]), int(&v["n"]), num(&v["alpha"]));
            same(name, &both(got), &pick(v, &["lo", "hi"]));
        }
        "rate_confidence_sequence" => {
            same(name, &both(rate_cs(k, n, num(&v["alpha"]))), &pick(v, &["lo", "hi"]));
        }
        _ => same(name, &[log_e_rate(k, n, num(&v["m"]))], &pick(v, &["log_e"])),
    }
}

fn clustered_se(v: &Value) {
    let rows = items(&v["rows"]).into_iter().map(|r| (r[0].as_str().unwrap(), num(&r[1])));
    let got = clustered(rows).unwrap();
    same(
        "clustered",
        &[got.mean, got.se, got.se_small_sample, got.groups as f64],
        &pick(v, &["mean", "se", "se_small_sample", "G"]),
    );
    if v.get("deff").is_some() {
        let ((lo, hi), effect) = wilson_clustered(&got, Z95);
        same("wilson_clustered", &[lo, hi, effect], &pick(v, &["wilson_eff_lo", "wilson_eff_hi", "deff"]));
    }
}

fn scores_by_case(v: &Value) -> BTreeMap<String, Vec<f64>> {
    v.as_object().unwrap().iter().map(|(case, scores)| (case.clone(), nums(scores))).collect()
}

fn comparisons(name: &str, v: &Value) {
    match name {
        "paired_diff" => {
            let got = paired_diff(&scores_by_case(&v["a"]), &scores_by_case(&v["b"])).unwrap();
            same(name, &[got.mean, got.se, got.groups as f64], &pick(v, &["mean", "se", "G"]));
        }
        "mcnemar" => {
            let got = mcnemar(int(&v["b"]), int(&v["c"]));
            same(name, &[got.exact, got.mid_p, got.chi2], &pick(v, &["exact", "mid_p", "chi2"]));
        }
        "mantel_haenszel_rd" => {
            let tables: Vec<Table> = items(&v["tables_a_n1_b_n0"])
                .into_iter()
                .map(|t| Table { a: num(&t[0]), n1: num(&t[1]), b: num(&t[2]), n0: num(&t[3]) })
                .collect();
            let (rd, se) = risk_difference(&tables).unwrap();
            same(name, &[rd, se], &pick(v, &["rd", "se"]));
        }
        _ => {
            let groups: Vec<(f64, f64)> = nums(&v["k"]).into_iter().zip(nums(&v["n"])).collect();
            let got = eb_beta(&groups).unwrap();
            same(name, &[got.a, got.b], &pick(v, &["a", "b"]));
            same(name, &got.means, &nums(&v["post_mean"]));
        }
    }
}

/// The weighted mixture of the first decision, which the shared vectors do not know: worked out apart, in Python.
#[test]
fn the_weighted_mixture_of_the_first_decision() {
    for ((plus, zero, minus), margin, side, log_e) in [
        ((20, 280, 0), 0.02, Side::Exclude, 5.737_017_220_326_257),
        ((85, 896, 19), 0.02, Side::Exclude, 10.131_582_776_179_236),
        ((34, 358, 8), 0.02, Side::Exclude, 3.595_816_221_407_825),
        ((20, 280, 0), 0.02, Side::Admit, -2.949_486_167_186_707),
        ((10, 1980, 10), 0.017, Side::Admit, 14.230_056_811_225_277),
        ((0, 400, 0), 0.017, Side::Admit, 2.746_585_168_552_915),
    ] {
        let mut process = EProcess::new(side, margin);
        for (d, count) in [(1.0, plus), (0.0, zero), (-1.0, minus)] {
            (0..count).for_each(|_| process.add(d));
        }
        let got = log_e_weighted(process.components(), side);
        assert!((got - log_e).abs() < 1e-9, "{side:?} {plus} {zero} {minus}: {got}");
        assert_eq!(log_e_weighted(EProcess::new(side, margin).components(), side), 0.0, "before the first outcome");
    }
}

fn evidence(name: &str, v: &Value) {
    for side_name in ["exclude", "admit"] {
        let key = format!("log_e_{side_name}");
        let (side, delta) = (side(side_name), num(&v["delta"]));
        if name == "e_counts" {
            let got = log_e_counts(int(&v["n_plus"]), int(&v["n_zero"]), int(&v["n_minus"]), delta, side);
            same(&key, &[got], &pick(v, &[&key]));
        } else {
            let mut process = EProcess::new(side, delta);
            let path: Vec<f64> = nums(&v["D"])
                .into_iter()
                .map(|d| {
                    process.add(d);
                    process.log_e()
                })
                .collect();
            same(&key, &path, &nums(&v[&key]));
        }
    }
}

fn e_sr(v: &Value) {
    let mut detector = Detector::new(side(v["side"].as_str().unwrap()), num(&v["delta"]));
    let mut path = Vec::new();
    for batch in items(&v["batches"]) {
        nums(batch).into_iter().for_each(|d| detector.add(d));
        path.push(detector.end_batch());
    }
    same("e_sr", &path, &nums(&v["log_r_after_batch"]));
    same("e_sr components", detector.components(), &nums(&v["r_components_final"]));
}

fn others(name: &str, v: &Value) {
    match name {
        "diff_confidence_sequence" => {
            let hist: Vec<(f64, f64)> = items(&v["hist"]).into_iter().map(|h| (num(&h[0]), num(&h[1]))).collect();
            same(name, &both(diff_cs(&hist, num(&v["alpha"]))), &pick(v, &["lo", "hi"]));
        }
        "bernoulli_cusum" => {
            let passes: Vec<bool> = nums(&v["y"]).into_iter().map(|y| y > 0.5).collect();
            same(name, &bernoulli_cusum(&passes, num(&v["p0"]), num(&v["p1"])), &nums(&v["s"]));
        }
        "e_bh" => {
            let got: Vec<f64> = e_bh(&nums(&v["log_e"]), num(&v["q"])).into_iter().map(|i| i as f64).collect();
            same(name, &got, &nums(&v["rejected"]));
        }
        _ => {
            let texts = |key: &str| -> Vec<Vec<char>> {
                items(&v[key]).into_iter().map(|t| t.as_str().unwrap().chars().collect()).collect()
            };
            let got = mmd2_hamming(&texts("x"), &texts("y"), int(&v["L"]) as usize).unwrap();
            same(name, &[got], &pick(v, &["mmd2_u"]));
        }
    }
}

/// Checks one section and tells whether there is a check for it.
fn check(name: &str, section: &Value) -> bool {
    if name == "fracs" {
        same(name, &FRACS, &nums(section));
        return true;
    }
    let check_one: fn(&str, &Value) = match name {
        "wilson" | "clopper_pearson" | "rate_confidence_sequence" | "log_e_rate" => rates,
        "clustered_se" => |_, v| clustered_se(v),
        "paired_diff" | "mcnemar" | "mantel_haenszel_rd" | "eb_beta" => comparisons,
        "e_counts" | "e_sequence" => evidence,
        "e_sr" => |_, v| e_sr(v),
        "diff_confidence_sequence" | "bernoulli_cusum" | "e_bh" | "mmd_hamming" => others,
        _ => return false,
    };
    let section = items(section);
    assert!(!section.is_empty(), "section {name} is empty");
    section.into_iter().for_each(|v| check_one(name, v));
    true
}

#[test]
fn every_section_of_the_vectors_agrees() {
    let vectors: Value = serde_json::from_str(include_str!("../../../tests/vectors/vectors.json")).unwrap();
    let vectors = vectors.as_object().unwrap();
    let mut checked = BTreeSet::new();
    for (name, section) in vectors.iter().filter(|(name, _)| *name != "note") {
        assert!(check(name, section), "section without a check: {name}");
        checked.insert(name.as_str());
    }
    assert!(checked.len() >= 17, "only {} sections in the file: {checked:?}", checked.len());
}

#[test]
fn fractions_follow_their_formula() {
    let formula: Vec<f64> = (0..6).map(|i| 0.98 * (0.08f64 / 0.98).powf(f64::from(i) / 5.0)).collect();
    same("fracs", &FRACS, &formula);
}

#[test]
fn the_check_values_of_the_explanations_agree() {
    let log_e = log_e_counts(85, 896, 19, 0.02, Side::Exclude);
    same("ln E", &[log_e], &[9.533_081_944_492_988]);
    let (lo, hi) = diff_cs(&[(1.0, 85.0), (0.0, 896.0), (-1.0, 19.0)], 0.05);
    assert!((lo - 0.03573).abs() < 5e-6 && (hi - 0.09943).abs() < 5e-6, "[{lo}, {hi}]");
    let log_e = log_e_counts(34, 358, 8, 0.02, Side::Exclude);
    assert!((log_e.exp() - 22.73).abs() < 0.005, "E = {}", log_e.exp());
    let (lo, hi) = diff_cs(&[(1.0, 34.0), (0.0, 358.0), (-1.0, 8.0)], 0.05);
    assert!((lo - 0.01662).abs() < 5e-6 && (hi - 0.12010).abs() < 5e-6, "[{lo}, {hi}]");
}

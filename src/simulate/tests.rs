//! The simulator agrees with the specification's own simulations, and with itself.

use std::num::NonZeroUsize;
use std::path::Path;

use super::dice::Dice;
use super::fleet::{Fleet, Pace};
use super::population::{Cases, NOISE, SPREAD, variance_within_case};
use super::rules::{Call, fixed_size, newcombe, of_gap, z_of};
use super::story::{Burst, Truth};
use super::windows::below_median;
use super::{Control, PolicyReport, Report, Request, Scenario, SimulateError, bound, file, simulate, tale};
use crate::domain::{Outcome, Policy, Standing};

fn run(scenario: &str, alpha: f64, reps: u64, seed: u64, threads: usize, only: &[&str]) -> Report {
    let request = Request {
        scenario: Scenario::named(scenario).unwrap(),
        policy: Policy { alpha, ..Policy::default() },
        reps: Some(reps),
        seed,
        only: only.iter().map(|s| (*s).to_owned()).collect(),
        threads: NonZeroUsize::new(threads).unwrap(),
    };
    simulate(&request, &Control::default()).unwrap()
}

fn figure(report: &PolicyReport, name: &str) -> f64 {
    report.figures[name].as_f64().unwrap_or_else(|| panic!("{name} of {} is {}", report.policy, report.figures[name]))
}

fn assert_near(what: &str, is: f64, should: f64, tolerance: f64) {
    assert!((is - should).abs() <= tolerance * should, "{what}: {is}, expected {should} within {tolerance}");
}

// ------------------------------------------------------------------------------------------------------ determinism

#[test]
fn the_same_seed_gives_the_same_report_on_any_number_of_threads() {
    let only = ["exactod", "peeking-paired-z"];
    let one = run("A", 0.05, 3, 11, 1, &only);
    assert_eq!(one, run("A", 0.05, 3, 11, 3, &only));
    assert_ne!(one.policies, run("A", 0.05, 3, 12, 1, &only).policies);
}

#[test]
fn a_policy_fares_the_same_alone_and_in_company() {
    let alone = run("A", 0.05, 3, 5, 1, &["peeking-wilson"]);
    let company = run("A", 0.05, 3, 5, 2, &["peeking-paired-z", "peeking-wilson"]);
    assert_eq!(alone.policies[0], company.policies[0]);
}

#[test]
fn a_stopped_run_gives_no_report() {
    let control = Control::default();
    control.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let request = Request {
        scenario: Scenario::named("A").unwrap(),
        policy: Policy::default(),
        reps: Some(5),
        seed: 1,
        only: vec![],
        threads: NonZeroUsize::MIN,
    };
    assert!(matches!(simulate(&request, &control), Err(SimulateError::Stopped(_))));
}

#[test]
fn unknown_names_and_impossible_policies_are_refused() {
    assert!(matches!(Scenario::named("a"), Err(SimulateError::UnknownScenario(_))));
    let mut request = Request {
        scenario: Scenario::named("A").unwrap(),
        policy: Policy::default(),
        reps: Some(1),
        seed: 1,
        only: vec!["exacto".to_owned()],
        threads: NonZeroUsize::MIN,
    };
    assert!(matches!(simulate(&request, &Control::default()), Err(SimulateError::UnknownPolicy(_))));
    request.only.clear();
    request.policy.alpha = 0.7;
    assert!(matches!(simulate(&request, &Control::default()), Err(SimulateError::Policy(_))));
}

// ------------------------------------------------------------------------- agreement with the specification, section 14

/// Tolerance of means over very few repetitions: the slow tier (tests/it/simulate.rs) runs enough of them.
const FEW: f64 = 0.4;

#[test]
fn the_information_bound_is_that_of_the_specification() {
    let a = [0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.05, 0.1, 0.2];
    let b = [0.0, 0.0, 0.0, 0.0, 0.01, 0.05, 0.05, 0.1, 0.2];
    let c = [0.0, 0.0, 0.0, 0.0, 0.0, 0.02, 0.05, 0.1, 0.2];
    for (base, delta, drops, alpha, expected) in [
        (0.97, 0.02, a, 0.05, 3494.0),
        (0.97, 0.02, a, 0.01, 6150.0),
        (0.95, 0.02, b, 0.05, 9088.0),
        (0.97, 0.01, c, 0.05, 13102.0),
    ] {
        assert_near("bound", bound::requests(base, SPREAD, delta, &drops, alpha), expected, 0.06);
    }
}

#[test]
fn sample_sizes_of_the_fixed_designs_are_those_of_the_specification() {
    for (tail, n) in [(0.05, 1575), (0.01, 3150), (0.05 / 9.0, 3755)] {
        assert!(fixed_size(tail, 2.0 * 0.0291, 0.02).abs_diff(n) <= 4, "{}", fixed_size(tail, 2.0 * 0.0291, 0.02));
    }
    for (tail, n) in [(0.05, 1258), (0.01, 2515), (0.05 / 9.0, 3000)] {
        assert!(fixed_size(tail, 2.0 * 0.023_24, 0.02).abs_diff(n) <= 4, "{}", fixed_size(tail, 0.046_48, 0.02));
    }
    assert_near("variance within a case", variance_within_case(0.97, SPREAD), 0.023_24, 0.03);
    assert!((z_of(0.05) - 1.645).abs() < 1e-3 && (z_of(0.01) - 2.326).abs() < 1e-3);
}

#[test]
fn rules_of_scenario_a_need_what_the_specification_says() {
    let report =
        run("A", 0.05, 6, 3, 2, &["exactod-pool", "exactod-one-reference", "peeking-wilson", "peeking-paired-z"]);
    let of = |name: &str| report.policies.iter().find(|p| p.policy == name).unwrap();
    // Statistics, 14.1: the primary targets, over several suites.
    assert_near("pool", figure(of("exactod-pool"), "requests_mean"), 6885.0, FEW);
    assert_near("one reference", figure(of("exactod-one-reference"), "requests_mean"), 8678.0, FEW);
    assert_near("peeking Wilson", figure(of("peeking-wilson"), "requests_mean"), 3687.0, FEW);
    assert_near("peeking z", figure(of("peeking-paired-z"), "requests_mean"), 2877.0, FEW);
}

#[test]
fn detectors_are_as_quick_as_the_specification_says() {
    let report = run("drift", 0.01, 3, 3, 2, &["e-sr-1e4", "window-200"]);
    for (policy, drop, delay) in [("e-sr-1e4", 0.1, 242.0), ("e-sr-1e4", 0.2, 100.0), ("window-200", 0.2, 86.0)] {
        let cells = &report.policies.iter().find(|p| p.policy == policy).unwrap().cells;
        let cell = cells.iter().find(|c| c["drop"] == drop).unwrap();
        assert_near(&format!("{policy} at {drop}"), cell["cases_to_exclude"].as_f64().unwrap(), delay, 0.6);
    }
}

#[test]
fn the_median_rule_flags_identical_endpoints_as_often_as_the_specification_says() {
    let report = run("peers", 0.01, 4, 3, 2, &[]);
    for (i, any) in [(0, 0.21), (1, 0.34), (2, 0.45), (6, 0.35), (7, 0.54), (8, 0.70)] {
        let cell = &report.policies[0].cells[i];
        assert!((cell["any_error"].as_f64().unwrap() - any).abs() < 0.08, "{cell:?}");
    }
    assert_eq!(below_median(&[0.9, 0.9, 0.9, 0.5], 2.0), [3]);
    assert!(below_median(&[0.9, 0.9, 0.5], 2.0).is_empty(), "too few peers");
}

#[test]
fn the_shipped_rule_errs_at_the_margin_no_more_than_alpha() {
    let report = run("type1", 0.05, 1, 3, 2, &["exactod"]);
    let n = 6.0;
    let tolerated = 0.05 + 3.0 * (0.05f64 * 0.95 / n).sqrt();
    for name in ["false_exclude", "false_include"] {
        assert!(figure(&report.policies[0], name) <= tolerated, "{name}: {:?}", report.policies[0].figures);
    }
}

// ------------------------------------------------------------------------------------------------------------ parts

#[test]
fn populations_have_the_means_that_were_asked_for() {
    let mut dice = Dice::new(1, "test", 0);
    let cases = Cases::draw(200, 0.97, SPREAD, &mut dice);
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    assert!((mean(&cases.rates(0.05, NOISE, &mut dice)) - 0.92).abs() < 1e-9);
    let broken = cases.rates_broken(0.02, 4, 0.15);
    assert!((mean(&broken) - 0.95).abs() < 1e-9);
    assert_eq!(broken.iter().filter(|p| **p == 0.15).count(), 4);
    let hardest = cases.hardest_first();
    let rates = cases.rates(0.0, 0.0, &mut dice);
    assert!(rates[hardest[0]] <= rates[hardest[199]]);
}

#[test]
fn newcombes_interval_holds_the_difference_and_speaks_of_the_margin() {
    let (low, high) = newcombe((56.0, 70.0), (48.0, 80.0), 1.96);
    assert!((low - 0.0524).abs() < 5e-4 && (high - 0.3339).abs() < 5e-4, "{low} {high}");
    assert_eq!(of_gap(0.03, 0.05, 0.02), Call::Out);
    assert_eq!(of_gap(-0.01, 0.01, 0.02), Call::In);
    assert_eq!(of_gap(0.01, 0.03, 0.02), Call::Open);
}

#[test]
fn a_fleet_is_led_as_the_daemon_leads_it() {
    let mut dice = Dice::new(1, "fleet", 0);
    let mut fleet = Fleet::new(Policy::default(), 5, &[("s", 40)], None, Pace::PerDay(4)).unwrap();
    let mut excluded_at = None;
    for sweep in 0..40 {
        let end = fleet.sweep(&mut dice, |ask, dice| {
            Outcome::Scored(if ask.endpoint == 4 && dice.chance(0.5) { 0.0 } else { 1.0 })
        });
        if sweep == 0 {
            assert_eq!((end.asked, end.anchors.len()), (vec![25; 5], 5), "a small first sweep, everybody in the pool");
        } else if sweep == 1 {
            assert_eq!(end.asked[..4], [40; 4], "no more cases than the suite has");
        }
        if end.changes.iter().any(|c| c.endpoint == 4 && c.to == Standing::Excluded) {
            excluded_at.get_or_insert(sweep);
        }
        assert!(!fleet.list().unwrap().providers.is_empty());
    }
    assert!(excluded_at.unwrap() <= 2);
    assert_eq!(fleet.standing(4), Standing::Excluded);
}

#[test]
fn the_truth_of_a_story_counts_bursts_of_wrong_answers() {
    let mut story = tale::year().remove(0).story;
    let policy = Policy::default();
    assert_eq!(story.truth(&policy, 7, 100), Truth::Good);
    assert_eq!(story.truth(&policy, 7, 500), Truth::Bad);
    assert_eq!(story.truth(&policy, 7, 1000), Truth::Good);
    let burst = Burst { chance: 0.5, length: 0.1, fails: 1.0, missing: false, common: false, between: (0, 9) };
    story.endpoints[0].bursts.push(burst);
    assert_eq!(story.truth(&policy, 0, 5), Truth::Bad, "0.5 x 0.1 x 0.97 is above 2 points");
    assert_eq!(story.truth(&policy, 0, 10), Truth::Good);
    story.endpoints[0].bursts[0].missing = true;
    assert_eq!(story.truth(&policy, 0, 5), Truth::Good, "no answer is no wrong answer");
}

// ------------------------------------------------------------------------------------------------------------- files

#[test]
fn the_example_scenario_runs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scenarios/bad-fortnight.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let Scenario::Tale(mut told) = file::parse(&path, &text).unwrap() else { panic!("a story") };
    let story = &mut told.variants[0].story;
    assert_eq!(story.suites.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["output-quality", "tool-use"]);
    assert_eq!(story.endpoints.len(), 8);
    assert_eq!(story.endpoints[5].eras[1].drops, [0.0, 0.1]);
    story.sweeps = 4;
    let request = Request {
        scenario: Scenario::Tale(told),
        policy: Policy::default(),
        reps: Some(1),
        seed: 1,
        only: vec!["exactod".to_owned()],
        threads: NonZeroUsize::MIN,
    };
    let report = simulate(&request, &Control::default()).unwrap();
    assert_eq!(figure(&report.policies[0], "requests_mean"), 8.0 * 2.0 * (25.0 + 3.0 * 100.0));
    assert_eq!(report.policies[0].cells.len(), 4);
}

/// A threshold on the rate itself blames the endpoints for a suite that became harder: nobody is worse than the others.
#[test]
fn a_raw_rate_excludes_everybody_when_all_fall_together() {
    let text = "sweeps = 120\nbegin = \"admitted\"\n[[suite]]\nname = \"a\"\n[[endpoint]]\nid = \"alike\"\ncount = 4\n\
                [[endpoint.change]]\nat = 40\ndrop = 0.06\n";
    let request = Request {
        scenario: file::parse(Path::new("x.toml"), text).unwrap(),
        policy: Policy::default(),
        reps: Some(3),
        seed: 1,
        only: ["exactod", "raw-rate-7d"].map(str::to_owned).to_vec(),
        threads: NonZeroUsize::MIN,
    };
    let report = simulate(&request, &Control::default()).unwrap();
    let wrong: Vec<f64> = report.policies.iter().map(|policy| figure(policy, "false_exclude")).collect();
    assert_eq!(wrong, [0.0, 1.0]);
}

#[test]
fn problems_of_a_scenario_are_told_all_at_once_with_their_places() {
    let text =
        "sweps = 3\nsweeps = 0\n[[suite]]\nname = \"a\"\nbase = 1.5\n[[endpoint]]\nid = \"x\"\ndrop = { b = 0.1 }\n";
    let problems = file::parse(Path::new("x.toml"), text).unwrap_err();
    insta::assert_snapshot!(problems.to_string());
    assert!(file::parse(Path::new("x.toml"), "a = [").is_err());
}

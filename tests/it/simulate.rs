//! `simulate`: its documents, its refusals, and (slow tier) the figures that the project promises.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::world::{Ran, exactod};

/// Of a run of the slow tier.
const TIME_LIMIT: Duration = Duration::from_secs(1200);

async fn simulate(args: &[&str]) -> Ran {
    let mut command: Command = exactod();
    Ran::of(command.arg("simulate").args(args)).await
}

async fn figures(scenario: &str, alpha: &str, reps: &str, only: &[&str]) -> Vec<Value> {
    let mut args = vec!["--scenario", scenario, "--alpha", alpha, "--reps", reps, "--seed", "1", "--json"];
    for policy in only {
        args.extend(["--only", policy]);
    }
    let ran = Ran::within(exactod().arg("simulate").args(&args), TIME_LIMIT).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()["policies"].as_array().unwrap().clone()
}

#[tokio::test]
async fn one_json_document_with_every_policy_by_its_name() {
    let ran = simulate(&[
        "--scenario",
        "A",
        "--alpha",
        "0.05",
        "--reps",
        "2",
        "--seed",
        "1",
        "--only",
        "fixed-n-paired",
        "--only",
        "exactod",
        "--json",
    ])
    .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let said = ran.json();
    assert_eq!((&said["scenario"], &said["reps"], &said["seed"]), (&"A".into(), &2.into(), &1.into()));
    let policies = said["policies"].as_array().unwrap();
    let names: Vec<&str> = policies.iter().map(|p| p["policy"].as_str().unwrap()).collect();
    assert_eq!(names, ["exactod", "fixed-n-paired"]);
    for key in ["requests_mean", "any_error", "false_exclude", "false_include", "ratio_to_bound", "ratio_to_fixed_n"] {
        assert!(policies.iter().all(|p| p[key].is_number()), "{key}");
    }
    assert_eq!(policies[1]["ratio_to_fixed_n"], 1.0);
}

#[tokio::test]
async fn a_table_for_people() {
    let ran =
        simulate(&["--scenario", "C", "--alpha", "0.05", "--reps", "2", "--seed", "1", "--only", "peeking-paired-z"])
            .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
}

#[tokio::test]
async fn what_cannot_be_simulated_is_refused_with_a_reason() {
    let ran = simulate(&["--scenario", "Z"]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("cold-start"), "{ran:?}");
    let ran = simulate(&["--scenario", "A", "--only", "nobody"]).await;
    assert!(ran.code == 2 && ran.stderr.contains("exactod-pool"), "{ran:?}");
    let ran = simulate(&["--scenario", "A", "--alpha", "0.9"]).await;
    assert!(ran.code == 2 && ran.stderr.contains("alpha"), "{ran:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, "[policy]\nmargn = 0.02\n").unwrap();
    let ran = simulate(&["--scenario", "A", "--policy", path.to_str().unwrap()]).await;
    assert!(ran.code == 2 && ran.stderr.contains("did you mean `margin`?") && ran.stderr.contains('^'), "{ran:?}");
    let path = folder.path().join("own.toml");
    std::fs::write(&path, "[[suite]]\nname = \"s\"\ncases = 0\n").unwrap();
    let ran = simulate(&["--scenario", path.to_str().unwrap()]).await;
    assert!(ran.code == 2 && ran.stderr.contains("own.toml:3:9") && ran.stderr.contains('^'), "{ran:?}");
}

#[tokio::test]
async fn a_policy_of_ones_own_is_simulated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, "margin = 0.05\nalpha = 0.1\n").unwrap();
    let ran = simulate(&[
        "--scenario",
        "A",
        "--reps",
        "2",
        "--only",
        "peeking-paired-z",
        "--policy",
        path.to_str().unwrap(),
        "--json",
    ])
    .await;
    let said = ran.json();
    assert_eq!((said["margin"].as_f64(), said["alpha"].as_f64()), (Some(0.05), Some(0.1)), "{ran:?}");
}

// -------------------------------------------------------------------------------------------------------- slow tier

fn of<'a>(policies: &'a [Value], name: &str) -> &'a Value {
    policies.iter().find(|p| p["policy"] == name).unwrap()
}

fn at_most(value: &Value, name: &str, most: f64) {
    let is = value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"));
    assert!(is <= most, "{name} is {is}, at most {most} was promised: {value}");
}

#[tokio::test]
#[ignore = "slow tier: scripts/test slow"]
async fn slow_scenario_a_agrees_with_the_specification() {
    let policies = figures("A", "0.05", "300", &[]).await;
    for (name, requests) in [
        ("exactod-pool", 6885.0),
        ("exactod-one-reference", 8678.0),
        ("fixed-n-paired", 30_000.0),
        ("fixed-n-wilson", 37_550.0),
    ] {
        let is = of(&policies, name)["requests_mean"].as_f64().unwrap();
        assert!((is - requests).abs() <= 0.15 * requests, "{name}: {is}");
    }
    at_most(of(&policies, "exactod"), "any_error", 0.02);
    at_most(of(&policies, "exactod"), "requests_mean", 9500.0);
    at_most(of(&policies, "exactod-pool"), "any_error", 0.02);
    for (drop, n) in [("0", 615.0), ("5", 753.0), ("10", 189.0), ("20", 71.0)] {
        let is = of(&policies, "exactod-pool")["cases_by_drop"][drop].as_f64().unwrap();
        assert!((is - n).abs() <= 0.2 * n, "cases at {drop}: {is}");
    }
    for (name, least) in [("peeking-wilson", 0.05), ("peeking-paired-z", 0.05), ("fixed-n-wilson-each", 0.15)] {
        assert!(of(&policies, name)["any_error"].as_f64().unwrap() > least, "{name} does not keep what it says");
    }
}

#[tokio::test]
#[ignore = "slow tier: scripts/test slow"]
async fn slow_ten_new_endpoints_are_classified_within_the_promised_requests() {
    let policies = figures("A", "0.01", "300", &["exactod", "exactod-equal-margins"]).await;
    at_most(of(&policies, "exactod"), "requests_mean", 13_000.0);
    at_most(of(&policies, "exactod-equal-margins"), "requests_mean", 13_000.0);
    for policy in &policies {
        at_most(policy, "any_error", 0.02);
        at_most(policy, "undecided", 0.0);
    }
}

#[tokio::test]
#[ignore = "slow tier: scripts/test slow"]
async fn slow_detectors_and_the_median_rule_agree_with_the_specification() {
    let policies = figures("drift", "0.01", "150", &[]).await;
    for (policy, drop, delay) in [
        ("e-sr-1e4", 0.03, 4721.0),
        ("e-sr-1e4", 0.05, 918.0),
        ("e-sr-1e4", 0.1, 242.0),
        ("e-sr-1e4", 0.2, 100.0),
        ("e-cusum", 0.05, 672.0),
        ("page-hinkley", 0.05, 616.0),
        ("window-200", 0.05, 885.0),
        ("window-1000", 0.1, 416.0),
        ("bernoulli-cusum", 0.1, 543.0),
        ("e-process-without-restart", 0.1, 2040.0),
    ] {
        let cells = of(&policies, policy)["cells"].as_array().unwrap();
        let is = cells.iter().find(|c| c["drop"] == drop).unwrap()["cases_to_exclude"].as_f64().unwrap();
        assert!((is - delay).abs() <= 0.25 * delay, "{policy} at {drop}: {is}, {delay} was simulated");
    }
    let peers = figures("peers", "0.01", "300", &[]).await;
    for (i, any) in [(0, 0.21), (1, 0.34), (2, 0.45), (3, 0.31), (4, 0.56), (5, 0.75), (6, 0.35), (7, 0.54), (8, 0.70)]
    {
        let cell = &peers[0]["cells"][i];
        assert!((cell["any_error"].as_f64().unwrap() - any).abs() < 0.02, "{cell}");
    }
}

#[tokio::test]
#[ignore = "slow tier: scripts/test slow"]
async fn slow_the_error_at_the_margin_stays_within_alpha() {
    let policies = figures("type1", "0.05", "400", &["exactod"]).await;
    // Six designs of 400 runs, and three standard errors of one design.
    at_most(&policies[0], "false_exclude", 0.05);
    at_most(&policies[0], "false_include", 0.05);
    at_most(&policies[0], "worst_design", 0.05 + 3.0 * (0.05f64 * 0.95 / 400.0).sqrt());
}

#[tokio::test]
#[ignore = "slow tier: scripts/test slow"]
async fn slow_one_year_keeps_its_promises() {
    let policies = figures("year", "0.01", "100", &["exactod"]).await;
    let year = &policies[0];
    at_most(year, "requests_mean", 400_000.0);
    at_most(year, "any_error", 0.0);
    for cell in year["cells"].as_array().unwrap() {
        match cell["endpoint"].as_str().unwrap() {
            "0 > 5 > 0" => at_most(cell, "days_to_exclude", 5.0),
            "0 > 20 > 0" => at_most(cell, "days_to_exclude", 1.0),
            _ => continue,
        }
        at_most(cell, "days_to_readmit", 8.5);
    }
}

#[tokio::test]
#[ignore = "slow tier: scripts/test slow"]
async fn slow_nobody_flaps_and_nobody_bad_enters_first() {
    let policies = figures("flap", "0.01", "100", &["exactod"]).await;
    // The promise, and three standard errors of a Poisson rate over 100 years.
    at_most(&policies[0], "transitions_per_year", 0.2 + 3.0 * (0.2f64 / 100.0).sqrt());
    let policies = figures("cold-start", "0.01", "200", &["exactod"]).await;
    for cell in policies[0]["cells"].as_array().unwrap() {
        if let Some(wrong) = cell["false_include"].as_f64() {
            assert!(wrong <= 0.01 + 3.0 * (0.01f64 * 0.99 / 200.0).sqrt(), "{cell}");
        }
    }
}

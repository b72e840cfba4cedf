//! Scenarios told as stories: one year, cold start, and what the specification left open.

use serde_json::{Value, json};

use crate::domain::Policy;

use super::fleet::{Pace, SWEEPS_PER_DAY};
use super::population::{NOISE, SPREAD};
use super::report::{Figures, PolicyReport, number};
use super::story::{Burst, Cast, Story, SuiteSpec, Version};
use super::summary::summarise;
use super::windows::{Criterion, MedianMad, Windowed};
use super::{Run, SimulateError};

/// One variant of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// What sets it apart.
    pub label: String,
    /// What happens.
    pub story: Story,
}

/// Policies that can be compared in a story of a single suite.
pub const POLICIES: [&str; 7] = [
    "exactod",
    "exactod-equal-margins",
    "point-estimate-7d",
    "point-estimate-7d-hysteresis",
    "raw-rate-7d",
    "interval-7d-peeking",
    "median-mad",
];

/// Policies of the other stories.
pub const OWN_POLICIES: [&str; 2] = ["exactod", "exactod-equal-margins"];

/// Least share of passes of the rule that looks at the rate alone: a usual objective, two points below the healthy endpoints of
/// most scenarios (97 %), as the default margin is.
const RATE_MIN: f64 = 0.95;
/// Cases per sweep and endpoint of the rules that watch a trailing window.
const WINDOW_CASES: usize = 25;

/// z of a one-sided 5 % error.
const Z_05: f64 = 1.645;

/// Errors of which the worst variant counts.
const WORST: [&str; 8] = [
    "any_error",
    "false_exclude",
    "false_include",
    "undecided",
    "false_exclusions_per_year",
    "false_inclusions_per_year",
    "transitions_per_year",
    "false_suspect_per_year",
];

/// Runs one policy over all variants.
///
/// # Errors
/// When the run is stopped, or the policy is unknown.
pub fn run(variants: &[Variant], run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
    let mut reports = Vec::new();
    for variant in variants {
        let purpose = format!("{}/{policy}", variant.label);
        let played = run.repeat(&purpose, |_, dice| play(&variant.story, &run.policy, policy, dice))?;
        let played = played.into_iter().collect::<Result<Vec<_>, _>>()?;
        reports.push((variant.label.clone(), summarise(&variant.story, &run.policy, policy, &played)));
    }
    Ok(merged(policy, reports))
}

fn play(
    story: &Story,
    policy: &Policy,
    name: &str,
    dice: &mut super::Dice,
) -> Result<super::story::Played, SimulateError> {
    let n = story.endpoints.len();
    let delta = policy.margin;
    let windowed = |criterion| Windowed::new(criterion, n, story.settled, WINDOW_CASES, policy.anchors as usize);
    Ok(match name {
        "exactod" => story.play(policy, dice)?,
        "exactod-equal-margins" => {
            story.play(&Policy { admission_margin: Some(policy.margin), ..policy.clone() }, dice)?
        }
        "point-estimate-7d" => story.play_rule(&mut windowed(Criterion::Point { out: delta, within: delta }), dice)?,
        "point-estimate-7d-hysteresis" => {
            let criterion = Criterion::Point { out: 1.25 * delta, within: 0.75 * delta };
            story.play_rule(&mut windowed(criterion), dice)?
        }
        "raw-rate-7d" => story.play_rule(&mut windowed(Criterion::Rate { least: RATE_MIN }), dice)?,
        "interval-7d-peeking" => story.play_rule(&mut windowed(Criterion::Interval { z: Z_05, delta }), dice)?,
        "median-mad" => story.play_rule(&mut MedianMad::new(n), dice)?,
        _ => return Err(SimulateError::UnknownPolicy(name.to_owned())),
    })
}

/// The report of several variants: means of what is counted, the worst of what may go wrong, and a row each.
fn merged(policy: &str, mut reports: Vec<(String, PolicyReport)>) -> PolicyReport {
    if reports.len() == 1
        && let Some((_, only)) = reports.pop()
    {
        return only;
    }
    let mut out = PolicyReport::new(policy);
    let of = |name: &str| -> Vec<f64> {
        reports.iter().filter_map(|(_, r)| r.figures.get(name).and_then(Value::as_f64)).collect()
    };
    let requests = of("requests_mean");
    out = out.with("requests_mean", number(requests.iter().sum::<f64>() / requests.len() as f64));
    for name in WORST {
        let worst = of(name).into_iter().fold(f64::NAN, f64::max);
        out = out.with(name, number(worst));
    }
    for (label, report) in reports {
        let mut cell = Figures::new();
        cell.insert("variant".to_owned(), json!(label));
        cell.extend(report.figures);
        out.cells.push(cell);
        for part in report.cells {
            let mut cell = Figures::new();
            cell.insert("variant".to_owned(), json!(label));
            cell.extend(part);
            out.cells.push(cell);
        }
    }
    out
}

// ---------------------------------------------------------------------------------------------------------- stories

/// A suite as in statistics 14.
#[must_use]
pub fn suite(name: &str, cases: usize, base: f64) -> SuiteSpec {
    SuiteSpec { name: name.to_owned(), cases, base, spread: SPREAD, parts: 1 }
}

/// A fleet that begins Unknown, four sweeps a day, a year long.
#[must_use]
pub fn year_of(suites: Vec<SuiteSpec>, endpoints: Vec<Cast>) -> Story {
    Story {
        suites,
        endpoints,
        sweeps: 1460,
        pace: Pace::PerDay(SWEEPS_PER_DAY),
        settled: false,
        shuffled: true,
        until_decided: false,
        reference: None,
        versions: Vec::new(),
        acknowledge_after: u64::from(SWEEPS_PER_DAY),
    }
}

fn alone(story: Story) -> Vec<Variant> {
    vec![Variant { label: "all".to_owned(), story }]
}

/// One year of ten endpoints, of which three fall for 120 days (statistics, 14.9).
#[must_use]
pub fn year() -> Vec<Variant> {
    let mut cast = vec![Cast::steady("0", 0.0, 1, NOISE); 5];
    cast.push(Cast::steady("1", 0.01, 1, NOISE));
    cast.push(Cast::steady("1.5", 0.015, 1, NOISE));
    for (label, drop) in [("0 > 5 > 0", 0.05), ("0 > 10 > 0", 0.1), ("0 > 20 > 0", 0.2)] {
        cast.push(Cast::changing(label, &[(0, 0.0), (480, drop), (960, 0.0)], 1, NOISE));
    }
    alone(year_of(vec![suite("suite", 200, 0.97)], cast))
}

/// Ten new endpoints in random order, four of them bad (interfaces, 6.1).
#[must_use]
pub fn cold_start() -> Vec<Variant> {
    let bad = [[0.05; 4], [0.05, 0.05, 0.1, 0.2], [0.05, 0.1, 0.2, 0.5], [0.5; 4]];
    let story = |drops: &[f64]| {
        let mut cast = vec![Cast::steady("0", 0.0, 1, NOISE); 6];
        cast.extend(drops.iter().map(|d| Cast::steady(&points(*d), *d, 1, NOISE)));
        let story = year_of(vec![suite("suite", 200, 0.97)], cast);
        Story { sweeps: 400, pace: Pace::BackToBack, until_decided: true, ..story }
    };
    let label = |drops: &[f64]| drops.iter().map(|d| points(*d)).collect::<Vec<_>>().join(" ");
    bad.iter().map(|drops| Variant { label: label(drops), story: story(drops) }).collect()
}

fn points(drop: f64) -> String {
    format!("{}", (drop * 1000.0).round() / 10.0)
}

/// What befalls an endpoint that loses `share` of its answers in the long run, by how the losses come together.
fn losses(share: f64, missing: bool) -> Vec<(&'static str, Option<Burst>)> {
    let burst = |chance: f64, length: f64| {
        let fails = (share / (chance * length)).min(1.0);
        Some(Burst { chance, length, fails, missing, common: false, between: (0, u64::MAX) })
    };
    vec![
        ("independent", None),
        ("every second sweep, a tenth of it", burst(0.5, 0.1)),
        ("a broken replica, half of the sweeps", burst(0.5, 1.0)),
        ("one sweep in ten, a quarter of it", burst(0.1, 0.25)),
        ("one sweep in twenty, half of it", burst(0.05, 0.5)),
    ]
}

/// Dependence inside a sweep: the same long-run loss, a margin's worth or nothing like it, ever more bunched.
#[must_use]
pub fn outage() -> Vec<Variant> {
    let mut out = Vec::new();
    let story = |under_test: Cast| {
        let mut cast = vec![Cast::steady("others", 0.0, 1, 0.0); 4];
        cast.push(under_test);
        Story { settled: true, ..year_of(vec![suite("suite", 200, 0.97)], cast) }
    };
    for (label, burst) in losses(0.02 / 0.97, false) {
        let drop = if burst.is_some() { 0.0 } else { 0.02 };
        let mut cast = Cast::steady("under test", drop, 1, 0.0);
        cast.bursts.extend(burst);
        out.push(Variant { label: format!("loses 2 points: {label}"), story: story(cast) });
    }
    // Three minutes once a week, in sweeps whose calls are spread over more or less time.
    let three_minutes = |length: f64, missing: bool| Burst {
        chance: 1.0 / 28.0,
        length,
        fails: 1.0,
        missing,
        common: false,
        between: (0, u64::MAX),
    };
    for (kind, missing) in [("wrong answers", false), ("no answers", true)] {
        for (spread, length) in
            [("two hours", 0.025), ("half an hour", 0.1), ("ten minutes", 0.3), ("three minutes", 1.0)]
        {
            let mut cast = Cast::steady("under test", 0.0, 1, 0.0);
            cast.bursts.push(three_minutes(length, missing));
            let label = format!("three minutes of {kind} a week, sweeps spread over {spread}");
            out.push(Variant { label, story: story(cast) });
        }
    }
    let mut all = year_of(vec![suite("suite", 200, 0.97)], vec![Cast::steady("under test", 0.0, 1, 0.0); 5]);
    all.settled = true;
    for cast in &mut all.endpoints {
        cast.bursts.push(Burst { common: true, ..three_minutes(0.3, false) });
    }
    out.push(Variant {
        label: "three minutes of our own network a week, sweeps spread over ten minutes".to_owned(),
        story: all,
    });
    out
}

/// Graded scores: cases of four parts, the score is the share passed.
#[must_use]
pub fn graded() -> Vec<Variant> {
    year().into_iter().map(|v| graded_variant(v, 4)).collect()
}

fn graded_variant(mut variant: Variant, parts: u32) -> Variant {
    variant.story.suites.iter_mut().for_each(|s| s.parts = parts);
    variant
}

/// Three suites at once: endpoints that fail in one of them, in all, in none.
#[must_use]
pub fn suites() -> Vec<Variant> {
    let names = ["json", "text", "tools"];
    let specs: Vec<SuiteSpec> = names.iter().map(|n| suite(n, 200, 0.97)).collect();
    let mut cast = vec![Cast::steady("0", 0.0, 3, NOISE); 5];
    let mut changing = |label: &str, drops: [f64; 3]| {
        let mut one = Cast::changing(label, &[(0, 0.0), (480, 0.0), (960, 0.0)], 3, NOISE);
        one.eras[1].drops = drops.to_vec();
        cast.push(one);
    };
    changing("5 in one of three", [0.0, 0.0, 0.05]);
    changing("10 in one of three", [0.0, 0.1, 0.0]);
    changing("20 in one of three", [0.2, 0.0, 0.0]);
    changing("5 in all", [0.05; 3]);
    changing("20 in all", [0.2; 3]);
    alone(year_of(specs, cast))
}

/// New versions of the suite in the middle of the year: as hard as before, harder, and with an endpoint that falls at the
/// same time.
#[must_use]
pub fn version() -> Vec<Variant> {
    let story = |base: f64, falls: bool| {
        let mut cast = vec![Cast::steady("0", 0.0, 1, NOISE); 5];
        let last: &[(u64, f64)] = if falls { &[(0, 0.0), (730, 0.05)] } else { &[(0, 0.0)] };
        cast.push(Cast::changing(if falls { "0 > 5" } else { "0" }, last, 1, NOISE));
        cast.push(Cast::steady("10", 0.1, 1, NOISE));
        let versions = vec![Version { at: 730, suite: 0, base }];
        Story { versions, ..year_of(vec![suite("suite", 200, 0.97)], cast) }
    };
    [("as hard as before", 0.97, false), ("harder by 5 points", 0.92, false), ("an endpoint falls with it", 0.97, true)]
        .into_iter()
        .map(|(label, base, falls)| Variant { label: label.to_owned(), story: story(base, falls) })
        .collect()
}

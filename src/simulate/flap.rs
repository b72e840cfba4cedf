//! Flap: how often an endpoint that never changes changes its standing in a year (statistics, 14.9).

use serde_json::json;

use crate::domain::Policy;

use super::report::{Figures, PolicyReport, number};
use super::story::{Cast, Story};
use super::summary::summarise;
use super::tale::{suite, year_of};
use super::windows::{Criterion, Windowed};
use super::{Run, SimulateError};

/// True gaps, as shares of the margin.
const GAPS: [f64; 7] = [0.5, 0.75, 0.875, 1.0, 1.125, 1.25, 1.5];

/// Cases per sweep of the comparison rules.
const CASES: usize = 50;

/// Policies that can be compared, the shipped one first.
pub const POLICIES: [&str; 5] =
    ["exactod", "point-estimate-7d", "point-estimate-7d-hysteresis", "interval-7d-peeking", "e-sr-50"];

fn story(gap: f64) -> Story {
    let mut cast = vec![Cast::steady("others", 0.0, 1, 0.0); 4];
    cast.push(Cast::steady("under test", gap, 1, 0.0));
    Story { settled: true, ..year_of(vec![suite("suite", 100, 0.97)], cast) }
}

/// Runs one policy.
///
/// # Errors
/// When the run is stopped, or the policy is unknown.
pub fn run(run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
    let margin = run.policy.margin;
    let criterion = criterion(&run.policy, policy)?;
    let mut out = PolicyReport::new(policy);
    for gap in GAPS.map(|share| share * margin) {
        let story = story(gap);
        let played = run.repeat(&format!("{gap}/{policy}"), |_, dice| match criterion {
            None => story.play(&run.policy, dice),
            Some(criterion) => story.play_rule(&mut Windowed::new(criterion, 5, true, CASES, 4), dice),
        })?;
        let played = played.into_iter().collect::<Result<Vec<_>, _>>()?;
        let report = summarise(&story, &run.policy, policy, &played);
        let mut cell = Figures::new();
        cell.insert("gap".to_owned(), json!(gap));
        if let Some(under_test) = report.cells.into_iter().find(|c| c.get("endpoint") == Some(&json!("under test"))) {
            cell.extend(under_test.into_iter().filter(|(name, _)| name != "endpoint" && name != "undecided"));
        }
        if gap == margin {
            out = out.with("requests_mean", report.figures.get("requests_mean").cloned().unwrap_or(number(f64::NAN)));
            for name in ["transitions_per_year", "false_exclude", "false_exclusions_per_year"] {
                out = out.with(name, cell.get(name).cloned().unwrap_or(number(f64::NAN)));
            }
        }
        out.cells.push(cell);
    }
    Ok(out)
}

/// How a comparison rule decides; `None` for the shipped one.
fn criterion(policy: &Policy, name: &str) -> Result<Option<Criterion>, SimulateError> {
    let delta = policy.margin;
    Ok(Some(match name {
        "exactod" => return Ok(None),
        "point-estimate-7d" => Criterion::Point { out: delta, within: delta },
        "point-estimate-7d-hysteresis" => Criterion::Point { out: 1.25 * delta, within: 0.75 * delta },
        "interval-7d-peeking" => Criterion::Interval { z: 1.645, delta },
        "e-sr-50" => Criterion::Detector {
            exclude: policy.exclude_after_sweeps,
            admit: policy.readmit_after_sweeps,
            delta,
            delta_in: policy.admission_share() * delta,
        },
        _ => return Err(SimulateError::UnknownPolicy(name.to_owned())),
    }))
}

//! Drift: how soon a fall is found after a long good time (statistics, 14.5).

use serde_json::json;

use crate::stats::num::ln;
use crate::stats::{Bets, Detector, EProcess, K, Logs, Side};

use super::dice::Dice;
use super::population::{Cases, SPREAD};
use super::report::{Figures, PolicyReport, Sample, number, share};
use super::story::{Cast, Story};
use super::summary::summarise;
use super::tale::{suite, year_of};
use super::{Run, SimulateError};

/// Falls.
const DROPS: [f64; 4] = [0.03, 0.05, 0.1, 0.2];

/// Pass rate before the fall.
const BASE: f64 = 0.97;

/// Cases of the suite.
const CASES: usize = 100;

/// Outcomes of a batch.
const BATCH: usize = 25;

/// Good outcomes before the fall.
const GOOD: usize = 5000;

/// Good sweeps before the fall, under the shipped rule: as many outcomes.
const GOOD_SWEEPS: u64 = (GOOD / BATCH) as u64;

/// Anchors that the detectors compare with.
const ANCHORS: usize = 4;

/// Policies that can be compared, the shipped one first. `e-sr-1e4` is the detector with its guarantee of 1e4 batches;
/// the others are calibrated to a false alarm in 1e5 outcomes at the margin (thresholds of statistics, 14.5), but for
/// the last, which never restarts.
pub const POLICIES: [&str; 8] = [
    "exactod",
    "e-sr-1e4",
    "e-cusum",
    "page-hinkley",
    "window-200",
    "window-1000",
    "bernoulli-cusum",
    "e-process-without-restart",
];

/// Runs one policy.
///
/// # Errors
/// When the run is stopped, or the policy is unknown.
pub fn run(run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
    let mut out = PolicyReport::new(policy);
    for drop in DROPS {
        let cell = if policy == "exactod" { shipped(run, drop)? } else { compared(run, policy, drop)? };
        if drop == DROPS[1] {
            for (name, value) in cell.iter().filter(|(name, _)| *name != "drop") {
                out = out.with(name, value.clone());
            }
        }
        out.cells.push(cell);
    }
    Ok(out)
}

fn shipped(run: &Run<'_>, drop: f64) -> Result<Figures, SimulateError> {
    let mut cast = vec![Cast::steady("others", 0.0, 1, 0.0); ANCHORS];
    cast.push(Cast::changing("under test", &[(0, 0.0), (GOOD_SWEEPS, drop)], 1, 0.0));
    let story = Story {
        settled: true,
        sweeps: GOOD_SWEEPS + horizon(drop) as u64 / BATCH as u64,
        ..year_of(vec![suite("suite", CASES, BASE)], cast)
    };
    let played = run.repeat(&format!("{drop}/exactod"), |_, dice| story.play(&run.policy, dice))?;
    let played = played.into_iter().collect::<Result<Vec<_>, _>>()?;
    let report = summarise(&story, &run.policy, "exactod", &played);
    let mut cell = Figures::new();
    cell.insert("drop".to_owned(), json!(drop));
    cell.insert("requests_mean".to_owned(), report.figures.get("requests_mean").cloned().unwrap_or_default());
    let wanted = [
        "excluded_share",
        "cases_to_exclude",
        "days_to_suspect",
        "days_to_suspect_p90",
        "days_to_exclude",
        "days_to_exclude_p90",
        "false_exclusions_per_year",
    ];
    for part in report.cells.iter().filter(|c| c.get("endpoint") == Some(&json!("under test"))) {
        cell.extend(wanted.iter().filter_map(|name| Some(((*name).to_owned(), part.get(*name)?.clone()))));
    }
    Ok(cell)
}

/// Outcomes after the fall until a detector gives up.
fn horizon(drop: f64) -> usize {
    if drop < 0.04 { 12_000 } else { 5000 }
}

fn compared(run: &Run<'_>, policy: &str, drop: f64) -> Result<Figures, SimulateError> {
    let delta = run.policy.margin;
    if Watch::new(policy, delta, run.policy.alpha).is_none() {
        return Err(SimulateError::UnknownPolicy(policy.to_owned()));
    }
    let delays = run.repeat(&format!("{drop}/{policy}"), |repetition, dice| {
        let mut suite = run.dice("suite", repetition);
        let cases = Cases::draw(CASES, BASE, SPREAD, &mut suite);
        let (good, bad) = (cases.rates(0.0, 0.0, &mut suite), cases.rates(drop, 0.0, &mut suite));
        let mut watch = Watch::new(policy, delta, run.policy.alpha)?;
        // Runs that alarm before the fall are dropped.
        if watch.alarm_within(GOOD, &good, &good, dice).is_some() {
            return None;
        }
        Some(watch.alarm_within(horizon(drop), &good, &bad, dice))
    })?;
    let kept: Vec<Option<usize>> = delays.into_iter().flatten().collect();
    let found = kept.iter().flatten().count() as u64;
    let delay: Sample = kept.iter().map(|d| d.unwrap_or_else(|| horizon(drop)) as f64).collect();
    let mut cell = Figures::new();
    cell.insert("drop".to_owned(), json!(drop));
    cell.insert("excluded_share".to_owned(), share(found, kept.len() as u64));
    cell.insert("cases_to_exclude".to_owned(), number(delay.mean()));
    Ok(cell)
}

/// A detector over paired outcomes.
struct Watch {
    kind: Kind,
    seen: usize,
}

enum Kind {
    Esr { detector: Detector, threshold: f64 },
    Ecusum { bets: Bets, levels: Logs, threshold: f64 },
    PageHinkley { allowed: f64, sum: f64, least: f64, threshold: f64 },
    Window { last: Vec<f64>, length: usize, threshold: f64 },
    Cusum { steps: (f64, f64), level: f64, threshold: f64 },
    NoRestart { process: EProcess, threshold: f64 },
}

impl Watch {
    fn new(name: &str, delta: f64, alpha: f64) -> Option<Watch> {
        let kind = match name {
            "e-sr-1e4" => Kind::Esr { detector: Detector::new(Side::Exclude, delta), threshold: ln(1e4) },
            "e-cusum" => Kind::Ecusum { bets: Bets::new(Side::Exclude, delta), levels: [0.0; K], threshold: 5.45 },
            "page-hinkley" => Kind::PageHinkley { allowed: 0.035, sum: 0.0, least: 0.0, threshold: 9.5 },
            "window-200" => Kind::Window { last: Vec::new(), length: 200, threshold: 0.074 },
            "window-1000" => Kind::Window { last: Vec::new(), length: 1000, threshold: 0.040 },
            "bernoulli-cusum" => {
                let (from, to) = (BASE, BASE - 0.05);
                Kind::Cusum { steps: (ln(to / from), ln((1.0 - to) / (1.0 - from))), level: 0.0, threshold: 44.3 }
            }
            "e-process-without-restart" => {
                Kind::NoRestart { process: EProcess::new(Side::Exclude, delta), threshold: ln(1.0 / alpha) }
            }
            _ => return None,
        };
        Some(Watch { kind, seen: 0 })
    }

    /// Outcomes until the alarm, if it comes.
    fn alarm_within(&mut self, outcomes: usize, good: &[f64], own: &[f64], dice: &mut Dice) -> Option<usize> {
        for n in 1..=outcomes {
            let case = dice.below(good.len());
            let anchors = f64::from(dice.binomial(ANCHORS as u32, good[case])) / ANCHORS as f64;
            let pass = dice.chance(own[case]);
            if self.take(anchors - f64::from(u8::from(pass)), pass) {
                return Some(n);
            }
        }
        None
    }

    /// Takes an outcome; whether it raises the alarm.
    fn take(&mut self, d: f64, pass: bool) -> bool {
        self.seen += 1;
        let end_of_batch = self.seen.is_multiple_of(BATCH);
        match &mut self.kind {
            Kind::Esr { detector, threshold } => {
                detector.add(d);
                end_of_batch && detector.end_batch() >= *threshold
            }
            Kind::Ecusum { bets, levels, threshold } => {
                for (level, step) in levels.iter_mut().zip(bets.increments(d)) {
                    *level = level.max(0.0) + step;
                }
                crate::stats::num::log_mean_exp(&*levels) >= *threshold
            }
            Kind::PageHinkley { allowed, sum, least, threshold } => {
                *sum += d - *allowed;
                *least = least.min(*sum);
                *sum - *least >= *threshold
            }
            Kind::Window { last, length, threshold } => {
                if last.len() < *length {
                    last.push(d);
                } else {
                    let place = (self.seen - 1) % *length;
                    last[place] = d;
                }
                end_of_batch && last.len() == *length && last.iter().sum::<f64>() / *length as f64 >= *threshold
            }
            Kind::Cusum { steps, level, threshold } => {
                *level = (*level + if pass { steps.0 } else { steps.1 }).max(0.0);
                *level >= *threshold
            }
            Kind::NoRestart { process, threshold } => {
                process.add(d);
                end_of_batch && process.log_e() >= *threshold
            }
        }
    }
}

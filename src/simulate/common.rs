//! Falls of all endpoints at once: how soon own history alarms them, and how often it does without cause.
//!
//! Four admitted endpoints on one suite, 25 cases a sweep, four sweeps a day. All goes through [`fold_sweep`], by the
//! policy's own thresholds; whoever is excluded is asked on.

use serde_json::json;

use crate::curation::{AlarmKind, SweepRecord, fold_sweep};
use crate::domain::{Outcome, OutcomeRow};

use super::alarms::{Bench, CASES, DAYS, ENDPOINTS, PER_SWEEP, SWEEPS_A_DAY};
use super::dice::Dice;
use super::population::{Cases, NOISE, SPREAD, rates_at};
use super::report::{Figures, PolicyReport, Sample, number, share};
use super::{Run, SimulateError};

/// Rules of the scenario.
pub const POLICIES: [&str; 1] = ["exactod"];

/// Sweeps without a fall, and as many after it.
const HALF: usize = DAYS * SWEEPS_A_DAY;
/// How far the best and the worst of the endpoints are apart where they differ.
const APART: f64 = 0.015;

/// What happens after the first half.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// Nothing.
    Constant,
    /// The best one of four that differ is not asked any more.
    BestLeaves,
    /// One falls by so much.
    OneFalls(f64),
    /// All fall by so much.
    AllFall(f64),
}

#[derive(Debug, Clone, Copy)]
struct Part {
    what: &'static str,
    base: f64,
    then: Then,
}

const PARTS: [Part; 13] = [
    Part { what: "constant", base: 0.97, then: Then::Constant },
    Part { what: "constant", base: 0.9, then: Then::Constant },
    Part { what: "constant", base: 0.7, then: Then::Constant },
    Part { what: "the best of four leaves", base: 0.97, then: Then::BestLeaves },
    Part { what: "one falls by 20 points", base: 0.97, then: Then::OneFalls(0.2) },
    Part { what: "all fall by 5 points", base: 0.97, then: Then::AllFall(0.05) },
    Part { what: "all fall by 7 points", base: 0.97, then: Then::AllFall(0.07) },
    Part { what: "all fall by 10 points", base: 0.97, then: Then::AllFall(0.1) },
    Part { what: "all fall by 20 points", base: 0.97, then: Then::AllFall(0.2) },
    Part { what: "all fall by 5 points", base: 0.7, then: Then::AllFall(0.05) },
    Part { what: "all fall by 7 points", base: 0.7, then: Then::AllFall(0.07) },
    Part { what: "all fall by 10 points", base: 0.7, then: Then::AllFall(0.1) },
    Part { what: "all fall by 20 points", base: 0.7, then: Then::AllFall(0.2) },
];

/// How many parts there are.
#[must_use]
pub fn parts() -> u64 {
    PARTS.len() as u64
}

/// What one repetition gave.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Alarms that opened without cause, and the sweeps without one.
    without_cause: u64,
    quiet_sweeps: u64,
    /// Days from the fall to the alarm.
    days: Option<f64>,
    /// Whether the alarm ended although the fall went on.
    ended: bool,
}

/// Plays every part.
///
/// # Errors
/// When the run is stopped, or a name is no name.
pub fn run(run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
    let bench = Bench { policy: run.policy.clone(), ..Bench::new(&run.policy)? };
    let mut report = PolicyReport::new(policy);
    let per_year = |alarms: u64, sweeps: u64| number(alarms as f64 / (sweeps as f64 / (2 * HALF) as f64));
    let (mut wrong, mut quiet) = (0, 0);
    for part in PARTS {
        let name = format!("{} from {}", part.what, part.base);
        let found: Vec<Seen> = run.repeat(&name, |_, dice| play(&bench, part, dice))?;
        let sum = |of: fn(&Seen) -> u64| found.iter().map(of).sum::<u64>();
        let (without_cause, sweeps) = (sum(|s| s.without_cause), sum(|s| s.quiet_sweeps));
        (wrong, quiet) = (wrong + without_cause, quiet + sweeps);
        let mut cell = Figures::new();
        cell.insert("what".to_owned(), json!(part.what));
        cell.insert("base".to_owned(), json!(part.base));
        cell.insert("false_alarms_a_year".to_owned(), per_year(without_cause, sweeps));
        if matches!(part.then, Then::AllFall(_)) {
            let days: Sample = found.iter().filter_map(|s| s.days).collect();
            cell.insert("alarmed".to_owned(), share(days.count(), run.reps));
            cell.insert("days_to_alarm".to_owned(), number(days.mean()));
            cell.insert("ended_too_soon".to_owned(), share(sum(|s| u64::from(s.ended)), run.reps));
        }
        report.cells.push(cell);
    }
    Ok(report
        .with("requests_mean", (2 * HALF * PER_SWEEP * ENDPOINTS) as u64)
        .with("years_without_cause", number(quiet as f64 / (2 * HALF) as f64))
        .with("false_alarms_a_year", per_year(wrong, quiet)))
}

fn play(bench: &Bench, part: Part, dice: &mut Dice) -> Seen {
    let population = Cases::draw(CASES, part.base, SPREAD, dice);
    let seen: Vec<Vec<f64>> = (0..ENDPOINTS).map(|_| population.seen_with(NOISE, dice)).collect();
    let apart = |endpoint: usize| match part.then {
        Then::BestLeaves => APART * endpoint as f64 / (ENDPOINTS - 1) as f64,
        _ => 0.0,
    };
    let rates = |endpoint: usize, fall: f64| rates_at(&seen[endpoint], part.base - apart(endpoint) - fall);
    let before: Vec<Vec<f64>> = (0..ENDPOINTS).map(|e| rates(e, 0.0)).collect();
    let fall = |endpoint: usize| match part.then {
        Then::AllFall(by) => by,
        Then::OneFalls(by) if endpoint == ENDPOINTS - 1 => by,
        _ => 0.0,
    };
    let after: Vec<Vec<f64>> = (0..ENDPOINTS).map(|e| rates(e, fall(e))).collect();
    let gives_cause = matches!(part.then, Then::AllFall(_));
    let mut state = bench.state.clone();
    let mut order: Vec<usize> = (0..CASES).collect();
    let mut out = Seen::default();
    let mut is_open = false;
    for sweep in 0..2 * HALF {
        let has_fallen = sweep >= HALF;
        dice.shuffle_front(&mut order, PER_SWEEP);
        let mut plan = bench.plan(sweep as u64 + 1, &order);
        if has_fallen && part.then == Then::BestLeaves {
            plan.suites[0].endpoints.remove(0);
            plan.anchors.remove(0);
        }
        let mut rows = Vec::with_capacity(PER_SWEEP * ENDPOINTS);
        for (endpoint, id) in bench.ids.iter().enumerate() {
            let rates = if has_fallen { &after[endpoint] } else { &before[endpoint] };
            for case in &order[..PER_SWEEP] {
                let outcome = Outcome::Scored(f64::from(u8::from(dice.chance(rates[*case]))));
                let case = bench.cases[*case].clone();
                rows.push(OutcomeRow {
                    suite: bench.suite.clone(),
                    case,
                    endpoint: id.clone(),
                    epoch: 0,
                    outcome,
                    sampled: None,
                });
            }
        }
        let record = SweepRecord { plan: &plan, rows: &rows, ended_at_us: 0, sweeps_per_year: None };
        let folded = fold_sweep(&state, &bench.policy, &record);
        state = folded.state;
        let alarmed = folded.alarms.iter().any(|a| a.kind == AlarmKind::LevelFell);
        if has_fallen && gives_cause {
            if alarmed {
                out.days = out.days.or(Some((sweep + 1 - HALF) as f64 / SWEEPS_A_DAY as f64));
            }
            out.ended |= out.days.is_some() && !alarmed;
        } else {
            out.quiet_sweeps += 1;
            out.without_cause += u64::from(alarmed && !is_open);
        }
        is_open = alarmed;
    }
    out
}

//! Change alarms: how often they are false, and how soon they come, on endpoints whose truth is known.
//!
//! Four admitted endpoints on one suite of which a fifth asks the same in every sweep; the last one is watched. All goes
//! through [`fold_sweep`], as the daemon's sweeps do; nothing is decided meanwhile.

use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use crate::curation::{AlarmKind, ModelState, SweepRecord, fold_sweep, sync_endpoints, sync_suites};
use crate::domain::{
    BudgetedEndpoint, CaseId, EndpointId, ModelId, Outcome, OutcomeRow, Policy, StableCases, Standing, SuiteDigest,
    SuiteName, SuitePlan, SweepId, SweepKind, SweepPlan,
};

use super::dice::Dice;
use super::population::{Cases, NOISE, SPREAD};
use super::report::{Figures, PolicyReport, Sample, number, share};
use super::{Run, SimulateError};

/// Rules of the scenario.
pub const POLICIES: [&str; 1] = ["exactod"];

/// Cases of the suite; every fifth is repeated.
pub(super) const CASES: usize = 190;
const REPEATED_EVERY: usize = 5;
/// Endpoints; the last one is watched.
pub(super) const ENDPOINTS: usize = 4;
/// Cases of a sweep, sweeps a day, days.
pub(super) const PER_SWEEP: usize = 25;
pub(super) const SWEEPS_A_DAY: usize = 4;
pub(super) const DAYS: usize = 180;
/// Mean pass rate of an endpoint without fault.
const BASE: f64 = 0.97;

/// What is the matter with the watched endpoint.
#[derive(Debug, Clone, Copy)]
struct Part {
    what: &'static str,
    kind: AlarmKind,
    /// An alarm would be a false one.
    is_null: bool,
    trouble: Trouble,
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// Nothing; every endpoint does worse on fresh cases, by so much.
    HarderFresh(f64),
    /// It is worse by so much, and gives every repeated case the same answer each time: luck decides which.
    Luck(f64),
    /// It knows the repeated cases, and is worse by so much on fresh ones.
    Memory(f64),
    /// Answers are missing at random.
    Missing(f64),
    /// A quarter of its sweeps loses half of a third of its calls, one after another.
    Outages,
    /// It is worse by `worse`, and this share of what it fails is missing instead.
    Hides { worse: f64, share: f64 },
}

const PARTS: [Part; 11] = [
    part("fresh cases 10 points harder for all", AlarmKind::HoldOutGap, true, Trouble::HarderFresh(0.1)),
    part("10 points worse, repeated cases by luck", AlarmKind::HoldOutGap, true, Trouble::Luck(0.1)),
    part("20 points worse, repeated cases by luck", AlarmKind::HoldOutGap, true, Trouble::Luck(0.2)),
    part("40 points worse, repeated cases by luck", AlarmKind::HoldOutGap, true, Trouble::Luck(0.4)),
    part("knows the repeated, 20 points worse else", AlarmKind::HoldOutGap, false, Trouble::Memory(0.2)),
    part("knows the repeated, 30 points worse else", AlarmKind::HoldOutGap, false, Trouble::Memory(0.3)),
    part("knows the repeated, 40 points worse else", AlarmKind::HoldOutGap, false, Trouble::Memory(0.4)),
    part("10 % missing at random", AlarmKind::ContentLinkedErrors, true, Trouble::Missing(0.1)),
    part("missing in outages", AlarmKind::ContentLinkedErrors, true, Trouble::Outages),
    part(
        "7 points worse, hides 3 of 4 failures",
        AlarmKind::ContentLinkedErrors,
        false,
        Trouble::Hides { worse: 0.07, share: 0.75 },
    ),
    part(
        "no worse, hides all of its failures",
        AlarmKind::ContentLinkedErrors,
        false,
        Trouble::Hides { worse: 0.0, share: 1.0 },
    ),
];

const fn part(what: &'static str, kind: AlarmKind, is_null: bool, trouble: Trouble) -> Part {
    Part { what, kind, is_null, trouble }
}

/// How many parts there are.
#[must_use]
pub fn parts() -> u64 {
    PARTS.len() as u64
}

/// Days until the alarm, and how many of the others were alarmed.
type Found = (Option<f64>, u64);

/// Plays every part.
///
/// # Errors
/// When the run is stopped, or a name is no name.
pub fn run(run: &Run<'_>, policy: &str) -> Result<PolicyReport, SimulateError> {
    let bench = Bench::new(&run.policy)?;
    let mut report = PolicyReport::new(policy);
    let (mut wrong, mut chances) = (0, 0);
    for part in PARTS {
        let found: Vec<Found> = run.repeat(part.what, |_, dice| bench.play(part, dice))?;
        let alarmed = found.iter().filter(|(days, _)| days.is_some()).count() as u64;
        let others: u64 = found.iter().map(|(_, others)| others).sum();
        let days: Sample = found.iter().filter_map(|(days, _)| *days).collect();
        let endpoints = run.reps * (ENDPOINTS as u64 - 1);
        (wrong, chances) = (wrong + others, chances + endpoints);
        if part.is_null {
            (wrong, chances) = (wrong + alarmed, chances + run.reps);
        }
        let mut cell = Figures::new();
        cell.insert("endpoint".to_owned(), json!(part.what));
        cell.insert("alarm".to_owned(), json!(part.kind.name()));
        cell.insert("alarmed".to_owned(), share(alarmed, run.reps));
        cell.insert("days_to_alarm".to_owned(), number(days.mean()));
        cell.insert("others_alarmed".to_owned(), share(others, endpoints));
        report.cells.push(cell);
    }
    Ok(report
        .with("requests_mean", (DAYS * SWEEPS_A_DAY * PER_SWEEP * ENDPOINTS) as u64)
        .with("false_alarms", share(wrong, chances)))
}

/// Everything that is the same in all repetitions.
pub(super) struct Bench {
    pub(super) policy: Policy,
    pub(super) state: ModelState,
    pub(super) model: ModelId,
    pub(super) suite: SuiteName,
    pub(super) digest: SuiteDigest,
    pub(super) ids: Vec<EndpointId>,
    pub(super) cases: Vec<CaseId>,
}

impl Bench {
    pub(super) fn new(policy: &Policy) -> Result<Bench, SimulateError> {
        let ids: Vec<EndpointId> =
            (0..ENDPOINTS).map(|i| EndpointId::new(&format!("endpoint-{i}"))).collect::<Result<_, _>>()?;
        let (suite, digest) = (SuiteName::new("suite")?, SuiteDigest::new("00")?);
        let suites = BTreeMap::from([(suite.clone(), digest.clone())]);
        let mut state = sync_suites(&sync_endpoints(&ModelState::default(), &ids, None, 0).0, &suites, 0).0;
        state.sweeps_folded = 1;
        state.endpoints.values_mut().for_each(|e| e.standing = Standing::Admitted);
        // Nothing is decided, so that the watched endpoint stays to be watched.
        let never = 1e200;
        let policy = Policy { exclude_after_sweeps: never, suspect_at: never, burst_at: never, ..policy.clone() };
        let cases = (0..CASES).map(|i| CaseId::new(&format!("case-{i:03}"))).collect::<Result<_, _>>()?;
        Ok(Bench { policy, state, model: ModelId::new("lab/m")?, suite, digest, ids, cases })
    }

    fn play(&self, part: Part, dice: &mut Dice) -> Found {
        let population = Cases::draw(CASES, BASE, SPREAD, dice);
        let rates: Vec<Vec<f64>> = (0..ENDPOINTS).map(|e| rates(part.trouble, e, &population, dice)).collect();
        let luck: Vec<f64> = (0..CASES).map(|_| dice.unit()).collect();
        let mut state = self.state.clone();
        let mut order: Vec<usize> = (0..CASES).collect();
        let mut others = [false; ENDPOINTS - 1];
        for sweep in 1..=DAYS * SWEEPS_A_DAY {
            dice.shuffle_front(&mut order, PER_SWEEP);
            let plan = self.plan(sweep as u64, &order);
            let mut rows = Vec::with_capacity(PER_SWEEP * ENDPOINTS);
            for (endpoint, id) in self.ids.iter().enumerate() {
                let outage = dice.chance(0.25);
                for (place, case) in order[..PER_SWEEP].iter().enumerate() {
                    let trouble = (endpoint == ENDPOINTS - 1).then_some(part.trouble);
                    let passes = match trouble {
                        Some(Trouble::Luck(_)) if is_repeated(*case) => luck[*case] < rates[endpoint][*case],
                        _ => dice.chance(rates[endpoint][*case]),
                    };
                    let missing = match trouble {
                        Some(Trouble::Missing(share)) => dice.chance(share),
                        Some(Trouble::Outages) => outage && place < PER_SWEEP / 3 && dice.chance(0.5),
                        Some(Trouble::Hides { share, .. }) => !passes && dice.chance(share),
                        _ => false,
                    };
                    let outcome = if missing { Outcome::Missing } else { Outcome::Scored(f64::from(u8::from(passes))) };
                    let case = self.cases[*case].clone();
                    rows.push(OutcomeRow {
                        suite: self.suite.clone(),
                        case,
                        endpoint: id.clone(),
                        epoch: 0,
                        outcome,
                        sampled: None,
                    });
                }
            }
            let record = SweepRecord { plan: &plan, rows: &rows, ended_at_us: 0, sweeps_per_year: None };
            let folded = fold_sweep(&state, &self.policy, &record);
            state = folded.state;
            for alarm in folded.alarms.iter().filter(|a| a.kind == part.kind) {
                match alarm.endpoint.as_ref().and_then(|id| self.ids.iter().position(|i| i == id)) {
                    Some(place) if place == ENDPOINTS - 1 => {
                        let days = sweep as f64 / SWEEPS_A_DAY as f64;
                        return (Some(days), others.iter().filter(|alarmed| **alarmed).count() as u64);
                    }
                    Some(place) => others[place] = true,
                    None => {}
                }
            }
        }
        (None, others.iter().filter(|alarmed| **alarmed).count() as u64)
    }

    pub(super) fn plan(&self, ordinal: u64, order: &[usize]) -> SweepPlan {
        let asked = &order[..PER_SWEEP];
        let stable = StableCases {
            places: (0..).zip(asked).filter(|(_, case)| is_repeated(**case)).map(|(place, _)| place).collect(),
            of: CASES.div_ceil(REPEATED_EVERY) as u32,
        };
        let share = |id: &EndpointId| BudgetedEndpoint { id: id.clone(), cases: PER_SWEEP as u32 };
        let suite = SuitePlan {
            suite: self.suite.clone(),
            digest: self.digest.clone(),
            cases: asked.iter().map(|case| self.cases[*case].clone()).collect(),
            epochs: 1,
            endpoints: self.ids.iter().map(share).collect(),
            stable: Some(stable),
        };
        SweepPlan {
            id: SweepId(Uuid::from_u128(u128::from(ordinal))),
            model: self.model.clone(),
            kind: SweepKind::Scheduled,
            ordinal,
            seed: String::new(),
            planned_at_us: 0,
            anchors: self.ids.clone(),
            suites: vec![suite],
            reserved_nanousd: 0,
            gives_evidence: true,
            aside: Vec::new(),
            probes: Vec::new(),
            goes_on: None,
            samples: None,
            upstreams: Default::default(),
            capabilities: Default::default(),
        }
    }
}

fn is_repeated(case: usize) -> bool {
    case.is_multiple_of(REPEATED_EVERY)
}

/// Pass rates by case of an endpoint.
fn rates(trouble: Trouble, endpoint: usize, cases: &Cases, dice: &mut Dice) -> Vec<f64> {
    let is_watched = endpoint == ENDPOINTS - 1;
    let worse = match trouble {
        Trouble::Luck(worse) | Trouble::Memory(worse) | Trouble::Hides { worse, .. } if is_watched => worse,
        Trouble::HarderFresh(worse) => worse,
        _ => 0.0,
    };
    let (without, with) = (cases.rates(0.0, NOISE, dice), cases.rates(worse, NOISE, dice));
    let knows = |case: usize| match trouble {
        Trouble::HarderFresh(_) | Trouble::Memory(_) => is_repeated(case),
        _ => false,
    };
    (0..cases.len())
        .map(|case| match (knows(case), trouble) {
            (true, Trouble::Memory(_)) if is_watched => 1.0,
            (true, _) => without[case],
            (false, _) => with[case],
        })
        .collect()
}

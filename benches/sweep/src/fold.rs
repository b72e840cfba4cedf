//! What deciding costs: a sweep's end folded into the state, by outcome and by endpoint. No store, no HTTP.
//!
//! Ten admitted endpoints in the wide pool, a suite of 2,000 cases. Sweeps of few and of many cases tell what a further
//! outcome adds from what an endpoint costs in every sweep.

use std::collections::BTreeMap;

use exactod::curation::{Form, ModelState, SweepRecord, fold_sweep, sync_endpoints, sync_suites};
use exactod::domain::{
    BudgetedEndpoint, CaseId, EndpointId, ModelId, Outcome, OutcomeRow, Policy, Standing, SuiteDigest, SuiteName,
    SuitePlan, SweepId, SweepKind, SweepPlan,
};

use super::{Failure, process};

/// Endpoints of the model.
const ENDPOINTS: usize = 10;
/// Cases of the suite.
const SUITE_CASES: usize = 2_000;
/// Cases of a sweep: few and many.
const SIZES: [usize; 2] = [25, 525];
/// Outcomes folded for one figure, at least: about a second.
const OUTCOMES: usize = 5_000_000;
/// Rounds, of which the best is told: others on the machine only add.
const ROUNDS: usize = 5;

/// Measures and prints.
///
/// # Errors
/// A name is no name, or there is no `/proc`.
#[expect(clippy::print_stdout, reason = "the benchmark tells its figures on the terminal")]
pub fn main() -> Result<bool, Failure> {
    let mut best = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        for (best, cases) in best.iter_mut().zip(SIZES) {
            *best = best.min(seconds_per_fold(cases)?);
        }
    }
    let [few, many] = best;
    let outcome = (many - few) / (ENDPOINTS * (SIZES[1] - SIZES[0])) as f64;
    let fixed = few / ENDPOINTS as f64 - outcome * SIZES[0] as f64;
    println!("{:.0} ns per further outcome, {:.1} µs per endpoint and sweep beside it", outcome * 1e9, fixed * 1e6);
    Ok(true)
}

/// CPU seconds that the end of a sweep of so many cases takes.
fn seconds_per_fold(cases: usize) -> Result<f64, Failure> {
    let ids =
        (0..ENDPOINTS).map(|i| EndpointId::new(&format!("provider-{i:02}/bf16"))).collect::<Result<Vec<_>, _>>()?;
    let (suite, digest) = (SuiteName::new("suite")?, SuiteDigest::new("00")?);
    let all = (0..SUITE_CASES).map(|i| CaseId::new(&format!("case-{i:04}"))).collect::<Result<Vec<_>, _>>()?;
    let suites = BTreeMap::from([(suite.clone(), digest.clone())]);
    let mut state = sync_suites(&sync_endpoints(&ModelState::default(), &ids, None, 0).0, &suites, 0).0;
    (state.sweeps_folded, state.form) = (1, Form::NEWEST);
    state.endpoints.values_mut().for_each(|endpoint| endpoint.standing = Standing::Admitted);
    let policy = Policy::default();
    let folds = OUTCOMES / (ENDPOINTS * cases);
    let mut sweeps = Vec::new();
    // A few sweeps made beforehand, folded in turn: making them is not deciding.
    for ordinal in 1..=8_u64 {
        let asked: Vec<CaseId> = all.iter().cycle().skip(ordinal as usize * 211).take(cases).cloned().collect();
        let plan = plan(ordinal, (&suite, &digest), &ids, &asked)?;
        sweeps.push((plan, rows(ordinal, &suite, &ids, &asked)));
    }
    let before = process::cpu_seconds();
    for (plan, rows) in sweeps.iter().cycle().take(folds) {
        let record = SweepRecord { plan, rows, ended_at_us: 0, sweeps_per_year: Some(1460.0) };
        state = fold_sweep(&state, &policy, &record).state;
        // The same sweep again counts nothing: each is the last but one.
        state.last_sweep = None;
    }
    Ok((process::cpu_seconds() - before) / folds as f64)
}

fn rows(ordinal: u64, suite: &SuiteName, ids: &[EndpointId], asked: &[CaseId]) -> Vec<OutcomeRow> {
    let mut random = ordinal;
    let mut rows = Vec::with_capacity(ids.len() * asked.len());
    for id in ids {
        for case in asked {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let score = if (random >> 33).is_multiple_of(50) { 0.0 } else { 1.0 };
            rows.push(OutcomeRow {
                suite: suite.clone(),
                case: case.clone(),
                endpoint: id.clone(),
                epoch: 0,
                outcome: Outcome::Scored(score),
                sampled: None,
            });
        }
    }
    rows
}

fn plan(
    ordinal: u64,
    (suite, digest): (&SuiteName, &SuiteDigest),
    ids: &[EndpointId],
    asked: &[CaseId],
) -> Result<SweepPlan, Failure> {
    let share = |id: &EndpointId| BudgetedEndpoint { id: id.clone(), cases: asked.len() as u32 };
    let part = SuitePlan {
        suite: suite.clone(),
        digest: digest.clone(),
        cases: asked.to_vec(),
        epochs: 1,
        endpoints: ids.iter().map(share).collect(),
        stable: None,
    };
    Ok(SweepPlan {
        id: serde_json::from_value::<SweepId>(format!("{ordinal:08x}-0000-7000-8000-000000000000").into())?,
        model: ModelId::new("lab/m")?,
        kind: SweepKind::Scheduled,
        ordinal,
        seed: String::new(),
        planned_at_us: 0,
        anchors: ids.to_vec(),
        suites: vec![part],
        reserved_nanousd: 0,
        gives_evidence: true,
        aside: Vec::new(),
        probes: Vec::new(),
        goes_on: None,
        samples: None,
        upstreams: BTreeMap::new(),
        capabilities: BTreeMap::new(),
    })
}

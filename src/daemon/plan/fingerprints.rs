//! What the program's own prompts take: beside the cases of suites, and reserved with them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{NANO, SEED};
use crate::curation::Scene;
use crate::daemon::budget;
use crate::daemon::runtime::{ModelRuntime, Runtime};
use crate::domain::probes::{GREEDY, SAMPLE_PROMPTS, SAMPLE_PROMPTS_PER_SWEEP, SAMPLE_REPEATS, SAMPLES, TOKENS};
use crate::domain::{BudgetedEndpoint, Policy, SuiteName, SweepId, SweepKind};
use crate::runner::{PlanInput, SuiteBudget, WorstCase, build_plan};
use crate::suites::TOKEN_REPEATS;

const DAY_US: f64 = 86_400e6;

/// One kind of prompts, asked of every endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FingerprintRow {
    /// Which.
    pub prompts: SuiteName,
    /// A run begins every so many days, at the earliest.
    pub every_days: f64,
    /// Sweeps over which a run is spread.
    pub sweeps: u64,
    /// Requests of a run, retries not counted.
    pub requests: u64,
    /// Its worst case in US dollars: what is reserved, in equal parts with each of the sweeps.
    pub worst_usd: f64,
}

/// What is asked beside the suites; nothing while fingerprints are off.
pub(super) fn rows(runtime: &Runtime, model: &ModelRuntime, scene: &Scene<'_>) -> Vec<FingerprintRow> {
    let Policy { fingerprint_us, fingerprint_samples_us, .. } = &model.config.policy;
    let rounds = SAMPLE_PROMPTS.div_ceil(SAMPLE_PROMPTS_PER_SWEEP) as u64;
    let kinds = [
        (TOKENS, *fingerprint_us, TOKEN_REPEATS, 1),
        (GREEDY, *fingerprint_us, 1, 1),
        (SAMPLES, *fingerprint_samples_us, SAMPLE_REPEATS, rounds),
    ];
    let row = |(name, every_us, repeats, sweeps): (&str, Option<i64>, u32, u64)| {
        let (every_us, (prompts, drawer)) =
            (every_us?, runtime.probes.iter().find(|(probe, _)| probe.as_str() == name)?);
        let cases = u32::try_from(drawer.suite().cases.len()).unwrap_or(u32::MAX);
        let everybody = scene.order.iter().map(|id| BudgetedEndpoint { id: id.clone(), cases }).collect();
        let whole = build_plan(PlanInput {
            id: SweepId(uuid::Uuid::nil()),
            model: model.config.id.clone(),
            kind: SweepKind::Scheduled,
            ordinal: 1,
            seed: SEED.to_owned(),
            planned_at_us: scene.now_us,
            anchors: Vec::new(),
            suites: Vec::new(),
            aside: Vec::new(),
            gives_evidence: true,
            probes: vec![SuiteBudget { suite: drawer.suite().clone(), cases: everybody, only: None, epochs: repeats }],
        });
        let drawers = BTreeMap::from([(prompts.clone(), drawer.clone())]);
        let worst = WorstCase::of(&whole, &drawers, &budget::tariffs(model)).of_shorter(&whole);
        Some(FingerprintRow {
            prompts: prompts.clone(),
            every_days: every_us as f64 / DAY_US,
            sweeps,
            requests: whole.attempts(),
            worst_usd: worst as f64 / NANO,
        })
    };
    kinds.into_iter().filter_map(row).collect()
}

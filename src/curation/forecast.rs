//! The coming sweeps of a model, if all its endpoints are as good as each other: who is asked how much, and when the
//! undecided ones have a standing. For planning; nothing here is evidence.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::{BudgetedEndpoint, EndpointId, Override, Standing, SuiteName};

use super::anchors::anchors;
use super::budgets::{budgets, participants};
use super::outlook::{Further, SWEEPS_AHEAD_MAX, Scene, drift, take};
use super::reading::read;
use super::state::{EndpointState, ModelState, SuiteEvidence};
use super::transitions::due;

/// Endpoints fail this share of cases when nothing else is known of the model.
pub const FAILING_TYPICAL: f64 = 0.02;
/// Admitted endpoints from which a model's first sweep gives evidence for admission as well (cold start).
const ADMITTED_WHEN_WARM: usize = 3;

/// Cases by suite and endpoint.
pub type Cases = BTreeMap<SuiteName, BTreeMap<EndpointId, u64>>;

/// A run of coming sweeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Sweeps until every endpoint is decided; `None`: not within [`SWEEPS_AHEAD_MAX`].
    pub decided_after: Option<u64>,
    /// Sweeps until none is Unknown any more: the cap of cases ends that also where the tests cannot decide.
    pub none_unknown_after: Option<u64>,
    /// Sweeps in the course.
    pub sweeps: u64,
    /// Cases asked in all of them.
    pub cases: Cases,
    /// Cases asked in each.
    pub each: Vec<Cases>,
    /// The state after it.
    pub state: ModelState,
}

/// Who is asked in a sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    /// Its anchors.
    pub anchors: Vec<EndpointId>,
    /// Cases by suite and endpoint.
    pub cases: Cases,
}

impl Asked {
    /// Requests of the sweep.
    #[must_use]
    pub fn requests(&self) -> u64 {
        total(&self.cases)
    }
}

/// The sum over suites and endpoints.
#[must_use]
pub fn total(cases: &Cases) -> u64 {
    cases.values().flat_map(BTreeMap::values).sum()
}

/// The n-th coming sweep, from 0, if nothing changed before it.
#[must_use]
pub fn asked(scene: &Scene<'_>, n: u64) -> Asked {
    let occasion = scene.occasion(n);
    let part = participants(scene.state, scene.policy, scene.order, occasion);
    let chosen = anchors(scene.state, scene.policy, scene.order, &part);
    let shares = budgets(scene.state, scene.policy, &chosen, scene.sizes, occasion);
    let of = |shares: Vec<BudgetedEndpoint>| shares.into_iter().map(|s| (s.id, u64::from(s.cases))).collect();
    Asked { anchors: chosen, cases: shares.into_iter().map(|(suite, shares)| (suite, of(shares))).collect() }
}

/// Runs the coming sweeps until every endpoint is decided: as good as the anchors each, failing so many cases by itself.
#[must_use]
pub fn course(scene: &Scene<'_>, failing: f64) -> Course {
    let mut out = Course {
        decided_after: None,
        none_unknown_after: None,
        sweeps: 0,
        cases: Cases::new(),
        each: Vec::new(),
        state: prepared(scene),
    };
    let warm = scene.state.sweeps_folded > 0 || scene.state.count(Standing::Admitted) >= ADMITTED_WHEN_WARM;
    for n in 0..=SWEEPS_AHEAD_MAX {
        let open: BTreeSet<Standing> = in_question(&out.state).map(|e| e.standing).collect();
        if !open.contains(&Standing::Unknown) {
            out.none_unknown_after = out.none_unknown_after.or(Some(n));
        }
        if open.iter().all(|s| s.is_decided()) {
            out.decided_after = Some(n);
            break;
        }
        if n == SWEEPS_AHEAD_MAX {
            break;
        }
        let now = Scene { state: &out.state, ..*scene };
        let sweep = asked(&now, n);
        if total(&sweep.cases) == 0 {
            break;
        }
        let cold = !warm && n == 0;
        let state = advance(&now, &sweep, failing, cold);
        out.state = state;
        out.sweeps = n + 1;
        add(&mut out.cases, &sweep.cases);
        out.each.push(sweep.cases);
    }
    out
}

/// Adds cases to others.
pub fn add(into: &mut Cases, cases: &Cases) {
    for (suite, endpoints) in cases {
        let sums = into.entry(suite.clone()).or_default();
        for (id, n) in endpoints {
            *sums.entry(id.clone()).or_default() += n;
        }
    }
}

/// The state with one endpoint more, of which nothing is known.
#[must_use]
pub fn with_newcomer(state: &ModelState, id: &EndpointId, now_us: i64) -> ModelState {
    let mut state = state.clone();
    state.endpoints.insert(id.clone(), EndpointState::new(now_us));
    state
}

/// A state in which everybody who can be decided is: what goes on for ever after.
#[must_use]
pub fn settled(scene: &Scene<'_>) -> ModelState {
    let mut state = prepared(scene);
    // Nor do lists of capabilities ask for more then.
    state.capabilities.clear();
    for endpoint in state.endpoints.values_mut() {
        if !endpoint.standing.is_decided() || endpoint.standing == Standing::Suspect {
            endpoint.standing = Standing::Admitted;
            endpoint.reset(scene.now_us);
        }
    }
    state
}

/// Every configured endpoint has evidence on every suite to go on from.
fn prepared(scene: &Scene<'_>) -> ModelState {
    let mut state = scene.state.clone();
    for endpoint in state.endpoints.values_mut().filter(|e| e.configured) {
        for suite in scene.state.suites.keys() {
            endpoint.suites.entry(suite.clone()).or_insert_with(|| SuiteEvidence::new(suite, scene.policy));
        }
    }
    state
}

/// Endpoints that the sweeps will decide.
fn in_question(state: &ModelState) -> impl Iterator<Item = &EndpointState> {
    state.endpoints.values().filter(|e| e.configured && e.override_ != Some(Override::Banned))
}

fn advance(scene: &Scene<'_>, sweep: &Asked, failing: f64, cold: bool) -> ModelState {
    let mut state = scene.state.clone();
    for (suite, endpoints) in &sweep.cases {
        for (id, cases) in endpoints {
            let peers = sweep.anchors.iter().filter(|a| *a != id).count();
            // Alone there is nothing to compare with.
            let Some(anchors) = u32::try_from(peers).ok().filter(|n| *n > 0) else { continue };
            let endpoint = state.endpoints.get_mut(id);
            let Some(evidence) = endpoint.and_then(|e| e.suites.get_mut(suite)) else { continue };
            if let Some(mut drift) = drift(evidence, Further::Typical { failing, anchors }) {
                if cold {
                    drift.forget_favour();
                }
                take(evidence, &drift, *cases);
            }
        }
    }
    state.sweeps_folded += 1;
    let moves: Vec<_> = state
        .endpoints
        .iter()
        .filter(|(_, e)| e.configured)
        .filter_map(|(id, e)| Some((id.clone(), due(e.standing, &read(&state, scene.policy, e), scene.policy, !cold)?)))
        .collect();
    for (id, step) in moves {
        if let Some(endpoint) = state.endpoints.get_mut(&id) {
            endpoint.standing = step.to;
            if step.rule.resets() {
                endpoint.reset(scene.now_us);
            }
        }
    }
    state
}

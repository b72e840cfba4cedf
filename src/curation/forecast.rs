//! The coming sweeps of a model, if all its endpoints are as good as each other: who is asked how much, and when the
//! undecided ones have a standing, on the model's own list and on those of its capabilities. For planning; nothing here is
//! evidence.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::{BudgetedEndpoint, Capability, EndpointId, Override, Standing, SuiteName};

use super::anchors::anchors;
use super::budgets::{budgets, participants};
use super::capabilities::capability_anchors;
use super::outlook::{Further, ROUNDING, SWEEPS_AHEAD_MAX, Scene, drift, take};
use super::reading::read;
use super::state::{EndpointState, ModelState, SuiteEvidence};
use super::transitions::due;

/// Endpoints fail this share of cases when nothing else is known of the model.
pub const FAILING_TYPICAL: f64 = 0.02;

/// Cases by suite and endpoint.
pub type Cases = BTreeMap<SuiteName, BTreeMap<EndpointId, u64>>;

/// How many cases of each suite carry the tag of a capability.
pub type Tags = BTreeMap<Capability, BTreeMap<SuiteName, u32>>;

/// When the endpoints of a list have a standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reached {
    /// Sweeps until every endpoint is decided; `None`: not within [`SWEEPS_AHEAD_MAX`].
    pub decided_after: Option<u64>,
    /// Sweeps until none is Unknown any more: the cap of cases ends that also where the tests cannot decide.
    pub none_unknown_after: Option<u64>,
}

impl Reached {
    /// Takes note of where a list stands after so many sweeps; what was reached stays.
    fn note(&mut self, state: &ModelState, sweeps: u64) {
        let open: BTreeSet<Standing> = in_question(state).map(|e| e.standing).collect();
        if !open.contains(&Standing::Unknown) {
            self.none_unknown_after.get_or_insert(sweeps);
        }
        if open.iter().all(|s| s.is_decided()) {
            self.decided_after.get_or_insert(sweeps);
        }
    }
}

/// A run of coming sweeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// The model's own list.
    pub own: Reached,
    /// The lists of the capabilities whose tags were given.
    pub capabilities: BTreeMap<Capability, Reached>,
    /// Cases asked in each sweep.
    pub each: Vec<Cases>,
    /// The state after it.
    pub state: ModelState,
}

impl Course {
    /// Sweeps until a list has reached what it can: until all are decided, or all of the course.
    #[must_use]
    pub fn sweeps_of(&self, reached: &Reached) -> u64 {
        reached.decided_after.unwrap_or(self.each.len() as u64)
    }

    /// Cases asked in the first sweeps.
    #[must_use]
    pub fn cases_of(&self, sweeps: u64) -> Cases {
        let mut sum = Cases::new();
        let n = usize::try_from(sweeps).unwrap_or(usize::MAX);
        self.each.iter().take(n).for_each(|cases| add(&mut sum, cases));
        sum
    }
}

/// Who is asked in a sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    /// Its anchors.
    pub anchors: Vec<EndpointId>,
    /// Those of the capabilities.
    pub capabilities: BTreeMap<Capability, Vec<EndpointId>>,
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
    Asked {
        anchors: chosen,
        capabilities: capability_anchors(scene.state, scene.policy, scene.order, &part),
        cases: shares.into_iter().map(|(suite, shares)| (suite, of(shares))).collect(),
    }
}

/// Runs the coming sweeps until every endpoint is decided, on the model's own list and on those of the capabilities whose
/// tags are given: as good as the anchors each, failing so many cases by itself.
///
/// A capability gets its share of a suite's cases; where that is less than one, what is left over is carried on.
#[must_use]
pub fn course(scene: &Scene<'_>, tags: &Tags, failing: f64) -> Course {
    let mut out = Course {
        own: Reached::default(),
        capabilities: tags.keys().map(|capability| (capability.clone(), Reached::default())).collect(),
        each: Vec::new(),
        state: prepared(scene),
    };
    let mut carried = Carried::new();
    for n in 0..=SWEEPS_AHEAD_MAX {
        out.own.note(&out.state, n);
        for (capability, reached) in &mut out.capabilities {
            match out.state.capabilities.get(capability) {
                Some(state) => reached.note(state, n),
                // There is no such list: nothing to wait for.
                None => reached.note(&ModelState::default(), n),
            }
        }
        let mut all = std::iter::once(&out.own).chain(out.capabilities.values());
        if n == SWEEPS_AHEAD_MAX || all.all(|reached| reached.decided_after.is_some()) {
            break;
        }
        let now = Scene { state: &out.state, ..*scene };
        let sweep = asked(&now, n);
        if total(&sweep.cases) == 0 {
            break;
        }
        let mut state = out.state.clone();
        fold(&mut state, scene, &sweep.anchors, &sweep.cases, failing);
        for (capability, tagged) in tags {
            let counted = counted(scene, (capability, tagged), &sweep.cases, &mut carried);
            let anchors = sweep.capabilities.get(capability).map_or(&[][..], Vec::as_slice);
            if let Some(state) = state.capabilities.get_mut(capability) {
                fold(state, scene, anchors, &counted, failing);
            }
        }
        out.state = state;
        out.each.push(sweep.cases);
    }
    out
}

/// Parts of a case that are left over.
type Carried = BTreeMap<(Capability, SuiteName, EndpointId), f64>;

/// Of the cases of a sweep those that carry a capability's tag, on average of all permutations.
fn counted(
    scene: &Scene<'_>,
    (capability, tagged): (&Capability, &BTreeMap<SuiteName, u32>),
    cases: &Cases,
    carried: &mut Carried,
) -> Cases {
    let mut out = Cases::new();
    for (suite, of) in tagged {
        let size = scene.sizes.get(suite).copied().unwrap_or(0).max(1);
        for (id, n) in cases.get(suite).into_iter().flatten() {
            let due = carried.entry((capability.clone(), suite.clone(), id.clone())).or_insert(0.0);
            *due += *n as f64 * f64::from(*of) / f64::from(size);
            let whole = (*due + ROUNDING).floor();
            *due -= whole;
            out.entry(suite.clone()).or_default().insert(id.clone(), whole as u64);
        }
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
    for list in std::iter::once(&mut state.endpoints).chain(state.capabilities.values_mut().map(|c| &mut c.endpoints)) {
        list.insert(id.clone(), EndpointState::new(now_us));
    }
    state
}

/// A state in which everybody who can be decided is, on every list: what goes on for ever after.
#[must_use]
pub fn settled(scene: &Scene<'_>) -> ModelState {
    let mut state = prepared(scene);
    settle(&mut state, scene.now_us);
    state.capabilities.values_mut().for_each(|capability| settle(capability, scene.now_us));
    state
}

fn settle(state: &mut ModelState, now_us: i64) {
    for endpoint in state.endpoints.values_mut() {
        endpoint.watch.settle();
        if !endpoint.standing.is_decided() || endpoint.standing == Standing::Suspect {
            endpoint.standing = Standing::Admitted;
            endpoint.reset(now_us);
        }
    }
}

/// Every configured endpoint has evidence on every suite to go on from, on every list.
fn prepared(scene: &Scene<'_>) -> ModelState {
    let mut state = scene.state.clone();
    let fill = |state: &mut ModelState| {
        for endpoint in state.endpoints.values_mut().filter(|e| e.configured) {
            for suite in state.suites.keys() {
                endpoint.suites.entry(suite.clone()).or_insert_with(|| SuiteEvidence::new(suite, scene.policy));
            }
        }
    };
    fill(&mut state);
    state.capabilities.values_mut().for_each(fill);
    state
}

/// Endpoints that the sweeps will decide.
fn in_question(state: &ModelState) -> impl Iterator<Item = &EndpointState> {
    state.endpoints.values().filter(|e| e.configured && e.override_ != Some(Override::Banned))
}

/// Ends a sweep on one list. The first one of a cold start is no evidence for admission.
fn fold(state: &mut ModelState, scene: &Scene<'_>, anchors: &[EndpointId], cases: &Cases, failing: f64) {
    let cold = state.is_cold();
    for (suite, endpoints) in cases {
        for (id, cases) in endpoints.iter().filter(|(_, cases)| **cases > 0) {
            let peers = anchors.iter().filter(|a| *a != id).count();
            // Alone there is nothing to compare with.
            let Some(peers) = u32::try_from(peers).ok().filter(|n| *n > 0) else { continue };
            let endpoint = state.endpoints.get_mut(id);
            let Some(evidence) = endpoint.and_then(|e| e.suites.get_mut(suite)) else { continue };
            if let Some(mut drift) = drift(evidence, Further::Typical { failing, anchors: peers }) {
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
        .filter_map(|(id, e)| Some((id.clone(), due(e.standing, &read(state, scene.policy, e), scene.policy, !cold)?)))
        .collect();
    for (id, step) in moves {
        if let Some(endpoint) = state.endpoints.get_mut(&id) {
            endpoint.standing = step.to;
            if step.rule.resets() {
                endpoint.reset(scene.now_us);
            }
        }
    }
}

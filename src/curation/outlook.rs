//! What further cases would do: how many it takes until a test decides, and in how many sweeps they are asked.
//!
//! Nothing here is evidence. The endpoint's stored state is continued by cases of one kind, by the formulas of `stats`
//! and the budgets of the next sweeps, until the number that decides crosses its threshold.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::{EndpointId, Micros, Policy, Standing, SuiteName};
use crate::stats::bets::{Bets, K, Logs, Side, add_scaled};
use crate::stats::detector::close_batch;
use crate::stats::num::ln;

use super::budgets::{Occasion, budgets};
use super::floor::Added;
use super::reading::{Reading, read};
use super::state::{EndpointState, ModelState, SuiteEvidence, histogram_values};

/// Cases per suite that are looked ahead at most.
pub const CASES_AHEAD_MAX: u64 = 1_000_000;
/// Sweeps that are looked ahead at most: a hundred days at four a day.
pub const SWEEPS_AHEAD_MAX: u64 = 400;
/// Compared cases from which the gap seen so far is worth going on from.
const COMPARED_MIN: u64 = 50;
/// Far more than sums of [`SWEEPS_AHEAD_MAX`] shares of cases are wrong by, and far less than one share.
pub(super) const ROUNDING: f64 = 1e-6;
const DAY_US: f64 = 86_400e6;
const DAYS_PER_YEAR: f64 = 365.25;

/// A model and the rhythm in which it is swept.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The model, in line with its configuration.
    pub state: &'a ModelState,
    /// The rules in force.
    pub policy: &'a Policy,
    /// Its endpoints in configuration order.
    pub order: &'a [EndpointId],
    /// Cases of the suites.
    pub sizes: &'a BTreeMap<SuiteName, u32>,
    /// Now.
    pub now_us: Micros,
    /// Sweeps a year by the schedules; `None` without one.
    pub sweeps_per_year: Option<f64>,
    /// Of a capability's state: how many cases of each suite carry its tag; `None`: all count.
    pub tagged: Option<&'a BTreeMap<SuiteName, u32>>,
}

impl Scene<'_> {
    /// Sweeps a day by the schedules.
    #[must_use]
    pub fn sweeps_per_day(&self) -> Option<f64> {
        self.sweeps_per_year.filter(|n| *n > 0.0).map(|n| n / DAYS_PER_YEAR)
    }

    /// Of so many cases of a suite those that count, on average of all permutations.
    fn counted(&self, suite: &SuiteName, cases: u32) -> f64 {
        let Some(tagged) = self.tagged else { return f64::from(cases) };
        let (of, size) = (tagged.get(suite).copied().unwrap_or(0), self.sizes.get(suite).copied().unwrap_or(0));
        f64::from(cases) * f64::from(of) / f64::from(size.max(1))
    }

    /// The occasion of the n-th coming sweep, from 0. Without a schedule sweeps follow each other.
    #[must_use]
    pub fn occasion(&self, n: u64) -> Occasion {
        let Some(per_day) = self.sweeps_per_day() else {
            return Occasion { now_us: self.now_us, first_of_utc_day: true, back_to_back: true };
        };
        let day = |n: u64| (n as f64 / per_day).floor();
        Occasion {
            now_us: self.now_us.saturating_add((n as f64 / per_day * DAY_US) as i64),
            first_of_utc_day: n == 0 || day(n) > day(n - 1),
            back_to_back: false,
        }
    }
}

/// What the further cases are like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Further {
    /// It does as well as the anchors: D = 0.
    Clean,
    /// It fails and the anchors pass: D = 1.
    Lost,
    /// As those since the reset were.
    AsSoFar,
    /// As good as the anchors, each failing this share of cases by itself.
    Typical {
        /// Share of cases that each fails.
        failing: f64,
        /// Anchors that it is compared with.
        anchors: u32,
    },
}

/// What would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The first admission.
    Admit,
    /// The first exclusion.
    ExcludeFirst,
    /// A later exclusion.
    Exclude,
    /// The end of a suspicion.
    Clear,
    /// A re-admission.
    Readmit,
}

impl Goal {
    /// What is compared with [`Goal::threshold`], as a logarithm.
    #[must_use]
    pub fn log_value(self, reading: &Reading) -> f64 {
        match self {
            Goal::Admit => reading.log_e_ad,
            Goal::ExcludeFirst => reading.log_e_ex.max(reading.floor_log_e),
            Goal::Exclude => reading.log_r_ex.max(reading.floor_log_r),
            Goal::Clear => reading.log_r_ex,
            Goal::Readmit => reading.log_r_ad,
        }
    }

    /// The e-value or detector score that decides.
    #[must_use]
    pub fn threshold(self, policy: &Policy) -> f64 {
        match self {
            Goal::Admit | Goal::ExcludeFirst => 1.0 / policy.alpha,
            Goal::Exclude => policy.exclude_after_sweeps,
            Goal::Clear => policy.suspect_at,
            Goal::Readmit => policy.readmit_after_sweeps,
        }
    }

    /// Whether it is reached.
    #[must_use]
    pub fn reached(self, reading: &Reading, policy: &Policy) -> bool {
        let crossed = self.log_value(reading) >= ln(self.threshold(policy));
        if self == Goal::Clear { !crossed } else { crossed }
    }

    /// It compares an e-value; else a detector score.
    #[must_use]
    pub fn by_e_value(self) -> bool {
        matches!(self, Goal::Admit | Goal::ExcludeFirst)
    }
}

/// How far a change is away.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlook {
    /// What would change.
    pub goal: Goal,
    /// By which further cases.
    pub further: Further,
    /// Natural logarithm of the number that decides, now; `null` stands for minus infinity.
    pub log_value: f64,
    /// What it must reach (or, to clear a suspicion, fall below).
    pub threshold: f64,
    /// Further cases in each suite; `null`: it is not reached within [`CASES_AHEAD_MAX`].
    pub cases: Option<u64>,
    /// Sweeps in which they are asked, by the budgets in force; `null`: not within [`SWEEPS_AHEAD_MAX`].
    pub sweeps: Option<u64>,
    /// Days that these take by the schedules.
    pub days: Option<f64>,
}

/// What each further case adds to the logarithms of the bets.
pub(super) struct Drift {
    against: Logs,
    favour: Logs,
    floor: Option<Added>,
}

impl Drift {
    /// In a model's first sweep nothing speaks for admission.
    pub(super) fn forget_favour(&mut self) {
        self.favour = [0.0; K];
    }
}

/// Values of D with their shares.
type Shares = Vec<(f64, f64)>;

/// `None` when nothing is known of what the cases are like.
pub(super) fn drift(evidence: &SuiteEvidence, further: Further) -> Option<Drift> {
    let against = Bets::new(Side::Exclude, evidence.delta);
    let favour = Bets::new(Side::Admit, evidence.delta_in);
    // Shares of values of D, and of missing answers: those are failures to admission and nothing to exclusion.
    let (values, missing): (Shares, Shares) = match further {
        Further::Clean => (vec![(0.0, 1.0)], Vec::new()),
        Further::Lost => (vec![(1.0, 1.0)], Vec::new()),
        Further::AsSoFar => shares_so_far(evidence)?,
        Further::Typical { failing, anchors } => {
            let m = f64::from(anchors.max(1));
            (vec![(1.0, failing), (-1.0 / m, m * failing), (0.0, 1.0 - (m + 1.0) * failing)], Vec::new())
        }
    };
    let floor = evidence.floor.as_ref().map(|floor| floor.expected(right_share(evidence, further)));
    let mut out = Drift { against: [0.0; K], favour: [0.0; K], floor };
    for (d, share) in &values {
        add_scaled(&mut out.against, &against.increments(*d), *share);
    }
    for (d, share) in values.iter().chain(&missing) {
        add_scaled(&mut out.favour, &favour.increments(*d), *share);
    }
    Some(out)
}

/// How many of the further answers are right: as many as the anchors' where it does as they do.
fn right_share(evidence: &SuiteEvidence, further: Further) -> f64 {
    let mean = |sum: f64, count: u64| if count > 0 { (sum / count as f64).clamp(0.0, 1.0) } else { 1.0 };
    match further {
        Further::Clean => mean(evidence.anchor_sum, evidence.compared()),
        Further::Lost => 0.0,
        Further::AsSoFar => mean(evidence.clusters.score_sum(), evidence.clusters.attempts() + evidence.missing),
        Further::Typical { failing, .. } => 1.0 - failing,
    }
}

fn shares_so_far(evidence: &SuiteEvidence) -> Option<(Shares, Shares)> {
    let compared = evidence.compared();
    if compared < COMPARED_MIN {
        return None;
    }
    let total = (compared + evidence.missing) as f64;
    let values = histogram_values(&evidence.histogram).into_iter().map(|(d, n)| (d, n / total)).collect();
    let lost = (evidence.anchor_sum / compared as f64, evidence.missing as f64 / total);
    Some((values, vec![lost]))
}

/// The model with one endpoint, every suite of which has some evidence to go on from.
fn alone(scene: &Scene<'_>, id: &EndpointId) -> Option<ModelState> {
    let mut endpoint = scene.state.endpoints.get(id)?.clone();
    for suite in scene.state.suites.keys() {
        endpoint.suites.entry(suite.clone()).or_insert_with(|| SuiteEvidence::new(suite, scene.policy));
    }
    let endpoints = BTreeMap::from([(id.clone(), endpoint)]);
    Some(ModelState { suites: scene.state.suites.clone(), endpoints, ..ModelState::default() })
}

fn drifts(state: &ModelState, endpoint: &EndpointState, further: Further) -> Option<BTreeMap<SuiteName, Drift>> {
    let of = |suite: &SuiteName| Some((suite.clone(), drift(endpoint.suites.get(suite)?, further)?));
    state.suites.keys().map(of).collect()
}

/// Ends a sweep of so many cases of a suite.
pub(super) fn take(evidence: &mut SuiteEvidence, drift: &Drift, cases: u64) {
    let batch = |per_case: &Logs| {
        let mut out = [0.0; K];
        add_scaled(&mut out, per_case, cases as f64);
        out
    };
    let (against, favour) = (batch(&drift.against), batch(&drift.favour));
    add_scaled(&mut evidence.acc_ex, &against, 1.0);
    add_scaled(&mut evidence.acc_ad, &favour, 1.0);
    close_batch(&mut evidence.r_ex, &against);
    close_batch(&mut evidence.r_ad, &favour);
    if let (Some(floor), Some(added)) = (&mut evidence.floor, &drift.floor) {
        floor.close(&added.times(cases));
    }
    evidence.cases += cases;
    evidence.batches += 1;
}

/// The reading of an endpoint after so many further cases of each suite, all in one sweep.
#[must_use]
pub fn reading_after(scene: &Scene<'_>, id: &EndpointId, further: Further, cases: u64) -> Option<Reading> {
    let mut state = alone(scene, id)?;
    let mut endpoint = state.endpoints.remove(id)?;
    let drifts = drifts(scene.state, &endpoint, further)?;
    for (suite, drift) in &drifts {
        if let Some(evidence) = endpoint.suites.get_mut(suite) {
            take(evidence, drift, cases);
        }
    }
    Some(read(scene.state, scene.policy, &endpoint))
}

/// The fewest further cases of each suite, in one sweep, that reach a goal; `None`: not within [`CASES_AHEAD_MAX`].
///
/// In their number an e-value is a sum of exponentials, hence convex: from below its threshold it crosses at most once.
#[must_use]
pub fn cases_until(scene: &Scene<'_>, id: &EndpointId, further: Further, goal: Goal) -> Option<u64> {
    if scene.state.suites.is_empty() {
        return None;
    }
    let reached = |n: u64| reading_after(scene, id, further, n).map(|r| goal.reached(&r, scene.policy));
    let mut enough = 1;
    while !reached(enough)? {
        enough *= 2;
        if enough > CASES_AHEAD_MAX {
            return None;
        }
    }
    let mut short = enough / 2;
    while enough - short > 1 {
        let middle = short + (enough - short) / 2;
        if reached(middle)? { enough = middle } else { short = middle }
    }
    Some(enough)
}

/// Sweeps until a goal is reached by the budgets that the endpoint will have, and the cases of each suite (of the suite
/// with fewest) that they ask.
fn sweeps_until(scene: &Scene<'_>, id: &EndpointId, further: Further, goal: Goal) -> Option<(u64, u64)> {
    let mut state = alone(scene, id)?;
    let drifts = drifts(scene.state, state.endpoints.get(id)?, further)?;
    let before = state.endpoints.get(id)?.effort(scene.state.suites.keys());
    // Only the very first sweep of a model is small; the endpoint alone does not show whether it has been.
    let folded = u64::from(!scene.state.is_cold());
    let mut carried: BTreeMap<&SuiteName, f64> = BTreeMap::new();
    for n in 0..SWEEPS_AHEAD_MAX {
        state.sweeps_folded = folded + n;
        let shares = budgets(&state, scene.policy, &[], scene.sizes, scene.occasion(n));
        let endpoint = state.endpoints.get_mut(id)?;
        for (suite, drift) in &drifts {
            let cases = shares.get(suite).and_then(|of| of.first()).map_or(0, |share| share.cases);
            // Of a rare tag less than a case comes in a sweep: what is left over is carried on.
            let due = carried.entry(suite).or_insert(0.0);
            *due += scene.counted(suite, cases);
            let cases = (*due + ROUNDING).floor();
            *due -= cases;
            let cases = cases as u64;
            if let Some(evidence) = endpoint.suites.get_mut(suite).filter(|_| cases > 0) {
                take(evidence, drift, cases);
            }
        }
        let endpoint = state.endpoints.get(id)?;
        if goal.reached(&read(scene.state, scene.policy, endpoint), scene.policy) {
            return Some((n + 1, endpoint.effort(scene.state.suites.keys()).saturating_sub(before)));
        }
    }
    None
}

/// How far an endpoint is from a change by cases of one kind; `None` when nothing is known of what they are like.
#[must_use]
pub fn outlook(scene: &Scene<'_>, id: &EndpointId, further: Further, goal: Goal) -> Option<Outlook> {
    let endpoint = scene.state.endpoints.get(id)?;
    drifts(scene.state, alone(scene, id)?.endpoints.get(id)?, further)?;
    let log_value = goal.log_value(&read(scene.state, scene.policy, endpoint));
    let at_once = cases_until(scene, id, further, goal);
    let asked = at_once.and_then(|_| sweeps_until(scene, id, further, goal));
    // The detector is restarted at every sweep, so its cases are counted by sweeps; an e-value knows no sweeps.
    let cases = match (goal.by_e_value() || further == Further::Lost, asked) {
        (false, Some((_, cases))) => Some(cases),
        _ => at_once,
    };
    let sweeps = asked.map(|(sweeps, _)| sweeps);
    let days = sweeps.zip(scene.sweeps_per_day()).map(|(n, per_day)| n as f64 / per_day);
    Some(Outlook { goal, further, log_value, threshold: goal.threshold(scene.policy), cases, sweeps, days })
}

/// The changes that lie ahead of an endpoint, the likeliest first.
#[must_use]
pub fn outlooks(scene: &Scene<'_>, id: &EndpointId) -> Vec<Outlook> {
    let Some(endpoint) = scene.state.endpoints.get(id) else { return Vec::new() };
    let wanted: &[(Further, Goal)] = match endpoint.standing {
        Standing::Unknown | Standing::Provisional => &[
            (Further::Clean, Goal::Admit),
            (Further::AsSoFar, Goal::Admit),
            (Further::AsSoFar, Goal::ExcludeFirst),
            (Further::Lost, Goal::ExcludeFirst),
        ],
        Standing::Admitted => &[(Further::Lost, Goal::Exclude), (Further::AsSoFar, Goal::Exclude)],
        Standing::Suspect => {
            &[(Further::Clean, Goal::Clear), (Further::AsSoFar, Goal::Exclude), (Further::Lost, Goal::Exclude)]
        }
        Standing::Excluded => &[(Further::Clean, Goal::Readmit), (Further::AsSoFar, Goal::Readmit)],
    };
    wanted.iter().filter_map(|(further, goal)| outlook(scene, id, *further, *goal)).collect()
}

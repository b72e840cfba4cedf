//! What is remembered of a model between sweeps.

use std::collections::BTreeMap;

use super::clusters::Clusters;
use super::floor::FloorEvidence;
use super::form::Form;
use super::levels::Level;
use super::samples::Sampling;
use super::watch::Watch;
use crate::domain::policy::Pool;
use crate::domain::{Capability, EndpointId, Micros, Override, Policy, Standing, SuiteDigest, SuiteName, SweepId};
use crate::stats::bets::{K, Logs, Side, log_e_weighted};
use crate::stats::detector::FRESH;
use crate::stats::num::log_mean_exp;

/// Decay of the ranking estimate per sweep: a half-life of 138 sweeps (statistics, 4).
pub const RANKING_DECAY: f64 = 0.995;

/// Passes and trials of the ranking estimate's prior.
pub const RANKING_PRIOR: (f64, f64) = (4.85, 5.0);

/// While fewer endpoints are Admitted, the model's first sweep gives no evidence for admission (interfaces, 6.1).
pub const ADMITTED_WHEN_WARM: usize = 3;

/// Cases per suite by which endpoints must have been ranked before the cold start is over: half of a standard sweep. A look at
/// five cases does not choose whom the others are compared with.
pub const RANKED_CASES_MIN: u32 = 12;

/// Keys of the histogram of D are D times this, rounded.
pub const HISTOGRAM_SCALE: f64 = 1e6;

/// Width of a histogram bin when scores are graded (display only).
pub const GRADED_BIN: f64 = 0.01;

/// Everything curation remembers of a model. Plain data; [`super::codec`] writes it exactly.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelState {
    /// Evidence-giving sweeps folded in which somebody answered: 0 while no ranking is known.
    pub sweeps_folded: u64,
    /// The last sweep folded: folding it again changes nothing.
    pub last_sweep: Option<SweepId>,
    /// The suites that the model is judged by, with their identities. Admission needs every one of them.
    pub suites: BTreeMap<SuiteName, SuiteDigest>,
    /// Endpoints by id; removed ones stay, marked as not configured.
    pub endpoints: BTreeMap<EndpointId, EndpointState>,
    /// Set while the common alarm holds all transitions and the list (statistics, 7.4).
    pub frozen: Option<Freeze>,
    /// The states of the capabilities that have lists of their own; those of a capability are empty here.
    pub capabilities: BTreeMap<Capability, ModelState>,
    /// Rounds of sampled answers.
    pub sampling: Sampling,
    /// What it holds, and how exactly.
    pub form: Form,
    /// Own history, by suite.
    pub levels: BTreeMap<SuiteName, Level>,
}

/// A held list.
#[derive(Debug, Clone, PartialEq)]
pub struct Freeze {
    /// Since when.
    pub since_us: Micros,
    /// Why, in a sentence.
    pub reason: String,
}

/// What is remembered of one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointState {
    /// Where it stands by its evidence.
    pub standing: Standing,
    /// Since when.
    pub since_us: Micros,
    /// Place among the model's sweeps of the one that gave the standing; 0 outside sweeps.
    pub since_sweep: u64,
    /// When its evidence was last reset.
    pub evidence_since_us: Micros,
    /// What an operator has set over the evidence.
    pub override_: Option<Override>,
    /// It is the configured reference.
    pub designated: bool,
    /// It is in the model's set now.
    pub configured: bool,
    /// It has been Admitted by evidence at some time.
    pub ever_admitted: bool,
    /// Provisional only because a version changed while it was listed: it stays listed (statistics, T13).
    pub listed_through_change: bool,
    /// The sentence of the decision that gave the standing.
    pub last_reason: String,
    /// Evidence by suite.
    pub suites: BTreeMap<SuiteName, SuiteEvidence>,
    /// The `usable` test over all suites.
    pub usable: UsableEvidence,
    /// Burst tokens spent and not yet refilled at `tokens_at_us`, in cases; at least 0.
    pub tokens_spent: f64,
    /// When the tokens were counted.
    pub tokens_at_us: Micros,
    /// Change alarms; they survive a reset, but not a restart.
    pub watch: Watch,
}

/// The sequential test state of an endpoint on a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteEvidence {
    /// Exclusion margin of the evidence; evidence under another margin is not comparable and is dropped.
    pub delta: f64,
    /// Admission margin of the evidence.
    pub delta_in: f64,
    /// e-process of exclusion.
    pub acc_ex: Logs,
    /// e-process of admission.
    pub acc_ad: Logs,
    /// e-SR detector of exclusion.
    pub r_ex: Logs,
    /// e-SR detector of admission.
    pub r_ad: Logs,
    /// Ranking estimate; survives a reset.
    pub ranking: Ranking,
    /// D times [`HISTOGRAM_SCALE`], with counts (display only).
    pub histogram: BTreeMap<i32, u64>,
    /// Cases asked since the reset, answered or missing.
    pub cases: u64,
    /// Batches since the reset.
    pub batches: u64,
    /// Attempts missing since the reset.
    pub missing: u64,
    /// Scored attempts since the reset, by cluster of cases.
    pub clusters: Clusters,
    /// Sum of the anchors' means over the compared cases since the reset.
    pub anchor_sum: f64,
    /// The tests against the policy's floor, where there is one.
    pub floor: Option<FloorEvidence>,
}

/// Decayed sums behind the choice of anchors.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ranking {
    /// Decayed sum of scores.
    pub sum: f64,
    /// Decayed number of scores.
    pub count: f64,
}

/// The test whether an endpoint answers at all; one per endpoint, over all suites.
#[derive(Debug, Clone, PartialEq)]
pub struct UsableEvidence {
    /// Margin of the evidence; 0 before the first.
    pub margin: f64,
    /// e-process of exclusion.
    pub acc: Logs,
    /// e-SR detector of exclusion.
    pub r: Logs,
    /// Difference of answer rates times [`HISTOGRAM_SCALE`], with counts (display only).
    pub histogram: BTreeMap<i32, u64>,
    /// Attempts asked since the reset, Skipped ones left out.
    pub asked: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Sum of the anchors' answer rates over the compared cases.
    pub anchor_sum: f64,
}

impl Ranking {
    /// Takes the scores of one sweep.
    pub fn take(&mut self, sum: f64, count: u64) {
        self.sum = RANKING_DECAY * self.sum + sum;
        self.count = RANKING_DECAY * self.count + count as f64;
    }

    /// The estimate, shrunk to the prior.
    #[must_use]
    pub fn estimate(&self) -> f64 {
        (self.sum + RANKING_PRIOR.0) / (self.count + RANKING_PRIOR.1)
    }
}

impl SuiteEvidence {
    /// No evidence, under the policy's margins for the suite.
    #[must_use]
    pub fn new(suite: &SuiteName, policy: &Policy) -> Self {
        SuiteEvidence {
            delta: policy.delta(suite),
            delta_in: policy.delta_in(suite),
            acc_ex: [0.0; K],
            acc_ad: [0.0; K],
            r_ex: FRESH,
            r_ad: FRESH,
            ranking: Ranking::default(),
            histogram: BTreeMap::new(),
            cases: 0,
            batches: 0,
            missing: 0,
            clusters: Clusters::default(),
            anchor_sum: 0.0,
            floor: policy.floor(suite).map(FloorEvidence::new),
        }
    }

    /// Forgets the evidence; the ranking estimate and the margins survive.
    pub fn reset(&mut self) {
        let SuiteEvidence {
            delta: _,
            delta_in: _,
            acc_ex,
            acc_ad,
            r_ex,
            r_ad,
            ranking: _,
            histogram,
            cases,
            batches,
            missing,
            clusters,
            anchor_sum,
            floor,
        } = self;
        (*acc_ex, *acc_ad, *r_ex, *r_ad) = ([0.0; K], [0.0; K], FRESH, FRESH);
        histogram.clear();
        (*cases, *batches, *missing) = (0, 0, 0);
        *clusters = Clusters::default();
        *anchor_sum = 0.0;
        *floor = floor.as_ref().map(|evidence| FloorEvidence::new(evidence.floor));
    }

    /// Logarithm of the e-value against the endpoint, by the policy's mixture of bets.
    #[must_use]
    pub fn log_e_ex(&self, policy: &Policy) -> f64 {
        first_decision(&self.acc_ex, Side::Exclude, policy)
    }

    /// Logarithm of the e-value for the endpoint, by the policy's mixture of bets.
    #[must_use]
    pub fn log_e_ad(&self, policy: &Policy) -> f64 {
        first_decision(&self.acc_ad, Side::Admit, policy)
    }

    /// Logarithm of the detector score against the endpoint.
    #[must_use]
    pub fn log_r_ex(&self) -> f64 {
        log_mean_exp(&self.r_ex)
    }

    /// Logarithm of the detector score for the endpoint.
    #[must_use]
    pub fn log_r_ad(&self) -> f64 {
        log_mean_exp(&self.r_ad)
    }

    /// Compared attempts since the reset.
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.histogram.values().sum()
    }
}

/// The weights concern first decisions about quality alone: detectors and the `usable` test weigh their bets alike.
fn first_decision(acc: &Logs, side: Side, policy: &Policy) -> f64 {
    match policy.pool {
        Pool::Wide => log_e_weighted(acc, side),
        Pool::Anchors => log_mean_exp(acc),
    }
}

impl UsableEvidence {
    /// No evidence, at a margin.
    #[must_use]
    pub fn new(margin: f64) -> Self {
        UsableEvidence {
            margin,
            acc: [0.0; K],
            r: FRESH,
            histogram: BTreeMap::new(),
            asked: 0,
            answered: 0,
            anchor_sum: 0.0,
        }
    }

    /// Forgets the evidence.
    pub fn reset(&mut self) {
        *self = UsableEvidence::new(self.margin);
    }

    /// Logarithm of the e-value that it answers too rarely.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mean_exp(&self.acc)
    }

    /// Logarithm of the detector score that it answers too rarely.
    #[must_use]
    pub fn log_r(&self) -> f64 {
        log_mean_exp(&self.r)
    }
}

impl EndpointState {
    /// A new endpoint: Unknown, without evidence, with a full burst bucket.
    #[must_use]
    pub fn new(now_us: Micros) -> Self {
        EndpointState {
            standing: Standing::Unknown,
            since_us: now_us,
            since_sweep: 0,
            evidence_since_us: now_us,
            override_: None,
            designated: false,
            configured: true,
            ever_admitted: false,
            listed_through_change: false,
            last_reason: String::new(),
            suites: BTreeMap::new(),
            usable: UsableEvidence::new(0.0),
            tokens_spent: 0.0,
            tokens_at_us: now_us,
            watch: Watch::default(),
        }
    }

    /// Forgets all evidence; the ranking estimates survive.
    pub fn reset(&mut self, now_us: Micros) {
        self.suites.values_mut().for_each(SuiteEvidence::reset);
        self.usable.reset();
        self.evidence_since_us = now_us;
    }

    /// Forgets all evidence and tells the standing from which it is gathered afresh (statistics, T13): nothing changes on
    /// the list by that alone. The standing itself is the caller's to set, with its reason.
    pub(super) fn restart(&mut self, now_us: Micros) -> Standing {
        let from = self.standing;
        let to = match from {
            Standing::Admitted if self.designated => Standing::Admitted,
            Standing::Admitted | Standing::Suspect | Standing::Provisional => Standing::Provisional,
            Standing::Unknown | Standing::Excluded => Standing::Unknown,
        };
        self.listed_through_change |= matches!(from, Standing::Admitted | Standing::Suspect) && to != from;
        self.reset(now_us);
        self.watch = Watch::default();
        to
    }

    /// Rounds its evidence as the form wants it: down, so that no guarantee is touched.
    fn settle(&mut self, form: Form) {
        if form < Form::COMPACT {
            return;
        }
        for evidence in self.suites.values_mut() {
            let SuiteEvidence { acc_ex, acc_ad, r_ex, r_ad, ranking, clusters, floor, .. } = evidence;
            [acc_ex, acc_ad, r_ex, r_ad].into_iter().for_each(settle);
            (ranking.sum, ranking.count) = (single(ranking.sum), single(ranking.count));
            clusters.settle();
            floor.iter_mut().flat_map(FloorEvidence::logs).for_each(settle);
        }
        settle(&mut self.usable.acc);
        settle(&mut self.usable.r);
        self.watch.logs().for_each(settle);
    }

    /// Cases asked since the reset in the suite that has fewest: the effort that the cap counts.
    #[must_use]
    pub fn effort<'a>(&self, suites: impl Iterator<Item = &'a SuiteName>) -> u64 {
        suites.map(|s| self.suites.get(s).map_or(0, |e| e.cases)).min().unwrap_or(0)
    }

    /// It may be asked and listed: configured and not banned.
    #[must_use]
    pub fn is_in_service(&self) -> bool {
        self.configured && self.override_ != Some(Override::Banned)
    }
}

impl ModelState {
    /// Takes on the form that a step is made by. A state never goes back to an earlier one.
    pub(super) fn take_form(&mut self, form: Form) {
        if form < self.form && !self.endpoints.is_empty() {
            return;
        }
        self.form = form;
        self.settle();
        // Written together, so of one form: also those that this step does not touch.
        self.capabilities.values_mut().for_each(|state| state.take_form(form));
    }

    /// Rounds all evidence as its form wants it: what is kept is what is written.
    pub(super) fn settle(&mut self) {
        let form = self.form;
        self.endpoints.values_mut().for_each(|endpoint| endpoint.settle(form));
    }

    /// Ranking estimate of an endpoint: the mean over the model's suites by weight; the prior's mean without scores.
    #[must_use]
    pub fn ranking(&self, policy: &Policy, endpoint: &EndpointId) -> f64 {
        let Some(state) = self.endpoints.get(endpoint) else { return Ranking::default().estimate() };
        let (mut sum, mut weights) = (0.0, 0.0);
        for suite in self.suites.keys() {
            let weight = policy.weight(suite);
            sum += weight * state.suites.get(suite).map_or_else(Ranking::default, |e| e.ranking).estimate();
            weights += weight;
        }
        if weights > 0.0 { sum / weights } else { Ranking::default().estimate() }
    }

    /// Standard error of [`ModelState::ranking`], as if its scores were independent.
    #[must_use]
    pub fn ranking_error(&self, policy: &Policy, endpoint: &EndpointId) -> f64 {
        let state = self.endpoints.get(endpoint);
        let (mut variance, mut weights) = (0.0, 0.0);
        for suite in self.suites.keys() {
            let weight = policy.weight(suite);
            let ranking = state.and_then(|s| s.suites.get(suite)).map_or_else(Ranking::default, |e| e.ranking);
            let mean = ranking.estimate().clamp(0.0, 1.0);
            variance += weight * weight * mean * (1.0 - mean) / (ranking.count + RANKING_PRIOR.1);
            weights += weight;
        }
        if weights > 0.0 { variance.sqrt() / weights } else { 0.0 }
    }

    /// Whether any endpoint has ever been Admitted by evidence (designation does not count).
    #[must_use]
    pub fn ever_admitted(&self) -> bool {
        self.endpoints.values().any(|e| e.ever_admitted)
    }

    /// Whether the endpoints are known well enough to choose whom the others are compared with: at least
    /// [`ADMITTED_WHEN_WARM`] of those that may serve, or all if there are fewer, were asked enough cases: some of every
    /// suite that judges, and [`RANKED_CASES_MIN`] per suite on average, since a capability may have few in one of them.
    /// `standard`: the policy's cases per sweep, if these are fewer.
    #[must_use]
    pub fn is_ranked(&self, standard: u32) -> bool {
        let wanted = f64::from(standard.min(RANKED_CASES_MIN)) * self.suites.len() as f64;
        let serving = || self.endpoints.values().filter(|e| e.is_in_service() && e.standing != Standing::Excluded);
        let needed = serving().count().min(ADMITTED_WHEN_WARM);
        let is_known = |e: &&EndpointState| {
            let counts = || self.suites.keys().map(|suite| e.suites.get(suite).map_or(0.0, |s| s.ranking.count));
            counts().all(|count| count > 0.0) && counts().sum::<f64>() >= wanted
        };
        serving().filter(is_known).count() >= needed
    }

    /// Nobody knows yet who is good: no sweep has ranked the endpoints, and fewer than [`ADMITTED_WHEN_WARM`] are
    /// Admitted. Its comparison is taken on trust, so that it gives no evidence for admission.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        self.sweeps_folded == 0 && self.count(Standing::Admitted) < ADMITTED_WHEN_WARM
    }

    /// Configured endpoints that stand so.
    #[must_use]
    pub fn count(&self, standing: Standing) -> usize {
        self.endpoints.values().filter(|e| e.configured && e.standing == standing).count()
    }
}

/// The largest number of single precision that is not above `x`. Evidence that is rounded down promises no more than it
/// did: a supermartingale stays one.
#[must_use]
pub fn single(x: f64) -> f64 {
    let near = x as f32;
    f64::from(if f64::from(near) > x { near.next_down() } else { near })
}

fn settle(logs: &mut Logs) {
    logs.iter_mut().for_each(|log| *log = single(*log));
}

/// Histogram key of a difference.
#[must_use]
pub fn histogram_key(d: f64, graded: bool) -> i32 {
    let d = if graded { (d / GRADED_BIN).round() * GRADED_BIN } else { d };
    (d * HISTOGRAM_SCALE).round() as i32
}

/// The histogram as the statistics read it.
#[must_use]
pub fn histogram_values(histogram: &BTreeMap<i32, u64>) -> Vec<(f64, f64)> {
    histogram.iter().map(|(key, count)| (f64::from(*key) / HISTOGRAM_SCALE, *count as f64)).collect()
}

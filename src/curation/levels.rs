//! Own history: do all endpoints together still answer as they did?
//!
//! Peers are compared with each other, so that a fall of all at once is seen by no comparison. Here the Admitted are taken
//! together: a suite's *level* in a sweep is the mean of their scores, case by case, over the cases that every one of them
//! was asked. It is held against the level of the sweeps before, and a detector bets that it has not fallen by more than
//! [`MARGINS`] margins of the suite: half of that is what the Admitted may differ by among themselves, so that who is
//! among them decides nothing.
//!
//! The level to compare with is a decayed mean over the sweeps before ([`RANKING_DECAY`]), in use from [`CASES_MIN`] cases
//! on. It is fixed before a sweep, and so are those who are taken together; the cases are the start of a random
//! permutation. Hence, as long as the mean over the suite lies no deeper than the margin below the level to compare with,
//! the detector score minus the number of sweeps is a supermartingale (statistics, 5.2): at most one false alarm in
//! `exclude_after_sweeps` sweeps, however that level has moved. What is not covered is the luck that is in the level to
//! compare with itself; the margin is there for it (figures: docs/statistics.md).
//!
//! An alarm moves nobody: peers cannot tell whether the endpoints got worse, the suite got harder or the grader broke. While
//! it is open the level to compare with is kept. It ends when an operator acknowledges it, from when on the new level is
//! learned as the usual one; with a new version of the suite; or when the level has come back: in [`QUIET_SWEEPS`] sweeps no
//! further evidence of a fall has gathered *and* what was answered lately lies less than half of [`MARGINS`] margins below.
//! (Evidence alone would not do: a fall little deeper than the margin does not reach [`FOUND_AGAIN_AT`] every so often.)

use std::collections::BTreeMap;

use crate::domain::{Policy, SuiteName};
use crate::stats::bets::{Bets, K, Logs, Side};
use crate::stats::detector::{FRESH, close_batch};
use crate::stats::num::{ln, log_mean_exp};

use super::decision::{AlarmKind, AlarmNote};
use super::explain::{e_number, percent};
use super::state::{ModelState, RANKING_DECAY, single};
use super::watch::{FOUND_AGAIN_AT, Finding, Found, QUIET_SWEEPS, SHOWN_DECAY};

/// Falls up to so many margins of the suite are of no interest here: the comparison of peers looks closer.
pub const MARGINS: f64 = 2.0;

/// Cases, decayed, from which the level to compare with is in use.
pub const CASES_MIN: f64 = 500.0;

/// Detector score at which a fall is alarmed at the latest, and the measure of the cap on the scores of single bets: no
/// more than `2 K` times as much.
pub const R_MAX: f64 = 1e9;

/// Largest margin that a bet can be laid at.
const MARGIN_MAX: f64 = 0.99;

/// Scores and their number.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sum {
    /// Sum of the cases' mean scores.
    pub scores: f64,
    /// Cases.
    pub cases: f64,
}

impl Sum {
    fn take(&mut self, decay: f64, new: Sum) {
        self.scores = decay * self.scores + new.scores;
        self.cases = decay * self.cases + new.cases;
    }

    /// The mean; 0 of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.cases > 0.0 { self.scores / self.cases } else { 0.0 }
    }
}

/// The own history of a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// Margin of the evidence; under another one it begins anew.
    pub margin: f64,
    /// The level to compare with.
    pub reference: Sum,
    /// e-SR detector.
    pub r: Logs,
    /// What was answered since the score was last below 1: the fall, if it is one (display only).
    pub since: Sum,
    /// The fall that stands.
    pub found: Option<Found>,
}

impl Level {
    fn new(margin: f64) -> Level {
        Level { margin, reference: Sum::default(), r: FRESH, since: Sum::default(), found: None }
    }

    /// Logarithm of the detector score; -inf before the first sweep with a level to compare with.
    #[must_use]
    pub fn log_r(&self) -> f64 {
        log_mean_exp(&self.r)
    }

    /// Whether there is enough to compare with.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.reference.cases >= CASES_MIN
    }

    /// Takes a sweep's values, one per case, in any order.
    fn take(&mut self, values: &[f64], margin: f64, alarm_at: f64) {
        if self.margin != margin {
            (self.margin, self.r) = (margin, FRESH);
        }
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let sweep = Sum { scores: sorted.iter().sum(), cases: sorted.len() as f64 };
        if self.is_known() {
            let reference = self.reference.mean();
            let mut falls: Vec<f64> = sorted.iter().map(|y| reference - y).collect();
            let bets = Bets::new(Side::Exclude, margin.min(MARGIN_MAX));
            self.bet(&bets.batch_increments(&mut falls), sweep, alarm_at);
        }
        if self.found.is_none() {
            self.reference.take(RANKING_DECAY, sweep);
        }
    }

    fn bet(&mut self, increments: &Logs, sweep: Sum, alarm_at: f64) {
        close_batch(&mut self.r, increments);
        // Capped, a score is a supermartingale still.
        let cap = ln(2.0 * K as f64 * R_MAX);
        self.r = self.r.map(|r| single(r.min(cap)));
        let log_r = self.log_r();
        match self.found {
            None if log_r < 0.0 => self.since = Sum::default(),
            None => self.since.take(1.0, sweep),
            Some(_) => self.since.take(SHOWN_DECAY, sweep),
        }
        let enough = if self.found.is_some() { FOUND_AGAIN_AT } else { alarm_at.min(R_MAX) };
        if log_r >= ln(enough) {
            self.found = Some(Found { log_r, quiet: 0 });
            self.r = FRESH;
            return;
        }
        let one_more = |f: Found| Found { quiet: (f.quiet + 1).min(QUIET_SWEEPS), ..f };
        self.found = self.found.map(one_more).filter(|f| f.quiet < QUIET_SWEEPS || !self.is_back());
    }

    /// Whether what was answered lately is less than half of the margin below the level to compare with.
    fn is_back(&self) -> bool {
        self.since.mean() > self.reference.mean() - self.margin / 2.0
    }

    fn text(&self, suite: &SuiteName, found: Found) -> String {
        format!(
            "all endpoints together do worse on {suite} than they did: success {}% on {:.0} cases, {}% before, detector \
             score R={}",
            percent(self.since.mean()),
            self.since.cases,
            percent(self.reference.mean()),
            e_number(found.log_r),
        )
    }
}

/// Takes the levels of a sweep that gives evidence.
pub(super) fn take(state: &mut ModelState, policy: &Policy, levels: &BTreeMap<SuiteName, Vec<f64>>) {
    for (suite, values) in levels.iter().filter(|(_, values)| !values.is_empty()) {
        let margin = MARGINS * policy.delta(suite);
        let level = state.levels.entry(suite.clone()).or_insert_with(|| Level::new(margin));
        level.take(values, margin, policy.exclude_after_sweeps);
    }
}

/// Forgets the levels that are found to have fallen, to learn the new ones; tells which.
pub(super) fn acknowledge(state: &mut ModelState) -> Vec<SuiteName> {
    let found: Vec<SuiteName> = fallen(state).map(|(suite, _, _)| suite.clone()).collect();
    state.levels.retain(|suite, _| !found.contains(suite));
    found
}

/// Whether a fall stands.
pub(super) fn any_fallen(state: &ModelState) -> bool {
    fallen(state).next().is_some()
}

fn fallen(state: &ModelState) -> impl Iterator<Item = (&SuiteName, &Level, Found)> {
    state.levels.iter().filter_map(|(suite, level)| Some((suite, level, level.found?)))
}

/// What stands, in words: the same for every endpoint.
pub(super) fn findings(state: &ModelState) -> Vec<Finding> {
    let finding = |(suite, level, found): (&SuiteName, &Level, Found)| Finding {
        kind: AlarmKind::LevelFell.name(),
        suite: Some(suite.clone()),
        text: level.text(suite, found),
    };
    fallen(state).map(finding).collect()
}

/// The alarm of the falls that stand.
pub(super) fn alarms(state: &ModelState) -> Option<AlarmNote> {
    let texts: Vec<String> = fallen(state).map(|(suite, level, found)| level.text(suite, found)).collect();
    (!texts.is_empty()).then(|| AlarmNote {
        kind: AlarmKind::LevelFell,
        endpoint: None,
        message: format!(
            "{}; no standing changes, for peers cannot tell who is right: look at the suite, at its graders, and at what \
             all providers have in common (one host, one release of the model); `exactod ack` takes the new level as \
             the usual one, and a floor (`suites.NAME.floor`) excludes what is too bad whoever else is",
            texts.join("; ")
        ),
    })
}

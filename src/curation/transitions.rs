//! The state machine: which transition an endpoint's evidence asks for (statistics, 7.3).

use crate::domain::{Policy, Standing, SuiteName};
use crate::stats::num::ln;

use super::reading::Reading;

/// Why a transition is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// T1, T5: the first decision's e-value against it.
    ExcludedFirst,
    /// T5, T8: the detector against it.
    ExcludedByDetector,
    /// T10 by e-value: answers too rarely, first decision.
    TimesOutFirst,
    /// T10 by the detector: answers too rarely.
    TimesOut,
    /// The first decision's e-value that it is below the floor.
    BelowFloorFirst,
    /// The detector that it is below the floor.
    BelowFloor,
    /// T2, T4: every suite's e-value for it.
    AdmittedFirst,
    /// T9: every suite's detector for it.
    Readmitted,
    /// T3: the effort cap without a decision.
    Inconclusive,
    /// T6: evidence gathers against it.
    Suspected,
    /// T7: the suspicion has passed.
    Cleared,
    /// T11: its fingerprint changed.
    Changed,
}

/// A transition that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// Why.
    pub rule: Rule,
    /// Where to.
    pub to: Standing,
    /// The blamed or weakest suite, when there is one.
    pub suite: Option<SuiteName>,
    /// The logarithm that was compared.
    pub log_value: f64,
    /// What it was compared with.
    pub threshold: f64,
}

impl Rule {
    /// Whether the transition forgets the evidence that led to it. A soft flag must not, or the detector would forget
    /// what raised it; the tests of an inconclusive endpoint go on.
    #[must_use]
    pub fn resets(self) -> bool {
        !matches!(self, Rule::Inconclusive | Rule::Suspected | Rule::Cleared | Rule::Changed)
    }

    /// It compares an e-value; else a detector score.
    #[must_use]
    pub fn by_e_value(self) -> bool {
        matches!(self, Rule::ExcludedFirst | Rule::TimesOutFirst | Rule::BelowFloorFirst | Rule::AdmittedFirst)
    }

    /// It speaks about answering at all, not about quality.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Rule::TimesOut | Rule::TimesOutFirst)
    }

    /// It speaks about the endpoint's own scores, not about a comparison.
    #[must_use]
    pub fn is_floor(self) -> bool {
        matches!(self, Rule::BelowFloor | Rule::BelowFloorFirst)
    }

    /// Its number in the specification, given where the endpoint stood.
    #[must_use]
    pub fn number(self, from: Standing) -> &'static str {
        match (self, from) {
            (Rule::ExcludedFirst, Standing::Unknown) => "T1",
            (Rule::AdmittedFirst, Standing::Unknown) => "T2",
            (Rule::Inconclusive, _) => "T3",
            (Rule::AdmittedFirst, _) => "T4",
            (Rule::ExcludedFirst, _) | (Rule::ExcludedByDetector, Standing::Provisional) => "T5",
            (Rule::Suspected, _) => "T6",
            (Rule::Cleared, _) => "T7",
            (Rule::ExcludedByDetector, _) => "T8",
            (Rule::Readmitted, _) => "T9",
            (Rule::TimesOut | Rule::TimesOutFirst, _) => "T10",
            (Rule::Changed, _) => "T11",
            (Rule::BelowFloor | Rule::BelowFloorFirst, _) => "floor",
        }
    }
}

/// The transition that is due, if any; exclusion goes first. `may_admit`: first admissions are open (no cold start).
#[must_use]
pub fn due(standing: Standing, reading: &Reading, policy: &Policy, may_admit: bool) -> Option<Move> {
    let undecided = matches!(standing, Standing::Unknown | Standing::Provisional);
    match standing {
        Standing::Excluded => readmission(reading, policy),
        _ => exclusion(standing, reading, policy)
            .or_else(|| if undecided && may_admit { admission(reading, policy) } else { None })
            .or_else(|| effort_cap(standing, reading, policy))
            .or_else(|| suspicion(standing, reading, policy)),
    }
}

fn exclusion(standing: Standing, reading: &Reading, policy: &Policy) -> Option<Move> {
    let undecided = matches!(standing, Standing::Unknown | Standing::Provisional);
    let first = 1.0 / policy.alpha;
    let later = policy.exclude_after_sweeps;
    let candidates = [
        (undecided, Rule::ExcludedFirst, reading.log_e_ex, first, &reading.blamed_by_e),
        (standing != Standing::Unknown, Rule::ExcludedByDetector, reading.log_r_ex, later, &reading.blamed_by_r),
        (undecided, Rule::TimesOutFirst, reading.usable_log_e, first, &None),
        (true, Rule::TimesOut, reading.usable_log_r, later, &None),
        (undecided, Rule::BelowFloorFirst, reading.floor_log_e, first, &reading.floor_by_e),
        (standing != Standing::Unknown, Rule::BelowFloor, reading.floor_log_r, later, &reading.floor_by_r),
    ];
    candidates.into_iter().find(|(applies, _, log_value, threshold, _)| *applies && *log_value >= ln(*threshold)).map(
        |(_, rule, log_value, threshold, suite)| Move {
            rule,
            to: Standing::Excluded,
            suite: suite.clone(),
            log_value,
            threshold,
        },
    )
}

fn admission(reading: &Reading, policy: &Policy) -> Option<Move> {
    let threshold = 1.0 / policy.alpha;
    (reading.log_e_ad >= ln(threshold)).then(|| Move {
        rule: Rule::AdmittedFirst,
        to: Standing::Admitted,
        suite: reading.weakest_by_e.clone(),
        log_value: reading.log_e_ad,
        threshold,
    })
}

fn readmission(reading: &Reading, policy: &Policy) -> Option<Move> {
    let threshold = policy.readmit_after_sweeps;
    (reading.log_r_ad >= ln(threshold)).then(|| Move {
        rule: Rule::Readmitted,
        to: Standing::Admitted,
        suite: reading.weakest_by_r.clone(),
        log_value: reading.log_r_ad,
        threshold,
    })
}

fn effort_cap(standing: Standing, reading: &Reading, policy: &Policy) -> Option<Move> {
    let reached = standing == Standing::Unknown && reading.effort >= u64::from(policy.cases.cap);
    reached.then(|| Move {
        rule: Rule::Inconclusive,
        to: Standing::Provisional,
        suite: reading.weakest_by_e.clone(),
        log_value: reading.log_e_ad,
        threshold: 1.0 / policy.alpha,
    })
}

fn suspicion(standing: Standing, reading: &Reading, policy: &Policy) -> Option<Move> {
    let suspicious = reading.log_r_ex >= ln(policy.suspect_at);
    let (rule, to) = match (standing, suspicious) {
        (Standing::Admitted, true) => (Rule::Suspected, Standing::Suspect),
        (Standing::Suspect, false) => (Rule::Cleared, Standing::Admitted),
        _ => return None,
    };
    Some(Move {
        rule,
        to,
        suite: reading.blamed_by_r.clone(),
        log_value: reading.log_r_ex,
        threshold: policy.suspect_at,
    })
}

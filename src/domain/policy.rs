//! The Policy: margins, thresholds and budgets of the decision. Every key of `[policy]`.
//!
//! Defaults and meaning: statistics, section 13.1; names: interfaces, section 3.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Capability, SuiteName};

/// What an undecided (Provisional) endpoint is worth to routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undecided {
    /// Listed, ranked after all Admitted and Suspect.
    Include,
    /// Not listed.
    Exclude,
}

/// What orders endpoints within a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RankBy {
    /// Ranking estimate of quality.
    Quality,
    /// Cheapest first.
    Price,
    /// Fastest first byte first.
    Latency,
    /// Most tokens per second first.
    Throughput,
}

/// Whom an endpoint is compared with, and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// Everybody within a margin of the best; as many of them get the largest budget as the open endpoints need. A
    /// model's first sweep is small, and the first decision weighs its bets.
    Wide,
    /// The `anchors` best alone, all with the largest budget; a full first sweep; all bets weigh the same.
    Anchors,
}

impl RankBy {
    /// Whether it needs figures that are read from stored attempts.
    #[must_use]
    pub fn needs_speeds(self) -> bool {
        match self {
            RankBy::Quality | RankBy::Price => false,
            RankBy::Latency | RankBy::Throughput => true,
        }
    }
}

/// Budgets in cases per suite per sweep (statistics, section 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaseBudgets {
    /// Decided endpoints without suspicion.
    pub standard: u32,
    /// While evidence gathers against an endpoint.
    pub burst: u32,
    /// Unknown endpoints before the cap.
    pub unknown: u32,
    /// Cases per suite after which an Unknown endpoint becomes Provisional.
    pub cap: u32,
    /// Burst tokens per endpoint and week.
    pub weekly_burst: u32,
}

impl Default for CaseBudgets {
    fn default() -> Self {
        CaseBudgets { standard: 25, burst: 100, unknown: 100, cap: 2500, weekly_burst: 2000 }
    }
}

/// One suite's own margin and weight.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SuitePolicy {
    /// Exclusion margin; the admission margin scales with it.
    pub margin: Option<f64>,
    /// Weight in the mean of detectors; weights are normalised over the suites of a sweep. Default 1.
    pub weight: Option<f64>,
    /// Mean score below which no endpoint is admitted or stays, whoever else is as bad. In (0, 1); `None`: there is none.
    /// Left out of the stored policy then, so that the label of a policy from before is the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
}

/// Live-traffic quarantine (interfaces, section 6.7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quarantine {
    /// Off by default.
    pub enabled: bool,
    /// Length of the overlay, as a duration text.
    #[serde(rename = "for")]
    pub for_: String,
}

impl Default for Quarantine {
    fn default() -> Self {
        Quarantine { enabled: false, for_: "30m".to_owned() }
    }
}

/// Admission margin as a share of the margin, where the policy does not say.
pub const ADMISSION_SHARE: f64 = 0.88;

/// Most capabilities of a model: each is a list, and a state of the size of the model's own.
pub const CAPABILITIES_MAX: usize = 16;

/// The rules of the decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// delta: an endpoint is worse when its mean is below the anchors' by more than this. In (0, 0.5].
    pub margin: f64,
    /// delta_in: admission margin, in (0, margin]. `None`: [`ADMISSION_SHARE`] of the margin.
    pub admission_margin: Option<f64>,
    /// Error of the first decision, per direction. In (0, 0.5).
    pub alpha: f64,
    /// A_ex: detector threshold of exclusion, in sweeps.
    pub exclude_after_sweeps: f64,
    /// A_in: detector threshold of re-admission, in sweeps.
    pub readmit_after_sweeps: f64,
    /// Detector score at which an Admitted endpoint becomes Suspect.
    pub suspect_at: f64,
    /// Detector score at which sampling bursts.
    pub burst_at: f64,
    /// Whom an endpoint is compared with.
    pub pool: Pool,
    /// With [`Pool::Anchors`] the number of anchors; with [`Pool::Wide`] the least number of the pool's members that get
    /// the largest budget while evidence gathers about a decided endpoint. At least 1.
    pub anchors: u32,
    /// Budgets.
    pub cases: CaseBudgets,
    /// Margin of the `usable` test.
    pub usable_margin: f64,
    /// The list never falls below this many endpoints (at most the number configured).
    pub min_providers: u32,
    /// Whether Provisional endpoints are listed.
    pub undecided: Undecided,
    /// Order within a tier.
    pub rank_by: RankBy,
    /// Evidence is the weighted score instead of 1/0 by Verdict.
    pub graded: bool,
    /// Case tags for which a list of their own is published; at most [`CAPABILITIES_MAX`], each once.
    pub capabilities: Vec<Capability>,
    /// A designated reference may leave the list by evidence.
    pub reference_may_fall: bool,
    /// How often fingerprints are taken, in microseconds; `None`: never. Left out of the stored policy then, so that the
    /// label of a policy from before is the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint_us: Option<i64>,
    /// How often a round of sampled answers begins, in microseconds; `None`: never. Left out of the stored policy then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint_samples_us: Option<i64>,
    /// Live-traffic quarantine.
    pub quarantine: Quarantine,
    /// Per-suite margins and weights.
    pub suites: BTreeMap<SuiteName, SuitePolicy>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            margin: 0.02,
            admission_margin: None,
            alpha: 0.01,
            exclude_after_sweeps: 7300.0,
            readmit_after_sweeps: 1460.0,
            suspect_at: 100.0,
            burst_at: 30.0,
            pool: Pool::Wide,
            anchors: 3,
            cases: CaseBudgets::default(),
            usable_margin: 0.05,
            min_providers: 2,
            undecided: Undecided::Include,
            rank_by: RankBy::Quality,
            graded: false,
            capabilities: Vec::new(),
            reference_may_fall: false,
            fingerprint_us: None,
            fingerprint_samples_us: None,
            quarantine: Quarantine::default(),
            suites: BTreeMap::new(),
        }
    }
}

impl Policy {
    /// Exclusion margin of a suite.
    #[must_use]
    pub fn delta(&self, suite: &SuiteName) -> f64 {
        self.suites.get(suite).and_then(|s| s.margin).unwrap_or(self.margin)
    }

    /// Admission margin of a suite: the admission share times its margin.
    #[must_use]
    pub fn delta_in(&self, suite: &SuiteName) -> f64 {
        self.admission_share() * self.delta(suite)
    }

    /// The admission margin as a share of the margin: the configured ratio, else [`ADMISSION_SHARE`].
    #[must_use]
    pub fn admission_share(&self) -> f64 {
        self.admission_margin.map_or(ADMISSION_SHARE, |d| d / self.margin)
    }

    /// Unnormalised weight of a suite.
    #[must_use]
    pub fn weight(&self, suite: &SuiteName) -> f64 {
        self.suites.get(suite).and_then(|s| s.weight).unwrap_or(1.0)
    }

    /// Floor under a suite.
    #[must_use]
    pub fn floor(&self, suite: &SuiteName) -> Option<f64> {
        self.suites.get(suite).and_then(|s| s.floor)
    }

    /// Whether there is a floor under any suite.
    #[must_use]
    pub fn has_floors(&self) -> bool {
        self.suites.values().any(|s| s.floor.is_some())
    }

    /// What is impossible in it, each as (key, reason); empty when it is sound.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        let mut check = |ok: bool, key: &'static str, reason: String| {
            if !ok {
                out.push((key, reason));
            }
        };
        check(self.margin > 0.0 && self.margin <= 0.5, "margin", format!("{} is outside (0, 0.5]", self.margin));
        if let Some(d) = self.admission_margin {
            check(
                d > 0.0 && d <= self.margin,
                "admission_margin",
                format!(
                    "{d} is outside (0, margin = {}]: the flap bound needs admission_margin <= margin",
                    self.margin
                ),
            );
        }
        check(self.alpha > 0.0 && self.alpha < 0.5, "alpha", format!("{} is outside (0, 0.5)", self.alpha));
        check(
            self.exclude_after_sweeps > 1.0,
            "exclude_after_sweeps",
            format!("{} is not above 1", self.exclude_after_sweeps),
        );
        check(
            self.readmit_after_sweeps > 1.0,
            "readmit_after_sweeps",
            format!("{} is not above 1", self.readmit_after_sweeps),
        );
        check(
            self.suspect_at > 1.0 && self.suspect_at <= self.exclude_after_sweeps,
            "suspect_at",
            format!("{} is outside (1, exclude_after_sweeps = {}]", self.suspect_at, self.exclude_after_sweeps),
        );
        check(
            self.burst_at > 1.0 && self.burst_at <= self.exclude_after_sweeps,
            "burst_at",
            format!("{} is outside (1, exclude_after_sweeps = {}]", self.burst_at, self.exclude_after_sweeps),
        );
        check(self.anchors >= 1, "anchors", "at least one anchor is needed".to_owned());
        check(
            self.usable_margin > 0.0 && self.usable_margin < 1.0,
            "usable_margin",
            format!("{} is outside (0, 1)", self.usable_margin),
        );
        check(self.min_providers >= 1, "min_providers", "a list is never empty: at least 1".to_owned());
        check(self.cases.standard >= 1, "cases.standard", "at least 1".to_owned());
        check(self.cases.unknown >= 1, "cases.unknown", "at least 1".to_owned());
        check(
            self.cases.burst >= self.cases.standard,
            "cases.burst",
            format!("{} is below cases.standard = {}", self.cases.burst, self.cases.standard),
        );
        check(
            self.cases.cap >= self.cases.unknown,
            "cases.cap",
            format!(
                "{} is below cases.unknown = {}: no endpoint could ever be decided",
                self.cases.cap, self.cases.unknown
            ),
        );
        let repeated = self.capabilities.iter().enumerate().find(|(i, tag)| self.capabilities[..*i].contains(tag));
        if let Some((_, tag)) = repeated {
            check(false, "capabilities", format!("`{tag}` stands there twice"));
        }
        check(
            self.capabilities.len() <= CAPABILITIES_MAX,
            "capabilities",
            format!("{} are too many: at most {CAPABILITIES_MAX}", self.capabilities.len()),
        );
        for (name, suite) in &self.suites {
            if let Some(m) = suite.margin {
                check(m > 0.0 && m <= 0.5, "suites", format!("margin {m} of suite {name} is outside (0, 0.5]"));
            }
            if let Some(f) = suite.floor {
                check(f > 0.0 && f < 1.0, "suites", format!("floor {f} of suite {name} is outside (0, 1)"));
            }
            if let Some(w) = suite.weight {
                check(w > 0.0 && w.is_finite(), "suites", format!("weight {w} of suite {name} is not above 0"));
            }
        }
        out
    }
}

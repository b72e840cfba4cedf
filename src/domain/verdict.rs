//! Verdicts: the judgement of one Attempt.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Fault;

/// Why an Attempt has no quality score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnscoredWhy {
    /// No answer, and openly so: the provider's delivery failed. Carries a primary delivery Fault.
    Provider,
    /// Our own side: cancelled sweep, cost cap, broken case, scorer crash, judge missing.
    Ours,
    /// The answer cannot be attributed to the pinned endpoint.
    Provenance,
}

/// The judgement of one Attempt, without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A Completion arrived and every scorer reached its threshold.
    Pass,
    /// A Completion arrived and is broken or wrong.
    Fail(Fault),
    /// There is nothing to score.
    Unscored(UnscoredWhy),
}

impl Verdict {
    /// `pass`, `fail` or `unscored`: the kind as written in the store and the API.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail(_) => "fail",
            Verdict::Unscored(_) => "unscored",
        }
    }

    /// Whether it counts in rates of quality: what is Unscored neither passed nor failed.
    #[must_use]
    pub fn is_scored(self) -> bool {
        !matches!(self, Verdict::Unscored(_))
    }

    /// Whether it counts in rates of delivery: what failed on our side, or was answered by somebody else, says nothing of
    /// what the endpoint delivers.
    #[must_use]
    pub fn is_of_delivery(self) -> bool {
        !matches!(self, Verdict::Unscored(UnscoredWhy::Ours | UnscoredWhy::Provenance))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Pass => f.write_str("Pass"),
            Verdict::Fail(fault) => write!(f, "Fail({fault})"),
            Verdict::Unscored(UnscoredWhy::Provider) => f.write_str("Unscored(provider)"),
            Verdict::Unscored(UnscoredWhy::Ours) => f.write_str("Unscored(ours)"),
            Verdict::Unscored(UnscoredWhy::Provenance) => f.write_str("Unscored(provenance)"),
        }
    }
}

/// What one of the several scorers of a case says of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScorerResult {
    /// The scorer's kind; in a group with the group before it: `group/regex`.
    pub kind: String,
    /// In \[0,1\].
    pub value: f64,
    /// The value reaches the scorer's bar.
    pub passed: bool,
    /// Stable machine-readable name of what it found, such as `tool_calls:missing_argument`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// One sentence for a person; empty where nothing is to be said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A Verdict with what a person needs to check it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The outcome.
    pub verdict: Verdict,
    /// Score in \[0,1\]; `None` exactly when the verdict is `Unscored`.
    pub score: Option<f64>,
    /// Primary Fault: that of `Fail`, or the delivery Fault behind `Unscored(provider)`.
    pub fault: Option<Fault>,
    /// Further Faults, in order of precedence, without the primary.
    pub secondary: Vec<Fault>,
    /// Stable machine-readable name of the failure, such as `tool_calls:missing_argument`.
    pub error_type: Option<String>,
    /// One sentence for a person; empty on a plain pass.
    pub explanation: String,
    /// What each scorer says, in the order of the case, groups after what is in them; empty where there is but one.
    pub scorers: Vec<ScorerResult>,
}

impl Judgement {
    /// A pass with a score.
    #[must_use]
    pub fn pass(score: f64) -> Self {
        Judgement {
            verdict: Verdict::Pass,
            score: Some(score),
            fault: None,
            secondary: vec![],
            error_type: None,
            explanation: String::new(),
            scorers: vec![],
        }
    }

    /// A failed answer.
    #[must_use]
    pub fn fail(fault: Fault, score: f64, error_type: &str, explanation: impl Into<String>) -> Self {
        Judgement {
            verdict: Verdict::Fail(fault),
            score: Some(score),
            fault: Some(fault),
            secondary: vec![],
            error_type: Some(error_type.to_owned()),
            explanation: explanation.into(),
            scorers: vec![],
        }
    }

    /// A delivery failure.
    #[must_use]
    pub fn undelivered(fault: Fault, explanation: impl Into<String>) -> Self {
        Judgement {
            verdict: Verdict::Unscored(UnscoredWhy::Provider),
            score: None,
            fault: Some(fault),
            secondary: vec![],
            error_type: None,
            explanation: explanation.into(),
            scorers: vec![],
        }
    }

    /// Nothing to score, through no fault of the provider's answer.
    #[must_use]
    pub fn unscored(why: UnscoredWhy, explanation: impl Into<String>) -> Self {
        Judgement {
            verdict: Verdict::Unscored(why),
            score: None,
            fault: None,
            secondary: vec![],
            error_type: None,
            explanation: explanation.into(),
            scorers: vec![],
        }
    }
}

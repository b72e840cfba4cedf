//! Standings and Decisions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Capability, EndpointId, Micros, ModelId, SuiteName, SweepId};

/// Where one Endpoint stands now, by its evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Standing {
    /// No decision yet.
    Unknown,
    /// Measurably not worse than the anchors by more than the margin.
    Admitted,
    /// Admitted, with evidence gathering against it: listed last, not an anchor.
    Suspect,
    /// Measurably worse than the anchors by more than the margin.
    Excluded,
    /// The effort cap was reached without a decision; the tests go on.
    Provisional,
}

impl Standing {
    /// All standings.
    pub const ALL: [Standing; 5] =
        [Standing::Unknown, Standing::Admitted, Standing::Suspect, Standing::Excluded, Standing::Provisional];

    /// As written in JSON, tables and the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Standing::Unknown => "Unknown",
            Standing::Admitted => "Admitted",
            Standing::Suspect => "Suspect",
            Standing::Excluded => "Excluded",
            Standing::Provisional => "Provisional",
        }
    }

    /// The tier of the allowlist document: the name in lower case.
    #[must_use]
    pub fn tier(self) -> &'static str {
        match self {
            Standing::Unknown => "unknown",
            Standing::Admitted => "admitted",
            Standing::Suspect => "suspect",
            Standing::Excluded => "excluded",
            Standing::Provisional => "provisional",
        }
    }

    /// A standing that counts as decided: `Admitted`, `Suspect` or `Excluded`.
    #[must_use]
    pub fn is_decided(self) -> bool {
        matches!(self, Standing::Admitted | Standing::Suspect | Standing::Excluded)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no standing or decision kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not known here")]
pub struct UnknownName(pub String);

impl FromStr for Standing {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Standing::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| UnknownName(text.to_owned()))
    }
}

/// What an operator has set over the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Override {
    /// Listed whatever the standing.
    Pinned,
    /// Not listed, not asked.
    Banned,
}

/// What kind of event a Decision records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The endpoint entered the model's set.
    Entered,
    /// The endpoint left the model's set: it is not configured any more.
    Left,
    /// Admitted by the configuration's `reference` key.
    Designated,
    /// A transition by evidence.
    Transition,
    /// A transition that a guard held back.
    Held,
    /// A suite, grader or model version changed (T13).
    VersionChange,
    /// An operator's act.
    Operator,
    /// Something irregular that changes no standing and must be known to understand the log: a clock that went back, a
    /// sweep out of order or closed, scores out of range, a store that was restored.
    Irregular,
    /// Live traffic took the endpoint off the list for a while, or that is over.
    Quarantine,
}

impl DecisionKind {
    /// All of them.
    pub const ALL: [DecisionKind; 9] = [
        DecisionKind::Entered,
        DecisionKind::Left,
        DecisionKind::Designated,
        DecisionKind::Transition,
        DecisionKind::Held,
        DecisionKind::VersionChange,
        DecisionKind::Operator,
        DecisionKind::Irregular,
        DecisionKind::Quarantine,
    ];

    /// As stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DecisionKind::Entered => "entered",
            DecisionKind::Left => "left",
            DecisionKind::Designated => "designated",
            DecisionKind::Transition => "transition",
            DecisionKind::Held => "held",
            DecisionKind::VersionChange => "version_change",
            DecisionKind::Operator => "operator",
            DecisionKind::Irregular => "irregular",
            DecisionKind::Quarantine => "quarantine",
        }
    }

    /// By its name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<DecisionKind> {
        DecisionKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A change (or held change) of standing, with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its id (UUIDv7).
    pub id: Uuid,
    /// The model.
    pub model: ModelId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The capability whose list it concerns; `None`: the model's own.
    pub capability: Option<Capability>,
    /// The sweep whose end gave it; `None` outside sweeps.
    pub sweep: Option<SweepId>,
    /// When it was made.
    pub at_us: Micros,
    /// What kind of event.
    pub kind: DecisionKind,
    /// Standing before.
    pub from: Standing,
    /// Standing after.
    pub to: Standing,
    /// The blamed or weakest suite, when there is one.
    pub suite: Option<SuiteName>,
    /// One sentence made from stored state alone (statistics, section 10).
    pub reason: String,
    /// The numbers behind the sentence: e-values, counts, thresholds, anchors.
    pub evidence: Value,
}

//! What curation hands out: decisions without an id, and alarms.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Capability, Decision, DecisionKind, EndpointId, Micros, ModelId, Standing, SuiteName, SweepId};

/// A decision as curation makes it: the joiner adds its id and the model.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDecision {
    /// The endpoint.
    pub endpoint: EndpointId,
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
    /// One sentence made from stored state alone.
    pub reason: String,
    /// The numbers behind the sentence. `null` stands for minus infinity.
    pub evidence: Value,
}

impl NewDecision {
    /// Gives it an identity and its list: a capability's, or the model's own.
    #[must_use]
    pub fn into_decision(self, id: Uuid, model: ModelId, capability: Option<Capability>) -> Decision {
        let NewDecision { endpoint, sweep, at_us, kind, from, to, suite, reason, evidence } = self;
        Decision { id, model, endpoint, capability, sweep, at_us, kind, from, to, suite, reason, evidence }
    }
}

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlarmKind {
    /// More than half of the Admitted endpoints alarmed in one sweep: suite, grader or reference changed.
    Common,
    /// More than a fifth of an endpoint's attempts could not be attributed to it.
    Provenance,
    /// The evidence speaks against the designated reference.
    Reference,
    /// The list is held by a guard.
    Frozen,
    /// It does better on cases that it may have seen than on fresh ones.
    HoldOutGap,
    /// Its answers go missing where cases are hard.
    ContentLinkedErrors,
    /// Its fingerprint is no longer that of the anchors.
    FingerprintChanged,
    /// All endpoints together answer worse than they did: something that they have in common changed.
    LevelFell,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: [AlarmKind; 8] = [
        AlarmKind::Common,
        AlarmKind::Provenance,
        AlarmKind::Reference,
        AlarmKind::Frozen,
        AlarmKind::HoldOutGap,
        AlarmKind::ContentLinkedErrors,
        AlarmKind::FingerprintChanged,
        AlarmKind::LevelFell,
    ];

    /// As written in the store, the API and the metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::Common => "common",
            AlarmKind::Provenance => "provenance",
            AlarmKind::Reference => "reference",
            AlarmKind::Frozen => "frozen",
            AlarmKind::HoldOutGap => "hold_out_gap",
            AlarmKind::ContentLinkedErrors => "content_linked_errors",
            AlarmKind::FingerprintChanged => "fingerprint_changed",
            AlarmKind::LevelFell => "level_fell",
        }
    }
}

/// A condition that holds now. Each fold returns all that hold: the caller opens the new ones and closes those of a
/// kind that are no longer there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmNote {
    /// What it is about.
    pub kind: AlarmKind,
    /// The endpoint, unless it concerns the model.
    pub endpoint: Option<EndpointId>,
    /// What is the matter and what to do, in a sentence.
    pub message: String,
}

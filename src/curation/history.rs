//! The history of a model's curation: for every step what it took as input, so that each can be recomputed.
//!
//! A step is one commit: a state with the next number, its decisions and at most one allowlist. Its input is the state
//! and the list before it, its time, a [`Setting`] (what the configuration said), a [`Record`] (what happened), and, for
//! a sweep, the plan and the outcomes, which are stored beside it. [`super::step()`] is a pure function of these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::domain::canonical::{sha256_hex, sha256_parts};
use crate::domain::live::{LiveEvidence, Quarantined};
use crate::domain::{
    Capability, Endpoint, EndpointId, Micros, ModelId, Order, Policy, Revision, SuiteDigest, SuiteName, SweepId,
};

use super::capabilities::Tagged;
use super::form::Form;
use super::ranking::Figures;

/// Version of the rules: raised whenever equal input may give another state, decision or document than before, so that
/// a replay never takes new rules for damage.
///
/// | version | change |
/// |---|---|
/// | 1 | three anchors, even mixture, admission margin of 0.75 margins |
/// | 2 | wide pool, weighted first decision, small first sweep, admission margin of 0.85 margins |
/// | 3 | no endpoint in doubt in the wide pool, decided ones spared without pause, admission margin of 0.88 margins |
/// | 4 | a cold start ends when the endpoints are ranked by enough cases; cases without any comparison are no effort |
/// | 5 | a change alarm's larger sweep is paid from the burst tokens, and asked for once |
pub const RULES: u32 = 5;

/// What the configuration said about a model when a step was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The model.
    pub model: ModelId,
    /// Its endpoints, in the order of the configuration.
    pub endpoints: Vec<Endpoint>,
    /// The designated reference.
    pub reference: Option<EndpointId>,
    /// The suites that judge it.
    pub suites: BTreeMap<SuiteName, SuiteDigest>,
    /// The rules of the decision.
    pub policy: Policy,
    /// The capabilities that have lists of their own, with the cases that carry their tags: tags are no part of a
    /// suite's identity, so they are kept here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<Capability, Tagged>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// The state was brought in line with the configuration.
    Configured,
    /// A sweep ended and was folded.
    Sweep {
        /// Attempts that were read: fewer at a replay means that some are gone.
        attempts: u64,
        /// Sweeps a year by the schedule in force.
        sweeps_per_year: Option<f64>,
        /// Place of the sweep that was folded before; `None` for the first, and in steps of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// A sweep was closed without evidence.
    Closed {
        /// The sweep.
        sweep: SweepId,
        /// Its place among the model's sweeps.
        ordinal: u64,
        /// Who took part.
        endpoints: Vec<EndpointId>,
        /// Why.
        why: String,
    },
    /// An operator's order.
    Operator {
        /// The order.
        order: Order,
    },
    /// The list was issued anew before it expired.
    Refresh,
    /// Live traffic takes an endpoint off the list for a while.
    Quarantined {
        /// The endpoint.
        endpoint: EndpointId,
        /// For how long at most, in microseconds.
        for_us: i64,
        /// Why.
        evidence: LiveEvidence,
    },
    /// A quarantine is over.
    Released {
        /// The endpoint.
        endpoint: EndpointId,
        /// Why.
        why: String,
    },
    /// The store was found to be older than what it had said before: a backup was restored.
    Restored {
        /// The last step known before.
        seq: u64,
        /// The last revision published before.
        revision: Revision,
        /// The same of the capabilities' lists.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        capabilities: BTreeMap<Capability, Revision>,
        /// It has gone on since: its steps from some number on are others than those that were known.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        overtaken: bool,
    },
}

impl Act {
    /// As stored.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Act::Configured => "configured",
            Act::Sweep { .. } => "sweep",
            Act::Closed { .. } => "closed",
            Act::Operator { .. } => "operator",
            Act::Refresh => "refresh",
            Act::Quarantined { .. } => "quarantined",
            Act::Released { .. } => "released",
            Act::Restored { .. } => "restored",
        }
    }
}

/// What happened, with what else the step read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What happened.
    pub act: Act,
    /// Trailing figures that `rank_by` may order by.
    pub figures: BTreeMap<EndpointId, Figures>,
    /// Endpoints that live traffic keeps off the list after this step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlay: Vec<Quarantined>,
    /// The form of the state that the step leaves behind; records of earlier versions name none.
    #[serde(default = "Form::unnamed", skip_serializing_if = "Form::is_unnamed")]
    pub form: Form,
}

/// Why a stored text is no part of a history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored {what} cannot be read: {why}")]
pub struct HistoryError {
    what: &'static str,
    why: String,
}

/// A value as it is stored. These values have string keys and finite numbers only, so this does not fail.
fn text<T: Serialize>(what: &'static str, value: &T) -> Result<String, HistoryError> {
    serde_json::to_string(value).map_err(|e| HistoryError { what, why: e.to_string() })
}

fn read<'a, T: Deserialize<'a>>(what: &'static str, text: &'a str) -> Result<T, HistoryError> {
    serde_json::from_str(text).map_err(|e| HistoryError { what, why: e.to_string() })
}

impl Setting {
    /// As stored, and its digest. Equal settings give equal texts.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be written.
    pub fn to_stored(&self) -> Result<(String, String), HistoryError> {
        let json = text("setting", self)?;
        Ok((sha256_hex(json.as_bytes()), json))
    }

    /// Reads a stored setting. Keys that a later version added have their defaults.
    ///
    /// # Errors
    /// [`HistoryError`] when it is none.
    pub fn from_stored(json: &str) -> Result<Setting, HistoryError> {
        read("setting", json)
    }
}

impl Record {
    /// As stored.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be written.
    pub fn to_stored(&self) -> Result<String, HistoryError> {
        text("step", self)
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// [`HistoryError`] when it is none.
    pub fn from_stored(json: &str) -> Result<Record, HistoryError> {
        read("step", json)
    }
}

/// Id of a decision (UUIDv7), a function of its place, so that a replay gives the same. `mark_us` grows with every step
/// of a model even when the clock goes back: ids sort as the decisions were made.
#[must_use]
pub fn decision_id(model: &ModelId, seq: u64, mark_us: Micros, index: usize) -> Uuid {
    let hash = sha256_parts(&[b"exactod-decision-v1", model.as_str().as_bytes(), &seq.to_le_bytes()]);
    let mut tail = [0u8; 10];
    // The part below a millisecond first, then the index: 12 and 14 bits, before the version's and the variant's own.
    let fraction = (mark_us.rem_euclid(1000) * 4096 / 1000) as u16;
    tail[..2].copy_from_slice(&fraction.to_be_bytes());
    tail[2..4].copy_from_slice(&(u16::try_from(index).unwrap_or(u16::MAX) & 0x3fff).to_be_bytes());
    tail[4..].copy_from_slice(&hash[..6]);
    Builder::from_unix_timestamp_millis(mark_us.div_euclid(1000).max(0) as u64, &tail).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_sort_by_step_and_place_and_differ_between_models() {
        let model = |name| ModelId::new(name).unwrap();
        let at = 1_790_000_000_000_000;
        let ids = [
            decision_id(&model("a"), 1, at, 0),
            decision_id(&model("a"), 1, at, 1),
            decision_id(&model("a"), 1, at, 300),
            decision_id(&model("a"), 2, at + 1, 0),
            decision_id(&model("a"), 3, at + 1000, 0),
        ];
        assert!(ids.windows(2).all(|w| w[0] < w[1]), "{ids:?}");
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
        assert_ne!(ids[0], decision_id(&model("b"), 1, at, 0));
    }

    #[test]
    fn a_record_survives_its_text_to_the_last_bit() {
        let figures = Figures { latency_us: Some(0.1 + 0.2), tokens_per_second: Some(1.0 / 3.0) };
        let record = Record {
            act: Act::Sweep { attempts: 7, sweeps_per_year: Some(1460.25 + 1e-10), after: Some(3) },
            figures: [(EndpointId::new("a/b").unwrap(), figures)].into(),
            overlay: Vec::new(),
            form: Form::NEWEST,
        };
        assert_eq!(Record::from_stored(&record.to_stored().unwrap()), Ok(record.clone()));
        // That of an earlier version has no form, and one of a later version is refused.
        let old = Record { form: Form::FIRST, ..record };
        let text = old.to_stored().unwrap();
        assert!(!text.contains("form"), "{text}");
        assert_eq!(Record::from_stored(&text), Ok(old));
        let later = text.replace("\"figures\"", "\"form\":99,\"figures\"");
        assert!(Record::from_stored(&later).unwrap_err().to_string().contains("use the newer program"), "{later}");
        assert!(Record::from_stored("{}").is_err());
    }
}

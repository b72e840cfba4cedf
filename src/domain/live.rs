//! What live traffic says against an endpoint, in numbers: kept with the decision that it led to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EndpointId, Micros};

/// What one source reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceEvidence {
    /// Answers that weighed.
    pub answers: u64,
    /// Of these the bad ones.
    pub bad: u64,
    /// Logarithm of the detector on this source's reports alone.
    pub log_r: f64,
}

/// What was seen of an endpoint, and what it was held against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveEvidence {
    /// The kind of requests: `tools`, `plain`, or `any` where nobody says.
    pub requests: String,
    /// Answers since suspicion began.
    pub answers: u64,
    /// Of these: bad ones, and those that were not delivered.
    pub bad: u64,
    /// When suspicion began.
    pub since_us: Micros,
    /// How often the endpoint failed before.
    pub own_rate: f64,
    /// How often its peers fail.
    pub peer_rate: f64,
    /// How much more often than both it may fail.
    pub margin: f64,
    /// Logarithm of the detector.
    pub log_r: f64,
    /// Logarithm of its threshold.
    pub log_threshold: f64,
    /// Who reported it, by the names of their tokens.
    pub sources: BTreeMap<String, SourceEvidence>,
}

/// An endpoint that live traffic took off the list for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Since when.
    pub since_us: Micros,
    /// Until when at most.
    pub until_us: Micros,
    /// The sentence of the decision.
    pub reason: String,
}

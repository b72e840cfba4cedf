//! The published document of a model (`exacto.allowlist/v1`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Capability, EndpointId};

/// Number of an allowlist: per model and capability, strictly increasing, from 1.
pub type Revision = u64;

/// Schema name in every document.
pub const ALLOWLIST_SCHEMA: &str = "exacto.allowlist/v1";

/// Why the list is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllowlistMode {
    /// By the standings.
    Normal,
    /// The last good list is held by a guard.
    Frozen,
    /// No endpoint has ever been Admitted.
    Bootstrap,
}

impl AllowlistMode {
    /// As written in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AllowlistMode::Normal => "normal",
            AllowlistMode::Frozen => "frozen",
            AllowlistMode::Bootstrap => "bootstrap",
        }
    }
}

/// One listed endpoint, in routing order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedEntry {
    /// The endpoint.
    pub id: EndpointId,
    /// Place in routing order, from 1.
    pub rank: u32,
    /// Routing weight, 1 to 100.
    pub weight: u32,
    /// The standing in lower case, or `pinned`.
    pub tier: String,
    /// The endpoint's name in each gateway.
    pub slugs: BTreeMap<String, String>,
}

/// One endpoint that must not be routed to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExcludedEntry {
    /// The endpoint.
    pub id: EndpointId,
    /// The sentence of its decision.
    pub reason: String,
    /// Since when, RFC 3339 with `Z`.
    pub since: String,
}

/// The document as served: field order is the order of the bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allowlist {
    /// [`ALLOWLIST_SCHEMA`].
    pub schema: String,
    /// The model.
    pub model: String,
    /// The capability that it is about; the model's own list has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
    /// The revision.
    pub version: Revision,
    /// RFC 3339, UTC.
    pub issued_at: String,
    /// RFC 3339, UTC.
    pub expires_at: String,
    /// Why the list is what it is.
    pub mode: AllowlistMode,
    /// The listed endpoints in routing order; never empty.
    pub providers: Vec<ListedEntry>,
    /// Excluded, banned and quarantined endpoints.
    pub excluded: Vec<ExcludedEntry>,
}

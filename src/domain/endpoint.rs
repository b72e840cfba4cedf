//! Endpoints: what is judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EndpointId, ModelId, ProviderId};

/// Price in US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// US dollars per million prompt tokens.
    #[serde(default)]
    pub input_per_mtok: f64,
    /// US dollars per million answer tokens.
    #[serde(default)]
    pub output_per_mtok: f64,
}

impl Price {
    /// Cost in billionths of a US dollar, rounded to the nearest.
    #[must_use]
    pub fn cost_nanousd(&self, tokens_in: u64, tokens_out: u64) -> i64 {
        // $ per 1e6 tokens = 1000 nano-dollars per token.
        let nano = (tokens_in as f64 * self.input_per_mtok + tokens_out as f64 * self.output_per_mtok) * 1000.0;
        nano.round() as i64
    }
}

/// One provider's deployment of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Id within the model: `provider` or `provider/tag`, or as configured.
    pub id: EndpointId,
    /// The model served.
    pub model: ModelId,
    /// Who serves it.
    pub provider: ProviderId,
    /// The model's name at the provider.
    pub upstream_model: String,
    /// Quantisation, region or another tag.
    pub tag: Option<String>,
    /// Price, when configured.
    pub price: Option<Price>,
    /// The endpoint's name in each gateway.
    pub slugs: BTreeMap<String, String>,
    /// The name by which an aggregator's answers tell that this endpoint served them; `None`: it is not pinned through one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<String>,
}

impl Endpoint {
    /// What answers under the endpoint's id, as far as the configuration tells: another of either is another version of
    /// the endpoint (statistics, T13).
    #[must_use]
    pub fn upstream(&self) -> (&str, &ProviderId) {
        (&self.upstream_model, &self.provider)
    }
}

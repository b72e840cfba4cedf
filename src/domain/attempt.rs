//! Attempts: one request for case x endpoint x epoch, its transport retries inside.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AttemptId, CaseId, EndpointId, Fault, Judgement, Micros, SuiteName, SweepId, Usage};

/// What makes an Attempt unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey {
    /// The sweep it belongs to.
    pub sweep: SweepId,
    /// The endpoint asked.
    pub endpoint: EndpointId,
    /// The suite of the case.
    pub suite: SuiteName,
    /// The case.
    pub case: CaseId,
    /// Which repeat, from 0.
    pub epoch: u32,
}

/// One try of the transport within an Attempt; every one is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// When it was sent.
    pub started_at_us: Micros,
    /// How long it took, in microseconds.
    pub took_us: i64,
    /// HTTP status, when one arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The Fault that ended it; `None` for the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// What went wrong, in words, without secrets.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub detail: String,
    /// How long the provider asked us to wait, in microseconds, when it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_us: Option<i64>,
}

/// The bytes that went out and came back, as stored (compressed by the store).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    /// The request body as sent.
    pub request: bytes::Bytes,
    /// The body or stream as received by the last try (bounded by the client's limits).
    pub response: bytes::Bytes,
    /// Response headers worth keeping (never credentials), `name: value` lines.
    pub headers: String,
}

/// The stored row of one Attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its id (UUIDv7).
    pub id: AttemptId,
    /// What makes it unique.
    pub key: AttemptKey,
    /// The judgement.
    pub judgement: Judgement,
    /// The transport tries, first to last; at least one unless `Unscored(ours)`.
    pub tries: Vec<Try>,
    /// When the first try was sent.
    pub started_at_us: Micros,
    /// From sending the last try to its first content, in microseconds (streams) or first byte.
    pub ttft_us: Option<i64>,
    /// Duration of the last try, in microseconds.
    pub total_us: i64,
    /// Token usage as reported.
    pub usage: Usage,
    /// Cost in billionths of a US dollar; 0 when no price is configured.
    pub cost_nanousd: i64,
    /// The finish reason as sent.
    pub finish_reason: Option<String>,
    /// The drawn values of a templated case.
    pub draw: Option<Value>,
    /// What an answer to a prompt for fingerprints shows; `None` for cases of suites.
    pub observed: Option<f64>,
    /// The start of the answer to a prompt of sampled answers; `None` for all others.
    pub sampled: Option<String>,
    /// Request and response; `None` once pruned.
    pub transcript: Option<Transcript>,
}

impl Attempt {
    /// Anything was sent at all: where nothing could be asked, on our own side, there never was a transcript.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        !self.tries.is_empty()
    }

    /// The first try delivered an answer.
    #[must_use]
    pub fn first_try_ok(&self) -> bool {
        self.tries.first().is_some_and(|t| t.fault.is_none_or(|f| f.class() == super::FaultClass::Quality))
    }
}

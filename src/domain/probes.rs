//! The program's own prompts for fingerprints: their names, and what is observed of an answer.
//!
//! They are no suites: nothing is judged, and they give no evidence about quality.

use super::canonical::sha256_parts;
use super::{Completion, SuiteName};

/// Prompts of which the log-probability of the first token is observed.
pub const TOKENS: &str = "fingerprint-tokens";
/// Prompts of which the start of the answer at temperature 0 is observed.
pub const GREEDY: &str = "fingerprint-greedy";

/// Bits of a text's hash that are kept: so many a 64-bit float holds exactly.
const HASH_BYTES: usize = 6;

/// Whether a name is one of ours.
#[must_use]
pub fn is_probe(suite: &SuiteName) -> bool {
    [TOKENS, GREEDY].contains(&suite.as_str())
}

/// What an answer to a prompt of ours shows: a log-probability, or a hash of the text as a whole number. `None` when it
/// does not show it.
#[must_use]
pub fn observe(suite: &SuiteName, completion: &Completion) -> Option<f64> {
    if suite.as_str() == GREEDY {
        let text = completion.content.as_deref().filter(|text| !text.is_empty())?;
        let hash = sha256_parts(&[b"exactod-greedy-v1", text.as_bytes()]);
        return Some(hash[..HASH_BYTES].iter().fold(0.0, |n, byte| n * 256.0 + f64::from(*byte)));
    }
    let sent: serde_json::Value = serde_json::from_str(completion.logprobs.as_ref()?.0.get()).ok()?;
    sent.pointer("/content/0/logprob")?.as_f64().filter(|p| p.is_finite() && *p <= 0.0)
}

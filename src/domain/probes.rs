//! The program's own prompts for fingerprints: their names, and what is observed of an answer.
//!
//! They are no suites: nothing is judged, and they give no evidence about quality.

use super::canonical::sha256_parts;
use super::{Completion, SuiteName};

/// Prompts of which the log-probability of the first token is observed.
pub const TOKENS: &str = "fingerprint-tokens";
/// Prompts of which the start of the answer at temperature 0 is observed.
pub const GREEDY: &str = "fingerprint-greedy";

/// Prompts of which the start of the answer is kept, at a temperature above 0.
pub const SAMPLES: &str = "fingerprint-samples";

/// Characters of an answer that are kept and compared: about the thirty tokens that are asked for.
pub const SAMPLE_LENGTH: usize = 128;

/// Prompts of a round of sampled answers. With fewer answers than 500 a side there is no test: a few more prompts make up for
/// what goes missing.
pub const SAMPLE_PROMPTS: usize = 24;

/// Answers to each of them.
pub const SAMPLE_REPEATS: u32 = 25;

/// Prompts of a round that one sweep asks.
pub const SAMPLE_PROMPTS_PER_SWEEP: usize = 2;

/// Longest that a round of sampled answers lasts, from its first sweep's plan to its last one's: one that is not complete by
/// then is given up and begun anew.
pub const ROUND_MAX_US: i64 = 28 * 86_400_000_000;

/// Bits of a text's hash that are kept: so many a 64-bit float holds exactly.
const HASH_BYTES: usize = 6;

/// Whether a name is one of ours.
#[must_use]
pub fn is_probe(suite: &SuiteName) -> bool {
    [TOKENS, GREEDY, SAMPLES].contains(&suite.as_str())
}

/// What an answer to a prompt of ours shows: a log-probability, or a hash of the text as a whole number. `None` when it
/// does not show it, and for [`SAMPLES`].
#[must_use]
pub fn observe(suite: &SuiteName, completion: &Completion) -> Option<f64> {
    if suite.as_str() == SAMPLES {
        return None;
    }
    if suite.as_str() == GREEDY {
        let text = completion.content.as_deref().filter(|text| !text.is_empty())?;
        let hash = sha256_parts(&[b"exactod-greedy-v1", text.as_bytes()]);
        return Some(hash[..HASH_BYTES].iter().fold(0.0, |n, byte| n * 256.0 + f64::from(*byte)));
    }
    let sent: serde_json::Value = serde_json::from_str(completion.logprobs.as_ref()?.0.get()).ok()?;
    sent.pointer("/content/0/logprob")?.as_f64().filter(|p| p.is_finite() && *p <= 0.0)
}

/// The start of an answer to a prompt of [`SAMPLES`], [`SAMPLE_LENGTH`] characters at most; `None` for other prompts and
/// without an answer. An empty answer is one.
///
/// Characters and not tokens: every endpoint shows its text, and both sides of a comparison must count the same positions.
/// Tokens are shown with log-probabilities only, and where those are shown [`TOKENS`] finds the same for a fiftieth of the
/// answers.
#[must_use]
pub fn sample(suite: &SuiteName, completion: &Completion) -> Option<String> {
    let text = completion.content.as_deref().filter(|_| suite.as_str() == SAMPLES)?;
    Some(text.chars().take(SAMPLE_LENGTH).collect())
}

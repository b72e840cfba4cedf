//! Judges: models that are asked whether an answer meets a rubric, and what an attempt asks besides its case.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AttemptKey, Micros, ProviderId, Transcript, Try};

/// Which deployment of which model judges. It stands in the scorer, and so in the suite's digest: another judge is
/// another suite.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JudgeId {
    /// Who serves it: the id of a `[[provider]]`.
    pub provider: ProviderId,
    /// The model's name at the provider.
    pub model: String,
    /// Quantisation, region or another mark, where the provider has several.
    pub tag: Option<String>,
}

impl fmt::Display for JudgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            Some(tag) => write!(f, "{}/{} at {}", self.model, tag, self.provider),
            None => write!(f, "{} at {}", self.model, self.provider),
        }
    }
}

/// One question to a judge, asked as often as it has votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Which of the case's judge scorers asks, counted from 0.
    pub scorer: u32,
    /// Who is asked.
    pub judge: JudgeId,
    /// How often; odd.
    pub votes: u32,
    /// Longest answer, in tokens.
    pub max_tokens: u64,
    /// The system message.
    pub system: &'static str,
    /// The user message.
    pub question: String,
}

/// What judges answered: text by scorer and vote.
pub type Votes = BTreeMap<(u32, u32), String>;

/// A request that an attempt made besides its own, or its own until the attempt is stored. What was paid for is kept
/// as soon as it is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// The attempt.
    pub key: AttemptKey,
    /// What it was for: [`ANSWER`], or `vote-S-N` for vote N of judge scorer S.
    pub part: String,
    /// The transport tries, first to last.
    pub tries: Vec<Try>,
    /// When the first try was sent.
    pub started_at_us: Micros,
    /// From sending the last try to its first content or byte, in microseconds.
    pub ttft_us: Option<i64>,
    /// Duration of the last try, in microseconds.
    pub total_us: i64,
    /// Cost in billionths of a US dollar.
    pub cost_nanousd: i64,
    /// Request and response.
    pub transcript: Transcript,
}

/// The part that is the answer under test itself, kept while its judges are asked.
pub const ANSWER: &str = "answer";

/// The part of a vote.
#[must_use]
pub fn vote_part(scorer: u32, vote: u32) -> String {
    format!("vote-{scorer}-{vote}")
}

/// The scorer and vote of a part; `None` for other parts.
#[must_use]
pub fn vote_of(part: &str) -> Option<(u32, u32)> {
    let (scorer, vote) = part.strip_prefix("vote-")?.split_once('-')?;
    Some((scorer.parse().ok()?, vote.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_name_their_votes() {
        assert_eq!(vote_of(&vote_part(2, 11)), Some((2, 11)));
        for other in [ANSWER, "vote-", "vote-1", "vote-x-1", ""] {
            assert_eq!(vote_of(other), None, "{other}");
        }
    }
}

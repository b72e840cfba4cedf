//! Judges: models that are asked whether an answer meets a rubric.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ProviderId;

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

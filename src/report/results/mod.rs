//! Attempts as the result files of other tools: JUnit XML for build servers, promptfoo's results.

mod junit;
mod promptfoo;

pub use junit::junit;
pub use promptfoo::promptfoo;

use serde_json::Value;

use crate::domain::{UnscoredWhy, Verdict};
use crate::store::StoredAttempt;

/// One attempt with what was asked and answered.
#[derive(Debug, Clone)]
pub struct ResultRow {
    /// The attempt; its transcript is not looked at.
    pub stored: StoredAttempt,
    /// The messages that were sent; `None` once pruned.
    pub messages: Option<Value>,
    /// What came: a text, or a list of calls; `None` where nothing came or it is pruned.
    pub output: Option<Value>,
}

/// The four outcomes that such files know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Pass,
    Fail,
    /// The provider did not deliver.
    Error,
    /// Nobody's answer was judged.
    Skipped,
}

impl ResultRow {
    fn outcome(&self) -> Outcome {
        match self.stored.attempt.judgement.verdict {
            Verdict::Pass => Outcome::Pass,
            Verdict::Fail(_) => Outcome::Fail,
            Verdict::Unscored(UnscoredWhy::Provider) => Outcome::Error,
            Verdict::Unscored(_) => Outcome::Skipped,
        }
    }

    /// What was wrong, in words.
    fn reason(&self) -> String {
        let judgement = &self.stored.attempt.judgement;
        match &judgement.error_type {
            Some(error_type) => format!("{error_type}: {}", judgement.explanation),
            None => judgement.explanation.clone(),
        }
    }

    /// The Fault's name, or the verdict's where there is none.
    fn kind(&self) -> String {
        let judgement = &self.stored.attempt.judgement;
        judgement.fault.map_or_else(|| judgement.verdict.to_string(), |fault| fault.name().to_owned())
    }
}

#[cfg(test)]
mod tests;

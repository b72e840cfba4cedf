//! Judging answers that are at hand: no request, no store.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::jury::votes_of;
use crate::domain::jury::Exchange;
use crate::domain::{CaseId, CaseInstance, Judgement, Suite};
use crate::provider::chat_completions::request_body;
use crate::provider::read_answer;
use crate::scoring::{Judge, PreparedCase, ScorerError, judge_delivery, judges_of};
use crate::suites::{DrawError, Drawer};

/// Why an answer could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// The case cannot be drawn as told.
    #[error("{0}")]
    Draw(#[from] DrawError),
    /// The drawn case does not compile.
    #[error("{0}")]
    Scorer(#[from] ScorerError),
    /// The case is a template and the drawn values are not told.
    #[error("case `{0}` is a template: tell the values that were drawn for this answer as `draw`")]
    NoDraw(CaseId),
}

/// Judges answers to the cases of one suite, as a sweep would have.
pub struct Offline {
    drawer: Drawer,
    judge: Judge,
}

impl Offline {
    /// Compiles a suite.
    ///
    /// # Errors
    /// As [`Drawer::new`].
    pub fn new(suite: Arc<Suite>) -> Result<Offline, DrawError> {
        Ok(Offline { drawer: Drawer::new(suite)?, judge: Judge::new() })
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> &Arc<Suite> {
        self.drawer.suite()
    }

    /// Whether models judge some of its cases.
    #[must_use]
    pub fn has_judges(&self) -> bool {
        self.suite().cases.iter().any(|case| !judges_of(&case.scorers).is_empty())
    }

    /// A case with these drawn values (`None`: the case draws nothing, or always the same).
    ///
    /// # Errors
    /// [`OfflineError`]: no answer to it can be judged.
    pub fn case(&self, id: &CaseId, draw: Option<&Map<String, Value>>) -> Result<OfflineCase, OfflineError> {
        let instance = self.instance(id, draw)?;
        let prepared = self.judge.prepare(&instance)?;
        Ok(OfflineCase { instance, prepared })
    }

    fn instance(&self, id: &CaseId, draw: Option<&Map<String, Value>>) -> Result<CaseInstance, OfflineError> {
        if let Some(values) = draw {
            return Ok(self.drawer.instantiate(id, values)?);
        }
        // Without parameters, and for a fixed case, the seed does not enter.
        let instance = self.drawer.draw(id, "", 0)?;
        match instance.case.is_template() && !instance.case.fixed {
            true => Err(OfflineError::NoDraw(id.clone())),
            false => Ok(instance),
        }
    }
}

/// A drawn case, ready to judge.
pub struct OfflineCase {
    instance: CaseInstance,
    prepared: PreparedCase,
}

/// What of a request an answer is an answer to.
const QUESTION_KEYS: &[&str] = &["messages", "tools", "tool_choice", "response_format"];

impl OfflineCase {
    /// Judges the body of a successful answer, plain or stream. `exchanges`: what was asked besides it, so that votes of
    /// judges count that answer the very questions of this case.
    #[must_use]
    pub fn judge(&self, body: &[u8], exchanges: &[Exchange]) -> Judgement {
        match read_answer(body, &self.instance) {
            Ok(completion) => {
                let votes = votes_of(&self.prepared.asks(&completion), exchanges);
                self.prepared.judge_with(&completion, &votes)
            }
            Err(delivery) => judge_delivery(delivery.fault, &delivery.detail),
        }
    }

    /// Whether models judge it.
    #[must_use]
    pub fn has_judges(&self) -> bool {
        !judges_of(&self.instance.scorers).is_empty()
    }

    /// Whether a request that was sent asked the very same: messages, tools, choice of tools and form of the answer.
    #[must_use]
    pub fn asks_the_same(&self, request: &[u8]) -> bool {
        let own = request_body("", &self.instance, &Map::new());
        let read = |bytes: &[u8]| serde_json::from_slice::<Map<String, Value>>(bytes).ok();
        match (read(request), read(&own)) {
            (Some(sent), Some(own)) => QUESTION_KEYS.iter().all(|key| sent.get(*key) == own.get(*key)),
            _ => false,
        }
    }
}

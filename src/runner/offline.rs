//! Judging answers that are at hand: no request, no store.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::domain::{CaseId, CaseInstance, Judgement, Suite};
use crate::provider::read_answer;
use crate::scoring::{Judge, ScorerError, judge_delivery};
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

    /// Judges the body of a successful answer, plain or stream, to a case with these drawn values (`None`: the case draws
    /// nothing, or always the same).
    ///
    /// # Errors
    /// [`OfflineError`]: the answer was not judged.
    pub fn judge(
        &self,
        case: &CaseId,
        draw: Option<&Map<String, Value>>,
        body: &[u8],
    ) -> Result<Judgement, OfflineError> {
        let instance = self.instance(case, draw)?;
        let prepared = self.judge.prepare(&instance)?;
        Ok(match read_answer(body, &instance) {
            Ok(completion) => prepared.judge(&completion),
            Err(delivery) => judge_delivery(delivery.fault, &delivery.detail),
        })
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

//! Judging answers that are at hand: no request, no store.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::converse::judge_stored;
use super::jury::votes_of;
use crate::domain::{
    CaseId, CaseInstance, Completion, Exchange, Judgement, ProgramOutputs, ProgramRun, Suite, Testimony, Took,
    UnscoredWhy,
};
use crate::provider::chat_completions::request_body;
use crate::provider::{read_answer, read_message};
use crate::scoring::{Judge, PreparedCase, ScorerError, judge_delivery, judges_of, programs_of};
use crate::suites::{DrawError, Drawer};
use crate::worlds::{World, WorldError};

/// Why an answer could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// The case cannot be drawn as told.
    #[error("{0}")]
    Draw(#[from] DrawError),
    /// The drawn case does not compile.
    #[error("{0}")]
    Scorer(#[from] ScorerError),
    /// The world of the drawn case does not compile.
    #[error("{0}")]
    World(#[from] WorldError),
    /// The case is a template and the drawn values are not told.
    #[error("case `{0}` is a template: tell the values that were drawn for this answer as `draw`")]
    NoDraw(CaseId),
}

/// Judges answers to the cases of one suite, as a sweep would have.
pub struct Offline {
    drawer: Drawer,
    judge: Judge,
    /// Draws templates whose drawn values are not told.
    seed: Option<String>,
}

impl Offline {
    /// Compiles a suite.
    ///
    /// # Errors
    /// As [`Drawer::new`].
    pub fn new(suite: Arc<Suite>) -> Result<Offline, DrawError> {
        Ok(Offline { drawer: Drawer::new(suite)?, judge: Judge::new(), seed: None })
    }

    /// Draws templates whose drawn values are not told from a seed, as of the first epoch (`suite show --draw SEED`).
    #[must_use]
    pub fn with_seed(self, seed: Option<String>) -> Offline {
        Offline { seed, ..self }
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
        let world = instance.world.as_ref().map(|_| World::new(&self.judge, &instance)).transpose()?.map(Arc::new);
        Ok(OfflineCase { instance, prepared, world })
    }

    fn instance(&self, id: &CaseId, draw: Option<&Map<String, Value>>) -> Result<CaseInstance, OfflineError> {
        if let Some(values) = draw {
            return Ok(self.drawer.instantiate(id, values)?);
        }
        // Without parameters, and for a fixed case, the seed does not enter.
        let instance = self.drawer.draw(id, self.seed.as_deref().unwrap_or_default(), 0)?;
        match self.seed.is_none() && instance.case.is_template() && !instance.case.fixed {
            true => Err(OfflineError::NoDraw(id.clone())),
            false => Ok(instance),
        }
    }
}

/// What is known of an answer beside its bytes.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    /// Votes that were stored beside it, of which those count that answer the very questions of the case.
    pub votes: &'a [Exchange],
    /// What programs printed: see [`OfflineCase::runs`].
    pub outputs: ProgramOutputs,
    /// What it took to get it.
    pub took: Took,
}

/// A drawn case, ready to judge.
pub struct OfflineCase {
    instance: CaseInstance,
    prepared: PreparedCase,
    world: Option<Arc<World>>,
}

/// What of a request an answer is an answer to.
const QUESTION_KEYS: &[&str] = &["messages", "tools", "tool_choice", "response_format"];

impl OfflineCase {
    /// Judges the body of a successful answer, plain or stream; of a conversation all its answers, as its transcript holds
    /// them: `{"steps": ["..", ".."]}`.
    #[must_use]
    pub fn judge(&self, body: &[u8], known: &Known<'_>) -> Judgement {
        if let Some(world) = &self.world {
            return judge_stored(world, body, known.took).unwrap_or_else(|error| {
                let what = "this case is a conversation, whose answers are {\"steps\": [\"..\", ..]}";
                Judgement::unscored(UnscoredWhy::Ours, format!("{what}: {error}"))
            });
        }
        match read_answer(body, &self.instance) {
            Ok(completion) => self.judge_completion(completion, known),
            Err(delivery) => judge_delivery(delivery.fault, &delivery.detail),
        }
    }

    fn judge_completion(&self, completion: Completion, known: &Known<'_>) -> Judgement {
        let completion = Completion { took: known.took, ..completion };
        let votes = votes_of(&self.prepared.asks(&completion), known.votes);
        self.prepared.judge_with(&completion, &Testimony { votes, outputs: known.outputs.clone() })
    }

    /// Judges an answer that a user kept: the body, or only the message in it.
    #[must_use]
    pub fn judge_answer(&self, answer: &[u8], known: &Known<'_>) -> Judgement {
        match bare_message(answer).map(|message| read_message(&message)) {
            Some(Ok(completion)) => self.judge_completion(completion, known),
            Some(Err(delivery)) => judge_delivery(delivery.fault, &delivery.detail),
            None => self.judge(answer, known),
        }
    }

    /// What programs are to be run on an answer, the body or only the message in it, before it is judged.
    #[must_use]
    pub fn runs(&self, answer: &[u8]) -> Vec<ProgramRun> {
        if self.world.is_some() || programs_of(&self.instance.scorers).is_empty() {
            return Vec::new();
        }
        let completion = match bare_message(answer) {
            Some(message) => read_message(&message).ok(),
            None => read_answer(answer, &self.instance).ok(),
        };
        completion.map(|completion| self.prepared.runs(&completion)).unwrap_or_default()
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
            // The last request of a conversation begins as its first did.
            (Some(sent), Some(own)) => QUESTION_KEYS.iter().all(|key| match (sent.get(*key), own.get(*key)) {
                (Some(Value::Array(sent)), Some(Value::Array(own))) if self.world.is_some() => sent.starts_with(own),
                (sent, own) => sent == own,
            }),
            _ => false,
        }
    }
}

/// An answer that is a message and not a body: it has a role, a content or calls, and nothing that a body has.
fn bare_message(answer: &[u8]) -> Option<Value> {
    #[derive(Deserialize)]
    struct Head {
        choices: Option<IgnoredAny>,
        error: Option<IgnoredAny>,
        object: Option<IgnoredAny>,
        role: Option<IgnoredAny>,
        content: Option<IgnoredAny>,
        tool_calls: Option<IgnoredAny>,
    }
    let head: Head = serde_json::from_slice(answer).ok()?;
    let is_body = head.choices.is_some() || head.error.is_some() || head.object.is_some();
    let is_message = head.role.is_some() || head.content.is_some() || head.tool_calls.is_some();
    if is_message && !is_body { serde_json::from_slice(answer).ok() } else { None }
}

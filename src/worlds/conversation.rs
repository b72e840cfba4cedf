//! A conversation under way: a state machine over answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::world::{World, plain};
use super::{CALLS_PER_STEP_MAX, RESULT_BYTES_MAX};
use crate::domain::canonical::canonical_json;
use crate::domain::{CaseInstance, Completion, Fault, Json, Judgement, ToolCall, UnscoredWhy, Verdict};
use crate::sandbox::limits::SCRIPT;

/// What comes after an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// The conversation goes on: ask [`Conversation::instance`].
    Ask,
    /// It is over.
    Ended(Judgement),
}

/// One conversation. Equal answers lead to equal conversations.
#[derive(Clone)]
pub struct Conversation {
    world: Arc<World>,
    messages: Vec<Value>,
    state: Value,
    calls: Vec<ToolCall>,
    said: String,
    /// How many of the user's turns were said.
    turn: usize,
    steps: u32,
    secondary: BTreeSet<Fault>,
}

impl Conversation {
    /// The beginning.
    #[must_use]
    pub fn new(world: Arc<World>) -> Conversation {
        let messages = world.instance.messages.items();
        let state = world.state.clone();
        let (calls, said) = (Vec::new(), String::new());
        Conversation { world, messages, state, calls, said, turn: 0, steps: 0, secondary: BTreeSet::new() }
    }

    /// What to ask next: the case with all that was said so far.
    #[must_use]
    pub fn instance(&self) -> CaseInstance {
        CaseInstance { messages: Json::from(self.messages.clone()), ..self.world.instance.clone() }
    }

    /// Answers so far.
    #[must_use]
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// The state as it is now.
    #[must_use]
    pub fn state(&self) -> &Value {
        &self.state
    }

    /// Takes an answer.
    pub fn take(&mut self, completion: &Completion) -> Next {
        self.steps += 1;
        let is_last = completion.tool_calls.is_empty() && self.turn >= self.world.turns.len();
        let judgement = if is_last { self.world.judge_last(completion) } else { self.world.judge_step(completion) };
        self.secondary.extend(judgement.secondary.iter().copied());
        // The scorers' verdict on the last answer comes after that on the state.
        let is_wrong = judgement.verdict == Verdict::Fail(Fault::WrongAnswer);
        if judgement.verdict != Verdict::Pass && !(is_last && is_wrong) {
            return self.ended(judgement);
        }
        self.said.push_str(&plain(completion.content.as_deref().unwrap_or_default()));
        self.said.push('\n');
        self.messages.push(said_by_assistant(completion, self.steps));
        if is_last {
            let judgement = self.verdict().unwrap_or(judgement);
            return self.ended(judgement);
        }
        if let Err(why) = self.act(completion) {
            return self.ended(Judgement::unscored(UnscoredWhy::Ours, why));
        }
        if self.steps >= self.world.max_steps {
            let what = format!("the task was not done within {} answers", self.steps);
            return self.ended(Judgement::fail(Fault::WrongAnswer, 0.0, "world:max_steps", what));
        }
        Next::Ask
    }

    fn ended(&self, mut judgement: Judgement) -> Next {
        let primary = judgement.fault;
        judgement.secondary = self.secondary.iter().copied().filter(|fault| Some(*fault) != primary).collect();
        Next::Ended(judgement)
    }

    /// Carries out the calls of an answer, or lets the user go on.
    fn act(&mut self, completion: &Completion) -> Result<(), String> {
        if completion.tool_calls.is_empty() {
            let text = self.world.turns.get(self.turn).cloned().unwrap_or_default();
            self.turn += 1;
            self.messages.push(json!({"role": "user", "content": text}));
            return Ok(());
        }
        let mut bytes = 0;
        for (i, call) in completion.tool_calls.iter().enumerate() {
            let content = match i < CALLS_PER_STEP_MAX && bytes < RESULT_BYTES_MAX {
                true => self.carry_out(call)?,
                false => json!({"error": "too much at once: this call was not carried out"}).to_string(),
            };
            bytes += content.len();
            let id = call_id(call, self.steps, i);
            self.messages.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
        }
        Ok(())
    }

    fn carry_out(&mut self, call: &ToolCall) -> Result<String, String> {
        let arguments = call.arguments.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let arguments = arguments.unwrap_or_else(|| Value::Object(Map::new()));
        let called = self.world.program.call(&call.name, &[&self.state, &arguments], &SCRIPT);
        let (result, state) = called.map_err(|failure| format!("the world's function {}: {failure}", call.name))?;
        self.state = state;
        self.calls.push(call.clone());
        let text = match result {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match text.len() <= RESULT_BYTES_MAX {
            true => Ok(text),
            false => Err(format!("the world's function {} gives more than {RESULT_BYTES_MAX} bytes", call.name)),
        }
    }

    /// What is wrong at the end; `None`: nothing.
    fn verdict(&self) -> Option<Judgement> {
        let failed = |name: &str, what: String| Some(Judgement::fail(Fault::WrongAnswer, 0.0, name, what));
        if self.world.call_due && self.calls.is_empty() {
            let what = "no tool was called in the whole conversation";
            return Some(Judgement::fail(Fault::MissingCall, 0.0, "tool_calls:no_call", what));
        }
        if let Some(goal) = &self.world.goal {
            match self.goal(goal) {
                Err(why) => return Some(Judgement::unscored(UnscoredWhy::Ours, why)),
                Ok(Some(what)) => return failed("world:goal", what),
                Ok(None) => {}
            }
        }
        if self.world.gold.as_ref().is_some_and(|gold| *gold != canonical_json(&self.state)) {
            return failed("world:state", "the final state is not the one to which the right calls lead".to_owned());
        }
        let finish_reason = Some("tool_calls".to_owned());
        let calls = Completion { tool_calls: self.calls.clone(), finish_reason, ..Completion::default() };
        if let Some(required) = self.world.judge_required(calls).filter(|j| j.verdict != Verdict::Pass) {
            return failed("world:required", required.explanation);
        }
        let missing = self.world.outputs.iter().find(|text| !self.said.contains(text.as_str()))?;
        failed("world:output", format!("the assistant never said {missing:?}"))
    }

    /// What the goal says is wrong.
    fn goal(&self, function: &str) -> Result<Option<String>, String> {
        let called = self.world.program.call(function, &[&self.state, &self.world.setup], &SCRIPT);
        let (result, _) = called.map_err(|failure| format!("the world's goal {function}: {failure}"))?;
        match result {
            Value::Bool(true) => Ok(None),
            Value::Bool(false) => Ok(Some(format!("{function} does not hold in the final state"))),
            Value::String(what) if what.is_empty() => Ok(None),
            Value::String(what) => Ok(Some(what)),
            _ => Err(format!("the world's goal {function} gives true, false, or a text that says what is wrong")),
        }
    }
}

/// The id under which a call is answered; one of ours where the answer has none.
fn call_id(call: &ToolCall, step: u32, index: usize) -> String {
    call.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{step}_{index}"))
}

/// An answer as it is sent back. Reasoning goes back with it: models that think between calls need it.
fn said_by_assistant(completion: &Completion, step: u32) -> Value {
    let mut message = Map::new();
    message.insert("role".to_owned(), Value::from("assistant"));
    message.insert("content".to_owned(), completion.content.clone().map_or(Value::Null, Value::from));
    if let Some(reasoning) = &completion.reasoning {
        message.insert("reasoning_content".to_owned(), Value::from(reasoning.clone()));
    }
    if !completion.tool_calls.is_empty() {
        let call = |(i, call): (usize, &ToolCall)| {
            json!({"id": call_id(call, step, i), "type": "function", "function": {
                "name": call.name, "arguments": call.arguments.as_deref().unwrap_or("{}")}})
        };
        let calls: Vec<Value> = completion.tool_calls.iter().enumerate().map(call).collect();
        message.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    Value::Object(message)
}

/// Plays answers to their end. Answers that end before the conversation does fail it.
pub fn play(world: &Arc<World>, answers: impl IntoIterator<Item = Completion>) -> Judgement {
    let mut conversation = Conversation::new(Arc::clone(world));
    for answer in answers {
        if let Next::Ended(judgement) = conversation.take(&answer) {
            return judgement;
        }
    }
    unfinished(&conversation)
}

/// The judgement of a conversation whose answers end before it does.
#[must_use]
pub fn unfinished(conversation: &Conversation) -> Judgement {
    let what = format!("the conversation is not over after these {} answers", conversation.steps());
    Judgement::fail(Fault::WrongAnswer, 0.0, "world:unfinished", what)
}

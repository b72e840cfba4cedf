//! A case's world, compiled: what a conversation starts from and is judged by.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{STEPS_DEFAULT, STEPS_MAX, TURNS_MAX};
use crate::domain::canonical::canonical_json;
use crate::domain::{CaseInstance, Completion, Json, Judgement, ScorerSpec};
use crate::sandbox::Program;
use crate::sandbox::limits::SCRIPT;
use crate::scoring::{Judge, PreparedCase, judges_of, programs_of};

/// The function that makes the state, when a file has it: `def start(setup)`.
const START: &str = "start";

/// What is wrong with a case's world.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {message}")]
pub struct WorldError {
    /// The key of the case concerned.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
}

fn wrong(key: &'static str, message: impl Into<String>) -> WorldError {
    WorldError { key, message: message.into() }
}

/// A case's world, ready for any number of conversations.
pub struct World {
    pub(super) instance: CaseInstance,
    pub(super) program: Program,
    pub(super) setup: Value,
    /// The state at the beginning.
    pub(super) state: Value,
    pub(super) turns: Vec<String>,
    pub(super) max_steps: u32,
    pub(super) goal: Option<String>,
    /// Canonical JSON of the state to which the reference leads; `None` with a goal.
    pub(super) gold: Option<String>,
    /// The reference makes calls.
    pub(super) call_due: bool,
    pub(super) outputs: Vec<String>,
    required: Option<PreparedCase>,
    /// Judges the answers on the way: the implicit checks alone.
    on_the_way: PreparedCase,
    /// Judges the last answer: the case's scorers as well.
    last: PreparedCase,
}

impl World {
    /// Compiles the world of a case and replays its reference.
    ///
    /// # Errors
    /// [`WorldError`]: the case is broken.
    pub fn new(judge: &Judge, instance: &CaseInstance) -> Result<World, WorldError> {
        let spec = instance.world.as_ref().map(Json::value);
        let Some(Value::Object(spec)) = spec else { return Err(wrong("world", "the case has no `world`")) };
        if !judges_of(&instance.scorers).is_empty() {
            let message = "a conversation is not judged by a model: leave the scorer `judge` out of this case";
            return Err(wrong("scorers", message));
        }
        if !programs_of(&instance.scorers).is_empty() {
            let message = "a conversation is not judged by a program: leave the scorer `exec` out of this case";
            return Err(wrong("scorers", message));
        }
        let file =
            text(&spec, "file")?.ok_or_else(|| wrong("world", "`file` is missing: the world's Starlark file"))?;
        let source = instance.case.files.get(&file);
        let source =
            source.ok_or_else(|| wrong("world", format!("there is no file `{file}` in the suite's folder")))?;
        let program = judge.program(source).map_err(|e| wrong("world", format!("`{file}`: {e}")))?;
        let needs = |key, name: &str, form: &str, arguments: usize| match program.parameters(name) {
            Some((fewest, most)) if (fewest..=most).contains(&arguments) => Ok(()),
            _ => Err(wrong(key, format!("`{file}` has no function `{name}({form})`"))),
        };
        let tools = instance.tools.as_ref().map(Json::items).unwrap_or_default();
        for tool in tools.iter().filter_map(|tool| tool.pointer("/function/name").and_then(Value::as_str)) {
            needs("tools", tool, "state, args", 2)?;
        }
        let goal = text(&spec, "goal")?;
        if let Some(goal) = &goal {
            needs("world", goal, "state, setup", 2)?;
        }
        let setup = spec.get("setup").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        let state = match program.parameters(START) {
            None => setup.clone(),
            Some(_) => {
                needs("world", START, "setup", 1)?;
                let made = program.call(START, &[&setup], &SCRIPT);
                made.map_err(|failure| wrong("world", format!("{file}: {failure}")))?.0
            }
        };
        let required = spec.get("required").map(|calls| judging_calls(judge, instance, calls)).transpose()?;
        let without = |scorers: Arc<[ScorerSpec]>| CaseInstance { scorers, expected: None, ..instance.clone() };
        let broken = |error: crate::scoring::ScorerError| wrong("scorers", error.to_string());
        let mut world = World {
            program,
            setup,
            state,
            turns: texts(&spec, "turns", TURNS_MAX)?,
            max_steps: steps(&spec)?,
            goal,
            gold: None,
            call_due: false,
            outputs: texts(&spec, "outputs", TURNS_MAX)?.iter().map(|text| plain(text)).collect(),
            required,
            on_the_way: judge.prepare(&without(Arc::default())).map_err(broken)?,
            last: judge.prepare(instance).map_err(broken)?,
            instance: instance.clone(),
        };
        world.replay_reference()?;
        Ok(world)
    }

    /// Answers of one conversation, at most.
    #[must_use]
    pub fn max_steps(&self) -> u32 {
        self.max_steps
    }

    /// The messages of the reference, one for each step.
    ///
    /// # Errors
    /// The reference has another form.
    pub fn reference(instance: &CaseInstance) -> Result<Vec<Value>, WorldError> {
        let reference = instance.reference.as_ref().map(Json::value);
        messages("reference", reference.as_ref())
    }

    /// The messages of the counter-example.
    ///
    /// # Errors
    /// The counter-example has another form.
    pub fn counterexample(instance: &CaseInstance) -> Result<Vec<Value>, WorldError> {
        let message = instance.counterexample.as_ref().map(|counter| counter.message.value());
        messages("counterexample", message.as_ref())
    }

    fn replay_reference(&mut self) -> Result<(), WorldError> {
        if self.instance.reference.is_none() {
            return match self.goal {
                Some(_) => Ok(()),
                None => Err(wrong(
                    "world",
                    "a world without `goal` needs a `reference`, whose final state is the right one",
                )),
            };
        }
        let mut state = self.state.clone();
        for message in World::reference(&self.instance)? {
            for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                let function = call.get("function").unwrap_or(call);
                let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
                let arguments = match function.get("arguments") {
                    Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
                    other => other.cloned().unwrap_or_else(|| Value::Object(Map::new())),
                };
                self.call_due = true;
                let called = self.program.call(name, &[&state, &arguments], &SCRIPT);
                state = called.map_err(|failure| wrong("reference", format!("`{name}`: {failure}")))?.1;
            }
        }
        if self.goal.is_none() {
            self.gold = Some(canonical_json(&state));
        }
        Ok(())
    }

    /// Judges an answer on the way.
    pub(super) fn judge_step(&self, completion: &Completion) -> Judgement {
        self.on_the_way.judge(completion)
    }

    /// Judges the last answer.
    pub(super) fn judge_last(&self, completion: &Completion) -> Judgement {
        self.last.judge(completion)
    }

    /// Judges all calls of a conversation by what is required.
    pub(super) fn judge_required(&self, calls: Completion) -> Option<Judgement> {
        self.required.as_ref().map(|required| required.judge(&calls))
    }
}

/// A text as outputs are compared: in lower case, without commas.
pub(super) fn plain(text: &str) -> String {
    text.to_lowercase().replace(',', "")
}

fn judging_calls(judge: &Judge, instance: &CaseInstance, calls: &Value) -> Result<PreparedCase, WorldError> {
    let mut options = Map::new();
    options.insert("calls".to_owned(), calls.clone());
    options.insert("mode".to_owned(), Value::from("subset"));
    let scorers = Arc::from([ScorerSpec { kind: "tool-calls".to_owned(), options }]);
    let instance = CaseInstance { scorers, expected: None, ..instance.clone() };
    judge.prepare(&instance).map_err(|error| wrong("world", format!("`required`: {error}")))
}

fn text(spec: &Map<String, Value>, key: &str) -> Result<Option<String>, WorldError> {
    match spec.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong("world", format!("`{key}` is a text"))),
    }
}

fn texts(spec: &Map<String, Value>, key: &str, most: usize) -> Result<Vec<String>, WorldError> {
    let refused = || wrong("world", format!("`{key}` is a list of at most {most} texts"));
    let items = match spec.get(key) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= most => items,
        Some(_) => return Err(refused()),
    };
    let text = |item: &Value| match item {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        // A placeholder that is a whole string takes the value with its type.
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(refused()),
    };
    items.iter().map(text).collect()
}

fn steps(spec: &Map<String, Value>) -> Result<u32, WorldError> {
    let Some(value) = spec.get("max_steps") else { return Ok(STEPS_DEFAULT) };
    let steps = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=STEPS_MAX).contains(n));
    steps.ok_or_else(|| wrong("world", format!("`max_steps` is a whole number from 1 to {STEPS_MAX}")))
}

fn messages(key: &'static str, value: Option<&Value>) -> Result<Vec<Value>, WorldError> {
    let list = value.and_then(|value| value.get("messages")).and_then(Value::as_array);
    match list.filter(|list| !list.is_empty() && list.iter().all(Value::is_object)) {
        Some(list) => Ok(list.clone()),
        None => Err(wrong(key, "of a world this is {\"messages\": [..]}: what the assistant answers, step by step")),
    }
}

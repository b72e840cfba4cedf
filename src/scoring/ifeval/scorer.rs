//! The scorer kind `ifeval`: a case's instructions, judged strict or loose.

use serde_json::{Map, Value};

use super::response::{Response, without_reasoning};
use super::{Instruction, Unscorable};
use crate::domain::Fault;
use crate::scoring::budget::PatternBudget;
use crate::scoring::error::ScorerError;
use crate::scoring::finding::Finding;
use crate::scoring::options::Options;

/// Values of `mode`.
pub(in crate::scoring) const MODES: &[&str] = &["strict", "loose"];
/// Most instructions of one case.
const INSTRUCTIONS_MAX: usize = 64;

/// Reads `[{"id", "kwargs"}, ..]`.
///
/// # Errors
/// What is wrong with the list; instructions that have no verdict are all named.
pub(in crate::scoring) fn compile(value: &Value, budget: &PatternBudget) -> Result<Vec<Instruction>, String> {
    let wanted = || format!("expected a list of 1 to {INSTRUCTIONS_MAX} instructions `{{\"id\", \"kwargs\"}}`");
    let items = value.as_array().filter(|i| (1..=INSTRUCTIONS_MAX).contains(&i.len())).ok_or_else(wanted)?;
    let mut instructions = Vec::with_capacity(items.len());
    let mut unscorable = Vec::new();
    for item in items {
        let item = item.as_object().ok_or_else(wanted)?;
        let id = item.get("id").and_then(Value::as_str).ok_or_else(wanted)?;
        if let Some(key) = item.keys().find(|k| !["id", "kwargs"].contains(&k.as_str())) {
            return Err(format!("instruction `{id}` has no key `{key}`; its keys are `id` and `kwargs`"));
        }
        let none = Map::new();
        let arguments = match item.get("kwargs") {
            None => &none,
            Some(value) => value.as_object().ok_or_else(|| format!("the `kwargs` of `{id}` are an object"))?,
        };
        match Instruction::parse_within(id, arguments, budget) {
            Ok(instruction) => instructions.push(instruction),
            Err(why @ Unscorable::UnknownType { .. }) => unscorable.push(why.to_string()),
            Err(why) => unscorable.push(format!("`{id}`: {why}")),
        }
    }
    if unscorable.is_empty() { Ok(instructions) } else { Err(unscorable.join("; ")) }
}

/// A case's instructions with the mode.
#[derive(Debug)]
pub(in crate::scoring) struct IfEval {
    instructions: Vec<Instruction>,
    loose: bool,
}

impl IfEval {
    /// Compiles the options.
    ///
    /// # Errors
    /// An instruction has no verdict, so the case has none.
    pub(in crate::scoring) fn new(options: &Options<'_>) -> Result<Self, ScorerError> {
        let list = options.get("instructions").ok_or_else(|| options.error("`instructions` is missing"))?;
        let instructions = compile(list, options.patterns).map_err(|e| options.error(e))?;
        Ok(IfEval { instructions, loose: options.text("mode").as_deref() == Some("loose") })
    }

    /// The share of instructions that the answer follows, a leading block of reasoning left out. What it does not
    /// follow is named.
    pub(in crate::scoring) fn judge(&self, text: &str) -> (f64, Option<Finding>) {
        let response = Response::new(without_reasoning(text));
        let follows = |i: &Instruction| if self.loose { i.loose(&response) } else { i.strict(&response) };
        let (mut followed, mut missed) = (Vec::new(), Vec::new());
        for instruction in &self.instructions {
            match follows(instruction) {
                Ok(true) => followed.push(instruction),
                Ok(false) => missed.push(instruction),
                // No verdict for this answer: the others decide.
                Err(_) => {}
            }
        }
        let total = followed.len() + missed.len();
        let value = followed.len() as f64 / total.max(1) as f64;
        if missed.is_empty() {
            return (1.0, None);
        }
        let ids = |list: &[&Instruction]| list.iter().map(|i| i.kind().id()).collect::<Vec<_>>().join(", ");
        let mut what = format!("{} of {total} instructions followed; not followed: {}", followed.len(), ids(&missed));
        if !followed.is_empty() {
            what = format!("{what}; followed: {}", ids(&followed));
        }
        (value, Some(Finding::fails(Fault::WrongAnswer, "ifeval:not_followed", what)))
    }
}

//! `exec`: a program of the operator judges the answer.
//!
//! Nothing is run here. [`Exec::run`] says what the program is to read, [`Exec::judge`] reads what it printed: an object of
//! the form that a `starlark` scorer gives. A program that was not run, failed, or printed something else leaves the answer
//! unscored: it says nothing about the answer.

use serde_json::{Value, json};

use super::custom::{case_value, completion_value, verdict};
use super::error::ScorerError;
use super::finding::{Finding, excerpt};
use super::options::Options;
use super::rubric::NoVerdict;
use crate::domain::{CaseInstance, Completion, ProgramOutputs, ProgramRun, ScorerSpec};

/// The form of what programs read; raised when it changes.
const INPUT_VERSION: u32 = 1;

/// A compiled `exec` scorer.
pub(super) struct Exec {
    /// Its place among the case's `exec` scorers.
    scorer: u32,
    program: String,
    case: Value,
}

/// The programs that some scorers name, those in groups included.
#[must_use]
pub fn programs_of(scorers: &[ScorerSpec]) -> Vec<String> {
    let named = super::spec::flatten(scorers).into_iter().filter(|spec| spec.kind == "exec");
    named.filter_map(|spec| spec.options.get("program").and_then(Value::as_str).map(str::to_owned)).collect()
}

impl Exec {
    /// Compiles the options.
    ///
    /// # Errors
    /// `program` or `version` is missing.
    pub fn new(options: &Options<'_>, instance: &CaseInstance, scorer: u32) -> Result<Self, ScorerError> {
        options.required_text("version")?;
        Ok(Exec { scorer, program: options.required_text("program")?, case: case_value(instance) })
    }

    /// What to run on an answer.
    pub fn run(&self, completion: &Completion) -> ProgramRun {
        let input = json!({"version": INPUT_VERSION, "case": self.case, "completion": completion_value(completion)});
        ProgramRun { scorer: self.scorer, program: self.program.clone(), input: format!("{input}\n") }
    }

    /// What the program's output says.
    pub fn judge(&self, outputs: &ProgramOutputs) -> Result<(f64, Option<Finding>), NoVerdict> {
        let told = |why: &str| NoVerdict(format!("the program `{}` gave no verdict: {why}", self.program));
        let text = match outputs.get(&self.scorer) {
            None => return Err(told("it was not run")),
            Some(Err(why)) => return Err(told(why)),
            Some(Ok(text)) => text,
        };
        let value: Value = serde_json::from_str(text.trim())
            .map_err(|e| told(&format!("it printed no JSON ({e}): {}", excerpt(text.trim()))))?;
        verdict(&value, "exec:failed", "the program").map_err(|why| told(&why))
    }
}

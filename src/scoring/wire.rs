//! `wire`: the strict scorer. What quality suites record and do not judge fails here (defects, section 14), and what
//! has no scorer of its own (defects, 1.1, ruling 15): stop sequences, the number of choices, the output limit, the
//! number of prompt tokens where the case knows it.

use serde_json::Value;

use super::error::ScorerError;
use super::finding::{Finding, Role};
use super::options::Options;
use super::parameters::Stop;
use crate::domain::completion::{ID_SENT_AGAIN, NAME_SENT_AGAIN};
use crate::domain::{Completion, Fault};

/// Faults of the wire, wherever a check noted them.
const FAULTS: &[Fault] = &[
    Fault::WrongFinishReason,
    Fault::BadCallId,
    Fault::BadCallIndex,
    Fault::LimitLowered,
    Fault::BadUsage,
    Fault::WireShape,
];
/// Marks what a repeated id makes of it: recorded beside the repetition.
const REPETITION: &str = "call:repeated_id";
/// A tokenizer's own marks: so many prompt tokens more than expected are right (defects, `prompt_tokens_off`).
const PROMPT_TOKENS_MORE: u64 = 3;

/// The wire contract of one case.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    stop: Option<Stop>,
    /// Choices that were asked for.
    choices: u64,
    prompt_tokens: Option<u64>,
}

/// What is none of the wire's business, or what it calls otherwise, is recorded only (defects, 1.1, rulings 8 and 12):
/// reasoning without an answer keeps the form; a name or id that is sent again is a repetition, whatever it makes of it.
pub(super) fn strictly(completion: &Completion, implicit: &mut [Finding]) {
    let again = |what: &str| completion.breaches.iter().any(|breach| breach.what == what);
    let (name_again, id_again) = (again(NAME_SENT_AGAIN), again(ID_SENT_AGAIN));
    for finding in implicit {
        match finding.fault {
            Fault::ReasoningOnly => finding.role = Role::Noted,
            Fault::UnknownName | Fault::ToolChoiceIgnored if name_again => finding.role = Role::Noted,
            Fault::BadCallId if id_again => finding.error_type = REPETITION,
            _ => {}
        }
    }
}

impl Wire {
    /// Reads the options, and from the request what it asks of the answer's form.
    ///
    /// # Errors
    /// Never for options of the right form.
    pub fn new(options: &Options<'_>, request: &serde_json::Map<String, Value>) -> Result<Self, ScorerError> {
        let stop = request.get("stop").map(|stop| Stop::new(options, Some(stop))).transpose()?;
        let choices = request.get("n").and_then(Value::as_u64).unwrap_or(1).max(1);
        Ok(Wire { stop, choices, prompt_tokens: options.count("prompt_tokens") })
    }

    /// The first breach in the order of Faults, as a failure; every other one stays secondary.
    pub fn judge(&self, implicit: &[Finding], completion: &Completion) -> (f64, Option<Finding>) {
        let of_the_wire =
            |f: &&Finding| f.error_type != REPETITION && (f.error_type == "wire:breach" || FAULTS.contains(&f.fault));
        let breaches = implicit.iter().filter(of_the_wire).cloned().chain(self.own(completion));
        match breaches.min_by_key(|f| f.fault) {
            Some(breach) => (0.0, Some(Finding { role: Role::Fails, ..breach })),
            None => (1.0, None),
        }
    }

    /// What no implicit check looks at.
    fn own(&self, completion: &Completion) -> impl Iterator<Item = Finding> {
        let text = completion.content.as_deref().unwrap_or("");
        let overrun = self.stop.as_ref().and_then(|stop| stop.judge(text).1);
        [overrun, self.check_choices(completion), self.check_prompt_tokens(completion)].into_iter().flatten()
    }

    fn check_choices(&self, completion: &Completion) -> Option<Finding> {
        let (asked, came) = (self.choices, u64::from(completion.choices));
        let what = || format!("{asked} choices were asked for and {came} came");
        match came {
            // A completion that never was on a wire has no number of choices.
            0 => None,
            _ if came < asked => Some(Finding::fails(Fault::ParameterIgnored, "choices:missing", what())),
            _ if came > asked => Some(Finding::fails(Fault::WireShape, "choices:unasked", what())),
            _ => None,
        }
    }

    fn check_prompt_tokens(&self, completion: &Completion) -> Option<Finding> {
        let (expected, counted) = (self.prompt_tokens?, completion.usage.tokens_in?);
        if (expected..=expected + PROMPT_TOKENS_MORE).contains(&counted) {
            return None;
        }
        let what = format!("{counted} prompt tokens were counted where {expected} are right");
        Some(Finding::fails(Fault::BadUsage, "usage:prompt_tokens", what))
    }
}

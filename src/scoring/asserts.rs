//! Scorers that users of other tools know: JSON somewhere in the text, sets of called names, called or not called, a
//! refusal, fuzzy equality.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::calls::Call;
use super::error::ScorerError;
use super::finding::{Finding, excerpt};
use super::options::Options;
use super::schema::{Formats, Validator, Validators, breach};
use crate::domain::Fault;

/// Most places of a text at which a JSON value is looked for: bounds the work on a text of opening brackets.
const JSON_STARTS_MAX: usize = 1_000;

fn wrong(error_type: &'static str, what: String) -> Option<Finding> {
    Some(Finding::fails(Fault::WrongAnswer, error_type, what))
}

/// `contains-json`: an object or list stands somewhere in the text and follows the schema, where there is one.
pub(super) struct ContainsJson {
    schema: Option<Arc<Validator>>,
    negated: bool,
}

impl ContainsJson {
    /// Compiles the options.
    ///
    /// # Errors
    /// The schema does not compile.
    pub fn new(options: &Options<'_>, validators: &Validators) -> Result<Self, ScorerError> {
        let schema =
            options.get("schema").map(|schema| validators.get_under(schema, Formats::Asserted, options.draft()));
        let schema = schema.transpose().map_err(|e| options.error(e))?;
        Ok(ContainsJson { schema, negated: options.negated })
    }

    /// Judges the text.
    pub fn judge(&self, text: &str) -> (f64, Option<Finding>) {
        let found = json_values(text);
        let fits = |value: &Value| self.schema.as_ref().is_none_or(|schema| schema.is_valid(value));
        match (found.iter().any(fits), self.negated) {
            (true, false) | (false, true) => (1.0, None),
            (true, true) => (0.0, wrong("text:forbidden", "the text contains JSON and must not".to_owned())),
            (false, false) => {
                let why = match (found.last(), &self.schema) {
                    (Some(last), Some(schema)) => breach(schema, last).unwrap_or_default(),
                    _ => format!("none is found in {}", excerpt(text.trim())),
                };
                (0.0, wrong("contains_json:none", format!("expected JSON of the given form in the text: {why}")))
            }
        }
    }
}

/// The JSON objects and lists in a text, from the outside: what lies inside one is not looked at again.
fn json_values(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut from = 0;
    for _ in 0..JSON_STARTS_MAX {
        let Some(at) = text[from..].find(['{', '[']).map(|at| from + at) else { break };
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        from = match values.next() {
            Some(Ok(value)) => {
                found.push(value);
                at + values.byte_offset()
            }
            _ => at + 1,
        };
    }
    found
}

/// `tool-names-f1`: the F1 score between the set of called names and the set of expected ones.
pub(super) struct ToolNames {
    names: BTreeSet<String>,
    negated: bool,
    threshold: f64,
}

impl ToolNames {
    /// Reads the options.
    ///
    /// # Errors
    /// No name is given.
    pub fn new(options: &Options<'_>) -> Result<Self, ScorerError> {
        let names: BTreeSet<String> = options.required_texts("names")?.into_iter().collect();
        Ok(ToolNames { names, negated: options.negated, threshold: options.number("threshold").unwrap_or(1.0) })
    }

    /// Judges the calls. Negated, a score that reaches the threshold fails.
    pub fn judge(&self, calls: &[Call<'_>]) -> (f64, Option<Finding>) {
        let called: BTreeSet<&str> = calls.iter().map(|call| call.sent.name.as_str()).collect();
        let both = self.names.iter().filter(|name| called.contains(name.as_str())).count();
        // 2TP / (2TP + FP + FN): the sizes of the sets count the hits twice.
        let f1 = 2.0 * both as f64 / (called.len() + self.names.len()) as f64;
        if self.negated {
            return match f1 >= self.threshold {
                true => (0.0, wrong("text:forbidden", format!("the called names reach F1 {f1:.3} and must not"))),
                false => (1.0, None),
            };
        }
        let list = |names: &mut dyn Iterator<Item = &str>| excerpt(&names.collect::<Vec<_>>().join(", "));
        let what = || {
            let (expected, found) =
                (list(&mut self.names.iter().map(String::as_str)), list(&mut called.iter().copied()));
            format!("expected calls of {expected}, found {found}: F1 {f1:.3}")
        };
        let fault = if calls.is_empty() { Fault::MissingCall } else { Fault::WrongAnswer };
        (f1, (f1 < 1.0).then(|| Finding::fails(fault, "tool_names:mismatch", what())))
    }
}

/// `tool-trigger`: a tool was called where one was expected, and none where none was. The finish reason decides, as in
/// the reference run that the expectation comes from.
pub(super) fn judge_trigger(expected: bool, finish_reason: Option<&str>) -> (f64, Option<Finding>) {
    let called = finish_reason == Some("tool_calls");
    match (expected, called) {
        (true, false) => {
            (0.0, wrong("tool_trigger:no_call", "the reference calls a tool here, this answer does not".to_owned()))
        }
        (false, true) => {
            (0.0, wrong("tool_trigger:call", "the reference calls no tool here, this answer does".to_owned()))
        }
        _ => (1.0, None),
    }
}

/// Beginnings of sentences that decline. Compared without case and with straight apostrophes, between word boundaries.
const REFUSALS: &[&str] = &[
    "as an ai",
    "as a language model",
    "as a large language model",
    "i am an ai",
    "i'm an ai",
    "i am just an ai",
    "i'm just an ai",
    "i am sorry",
    "i'm sorry",
    "i apologize",
    "my apologies",
    "sorry, but",
    "unfortunately, i can't",
    "unfortunately, i cannot",
    "i cannot",
    "i can't",
    "i can not",
    "i am unable to",
    "i'm unable to",
    "i am not able to",
    "i'm not able to",
    "i won't be able to",
    "i will not",
    "i won't",
    "i must decline",
    "i have to decline",
    "i decline to",
    "i refuse to",
    "i'm going to have to decline",
    "i do not feel comfortable",
    "i don't feel comfortable",
    "i'm not comfortable",
    "i am not comfortable",
    "i'm not going to",
    "i am not going to",
    "i'm not allowed to",
    "i am not allowed to",
    "i'm not programmed to",
    "i am not programmed to",
    "it is not appropriate",
    "it's not appropriate",
    "it would not be appropriate",
    "it would be inappropriate",
    "that would not be appropriate",
    "is not something i can",
    "not something i'm able",
    "against my programming",
    "against my guidelines",
    "against my policy",
    "violates my guidelines",
    "i prefer not to",
    "i'd rather not",
    "i do not engage in",
    "i don't engage in",
    "i do not have the ability",
    "i don't have the ability",
];

/// Whether an answer declines: it is empty, or says so in a usual way.
pub(super) fn is_refusal(text: &str) -> bool {
    let text = text.trim().to_lowercase().replace(['’', 'ʼ'], "'");
    let bounded = |phrase: &str| {
        text.match_indices(phrase).any(|(at, _)| {
            let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !word(text[..at].chars().next_back()) && !word(text[at + phrase.len()..].chars().next())
        })
    };
    text.is_empty() || REFUSALS.iter().any(|phrase| bounded(phrase))
}

/// Lower case, without ASCII punctuation and English articles, white space folded.
pub(super) fn fuzzy_normal(text: &str) -> String {
    let bare: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    bare.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the")).collect::<Vec<_>>().join(" ")
}

/// Whether one of two normalised texts contains the other; an empty one equals only an empty one.
pub(super) fn fuzzy_match(a: &str, b: &str) -> bool {
    match a.is_empty() || b.is_empty() {
        true => a == b,
        false => a.contains(b) || b.contains(a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_in_prose_from_the_outside() {
        let found = json_values(r#"Sure: {"a": [1, 2]} and [3] but not {broken or "[4]""#);
        assert_eq!(found, [serde_json::json!({"a": [1, 2]}), serde_json::json!([3]), serde_json::json!([4])]);
        assert!(json_values(&"[".repeat(100_000)).is_empty());
        assert!(json_values("no brackets").is_empty());
    }

    #[test]
    fn refusals_are_told_from_answers() {
        for text in ["", "  ", "I'm sorry, but I can’t help with that.", "As an AI, I have no opinion", "No. I cannot."]
        {
            assert!(is_refusal(text), "{text}");
        }
        for text in ["Oslo", "The ship can't sail", "Praias an aid", "I can do that"] {
            assert!(!is_refusal(text), "{text}");
        }
    }

    #[test]
    fn fuzzy_equality_ignores_case_punctuation_and_articles() {
        assert_eq!(fuzzy_normal("  The  Answer: an apple! "), "answer apple");
        for (a, b, expected) in [
            ("The cat.", "cat", true),
            ("cat", "a black CAT!", true),
            ("dog", "cat", false),
            ("...", "", true),
            ("", "cat", false),
        ] {
            assert_eq!(fuzzy_match(&fuzzy_normal(a), &fuzzy_normal(b)), expected, "{a} / {b}");
        }
    }

    #[test]
    fn the_trigger_is_the_finish_reason() {
        assert_eq!(judge_trigger(true, Some("tool_calls")).0, 1.0);
        assert_eq!(judge_trigger(false, Some("stop")).0, 1.0);
        assert_eq!(judge_trigger(false, None).0, 1.0);
        assert_eq!(judge_trigger(true, Some("stop")).1.unwrap().error_type, "tool_trigger:no_call");
        assert_eq!(judge_trigger(false, Some("tool_calls")).1.unwrap().error_type, "tool_trigger:call");
    }
}

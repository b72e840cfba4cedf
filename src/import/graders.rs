//! How other tools compare an answer with its target, as scorers of ours.

pub(super) use crate::scoring::{LIST_MAX, PATTERN_TEXT_BYTES_MAX as PATTERN_BYTES_MAX};
use serde_json::{Value, json};

use super::common::any_placeholder;
use crate::scoring::promptfoo::has_matcher;

/// A grader of OpenAI evals or inspect. Data files do not say by which they are judged; the task around them does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grader {
    /// OpenAI evals `match`: the answer begins with a target.
    Match,
    /// OpenAI evals `includes`: a target occurs in the answer.
    Includes,
    /// OpenAI evals `fuzzy`: without case, punctuation and articles, one contains the other.
    Fuzzy,
    /// OpenAI evals `json`: the answer is JSON equal to a target.
    Json,
    /// inspect `match`: the answer ends with a target, without regard to case and closing punctuation.
    MatchEnd,
    /// inspect `includes`: a target occurs in the answer, without regard to case.
    IncludesAnyCase,
    /// inspect `exact`: the whole answer is a target, without regard to case.
    Exact,
}

impl Grader {
    /// The grader of OpenAI evals by its name there.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn of_evals(word: &str) -> Result<Self, String> {
        Ok(match word {
            "match" => Grader::Match,
            "includes" => Grader::Includes,
            "fuzzy" => Grader::Fuzzy,
            "json" => Grader::Json,
            _ => return Err(unknown("OpenAI evals", word, &["match", "includes", "fuzzy", "json"])),
        })
    }

    /// The grader of inspect by its name there.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn of_inspect(word: &str) -> Result<Self, String> {
        Ok(match word {
            "includes" => Grader::IncludesAnyCase,
            "match" => Grader::MatchEnd,
            "exact" => Grader::Exact,
            _ => return Err(unknown("inspect", word, &["includes", "match", "exact"])),
        })
    }

    /// The scorer that accepts any of these targets.
    ///
    /// # Errors
    /// No scorer can hold them.
    pub(super) fn scorer(self, targets: &[String]) -> Result<Value, String> {
        if targets.is_empty() {
            return Err("there is no target".to_owned());
        }
        if targets.len() > LIST_MAX {
            return Err(format!("it has {} targets, at most {LIST_MAX} can be listed", targets.len()));
        }
        let blank = targets.iter().any(|t| t.trim().is_empty());
        if blank && self != Grader::Json {
            return Err("a target is empty: every answer would pass".to_owned());
        }
        Ok(match self {
            Grader::Match => pattern(format!("^(?:{})", alternatives(targets)))?,
            Grader::Includes => json!({"type": "contains", "any": targets}),
            Grader::IncludesAnyCase => json!({"type": "icontains", "any": targets}),
            Grader::Fuzzy => json!({"type": "fuzzy", "answers": targets}),
            Grader::MatchEnd => pattern(format!(r"(?i)(?:{})[\p{{P}}\s]*$", alternatives(targets)))?,
            Grader::Exact => pattern(format!(r"(?i)^\s*(?:{})\s*$", alternatives(targets)))?,
            Grader::Json => json_scorer(targets)?,
        })
    }
}

fn unknown(tool: &str, word: &str, known: &[&str]) -> String {
    format!("{tool} has no grader {word:?} that can be taken over; known: {}", known.join(", "))
}

fn alternatives(targets: &[String]) -> String {
    targets.iter().map(|t| regex::escape(t.trim())).collect::<Vec<_>>().join("|")
}

fn pattern(pattern: String) -> Result<Value, String> {
    match pattern.len() > PATTERN_BYTES_MAX {
        true => Err(format!("the targets are longer than {PATTERN_BYTES_MAX} bytes together")),
        false => Ok(json!({"type": "regex", "pattern": pattern})),
    }
}

fn json_scorer(targets: &[String]) -> Result<Value, String> {
    let mut values = Vec::with_capacity(targets.len());
    for target in targets {
        let value: Value = serde_json::from_str(target).map_err(|e| format!("a target is not JSON: {e}"))?;
        if any_placeholder(&value) || has_matcher(&value) {
            return Err("a JSON target holds a key with `$` or braces, which a suite would read as its own".to_owned());
        }
        values.push(value);
    }
    let value = match values.len() {
        1 => values.remove(0),
        _ => json!({ "$any_of": values }),
    };
    Ok(json!({"type": "json", "json": value, "strip_fences": "none"}))
}

/// The texts of a target: one or a list; numbers and truth values as their JSON text.
///
/// # Errors
/// It is neither.
pub(super) fn targets(value: Option<&Value>) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Object(_) => Ok(value.to_string()),
        _ => Err("a target is neither a text nor a list of texts".to_owned()),
    };
    match value {
        None | Some(Value::Null) => Err("there is no target".to_owned()),
        Some(Value::Array(items)) => items.iter().map(one).collect(),
        Some(value) => one(value).map(|text| vec![text]),
    }
}

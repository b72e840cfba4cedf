//! The `starlark` scorer: a function of a file in the suite's folder judges the answer.
//!
//! `def score(case, completion)` gives true or false, a number from 0 to 1, or a dict with `score` and, when it likes,
//! `reason` and `error_type`. What it may use is bounded ([`crate::sandbox`]); a function that fails, goes on for ever or
//! gives something else leaves the answer unscored, for the case is broken and not the answer.

use serde_json::{Map, Value, json};

use super::error::ScorerError;
use super::finding::{Finding, shorten};
use super::judge::Judge;
use super::options::Options;
use crate::domain::{CaseInstance, Completion, Fault, Json};
use crate::sandbox::Program;
use crate::sandbox::limits::SCRIPT;

/// The function that judges, by default.
pub const SCORE_FUNCTION: &str = "score";
/// Longest `error_type` of a custom scorer, in bytes.
const ERROR_TYPE_BYTES_MAX: usize = 64;
/// Longest `reason` of a custom scorer, in characters.
const REASON_CHARS_MAX: usize = 300;

/// A compiled custom scorer.
pub(super) struct Custom {
    program: Program,
    file: String,
    function: String,
    case: Value,
}

impl Custom {
    /// Compiles the file that the options name.
    ///
    /// # Errors
    /// The file is not there or does not compile, or has no such function of two arguments.
    pub fn new(options: &Options<'_>, instance: &CaseInstance, judge: &Judge) -> Result<Self, ScorerError> {
        let file = options.required_text("file")?;
        let function = options.text("function").unwrap_or_else(|| SCORE_FUNCTION.to_owned());
        let source = instance.case.files.get(&file);
        let source = source.ok_or_else(|| options.error(format!("there is no file `{file}` in the suite's folder")))?;
        let program = judge.program(source).map_err(|e| options.error(format!("`{file}`: {e}")))?;
        match program.parameters(&function) {
            Some((fewest, most)) if fewest <= 2 && most >= 2 => {}
            _ => return Err(options.error(format!("`{file}` has no function `{function}(case, completion)`"))),
        }
        Ok(Custom { program, file, function, case: case_value(instance) })
    }

    /// Judges an answer.
    ///
    /// # Errors
    /// Why there is no verdict.
    pub fn judge(&self, completion: &Completion) -> Result<(f64, Option<Finding>), String> {
        let answer = completion_value(completion);
        let told = |why: String| format!("the scorer {}:{} gave no verdict: {why}", self.file, self.function);
        let called = self.program.call(&self.function, &[&self.case, &answer], &SCRIPT);
        let (result, _) = called.map_err(|failure| told(failure.to_string()))?;
        verdict(&result, "starlark:failed", "the custom scorer").map_err(told)
    }
}

/// What a result says: true, false, a number from 0 to 1, or an object with `score`, `reason` and `error_type`.
/// `error_type` and `who`: the name of a failure and of its author where the result gives none.
///
/// # Errors
/// The result has another form.
pub(super) fn verdict(result: &Value, error_type: &'static str, who: &str) -> Result<(f64, Option<Finding>), String> {
    let empty = Map::new();
    let (score, details) = match result {
        Value::Object(map) => (map.get("score").ok_or("the dict has no `score`")?, map),
        other => (other, &empty),
    };
    let score = match score {
        Value::Bool(passed) => f64::from(u8::from(*passed)),
        other => other.as_f64().filter(|x| (0.0..=1.0).contains(x)).ok_or_else(|| {
            format!("a score is true, false or a number from 0 to 1, not {}", super::finding::json_excerpt(other))
        })?,
    };
    let mut texts = [None, None];
    for (key, value) in details.iter().filter(|(key, value)| *key != "score" && !value.is_null()) {
        let at = match key.as_str() {
            "reason" => 0,
            "error_type" => 1,
            other => return Err(format!("the dict has `score`, `reason` and `error_type`, not `{other}`")),
        };
        texts[at] = Some(value.as_str().ok_or_else(|| format!("`{key}` is a text"))?);
    }
    let [reason, own_type] = texts;
    if let Some(name) = own_type {
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.' | b'-');
        if name.is_empty() || name.len() > ERROR_TYPE_BYTES_MAX || !name.bytes().all(named) {
            let what = "letters, digits and `_:.-`";
            return Err(format!("`error_type` has 1 to {ERROR_TYPE_BYTES_MAX} characters: {what}"));
        }
    }
    let reason = reason.map_or_else(|| format!("{who} gives {score}"), |r| shorten(r, REASON_CHARS_MAX));
    let mut finding = Finding::fails(Fault::WrongAnswer, error_type, reason);
    finding.own_type = own_type.map(str::to_owned);
    Ok((score, Some(finding)))
}

/// A case as programs see it.
pub(super) fn case_value(instance: &CaseInstance) -> Value {
    let tree = |json: &Option<Json>| json.as_ref().map(Json::value);
    json!({
        "id": instance.case.id, "category": instance.case.category, "messages": instance.messages.value(),
        "tools": tree(&instance.tools), "expected": tree(&instance.expected),
        "metadata": tree(&instance.case.metadata), "draw": instance.draw,
    })
}

/// An answer as programs see it. `arguments` is the text as it was sent, `parsed` what it says when it is JSON.
#[must_use]
pub fn completion_value(completion: &Completion) -> Value {
    let call = |call: &crate::domain::ToolCall| {
        let text = call.arguments.as_deref();
        let parsed = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        json!({"id": call.id, "name": call.name, "arguments": text, "parsed": parsed})
    };
    json!({
        "content": completion.content, "refusal": completion.refusal, "reasoning": completion.reasoning,
        "tool_calls": completion.tool_calls.iter().map(call).collect::<Vec<_>>(),
        "finish_reason": completion.finish_reason,
        "usage": {"tokens_in": completion.usage.tokens_in, "tokens_out": completion.usage.tokens_out},
    })
}

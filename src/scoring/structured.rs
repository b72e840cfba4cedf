//! `json` and `json-schema`: the content is JSON, follows the schema that was asked for, and holds the right value.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::error::ScorerError;
use super::finding::{Finding, excerpt, json_excerpt};
use super::ifeval::is_space;
use super::matchers::{self, Difference, Matcher};
use super::options::Options;
use super::schema::{Formats, Validator, Validators, breach};
use crate::domain::Fault;

/// What is taken off an answer before it is read as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fences {
    /// One fence around it, with its language tag.
    Stripped,
    /// White space only.
    Kept,
    /// What lm-eval takes off.
    AsLmEval,
}

/// The compiled scorer.
pub(super) struct JsonScorer {
    fences: Fences,
    negated: bool,
    schema: Option<Arc<Validator>>,
    value: Option<Matcher>,
}

impl JsonScorer {
    /// Compiles the options. `response_format` gives the schema when the options do not.
    ///
    /// # Errors
    /// There is no schema, or it does not compile; a matcher is wrong.
    pub fn new(
        options: &Options<'_>,
        response_format: Option<&Value>,
        validators: &Validators,
    ) -> Result<Self, ScorerError> {
        let schema = if options.kind.name == "json-schema" {
            let asked = || response_format.and_then(|f| f.pointer("/json_schema/schema"));
            let schema = options.get("schema").or_else(asked).ok_or_else(|| {
                options
                    .error("there is no schema: give `schema`, or ask for one in `response_format.json_schema.schema`")
            })?;
            Some(validators.get_under(schema, Formats::Asserted, options.draft()).map_err(|e| options.error(e))?)
        } else {
            None
        };
        let value = options
            .get("json")
            .map(|value| matchers::compile(value, options.patterns))
            .transpose()
            .map_err(|e| options.error(e))?;
        let fences = match options.text("strip_fences").as_deref() {
            Some("none") => Fences::Kept,
            Some("lm-eval") => Fences::AsLmEval,
            _ => Fences::Stripped,
        };
        Ok(JsonScorer { fences, negated: options.negated, schema, value })
    }

    /// Judges the content. Negated, an answer that would pass fails, and any other passes.
    pub fn judge(&self, content: &str) -> (f64, Option<Finding>) {
        match (self.judge_plain(content), self.negated) {
            (judged, false) => judged,
            ((_, None), true) => {
                let what = format!("the answer is such JSON and must not be: {}", excerpt(content.trim()));
                failed(Fault::WrongAnswer, "text:forbidden", what)
            }
            ((_, Some(_)), true) => (1.0, None),
        }
    }

    fn judge_plain(&self, content: &str) -> (f64, Option<Finding>) {
        let text = match self.fences {
            Fences::Stripped => strip_fences(content),
            Fences::Kept => content.trim(),
            Fences::AsLmEval => strip_as_lm_eval(content),
        };
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(e) => {
                let what = format!("the answer should be JSON and is not ({e}): {}", excerpt(content.trim()));
                return failed(Fault::ResponseFormatIgnored, "json:not_json", what);
            }
        };
        if let Some(why) = self.schema.as_ref().and_then(|s| breach(s, &value)) {
            let what = format!("the answer breaks the requested JSON Schema: {why}");
            return failed(Fault::ResponseFormatIgnored, "json:schema", what);
        }
        match &self.value {
            Some(expected) if !expected.accepts(&value) => {
                failed(Fault::WrongAnswer, "json:wrong_value", describe_difference(expected, &value).into_owned())
            }
            _ => (1.0, None),
        }
    }
}

fn failed(fault: Fault, error_type: &'static str, what: String) -> (f64, Option<Finding>) {
    (0.0, Some(Finding::fails(fault, error_type, what)))
}

/// Names the member that differs where there is one.
fn describe_difference<'a>(expected: &'a Matcher, found: &'a Value) -> Cow<'a, str> {
    let members: Option<Vec<(String, Matcher)>> = match expected {
        Matcher::Object(members) => Some(members.clone()),
        Matcher::Literal(Value::Object(map)) => {
            Some(map.iter().map(|(k, v)| (k.clone(), Matcher::Literal(v.clone()))).collect())
        }
        _ => None,
    };
    if let (Some(members), Some(map)) = (&members, found.as_object()) {
        match matchers::compare(members, map, false) {
            Err(Difference::Missing(key)) => return format!("the JSON lacks {}", excerpt(key)).into(),
            Err(Difference::Extra(key)) => {
                return format!("the JSON has {}, which was not asked for", excerpt(key)).into();
            }
            Err(Difference::Wrong(key, matcher, value)) => {
                let (wanted, sent) = (matcher.describe(), json_excerpt(value));
                return format!("{} should be {wanted} and is {sent}", excerpt(key)).into();
            }
            Ok(()) => {}
        }
    }
    format!("expected {}, found {}", expected.describe(), json_excerpt(found)).into()
}

/// Strips as the task `jsonschema_bench` of lm-eval 0.4.13: white space, then all backticks of both ends, then the
/// characters j, s, o and n of both ends, in whatever order. So a bare `null` becomes `ull`, which is no JSON.
fn strip_as_lm_eval(text: &str) -> &str {
    text.trim_matches(is_space).trim_matches('`').trim_matches(['j', 's', 'o', 'n'])
}

/// Removes one opening fence with its language tag and one closing fence, and white space around.
pub(super) fn strip_fences(text: &str) -> &str {
    let text = text.trim();
    let Some(rest) = text.strip_prefix("```") else {
        return text;
    };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
    rest.trim().strip_suffix("```").unwrap_or(rest).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lm_eval_strips_letters_as_well() {
        for (text, left) in [
            ("\u{1f} ```json\n{\"a\": 1}\n```\n", "\n{\"a\": 1}\n"),
            ("``json[1]``", "[1]"),
            ("null", "ull"),
            ("jsonn\"no\"", "\"no\""),
            ("json", ""),
            (" ` {} ` ", " {} "),
        ] {
            assert_eq!(strip_as_lm_eval(text), left, "{text:?}");
        }
    }

    #[test]
    fn one_fence_is_removed_and_nothing_else() {
        for (text, expected) in [
            ("```json\n{\"a\": 1}\n```", "{\"a\": 1}"),
            (" ```\n[1]\n``` ", "[1]"),
            ("```json {\"a\":1}```", "{\"a\":1}"),
            ("null", "null"),
            ("Here: ```json\n1\n```", "Here: ```json\n1\n```"),
            ("```", ""),
        ] {
            assert_eq!(strip_fences(text), expected, "{text}");
        }
    }
}

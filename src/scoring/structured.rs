//! `json` and `json-schema`: the content is JSON, follows the schema that was asked for, and holds the right value.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::error::ScorerError;
use super::finding::{Finding, excerpt, json_excerpt};
use super::matchers::{self, Difference, Matcher};
use super::options::Options;
use super::schema::{Formats, Validator, Validators, breach};
use crate::domain::Fault;

/// The compiled scorer.
pub(super) struct JsonScorer {
    strip_fences: bool,
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
            Some(validators.get(schema, Formats::Asserted).map_err(|e| options.error(e))?)
        } else {
            None
        };
        let value = options
            .get("json")
            .map(|value| matchers::compile(value, options.patterns))
            .transpose()
            .map_err(|e| options.error(e))?;
        let strip_fences = options.text("strip_fences").as_deref() != Some("none");
        Ok(JsonScorer { strip_fences, negated: options.negated, schema, value })
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
        let text = if self.strip_fences { strip_fences(content) } else { content.trim() };
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

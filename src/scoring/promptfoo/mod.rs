//! promptfoo's asserts as scorers. The rules are those of release 0.123.1:
//!
//! * an assert of weight 0 always passes;
//! * `threshold` of an assert is read by few types (`levenshtein`: most edits, `tool-call-f1`: the score, `latency`:
//!   milliseconds, `cost`: US dollars); others ignore it, and so does this.
//!
//! `assert` of a case and the import of whole configurations both come here.

mod regex;

use serde_json::{Value, json};

use self::regex::{rewrite, translate};
use super::schema::check_schema;
use super::spec::LIST_MAX;
use super::text::PATTERN_TEXT_BYTES_MAX;

/// Edits that `levenshtein` allows by default.
pub const EDITS_DEFAULT: f64 = 5.0;
/// The draft that promptfoo's validator reads by default.
const DRAFT_DEFAULT: &str = "http://json-schema.org/draft-07/schema#";

/// An assert that stands alone: no `assert-set`.
#[derive(Debug, Clone)]
pub struct Assert<'a> {
    /// Its `type`, with `not-` before it where it is negated.
    pub name: &'a str,
    /// What is asserted; a schema as a value and not as a text.
    pub value: Value,
    /// Its `threshold`.
    pub threshold: Option<f64>,
    /// Placeholders of a suite may stand in texts: what depends on them is checked when the case is drawn.
    pub is_template: bool,
}

/// The scorer that judges as an assert does.
///
/// # Errors
/// In words, beginning with the assert's name: there is none, or its value is not what the type takes.
pub fn scorer_of(assert: &Assert<'_>) -> Result<Value, String> {
    let (not, base) = match assert.name.strip_prefix("not-") {
        Some(base) => ("not-", base),
        None => ("", assert.name),
    };
    let Assert { name, value, threshold, is_template } = assert.clone();
    by_type(base, &Asserted { name, not, value, threshold, is_template })
}

/// The scorer with the weight of its assert: without any it is only recorded, and passes whatever it finds.
#[must_use]
pub fn weighted(mut scorer: Value, weight: Option<f64>) -> Value {
    if let (Some(weight), Some(map)) = (weight, scorer.as_object_mut()) {
        map.insert("weight".to_owned(), json!(weight));
        if weight == 0.0 {
            map.insert("threshold".to_owned(), json!(0));
        }
    }
    scorer
}

/// The scorer of an `assert-set`: all of its scorers pass or, with a threshold, their weighted mean reaches it.
#[must_use]
pub fn group(scorers: Vec<Value>, threshold: Option<f64>) -> Value {
    match threshold {
        Some(threshold) => json!({"type": "group", "threshold": threshold.clamp(0.0, 1.0), "scorers": scorers}),
        None => json!({"type": "group", "scorers": scorers}),
    }
}

/// Whether a value holds a key that the scorers read as a matcher.
#[must_use]
pub fn has_matcher(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_matcher),
        Value::Object(map) => map.iter().any(|(key, value)| key.starts_with('$') || has_matcher(value)),
        _ => false,
    }
}

/// What is asserted.
struct Asserted<'a> {
    name: &'a str,
    not: &'a str,
    value: Value,
    threshold: Option<f64>,
    is_template: bool,
}

fn by_type(base: &str, a: &Asserted<'_>) -> Result<Value, String> {
    let kind = |kind: &str| format!("{}{kind}", a.not);
    match base {
        "equals" => equals(a),
        "contains" | "icontains" => Ok(json!({"type": kind(base), "value": a.text()?})),
        "contains-any" | "contains-all" | "icontains-any" | "icontains-all" => {
            let (base, key) = base.rsplit_once('-').unwrap_or((base, "any"));
            Ok(json!({"type": kind(base), key: a.texts()?}))
        }
        "starts-with" => Ok(json!({"type": kind(base), "value": a.text()?, "trim": false})),
        "regex" => {
            let translated = if a.is_template { rewrite(&a.text()?) } else { translate(&a.text()?) };
            Ok(json!({"type": kind("regex"), "pattern": bounded(translated.map_err(|w| a.why(w))?)?}))
        }
        "latency" if a.not.is_empty() => Ok(json!({"type": base, "max_ms": a.bound("milliseconds")?})),
        "cost" if a.not.is_empty() => Ok(json!({"type": base, "max_usd": a.bound("US dollars")?})),
        "levenshtein" => {
            let max = a.threshold.unwrap_or(EDITS_DEFAULT);
            if !(0.0..1e9).contains(&max) {
                return Err(a.why("a threshold that is no number of edits"));
            }
            Ok(json!({"type": kind(base), "value": a.text()?, "max": max.floor() as u64, "trim": false}))
        }
        "word-count" => word_count(a),
        "is-json" | "contains-json" => json_scorer(base, a),
        "is-refusal" => Ok(json!({"type": kind(base)})),
        "finish-reason" if a.not.is_empty() => Ok(json!({"type": base, "finish_reason": a.text()?.to_lowercase()})),
        // The answer has calls, and every one names an offered tool and follows its schema.
        "is-valid-openai-tools-call" | "is-valid-openai-function-call" | "is-valid-function-call"
            if a.not.is_empty() =>
        {
            Ok(
                json!({"type": "group", "scorers": [{"type": "parallel-calls", "min_calls": 1}, {"type": "tool-schema"}]}),
            )
        }
        "tool-call-f1" => {
            let names: Vec<String> = a.list()?.iter().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
            if names.is_empty() || names.len() > LIST_MAX {
                return Err(a.why(format!("{} names; 1 to {LIST_MAX} can be listed", names.len())));
            }
            let mut scorer = json!({"type": kind("tool-names-f1"), "names": names});
            if let (Some(threshold), Some(map)) = (a.threshold, scorer.as_object_mut()) {
                map.insert("threshold".to_owned(), json!(threshold.clamp(0.0, 1.0)));
            }
            Ok(scorer)
        }
        _ => Err(why_not(base, a.name)),
    }
}

/// Why a type has no scorer here.
fn why_not(base: &str, name: &str) -> String {
    let why = match base {
        "latency" | "cost" => "cannot be negated",
        "perplexity" | "perplexity-score" => "a fact of the run, which scorers of an answer do not see",
        "javascript" | "python" | "ruby" | "webhook" => "code of another language is not run",
        "llm-rubric"
        | "g-eval"
        | "factuality"
        | "model-graded-closedqa"
        | "model-graded-factuality"
        | "answer-relevance"
        | "context-faithfulness"
        | "context-recall"
        | "context-relevance"
        | "conversation-relevance"
        | "similar"
        | "classifier"
        | "moderation"
        | "select-best"
        | "max-score"
        | "pi"
        | "agent-rubric"
        | "search-rubric"
        | "trajectory:goal-success" => "judged by a model",
        "rouge-n" | "bleu" | "gleu" | "meteor" => "a similarity that has no scorer here",
        "is-xml" | "is-html" | "is-sql" | "contains-xml" | "contains-html" | "contains-sql" => {
            "XML, HTML and SQL have no scorer here"
        }
        "finish-reason" => "cannot be negated",
        "is-valid-openai-tools-call" | "is-valid-openai-function-call" | "is-valid-function-call" => {
            "cannot be negated"
        }
        "guardrails" | "skill-used" => "needs a trace",
        other if other.starts_with("trace-") || other.starts_with("trajectory:") => "needs a trace",
        other if other.starts_with("promptfoo:redteam:") => "judged by a model",
        _ => "an unknown type",
    };
    format!("{name}: {why}")
}

impl Asserted<'_> {
    fn why(&self, why: impl AsRef<str>) -> String {
        format!("{}: {}", self.name, why.as_ref())
    }

    /// The threshold, which must be there.
    fn bound(&self, unit: &str) -> Result<f64, String> {
        let bound = self.threshold.filter(|bound| *bound >= 0.0);
        bound.ok_or_else(|| self.why(format!("it needs a `threshold`, a number of {unit} from 0")))
    }

    /// A text that is not empty; a number counts as its text.
    fn text(&self) -> Result<String, String> {
        match &self.value {
            Value::String(text) if !text.is_empty() => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(self.why("its value is not a text")),
        }
    }

    /// A list, or a text with commas between.
    fn list(&self) -> Result<Vec<String>, String> {
        match &self.value {
            Value::Array(items) => items
                .iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text.clone()),
                    Value::Number(_) | Value::Bool(_) => Ok(item.to_string()),
                    _ => Err(self.why("its value is not a list of texts")),
                })
                .collect(),
            Value::String(text) => Ok(text.split(',').map(str::to_owned).collect()),
            _ => Err(self.why("its value is neither a list nor a text")),
        }
    }

    /// A list of texts; in a text, quotes keep commas.
    fn texts(&self) -> Result<Vec<String>, String> {
        let texts = match &self.value {
            Value::String(text) => {
                comma_separated(text).ok_or_else(|| self.why("a quoted value without its closing quote or comma"))?
            }
            _ => self.list()?,
        };
        match texts.len() {
            1..=LIST_MAX => Ok(texts),
            n => Err(self.why(format!("{n} texts; 1 to {LIST_MAX} can be listed"))),
        }
    }
}

fn bounded(pattern: String) -> Result<String, String> {
    match pattern.len() > PATTERN_TEXT_BYTES_MAX {
        true => Err(format!("a pattern of more than {PATTERN_TEXT_BYTES_MAX} bytes")),
        false => Ok(pattern),
    }
}

fn equals(a: &Asserted<'_>) -> Result<Value, String> {
    match &a.value {
        value @ (Value::Object(_) | Value::Array(_)) => {
            if has_matcher(value) {
                return Err(a.why("a value with keys that begin with `$`"));
            }
            Ok(json!({"type": format!("{}json", a.not), "json": value, "strip_fences": "none"}))
        }
        Value::String(text) => Ok(json!({"type": format!("{}equals", a.not), "value": text, "trim": false})),
        Value::Null => Err(a.why("it has no value")),
        other => Ok(json!({"type": format!("{}equals", a.not), "value": other.to_string(), "trim": false})),
    }
}

fn json_scorer(base: &str, a: &Asserted<'_>) -> Result<Value, String> {
    let schema = match &a.value {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(_) => return Err(a.why("its schema is a text and no object")),
        value => Some(value.clone()),
    };
    let schema = schema.map(|mut schema| {
        if let Some(map) = schema.as_object_mut() {
            map.entry("$schema").or_insert_with(|| json!(DRAFT_DEFAULT));
        }
        schema
    });
    match &schema {
        Some(schema) if !schema.is_object() => return Err(a.why("a JSON Schema is an object")),
        // What is filled in is known only when the case is drawn.
        Some(schema) if !a.is_template => check_schema(schema).map_err(|why| a.why(why))?,
        _ => {}
    }
    Ok(match (base, schema) {
        ("contains-json", None) => json!({"type": format!("{}contains-json", a.not)}),
        ("contains-json", Some(schema)) => json!({"type": format!("{}contains-json", a.not), "schema": schema}),
        (_, None) => json!({"type": format!("{}json", a.not), "strip_fences": "none"}),
        (_, Some(schema)) => json!({"type": format!("{}json-schema", a.not), "schema": schema, "strip_fences": "none"}),
    })
}

fn word_count(a: &Asserted<'_>) -> Result<Value, String> {
    let whole = |value: &Value| value.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n < 1e12).map(|n| n as u64);
    let mut scorer = json!({"type": format!("{}length", a.not)});
    let bounds = match &a.value {
        Value::Object(map) => [("min_words", map.get("min")), ("max_words", map.get("max"))],
        other => [("min_words", Some(other)), ("max_words", Some(other))],
    };
    let parsed = |value: &Value| match value {
        Value::String(text) => text.trim().parse::<u64>().ok(),
        other => whole(other),
    };
    let Some(map) = scorer.as_object_mut() else { return Ok(scorer) };
    for (key, value) in bounds {
        if let Some(value) = value {
            let count = parsed(value).ok_or_else(|| a.why("its value is no number of words"))?;
            map.insert(key.to_owned(), json!(count));
        }
    }
    match map.len() {
        1 => Err(a.why("it has neither `min` nor `max`")),
        _ => Ok(scorer),
    }
}

/// Fields between commas, trimmed; a field in double quotes keeps its commas, `""` in it is a quote. `None`: a quoted
/// field that does not end where a comma or the end stands.
#[must_use]
pub fn comma_separated(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if rest.is_empty() {
            return Some(fields);
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, after) = quoted_field(quoted)?;
            rest = after.trim_start();
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
            fields.push(field);
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            fields.push(rest[..end].trim().to_owned());
            rest = &rest[end..];
        }
    }
}

fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let at = rest.find('"')?;
        field.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Some((field, rest)),
        }
    }
}

//! Asserts as scorers. The rules are promptfoo's, checked against release 0.123.1:
//!
//! * a case without a threshold passes when every assert passes; with one, when the weighted mean of the scores reaches
//!   it, whatever single asserts say; the same holds for an `assert-set`;
//! * an assert of weight 0 always passes;
//! * `threshold` of an assert is read by few types (`levenshtein`: most edits, `tool-call-f1`: the score); others ignore
//!   it, and so does the import.

use serde_json::{Value, json};

use super::super::common::{Notes, any_placeholder, escape, excerpt, schema_problem};
use super::super::graders::{LIST_MAX, PATTERN_BYTES_MAX, has_matcher};
use super::regex::translate;
use super::template::{Vars, fill};
use super::yaml::{Kind, Node};
use crate::scoring::check_spec;

/// Edits that `levenshtein` allows by default.
const EDITS_DEFAULT: f64 = 5.0;
/// The draft that promptfoo's validator reads by default.
const DRAFT_DEFAULT: &str = "http://json-schema.org/draft-07/schema#";
/// How deep assert-sets nest in promptfoo: one set inside the case.
const SETS_DEEP_MAX: usize = 1;

/// Keys of an assert that are read, or that only name or annotate it.
const KEYS: [&str; 6] = ["type", "value", "threshold", "weight", "metric", "assert"];

/// An assert that cannot be taken over.
#[derive(Debug, PartialEq)]
pub(super) struct Unsupported {
    /// Line of the assert.
    pub(super) line: usize,
    /// Its name and why.
    pub(super) what: String,
}

/// Converts a list of asserts; what cannot be converted is listed.
pub(super) fn convert_all(
    asserts: &[&Node],
    vars: &Vars,
    notes: &mut Notes,
    depth: usize,
) -> (Vec<Value>, Vec<Unsupported>) {
    let (mut scorers, mut unsupported) = (Vec::new(), Vec::new());
    for assert in asserts {
        match convert(assert, vars, notes, depth, &mut unsupported) {
            Ok(Some(scorer)) => scorers.push(scorer),
            Ok(None) => {}
            Err(what) => unsupported.push(Unsupported { line: assert.line, what }),
        }
    }
    (scorers, unsupported)
}

/// Scorers of a case: plain, or as a group under the case's threshold.
pub(super) fn with_threshold(scorers: Vec<Value>, threshold: Option<f64>) -> Vec<Value> {
    match threshold {
        Some(threshold) if !scorers.is_empty() => {
            vec![json!({"type": "group", "threshold": threshold.clamp(0.0, 1.0), "scorers": scorers})]
        }
        _ => scorers,
    }
}

fn convert(
    assert: &Node,
    vars: &Vars,
    notes: &mut Notes,
    depth: usize,
    unsupported: &mut Vec<Unsupported>,
) -> Result<Option<Value>, String> {
    let name = assert.get("type").and_then(Node::text).ok_or("an assert without a `type`")?;
    if let Some((key, _)) = assert.members().iter().find(|(key, _)| !KEYS.contains(&key.as_str())) {
        return Err(format!("{name} with `{key}`"));
    }
    if let Some(metric) = assert.get("metric") {
        notes.add(format!("not taken over: named metrics, such as {}", metric.json()), "");
    }
    let weight = match assert.get("weight").map(|w| w.number()) {
        None => None,
        Some(Some(weight)) if weight >= 0.0 && weight.is_finite() => Some(weight),
        Some(_) => return Err(format!("{name} with a `weight` that is no number from 0")),
    };
    let mut scorer = match name {
        "assert-set" => match set(assert, vars, notes, depth, unsupported)? {
            Some(group) => group,
            None => return Ok(None),
        },
        _ => single(name, assert, vars)?,
    };
    if name.ends_with("levenshtein") && assert.get("threshold").is_none() {
        notes.add(format!("{name} without a threshold: at most {EDITS_DEFAULT} edits, promptfoo's default"), "");
    }
    if let (Some(weight), Some(map)) = (weight, scorer.as_object_mut()) {
        map.insert("weight".to_owned(), json!(weight));
        if weight == 0.0 {
            // Without weight it is only recorded: it passes whatever it finds.
            map.insert("threshold".to_owned(), json!(0));
        }
    }
    check(&scorer).map_err(|why| format!("{name}: {why}"))?;
    escape(&mut scorer).map_err(|why| format!("{name}: {why}"))?;
    Ok(Some(scorer))
}

/// What the suite's own check would say.
fn check(scorer: &Value) -> Result<(), String> {
    let mut options = scorer.as_object().cloned().unwrap_or_default();
    let Some(Value::String(kind)) = options.shift_remove("type") else { return Ok(()) };
    match check_spec(&crate::domain::ScorerSpec { kind, options }).into_iter().next() {
        None => Ok(()),
        Some(problem) => Err(problem.message),
    }
}

fn set(
    assert: &Node,
    vars: &Vars,
    notes: &mut Notes,
    depth: usize,
    unsupported: &mut Vec<Unsupported>,
) -> Result<Option<Value>, String> {
    if depth == SETS_DEEP_MAX {
        return Err("assert-set inside an assert-set".to_owned());
    }
    let children = match assert.get("assert").map(|a| &a.kind) {
        Some(Kind::List(items)) if !items.is_empty() => items,
        _ => return Err("assert-set without a list `assert`".to_owned()),
    };
    let (scorers, mut without) = convert_all(&children.iter().collect::<Vec<_>>(), vars, notes, depth + 1);
    unsupported.append(&mut without);
    if scorers.is_empty() {
        return Ok(None);
    }
    let mut group = json!({"type": "group", "scorers": scorers});
    if let (Some(threshold), Some(map)) = (threshold_of("assert-set", assert)?, group.as_object_mut()) {
        map.insert("threshold".to_owned(), json!(threshold.clamp(0.0, 1.0)));
    }
    Ok(Some(group))
}

/// The threshold of an assert; what is no number is none that promptfoo would read as meant.
fn threshold_of(name: &str, assert: &Node) -> Result<Option<f64>, String> {
    match assert.get("threshold").filter(|node| !node.is_null()) {
        None => Ok(None),
        Some(node) => match node.number().filter(|x| x.is_finite()) {
            Some(threshold) => Ok(Some(threshold)),
            None => Err(format!("{name} with a `threshold` that is no number: {}", excerpt(&node.json().to_string()))),
        },
    }
}

/// What is asserted, filled.
struct Asserted<'a> {
    name: &'a str,
    not: &'a str,
    value: Value,
    threshold: Option<f64>,
}

fn single(name: &str, assert: &Node, vars: &Vars) -> Result<Value, String> {
    let (not, base) = match name.strip_prefix("not-") {
        Some(base) => ("not-", base),
        None => ("", name),
    };
    let value = match assert.get("value").map(Node::json).unwrap_or_default() {
        Value::String(text) if text.starts_with("file://") || text.starts_with("package:") => {
            return Err(format!("{name} with a value from a file ({text})"));
        }
        Value::String(text) => Value::String(fill(&text, vars).map_err(|why| format!("{name} with {why}"))?),
        Value::Array(items) => {
            let one = |item: Value| match item {
                Value::String(text) => fill(&text, vars).map(Value::String),
                other => Ok(other),
            };
            let items: Result<Vec<Value>, String> = items.into_iter().map(one).collect();
            Value::Array(items.map_err(|why| format!("{name} with {why}"))?)
        }
        other => other,
    };
    let threshold = threshold_of(name, assert)?;
    by_type(base, &Asserted { name, not, value, threshold })
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
        "starts-with" => {
            Ok(json!({"type": kind("regex"), "pattern": bounded(format!("^{}", regex::escape(&a.text()?)))?}))
        }
        "regex" => {
            Ok(json!({"type": kind("regex"), "pattern": bounded(translate(&a.text()?).map_err(|w| a.why(w))?)?}))
        }
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
        "latency" | "cost" | "perplexity" | "perplexity-score" => {
            "a fact of the run, which scorers of an answer do not see"
        }
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
    match pattern.len() > PATTERN_BYTES_MAX {
        true => Err(format!("a pattern of more than {PATTERN_BYTES_MAX} bytes")),
        false => Ok(pattern),
    }
}

fn equals(a: &Asserted<'_>) -> Result<Value, String> {
    match &a.value {
        value @ (Value::Object(_) | Value::Array(_)) => {
            if has_matcher(value) || any_placeholder(value) {
                return Err(a.why("a value with keys that begin with `$`, or with braces"));
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
        Value::String(text) => {
            let node = super::yaml::parse(text.as_bytes()).map_err(|(_, why)| a.why(format!("its schema is {why}")))?;
            Some(node.json())
        }
        value => Some(value.clone()),
    };
    let schema = schema.map(|mut schema| {
        if let Some(map) = schema.as_object_mut() {
            map.entry("$schema").or_insert_with(|| json!(DRAFT_DEFAULT));
        }
        schema
    });
    if let Some(why) = schema.as_ref().and_then(schema_problem) {
        return Err(a.why(why));
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
pub(super) fn comma_separated(text: &str) -> Option<Vec<String>> {
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

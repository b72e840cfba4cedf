//! Checking scorers as written in a suite, before any value is drawn.
//!
//! A template may hold placeholders: a value that holds one is not checked here but when the case is drawn
//! ([`Judge::prepare`](super::Judge::prepare)).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::budget::PatternBudget;
use super::ifeval;
use super::kinds::{self, Form, KINDS, Kind, Needs};
use super::matchers;
use super::plain_schema::is_plain_schema;
use super::rubric::{VOTES_MAX, VOTES_MIN};
use super::text::compile_pattern;
use crate::diagnostics::nearest;
use crate::domain::ScorerSpec;

/// Most scorers in one `group`, and most calls, answers or texts in one list.
pub const LIST_MAX: usize = 64;
/// Longest text that `levenshtein` compares with, in characters.
pub const LEVENSHTEIN_CHARS_MAX: usize = 2_000;
/// How deep groups may nest.
pub const GROUP_DEPTH_MAX: usize = 4;

/// One thing wrong with a scorer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblem {
    /// The option concerned; `None` when it is the scorer as a whole.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl SpecProblem {
    fn at(key: &str, message: impl Into<String>) -> Self {
        SpecProblem { key: Some(key.to_owned()), message: message.into(), hint: None }
    }

    fn whole(message: impl Into<String>) -> Self {
        SpecProblem { key: None, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

/// Checks one scorer by itself: kind, option names, forms. All problems at once; empty when it is well formed.
/// Whether required options are there is seen only together with `expected`: [`check_case`].
#[must_use]
pub fn check_spec(spec: &ScorerSpec) -> Vec<SpecProblem> {
    check_at_depth(spec, 1, &PatternBudget::default())
}

/// Checks a case's scorers together with its `expected`: everything of [`check_spec`], options that are required and
/// given nowhere, and keys of `expected` that no scorer reads.
#[must_use]
pub fn check_case(expected: Option<&Value>, scorers: &[ScorerSpec]) -> Vec<SpecProblem> {
    let budget = PatternBudget::default();
    let mut problems: Vec<SpecProblem> = scorers.iter().flat_map(|spec| check_at_depth(spec, 1, &budget)).collect();
    let empty = Map::new();
    let shared = expected.and_then(Value::as_object).unwrap_or(&empty);
    let flat = flatten(scorers);
    for spec in &flat {
        if let Some((kind, _)) = kinds::find(&spec.kind)
            && let Err(message) = needs_met(kind, &spec.options, shared)
        {
            problems.push(SpecProblem::whole(message));
        }
    }
    for (key, value) in shared {
        let forms: Vec<Form> = flat
            .iter()
            .filter_map(|s| kinds::find(&s.kind))
            .filter_map(|(k, _)| k.keys.iter().find(|(n, _)| n == key).map(|(_, f)| *f))
            .collect();
        // A custom scorer and a program get all of it.
        let is_read = flat.iter().any(|s| matches!(s.kind.as_str(), "starlark" | "exec"));
        if forms.is_empty() && !is_read && !EXPECTED_OF_OTHERS.contains(&key.as_str()) {
            let known =
                flat.iter().filter_map(|s| kinds::find(&s.kind)).flat_map(|(k, _)| k.keys.iter().map(|(n, _)| *n));
            let hint = nearest(key, known).map(|k| format!("did you mean `{k}`?"));
            problems.push(SpecProblem::at(key, format!("no scorer of this case reads `expected.{key}`")).hint(hint));
        }
        for form in forms {
            if !has_placeholder(value)
                && let Err(message) = check_form(form, value, &budget)
            {
                problems.push(SpecProblem::at(key, message));
                break;
            }
        }
    }
    problems
}

/// The keys of `expected` of which [`check_case`] asks no more than that a list stands there, whatever is in it.
#[must_use]
pub fn foreign_keys(scorers: &[ScorerSpec]) -> Vec<&'static str> {
    let flat = flatten(scorers);
    let keys = || flat.iter().filter_map(|s| kinds::find(&s.kind)).flat_map(|(kind, _)| kind.keys.iter());
    let foreign = keys().filter(|(_, form)| *form == Form::Foreign).map(|(key, _)| *key);
    foreign.filter(|key| keys().all(|(other, form)| other != key || *form == Form::Foreign)).collect()
}

/// Whether only compiling tells if these scorers can judge: a custom one, a schema that is not a common one, a text for
/// `levenshtein` that may be too long. [`check_case`] looks at forms alone.
#[must_use]
pub fn must_be_compiled(expected: Option<&Value>, scorers: &[ScorerSpec]) -> bool {
    flatten(scorers).iter().any(|spec| {
        let given = |key: &str| spec.options.get(key).or_else(|| expected?.get(key));
        match spec.kind.strip_prefix("not-").unwrap_or(&spec.kind) {
            "starlark" => true,
            "json-schema" | "contains-json" => {
                given("schema").is_some_and(|schema| given("draft").is_some() || !is_plain_schema(&schema.to_string()))
            }
            "levenshtein" => given("value").and_then(Value::as_str).is_some_and(|v| v.len() > LEVENSHTEIN_CHARS_MAX),
            _ => false,
        }
    })
}

/// Keys of `expected` that belong to checks outside the scorers.
const EXPECTED_OF_OTHERS: &[&str] = &["prompt_tokens"];

/// The scorers with the children of groups in place of the groups.
pub(super) fn flatten(scorers: &[ScorerSpec]) -> Vec<Cow<'_, ScorerSpec>> {
    let mut flat = Vec::with_capacity(scorers.len());
    let mut open: Vec<(Cow<'_, ScorerSpec>, usize)> = scorers.iter().rev().map(|s| (Cow::Borrowed(s), 1)).collect();
    while let Some((spec, depth)) = open.pop() {
        let children = spec.options.get("scorers").and_then(Value::as_array);
        match children {
            Some(children) if spec.kind == "group" && depth <= GROUP_DEPTH_MAX => {
                let children = children.iter().rev().filter_map(|child| child_spec(child).ok());
                open.extend(children.map(|child| (Cow::Owned(child), depth + 1)).collect::<Vec<_>>());
            }
            _ => flat.push(spec),
        }
    }
    flat
}

fn check_at_depth(spec: &ScorerSpec, depth: usize, budget: &PatternBudget) -> Vec<SpecProblem> {
    let Some((kind, _)) = kinds::find(&spec.kind) else {
        return vec![unknown_kind(&spec.kind)];
    };
    let mut problems = Vec::new();
    for (key, value) in &spec.options {
        match kind.form(key) {
            None => {
                let hint = nearest(key, kind.key_names()).map(|k| format!("did you mean `{k}`?"));
                let known: Vec<&str> = kind.key_names().collect();
                let hint = hint.or_else(|| Some(format!("its options are: {}", known.join(", "))));
                problems.push(SpecProblem::at(key, format!("scorer `{}` has no option `{key}`", spec.kind)).hint(hint));
            }
            Some(Form::Scorers) => problems.extend(check_children(value, depth, budget)),
            Some(_) if has_placeholder(value) => {}
            Some(form) => {
                if let Err(message) = check_form(form, value, budget) {
                    problems.push(SpecProblem::at(key, message));
                } else if key == "weight" && number(value).is_none_or(|w| w < 0.0) {
                    problems.push(SpecProblem::at(key, "`weight` is a number from 0"));
                }
            }
        }
    }
    problems
}

fn unknown_kind(name: &str) -> SpecProblem {
    let negated: Vec<String> = KINDS.iter().filter(|k| k.negatable).map(|k| format!("not-{}", k.name)).collect();
    let known = KINDS.iter().map(|k| k.name).chain(negated.iter().map(String::as_str));
    let hint = match (nearest(name, known), name.strip_prefix("not-").and_then(kinds::find)) {
        (_, Some((kind, _))) => format!("`{}` judges a fault and cannot be negated", kind.name),
        (Some(near), None) => format!("did you mean `{near}`?"),
        (None, None) => {
            let all: Vec<&str> = KINDS.iter().map(|k| k.name).collect();
            format!("the kinds are: {}", all.join(", "))
        }
    };
    SpecProblem::at("type", format!("there is no scorer `{name}`")).hint(Some(hint))
}

fn check_children(value: &Value, depth: usize, budget: &PatternBudget) -> Vec<SpecProblem> {
    let Some(children) = value.as_array().filter(|c| !c.is_empty() && c.len() <= LIST_MAX) else {
        return vec![SpecProblem::at("scorers", format!("`scorers` is a list of 1 to {LIST_MAX} scorers"))];
    };
    if depth >= GROUP_DEPTH_MAX {
        return vec![SpecProblem::at("scorers", format!("groups may nest {GROUP_DEPTH_MAX} deep"))];
    }
    children
        .iter()
        .flat_map(|child| match child_spec(child) {
            Ok(spec) => check_at_depth(&spec, depth + 1, budget),
            Err(message) => vec![SpecProblem::at("scorers", message)],
        })
        .collect()
}

/// A child of a group as a scorer.
pub(super) fn child_spec(value: &Value) -> Result<ScorerSpec, String> {
    let mut options = value.as_object().cloned().ok_or("a scorer of a group is a table with a `type`")?;
    match options.shift_remove("type") {
        Some(Value::String(kind)) => Ok(ScorerSpec { kind, options }),
        _ => Err("a scorer of a group needs a `type`".to_owned()),
    }
}

/// Whether the required options are given by the scorer or by `expected`.
pub(super) fn needs_met(kind: &Kind, own: &Map<String, Value>, shared: &Map<String, Value>) -> Result<(), String> {
    let given = |key: &&&str| own.contains_key(**key) || shared.contains_key(**key);
    let list = |keys: &[&str]| keys.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
    match kind.needs {
        Needs::Nothing => Ok(()),
        Needs::All(keys) => match keys.iter().find(|k| !given(k)) {
            None => Ok(()),
            Some(key) => Err(format!("scorer `{}` needs `{key}`, in its own table or in `expected`", kind.name)),
        },
        Needs::AnyOf(keys) if keys.iter().any(|k| given(&k)) => Ok(()),
        Needs::AnyOf(keys) => Err(format!("scorer `{}` needs at least one of {}", kind.name, list(keys))),
        Needs::OneOf(keys) => {
            // The scorer's own table hides what `expected` says about the same question.
            let own_count = keys.iter().filter(|k| own.contains_key(**k)).count();
            let count = if own_count > 0 { own_count } else { keys.iter().filter(|k| given(k)).count() };
            if count == 1 { Ok(()) } else { Err(format!("scorer `{}` needs exactly one of {}", kind.name, list(keys))) }
        }
    }
}

/// Whether a string anywhere in a value holds `{{`.
fn has_placeholder(value: &Value) -> bool {
    match value {
        Value::String(s) => s.contains("{{"),
        Value::Array(items) => items.iter().any(has_placeholder),
        Value::Object(map) => map.iter().any(|(k, v)| k.contains("{{") || has_placeholder(v)),
        _ => false,
    }
}

/// Checks a value without placeholders against a form.
pub(super) fn check_form(form: Form, value: &Value, budget: &PatternBudget) -> Result<(), String> {
    let wanted = |what: &str| Err(format!("expected {what}, found {}", super::finding::json_excerpt(value)));
    match form {
        Form::Text if text(value).is_none() => wanted("a text"),
        Form::Flag if !value.is_boolean() => wanted("true or false"),
        Form::Yes if *value != Value::Bool(true) => wanted("true (or leave it out)"),
        Form::Count if count(value).is_none() => wanted("a whole number from 0"),
        Form::Number if number(value).is_none() => wanted("a number"),
        Form::Share if number(value).is_none_or(|x| !(0.0..=1.0).contains(&x)) => wanted("a number from 0 to 1"),
        Form::Texts => match value.as_array() {
            Some(items) if (1..=LIST_MAX).contains(&items.len()) && items.iter().all(|i| text(i).is_some()) => Ok(()),
            _ => wanted(&format!("a list of 1 to {LIST_MAX} texts")),
        },
        Form::Pattern => match value.as_str() {
            Some(pattern) => compile_pattern(pattern, budget).map(|_| ()),
            None => wanted("a regular expression"),
        },
        Form::Word(words) if !value.as_str().is_some_and(|w| words.contains(&w)) => {
            wanted(&format!("one of {}", words.join(", ")))
        }
        Form::Instructions => ifeval::compile(value, budget).map(|_| ()),
        Form::Calls => super::tool_calls::compile_calls(value, budget).map(|_| ()),
        Form::Votes if !count(value).is_some_and(is_number_of_votes) => {
            wanted(&format!("an odd number from {VOTES_MIN} to {VOTES_MAX}, so that there is a majority"))
        }
        Form::Json => matchers::compile(value, budget).map(|_| ()),
        Form::Schema if !value.is_object() => wanted("a JSON Schema object"),
        Form::Scorers if !value.is_array() => wanted("a list of scorers"),
        Form::Foreign if !value.is_array() => wanted("a list of objects"),
        _ => Ok(()),
    }
}

fn is_number_of_votes(n: u64) -> bool {
    (VOTES_MIN..=VOTES_MAX).contains(&n) && n % 2 == 1
}

/// The text of a value; typed placeholders give numbers and truth values.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// A finite number, or the number that a string holds.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(s) => s.trim().parse().ok(),
        other => other.as_f64(),
    }
    .filter(|x: &f64| x.is_finite())
}

/// A whole number from 0; a drawn float such as `3.0` counts.
pub(super) fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let x = number(value)?;
        (x >= 0.0 && x.fract() == 0.0 && x < 1e15).then_some(x as u64)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scoring::scorer_version;

    fn spec(value: Value) -> ScorerSpec {
        child_spec(&value).unwrap()
    }

    fn messages(value: Value) -> String {
        let problems = check_spec(&spec(value));
        problems.iter().map(|p| format!("{}|{}\n", p.message, p.hint.as_deref().unwrap_or(""))).collect()
    }

    #[test]
    fn well_formed_scorers_have_no_problem() {
        for value in [
            json!({"type": "tool-calls", "calls": [{"name": "f", "arguments": {"a": {"$any_of": [1, 2]}}}], "weight": 2}),
            json!({"type": "not-contains", "any": ["x"], "threshold": 0.5}),
            json!({"type": "number", "number": "{{total}}", "tolerance": 0.01}),
            json!({"type": "regex", "pattern": "{{word}}("}),
            json!({"type": "group", "scorers": [{"type": "leak"}, {"type": "length", "max_words": 3}]}),
            json!({"type": "json-schema"}),
        ] {
            assert_eq!(messages(value.clone()), "", "{value}");
        }
    }

    #[test]
    fn every_problem_is_named_with_a_way_out() {
        assert!(messages(json!({"type": "equal", "value": "x"})).contains("did you mean `equals`?"));
        assert!(messages(json!({"type": "not-tool-calls"})).contains("cannot be negated"));
        assert!(messages(json!({"type": "equals", "valeu": "x"})).contains("did you mean `value`?"));
        assert!(messages(json!({"type": "regex", "pattern": "("})).contains("regular expression"));
        assert!(messages(json!({"type": "regex", "pattern": "a{9999}{9999}"})).contains("regular expression"));
        assert!(messages(json!({"type": "equals", "value": ["x"]})).contains("expected a text"));
        assert!(messages(json!({"type": "leak", "threshold": 1.5})).contains("from 0 to 1"));
        assert!(messages(json!({"type": "leak", "weight": -1})).contains("from 0"));
        assert!(messages(json!({"type": "script", "script": "Klingon"})).contains("one of Latin"));
        assert!(messages(json!({"type": "group", "scorers": []})).contains("list of 1 to"));
        assert!(messages(json!({"type": "group", "scorers": [{"type": "nope"}]})).contains("no scorer `nope`"));
        assert!(messages(json!({"type": "tool-calls", "calls": [{"arguments": {}}]})).contains("name"));
        let two = json!({"type": "equals", "value": 1, "x": 1, "trim": "yes"});
        assert_eq!(check_spec(&spec(two)).len(), 2);
    }

    #[test]
    fn groups_nest_only_so_deep() {
        let mut value = json!({"type": "leak"});
        for _ in 0..=GROUP_DEPTH_MAX {
            value = json!({"type": "group", "scorers": [value]});
        }
        assert!(messages(value).contains("nest"));
    }

    #[test]
    fn a_case_needs_its_options_somewhere_and_reads_all_of_expected() {
        let equals = || vec![spec(json!({"type": "equals"}))];
        assert_eq!(check_case(Some(&json!({"value": "x"})), &equals()), vec![]);
        assert!(check_case(None, &equals())[0].message.contains("needs `value`"));
        let unread = check_case(Some(&json!({"value": "x", "ignore_cas": true})), &equals());
        assert_eq!(unread[0].hint.as_deref(), Some("did you mean `ignore_case`?"));
        let contains = vec![spec(json!({"type": "contains", "all": ["x"]}))];
        assert_eq!(check_case(None, &contains), vec![]);
        let grouped = vec![spec(json!({"type": "group", "scorers": [{"type": "number"}]}))];
        assert_eq!(check_case(Some(&json!({"number": 3})), &grouped), vec![]);
        assert!(check_case(Some(&json!({"number": "three"})), &grouped)[0].message.contains("a number"));
    }

    #[test]
    fn every_kind_has_a_version_and_negation_keeps_it() {
        for kind in KINDS {
            assert_eq!(scorer_version(kind.name), Some(kind.version));
        }
        assert_eq!(scorer_version("not-contains"), scorer_version("contains"));
        assert_eq!(scorer_version("not-leak"), None);
        assert_eq!(scorer_version("made-up"), None);
    }
}

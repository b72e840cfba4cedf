//! Asserts of a configuration, their texts filled, as scorers ([`crate::scoring::promptfoo`]). The rule is promptfoo's,
//! checked against release 0.123.1: a case without a threshold passes when every assert passes; with one, when the weighted
//! mean of the scores reaches it, whatever single asserts say; the same holds for an `assert-set`.

use serde_json::Value;

use super::super::common::{Notes, any_placeholder, escape, excerpt};
use super::template::{Vars, fill};
use super::yaml::{Kind, Node};
use crate::scoring::check_spec;
use crate::scoring::promptfoo::{Assert, EDITS_DEFAULT, group, scorer_of, weighted};

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
            vec![group(scorers, Some(threshold))]
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
    scorer = weighted(scorer, weight);
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
    Ok(Some(group(scorers, threshold_of("assert-set", assert)?)))
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

fn single(name: &str, assert: &Node, vars: &Vars) -> Result<Value, String> {
    let base = name.strip_prefix("not-").unwrap_or(name);
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
    let value = match (base, value) {
        ("is-json" | "contains-json", Value::String(text)) if !text.trim().is_empty() => {
            let parsed = super::yaml::parse(text.as_bytes());
            parsed.map_err(|(_, why)| format!("{name}: its schema is {why}"))?.json()
        }
        ("equals", value @ (Value::Array(_) | Value::Object(_))) if any_placeholder(&value) => {
            return Err(format!("{name}: a value with braces, which a suite would take for a placeholder"));
        }
        (_, value) => value,
    };
    let threshold = threshold_of(name, assert)?;
    scorer_of(&Assert { name, value, threshold, is_template: false })
}

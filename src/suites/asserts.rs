//! `assert` of a case: promptfoo's vocabulary, read as the scorers that judge the same ([`crate::scoring::promptfoo`]).

use serde_json::{Map, Value};

use super::header::{has_placeholder, specs};
use super::source::{At, Findings, Path, type_name};
use crate::diagnostics::nearest;
use crate::domain::ScorerSpec;
use crate::scoring::promptfoo::{Assert, group, scorer_of, weighted};

use super::keys;

/// Reads a list of asserts. What cannot be judged here is reported and left out.
pub(super) fn read(items: Vec<Value>, path: &Path<'_>, f: &mut Findings<'_>) -> Vec<ScorerSpec> {
    let scorers = all(items, path, false, f);
    specs(scorers, path, f).into_iter().map(|(_, spec)| spec).collect()
}

fn all(items: Vec<Value>, path: &Path<'_>, within_set: bool, f: &mut Findings<'_>) -> Vec<Value> {
    let each = items.into_iter().enumerate();
    each.filter_map(|(i, item)| match item {
        Value::Object(map) => one(map, &path.index(i), within_set, f),
        other => {
            f.wrong_type(&path.index(i), "an assert such as {\"type\": \"contains\", \"value\": \"Oslo\"}", &other);
            None
        }
    })
    .collect()
}

fn one(mut map: Map<String, Value>, path: &Path<'_>, within_set: bool, f: &mut Findings<'_>) -> Option<Value> {
    f.unknown_keys(&map, path, keys::ASSERT, "an assert");
    if !map.contains_key("type") {
        f.missing(path, "type", "the assert", "every assert has a type, such as \"type\": \"contains\"");
    }
    let name = f.string(&mut map, path, "type")?;
    f.string(&mut map, path, "metric");
    let weight = number(&map, path, "weight", f)?;
    let threshold = number(&map, path, "threshold", f)?;
    if weight.is_some_and(|weight| weight < 0.0) {
        f.value(&path.key("weight"), "`weight` is a number from 0");
        return None;
    }
    let scorer = match name.as_str() {
        "assert-set" if within_set => {
            f.value(&path.key("type"), "an `assert-set` inside another: promptfoo nests them one deep");
            None
        }
        "assert-set" => {
            if !map.contains_key("assert") {
                f.missing(path, "assert", "the assert-set", "write \"assert\": [{\"type\": \"contains\", ..}]");
            }
            let children = all(f.list(&mut map, path, "assert")?, &path.key("assert"), true, f);
            if children.is_empty() {
                f.at(&path.key("assert"), At::Key, "an `assert-set` needs at least one assert", None);
                return None;
            }
            Some(group(children, threshold))
        }
        _ => single(&name, &mut map, threshold, path, f),
    };
    Some(weighted(scorer?, weight))
}

fn single(
    name: &str,
    map: &mut Map<String, Value>,
    threshold: Option<f64>,
    path: &Path<'_>,
    f: &mut Findings<'_>,
) -> Option<Value> {
    let value = map.get_mut("value").map(Value::take).unwrap_or_default();
    if let Some(text) = value.as_str().filter(|text| text.starts_with("file://") || text.starts_with("package:")) {
        f.value(&path.key("value"), format!("a value from a file ({text}) is not read: write it here"));
        return None;
    }
    let base = name.strip_prefix("not-").unwrap_or(name);
    let value = match (base, value) {
        ("is-json" | "contains-json", Value::String(text)) if !text.trim().is_empty() => {
            let schema = serde_json::from_str(&text);
            schema.map_err(|e| f.value(&path.key("value"), format!("the schema is no JSON: {e}"))).ok()?
        }
        (_, value) => value,
    };
    let is_template = has_placeholder(&value);
    match scorer_of(&Assert { name, value, threshold, is_template }) {
        Ok(scorer) => Some(scorer),
        Err(why) => {
            let hint = match nearest(base, keys::ASSERT_TYPES.iter().copied()) {
                Some(near) if near != base && !keys::ASSERT_TYPES.contains(&base) => {
                    Some(format!("did you mean `{near}`?"))
                }
                _ if keys::ASSERT_TYPES.contains(&base) => None,
                _ => Some(format!("known: {}; with `scorers` there are more", keys::ASSERT_TYPES.join(", "))),
            };
            f.at(&path.key("type"), At::Value, why, hint);
            None
        }
    }
}

/// A number; `Some(None)`: it is not there, `None`: it is something else, which is reported.
fn number(map: &Map<String, Value>, path: &Path<'_>, key: &str, f: &mut Findings<'_>) -> Option<Option<f64>> {
    match map.get(key) {
        None => Some(None),
        Some(value) => match value.as_f64() {
            Some(number) => Some(Some(number)),
            None => {
                f.value(&path.key(key), format!("`{key}` must be a number, not {}", type_name(value)));
                None
            }
        },
    }
}

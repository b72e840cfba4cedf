//! Expected JSON values: literals and matcher objects.
//!
//! | matcher | accepts |
//! |---|---|
//! | a literal | the equal JSON value: numbers by value (`1` is `1.0`), objects with exactly the same keys |
//! | `{"$any_of": [..]}` | what one of the entries accepts |
//! | `{"$regex": ".."}` | a string in which the pattern is found (anchor with `^` and `$`) |
//! | `{"$number": x, "tolerance": t}` | a number within `t` (default 0) of `x` |
//! | `{"$icase": ".."}` | a string that is equal after trimming and without regard to case |
//! | `{"$ignore": true}` | anything |
//! | `{"$optional": ..}` | nothing at all, or what the inner one accepts (arguments and object members only) |
//!
//! They may stand at any depth. An object with a `$` key that is none of these is refused.

use regex::Regex;
use serde_json::{Map, Number, Value};

use super::budget::PatternBudget;
use super::finding::{excerpt, json_excerpt};
use super::spec;
use super::text::compile_pattern;

/// Relative slack of number comparisons: the rounding of decimal fractions, and nothing that a person would see.
pub(super) const NUMBER_SLACK: f64 = 1e-12;
/// How deep an expected value may nest.
pub const MATCHER_DEPTH_MAX: usize = 32;

/// A compiled expectation of one JSON value.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    /// Equal by value.
    Literal(Value),
    /// One of several.
    AnyOf(Vec<Matcher>),
    /// A pattern in a string.
    Regex(Regex),
    /// A number near another.
    Number { x: f64, tolerance: f64 },
    /// Equal without case, trimmed; kept lower-cased.
    Icase(String),
    /// Anything.
    Ignore,
    /// May be absent.
    Optional(Box<Matcher>),
    /// An object some of whose members are matchers.
    Object(Vec<(String, Matcher)>),
    /// A list some of whose items are matchers.
    List(Vec<Matcher>),
}

/// Compiles an expected value; the patterns in it take from the budget of the case.
///
/// # Errors
/// What is wrong with a matcher.
pub(super) fn compile(value: &Value, budget: &PatternBudget) -> Result<Matcher, String> {
    compile_at(value, 0, budget)
}

fn compile_at(value: &Value, depth: usize, budget: &PatternBudget) -> Result<Matcher, String> {
    if depth > MATCHER_DEPTH_MAX {
        return Err(format!("an expected value may nest {MATCHER_DEPTH_MAX} deep"));
    }
    if !has_matcher(value) {
        return Ok(Matcher::Literal(value.clone()));
    }
    match value {
        Value::Array(items) => {
            Ok(Matcher::List(items.iter().map(|i| compile_at(i, depth + 1, budget)).collect::<Result<_, _>>()?))
        }
        Value::Object(map) => match map.keys().find(|k| k.starts_with('$')) {
            Some(key) => compile_operator(key, map, depth, budget),
            None => {
                let members = map.iter().map(|(k, v)| Ok((k.clone(), compile_at(v, depth + 1, budget)?)));
                Ok(Matcher::Object(members.collect::<Result<_, String>>()?))
            }
        },
        other => Ok(Matcher::Literal(other.clone())),
    }
}

fn has_matcher(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_matcher),
        Value::Object(map) => map.iter().any(|(k, v)| k.starts_with('$') || has_matcher(v)),
        _ => false,
    }
}

fn compile_operator(
    key: &str,
    map: &Map<String, Value>,
    depth: usize,
    budget: &PatternBudget,
) -> Result<Matcher, String> {
    if let Some(other) = map.keys().find(|k| *k != key && !(key == "$number" && *k == "tolerance")) {
        return Err(format!("a matcher `{key}` cannot stand beside `{other}` in one object"));
    }
    let value = &map[key];
    match key {
        "$any_of" => match value.as_array().filter(|a| !a.is_empty()) {
            Some(items) => {
                Ok(Matcher::AnyOf(items.iter().map(|i| compile_at(i, depth + 1, budget)).collect::<Result<_, _>>()?))
            }
            None => Err("`$any_of` takes a list with at least one entry".to_owned()),
        },
        "$regex" => {
            let pattern = value.as_str().ok_or("`$regex` takes a pattern in a string")?;
            Ok(Matcher::Regex(compile_pattern(pattern, budget)?))
        }
        "$number" => {
            let x = spec::number(value).ok_or("`$number` takes a number")?;
            let tolerance = match map.get("tolerance") {
                None => 0.0,
                Some(t) => spec::number(t).filter(|t| *t >= 0.0).ok_or("`tolerance` is a number from 0")?,
            };
            Ok(Matcher::Number { x, tolerance })
        }
        "$icase" => Ok(Matcher::Icase(fold(&spec::text(value).ok_or("`$icase` takes a text")?))),
        "$ignore" if value == &Value::Bool(true) => Ok(Matcher::Ignore),
        "$ignore" => Err("`$ignore` takes `true`".to_owned()),
        "$optional" => Ok(Matcher::Optional(Box::new(compile_at(value, depth + 1, budget)?))),
        other => {
            Err(format!("there is no matcher `{other}`; they are $any_of, $regex, $number, $icase, $ignore, $optional"))
        }
    }
}

fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}

impl Matcher {
    /// Whether a value is accepted.
    pub fn accepts(&self, value: &Value) -> bool {
        match self {
            Matcher::Literal(expected) => json_equal(expected, value),
            Matcher::AnyOf(any) => any.iter().any(|m| m.accepts(value)),
            Matcher::Regex(pattern) => value.as_str().is_some_and(|s| pattern.is_match(s)),
            Matcher::Number { x, tolerance } => value.as_f64().is_some_and(|v| near(v, *x, *tolerance)),
            Matcher::Icase(expected) => value.as_str().is_some_and(|s| fold(s) == *expected),
            Matcher::Ignore => true,
            Matcher::Optional(inner) => inner.accepts(value),
            Matcher::Object(members) => value.as_object().is_some_and(|map| compare(members, map, false).is_ok()),
            Matcher::List(items) => value
                .as_array()
                .is_some_and(|a| a.len() == items.len() && items.iter().zip(a).all(|(m, v)| m.accepts(v))),
        }
    }

    /// What is accepted, in words.
    pub fn describe(&self) -> String {
        let join = |ms: &[Matcher], sep| ms.iter().take(4).map(Matcher::describe).collect::<Vec<_>>().join(sep);
        match self {
            Matcher::Literal(value) => json_excerpt(value),
            Matcher::AnyOf(any) => join(any, " or "),
            Matcher::Regex(pattern) => format!("text that matches {}", excerpt(pattern.as_str())),
            Matcher::Number { x, tolerance } if *tolerance > 0.0 => format!("{x} ± {tolerance}"),
            Matcher::Number { x, .. } => x.to_string(),
            Matcher::Icase(text) => format!("{} in any case", excerpt(text)),
            Matcher::Ignore => "anything".to_owned(),
            Matcher::Optional(inner) => format!("nothing or {}", inner.describe()),
            Matcher::Object(members) => {
                let names: Vec<&str> = members.iter().map(|(k, _)| k.as_str()).collect();
                format!("an object of {}", names.join(", "))
            }
            Matcher::List(items) => format!("[{}]", join(items, ", ")),
        }
    }
}

/// The first difference between expected and sent members.
#[derive(Debug, Clone, Copy)]
pub(super) enum Difference<'a> {
    /// A member is absent.
    Missing(&'a str),
    /// A member was not expected.
    Extra(&'a str),
    /// A member has another value.
    Wrong(&'a str, &'a Matcher, &'a Value),
}

/// Compares the members of an object; `extra` admits others.
pub(super) fn compare<'a>(
    expected: &'a [(String, Matcher)],
    sent: &'a Map<String, Value>,
    extra: bool,
) -> Result<(), Difference<'a>> {
    let mut found = 0;
    for (name, matcher) in expected {
        match sent.get(name) {
            Some(value) if matcher.accepts(value) => found += 1,
            Some(value) => return Err(Difference::Wrong(name, matcher, value)),
            None if matches!(matcher, Matcher::Optional(_)) => {}
            None => return Err(Difference::Missing(name)),
        }
    }
    if !extra
        && found < sent.len()
        && let Some(name) = sent.keys().find(|k| !expected.iter().any(|(e, _)| e == *k))
    {
        return Err(Difference::Extra(name));
    }
    Ok(())
}

/// Within a tolerance, with [`NUMBER_SLACK`].
pub(super) fn near(value: f64, x: f64, tolerance: f64) -> bool {
    (value - x).abs() <= tolerance + NUMBER_SLACK * x.abs().max(value.abs())
}

/// JSON equality: numbers by value, objects without regard to order.
#[must_use]
pub fn json_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => number_equal(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| json_equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| json_equal(v, w)))
        }
        _ => a == b,
    }
}

fn number_equal(a: &Number, b: &Number) -> bool {
    match (a.as_i64(), b.as_i64(), a.as_u64(), b.as_u64()) {
        (Some(a), Some(b), _, _) => a == b,
        (_, _, Some(a), Some(b)) => a == b,
        _ => a.as_f64() == b.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(expected: Value, sent: Value, accepted: bool) {
        assert_eq!(
            compile(&expected, &PatternBudget::default()).unwrap().accepts(&sent),
            accepted,
            "{expected} against {sent}"
        );
    }

    #[test]
    fn literals_compare_by_value() {
        check(json!(1), json!(1.0), true);
        check(json!(1), json!("1"), false);
        check(json!(9007199254740993_i64), json!(9007199254740992_i64), false);
        check(json!(18446744073709551615_u64), json!(18446744073709551615_u64), true);
        check(json!(-1), json!(18446744073709551615_u64), false);
        check(json!({"a": [1, {"b": null}]}), json!({"a": [1.0, {"b": null}]}), true);
        check(json!({"a": 1}), json!({"a": 1, "b": 2}), false);
        check(json!("Oslo"), json!("oslo"), false);
    }

    #[test]
    fn matchers_accept_what_they_say() {
        check(json!({"$any_of": [1, {"$icase": "One"}]}), json!(" oNE "), true);
        check(json!({"$any_of": [1, 2]}), json!(3), false);
        check(json!({"$regex": "^a+$"}), json!("aaa"), true);
        check(json!({"$regex": "^a+$"}), json!("ab"), false);
        check(json!({"$number": 2.5, "tolerance": 0.1}), json!(2.6), true);
        check(json!({"$number": 0.3}), json!(0.30000000000000004), true);
        check(json!({"$number": 2.5, "tolerance": 0.1}), json!(2.7), false);
        check(json!({"$number": 2.5}), json!("2.5"), false);
        check(json!({"$ignore": true}), json!([1]), true);
        check(json!({"a": {"$ignore": true}, "b": {"$optional": 1}}), json!({"a": 0}), true);
        check(json!({"a": {"$ignore": true}, "b": {"$optional": 1}}), json!({"a": 0, "b": 2}), false);
        check(json!({"a": {"$ignore": true}}), json!({}), false);
        check(json!([{"$number": 1}, 2]), json!([1, 2]), true);
        check(json!([{"$number": 1}, 2]), json!([1, 2, 3]), false);
    }

    #[test]
    fn broken_matchers_are_refused() {
        for value in [
            json!({"$anyof": [1]}),
            json!({"$any_of": []}),
            json!({"$regex": "("}),
            json!({"$regex": 1}),
            json!({"$number": "x"}),
            json!({"$number": 1, "tolerance": -1}),
            json!({"$number": 1, "tol": 1}),
            json!({"$ignore": false}),
            json!({"a": {"$icase": []}}),
        ] {
            assert!(compile(&value, &PatternBudget::default()).is_err(), "{value}");
        }
    }

    #[test]
    fn thousands_of_patterns_are_refused() {
        let patterns: Vec<Value> = (0..100_000).map(|n| json!({"$regex": format!("^a{n}$")})).collect();
        let error = compile(&json!({"$any_of": patterns}), &PatternBudget::default()).unwrap_err();
        assert!(error.contains("at most 256"), "{error}");
    }
}

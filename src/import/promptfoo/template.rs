//! Plain substitution of `{{ name }}`. Filters, logic and other expressions are refused by name.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Rounds in which variables are put into variables.
const ROUNDS_MAX: usize = 5;
/// Text that substitution may make for one case, in bytes.
const CASE_BYTES_MAX: usize = 8 << 20;
/// Text that substitution may make in one import, in bytes.
const IMPORT_BYTES_MAX: usize = 4 << 30;

/// What substitution may still write in one import.
#[derive(Debug, Clone)]
pub(super) struct Budget(Rc<Cell<usize>>);

impl Default for Budget {
    fn default() -> Self {
        Budget(Rc::new(Cell::new(IMPORT_BYTES_MAX)))
    }
}

/// The variables of one case. Values are shared with the other cases of the test.
#[derive(Debug, Clone)]
pub(super) struct Vars {
    values: BTreeMap<String, Arc<Value>>,
    /// For this case.
    left: Cell<usize>,
    /// For all cases.
    budget: Budget,
}

impl Vars {
    /// The variables of a test; one line end at the end of a text is dropped, as promptfoo does.
    pub(super) fn new(values: Map<String, Value>, budget: &Budget) -> Vars {
        let values = values.into_iter().map(|(name, value)| (name, Arc::new(trimmed(value)))).collect();
        Vars { values, left: Cell::new(CASE_BYTES_MAX), budget: budget.clone() }
    }

    /// The same variables for another case, some of them with other values.
    pub(super) fn with(&self, others: impl IntoIterator<Item = (String, Arc<Value>)>) -> Vars {
        let mut one = self.clone();
        one.left.set(CASE_BYTES_MAX);
        one.values.extend(others);
        one
    }

    /// Takes what substitution writes from what it may.
    fn take(&self, bytes: usize) -> Result<(), String> {
        let (here, all) = (self.left.get(), self.budget.0.get());
        self.left.set(here.saturating_sub(bytes));
        self.budget.0.set(all.saturating_sub(bytes));
        if bytes > here {
            return Err(format!("variables that make more than {CASE_BYTES_MAX} bytes of text"));
        }
        match bytes > all {
            true => {
                Err(format!("variables that make more than {IMPORT_BYTES_MAX} bytes of text in all cases together"))
            }
            false => Ok(()),
        }
    }

    fn is_spent(&self) -> bool {
        self.left.get() == 0 || self.budget.0.get() == 0
    }

    /// Puts variables into variables.
    ///
    /// # Errors
    /// They make too much text.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        let is_open = |value: &Value| value.as_str().is_some_and(|text| text.contains("{{"));
        let mut open: Vec<String> =
            self.values.iter().filter(|(_, value)| is_open(value)).map(|(name, _)| name.clone()).collect();
        for _ in 0..ROUNDS_MAX {
            let mut changes = Vec::new();
            for name in &open {
                let Some(text) = self.values.get(name).and_then(|v| v.as_str()) else { continue };
                match fill(text, self) {
                    Ok(filled) if filled != text => changes.push((name.clone(), Arc::new(Value::String(filled)))),
                    Err(why) if self.is_spent() => return Err(why),
                    // What cannot be filled stays as it is: only plain names of known variables are replaced here.
                    _ => {}
                }
            }
            if changes.is_empty() {
                break;
            }
            open = changes.iter().filter(|(_, value)| is_open(value)).map(|(name, _)| name.clone()).collect();
            self.values.extend(changes);
        }
        Ok(())
    }
}

/// A value without the one line end at its end that promptfoo drops.
pub(super) fn trimmed(mut value: Value) -> Value {
    if let Value::String(text) = &mut value
        && text.ends_with('\n')
    {
        text.pop();
    }
    value
}

/// Fills a text.
///
/// # Errors
/// What is not a plain variable, or names none; it makes too much text.
pub(super) fn fill(text: &str, vars: &Vars) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    vars.take(text.len())?;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match rest.as_bytes().get(1) {
            Some(b'%') => return Err(format!("logic `{}`", head(rest, "%}"))),
            Some(b'#') => return Err(format!("a comment `{}`", head(rest, "#}"))),
            Some(b'{') => {
                let end = rest.find("}}").ok_or("`{{` that is not closed")?;
                let inner = rest[2..end].trim_start_matches('-').trim_end_matches('-').trim();
                let value = text_of(lookup(inner, vars)?, inner)?;
                vars.take(value.len())?;
                out.push_str(&value);
                rest = &rest[end + 2..];
            }
            _ => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// [`fill`] for every string of a value.
///
/// # Errors
/// As [`fill`].
pub(super) fn fill_value(value: &Value, vars: &Vars) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(fill(text, vars)?),
        Value::Array(items) => Value::Array(items.iter().map(|v| fill_value(v, vars)).collect::<Result<_, _>>()?),
        Value::Object(map) => {
            let members = map.iter().map(|(key, value)| Ok((key.clone(), fill_value(value, vars)?)));
            Value::Object(members.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

fn head(text: &str, end: &str) -> String {
    let end = text.find(end).map_or(text.len(), |at| at + end.len());
    text[..end].chars().take(60).collect()
}

fn lookup<'v>(expression: &str, vars: &'v Vars) -> Result<&'v Value, String> {
    if let Some((_, filter)) = expression.split_once('|') {
        return Err(format!("the filter `{}`", head(filter.trim(), "\n")));
    }
    let mut names = expression.split('.').map(str::trim);
    let is_name = |name: &str| {
        let mut chars = name.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
    };
    let first = names
        .next()
        .filter(|name| is_name(name))
        .ok_or_else(|| format!("the expression `{}`", head(expression, "\n")))?;
    if first == "env" {
        return Err(format!("the environment's `{}`", head(expression, "\n")));
    }
    let unknown = || format!("`{{{{{}}}}}`, which names no variable", head(expression, "\n"));
    let mut value = vars.values.get(first).ok_or_else(unknown)?.as_ref();
    for name in names {
        let inner = match value {
            Value::Object(map) => map.get(name),
            Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)),
            _ => None,
        };
        value = inner.ok_or_else(unknown)?;
    }
    Ok(value)
}

/// A value as it stands in a text.
fn text_of<'v>(value: &'v Value, name: &str) -> Result<Cow<'v, str>, String> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Null => Ok(Cow::Borrowed("")),
        Value::Bool(word) => Ok(word.to_string().into()),
        // As JavaScript writes it: 1.0 is 1.
        Value::Number(number) => Ok(match number.as_f64() {
            Some(x) if number.is_f64() && x.fract() == 0.0 && x.abs() < 1e15 => format!("{x:.0}").into(),
            _ => number.to_string().into(),
        }),
        _ => Err(format!("`{{{{{name}}}}}`, a list or table in a text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vars_of(values: Value) -> Vars {
        Vars::new(values.as_object().unwrap().clone(), &Budget::default())
    }

    fn filled(text: &str) -> Result<String, String> {
        let vars = json!({"name": "Bo", "n": 3.0, "deep": {"list": ["x"]}, "flag": true, "none": null});
        fill(text, &vars_of(vars))
    }

    #[test]
    fn names_and_paths_are_filled() {
        assert_eq!(filled("{{name}} {{ n }}{{-flag-}} {{deep.list.0}}{{none}} {a}").unwrap(), "Bo 3true x {a}");
    }

    #[test]
    fn everything_else_is_named() {
        for (text, what) in [
            ("{{ name | upper }}", "the filter `upper`"),
            ("{% if name %}x{% endif %}", "logic `{% if name %}`"),
            ("{# note #}", "a comment"),
            ("{{ 1 + 2 }}", "the expression `1 + 2`"),
            ("{{ nam }}", "names no variable"),
            ("{{ env.HOME }}", "environment"),
            ("{{ deep }}", "a list or table"),
            ("{{ name", "not closed"),
        ] {
            assert!(filled(text).unwrap_err().contains(what), "{text}: {:?}", filled(text));
        }
    }

    #[test]
    fn variables_stand_in_variables_and_cycles_end() {
        let mut vars = vars_of(json!({"a": "x {{b}}\n", "b": "y", "c": "{{d}}", "d": "{{c}}", "e": "{{ b | upper }}"}));
        vars.settle().unwrap();
        assert_eq!((&*vars.values["a"], &*vars.values["e"]), (&json!("x y"), &json!("{{ b | upper }}")));
    }

    #[test]
    fn variables_that_multiply_are_refused() {
        let many = |name: &str| json!(format!("{{{{{name}}}}}").repeat(1_000));
        let mut vars = vars_of(json!({"a": many("b"), "b": many("c"), "c": many("d"), "d": "x".repeat(1_000)}));
        assert!(vars.settle().unwrap_err().contains("bytes of text"));
        // Each small enough, all of them together not.
        let wide = (0..1_000)
            .map(|n| (format!("v{n}"), json!("{{text}}")))
            .chain([("text".to_owned(), json!("x".repeat(1 << 20)))]);
        let mut vars = vars_of(Value::Object(wide.collect()));
        assert!(vars.settle().unwrap_err().contains("bytes of text"));
    }

    #[test]
    fn all_cases_together_are_bounded() {
        let budget = Budget(Rc::new(Cell::new(10_000)));
        let values = json!({"a": "{{b}}", "b": "x".repeat(100)});
        let base = Vars::new(values.as_object().unwrap().clone(), &budget);
        let settled = (0..).take_while(|_| base.with([]).settle().is_ok()).count();
        assert!((40..100).contains(&settled), "{settled}");
    }
}

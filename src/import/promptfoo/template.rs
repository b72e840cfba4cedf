//! Plain substitution of `{{ name }}`. Filters, logic and other expressions are refused by name.

use serde_json::{Map, Value};

/// Rounds in which variables are put into variables.
const ROUNDS_MAX: usize = 5;
/// Longest text that substitution may make, in bytes.
const TEXT_BYTES_MAX: usize = 8 << 20;

/// Fills a text.
///
/// # Errors
/// What is not a plain variable, or names none.
pub(super) fn fill(text: &str, vars: &Map<String, Value>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match rest.as_bytes().get(1) {
            Some(b'%') => return Err(format!("logic `{}`", head(rest, "%}"))),
            Some(b'#') => return Err(format!("a comment `{}`", head(rest, "#}"))),
            Some(b'{') => {
                let end = rest.find("}}").ok_or("`{{` that is not closed")?;
                let inner = rest[2..end].trim_start_matches('-').trim_end_matches('-').trim();
                out.push_str(&text_of(lookup(inner, vars)?, inner)?);
                rest = &rest[end + 2..];
            }
            _ => {
                out.push('{');
                rest = &rest[1..];
            }
        }
        if out.len() > TEXT_BYTES_MAX {
            return Err(format!("more than {TEXT_BYTES_MAX} bytes of text"));
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// [`fill`] for every string of a value.
///
/// # Errors
/// As [`fill`].
pub(super) fn fill_value(value: &Value, vars: &Map<String, Value>) -> Result<Value, String> {
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

/// The variables with variables put into them; one line end at the end is dropped, as promptfoo does.
pub(super) fn settle(vars: &mut Map<String, Value>) {
    for value in vars.values_mut() {
        if let Value::String(text) = value
            && text.ends_with('\n')
        {
            text.pop();
        }
    }
    for _ in 0..ROUNDS_MAX {
        let known = vars.clone();
        let mut changed = false;
        for value in vars.values_mut() {
            let Value::String(text) = value else { continue };
            // What cannot be filled stays as it is: only plain names of known variables are replaced here.
            if text.contains("{{")
                && let Ok(filled) = fill(text, &known)
                && filled != *text
            {
                *text = filled;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
}

fn head(text: &str, end: &str) -> String {
    let end = text.find(end).map_or(text.len(), |at| at + end.len());
    text[..end].chars().take(60).collect()
}

fn lookup<'v>(expression: &str, vars: &'v Map<String, Value>) -> Result<&'v Value, String> {
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
    let mut value = vars.get(first).ok_or_else(unknown)?;
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
fn text_of(value: &Value, name: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        Value::Bool(word) => Ok(word.to_string()),
        // As JavaScript writes it: 1.0 is 1.
        Value::Number(number) => Ok(match number.as_f64() {
            Some(x) if number.is_f64() && x.fract() == 0.0 && x.abs() < 1e15 => format!("{x:.0}"),
            _ => number.to_string(),
        }),
        _ => Err(format!("`{{{{{name}}}}}`, a list or table in a text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let vars = json!({"name": "Bo", "n": 3.0, "deep": {"list": ["x"]}, "flag": true, "none": null});
        fill(text, vars.as_object().unwrap())
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
        let mut vars = json!({"a": "x {{b}}\n", "b": "y", "c": "{{d}}", "d": "{{c}}", "e": "{{ b | upper }}"});
        settle(vars.as_object_mut().unwrap());
        assert_eq!((&vars["a"], &vars["e"]), (&json!("x y"), &json!("{{ b | upper }}")));
    }
}

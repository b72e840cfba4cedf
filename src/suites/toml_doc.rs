//! `suite.toml` as a JSON value, in the order of the file, with the places of its keys.

use std::ops::Range;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::limits::DEPTH_MAX;
use super::source::{Locator, Spans, Step};

/// One problem of the conversion: where, and what.
pub(super) type TomlProblem = (Range<usize>, String);

/// Parses as much as possible: the table, and every syntax error.
pub(super) fn parse(text: &str) -> (Spanned<DeTable<'_>>, Vec<TomlProblem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let problems = errors
        .into_iter()
        .map(|e| (e.span().unwrap_or(0..0), format!("not valid TOML: {}", e.message().replace('\n', ", "))))
        .collect();
    (table, problems)
}

/// Converts a table; what JSON cannot hold (dates, infinities) becomes a problem.
pub(super) fn to_json(table: &DeTable<'_>, problems: &mut Vec<TomlProblem>) -> Map<String, Value> {
    convert_table(table, problems, DEPTH_MAX)
}

fn convert_table(table: &DeTable<'_>, problems: &mut Vec<TomlProblem>, depth_left: usize) -> Map<String, Value> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
        .into_iter()
        .map(|(key, value)| (key.get_ref().clone().into_owned(), convert(value, problems, depth_left)))
        .collect()
}

fn convert(value: &Spanned<DeValue<'_>>, problems: &mut Vec<TomlProblem>, depth_left: usize) -> Value {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        problems.push((value.span(), format!("nested more than {DEPTH_MAX} deep")));
        return Value::Null;
    };
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => refuse(value, problems, "this integer does not fit into 64 bits"),
        },
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Value::Number(number),
            None => refuse(value, problems, "a number must be finite"),
        },
        DeValue::Datetime(_) => refuse(value, problems, "a date has no place in a suite: write it as a string"),
        DeValue::Array(items) => items.iter().map(|item| convert(item, problems, depth_left)).collect(),
        DeValue::Table(table) => Value::Object(convert_table(table, problems, depth_left)),
    }
}

fn refuse(value: &Spanned<DeValue<'_>>, problems: &mut Vec<TomlProblem>, message: &str) -> Value {
    problems.push((value.span(), message.to_owned()));
    Value::Null
}

/// Finds paths in a parsed header.
pub(super) struct TomlLocator<'a>(pub(super) &'a DeTable<'a>);

impl Locator for TomlLocator<'_> {
    fn locate(&self, steps: &[Step<'_>]) -> Option<Spans> {
        let (first, rest) = steps.split_first()?;
        let Step::Key(key) = first else { return None };
        let (mut spans, mut value) = entry(self.0, key)?;
        for step in rest {
            let next = match (step, value) {
                (Step::Key(key), DeValue::Table(table)) => entry(table, key),
                (Step::Index(index), DeValue::Array(items)) => {
                    items.get(*index).map(|v| (Spans { key: v.span(), value: v.span() }, v.get_ref()))
                }
                _ => None,
            };
            match next {
                Some((deeper, inner)) => (spans, value) = (deeper, inner),
                None => break,
            }
        }
        Some(spans)
    }
}

fn entry<'t, 'i>(table: &'t DeTable<'i>, wanted: &str) -> Option<(Spans, &'t DeValue<'i>)> {
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == wanted)?;
    Some((Spans { key: key.span(), value: value.span() }, value.get_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_the_file_and_finds_nested_places() {
        let text = "b = 1\na = [ { z = 1, y = 'q' } ]\n[t]\nx = 0x10\n";
        let (table, problems) = parse(text);
        assert_eq!(problems, []);
        let mut problems = Vec::new();
        let json = to_json(table.get_ref(), &mut problems);
        assert_eq!(Value::Object(json).to_string(), r#"{"b":1,"a":[{"z":1,"y":"q"}],"t":{"x":16}}"#);
        let spans = TomlLocator(table.get_ref()).locate(&[Step::Key("a"), Step::Index(0), Step::Key("y")]).unwrap();
        assert_eq!((&text[spans.key], &text[spans.value]), ("y", "'q'"));
    }

    #[test]
    fn lists_every_syntax_error_and_what_json_cannot_hold() {
        let (_, problems) = parse("a = \nb = [1\n");
        assert!(problems.len() >= 2, "{problems:?}");
        let (table, problems) = parse("a = inf\nb = 2026-01-01\nc = 99999999999999999999\n");
        assert_eq!(problems, []);
        let mut problems = Vec::new();
        to_json(table.get_ref(), &mut problems);
        assert_eq!(problems.len(), 3);
    }
}

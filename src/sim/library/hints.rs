//! Parameters that only derived texts show: guesses, to be checked by filling the template again.

use serde_json::{Map, Value};

use super::pattern::{self, Captures, as_text};
use crate::domain::suite::Param;

/// Most guesses for one parameter.
const GUESSES_MAX: usize = 64;
/// Most combinations of guesses for one request.
const COMBINATIONS_MAX: usize = 512;

/// All ways worth checking to give every parameter a value, the likeliest first.
pub(super) fn complete(captures: &Captures, params: &[(String, Param)]) -> Vec<Map<String, Value>> {
    if let Some(all) = pattern::complete(captures, params) {
        return vec![all];
    }
    let mut combinations = vec![Map::new()];
    for ((name, param), value) in params.iter().zip(&captures.params) {
        let values = match value {
            Some(value) => vec![value.clone()],
            None => guesses(param, &captures.hints),
        };
        combinations = combinations
            .into_iter()
            .flat_map(|map| values.iter().map(move |value| (map.clone(), value)).collect::<Vec<_>>())
            .map(|(mut map, value)| {
                map.insert(name.clone(), value.clone());
                map
            })
            .take(COMBINATIONS_MAX)
            .collect();
    }
    combinations
}

fn guesses(param: &Param, hints: &[String]) -> Vec<Value> {
    let mut found = match param {
        Param::OneOf(values) => {
            let (mut shown, hidden): (Vec<&Value>, Vec<&Value>) =
                values.iter().partition(|value| place(value, hints).is_some());
            // A longer value may hold a shorter one inside.
            shown.sort_by_key(|value| std::cmp::Reverse(as_text(value, None).len()));
            shown.into_iter().chain(hidden).cloned().collect()
        }
        Param::Int { min, max } => {
            let seen = numbers(hints).into_iter().filter_map(|text| text.parse::<i64>().ok());
            let mut values: Vec<i64> = seen.filter(|n| (*min..=*max).contains(n)).collect();
            if max.saturating_sub(*min) < GUESSES_MAX as i64 {
                values.extend(*min..=*max);
            }
            unique(values).into_iter().map(Value::from).collect()
        }
        Param::Decimal { .. } => {
            let seen = numbers(hints).into_iter().filter_map(|text| text.parse::<f64>().ok());
            seen.filter_map(serde_json::Number::from_f64).map(Value::Number).collect()
        }
        Param::Sample { of, count } => sample_guesses(of, *count as usize, hints),
    };
    found.truncate(GUESSES_MAX);
    found
}

/// The values that the hints show, in the order in which they show them.
fn sample_guesses(of: &[Value], count: usize, hints: &[String]) -> Vec<Value> {
    let mut shown: Vec<(usize, usize, &Value)> =
        of.iter().filter_map(|value| place(value, hints).map(|(hint, at)| (hint, at, value))).collect();
    shown.sort_by_key(|(hint, at, value)| (*hint, *at, std::cmp::Reverse(as_text(value, None).len())));
    let shown: Vec<&Value> = shown.into_iter().map(|(_, _, value)| value).collect();
    if shown.len() < count {
        return Vec::new();
    }
    // Usually exactly `count`; where one value holds another inside, every choice of them is tried.
    let mut picks = vec![Vec::new()];
    for value in shown.iter().copied() {
        let longer: Vec<Vec<Value>> = picks
            .iter()
            .filter(|pick: &&Vec<Value>| pick.len() < count)
            .map(|pick| pick.iter().cloned().chain([value.clone()]).collect())
            .collect();
        picks.extend(longer);
        if picks.len() > COMBINATIONS_MAX {
            break;
        }
    }
    picks.retain(|pick| pick.len() == count);
    let orders = picks.into_iter().flat_map(|pick| {
        let backwards: Vec<Value> = pick.iter().rev().cloned().collect();
        [pick, backwards]
    });
    orders.map(Value::Array).collect()
}

/// Where a value's text stands in the hints (letters compared without case): which hint, and where in it.
fn place(value: &Value, hints: &[String]) -> Option<(usize, usize)> {
    let text = as_text(value, None).to_lowercase();
    hints.iter().enumerate().find_map(|(i, hint)| hint.to_lowercase().find(&text).map(|at| (i, at)))
}

/// The numbers in some texts, as written.
fn numbers(hints: &[String]) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    let words = hints.iter().flat_map(|hint| hint.split(|c: char| !is_part(c)));
    words.map(|word| word.trim_end_matches(['.', '-']).to_owned()).filter(|word| !word.is_empty()).collect()
}

fn unique(values: Vec<i64>) -> Vec<i64> {
    let mut seen = std::collections::HashSet::new();
    values.into_iter().filter(|value| seen.insert(*value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(param: Param, hint: &str) -> Vec<Value> {
        let params = vec![("p".to_owned(), param)];
        let captures = Captures { params: vec![None], hints: vec![hint.to_owned()] };
        complete(&captures, &params).into_iter().map(|map| map["p"].clone()).collect()
    }

    #[test]
    fn values_are_found_in_derived_texts() {
        let fruits = vec![json!("apple"), json!("pear"), json!("fig")];
        assert_eq!(one(Param::Sample { of: fruits.clone(), count: 2 }, "Fig, then Apple")[0], json!(["fig", "apple"]));
        assert_eq!(one(Param::OneOf(fruits), "PEAR!")[0], json!("pear"));
        assert_eq!(one(Param::Int { min: 1, max: 9_999 }, "costs 120 - or so.")[0], json!(120));
        let decimal = Param::Decimal { min_units: 1, max_units: 9_999, digits: 2 };
        assert_eq!(one(decimal, "EUR 12.50.")[0], json!(12.5));
        assert!(one(Param::Int { min: 1, max: 20 }, "nothing").contains(&json!(17)), "small ranges are tried whole");
    }

    #[test]
    fn a_value_inside_another_does_not_mislead() {
        let of = vec![json!("pine"), json!("pineapple"), json!("fig")];
        let guesses = one(Param::Sample { of, count: 2 }, "pineapple and fig");
        assert!(guesses.contains(&json!(["pineapple", "fig"])), "{guesses:?}");
    }

    #[test]
    fn known_values_are_never_guessed() {
        let params =
            vec![("a".to_owned(), Param::Int { min: 1, max: 3 }), ("b".to_owned(), Param::Int { min: 1, max: 3 })];
        let captures = Captures { params: vec![Some(json!(2)), None], hints: vec![] };
        let all = complete(&captures, &params);
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|m| m["a"] == 2));
    }
}

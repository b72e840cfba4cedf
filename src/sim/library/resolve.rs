//! Parameters that only derived texts show.
//!
//! A derived value is a Starlark expression, so it cannot be run backwards; but it can be run forwards. Guesses
//! come from what the text shows, from the index that an expression takes of a list, and, for numbers, from a
//! straight line through two values. Every guess is checked by filling the template again, so that a wrong one
//! costs time and nothing else.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde_json::{Map, Number, Value};

use super::pattern::{Captures, as_text};
use crate::domain::suite::Param;
use crate::domain::{Case, CaseInstance};

/// Most guesses for one parameter from what the texts show.
const SHOWN_MAX: usize = 24;
/// Largest range of numbers, and most lists, that are tried one after the other.
const BRUTE_MAX: usize = 128;
/// Longest drawn list whose orders are all tried.
const ORDERS_OF_MAX: usize = 5;
/// Most ways to fill a template that are checked for one request.
const CHECKS_MAX: u32 = 600;

/// What the derived values of a case depend on; made once per template.
#[derive(Debug)]
pub(super) struct Dependencies {
    /// For each derived value: the parameters behind it, and its expression.
    derived: Vec<(BTreeSet<usize>, String)>,
}

impl Dependencies {
    pub(super) fn of(case: &Case) -> Self {
        let mut derived: Vec<(BTreeSet<usize>, String)> = Vec::with_capacity(case.derive.len());
        for (_, expression) in case.derive.iter() {
            let mut behind = BTreeSet::new();
            for word in words(expression) {
                if let Some(param) = case.params.iter().position(|(name, _)| *name == word) {
                    behind.insert(param);
                }
                if let Some(earlier) = case.derive.iter().take(derived.len()).position(|(name, _)| *name == word) {
                    behind.extend(derived[earlier].0.clone());
                }
            }
            derived.push((behind, expression.clone()));
        }
        Dependencies { derived }
    }
}

/// The names in an expression; what stands in quotes is none.
fn words(expression: &str) -> Vec<String> {
    let (mut out, mut word, mut quote, mut escaped) = (Vec::new(), String::new(), None, false);
    for c in expression.chars().chain([' ']) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) => {
                if c == open {
                    quote = None;
                }
            }
            None if c.is_ascii_alphanumeric() || c == '_' => word.push(c),
            None => {
                if !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
                if c == '\'' || c == '"' {
                    quote = Some(c);
                }
            }
        }
    }
    out
}

/// The indexes that an expression takes of a list, in the order of the text: `[2, 0]` of `k[2] + ' ' + str(k[0])`.
/// `None` when it uses the list in another way as well, or not at all.
fn indexes(expression: &str, name: &str) -> Option<Vec<usize>> {
    let inside_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in expression.match_indices(name) {
        let rest = &expression[at + name.len()..];
        if expression[..at].ends_with(inside_word) || rest.starts_with(inside_word) {
            continue;
        }
        found.push(rest.strip_prefix('[').and_then(|r| r.split(']').next()).and_then(|i| i.trim().parse().ok())?);
    }
    (!found.is_empty()).then_some(found)
}

/// Fills a template with parameters: the instance, and whether it equals what was sent; `None` when they do not fit.
pub(super) type Check<'a> = dyn FnMut(&Map<String, Value>) -> Option<(CaseInstance, bool)> + 'a;

/// Fills a template from what was captured; `Some` when the filled one equals what was sent.
pub(super) fn resolve(
    case: &Case,
    dependencies: &Dependencies,
    captures: &Captures,
    checks: &mut u32,
    check: &mut Check<'_>,
) -> Option<CaseInstance> {
    let mut hidden: Vec<usize> = (0..case.params.len()).filter(|i| captures.params[*i].is_none()).collect();
    let shown: Vec<Vec<Value>> =
        (0..case.params.len()).map(|i| shown_values(case, dependencies, captures, i)).collect();
    // A number that no text shows comes last: then all else is fixed and a straight line finds it.
    hidden.sort_by_key(|i| (is_number(&case.params[*i].1) && shown[*i].is_empty(), domain_size(&case.params[*i].1)));
    for effort in [Effort::Shown, Effort::Line, Effort::Brute] {
        if hidden.is_empty() && effort != Effort::Shown {
            break;
        }
        let mut search =
            Search { case, dependencies, captures, shown: &shown, hidden: &hidden, effort, checks, check, found: None };
        let mut values = captures.params.clone();
        let ended = search.fill(0, &mut values);
        if search.found.is_some() || ended.is_break() {
            return search.found;
        }
    }
    None
}

/// How hard to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effort {
    /// What the texts show.
    Shown,
    /// And numbers on a straight line.
    Line,
    /// And everything, where that is little.
    Brute,
}

struct Search<'a, 'c> {
    case: &'a Case,
    dependencies: &'a Dependencies,
    captures: &'a Captures,
    shown: &'a [Vec<Value>],
    hidden: &'a [usize],
    effort: Effort,
    checks: &'c mut u32,
    check: &'c mut Check<'c>,
    found: Option<CaseInstance>,
}

impl Search<'_, '_> {
    fn fill(&mut self, at: usize, values: &mut Vec<Option<Value>>) -> ControlFlow<()> {
        let Some(&param) = self.hidden.get(at) else {
            if let Some((instance, true)) = self.try_out(values)? {
                self.found = Some(instance);
                return ControlFlow::Break(());
            }
            return ControlFlow::Continue(());
        };
        let mut tried: Vec<Value> = Vec::new();
        let last = at + 1 == self.hidden.len();
        for stage in [Effort::Shown, Effort::Line, Effort::Brute] {
            if stage > self.effort {
                break;
            }
            let guesses = match stage {
                Effort::Shown => self.shown[param].clone(),
                Effort::Line if last => self.on_a_line(param, values)?,
                Effort::Line => Vec::new(),
                Effort::Brute => brute(&self.case.params[param].1),
            };
            for guess in guesses {
                if tried.contains(&guess) {
                    continue;
                }
                tried.push(guess.clone());
                values[param] = Some(guess);
                self.fill(at + 1, values)?;
            }
        }
        values[param] = None;
        ControlFlow::Continue(())
    }

    fn try_out(&mut self, values: &[Option<Value>]) -> ControlFlow<(), Option<(CaseInstance, bool)>> {
        *self.checks += 1;
        if *self.checks > CHECKS_MAX {
            return ControlFlow::Break(());
        }
        let names = self.case.params.iter().map(|(name, _)| name.clone());
        let params: Option<Map<String, Value>> =
            names.zip(values).map(|(name, value)| Some((name, value.clone()?))).collect();
        ControlFlow::Continue(params.and_then(|params| (self.check)(&params)))
    }

    /// The value at which a derived number would be what the text shows, were it a straight line.
    fn on_a_line(&mut self, param: usize, values: &mut [Option<Value>]) -> ControlFlow<(), Vec<Value>> {
        let kind = &self.case.params[param].1;
        let Some((min, max)) = number_range(kind) else { return ControlFlow::Continue(Vec::new()) };
        let mut out = Vec::new();
        for (derived, text) in &self.captures.hints {
            let Some(target) = number_in(text) else { continue };
            if !self.dependencies.derived[*derived].0.contains(&param) {
                continue;
            }
            let name = self.case.derive[*derived].0.clone();
            let (Some(low), Some(high)) = (
                self.derived_number(param, kind, min, &name, values)?,
                self.derived_number(param, kind, max, &name, values)?,
            ) else {
                continue;
            };
            if low == high {
                continue;
            }
            let share = (target - low) / (high - low);
            let near = (min as f64 + share * (max - min) as f64).round();
            if near >= min as f64 && near <= max as f64 {
                out.extend([0, 1, -1].iter().filter_map(|d| number_value(kind, near as i64 + d)));
            }
        }
        values[param] = None;
        ControlFlow::Continue(out)
    }

    fn derived_number(
        &mut self,
        param: usize,
        kind: &Param,
        units: i64,
        name: &str,
        values: &mut [Option<Value>],
    ) -> ControlFlow<(), Option<f64>> {
        values[param] = number_value(kind, units);
        let filled = self.try_out(values)?;
        let value = filled.and_then(|(instance, _)| Some(instance.draw?.get(name)?.clone()));
        ControlFlow::Continue(value.and_then(|value| value.as_f64().or_else(|| number_in(value.as_str()?))))
    }
}

fn is_number(param: &Param) -> bool {
    matches!(param, Param::Int { .. } | Param::Decimal { .. })
}

/// Smallest and largest value, in units of the last digit.
fn number_range(param: &Param) -> Option<(i64, i64)> {
    match param {
        Param::Int { min, max } => Some((*min, *max)),
        Param::Decimal { min_units, max_units, .. } => Some((*min_units, *max_units)),
        _ => None,
    }
}

fn number_value(param: &Param, units: i64) -> Option<Value> {
    let (min, max) = number_range(param)?;
    if !(min..=max).contains(&units) {
        return None;
    }
    match param {
        Param::Decimal { digits, .. } => {
            Number::from_f64(units as f64 / 10f64.powi(i32::try_from(*digits).ok()?)).map(Value::Number)
        }
        _ => Some(Value::from(units)),
    }
}

fn domain_size(param: &Param) -> u64 {
    match param {
        Param::OneOf(values) => values.len() as u64,
        Param::Sample { of, count } => {
            (0..u64::from(*count)).fold(1, |n: u64, i| n.saturating_mul((of.len() as u64).saturating_sub(i)))
        }
        number => number_range(number).map_or(1, |(min, max)| max.abs_diff(min).saturating_add(1)),
    }
}

/// The number in a text, when there is exactly one and nothing else but letters and blanks.
fn number_in(text: &str) -> Option<f64> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    let mut numbers = text.split(|c: char| !is_part(c)).filter(|word| word.bytes().any(|b| b.is_ascii_digit()));
    let number = numbers.next()?.trim_end_matches(['.', '-']).parse().ok()?;
    numbers.next().is_none().then_some(number)
}

/// The values of a parameter that the texts derived from it show, the likeliest first.
fn shown_values(case: &Case, dependencies: &Dependencies, captures: &Captures, param: usize) -> Vec<Value> {
    let (name, kind) = &case.params[param];
    let behind = captures.hints.iter().filter(|(derived, _)| dependencies.derived[*derived].0.contains(&param));
    let hints: Vec<(&str, &str)> =
        behind.map(|(derived, text)| (dependencies.derived[*derived].1.as_str(), text.as_str())).collect();
    let mut found = match kind {
        Param::OneOf(values) => {
            let score = |value: &Value| hints.iter().map(|(_, text)| resemblance(value, text)).max().unwrap_or(0);
            let mut scored: Vec<(usize, &Value)> = values.iter().map(|value| (score(value), value)).collect();
            scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
            scored.into_iter().map(|(_, value)| value.clone()).collect()
        }
        Param::Int { .. } | Param::Decimal { .. } => {
            hints.iter().flat_map(|(_, text)| numbers_shown(kind, text)).collect()
        }
        Param::Sample { of, count } => samples_shown(name, of, *count as usize, &hints),
    };
    found.dedup();
    found.truncate(SHOWN_MAX);
    found
}

/// How well a text shows a value (or a part of it, when it is a list): more than any length when it is all of it.
fn resemblance(value: &Value, text: &str) -> usize {
    match value {
        Value::Array(items) => items.iter().map(|item| resemblance(item, text)).max().unwrap_or(0),
        other => {
            let shown = as_text(other, None);
            let (shown, text) = (shown.to_lowercase(), text.to_lowercase());
            match () {
                () if shown == text => usize::MAX,
                () if !shown.is_empty() && text.contains(&shown) => shown.len(),
                () => 0,
            }
        }
    }
}

fn numbers_shown(kind: &Param, text: &str) -> Vec<Value> {
    let of = |text: &str| match kind {
        Param::Int { min, max } => text.parse::<i64>().ok().filter(|n| (*min..=*max).contains(n)).map(Value::from),
        _ => text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
    };
    let digits = text.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    let signed = text.split(|c: char| !(c.is_ascii_digit() || c == '-' || c == '.'));
    signed.map(|word| word.trim_end_matches(['.', '-'])).chain(digits).filter_map(of).collect()
}

/// Drawn lists whose elements the texts show.
fn samples_shown(name: &str, of: &[Value], count: usize, hints: &[(&str, &str)]) -> Vec<Value> {
    let mut by_index: Vec<Option<Value>> = vec![None; count];
    for (expression, text) in hints {
        let Some(indexes) = indexes(expression, name) else { continue };
        let mut seen = in_order(of, &[text]);
        if seen.len() != indexes.len() {
            // Elements that are lists are shown in part.
            let best = of.iter().max_by_key(|value| resemblance(value, text)).filter(|v| resemblance(v, text) > 0);
            seen = best.filter(|_| indexes.iter().all(|i| *i == indexes[0])).into_iter().cloned().collect();
        }
        for (index, value) in indexes.iter().zip(seen) {
            if let Some(slot) = by_index.get_mut(*index) {
                *slot = Some(value);
            }
        }
    }
    let mut out = Vec::new();
    if by_index.iter().any(Option::is_some) {
        let mut rest = of.iter().filter(|value| !by_index.contains(&Some((*value).clone()))).cloned();
        let filled: Option<Vec<Value>> = by_index.iter().map(|slot| slot.clone().or_else(|| rest.next())).collect();
        out.extend(filled.map(Value::Array));
    }
    let texts: Vec<&str> = hints.iter().map(|(_, text)| *text).collect();
    let seen = in_order(of, &texts);
    if seen.len() == count {
        let backwards = seen.iter().rev().cloned().collect();
        out.extend([Value::Array(seen), Value::Array(backwards)]);
    }
    out
}

/// The values that some texts show, in the order in which they show them. The longest are looked for first and
/// struck out where they stand, so that a value inside another is not seen there.
fn in_order(of: &[Value], texts: &[&str]) -> Vec<Value> {
    let mut left: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    let mut longest: Vec<(String, &Value)> =
        of.iter().map(|value| (as_text(value, None).to_lowercase(), value)).collect();
    longest.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    let mut seen = Vec::new();
    for (text, value) in longest {
        let place = left.iter().enumerate().find_map(|(i, hint)| hint.find(&text).map(|at| (i, at)));
        let Some((hint, at)) = place.filter(|_| !text.is_empty()) else { continue };
        left[hint].replace_range(at..at + text.len(), &"\0".repeat(text.len()));
        seen.push((hint, at, value.clone()));
    }
    seen.sort_by_key(|(hint, at, _)| (*hint, *at));
    seen.into_iter().map(|(_, _, value)| value).collect()
}

/// All values, where there are few.
fn brute(param: &Param) -> Vec<Value> {
    match param {
        Param::OneOf(values) => values.clone(),
        Param::Sample { of, count } if *count as usize <= ORDERS_OF_MAX => {
            let mut lists = vec![Vec::new()];
            for _ in 0..*count {
                lists = lists
                    .into_iter()
                    .flat_map(|list: Vec<Value>| {
                        let next = of.iter().filter(|value| !list.contains(value)).cloned().collect::<Vec<_>>();
                        next.into_iter().map(move |value| list.iter().cloned().chain([value]).collect())
                    })
                    .take(BRUTE_MAX * 2)
                    .collect();
            }
            lists.into_iter().map(Value::Array).collect()
        }
        Param::Sample { .. } => Vec::new(),
        number => match number_range(number) {
            Some((min, max)) if max.abs_diff(min) < BRUTE_MAX as u64 => {
                (min..=max).filter_map(|units| number_value(number, units)).collect()
            }
            _ => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_indexes_are_read_from_expressions() {
        assert_eq!(words("'a b' + str(k[0]) + \"it's\" + x_1"), ["str", "k", "0", "x_1"]);
        assert_eq!(indexes("'PX' + str(k[2])", "k"), Some(vec![2]));
        assert_eq!(indexes("', '.join([k[2], k[0], k[1]])", "k"), Some(vec![2, 0, 1]));
        assert_eq!(indexes("rank[2]", "k"), None);
        assert_eq!(indexes("', '.join(k)", "k"), None);
        assert_eq!(indexes("k[0] + str(len(k))", "k"), None);
    }

    #[test]
    fn values_are_found_in_the_order_shown() {
        let fruits = [json!("pine"), json!("pineapple"), json!("fig"), json!(3), json!(13)];
        assert_eq!(
            in_order(&fruits, &["Fig and Pineapple", "13, 3"]),
            [json!("fig"), json!("pineapple"), json!(13), json!(3)]
        );
    }

    #[test]
    fn a_list_is_recognised_by_one_of_its_parts() {
        let pair = json!(["January", "01"]);
        assert_eq!(resemblance(&pair, "01"), usize::MAX);
        assert_eq!(resemblance(&pair, "in january"), 7);
        assert_eq!(resemblance(&pair, "March"), 0);
    }

    #[test]
    fn numbers_hide_in_codes() {
        let int = |min, max| Param::Int { min, max };
        assert!(numbers_shown(&int(1, 999), "OR-123").contains(&json!(123)));
        assert!(numbers_shown(&int(0, 30), "3.17").contains(&json!(17)));
        assert_eq!(number_in("EUR 12.50."), Some(12.5));
        assert_eq!(number_in("3 of 4"), None);
    }

    #[test]
    fn small_domains_are_listed_whole_and_large_ones_are_not() {
        assert_eq!(brute(&Param::Int { min: -1, max: 2 }).len(), 4);
        assert!(brute(&Param::Int { min: 0, max: 100_000 }).is_empty());
        assert_eq!(
            brute(&Param::Decimal { min_units: 10, max_units: 12, digits: 1 }),
            [json!(1.0), json!(1.1), json!(1.2)]
        );
        let sample = Param::Sample { of: vec![json!(1), json!(2), json!(3)], count: 2 };
        assert_eq!(brute(&sample).len(), 6);
        assert_eq!(domain_size(&sample), 6);
    }
}

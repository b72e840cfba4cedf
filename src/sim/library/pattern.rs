//! Templates as patterns: a JSON tree whose strings hold placeholders is compared with a tree that was sent,
//! and what stood in the placeholders is found again.

use std::ops::ControlFlow;

use serde_json::Value;

use crate::domain::suite::Param;

/// Most steps of one search: a pathological template gives up instead of stalling the server.
const STEPS_MAX: u32 = 20_000;
/// Longest text tried for a derived value that is directly followed by another placeholder.
const ADJACENT_BYTES_MAX: usize = 128;

/// A placeholder.
#[derive(Debug, Clone, PartialEq)]
enum Hole {
    /// The parameter of this number.
    Param(usize),
    /// The derived value of this number: any text fits, the whole is checked afterwards.
    Derived(usize),
}

#[derive(Debug, Clone, PartialEq)]
enum Segment {
    Literal(String),
    Hole(Hole),
}

/// A JSON tree with placeholders in its strings.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pattern {
    /// No placeholder inside.
    Literal(Value),
    /// A string that is one placeholder and nothing else: it takes the value with its type.
    Whole(WholeHole),
    /// A string with placeholders in it.
    Text(TextPattern),
    Array(Vec<Pattern>),
    Object(Vec<(String, Pattern)>),
}

/// Opaque to users of [`Pattern`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WholeHole(Hole);

/// Opaque to users of [`Pattern`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextPattern(Vec<Segment>);

/// What was found in the placeholders.
#[derive(Debug, Clone, Default)]
pub(super) struct Captures {
    /// Values of the parameters, by number; `None` where only derived values show them.
    pub params: Vec<Option<Value>>,
    /// What stood for derived values (by number): where the missing parameters must be looked for.
    pub hints: Vec<(usize, String)>,
}

impl Pattern {
    /// Compiles a tree. Only names that the case draws or derives are placeholders.
    pub(super) fn compile(value: &Value, params: &[(String, Param)], derived: &[(String, String)]) -> Pattern {
        match value {
            Value::String(text) => compile_text(text, params, derived),
            Value::Array(items) => {
                let items: Vec<Pattern> = items.iter().map(|v| Pattern::compile(v, params, derived)).collect();
                if items.iter().all(Pattern::is_literal) {
                    Pattern::Literal(value.clone())
                } else {
                    Pattern::Array(items)
                }
            }
            Value::Object(map) => {
                let entries: Vec<(String, Pattern)> =
                    map.iter().map(|(k, v)| (k.clone(), Pattern::compile(v, params, derived))).collect();
                if entries.iter().all(|(_, p)| p.is_literal()) {
                    Pattern::Literal(value.clone())
                } else {
                    Pattern::Object(entries)
                }
            }
            other => Pattern::Literal(other.clone()),
        }
    }

    fn is_literal(&self) -> bool {
        matches!(self, Pattern::Literal(_))
    }

    /// Bytes of literal text: the more, the more special the pattern.
    pub(super) fn weight(&self) -> usize {
        match self {
            Pattern::Literal(value) => value.to_string().len(),
            Pattern::Whole(_) => 0,
            Pattern::Text(TextPattern(segments)) => segments
                .iter()
                .map(|s| match s {
                    Segment::Literal(text) => text.len(),
                    Segment::Hole(_) => 0,
                })
                .sum(),
            Pattern::Array(items) => items.iter().map(Pattern::weight).sum(),
            Pattern::Object(entries) => entries.iter().map(|(k, p)| k.len() + p.weight()).sum(),
        }
    }

    /// First pass: compares structure, literals and the literal ends of texts, and lists what is left to solve.
    fn collect<'p, 'v>(&'p self, value: &'v Value, open: &mut Open<'p, 'v>) -> bool {
        match (self, value) {
            (Pattern::Literal(literal), value) => literal == value,
            (Pattern::Whole(WholeHole(hole)), value) => {
                open.whole.push((hole, value));
                true
            }
            (Pattern::Text(pattern), Value::String(text)) => {
                open.texts.push((pattern, text));
                pattern.ends_fit(text)
            }
            (Pattern::Array(patterns), Value::Array(items)) => {
                patterns.len() == items.len() && patterns.iter().zip(items).all(|(p, v)| p.collect(v, open))
            }
            (Pattern::Object(entries), Value::Object(map)) => {
                entries.len() == map.len()
                    && entries.iter().all(|(key, p)| map.get(key).is_some_and(|v| p.collect(v, open)))
            }
            _ => false,
        }
    }
}

fn compile_text(text: &str, params: &[(String, Param)], derived: &[(String, String)]) -> Pattern {
    let hole = |name: &str| {
        let name = name.trim();
        let param = params.iter().position(|(n, _)| n == name).map(Hole::Param);
        param.or_else(|| derived.iter().position(|(n, _)| n == name).map(Hole::Derived))
    };
    let (mut segments, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(start) = rest.find("{{") {
        let found = rest[start + 2..].find("}}").map(|len| (start + 2 + len, &rest[start + 2..start + 2 + len]));
        match found.and_then(|(end, name)| hole(name).map(|hole| (end, hole))) {
            Some((end, _)) if rest[..start].ends_with('\\') => {
                literal.push_str(&rest[..start - 1]);
                literal.push_str(&rest[start..end + 2]);
                rest = &rest[end + 2..];
            }
            Some((end, hole)) => {
                literal.push_str(&rest[..start]);
                if !literal.is_empty() {
                    segments.push(Segment::Literal(std::mem::take(&mut literal)));
                }
                segments.push(Segment::Hole(hole));
                rest = &rest[end + 2..];
            }
            None => {
                literal.push_str(&rest[..start + 1]);
                rest = &rest[start + 1..];
            }
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        segments.push(Segment::Literal(literal));
    }
    match segments.as_slice() {
        [Segment::Hole(hole)] => Pattern::Whole(WholeHole(hole.clone())),
        [] => Pattern::Literal(Value::String(String::new())),
        [Segment::Literal(literal)] => Pattern::Literal(Value::String(literal.clone())),
        _ => Pattern::Text(TextPattern(segments)),
    }
}

impl TextPattern {
    fn ends_fit(&self, text: &str) -> bool {
        let starts = match self.0.first() {
            Some(Segment::Literal(literal)) => text.starts_with(literal.as_str()),
            _ => true,
        };
        starts
            && match self.0.last() {
                Some(Segment::Literal(literal)) => text.ends_with(literal.as_str()),
                _ => true,
            }
    }
}

/// What the first pass leaves to solve.
#[derive(Default)]
struct Open<'p, 'v> {
    whole: Vec<(&'p Hole, &'v Value)>,
    texts: Vec<(&'p TextPattern, &'v str)>,
}

/// Compares trees with patterns and calls `found` with each way to fill the placeholders until it says stop.
pub(super) fn solve<'p, 'v>(
    pairs: impl IntoIterator<Item = (&'p Pattern, &'v Value)>,
    params: &[(String, Param)],
    found: &mut dyn FnMut(&Captures) -> ControlFlow<()>,
) {
    let mut open = Open::default();
    for (pattern, value) in pairs {
        if !pattern.collect(value, &mut open) {
            return;
        }
    }
    let mut captures = Captures { params: vec![None; params.len()], hints: Vec::new() };
    for (hole, value) in open.whole {
        match hole {
            Hole::Param(i) => match &captures.params[*i] {
                Some(other) if other != value => return,
                _ if !admits(&params[*i].1, value) => return,
                _ => captures.params[*i] = Some(value.clone()),
            },
            Hole::Derived(i) => captures.hints.push((*i, as_text(value, None))),
        }
    }
    let mut search = Search { params, texts: open.texts, captures, steps: 0, found };
    let _ = search.text(0);
}

struct Search<'p, 'v, 'f> {
    params: &'f [(String, Param)],
    texts: Vec<(&'p TextPattern, &'v str)>,
    captures: Captures,
    steps: u32,
    found: &'f mut dyn FnMut(&Captures) -> ControlFlow<()>,
}

impl<'v> Search<'_, 'v, '_> {
    fn text(&mut self, number: usize) -> ControlFlow<()> {
        match self.texts.get(number) {
            None => (self.found)(&self.captures),
            Some(&(_, text)) => self.segment(number, 0, text),
        }
    }

    fn segment(&mut self, number: usize, at: usize, rest: &'v str) -> ControlFlow<()> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return ControlFlow::Break(());
        }
        let pattern = self.texts[number].0;
        match pattern.0.get(at) {
            None if rest.is_empty() => self.text(number + 1),
            None => ControlFlow::Continue(()),
            Some(Segment::Literal(literal)) => match rest.strip_prefix(literal.as_str()) {
                Some(rest) => self.segment(number, at + 1, rest),
                None => ControlFlow::Continue(()),
            },
            Some(Segment::Hole(Hole::Param(i))) => self.param(number, at, rest, *i),
            Some(Segment::Hole(Hole::Derived(i))) => self.derived(number, at, rest, *i),
        }
    }

    fn param(&mut self, number: usize, at: usize, rest: &'v str, i: usize) -> ControlFlow<()> {
        let param = &self.params[i].1;
        if let Some(known) = &self.captures.params[i] {
            let text = as_text(known, Some(param));
            return match rest.strip_prefix(text.as_str()) {
                Some(rest) => self.segment(number, at + 1, rest),
                None => ControlFlow::Continue(()),
            };
        }
        for (value, len) in candidates(param, rest) {
            self.captures.params[i] = Some(value);
            self.segment(number, at + 1, &rest[len..])?;
        }
        self.captures.params[i] = None;
        ControlFlow::Continue(())
    }

    fn derived(&mut self, number: usize, at: usize, rest: &'v str, i: usize) -> ControlFlow<()> {
        if let Some((_, known)) = self.captures.hints.iter().find(|(derived, _)| *derived == i) {
            return match rest.strip_prefix(known.as_str()) {
                Some(rest) => self.segment(number, at + 1, rest),
                None => ControlFlow::Continue(()),
            };
        }
        let next = self.texts[number].0.0.get(at + 1);
        let ends: Vec<usize> = match next {
            None => vec![rest.len()],
            Some(Segment::Literal(literal)) => rest.match_indices(literal.as_str()).map(|(end, _)| end).collect(),
            Some(Segment::Hole(_)) => {
                (0..=rest.len().min(ADJACENT_BYTES_MAX)).filter(|end| rest.is_char_boundary(*end)).collect()
            }
        };
        for end in ends {
            self.captures.hints.push((i, rest[..end].to_owned()));
            self.segment(number, at + 1, &rest[end..])?;
            self.captures.hints.pop();
        }
        ControlFlow::Continue(())
    }
}

/// A value as it stands inside a text: strings as they are, decimals with all their digits, the rest as JSON.
pub(super) fn as_text(value: &Value, param: Option<&Param>) -> String {
    match (value, param) {
        (Value::String(text), _) => text.clone(),
        (Value::Number(number), Some(Param::Decimal { digits, .. })) => {
            number.as_f64().map_or_else(|| number.to_string(), |x| format!("{x:.*}", *digits as usize))
        }
        (other, _) => other.to_string(),
    }
}

/// Whether a value with its type can be a draw of a parameter.
fn admits(param: &Param, value: &Value) -> bool {
    match param {
        Param::OneOf(values) => values.contains(value),
        Param::Int { min, max } => value.as_i64().is_some_and(|n| (*min..=*max).contains(&n)),
        Param::Decimal { .. } => value.is_number(),
        Param::Sample { of, count } => {
            value.as_array().is_some_and(|a| a.len() == *count as usize && a.iter().all(|v| of.contains(v)))
        }
    }
}

/// The values of a parameter with which a text can begin, each with its length in bytes; the longest first.
fn candidates(param: &Param, rest: &str) -> Vec<(Value, usize)> {
    match param {
        Param::OneOf(values) => {
            let mut fits: Vec<(Value, usize)> = values
                .iter()
                .filter_map(|value| {
                    let text = as_text(value, None);
                    rest.starts_with(text.as_str()).then(|| (value.clone(), text.len()))
                })
                .collect();
            fits.sort_by_key(|(_, len)| std::cmp::Reverse(*len));
            fits
        }
        Param::Int { min, max } => {
            let digits = integer_len(rest);
            let lens = (1..=digits).rev();
            lens.filter_map(|len| {
                let value: i64 = rest[..len].parse().ok()?;
                ((*min..=*max).contains(&value) && value.to_string().len() == len).then(|| (Value::from(value), len))
            })
            .collect()
        }
        Param::Decimal { min_units, max_units, digits } => decimal(rest, *digits)
            .filter(|(units, _, _)| (min_units..=max_units).contains(&units))
            .map_or_else(Vec::new, |(_, value, len)| {
                serde_json::Number::from_f64(value).map(|n| (Value::Number(n), len)).into_iter().collect()
            }),
        Param::Sample { .. } => sample_prefix(param, rest).into_iter().collect(),
    }
}

/// Length of the integer at the start of a text (at most 19 digits and a sign); 0: none.
fn integer_len(text: &str) -> usize {
    let sign = usize::from(text.starts_with('-'));
    let digits = text.as_bytes()[sign..].iter().take(19).take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 { 0 } else { sign + digits }
}

/// The fixed-point number at the start of a text: its units of the last digit, its value and its length.
fn decimal(text: &str, digits: u32) -> Option<(i64, f64, usize)> {
    let whole = integer_len(text);
    let fraction = text.get(whole + 1..whole + 1 + digits as usize)?;
    if whole == 0 || text.as_bytes()[whole] != b'.' || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let len = whole + 1 + digits as usize;
    let units = format!("{}{fraction}", &text[..whole]).parse().ok()?;
    Some((units, text[..len].parse().ok()?, len))
}

/// A drawn list that stands in a text as a JSON array.
fn sample_prefix(param: &Param, rest: &str) -> Option<(Value, usize)> {
    let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let value = stream.next()?.ok()?;
    admits(param, &value).then(|| (value, stream.byte_offset()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn params() -> Vec<(String, Param)> {
        vec![
            ("city".to_owned(), Param::OneOf(vec![json!("São"), json!("São Paulo"), json!("Łódź"), json!(7)])),
            ("n".to_owned(), Param::Int { min: -5, max: 120 }),
            ("m".to_owned(), Param::Int { min: 1, max: 9 }),
            ("price".to_owned(), Param::Decimal { min_units: 100, max_units: 99_999, digits: 2 }),
            ("items".to_owned(), Param::Sample { of: vec![json!("a"), json!("b"), json!("c")], count: 2 }),
        ]
    }

    fn all(template: Value, sent: Value) -> Vec<Captures> {
        let params = params();
        let pattern = Pattern::compile(&template, &params, &[("total".to_owned(), String::new())]);
        let mut out = Vec::new();
        solve([(&pattern, &sent)], &params, &mut |captures| {
            out.push(captures.clone());
            ControlFlow::Continue(())
        });
        out
    }

    fn first(template: Value, sent: Value) -> Option<Vec<Option<Value>>> {
        all(template, sent).into_iter().next().map(|c| c.params)
    }

    #[test]
    fn finds_values_with_text_on_both_sides() {
        let found = first(json!("{{n}}n in {{city}}, {{price}}€."), json!("-3n in São Paulo, 12.50€.")).unwrap();
        assert_eq!(found[..4], [Some(json!("São Paulo")), Some(json!(-3)), None, Some(json!(12.5))]);
    }

    #[test]
    fn repeated_placeholders_must_agree() {
        assert!(first(json!("{{n}} and {{n}}"), json!("12 and 12")).is_some());
        assert!(first(json!("{{n}} and {{n}}"), json!("12 and 13")).is_none());
        assert!(first(json!(["{{n}}", "{{n}} x"]), json!([12, "12 x"])).is_some());
        assert!(first(json!(["{{n}}", "{{n}} x"]), json!([12, "13 x"])).is_none());
    }

    #[test]
    fn a_shorter_value_is_tried_when_the_longest_does_not_fit() {
        let found = first(json!("{{city}} Paulo!"), json!("São Paulo!")).unwrap();
        assert_eq!(found[0], Some(json!("São")));
    }

    #[test]
    fn adjacent_numbers_give_every_reading() {
        let readings: Vec<_> = all(json!("#{{n}}{{m}}"), json!("#123")).into_iter().map(|c| c.params).collect();
        assert_eq!(readings.len(), 1, "m has one digit");
        assert_eq!((&readings[0][1], &readings[0][2]), (&Some(json!(12)), &Some(json!(3))));
        assert!(first(json!("{{n}}."), json!("007.")).is_none(), "never drawn with leading zeros");
        assert!(first(json!("{{n}}."), json!("121.")).is_none(), "out of range");
    }

    #[test]
    fn derived_texts_become_hints_and_types_are_kept() {
        let found = all(
            json!({"a": "{{total}} for {{city}}", "b": "{{items}}", "c": "{{ n }}"}),
            json!({"c": 4, "a": "99.5 for 7", "b": ["c", "a"]}),
        );
        assert_eq!(found[0].hints, [(0, "99.5".to_owned())]);
        assert_eq!(found[0].params[0], Some(json!(7)), "a number of the list, shown as text");
        assert_eq!(found[0].params[4], Some(json!(["c", "a"])));
        assert!(all(json!("{{items}}"), json!(["c", "d"])).is_empty());
        assert!(all(json!("x {{items}} y"), json!("x [\"b\",\"a\"] y"))[0].params[4].is_some());
    }

    #[test]
    fn braces_that_name_nothing_are_literal() {
        assert!(first(json!("{{{n}}} {{other}} {{"), json!("{5} {{other}} {{")).is_some());
        assert!(first(json!("\\{{n}} {{n}}"), json!("{{n}} 5")).is_some(), "an escaped placeholder is text");
        assert_eq!(Pattern::compile(&json!("{{x}}"), &params(), &[]), Pattern::Literal(json!("{{x}}")));
    }

    #[test]
    fn a_hopeless_search_ends() {
        let template = json!("{{total}}{{total}}{{total}}{{total}}{{total}}{{total}}end");
        assert!(all(template, json!(format!("{}end ", "x".repeat(400)))).is_empty());
    }

    #[test]
    fn decimals_keep_their_digits() {
        assert_eq!(decimal("12.50 x", 2), Some((1250, 12.5, 5)));
        assert_eq!(decimal("-0.05", 2), Some((-5, -0.05, 5)));
        assert_eq!(decimal("12.5", 2), None);
        assert_eq!(decimal("12.5é", 2), None);
        assert_eq!(as_text(&json!(12.5), Some(&Param::Decimal { min_units: 0, max_units: 1, digits: 3 })), "12.500");
    }
}

//! `tool-calls` and `parallel-calls`: are these the calls that were due?
//!
//! | mode | order | further calls |
//! |---|---|---|
//! | `unordered` (default) | any | refused |
//! | `exact` | as written | refused |
//! | `ordered` | as written | allowed between them |
//! | `subset` | any | allowed |
//!
//! With `none = true` no call is due.
//!
//! Value: pairs of the largest possible matching, over the number of expected calls. Where all of them came, and further ones
//! that are refused, it is below 1 and not below what one missing call would cost: their share of all sent calls, or that.

use serde_json::Value;

use super::budget::PatternBudget;
use super::calls::Call;
use super::error::ScorerError;
use super::finding::{Finding, excerpt, json_excerpt};
use super::matchers::{self, Difference, Matcher};
use super::matching::{self, Compatible};
use super::options::Options;
use super::spec::LIST_MAX;
use crate::diagnostics::nearest;
use crate::domain::Fault;

/// Sent calls that are matched; whatever comes after them counts as extra.
pub const SENT_CALLS_MAX: usize = 256;

/// One expected call.
#[derive(Debug, Clone)]
pub(super) struct ExpectedCall {
    name: String,
    arguments: Vec<(String, Matcher)>,
    /// Arguments that are not listed are allowed.
    extra: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Unordered,
    Exact,
    Ordered,
    Subset,
}

/// The compiled scorer.
#[derive(Debug, Clone)]
pub(super) struct ToolCalls {
    calls: Vec<ExpectedCall>,
    mode: Mode,
}

/// Compiles a list of expected calls.
///
/// # Errors
/// What is wrong with it.
pub(super) fn compile_calls(value: &Value, budget: &PatternBudget) -> Result<Vec<ExpectedCall>, String> {
    let items = value.as_array().filter(|a| a.len() <= LIST_MAX);
    let items = items.ok_or_else(|| format!("expected a list of at most {LIST_MAX} calls"))?;
    items.iter().map(|item| compile_call(item, budget)).collect()
}

fn compile_call(value: &Value, budget: &PatternBudget) -> Result<ExpectedCall, String> {
    const KEYS: [&str; 3] = ["name", "arguments", "extra"];
    let map = value.as_object().ok_or("an expected call is a table with `name` and `arguments`")?;
    if let Some(key) = map.keys().find(|k| !KEYS.contains(&k.as_str())) {
        let hint = nearest(key, KEYS).map(|k| format!("; did you mean `{k}`?")).unwrap_or_default();
        return Err(format!("an expected call has no key `{key}`{hint}"));
    }
    let name = map.get("name").and_then(Value::as_str).ok_or("an expected call needs a `name`")?.to_owned();
    let arguments = match map.get("arguments") {
        None => Vec::new(),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(k, v)| {
                let matcher = matchers::compile(v, budget).map_err(|e| format!("argument `{k}`: {e}"))?;
                Ok::<_, String>((k.clone(), matcher))
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(format!("the `arguments` of {name} are a table of values and matchers")),
    };
    let extra = match map.get("extra") {
        None => false,
        Some(flag) => flag.as_bool().ok_or("`extra` is true or false")?,
    };
    Ok(ExpectedCall { name, arguments, extra })
}

/// Why a sent call is not the expected one.
enum Mismatch<'a> {
    Name,
    Broken,
    Arguments(Difference<'a>),
}

impl ExpectedCall {
    fn compare<'a>(&'a self, call: &'a Call<'_>) -> Result<(), Mismatch<'a>> {
        if call.sent.name != self.name {
            return Err(Mismatch::Name);
        }
        let sent = call.object().ok_or(Mismatch::Broken)?;
        matchers::compare(&self.arguments, sent, self.extra).map_err(Mismatch::Arguments)
    }

    fn accepts(&self, call: &Call<'_>) -> bool {
        self.compare(call).is_ok()
    }

    /// Says how a call differs; `None` when it does not.
    fn explain(&self, call: &Call<'_>) -> Option<(&'static str, String)> {
        let name = &self.name;
        Some(match self.compare(call).err()? {
            Mismatch::Name => (
                "tool_calls:wrong_name",
                format!("a call of {} was expected, {} was called", excerpt(name), excerpt(&call.sent.name)),
            ),
            Mismatch::Broken => {
                ("tool_calls:wrong_argument", format!("the arguments of {} are no object", excerpt(name)))
            }
            Mismatch::Arguments(Difference::Missing(key)) => (
                "tool_calls:missing_argument",
                format!("the call of {} lacks the argument {}", excerpt(name), excerpt(key)),
            ),
            Mismatch::Arguments(Difference::Extra(key)) => (
                "tool_calls:extra_argument",
                format!("the call of {} has the argument {}, which was not asked for", excerpt(name), excerpt(key)),
            ),
            Mismatch::Arguments(Difference::Wrong(key, expected, sent)) => (
                "tool_calls:wrong_argument",
                format!(
                    "argument {} of {} should be {} and is {}",
                    excerpt(key),
                    excerpt(name),
                    expected.describe(),
                    json_excerpt(sent)
                ),
            ),
        })
    }
}

impl ToolCalls {
    /// Compiles the options.
    ///
    /// # Errors
    /// The calls or the mode are malformed.
    pub fn new(options: &Options<'_>) -> Result<Self, ScorerError> {
        if options.flag("none", false) {
            return Ok(ToolCalls { calls: Vec::new(), mode: Mode::Exact });
        }
        let calls = options.get("calls").ok_or_else(|| options.error("`calls` is missing"))?;
        let calls = compile_calls(calls, options.patterns).map_err(|e| options.error(e))?;
        let mode = match options.text("mode").as_deref() {
            Some("exact") => Mode::Exact,
            Some("ordered") => Mode::Ordered,
            Some("subset") => Mode::Subset,
            _ => Mode::Unordered,
        };
        Ok(ToolCalls { calls, mode })
    }

    /// Judges the calls of an answer: value and, below 1, what is wrong.
    pub fn judge(&self, calls: &[Call<'_>]) -> (f64, Option<Finding>) {
        match (self.calls.as_slice(), calls) {
            ([], []) => return (1.0, None),
            ([], [call, ..]) if !self.admits_more() => {
                let text = format!("no call was due and {} was called", excerpt(&call.sent.name));
                return (0.0, Some(Finding::fails(Fault::WrongAnswer, "tool_calls:unexpected_call", text)));
            }
            ([first, ..], []) => {
                let text = format!("a call of {} was due and none came", excerpt(&first.name));
                return (0.0, Some(Finding::fails(Fault::MissingCall, "tool_calls:no_call", text)));
            }
            _ => {}
        }
        let all = calls.len();
        let calls = &calls[..all.min(SENT_CALLS_MAX)];
        let in_place = all == self.calls.len() && self.calls.iter().zip(calls).all(|(e, c)| e.accepts(c));
        if in_place {
            return (1.0, None);
        }
        let compatible = Compatible::new(self.calls.len(), calls.len(), |e, c| self.calls[e].accepts(&calls[c]));
        let pairs = self.pair(&compatible);
        let matched = pairs.iter().flatten().count();
        let due = self.calls.len();
        let is_complete = matched == due;
        if is_complete && (self.admits_more() || all == due) {
            return (1.0, None);
        }
        let (error_type, text) = self.explain(calls, all, &pairs, &compatible);
        let share = |part: usize, whole: usize| part as f64 / whole as f64;
        let value = match is_complete {
            true => share(due, all).max(share(due - 1, due)),
            false => share(matched, due),
        };
        (value, Some(Finding::fails(Fault::WrongAnswer, error_type, text)))
    }

    fn admits_more(&self) -> bool {
        matches!(self.mode, Mode::Ordered | Mode::Subset)
    }

    /// The sent call of each expected one.
    fn pair(&self, compatible: &Compatible) -> Vec<Option<usize>> {
        let rows = self.calls.len();
        match self.mode {
            Mode::Unordered | Mode::Subset => matching::maximum(rows, compatible),
            Mode::Ordered => matching::in_order(rows, compatible),
            Mode::Exact => {
                (0..rows).map(|i| (compatible.has_column(i) && compatible.fits(i, i)).then_some(i)).collect()
            }
        }
    }

    /// The first thing that a person would look at.
    fn explain(
        &self,
        calls: &[Call<'_>],
        all: usize,
        pairs: &[Option<usize>],
        compatible: &Compatible,
    ) -> (&'static str, String) {
        let count = |n: usize| if n == 1 { "1 call".to_owned() } else { format!("{n} calls") };
        let Some(missing) = pairs.iter().position(Option::is_none) else {
            let extra = (0..calls.len()).find(|c| !pairs.contains(&Some(*c))).unwrap_or(calls.len() - 1);
            let text = format!("{} expected, {all} came; {} was not due", count(self.calls.len()), {
                excerpt(&calls[extra].sent.name)
            });
            return ("tool_calls:extra_call", text);
        };
        let ordered = matches!(self.mode, Mode::Exact | Mode::Ordered);
        if ordered && matching::maximum(self.calls.len(), compatible).iter().all(Option::is_some) {
            if self.mode == Mode::Exact && all > self.calls.len() {
                return ("tool_calls:extra_call", format!("{} expected, {all} came", count(self.calls.len())));
            }
            return ("tool_calls:wrong_order", "the expected calls came in another order".to_owned());
        }
        let expected = &self.calls[missing];
        let open = |c: &usize| !pairs.contains(&Some(*c));
        let candidates: Vec<usize> = (0..calls.len()).filter(open).collect();
        let same_name = candidates.iter().find(|c| calls[**c].sent.name == expected.name);
        if let Some(found) = same_name.and_then(|c| expected.explain(&calls[*c])) {
            return found;
        }
        if all < self.calls.len() || candidates.is_empty() {
            let text = format!("{} expected, {all} came; that of {} is missing", count(self.calls.len()), {
                excerpt(&expected.name)
            });
            return ("tool_calls:missing_call", text);
        }
        expected
            .explain(&calls[candidates[0]])
            .unwrap_or_else(|| ("tool_calls:wrong_order", "the expected calls came in another order".to_owned()))
    }

    /// A right answer holds at least one call.
    pub fn expects_calls(&self) -> bool {
        !self.calls.is_empty()
    }
}

/// `parallel-calls`: at least so many calls in one message.
pub(super) fn judge_parallel(min_calls: u64, calls: &[Call<'_>]) -> (f64, Option<Finding>) {
    let sent = calls.len() as u64;
    if sent >= min_calls {
        return (1.0, None);
    }
    let text = format!("at least {min_calls} calls in one answer were due and {sent} came");
    let finding = Finding::fails(Fault::MissingCall, "parallel_calls:too_few", text);
    (sent as f64 / min_calls as f64, Some(finding))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::ToolCall;

    fn scorer(calls: Value, mode: Mode) -> ToolCalls {
        ToolCalls { calls: compile_calls(&calls, &PatternBudget::default()).unwrap(), mode }
    }

    fn sent(calls: &[(&str, Value)]) -> crate::domain::Completion {
        let call = |(n, a): &(&str, Value)| ToolCall {
            id: None,
            name: (*n).to_owned(),
            arguments: Some(a.to_string()),
            arguments_as_value: false,
        };
        crate::domain::Completion { tool_calls: calls.iter().map(call).collect(), ..Default::default() }
    }

    fn verdict(scorer: &ToolCalls, calls: &[(&str, Value)]) -> (f64, &'static str) {
        let completion = sent(calls);
        let (value, finding) = scorer.judge(&super::super::calls::parse_calls(&completion));
        (value, finding.map_or("", |f| f.error_type))
    }

    #[test]
    fn modes_differ_in_order_and_in_further_calls() {
        let two = json!([{"name": "a", "arguments": {"x": 1}}, {"name": "b"}]);
        let (a, b, c) = (("a", json!({"x": 1})), ("b", json!({})), ("c", json!({})));
        for (mode, straight, swapped, more) in [
            (Mode::Unordered, "", "", "tool_calls:extra_call"),
            (Mode::Exact, "", "tool_calls:wrong_order", "tool_calls:extra_call"),
            (Mode::Ordered, "", "tool_calls:wrong_order", ""),
            (Mode::Subset, "", "", ""),
        ] {
            let s = scorer(two.clone(), mode);
            assert_eq!(verdict(&s, &[a.clone(), b.clone()]).1, straight, "{mode:?}");
            assert_eq!(verdict(&s, &[b.clone(), a.clone()]).1, swapped, "{mode:?}");
            assert_eq!(verdict(&s, &[a.clone(), c.clone(), b.clone()]).1, more, "{mode:?}");
        }
    }

    #[test]
    fn every_way_to_be_wrong_has_its_name() {
        let one = scorer(json!([{"name": "a", "arguments": {"x": 1, "y": {"$optional": 2}}}]), Mode::Unordered);
        for (calls, expected) in [
            (vec![], (0.0, "tool_calls:no_call")),
            (vec![("a", json!({"x": 1}))], (1.0, "")),
            (vec![("a", json!({"y": 2}))], (0.0, "tool_calls:missing_argument")),
            (vec![("a", json!({"x": 1, "z": 0}))], (0.0, "tool_calls:extra_argument")),
            (vec![("a", json!({"x": 3}))], (0.0, "tool_calls:wrong_argument")),
            (vec![("a", json!({"x": 1, "y": 3}))], (0.0, "tool_calls:wrong_argument")),
            (vec![("b", json!({"x": 1}))], (0.0, "tool_calls:wrong_name")),
            (vec![("a", json!({"x": 1})), ("b", json!({}))], (0.5, "tool_calls:extra_call")),
        ] {
            assert_eq!(verdict(&one, &calls), expected, "{calls:?}");
        }
        let two = scorer(json!([{"name": "a"}, {"name": "b"}]), Mode::Unordered);
        let (a, b, c) = (("a", json!({})), ("b", json!({})), ("c", json!({})));
        for mode in [Mode::Unordered, Mode::Exact] {
            let s = scorer(json!([{"name": "a"}, {"name": "b"}]), mode);
            let value = |calls: &[(&str, Value)]| verdict(&s, calls).0;
            assert_eq!(value(&[a.clone(), c.clone(), c.clone()]), 0.5, "matched over expected, whatever else came");
            assert_eq!(value(&[a.clone(), b.clone(), c.clone()]), 2.0 / 3.0);
            assert_eq!(value(&[[a.clone(), b.clone()].as_slice(), &vec![c.clone(); 8]].concat()), 0.5);
        }
        assert_eq!(verdict(&two, &[("a", json!({}))]), (0.5, "tool_calls:missing_call"));
        assert_eq!(
            verdict(&scorer(json!([]), Mode::Unordered), &[("a", json!({}))]),
            (0.0, "tool_calls:unexpected_call")
        );
        let extra = scorer(json!([{"name": "a", "arguments": {"x": 1}, "extra": true}]), Mode::Unordered);
        assert_eq!(verdict(&extra, &[("a", json!({"x": 1, "z": 0}))]), (1.0, ""));
    }

    #[test]
    fn the_best_pairing_counts_not_the_first() {
        let s = scorer(
            json!([{"name": "f", "arguments": {"x": {"$any_of": [1, 2]}}}, {"name": "f", "arguments": {"x": 1}}]),
            Mode::Unordered,
        );
        assert_eq!(verdict(&s, &[("f", json!({"x": 1})), ("f", json!({"x": 2}))]), (1.0, ""));
    }

    proptest! {
        #[test]
        fn order_does_not_matter_where_it_must_not(
            values in prop::collection::vec((0..3_u8, 0..3_u8), 0..6),
            wanted in prop::collection::vec((0..3_u8, 0..3_u8), 1..5),
            turn in 0..6_usize,
        ) {
            let names = ["a", "b", "c"];
            let call = |(n, x): &(u8, u8)| (names[usize::from(*n)], json!({"x": x}));
            let expected: Vec<Value> = wanted.iter().map(call).map(|(n, a)| json!({"name": n, "arguments": a})).collect();
            let calls: Vec<(&str, Value)> = values.iter().map(call).collect();
            let mut turned = calls.clone();
            turned.reverse();
            let by = turn % turned.len().max(1);
            turned.rotate_left(by);
            for mode in [Mode::Unordered, Mode::Subset] {
                let s = scorer(json!(expected), mode);
                let (first, second) = (verdict(&s, &calls), verdict(&s, &turned));
                prop_assert_eq!(first.0, second.0);
                prop_assert_eq!(first.0 < 1.0, !first.1.is_empty());
                prop_assert!((0.0..=1.0).contains(&first.0));
            }
        }
    }
}

//! The checks of every case, whatever its scorers: is something there, is it clean, do the reason and the calls agree.

use serde_json::Value;

use super::calls::{Arguments, Call, check_calls};
use super::context::LazyContext;
use super::corrupt::{REPLACEMENT, foreign_char};
use super::degenerate::find_loop;
use super::finding::{Finding, excerpt, shorten};
use super::judge::Rules;
use super::leak::{Markup, first_leak};
use super::parameters::check_usage;
use super::structured::strip_fences;
use super::tool_choice::ToolChoice;
use crate::domain::{Completion, Fault};

/// Finish reasons that clients know.
const KNOWN_REASONS: &[&str] = &["stop", "length", "tool_calls", "content_filter"];

/// The answer as the checks see it.
pub(super) struct Answer<'a> {
    /// As parsed by the provider module.
    pub completion: &'a Completion,
    /// Visible text; empty when there is none.
    pub text: &'a str,
    /// The calls with their arguments.
    pub calls: &'a [Call<'a>],
}

impl Answer<'_> {
    /// No call, no text, no refusal.
    fn is_empty(&self) -> bool {
        self.calls.is_empty()
            && self.text.trim().is_empty()
            && self.completion.refusal.as_deref().is_none_or(|r| r.trim().is_empty())
    }

    fn finish_reason(&self) -> Option<&str> {
        self.completion.finish_reason.as_deref()
    }

    fn reasoning(&self) -> &str {
        self.completion.reasoning.as_deref().unwrap_or("")
    }

    /// The finish reason announces calls and there is none.
    pub fn announces_missing_calls(&self) -> bool {
        self.calls.is_empty() && self.finish_reason() == Some("tool_calls")
    }
}

/// Runs all of them.
pub(super) fn check(rules: &Rules, answer: &Answer<'_>, out: &mut Vec<Finding>) {
    let completion = answer.completion;
    if completion.ambiguous_calls {
        let what = "several calls share an index or have none, so that a client merges them";
        out.push(Finding::fails(Fault::BadCallIndex, "call:ambiguous_index", what));
    }
    check_calls(&rules.offered, answer.calls, answer.finish_reason(), out);
    rules.tool_choice.check(answer.calls, out);
    check_finish_reason(rules, answer, out);
    check_markup(&rules.context, answer, out);
    check_presence(answer, out);
    check_text(&rules.context, answer, out);
    check_usage(completion, rules.asked_tokens, out);
    for breach in &completion.breaches {
        out.push(Finding::noted(breach.fault, "wire:breach", format!("the wire contract is broken: {}", breach.what)));
    }
}

/// Odd finish reasons are secondary, except that announced calls must come and that nothing else excuses an unknown one.
fn check_finish_reason(rules: &Rules, answer: &Answer<'_>, out: &mut Vec<Finding>) {
    let Some(reason) = answer.finish_reason() else {
        return;
    };
    if answer.announces_missing_calls() {
        let what = "the finish reason is \"tool_calls\" and no call came";
        if !rules.offered.is_empty() && rules.tool_choice != ToolChoice::None {
            out.push(Finding::fails(Fault::MissingCall, "tool_calls:announced", what));
        }
        out.push(Finding::noted(Fault::WrongFinishReason, "finish_reason:calls_announced", what));
        return;
    }
    if rules.judged_reason.as_deref() == Some(reason) {
        return;
    }
    if !KNOWN_REASONS.contains(&reason) {
        let what = format!("the finish reason {} is unknown", excerpt(reason));
        out.push(if answer.is_empty() {
            Finding::fails(Fault::WrongFinishReason, "finish_reason:unknown", what)
        } else {
            Finding::noted(Fault::WrongFinishReason, "finish_reason:unknown", what)
        });
    } else if reason == "stop" && !answer.calls.is_empty() && !matches!(rules.tool_choice, ToolChoice::Named(_)) {
        // With a named choice "stop" is what the contract's author sends.
        let what = "the finish reason is \"stop\" though calls came";
        out.push(Finding::noted(Fault::WrongFinishReason, "finish_reason:stop_with_calls", what));
    }
}

fn check_markup(context: &LazyContext, answer: &Answer<'_>, out: &mut Vec<Finding>) {
    let shows = |name: &str| context.get().shown.contains(name);
    let leaked = [("text", answer.text, true), ("reasoning", answer.reasoning(), false)];
    for (place, text, reasoning_counts) in leaked {
        if let Some(marker) = first_leak(text, reasoning_counts, shows) {
            let (error_type, what) = match marker.markup {
                Markup::Tool => ("leak:tool_markup", "tool-call markup"),
                Markup::Reasoning => ("leak:reasoning_markup", "reasoning markup"),
            };
            let what = format!("the {place} contains {what} of the model's template: {}", excerpt(&marker.name));
            out.push(Finding::fails(Fault::MarkupLeak, error_type, what));
            return;
        }
    }
    for call in answer.calls {
        let arguments = call.sent.arguments.as_deref().unwrap_or("");
        let leak = first_leak(&call.sent.name, false, shows).or_else(|| first_leak(arguments, false, shows));
        if let Some(marker) = leak {
            let what = format!("a call contains template markup: {}", excerpt(&marker.name));
            out.push(Finding::noted(Fault::MarkupLeak, "leak:tool_markup", what));
            return;
        }
    }
}

/// Where a call was due and none came: is it the text itself?
pub(super) fn check_call_as_text(rules: &Rules, answer: &Answer<'_>, out: &mut Vec<Finding>) {
    let text = strip_fences(answer.text);
    if !text.starts_with('{') {
        return;
    }
    if serde_json::from_str::<Value>(text).is_ok_and(|v| rules.offered.resembles_call(&v)) {
        let what = format!("the text is the arguments of a call: {}", excerpt(text));
        out.push(Finding::noted(Fault::MarkupLeak, "leak:arguments_as_text", what));
    }
}

fn check_presence(answer: &Answer<'_>, out: &mut Vec<Finding>) {
    if !answer.is_empty() {
        return;
    }
    let reasoning = answer.reasoning().trim();
    let finding = if reasoning.is_empty() {
        Finding::fails(Fault::EmptyAnswer, "answer:empty", "the answer has neither text nor call")
    } else {
        let what = format!("reasoning came, but neither text nor call: {}", excerpt(reasoning));
        Finding::fails(Fault::ReasoningOnly, "answer:reasoning_only", what)
    };
    // What the finish reason announced is missing: its row comes first, this is recorded.
    out.push(if answer.announces_missing_calls() {
        Finding { role: super::finding::Role::Noted, ..finding }
    } else {
        finding
    });
}

fn check_text(context: &LazyContext, answer: &Answer<'_>, out: &mut Vec<Finding>) {
    if let Some((error_type, what)) = corruption(context, answer) {
        out.push(Finding::fails(Fault::CorruptText, error_type, what));
    } else if answer.reasoning().contains(REPLACEMENT) && !context.get().replacement {
        let what = "the reasoning contains the replacement character U+FFFD";
        out.push(Finding::noted(Fault::CorruptText, "text:replacement_character", what));
    }
    if let Some((unit, times)) = find_loop(answer.text)
        && !context.get().loops
    {
        let what = format!("the text repeats {} {times} times or more", excerpt(&shorten(&unit, 60)));
        out.push(Finding::fails(Fault::Degenerate, "text:loop", what));
    }
}

/// Corrupt characters in the text, the refusal or the strings of a call.
fn corruption(context: &LazyContext, answer: &Answer<'_>) -> Option<(&'static str, String)> {
    let refusal = answer.completion.refusal.as_deref().unwrap_or("");
    let mut found = corruption_of(context, answer.text).or_else(|| corruption_of(context, refusal));
    for call in answer.calls {
        found = found.or_else(|| match &call.arguments {
            Arguments::Parsed(value) => find_in_strings(value, &|text| corruption_of(context, text)),
            Arguments::Broken { .. } => corruption_of(context, call.sent.arguments.as_deref().unwrap_or("")),
            Arguments::Empty => None,
        });
    }
    found
}

fn corruption_of(context: &LazyContext, text: &str) -> Option<(&'static str, String)> {
    if text.is_ascii() {
        return None;
    }
    if text.contains(REPLACEMENT) && !context.get().replacement {
        let what = format!("the answer contains the replacement character U+FFFD: {}", around(text, REPLACEMENT));
        return Some(("text:replacement_character", what));
    }
    let (c, script) = foreign_char(text, || context.get().scripts)?;
    let what = format!("a single {} character stands in other text: {}", script.name(), around(text, c));
    Some(("text:foreign_script", what))
}

/// The first result of a function over the strings of a value.
fn find_in_strings<T>(value: &Value, find: &impl Fn(&str) -> Option<T>) -> Option<T> {
    match value {
        Value::String(text) => find(text),
        Value::Array(items) => items.iter().find_map(|v| find_in_strings(v, find)),
        Value::Object(map) => map.iter().find_map(|(k, v)| find(k).or_else(|| find_in_strings(v, find))),
        _ => None,
    }
}

/// The neighbourhood of a character, quoted.
fn around(text: &str, c: char) -> String {
    const BEFORE: usize = 20;
    let at = text.find(c).unwrap_or(0);
    let start = text[..at].char_indices().rev().nth(BEFORE).map_or(0, |(i, _)| i);
    excerpt(&shorten(&text[start..], 2 * BEFORE))
}

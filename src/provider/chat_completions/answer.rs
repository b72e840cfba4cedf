//! What plain answers and streams have in common: noting breaches, calls, usage, the last checks.

use std::borrow::Cow;

use super::BREACHES_MAX;
use super::lenient::{Content, Count, Slot, WireUsage};
use crate::domain::{Breach, Completion, Fault, ToolCall, Usage};

/// More bytes of visible text than this per billed token, on average, is no tokenizer's work.
const BYTES_PER_TOKEN_MAX: u64 = 32;
/// Shorter texts are not checked against [`BYTES_PER_TOKEN_MAX`].
const BILLED_TEXT_BYTES_MIN: u64 = 128;

/// Breaches in the order seen, each once.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Breach>);

impl Notes {
    /// Notes a breach unless it stands there already or the list is full.
    pub(super) fn add(&mut self, fault: Fault, what: &str) {
        if self.0.len() < BREACHES_MAX && !self.0.iter().any(|b| b.fault == fault && b.what == what) {
            self.0.push(Breach { fault, what: what.to_owned() });
        }
    }

    /// The list.
    pub(super) fn into_breaches(self) -> Vec<Breach> {
        self.0
    }
}

/// Text by the contract; notes it when it is something else.
pub(super) fn text<'b>(slot: Slot<Cow<'b, str>>, field: &str, notes: &mut Notes) -> Option<Cow<'b, str>> {
    match slot {
        Slot::Is(text) => Some(text),
        Slot::Other(kind) => {
            notes.add(Fault::WireShape, &format!("{field} is {kind}, not a string"));
            None
        }
        Slot::Null | Slot::Absent => None,
    }
}

/// Content as text; a list of parts is a breach.
pub(super) fn content<'b>(slot: Slot<Content<'b>>, notes: &mut Notes) -> Option<Cow<'b, str>> {
    match slot {
        Slot::Is(Content::Text(text)) => Some(text),
        Slot::Is(Content::Parts(joined)) => {
            notes.add(Fault::WireShape, "content is a list of parts, not a string");
            Some(Cow::Owned(joined))
        }
        Slot::Other(kind) => {
            notes.add(Fault::WireShape, &format!("content is {kind}, not a string"));
            None
        }
        Slot::Null | Slot::Absent => None,
    }
}

/// A required top-level string: its absence is a breach.
pub(super) fn required<'b>(slot: Slot<Cow<'b, str>>, field: &str, notes: &mut Notes) -> Option<Cow<'b, str>> {
    if matches!(slot, Slot::Absent | Slot::Null) {
        notes.add(Fault::WireShape, &format!("{field} is missing"));
    }
    text(slot, field, notes)
}

/// Usage as the answer reports it, with what is wrong in itself noted. `None` when there is none.
pub(super) fn usage(slot: Slot<WireUsage<'_>>, notes: &mut Notes) -> Option<Usage> {
    let wire = match slot {
        Slot::Is(wire) => wire,
        Slot::Other(kind) => {
            notes.add(Fault::BadUsage, &format!("usage is {kind}, not an object"));
            return None;
        }
        Slot::Null | Slot::Absent => return None,
    };
    let mut count = |raw, field: &str, needed: bool| {
        let count = Count::of(raw);
        match count {
            Count::Absent if needed => notes.add(Fault::BadUsage, &format!("usage lacks {field}")),
            Count::Fractional(_) | Count::Other => {
                notes.add(Fault::BadUsage, &format!("{field} of usage is not a whole number"));
            }
            Count::Is(_) | Count::Absent => (),
        }
        count.value()
    };
    let tokens_in = count(wire.prompt, "prompt_tokens", true);
    let tokens_out = count(wire.completion, "completion_tokens", true);
    let total = count(wire.total, "total_tokens", false);
    let detailed = wire.details.is().and_then(|details| details.reasoning);
    let tokens_reasoning = count(detailed.or(wire.reasoning), "reasoning_tokens", false);
    if let (Some(tokens_in), Some(tokens_out), Some(total)) = (tokens_in, tokens_out, total)
        && tokens_in.checked_add(tokens_out) != Some(total)
    {
        notes.add(Fault::BadUsage, "total_tokens is not the sum of prompt and completion tokens");
    }
    Some(Usage { tokens_in, tokens_out, tokens_reasoning })
}

/// The checks that need the whole answer: ids of calls, usage against what was produced.
pub(super) fn check_whole(completion: &Completion, reported: bool, expects_usage: bool, notes: &mut Notes) {
    check_call_ids(&completion.tool_calls, notes);
    if completion.truncated {
        return;
    }
    if reported {
        check_usage(completion, notes);
    } else if expects_usage {
        notes.add(Fault::BadUsage, "usage is missing");
    }
}

fn check_call_ids(calls: &[ToolCall], notes: &mut Notes) {
    for (at, call) in calls.iter().enumerate() {
        match call.id.as_deref() {
            None => notes.add(Fault::BadCallId, "a call has no id"),
            Some("") => notes.add(Fault::BadCallId, "the id of a call is empty"),
            // Only as many calls are compared as `CALLS_MAX` allows.
            id if calls[..at].iter().any(|earlier| earlier.id.as_deref() == id) => {
                notes.add(Fault::BadCallId, "two calls share an id");
            }
            Some(_) => (),
        }
    }
}

fn check_usage(completion: &Completion, notes: &mut Notes) {
    let Usage { tokens_in, tokens_out, tokens_reasoning } = completion.usage;
    let bytes = |text: &Option<String>| text.as_ref().map_or(0, |text| text.len() as u64);
    let calls: u64 = completion.tool_calls.iter().map(|c| c.name.len() as u64 + bytes(&c.arguments)).sum();
    let visible = bytes(&completion.content) + calls;
    let reasoning = bytes(&completion.reasoning);
    if tokens_in == Some(0) {
        notes.add(Fault::BadUsage, "prompt_tokens is 0");
    }
    if tokens_out == Some(0) && visible + reasoning > 0 {
        notes.add(Fault::BadUsage, "completion_tokens is 0 though something was produced");
    } else if let Some(tokens_out) = tokens_out
        && visible >= BILLED_TEXT_BYTES_MIN
        && visible / BYTES_PER_TOKEN_MAX > tokens_out
    {
        notes.add(Fault::BadUsage, "completion_tokens is too small for the text");
    }
    if reasoning > 0 && tokens_reasoning.unwrap_or(0) == 0 {
        notes.add(Fault::BadUsage, "reasoning is present and its tokens are not counted");
    }
}

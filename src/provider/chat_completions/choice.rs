//! One choice of a stream, put together from its deltas.
//!
//! Deltas are merged as the contract says: by the index of the call, strings appended. Where indexes are shared or
//! missing, a client that follows the contract cannot tell the calls apart, and this one does not guess either.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::CALLS_MAX;
use super::answer::{self, Notes};
use super::lenient::{Call, Choice, Count, Function, Message, Slot, text_of};
use super::plain::{call_id, finish_reason, reasoning};
use crate::domain::completion::RawJson;
use crate::domain::completion::{ID_SENT_AGAIN, NAME_SENT_AGAIN};
use crate::domain::{Completion, Fault, ToolCall};

/// A choice so far.
#[derive(Debug)]
pub(super) struct ChoiceDraft {
    /// Its index.
    pub(super) index: u64,
    /// The finish reason, when it has arrived.
    pub(super) finish_reason: Option<String>,
    /// Text, reasoning or a call has arrived.
    pub(super) has_content: bool,
    started: bool,
    content: Option<String>,
    refusal: Option<String>,
    reasoning: Option<String>,
    calls: Vec<CallDraft>,
    calls_present: bool,
    ambiguous: bool,
    /// Elements of `logprobs.content`, joined by commas.
    logprobs: String,
}

/// A call so far.
#[derive(Debug)]
struct CallDraft {
    index: Option<u64>,
    /// The frame in which it began.
    frame: u64,
    /// The id as first sent; `call.id` grows when it is sent again.
    first_id: Option<String>,
    call: ToolCall,
}

impl ChoiceDraft {
    /// A choice of which nothing has arrived.
    pub(super) fn new(index: u64) -> Self {
        ChoiceDraft {
            index,
            finish_reason: None,
            has_content: false,
            started: false,
            content: None,
            refusal: None,
            reasoning: None,
            calls: vec![],
            calls_present: false,
            ambiguous: false,
            logprobs: String::new(),
        }
    }

    /// Takes the choice's part of a frame; an error says which limit it breaks.
    pub(super) fn take(&mut self, choice: Choice<'_>, frame: u64, notes: &mut Notes) -> Result<(), String> {
        let was_finished = self.finish_reason.is_some();
        let delta = match (choice.delta, choice.message) {
            (Slot::Is(delta), _) => Some(delta),
            (_, Slot::Is(message)) => {
                notes.add(Fault::WireShape, "a frame carries a message instead of a delta");
                Some(message)
            }
            _ => None,
        };
        let brought = match delta {
            Some(delta) => self.take_delta(delta, frame, notes)?,
            None => {
                if choice.finish_reason.is_absent() {
                    notes.add(Fault::WireShape, "a choice has no delta");
                }
                false
            }
        };
        self.has_content |= brought;
        if brought && was_finished {
            notes.add(Fault::WireShape, "content follows the finish reason");
        }
        if let Some(reason) = finish_reason(choice.finish_reason, notes) {
            if was_finished {
                notes.add(Fault::WireShape, "the finish reason is sent more than once");
            }
            self.finish_reason = Some(reason);
        }
        if let Some(raw) = choice.logprobs {
            self.take_logprobs(raw);
        }
        Ok(())
    }

    /// True when the delta brought text, reasoning or (part of) a call.
    fn take_delta(&mut self, delta: Message<'_>, frame: u64, notes: &mut Notes) -> Result<bool, String> {
        let role = answer::text(delta.role, "role", notes);
        match role.as_deref() {
            None if !self.started => notes.add(Fault::WireShape, "the first frame of a choice carries no role"),
            Some(role) if role != "assistant" => notes.add(Fault::WireShape, "role is not assistant"),
            _ => (),
        }
        self.started = true;
        let content = answer::content(delta.content, notes);
        let refusal = answer::text(delta.refusal, "refusal", notes);
        let thought = reasoning(delta.reasoning, delta.reasoning_content, notes);
        let mut brought = [&content, &refusal, &thought].iter().any(|t| t.as_ref().is_some_and(|t| !t.is_empty()));
        append(&mut self.content, content);
        append(&mut self.refusal, refusal);
        append(&mut self.reasoning, thought);
        match delta.tool_calls {
            Slot::Is(calls) => {
                self.calls_present = true;
                for slot in calls {
                    match slot {
                        Slot::Is(call) => {
                            brought = true;
                            self.take_call(call, frame, notes)?;
                        }
                        _ => notes.add(Fault::WireShape, "an element of tool_calls is not an object"),
                    }
                }
            }
            Slot::Other(kind) => notes.add(Fault::WireShape, &format!("tool_calls is {kind}, not an array")),
            Slot::Null | Slot::Absent => (),
        }
        Ok(brought)
    }

    fn take_call(&mut self, wire: Call<'_>, frame: u64, notes: &mut Notes) -> Result<(), String> {
        let index = Count::of(wire.index).value();
        let piece = CallPiece::read(wire, notes);
        if index.is_none() {
            notes.add(Fault::BadCallIndex, "a tool-call delta has no index");
        }
        let at = match index {
            Some(index) => self.calls.iter().position(|draft| draft.index == Some(index)),
            // Without an index there is only "the call being sent".
            None => self.calls.len().checked_sub(1).filter(|last| !self.calls[*last].is_followed_by(&piece, frame)),
        };
        let Some(at) = at else { return self.start_call(index, piece, frame, notes) };
        let several = match index {
            Some(_) => self.calls[at].is_shared_with(&piece, frame),
            None => self.calls.len() > 1,
        };
        if several {
            self.ambiguous = true;
            notes.add(Fault::BadCallIndex, "several calls share an index or have none");
        }
        self.calls[at].append(piece, notes);
        Ok(())
    }

    fn start_call(
        &mut self,
        index: Option<u64>,
        piece: CallPiece<'_>,
        frame: u64,
        notes: &mut Notes,
    ) -> Result<(), String> {
        if self.calls.len() >= CALLS_MAX {
            return Err(format!("the stream holds more than {CALLS_MAX} tool calls"));
        }
        match index {
            Some(index) if index != self.calls.len() as u64 => {
                notes.add(Fault::BadCallIndex, "call indexes do not start at 0 and step by 1");
            }
            None if !self.calls.is_empty() => {
                self.ambiguous = true;
                notes.add(Fault::BadCallIndex, "several calls share an index or have none");
            }
            _ => (),
        }
        if !piece.has_kind {
            notes.add(Fault::WireShape, "the first delta of a call lacks its type");
        }
        if piece.name.as_ref().is_none_or(|name| name.is_empty()) {
            notes.add(Fault::WireShape, "the first delta of a call lacks the name");
        }
        let id = piece.id.as_deref().map(str::to_owned);
        self.calls.push(CallDraft {
            index,
            frame,
            first_id: id.clone().filter(|id| !id.is_empty()),
            call: ToolCall {
                id,
                name: piece.name.map(Cow::into_owned).unwrap_or_default(),
                arguments: piece.arguments.map(Cow::into_owned),
                arguments_as_value: piece.arguments_as_value,
            },
        });
        Ok(())
    }

    fn take_logprobs(&mut self, raw: &RawValue) {
        #[derive(serde::Deserialize)]
        struct Logprobs<'a> {
            #[serde(borrow)]
            content: Option<Vec<&'a RawValue>>,
        }
        let Ok(Logprobs { content: Some(items) }) = serde_json::from_str::<Logprobs<'_>>(raw.get()) else { return };
        for item in items {
            if !self.logprobs.is_empty() {
                self.logprobs.push(',');
            }
            self.logprobs.push_str(item.get());
        }
    }

    /// The choice as a Completion; what belongs to the whole stream is still to be filled in.
    pub(super) fn into_completion(mut self, notes: &mut Notes) -> Completion {
        // Calls without an index keep their place after those that have one.
        self.calls.sort_by_key(|draft| draft.index.unwrap_or(u64::MAX));
        if self.calls.iter().any(|draft| draft.index.is_none()) && self.calls.len() > 1 {
            self.ambiguous = true;
            notes.add(Fault::BadCallIndex, "several calls share an index or have none");
        }
        let logprobs = (!self.logprobs.is_empty())
            .then(|| RawValue::from_string(format!("{{\"content\":[{}]}}", self.logprobs)).ok())
            .flatten();
        Completion {
            content: self.content,
            refusal: self.refusal,
            reasoning: self.reasoning,
            tool_calls: self.calls.into_iter().map(|draft| draft.call).collect(),
            tool_calls_present: self.calls_present,
            truncated: self.finish_reason.is_none(),
            finish_reason: self.finish_reason,
            ambiguous_calls: self.ambiguous,
            logprobs: logprobs.map(|raw| Box::new(RawJson(raw))),
            ..Completion::default()
        }
    }
}

/// One delta of a call, decoded.
struct CallPiece<'b> {
    id: Option<Cow<'b, str>>,
    has_kind: bool,
    name: Option<Cow<'b, str>>,
    arguments: Option<Cow<'b, str>>,
    arguments_as_value: bool,
}

impl<'b> CallPiece<'b> {
    fn read(wire: Call<'b>, notes: &mut Notes) -> Self {
        let kind = answer::text(wire.kind, "type of a call", notes).filter(|kind| !kind.is_empty());
        if kind.as_ref().is_some_and(|kind| kind != "function") {
            notes.add(Fault::WireShape, "the type of a call is not function");
        }
        let Function { name, arguments } = wire.function.is().unwrap_or_default();
        let (arguments, arguments_as_value) = match arguments {
            None => (None, false),
            Some(raw) => match text_of(raw) {
                Some(text) => (Some(text), false),
                None => {
                    notes.add(Fault::WireShape, "arguments are a JSON value, not a string");
                    (Some(Cow::Borrowed(raw.get())), true)
                }
            },
        };
        CallPiece {
            id: call_id(wire.id, notes).map(Cow::Owned),
            has_kind: kind.is_some(),
            name: answer::text(name, "name of a call", notes),
            arguments,
            arguments_as_value,
        }
    }

    fn names_a_call(&self) -> bool {
        let filled = |text: &Option<Cow<'_, str>>| text.as_ref().is_some_and(|text| !text.is_empty());
        filled(&self.id) || filled(&self.name)
    }

    fn has_other_id(&self, first_id: Option<&str>) -> bool {
        self.id.as_deref().is_some_and(|id| !id.is_empty() && first_id.is_some_and(|first| first != id))
    }
}

impl CallDraft {
    /// The piece, with the same index, begins another call: it has another id, or comes in the frame of the first.
    fn is_shared_with(&self, piece: &CallPiece<'_>, frame: u64) -> bool {
        piece.has_other_id(self.first_id.as_deref()) || (self.frame == frame && piece.names_a_call())
    }

    /// The piece, without an index, begins another call.
    fn is_followed_by(&self, piece: &CallPiece<'_>, frame: u64) -> bool {
        let has_arguments = self.call.arguments.as_ref().is_some_and(|arguments| !arguments.is_empty());
        let named_again = piece.name.as_ref().is_some_and(|name| !name.is_empty()) && has_arguments;
        self.is_shared_with(piece, frame) || named_again
    }

    fn append(&mut self, piece: CallPiece<'_>, notes: &mut Notes) {
        if piece.has_kind {
            notes.add(Fault::WireShape, "the type of a call is sent again");
        }
        if let Some(id) = piece.id.filter(|id| !id.is_empty()) {
            notes.add(Fault::WireShape, ID_SENT_AGAIN);
            if self.first_id.is_some() {
                notes.add(Fault::BadCallId, "the id of a call is sent again");
            } else {
                self.first_id = Some(id.clone().into_owned());
            }
            append(&mut self.call.id, Some(id));
        }
        if let Some(name) = piece.name.filter(|name| !name.is_empty()) {
            notes.add(Fault::WireShape, NAME_SENT_AGAIN);
            self.call.name.push_str(&name);
        }
        self.call.arguments_as_value |= piece.arguments_as_value;
        append(&mut self.call.arguments, piece.arguments);
    }
}

fn append(kept: &mut Option<String>, piece: Option<Cow<'_, str>>) {
    match (kept, piece) {
        (Some(kept), Some(piece)) => kept.push_str(&piece),
        (kept @ None, Some(piece)) => *kept = Some(piece.into_owned()),
        (_, None) => (),
    }
}

//! The plain answer: one JSON document.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::answer::{self, Notes};
use super::errors::open_error;
use super::lenient::{Body, Call, Choice, Count, Message, Slot, Undecodable, text_of, with_body};
use super::{CALLS_MAX, Delivery, Parsed};
use crate::domain::completion::RawJson;
use crate::domain::{Completion, Fault, ToolCall};

/// UTF-8's byte order mark.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Parses the body of a plain answer with status 200. Never panics, whatever the bytes.
///
/// # Errors
/// A [`Delivery`]: `ServerError` or `RateLimited` for an error object, `MalformedBody` for anything else without a
/// usable choice.
pub fn parse_plain(body: &[u8]) -> Parsed {
    parse(body, true)
}

/// As [`parse_plain`]; whether missing usage is a breach is the caller's to say.
pub(super) fn parse(bytes: &[u8], expects_usage: bool) -> Parsed {
    if bytes.trim_ascii().is_empty() {
        return Err(Delivery::new(Fault::MalformedBody, "the body is empty"));
    }
    let mut notes = Notes::default();
    let text = bytes.strip_prefix(BOM).unwrap_or(bytes);
    if text.len() < bytes.len() {
        notes.add(Fault::WireShape, "the body begins with a byte order mark");
    }
    with_body(text, |body, corrupt| match body {
        Ok(body) => {
            if corrupt {
                notes.add(Fault::CorruptText, "the body is not valid UTF-8");
            }
            read(body, notes, expects_usage)
        }
        Err(Undecodable::Syntax) => Err(Delivery::new(Fault::MalformedBody, "the body is not JSON")),
        Err(Undecodable::NotAnObject(kind)) => {
            Err(Delivery::new(Fault::MalformedBody, format!("the body is {kind}, not a JSON object")))
        }
    })
}

fn read(body: Body<'_>, mut notes: Notes, expects_usage: bool) -> Parsed {
    check_error(body.error)?;
    let choices = match body.choices {
        Slot::Is(choices) if !choices.is_empty() => choices,
        Slot::Is(_) => return Err(unusable("choices is empty")),
        Slot::Null => return Err(unusable("choices is null")),
        Slot::Absent => return Err(unusable("choices is missing")),
        Slot::Other(kind) => return Err(unusable(&format!("choices is {kind}, not an array"))),
    };
    let count = u32::try_from(choices.len()).unwrap_or(u32::MAX);
    let Some(choice) = first_choice(choices, &mut notes) else { return Err(unusable("no choice is an object")) };
    check_error(choice.error)?;

    let mut completion = Completion { choices: count, ..Completion::default() };
    answer::required(body.id, "id", &mut notes);
    if answer::required(body.object, "object", &mut notes).is_some_and(|object| object != "chat.completion") {
        notes.add(Fault::WireShape, "object is not chat.completion");
    }
    if !matches!(Count::of(body.created), Count::Is(_)) {
        notes.add(Fault::WireShape, "created is missing or not a whole number");
    }
    completion.model = answer::required(body.model, "model", &mut notes).map(Cow::into_owned);
    completion.served_by = body.provider.is().map(Cow::into_owned);
    completion.fingerprint = body.fingerprint.is().map(Cow::into_owned);
    completion.finish_reason = finish_reason(choice.finish_reason, &mut notes);
    completion.truncated = completion.finish_reason.is_none();
    completion.logprobs = choice.logprobs.map(|raw| Box::new(RawJson(raw.to_owned())));
    let message = match (choice.message, choice.delta) {
        (Slot::Is(message), _) => message,
        (_, Slot::Is(delta)) => {
            notes.add(Fault::WireShape, "a plain answer carries a delta instead of a message");
            delta
        }
        _ => return Err(unusable("the choice has no message")),
    };
    take_message(message, &mut completion, &mut notes)?;
    let usage = answer::usage(body.usage, &mut notes);
    completion.usage = usage.unwrap_or_default();
    answer::check_whole(&completion, usage.is_some(), expects_usage, &mut notes);
    completion.breaches = notes.into_breaches();
    Ok(completion)
}

fn unusable(what: &str) -> Delivery {
    Delivery::new(Fault::MalformedBody, format!("no usable choices: {what}"))
}

fn check_error(raw: Option<&RawValue>) -> Result<(), Delivery> {
    match open_error(raw) {
        None => Ok(()),
        Some(error) => {
            let fault = if error.rate_limited { Fault::RateLimited } else { Fault::ServerError };
            Err(Delivery::new(fault, format!("an error object under status 200: {}", error.message)))
        }
    }
}

/// The choice with the smallest index; one without an index counts as its place says.
fn first_choice<'b>(choices: Vec<Slot<Choice<'b>>>, notes: &mut Notes) -> Option<Choice<'b>> {
    let mut first: Option<(u64, Choice<'b>)> = None;
    for (place, slot) in choices.into_iter().enumerate() {
        let Slot::Is(choice) = slot else {
            notes.add(Fault::WireShape, "a choice is not an object");
            continue;
        };
        let index = Count::of(choice.index).value().unwrap_or_else(|| {
            notes.add(Fault::WireShape, "a choice has no index");
            place as u64
        });
        if first.as_ref().is_none_or(|(smallest, _)| index < *smallest) {
            first = Some((index, choice));
        }
    }
    first.map(|(_, choice)| choice)
}

/// A finish reason; the empty string is none.
pub(super) fn finish_reason(slot: Slot<Cow<'_, str>>, notes: &mut Notes) -> Option<String> {
    let reason = answer::text(slot, "finish_reason", notes)?;
    if reason.is_empty() {
        notes.add(Fault::WireShape, "finish_reason is the empty string");
        return None;
    }
    Some(reason.into_owned())
}

fn take_message(message: Message<'_>, completion: &mut Completion, notes: &mut Notes) -> Result<(), Delivery> {
    if answer::required(message.role, "role", notes).is_some_and(|role| role != "assistant") {
        notes.add(Fault::WireShape, "role is not assistant");
    }
    completion.content = answer::content(message.content, notes).map(Cow::into_owned);
    completion.refusal = answer::text(message.refusal, "refusal", notes).map(Cow::into_owned);
    completion.reasoning = reasoning(message.reasoning, message.reasoning_content, notes).map(Cow::into_owned);
    match message.tool_calls {
        Slot::Is(calls) => {
            completion.tool_calls_present = true;
            if calls.len() > CALLS_MAX {
                let detail = format!("the answer holds more than {CALLS_MAX} tool calls");
                return Err(Delivery::new(Fault::MalformedBody, detail));
            }
            completion.tool_calls.reserve_exact(calls.len());
            for slot in calls {
                match slot {
                    Slot::Is(call) => completion.tool_calls.push(tool_call(call, notes)),
                    _ => notes.add(Fault::WireShape, "an element of tool_calls is not an object"),
                }
            }
        }
        Slot::Other(kind) => notes.add(Fault::WireShape, &format!("tool_calls is {kind}, not an array")),
        Slot::Null | Slot::Absent => (),
    }
    Ok(())
}

/// Reasoning under either of its names; some providers send the same text under both. Empty is none.
pub(super) fn reasoning<'b>(
    reasoning: Slot<Cow<'b, str>>,
    reasoning_content: Slot<Cow<'b, str>>,
    notes: &mut Notes,
) -> Option<Cow<'b, str>> {
    let first = answer::text(reasoning, "reasoning", notes).filter(|text| !text.is_empty());
    let second = answer::text(reasoning_content, "reasoning_content", notes).filter(|text| !text.is_empty());
    first.or(second)
}

fn tool_call(call: Call<'_>, notes: &mut Notes) -> ToolCall {
    let id = call_id(call.id, notes);
    match answer::required(call.kind, "type of a call", notes).as_deref() {
        None | Some("function") => (),
        Some(_) => notes.add(Fault::WireShape, "the type of a call is not function"),
    }
    let Slot::Is(function) = call.function else {
        notes.add(Fault::WireShape, "a call has no function");
        return ToolCall { id, name: String::new(), arguments: None, arguments_as_value: false };
    };
    let name = answer::text(function.name, "name of a call", notes).map(Cow::into_owned).unwrap_or_default();
    let (arguments, arguments_as_value) = match function.arguments {
        None => (None, false),
        Some(raw) => match text_of(raw) {
            Some(text) => (Some(text.into_owned()), false),
            None => {
                notes.add(Fault::WireShape, "arguments are a JSON value, not a string");
                (Some(raw.get().to_owned()), true)
            }
        },
    };
    ToolCall { id, name, arguments, arguments_as_value }
}

/// The id of a call; one that is no string is noted and is none.
pub(super) fn call_id(slot: Slot<Cow<'_, str>>, notes: &mut Notes) -> Option<String> {
    match slot {
        Slot::Is(id) => Some(id.into_owned()),
        Slot::Other(_) => {
            notes.add(Fault::BadCallId, "the id of a call is not a string");
            None
        }
        Slot::Null | Slot::Absent => None,
    }
}

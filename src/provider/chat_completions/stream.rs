//! The stream: frames put together as the contract says, the choices apart.

use std::borrow::Cow;

use super::answer::{self, Notes};
use super::choice::ChoiceDraft;
use super::errors::{excerpt, open_error};
use super::lenient::{Body, Choice, Count, Slot, Undecodable, with_body};
use super::{CHOICES_MAX, Delivery, Parsed};
use crate::domain::{Fault, Usage};
use crate::provider::sse::{Event, SseParser};

/// The data of the event that ends a stream.
const DONE: &[u8] = b"[DONE]";
/// The name of events that signal an error.
const ERROR_EVENT: &[u8] = b"error";

/// What the bytes so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Text, reasoning or a call has arrived.
    pub has_content: bool,
    /// A finish reason has arrived: the answer is whole, whatever becomes of the rest of the stream.
    pub is_complete: bool,
    /// `[DONE]` has arrived.
    pub is_done: bool,
    /// The outcome is settled (error frame, undecodable frame, limit): reading on is of no use.
    pub is_settled: bool,
}

/// Puts a stream together from its bytes, in any pieces.
#[derive(Debug)]
pub struct StreamAssembler {
    parser: SseParser,
    draft: Draft,
    expects_usage: bool,
}

impl StreamAssembler {
    /// At the start of a stream; `expects_usage` when the request asked for it.
    #[must_use]
    pub fn new(expects_usage: bool) -> Self {
        StreamAssembler { parser: SseParser::new(), draft: Draft::default(), expects_usage }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        if self.draft.failed.is_none() {
            let draft = &mut self.draft;
            draft.any_bytes |= !bytes.is_empty();
            if let Err(error) = self.parser.push(bytes, |event| draft.take_event(event)) {
                self.draft.fail(Fault::MalformedBody, error.to_string());
            }
        }
        self.progress()
    }

    /// What has arrived so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            has_content: self.draft.choices.iter().any(|choice| choice.has_content),
            is_complete: self.draft.main_choice().is_some_and(|choice| choice.finish_reason.is_some()),
            is_done: self.draft.done,
            is_settled: self.draft.failed.is_some(),
        }
    }

    /// At least one choice has arrived, be it unfinished.
    #[must_use]
    pub fn has_choice(&self) -> bool {
        !self.draft.choices.is_empty()
    }

    /// The answer, when no more bytes will come.
    ///
    /// # Errors
    /// A [`Delivery`]: `StreamError` for an error frame, `MalformedBody` for a stream without any choice, with a frame
    /// that is not JSON, or beyond a limit.
    pub fn finish(mut self) -> Parsed {
        if let Some(rest) = self.parser.into_rest() {
            self.draft.take_rest(&rest);
        }
        self.draft.finish(self.expects_usage)
    }
}

/// Everything known of the stream so far.
#[derive(Debug, Default)]
struct Draft {
    any_bytes: bool,
    frames: u64,
    id: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    provider_changed: bool,
    fingerprint: Option<String>,
    choices: Vec<ChoiceDraft>,
    usage: Option<Usage>,
    /// The last usage came in a frame with choices instead of one of its own.
    usage_beside_choices: bool,
    /// Frames that carried usage.
    usages: u64,
    /// A part of the answer came after a frame of usage alone.
    usage_before_the_end: bool,
    done: bool,
    failed: Option<Delivery>,
    notes: Notes,
}

impl Draft {
    fn fail(&mut self, fault: Fault, detail: impl Into<String>) {
        if self.failed.is_none() {
            self.failed = Some(Delivery::new(fault, detail));
        }
    }

    /// The choice that is judged: the one with the smallest index.
    fn main_choice(&self) -> Option<&ChoiceDraft> {
        self.choices.iter().min_by_key(|choice| choice.index)
    }

    fn take_event(&mut self, event: Event<'_>) {
        let data = event.data.trim_ascii();
        if self.failed.is_some() || data.is_empty() {
            return;
        }
        if self.done {
            self.notes.add(Fault::WireShape, "a frame follows [DONE]");
        } else if data == DONE {
            self.done = true;
        } else {
            self.frames += 1;
            with_body(data, |body, corrupt| {
                if corrupt {
                    self.notes.add(Fault::CorruptText, "a frame is not valid UTF-8");
                }
                self.take_frame(body, event.name == ERROR_EVENT, data);
            });
        }
    }

    /// An event that the end of the stream cut off: counts where it can be decoded.
    fn take_rest(&mut self, rest: &[u8]) {
        let data = rest.trim_ascii();
        if data == DONE || with_body(data, |body, _| body.is_ok()) {
            self.notes.add(Fault::WireShape, "the last event is not ended by an empty line");
            self.take_event(Event { name: b"", data });
        }
    }

    fn take_frame(&mut self, body: Result<Body<'_>, Undecodable>, is_error: bool, data: &[u8]) {
        match body {
            _ if is_error && !matches!(&body, Ok(body) if body.error.is_some()) => {
                let message = super::message_of_error_body(data);
                self.fail(Fault::StreamError, format!("an error event inside the stream: {message}"));
            }
            Ok(body) => self.take_body(body),
            Err(Undecodable::Syntax) => {
                let start = excerpt(&String::from_utf8_lossy(&data[..data.len().min(EXCERPT_BYTES)]));
                self.fail(Fault::MalformedBody, format!("frame {} is not JSON: {start}", self.frames));
            }
            Err(Undecodable::NotAnObject(kind)) => {
                self.notes.add(Fault::WireShape, &format!("a frame is {kind}, not an object"));
            }
        }
    }

    fn take_body(&mut self, body: Body<'_>) {
        if let Some(error) = open_error(body.error) {
            self.fail(Fault::StreamError, format!("an error frame inside the stream: {}", error.message));
            return;
        }
        let choices = match body.choices {
            Slot::Is(choices) => choices,
            Slot::Absent if matches!(body.usage, Slot::Absent | Slot::Null) => return,
            Slot::Absent => vec![],
            Slot::Null | Slot::Other(_) => {
                self.notes.add(Fault::WireShape, "choices of a frame is not an array");
                vec![]
            }
        };
        // Frames of an aggregator's own, before any answer, may lack everything.
        if !choices.is_empty() {
            self.take_head(body.id, body.object, Count::of(body.created));
            let model = answer::required(body.model, "model", &mut self.notes);
            constant(&mut self.model, model, "model changes within the stream", &mut self.notes);
        }
        if let Some(provider) = body.provider.is() {
            self.take_provider(provider);
        }
        if self.fingerprint.is_none() {
            self.fingerprint = body.fingerprint.is().map(Cow::into_owned);
        }
        self.usage_before_the_end |= !choices.is_empty() && self.usage.is_some() && !self.usage_beside_choices;
        if let Some(usage) = answer::usage(body.usage, &mut self.notes) {
            self.usage = Some(usage);
            self.usages += 1;
            self.usage_beside_choices = !choices.is_empty();
        }
        for slot in choices {
            match slot {
                Slot::Is(choice) => self.take_choice(choice),
                _ => self.notes.add(Fault::WireShape, "a choice is not an object"),
            }
        }
    }

    fn take_head(&mut self, id: Slot<Cow<'_, str>>, object: Slot<Cow<'_, str>>, created: Count) {
        let notes = &mut self.notes;
        let id = answer::required(id, "id", notes);
        constant(&mut self.id, id, "id changes within the stream", notes);
        if answer::required(object, "object", notes).is_some_and(|object| object != "chat.completion.chunk") {
            notes.add(Fault::WireShape, "object is not chat.completion.chunk");
        }
        if !matches!(created, Count::Is(_)) {
            notes.add(Fault::WireShape, "created is missing or not a whole number");
        }
    }

    fn take_choice(&mut self, choice: Choice<'_>) {
        if let Some(error) = open_error(choice.error) {
            self.fail(Fault::StreamError, format!("an error frame inside the stream: {}", error.message));
            return;
        }
        let index = Count::of(choice.index).value().unwrap_or_else(|| {
            self.notes.add(Fault::WireShape, "a choice has no index");
            0
        });
        let at = match self.choices.iter().position(|draft| draft.index == index) {
            Some(at) => at,
            None if self.choices.len() >= CHOICES_MAX => {
                self.fail(Fault::MalformedBody, format!("the stream holds more than {CHOICES_MAX} choices"));
                return;
            }
            None => {
                self.choices.push(ChoiceDraft::new(index));
                self.choices.len() - 1
            }
        };
        if let Err(detail) = self.choices[at].take(choice, self.frames, &mut self.notes) {
            self.fail(Fault::MalformedBody, detail);
        }
    }

    /// Who served a frame. Of a stream by two, both are told: it is not the first one's answer.
    fn take_provider(&mut self, provider: Cow<'_, str>) {
        match self.provider.take() {
            Some(first) if first != provider && !self.provider_changed => {
                self.notes.add(Fault::WireShape, "provider changes within the stream");
                self.provider_changed = true;
                self.provider = Some(format!("{first}, {provider}"));
            }
            Some(known) => self.provider = Some(known),
            None => self.provider = Some(provider.into_owned()),
        }
    }

    fn finish(mut self, expects_usage: bool) -> Parsed {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let count = u32::try_from(self.choices.len()).unwrap_or(u32::MAX);
        let Some(choice) = self.choices.into_iter().min_by_key(|choice| choice.index) else {
            let detail = match (self.any_bytes, self.frames) {
                (false, _) => "the stream is empty".to_owned(),
                (true, 0) => "the stream holds no frame".to_owned(),
                (true, frames) => format!("none of the stream's {frames} frames holds a choice"),
            };
            return Err(Delivery::new(Fault::MalformedBody, detail));
        };
        let mut completion = choice.into_completion(&mut self.notes);
        if !completion.truncated {
            if !self.done {
                self.notes.add(Fault::WireShape, "the stream does not end with [DONE]");
            }
            if self.usage_beside_choices {
                self.notes.add(Fault::WireShape, "usage does not come in a frame of its own");
            }
            if self.usage_before_the_end {
                self.notes.add(Fault::WireShape, "usage comes before the end of the answer");
            }
            if self.usages > 1 {
                self.notes.add(Fault::WireShape, "usage is sent more than once");
            }
        }
        completion.usage = self.usage.unwrap_or_default();
        completion.model = self.model;
        completion.served_by = self.provider;
        completion.fingerprint = self.fingerprint;
        completion.choices = count;
        completion.streamed = true;
        answer::check_whole(&completion, self.usage.is_some(), expects_usage, &mut self.notes);
        completion.breaches = self.notes.into_breaches();
        Ok(completion)
    }
}

/// Bytes of an undecodable frame that are looked at for its excerpt.
const EXCERPT_BYTES: usize = 1024;

/// Keeps the first value and notes another one.
fn constant(kept: &mut Option<String>, value: Option<Cow<'_, str>>, what: &str, notes: &mut Notes) {
    match (kept.as_deref(), value) {
        (None, Some(value)) => *kept = Some(value.into_owned()),
        (Some(first), Some(value)) if first != value => notes.add(Fault::WireShape, what),
        _ => (),
    }
}

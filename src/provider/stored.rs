//! An answer that is at hand already, whole: stored by an earlier sweep, or somebody else's.

use serde_json::Map;

use super::chat_completions::{Parsed, StreamAssembler, expects_usage, parse_plain};
use super::transport::{Form, Want, in_the_asked_form};
use crate::domain::CaseInstance;

/// How a stream begins: a field of an event, or a comment.
const STREAM_BEGINNINGS: &[&[u8]] = &[b"data:", b"event:", b"id:", b"retry:", b":"];

/// Reads the body of a successful answer to a case. Its first bytes tell whether it is a stream; an empty one is taken
/// to have the form that the case asks for.
///
/// # Errors
/// [`Delivery`](super::Delivery) for what is no usable answer.
pub fn read_answer(body: &[u8], instance: &CaseInstance) -> Parsed {
    read(body, Want { stream: instance.stream(), usage: expects_usage(instance, &Map::new()) })
}

/// Reads the body of a successful answer, to whatever case, in whatever form.
///
/// # Errors
/// As [`read_answer`].
pub fn read_kept(body: &[u8]) -> Parsed {
    read(body, Want { stream: form_of(body, false) == Form::Stream, usage: false })
}

/// The form of a body. An empty one has that which is asked for.
fn form_of(body: &[u8], stream: bool) -> Form {
    let start = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    match start.is_empty() {
        true if stream => Form::Stream,
        true => Form::Plain,
        false if STREAM_BEGINNINGS.iter().any(|beginning| start.starts_with(beginning)) => Form::Stream,
        false => Form::Plain,
    }
}

fn read(body: &[u8], want: Want) -> Parsed {
    let form = form_of(body, want.stream);
    let outcome = match form {
        Form::Plain => parse_plain(body),
        Form::Stream => {
            let mut assembler = StreamAssembler::new(want.usage);
            assembler.push(body);
            assembler.finish()
        }
    };
    in_the_asked_form(outcome, want, form, false)
}

//! OpenAI chat completions: the request body, the plain answer, the stream.
//!
//! Decoding is lenient where that needs no guess, and every breach of the contract is noted
//! ([`Breach`](crate::domain::Breach)): arguments sent as an object, missing ids, a missing index, usage that does not
//! add up. Nothing is repaired: the arguments of a call are the text that was sent.
//!
//! Broken successes are a [`Delivery`] with `MalformedBody`; open errors under status 200 one with `ServerError`,
//! `RateLimited` or, inside a stream, `StreamError`. An answer without a finish reason is a Completion with `truncated`.

mod answer;
mod choice;
mod errors;
mod lenient;
mod message;
mod plain;
mod request;
mod stream;

pub use message::{completion_from_message, read_message};
pub use plain::parse_plain;
pub use request::{expects_usage, request_body};
pub use stream::{Progress, StreamAssembler};

pub(super) use errors::message_of_error_body;

use crate::domain::{Completion, Fault};

/// Most tool calls in one answer.
pub const CALLS_MAX: usize = 1024;
/// Most choices in one answer.
pub const CHOICES_MAX: usize = 128;
/// Most breaches kept of one answer; further ones say nothing new.
pub const BREACHES_MAX: usize = 32;
/// Most characters of a provider's own words in a detail text. The transport shortens further, once secrets are out.
pub const EXCERPT_CHARS_MAX: usize = 2000;

/// No usable answer, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// A delivery Fault, or `MalformedBody`.
    pub fault: Fault,
    /// What was seen, in words; without secrets.
    pub detail: String,
}

impl Delivery {
    pub(super) fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Delivery { fault, detail: detail.into() }
    }
}

/// An answer, or why there is none.
pub type Parsed = Result<Completion, Delivery>;

#[cfg(test)]
mod tests;

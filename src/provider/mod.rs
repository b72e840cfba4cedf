//! Edge: one request to one provider, and what came of it.
//!
//! ```text
//! CaseInstance -> request body -> try, try again (each recorded) -> Completion | Delivery
//! ```
//!
//! A [`Client`] speaks to one provider. It never judges: an answer that can be decoded without guessing becomes a
//! [`Completion`](crate::domain::Completion), its breaches of the wire contract listed in it; everything else becomes
//! a [`Delivery`] with the Fault that describes it. Only transport Faults are tried again.
//!
//! | file | concern |
//! |---|---|
//! | `client` | settings, the retry loop, one [`Reply`] per Attempt |
//! | `transport` | one try: time limits, size limits, status, headers |
//! | `stored` | an answer that is at hand already |
//! | `chat_completions` | the protocol: request body, plain answer, stream |
//! | `sse` | Server-Sent Events from bytes in any pieces |
//! | `retry` | how long to wait before the next try |
//! | `limiter` | how much may be in flight per endpoint, and the pace learnt from refusals |
//! | `scrub` | no credential leaves this module |

pub mod chat_completions;
pub mod client;
pub mod limiter;
pub mod retry;
pub mod scrub;
pub mod sse;
mod stored;
mod transport;
mod unescape;

#[cfg(test)]
mod test_kit;
#[cfg(test)]
mod tests;

pub use chat_completions::{Delivery, Parsed, completion_from_message, read_message};
pub use client::{Client, ClientError, Reply};
pub use limiter::EndpointLimiter;
pub use scrub::Scrubber;
pub use stored::{read_answer, read_kept};
pub use transport::{BODY_BYTES_MAX, STREAM_BYTES_MAX};

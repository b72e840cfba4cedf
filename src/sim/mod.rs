//! The provider simulator: real HTTP servers that play good and bad providers with known truth.
//!
//! A [`SimSpec`] says which endpoints there are, how good each is and what is wrong with it. [`start`] gives each
//! a listener of its own that speaks OpenAI chat completions, plain and streaming. The right answer to a request
//! comes from a [`Library`] of suites, found by the request's messages and tools alone; defects of the
//! [`catalogue`] damage it on the way out. Everything drawn follows from the seed and the request, so the same
//! seed and the same requests give the same answers, whatever the concurrency.
//!
//! ```text
//! request -> prompt (read once, remembered) -> library (which case?) -> answer (right, or wrong by the base rate)
//!         -> defects: http | content | answer | frames -> render -> response
//! ```
//!
//! | module | concern |
//! |---|---|
//! | [`spec`], `spec_file` | what a fleet is; reading it from TOML |
//! | [`fleet`] | a random fleet with its truth, for the demo |
//! | [`prompt`] | what a request asks for |
//! | [`library`] | which case it is, and the right answer |
//! | [`answer`], [`wrong`], [`schema`] | the answer before it is written; plausible wrong ones |
//! | [`defects`] | the catalogue: one row and one function each |
//! | [`schedule`] | whether an injection strikes: condition, time, correlation |
//! | `frames`, [`render`] | cutting into deltas; bytes |
//! | [`play`] | one endpoint without sockets |
//! | [`server`] | sockets |
//! | [`control`] | breaking, healing and counting while it runs, from outside |
//! | [`draws`] | the only source of randomness |

pub mod answer;
pub mod control;
pub mod defects;
pub mod draws;
pub mod exam;
pub mod fleet;
mod frames;
mod language;
pub mod library;
pub mod play;
pub mod prompt;
pub mod render;
pub mod schedule;
pub mod schema;
pub mod server;
pub mod spec;
mod spec_file;
pub mod wrong;

#[cfg(test)]
mod tests;

pub use defects::{Defect, Expected, catalogue};
pub use fleet::random_fleet;
pub use library::Library;
pub use play::{Counts, Outcome};
pub use server::{RunningSim, SimError, start, start_with_clock};
pub use spec::{AuditAwareness, Condition, EndpointSpec, Injection, Language, SimSpec, Truth};

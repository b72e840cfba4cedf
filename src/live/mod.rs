//! Live traffic: what gateways report about the answers they got.
//!
//! Gateways send one record per answer. A record is read, its endpoint is found by
//! the names that the configuration gives ([`Directory`]), what it says is put into one of a few outcomes
//! ([`Observation`]), and the outcome is counted: per endpoint, stratum and minute ([`Cell`]), so that storage grows with
//! endpoints and minutes and not with traffic. Records themselves are not kept: what they hold of prompts and answers
//! ends here.
//!
//! Everything in this module is a function of its arguments: no IO, no clock. [`Intake`] holds what is counted and not
//! yet stored, behind one lock that is taken once per [`BATCH_RECORDS`] records; the daemon writes it down.
//!
//! # What counts
//!
//! | class | of | counts |
//! |---|---|---|
//! | `rate_limit`, `timeout`, `network`, `server` | delivery | against the provider |
//! | `malformed`, `empty`, a tool call that is invalid | the answer | against the provider |
//! | `auth`, `client`, `context_length`, `content_filter`, `cancelled`, `other` | who asked, or nobody knows | not scored |
//!
//! Whether a tool call is valid has three states. *Not judged* (redacted, no schema, no call) is never taken for invalid.
//!
//! # What is believed
//!
//! A record without a trusted name of its endpoint is *unattributed*: counted, not scored. A record seen before (by its
//! id, within [`IDS_PER_SOURCE_MAX`] ids and [`IDS_KEPT_US`] per source) is counted once. Times outside the window of
//! [`TimeWindow`] are refused. What a source reports beyond [`WEIGHT_PER_SECOND_MAX`](watch::WEIGHT_PER_SECOND_MAX)
//! answers a second about an endpoint is counted and weighs no more.

mod calls;
mod cell;
mod directory;
mod door;
mod intake;
mod litellm;
mod loose;
mod native;
mod observation;
mod otlp;
mod protobuf;
mod recent;
mod records;
mod sketch;
#[cfg(test)]
mod tests;
mod unpack;
pub mod watch;

pub use calls::COMPILATIONS_PER_BODY;
pub use cell::{Cell, CellError, Count, Length, Stratum, Tools, WIDTHS_S};
pub use directory::{Directory, ModelNames, Named, Place, PlaceId};
pub use door::{Door, ERRORS_MAX, Format, LineError, Reply};
pub use intake::{BATCH_RECORDS, CELLS_MAX, Intake, NAMES_KEPT_MAX, Row, SourceView, Taken, Unattributed};
pub use native::RECORD_BYTES_MAX;
pub use observation::{Class, Invalid, Observation, Outcome, Refusal, TimeWindow};
pub use recent::{IDS_KEPT_US, IDS_PER_SOURCE_MAX};
pub use records::{Piece, Records};
pub use sketch::Sketch;
pub use unpack::{Packing, Spoilt};

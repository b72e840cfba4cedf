//! Publishes allowlists: the current documents as the exact bytes that are served, signed, swapped in one step.

mod board;
mod document;
pub mod exports;
pub mod file;
pub mod push;
pub mod webhook;

pub use board::{Board, Origin, Published};
pub use document::{Document, LIST_CACHE_CONTROL, Unfit, VERSION_HEADER, etag_of, http_date};

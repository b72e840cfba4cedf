//! Publishes allowlists: the current documents as the exact bytes that are served, swapped in one step.

mod board;

pub use board::{Board, Published, etag_of};

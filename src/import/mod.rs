//! Edge: suites and data sets of other tools, as suites of ours. One file per source.
//!
//! Third-party data is never part of the program: an importer reads a path that the user gives. What cannot be
//! brought over is never dropped in silence: it is refused, or named in [`Imported::notes`].

mod chat;
mod common;
mod graders;
pub mod inspect;
pub mod jsonschemabench;
pub mod k2vv;
pub mod openai_evals;
pub mod promptfoo;
pub mod redact;
pub mod requests;
pub mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use common::{Files, Problem};
pub use graders::Grader;

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file or folder cannot be read or written.
    #[error("failed to {action} {}: {source}", path.display())]
    File {
        /// What was tried: "read", "write", "create".
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What cannot be taken over, all of it.
    #[error("{}", common::listed(.0))]
    Problems(Vec<Problem>),
}

/// A suite made from foreign files, not yet written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The suite's name: that of its folder.
    pub name: String,
    /// Text of `suite.toml`.
    pub header: String,
    /// Lines of `cases.jsonl`, without line ends.
    pub cases: Vec<String>,
    /// What was left out or changed, and why: one sentence each.
    pub notes: Vec<String>,
}

//! Edge: suites of other tools become suites of ours.

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
#[cfg(test)]
mod tests;

pub use common::{Files, Problem};
pub use graders::Grader;

/// Why a source was not imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// What cannot be taken over; nothing was written.
    #[error("{}", common::listed(.0))]
    Problems(Vec<Problem>),
}

/// A suite, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The suite's name, also that of its folder.
    pub name: String,
    /// The text of `suite.toml`.
    pub header: String,
    /// The lines of `cases.jsonl`.
    pub cases: Vec<String>,
    /// What was left out or changed, and why.
    pub notes: Vec<String>,
}

//! Edge: suites and data sets of other tools, as suites of ours. One file per source.
//!
//! Third-party data is never part of the program: an importer reads a path that the user gives. What cannot be
//! brought over is never dropped in silence: it is refused, or named in [`Imported::notes`].

pub mod archive;
pub mod bfcl;
mod chat;
mod common;
mod graders;
pub mod ifeval;
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

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::suites::{CASES_FILE, HEADER_FILE};

pub use common::{Files, Problem};
pub use graders::Grader;

/// Why nothing was imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// A file or folder cannot be read or written.
    #[error("failed to {action} {}: {message}", path.display())]
    File {
        /// What was tried: "read", "write", "create".
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// The source is not what was announced.
    #[error("{}: {message}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// What was looked for, and what to give instead.
        message: String,
    },
    /// A line of a file in the source breaks its format.
    #[error("{file}, line {line}: {message}")]
    Line {
        /// The file, with its place inside an archive.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Something is larger than it may be.
    #[error("{what} is larger than the limit of {limit} {unit}")]
    TooLarge {
        /// What.
        what: String,
        /// How large it may be.
        limit: u64,
        /// Of what: "bytes", "entries", "cases".
        unit: &'static str,
    },
    /// It is there, and we do not take it.
    #[error("{0}")]
    Unsupported(String),
    /// What cannot be taken over, all of it.
    #[error("{}", common::listed(.0))]
    Problems(Vec<Problem>),
    /// The folder to write to exists.
    #[error("{} exists already; choose another folder, or remove it first", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
}

impl ImportError {
    fn file(action: &'static str, path: &Path, error: &io::Error) -> Self {
        ImportError::File { action, path: path.to_owned(), message: error.to_string() }
    }
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

/// Writes a suite into the folder `into/<name>` and gives that folder.
///
/// # Errors
/// The folder exists, or cannot be written.
pub fn write(imported: &Imported, into: &Path) -> Result<PathBuf, ImportError> {
    let dir = into.join(&imported.name);
    if dir.exists() {
        return Err(ImportError::Exists { path: dir });
    }
    fs::create_dir_all(&dir).map_err(|e| ImportError::file("create", &dir, &e))?;
    let mut cases = imported.cases.join("\n");
    cases.push('\n');
    for (name, text) in [(HEADER_FILE, &imported.header), (CASES_FILE, &cases)] {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|e| ImportError::file("write", &path, &e))?;
    }
    Ok(dir)
}

/// A TOML string: JSON's escapes are all of TOML's, except that DEL must be escaped too.
#[must_use]
pub fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

//! What goes to stdout and how a command ends. The only file that prints.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::diagnostics::Diagnostics;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and yes.
    Yes,
    /// Done, and the answer is no.
    No,
    /// Done, and what was to be checked is wrong: config or suites.
    Wrong,
    /// Interrupted by a signal.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Yes => ExitCode::from(0),
            Exit::No => ExitCode::from(1),
            Exit::Wrong => ExitCode::from(2),
            Exit::Interrupted => ExitCode::from(130),
        }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Wrong arguments.
    #[error("{0}")]
    Usage(String),
    /// Wrong config or suites.
    #[error("{0}")]
    Files(#[from] Diagnostics),
    /// It failed while running.
    #[error("{0}")]
    Failed(String),
    /// Output could not be written.
    #[error("failed to write output: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// Wraps any error of a run.
    pub fn failed(error: impl std::fmt::Display) -> Self {
        CliError::Failed(error.to_string())
    }

    /// 2 for usage, config and suites; 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CliError::Usage(_) | CliError::Files(_) => ExitCode::from(2),
            CliError::Failed(_) | CliError::Output(_) => ExitCode::from(1),
        }
    }
}

/// Writes text and a line end to stdout.
///
/// # Errors
/// When stdout is closed or full.
pub fn line(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes bytes as they are.
///
/// # Errors
/// When stdout is closed or full.
pub fn raw(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes one JSON document.
///
/// # Errors
/// When stdout is closed or full.
pub fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(CliError::failed)?;
    line(&text)
}

/// Writes a note to stderr; progress and explanations never go to stdout.
pub fn note(text: &str) {
    let mut err = io::stderr().lock();
    // A closed stderr must not end the run.
    let _ = err.write_all(text.as_bytes());
    let _ = err.write_all(b"\n");
}

/// Whether a person watches stderr.
#[must_use]
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// A terminal that says it has fewer columns says nothing: no table could be read on it.
const COLUMNS_MIN: u16 = 20;

/// A table for a terminal.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    // A pipe has no width, and some terminals do not tell theirs: keep rows whole.
    let narrow = table.width().is_none_or(|columns| columns < COLUMNS_MIN);
    if !io::stdout().is_terminal() || narrow {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header.to_vec());
    table
}

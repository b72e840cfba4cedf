//! Scorecards over windows and exports: polars frames from stored attempts. Display only; decides nothing.
//!
//! `store window -> frame -> group by endpoint and suite -> Scorecard -> table, JSON, CSV, Markdown, Parquet`

mod cards;
mod export;
mod figures;
mod frame;
mod notes;
mod results;
mod trigger;
mod versions;

pub use cards::{scorecards, share_interval};
pub use export::{card_frame, csv, markdown, parquet};
pub use frame::{attempt_frame, attempts_of_models, read_window};
pub use notes::SuiteNotes;
pub use results::{ResultRow, junit, promptfoo};
pub use versions::{Course, Versions};
/// A table in memory.
pub type Frame = polars::prelude::DataFrame;

use crate::store::StoreError;

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A frame; a defect of the program.
    #[error("failed to compute a table: {0}")]
    Frame(#[from] polars::error::PolarsError),
    /// The output file.
    #[error("failed to write the report: {0}")]
    Output(#[from] std::io::Error),
}

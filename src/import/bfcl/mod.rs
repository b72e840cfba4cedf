//! BFCL, Python single-turn: the wheel of `bfcl-eval` or its data folder.

mod data;
mod suite;

pub use data::{CASES_MAX, DataCase, DataSet, LINE_BYTES_MAX};
pub use suite::import;

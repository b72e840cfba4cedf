//! The rules of the Berkeley Function-Calling Leaderboard for Python single-turn cases, verdict for verdict those of
//! `bfcl-eval` 2026.3.23, its quirks included.
//!
//! [`BfclCase`] compiles one case (function documents and ground truth), [`BfclCase::judge`] judges a [`BfclAnswer`],
//! and [`convert_tools`] makes the OpenAI tools that are offered. Values are those of
//! [`python_json`](super::python_json), because the verdict depends on Python's kinds and equality.
//!
//! Known looseness of the rules is kept, since the point is to be equal: malformed calls count as abstention (see
//! [`BfclCase::judge_strictly`]), strings are compared without blanks and the signs `,./-_*^`, parallel calls are
//! matched greedily, types are checked one level deep.
//!
//! Where the official program does not answer but raises (an integer too large for a float, a string where it walks
//! through an object), the answer is wrong with the error type `checker:raised`, which is ours.

mod case;
mod category;
mod check;
mod decode;
mod equality;
mod error_type;
mod row;
mod scorer;
mod tools;

pub use case::{BfclCase, BrokenCase};
pub use category::{Category, CategoryError};
pub use decode::{BfclAnswer, BfclCall};
pub use equality::normalised;
pub use error_type::ErrorType;
pub use row::{BadRow, BfclRow};
pub(super) use scorer::BfclScorer;
pub use tools::convert_tools;

/// What the official checker says: valid, or why not.
pub type BfclVerdict = Result<(), ErrorType>;

/// The cases that no answer can pass (`bfcl-eval` 2026.3.23): two require parameters without an acceptable value, one
/// demands an undeclared parameter, one lists another parameter than it requires.
pub const UNSATISFIABLE: [&str; 4] =
    ["live_simple_106-63-0", "live_simple_112-68-0", "live_multiple_862-181-3", "live_multiple_964-207-0"];

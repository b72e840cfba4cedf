//! What a suite may hold at most. A file beyond a limit is refused with a message that names the limit.

/// Size of `suite.toml`, in bytes (`[vars]` may hold long texts).
pub const HEADER_BYTES_MAX: u64 = 16 << 20;
/// Size of `cases.jsonl`, in bytes.
pub const CASES_BYTES_MAX: u64 = 512 << 20;
/// Size of one line of `cases.jsonl`, in bytes.
pub const LINE_BYTES_MAX: usize = 8 << 20;
/// Cases in one suite.
pub const CASES_MAX: usize = 100_000;
/// Nesting of JSON values in a case or in the header, counted in brackets.
pub const DEPTH_MAX: usize = 64;
/// Drawn parameters of one case.
pub const PARAMS_MAX: usize = 64;
/// Derived values of one case.
pub const DERIVE_MAX: usize = 64;
/// Values in one `one_of` or `sample`.
pub const CHOICES_MAX: usize = 10_000;
/// Digits after the point of a `decimal`.
pub const DECIMAL_DIGITS_MAX: u32 = 9;
pub use crate::sandbox::limits::EXPRESSION_BYTES_MAX;
/// Length of the name of a parameter, derived value or variable, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Entries of `[vars]`.
pub const VARS_MAX: usize = 256;
/// Tools offered by one case.
pub const TOOLS_MAX: usize = 512;
/// Messages of one case.
pub const MESSAGES_MAX: usize = 2_000;
/// Tags of one case.
pub const TAGS_MAX: usize = 64;
/// Scorers of one case.
pub const SCORERS_MAX: usize = 64;
/// Repeats per case in sweeps by hand.
pub const EPOCHS_MAX: i64 = 1_000;
/// Starlark files of one suite.
pub const PROGRAMS_MAX: usize = 16;
/// Problems listed for one suite; more are counted in a last line.
pub const PROBLEMS_MAX: usize = 500;

/// What the `derive` expressions of one case may use per draw.
pub const DERIVE: crate::sandbox::Limits =
    crate::sandbox::Limits { steps: 50_000, work: 32 << 20, heap: 32 << 20, calls: 32, output: 1 << 20 };
/// Further answers of a case.
pub const ANSWERS_MAX: usize = 64;

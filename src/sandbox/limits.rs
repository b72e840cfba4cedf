//! What a program may be and may use. Every limit counts; none asks a clock, so that the same program on the same values
//! stops at the same place on every machine.

/// Longest source of a file, in bytes.
pub const SOURCE_BYTES_MAX: usize = 128 << 10;
/// Longest statement, in bytes without blanks, comments and the inside of strings. Bounds the depth of the syntax tree.
pub const STATEMENT_BYTES_MAX: usize = 4_096;
/// Length of one expression, in bytes: also bounds the depth of its syntax tree.
pub const EXPRESSION_BYTES_MAX: usize = 1_000;
/// Deepest indentation, in columns.
pub const INDENT_MAX: usize = 64;
/// Branches (`elif`) in one file: each nests one deeper in the syntax tree.
pub const ELIF_MAX: usize = 256;
/// Parameters and local names of one function.
pub const LOCALS_MAX: usize = 256;
/// Nested brackets.
pub const BRACKETS_MAX: usize = 64;
/// Nested lists, tuples and dicts in any value that is compared, written out, or handed in or out.
pub const VALUE_DEPTH_MAX: usize = 64;
/// Numbers of a `range`.
pub const RANGE_MAX: i32 = 1 << 20;
/// Largest integer, in bits.
pub const INT_BITS_MAX: u64 = 4_096;
/// Longest text that `int` reads, in bytes.
pub const INT_TEXT_MAX: usize = 1_024;
/// Digits after the point to which a float result is rounded, so that `3 * 1.15` is 3.45.
pub const FLOAT_DIGITS: usize = 9;

/// What one evaluation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls, operators on lists and texts, and loop rounds.
    pub steps: u64,
    /// Bytes that operators, methods and built-in functions read and write, roughly.
    pub work: u64,
    /// Bytes allocated over the whole evaluation: nothing is given back before its end.
    pub heap: usize,
    /// Nested calls.
    pub calls: usize,
    /// Bytes of the result as JSON.
    pub output: usize,
}

/// For custom scorers and for the functions of worlds: per call.
pub const SCRIPT: Limits = Limits { steps: 200_000, work: 64 << 20, heap: 64 << 20, calls: 32, output: 1 << 20 };

//! Starlark of suites: `derive` expressions, custom scorers, worlds. Pure: no IO, no clock, no randomness.
//!
//! The interpreter itself looks at its limits only now and then, between calls and loop rounds; a single built-in
//! (`"x" * 1000000000`, `list(range(1000000000))`, comparing two lists that hold one another many times over) could take
//! any amount of memory or time in between. So a source is never run as it is written:
//!
//! 1. `text` bounds what the parser sees: length, indentation, length of a statement.
//! 2. `guard` reads the syntax tree, refuses what cannot be bounded (see there), and writes the program anew: every operator,
//!    method and built-in function whose cost depends on the size of a value goes through a function of `natives`.
//! 3. `natives` reckons what an operation will read and write *before* it is done, and adds it to the evaluation's account
//!    ([`Limits::work`]). Beyond the account the evaluation ends.
//! 4. The interpreter's own limits on steps, allocated bytes and nested calls bound all the rest.
//!
//! All of it counts, so that a program ends the same way on every machine. A program cannot read files, environment,
//! network, time or random numbers: there is no function for it.

pub mod expressions;
mod guard;
pub mod limits;
mod natives;
mod number;
mod program;
mod text;
mod values;

#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use natives::RESERVED;
pub use program::{Failure, Program};
pub use text::Problem;

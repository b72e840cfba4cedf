//! Instruction following, judged as by lm-eval 0.4.13's IFEval checker: 25 instruction types, strict and loose.
//!
//! [`Instruction::parse`] reads one instruction id with its arguments; [`Response::new`] prepares an answer;
//! [`Instruction::strict`] and [`Instruction::loose`] judge it. Strict judges the answer as it is; loose is content when
//! any of eight variants passes: the answer without its first line, its last line or both, each also without asterisks.
//! A blank text follows nothing.
//!
//! Twenty types are exact: they give the official verdict on every input. Five are approximate, because they rest on
//! statistical models: the language of a text, its sentences, and its words as tokens ([`InstructionKind::is_exact`]).
//! `docs/scoring.md` has the agreement as measured.
//!
//! An instruction is unscored ([`Unscorable`]) where the official checker has no verdict of its own: an unknown type, a
//! missing or empty argument (it would draw one at random), a keyword that is a regular expression which Python rejects or
//! which no linear-time engine can match or count, or one whose matches would take too long to count in a long answer.

mod arguments;
mod english;
mod instruction;
mod language;
mod offline;
mod pattern;
mod python;
mod response;
mod rules;
mod scorer;
mod sentences;
mod tokens;

#[cfg(test)]
mod tests;

pub use arguments::Unscorable;
pub use instruction::{Instruction, InstructionKind};
pub use offline::{Row, RowVerdict, Unscored};
pub(super) use python::{is_space, is_word};
pub use response::{Response, without_reasoning};
pub(super) use scorer::{IfEval, MODES, compile};

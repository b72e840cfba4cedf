//! What is said of an answer by others than the rules: judges' votes, and what programs of the operator print.

use std::collections::BTreeMap;

use super::jury::Votes;

/// One run of a program on one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramRun {
    /// Which of the case's `exec` scorers asks, counted from 0.
    pub scorer: u32,
    /// The name of the program, as an `[[exec]]` of the config gives it.
    pub program: String,
    /// What it reads: one line of JSON.
    pub input: String,
}

/// What programs printed, by scorer; an error says in words why there is nothing to read.
pub type ProgramOutputs = BTreeMap<u32, Result<String, String>>;

/// All that a judgement rests on beside the case and the answer.
#[derive(Debug, Clone, Default)]
pub struct Testimony {
    /// What judges answered.
    pub votes: Votes,
    /// What programs printed.
    pub outputs: ProgramOutputs,
}

//! Core: conversations over a state. A suite writes the world in Starlark; the model acts on it through tools.
//!
//! A case with `world` is asked step by step: the assistant's calls are functions of the file, `def name(state, args)`; each
//! may change the state, and what it gives goes back as the tool's message. When the assistant answers without a call, the
//! next of the case's `turns` is said; after the last of them the conversation is over. The engine is pure: a state machine
//! ([`Conversation`]) that is told an answer and says what to ask next. The same answers always lead to the same end, so a
//! conversation that was interrupted goes on from what is stored of it.
//!
//! # Judgement
//!
//! One conversation is one outcome. In the order in which they are looked at:
//!
//! 1. An answer on the way that the implicit checks fail (unknown tool, arguments that are no JSON or break the schema,
//!    leaked markup, ..) ends the conversation with its Fault.
//! 2. More than `max_steps` answers: `WrongAnswer`, `world:max_steps`.
//! 3. The final state: `goal(state, setup)` says yes; or, without a goal, the state is that to which the calls of the
//!    `reference` lead, compared as canonical JSON. Else `WrongAnswer`, `world:goal` or `world:state`; `MissingCall` when no
//!    call was made at all where the reference makes some.
//! 4. Every call of `required` was made (as `tool-calls` in mode `subset`): `world:required`.
//! 5. Every text of `outputs` stands in what the assistant said, without regard to case and to commas: `world:output`.
//! 6. The case's own scorers judge the last answer.
//!
//! A world that fails, or goes beyond its limits, leaves the outcome unscored: the case is broken.

mod conversation;
mod world;

#[cfg(test)]
mod tests;

pub use conversation::{Conversation, Next, play, unfinished};
pub use world::{World, WorldError};

/// Answers of one conversation, when the case says nothing.
pub const STEPS_DEFAULT: u32 = 12;
/// Answers of one conversation, at most.
pub const STEPS_MAX: u32 = 32;
/// Things that the user says after the first messages, at most.
pub const TURNS_MAX: usize = 16;
/// Calls of one answer that are carried out; further ones are told that they were not.
pub const CALLS_PER_STEP_MAX: usize = 16;
/// Bytes that the tools of one answer give back, at most; further calls are told that they were not carried out.
pub const RESULT_BYTES_MAX: usize = 4 << 10;

//! Judging one Attempt: pure functions from (case, Completion) to a [`Judgement`](crate::domain::Judgement).
//!
//! [`Judge::prepare`] compiles a drawn case once; [`PreparedCase::judge`] then judges each endpoint's answer.
//! [`judge_delivery`] judges an Attempt that brought no Completion. [`check_spec`] and [`check_case`] check scorers as
//! written in a suite.
//!
//! # Verdict
//!
//! Every case is judged by the implicit checks and by its scorers. It passes when no implicit check fails and every
//! scorer reaches its `threshold` (default 1). The score is the mean of the scorers' values by `weight` (default 1);
//! it is 0 when an implicit check failed, and 1 for a passed case without scorers. The primary Fault is the first in
//! the order of [`Fault`](crate::domain::Fault), with these rulings before it (defects, 1.1):
//!
//! * ambiguous call indexes are `BadCallIndex`, whatever the merged arguments look like;
//! * where a call was due, also by a forced choice, an empty answer is `EmptyAnswer` and a reasoning-only one
//!   `ReasoningOnly`, with `MissingCall` secondary, unless a call leaked as text or the finish reason announced one;
//! * finish reason `tool_calls` without a call is `MissingCall`, with `WrongFinishReason` secondary, wherever tools are
//!   offered;
//! * `WrongAnswer` means well formed and wrong: it is neither primary nor secondary beside a Fault that failed the
//!   answer;
//! * odd finish reasons, bad call ids, arguments as a JSON value, impossible usage and the breaches that the provider
//!   module saw are secondary; an output cut below the asked limit (`LimitLowered`) is secondary while the answer
//!   passes, and can be primary once it fails;
//! * a case judged by `bfcl` alone gets the verdict and the error type of the official checker: the implicit checks fail
//!   nothing there, they name the Fault of an answer that fails.
//!
//! # Options of a scorer
//!
//! Its own table over the keys of the case's `expected` (when that is an object); `weight` and `threshold` stand in the
//! scorer's table only. See [`scorer_version`] for the kinds' versions.
//!
//! # Error types
//!
//! | concern | error types |
//! |---|---|
//! | `arguments:` | `empty`, `cut_off`, `trailing_data`, `not_json`, `double_encoded`, `not_object`, `schema` |
//! | `call:` | `unknown_name`, `ambiguous_index`, `bad_id`, `repeated_id` |
//! | `tool_choice:` | `no_call`, `wrong_tool`, `forbidden_call` |
//! | `tool_calls:` | `no_call`, `announced`, `unexpected_call`, `missing_call`, `extra_call`, `wrong_name`, `wrong_order`, `missing_argument`, `extra_argument`, `wrong_argument` |
//! | `parallel_calls:` | `too_few` |
//! | `tool_names:`, `tool_trigger:` | `mismatch`; `no_call`, `call` |
//! | `finish_reason:` | `unexpected`, `unknown`, `stop_with_calls`, `calls_announced`, `cut_off` |
//! | `leak:` | `tool_markup`, `reasoning_markup`, `arguments_as_text` |
//! | `answer:` | `empty`, `reasoning_only` |
//! | `text:` | `replacement_character`, `foreign_script`, `loop`, `forbidden` (a negated scorer) |
//! | `json:` | `not_json`, `schema`, `wrong_value` |
//! | text scorers | `equals:mismatch`, `contains:missing`, `regex:no_match`, `starts_with:mismatch`, `number:mismatch`, `number:none`, `choice:mismatch`, `choice:none`, `length:too_short`, `length:too_long`, `count:too_few`, `count:too_many`, `count:not_counted`, `answer_in_text:absent`, `levenshtein:too_far`, `fuzzy:mismatch`, `is_refusal:answered`, `contains_json:none` |
//! | `ifeval:` | `not_followed` |
//! | others | `stop:overrun`, `needle:absent`, `needle:prompt_tokens`, `script:other_dominates`, `script:mixed`, `script:no_letters`, `group:below_threshold`, `limit:lowered`, `choices:missing`, `choices:unasked`, `usage:zero`, `usage:too_few`, `usage:reasoning_uncounted`, `usage:prompt_tokens`, `wire:arguments_as_value`, `wire:breach` |
//! | `latency:`, `cost:` | `too_slow`; `too_high` |
//! | `starlark:`, `exec:` | `failed`, or the name that the scorer or the program gives |
//! | `judge:` | `fail` |
//! | `bfcl` | those of [`bfcl::ErrorType`] |
//! | `delivery:` | `malformed_body`, `truncated`, `unusable` |

mod arguments;
mod asserts;
pub mod bfcl;
mod budget;
mod calls;
mod context;
mod corrupt;
mod custom;
mod degenerate;
mod delivery;
mod error;
mod exec;
mod extent;
mod finding;
pub mod ifeval;
mod implicit;
mod judge;
mod kinds;
mod leak;
mod letter;
mod matchers;
mod matching;
mod numbers;
mod options;
mod parameters;
mod plain_schema;
mod programs;
pub mod promptfoo;
pub mod python_json;
mod rubric;
mod run_facts;
mod schema;
mod script;
mod spec;
mod structured;
mod text;
mod tool_calls;
mod tool_choice;
mod wire;

#[cfg(test)]
mod tests;

pub use arguments::ArgumentSchemas;
pub use custom::{SCORE_FUNCTION, completion_value};
pub use delivery::judge_delivery;
pub use error::ScorerError;
pub use exec::programs_of;
pub use judge::{Judge, PreparedCase};
pub use kinds::scorer_version;
pub use matchers::json_equal;
pub use plain_schema::is_plain_schema;
pub use rubric::{JudgeUse, VOTES_MAX, VOTES_MIN, judges_of};
pub use schema::check_schema;
pub use spec::{LIST_MAX, SpecProblem, check_case, check_spec, foreign_keys, must_be_compiled};
pub use text::PATTERN_TEXT_BYTES_MAX;

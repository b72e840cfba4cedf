//! Edge: suites of cases, from files to [`crate::domain::Suite`] and from there to what is sent.
//!
//! A suite is a folder with `suite.toml` (the header) and `cases.jsonl` (one case per line). It loads whole or not at
//! all: [`load_suite`] answers with the suite, or with *everything* that is wrong, each with file, line, caret and hint.
//!
//! Starlark files beside them are the custom scorers and worlds of its cases.
//!
//! A case may be a template: `params` are drawn, `derive` computes further values as small Starlark expressions, and
//! `{{name}}` stands for any of them ([`template`]). A [`Drawer`] makes the instances. A draw is a function of seed,
//! suite digest, case and epoch: the same for every endpoint of a sweep, different in the next, reproducible for ever.
//!
//! How a case is read, one file per step:
//! bytes -> `strict_json` (`strict_text` for what is kept as text) / `toml_doc` -> `case` / `header` (keys, types) ->
//! `template` and `sandbox` (names, expressions) -> one trial draw -> `plain`, else `check` (tools, schemas, scorers of the
//! instance) -> `digest`.

mod asserts;
mod case;
mod check;
mod chunks;
mod digest;
mod drawer;
mod header;
mod keys;
pub mod limits;
mod load;
mod near_misses;
mod pair;
mod params;
mod plain;
mod probes;
mod scaffold;
mod schema;
mod scorers;
mod shipped;
mod source;
mod strict_json;
mod strict_text;
pub mod template;
#[cfg(test)]
mod tests;
mod toml_doc;

pub use drawer::{DrawError, Drawer};
pub use header::FORMAT_VERSION;
pub use load::{CASES_FILE, HEADER_FILE, load_all, load_given, load_suite, parse_suite, parse_suite_with};
pub use near_misses::{NearMiss, near_misses};
pub use params::GENERATOR;
pub use probes::{TOKEN_REPEATS, probes};
pub use scaffold::{ScaffoldError, new_suite};
pub use schema::{case_schema, header_schema, schema};
pub use shipped::shipped;

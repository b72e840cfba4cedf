//! `suite new`: a small suite that loads, to be changed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::domain::SuiteName;

use super::load::{CASES_FILE, HEADER_FILE};

/// Why no suite was made.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// The folder is there already.
    #[error("{0} exists already: choose another name, or remove it first")]
    Exists(PathBuf),
    /// The folder or a file could not be written.
    #[error("failed to write {path}: {source}")]
    Write {
        /// What was being written.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Makes the folder `dir/name` with a header and one case: a template with a reference answer that passes and a
/// counterexample that fails. Gives the folder.
///
/// # Errors
/// [`ScaffoldError`] when the folder exists or cannot be written. Nothing that exists is changed.
pub fn new_suite(dir: &Path, name: &SuiteName) -> Result<PathBuf, ScaffoldError> {
    let folder = dir.join(name.as_str());
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ScaffoldError::Write { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    match fs::create_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(ScaffoldError::Exists(folder)),
        other => other.map_err(failed(&folder))?,
    }
    for (file, text) in [(HEADER_FILE, HEADER.replace("{name}", name.as_str())), (CASES_FILE, CASES.to_owned())] {
        let path = folder.join(file);
        let mut out = fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed(&path))?;
        out.write_all(text.as_bytes()).map_err(failed(&path))?;
    }
    Ok(folder)
}

const HEADER: &str = r#"version  = 1
name     = "{name}"            # equals the folder's name
kind     = ["tool_use"]        # "tool_use", "output_quality", or both
revision = "1"                 # change it with every change of the cases
license  = "CC0-1.0"

[request]                      # sent with every case; a case may override each key
temperature = 0
max_tokens  = 512

[fresh]
fixed_share = 0.2              # this share of the templates is drawn once and stays; the rest is fresh in every sweep

[[scorers]]                    # judges every case that has no scorers of its own
type = "tool-calls"
"#;

const CASES: &str = concat!(
    r#"{"id": "book-nights", "category": "simple", "tags": ["tools"], "#,
    r#""params": {"city": {"one_of": ["Oslo", "Lima", "Busan"]}, "nights": {"int": [2, 29]}, "#,
    r#""price": {"decimal": [40, 300, 2]}}, "#,
    r#""derive": {"total": "fixed(nights * price, 2)"}, "#,
    r#""messages": [{"role": "user", "content": "Book {{nights}} nights in {{city}} at {{price}} a night. "#,
    r#"That is {{total}} in all."}], "#,
    r#""tools": [{"type": "function", "function": {"name": "book", "description": "Book a stay", "#,
    r#""parameters": {"type": "object", "properties": {"city": {"type": "string"}, "nights": {"type": "integer"}, "#,
    r#""total": {"type": "string", "description": "Price of the whole stay, two digits after the point"}}, "#,
    r#""required": ["city", "nights", "total"], "additionalProperties": false}}}], "#,
    r#""expected": {"calls": [{"name": "book", "arguments": "#,
    r#"{"city": "{{city}}", "nights": "{{nights}}", "total": "{{total}}"}}]}, "#,
    r#""reference": {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "#,
    r#""function": {"name": "book", "arguments": "{\"city\": \"{{city}}\", \"nights\": {{nights}}, "#,
    r#"\"total\": \"{{total}}\"}"}}], "finish_reason": "tool_calls"}, "#,
    r#""counterexample": {"fault": "WrongAnswer", "message": {"role": "assistant", "content": null, "tool_calls": "#,
    r#"[{"id": "call_1", "type": "function", "function": {"name": "book", "arguments": "#,
    r#""{\"city\": \"{{city}}\", \"nights\": 1, \"total\": \"{{total}}\"}"}}], "finish_reason": "tool_calls"}}}"#,
    "\n"
);

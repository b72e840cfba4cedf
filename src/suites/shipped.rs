//! The suites that come inside the program: a first run needs no files.

use std::path::Path;
use std::sync::Arc;

use crate::diagnostics::Diagnostics;
use crate::domain::{Suite, SuiteName};

use super::load::parse_suite_with;

/// The files of one suite folder.
struct Embedded {
    folder: &'static str,
    header: &'static str,
    cases: &'static str,
    programs: &'static [(&'static str, &'static str)],
}

/// Embeds folders of `eval_suites/`.
macro_rules! embedded {
    ($($name:literal $([$($program:literal),*])?),* $(,)?) => {
        &[$(Embedded {
            folder: concat!("eval_suites/", $name),
            header: include_str!(concat!("../../eval_suites/", $name, "/suite.toml")),
            cases: include_str!(concat!("../../eval_suites/", $name, "/cases.jsonl")),
            programs: &[$($(($program, include_str!(concat!("../../eval_suites/", $name, "/", $program)))),*)?],
        }),*]
    };
}

/// One line for each folder of `eval_suites/`.
#[rustfmt::skip]
const SHIPPED: &[Embedded] = embedded![
    "output-quality",
    "tool-use",
    "wire-contract",
    "worlds" ["desk.star", "rooms.star"],
];

/// The shipped suites, sorted by name.
///
/// # Errors
/// What is wrong in their files; tested to be nothing.
pub fn shipped() -> Result<Vec<Arc<Suite>>, Diagnostics> {
    parse_all(SHIPPED)
}

/// The shipped suites whose names are not taken, sorted by name. The others are not even read.
pub(super) fn shipped_but(taken: &[SuiteName]) -> Result<Vec<Arc<Suite>>, Diagnostics> {
    // A suite's name is that of its folder: the loader sees to it.
    let is_free = |files: &&Embedded| !taken.iter().any(|name| Path::new(files.folder).ends_with(name.as_str()));
    parse_all(SHIPPED.iter().filter(is_free))
}

fn parse_all<'a>(embedded: impl IntoIterator<Item = &'a Embedded>) -> Result<Vec<Arc<Suite>>, Diagnostics> {
    let mut suites = Vec::new();
    let mut problems = Diagnostics::default();
    for files in embedded {
        let programs = files.programs.iter().map(|(name, text)| ((*name).to_owned(), Arc::from(*text))).collect();
        match parse_suite_with(Path::new(files.folder), files.header.as_bytes(), files.cases.as_bytes(), programs) {
            Ok(suite) => suites.push(Arc::new(suite)),
            Err(found) => problems.0.extend(found.0),
        }
    }
    suites.sort_by(|a, b| a.name.cmp(&b.name));
    problems.into_result(suites)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "version = 1\nname = \"b\"\nkind = [\"tool_use\"]\nrevision = \"1\"\n";
    const CASES: &str = "{\"id\": \"c\", \"input\": \"x\"}\n";

    #[test]
    fn embedded_files_are_read_like_a_folder() {
        let good = Embedded { folder: "eval_suites/b", header: HEADER, cases: CASES, programs: &[] };
        let suites = parse_all([&good]).unwrap();
        assert_eq!(suites.iter().map(|suite| suite.name.as_str()).collect::<Vec<_>>(), ["b"]);
        // The folder gives the name, and every wrong suite is told of.
        let wrong = |folder| Embedded { folder, header: HEADER, cases: CASES, programs: &[] };
        let text = parse_all(&[good, wrong("eval_suites/c"), wrong("eval_suites/d")]).unwrap_err().to_string();
        assert!(text.contains("eval_suites/c/suite.toml:2") && text.contains("eval_suites/d/suite.toml:2"), "{text}");
    }
}

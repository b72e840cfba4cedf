//! Any bytes under every importer: a suite that loads, or refused. Run: `cargo fuzz run imports`.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use exactod::import::redact::Redactor;
use exactod::import::{
    Files, Grader, ImportError, Imported, inspect, jsonschemabench, k2vv, openai_evals, promptfoo, requests,
};
use exactod::suites::parse_suite;
use libfuzzer_sys::fuzz_target;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::new);

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("there is no such file".to_owned())
    }
}

fn loads(imported: Result<Imported, ImportError>) {
    if let Ok(suite) = imported {
        let loaded = parse_suite(Path::new(&suite.name), suite.header.as_bytes(), suite.cases.join("\n").as_bytes());
        assert!(loaded.is_ok(), "{:?}", loaded.err().map(|e| e.to_string()));
    }
}

fuzz_target!(|bytes: &[u8]| {
    loads(k2vv::import("k", "k.jsonl", bytes, Some(bytes)));
    loads(openai_evals::import("e", "e.jsonl", bytes, Grader::Json));
    loads(openai_evals::import("e", "e.jsonl", bytes, Grader::Fuzzy));
    loads(inspect::import("i", "i.jsonl", bytes, Grader::Exact));
    loads(inspect::import("i", "i.csv", bytes, Grader::MatchEnd));
    loads(jsonschemabench::import("j", "j.jsonl", bytes));
    loads(promptfoo::import("p", "p.yaml", bytes, &NoFiles, true));
    loads(requests::import("r", "r.jsonl", bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let once = REDACTOR.case().text(text);
        assert_eq!(REDACTOR.case().text(&once), once);
    }
});

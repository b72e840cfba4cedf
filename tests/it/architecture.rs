//! The order of modules, as drawn in ARCHITECTURE.md: an arrow outside the picture fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom. Everybody may use `domain`, `diagnostics` and `clock`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("diagnostics", &[]),
    ("clock", &[]),
    ("stats", &[]),
    ("sandbox", &[]),
    ("scoring", &["sandbox"]),
    ("curation", &["stats"]),
    ("live", &["scoring", "stats"]),
    ("metrics", &[]),
    ("progress", &[]),
    ("signing", &[]),
    ("publish", &["signing"]),
    ("client", &["signing"]),
    ("worlds", &["sandbox", "scoring"]),
    ("suites", &["sandbox", "scoring", "worlds"]),
    ("import", &["scoring", "suites"]),
    ("config", &[]),
    ("provider", &[]),
    ("store", &[]),
    ("report", &["store", "stats"]),
    ("api", &["store", "publish", "report", "metrics", "progress", "config", "signing", "stats", "live"]),
    ("sim", &["suites"]),
    ("simulate", &["stats", "curation"]),
    ("runner", &["provider", "scoring", "suites", "store", "metrics", "progress", "worlds"]),
    (
        "daemon",
        &[
            "api", "client", "config", "curation", "live", "metrics", "progress", "provider", "publish", "report",
            "runner", "scoring", "signing", "stats", "store", "suites",
        ],
    ),
    (
        "cli",
        &[
            "api", "config", "curation", "daemon", "import", "live", "metrics", "progress", "provider", "publish",
            "report", "runner", "scoring", "signing", "sim", "simulate", "stats", "store", "suites", "worlds",
        ],
    ),
];
const COMMON: [&str; 3] = ["domain", "diagnostics", "clock"];
/// The pure core: no IO, no clock, no async.
const PURE: [&str; 9] = ["domain", "sandbox", "scoring", "signing", "worlds", "stats", "curation", "simulate", "live"];

fn sources() -> BTreeMap<PathBuf, String> {
    fn walk(dir: &Path, out: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.insert(path.clone(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut out);
    out
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// Test code may reach further: it is cut off where it begins, and files of tests are left out.
fn product_code<'a>(path: &Path, text: &'a str) -> &'a str {
    let inside = path.to_str().unwrap();
    if inside.ends_with("/tests.rs") || inside.contains("/tests/") {
        return "";
    }
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

/// Modules of the crate that a text names: `crate::x`, also inside `use crate::{x::.., y::..}`.
fn used(text: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for rest in code.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ':' | ',' if depth == 0 => {
                        out.insert(std::mem::take(&mut word).trim().to_owned());
                    }
                    _ if depth == 0 => word.push(c),
                    _ => {}
                }
            }
        } else {
            out.insert(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
        }
    }
    out
}

#[test]
fn no_arrow_outside_the_picture() {
    let known: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if module == "lib" || module == "main" {
            continue;
        }
        let allowed = known.get(module.as_str()).unwrap_or_else(|| panic!("module {module} is not in the picture"));
        for other in used(product_code(&path, &text)) {
            let is_module = known.contains_key(other.as_str());
            let ok = other == module || COMMON.contains(&other.as_str()) || allowed.contains(&other.as_str());
            if is_module && !ok {
                wrong.push(format!("{} uses {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_does_no_io_and_asks_no_clock() {
    let banned = [
        "tokio::",
        "reqwest::",
        "sqlx::",
        "axum::",
        "std::fs",
        "std::net",
        "SystemTime::now",
        "Instant::now",
        "async fn",
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if PURE.contains(&module_of(&path).as_str()) {
            for word in banned {
                if product_code(&path, &text).contains(word) {
                    wrong.push(format!("{} names {word}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn polars_is_reached_from_report_alone() {
    for (path, text) in sources() {
        assert!(module_of(&path) == "report" || !text.contains("polars::"), "{} names polars", path.display());
    }
}

#[test]
fn the_simulators_truth_is_read_by_the_demo_alone() {
    for (path, text) in sources() {
        let reads = product_code(&path, &text).contains(".truth()");
        let may = module_of(&path) == "sim" || path.ends_with("cli/demo.rs");
        assert!(!reads || may, "{} reads the truth", path.display());
    }
}

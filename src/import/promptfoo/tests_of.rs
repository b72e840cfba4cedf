//! Tests: inline, or in CSV, JSON Lines, JSON and YAML files.

use serde_json::{Map, Value, json};

use super::super::common::{Files, Notes, Problem, excerpt};

use super::yaml::{self, Kind, Node};
use crate::scoring::promptfoo::comma_separated;

/// Most tests of one configuration.
const TESTS_MAX: usize = 100_000;

/// One test, before its variables are expanded.
#[derive(Debug, Default, Clone)]
pub(super) struct Test {
    /// The file that its lines count in.
    pub(super) file: String,
    /// Its line.
    pub(super) line: usize,
    /// Its variables.
    pub(super) vars: Map<String, Value>,
    /// Its asserts.
    pub(super) asserts: Vec<Node>,
    /// The score that it must reach.
    pub(super) threshold: Option<f64>,
    /// What it is about.
    pub(super) description: Option<String>,
    /// Stored, never judged.
    pub(super) metadata: Map<String, Value>,
    /// Labels of the prompts that it is for; empty: all.
    pub(super) prompts: Vec<String>,
    /// `options`, where it has any.
    pub(super) options: Option<Node>,
}

/// Reads tests; what cannot be read is a problem.
pub(super) fn read(
    node: &Node,
    file: &str,
    files: &dyn Files,
    problems: &mut Vec<Problem>,
    notes: &mut Notes,
) -> Vec<Test> {
    let mut tests = Vec::new();
    let items: Vec<&Node> = match &node.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    for item in items {
        match item.text() {
            Some(path) => match from_file(path, files, problems, notes) {
                Ok(mut more) => tests.append(&mut more),
                Err(what) => problems.push(Problem { place: format!("{file}:{}", item.line), what }),
            },
            None => match test(item, file, files, notes, problems) {
                Ok(test) => tests.push(test),
                Err(what) => problems.push(Problem { place: format!("{file}:{}", item.line), what }),
            },
        }
        if tests.len() > TESTS_MAX {
            problems
                .push(Problem { place: format!("{file}:{}", item.line), what: format!("more than {TESTS_MAX} tests") });
            break;
        }
    }
    tests
}

fn from_file(
    path: &str,
    files: &dyn Files,
    problems: &mut Vec<Problem>,
    notes: &mut Notes,
) -> Result<Vec<Test>, String> {
    let path = path.strip_prefix("file://").unwrap_or(path);
    if path.contains("://") || path.contains(['*', '?', '#']) {
        return Err(format!("tests from `{path}`: only files beside the configuration are read, one by one"));
    }
    let lower = path.to_ascii_lowercase();
    let read = || files.read(path).map_err(|why| format!("tests from `{path}`: {why}"));
    if lower.ends_with(".csv") {
        return from_csv(path, &read()?, problems, notes);
    }
    if lower.ends_with(".jsonl") {
        return from_lines(path, &read()?, files, problems, notes);
    }
    if lower.ends_with(".yaml") || lower.ends_with(".yml") || lower.ends_with(".json") {
        let node = yaml::parse_file(path, &read()?)
            .map_err(|(line, why)| format!("tests from `{path}`, line {line}: {why}"))?;
        let Kind::List(items) = &node.kind else { return Err(format!("tests from `{path}`: it is not a list")) };
        let mut tests = Vec::new();
        for item in items {
            match test(item, path, files, notes, problems) {
                Ok(test) => tests.push(test),
                Err(what) => problems.push(Problem { place: format!("{path}:{}", item.line), what }),
            }
        }
        return Ok(tests);
    }
    Err(format!("tests from `{path}`: CSV, JSON Lines, JSON and YAML are read"))
}

fn from_lines(
    path: &str,
    bytes: &[u8],
    files: &dyn Files,
    problems: &mut Vec<Problem>,
    notes: &mut Notes,
) -> Result<Vec<Test>, String> {
    let mut tests = Vec::new();
    for (at, line) in bytes.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty()) {
        let place = format!("{path}:{}", at + 1);
        let node = yaml::parse_json(line).map_err(|(_, why)| why).map(|node| relined(node, at + 1));
        match node.and_then(|node| test(&node, path, files, notes, problems)) {
            Ok(test) => tests.push(test),
            Err(what) => problems.push(Problem { place, what }),
        }
    }
    Ok(tests)
}

/// The same with every part on one line.
fn relined(node: Node, line: usize) -> Node {
    let kind = match node.kind {
        Kind::List(items) => Kind::List(items.into_iter().map(|item| relined(item, line)).collect()),
        Kind::Table(members) => Kind::Table(members.into_iter().map(|(k, v)| (k, relined(v, line))).collect()),
        scalar => scalar,
    };
    Node { line, kind }
}

/// Keys of a test that change nothing about what is asked or judged.
const ANNOTATIONS: [&str; 1] = ["tags"];

/// Reads one test, or `defaultTest`.
///
/// # Errors
/// Something in it that cannot be taken over.
pub(super) fn test(
    node: &Node,
    file: &str,
    files: &dyn Files,
    notes: &mut Notes,
    problems: &mut Vec<Problem>,
) -> Result<Test, String> {
    if !matches!(node.kind, Kind::Table(_)) {
        return Err("a test is a table".to_owned());
    }
    let mut test = Test { file: file.to_owned(), line: node.line, ..Test::default() };
    for (key, value) in node.members() {
        if value.is_null() {
            continue;
        }
        match key.as_str() {
            "vars" => test.vars = vars(value, files)?,
            "assert" => match &value.kind {
                Kind::List(items) => test.asserts.clone_from(items),
                _ => return Err("`assert` is not a list".to_owned()),
            },
            "threshold" => test.threshold = Some(value.number().ok_or("`threshold` is not a number")?),
            "description" => test.description = value.text().map(str::to_owned),
            "metadata" => test.metadata = value.json().as_object().cloned().unwrap_or_default(),
            "prompts" => test.prompts = labels(value),
            "options" => test.options = Some(value.clone()),
            other if ANNOTATIONS.contains(&other) => notes.add(format!("not taken over: `{other}` of a test"), ""),
            other => {
                problems.push(Problem { place: format!("{file}:{}", value.line), what: format!("`{other}` of a test") })
            }
        }
    }
    Ok(test)
}

fn labels(node: &Node) -> Vec<String> {
    match &node.kind {
        Kind::List(items) => items.iter().filter_map(|i| i.text().map(str::to_owned)).collect(),
        _ => node.text().map(str::to_owned).into_iter().collect(),
    }
}

/// Variables; `file://` texts are read.
fn vars(node: &Node, files: &dyn Files) -> Result<Map<String, Value>, String> {
    if !matches!(node.kind, Kind::Table(_)) {
        return Err("`vars` is not a table".to_owned());
    }
    let mut vars = Map::new();
    for (name, value) in node.members() {
        let value = match value.text() {
            Some(text) if text.starts_with("file://") => json!(file_var(&text["file://".len()..], files)?),
            Some(text) if text.starts_with("package:") => return Err(format!("the variable `{name}` from code")),
            _ => value.json(),
        };
        vars.insert(name.clone(), value);
    }
    Ok(vars)
}

fn file_var(path: &str, files: &dyn Files) -> Result<String, String> {
    let bytes = files.read(path).map_err(|why| format!("a variable from `{path}`: {why}"))?;
    let lower = path.to_ascii_lowercase();
    if lower.ends_with(".yaml") || lower.ends_with(".yml") {
        let node =
            yaml::parse(&bytes).map_err(|(line, why)| format!("a variable from `{path}`, line {line}: {why}"))?;
        return Ok(node.json().to_string());
    }
    if [".txt", ".md", ".json", ".csv", ".html", ".xml"].iter().any(|end| lower.ends_with(end)) {
        let text = String::from_utf8(bytes).map_err(|_| format!("a variable from `{path}`: it is not UTF-8"))?;
        return Ok(text.trim().to_owned());
    }
    Err(format!("a variable from `{path}`: texts, JSON and YAML are read"))
}

/// Types whose CSV form may carry a threshold: `type(0.8): value`.
const WITH_THRESHOLD: [&str; 13] = [
    "answer-relevance",
    "classifier",
    "context-faithfulness",
    "context-recall",
    "context-relevance",
    "cost",
    "latency",
    "levenshtein",
    "perplexity-score",
    "perplexity",
    "rouge-n",
    "similar",
    "starts-with",
];
/// The threshold of those without one.
const CSV_THRESHOLD: f64 = 0.75;

fn from_csv(path: &str, bytes: &[u8], problems: &mut Vec<Problem>, notes: &mut Notes) -> Result<Vec<Test>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let bad = |e: csv::Error| format!("tests from `{path}`: not CSV: {e}");
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.headers().map_err(bad)?.clone();
    for column in header.iter().map(str::trim) {
        let place = format!("{path}:1");
        if column == "__metric" {
            notes.add("not taken over: named metrics", &place);
        } else if column.starts_with("__") && !is_known_column(column) {
            problems.push(Problem { place, what: format!("the column `{column}`") });
        }
    }
    let mut tests = Vec::new();
    for row in reader.records() {
        let row = row.map_err(bad)?;
        let line = row.position().and_then(|p| usize::try_from(p.line()).ok()).unwrap_or(0);
        let test = match row.len() > header.len() {
            true => Err(format!("the row has {} cells, the header {}", row.len(), header.len())),
            false => csv_test(path, line, header.iter().map(str::trim).zip(row.iter())),
        };
        match test {
            Ok(test) => tests.push(test),
            Err(what) => problems.push(Problem { place: format!("{path}:{line}"), what }),
        }
        if tests.len() > TESTS_MAX || problems.len() > super::PROBLEMS_COLLECTED_MAX {
            return Err(format!("tests from `{path}`: more than {TESTS_MAX}, or too many that cannot be read"));
        }
    }
    Ok(tests)
}

/// Columns with a meaning of their own.
fn is_known_column(column: &str) -> bool {
    let numbered = column.strip_prefix("__expected").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let plain = ["__prefix", "__suffix", "__description", "__threshold", "__metric", "__providerOutput"];
    numbered || plain.contains(&column) || ["__metadata:", "__config:"].iter().any(|head| column.starts_with(head))
}

fn csv_test<'r>(path: &str, line: usize, cells: impl Iterator<Item = (&'r str, &'r str)>) -> Result<Test, String> {
    let mut test = Test { file: path.to_owned(), line, ..Test::default() };
    let mut options = Vec::new();
    let scalar = |text: &str| Node { line, kind: Kind::Scalar(json!(text)) };
    let mut thresholds = Vec::new();
    for (key, cell) in cells {
        let blank = cell.trim().is_empty();
        match key {
            _ if key.starts_with("__expected") && blank => {}
            _ if key.starts_with("__expected") => test.asserts.push(csv_assert(cell.trim(), line)),
            "__prefix" | "__suffix" if !blank => options.push((key[2..].to_owned(), scalar(cell))),
            "__description" if !blank => test.description = Some(cell.to_owned()),
            "__threshold" if !blank => {
                let threshold = cell.trim().parse::<f64>().ok().filter(|x| x.is_finite());
                let wrong = || format!("`__threshold` is no number: {}", excerpt(cell));
                test.threshold = Some(threshold.ok_or_else(wrong)?);
            }
            _ if key.starts_with("__metadata:") && !blank => {
                drop(test.metadata.insert(key["__metadata:".len()..].to_owned(), json!(cell)));
            }
            _ if key.starts_with("__config:") && !blank => thresholds.push((key["__config:".len()..].to_owned(), cell)),
            "__providerOutput" if !blank => {
                return Err("`__providerOutput`, an answer in place of a request".to_owned());
            }
            // Told by the header.
            _ if key.starts_with("__") => {}
            _ => drop(test.vars.insert(key.to_owned(), json!(cell))),
        }
    }
    for (key, cell) in thresholds {
        configure(&mut test.asserts, &key, cell)?;
    }
    if !options.is_empty() {
        test.options = Some(Node { line, kind: Kind::Table(options) });
    }
    Ok(test)
}

/// `__config:__expected2:threshold`: the threshold of an assert by its number.
fn configure(asserts: &mut [Node], key: &str, cell: &str) -> Result<(), String> {
    let wrong = || format!("the column `__config:{key}`");
    let (column, what) = key.split_once(':').ok_or_else(wrong)?;
    let number = column.strip_prefix("__expected").ok_or_else(wrong)?;
    let number: usize = if number.is_empty() { 1 } else { number.parse().map_err(|_| wrong())? };
    let value: f64 = cell.trim().parse().map_err(|_| wrong())?;
    if what != "threshold" {
        return Err(wrong());
    }
    let Some(assert) = number.checked_sub(1).and_then(|at| asserts.get_mut(at)) else { return Ok(()) };
    let line = assert.line;
    if let Kind::Table(members) = &mut assert.kind {
        members.retain(|(key, _)| key != "threshold");
        members.push(("threshold".to_owned(), Node { line, kind: Kind::Scalar(json!(value)) }));
    }
    Ok(())
}

/// Types that a CSV cell may begin with; any other text is compared whole.
const CSV_TYPES: &[&str] = &[
    "answer-relevance",
    "bleu",
    "classifier",
    "contains",
    "contains-all",
    "contains-any",
    "contains-html",
    "contains-json",
    "contains-sql",
    "contains-xml",
    "context-faithfulness",
    "context-recall",
    "context-relevance",
    "cost",
    "equals",
    "factuality",
    "finish-reason",
    "g-eval",
    "gleu",
    "guardrails",
    "icontains",
    "icontains-all",
    "icontains-any",
    "is-html",
    "is-json",
    "is-refusal",
    "is-sql",
    "is-valid-function-call",
    "is-valid-openai-function-call",
    "is-valid-openai-tools-call",
    "is-xml",
    "javascript",
    "latency",
    "levenshtein",
    "llm-rubric",
    "meteor",
    "model-graded-closedqa",
    "model-graded-factuality",
    "moderation",
    "perplexity",
    "perplexity-score",
    "pi",
    "python",
    "regex",
    "rouge-n",
    "ruby",
    "similar",
    "skill-used",
    "starts-with",
    "tool-call-f1",
    "webhook",
    "word-count",
];

/// A cell of `__expected` as an assert: `type: value`, `type(0.5): value`, or a text that the answer must equal.
fn csv_assert(cell: &str, line: usize) -> Node {
    let node = |value: Value| Node { line, kind: Kind::Scalar(value) };
    let table = |kind: &str, value: Option<Node>, threshold: Option<f64>| {
        let mut members = vec![("type".to_owned(), node(json!(kind)))];
        members.extend(value.map(|v| ("value".to_owned(), v)));
        members.extend(threshold.map(|t| ("threshold".to_owned(), node(json!(t)))));
        Node { line, kind: Kind::Table(members) }
    };
    for (prefix, kind) in [
        ("javascript:", "javascript"),
        ("fn:", "javascript"),
        ("eval:", "javascript"),
        ("grade:", "llm-rubric"),
        ("python:", "python"),
    ] {
        if let Some(value) = cell.strip_prefix(prefix) {
            return table(kind, Some(node(json!(value.trim()))), None);
        }
    }
    if cell.starts_with("file://") {
        return table("javascript", Some(node(json!(cell))), None);
    }
    let (head, value) = cell.split_once(':').map_or((cell, None), |(head, value)| (head, Some(value)));
    let (name, threshold) = match head.strip_suffix(')').and_then(|h| h.split_once('(')) {
        Some((name, number)) => (name, number.parse::<f64>().ok()),
        None => (head, None),
    };
    let base = name.strip_prefix("not-").unwrap_or(name);
    if !CSV_TYPES.contains(&base) || (threshold.is_none() && name.len() != head.len()) {
        return table("equals", Some(node(json!(cell))), None);
    }
    let value = match base {
        "contains-all" | "contains-any" | "icontains-all" | "icontains-any" => {
            value.map(|text| match comma_separated(text) {
                Some(fields) => Node { line, kind: Kind::List(fields.into_iter().map(|f| node(json!(f))).collect()) },
                None => node(json!(text)),
            })
        }
        _ => value.map(|text| node(json!(text.trim()))),
    };
    let threshold = WITH_THRESHOLD.contains(&base).then(|| threshold.unwrap_or(CSV_THRESHOLD)).or(threshold);
    table(name, value, threshold)
}

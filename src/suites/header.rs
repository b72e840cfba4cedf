//! `suite.toml`: the header of a suite.

use std::path::Path as FilePath;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::diagnostics::{Diagnostic, nearest};
use crate::domain::suite::{Denominator, Epochs, Metric, MetricName, Sampling, SuiteFiles};
use crate::domain::{ScorerSpec, SuiteKind, SuiteName};
use crate::sandbox::RESERVED;

use super::limits::{EPOCHS_MAX, NAME_BYTES_MAX, SCORERS_MAX, VARS_MAX};
use super::source::{At, Findings, Path, clip, type_name};
use super::template::{self, Segment};
use super::{keys, scorers, toml_doc};

/// The version of the format that this program reads.
pub const FORMAT_VERSION: i64 = 1;

/// A header, as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) name: Option<SuiteName>,
    pub(super) kind: Vec<SuiteKind>,
    pub(super) revision: String,
    pub(super) license: Option<String>,
    pub(super) exclude: Vec<String>,
    pub(super) request: Arc<Map<String, Value>>,
    pub(super) epochs: Epochs,
    pub(super) sampling: Sampling,
    pub(super) metrics: Vec<Metric>,
    pub(super) fixed_share: f64,
    /// Says itself that it is not asked by default.
    pub(super) on_request: bool,
    /// The Starlark files of the folder.
    pub(super) files: Arc<SuiteFiles>,
    pub(super) vars: Map<String, Value>,
    pub(super) scorers: Arc<[ScorerSpec]>,
    /// The text was TOML throughout, so that what it lacks is really missing.
    pub(super) whole: bool,
}

/// A header read, with what is wrong in it and a way to report more (excluded ids that no case has).
pub(super) fn read(file: &FilePath, text: &str, folder: Option<&str>) -> (Header, Vec<Diagnostic>) {
    let (table, syntax) = toml_doc::parse(text);
    let locator = toml_doc::TomlLocator(table.get_ref());
    let mut f = Findings::new(file, text, 1, &locator);
    let whole = syntax.is_empty();
    let mut problems = syntax;
    let mut map = toml_doc::to_json(table.get_ref(), &mut problems);
    for (span, message) in problems {
        f.at_span(span, message, None);
    }
    let mut header = Header { whole, ..read_table(&mut map, &mut f) };
    if whole {
        check_name(&header, folder, &mut f);
    }
    header.whole = whole;
    (header, f.into_list())
}

/// Reports an excluded id that no case has.
pub(super) fn unknown_exclusions(file: &FilePath, text: &str, unknown: &[(usize, String)]) -> Vec<Diagnostic> {
    if unknown.is_empty() {
        return Vec::new();
    }
    let (table, _) = toml_doc::parse(text);
    let locator = toml_doc::TomlLocator(table.get_ref());
    let mut f = Findings::new(file, text, 1, &locator);
    for (index, message) in unknown {
        f.value(&Path::ROOT.key("exclude").index(*index), message.clone());
    }
    f.into_list()
}

fn read_table(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Header {
    let root = Path::ROOT;
    f.unknown_keys(map, &root, keys::HEADER, "the header");
    check_version(map, f);
    read_source(map, f);
    let metrics = read_metrics(map, f);
    let (epochs, sampling) = (read_epochs(map, f), read_sampling(map, f));
    Header {
        name: read_name(map, f),
        kind: read_kind(map, f),
        revision: required_text(map, f, "revision", "a label of the content, such as \"2026.11.1\""),
        license: f.string(map, &root, "license"),
        exclude: f.strings(map, &root, "exclude").unwrap_or_default(),
        request: Arc::new(read_request(map, f)),
        epochs,
        sampling,
        metrics,
        fixed_share: read_fresh(map, f),
        on_request: f.flag(map, &root, "default") == Some(false),
        files: Arc::default(),
        vars: read_vars(map, f),
        scorers: read_scorers(map, f).into(),
        whole: true,
    }
}

fn check_version(map: &mut Map<String, Value>, f: &mut Findings<'_>) {
    let path = Path::ROOT.key("version");
    match map.get("version") {
        None => f.at_span(0..1, "the header has no `version`", Some(format!("write version = {FORMAT_VERSION}"))),
        Some(value) if value.as_i64() == Some(FORMAT_VERSION) => {}
        Some(Value::Number(number)) => {
            let hint = format!("this program reads version {FORMAT_VERSION}");
            f.at(&path, At::Value, format!("version {number} of the suite format is not known"), Some(hint));
        }
        Some(other) => f.wrong_type(&path, "an integer", other),
    }
}

fn required_text(map: &mut Map<String, Value>, f: &mut Findings<'_>, key: &str, hint: &str) -> String {
    if !map.contains_key(key) {
        f.at_span(0..1, format!("the header has no `{key}`"), Some(hint.to_owned()));
        return String::new();
    }
    let Some(text) = f.string(map, &Path::ROOT, key) else { return String::new() };
    if text.trim().is_empty() {
        f.value(&Path::ROOT.key(key), format!("`{key}` must not be empty"));
    }
    text
}

fn read_name(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Option<SuiteName> {
    let had = map.contains_key("name");
    let text = required_text(map, f, "name", "the name of the suite's folder");
    if !had || text.trim().is_empty() {
        return None;
    }
    SuiteName::new(&text).map_err(|e| f.value(&Path::ROOT.key("name"), format!("`{}`: {e}", clip(&text)))).ok()
}

fn check_name(header: &Header, folder: Option<&str>, f: &mut Findings<'_>) {
    let (Some(name), Some(folder)) = (&header.name, folder) else { return };
    if name.as_str() != folder {
        let hint = format!("rename the folder, or write name = \"{}\"", clip(folder));
        let message = format!("the suite `{name}` lies in a folder named `{}`", clip(folder));
        f.at(&Path::ROOT.key("name"), At::Value, message, Some(hint));
    }
}

fn read_kind(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Vec<SuiteKind> {
    let path = Path::ROOT.key("kind");
    let hint = "write kind = [\"tool_use\"], [\"output_quality\"], or both";
    if !map.contains_key("kind") {
        f.at_span(0..1, "the header has no `kind`", Some(hint.to_owned()));
        return Vec::new();
    }
    let Some(words) = f.strings(map, &Path::ROOT, "kind") else { return Vec::new() };
    if words.is_empty() {
        f.at(&path, At::Value, "`kind` must not be empty", Some(hint.to_owned()));
    }
    let mut kinds = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let kind = match word.as_str() {
            "tool_use" => SuiteKind::ToolUse,
            "output_quality" => SuiteKind::OutputQuality,
            _ => {
                one_of(f, &path.index(i), word, keys::KINDS, "kind of suite");
                continue;
            }
        };
        if kinds.contains(&kind) {
            f.value(&path.index(i), format!("`{word}` stands in `kind` twice"));
        } else {
            kinds.push(kind);
        }
    }
    kinds
}

/// Reports a word that is not one of the known.
pub(super) fn one_of(f: &mut Findings<'_>, path: &Path<'_>, word: &str, known: &[&str], what: &str) {
    let hint = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", known.join(", ")),
    };
    f.at(path, At::Value, format!("`{}` is not a {what}", clip(word)), Some(hint));
}

fn read_source(map: &mut Map<String, Value>, f: &mut Findings<'_>) {
    let path = Path::ROOT.key("source");
    let Some(mut source) = f.object(map, &Path::ROOT, "source") else { return };
    f.unknown_keys(&source, &path, keys::SOURCE, "[source]");
    f.string(&mut source, &path, "url");
    if let Some(sha256) = f.string(&mut source, &path, "sha256") {
        let hex = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex {
            f.value(&path.key("sha256"), "`sha256` must be 64 hexadecimal digits");
        }
    }
}

fn read_metrics(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Vec<Metric> {
    let path = Path::ROOT.key("metrics");
    let items = f.list(map, &Path::ROOT, "metrics").unwrap_or_default();
    items.into_iter().enumerate().filter_map(|(i, metric)| read_metric(metric, &path.index(i), f)).collect()
}

fn read_metric(metric: Value, here: &Path<'_>, f: &mut Findings<'_>) -> Option<Metric> {
    let Value::Object(mut metric) = metric else {
        f.wrong_type(here, "a table", &metric);
        return None;
    };
    f.unknown_keys(&metric, here, keys::METRIC, "[[metrics]]");
    if !metric.contains_key("name") {
        f.missing(here, "name", "the metric", "write name = \"accuracy\"");
    }
    let group = f.string(&mut metric, here, "group_by");
    if let Some(group) = group.as_deref().filter(|group| *group != "category") {
        one_of(f, &here.key("group_by"), group, &["category"], "key to group by");
    }
    let of = match f.string(&mut metric, here, "of").as_deref() {
        None | Some("all") => Denominator::All,
        Some("calls") => Denominator::Calls,
        Some(other) => {
            one_of(f, &here.key("of"), other, keys::DENOMINATORS, "denominator");
            Denominator::All
        }
    };
    let word = f.string(&mut metric, here, "name")?;
    let known: Vec<&str> = MetricName::ALL.iter().map(|(name, _)| *name).collect();
    match MetricName::ALL.iter().find(|(name, _)| *name == word) {
        Some((_, name)) => Some(Metric { name: *name, by_category: group.is_some(), of }),
        None => {
            one_of(f, &here.key("name"), &word, &known, "metric");
            None
        }
    }
}

fn read_epochs(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Epochs {
    let path = Path::ROOT.key("epochs");
    let Some(mut table) = f.object(map, &Path::ROOT, "epochs") else { return Epochs::default() };
    f.unknown_keys(&table, &path, keys::EPOCHS, "[epochs]");
    let mut epochs = Epochs::default();
    if let Some(count) = f.integer(&mut table, &path, "count", 1..=EPOCHS_MAX) {
        epochs.count = u32::try_from(count).unwrap_or(1);
    }
    if let Some(reducer) = f.string(&mut table, &path, "reducer") {
        match check_reducer(&reducer, epochs.count) {
            Ok(()) => epochs.reducer = reducer,
            Err(message) => {
                let known = format!("known: {}, {}(k)", keys::REDUCERS.join(", "), keys::REDUCERS_OF_K.join("(k), "));
                f.at(&path.key("reducer"), At::Value, message, Some(known));
            }
        }
    }
    epochs
}

fn check_reducer(text: &str, count: u32) -> Result<(), String> {
    if keys::REDUCERS.contains(&text) {
        return Ok(());
    }
    let call = text.strip_suffix(')').and_then(|t| t.split_once('('));
    let Some((_, k)) = call.filter(|(word, _)| keys::REDUCERS_OF_K.contains(word)) else {
        return Err(format!("`{}` is not a reducer", clip(text)));
    };
    match k.parse::<u32>() {
        Ok(k) if (1..=count).contains(&k) => Ok(()),
        _ => Err(format!("the k of `{}` must be between 1 and the count of epochs, {count}", clip(text))),
    }
}

fn read_sampling(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Sampling {
    let path = Path::ROOT.key("sampling");
    let Some(mut table) = f.object(map, &Path::ROOT, "sampling") else { return Sampling::default() };
    f.unknown_keys(&table, &path, keys::SAMPLING, "[sampling]");
    let limit = f.integer(&mut table, &path, "limit", 1..=i64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok());
    let seed = f.integer(&mut table, &path, "seed", 0..=i64::MAX).and_then(|n| u64::try_from(n).ok());
    let strategy = f.string(&mut table, &path, "strategy");
    let by = f.string(&mut table, &path, "by");
    if let Some(word) = strategy.as_deref().filter(|w| !keys::STRATEGIES.contains(w)) {
        one_of(f, &path.key("strategy"), word, keys::STRATEGIES, "sampling strategy");
    }
    if let Some(word) = by.as_deref().filter(|w| *w != "category") {
        one_of(f, &path.key("by"), word, &["category"], "key to stratify by");
    }
    if strategy.as_deref() == Some("stratified") && by.is_none() {
        f.missing(&path, "by", "a stratified sample", "write by = \"category\"");
    }
    Sampling { limit, strategy, by, seed }
}

fn read_fresh(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> f64 {
    let path = Path::ROOT.key("fresh");
    let Some(table) = f.object(map, &Path::ROOT, "fresh") else { return 0.0 };
    f.unknown_keys(&table, &path, keys::FRESH, "[fresh]");
    let here = path.key("fixed_share");
    match table.get("fixed_share").map(|v| (v, v.as_f64())) {
        None => 0.0,
        Some((_, Some(share))) if (0.0..=1.0).contains(&share) => share,
        Some((value, Some(_))) => {
            f.value(&here, format!("`fixed_share` must be between 0 and 1, not {value}"));
            0.0
        }
        Some((value, None)) => {
            f.wrong_type(&here, "a number between 0 and 1", value);
            0.0
        }
    }
}

fn read_request(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Map<String, Value> {
    let request = f.object(map, &Path::ROOT, "request").unwrap_or_default();
    super::check::request_keys(&request, &Path::ROOT.key("request"), f);
    request
}

fn read_vars(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Map<String, Value> {
    let path = Path::ROOT.key("vars");
    let vars = f.object(map, &Path::ROOT, "vars").unwrap_or_default();
    if vars.len() > VARS_MAX {
        f.at(&path, At::Key, format!("[vars] has at most {VARS_MAX} entries, not {}", vars.len()), None);
    }
    for name in vars.keys() {
        check_variable_name(name, &path.key(name), f);
    }
    vars
}

/// Reports a text that cannot name a parameter, derived value or variable.
pub(super) fn check_variable_name(name: &str, path: &Path<'_>, f: &mut Findings<'_>) {
    let message = if !template::is_name(name) {
        "is not a name"
    } else if name.len() > NAME_BYTES_MAX {
        "is too long for a name"
    } else if RESERVED.contains(&name) {
        "is a word of Starlark"
    } else {
        return;
    };
    let hint = format!("a name is a letter, then letters, digits and underscores, at most {NAME_BYTES_MAX} in all");
    f.at(path, At::Key, format!("`{}` {message}", clip(name)), Some(hint));
}

fn read_scorers(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Vec<ScorerSpec> {
    let items = f.list(map, &Path::ROOT, "scorers").unwrap_or_default();
    let path = Path::ROOT.key("scorers");
    let specs = specs(items, &path, f);
    for (i, spec) in &specs {
        if !has_placeholder(&Value::Object(spec.options.clone())) {
            scorers::check(spec, &path.index(*i), f);
        }
    }
    specs.into_iter().map(|(_, spec)| spec).collect()
}

/// Reads a list of tagged tables, each with its index. Their options are not checked yet.
pub(super) fn specs(items: Vec<Value>, path: &Path<'_>, f: &mut Findings<'_>) -> Vec<(usize, ScorerSpec)> {
    if items.len() > SCORERS_MAX {
        f.at(path, At::Key, format!("there are at most {SCORERS_MAX} scorers, not {}", items.len()), None);
    }
    let mut specs = Vec::new();
    for (i, item) in items.into_iter().enumerate() {
        let here = path.index(i);
        let Value::Object(mut options) = item else {
            f.wrong_type(&here, "a scorer such as {\"type\": \"equals\", \"value\": \"Oslo\"}", &item);
            continue;
        };
        match options.shift_remove("type") {
            Some(Value::String(kind)) => specs.push((i, ScorerSpec { kind, options })),
            Some(other) => f.value(&here.key("type"), format!("`type` must be a string, not {}", type_name(&other))),
            None => f.missing(&here, "type", "the scorer", "every scorer has a type, such as type = \"tool-calls\""),
        }
    }
    specs
}

/// Whether a placeholder stands anywhere in the strings of a value.
pub(super) fn has_placeholder(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            text.contains("{{") && template::segments(text).iter().any(|s| matches!(s, Segment::Name(..)))
        }
        Value::Array(items) => items.iter().any(has_placeholder),
        Value::Object(map) => map.values().any(has_placeholder),
        _ => false,
    }
}

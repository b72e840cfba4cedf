//! promptfoo: prompts, tests and deterministic asserts of a YAML configuration.
//!
//! Every combination of prompt, test and listed variables becomes a case. What a verdict rests on and no scorer can do
//! (code, models as judges, traces, filters in templates, ...) is listed with its name and line. The import then fails,
//! or, when it is asked to go on, marks the cases concerned in `metadata.unsupported` and imports the rest.

mod asserts;
mod template;
mod tests_of;
mod yaml;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use self::asserts::{Unsupported, convert_all, with_threshold};
use self::template::{Budget, Vars, fill, fill_value, trimmed};
use self::tests_of::Test;
use self::yaml::{Kind, Node};
use super::common::{Draft, Files, Head, LICENSE_AS_SOURCE, Notes, Problem, check_size, content_id, refused};
use super::{ImportError, Imported, chat};
use crate::domain::canonical::sha256_hex;

/// Most combinations of listed variables of one test.
const COMBINATIONS_MAX: usize = 10_000;
/// Problems after which nothing more is looked for.
const PROBLEMS_COLLECTED_MAX: usize = 50_000;
/// Top-level keys that change nothing about what is asked or judged.
const IGNORED: &[&str] = &[
    "description",
    "tags",
    "sharing",
    "outputPath",
    "evaluateOptions",
    "commandLineOptions",
    "env",
    "$schema",
    "writeLatestResults",
    "metadata",
    "derivedMetrics",
    "tracing",
    "datasets",
];
/// Keys of a provider's `config`, and of a test's `options`, that are part of the request.
const REQUEST_KEYS: &[&str] = &[
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
];

/// Keys of a prompt that say which it is.
const PROMPT_KEYS: &[&str] = &["id", "label", "raw", "description", "display"];
/// Keys of a provider that say which it is, or change nothing about what is asked or judged.
const PROVIDER_KEYS: &[&str] = &["id", "label", "config", "env", "delay", "description"];

/// A prompt.
struct Prompt {
    /// Its label, else its number.
    label: String,
    text: String,
    place: String,
}

/// A configuration, read.
struct Config {
    prompts: Vec<Prompt>,
    request: Map<String, Value>,
    default: Test,
    tests: Vec<Test>,
}

/// Reads a configuration. `files` reads what it names beside itself.
///
/// # Errors
/// It is not YAML; something cannot be taken over and `allow_unsupported` is not set: all of it; no case is left.
pub fn import(
    name: &str,
    file: &str,
    bytes: &[u8],
    files: &dyn Files,
    allow_unsupported: bool,
) -> Result<Imported, ImportError> {
    check_size(file, bytes)?;
    let root = yaml::parse_file(file, bytes).map_err(|(line, why)| refused(format!("{file}:{line}"), why))?;
    let mut draft = Draft::default();
    let mut problems = Vec::new();
    let config = read_config(&root, file, files, &mut problems, &mut draft.notes);
    let mut with_tools = false;
    let budget = Budget::default();
    for test in &config.tests {
        if problems.len() > PROBLEMS_COLLECTED_MAX {
            return Err(ImportError::Problems(problems));
        }
        with_tools |= cases_of(&config, test, &budget, &mut draft, &mut problems)?;
    }
    problems.sort_by(|a, b| (&a.place, &a.what).cmp(&(&b.place, &b.what)));
    problems.dedup();
    problems.sort_by_key(|p| {
        p.place.rsplit_once(':').map(|(file, line)| (file.to_owned(), line.parse::<usize>().unwrap_or(0)))
    });
    if !problems.is_empty() && !allow_unsupported {
        return Err(ImportError::Problems(problems));
    }
    for problem in problems {
        draft.notes.add(format!("not supported: {}", problem.what), &problem.place);
    }
    let kind: &[&str] = if with_tools { &["tool_use"] } else { &["output_quality"] };
    let url = format!("file:{file}");
    draft.finish(&Head { name, kind, license: LICENSE_AS_SOURCE, url, sha256: sha256_hex(bytes), scorers: &[] })
}

fn read_config(root: &Node, file: &str, files: &dyn Files, problems: &mut Vec<Problem>, notes: &mut Notes) -> Config {
    let mut config = Config { prompts: Vec::new(), request: Map::new(), default: Test::default(), tests: Vec::new() };
    let place = |node: &Node| format!("{file}:{}", node.line);
    for (key, node) in root.members().iter().filter(|(_, node)| !node.is_null()) {
        match key.as_str() {
            "prompts" => config.prompts = read_prompts(node, file, files, problems),
            "providers" | "targets" => config.request = read_providers(node, file, files, problems, notes),
            "tests" => config.tests = tests_of::read(node, file, files, problems, notes),
            "defaultTest" => match tests_of::test(node, file, files, notes, problems) {
                Ok(test) => config.default = test,
                Err(what) => problems.push(Problem { place: place(node), what: format!("`defaultTest`: {what}") }),
            },
            other if IGNORED.contains(&other) => notes.add(format!("not taken over: `{other}`"), &place(node)),
            other => problems.push(Problem { place: place(node), what: format!("`{other}` of the configuration") }),
        }
    }
    if config.prompts.is_empty() && problems.is_empty() {
        problems.push(Problem { place: format!("{file}:1"), what: "it has no `prompts`".to_owned() });
    }
    if config.tests.is_empty() && problems.is_empty() {
        // Without tests the prompts are asked once as they are.
        config.tests.push(Test { file: file.to_owned(), line: 1, ..Test::default() });
    }
    config
}

fn read_prompts(node: &Node, file: &str, files: &dyn Files, problems: &mut Vec<Problem>) -> Vec<Prompt> {
    let items: Vec<&Node> = match &node.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut prompts: Vec<Prompt> = Vec::new();
    for item in items {
        let place = format!("{file}:{}", item.line);
        let raw = item.text().or_else(|| item.get("raw").or_else(|| item.get("id")).and_then(Node::text));
        let label = item.get("label").or_else(|| item.get("id")).and_then(Node::text);
        for (key, value) in item.members().iter().filter(|(k, v)| !PROMPT_KEYS.contains(&k.as_str()) && !v.is_null()) {
            problems.push(Problem { place: format!("{file}:{}", value.line), what: format!("`{key}` of a prompt") });
        }
        match raw.ok_or_else(|| "a prompt without text".to_owned()).and_then(|raw| prompt_texts(raw, files)) {
            Ok(texts) => {
                for text in texts {
                    let label = label.map_or_else(|| format!("prompt-{}", prompts.len() + 1), str::to_owned);
                    prompts.push(Prompt { label, text, place: place.clone() });
                }
            }
            Err(what) => problems.push(Problem { place, what }),
        }
    }
    prompts
}

/// The texts of a prompt: itself, or those of its file (several between lines of `---`).
fn prompt_texts(raw: &str, files: &dyn Files) -> Result<Vec<String>, String> {
    let known = [".txt", ".md", ".j2", ".json", ".yaml", ".yml"];
    let lower = raw.to_ascii_lowercase();
    let is_path =
        raw.starts_with("file://") || (!raw.contains(['\n', ' ', '{']) && known.iter().any(|end| lower.ends_with(end)));
    if ["exec:", "python:", "langfuse://", "portkey://", "helicone://"].iter().any(|p| raw.starts_with(p)) {
        return Err(format!("the prompt `{raw}`, which is made by code or a service"));
    }
    if !is_path {
        return Ok(vec![raw.to_owned()]);
    }
    let path = raw.strip_prefix("file://").unwrap_or(raw);
    if path.contains('*') || !known.iter().any(|end| lower.ends_with(end)) {
        return Err(format!("prompts from `{path}`: files of text, JSON and YAML are read, one by one"));
    }
    let bytes = files.read(path).map_err(|why| format!("prompts from `{path}`: {why}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("prompts from `{path}`: it is not UTF-8"))?;
    if lower.ends_with(".json") || lower.ends_with(".yaml") || lower.ends_with(".yml") {
        return Ok(vec![text]);
    }
    let parts: Vec<String> =
        text.split("\n---\n").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { Err(format!("prompts from `{path}`: it is empty")) } else { Ok(parts) }
}

/// What all providers send beside the prompt.
fn read_providers(
    node: &Node,
    file: &str,
    files: &dyn Files,
    problems: &mut Vec<Problem>,
    notes: &mut Notes,
) -> Map<String, Value> {
    let items: Vec<&Node> = match &node.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut found: Option<Map<String, Value>> = None;
    for item in items {
        // `{id, config}`, or `{"openai:gpt": {config}}`.
        let provider = match item.members() {
            [(name, inner)] if name.contains(':') => inner,
            _ => item,
        };
        for (key, value) in provider.members().iter().filter(|(_, v)| !v.is_null()) {
            let place = format!("{file}:{}", value.line);
            match key.as_str() {
                "delay" => notes.add("not taken over: `delay` of a provider", &place),
                key if PROVIDER_KEYS.contains(&key) => {}
                key => problems.push(Problem { place, what: format!("`{key}` of a provider") }),
            }
        }
        let inner = provider.get("config");
        let mut request = Map::new();
        for (key, value) in inner.map(Node::members).unwrap_or_default() {
            if !REQUEST_KEYS.contains(&key.as_str()) {
                notes.add(format!("not taken over: `{key}` of a provider"), &format!("{file}:{}", value.line));
                continue;
            }
            match resolved(value, files) {
                Ok(value) => drop(request.insert(key.clone(), value)),
                Err(why) => problems.push(Problem {
                    place: format!("{file}:{}", value.line),
                    what: format!("`{key}` of a provider {why}"),
                }),
            }
        }
        match &found {
            None => found = Some(request),
            Some(first) if *first == request => {}
            Some(_) => problems.push(Problem {
                place: format!("{file}:{}", item.line),
                what: "a provider with another `config` than the first: every endpoint gets the same request"
                    .to_owned(),
            }),
        }
    }
    found.unwrap_or_default()
}

/// A value, or the file that it names.
fn resolved(node: &Node, files: &dyn Files) -> Result<Value, String> {
    match node.text().and_then(|text| text.strip_prefix("file://")) {
        None => Ok(node.json()),
        Some(path) => {
            let bytes = files.read(path).map_err(|why| format!("from `{path}`: {why}"))?;
            yaml::parse_file(path, &bytes)
                .map(|node| node.json())
                .map_err(|(line, why)| format!("from `{path}`, line {line}: {why}"))
        }
    }
}

/// Adds the cases of a test; whether one of them offers tools.
fn cases_of(
    config: &Config,
    test: &Test,
    budget: &Budget,
    draft: &mut Draft,
    problems: &mut Vec<Problem>,
) -> Result<bool, ImportError> {
    let place = format!("{}:{}", test.file, test.line);
    let mut vars = config.default.vars.clone();
    vars.extend(test.vars.clone());
    let mut options = Options::default();
    for source in [&config.default, test] {
        if let Some(node) = &source.options {
            options.read(node, &source.file, problems, &mut draft.notes);
        }
    }
    let prompts = match prompts_of(config, test) {
        Ok(prompts) => prompts,
        Err(what) => {
            problems.push(Problem { place, what });
            return Ok(false);
        }
    };
    let combinations = match Combinations::new(vars, options.expand, budget) {
        Ok(all) => all,
        Err(what) => {
            problems.push(Problem { place, what });
            return Ok(false);
        }
    };
    let mut with_tools = false;
    for prompt in prompts {
        for number in 0..combinations.count {
            if problems.len() > PROBLEMS_COLLECTED_MAX {
                return Ok(with_tools);
            }
            let mut vars = combinations.get(number);
            if let Err(what) = vars.settle() {
                problems.push(Problem { place, what });
                return Ok(with_tools);
            }
            let asked = Asked { config, test, prompt, vars: &vars, options: &options };
            match case_of(&asked, draft, problems) {
                Ok(case) => {
                    with_tools |= case.contains_key("tools");
                    let id = content_id("case", &Value::Object(case.clone()));
                    draft.push(&place, &id, with_metadata(case, &asked))?;
                }
                Err(problem) => {
                    draft.notes.add("left out: a case that cannot be asked", &problem.place);
                    problems.push(problem);
                }
            }
        }
    }
    Ok(with_tools)
}

/// What a case is made from.
struct Asked<'a> {
    config: &'a Config,
    test: &'a Test,
    prompt: &'a Prompt,
    vars: &'a Vars,
    options: &'a Options,
}

/// The prompts that a test is for.
fn prompts_of<'c>(config: &'c Config, test: &Test) -> Result<Vec<&'c Prompt>, String> {
    let wanted = if test.prompts.is_empty() { &config.default.prompts } else { &test.prompts };
    if let Some(unknown) = wanted.iter().find(|name| !config.prompts.iter().any(|p| p.is_named(name))) {
        return Err(format!("`prompts` names `{unknown}`, and no prompt has that label"));
    }
    Ok(config.prompts.iter().filter(|p| wanted.is_empty() || wanted.iter().any(|name| p.is_named(name))).collect())
}

impl Prompt {
    /// Whether a test's `prompts` mean this one: by its label, by a group before a colon, or by a beginning and `*`.
    fn is_named(&self, name: &str) -> bool {
        let begins =
            |start: &str, sign: &str| self.label.strip_prefix(start).is_some_and(|rest| rest.starts_with(sign));
        self.label == name
            || self.text == name
            || begins(name, ":")
            || name.strip_suffix('*').is_some_and(|s| begins(s, ""))
    }
}

/// Every combination of the listed variables: a list of texts stands for each of them. Made one by one.
struct Combinations {
    base: Vars,
    listed: Vec<(String, Vec<Arc<Value>>)>,
    count: usize,
}

impl Combinations {
    fn new(vars: Map<String, Value>, expand: bool, budget: &Budget) -> Result<Combinations, String> {
        let (mut fixed, mut listed, mut count) = (Map::new(), Vec::new(), 1_usize);
        for (name, value) in vars {
            match value {
                Value::Array(items) if expand && items.first().is_some_and(Value::is_string) => {
                    count = count.saturating_mul(items.len());
                    listed.push((name, items.into_iter().map(|item| Arc::new(trimmed(item))).collect()));
                }
                value => drop(fixed.insert(name, value)),
            }
        }
        match count > COMBINATIONS_MAX {
            true => Err(format!("more than {COMBINATIONS_MAX} combinations of variables")),
            false => Ok(Combinations { base: Vars::new(fixed, budget), listed, count }),
        }
    }

    /// A combination by its number; the last variable changes first.
    fn get(&self, number: usize) -> Vars {
        let mut rest = number;
        let choose = |(name, items): &(String, Vec<Arc<Value>>)| {
            let item = items.get(rest % items.len().max(1)).map(Arc::clone).unwrap_or_default();
            rest /= items.len().max(1);
            (name.clone(), item)
        };
        let chosen: Vec<(String, Arc<Value>)> = self.listed.iter().rev().map(choose).collect();
        self.base.with(chosen)
    }
}

/// `options` of a test, over those of `defaultTest`.
#[derive(Debug)]
struct Options {
    prefix: String,
    suffix: String,
    request: Map<String, Value>,
    expand: bool,
    defaults: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { prefix: String::new(), suffix: String::new(), request: Map::new(), expand: true, defaults: true }
    }
}

impl Options {
    fn read(&mut self, node: &Node, file: &str, problems: &mut Vec<Problem>, notes: &mut Notes) {
        for (key, value) in node.members() {
            match (key.as_str(), value.text()) {
                ("prefix", Some(text)) => text.clone_into(&mut self.prefix),
                ("suffix", Some(text)) => text.clone_into(&mut self.suffix),
                ("disableVarExpansion", _) => self.expand = value.json() != json!(true),
                ("disableDefaultAsserts", _) => self.defaults = value.json() != json!(true),
                (key, _) if REQUEST_KEYS.contains(&key) => drop(self.request.insert(key.to_owned(), value.json())),
                ("provider" | "rubricPrompt" | "factuality" | "runSerially" | "storeOutputAs", _) => {
                    notes.add(format!("not taken over: `options.{key}`"), &format!("{file}:{}", value.line));
                }
                (key, _) => problems.push(Problem {
                    place: format!("{file}:{}", value.line),
                    what: format!("`options.{key}` of a test"),
                }),
            }
        }
    }
}

fn case_of(asked: &Asked<'_>, draft: &mut Draft, problems: &mut Vec<Problem>) -> Result<Map<String, Value>, Problem> {
    let at_prompt = |what: String| Problem { place: asked.prompt.place.clone(), what: format!("the prompt: {what}") };
    let chat = match chat_of(asked) {
        Ok(chat) => chat,
        Err(what) => {
            // What else cannot be taken over is told in the same go.
            scorers_of(asked, &mut Notes::default(), problems);
            return Err(at_prompt(what));
        }
    };
    let place = format!("{}:{}", asked.test.file, asked.test.line);
    chat.dropped.iter().for_each(|d| draft.notes.add(format!("not taken over: {d}"), &place));
    let mut case = chat.into_case();
    let (scorers, without) = scorers_of(asked, &mut draft.notes, problems);
    let threshold = asked.test.threshold.or(asked.config.default.threshold);
    let scorers = with_threshold(scorers, threshold);
    if scorers.is_empty() {
        draft.notes.add("no assert is left: judged by the implicit checks only", &place);
    } else {
        case.insert("scorers".to_owned(), Value::Array(scorers));
    }
    if !without.is_empty() {
        case.insert("metadata".to_owned(), json!({ "unsupported": without }));
    }
    Ok(case)
}

/// The request of a prompt.
fn chat_of(asked: &Asked<'_>) -> Result<chat::Chat, String> {
    let messages = messages(asked)?;
    let mut body = asked.config.request.clone();
    body.extend(asked.options.request.clone());
    body.insert("messages".to_owned(), Value::Array(messages));
    chat::read(&body)
}

/// The scorers that the asserts of a test become, and those that are left out, which are problems as well.
fn scorers_of(asked: &Asked<'_>, notes: &mut Notes, problems: &mut Vec<Problem>) -> (Vec<Value>, Vec<String>) {
    let (mut scorers, mut without) = (Vec::new(), Vec::new());
    let defaults = if asked.options.defaults { asked.config.default.asserts.as_slice() } else { &[] };
    for (asserts, file) in [(defaults, &asked.config.default.file), (&asked.test.asserts, &asked.test.file)] {
        let (mut more, unsupported) = convert_all(&asserts.iter().collect::<Vec<_>>(), asked.vars, notes, 0);
        scorers.append(&mut more);
        for Unsupported { line, what } in unsupported {
            without.push(format!("{what} ({file}:{line})"));
            problems.push(Problem { place: format!("{file}:{line}"), what });
        }
    }
    (scorers, without)
}

/// The messages of a prompt: a chat when the text is one, else one message of the user.
fn messages(asked: &Asked<'_>) -> Result<Vec<Value>, String> {
    let text = &asked.prompt.text;
    let (prefix, suffix) = (&asked.options.prefix, &asked.options.suffix);
    let text = if prefix.is_empty() && suffix.is_empty() { text.clone() } else { format!("{prefix}{text}{suffix}") };
    // A chat in JSON is filled string by string, so that values need no escapes.
    if let Some(list) = serde_json::from_str::<Value>(&text).ok().as_ref().and_then(chat_list) {
        return list.iter().map(|message| fill_value(message, asked.vars)).collect();
    }
    let filled = fill(&text, asked.vars)?;
    let parsed = match filled.trim_start() {
        t if t.starts_with('[') => serde_json::from_str::<Value>(&filled).ok(),
        t if t.starts_with("- role:") => yaml::parse(filled.as_bytes()).ok().map(|node| node.json()),
        _ => None,
    };
    match parsed.as_ref().and_then(chat_list) {
        Some(list) => Ok(list.clone()),
        None if filled.trim().is_empty() => Err("it is empty".to_owned()),
        None => Ok(vec![json!({"role": "user", "content": filled})]),
    }
}

fn chat_list(value: &Value) -> Option<&Vec<Value>> {
    value.as_array().filter(|list| !list.is_empty() && list.iter().all(|m| m.get("role").is_some_and(Value::is_string)))
}

/// What is stored beside a case and never judged.
fn with_metadata(mut case: Map<String, Value>, asked: &Asked<'_>) -> Map<String, Value> {
    let mut metadata = asked.config.default.metadata.clone();
    metadata.extend(asked.test.metadata.clone());
    if let Some(description) = &asked.test.description {
        metadata.insert("description".to_owned(), json!(description));
    }
    if let Some(Value::Object(own)) = case.shift_remove("metadata") {
        metadata.extend(own);
    }
    if asked.config.prompts.len() > 1 {
        case.insert("category".to_owned(), json!(asked.prompt.label));
    }
    if !metadata.is_empty() {
        case.insert("metadata".to_owned(), Value::Object(metadata));
    }
    case
}

//! One line of `cases.jsonl` becomes a case: keys, types and what excludes what.

use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::diagnostics::nearest;
use crate::domain::suite::{Pair, Param};
use crate::domain::{Case, CaseId, CounterExample, Fault, Json};

use super::header::{Header, check_variable_name, specs};
use super::limits::{ANSWERS_MAX, DERIVE_MAX, EXPRESSION_BYTES_MAX, MESSAGES_MAX, PARAMS_MAX, TAGS_MAX, TOOLS_MAX};
use super::source::{At, Findings, Path, clip};
use super::strict_text::Texts;
use super::{asserts, check, keys, params, template};

/// A case that still lacks its hash and its place in the fixed share.
pub(super) struct Draft {
    pub(super) case: Case,
    /// The id could be read.
    pub(super) named: bool,
    /// The key that the messages came from.
    pub(super) messages_key: &'static str,
    /// The key that the case's own scorers stand under; `None`: they are the suite's.
    pub(super) scorers_key: Option<&'static str>,
    /// Parameters and expressions could be read, so that values can be drawn.
    pub(super) drawable: bool,
}

/// Reads a case. What is wrong is in the findings; the draft holds the rest.
///
/// `texts` are the parts that were read as texts: nothing is to be filled in them, and nothing is wrong with their types.
pub(super) fn read(
    mut map: Map<String, Value>,
    mut texts: Texts,
    line: usize,
    header: &Header,
    f: &mut Findings<'_>,
) -> Option<Draft> {
    let root = Path::ROOT;
    f.unknown_keys(&map, &root, keys::CASE, "a case");
    if !header.vars.is_empty() {
        for key in keys::TEMPLATED {
            if let Some(value) = map.get_mut(*key) {
                template::splice(value, &header.vars, keys::MESSAGES.contains(key));
            }
        }
    }
    let id = read_id(&mut map, f);
    let pair = read_pair(&mut map, f);
    let (messages, messages_key) = match pair {
        Some(_) => (Json::from(Vec::new()), "messages"),
        None => match texts.take("messages") {
            Some((messages, _)) => (messages, "messages"),
            None => read_messages(&mut map, f),
        },
    };
    let (params, params_read) = read_params(&mut map, header, f);
    let (params, derive, derive_read) = read_derive(&mut map, params, header, f);
    let tools = match texts.take("tools") {
        // An empty list is refused by some providers and means the same as none.
        Some((tools, count)) => (count > 0).then_some(tools),
        None => read_tools(&mut map, f),
    };
    let mut text = |key: &str| texts.take(key).map(|(json, _)| json);
    let (scorers, scorers_key) = match read_scorers(&mut map, f) {
        Some((scorers, key)) => (Some(scorers), Some(key)),
        None => (None, None),
    };
    let case = Case {
        // Never leaves the loader: a case without a good id is an error.
        id: id.clone().or_else(|| CaseId::new(&format!("line-{line}")).ok())?,
        category: f.string(&mut map, &root, "category"),
        tags: read_tags(&mut map, f),
        messages,
        response_format: map.get("response_format").map(Json::from),
        request: read_request(&mut map, header, tools.is_some(), f),
        tools,
        expected: text("expected").or_else(|| map.get("expected").map(Json::from)),
        scorers: scorers.map_or_else(|| Arc::clone(&header.scorers), Arc::from),
        metadata: text("metadata").or_else(|| read_object(&mut map, "metadata", f)),
        params: params.into(),
        derive: derive.into(),
        fixed: false,
        world: text("world").or_else(|| read_object(&mut map, "world", f)),
        files: Arc::clone(&header.files),
        reference: text("reference").or_else(|| read_object(&mut map, "reference", f)),
        counterexample: read_counterexample(&mut map, f),
        answers: read_answers(&mut map, f),
        pair,
        hash: String::new(),
    };
    Some(Draft { case, named: id.is_some(), messages_key, scorers_key, drawable: params_read && derive_read })
}

fn read_id(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Option<CaseId> {
    if !map.contains_key("id") {
        f.at_span(0..1, "the case has no `id`", Some("every case has an id, unique in the suite".to_owned()));
        return None;
    }
    let text = f.string(map, &Path::ROOT, "id")?;
    CaseId::new(&text).map_err(|e| f.value(&Path::ROOT.key("id"), format!("`{}`: {e}", clip(&text)))).ok()
}

fn read_object(map: &mut Map<String, Value>, key: &str, f: &mut Findings<'_>) -> Option<Json> {
    f.object(map, &Path::ROOT, key).map(|m| Value::Object(m).into())
}

fn read_messages(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> (Json, &'static str) {
    let root = Path::ROOT;
    match (map.contains_key("messages"), map.contains_key("input")) {
        (true, both) => {
            if both {
                f.at(&root.key("input"), At::Key, "a case has either `messages` or `input`, not both", None);
            }
            let messages = f.list(map, &root, "messages");
            if messages.as_ref().is_some_and(Vec::is_empty) {
                f.value(&root.key("messages"), "a case needs at least one message");
            }
            let messages = messages.unwrap_or_default();
            if messages.len() > MESSAGES_MAX {
                let message = format!("a case has at most {MESSAGES_MAX} messages, not {}", messages.len());
                f.at(&root.key("messages"), At::Key, message, None);
            }
            (messages.into(), "messages")
        }
        (false, true) => {
            let text = f.string(map, &root, "input");
            let messages = text.map(|text| vec![json!({"role": "user", "content": text})]);
            (messages.unwrap_or_default().into(), "input")
        }
        (false, false) => {
            let hint = "give `messages`, or `input` for a single user message".to_owned();
            f.at_span(0..1, "the case has neither `messages` nor `input`", Some(hint));
            (Json::from(Vec::new()), "messages")
        }
    }
}

fn read_tags(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Vec<String> {
    let tags = f.strings(map, &Path::ROOT, "tags").unwrap_or_default();
    let path = Path::ROOT.key("tags");
    if tags.len() > TAGS_MAX {
        f.at(&path, At::Key, format!("a case has at most {TAGS_MAX} tags, not {}", tags.len()), None);
    }
    for (i, tag) in tags.iter().enumerate() {
        if tag.is_empty() || tags[..i].contains(tag) {
            f.value(&path.index(i), format!("the tag `{}` is empty or stands here twice", clip(tag)));
        }
    }
    tags
}

fn read_tools(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Option<Json> {
    let tools = f.list(map, &Path::ROOT, "tools")?;
    if tools.len() > TOOLS_MAX {
        let message = format!("a case has at most {TOOLS_MAX} tools, not {}", tools.len());
        f.at(&Path::ROOT.key("tools"), At::Key, message, None);
    }
    // An empty list is refused by some providers and means the same as none.
    Some(tools).filter(|tools| !tools.is_empty()).map(Json::from)
}

/// The suite's defaults under the case's own keys. Defaults about tools are dropped where no tools are offered.
fn read_request(
    map: &mut Map<String, Value>,
    header: &Header,
    has_tools: bool,
    f: &mut Findings<'_>,
) -> Arc<Map<String, Value>> {
    let own = f.object(map, &Path::ROOT, "request").unwrap_or_default();
    check::request_keys(&own, &Path::ROOT.key("request"), f);
    if own.is_empty() && has_tools {
        return Arc::clone(&header.request);
    }
    let mut request = Map::clone(&header.request);
    if !has_tools {
        request.retain(|key, _| key != "tool_choice" && key != "parallel_tool_calls");
    }
    request.extend(own);
    Arc::new(request)
}

/// The case's own scorers, and the key that they stand under.
fn read_scorers(
    map: &mut Map<String, Value>,
    f: &mut Findings<'_>,
) -> Option<(Vec<crate::domain::ScorerSpec>, &'static str)> {
    let root = Path::ROOT;
    if map.contains_key("assert") {
        if map.contains_key("scorers") {
            f.at(&root.key("assert"), At::Key, "a case has either `scorers` or `assert`, not both", None);
        } else {
            let items = f.list(map, &root, "assert")?;
            return Some((asserts::read(items, &root.key("assert"), f), "assert"));
        }
    }
    let items = f.list(map, &root, "scorers")?;
    Some((specs(items, &root.key("scorers"), f).into_iter().map(|(_, spec)| spec).collect(), "scorers"))
}

fn read_counterexample(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Option<CounterExample> {
    let path = Path::ROOT.key("counterexample");
    let mut counter = f.object(map, &Path::ROOT, "counterexample")?;
    f.unknown_keys(&counter, &path, keys::COUNTEREXAMPLE, "`counterexample`");
    for key in keys::COUNTEREXAMPLE {
        if !counter.contains_key(*key) {
            let hint = "write {\"message\": {...}, \"fault\": \"WrongAnswer\"}";
            f.missing(&path, key, "the counterexample", hint);
        }
    }
    let message = f.object(&mut counter, &path, "message").map(|m| Json::from(Value::Object(m)));
    let name = f.string(&mut counter, &path, "fault");
    let fault = name.and_then(|name| match Fault::from_str(&name) {
        Ok(fault) => Some(fault),
        Err(error) => {
            let near = nearest(&name, Fault::ALL.iter().map(|fault| fault.name()));
            f.at(&path.key("fault"), At::Value, error.to_string(), near.map(|n| format!("did you mean `{n}`?")));
            None
        }
    });
    Some(CounterExample { message: message?, fault: fault? })
}

/// Further answers: their forms are checked once they are filled.
fn read_answers(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Option<Json> {
    let answers = f.list(map, &Path::ROOT, "answers")?;
    if answers.len() > ANSWERS_MAX {
        let message = format!("a case has at most {ANSWERS_MAX} answers, not {}", answers.len());
        f.at(&Path::ROOT.key("answers"), At::Key, message, None);
    }
    Some(Json::from(Value::Array(answers)))
}

/// A case that is paired has nothing of its own but its name: the rest is that of the other.
fn read_pair(map: &mut Map<String, Value>, f: &mut Findings<'_>) -> Option<Pair> {
    let path = Path::ROOT.key("pair");
    let mut pair = f.object(map, &Path::ROOT, "pair")?;
    f.unknown_keys(&pair, &path, keys::PAIR, "`pair`");
    for key in map.keys().filter(|key| keys::CASE.contains(&key.as_str()) && !keys::PAIRED.contains(&key.as_str())) {
        let hint = format!("of its own such a case has {}", keys::PAIRED.join(", "));
        f.at(&Path::ROOT.key(key), At::Key, format!("a case with `pair` takes `{key}` from the other one"), Some(hint));
    }
    let content = f.flag(&mut pair, &path, "content").unwrap_or(false);
    if !pair.contains_key("with") {
        f.missing(&path, "with", "the pair", "write {\"with\": \"id-of-the-other-case\"}");
    }
    let with = f.string(&mut pair, &path, "with")?;
    let with = CaseId::new(&with).map_err(|e| f.value(&path.key("with"), format!("`{}`: {e}", clip(&with)))).ok()?;
    Some(Pair { with, content })
}

type Params = Vec<(String, Param)>;

fn read_params(map: &mut Map<String, Value>, header: &Header, f: &mut Findings<'_>) -> (Params, bool) {
    let path = Path::ROOT.key("params");
    let had = map.contains_key("params");
    let Some(entries) = f.object(map, &Path::ROOT, "params") else { return (Vec::new(), !had) };
    if entries.len() > PARAMS_MAX {
        f.at(&path, At::Key, format!("a case has at most {PARAMS_MAX} parameters, not {}", entries.len()), None);
    }
    let mut read = Vec::with_capacity(entries.len());
    let mut good = true;
    for (name, value) in entries {
        let here = path.key(&name);
        check_variable_name(&name, &here, f);
        good &= template::is_name(&name);
        if header.vars.contains_key(&name) {
            f.at(&here, At::Key, format!("`{}` is a parameter here and an entry of [vars]", clip(&name)), None);
        }
        let param = params::read(value, &here, f);
        good &= param.is_some();
        // The name is known even when its values are not: placeholders that use it are right.
        read.push((name, param.unwrap_or_else(|| Param::OneOf(vec![Value::Null]))));
    }
    (read, good)
}

/// Reads the expressions. A variable of the suite that one of them uses becomes a parameter of one value: the case
/// then holds all that its draw needs.
fn read_derive(
    map: &mut Map<String, Value>,
    mut params: Params,
    header: &Header,
    f: &mut Findings<'_>,
) -> (Params, Vec<(String, String)>, bool) {
    let path = Path::ROOT.key("derive");
    let had = map.contains_key("derive");
    let Some(entries) = f.object(map, &Path::ROOT, "derive") else { return (params, Vec::new(), !had) };
    if entries.len() > DERIVE_MAX {
        f.at(&path, At::Key, format!("a case has at most {DERIVE_MAX} derived values, not {}", entries.len()), None);
    }
    let mut read = Vec::with_capacity(entries.len());
    let mut good = true;
    for (name, value) in entries {
        let here = path.key(&name);
        check_variable_name(&name, &here, f);
        good &= template::is_name(&name);
        if params.iter().any(|(param, _)| *param == name) || header.vars.contains_key(&name) {
            let message = format!("`{}` is a derived value and also a parameter or an entry of [vars]", clip(&name));
            f.at(&here, At::Key, message, None);
            good = false;
        }
        match value {
            Value::String(text) if text.len() <= EXPRESSION_BYTES_MAX => read.push((name, text)),
            Value::String(_) => {
                f.value(&here, format!("an expression has at most {EXPRESSION_BYTES_MAX} bytes"));
                good = false;
            }
            other => {
                f.wrong_type(&here, "a string: a Starlark expression", &other);
                good = false;
            }
        }
    }
    for (name, value) in &header.vars {
        let used = |text: &str| words(text).any(|word| word == name);
        if read.iter().any(|(_, text)| used(text)) && !params.iter().any(|(param, _)| param == name) {
            params.push((name.clone(), Param::OneOf(vec![value.clone()])));
        }
    }
    (params, read, good)
}

fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
}

//! Templates: JSON whose strings hold `{{name}}`, scanned once and filled at every draw.
//!
//! * `{{name}}` (spaces inside the braces are allowed) stands for a parameter, a derived value or a variable.
//! * A string that is one placeholder and nothing else takes the value with its type; elsewhere the value's text is
//!   inserted: strings as they are, decimals with their declared digits, anything else as JSON.
//! * What messages say is text in any case ([`PROSE_KEYS`]): `"content": "{{n}}"` gives `"7"`, not 7.
//! * `\{{name}}` is the text `{{name}}`. Braces that hold no name are text.
//! * Keys of objects are never substituted.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::domain::{Case, CounterExample, Fault, ScorerSpec};

use super::source::Path;

/// Keys of messages (asked, reference and counterexample) whose strings stay strings.
pub const PROSE_KEYS: &[&str] =
    &["content", "text", "arguments", "refusal", "reasoning", "reasoning_content", "name", "id", "tool_call_id"];

/// A part of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Text that stays.
    Text(&'a str),
    /// An escaped placeholder: the text without its backslash.
    Escaped(&'a str),
    /// A placeholder: its name, and as it is written.
    Name(&'a str, &'a str),
}

/// Splits a string at its placeholders. A string without any is one [`Segment::Text`]; the empty string has none.
#[must_use]
pub fn segments(text: &str) -> Vec<Segment<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(open) = rest[from..].find("{{").map(|i| from + i) {
        let Some((name, end)) = placeholder(rest, open) else {
            from = open + 1;
            continue;
        };
        let escaped = rest[..open].ends_with('\\');
        let before = &rest[..open - usize::from(escaped)];
        if !before.is_empty() {
            found.push(Segment::Text(before));
        }
        let raw = &rest[open..end];
        found.push(if escaped { Segment::Escaped(raw) } else { Segment::Name(name, raw) });
        rest = &rest[end..];
        from = 0;
    }
    if !rest.is_empty() {
        found.push(Segment::Text(rest));
    }
    found
}

/// The name in the braces that open at a byte, and the byte after them.
fn placeholder(text: &str, open: usize) -> Option<(&str, usize)> {
    let inner = &text[open + 2..];
    let lead = inner.len() - inner.trim_start_matches(' ').len();
    let length = inner[lead..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let name = &inner[lead..lead + length];
    let after = &inner[lead + length..];
    let tail = after.len() - after.trim_start_matches(' ').len();
    let good = is_name(name) && after[tail..].starts_with("}}");
    good.then_some((name, open + 2 + lead + length + tail + 2))
}

/// Whether a text can name a parameter: a letter or underscore, then letters, digits, underscores (ASCII).
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A drawn or derived value, ready to be inserted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot {
    /// With its type.
    pub(super) value: Value,
    /// As text, when that differs from the value's own text (decimals keep their digits).
    pub(super) text: Option<String>,
}

impl Slot {
    pub(super) fn new(value: Value) -> Self {
        Slot { value, text: None }
    }

    fn push_to(&self, out: &mut String) {
        match (&self.text, &self.value) {
            (Some(text), _) => out.push_str(text),
            (None, Value::String(text)) => out.push_str(text),
            (None, other) => out.push_str(&other.to_string()),
        }
    }
}

/// Why a template does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TemplateProblem {
    /// The placeholder names nothing.
    Unknown(String),
    /// A key of an object holds a placeholder.
    InKey(String),
}

/// What placeholders may name, and where problems go.
pub(super) struct Compiling<'a> {
    /// Index of each name in the slots.
    pub(super) names: &'a HashMap<&'a str, usize>,
    /// Told of each problem and its path.
    pub(super) report: &'a mut dyn FnMut(&Path<'_>, TemplateProblem),
    /// Within a message: strings under [`PROSE_KEYS`] stay strings.
    pub(super) prose: bool,
}

/// A compiled JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Nothing in it changes.
    Const(Value),
    /// A string that is one placeholder.
    Whole(usize),
    /// A string with placeholders.
    Text(Vec<Piece>),
    /// A list with something that changes.
    List(Vec<Node>),
    /// An object with something that changes.
    Object(Vec<(String, Node)>),
}

/// A part of a compiled string.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// Text that stays.
    Text(String),
    /// The text of a slot.
    Slot(usize),
}

impl Node {
    /// Compiles a value; problems are reported and leave the text as it is.
    pub(super) fn compile(value: &Value, path: &Path<'_>, c: &mut Compiling<'_>) -> Node {
        match value {
            Value::String(text) if text.contains("{{") => compile_text(text, path, c),
            Value::Array(items) => {
                let nodes: Vec<Node> =
                    items.iter().enumerate().map(|(i, v)| Node::compile(v, &path.index(i), c)).collect();
                match constants(&nodes) {
                    Some(values) => Node::Const(Value::Array(values)),
                    None => Node::List(nodes),
                }
            }
            Value::Object(map) => {
                let nodes = compile_object(map, path, c);
                match nodes.iter().map(|(k, n)| Some((k.clone(), n.constant()?.clone()))).collect::<Option<Map<_, _>>>()
                {
                    Some(map) => Node::Const(Value::Object(map)),
                    None => Node::Object(nodes),
                }
            }
            other => Node::Const(other.clone()),
        }
    }

    fn constant(&self) -> Option<&Value> {
        match self {
            Node::Const(value) => Some(value),
            _ => None,
        }
    }

    /// The value with all placeholders filled.
    pub(super) fn fill(&self, slots: &[Slot]) -> Value {
        match self {
            Node::Const(value) => value.clone(),
            Node::Whole(slot) => slots.get(*slot).map_or(Value::Null, |s| s.value.clone()),
            Node::Text(pieces) => {
                let mut out = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.push_str(text),
                        Piece::Slot(slot) => slots.get(*slot).into_iter().for_each(|s| s.push_to(&mut out)),
                    }
                }
                Value::String(out)
            }
            Node::List(nodes) => Value::Array(nodes.iter().map(|n| n.fill(slots)).collect()),
            Node::Object(nodes) => Value::Object(fill_object(nodes, slots)),
        }
    }
}

fn constants(nodes: &[Node]) -> Option<Vec<Value>> {
    nodes.iter().map(|n| n.constant().cloned()).collect()
}

fn compile_object(map: &Map<String, Value>, path: &Path<'_>, c: &mut Compiling<'_>) -> Vec<(String, Node)> {
    map.iter()
        .map(|(key, value)| {
            let here = path.key(key);
            if segments(key).iter().any(|s| matches!(s, Segment::Name(..))) {
                (c.report)(&here, TemplateProblem::InKey(key.clone()));
            }
            let node = match Node::compile(value, &here, c) {
                Node::Whole(slot) if c.prose && PROSE_KEYS.contains(&key.as_str()) => {
                    Node::Text(vec![Piece::Slot(slot)])
                }
                node => node,
            };
            (key.clone(), node)
        })
        .collect()
}

fn fill_object(nodes: &[(String, Node)], slots: &[Slot]) -> Map<String, Value> {
    nodes.iter().map(|(key, node)| (key.clone(), node.fill(slots))).collect()
}

fn compile_text(text: &str, path: &Path<'_>, c: &mut Compiling<'_>) -> Node {
    let parts = segments(text);
    let mut pieces = Vec::new();
    for part in &parts {
        match part {
            Segment::Text(text) | Segment::Escaped(text) => push_text(&mut pieces, text),
            Segment::Name(name, raw) => match c.names.get(name) {
                Some(slot) => pieces.push(Piece::Slot(*slot)),
                None => {
                    (c.report)(path, TemplateProblem::Unknown((*name).to_owned()));
                    push_text(&mut pieces, raw);
                }
            },
        }
    }
    match pieces.as_mut_slice() {
        [Piece::Slot(slot)] => Node::Whole(*slot),
        [Piece::Text(text)] => Node::Const(Value::String(std::mem::take(text))),
        _ => Node::Text(pieces),
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(last)) => last.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// All of a case that is filled.
#[derive(Debug, Clone)]
pub(super) struct CaseTemplate {
    messages: Vec<Node>,
    tools: Option<Vec<Node>>,
    response_format: Option<Node>,
    expected: Option<Node>,
    scorers: Vec<(String, Vec<(String, Node)>)>,
    reference: Option<Node>,
    counterexample: Option<(Node, Fault)>,
}

/// What a filled template gives.
pub(super) struct Filled {
    pub(super) messages: Vec<Value>,
    pub(super) tools: Option<Vec<Value>>,
    pub(super) response_format: Option<Value>,
    pub(super) expected: Option<Value>,
    pub(super) scorers: Vec<ScorerSpec>,
    pub(super) reference: Option<Value>,
    pub(super) counterexample: Option<CounterExample>,
}

impl CaseTemplate {
    /// Compiles a case. `messages_key` is the key that the messages came from: `messages` or `input`.
    pub(super) fn compile(case: &Case, messages_key: &str, c: &mut Compiling<'_>) -> CaseTemplate {
        let root = Path::ROOT;
        let mut list = |values: &[Value], key: &str, prose: bool| -> Vec<Node> {
            let path = root.key(key);
            c.prose = prose;
            values.iter().enumerate().map(|(i, v)| Node::compile(v, &path.index(i), c)).collect()
        };
        let messages = list(&case.messages, messages_key, true);
        let tools = case.tools.as_ref().map(|tools| list(tools, "tools", false));
        let mut one = |value: &Option<Value>, key: &str, prose: bool| {
            c.prose = prose;
            value.as_ref().map(|v| Node::compile(v, &root.key(key), c))
        };
        let response_format = one(&case.response_format, "response_format", false);
        let expected = one(&case.expected, "expected", false);
        let reference = one(&case.reference, "reference", true);
        let counterexample = case.counterexample.as_ref().map(|counter| {
            let path = root.key("counterexample");
            (Node::compile(&counter.message, &path.key("message"), c), counter.fault)
        });
        c.prose = false;
        let path = root.key("scorers");
        let scorers = case.scorers.iter().enumerate();
        let scorers = scorers.map(|(i, s)| (s.kind.clone(), compile_object(&s.options, &path.index(i), c))).collect();
        CaseTemplate { messages, tools, response_format, expected, scorers, reference, counterexample }
    }

    /// Fills every placeholder.
    pub(super) fn fill(&self, slots: &[Slot]) -> Filled {
        let list = |nodes: &Vec<Node>| nodes.iter().map(|n| n.fill(slots)).collect();
        let one = |node: &Option<Node>| node.as_ref().map(|n| n.fill(slots));
        Filled {
            messages: list(&self.messages),
            tools: self.tools.as_ref().map(list),
            response_format: one(&self.response_format),
            expected: one(&self.expected),
            scorers: self
                .scorers
                .iter()
                .map(|(kind, options)| ScorerSpec { kind: kind.clone(), options: fill_object(options, slots) })
                .collect(),
            reference: one(&self.reference),
            counterexample: self
                .counterexample
                .as_ref()
                .map(|(message, fault)| CounterExample { message: message.fill(slots), fault: *fault }),
        }
    }
}

/// Puts the suite's variables in place; other placeholders and escapes stay as they are, those inside a variable too.
/// `prose` as in [`Compiling::prose`]; a list stays a list there, too (`content` may be a list of parts).
pub(super) fn splice(value: &mut Value, vars: &Map<String, Value>, prose: bool) {
    match value {
        Value::String(text) if text.contains("{{") => {
            if let Some(spliced) = splice_text(text, vars) {
                *value = spliced;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| splice(v, vars, prose)),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                let was_text = value.is_string();
                splice(value, vars, prose);
                let typed = !matches!(value, Value::String(_) | Value::Array(_));
                if was_text && typed && prose && PROSE_KEYS.contains(&key.as_str()) {
                    *value = Value::String(value.to_string());
                }
            }
        }
        _ => {}
    }
}

fn splice_text(text: &str, vars: &Map<String, Value>) -> Option<Value> {
    let parts = segments(text);
    if let [Segment::Name(name, _)] = parts.as_slice() {
        return vars.get(*name).cloned();
    }
    if !parts.iter().any(|p| matches!(p, Segment::Name(name, _) if vars.contains_key(*name))) {
        return None;
    }
    let mut out = String::new();
    for part in parts {
        match part {
            Segment::Text(text) => out.push_str(text),
            Segment::Escaped(raw) => {
                out.push('\\');
                out.push_str(raw);
            }
            Segment::Name(name, raw) => match vars.get(name) {
                Some(value) => Slot::new(value.clone()).push_to(&mut out),
                None => out.push_str(raw),
            },
        }
    }
    Some(Value::String(out))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fill(value: &Value, names: &[&str], slots: &[Slot]) -> (Value, Vec<(String, TemplateProblem)>) {
        let names = names.iter().enumerate().map(|(i, n)| (*n, i)).collect();
        let mut problems = Vec::new();
        let mut report = |path: &Path<'_>, problem| problems.push((path.text(), problem));
        let node =
            Node::compile(value, &Path::ROOT, &mut Compiling { names: &names, report: &mut report, prose: false });
        (node.fill(slots), problems)
    }

    #[test]
    fn strings_take_text_and_whole_strings_take_the_value() {
        let slots =
            [Slot::new(json!(3)), Slot { value: json!(12.5), text: Some("12.50".into()) }, Slot::new(json!(["a", 1]))];
        let value =
            json!({"t": "{{n}} at {{ price }}: {{list}}{", "n": "{{n}}", "p": ["{{price}}"], "l": "{{list}}", "c": 1});
        let (filled, problems) = fill(&value, &["n", "price", "list"], &slots);
        assert_eq!(problems, []);
        assert_eq!(filled, json!({"t": "3 at 12.50: [\"a\",1]{", "n": 3, "p": [12.5], "l": ["a", 1], "c": 1}));
    }

    #[test]
    fn escapes_and_braces_without_a_name_are_text() {
        let value = json!([r"\{{n}} {{n}}", "{{1}} {{}} {{a b}} {{", r#"{"a":{"b":{{n}}}}"#]);
        let (filled, problems) = fill(&value, &["n"], &[Slot::new(json!(7))]);
        assert_eq!(problems, []);
        assert_eq!(filled, json!(["{{n}} 7", "{{1}} {{}} {{a b}} {{", r#"{"a":{"b":7}}"#]));
    }

    #[test]
    fn what_names_nothing_and_names_in_keys_are_problems() {
        let (_, problems) = fill(&json!({"a": ["x {{nope}}"], "{{n}}": 1}), &["n"], &[Slot::new(json!(7))]);
        assert_eq!(
            problems,
            [
                ("a[0]".to_owned(), TemplateProblem::Unknown("nope".into())),
                ("{{n}}".to_owned(), TemplateProblem::InKey("{{n}}".into()))
            ]
        );
    }

    #[test]
    fn variables_come_first_and_may_hold_placeholders() {
        let vars = json!({"text": "long {{n}}", "tools": [{"type": "function"}], "table": {"a": 1}});
        let mut value = json!({"tools": "{{tools}}", "content": r"{{text}} and {{n}} \{{text}}", "arguments": "{{table}}", "x": "{{table}}"});
        splice(&mut value, vars.as_object().unwrap(), true);
        assert_eq!(
            value,
            json!({"tools": [{"type": "function"}], "content": r"long {{n}} and {{n}} \{{text}}", "arguments": "{\"a\":1}", "x": {"a": 1}})
        );
    }

    proptest! {
        #[test]
        fn segments_cover_the_string(text in "[{}ab_ \\\\é0]{0,40}") {
            let again: String = segments(&text)
                .iter()
                .map(|s| match s {
                    Segment::Text(text) => (*text).to_owned(),
                    Segment::Escaped(raw) => format!("\\{raw}"),
                    Segment::Name(_, raw) => (*raw).to_owned(),
                })
                .collect();
            prop_assert_eq!(again, text);
        }
    }
}

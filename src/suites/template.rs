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

use std::sync::Arc;

use crate::domain::{Case, CounterExample, Json, ScorerSpec};

use super::source::Path;

mod parts;

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

/// What of a JSON value changes when it is filled: laid over the value itself, which is not copied.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Nothing in it changes.
    Same,
    /// A string that is one placeholder.
    Whole(usize),
    /// A string with placeholders or escapes.
    Text(Vec<Piece>),
    /// A list or object with something that changes: one node per item or entry, in order.
    Inner(Vec<Node>),
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
            Value::Array(items) => compile_list(items, path, c).map_or(Node::Same, Node::Inner),
            Value::Object(map) => compile_object(map, path, c).map_or(Node::Same, Node::Inner),
            _ => Node::Same,
        }
    }

    /// The value with all placeholders filled.
    pub(super) fn fill(&self, value: &Value, slots: &[Slot]) -> Value {
        match (self, value) {
            (Node::Whole(slot), _) => slots.get(*slot).map_or(Value::Null, |s| s.value.clone()),
            (Node::Text(pieces), _) => {
                let mut out = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.push_str(text),
                        Piece::Slot(slot) => slots.get(*slot).into_iter().for_each(|s| s.push_to(&mut out)),
                    }
                }
                Value::String(out)
            }
            (Node::Inner(nodes), Value::Array(items)) => Value::Array(fill_list(nodes, items, slots)),
            (Node::Inner(nodes), Value::Object(map)) => Value::Object(fill_object(nodes, map, slots)),
            (Node::Same | Node::Inner(_), value) => value.clone(),
        }
    }
}

/// The nodes of a list; `None` when nothing in it changes.
fn compile_list(items: &[Value], path: &Path<'_>, c: &mut Compiling<'_>) -> Option<Vec<Node>> {
    let nodes = items.iter().enumerate().map(|(i, item)| Node::compile(item, &path.index(i), c));
    unless_same(nodes, items.len())
}

/// The nodes of an object's values, in order; `None` when nothing in it changes.
fn compile_object(map: &Map<String, Value>, path: &Path<'_>, c: &mut Compiling<'_>) -> Option<Vec<Node>> {
    let nodes = map.iter().map(|(key, value)| {
        let here = path.key(key);
        if key.contains("{{") && segments(key).iter().any(|s| matches!(s, Segment::Name(..))) {
            (c.report)(&here, TemplateProblem::InKey(key.clone()));
        }
        match Node::compile(value, &here, c) {
            Node::Whole(slot) if c.prose && PROSE_KEYS.contains(&key.as_str()) => Node::Text(vec![Piece::Slot(slot)]),
            node => node,
        }
    });
    unless_same(nodes, map.len())
}

/// Collects nodes, of which there are `count`, from the first that is not [`Node::Same`] on.
fn unless_same(nodes: impl Iterator<Item = Node>, count: usize) -> Option<Vec<Node>> {
    let mut collected: Vec<Node> = Vec::new();
    for (i, node) in nodes.enumerate() {
        if collected.is_empty() && node != Node::Same {
            collected.reserve(count);
            collected.resize(i, Node::Same);
        }
        if !collected.is_empty() || node != Node::Same {
            collected.push(node);
        }
    }
    (!collected.is_empty()).then_some(collected)
}

fn fill_list(nodes: &[Node], items: &[Value], slots: &[Slot]) -> Vec<Value> {
    items.iter().zip(nodes).map(|(item, node)| node.fill(item, slots)).collect()
}

fn fill_object(nodes: &[Node], map: &Map<String, Value>, slots: &[Slot]) -> Map<String, Value> {
    map.iter().zip(nodes).map(|((key, value), node)| (key.clone(), node.fill(value, slots))).collect()
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
    match pieces.as_slice() {
        [Piece::Slot(slot)] => Node::Whole(*slot),
        [Piece::Text(same)] if same == text => Node::Same,
        _ => Node::Text(pieces),
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(last)) => last.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// A part of the text of a JSON value.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// Text that stays.
    Text(Box<str>),
    /// A slot's value as JSON.
    Whole(usize),
    /// A slot's text within a string.
    Inside(usize),
}

/// A JSON value with placeholders, as text: filling it is writing its parts one after the other.
#[derive(Debug, Clone, PartialEq, Default)]
struct TextTemplate {
    /// Empty: nothing changes.
    parts: Vec<Part>,
}

impl TextTemplate {
    /// Compiles a value. One without braces is not even parsed.
    fn compile(json: &Json, path: &Path<'_>, c: &mut Compiling<'_>) -> TextTemplate {
        if !json.text().contains("{{") {
            return TextTemplate::default();
        }
        if let Some(parts) = parts::of(json.text(), c.names, c.prose) {
            return TextTemplate { parts };
        }
        // Something is wrong: it is told with its path.
        let value = json.value();
        match Node::compile(&value, path, c) {
            Node::Same => TextTemplate::default(),
            node => TextTemplate::laid_out(&node, &value),
        }
    }

    fn laid_out(node: &Node, value: &Value) -> TextTemplate {
        let mut layout = Layout::default();
        layout.value(node, value);
        layout.finish()
    }

    /// The value with its placeholders filled; the very same text where there are none.
    fn fill(&self, json: &Json, slots: &[Slot]) -> Json {
        if self.parts.is_empty() {
            return json.clone();
        }
        let mut out = String::with_capacity(json.text().len() + FILL_ROOM);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Whole(slot) => match slots.get(*slot) {
                    Some(slot) => out.push_str(&slot.value.to_string()),
                    None => out.push_str("null"),
                },
                Part::Inside(slot) => {
                    let mut text = String::new();
                    slots.get(*slot).into_iter().for_each(|s| s.push_to(&mut text));
                    push_escaped(&mut out, &text);
                }
            }
        }
        Json::from_written(out)
    }
}

/// Bytes by which a filled text usually outgrows its template.
const FILL_ROOM: usize = 64;

/// Appends a text as the inside of a JSON string.
fn push_escaped(out: &mut String, text: &str) {
    let quoted = Value::String(text.to_owned()).to_string();
    out.push_str(&quoted[1..quoted.len() - 1]);
}

/// Writes a value's text, broken where slots stand.
#[derive(Default)]
struct Layout {
    parts: Vec<Part>,
    text: String,
}

impl Layout {
    fn value(&mut self, node: &Node, value: &Value) {
        match (node, value) {
            (Node::Whole(slot), _) => self.slot(Part::Whole(*slot)),
            (Node::Text(pieces), _) => {
                self.text.push('"');
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => push_escaped(&mut self.text, text),
                        Piece::Slot(slot) => self.slot(Part::Inside(*slot)),
                    }
                }
                self.text.push('"');
            }
            (Node::Inner(nodes), Value::Array(items)) => {
                self.text.push('[');
                for (i, (node, item)) in nodes.iter().zip(items).enumerate() {
                    self.text.push_str(if i == 0 { "" } else { "," });
                    self.value(node, item);
                }
                self.text.push(']');
            }
            (Node::Inner(nodes), Value::Object(map)) => {
                self.text.push('{');
                for (i, (node, (key, value))) in nodes.iter().zip(map).enumerate() {
                    self.text.push_str(if i == 0 { "\"" } else { ",\"" });
                    push_escaped(&mut self.text, key);
                    self.text.push_str("\":");
                    self.value(node, value);
                }
                self.text.push('}');
            }
            (Node::Same | Node::Inner(_), value) => self.text.push_str(&value.to_string()),
        }
    }

    fn slot(&mut self, part: Part) {
        self.cut();
        self.parts.push(part);
    }

    fn cut(&mut self) {
        if !self.text.is_empty() {
            self.parts.push(Part::Text(std::mem::take(&mut self.text).into()));
        }
    }

    fn finish(mut self) -> TextTemplate {
        self.cut();
        TextTemplate { parts: self.parts }
    }
}

/// What of a case changes when it is filled.
#[derive(Debug, Clone)]
pub(super) struct CaseTemplate {
    messages: TextTemplate,
    tools: TextTemplate,
    response_format: TextTemplate,
    expected: TextTemplate,
    world: TextTemplate,
    /// `None`: no scorer changes.
    scorers: Option<Vec<Option<Vec<Node>>>>,
    reference: TextTemplate,
    counterexample: TextTemplate,
    answers: TextTemplate,
}

/// What a filled template gives.
pub(super) struct Filled {
    pub(super) messages: Json,
    pub(super) tools: Option<Json>,
    pub(super) response_format: Option<Json>,
    pub(super) expected: Option<Json>,
    pub(super) world: Option<Json>,
    pub(super) scorers: Arc<[ScorerSpec]>,
    pub(super) reference: Option<Json>,
    pub(super) counterexample: Option<CounterExample>,
    pub(super) answers: Option<Json>,
}

impl CaseTemplate {
    /// Compiles a case. `messages_key` is the key that the messages came from: `messages` or `input`.
    pub(super) fn compile(case: &Case, messages_key: &str, c: &mut Compiling<'_>) -> CaseTemplate {
        let root = Path::ROOT;
        c.prose = true;
        let messages = TextTemplate::compile(&case.messages, &root.key(messages_key), c);
        let reference = compile_optional(case.reference.as_ref(), &root.key("reference"), c);
        let counter = case.counterexample.as_ref().map(|counter| &counter.message);
        let counterexample = compile_optional(counter, &root.key("counterexample").key("message"), c);
        let answers = compile_optional(case.answers.as_ref(), &root.key("answers"), c);
        c.prose = false;
        let tools = compile_optional(case.tools.as_ref(), &root.key("tools"), c);
        let path = root.key("scorers");
        let scorers: Vec<_> =
            case.scorers.iter().enumerate().map(|(i, s)| compile_object(&s.options, &path.index(i), c)).collect();
        CaseTemplate {
            messages,
            tools,
            response_format: compile_optional(case.response_format.as_ref(), &root.key("response_format"), c),
            expected: compile_optional(case.expected.as_ref(), &root.key("expected"), c),
            world: compile_optional(case.world.as_ref(), &root.key("world"), c),
            scorers: scorers.iter().any(Option::is_some).then_some(scorers),
            reference,
            counterexample,
            answers,
        }
    }

    /// Fills every placeholder of the case that the template was compiled from.
    pub(super) fn fill(&self, case: &Case, slots: &[Slot]) -> Filled {
        let one = |template: &TextTemplate, json: &Option<Json>| json.as_ref().map(|json| template.fill(json, slots));
        let scorer = |(nodes, spec): (&Option<Vec<Node>>, &ScorerSpec)| match nodes {
            Some(nodes) => ScorerSpec { kind: spec.kind.clone(), options: fill_object(nodes, &spec.options, slots) },
            None => spec.clone(),
        };
        Filled {
            messages: self.messages.fill(&case.messages, slots),
            tools: one(&self.tools, &case.tools),
            response_format: one(&self.response_format, &case.response_format),
            expected: one(&self.expected, &case.expected),
            world: one(&self.world, &case.world),
            scorers: match &self.scorers {
                Some(nodes) => nodes.iter().zip(case.scorers.iter()).map(scorer).collect(),
                None => Arc::clone(&case.scorers),
            },
            reference: one(&self.reference, &case.reference),
            counterexample: case.counterexample.as_ref().map(|counter| CounterExample {
                message: self.counterexample.fill(&counter.message, slots),
                fault: counter.fault,
            }),
            answers: one(&self.answers, &case.answers),
        }
    }
}

fn compile_optional(json: Option<&Json>, path: &Path<'_>, c: &mut Compiling<'_>) -> TextTemplate {
    json.map_or_else(TextTemplate::default, |json| TextTemplate::compile(json, path, c))
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
        (node.fill(value, slots), problems)
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

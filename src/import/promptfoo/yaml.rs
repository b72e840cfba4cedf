//! YAML with line numbers, from events: bounded in size, depth and in what aliases may expand to.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// Largest YAML file, in bytes.
pub(super) const YAML_BYTES_MAX: usize = 32 << 20;
/// Nesting of a document.
const DEPTH_MAX: usize = 60;
/// Values in a document, those that aliases repeat included.
const NODES_MAX: usize = 500_000;
/// Text in a document, what aliases repeat included, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// Keys of one table.
const KEYS_MAX: usize = 2_000;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Line from 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Null, truth value, number or text.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A table, in written order.
    Table(Vec<(String, Node)>),
}

impl Node {
    /// A member of a table.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.members().iter().find(|(k, _)| k == key).map(|(_, node)| node)
    }

    /// The members of a table; none of anything else.
    pub(super) fn members(&self) -> &[(String, Node)] {
        match &self.kind {
            Kind::Table(members) => members,
            _ => &[],
        }
    }

    /// A text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// A number.
    pub(super) fn number(&self) -> Option<f64> {
        match &self.kind {
            Kind::Scalar(value) => value.as_f64(),
            _ => None,
        }
    }

    /// Null, also a key without a value.
    pub(super) fn is_null(&self) -> bool {
        self.kind == Kind::Scalar(Value::Null)
    }

    /// As JSON.
    pub(super) fn json(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(Node::json).collect()),
            Kind::Table(members) => {
                Value::Object(members.iter().map(|(k, v)| (k.clone(), v.json())).collect::<Map<_, _>>())
            }
        }
    }

    /// Values and bytes of text, those inside included.
    fn size(&self) -> Size {
        let own = Size { values: 1, bytes: 0 };
        match &self.kind {
            Kind::Scalar(value) => Size { bytes: value.as_str().map_or(0, str::len), ..own },
            Kind::List(items) => items.iter().map(Node::size).fold(own, Size::and),
            Kind::Table(members) => {
                let member = |(key, node): &(String, Node)| node.size().and(Size { values: 0, bytes: key.len() });
                members.iter().map(member).fold(own, Size::and)
            }
        }
    }

    /// A JSON value as a node; every part stands on one line.
    fn of_json(value: Value, line: usize) -> Node {
        let kind = match value {
            Value::Array(items) => Kind::List(items.into_iter().map(|v| Node::of_json(v, line)).collect()),
            Value::Object(map) => Kind::Table(map.into_iter().map(|(k, v)| (k, Node::of_json(v, line))).collect()),
            scalar => Kind::Scalar(scalar),
        };
        Node { line, kind }
    }
}

/// What counts against the limits of a document.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    values: usize,
    bytes: usize,
}

impl Size {
    fn and(self, other: Size) -> Size {
        Size { values: self.values + other.values, bytes: self.bytes + other.bytes }
    }

    fn text(text: &str) -> Size {
        Size { values: 1, bytes: text.len() }
    }
}

/// A line and what is wrong there.
pub(super) type YamlError = (usize, String);

/// Reads a file: JSON where its name says so, else YAML.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_file(path: &str, bytes: &[u8]) -> Result<Node, YamlError> {
    let lower = path.to_ascii_lowercase();
    if lower.ends_with(".json") || lower.ends_with(".jsonl") { parse_json(bytes) } else { parse(bytes) }
}

/// Reads JSON. It is read as YAML where that means the same, which tells the lines; YAML knows no pairs of escapes for
/// one character, and no tabs before a value.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_json(bytes: &[u8]) -> Result<Node, YamlError> {
    let plain = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let value = match plain.len() <= YAML_BYTES_MAX {
        true => serde_json::from_slice::<Value>(plain).ok(),
        false => None,
    };
    match (parse(bytes), value) {
        (Ok(node), Some(value)) if alike(&node.json(), &value) => Ok(node),
        (_, Some(value)) => {
            let node = Node::of_json(value, 1);
            Builder::default().count(node.size()).map_err(|why| (1, why))?;
            Ok(node)
        }
        (read, None) => read,
    }
}

/// Equal, numbers by their value.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| alike(a, b)))
        }
        _ => a == b,
    }
}

/// Reads a file of one document. JSON is mostly YAML too.
///
/// # Errors
/// Where the text is not YAML, holds a second document, or goes beyond a limit.
pub(super) fn parse(bytes: &[u8]) -> Result<Node, YamlError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.len() > YAML_BYTES_MAX {
        return Err((1, format!("the file has {} bytes, at most {YAML_BYTES_MAX} are read", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        (bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1, "the file is not UTF-8".to_owned())
    })?;
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|e| (e.marker().line(), format!("not YAML: {}", e.info())))?;
        let line = span.start.line();
        if matches!(event, Event::DocumentStart(..)) && builder.root.is_some() {
            return Err((line, "a second document begins here: only files of one document are read".to_owned()));
        }
        builder.event(event, line).map_err(|why| (line, why))?;
    }
    builder.root.ok_or((1, "the file is empty".to_owned()))
}

/// A list or table that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<String>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    size: Size,
    root: Option<Node>,
}

impl Builder {
    /// Takes an event.
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(Size::text(&text))?;
                let text_tag = tag.is_some_and(|tag| tag.suffix == "str");
                let value = match style {
                    ScalarStyle::Plain if !text_tag => plain(&text),
                    _ => Value::String(text.into_owned()),
                };
                self.close(Node { line, kind: Kind::Scalar(value) }, anchor)?;
            }
            Event::SequenceStart(anchor, _) => self.start(Node { line, kind: Kind::List(Vec::new()) }, anchor)?,
            Event::MappingStart(anchor, _) => self.start(Node { line, kind: Kind::Table(Vec::new()) }, anchor)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let node = self.merged(open.node)?;
                    self.close(node, open.anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let size = self.anchors.get(&anchor).ok_or("an alias of a value that is not complete")?.size();
                self.count(size)?;
                if let Some(node) = self.anchors.get(&anchor).cloned() {
                    self.close(node, 0)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() == DEPTH_MAX {
            return Err(format!("nested more than {DEPTH_MAX} deep"));
        }
        self.count(Size::text(""))?;
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    fn count(&mut self, more: Size) -> Result<(), String> {
        self.size = self.size.and(more);
        if self.size.values > NODES_MAX {
            return Err(format!("more than {NODES_MAX} values (aliases count as often as they are used)"));
        }
        match self.size.bytes > TEXT_BYTES_MAX {
            true => Err(format!("more than {TEXT_BYTES_MAX} bytes of text (aliases count as often as they are used)")),
            false => Ok(()),
        }
    }

    /// A value is complete: it goes into what is open around it.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if anchor > 0 {
            // What aliases may repeat is kept twice.
            self.count(node.size())?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.kind, open.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Table(members), Some(_)) if members.len() == KEYS_MAX => {
                return Err(too_wide());
            }
            (Kind::Table(members), Some(key)) => {
                if key != MERGE && members.iter().any(|(k, _)| *k == key) {
                    return Err(format!("the key `{key}` stands here twice"));
                }
                members.push((key, node));
            }
            (Kind::Table(_), None) => match node.kind {
                Kind::Scalar(Value::String(key)) => open.key = Some(key),
                Kind::Scalar(value) => open.key = Some(value.to_string()),
                _ => return Err("a key is a text".to_owned()),
            },
            (Kind::Scalar(_), _) => {}
        }
        Ok(())
    }
}

impl Builder {
    /// A table with what its merge keys bring; its own keys come first.
    fn merged(&mut self, node: Node) -> Result<Node, String> {
        let members = match node.kind {
            Kind::Table(members) if members.iter().any(|(key, _)| key == MERGE) => members,
            kind => return Ok(Node { line: node.line, kind }),
        };
        let (merges, mut own): (Vec<_>, Vec<_>) = members.into_iter().partition(|(key, _)| key == MERGE);
        let mut known: HashSet<String> = own.iter().map(|(key, _)| key.clone()).collect();
        for (_, source) in merges {
            let tables = match source.kind {
                Kind::List(items) => items,
                kind => vec![Node { line: source.line, kind }],
            };
            for (key, value) in tables.iter().flat_map(|table| table.members()) {
                if !known.insert(key.clone()) {
                    continue;
                }
                if own.len() == KEYS_MAX {
                    return Err(too_wide());
                }
                self.count(value.size())?;
                own.push((key.clone(), value.clone()));
            }
        }
        Ok(Node { line: node.line, kind: Kind::Table(own) })
    }
}

/// The key that merges other tables into its own.
const MERGE: &str = "<<";

fn too_wide() -> String {
    format!("a table of more than {KEYS_MAX} keys")
}

/// A plain scalar by the core schema; what JSON has no number for stays text.
fn plain(text: &str) -> Value {
    let number = |n: Option<Number>| n.map(Value::Number);
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "true" | "True" | "TRUE" => Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => Some(Value::Bool(false)),
        _ => match text.strip_prefix("0x").map(|t| (t, 16)).or_else(|| text.strip_prefix("0o").map(|t| (t, 8))) {
            Some((digits, radix)) => number(i64::from_str_radix(digits, radix).ok().map(Number::from)),
            None if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => {
                let whole = text.strip_prefix('+').unwrap_or(text).parse::<i64>().ok().map(Number::from);
                let numeric = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
                number(whole.or_else(|| text.parse::<f64>().ok().filter(|_| numeric).and_then(Number::from_f64)))
            }
            None => None,
        },
    };
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_types_and_lines() {
        let node =
            parse(b"a: 1\nb:\n  - true\n  - \"1\"\n  - x: ~\n    y: 1.5\nc: |\n  two\n  lines\nd: {e: [1, 0x10]}\n")
                .unwrap();
        assert_eq!(
            node.json(),
            json!({"a": 1, "b": [true, "1", {"x": null, "y": 1.5}], "c": "two\nlines\n", "d": {"e": [1, 16]}})
        );
        let Kind::List(items) = &node.get("b").unwrap().kind else { panic!() };
        assert_eq!(items[2].get("y").unwrap().line, 6);
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let node = parse(b"base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nagain: *b\n").unwrap();
        assert_eq!(node.json(), json!({"base": {"x": 1, "y": 2}, "use": {"y": 3, "x": 1}, "again": {"x": 1, "y": 2}}));
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb += &format!("a{n}: &a{n} [{aliases}]\n");
        }
        assert!(parse(bomb.as_bytes()).unwrap_err().1.contains("values"));
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(parse("- ".repeat(10_000).as_bytes()).is_err());
        let wide: String = (0..=KEYS_MAX).map(|n| format!("k{n}: 1\n")).collect();
        assert!(parse(wide.as_bytes()).unwrap_err().1.contains("keys"));
        assert!(parse(b"a: &a [*a]").is_err());
        assert!(parse(b"a: 1\na: 2").unwrap_err().1.contains("twice"));
        // A megabyte of text, repeated: few values, much memory.
        let text = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 400_000].join(", "));
        assert!(parse(text.as_bytes()).unwrap_err().1.contains("bytes of text"));
        let merges: String = (0..1_900).map(|n| format!("  k{n}: {}\n", "x".repeat(10_000))).collect();
        let merged: String = (0..1_900).map(|n| format!("m{n}: {{<<: *b}}\n")).collect();
        assert!(parse(format!("b: &b\n{merges}{merged}").as_bytes()).unwrap_err().1.contains("bytes of text"));
        let tables: String = (0..=KEYS_MAX).map(|n| format!("{{k{n}: 1}}, ")).collect();
        assert!(parse(format!("a: {{<<: [{tables}]}}").as_bytes()).unwrap_err().1.contains("keys"));
        assert!(parse(b"\xff").is_err());
        assert!(parse(b"").is_err());
    }

    #[test]
    fn json_is_read_as_json() {
        let text = b"{\"a\": \"\\ud83d\\ude00 \\/\",\n\t\"b\": [1,\t2.5, \"x\"]}";
        let node = parse_json(text).unwrap();
        assert_eq!(node.json(), json!({"a": "\u{1f600} /", "b": [1, 2.5, "x"]}));
        let lines = parse_json(b"[{\"a\": 1},\n{\"a\": 2}]").unwrap();
        let Kind::List(items) = &lines.kind else { panic!() };
        assert_eq!(items[1].line, 2);
        // What is not JSON is read as YAML, whatever the file is called.
        assert_eq!(parse_json(b"{a: 1}").unwrap().json(), json!({"a": 1}));
        assert!(parse_json(format!("[{}]", "0,".repeat(NODES_MAX) + "0").as_bytes()).unwrap_err().1.contains("values"));
    }

    #[test]
    fn a_second_document_is_not_passed_over() {
        assert_eq!(parse(b"---\na: 1\n...\n").unwrap().json(), json!({"a": 1}));
        let (line, why) = parse(b"a: 1\n---\nb: 2\n").unwrap_err();
        assert!(line >= 2 && why.contains("second document"), "{line} {why}");
    }
}

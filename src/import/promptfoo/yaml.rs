//! YAML with line numbers, from events: bounded in size, depth and in what aliases may expand to.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// Largest YAML file, in bytes.
pub(super) const YAML_BYTES_MAX: usize = 32 << 20;
/// Nesting of a document.
const DEPTH_MAX: usize = 60;
/// Values in a document, those that aliases repeat included.
const NODES_MAX: usize = 500_000;

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

    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) => 0,
            Kind::List(items) => items.iter().map(Node::size).sum(),
            Kind::Table(members) => members.iter().map(|(_, node)| node.size()).sum(),
        }
    }
}

/// A line and what is wrong there.
pub(super) type YamlError = (usize, String);

/// Reads the first document. JSON is YAML too.
///
/// # Errors
/// Where the text is not YAML, or goes beyond a limit.
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
        if builder.event(event, line).map_err(|why| (line, why))? {
            break;
        }
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
    anchors: std::collections::HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    /// Takes an event; true when the first document is whole.
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<bool, String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1)?;
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
                    self.close(merged(open.node), open.anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or("an alias of a value that is not complete")?;
                self.count(node.size())?;
                self.close(node, 0)?;
            }
            Event::DocumentEnd => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn start(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() == DEPTH_MAX {
            return Err(format!("nested more than {DEPTH_MAX} deep"));
        }
        self.count(1)?;
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    fn count(&mut self, values: usize) -> Result<(), String> {
        self.nodes += values;
        match self.nodes > NODES_MAX {
            true => Err(format!("more than {NODES_MAX} values (aliases count as often as they are used)")),
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
                return Err(format!("a table of more than {KEYS_MAX} keys"));
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

/// The key that merges other tables into its own.
const MERGE: &str = "<<";

/// A table with what its merge keys bring; its own keys come first.
fn merged(node: Node) -> Node {
    let Kind::Table(members) = node.kind else { return node };
    let (merges, mut own): (Vec<_>, Vec<_>) = members.into_iter().partition(|(key, _)| key == MERGE);
    for (_, source) in merges {
        let tables = match source.kind {
            Kind::List(items) => items,
            kind => vec![Node { line: source.line, kind }],
        };
        for (key, value) in tables.iter().flat_map(|table| table.members()) {
            if !own.iter().any(|(k, _)| k == key) {
                own.push((key.clone(), value.clone()));
            }
        }
    }
    Node { line: node.line, kind: Kind::Table(own) }
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
        assert!(parse(b"\xff").is_err());
        assert!(parse(b"").is_err());
    }
}

//! The parts of a template straight from its text, without making a tree of it.

use std::collections::HashMap;

use super::{Layout, PROSE_KEYS, Part, Piece, Segment, push_escaped, push_text, segments};

/// The parts of compact JSON text as `serde_json` writes it; `None` where a placeholder names nothing or stands in a key,
/// and where the text is something else: then it is to be looked at value by value.
pub(super) fn of(text: &str, names: &HashMap<&str, usize>, prose: bool) -> Option<Vec<Part>> {
    let bytes = text.as_bytes();
    let mut layout = Layout::default();
    // What lies before this byte is laid out.
    let (mut done, mut at) = (0, 0);
    // The key whose value may follow.
    let mut key = "";
    while let Some(open) = memchr::memchr(b'"', &bytes[at..]).map(|n| at + n) {
        let end = closing_quote(bytes, open)?;
        let inner = text.get(open + 1..end)?;
        at = end + 1;
        if bytes.get(at) == Some(&b':') {
            if inner.contains("{{") {
                return None;
            }
            key = inner;
            at += 1;
            continue;
        }
        // A list stands between a key and the texts in it.
        let is_value_of_key = bytes.get(open.wrapping_sub(1)) == Some(&b':');
        if inner.contains("{{") {
            let stays_text = prose && is_value_of_key && PROSE_KEYS.contains(&key);
            if let Some(pieces) = pieces(inner, names)? {
                layout.text.push_str(text.get(done..open)?);
                lay_out(&mut layout, &pieces, stays_text);
                done = at;
            }
        }
    }
    if done == 0 {
        return Some(Vec::new());
    }
    layout.text.push_str(text.get(done..)?);
    Some(layout.finish().parts)
}

fn lay_out(layout: &mut Layout, pieces: &[Piece], stays_text: bool) {
    if let ([Piece::Slot(slot)], false) = (pieces, stays_text) {
        layout.slot(Part::Whole(*slot));
        return;
    }
    layout.text.push('"');
    for piece in pieces {
        match piece {
            Piece::Text(text) => push_escaped(&mut layout.text, text),
            Piece::Slot(slot) => layout.slot(Part::Inside(*slot)),
        }
    }
    layout.text.push('"');
}

/// The pieces of a string, given as it stands between its quotes; the inner `None`: it stays as it is.
fn pieces(inner: &str, names: &HashMap<&str, usize>) -> Option<Option<Vec<Piece>>> {
    let decoded: String;
    let meant = match inner.contains('\\') {
        true => {
            decoded = serde_json::from_str(&format!("\"{inner}\"")).ok()?;
            decoded.as_str()
        }
        false => inner,
    };
    let mut pieces = Vec::new();
    for segment in segments(meant) {
        match segment {
            Segment::Text(text) | Segment::Escaped(text) => push_text(&mut pieces, text),
            Segment::Name(name, _) => pieces.push(Piece::Slot(*names.get(name)?)),
        }
    }
    Some(match pieces.as_slice() {
        [Piece::Text(same)] if same == meant => None,
        _ => Some(pieces),
    })
}

/// The quote that ends the string that begins at a byte.
fn closing_quote(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{Compiling, Node, TextTemplate};
    use super::*;
    use crate::suites::source::Path;

    /// As the whole value is compiled, and how many problems there are.
    fn by_value(value: &Value, names: &HashMap<&str, usize>, prose: bool) -> (Vec<Part>, usize) {
        let mut problems = 0;
        let mut report = |_: &Path<'_>, _| problems += 1;
        let node = Node::compile(value, &Path::ROOT, &mut Compiling { names, report: &mut report, prose });
        let template = match node {
            Node::Same => TextTemplate::default(),
            node => TextTemplate::laid_out(&node, value),
        };
        (template.parts, problems)
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop::collection::vec(
            prop_oneof![
                Just("{{a}}"),
                Just("{{ b }}"),
                Just("\\"),
                Just("{{"),
                Just("}}"),
                Just("\""),
                Just("x é\n"),
                Just("{{c}}")
            ],
            0..4,
        )
        .prop_map(|parts| parts.concat());
        let key = prop_oneof![Just("content".to_owned()), Just("id".to_owned()), Just("k".to_owned()), text.clone()];
        let leaf = prop_oneof![Just(json!(1.5)), Just(json!(null)), text.prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec((key.clone(), inner), 0..5).prop_map(|e| Value::Object(e.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn a_text_is_read_as_its_value() {
        let names = HashMap::from([("a", 0), ("b", 1)]);
        let value = json!({"content": "{{a}}", "list": ["{{a}}", "x {{b}} \\{{a}} \"{{a}}\""], "n": {"id": ["{{b}}"], "id2": "{{b}}"}});
        for prose in [true, false] {
            let (expected, problems) = by_value(&value, &names, prose);
            assert_eq!((of(&value.to_string(), &names, prose), problems), (Some(expected), 0));
        }
        assert_eq!(of(r#"{"k":"{{c}}"}"#, &names, false), None, "no such name");
        assert_eq!(of(r#"{"{{a}}":1}"#, &names, false), None, "in a key");
    }

    proptest! {
        #[test]
        fn the_parts_are_those_of_the_value(value in any_value(), prose: bool) {
            let names = HashMap::from([("a", 0), ("b", 1)]);
            let (expected, problems) = by_value(&value, &names, prose);
            match of(&value.to_string(), &names, prose) {
                Some(parts) => prop_assert_eq!((parts, problems), (expected, 0)),
                // Braces in a key, also where they hold no name, are looked at value by value.
                None => prop_assert!(problems > 0 || value.to_string().contains("{{")),
            }
        }
    }
}

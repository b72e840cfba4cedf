//! Markup of chat templates that leaked into an answer.
//!
//! | what | where it counts |
//! |---|---|
//! | tool markup: `<tool_call>`, `<function_call>`, `<function=`, `[TOOL_CALLS]`, `commentary to=functions.`, and every template token `<|word|>` (harmony channels, section markers) or `<｜word｜>` | content and reasoning |
//! | reasoning markup: `<think>`, `<thinking>`, `◁think▷` and their closing forms | content |
//!
//! A marker that stands in the case itself (messages, tools, expected values, reference) never counts: the
//! model was shown it or asked for it. Opening and closing forms are the same marker.

/// What a marker belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Markup {
    /// Tool calls, or tokens of the chat template.
    Tool,
    /// Reasoning.
    Reasoning,
}

/// Longest word inside a template token, in bytes.
const TOKEN_BYTES_MAX: usize = 48;

/// Literal markers without the slash of their closing form.
const LITERALS: &[(&str, Markup)] = &[
    ("<|tool_call", Markup::Tool),
    ("<tool_call>", Markup::Tool),
    ("<tool_calls>", Markup::Tool),
    ("<tool_call ", Markup::Tool),
    ("<tool_call\n", Markup::Tool),
    ("<function_call>", Markup::Tool),
    ("<function_calls>", Markup::Tool),
    ("<function=", Markup::Tool),
    ("<minimax:tool_call>", Markup::Tool),
    ("<invoke name=", Markup::Tool),
    ("<arg_key>", Markup::Tool),
    ("<arg_value>", Markup::Tool),
    ("<start_of_turn>", Markup::Tool),
    ("<end_of_turn>", Markup::Tool),
    ("[TOOL_CALLS]", Markup::Tool),
    ("commentary to=functions.", Markup::Tool),
    ("<think>", Markup::Reasoning),
    ("<thinking>", Markup::Reasoning),
    ("◁think▷", Markup::Reasoning),
];

/// One marker in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    /// The marker in its opening form.
    pub name: String,
    /// What it belongs to.
    pub markup: Markup,
}

/// Calls a function for each marker, first to last, until it returns true.
fn scan(text: &str, mut stop: impl FnMut(Marker) -> bool) {
    // Bytes, not characters: this runs over every answer and every prompt. 0xE2 begins ◁ and other signs.
    for at in text.bytes().enumerate().filter(|(_, b)| matches!(b, b'<' | b'[' | 0xE2)).map(|(at, _)| at) {
        if let Some(marker) = marker_at(&text[at..])
            && stop(marker)
        {
            return;
        }
    }
    const COMMENTARY: &str = "commentary to=functions.";
    if text.contains(COMMENTARY) {
        stop(Marker { name: COMMENTARY.to_owned(), markup: Markup::Tool });
    }
}

fn marker_at(rest: &str) -> Option<Marker> {
    let first = rest.chars().next()?;
    let body = &rest[first.len_utf8()..];
    let body = body.strip_prefix('/').unwrap_or(body);
    for (open, close) in [("|", "|>"), ("｜", "｜>")] {
        if let Some(inner) = body.strip_prefix(open).filter(|_| first == '<')
            && let Some(word) = token_word(inner, close)
        {
            return Some(Marker { name: format!("<{open}{word}{close}"), markup: Markup::Tool });
        }
    }
    let literal = LITERALS.iter().find(|(l, _)| {
        let mut chars = l.chars();
        chars.next() == Some(first) && body.starts_with(chars.as_str())
    });
    literal.map(|(l, markup)| Marker { name: l.trim_end().to_owned(), markup: *markup })
}

/// The word of a template token that ends with `close`.
fn token_word<'a>(inner: &'a str, close: &str) -> Option<&'a str> {
    let mut end = TOKEN_BYTES_MAX.min(inner.len());
    while !inner.is_char_boundary(end) {
        end -= 1;
    }
    let word = &inner[..inner[..end].find(close)?];
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '▁' | ' ');
    (word.starts_with(char::is_alphabetic) && word.chars().all(plain)).then_some(word)
}

/// The markers of a case's own text.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(Vec<String>);

impl Shown {
    /// Most different markers kept of one case.
    const MAX: usize = 64;

    /// Adds the markers of a text.
    pub fn insert_text(&mut self, text: &str) {
        scan(text, |marker| {
            if !self.0.contains(&marker.name) {
                self.0.push(marker.name);
            }
            self.0.len() >= Self::MAX
        });
    }

    /// Whether the case shows a marker.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|shown| shown == name)
    }
}

/// The first marker of a text that the case does not show; `reasoning` tells whether reasoning markup counts. The case
/// is asked only when there is a marker.
pub(super) fn first_leak(text: &str, reasoning: bool, shows: impl Fn(&str) -> bool) -> Option<Marker> {
    let mut found = None;
    scan(text, |marker| {
        if (reasoning || marker.markup == Markup::Tool) && !shows(&marker.name) {
            found = Some(marker);
        }
        found.is_some()
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leak(text: &str) -> Option<String> {
        first_leak(text, true, |_| false).map(|m| m.name)
    }

    #[test]
    fn known_markup_is_found() {
        for (text, name) in [
            ("<|tool_calls_section_begin|><|tool_call_begin|>", "<|tool_calls_section_begin|>"),
            ("x<|channel|>commentary", "<|channel|>"),
            ("done <|im_end|>", "<|im_end|>"),
            ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁begin｜>"),
            ("ok <tool_call>\n{\"name\"", "<tool_call>"),
            ("ok </tool_call>", "<tool_call>"),
            ("<|tool_call", "<|tool_call"),
            ("[TOOL_CALLS] [{", "[TOOL_CALLS]"),
            ("<function=get_x>", "<function="),
            ("commentary to=functions.get_x", "commentary to=functions."),
            ("<think>let me see", "<think>"),
            ("</think>42", "<think>"),
            ("◁/think▷42", "◁think▷"),
        ] {
            assert_eq!(leak(text).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn ordinary_text_is_not() {
        for text in [
            "I think the tool_call is fine",
            "a < b | c > d, x <| f |> y, <|>",
            "if (a<b||c>d) { }",
            "[1] see [TOOL] <b>bold</b> <s>gone</s>",
            "<thinker> <tool>",
            "◁ ▷ < [ <| <|a",
            "",
        ] {
            assert_eq!(leak(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_case_shows_does_not_count() {
        let mut shown = Shown::default();
        shown.insert_text("Repeat exactly: <think>a</think> and <|im_end|>");
        let leak = |text: &str| first_leak(text, true, |name| shown.contains(name));
        assert_eq!(leak("</think> <|im_end|>"), None);
        assert_eq!(leak("<|im_start|>").unwrap().name, "<|im_start|>");
        assert_eq!(first_leak("<think>", false, |_| false), None);
    }
}

//! No text makes the parser panic, and every problem can be shown.

use proptest::prelude::*;

use super::{EVERYTHING, MINIMAL, parse};

/// Parses and shows all problems: both must survive any text.
fn survives(text: &str) {
    match parse(text) {
        Ok(config) => {
            let _ = format!("{config:?}");
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            let _ = problems.to_string();
        }
    }
}

/// Pieces that a mutation puts somewhere.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "\"",
            "'",
            "\"\"\"",
            "{",
            "}",
            "[",
            "]",
            "[[",
            "]]",
            "=",
            ",",
            ".",
            "#",
            "\n",
            "\r\n",
            "\\",
            "*",
            "-1",
            "0",
            "1e999",
            "nan",
            "inf",
            "true",
            "1979-05-27",
            "é",
            "\u{1F980}",
            "\u{0}",
            "\u{feff}",
            "api_key = ",
            "env = ",
            "[policy]\n",
            "[[model]]\n",
            "[[schedule]]\ncron = \"",
            "@daily",
            "* * * * *",
            "99999999999",
            "0x1F",
            "http://",
            "sqlite:",
            "postgres://",
            "sk-abcdefghijkl",
            "://@",
            "://:@/",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ]
}

fn at_char(text: &str, at: prop::sample::Index) -> usize {
    let ends: Vec<usize> = text.char_indices().map(|(i, _)| i).chain([text.len()]).collect();
    ends[at.index(ends.len())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_survived(text in "\\PC*|([\\[\\]{}=\"'\\.,#a-z0-9 \\n]{0,80})") {
        survives(&text);
    }

    #[test]
    fn any_mutation_of_a_valid_config_is_survived(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), piece()), 1..5),
        long in any::<bool>(),
    ) {
        let mut text = if long { EVERYTHING } else { MINIMAL }.to_owned();
        for (at, length, piece) in edits {
            let start = at_char(&text, at);
            let end = start + at_char(&text[start..], length).min(at_char(&text[start..], length) % 40);
            let end = (start..=end).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(start);
            text.replace_range(start..end, &piece);
        }
        survives(&text);
    }

    #[test]
    fn any_value_of_any_key_is_survived(value in piece(), line in any::<prop::sample::Index>(), quoted in any::<bool>()) {
        let lines: Vec<&str> = EVERYTHING.lines().collect();
        let at = line.index(lines.len());
        let changed = match lines[at].split_once('=') {
            Some((key, _)) if quoted => format!("{key}= {}", toml::Value::String(value)),
            Some((key, _)) => format!("{key}= {value}"),
            None => value,
        };
        let mut lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        lines[at] = changed;
        survives(&lines.join("\n"));
    }

    #[test]
    fn any_cron_line_is_survived(fields in prop::collection::vec("[0-9*/,LW#A-Z?-]{1,6}", 5)) {
        survives(&format!("{MINIMAL}[[schedule]]\njitter = '1m'\ncron = \"{}\"\n", fields.join(" ")));
    }
}

//! The first pass: every key of the file against the tables of [`super::keys`]. Unknown keys, missing keys,
//! types, ranges, words, secrets in the clear. What it reports, the second pass does not look at again.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostics::nearest;

use super::durations::{self, DURATION_HINT};
use super::keys::{self, Key, Kind, Need, SECRET_KEYS, Section};
use super::mask::{is_secret_name, looks_secret};
use super::reader::{Reader, Span, integer, number};

/// What to do with a secret that stands in the file.
const CLEAR_HINT: &str = "take it out of this file and revoke it if anybody else can read the file";

/// Checks a table and everything below.
pub(super) fn table(r: &Reader<'_>, section: &'static Section, table: &DeTable<'_>, span: &Span) {
    for (name, value) in table {
        match section.key(name.get_ref()) {
            None => unknown_key(r, section, name.get_ref(), &name.span()),
            Some(Key { need: Need::Later(what), .. }) => r.problem(
                &name.span(),
                format!("`{}` is not supported yet in this version: {what}", name.get_ref()),
                format!("take it out; {} understands: {}", section.heading, known_keys(section)),
            ),
            Some(key) => check_value(r, key, value),
        }
    }
    let is_due = |key: &&Key| match key.need {
        Need::Required => true,
        Need::RequiredWithout(other) => !table.contains_key(other),
        _ => false,
    };
    for key in section.keys.iter().filter(is_due) {
        match table.get(key.name) {
            Some(value) if value.get_ref().as_array().is_none_or(|a| !a.is_empty()) => {}
            _ => missing_key(r, section, key, table, span),
        }
    }
}

/// Checks the policies of a file and nothing else of it.
pub(super) fn policies(r: &Reader<'_>, root: &DeTable<'_>) {
    let check = |of: &DeTable<'_>| {
        if let Some(value) = of.get("policy") {
            match value.get_ref() {
                DeValue::Table(t) => table(r, &keys::POLICY, t, &value.span()),
                _ => r.wrong(&value.span(), "`policy` must be a table", keys::POLICY.about),
            }
        }
    };
    check(root);
    let models = root.get("model").and_then(|m| m.get_ref().as_array());
    models.into_iter().flat_map(|m| m.iter()).filter_map(|m| m.get_ref().as_table()).for_each(check);
}

fn unknown_key(r: &Reader<'_>, section: &Section, name: &str, span: &Span) {
    let elsewhere = || ALL_SECTIONS.iter().find(|s| s.key(name).is_some()).map(|s| s.heading);
    let hint = if let Some(near) = nearest(name, usable_keys(section)) {
        format!("did you mean `{near}`?")
    } else if let Some(heading) = elsewhere() {
        format!("`{name}` belongs to {heading}")
    } else {
        format!("known keys: {}", known_keys(section))
    };
    r.problem(span, format!("unknown key `{name}` in {}", section.heading), hint);
}

/// The sections in which a misplaced key is looked for.
static ALL_SECTIONS: [&Section; 14] = [
    &keys::ROOT,
    &keys::SERVER,
    &keys::STORE,
    &keys::SIGNING,
    &keys::PROVIDER,
    &keys::MODEL,
    &keys::ENDPOINT,
    &keys::SCHEDULE,
    &keys::POLICY,
    &keys::BUDGET,
    &keys::RELAY,
    &keys::SINK,
    &keys::PUSH,
    &keys::WEBHOOK,
];

fn usable_keys(section: &Section) -> impl Iterator<Item = &'static str> {
    section.keys.iter().filter(|k| !matches!(k.need, Need::Later(_))).map(|k| k.name)
}

fn known_keys(section: &Section) -> String {
    let names: Vec<&str> = usable_keys(section).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn missing_key(r: &Reader<'_>, section: &Section, key: &Key, table: &DeTable<'_>, span: &Span) {
    let hint = key.meaning;
    if section.path.is_empty() {
        return r.file_problem(format!("no [[{}]] is configured", key.name), hint);
    }
    let name = ["id", "name"].iter().find_map(|k| table.get(*k)?.get_ref().as_str());
    let name = name.map_or(String::new(), |n| format!(" `{n}`"));
    let what = match key.kind {
        Kind::Tables(below) => below.heading.to_owned(),
        _ => format!("the key `{}`", key.name),
    };
    r.problem(span, format!("{}{name} lacks {what}", section.heading), hint);
}

fn check_value(r: &Reader<'_>, key: &Key, value: &Spanned<DeValue<'_>>) {
    let span = value.span();
    let wrong = |hint: &str| r.wrong(&span, wrong_type(key, value.get_ref()), hint);
    match (key.kind, value.get_ref()) {
        (Kind::Text | Kind::TextOrSecret, DeValue::String(s)) => check_text(r, key, s, &span),
        (Kind::TextOrSecret | Kind::Secret, DeValue::Table(t)) => check_secret(r, key.name, t, &span),
        (Kind::Secret, DeValue::String(_)) => in_the_clear(r, key.name, &span),
        (Kind::Duration { zero }, DeValue::String(s)) => check_duration(r, key, s, zero, &span),
        (Kind::Duration { .. }, _) => wrong(DURATION_HINT),
        (Kind::DurationOrOff, DeValue::String(s)) if s == keys::OFF => {}
        (Kind::DurationOrOff, DeValue::Boolean(false)) => {}
        (Kind::DurationOrOff, DeValue::String(s)) => check_duration(r, key, s, false, &span),
        (Kind::DurationOrOff, _) => wrong("write a duration such as \"30m\", or \"off\""),
        (Kind::Count { min, max }, DeValue::Integer(_)) => check_count(r, key, value, min, max),
        (Kind::Number { min, max }, v @ (DeValue::Integer(_) | DeValue::Float(_))) => {
            if !number(v).is_some_and(|n| n >= min && n <= max) {
                r.wrong(&span, format!("`{}` must be a number from {min} to {max}", key.name), key.meaning);
            }
        }
        (Kind::Flag, DeValue::Boolean(_)) => {}
        (Kind::Choice { now, later }, DeValue::String(s)) => check_choice(r, key, s, now, later, &span),
        (Kind::Texts, DeValue::Array(items)) => {
            for item in items.iter() {
                check_item(r, key, item);
            }
        }
        (Kind::TextMap, DeValue::Table(t)) => t.iter().for_each(|(_, v)| check_item(r, key, v)),
        (Kind::Headers, DeValue::Table(t)) => t.iter().for_each(|(k, v)| check_header(r, k.get_ref(), v)),
        (Kind::Object, DeValue::Table(_)) => check_free(r, key, value),
        (Kind::Table(s), DeValue::Table(t)) => table(r, s, t, &span),
        (Kind::Tables(s), DeValue::Array(items)) => {
            for item in items.iter() {
                match item.get_ref() {
                    DeValue::Table(t) => table(r, s, t, &item.span()),
                    _ => r.wrong(&item.span(), format!("`{}` must hold tables", key.name), s.about),
                }
            }
        }
        (Kind::NamedTables(s), DeValue::Table(t)) => {
            for (name, item) in t {
                match item.get_ref() {
                    DeValue::Table(t) => table(r, s, t, &item.span()),
                    _ => r.wrong(&item.span(), format!("`{}` must be a table", name.get_ref()), s.about),
                }
            }
        }
        (Kind::Tables(s), DeValue::Table(_)) => {
            wrong(&format!("each one is a table of its own, with double brackets: {}", s.heading));
        }
        (Kind::Table(s), DeValue::Array(_)) => {
            wrong(&format!("there is only one, with single brackets: {}", s.heading))
        }
        (Kind::Secret | Kind::TextOrSecret, _) => wrong("write { env = \"NAME\" }"),
        _ => wrong(key.meaning),
    }
}

fn check_text(r: &Reader<'_>, key: &Key, text: &str, span: &Span) {
    if text.trim().is_empty() {
        r.wrong(span, format!("`{}` must not be empty", key.name), key.meaning);
    } else if looks_secret(text) && key.name != "sha256" {
        let refuse = if matches!(key.kind, Kind::TextOrSecret) { in_the_clear } else { out_of_place };
        refuse(r, key.name, span);
    }
}

fn check_item(r: &Reader<'_>, key: &Key, item: &Spanned<DeValue<'_>>) {
    match item.get_ref() {
        DeValue::String(s) => check_text(r, key, s, &item.span()),
        other => r.wrong(
            &item.span(),
            format!("`{}` must hold texts in quotes, this is {}", key.name, type_name(other)),
            key.meaning,
        ),
    }
}

fn check_duration(r: &Reader<'_>, key: &Key, text: &str, zero: bool, span: &Span) {
    match durations::parse(text) {
        Err(e) => r.wrong(span, format!("`{}` is not a duration: {e}", key.name), DURATION_HINT),
        Ok(d) if d.is_zero() && !zero => {
            r.wrong(span, format!("`{}` must be longer than nothing", key.name), key.meaning);
        }
        Ok(_) => {}
    }
}

fn check_count(r: &Reader<'_>, key: &Key, value: &Spanned<DeValue<'_>>, min: u32, max: u32) {
    let n = integer(value.get_ref());
    if !n.is_some_and(|n| n >= i64::from(min) && n <= i64::from(max)) {
        r.wrong(&value.span(), format!("`{}` must be an integer from {min} to {max}", key.name), key.meaning);
    }
}

fn check_choice(r: &Reader<'_>, key: &Key, word: &str, now: &[&'static str], later: &[&str], span: &Span) {
    if now.contains(&word) {
        return;
    }
    let words = now.join(", ");
    if later.contains(&word) {
        let message = format!("{} `{word}` is not supported yet in this version", key.name);
        return r.wrong(span, message, format!("supported: {words}"));
    }
    let hint = match nearest(word, now.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("one of: {words}"),
    };
    r.wrong(span, format!("`{word}` is not a {}", key.name), hint);
}

/// A text where no secret belongs: nothing could be written there instead.
fn out_of_place(r: &Reader<'_>, name: &str, span: &Span) {
    let hint = format!(
        "`{name}` is shown to people; keys stand in `api_key` or `headers`, as {{ env = \"NAME\" }}; {CLEAR_HINT}"
    );
    r.wrong(span, format!("`{name}` holds a secret in the clear"), hint);
}

fn in_the_clear(r: &Reader<'_>, name: &str, span: &Span) {
    let hint = match name {
        "url" => format!("write url = {{ env = \"DATABASE_URL\" }}; {CLEAR_HINT}"),
        _ => format!("write {name} = {{ env = \"NAME_OF_A_VARIABLE\" }}; {CLEAR_HINT}"),
    };
    r.wrong(span, format!("`{name}` holds a secret in the clear"), hint);
}

/// `{ env = ".." }`, `{ file = ".." }` or `{ command = [".."] }`, one of them.
fn check_secret(r: &Reader<'_>, name: &str, table: &DeTable<'_>, span: &Span) {
    let before = r.problems();
    for (key, value) in table {
        let span = value.span();
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("env" | "file", DeValue::String(s)) if !s.is_empty() => {}
            ("command", DeValue::Array(words)) if !words.is_empty() => {
                for word in words.iter().filter(|w| w.get_ref().as_str().is_none()) {
                    r.wrong(&word.span(), "`command` must hold texts in quotes", "the program, then its arguments");
                }
            }
            ("command", _) => {
                r.wrong(&span, "`command` must be an array of texts", "command = [\"program\", \"argument\"]");
            }
            (key @ ("env" | "file"), _) => {
                r.wrong(&span, format!("`{key}` must be a text in quotes that is not empty"), "");
            }
            (other, _) => r.wrong(
                &key.span(),
                format!("unknown key `{other}` in `{name}`"),
                nearest(other, SECRET_KEYS).map_or_else(
                    || "one of: env, file, command; a secret in the clear is refused".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                ),
            ),
        }
    }
    if table.len() != 1 && r.problems() == before {
        r.wrong(span, format!("`{name}` needs exactly one of env, file, command"), "{ env = \"NAME\" }");
    }
    if r.problems() != before {
        r.blame(span);
    }
}

fn check_header(r: &Reader<'_>, name: &str, value: &Spanned<DeValue<'_>>) {
    let span = value.span();
    match value.get_ref() {
        DeValue::Table(t) => check_secret(r, name, t, &span),
        DeValue::String(s) if is_secret_name(name) || looks_secret(s) => in_the_clear(r, name, &span),
        DeValue::String(_) => {}
        other => r.wrong(
            &span,
            format!("header `{name}` must be a text in quotes, not {}", type_name(other)),
            "or a secret: { env = \"NAME\" }",
        ),
    }
}

/// A free table: only secrets are looked for.
fn check_free(r: &Reader<'_>, key: &Key, value: &Spanned<DeValue<'_>>) {
    match value.get_ref() {
        DeValue::String(s) if looks_secret(s) => {
            r.wrong(&value.span(), format!("`{}` holds a secret in the clear", key.name), CLEAR_HINT);
        }
        DeValue::Table(t) => t.iter().for_each(|(_, v)| check_free(r, key, v)),
        DeValue::Array(items) => items.iter().for_each(|v| check_free(r, key, v)),
        _ => {}
    }
}

fn wrong_type(key: &Key, value: &DeValue<'_>) -> String {
    let want = match key.kind {
        Kind::Text | Kind::Choice { .. } => "a text in quotes",
        Kind::TextOrSecret => "a text in quotes, or { env = \"NAME\" }",
        Kind::Duration { .. } => "a duration in quotes",
        Kind::DurationOrOff => "a duration in quotes, or \"off\"",
        Kind::Count { .. } => "an integer",
        Kind::Number { .. } => "a number",
        Kind::Flag => "true or false",
        Kind::Texts => "an array of texts",
        Kind::Secret => "a table such as { env = \"NAME\" }",
        Kind::Table(_) | Kind::TextMap | Kind::Headers | Kind::Object | Kind::NamedTables(_) => "a table",
        Kind::Tables(_) => "an array of tables",
    };
    format!("`{}` must be {want}, not {}", key.name, type_name(value))
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

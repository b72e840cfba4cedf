//! The JSON Schema of the config and the reference in its documentation, made from [`super::keys`].

use serde_json::{Map, Value, json};
use toml::de::DeValue;

use super::keys::{Key, Kind, Need, OFF, ROOT, SECRET_KEYS, Section};
use super::providers::json as json_of;

/// The JSON Schema of `exactod.toml` (draft 2020-12), for editors and `exactod config schema`.
#[must_use]
pub fn schema() -> Value {
    let mut out = section_schema(&ROOT);
    if let Some(object) = out.as_object_mut() {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".to_owned(), json!("exactod.toml"));
    }
    out
}

fn section_schema(section: &Section) -> Value {
    let usable = || section.keys.iter().filter(|k| !matches!(k.need, Need::Later(_)));
    let properties: Map<String, Value> = usable().map(|k| (k.name.to_owned(), key_schema(k))).collect();
    let required: Vec<&str> = usable().filter(|k| matches!(k.need, Need::Required)).map(|k| k.name).collect();
    let mut out = json!({
        "type": "object",
        "description": section.about,
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    let mut others: Map<String, Value> = Map::new();
    for key in usable() {
        if let Need::RequiredWithout(other) = key.need {
            let either = json!({"anyOf": [{"required": [key.name]}, {"required": [other]}]});
            others.insert(key.name.to_owned(), either);
        }
    }
    if !others.is_empty() {
        out["allOf"] = Value::Array(others.into_iter().map(|(_, either)| either).collect());
    }
    out
}

fn key_schema(key: &Key) -> Value {
    let mut out = kind_schema(key.kind, matches!(key.need, Need::Required | Need::RequiredWithout(_)));
    out["description"] = json!(key.meaning);
    if let Need::Default(text) = key.need
        && let Some(default) = default_json(text)
    {
        out["default"] = default;
    }
    out
}

fn default_json(text: &str) -> Option<Value> {
    json_of(DeValue::parse(text).ok()?.get_ref())
}

fn kind_schema(kind: Kind, required: bool) -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    match kind {
        Kind::Text => text(),
        Kind::Duration { .. } => json!({ "type": "string", "pattern": "^([0-9]+(d|h|ms|m|s))+$" }),
        Kind::DurationOrOff => {
            json!({ "anyOf": [kind_schema(Kind::Duration { zero: false }, false), { "enum": [OFF, false] }] })
        }
        Kind::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Choice { now, .. } => json!({ "type": "string", "enum": now }),
        Kind::Texts => json!({ "type": "array", "items": text() }),
        Kind::Secret => secret_schema(),
        Kind::TextOrSecret => json!({ "anyOf": [text(), secret_schema()] }),
        Kind::TextMap => json!({ "type": "object", "additionalProperties": text() }),
        Kind::Headers => {
            json!({ "type": "object", "additionalProperties": { "anyOf": [{ "type": "string" }, secret_schema()] } })
        }
        Kind::Object => json!({ "type": "object" }),
        Kind::Table(section) => section_schema(section),
        Kind::Tables(section) => {
            json!({ "type": "array", "minItems": u8::from(required), "items": section_schema(section) })
        }
        Kind::NamedTables(section) => json!({ "type": "object", "additionalProperties": section_schema(section) }),
    }
}

fn secret_schema() -> Value {
    let words = json!({ "type": "array", "minItems": 1, "items": { "type": "string" } });
    let properties: Map<String, Value> = SECRET_KEYS
        .iter()
        .map(|k| {
            let value = if *k == "command" { words.clone() } else { json!({ "type": "string", "minLength": 1 }) };
            ((*k).to_owned(), value)
        })
        .collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
        "properties": properties,
    })
}

/// Every key as Markdown: a heading and a table for each section, in the order of the file.
#[must_use]
pub fn reference_markdown() -> String {
    let mut out = String::new();
    section_markdown(&ROOT, &mut out);
    out
}

fn section_markdown(section: &Section, out: &mut String) {
    let heading = if section.path.is_empty() { "Top level" } else { section.heading };
    let mark = if section.path.is_empty() { "" } else { "`" };
    out.push_str(&format!("### {mark}{heading}{mark}\n\n{}\n", section.about));
    if !section.keys.is_empty() {
        out.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
    }
    for key in section.keys {
        let meaning = match key.need {
            Need::Later(_) => format!("*Not supported yet.* {}", key.meaning),
            _ => key.meaning.to_owned(),
        };
        let row = [format!("`{}`", key.name), kind_words(key.kind), need_words(key.need), meaning];
        out.push_str(&format!("| {} |\n", row.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
    out.push('\n');
    for key in section.keys {
        // A model's policy has the same keys as `[policy]`, which stands for itself.
        if let Kind::Table(below) | Kind::Tables(below) | Kind::NamedTables(below) = key.kind
            && below.path.starts_with(section.path)
            && !matches!(key.need, Need::Later(_))
        {
            section_markdown(below, out);
        }
    }
}

fn kind_words(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Duration { zero: true } => "duration, may be 0".to_owned(),
        Kind::Duration { zero: false } => "duration".to_owned(),
        Kind::DurationOrOff => format!("duration, or `\"{OFF}\"`"),
        Kind::Count { min, max: u32::MAX } => format!("integer from {min}"),
        Kind::Count { min, max } => format!("integer, {min} to {max}"),
        Kind::Number { min, max } => format!("number, {min} to {max}"),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Choice { now, .. } => now.iter().map(|w| format!("`\"{w}\"`")).collect::<Vec<_>>().join(" or "),
        Kind::Texts => "array of texts".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::TextOrSecret => "text or secret".to_owned(),
        Kind::TextMap => "table of texts".to_owned(),
        Kind::Headers => "table of texts or secrets".to_owned(),
        Kind::Object => "any table".to_owned(),
        Kind::Table(_) => "table".to_owned(),
        Kind::Tables(_) => "array of tables".to_owned(),
        Kind::NamedTables(_) => "table of tables".to_owned(),
    }
}

fn need_words(need: Need) -> String {
    match need {
        Need::Required => "**required**".to_owned(),
        Need::RequiredWithout(other) => format!("**required** without a `[[{other}]]`"),
        Need::Default(text) => format!("`{text}`"),
        Need::Optional(phrase) => phrase.to_owned(),
        Need::Later(_) => "must be absent".to_owned(),
    }
}

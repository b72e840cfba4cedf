//! JSONSchemaBench: one JSON Schema per line, which the answer has to follow.
//!
//! A line holds the schema as `json_schema` (JSON text or object) or `schema`, and an id as `unique_id` or `id`. The
//! benchmark validates by draft 2020-12 with format checks, whatever `$schema` says; the schema is asked for without
//! that key, so that the scorer does the same.

use serde_json::{Map, Value, json};

use super::common::{
    Draft, Head, LICENSE_AS_SOURCE, check_size, content_id, each_json_line, escape, escape_text, schema_problem,
};
use super::{ImportError, Imported};
use crate::domain::canonical::sha256_hex;

/// Keys under which a schema stands.
const SCHEMA_KEYS: [&str; 2] = ["json_schema", "schema"];
/// Keys under which an id stands.
const ID_KEYS: [&str; 2] = ["unique_id", "id"];
/// What separates the data set from the rest of an id.
const ID_SEPARATOR: &str = "---";

/// Reads schemas.
///
/// # Errors
/// The source is too large, or no schema of it can be asked for.
pub fn import(name: &str, file: &str, bytes: &[u8]) -> Result<Imported, ImportError> {
    check_size(file, bytes)?;
    let mut draft = Draft::default();
    each_json_line(bytes, |number, line| {
        let place = format!("line {number}");
        match line.and_then(|row| read(&row, &mut draft, &place)) {
            Ok((id, case)) => drop(draft.push(&place, &id, case)?),
            Err(why) => draft.notes.add(format!("left out: {why}"), &place),
        }
        Ok(())
    })?;
    let url = format!("file:{file}");
    let (kind, sha256, scorers) = (&["output_quality"], sha256_hex(bytes), [json!({"type": "json-schema"})]);
    draft.finish(&Head { name, kind, license: LICENSE_AS_SOURCE, url, sha256, scorers: &scorers })
}

fn read(row: &Value, draft: &mut Draft, place: &str) -> Result<(String, Map<String, Value>), String> {
    let row = row.as_object().ok_or("a line is an object")?;
    let (mut text, mut schema) = match SCHEMA_KEYS.iter().find_map(|key| row.get(*key)) {
        Some(Value::String(text)) => {
            (text.clone(), serde_json::from_str::<Value>(text).map_err(|e| format!("the schema is not JSON: {e}"))?)
        }
        Some(schema) => (schema.to_string(), schema.clone()),
        None => return Err("there is no schema (`json_schema` or `schema`)".to_owned()),
    };
    if schema.as_object_mut().and_then(|map| map.shift_remove("$schema")).is_some() {
        draft.notes.add("`$schema` is not asked for: the benchmark validates by draft 2020-12", place);
        // What is shown is what is asked for and judged by.
        text = schema.to_string();
    }
    if let Some(why) = schema_problem(&schema) {
        return Err(why);
    }
    escape(&mut schema)?;
    let id = ID_KEYS.iter().find_map(|key| row.get(*key)?.as_str()).map(str::to_owned);
    let category = id.as_deref().and_then(|id| id.split_once(ID_SEPARATOR)).map(|(set, _)| set.to_owned());
    let id = id.unwrap_or_else(|| content_id("schema", &schema));
    let mut case = Map::new();
    if let Some(category) = category {
        case.insert("category".to_owned(), json!(category));
    }
    case.insert("tags".to_owned(), json!(["json_schema"]));
    let ask = format!(
        "Write one JSON value that is valid under this JSON Schema. Reply with the JSON only.\n\n{}",
        escape_text(&text)
    );
    case.insert("messages".to_owned(), json!([{"role": "user", "content": ask}]));
    let format = json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}});
    case.insert("response_format".to_owned(), format);
    Ok((id, case))
}

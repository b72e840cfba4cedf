//! Case hashes, the suite's digest, and which cases stay fixed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::domain::canonical::{canonical_json, hex, push_canonical_text, sha256_hex, sha256_parts};
use crate::domain::{Case, CaseId, Json, ScorerSpec, SuiteName};

use super::{params, scorers};

/// Names the scheme of the hashes: another scheme would be another name.
const CASE_SCHEME: &str = "exactod-case-v1";
const SUITE_SCHEME: &str = "exactod-suite-v1";
/// Bytes that the short parts of a case usually take: its request and scorers.
const SHORT_PARTS_ROOM: usize = 512;

/// SHA-256 over the canonical JSON of what is asked and how the answer is judged: messages, tools, response format,
/// request, expected values, scorers with their versions, parameters and expressions. Variables of the suite are in
/// place already; so is the content of the Starlark files that judge, and a paired case has all of the other one's. Reference,
/// counterexample, further answers, metadata, category and tags do not enter: they change no verdict.
pub(super) fn case_hash(case: &Case) -> String {
    let scorer = |s: &ScorerSpec| {
        let kind = json!([s.kind, scorers::version(&s.kind)]);
        format!("[{},{}]", canonical_json(&kind), canonical_object(&s.options))
    };
    // Order matters in `derive`, and in `params` it decides the draw: both are lists here.
    let params = case.params.iter().map(|(name, p)| format!("[{},{}]", json!(name), params::canonical(p)));
    let derive = case.derive.iter().map(|(name, expression)| format!("[{},{}]", json!(name), json!(expression)));
    let files = files_of(case);
    // The canonical JSON of one object, keys sorted; put together in one place, so that long texts are copied once.
    let long = [&case.expected, &case.response_format, &case.tools, &case.world];
    let room = case.messages.text().len() + long.into_iter().flatten().map(|json| json.text().len()).sum::<usize>();
    let mut content = String::with_capacity(room + SHORT_PARTS_ROOM);
    let optional = |content: &mut String, json: &Option<Json>| match json {
        Some(json) => push_canonical_text(content, json.text()),
        None => content.push_str("null"),
    };
    content.push_str(r#"{"derive":"#);
    content.push_str(&list(derive));
    content.push_str(r#","expected":"#);
    optional(&mut content, &case.expected);
    // The programs by which an answer is judged, and the world, where there are any: other cases keep their hashes.
    if !files.is_empty() {
        content.push_str(&format!(r#","files":{{{files}}}"#));
    }
    content.push_str(r#","messages":"#);
    push_canonical_text(&mut content, case.messages.text());
    content.push_str(&format!(r#","params":{},"request":{}"#, list(params), canonical_object(&case.request)));
    content.push_str(r#","response_format":"#);
    optional(&mut content, &case.response_format);
    let scorers = list(case.scorers.iter().map(scorer));
    content.push_str(&format!(r#","scheme":"{CASE_SCHEME}","scorers":{scorers},"tools":"#));
    optional(&mut content, &case.tools);
    if let Some(world) = &case.world {
        content.push_str(r#","world":"#);
        push_canonical_text(&mut content, world.text());
    }
    content.push('}');
    sha256_hex(content.as_bytes())
}

/// The names of the Starlark files that a case uses, each with the hash of its content.
fn files_of(case: &Case) -> String {
    fn scorers(value: &Value, used: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if map.get("type").is_some_and(|kind| kind == "starlark") {
                    used.extend(map.get("file").and_then(Value::as_str).map(str::to_owned));
                }
                map.values().for_each(|inner| scorers(inner, used));
            }
            Value::Array(items) => items.iter().for_each(|inner| scorers(inner, used)),
            _ => {}
        }
    }
    let mut used = BTreeSet::new();
    for spec in case.scorers.iter() {
        if spec.kind == "starlark" {
            used.extend(spec.options.get("file").and_then(Value::as_str).map(str::to_owned));
        }
        spec.options.values().for_each(|inner| scorers(inner, &mut used));
    }
    let world = case.world.as_ref().map(Json::value);
    used.extend(world.as_ref().and_then(|world| world.get("file")?.as_str()).map(str::to_owned));
    let known = case.files.iter().filter(|(name, _)| used.contains(*name));
    let entries = known.map(|(name, text)| format!("{}:\"{}\"", json!(name), sha256_hex(text.as_bytes())));
    entries.collect::<Vec<_>>().join(",")
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn canonical_object(map: &Map<String, Value>) -> String {
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let entries = entries.into_iter().map(|(key, value)| format!("{}:{}", json!(key), canonical_json(value)));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
}

/// SHA-256 over the ids, hashes and fixed marks of all cases, in order of their ids: the order of the lines in the
/// file is no part of a suite's identity.
pub(super) fn suite_digest(cases: &[Arc<Case>]) -> String {
    let mut rows: Vec<(&str, &str, &[u8])> = cases
        .iter()
        .map(|c| (c.id.as_str(), c.hash.as_str(), if c.fixed { b"fixed" } else { &b"fresh"[..] }))
        .collect();
    rows.sort_unstable();
    let mut parts: Vec<&[u8]> = vec![SUITE_SCHEME.as_bytes()];
    for (id, hash, fixed) in &rows {
        parts.extend([id.as_bytes(), hash.as_bytes(), fixed]);
    }
    hex(&sha256_parts(&parts))
}

/// Marks the fixed share: of the template cases, ordered by SHA-256 over suite and case, the first `share` of them,
/// rounded to the nearest whole number. Excluded cases do not take part.
pub(super) fn mark_fixed(name: &SuiteName, share: f64, cases: &mut [Case], excluded: &HashSet<&str>) {
    let mut order: Vec<([u8; 32], usize)> = cases
        .iter()
        .enumerate()
        .filter(|(_, case)| case.is_template() && case.pair.is_none() && !excluded.contains(case.id.as_str()))
        .map(|(i, case)| (sha256_parts(&[name.as_str().as_bytes(), case.id.as_str().as_bytes()]), i))
        .collect();
    order.sort_unstable();
    let count = (share * order.len() as f64).round() as usize;
    for (_, index) in order.into_iter().take(count) {
        if let Some(case) = cases.get_mut(index) {
            case.fixed = true;
        }
    }
    // A pair draws what the other case draws.
    let fixed: HashSet<CaseId> = cases.iter().filter(|case| case.fixed).map(|case| case.id.clone()).collect();
    for case in cases {
        case.fixed |= case.pair.as_ref().is_some_and(|pair| fixed.contains(&pair.with));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_written_as_canonical_json_writes_it() {
        let value = json!({"b": [1.5, {"z": null, "a": "\"é"}], "a\"": {}, "": true});
        assert_eq!(canonical_object(value.as_object().unwrap()), canonical_json(&value));
        assert_eq!(list([&value, &json!(1)].into_iter().map(canonical_json)), canonical_json(&json!([value, 1])));
    }
}

//! Case hashes, the suite's digest, and which cases stay fixed.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::domain::canonical::{canonical_json, hex, sha256_hex, sha256_parts};
use crate::domain::{Case, CaseId, Json, ScorerSpec, SuiteName};

use super::{params, scorers};

/// Names the scheme of the hashes: another scheme would be another name.
const CASE_SCHEME: &str = "exactod-case-v1";
const SUITE_SCHEME: &str = "exactod-suite-v1";

/// SHA-256 over the canonical JSON of what is asked and how the answer is judged: messages, tools, response format,
/// request, expected values, scorers with their versions, parameters and expressions. Variables of the suite are in
/// place already, and a paired case has all of the other one's. Reference, counterexample, metadata, category and tags do not enter: they change no verdict.
pub(super) fn case_hash(case: &Case) -> String {
    let canonical = |json: &Json| canonical_json(&json.value());
    let optional = |json: &Option<Json>| json.as_ref().map_or_else(|| "null".to_owned(), canonical);
    let scorer = |s: &ScorerSpec| {
        let kind = json!([s.kind, scorers::version(&s.kind)]);
        format!("[{},{}]", canonical_json(&kind), canonical_object(&s.options))
    };
    // Order matters in `derive`, and in `params` it decides the draw: both are lists here.
    let params = case.params.iter().map(|(name, p)| canonical_json(&json!([name, params::to_json(p)])));
    let derive = case.derive.iter().map(|(name, expression)| canonical_json(&json!([name, expression])));
    // The canonical JSON of one object, keys sorted; put together from its parts, so that long texts are not copied.
    let content = format!(
        r#"{{"derive":{},"expected":{},"messages":{},"params":{},"request":{},"response_format":{},"scheme":"{CASE_SCHEME}","scorers":{},"tools":{}}}"#,
        list(derive),
        optional(&case.expected),
        canonical(&case.messages),
        list(params),
        canonical_object(&case.request),
        optional(&case.response_format),
        list(case.scorers.iter().map(scorer)),
        optional(&case.tools),
    );
    sha256_hex(content.as_bytes())
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

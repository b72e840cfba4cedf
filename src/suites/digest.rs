//! Case hashes, the suite's digest, and which cases stay fixed.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::domain::canonical::{canonical_json, hex, sha256_hex, sha256_parts};
use crate::domain::{Case, SuiteName};

use super::{params, scorers};

/// Names the scheme of the hashes: another scheme would be another name.
const CASE_SCHEME: &str = "exactod-case-v1";
const SUITE_SCHEME: &str = "exactod-suite-v1";

/// SHA-256 over the canonical JSON of what is asked and how the answer is judged: messages, tools, response format,
/// request, expected values, scorers with their versions, parameters and expressions. Variables of the suite are in
/// place already. Reference, counterexample, metadata, category and tags do not enter: they change no verdict.
pub(super) fn case_hash(case: &Case) -> String {
    let scorers: Vec<Value> = case
        .scorers
        .iter()
        .map(|s| json!({"type": s.kind, "version": scorers::version(&s.kind), "options": s.options}))
        .collect();
    // Order matters in `derive`, and in `params` it decides the draw: both are lists here.
    let params: Vec<Value> = case.params.iter().map(|(name, p)| json!([name, params::to_json(p)])).collect();
    let content = json!({
        "scheme": CASE_SCHEME,
        "messages": case.messages,
        "tools": case.tools,
        "response_format": case.response_format,
        "request": case.request,
        "expected": case.expected,
        "scorers": scorers,
        "params": params,
        "derive": case.derive,
    });
    sha256_hex(canonical_json(&content).as_bytes())
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
        .filter(|(_, case)| case.is_template() && !excluded.contains(case.id.as_str()))
        .map(|(i, case)| (sha256_parts(&[name.as_str().as_bytes(), case.id.as_str().as_bytes()]), i))
        .collect();
    order.sort_unstable();
    let count = (share * order.len() as f64).round() as usize;
    for (_, index) in order.into_iter().take(count) {
        if let Some(case) = cases.get_mut(index) {
            case.fixed = true;
        }
    }
}

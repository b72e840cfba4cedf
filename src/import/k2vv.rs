//! Kimi K2 Vendor Verifier: `samples.jsonl`, and `results.jsonl` of a reference run.
//!
//! A sample is one whole chat request. Its case is judged by `tool-schema`; with a reference run, also by
//! `tool-trigger`: did the endpoint call a tool where the reference did. The reference's answer per sample stands in
//! `expected.call`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::common::{Draft, Head, Problem, check_size, each_json_line};
use super::{ImportError, Imported, chat};
use crate::domain::canonical::sha256_hex;

/// The role that the vendor's tool sends as `system`.
const INPUT_ROLE: &str = "_input";
/// The vendor states no licence for its samples.
const LICENSE: &str = "LicenseRef-none-stated";

/// Reads samples, and the results of a reference run where there are any.
///
/// # Errors
/// A line is not JSON, no sample can be imported, or the results belong to other samples.
pub fn import(name: &str, file: &str, samples: &[u8], results: Option<&[u8]>) -> Result<Imported, ImportError> {
    check_size(file, samples)?;
    let mut draft = Draft::default();
    let mut problems = Vec::new();
    let reference = results.map(|bytes| Reference::read(bytes, &mut draft, &mut problems)).transpose()?;
    let mut index = 0;
    each_json_line(samples, |number, line| {
        let place = format!("line {number}");
        index += 1;
        let body = match line {
            Ok(Value::Object(body)) => with_roles(body),
            Ok(_) => {
                problems.push(Problem { place: format!("{file}:{number}"), what: "a sample is an object".to_owned() });
                return Ok(());
            }
            Err(why) => {
                problems.push(Problem { place: format!("{file}:{number}"), what: why });
                return Ok(());
            }
        };
        let expected = match reference.as_ref().map(|r| r.of(index, &body)) {
            None => None,
            Some(Ok(call)) => Some(call),
            Some(Err(why)) => {
                draft.notes.add(format!("left out: {why}"), &place);
                return Ok(());
            }
        };
        match chat::read(&body) {
            Ok(chat) => {
                chat.dropped.iter().for_each(|d| draft.notes.add(format!("not taken over: {d}"), &place));
                draft.push(&place, &format!("sample-{index}"), case_of(chat, expected, index))?;
            }
            Err(why) => draft.notes.add(format!("left out: {why}"), &place),
        }
        Ok(())
    })?;
    if !problems.is_empty() {
        return Err(ImportError::Problems(problems));
    }
    let scorers = match reference {
        Some(_) => vec![json!({"type": "tool-schema"}), json!({"type": "tool-trigger"})],
        None => vec![json!({"type": "tool-schema"})],
    };
    let sha256 = match results {
        Some(results) => sha256_hex(&[samples, results].concat()),
        None => sha256_hex(samples),
    };
    let url = format!("file:{file}");
    draft.finish(&Head { name, kind: &["tool_use"], license: LICENSE, url, sha256, scorers: &scorers })
}

/// The sample as it is sent.
fn with_roles(mut body: Map<String, Value>) -> Map<String, Value> {
    for message in body.get_mut("messages").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(role) = message.get_mut("role").filter(|role| *role == INPUT_ROLE) {
            *role = json!("system");
        }
    }
    body
}

fn case_of(chat: chat::Chat, expected: Option<(bool, (u32, u32))>, index: u64) -> Map<String, Value> {
    let mut case = chat.into_case();
    let mut metadata = json!({ "data_index": index });
    if let Some((call, (calls, others))) = expected {
        metadata["reference"] = json!({"calls": calls, "others": others});
        case.insert("category".to_owned(), json!(if call { "call" } else { "no-call" }));
        case.insert("expected".to_owned(), json!({ "call": call }));
    }
    case.insert("metadata".to_owned(), metadata);
    case
}

/// What the reference did, per sample.
struct Reference {
    /// Votes for and against a call, and the number of messages of the request.
    by_index: HashMap<u64, (u32, u32, Option<usize>)>,
    /// The index of the first sample: 1, unless the run counts from 0.
    first: u64,
}

impl Reference {
    fn read(bytes: &[u8], draft: &mut Draft, problems: &mut Vec<Problem>) -> Result<Self, ImportError> {
        check_size("results", bytes)?;
        let mut by_index: HashMap<u64, (u32, u32, Option<usize>)> = HashMap::new();
        each_json_line(bytes, |number, line| {
            let place = format!("results:{number}");
            let row = match line {
                Ok(row) => row,
                Err(what) => {
                    problems.push(Problem { place, what });
                    return Ok(());
                }
            };
            let Some(index) = row.get("data_index").and_then(Value::as_u64) else {
                problems.push(Problem { place, what: "a result has no number `data_index`".to_owned() });
                return Ok(());
            };
            let messages = row.pointer("/request/messages").and_then(Value::as_array).map(Vec::len);
            let entry = by_index.entry(index).or_insert((0, 0, messages));
            match (row.get("status").and_then(Value::as_str), row.get("finish_reason").and_then(Value::as_str)) {
                (Some("failed" | "error"), _) | (_, None) => {
                    draft.notes.add("the reference run has no answer here", &place);
                }
                (_, Some("tool_calls")) => entry.0 += 1,
                _ => entry.1 += 1,
            }
            Ok(())
        })?;
        let first = if by_index.contains_key(&0) { 0 } else { 1 };
        Ok(Reference { by_index, first })
    }

    /// Whether the reference called a tool, by the majority of its answers, and how many did and did not.
    fn of(&self, index: u64, body: &Map<String, Value>) -> Result<(bool, (u32, u32)), String> {
        let found = self.by_index.get(&(index - 1 + self.first));
        let (calls, others, messages) = found.ok_or("the reference run does not have this sample")?;
        let asked = body.get("messages").and_then(Value::as_array).map(Vec::len);
        if messages.is_some() && *messages != asked {
            return Err("the reference run asked something else here (are these results of these samples?)".to_owned());
        }
        match calls.cmp(others) {
            std::cmp::Ordering::Greater => Ok((true, (*calls, *others))),
            std::cmp::Ordering::Less => Ok((false, (*calls, *others))),
            std::cmp::Ordering::Equal if *calls == 0 => Err("the reference run has no answer to it".to_owned()),
            std::cmp::Ordering::Equal => {
                Err("the reference run is split evenly between calling and not calling".to_owned())
            }
        }
    }
}

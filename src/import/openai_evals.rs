//! OpenAI evals: JSON Lines of `{"input": [messages] | text, "ideal": text | [text]}`.
//!
//! The samples do not say how they are judged, the eval's registry entry does; the grader is given beside them.

use serde_json::{Map, Value, json};

use super::common::{
    Draft, Head, LICENSE_AS_SOURCE, Problem, check_size, content_id, each_json_line, escape, escape_text,
};
use super::graders::{Grader, targets};
use super::{ImportError, Imported, chat};
use crate::domain::canonical::sha256_hex;

/// Keys of a sample that are read.
const KEYS: [&str; 3] = ["input", "ideal", "id"];

/// Reads samples.
///
/// # Errors
/// Lines that are no samples, all of them; or no case is left.
pub fn import(name: &str, file: &str, bytes: &[u8], grader: Grader) -> Result<Imported, ImportError> {
    check_size(file, bytes)?;
    let mut draft = Draft::default();
    let mut problems = Vec::new();
    each_json_line(bytes, |number, line| {
        let place = format!("line {number}");
        match line.and_then(|sample| read(&sample, grader, &mut draft, &place)) {
            Ok((id, case)) => drop(draft.push(&place, &id, case)?),
            Err(what) => problems.push(Problem { place: format!("{file}:{number}"), what }),
        }
        Ok(())
    })?;
    if !problems.is_empty() {
        return Err(ImportError::Problems(problems));
    }
    let url = format!("file:{file}");
    let (kind, sha256) = (&["output_quality"], sha256_hex(bytes));
    draft.finish(&Head { name, kind, license: LICENSE_AS_SOURCE, url, sha256, scorers: &[] })
}

fn read(
    sample: &Value,
    grader: Grader,
    draft: &mut Draft,
    place: &str,
) -> Result<(String, Map<String, Value>), String> {
    let sample = sample.as_object().ok_or("a sample is an object")?;
    for key in sample.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        draft.notes.add(format!("not taken over: sample key `{key}`"), place);
    }
    let mut case = Map::new();
    let (key, input) = input(sample.get("input").ok_or("there is no `input`")?, draft, place)?;
    case.insert(key.to_owned(), input);
    let mut scorer = grader.scorer(&targets(sample.get("ideal"))?)?;
    escape(&mut scorer)?;
    case.insert("scorers".to_owned(), json!([scorer]));
    let id = match sample.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(id @ Value::Number(_)) => format!("sample-{id}"),
        _ => content_id("sample", &Value::Object(case.clone())),
    };
    Ok((id, case))
}

/// The prompt: one user message, or a conversation.
pub(super) fn input(value: &Value, draft: &mut Draft, place: &str) -> Result<(&'static str, Value), String> {
    match value {
        Value::String(text) => Ok(("input", json!(escape_text(text)))),
        Value::Array(messages) if !messages.is_empty() => {
            let mut dropped = Vec::new();
            let read = messages.iter().map(|m| chat::read_message(m, &mut dropped)).collect::<Result<Vec<_>, _>>();
            let mut messages = Value::Array(read?);
            escape(&mut messages)?;
            dropped.iter().for_each(|d| draft.notes.add(format!("not taken over: {d}"), place));
            Ok(("messages", messages))
        }
        _ => Err("`input` is neither a text nor a list of messages".to_owned()),
    }
}

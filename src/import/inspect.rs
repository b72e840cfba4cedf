//! inspect samples: JSON Lines or CSV of `{input, target, choices, id, metadata}`.
//!
//! With `choices` the question is asked as a multiple choice and judged by `choice`; otherwise by the given grader.
//! Samples that need files, a set-up script or a sandbox are refused by name.

use serde_json::{Map, Value, json};

use super::common::{
    Draft, Head, LICENSE_AS_SOURCE, Notes, Problem, check_size, content_id, each_json_line, escape, refused,
};
use super::graders::{Grader, targets};
use super::openai_evals::input;
use super::{ImportError, Imported};
use crate::domain::canonical::sha256_hex;
use crate::suites::limits::LINE_BYTES_MAX;

/// Keys that a case without a machine of its own cannot serve.
const REFUSED: [&str; 3] = ["files", "setup", "sandbox"];
/// Keys that are read.
const KEYS: [&str; 5] = ["input", "target", "choices", "id", "metadata"];
/// Most choices: the letters from A to Z.
const CHOICES_MAX: usize = 26;

/// Reads samples; CSV when the file's name ends so, else JSON Lines.
///
/// # Errors
/// Lines that cannot be taken over, all of them; or no case is left.
pub fn import(name: &str, file: &str, bytes: &[u8], grader: Grader) -> Result<Imported, ImportError> {
    check_size(file, bytes)?;
    let mut draft = Draft::default();
    let mut problems = Vec::new();
    let mut one = |number: usize, sample: Result<Value, String>| {
        let place = format!("line {number}");
        match sample.and_then(|sample| read(&sample, grader, &mut draft, &place)) {
            Ok((id, case)) => drop(draft.push(&place, &id, case)?),
            Err(what) => problems.push(Problem { place: format!("{file}:{number}"), what }),
        }
        Ok(())
    };
    match file.to_ascii_lowercase().ends_with(".csv") {
        true => each_csv_row(file, bytes, &mut one)?,
        false => each_json_line(bytes, &mut one)?,
    }
    if !problems.is_empty() {
        return Err(ImportError::Problems(problems));
    }
    let url = format!("file:{file}");
    let (kind, sha256) = (&["output_quality"], sha256_hex(bytes));
    draft.finish(&Head { name, kind, license: LICENSE_AS_SOURCE, url, sha256, scorers: &[] })
}

/// Every row of a CSV as an object of texts, with the line on which it begins; empty cells are left out.
fn each_csv_row(
    file: &str,
    bytes: &[u8],
    work: &mut impl FnMut(usize, Result<Value, String>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.headers().map_err(|e| refused(file, format!("not CSV: {e}")))?.clone();
    for row in reader.records() {
        let row = row.map_err(|e| refused(file, format!("not CSV: {e}")))?;
        let line = row.position().map_or(0, csv::Position::line);
        let line = usize::try_from(line).unwrap_or(usize::MAX);
        if row.as_slice().len() > LINE_BYTES_MAX {
            work(line, Err(format!("the row has {} bytes, at most {LINE_BYTES_MAX} are read", row.as_slice().len())))?;
            continue;
        }
        let cells = header.iter().zip(row.iter()).filter(|(key, cell)| !key.is_empty() && !cell.is_empty());
        let sample: Map<String, Value> = cells.map(|(key, cell)| (key.trim().to_owned(), json!(cell))).collect();
        let sample = match row.len() > header.len() {
            true => Err(format!("the row has {} cells, the header {}", row.len(), header.len())),
            false => Ok(Value::Object(sample)),
        };
        work(line, sample)?;
    }
    Ok(())
}

fn read(
    sample: &Value,
    grader: Grader,
    draft: &mut Draft,
    place: &str,
) -> Result<(String, Map<String, Value>), String> {
    let sample = sample.as_object().ok_or("a sample is an object")?;
    if let Some(key) = REFUSED.iter().find(|key| sample.get(**key).is_some_and(|v| !v.is_null())) {
        return Err(format!("`{key}` needs a machine to run on: such samples are not imported"));
    }
    let mut case = Map::new();
    let choices = choices(sample.get("choices"))?;
    let prompt = sample.get("input").ok_or("there is no `input`")?;
    let (key, mut asked) = match (&choices, prompt) {
        (Some(choices), Value::String(question)) => input(&json!(multiple_choice(question, choices)), draft, place)?,
        // A list of messages as the text of a CSV cell.
        (None, Value::String(text)) if text.trim_start().starts_with('[') => {
            match serde_json::from_str::<Value>(text).ok().filter(|v| v.get(0).is_some_and(|m| m.get("role").is_some()))
            {
                Some(messages) => input(&messages, draft, place)?,
                None => input(prompt, draft, place)?,
            }
        }
        _ => input(prompt, draft, place)?,
    };
    if let (Some(choices), Some(messages)) = (&choices, asked.as_array_mut()) {
        ask_choices(messages, choices)?;
    }
    case.insert(key.to_owned(), asked);
    let targets = targets(sample.get("target"))?;
    let mut scorer = match &choices {
        Some(choices) => choice_scorer(choices, &targets)?,
        None => grader.scorer(&targets)?,
    };
    escape(&mut scorer)?;
    case.insert("scorers".to_owned(), json!([scorer]));
    let metadata = metadata(sample, &mut draft.notes, place);
    if !metadata.is_empty() {
        case.insert("metadata".to_owned(), Value::Object(metadata));
    }
    let id = match sample.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(id @ Value::Number(_)) => format!("sample-{id}"),
        _ => content_id("sample", &Value::Object(case.clone())),
    };
    Ok((id, case))
}

/// `metadata`, and the columns that inspect would put there.
fn metadata(sample: &Map<String, Value>, notes: &mut Notes, place: &str) -> Map<String, Value> {
    let mut all = match sample.get("metadata") {
        Some(Value::Object(map)) => map.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_else(|_| {
            notes.add("not taken over: `metadata` that is no JSON object", place);
            Map::new()
        }),
        None | Some(Value::Null) => Map::new(),
        Some(_) => {
            notes.add("not taken over: `metadata` that is no JSON object", place);
            Map::new()
        }
    };
    for (key, value) in
        sample.iter().filter(|(key, _)| !KEYS.contains(&key.as_str()) && !REFUSED.contains(&key.as_str()))
    {
        all.entry(key.clone()).or_insert_with(|| value.clone());
    }
    all
}

/// The choices: a list, or in CSV a JSON list or texts between commas.
fn choices(value: Option<&Value>) -> Result<Option<Vec<String>>, String> {
    let items: Vec<Value> = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(items)) => items.clone(),
        Some(Value::String(text)) if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).map_err(|e| format!("`choices` is not a JSON list: {e}"))?
        }
        Some(Value::String(text)) => text.split(',').map(|c| json!(c.trim())).collect(),
        Some(_) => return Err("`choices` is not a list".to_owned()),
    };
    if items.is_empty() {
        return Ok(None);
    }
    let texts = targets(Some(&Value::Array(items)))?;
    match texts.len() {
        2..=CHOICES_MAX => Ok(Some(texts)),
        n => Err(format!("it has {n} choices; 2 to {CHOICES_MAX} can be asked")),
    }
}

fn letter(index: usize) -> char {
    char::from(b'A' + u8::try_from(index.min(CHOICES_MAX - 1)).unwrap_or(0))
}

/// The question with its choices, in our own words.
fn multiple_choice(question: &str, choices: &[String]) -> String {
    let list: Vec<String> = choices.iter().enumerate().map(|(at, text)| format!("{}) {text}", letter(at))).collect();
    format!("{question}\n\n{}\n\nReply with the letter of the right choice only.", list.join("\n"))
}

/// Appends the choices to the last message of the user.
fn ask_choices(messages: &mut [Value], choices: &[String]) -> Result<(), String> {
    let last = messages.iter_mut().rev().find(|m| m.get("role").is_some_and(|r| r == "user"));
    let content =
        last.and_then(|m| m.get_mut("content")).ok_or("there is no message of the user to ask the choices in")?;
    let Value::String(text) = content else {
        return Err("the choices cannot be asked in a message of several parts".to_owned());
    };
    // The question is escaped already; only the choices are not.
    let choices: Vec<String> = choices.iter().map(|c| super::common::escape_text(c)).collect();
    *text = multiple_choice(text, &choices);
    Ok(())
}

/// The target: a letter, or a choice word for word.
fn choice_scorer(choices: &[String], targets: &[String]) -> Result<Value, String> {
    let [target] = targets else {
        return Err("several right choices at once cannot be judged".to_owned());
    };
    let mut chars = target.trim().chars();
    let by_letter = match (chars.next(), chars.next()) {
        (Some(c), None) if c.is_ascii_alphabetic() => Some(usize::from(c.to_ascii_uppercase() as u8 - b'A')),
        _ => None,
    };
    let index = by_letter.or_else(|| choices.iter().position(|c| c == target)).filter(|at| *at < choices.len());
    match index {
        Some(index) => Ok(json!({"type": "choice", "choice": letter(index).to_string()})),
        None => Err(format!("the target {target:?} is none of the {} choices", choices.len())),
    }
}

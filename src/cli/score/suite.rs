//! `score --suite`: answers to the cases of a suite, judged as a sweep would have.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Tally;
use super::lines::{Line, Lines};
use crate::domain::{CaseId, Fault, Judgement, Verdict};
use crate::runner::Offline;

/// An answer to a case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    case_id: String,
    /// The values that were drawn for it.
    #[serde(default)]
    draw: Option<Map<String, Value>>,
    /// The body: a JSON value as it came, or a string with the text of a stream or of a body that is no JSON.
    #[serde(borrow)]
    response: &'a RawValue,
}

/// A verdict line.
#[derive(Serialize)]
struct Judged<'a> {
    case_id: Option<&'a str>,
    verdict: Option<String>,
    score: Option<f64>,
    fault: Option<Fault>,
    secondary: Vec<Fault>,
    error_type: Option<String>,
    explanation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Judges every row and writes a verdict line for each, in order.
///
/// # Errors
/// Input or output fails. A row that cannot be read or judged is answered by a line with `error`, and counted.
pub fn score(suite: &Offline, input: impl BufRead, mut out: impl Write) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut lines = Lines::new(input);
    let mut text = Vec::new();
    while let Some(line) = lines.next_line()? {
        let (case, judged) = match line {
            Line::Text(line) if line.trim().is_empty() => continue,
            Line::Text(line) => judge(suite, line),
            Line::Bad(message) => (None, Err(message)),
        };
        tally.rows += 1;
        let line = match judged {
            Ok(judgement) => {
                tally.valid += u64::from(judgement.verdict == Verdict::Pass);
                judged_line(case.as_deref(), judgement)
            }
            Err(message) => {
                tally.bad += 1;
                let message = format!("line {}: {message}", lines.number);
                tally.first_bad.get_or_insert_with(|| message.clone());
                bad_line(case.as_deref(), message)
            }
        };
        text.clear();
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
        out.write_all(&text)?;
    }
    out.flush()?;
    Ok(tally)
}

/// The case that a line names, and the judgement of its answer or why there is none.
fn judge(suite: &Offline, line: &str) -> (Option<String>, Result<Judgement, String>) {
    let row: Row<'_> = match serde_json::from_str(line) {
        Ok(row) => row,
        Err(error) => return (None, Err(format!("a row is {{\"case_id\", \"draw\", \"response\"}}: {error}"))),
    };
    let judged = CaseId::new(&row.case_id).map_err(|error| format!("`case_id`: {error}")).and_then(|case| {
        let body = body(row.response).map_err(|error| format!("`response`: {error}"))?;
        let case = suite.case(&case, row.draw.as_ref()).map_err(|error| error.to_string())?;
        Ok(case.judge(body.as_bytes(), &[]))
    });
    (Some(row.case_id), judged)
}

fn body(response: &RawValue) -> serde_json::Result<Cow<'_, str>> {
    let text = response.get();
    match text.starts_with('"') {
        true => serde_json::from_str(text).map(Cow::Owned),
        false => Ok(Cow::Borrowed(text)),
    }
}

fn judged_line(case: Option<&str>, judgement: Judgement) -> Judged<'_> {
    let Judgement { verdict, score, fault, secondary, error_type, explanation } = judgement;
    let verdict = Some(verdict.to_string());
    Judged { case_id: case, verdict, score, fault, secondary, error_type, explanation, error: None }
}

fn bad_line(case: Option<&str>, message: String) -> Judged<'_> {
    Judged {
        case_id: case,
        verdict: None,
        score: None,
        fault: None,
        secondary: Vec::new(),
        error_type: None,
        explanation: String::new(),
        error: Some(message),
    }
}

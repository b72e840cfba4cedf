//! `score --suite`: answers to the cases of a suite, judged as a sweep would have.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, BufReader, Read, Write};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Tally;
use super::rows::{self, Judged};
use crate::domain::{CaseId, Fault, Judgement, ProgramOutputs, ProgramRun, ScorerResult, Took, Verdict};
use crate::runner::{Known, Offline, OfflineCase};

/// Compiled cases that are kept for the rows to come.
const CASES_KEPT_MAX: usize = 512;

/// An answer to a case. Other keys are passed over.
#[derive(Deserialize)]
struct Row<'a> {
    case_id: String,
    /// The values that were drawn for it.
    #[serde(default)]
    draw: Option<Map<String, Value>>,
    /// The body: a JSON value as it came, or a string with the text of a stream or of a body that is no JSON.
    #[serde(borrow)]
    response: &'a RawValue,
    /// How long the answer took, for the scorer `latency`.
    #[serde(default)]
    latency_ms: Option<f64>,
    /// How long its first token took.
    #[serde(default)]
    ttft_ms: Option<f64>,
    /// What it cost, for the scorer `cost`.
    #[serde(default)]
    cost_usd: Option<f64>,
}

impl Row<'_> {
    fn took(&self) -> Took {
        let whole = |amount: Option<f64>, unit: f64| amount.filter(|a| *a >= 0.0).map(|a| (a * unit).round() as i64);
        Took {
            total_us: whole(self.latency_ms, 1e3),
            ttft_us: whole(self.ttft_ms, 1e3),
            cost_nanousd: whole(self.cost_usd, 1e9),
        }
    }
}

/// Runs the programs that scorers `exec` name, when the one who asks allows it.
pub type RunPrograms<'a> = &'a dyn Fn(&[ProgramRun]) -> ProgramOutputs;

/// A verdict line.
#[derive(Serialize)]
struct VerdictLine<'a> {
    case_id: Option<&'a str>,
    verdict: Option<String>,
    score: Option<f64>,
    fault: Option<Fault>,
    secondary: Vec<Fault>,
    error_type: Option<String>,
    explanation: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scorers: Vec<ScorerResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Compiled cases, by id and drawn values; when there are too many, all are forgotten.
struct Cases<'a> {
    suite: &'a Offline,
    cases: HashMap<(CaseId, Option<String>), OfflineCase>,
}

impl Cases<'_> {
    fn get(&mut self, id: CaseId, draw: Option<&Map<String, Value>>) -> Result<&OfflineCase, String> {
        if self.cases.len() >= CASES_KEPT_MAX {
            self.cases.clear();
        }
        let drawn = draw.map(|values| Value::Object(values.clone()).to_string());
        match self.cases.entry((id, drawn)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(free) => {
                let case = self.suite.case(&free.key().0, draw).map_err(|error| error.to_string())?;
                Ok(free.insert(case))
            }
        }
    }
}

/// Judges every row and writes a verdict line for each, in order.
///
/// # Errors
/// Input or output fails. A row that cannot be read or judged is answered by a line with `error`, and counted.
pub fn score(
    suite: &Offline,
    programs: RunPrograms<'_>,
    input: BufReader<impl Read>,
    out: impl Write,
) -> io::Result<Tally> {
    let mut known = Cases { suite, cases: HashMap::new() };
    rows::each(input, out, |line| judge(&mut known, programs, line), write)
}

fn write(out: &mut Vec<u8>, judged: Judged<Judgement>) -> io::Result<bool> {
    let case = judged.id.as_deref();
    let passed = judged.verdict.as_ref().is_ok_and(|judgement| judgement.verdict == Verdict::Pass);
    let line = match judged.verdict {
        Ok(judgement) => judged_line(case, judgement),
        Err(message) => bad_line(case, message),
    };
    serde_json::to_writer(out, &line)?;
    Ok(passed)
}

/// The case that a line names, and the judgement of its answer or why there is none.
fn judge(known: &mut Cases<'_>, programs: RunPrograms<'_>, line: &str) -> Judged<Judgement> {
    let row = match read(line) {
        Ok(row) => row,
        Err(message) => return Judged { id: id_of(line), verdict: Err(message) },
    };
    let verdict = CaseId::new(&row.case_id).map_err(|error| format!("`case_id`: {error}")).and_then(|case| {
        let body = body(row.response).map_err(|error| format!("`response`: {error}"))?;
        let case = known.get(case, row.draw.as_ref())?;
        let runs = case.runs(body.as_bytes());
        let outputs = if runs.is_empty() { ProgramOutputs::new() } else { programs(&runs) };
        Ok(case.judge_answer(body.as_bytes(), &Known { outputs, took: row.took(), votes: &[] }))
    });
    Judged { id: Some(row.case_id), verdict }
}

fn read(line: &str) -> Result<Row<'_>, String> {
    let is_object = line.trim_start().starts_with('{');
    // The reader would take an array for the values of the keys in their order.
    if !is_object && serde_json::from_str::<IgnoredAny>(line).is_ok() {
        return Err("a row is a JSON object {\"case_id\", \"draw\", \"response\"}".to_owned());
    }
    serde_json::from_str(line).map_err(|error| format!("a row is {{\"case_id\", \"draw\", \"response\"}}: {error}"))
}

/// The case that a row names which cannot be read whole: its answer shall be found by it all the same.
fn id_of(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        case_id: &'a RawValue,
    }
    let named: Named<'_> = serde_json::from_str(line).ok().filter(|_| line.trim_start().starts_with('{'))?;
    serde_json::from_str(named.case_id.get()).ok()
}

fn body(response: &RawValue) -> serde_json::Result<Cow<'_, str>> {
    let text = response.get();
    match text.starts_with('"') {
        true => serde_json::from_str(text).map(Cow::Owned),
        false => Ok(Cow::Borrowed(text)),
    }
}

fn judged_line(case: Option<&str>, judgement: Judgement) -> VerdictLine<'_> {
    let Judgement { verdict, score, fault, secondary, error_type, explanation, scorers } = judgement;
    let verdict = Some(verdict.to_string());
    VerdictLine { case_id: case, verdict, score, fault, secondary, error_type, explanation, scorers, error: None }
}

fn bad_line(case: Option<&str>, message: String) -> VerdictLine<'_> {
    VerdictLine {
        case_id: case,
        verdict: None,
        score: None,
        fault: None,
        secondary: Vec::new(),
        error_type: None,
        explanation: String::new(),
        scorers: Vec::new(),
        error: Some(message),
    }
}

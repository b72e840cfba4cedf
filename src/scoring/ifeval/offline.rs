//! Judging one row of a file: what `exactod score --scorer ifeval` does.

use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::response::{Response, without_reasoning};
use super::{Instruction, Unscorable};
use crate::scoring::budget::PatternBudget;
use crate::scoring::python_json::{self, Piece, PyInt, PyStr, PyValue};

/// One row, as the published result files have it. Other keys are passed over.
#[derive(Debug, Clone)]
pub struct Row {
    /// The ids of the instructions.
    pub instruction_id_list: Vec<String>,
    /// The arguments of each, by place; null for none.
    pub kwargs: Vec<Option<Map<String, Value>>>,
    /// The answer.
    pub response: String,
}

/// The verdicts of one row, an entry for each instruction in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowVerdict {
    /// Strict verdicts; null where there is none.
    pub strict: Vec<Option<bool>>,
    /// Loose verdicts; null where there is none.
    pub loose: Vec<Option<bool>>,
    /// Which instructions have no verdict, and why; left out when all have one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unscored: Vec<Unscored>,
}

/// An instruction without a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unscored {
    /// Its place in the row, from 0.
    pub index: usize,
    /// Its id.
    pub id: String,
    /// Why.
    pub why: String,
}

impl Row {
    /// Reads a row as Python's parser does: a lone surrogate is a character that is no letter, and what other keys hold
    /// does not matter.
    ///
    /// # Errors
    /// The line is not JSON, or a key is missing or of another type.
    pub fn parse(line: &str) -> Result<Row, String> {
        let row = match python_json::parse(line) {
            Ok(PyValue::Dict(row)) => row,
            Ok(_) => return Err("a row is a JSON object".to_owned()),
            Err(e) => return Err(format!("not JSON: {e}")),
        };
        let (mut ids, mut kwargs, mut response) = (None, None, None);
        for (key, value) in row {
            match (key.as_text(), value) {
                (Some("instruction_id_list"), PyValue::List(list)) => {
                    ids = list.iter().map(|id| id.as_str().map(text)).collect::<Option<Vec<_>>>();
                }
                (Some("kwargs"), PyValue::List(list)) => {
                    kwargs = list.iter().map(arguments).collect::<Option<Vec<_>>>()
                }
                (Some("response"), PyValue::Str(answer)) => response = Some(text(&answer)),
                _ => {}
            }
        }
        Ok(Row {
            instruction_id_list: ids.ok_or("`instruction_id_list` is a list of texts")?,
            kwargs: kwargs.ok_or("`kwargs` is a list of objects or null")?,
            response: response.ok_or("`response` is a text")?,
        })
    }

    /// Judges the row, a leading block of reasoning left out of the answer.
    ///
    /// # Errors
    /// The row has more or fewer sets of arguments than instructions.
    pub fn judge(&self) -> Result<RowVerdict, String> {
        let (ids, kwargs) = (&self.instruction_id_list, &self.kwargs);
        if ids.len() != kwargs.len() {
            return Err(format!("{} instructions but {} entries in `kwargs`", ids.len(), kwargs.len()));
        }
        let response = Response::new(without_reasoning(&self.response));
        let (none, budget) = (Map::new(), PatternBudget::default());
        let mut verdict = RowVerdict { strict: Vec::new(), loose: Vec::new(), unscored: Vec::new() };
        for (index, (id, arguments)) in ids.iter().zip(kwargs).enumerate() {
            let parsed: Result<Instruction, Unscorable> =
                Instruction::parse_within(id, arguments.as_ref().unwrap_or(&none), &budget);
            let judged = match parsed {
                // A blank answer follows nothing: the official checker looks at no pattern then.
                Err(Unscorable::Pattern { .. }) if response.variants().next().is_none() => Ok((false, false)),
                parsed => parsed.and_then(|i| i.both(&response)),
            };
            verdict.strict.push(judged.as_ref().ok().map(|(strict, _)| *strict));
            verdict.loose.push(judged.as_ref().ok().map(|(_, loose)| *loose));
            if let Err(why) = judged {
                verdict.unscored.push(Unscored { index, id: id.clone(), why: why.to_string() });
            }
        }
        Ok(verdict)
    }
}

/// The text of a string. A lone surrogate becomes the replacement character, which is no letter, mark or white space
/// either: no rule tells the two apart.
fn text(string: &PyStr) -> String {
    let piece = |piece: Piece<'_>| match piece {
        Piece::Text(text) => text.to_owned(),
        Piece::Surrogate(_) => char::REPLACEMENT_CHARACTER.to_string(),
    };
    string.pieces().map(piece).collect()
}

fn arguments(value: &PyValue) -> Option<Option<Map<String, Value>>> {
    match value {
        PyValue::None => Some(None),
        PyValue::Dict(map) => Some(Some(map.iter().map(|(key, value)| (text(key), plain(value))).collect())),
        _ => None,
    }
}

/// As plain JSON; what it has no number for is null, which no argument is.
fn plain(value: &PyValue) -> Value {
    match value {
        PyValue::None => Value::Null,
        PyValue::Bool(flag) => Value::Bool(*flag),
        PyValue::Int(PyInt::Small(n)) => Value::from(*n),
        PyValue::Int(big) => big.to_float().and_then(Number::from_f64).map_or(Value::Null, Value::Number),
        PyValue::Float(x) => Number::from_f64(*x).map_or(Value::Null, Value::Number),
        PyValue::Str(string) => Value::String(text(string)),
        PyValue::List(items) => Value::Array(items.iter().map(plain).collect()),
        PyValue::Dict(map) => Value::Object(map.iter().map(|(key, value)| (text(key), plain(value))).collect()),
    }
}

//! Judging one row of a file: what `exactod score --scorer ifeval` does.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::response::{Response, without_reasoning};
use super::{Instruction, Unscorable};
use crate::scoring::budget::PatternBudget;

/// One row, as the published result files have it. Other keys are passed over.
#[derive(Debug, Clone, Deserialize)]
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
            verdict.strict.push(parsed.as_ref().ok().map(|i| i.strict(&response)));
            verdict.loose.push(parsed.as_ref().ok().map(|i| i.loose(&response)));
            if let Err(why) = parsed {
                verdict.unscored.push(Unscored { index, id: id.clone(), why: why.to_string() });
            }
        }
        Ok(verdict)
    }
}

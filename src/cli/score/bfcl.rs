//! `score --scorer bfcl`: rows of answers against the data set.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::path::Path;

use serde_json::Value;

use super::Tally;
use super::lines::{Line, Lines};
use crate::import::ImportError;
use crate::import::bfcl::DataSet;
use crate::scoring::bfcl::{BadRow, BfclCase, BfclRow, Category};

/// Compiled cases by category and id.
pub struct Cases {
    by_category: HashMap<Category, HashMap<String, BfclCase>>,
}

impl Cases {
    /// Reads and compiles all categories of a data set.
    ///
    /// # Errors
    /// There is no data, or it breaks its format.
    pub fn load(path: &Path) -> Result<Cases, ImportError> {
        let mut data = DataSet::open(path)?;
        let mut by_category = HashMap::new();
        for category in data.categories() {
            by_category.insert(category, data.compiled(category)?);
        }
        Ok(Cases { by_category })
    }

    fn find(&self, row: &BfclRow) -> Result<&BfclCase, String> {
        let id = &row.id;
        match &row.category {
            Some(name) => {
                let category: Category = name.parse().map_err(|e| format!("{e}"))?;
                let cases = self.by_category.get(&category);
                let cases = cases.ok_or_else(|| format!("the data holds no category {name:?}"))?;
                cases.get(id).ok_or_else(|| format!("category {name:?} has no case {id:?}"))
            }
            None => {
                let found = self.by_category.values().find_map(|cases| cases.get(id));
                found.ok_or_else(|| format!("no category has a case {id:?}"))
            }
        }
    }
}

/// Judges every row and writes a verdict line for each, in order.
///
/// # Errors
/// Input or output fails. A row that cannot be read or found is answered by a line with `error`, and counted.
pub fn score(cases: &Cases, strict: bool, input: impl BufRead, mut out: impl Write) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut lines = Lines::new(input);
    let mut text = String::new();
    while let Some(line) = lines.next_line()? {
        let row = match line {
            Line::Text(line) if line.trim().is_empty() => continue,
            Line::Text(line) => BfclRow::parse(line),
            Line::Bad(message) => Err(BadRow { id: None, message }),
        };
        let judged = row.and_then(|row| match cases.find(&row) {
            Ok(case) => {
                let verdict = if strict { case.judge_strictly(&row.answer) } else { case.judge(&row.answer) };
                Ok((row.id, verdict))
            }
            Err(message) => Err(BadRow { id: Some(row.id), message }),
        });
        text.clear();
        tally.rows += 1;
        match judged {
            Ok((id, verdict)) => {
                tally.valid += u64::from(verdict.is_ok());
                text.push_str("{\"id\":");
                push_json(&mut text, &id);
                match verdict {
                    Ok(()) => text.push_str(",\"valid\":true,\"error_type\":null}\n"),
                    Err(error) => {
                        text.push_str(",\"valid\":false,\"error_type\":\"");
                        text.push_str(error.name());
                        text.push_str("\"}\n");
                    }
                }
            }
            Err(bad) => {
                tally.bad += 1;
                let message = format!("line {}: {}", lines.number, bad.message);
                tally.first_bad.get_or_insert_with(|| message.clone());
                text.push_str("{\"id\":");
                match &bad.id {
                    Some(id) => push_json(&mut text, id),
                    None => text.push_str("null"),
                }
                text.push_str(",\"valid\":null,\"error_type\":null,\"error\":");
                push_json(&mut text, &message);
                text.push_str("}\n");
            }
        }
        out.write_all(text.as_bytes())?;
    }
    out.flush()?;
    Ok(tally)
}

/// A JSON string; the usual id needs no escapes.
fn push_json(out: &mut String, text: &str) {
    if text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

//! `score --scorer bfcl`: rows of answers against the data set.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde_json::Value;

use super::Tally;
use super::rows::{self, Judged};
use crate::import::ImportError;
use crate::import::bfcl::DataSet;
use crate::scoring::bfcl::{BadRow, BfclCase, BfclRow, Category, ErrorType};

/// Compiled cases by category and id.
pub struct Cases {
    data: DataSet,
    /// Categories that a row asked for: what is wrong with the files of one does not keep others from being judged.
    by_category: HashMap<Category, Result<HashMap<String, BfclCase>, String>>,
}

impl Cases {
    /// Opens a data set. Categories are read and compiled when a row first asks for one.
    ///
    /// # Errors
    /// There is no data.
    pub fn open(path: &Path) -> Result<Cases, ImportError> {
        Ok(Cases { data: DataSet::open(path)?, by_category: HashMap::new() })
    }

    fn load(&mut self, category: Category) {
        let Cases { data, by_category } = self;
        by_category.entry(category).or_insert_with(|| match data.categories().contains(&category) {
            true => data.compiled(category).map_err(|e| e.to_string()),
            false => Err(format!("the data holds no category {:?}", category.name())),
        });
    }

    fn find(&mut self, row: &BfclRow) -> Result<&BfclCase, String> {
        let id = &row.id;
        match &row.category {
            Some(name) => {
                let category: Category = name.parse().map_err(|e| format!("{e}"))?;
                self.load(category);
                let cases = self.by_category.get(&category).ok_or("no such category")?;
                let cases = cases.as_ref().map_err(Clone::clone)?;
                cases.get(id).ok_or_else(|| format!("category {name:?} has no case {id:?}"))
            }
            None => {
                self.data.categories().into_iter().for_each(|category| self.load(category));
                let has = |cases: &&Result<HashMap<String, BfclCase>, String>| {
                    cases.as_ref().is_ok_and(|cases| cases.contains_key(id))
                };
                let mut found = self.by_category.values().filter(has);
                match (found.next(), found.next()) {
                    (Some(Ok(cases)), None) => cases.get(id).ok_or_else(|| format!("no category has a case {id:?}")),
                    (Some(_), Some(_)) => Err(format!("several categories have a case {id:?}: name its `category`")),
                    _ => Err(format!("no category has a case {id:?}")),
                }
            }
        }
    }
}

type Verdict = Result<(), ErrorType>;

/// Judges every row and writes a verdict line for each, in order.
///
/// # Errors
/// Input or output fails. A row that cannot be read or found is answered by a line with `error`, and counted.
pub fn score(cases: &mut Cases, strict: bool, input: BufReader<impl Read>, out: impl Write) -> io::Result<Tally> {
    let judge = |line: &str| {
        let row = match BfclRow::parse(line) {
            Ok(row) => row,
            Err(BadRow { id, message }) => return Judged { id, verdict: Err(message) },
        };
        let verdict = cases.find(&row);
        let verdict =
            verdict.map(|case| if strict { case.judge_strictly(&row.answer) } else { case.judge(&row.answer) });
        Judged { id: Some(row.id), verdict }
    };
    rows::each(input, out, judge, write)
}

fn write(out: &mut Vec<u8>, judged: Judged<Verdict>) -> io::Result<bool> {
    out.extend_from_slice(b"{\"id\":");
    match &judged.id {
        Some(id) => push_json(out, id),
        None => out.extend_from_slice(b"null"),
    }
    match &judged.verdict {
        Ok(Ok(())) => out.extend_from_slice(b",\"valid\":true,\"error_type\":null}"),
        Ok(Err(error)) => {
            out.extend_from_slice(b",\"valid\":false,\"error_type\":\"");
            out.extend_from_slice(error.name().as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Err(message) => {
            out.extend_from_slice(b",\"valid\":null,\"error_type\":null,\"error\":");
            push_json(out, message);
            out.push(b'}');
        }
    }
    Ok(matches!(judged.verdict, Ok(Ok(()))))
}

/// A JSON string; the usual id needs no escapes.
fn push_json(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(Value::from(text).to_string().as_bytes());
    }
}

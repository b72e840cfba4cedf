//! The data set of `bfcl-eval`: where its files are and what a line of them holds.

use std::collections::HashMap;
use std::path::Path;

use super::super::ImportError;
use super::super::archive::Archive;
use crate::scoring::bfcl::{BfclCase, Category};
use crate::scoring::python_json::{self, PyDict, PyStr, PyValue};

/// Where the data may lie, seen from what the user gave: the data folder, an unpacked wheel or the package, a wheel.
const PLACES: [&str; 3] = ["", "data/", "bfcl_eval/data/"];
/// The folder of the ground truth, in the data folder.
const ANSWERS_FOLDER: &str = "possible_answer";
/// Cases of one category.
pub const CASES_MAX: usize = 100_000;
/// Size of one line, in bytes.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// The data set, found but not yet read.
pub struct DataSet {
    archive: Archive,
    place: &'static str,
}

/// One case as the data set holds it.
#[derive(Debug, Clone)]
pub struct DataCase {
    /// Its id.
    pub id: String,
    /// The question: turns of messages.
    pub question: PyValue,
    /// The function documents.
    pub functions: PyValue,
    /// The ground truth, in the categories that have one.
    pub answers: Option<PyValue>,
}

impl DataSet {
    /// Finds the data: a wheel, its unpacked folder, the package's folder or the data folder itself.
    ///
    /// # Errors
    /// Nothing readable is there, or none of the supported categories.
    pub fn open(path: &Path) -> Result<DataSet, ImportError> {
        let archive = Archive::open(path)?;
        if path.file_name().is_some_and(|name| name == ANSWERS_FOLDER) {
            let message = "no BFCL data found: this is the folder of the answers; give the folder that holds it";
            return Err(ImportError::Source { path: path.to_owned(), message: message.to_owned() });
        }
        let holds_any = |place: &&str| Category::ALL.iter().any(|c| archive.has(&question_file(place, *c)));
        let Some(place) = PLACES.into_iter().find(|p| holds_any(p)) else {
            let message = "no BFCL data found; give the bfcl-eval wheel, its unpacked folder or its data folder, which \
                           holds files such as BFCL_v4_simple_python.json";
            return Err(ImportError::Source { path: path.to_owned(), message: message.to_owned() });
        };
        Ok(DataSet { archive, place })
    }

    /// The folder or archive that the data come from.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.archive.path()
    }

    /// The categories that are there.
    #[must_use]
    pub fn categories(&self) -> Vec<Category> {
        Category::ALL.into_iter().filter(|c| self.archive.has(&question_file(self.place, *c))).collect()
    }

    /// Reads the cases of a category. Questions and answers are joined by line, as the official loader does.
    ///
    /// # Errors
    /// A file is missing, too large or breaks the format.
    pub fn cases(&mut self, category: Category) -> Result<Vec<DataCase>, ImportError> {
        let file = question_file(self.place, category);
        let questions = self.lines(&file)?;
        let mut answers = if category.has_answers() {
            let file = format!("{}{ANSWERS_FOLDER}/BFCL_v4_{category}.json", self.place);
            let lines = self.lines(&file)?;
            if lines.len() != questions.len() {
                let message = format!("{} answers for {} questions", lines.len(), questions.len());
                return Err(ImportError::Line { file, line: lines.len(), message });
            }
            Some((file, lines.into_iter()))
        } else {
            None
        };
        let mut cases = Vec::with_capacity(questions.len());
        for (line, question) in questions {
            let mut case = data_case(question).map_err(|m| wrong_line(&file, line, m))?;
            if let Some((file, lines)) = &mut answers {
                let answer = lines.next().and_then(|(_, answer)| answer.get_text("ground_truth").cloned());
                case.answers = Some(answer.ok_or_else(|| wrong_line(file, line, "`ground_truth` is missing"))?);
            }
            cases.push(case);
        }
        Ok(cases)
    }

    /// Reads and compiles the cases of a category, by id. Of two cases with one id the first counts.
    ///
    /// # Errors
    /// As [`cases`](Self::cases), and data that the rules cannot be applied to.
    pub fn compiled(&mut self, category: Category) -> Result<HashMap<String, BfclCase>, ImportError> {
        let mut compiled = HashMap::new();
        for (i, case) in self.cases(category)?.into_iter().enumerate() {
            let rules = BfclCase::new(category, &case.functions, case.answers.as_ref());
            let rules = rules.map_err(|e| {
                let message = format!("case {}: {e}", case.id);
                wrong_line(&question_file(self.place, category), i + 1, message)
            })?;
            compiled.entry(case.id).or_insert(rules);
        }
        Ok(compiled)
    }

    /// Lines of a file as objects, with their numbers; blank lines are passed over.
    fn lines(&mut self, file: &str) -> Result<Vec<(usize, PyDict)>, ImportError> {
        let path = self.archive.path().join(file);
        let Some(text) = self.archive.text(file)? else {
            return Err(ImportError::Source { path, message: "the file is missing from the data".to_owned() });
        };
        let mut lines = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            if line.len() > LINE_BYTES_MAX {
                let what = format!("{file}, line {}", i + 1);
                return Err(ImportError::TooLarge { what, limit: LINE_BYTES_MAX as u64, unit: "bytes" });
            }
            if lines.len() == CASES_MAX {
                return Err(ImportError::TooLarge { what: file.to_owned(), limit: CASES_MAX as u64, unit: "cases" });
            }
            match python_json::parse(line) {
                Ok(PyValue::Dict(map)) => lines.push((i + 1, map)),
                Ok(_) => return Err(wrong_line(file, i + 1, "a line is a JSON object")),
                Err(e) => return Err(wrong_line(file, i + 1, format!("not JSON: {e}"))),
            }
        }
        Ok(lines)
    }
}

fn question_file(place: &str, category: Category) -> String {
    format!("{place}BFCL_v4_{category}.json")
}

fn wrong_line(file: &str, line: usize, message: impl Into<String>) -> ImportError {
    ImportError::Line { file: file.to_owned(), line, message: message.into() }
}

fn data_case(map: PyDict) -> Result<DataCase, &'static str> {
    let id = map.get_text("id").and_then(PyValue::as_str).and_then(PyStr::as_text).map(str::to_owned);
    let (Some(question), Some(functions)) = (map.get_text("question"), map.get_text("function")) else {
        return Err("a case needs `question` and `function`");
    };
    Ok(DataCase {
        id: id.ok_or("a case needs a text `id`")?,
        question: question.clone(),
        functions: functions.clone(),
        answers: None,
    })
}

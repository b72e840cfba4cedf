//! A suite of BFCL cases: messages word for word, tools converted, original documents and answers in `expected`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::super::archive::ARCHIVE_BYTES_MAX;
use super::super::common::escape_text;
use super::super::{ImportError, Imported, toml_string};
use super::data::{DataCase, DataSet};
use crate::domain::canonical::sha256_hex;
use crate::domain::{CaseId, SuiteName};
use crate::scoring::bfcl::{BfclCase, Category, UNSATISFIABLE, convert_tools};
use crate::scoring::python_json::{PyDict, PyInt, PyStr, PyValue};

/// The suite's name without another.
const DEFAULT_NAME: &str = "bfcl-python-single";
/// Digits of the content's hash in the label of data whose version is not known.
const LABEL_DIGITS: usize = 12;
/// How this importer makes cases: part of the label.
const IMPORTER_VERSION: u32 = 1;

/// Makes a suite of the Python single-turn cases of these categories; of all that are there when none is named.
///
/// # Errors
/// There is no such data, or it breaks its format.
pub fn import(source: &Path, name: Option<&str>, categories: &[Category]) -> Result<Imported, ImportError> {
    let name = name.unwrap_or(DEFAULT_NAME);
    SuiteName::new(name).map_err(|e| ImportError::Unsupported(format!("suite name {name:?}: {e}")))?;
    let mut data = DataSet::open(source)?;
    let there = data.categories();
    if let Some(missing) = categories.iter().find(|c| !there.contains(c)) {
        let message = format!("the data holds no category {missing}");
        return Err(ImportError::Source { path: source.to_owned(), message });
    }
    let wanted: Vec<Category> = there.into_iter().filter(|c| categories.is_empty() || categories.contains(c)).collect();
    let (mut cases, mut notes, mut exclude) = (Vec::new(), Vec::new(), Vec::new());
    for category in wanted {
        for case in data.cases(category)? {
            match case_line(category, &case) {
                Ok(line) => {
                    if UNSATISFIABLE.contains(&case.id.as_str()) {
                        exclude.push(case.id.clone());
                    }
                    cases.push(line);
                }
                Err(why) => notes.push(format!("left out: case {} of {category}: {why}", case.id)),
            }
        }
    }
    if !exclude.is_empty() {
        notes.push(format!("excluded, because no answer passes the official checker: {}", exclude.join(", ")));
    }
    notes.push("not imported: Java, JavaScript, multi-turn, memory, web search and format sensitivity".to_owned());
    let header = header(&data, name, &cases, &exclude)?;
    Ok(Imported { name: name.to_owned(), header, cases, notes })
}

fn header(data: &DataSet, name: &str, cases: &[String], exclude: &[String]) -> Result<String, ImportError> {
    let version = version(data.path());
    let label = match &version {
        Some(version) => format!("{version}+{IMPORTER_VERSION}"),
        None => {
            let digest = sha256_hex(cases.join("\n").as_bytes());
            format!("data-{}+{IMPORTER_VERSION}", digest.get(..LABEL_DIGITS).unwrap_or(&digest))
        }
    };
    let mut text = format!(
        "# Imported from the data of the Berkeley Function-Calling Leaderboard, Python single-turn. Verdicts are those of\n\
         # its official checker. The accuracy over these cases is not \"BFCL overall\", of which they are 30 %.\n\
         version  = 1\nname     = {}\nkind     = [\"tool_use\"]\nrevision = {}\nlicense  = \"Apache-2.0\"\n",
        toml_string(name),
        toml_string(&label),
    );
    if !exclude.is_empty() {
        let ids: Vec<String> = exclude.iter().map(|id| format!("  {},", toml_string(id))).collect();
        let _ =
            write!(text, "# No answer passes the official checker in these.\nexclude  = [\n{}\n]\n", ids.join("\n"));
    }
    let url = version.map(|v| format!("pypi:bfcl-eval=={v}"));
    let sha256 = wheel_hash(data.path())?;
    if url.is_some() || sha256.is_some() {
        text.push_str("\n[source]\n");
        for (key, value) in [("url   ", url), ("sha256", sha256)] {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {}", toml_string(&value));
            }
        }
    }
    text.push_str(
        "\n[request]\ntemperature = 0\nmax_tokens  = 4096\ntool_choice = \"auto\"\n\n\
         [sampling]\nstrategy = \"stratified\"\nby       = \"category\"\n\n\
         [[scorers]]\ntype = \"bfcl\"\n\n[[metrics]]\nname     = \"accuracy\"\ngroup_by = \"category\"\n",
    );
    Ok(text)
}

/// The version of the wheel or of the metadata beside an unpacked package.
fn version(path: &Path) -> Option<String> {
    const PREFIX: &str = "bfcl_eval-";
    let of_name = |name: &str| {
        let version = name.strip_prefix(PREFIX)?.split('-').next()?.trim_end_matches(".dist").to_owned();
        let is_version = !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
        is_version.then_some(version)
    };
    if path.is_file() {
        return of_name(path.file_name()?.to_str()?);
    }
    // The metadata stand beside the package: two folders above the data at most.
    path.ancestors().take(3).find_map(|folder| {
        let entries = fs::read_dir(folder).ok()?;
        entries.filter_map(Result::ok).find_map(|entry| {
            let name = entry.file_name();
            of_name(name.to_str()?.strip_suffix(".dist-info")?)
        })
    })
}

/// The hash of a wheel; a folder has none.
fn wheel_hash(path: &Path) -> Result<Option<String>, ImportError> {
    if !path.is_file() {
        return Ok(None);
    }
    let too_large =
        || ImportError::TooLarge { what: path.display().to_string(), limit: ARCHIVE_BYTES_MAX, unit: "bytes" };
    let bytes = fs::read(path).map_err(|e| ImportError::file("read", path, &e))?;
    if bytes.len() as u64 > ARCHIVE_BYTES_MAX { Err(too_large()) } else { Ok(Some(sha256_hex(&bytes))) }
}

/// One line of `cases.jsonl`, or why the case cannot be written as one.
fn case_line(category: Category, case: &DataCase) -> Result<String, String> {
    CaseId::new(&case.id).map_err(|e| e.to_string())?;
    // The rules must be applicable, or every answer would be unscored.
    BfclCase::new(category, &case.functions, case.answers.as_ref()).map_err(|e| e.to_string())?;
    let tools = convert_tools(&case.functions).map_err(|e| e.to_string())?;
    let [messages] = case.question.as_list().unwrap_or_default() else {
        return Err("`question` is not a single turn".to_owned());
    };
    let mut expected = PyDict::default();
    expected.insert("category".into(), PyValue::Str(category.name().into()));
    if let Some(answers) = &case.answers {
        expected.insert("function".into(), case.functions.clone());
        expected.insert("ground_truth".into(), answers.clone());
    }
    let mut line = PyDict::default();
    line.insert("id".into(), PyValue::Str(case.id.as_str().into()));
    line.insert("category".into(), PyValue::Str(category.name().into()));
    line.insert("messages".into(), literal(messages)?);
    line.insert("tools".into(), literal(&tools)?);
    line.insert("expected".into(), literal(&PyValue::Dict(expected))?);
    let mut text = String::new();
    PyValue::Dict(line).write_json(&mut text);
    Ok(text)
}

/// The value as a case means it: what looks like a placeholder of a template is marked as text. What a suite's JSON
/// cannot hold is an error.
fn literal(value: &PyValue) -> Result<PyValue, String> {
    match value {
        PyValue::Float(x) if !x.is_finite() => Err("a number is infinite or none at all".to_owned()),
        PyValue::Int(PyInt::Big(digits)) if digits.parse::<u64>().is_err() => {
            Err("an integer has more than 64 bits".to_owned())
        }
        PyValue::Str(PyStr::Surrogates(_)) => Err("a text holds a lone surrogate".to_owned()),
        PyValue::Str(PyStr::Text(text)) => Ok(PyValue::Str(escape_text(text).as_str().into())),
        PyValue::List(items) => items.iter().map(literal).collect::<Result<_, _>>().map(PyValue::List),
        PyValue::Dict(map) => {
            let mut made = PyDict::default();
            for (key, value) in map.iter() {
                let Some(name) = key.as_text() else {
                    return Err("a key holds a lone surrogate".to_owned());
                };
                if escape_text(name) != name {
                    return Err(format!("the key {name:?} looks like a placeholder"));
                }
                made.insert(key.clone(), literal(value)?);
            }
            Ok(PyValue::Dict(made))
        }
        other => Ok(other.clone()),
    }
}

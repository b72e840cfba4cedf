//! IFEval and IFBench: `input_data.jsonl`, rows of a prompt with its instructions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::common::{escape_text, number_too_large};
use super::{ImportError, Imported, toml_string};
use crate::domain::canonical::sha256_hex;
use crate::domain::{CaseId, SuiteName};
use crate::scoring::ifeval::{Instruction, InstructionKind};

/// Raised whenever the same source would give other cases.
const IMPORTER_VERSION: u32 = 1;
/// Files looked for in a folder.
const FILES: [&str; 4] = ["input_data.jsonl", "ifeval_input_data.jsonl", "IFBench_test.jsonl", "train.jsonl"];
/// Digits of the content's hash in the revision label.
const LABEL_DIGITS: usize = 12;
/// How many left-out prompts of one reason are named one by one.
const NAMED_MAX: usize = 20;

/// Which of the two data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Every instruction of a prompt must have a verdict, or the prompt is left out.
    IfEval {
        /// Also take prompts with approximate instruction types, as a category of their own.
        approximate: bool,
    },
    /// Most instruction types are not implemented: a prompt is judged by those that are.
    IfBench,
}

/// A row of the source.
#[derive(Debug, Deserialize)]
struct Row {
    key: Value,
    prompt: String,
    instruction_id_list: Vec<String>,
    kwargs: Vec<Option<Map<String, Value>>>,
}

/// A case, or why a prompt is left out.
enum Made {
    Case(String),
    LeftOut(String),
}

/// How answers are judged: the `mode` of the suite's scorer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The answer as it is.
    #[default]
    Strict,
    /// Any of the official checker's eight variants of it.
    Loose,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Mode::Strict => "strict",
            Mode::Loose => "loose",
        }
    }
}

/// Reads a data set into a suite.
///
/// # Errors
/// The source is missing or breaks its format, or no prompt can be judged.
pub fn import(path: &Path, name: Option<&str>, source: Source, mode: Mode) -> Result<Imported, ImportError> {
    let name = name.unwrap_or(source.suite_name());
    SuiteName::new(name).map_err(|e| ImportError::Unsupported(format!("suite name {name:?}: {e}")))?;
    let file = find(path)?;
    let text = read(&file)?;
    let mut cases = Vec::new();
    let mut keys: BTreeSet<String> = BTreeSet::new();
    let mut left_out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut unscored: BTreeSet<String> = BTreeSet::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let wrong = |message: String| ImportError::Line { file: file.display().to_string(), line: i + 1, message };
        let row: Row = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        if row.instruction_id_list.len() != row.kwargs.len() {
            return Err(wrong("`instruction_id_list` and `kwargs` differ in length".to_owned()));
        }
        let id = match &row.key {
            Value::String(key) => key.clone(),
            other => other.to_string(),
        };
        CaseId::new(&id).map_err(|e| wrong(format!("key {id}: {e}")))?;
        if !keys.insert(id.clone()) {
            return Err(wrong(format!("the key {id} stands here for the second time")));
        }
        let too_large = row.kwargs.iter().flatten().flat_map(Map::values).find_map(number_too_large);
        if let Some(why) = too_large {
            left_out.entry(format!("in line {} {why}", i + 1)).or_default().push(id);
            continue;
        }
        match case(&id, &row, source, &mut unscored) {
            Made::Case(line) => cases.push(line),
            Made::LeftOut(why) => left_out.entry(why).or_default().push(id),
        }
    }
    let mut notes: Vec<String> = left_out.iter().map(|(why, ids)| left_out_note(why, ids)).collect();
    if !unscored.is_empty() {
        let ids: Vec<&str> = unscored.iter().map(String::as_str).collect();
        notes.push(format!("instruction types without a verdict: {}", ids.join(", ")));
    }
    if cases.is_empty() {
        let why = if notes.is_empty() { "the file holds none".to_owned() } else { notes.join("; ") };
        let message = format!("no prompt can be judged: {why}");
        return Err(ImportError::Source { path: file, message });
    }
    Ok(Imported { name: name.to_owned(), header: header(name, source, mode, &cases), cases, notes })
}

fn find(path: &Path) -> Result<PathBuf, ImportError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    FILES.iter().map(|f| path.join(f)).find(|f| f.is_file()).ok_or_else(|| ImportError::Source {
        path: path.to_owned(),
        message: format!("the folder holds none of {}; name the file", FILES.join(", ")),
    })
}

fn read(file: &Path) -> Result<String, ImportError> {
    String::from_utf8(super::source::read(file)?).map_err(|e| ImportError::Source {
        path: file.to_owned(),
        message: format!("it is not UTF-8 from byte {} on", e.utf8_error().valid_up_to()),
    })
}

fn left_out_note(why: &str, ids: &[String]) -> String {
    let named = ids.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if ids.len() > NAMED_MAX { ", .." } else { "" };
    format!("left out, because {why}: {} prompts ({named}{more})", ids.len())
}

impl Source {
    fn suite_name(self) -> &'static str {
        match self {
            Source::IfEval { approximate: false } => "ifeval-exact",
            Source::IfEval { approximate: true } => "ifeval",
            Source::IfBench => "ifbench",
        }
    }
}

fn case(id: &str, row: &Row, source: Source, unscored: &mut BTreeSet<String>) -> Made {
    let (mut instructions, mut without, mut exact) = (Vec::new(), Vec::new(), true);
    for (instruction, arguments) in row.instruction_id_list.iter().zip(&row.kwargs) {
        // Some copies pad each set of arguments with nulls for those of all other types.
        let given = arguments.iter().flatten().filter(|(_, v)| !v.is_null());
        let arguments: Map<String, Value> = given.map(|(k, v)| (k.clone(), v.clone())).collect();
        match Instruction::parse(instruction, &arguments) {
            Ok(parsed) => {
                exact &= parsed.kind().is_exact();
                instructions.push(json!({"id": instruction, "kwargs": literal(&Value::Object(arguments))}));
            }
            Err(why) => {
                if InstructionKind::find(instruction).is_none() {
                    unscored.insert(instruction.clone());
                }
                without.push((instruction, why.to_string()));
            }
        }
    }
    match (source, without.first()) {
        (Source::IfEval { .. }, Some((instruction, why))) => return Made::LeftOut(format!("{instruction}: {why}")),
        (Source::IfEval { approximate: false }, None) if !exact => {
            return Made::LeftOut("an instruction type is approximate (take them with --approximate)".to_owned());
        }
        _ if instructions.is_empty() => {
            return Made::LeftOut("none of its instruction types is implemented".to_owned());
        }
        _ => {}
    }
    let mut line = json!({
        "id": id,
        "category": if exact { "exact" } else { "approximate" },
        "input": escape_text(&row.prompt),
        "expected": {"instructions": instructions},
    });
    if !without.is_empty() {
        let ids: Vec<&String> = without.iter().map(|(id, _)| *id).collect();
        line["metadata"] = json!({"unscored_instructions": ids});
    }
    Made::Case(line.to_string())
}

/// A value whose texts stand for themselves, whatever looks like a placeholder in them.
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(escape_text(text)),
        Value::Array(items) => items.iter().map(literal).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), literal(v))).collect::<Map<_, _>>().into(),
        other => other.clone(),
    }
}

fn header(name: &str, source: Source, mode: Mode, cases: &[String]) -> String {
    let digest = sha256_hex(cases.join("\n").as_bytes());
    let revision = format!("data-{}+{IMPORTER_VERSION}", digest.get(..LABEL_DIGITS).unwrap_or(&digest));
    let about = match source {
        Source::IfEval { approximate: false } => {
            "# Imported from the prompts of IFEval, those whose instruction types are all exact. Verdicts are those of the\n\
             # official checker; the accuracy over these prompts is not that of the whole benchmark.\n"
        }
        Source::IfEval { approximate: true } => {
            "# Imported from the prompts of IFEval. Verdicts of category \"exact\" are those of the official checker; those\n\
             # of category \"approximate\" rest on statistical models and agree with it nearly always.\n"
        }
        Source::IfBench => {
            "# Imported from the prompts of IFBench; each is judged by those of its instructions that are implemented, and\n\
             # names the others in its metadata. The accuracy is not that of the benchmark.\n"
        }
    };
    format!(
        "{about}version  = 1\nname     = {}\nkind     = [\"output_quality\"]\nrevision = {}\nlicense  = \"Apache-2.0\"\n\n\
         [request]\ntemperature = 0\nmax_tokens  = 4096\n\n\
         [sampling]\nstrategy = \"stratified\"\nby       = \"category\"\n\n\
         [[scorers]]\ntype = \"ifeval\"\nmode = {}\n\n\
         [[metrics]]\nname     = \"accuracy\"\ngroup_by = \"category\"\n\n\
         [[metrics]]\nname     = \"instruction_accuracy\"\n",
        toml_string(name),
        toml_string(&revision),
        toml_string(mode.word()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites;

    const NO_COMMA: &str = "punctuation:no_comma";

    fn file(rows: &[Value]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input_data.jsonl");
        std::fs::write(&path, rows.iter().map(|r| format!("{r}\n")).collect::<String>()).unwrap();
        (dir, path)
    }

    fn row(key: u64, instructions: &[(&str, Value)]) -> Value {
        let ids: Vec<&str> = instructions.iter().map(|(id, _)| *id).collect();
        let kwargs: Vec<&Value> = instructions.iter().map(|(_, k)| k).collect();
        json!({"key": key, "prompt": format!("Write {{{{x}}}} {key}."), "instruction_id_list": ids, "kwargs": kwargs})
    }

    fn rows() -> Vec<Value> {
        let sentences = json!({"num_sentences": 3, "relation": "at least", "letter": null});
        let letter = json!({"letter": "#", "let_frequency": 4, "let_relation": "at least"});
        vec![
            row(
                1000,
                &[(NO_COMMA, json!({"num_words": null})), ("startend:end_checker", json!({"end_phrase": "{{bye}}"}))],
            ),
            row(1001, &[("length_constraints:number_sentences", sentences)]),
            row(1122, &[("keywords:letter_frequency", letter)]),
            row(7, &[("count:conjunctions", json!({"n": 2})), (NO_COMMA, json!({}))]),
        ]
    }

    #[test]
    fn exact_prompts_become_a_suite_that_loads_and_the_rest_is_named() {
        let (dir, path) = file(&rows());
        let imported = import(&path, None, Source::IfEval { approximate: false }, Mode::Strict).unwrap();
        assert_eq!((imported.name.as_str(), imported.cases.len()), ("ifeval-exact", 1));
        let notes = imported.notes.join("\n");
        for part in ["1001", "--approximate", "1122", "one letter from a to z", "count:conjunctions"] {
            assert!(notes.contains(part), "{part}: {notes}");
        }
        let suite = suites::load_suite(&super::super::write(&imported, dir.path()).unwrap()).unwrap();
        assert_eq!(suite.cases[0].id.as_str(), "1000");
        let line: Value = serde_json::from_str(&imported.cases[0]).unwrap();
        let kwargs = |i: usize| &line["expected"]["instructions"][i]["kwargs"];
        // Nulls are gone, and braces stand for themselves.
        assert_eq!(kwargs(0), &json!({}));
        assert_eq!(kwargs(1), &json!({"end_phrase": "\\{{bye}}"}));
        assert_eq!(line["input"], "Write \\{{x}} 1000.");
    }

    #[test]
    fn approximate_prompts_are_a_category_of_their_own() {
        let (_dir, path) = file(&rows());
        let imported = import(&path, None, Source::IfEval { approximate: true }, Mode::Strict).unwrap();
        let categories: Vec<Value> =
            imported.cases.iter().map(|c| serde_json::from_str::<Value>(c).unwrap()["category"].clone()).collect();
        assert_eq!(categories, ["exact", "approximate"]);
    }

    #[test]
    fn ifbench_prompts_are_judged_by_what_is_implemented() {
        let (dir, _) = file(&rows());
        let imported = import(dir.path(), Some("bench"), Source::IfBench, Mode::Strict).unwrap();
        let last: Value = serde_json::from_str(&imported.cases[2]).unwrap();
        assert_eq!(last["metadata"]["unscored_instructions"], json!(["count:conjunctions"]));
        assert_eq!(last["expected"]["instructions"], json!([{"id": NO_COMMA, "kwargs": {}}]));
        assert!(imported.notes.iter().any(|n| n.ends_with("without a verdict: count:conjunctions")));
    }

    #[test]
    fn a_loose_suite_is_another_that_asks_the_same() {
        let (_dir, path) = file(&[rows()[0].clone()]);
        let imported = |mode| import(&path, Some("if"), Source::IfEval { approximate: false }, mode).unwrap();
        let (strict, loose) = (imported(Mode::Strict), imported(Mode::Loose));
        assert_eq!(strict.cases, loose.cases);
        assert_eq!(strict.header.replace("\"strict\"", "\"loose\""), loose.header);
        let suite = |imported: &Imported| {
            let cases = imported.cases.join("\n");
            suites::parse_suite(Path::new("if"), imported.header.as_bytes(), cases.as_bytes()).unwrap()
        };
        assert_ne!(suite(&strict).digest, suite(&loose).digest);
    }

    #[test]
    fn a_number_too_large_leaves_its_prompt_out() {
        let huge = "9".repeat(400);
        let line = row(3, &[(NO_COMMA, json!({"n": 1}))]).to_string().replace("\"n\":1", &format!("\"n\":{huge}"));
        let (_dir, path) = file(&[rows()[0].clone()]);
        let text = std::fs::read_to_string(&path).unwrap() + &line;
        std::fs::write(&path, text).unwrap();
        let imported = import(&path, None, Source::IfEval { approximate: false }, Mode::Strict).unwrap();
        assert_eq!(imported.cases.len(), 1);
        assert!(
            imported.notes[0].contains("in line 2 the number") && imported.notes[0].contains("(3)"),
            "{:?}",
            imported.notes
        );
    }

    #[test]
    fn a_source_that_is_not_one_is_refused_with_its_place() {
        let short = json!({"key": 1, "prompt": "p", "instruction_id_list": [NO_COMMA], "kwargs": []});
        let (_dir, path) = file(&[rows()[0].clone(), short]);
        let wrong = import(&path, None, Source::IfBench, Mode::Strict).unwrap_err().to_string();
        assert!(wrong.contains("input_data.jsonl, line 2: `instruction_id_list`"), "{wrong}");
        let (dir, path) = file(&[row(1, &[("count:conjunctions", json!({}))])]);
        let empty = import(&path, None, Source::IfBench, Mode::Strict).unwrap_err().to_string();
        assert!(empty.contains("no prompt can be judged") && empty.contains("count:conjunctions"), "{empty}");
        std::fs::write(&path, "\n").unwrap();
        let empty = import(&path, None, Source::IfBench, Mode::Strict).unwrap_err().to_string();
        assert!(empty.ends_with("no prompt can be judged: the file holds none"), "{empty}");
        std::fs::remove_file(path).unwrap();
        assert!(
            import(dir.path(), None, Source::IfBench, Mode::Strict).unwrap_err().to_string().contains("name the file")
        );
        assert!(import(Path::new("/nowhere/x.jsonl"), None, Source::IfBench, Mode::Strict).is_err());
    }
}

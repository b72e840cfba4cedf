//! `suite import`, `suite tools`: other tools' data.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::args::ImportKind;
use super::output::{self, CliError, Exit};
use crate::import::bfcl::{self, DataSet};
use crate::import::{self, ImportError, ifeval};
use crate::scoring::bfcl::{Category, convert_tools};

/// `suite import`.
pub fn run(
    kind: ImportKind,
    source: &Path,
    into: &Path,
    name: Option<&str>,
    categories: &[String],
    approximate: bool,
    as_json: bool,
) -> Result<Exit, CliError> {
    let imported = match kind {
        ImportKind::Bfcl => bfcl::import(source, name, &parse_categories(categories)?),
        ImportKind::Ifeval => ifeval::import(source, name, ifeval::Source::IfEval { approximate }),
        ImportKind::Ifbench => ifeval::import(source, name, ifeval::Source::IfBench),
    };
    let imported = imported.map_err(wrong_source)?;
    let dir = import::write(&imported, into).map_err(wrong_source)?;
    for note in &imported.notes {
        output::note(note);
    }
    if as_json {
        output::json(&json!({
            "created": dir, "suite": imported.name, "cases": imported.cases.len(), "notes": imported.notes,
        }))?;
    } else {
        let cases = imported.cases.len();
        output::line(&format!("created {0}: {cases} cases; check it by `exactod suite check {0}`", dir.display()))?;
    }
    Ok(Exit::Yes)
}

/// `suite tools`.
pub fn tools(data: &Path, category: &str) -> Result<Exit, CliError> {
    let category: Category = category.parse().map_err(|e| CliError::Usage(format!("{e}")))?;
    let cases = DataSet::open(data).and_then(|mut d| d.cases(category)).map_err(wrong_source)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for case in cases {
        let tools = convert_tools(&case.functions);
        let tools = tools.map_err(|e| CliError::Usage(format!("{}: case {}: {e}", data.display(), case.id)))?;
        let mut line = format!("{{\"id\":{},\"tools\":", Value::from(case.id));
        tools.write_json(&mut line);
        line.push_str("}\n");
        out.write_all(line.as_bytes())?;
    }
    out.flush()?;
    Ok(Exit::Yes)
}

fn parse_categories(names: &[String]) -> Result<Vec<Category>, CliError> {
    names.iter().map(|n| n.parse().map_err(|e| CliError::Usage(format!("{e}")))).collect()
}

/// What the user gave is wrong, except where writing fails.
fn wrong_source(error: ImportError) -> CliError {
    match error {
        ImportError::File { action: "write" | "create", .. } => CliError::failed(error),
        other => CliError::Usage(other.to_string()),
    }
}

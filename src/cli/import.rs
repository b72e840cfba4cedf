//! `suite import`, `suite tools`: other tools' data.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::args::{IfEvalMode, ImportArgs, ImportKind};
use super::output::{self, CliError, Exit};
use crate::import::bfcl::{self, DataSet};
use crate::import::source::{self, SourceKind, Wanted};
use crate::import::{self, ImportError, ifeval};
use crate::scoring::bfcl::{Category, convert_tools};

/// `suite import`.
pub fn run(args: &ImportArgs, as_json: bool) -> Result<Exit, CliError> {
    check_options(args)?;
    let (source, name) = (args.source.as_path(), args.name.as_deref());
    let wanted = Wanted {
        name,
        results: args.results.as_deref(),
        grader: args.grader.as_deref(),
        allow_unsupported: args.allow_unsupported,
    };
    let other = |kind| source::import(kind, source, &wanted);
    let imported = match args.kind {
        ImportKind::Bfcl => bfcl::import(source, name, &parse_categories(&args.category)?),
        ImportKind::Ifeval => {
            ifeval::import(source, name, ifeval::Source::IfEval { approximate: args.approximate }, mode_of(args))
        }
        ImportKind::Ifbench => ifeval::import(source, name, ifeval::Source::IfBench, mode_of(args)),
        ImportKind::K2vv => other(SourceKind::K2vv),
        ImportKind::Promptfoo => other(SourceKind::Promptfoo),
        ImportKind::OpenaiEvals => other(SourceKind::OpenaiEvals),
        ImportKind::Inspect => other(SourceKind::Inspect),
        ImportKind::Jsonschemabench => other(SourceKind::Jsonschemabench),
        ImportKind::Requests => other(SourceKind::Requests),
    };
    let imported = imported.map_err(wrong_source)?;
    source::prove(&imported).map_err(wrong_source)?;
    let dir = import::write(&imported, &args.into).map_err(wrong_source)?;
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

fn mode_of(args: &ImportArgs) -> ifeval::Mode {
    match args.mode {
        Some(IfEvalMode::Loose) => ifeval::Mode::Loose,
        Some(IfEvalMode::Strict) | None => ifeval::Mode::Strict,
    }
}

/// An option that the kind does not read would be ignored in silence.
fn check_options(args: &ImportArgs) -> Result<(), CliError> {
    let kind = args.kind;
    let graded = matches!(kind, ImportKind::OpenaiEvals | ImportKind::Inspect);
    let by_instructions = matches!(kind, ImportKind::Ifeval | ImportKind::Ifbench);
    let misplaced = [
        (args.mode.is_some() && !by_instructions, "--mode", "ifeval and ifbench"),
        (!args.category.is_empty() && kind != ImportKind::Bfcl, "--category", "bfcl"),
        (args.results.is_some() && kind != ImportKind::K2vv, "--results", "k2vv"),
        (args.grader.is_some() && !graded, "--grader", "openai-evals and inspect"),
        (args.approximate && kind != ImportKind::Ifeval, "--approximate", "ifeval"),
        (args.allow_unsupported && kind != ImportKind::Promptfoo, "--allow-unsupported", "promptfoo"),
    ];
    match misplaced.iter().find(|(wrong, ..)| *wrong) {
        Some((_, option, kinds)) => Err(CliError::Usage(format!("{option} goes with {kinds}"))),
        None => Ok(()),
    }
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

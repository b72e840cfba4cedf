//! `score`: answers as rows on stdin, verdicts as lines on stdout. One module per kind of row.

mod bfcl;
mod ifeval;
mod lines;
mod rows;
mod suite;

use std::io::{self, BufReader, BufWriter};
use std::path::PathBuf;
use std::sync::Arc;

use super::args::{Cli, OfflineScorer, ScoreArgs};
use super::output::{self, CliError, Exit};
use super::programs::AllowedPrograms;
use super::suite::seed_text;
use crate::runner::Offline;
use crate::suites;

/// Buffers of input and output, in bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// What came of the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows read.
    pub rows: u64,
    /// Rows whose answer is valid.
    pub valid: u64,
    /// Rows that could not be judged.
    pub bad: u64,
    /// What is wrong with the first of them.
    pub first_bad: Option<String>,
}

/// Runs `score`. Exit code 0 when every row was judged, whatever the verdicts; 1 when a row could not be; 2 for wrong
/// arguments or data.
pub fn run(cli: &Cli, args: &ScoreArgs) -> Result<Exit, CliError> {
    check_options(args)?;
    let input = BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
    let out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    let tally = match args.scorer {
        Some(OfflineScorer::Bfcl) => {
            let data = needed(args.data.as_ref(), "--data DIR: the bfcl-eval wheel or its data folder")?;
            let mut cases = bfcl::Cases::open(data).map_err(|e| CliError::Usage(e.to_string()))?;
            bfcl::score(&mut cases, args.strict_abstention, input, out)?
        }
        Some(OfflineScorer::Ifeval) => ifeval::score(input, out)?,
        None => {
            let dir = needed(args.suite.as_ref(), "--suite DIR: a suite folder")?;
            let suite = Arc::new(suites::load_suite(dir)?);
            let offline = Offline::new(suite).map_err(CliError::failed)?;
            let programs = AllowedPrograms::new(cli, args.exec)?;
            suite::score(
                &offline.with_seed(args.draw.as_deref().map(seed_text)),
                &|runs| programs.run(runs),
                input,
                out,
            )?
        }
    };
    told(&tally)
}

/// An option that the scorer does not read would be ignored in silence.
fn check_options(args: &ScoreArgs) -> Result<(), CliError> {
    let of_bfcl = args.data.is_some() || args.strict_abstention;
    match args.scorer {
        Some(OfflineScorer::Ifeval) if of_bfcl => {
            Err(CliError::Usage("--data and --strict-abstention go with --scorer bfcl".to_owned()))
        }
        Some(_) if args.exec => Err(CliError::Usage("--exec goes with --suite".to_owned())),
        Some(_) if args.draw.is_some() => Err(CliError::Usage("--draw goes with --suite".to_owned())),
        _ => Ok(()),
    }
}

fn needed<'a>(path: Option<&'a PathBuf>, what: &str) -> Result<&'a PathBuf, CliError> {
    path.ok_or_else(|| CliError::Usage(format!("this scorer needs {what}")))
}

fn told(tally: &Tally) -> Result<Exit, CliError> {
    let Tally { rows, valid, bad, first_bad } = tally;
    if let Some(first) = first_bad {
        output::note(&format!("{bad} of {rows} rows could not be judged and have `error` set; the first: {first}"));
        return Ok(Exit::No);
    }
    if output::is_watched() {
        output::note(&format!("{rows} rows, {valid} valid"));
    }
    Ok(Exit::Yes)
}
